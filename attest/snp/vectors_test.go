package snp_test

import (
	"encoding/pem"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/snp"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/verdict"
)

// Where the captures are, below the vectors.
const (
	google  = "snp/google+go-sev-guest/verify/"
	trustee = "snp/confidential-containers+trustee/deps/verifier/test_data/snp/"
	e2e     = "snp/confidential-containers+trustee/attestation-service/tests/e2e/"
	rs      = "snp/confidential-dot-ai+attestation-rs/crates/attestation/test_data/snp/"
	openpcc = "snp/openpcc+openpcc/attestation/attest/testdata/"
	virtee  = "snp/virtee+sev/tests/certs_data/"
	dstack  = "snp/Dstack-TEE+dstack/dstack/dstack-attest/tests/"
	tsm     = "snp/veraison+services/scheme/sevsnp/test/evidence/"
	sidecar = "snp/microsoft+confidential-sidecar-containers/pkg/attest/test_data/"
	scitt   = "snp/microsoft+scitt-ccf-ledger/test/payloads/"
	azTrust = "azure/confidential-containers+trustee/deps/verifier/test_data/az-snp-vtpm/"
	kinvolk = "azure/kinvolk+azure-cvm-tooling/az-cvm-vtpm/test/"
	azPCC   = "azure/openpcc+openpcc/attestation/attest/testdata/"
	// lists holds AMD's CRLs for Milan (2025-05-06 to 2026-05-12) and Genoa (2024-10-23 to
	// 2025-11-03), and some certificates.
	lists = openpcc + "sev_certificates.txt"
)

// hardwareReport gives the report inside Azure's HCL report, which starts 32 bytes into it.
func hardwareReport(data []byte) []byte {
	if block, _ := pem.Decode(data[max(0, strings.Index(string(data), "-----BEGIN")):]); block != nil {
		data = block.Bytes
	}
	return data[32 : 32+1184]
}

// TestVectors verifies every capture at a time when its certificates and AMD's lists were
// valid, or says what is wrong with it, and prints the table.
func TestVectors(t *testing.T) {
	const old = " snp.alias_check" // firmware from before the mend of BadRAM
	for _, c := range []struct {
		name, day string
		with      []string
		take      func([]byte) []byte
		want      string
	}{
		{google + "testdata/attestation.bin", "2025-06-01", []string{google + "testdata/vcek.testcer", lists}, nil, "contraindicated -snp.debug" + old},
		{trustee + "test-report.bin", "2025-06-01", []string{trustee + "test-vcek.der", lists}, nil, "warning" + old + " snp.tcb_committed"},
		{trustee + "test-report.bin", "2025-06-01", []string{trustee + "test-vcek.der"}, nil, "contraindicated -snp.collateral" + old + " snp.tcb_committed"},
		{trustee + "test-report.bin", "2026-11-24", []string{trustee + "test-vcek.der", lists}, nil, "contraindicated -snp.collateral" + old + " snp.tcb_committed"},
		{trustee + "test-report.bin", "2022-01-01", []string{trustee + "test-vcek.der", lists}, nil, "contraindicated -snp.dates -snp.collateral" + old + " snp.tcb_committed"},
		{trustee + "test-report.bin", "2025-06-01", []string{lists}, nil, "contraindicated -snp.collateral"},
		{trustee + "test-report.bin", "2025-06-01", []string{trustee + "test-vcek-invalid-legacy.der", lists}, nil, "invalid evidence snp.chain"},
		{trustee + "test-report.bin", "2025-06-01", []string{trustee + "test-vcek-invalid-new.der"}, nil, "invalid evidence snp.chain"},
		{trustee + "test-vlek-report.bin", "2025-06-01", []string{trustee + "test-vlek.der", lists}, nil, "contraindicated -snp.vmpl snp.tcb_committed"},
		{trustee + "test-vlek-report.bin", "2026-01-01", []string{trustee + "test-vlek.der", lists}, nil, "contraindicated -snp.dates -snp.vmpl snp.tcb_committed"},
		{trustee + "test-vlek-report.bin", "2025-06-01", []string{trustee + "test-vcek.der", lists}, nil, "contraindicated -snp.collateral"},
		{e2e + "evidence.json", "2025-08-01", []string{lists}, nil, "affirming"},
		{rs + "live-report-v5-genoa.bin", "2026-03-01", []string{rs + "live-vcek-genoa.der", lists}, nil, "contraindicated -snp.collateral"},
		{rs + "live-evidence-genoa.json", "2026-03-01", []string{lists}, nil, "contraindicated -snp.collateral"},
		{virtee + "report_milan.hex", "2025-06-01", []string{virtee + "vcek_milan.der", virtee + "cert_chain_milan", lists}, nil, "genuine"},
		{dstack + "sev_snp_attestation.bin", "2026-07-01", []string{dstack + "sev_snp_vcek.pem"}, nil, "genuine"},
		{tsm + "sevsnp-tsm-report.json", "2025-08-01", []string{lists}, nil, "genuine"},
		{tsm + "sevsnp-tsm-report.cbor", "2025-08-01", []string{lists}, nil, "genuine"},
		{scitt + "css-attested-cosesign1-20250617.cose", "2025-08-01", []string{lists}, nil, "affirming"},
		{scitt + "css-attested-cosesign1-20250812.cose", "2025-08-20", []string{lists}, nil, "affirming"},
		{scitt + "css-attested-cosesign1-20250925.cose", "2025-10-01", []string{lists}, nil, "genuine"},
		{scitt + "css-attested-cosesign1-20260302.cose", "2026-03-10", []string{lists}, nil, "genuine"},
		{sidecar + "snp_report.bin", "2025-06-01", []string{sidecar + "uvm_host_amd_certificate.pem", lists}, nil, "warning" + old},
		{sidecar + "snp_report.bin", "2025-06-01", []string{sidecar + "uvm_host_amd_certificate.json", sidecar + "uvm_security_policy.base64", sidecar + "body.uvm_reference_info.bin", lists}, nil, "warning" + old + " snp.uvm_signer"},
		{openpcc + "gce_sevsnp_report.txt", "2025-06-01", []string{lists}, nil, "contraindicated -snp.collateral"},
		{azTrust + "hcl-report.bin", "2025-06-01", []string{azTrust + "vcek.pem", lists}, hardwareReport, "warning" + old + " snp.tcb_committed"},
		{kinvolk + "hcl-report-snp.bin", "2025-06-01", []string{kinvolk + "certs.pem"}, hardwareReport, "invalid evidence snp.chip_id"},
		{azPCC + "azure_sevsnp_report.txt", "2025-08-01", []string{lists}, hardwareReport, "affirming"},
	} {
		evidence := evidencetest.Find(t, c.name)
		if evidence == nil {
			t.Logf("%-90s not here", filepath.Base(c.name))
			continue
		}
		if c.take != nil {
			evidence = c.take(evidence)
		} else if !snp.Detect(evidence) {
			t.Errorf("%s: not recognised", c.name)
		}
		f, err := snp.New(evidencetest.Set(t, c.with...)).Examine(evidence, evidencetest.Time(c.day))
		got := evidencetest.Judge(f, err)
		t.Logf("%-45s at %s: %s", filepath.Base(c.name), c.day, got)
		if got != c.want && (c.want != "genuine" || err != nil || f.Facts.Root.IsZero()) {
			t.Errorf("%s: got %q, expected %q (%v)", c.name, got, c.want, err)
		}
		checkFinding(t, c.name, f, err)
	}
}

// checkFinding checks that a finding says enough and nothing without a signature.
func checkFinding(t *testing.T, name string, f attest.Finding, err error) {
	t.Helper()
	switch {
	case err != nil:
		if len(f.Checks)+len(f.Claims) != 0 || f.Facts.Platform != "" {
			t.Errorf("%s: an error with a finding", name)
		}
	case f.Facts.Root.IsZero():
		if len(f.Claims) != 0 || len(f.Facts.Measurements) != 0 || f.Facts.ReportData != nil || !f.Facts.Debug {
			t.Errorf("%s: facts without a signature", name)
		}
	default:
		if f.Facts.Class != agreement.Confidential || len(f.Facts.ReportData) != 64 || len(f.Facts.InitData) != 32 || len(f.Facts.Measurements["measurement"]) != 96 ||
			len(f.Facts.Excludes) == 0 || len(f.Facts.Trusts) == 0 || len(f.Claims) < 46 || f.Claims[snp.ACPI] != "host-controlled" {
			t.Errorf("%s: incomplete: %+v", name, f.Facts)
		}
	}
}

// TestClaims looks at claims of a few captures.
func TestClaims(t *testing.T) {
	for _, c := range []struct {
		name string
		with []string
		want map[string]any
	}{
		{trustee + "test-vlek-report.bin", []string{trustee + "test-vlek.der"}, map[string]any{
			"signing_key": "vlek", "vmpl": int64(1), "csp_id": "CN=cc-us-east-2.amazonaws.com", "product": "Milan", "platform_alias_check_complete": true,
			"cpuid_family": int64(0x19), "cpuid_model": int64(1), "version": int64(3), "current_version": "1.55.29", "chip_id": strings.Repeat("00", 64)}},
		{rs + "live-report-v5-genoa.bin", []string{rs + "live-vcek-genoa.der"}, map[string]any{
			"signing_key": "vcek", "version": int64(5), "product": "Genoa", "cpuid_model": int64(0xa0), "launch_mitigation_vector": "0xb", "policy": "0x30000",
			"policy_debug_allowed": false, "policy_smt_allowed": true, "platform_info": "0x25", "mask_chip_key": false}},
		{google + "testdata/attestation.bin", []string{google + "testdata/vcek.testcer"}, map[string]any{"policy_debug_allowed": true, "vek_product_name": "Milan-B0", "cpuid_model": nil, "current_mitigation_vector": nil}},
		{sidecar + "snp_report.bin", []string{sidecar + "uvm_host_amd_certificate.pem", sidecar + "body.uvm_reference_info.bin", sidecar + "uvm_security_policy.base64"}, map[string]any{
			"container_policy": true, "uvm_feed": "ContainerPlat-AMD-UVM", "uvm_svn": int64(22), "guest_svn": int64(2)}},
		{scitt + "css-attested-cosesign1-20250812.cose", nil, map[string]any{"cose_subject": "UpdatePolicy", "cose_svn": int64(1), "uvm_svn": int64(101)}},
	} {
		f, err := snp.New(evidencetest.Set(t, c.with...)).Examine(evidencetest.Read(t, c.name), evidencetest.Time("2025-09-01"))
		if err != nil {
			t.Error(err)
			continue
		}
		for name, want := range c.want {
			if got := f.Claims[name]; got != want {
				t.Errorf("%s: %s is %v, expected %v", c.name, name, got, want)
			}
		}
	}
}

// TestPlatform checks what reaches [attest.Verify]: facts only if every check passed.
func TestPlatform(t *testing.T) {
	p := snp.New(evidencetest.Set(t, trustee+"test-vcek.der", lists)).Platform()
	facts, err := p.Verify(evidencetest.Read(t, trustee+"test-report.bin"), evidencetest.Time("2025-06-01"))
	if err != nil || facts.Platform != snp.Name || p.Name != snp.Name || facts.Machine[:16] != "c38427a30d4c7af9" || facts.Debug {
		t.Errorf("%+v %v", facts, err)
	}
	for name, day := range map[string]string{"CRL expired": "2026-06-01", "before all": "2020-01-01"} {
		var e *verdict.Error
		if _, err := p.Verify(evidencetest.Read(t, trustee+"test-report.bin"), evidencetest.Time(day)); !errors.As(err, &e) || e.Kind != verdict.Refused {
			t.Errorf("%s: %v", name, err)
		}
	}
	p = snp.New(evidencetest.Set(t, google+"testdata/vcek.testcer", lists)).Platform()
	if _, err := p.Verify(evidencetest.Read(t, google+"testdata/attestation.bin"), evidencetest.Time("2025-06-01")); err == nil || verdict.As(err).Check != "snp.debug" {
		t.Errorf("debug: %v", err)
	}
	if _, err := (snp.Verifier{}).Platform().Verify(evidencetest.Read(t, trustee+"test-report.bin"), evidencetest.Time("2025-06-01")); err == nil {
		t.Error("the zero verifier gives facts")
	}
}

// TestOthersAreNotOurs checks that evidence of other platforms is not taken for a report.
func TestOthersAreNotOurs(t *testing.T) {
	evidencetest.Others(t, snp.Detect, "azure", "tdx", "sgx", "nitro", "nvidia", "tpm", "dice", "arm-synthetic")
}
