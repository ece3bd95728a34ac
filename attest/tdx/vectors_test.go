package tdx_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/tdx"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/verdict"
)

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

func cases() []evidencetest.Case {
	const bad, good = attest.Contraindicated, attest.Affirming
	return []evidencetest.Case{
		{What: "v4, complete collateral", File: phala + "tdx_quote", With: []string{phala + "tdx_quote_collateral.json"}, At: "2025-07-01T00:00:00Z", Standing: good, Status: "UpToDate"},
		{What: "the same after its collateral", File: phala + "tdx_quote", With: []string{phala + "tdx_quote_collateral.json"}, At: "2025-07-20T00:00:00Z", Standing: bad, Status: "UpToDate", Failed: "tdx.collateral_dates"},
		{What: "the same before it", File: phala + "tdx_quote", With: []string{phala + "tdx_quote_collateral.json"}, At: "2025-06-18T00:00:00Z", Standing: bad, Status: "UpToDate", Failed: "tdx.collateral_dates"},
		{What: "the same without collateral", File: phala + "tdx_quote", At: "2025-07-01T00:00:00Z", Standing: bad, Failed: "tdx.collateral tdx.revocation"},
		{What: "v4 in hex, older firmware", File: phala + "tdx-quote.hex", With: []string{phala + "tdx_quote_collateral.json"}, At: "2025-07-01T00:00:00Z", Standing: bad, Status: "TCBLevelNotSupported", Failed: "tdx.tcb.platform tdx.tcb"},
		{What: "v4 in hex, without 0x", File: phala + "quote-from-tappd.hex", With: []string{phala + "tdx_quote_collateral.json"}, At: "2025-07-01T00:00:00Z", Standing: bad, Status: "TCBLevelNotSupported", Failed: "tdx.tcb.platform tdx.tcb"},
		{What: "v5 TD 1.5", File: google + "quote_v5_sample.dat", With: march2026(), At: "2026-03-20T00:00:00Z", Standing: good, Status: "UpToDate"},
		{What: "v5 with TCB information alone", File: google + "quote_v5_sample.dat", With: []string{google + "sample_tcbinfo_response_v5", rs + "collateral/tcb_signing_chain.pem"}, At: "2026-02-04T00:00:00Z", Standing: bad, Failed: "tdx.collateral tdx.revocation"},
		{What: "v4, GCE's padding of 3,065 bytes", File: google + "ccel/cos-113-tdx-quote.dat", With: may2025(), At: "2025-06-20T00:00:00Z", Standing: good, Status: "UpToDate"},
		{What: "v4 in PEM, GCE", File: openpcc + "gce_tdx_report.txt", With: may2025(), At: "2025-06-20T00:00:00Z", Standing: good, Status: "UpToDate"},
		{What: "v4, Azure: platform and module out of date", File: azure + "td-quote.bin", With: may2025(), At: "2025-06-20T00:00:00Z", Standing: bad, Status: "OutOfDate", Failed: "tdx.tcb.platform tdx.tcb.module tdx.tcb"},
		{What: "junk behind the quote", File: google + "tdx_prod_quote_SPR_E4.dat", At: "2023-06-20T00:00:00Z", Err: "tdx.quote"},
		{What: "the same without the junk", File: google + "tdx_prod_quote_SPR_E4.dat", Trim: 39, With: []string{google + "sample_tcbInfo_response", google + "sample_qeIdentity_response", google + "pckcrl", google + "rootcrl.der", olderSign},
			At: "2023-06-20T00:00:00Z", Standing: bad, Status: "TCBLevelNotSupported", Failed: "tdx.tcb.platform tdx.tcb"},
		{What: "debug, collateral of 2023", File: trustee + "tdx_quote_4.dat", With: []string{oasis + "tcb_info_v3_tdx_fmspc_50806F000000.json", oasis + "qe_identity_v2_tdx.json", google + "pckcrl", google + "rootcrl.der", olderSign},
			At: "2023-06-21T00:00:00Z", Standing: bad, Status: "UpToDate", Failed: "tdx.debug"},
		{What: "the same, collateral of 2026", File: trustee + "tdx_quote_4.dat", With: march2026(), At: "2026-03-20T00:00:00Z", Standing: bad, Status: "OutOfDate", Failed: "tdx.debug tdx.tcb.platform tdx.tcb"},
		{What: "v4 without CRLs", File: oasis + "quote_v4_tdx_ecdsa_p256.bin", With: []string{oasis + "tcb_info_v3_tdx_fmspc_C0806F000000.json", oasis + "qe_identity_v2_tdx2.json", olderSign},
			At: "2024-09-02T07:30:32Z", Standing: bad, Status: "UpToDate", Failed: "tdx.collateral tdx.revocation"},
		{What: "v4 padded with 70 zeros", File: oasis + "quote_v4_tdx_ecdsa_p256_trailing.bin", With: []string{oasis + "tcb_info_v3_tdx_fmspc_C0806F000000.json", oasis + "qe_identity_v2_tdx2.json", olderSign},
			At: "2024-09-25T00:00:00Z", Standing: bad, Status: "UpToDate", Failed: "tdx.collateral tdx.revocation"},

		{What: "THE regression: platform out of date, module current", File: trustee + "tdx_quote_6.dat", With: []string{trustee + "tcbInfo.json", trustee + "enclaveIdentity.json", rs + "collateral/tcb_signing_chain.pem"},
			At: "2025-10-29T00:00:00Z", Standing: bad, Status: "OutOfDate", Failed: "tdx.collateral tdx.revocation tdx.tcb.platform tdx.tcb", Withheld: true},
		{What: "THE regression, with CRLs", File: automata + "solana/automata-dcap-framework/tests/data/quote_tdx.bin", With: []string{automata + "solana/automata-dcap-framework/tests/data/"},
			At: "2025-07-08T12:00:00Z", Standing: bad, Status: "OutOfDate", Failed: "tdx.tcb.platform tdx.tcb", Withheld: true},
		{What: "no level, in spite of its name", File: oasis + "quote_v4_tdx_ecdsa_p256_out_of_date.bin", With: []string{oasis + "tcb_info_v3_tdx_fmspc_50806F000000.json", oasis + "qe_identity_v2_tdx.json", google + "pckcrl", google + "rootcrl.der", olderSign},
			At: "2023-06-18T12:29:36Z", Standing: bad, Status: "TCBLevelNotSupported", Failed: "tdx.tcb.platform tdx.tcb", Withheld: true},
		{What: "v5, no level", File: phala + "tdx_quote_outdated", With: []string{phala + "tdx_quote_outdated_collateral.json"}, At: "2026-03-01T00:00:00Z", Standing: bad, Status: "TCBLevelNotSupported", Failed: "tdx.tcb.platform tdx.tcb", Withheld: true},
		{What: "v5, no collateral", File: trustee + "tdx_quote_5.dat", At: "2025-10-29T00:00:00Z", Standing: bad, Failed: "tdx.collateral tdx.revocation", Withheld: true},
		{What: "v4, 307 zeros behind", File: rs + "tdx_quote_live.dat", At: "2026-04-01T00:00:00Z", Standing: bad, Failed: "tdx.collateral tdx.revocation", Withheld: true},
	}
}

// TestVectors prints every genuine quote with its verdict.
func TestVectors(t *testing.T) { evidencetest.Try(t, cases(), tdx.New, nil) }

// TestFacts compares the facts of one quote with those that its producer printed.
func TestFacts(t *testing.T) {
	quote := evidencetest.Read(t, google+"ccel/cos-113-tdx-quote.dat")
	at := time.Date(2025, 6, 20, 0, 0, 0, 0, time.UTC)
	facts, err := tdx.New(evidencetest.Set(t, may2025()...)).Platform().Verify(quote, at)
	if err != nil {
		t.Fatal(err)
	}
	if facts.Platform != "tdx" || facts.Class != "confidential" || facts.Debug || len(facts.ReportData) != 64 || len(facts.InitData) != 48 || len(facts.Machine) != 32 ||
		!slices.Equal(slices.Sorted(maps.Keys(facts.Measurements)), []string{"mrtd", "rtmr0", "rtmr1", "rtmr2"}) || len(facts.Measurements["rtmr2"]) != 96 || len(facts.Excludes) == 0 || len(facts.Trusts) == 0 {
		t.Errorf("%+v", facts)
	}
	if !strings.HasPrefix(facts.Root.String(), "sha256:") || facts.Root.IsZero() {
		t.Errorf("root %s", facts.Root)
	}
}

// TestEvaluationFloor: collateral that is genuine and in date, but of an older TCB recovery
// than the relying party knows.
func TestEvaluationFloor(t *testing.T) {
	quote, at := evidencetest.Read(t, phala+"tdx_quote"), time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)
	set := evidencetest.Set(t, phala+"tdx_quote_collateral.json")
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
	quote, own := evidencetest.Read(t, google+"ccel/cos-113-tdx-quote.dat"), evidencetest.Read(t, google+"ccel/ccel_data.dat")
	at := time.Date(2025, 6, 20, 0, 0, 0, 0, time.UTC)
	v := tdx.New(evidencetest.Set(t, may2025()...))
	for name, c := range map[string]struct {
		log, err, failed string // the log in JSON
		matched          []any
	}{
		"none":                        {log: `null`},
		"empty":                       {log: `""`},
		"of this boot":                {log: `"` + b64(own) + `"`, matched: []any{0, 1, 2}},
		"with a separator twice":      {log: `"` + b64(evidencetest.Read(t, logs+"ccel/cos-113-intel-tdx-dupe-separator.bin")) + `"`, failed: "tdx.event_log", matched: []any{2}},
		"of another machine":          {log: `"` + b64(evidencetest.Read(t, trustee+"CCEL_data_ovmf")) + `"`, failed: "tdx.event_log", matched: []any{}},
		"of a TPM":                    {log: `"` + b64(evidencetest.Read(t, logs+"tpm/cos-93-amd-sev.bin")) + `"`, failed: "tdx.event_log"},
		"that is the ACPI table":      {log: `"` + b64(evidencetest.Read(t, google+"ccel/ccel_table.dat")) + `"`, err: "tdx.event_log"},
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
	f, err := tdx.Verifier{}.Examine(evidencetest.Read(t, phala+"tdx_quote"), time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC))
	if err != nil || f.Standing() != attest.Contraindicated {
		t.Errorf("%v, %s", err, f.Standing())
	}
}

// TestDetect goes through all evidence there is: TDX quotes are detected, whatever their
// form, and other vendors' evidence is not.
func TestDetect(t *testing.T) {
	for _, c := range cases() {
		if data := evidencetest.Find(t, c.File); data != nil && !tdx.Detect(data) {
			t.Errorf("%s: not detected", c.File)
		}
	}
	evidencetest.Others(t, tdx.Detect, "snp", "sgx", "nitro", "nvidia", "tpm", "dice", "arm-synthetic")
}

// TestMutatedQuote flips every byte that a signature covers, directly or through the hash
// of the attestation key: every one is refused.
func TestMutatedQuote(t *testing.T) {
	for _, name := range []string{phala + "tdx_quote", google + "quote_v5_sample.dat"} {
		quote := evidencetest.Read(t, name)
		v := tdx.New(evidencetest.Set(t, phala+"tdx_quote_collateral.json"))
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
	quote, at := evidencetest.Read(t, phala+"tdx_quote"), time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)
	needed := []endorse.Kind{endorse.IntelTCBInfo, endorse.IntelQEIdentity, endorse.X509CRL, endorse.X509Certificate}
	items := evidencetest.Set(t, phala+"tdx_quote_collateral.json").Items()
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
