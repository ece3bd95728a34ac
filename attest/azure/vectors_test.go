package azure_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/azure"
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

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder(), filepath.FromSlash(name)))
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("genuine evidence is not here (STRONGROOM_VECTORS): %v", err)
	}
	if err != nil {
		t.Fatalf("genuine evidence is missing under CI=true: %v", err)
	}
	return data
}

func setOf(t testing.TB, files ...string) endorse.Set {
	t.Helper()
	var items []endorse.Item
	for _, name := range files {
		items = append(items, endorse.Parse(name, read(t, name))...)
	}
	set, err := endorse.NewSet(items...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func at(text string) time.Time {
	when, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return when
}

// Where the captures are, below the vectors.
const (
	snp     = "azure/confidential-containers+trustee/deps/verifier/test_data/az-snp-vtpm/"
	tdx     = "azure/confidential-containers+trustee/deps/verifier/test_data/az-tdx-vtpm/"
	rsSNP   = "azure/confidential-dot-ai+attestation-rs/crates/attestation/test_data/az_snp/"
	rsTDX   = "azure/confidential-dot-ai+attestation-rs/crates/attestation/test_data/az_tdx/"
	kinvolk = "azure/kinvolk+azure-cvm-tooling/az-cvm-vtpm/test/"
	openpcc = "azure/openpcc+openpcc/attestation/attest/testdata/"
	teepot  = "tdx/matter-labs+teepot/crates/intel-dcap-api/tests/test_data/"
	phala   = "tdx/Phala-Network+dcap-qvl/sample/"
	// lists holds AMD's CRLs for Milan (2025-05-06 to 2026-05-12) and Genoa (2024-10-23 to
	// 2025-11-03), and the chip's certificate for a Genoa report.
	lists = "snp/openpcc+openpcc/attestation/attest/testdata/sev_certificates.txt"
)

// may2025 is complete collateral for FMSPC 00806F050000 from 2025-05-27 to 06-26.
func may2025() []string {
	return []string{teepot + "tdx_tcb_info_00806F050000.json", teepot + "tdx_qe_identity.json", teepot + "tdx_tcb_eval_nums.json", teepot + "pck_crl_platform.json", phala + "tdx_quote_collateral.json"}
}

// failed lists the ids of the checks that failed.
func failed(f attest.Finding) string {
	var ids []string
	for _, c := range f.Checks {
		if !c.OK {
			ids = append(ids, c.ID)
		}
	}
	return strings.Join(ids, " ")
}

// vector is genuine evidence with what must come of it at a time.
type vector struct {
	what, file string
	with       []string
	day        string
	failed     string // ids of the failed checks, in order
	err        string // id of the check, for what is not genuine
	// withheld evidence is kept back from this project for independent checks.
	withheld bool
}

func vectors() []vector {
	const outOfDate = "tdx.tcb.platform tdx.tcb.module tdx.tcb"
	return []vector{
		{what: "SNP, arrays of numbers", file: snp + "evidence-v0.json", with: []string{lists}, day: "2025-06-01"},
		{what: "SNP, hex and base64", file: snp + "evidence-v1.json", with: []string{lists}, day: "2025-06-01"},
		{what: "SNP, user data", file: snp + "evidence-v2.json", with: []string{lists}, day: "2025-06-01"},
		{what: "SNP, user data, no CRL", file: snp + "evidence-v2.json", day: "2025-06-01", failed: "snp.collateral"},
		{what: "SNP, Genoa", file: snp + "evidence-genoa.json", with: []string{lists}, day: "2025-06-01", withheld: true},
		{what: "SNP, attestation-rs", file: rsSNP + "evidence-v1.json", with: []string{lists}, day: "2025-06-01"},
		{what: "SNP, attestation-rs, live", file: rsSNP + "live-evidence.json", with: []string{lists}, day: "2026-03-01", withheld: true},
		{what: "SNP, empty nonce", file: rsSNP + "milan-v3-attestation.json", with: []string{lists}, day: "2026-03-01", failed: "azure.nonce", withheld: true},
		{what: "SNP, report alone", file: snp + "hcl-report.bin", with: []string{snp + "vcek.pem", lists}, day: "2025-06-01"},
		{what: "SNP, report alone, no certificate", file: snp + "hcl-report.bin", day: "2025-06-01", failed: "snp.collateral"},
		{what: "SNP, certificates of another machine", file: kinvolk + "hcl-report-snp.bin", with: []string{kinvolk + "certs.pem", lists}, day: "2025-06-01", err: "snp.chip_id"},
		{what: "SNP, Genoa in PEM, report alone", file: openpcc + "azure_sevsnp_report.txt", with: []string{lists}, day: "2025-08-01"},
		{what: "TDX, arrays of numbers", file: tdx + "evidence-v0.json", with: may2025(), day: "2025-06-20", failed: outOfDate},
		{what: "TDX, hex and base64", file: tdx + "evidence-v1.json", with: may2025(), day: "2025-06-20", failed: outOfDate, withheld: true},
		{what: "TDX, attestation-rs", file: rsTDX + "evidence-v1.json", with: may2025(), day: "2025-06-20", failed: outOfDate},
		{what: "TDX without collateral", file: rsTDX + "evidence-v1.json", day: "2025-06-20", failed: "tdx.collateral tdx.revocation"},
		{what: "TDX, report alone", file: tdx + "hcl-report.bin", with: may2025(), day: "2025-06-20", failed: "azure.hardware"},
		{what: "TDX, report alone, Secure Boot off", file: kinvolk + "hcl-report-tdx.bin", day: "2025-06-20", failed: "azure.hardware"},
		{what: "a quote without a report", file: snp + "quote.bin", day: "2025-06-01", err: "azure.form"},
	}
}

// TestVectors prints every genuine piece of evidence with its verdict.
func TestVectors(t *testing.T) {
	for _, c := range vectors() {
		t.Run(c.what, func(t *testing.T) {
			if c.withheld {
				t.Setenv("CI", "")
			}
			data, v := read(t, c.file), azure.New(setOf(t, c.with...))
			f, err := v.Examine(data, at(c.day))
			_, strict := v.Platform().Verify(data, at(c.day))
			if !c.withheld && (strict == nil) != (c.failed == "" && c.err == "") {
				t.Errorf("as a platform: %v", strict)
			}
			if azure.Detect(data) != (c.err != "azure.form") {
				t.Error("recognised, or not, against what it is")
			}
			if c.err != "" {
				if err == nil || verdict.As(err).Check != c.err || verdict.As(err).Kind != verdict.Invalid {
					t.Fatalf("%v, expected %s", err, c.err)
				}
				t.Logf("refused: %v", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s, root %s, machine %.16s, generation %s", f.Standing(), f.Facts.Root.Short(), f.Facts.Machine, f.Facts.Generation)
			for _, check := range f.Checks {
				t.Logf("  %v %s: %s", check.OK, check.ID, check.Got)
			}
			got := failed(f)
			if c.withheld { // what verifies it was never seen here: more may be missing
				got = strings.Join(slices.DeleteFunc(strings.Fields(got), func(id string) bool { return !slices.Contains(strings.Fields(c.failed), id) }), " ")
			}
			if strings.Contains(c.what, "alone") != slices.Contains(f.Warnings, "azure.quote") || len(f.Facts.ReportData) == 0 && f.Standing() == attest.Affirming {
				t.Errorf("%s, warnings %v, report data %x", f.Standing(), f.Warnings, f.Facts.ReportData)
			}
			if got != c.failed {
				t.Errorf("failed %s, expected %s", got, c.failed)
			}
		})
	}
}
