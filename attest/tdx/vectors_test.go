package tdx_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/tdx"
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

// setOf reads endorsements from files, and from all files of folders (names ending in "/").
func setOf(t testing.TB, names ...string) endorse.Set {
	t.Helper()
	var items []endorse.Item
	for _, name := range names {
		files := []string{name}
		if strings.HasSuffix(name, "/") {
			entries, err := os.ReadDir(filepath.Join(folder(), name))
			if err != nil {
				t.Skipf("not here: %v", err)
			}
			files = nil
			for _, e := range entries {
				files = append(files, name+e.Name())
			}
		}
		for _, f := range files {
			items = append(items, endorse.Parse(f, read(t, f))...)
		}
	}
	set, err := endorse.NewSet(items...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

const (
	google    = "tdx/google+go-tdx-guest/testing/testdata/"
	trustee   = "tdx/confidential-containers+trustee/deps/verifier/test_data/"
	azure     = "azure/confidential-containers+trustee/deps/verifier/test_data/az-tdx-vtpm/"
	oasis     = "tdx/oasisprotocol+oasis-core/go/common/sgx/pcs/testdata/"
	oasisSGX  = "sgx/oasisprotocol+oasis-core/go/common/sgx/pcs/testdata/"
	phala     = "tdx/Phala-Network+dcap-qvl/sample/"
	rs        = "tdx/confidential-dot-ai+attestation-rs/crates/attestation/test_data/"
	openpcc   = "tdx/openpcc+openpcc/attestation/attest/testdata/"
	teepot    = "tdx/matter-labs+teepot/crates/intel-dcap-api/tests/test_data/"
	automata  = "tdx/automata-network+automata-dcap-attestation/"
	olderSign = oasisSGX + "tcb_info_v3_fmspc_00606A000000_certs.pem"
)

// may2025 is complete collateral for FMSPC 00806F050000 from 2025-05-27 to 06-26.
func may2025() []string {
	return []string{teepot + "tdx_tcb_info_00806F050000.json", teepot + "tdx_qe_identity.json", teepot + "tdx_tcb_eval_nums.json", teepot + "pck_crl_platform.json", phala + "tdx_quote_collateral.json"}
}

// march2026 is complete collateral for FMSPC 50806F000000 and 90C06F000000 from 2026-03-16
// to 04-15.
func march2026() []string { return []string{rs + "collateral/"} }

// vector is genuine evidence with what must come of it at a time.
type vector struct {
	what, quote string
	trim        int // bytes to cut off the end
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
	const bad, good = attest.Contraindicated, attest.Affirming
	return []vector{
		{what: "v4, complete collateral", quote: phala + "tdx_quote", with: []string{phala + "tdx_quote_collateral.json"}, at: "2025-07-01T00:00:00Z", standing: good, status: "UpToDate"},
		{what: "the same after its collateral", quote: phala + "tdx_quote", with: []string{phala + "tdx_quote_collateral.json"}, at: "2025-07-20T00:00:00Z", standing: bad, status: "UpToDate", failed: "tdx.collateral_dates"},
		{what: "the same before it", quote: phala + "tdx_quote", with: []string{phala + "tdx_quote_collateral.json"}, at: "2025-06-18T00:00:00Z", standing: bad, status: "UpToDate", failed: "tdx.collateral_dates"},
		{what: "the same without collateral", quote: phala + "tdx_quote", at: "2025-07-01T00:00:00Z", standing: bad, failed: "tdx.collateral tdx.revocation"},
		{what: "v4 in hex, older firmware", quote: phala + "tdx-quote.hex", with: []string{phala + "tdx_quote_collateral.json"}, at: "2025-07-01T00:00:00Z", standing: bad, status: "TCBLevelNotSupported", failed: "tdx.tcb.platform tdx.tcb"},
		{what: "v4 in hex, without 0x", quote: phala + "quote-from-tappd.hex", with: []string{phala + "tdx_quote_collateral.json"}, at: "2025-07-01T00:00:00Z", standing: bad, status: "TCBLevelNotSupported", failed: "tdx.tcb.platform tdx.tcb"},
		{what: "v5 TD 1.5", quote: google + "quote_v5_sample.dat", with: march2026(), at: "2026-03-20T00:00:00Z", standing: good, status: "UpToDate"},
		{what: "v5 with TCB information alone", quote: google + "quote_v5_sample.dat", with: []string{google + "sample_tcbinfo_response_v5", rs + "collateral/tcb_signing_chain.pem"}, at: "2026-02-04T00:00:00Z", standing: bad, failed: "tdx.collateral tdx.revocation"},
		{what: "v4, GCE's padding of 3,065 bytes", quote: google + "ccel/cos-113-tdx-quote.dat", with: may2025(), at: "2025-06-20T00:00:00Z", standing: good, status: "UpToDate"},
		{what: "v4 in PEM, GCE", quote: openpcc + "gce_tdx_report.txt", with: may2025(), at: "2025-06-20T00:00:00Z", standing: good, status: "UpToDate"},
		{what: "v4, Azure: platform and module out of date", quote: azure + "td-quote.bin", with: may2025(), at: "2025-06-20T00:00:00Z", standing: bad, status: "OutOfDate", failed: "tdx.tcb.platform tdx.tcb.module tdx.tcb"},
		{what: "junk behind the quote", quote: google + "tdx_prod_quote_SPR_E4.dat", at: "2023-06-20T00:00:00Z", err: "tdx.quote"},
		{what: "the same without the junk", quote: google + "tdx_prod_quote_SPR_E4.dat", trim: 39, with: []string{google + "sample_tcbInfo_response", google + "sample_qeIdentity_response", google + "pckcrl", google + "rootcrl.der", olderSign},
			at: "2023-06-20T00:00:00Z", standing: bad, status: "TCBLevelNotSupported", failed: "tdx.tcb.platform tdx.tcb"},
		{what: "debug, collateral of 2023", quote: trustee + "tdx_quote_4.dat", with: []string{oasis + "tcb_info_v3_tdx_fmspc_50806F000000.json", oasis + "qe_identity_v2_tdx.json", google + "pckcrl", google + "rootcrl.der", olderSign},
			at: "2023-06-21T00:00:00Z", standing: bad, status: "UpToDate", failed: "tdx.debug"},
		{what: "the same, collateral of 2026", quote: trustee + "tdx_quote_4.dat", with: march2026(), at: "2026-03-20T00:00:00Z", standing: bad, status: "OutOfDate", failed: "tdx.debug tdx.tcb.platform tdx.tcb"},
		{what: "v4 without CRLs", quote: oasis + "quote_v4_tdx_ecdsa_p256.bin", with: []string{oasis + "tcb_info_v3_tdx_fmspc_C0806F000000.json", oasis + "qe_identity_v2_tdx2.json", olderSign},
			at: "2024-09-02T07:30:32Z", standing: bad, status: "UpToDate", failed: "tdx.collateral tdx.revocation"},
		{what: "v4 padded with 70 zeros", quote: oasis + "quote_v4_tdx_ecdsa_p256_trailing.bin", with: []string{oasis + "tcb_info_v3_tdx_fmspc_C0806F000000.json", oasis + "qe_identity_v2_tdx2.json", olderSign},
			at: "2024-09-25T00:00:00Z", standing: bad, status: "UpToDate", failed: "tdx.collateral tdx.revocation"},

		{what: "THE regression: platform out of date, module current", quote: trustee + "tdx_quote_6.dat", with: []string{trustee + "tcbInfo.json", trustee + "enclaveIdentity.json", rs + "collateral/tcb_signing_chain.pem"},
			at: "2025-10-29T00:00:00Z", standing: bad, status: "OutOfDate", failed: "tdx.collateral tdx.revocation tdx.tcb.platform tdx.tcb", withheld: true},
		{what: "THE regression, with CRLs", quote: automata + "solana/automata-dcap-framework/tests/data/quote_tdx.bin", with: []string{automata + "solana/automata-dcap-framework/tests/data/"},
			at: "2025-07-08T12:00:00Z", standing: bad, status: "OutOfDate", failed: "tdx.tcb.platform tdx.tcb", withheld: true},
		{what: "no level, in spite of its name", quote: oasis + "quote_v4_tdx_ecdsa_p256_out_of_date.bin", with: []string{oasis + "tcb_info_v3_tdx_fmspc_50806F000000.json", oasis + "qe_identity_v2_tdx.json", google + "pckcrl", google + "rootcrl.der", olderSign},
			at: "2023-06-18T12:29:36Z", standing: bad, status: "TCBLevelNotSupported", failed: "tdx.tcb.platform tdx.tcb", withheld: true},
		{what: "v5, no level", quote: phala + "tdx_quote_outdated", with: []string{phala + "tdx_quote_outdated_collateral.json"}, at: "2026-03-01T00:00:00Z", standing: bad, status: "TCBLevelNotSupported", failed: "tdx.tcb.platform tdx.tcb", withheld: true},
		{what: "v5, no collateral", quote: trustee + "tdx_quote_5.dat", at: "2025-10-29T00:00:00Z", standing: bad, failed: "tdx.collateral tdx.revocation", withheld: true},
		{what: "v4, 307 zeros behind", quote: rs + "tdx_quote_live.dat", at: "2026-04-01T00:00:00Z", standing: bad, failed: "tdx.collateral tdx.revocation", withheld: true},
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
			quote = quote[:len(quote)-c.trim]
			at, err := time.Parse(time.RFC3339, c.at)
			if err != nil {
				t.Fatal(err)
			}
			v := tdx.New(setOf(t, c.with...))
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

// TestFacts compares the facts of one quote with those that its producer printed.
func TestFacts(t *testing.T) {
	quote := read(t, google+"ccel/cos-113-tdx-quote.dat")
	at := time.Date(2025, 6, 20, 0, 0, 0, 0, time.UTC)
	facts, err := tdx.New(setOf(t, may2025()...)).Platform().Verify(quote, at)
	if err != nil {
		t.Fatal(err)
	}
	if facts.Platform != "tdx" || facts.Class != "confidential" || facts.Debug || len(facts.ReportData) != 64 || len(facts.InitData) != 48 || len(facts.Machine) != 32 ||
		len(facts.Measurements) != 9 || len(facts.Measurements["rtmr2"]) != 96 || facts.Measurements["rtmr3"] != strings.Repeat("0", 96) || len(facts.Excludes) == 0 || len(facts.Trusts) == 0 {
		t.Errorf("%+v", facts)
	}
	if !strings.HasPrefix(facts.Root.String(), "sha256:") || facts.Root.IsZero() {
		t.Errorf("root %s", facts.Root)
	}
}

// TestEvaluationFloor: collateral that is genuine and in date, but of an older TCB recovery
// than the relying party knows.
func TestEvaluationFloor(t *testing.T) {
	quote, at := read(t, phala+"tdx_quote"), time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)
	set := setOf(t, phala+"tdx_quote_collateral.json")
	if _, err := tdx.NewWithFloor(set, 17).Platform().Verify(quote, at); err != nil {
		t.Error(err)
	}
	_, err := tdx.NewWithFloor(set, 18).Platform().Verify(quote, at)
	var e *verdict.Error
	if !errors.As(err, &e) || e.Check != "tdx.tcb_evaluation" || e.Kind != verdict.Refused {
		t.Errorf("%v", err)
	}
}

// TestEventLog: a log beside the quote leads to its RTMRs, or fails a check; what is no log is
// no evidence.
func TestEventLog(t *testing.T) {
	const logs = "tpm/google+go-eventlog/testdata/eventlogs/"
	b64 := base64.StdEncoding.EncodeToString
	quote, own := read(t, google+"ccel/cos-113-tdx-quote.dat"), read(t, google+"ccel/ccel_data.dat")
	at := time.Date(2025, 6, 20, 0, 0, 0, 0, time.UTC)
	v := tdx.New(setOf(t, may2025()...))
	for name, c := range map[string]struct {
		log, err, failed string // the log in JSON
		matched          []any
	}{
		"none":                        {log: `null`},
		"empty":                       {log: `""`},
		"of this boot":                {log: `"` + b64(own) + `"`, matched: []any{0, 1, 2}},
		"with a separator twice":      {log: `"` + b64(read(t, logs+"ccel/cos-113-intel-tdx-dupe-separator.bin")) + `"`, failed: "tdx.event_log", matched: []any{2}},
		"of another machine":          {log: `"` + b64(read(t, trustee+"CCEL_data_ovmf")) + `"`, failed: "tdx.event_log", matched: []any{}},
		"of a TPM":                    {log: `"` + b64(read(t, logs+"tpm/cos-93-amd-sev.bin")) + `"`, failed: "tdx.event_log"},
		"that is the ACPI table":      {log: `"` + b64(read(t, google+"ccel/ccel_table.dat")) + `"`, err: "tdx.event_log"},
		"that is text":                {log: `"Ym9vdA=="`, err: "tdx.event_log"},
		"that is no base64":           {log: `"!"`, err: "tdx.quote"},
		"that is a number":            {log: `7`, err: "tdx.quote"},
		"of the same boot, cut short": {log: `"` + b64(own[:len(bytes.TrimRight(own, "\x00\xff"))-9]) + `"`, err: "tdx.event_log"},
	} {
		f, err := v.Examine([]byte(`{"quote":"`+b64(quote)+`","cc_eventlog":`+c.log+`}`), at)
		if c.err != "" {
			if err == nil || verdict.As(err).Check != c.err || verdict.As(err).Kind != verdict.Invalid {
				t.Errorf("log %s: %v, expected %s", name, err, c.err)
			}
			continue
		}
		failed := ""
		for _, check := range f.Checks {
			if !check.OK {
				failed += check.ID
			}
		}
		claims, _ := f.Claims["event_log"].(map[string]any)
		if err != nil || failed != c.failed || (claims == nil) != (c.matched == nil) || claims != nil && !slices.Equal(claims["matched"].([]any), c.matched) {
			t.Errorf("log %s: %v, failed %q, %v", name, err, failed, claims)
		}
		for _, e := range events(claims) {
			if !slices.Contains(c.matched, e.(map[string]any)["rtmr"]) {
				t.Errorf("log %s: an event of a register that differs: %v", name, e)
			}
		}
	}
}

func events(claims map[string]any) []any {
	all, _ := claims["events"].([]any)
	return all
}

func TestZeroVerifier(t *testing.T) {
	f, err := tdx.Verifier{}.Examine(read(t, phala+"tdx_quote"), time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC))
	if err != nil || f.Standing() != attest.Contraindicated {
		t.Errorf("%v, %s", err, f.Standing())
	}
}

// TestDetect goes through all evidence there is: TDX quotes are detected, whatever their
// form, and other vendors' evidence is not.
func TestDetect(t *testing.T) {
	for _, v := range vectors() {
		if _, err := os.Stat(filepath.Join(folder(), v.quote)); err != nil && v.withheld {
			continue
		}
		if !tdx.Detect(read(t, v.quote)) {
			t.Errorf("%s: not detected", v.quote)
		}
	}
	for _, category := range []string{"snp", "sgx", "nitro", "nvidia", "tpm", "dice", "arm-synthetic"} {
		err := filepath.WalkDir(filepath.Join(folder(), category), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if err == nil && tdx.Detect(data) {
				t.Errorf("%s: detected", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestMutatedQuote flips every byte that a signature covers, directly or through the hash
// of the attestation key: every one is refused.
func TestMutatedQuote(t *testing.T) {
	for _, name := range []string{phala + "tdx_quote", google + "quote_v5_sample.dat"} {
		quote := read(t, name)
		v := tdx.New(setOf(t, phala+"tdx_quote_collateral.json"))
		at := time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC)
		for i := range strings.Index(string(quote), "-----BEGIN") {
			if testing.Short() && i%7 != 0 {
				continue
			}
			quote[i] ^= 1
			if _, err := v.Examine(quote, at); err == nil {
				t.Errorf("%s: byte %d flipped verifies", name, i)
			}
			quote[i] ^= 1
		}
	}
}

// TestMutatedCollateral flips bytes of every endorsement: the quote it made affirming is no
// longer. It takes the boundaries of JSON members and a seeded 2 %, all bytes with
// STRONGROOM_LONG set.
func TestMutatedCollateral(t *testing.T) {
	quote, at := read(t, phala+"tdx_quote"), time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)
	needed := []endorse.Kind{endorse.IntelTCBInfo, endorse.IntelQEIdentity, endorse.X509CRL, endorse.X509Certificate}
	items := setOf(t, phala+"tdx_quote_collateral.json").Items()
	random := rand.New(rand.NewPCG(1, 2))
	tried := 0
	for n, it := range items {
		if !slices.Contains(needed, it.Kind) || it.Kind == endorse.X509Certificate && !strings.Contains(string(it.Data), "TCB Signing") {
			continue
		}
		for i := range it.Data {
			boundary := it.Data[i] == '"' && it.Kind != endorse.X509CRL && it.Kind != endorse.X509Certificate && i%3 == 0
			if os.Getenv("STRONGROOM_LONG") == "" && !boundary && random.IntN(50) != 0 {
				continue
			}
			tried++
			changed := slices.Clone(items)
			changed[n].Data = slices.Clone(it.Data)
			changed[n].Data[i] ^= 1
			set, err := endorse.NewSet(changed...)
			if err != nil {
				continue // no longer X.509
			}
			if f, err := tdx.New(set).Examine(quote, at); err != nil || f.Standing() != attest.Contraindicated {
				t.Errorf("%s %s: byte %d flipped: %v, %s", it.Kind, it.Name, i, err, f.Standing())
			}
		}
	}
	t.Logf("%d flips", tried)
}
