package azure_test

import (
	"slices"
	"strings"
	"testing"

	"strongroom.dev/attest"
	"strongroom.dev/attest/azure"
	"strongroom.dev/internal/evidencetest"
)

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

func cases() []evidencetest.Case {
	const outOfDate = "tdx.tcb.platform tdx.tcb.module tdx.tcb"
	return []evidencetest.Case{
		{What: "SNP, arrays of numbers", File: snp + "evidence-v0.json", With: []string{lists}, At: "2025-06-01"},
		{What: "SNP, hex and base64", File: snp + "evidence-v1.json", With: []string{lists}, At: "2025-06-01"},
		{What: "SNP, user data", File: snp + "evidence-v2.json", With: []string{lists}, At: "2025-06-01"},
		{What: "SNP, user data, no CRL", File: snp + "evidence-v2.json", At: "2025-06-01", Failed: "snp.collateral"},
		{What: "SNP, Genoa", File: snp + "evidence-genoa.json", With: []string{lists}, At: "2025-06-01", Withheld: true},
		{What: "SNP, attestation-rs", File: rsSNP + "evidence-v1.json", With: []string{lists}, At: "2025-06-01"},
		{What: "SNP, attestation-rs, live", File: rsSNP + "live-evidence.json", With: []string{lists}, At: "2026-03-01", Withheld: true},
		{What: "SNP, empty nonce", File: rsSNP + "milan-v3-attestation.json", With: []string{lists}, At: "2026-03-01", Failed: "azure.nonce", Withheld: true},
		{What: "SNP, report alone", File: snp + "hcl-report.bin", With: []string{snp + "vcek.pem", lists}, At: "2025-06-01"},
		{What: "SNP, report alone, no certificate", File: snp + "hcl-report.bin", At: "2025-06-01", Failed: "snp.collateral"},
		{What: "SNP, certificates of another machine", File: kinvolk + "hcl-report-snp.bin", With: []string{kinvolk + "certs.pem", lists}, At: "2025-06-01", Err: "snp.chip_id"},
		{What: "SNP, Genoa in PEM, report alone", File: openpcc + "azure_sevsnp_report.txt", With: []string{lists}, At: "2025-08-01"},
		{What: "TDX, arrays of numbers", File: tdx + "evidence-v0.json", With: may2025(), At: "2025-06-20", Failed: outOfDate},
		{What: "TDX, hex and base64", File: tdx + "evidence-v1.json", With: may2025(), At: "2025-06-20", Failed: outOfDate, Withheld: true},
		{What: "TDX, attestation-rs", File: rsTDX + "evidence-v1.json", With: may2025(), At: "2025-06-20", Failed: outOfDate},
		{What: "TDX without collateral", File: rsTDX + "evidence-v1.json", At: "2025-06-20", Failed: "tdx.collateral tdx.revocation"},
		{What: "TDX, report alone", File: tdx + "hcl-report.bin", With: may2025(), At: "2025-06-20", Failed: "azure.hardware"},
		{What: "TDX, report alone, Secure Boot off", File: kinvolk + "hcl-report-tdx.bin", At: "2025-06-20", Failed: "azure.hardware"},
		{What: "a quote without a report", File: snp + "quote.bin", At: "2025-06-01", Err: "azure.form"},
	}
}

// TestVectors prints every genuine piece of evidence with its verdict.
func TestVectors(t *testing.T) {
	evidencetest.Try(t, cases(), azure.New, func(t *testing.T, c evidencetest.Case, f attest.Finding) {
		if strings.Contains(c.What, "alone") != slices.Contains(f.Warnings, "azure.quote") || len(f.Facts.ReportData) == 0 && f.Standing() == attest.Affirming {
			t.Errorf("%s, warnings %v, report data %x", f.Standing(), f.Warnings, f.Facts.ReportData)
		}
	})
}
