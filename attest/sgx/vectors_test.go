package sgx_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/sgx"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/verdict"
)

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

func cases() []evidencetest.Case {
	const bad = attest.Contraindicated
	return []evidencetest.Case{
		{What: "v3", File: oasis + "quote_v3_ecdsa_p256_pck_chain.bin", With: december2022("tcb_info_v3_fmspc_00606A000000_certs.pem"), At: "2022-12-20T00:50:04Z",
			Standing: bad, Status: "SWHardeningNeeded", Failed: "sgx.collateral sgx.revocation"},
		{What: "v3, collateral signed below another root", File: oasis + "quote_v3_ecdsa_p256_pck_chain.bin", With: december2022("tcb_info_v3_fmspc_00606A000000_certs_bad.pem"), At: "2022-12-20T00:50:04Z",
			Standing: bad, Failed: "sgx.collateral sgx.revocation"},
		{What: "encrypted platform id", File: oasis + "quote_v3_ecdsa_p256_eppid.bin", At: "2022-12-20T00:50:04Z", Err: "sgx.certification_data"},
		{What: "debug, out of date", File: trustee + "occlum_quote.dat", With: december2022("tcb_info_v3_fmspc_00606A000000_certs.pem"), At: "2023-05-01T00:00:00Z",
			Standing: bad, Status: "OutOfDate", Failed: "sgx.debug sgx.collateral sgx.collateral_dates sgx.revocation sgx.tcb.platform sgx.tcb"},
		{What: "Azure's request of 2020, second root certificate, held data", File: microsoft + "post.attest.body.json",
			With: []string{teepot + "sgx_tcb_info_00906ED50000.json", teepot + "sgx_qe_identity.json", teepot + "sgx_tcb_eval_nums.json", teepot + "pck_crl_processor.json", phalaTDX + "tdx_quote_collateral.json"},
			At:   "2025-06-20T00:00:00Z", Standing: bad, Status: "OutOfDate", Failed: "sgx.tcb.qe sgx.tcb.platform sgx.tcb"},

		{What: "v3, processor CA, complete collateral", File: phala + "sgx_quote", With: []string{phala + "sgx_quote_collateral.json"}, At: "2025-07-01T00:00:00Z",
			Standing: attest.Warning, Status: "ConfigurationAndSWHardeningNeeded", Withheld: true},
		{What: "v3 in hex", File: automata + "rust-crates/samples/quotev3.hex", With: december2022("tcb_info_v3_fmspc_00606A000000_certs.pem"), At: "2023-01-10T00:00:00Z",
			Standing: bad, Status: "SWHardeningNeeded", Failed: "sgx.collateral sgx.revocation", Withheld: true},
	}
}

// TestVectors prints every genuine quote with its verdict.
func TestVectors(t *testing.T) { evidencetest.Try(t, cases(), sgx.New, nil) }

// TestFacts: what a quote says, as Azure's own token for it says.
func TestFacts(t *testing.T) {
	f, err := sgx.New(endorse.Set{}).Examine(evidencetest.Read(t, microsoft+"post.attest.body.json"), time.Date(2020, 5, 28, 0, 0, 0, 0, time.UTC))
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
		f, err := sgx.Verifier{}.Examine(evidencetest.Read(t, name), time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC))
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
	data := string(evidencetest.Read(t, microsoft+"post.attest.body.json"))
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
	quote := evidencetest.Read(t, oasis+"quote_v3_ecdsa_p256_pck_chain.bin")
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
	for _, c := range cases() {
		if data := evidencetest.Find(t, c.File); data != nil && !sgx.Detect(data) {
			t.Errorf("%s: not detected", c.File)
		}
	}
	evidencetest.Walk(t, func(name string, data []byte) {
		if sgx.Detect(data) && !strings.Contains(name, "automata") {
			t.Errorf("%s: detected", name)
		}
	}, "snp", "tdx", "nitro", "nvidia", "tpm", "dice", "arm-synthetic")
}
