package nvidia_test

import (
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/nvidia"
	"strongroom.dev/internal/evidencetest"
)

// Where the captures are, below the vectors.
const (
	serialized = "nvidia/NVIDIA+attestation-sdk/common-test-data/serialized_test_evidence/"
	unit       = "nvidia/NVIDIA+attestation-sdk/nv-attestation-sdk-cpp/unit-tests/testdata/"
	samples    = unit + "sample_attestation_data/"
	sampleRIMs = unit + "sample_rims/"
	nvtrust    = "nvidia/NVIDIA+nvtrust/guest_tools/gpu_verifiers/local_gpu_verifier/src/verifier/samples/"
	ppcie      = "nvidia/NVIDIA+nvtrust/guest_tools/ppcie-verifier-sdk-cpp/tests/data/"
	google     = "nvidia/google+go-nvattest-tools/testing/testdata/"
	trustee    = "nvidia/confidential-containers+trustee/deps/verifier/test_data/nvidia/"
	veraison   = "nvidia/veraison+services/scheme/nvidia/testdata/"
	answers    = google + "ocsp/test_gpu_"
	answer     = "_base64encoded_ocsp_response.dat"
)

// judge sums up an examination, in which all checks are of this platform.
func judge(f attest.Finding, err error) string {
	return strings.ReplaceAll(evidencetest.Judge(f, err), "nvidia.", "")
}

// What no capture has: OCSP responses, and mostly RIMs.
const (
	noRIMs = "contraindicated -collateral -measurements -debug"
	hgx    = "contraindicated -collateral -measurements -debug -topology"
	noFWID = " fwid"
)

type capture struct {
	name, when string
	with       []string
	want       string
}

func captures() []capture {
	const day, hold = "2026-06-01", "2025-08-21T12:00:00Z"
	chain := func(dir, report, chain, want string) capture {
		return capture{dir + report, day, []string{dir + chain}, want}
	}
	google9F := []string{google + "rim/NV_GPU_DRIVER_GH100_550.90.07.xml", google + "rim/NV_GPU_VBIOS_1010_0200_882_96009F0001.xml", google + "test_gpu_attestation_certificate_chain.dat"}
	device := []string{answers + "certificate_l2" + answer, answers + "certificate_l3" + answer, answers + "certificate_l4" + answer}
	rims := []string{answers + "rim_l2" + answer, answers + "driver_rim_l3" + answer, answers + "driver_rim_l4" + answer, answers + "vbios_l4" + answer}
	all := append(append(append([]string{}, google9F...), device...), rims...)
	return []capture{
		{serialized + "hopper_evidence.json", day, nil, hgx},
		{serialized + "hopper_evidence_cert_hold.json", day, nil, noRIMs},
		{serialized + "multi_gpu_hopper.json", day, nil, hgx},
		{serialized + "switch_evidence_ls10.json", day, nil, "contraindicated -collateral -measurements -debug fwid topology"},
		{serialized + "multi_switch_ls10.json", day, nil, "genuine"},
		{unit + "evidence_hopper_590_12.json", day, nil, "genuine"},
		chain(unit, "hopperAttestationReport.txt", "hopperCertChain.txt", noRIMs),
		chain(unit, "switchAttestationReport.txt", "switchCertChain.txt", "contraindicated -collateral -measurements -debug fwid topology"),
		chain(samples+"gpu/", "hopperAttestationReport.txt", "hopperCertChain.txt", noRIMs+noFWID),
		chain(samples+"gpu/", "blackwellAttestationReport.txt", "blackwellCertChain.txt", noRIMs),
		chain(samples+"gpu/", "hopperAttestationReportExpired.txt", "hopperCertChainExpired.txt", noRIMs),
		chain(samples+"gpu/", "hopperAttestationReportInvalidSignature.txt", "hopperCertChain.txt", "invalid evidence signature"),
		chain(samples+"switch/", "switchAttestationReport.txt", "switchCertChain.txt", "contraindicated -collateral -measurements -debug fwid topology"),
		chain(samples+"switch/", "switchAttestationReportInvalidSignature.txt", "switchCertChain.txt", "invalid evidence signature"),
		chain(nvtrust, "hopperAttestationReport.txt", "hopperCertChain.txt", noRIMs),
		chain(google, "test_raw_gpu_attestation_report.dat", "test_gpu_attestation_certificate_chain.dat", noRIMs),
		chain(google, "test_raw_switch_attestation_report.dat", "test_switch_attestation_certificate_chain.dat", "invalid evidence signature"), // another switch's
		chain(google, "test_raw_gpu_attestation_report.dat", "test_switch_attestation_certificate_chain.dat", "invalid evidence signature"),
		{google + "test_raw_gpu_attestation_report.dat", day, nil, "contraindicated -collateral"},
		{google + "test_mpt_data.json", day, nil, noRIMs},
		{google + "test_ppcie_data.json", day, nil, noRIMs + noFWID},
		{ppcie + "gpu_evidence.json", day, nil, "genuine"},
		{ppcie + "switch_evidence.json", day, nil, "genuine"},
		{veraison + "blackwell-evidence.json", day, nil, "genuine"},
		chain(trustee, "hopperAttestationReport.txt", "hopper_cert_chain_case1.txt", "genuine"),
		chain(trustee, "hopperAttestationReport.txt", "hopper_cert_chain_case2.txt", "contraindicated -collateral"),
		chain(trustee, "hopperAttestationReport.txt", "hopper_cert_chain_case3.txt", "contraindicated -collateral"),
		chain(trustee, "hopperAttestationReport.txt", "hopper_cert_chain_case4.txt", "contraindicated -collateral"),
		chain(trustee, "hopper_coco_report1.txt", "hopper_coco_certs1.txt", "genuine"),

		// The one report whose RIMs and OCSP responses were captured, but not on the same day: on
		// the first the device's status is known, on the second that of the RIMs.
		{google + "test_raw_gpu_attestation_report.dat", hold, google9F, "contraindicated -collateral"},
		{google + "test_raw_gpu_attestation_report.dat", hold, all, "contraindicated -collateral"},
		{google + "test_raw_gpu_attestation_report.dat", "2025-10-24T12:00:00Z", all, "contraindicated -collateral"},
		{google + "test_raw_gpu_attestation_report.dat", "2026-11-24", all, "contraindicated -rim -collateral"},
		{google + "test_raw_gpu_attestation_report.dat", "2020-01-01", all, "contraindicated -dates -rim -collateral"},
		// By upstream's names, the values of these do not match the report, or the RIM is not
		// genuine, or for another chip.
		{samples + "gpu/hopperAttestationReport.txt", "2023-12-01", []string{samples + "gpu/hopperCertChain.txt", nvtrust + "1010_0200_882_96005E0001_PROD.swidtag", sampleRIMs + "NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml"},
			"contraindicated -rim -collateral -measurements -debug fwid"},
		{samples + "gpu/hopperAttestationReport.txt", "2024-01-01", []string{samples + "gpu/hopperCertChain.txt", sampleRIMs + "NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml"},
			"contraindicated -collateral -measurements -debug fwid"},
		{samples + "switch/switchAttestationReport.txt", "2026-06-01", []string{samples + "switch/switchCertChain.txt", unit + "switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml"},
			"contraindicated -collateral fwid topology"},
		{samples + "switch/switchAttestationReport.txt", "2026-06-01", []string{samples + "switch/switchCertChain.txt", sampleRIMs + "NV_SWITCH_BIOS_5612_0002_890_9610550001_invalid_signature.xml"},
			"contraindicated -rim -collateral -measurements -debug fwid topology"},
		{samples + "switch/switchAttestationReport.txt", "2026-06-01", []string{samples + "switch/switchCertChain.txt", sampleRIMs + "NV_SWITCH_BIOS_5612_0002_890_9610550001_measurement_mismatch.xml"},
			"contraindicated -collateral -measurements -debug fwid topology"},
	}
}

// TestVectors verifies every capture, or says what is wrong with it, and prints the table.
func TestVectors(t *testing.T) {
	for _, c := range captures() {
		evidence := evidencetest.Find(t, c.name)
		if evidence == nil {
			t.Logf("%-50s not here", filepath.Base(c.name))
			continue
		}
		if !nvidia.Detect(evidence) {
			t.Errorf("%s: not recognised", c.name)
		}
		f, err := nvidia.New(evidencetest.Set(t, c.with...)).Examine(evidence, evidencetest.Time(c.when))
		got := judge(f, err)
		t.Logf("%-50s at %s: %s", filepath.Base(c.name), c.when, got)
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
		if f.Facts.Class != agreement.Confidential || len(f.Facts.ReportData) != 32 || len(f.Facts.Measurements) == 0 || f.Facts.Machine == "" ||
			f.Facts.Generation == "" || len(f.Facts.Excludes) == 0 || len(f.Facts.Trusts) == 0 || len(f.Claims) < 5 {
			t.Errorf("%s: incomplete: %+v", name, f.Facts)
		}
	}
}
