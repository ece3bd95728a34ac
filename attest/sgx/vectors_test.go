package sgx_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/sgx"
	"strongroom.dev/endorse"
	"strongroom.dev/verdict"
)

// folder is where genuine evidence is. It stands beside the project, not in it.
func folder() string {
	dir := os.Getenv("STRONGROOM_VECTORS")
	if dir == "" {
		dir = "../../../shared/vectors"
	}
	return filepath.Join(dir, "attestation")
}

// read reads one file of genuine evidence.
func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder(), name))
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("genuine evidence is not here (STRONGROOM_VECTORS): %v", err)
	}
	if err != nil {
		t.Fatalf("genuine evidence is missing under CI=true: %v", err)
	}
	return data
}

func setOf(t testing.TB, names ...string) endorse.Set {
	t.Helper()
	var items []endorse.Item
	for _, name := range names {
		items = append(items, endorse.Parse(name, read(t, name))...)
	}
	set, err := endorse.NewSet(items...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

const (
	oasis     = "sgx/oasisprotocol+oasis-core/go/common/sgx/pcs/testdata/"
	trustee   = "sgx/confidential-containers+trustee/deps/verifier/test_data/"
	microsoft = "sgx/Azure-Samples+microsoft-azure-attestation/sgx.attest.sample.oe.sdk/validatequotes.net/samples/"
	teepot    = "tdx/matter-labs+teepot/crates/intel-dcap-api/tests/test_data/"
	phalaTDX  = "tdx/Phala-Network+dcap-qvl/sample/"
	phala     = "sgx/Phala-Network+dcap-qvl/sample/"
	automata  = "sgx/automata-network+automata-dcap-attestation/"
)

// december2022 is TCB information and QE identity for FMSPC 00606A000000, without CRLs.
func december2022(certs string) []string {
	return []string{oasis + "tcb_info_v3_fmspc_00606A000000.json", oasis + "qe_identity_v2.json", oasis + certs}
}

// vector is genuine evidence with what must come of it at a time.
type vector struct {
	what, quote string
	with        []string
	at          string
	standing    attest.Standing
	status      string // claim tcb_status; "" if there is none
	failed      string // ids of the failed checks, in order
	err         string // id of the check, for what is not genuine
	// withheld evidence is named by its makers but kept back from this project for
	// independent checks: it is tested where it is.
	withheld bool
}

func vectors() []vector {
	const bad = attest.Contraindicated
	return []vector{
		{what: "v3", quote: oasis + "quote_v3_ecdsa_p256_pck_chain.bin", with: december2022("tcb_info_v3_fmspc_00606A000000_certs.pem"), at: "2022-12-20T00:50:04Z",
			standing: bad, status: "SWHardeningNeeded", failed: "sgx.collateral sgx.revocation"},
		{what: "v3, collateral signed below another root", quote: oasis + "quote_v3_ecdsa_p256_pck_chain.bin", with: december2022("tcb_info_v3_fmspc_00606A000000_certs_bad.pem"), at: "2022-12-20T00:50:04Z",
			standing: bad, failed: "sgx.collateral sgx.revocation"},
		{what: "encrypted platform id", quote: oasis + "quote_v3_ecdsa_p256_eppid.bin", at: "2022-12-20T00:50:04Z", err: "sgx.certification_data"},
		{what: "debug, out of date", quote: trustee + "occlum_quote.dat", with: december2022("tcb_info_v3_fmspc_00606A000000_certs.pem"), at: "2023-05-01T00:00:00Z",
			standing: bad, status: "OutOfDate", failed: "sgx.debug sgx.collateral sgx.collateral_dates sgx.revocation sgx.tcb.platform sgx.tcb"},
		{what: "Azure's request of 2020, second root certificate, held data", quote: microsoft + "post.attest.body.json",
			with: []string{teepot + "sgx_tcb_info_00906ED50000.json", teepot + "sgx_qe_identity.json", teepot + "sgx_tcb_eval_nums.json", teepot + "pck_crl_processor.json", phalaTDX + "tdx_quote_collateral.json"},
			at:   "2025-06-20T00:00:00Z", standing: bad, status: "OutOfDate", failed: "sgx.tcb.qe sgx.tcb.platform sgx.tcb"},

		{what: "v3, processor CA, complete collateral", quote: phala + "sgx_quote", with: []string{phala + "sgx_quote_collateral.json"}, at: "2025-07-01T00:00:00Z",
			standing: attest.Warning, status: "ConfigurationAndSWHardeningNeeded", withheld: true},
		{what: "v3 in hex", quote: automata + "rust-crates/samples/quotev3.hex", with: december2022("tcb_info_v3_fmspc_00606A000000_certs.pem"), at: "2023-01-10T00:00:00Z",
			standing: bad, status: "SWHardeningNeeded", failed: "sgx.collateral sgx.revocation", withheld: true},
	}
}

// TestVectors prints every genuine quote with its verdict.
func TestVectors(t *testing.T) {
	for _, c := range vectors() {
		t.Run(c.what, func(t *testing.T) {
			for _, name := range append([]string{c.quote}, c.with...) {
				if _, err := os.Stat(filepath.Join(folder(), name)); err != nil && c.withheld {
					t.Skip("withheld from this project: tested where it is there")
				}
			}
			quote := read(t, c.quote)
			at, err := time.Parse(time.RFC3339, c.at)
			if err != nil {
				t.Fatal(err)
			}
			v := sgx.New(setOf(t, c.with...))
			f, err := v.Examine(quote, at)
			_, strict := v.Platform().Verify(quote, at)
			if (strict == nil) != (c.failed == "" && c.err == "") {
				t.Errorf("as a platform: %v", strict)
			}
			if c.err != "" {
				var e *verdict.Error
				if !errors.As(err, &e) || e.Check != c.err || e.Kind != verdict.Invalid {
					t.Fatalf("%v, expected %s", err, c.err)
				}
				t.Logf("refused: %v", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			status, _ := f.Claims["tcb_status"].(string)
			t.Logf("%s %s at %s", f.Standing(), status, c.at)
			var ids []string
			for _, check := range f.Checks {
				if !check.OK {
					ids = append(ids, check.ID)
					t.Logf("  %s: %s", check.ID, check.Got)
				}
			}
			if c.withheld { // its collateral was never seen here: more may be missing
				ids = slices.DeleteFunc(ids, func(id string) bool { return !slices.Contains(strings.Fields(c.failed), id) })
			}
			if f.Standing() != c.standing || status != c.status || strings.Join(ids, " ") != c.failed {
				t.Errorf("%s, status %q, failed %v; expected %s, %q, %s", f.Standing(), status, ids, c.standing, c.status, c.failed)
			}
		})
	}
}

// TestFacts: what a quote says, as Azure's own token for it says.
func TestFacts(t *testing.T) {
	f, err := sgx.New(endorse.Set{}).Examine(read(t, microsoft+"post.attest.body.json"), time.Date(2020, 5, 28, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if f.Facts.Measurements["mrenclave"] != "90a328210154d861be7fc85a904e99fba713b05029321a470f62ea8495ec7d90" || f.Facts.Measurements["mrsigner"] != "6b1f95f512413b03759aaec2ec2b27cc2735468bb6113ccca163da92ca2b9b26" ||
		f.Claims["isv_svn"] != 8888 || f.Claims["isv_prod_id"] != 1 || f.Facts.Debug || f.Facts.Platform != "sgx" || f.Facts.Class != "confidential" ||
		len(f.Facts.ReportData) != 64 || len(f.Facts.InitData) != 48 || len(f.Facts.Machine) != 32 || f.Facts.Root.IsZero() {
		t.Errorf("%+v", f.Facts)
	}
}

// TestRootsAreOne: quotes under the two certificates of Intel's root key have one root.
func TestRootsAreOne(t *testing.T) {
	var roots []string
	for _, name := range []string{microsoft + "post.attest.body.json", oasis + "quote_v3_ecdsa_p256_pck_chain.bin"} {
		f, err := sgx.Verifier{}.Examine(read(t, name), time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, f.Facts.Root.String())
	}
	if roots[0] != roots[1] {
		t.Errorf("%v", roots)
	}
}

// TestHeldData: other data beside the quote is refused.
func TestHeldData(t *testing.T) {
	data := string(read(t, microsoft+"post.attest.body.json"))
	altered := strings.Replace(data, `"EnclaveHeldData": "L`, `"EnclaveHeldData": "M`, 1)
	if altered == data {
		t.Fatal("nothing altered")
	}
	_, err := sgx.Verifier{}.Examine([]byte(altered), time.Date(2020, 5, 28, 0, 0, 0, 0, time.UTC))
	var e *verdict.Error
	if !errors.As(err, &e) || e.Check != "sgx.held_data" || e.Kind != verdict.Invalid {
		t.Errorf("%v", err)
	}
}

// TestMutatedQuote flips every byte that a signature covers, directly or through the hash
// of the attestation key: every one is refused.
func TestMutatedQuote(t *testing.T) {
	quote := read(t, oasis+"quote_v3_ecdsa_p256_pck_chain.bin")
	at := time.Date(2022, 12, 20, 0, 0, 0, 0, time.UTC)
	for i := range strings.Index(string(quote), "-----BEGIN") {
		if testing.Short() && i%7 != 0 {
			continue
		}
		quote[i] ^= 1
		if _, err := (sgx.Verifier{}).Examine(quote, at); err == nil {
			t.Errorf("byte %d flipped verifies", i)
		}
		quote[i] ^= 1
	}
}

// TestDetect goes through all evidence there is: SGX quotes are detected, whatever their
// form, and other vendors' evidence is not.
func TestDetect(t *testing.T) {
	for _, v := range vectors() {
		if _, err := os.Stat(filepath.Join(folder(), v.quote)); err != nil && v.withheld {
			continue
		}
		if !sgx.Detect(read(t, v.quote)) {
			t.Errorf("%s: not detected", v.quote)
		}
	}
	for _, category := range []string{"snp", "tdx", "nitro", "nvidia", "tpm", "dice", "arm-synthetic"} {
		err := filepath.WalkDir(filepath.Join(folder(), category), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if err == nil && sgx.Detect(data) && !strings.Contains(path, "automata") {
				t.Errorf("%s: detected", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
