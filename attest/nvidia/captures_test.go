package nvidia_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/attest/nvidia"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
)

// TestRIMs verifies every RIM among the captures, or says what is wrong with it, and prints
// the table. Dates are apart: signers live about two years.
func TestRIMs(t *testing.T) {
	const (
		altered   = "its content was altered: the digest differs"
		signature = "its signature does not verify"
	)
	bad := map[string]string{
		"incorrect_signature_driver_rim.xml":                               signature,
		"incorrect_cert_chain_driver_rim.xml":                              "is not here",
		"NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml":           altered,
		"NV_SWITCH_BIOS_5612_0002_890_9610550001_invalid_signature.xml":    altered,
		"NV_SWITCH_BIOS_5612_0002_890_9610550001_measurement_mismatch.xml": altered,
		"NV_GPU_DRIVER_GH100_570.124.03_expired.xml":                       altered,
		"valid_signed_xml.xml":                                             "no RIM",
	}
	count := 0
	evidencetest.Walk(t, func(path string, data []byte) {
		name := filepath.Base(path)
		if filepath.Ext(name) != ".xml" && filepath.Ext(name) != ".swidtag" {
			return
		}
		want := bad[name]
		if strings.HasPrefix(name, "failure_") || strings.HasPrefix(name, "success_payload_") {
			want = "no RIM" // parts of RIMs, without a signature
		}
		rim, err := nvidia.VerifyRIM(data)
		t.Logf("%-70s %s %s %s: %v", name, rim.Edition, rim.Product, rim.Version, err)
		switch {
		case want == "" && (err != nil || len(rim.Golden) < 12 || len(rim.Chain) < 4):
			t.Errorf("%s: %v", name, err)
		case want == "":
			count++
		case want == "no RIM" && (err == nil || rim.Version != ""), want != "no RIM" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, expected %q", name, err, want)
		}
	}, "nvidia")
	if count < 29 {
		t.Errorf("%d genuine RIMs, expected 29", count)
	}
}

// TestExpectedParses compares with what NVIDIA's own parser says of two reports.
func TestExpectedParses(t *testing.T) {
	for report, parses := range map[string][2]string{
		"hopperAttestationReport.txt": {"spdm_parsed_output.json", "spdm_req_parsed_output.json"},
		"switchAttestationReport.txt": {"switch_spdm_parsed_output.json", "switch_spdm_req_parsed_output.json"},
	} {
		var want struct {
			Nonce             string
			NumberOfBlocks    int
			MeasurementRecord struct {
				MeasurementBlocks map[string]struct{ DMTFSpecMeasurementValue string }
			}
			OpaqueData struct{ OpaqueDataField map[string]any }
		}
		var request struct{ Nonce string }
		for i, to := range []any{&want, &request} {
			if err := json.Unmarshal(evidencetest.Read(t, unit+parses[i]), to); err != nil {
				t.Fatal(err)
			}
		}
		r, err := nvidia.ParseReport(endorse.Decode(evidencetest.Read(t, unit+report)))
		if err != nil {
			t.Fatal(err)
		}
		hex0 := func(b []byte) string { return "0x" + hex.EncodeToString(b) }
		if hex0(r.Nonce[:]) != request.Nonce || hex0(r.Responder[:]) != want.Nonce || len(r.Blocks) != want.NumberOfBlocks {
			t.Errorf("%s: nonces or blocks differ", report)
		}
		for _, b := range r.Blocks {
			if got := want.MeasurementRecord.MeasurementBlocks[fmt.Sprint(b.Index)].DMTFSpecMeasurementValue; got != hex0(b.Value) {
				t.Errorf("%s: measurement %d: %x, expected %s", report, b.Index, b.Value, got)
			}
		}
		fields := make(map[string]string)
		for _, f := range r.Fields {
			fields[hex0(f.Data)] = f.Type.String()
		}
		names := map[string]string{"DRIVER_VERSION": "driver_version", "VBIOS_VERSION": "vbios_version", "BOARD_ID": "board_id", "CHIP_SKU": "chip_sku", "PROJECT": "project",
			"PROJECT_SKU": "project_sku", "FWID": "fwid", "GPU_INFO": "gpu_info", "CPRINFO": "cpr_info", "SWITCH_POSITION_ID": "position_id"}
		for id, value := range want.OpaqueData.OpaqueDataField {
			name := names[strings.TrimPrefix(id, "OPAQUE_FIELD_ID_")]
			if text, ok := value.(string); ok && name != "" && fields[text] != name {
				t.Errorf("%s: %s is %s, we name it %q", report, id, text, fields[text])
			}
		}
	}
}

// TestClaims looks at claims of captures.
func TestClaims(t *testing.T) {
	for _, c := range []struct {
		name, chain string
		want        map[string]any
	}{
		{unit + "hopperAttestationReport.txt", unit + "hopperCertChain.txt", map[string]any{
			"architecture": "HOPPER", "chip": "GH100", "serial": "41e23d711e1c4fbfac", "device_pdi": "e23d711e1c4fbfac", "driver_version": "580.159.03", "vbios_version": "96.00.74.00.20",
			"project": "1010", "project_sku": "0205", "chip_sku": "862", "mode": "SPT", "nvdec0_status": "55", "opaque_data_version": int64(1), "gpus": int64(1), "switches": int64(0),
			"driver_rim_id": "NV_GPU_DRIVER_GH100_580.159.03", "vbios_rim_id": "NV_GPU_VBIOS_1010_0205_862_9600740020", "hardware_model": "GH100 A01 GSP FMC LF"}},
		{samples + "gpu/blackwellAttestationReport.txt", samples + "gpu/blackwellCertChain.txt", map[string]any{
			"architecture": "BLACKWELL", "driver_version": "575.32", "vbios_version": "97.00.88.00.0F", "driver_rim_id": "NV_GPU_CC_DRIVER_GB100_575.32", "svn": int64(1), "dice_flags": "80000001",
			"vbios_rim_id": "NV_GPU_VBIOS_G525_0220_886_970088000F"}},
		{unit + "switchAttestationReport.txt", unit + "switchCertChain.txt", map[string]any{
			"architecture": "LS10", "serial": "50203eb31ad9ed0008", "pdi": "203eb31ad9ed0008", "vbios_version": "96.10.55.00.01", "vbios_rim_id": "NV_SWITCH_BIOS_5612_0002_890_9610550001",
			"position_id": "0200", "lock_status": "0100", "fwid": nil, "mode": nil}},
	} {
		f, err := nvidia.New(evidencetest.Set(t, c.chain)).Examine(evidencetest.Read(t, c.name), evidencetest.Time("2026-06-01"))
		if err != nil {
			t.Error(err)
			continue
		}
		for name, want := range c.want {
			if got := f.Claims[name]; got != want {
				t.Errorf("%s: %s is %v, expected %v", c.name, name, got, want)
			}
		}
		if n := len(f.Claims["measurements"].(map[string]any)); n != 64 && n != 31 {
			t.Errorf("%s: %d measurements", c.name, n)
		}
		if _, err := json.Marshal(f.Claims); err != nil {
			t.Error(err)
		}
	}
}

// TestMachine looks at the facts of a whole machine.
func TestMachine(t *testing.T) {
	f, err := nvidia.New(endorse.Set{}).Examine(evidencetest.Read(t, google+"test_ppcie_data.json"), evidencetest.Time("2026-06-01"))
	if err != nil {
		t.Fatal(err)
	}
	serials := strings.Split(f.Facts.Machine, "+")
	if len(serials) != 12 || f.Facts.Generation != "HOPPER" || f.Claims["gpus"] != int64(8) || f.Claims["switches"] != int64(4) || len(f.Facts.Trusts) != 3 {
		t.Errorf("%+v", f.Facts)
	}
	if diff := cmp.Diff([]string{"gpu_fwid", "switch_fwid"}, sortedKeys(f.Facts.Measurements)); diff != "" {
		t.Error(diff)
	}
	// A register that stands for all devices of a kind is there only if they agree.
	s := hgx2()
	s.devices[1].fwid, s.devices[1].fields[20] = digest("other firmware"), digest("other firmware")
	f, err = s.examine()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"gpu_driver_rim", "gpu_fwid_0", "gpu_fwid_1", "gpu_fwid_2", "gpu_vbios_rim", "switch_fwid", "switch_vbios_rim"}
	if diff := cmp.Diff(want, sortedKeys(f.Facts.Measurements)); diff != "" {
		t.Error(diff)
	}
}

func sortedKeys(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	for i := range keys {
		for j := range i {
			if keys[i] < keys[j] {
				keys[i], keys[j] = keys[j], keys[i]
			}
		}
	}
	return keys
}

// TestBuiltin checks the built-in roots against NVIDIA's files.
func TestBuiltin(t *testing.T) {
	if !nvidia.Builtin() {
		t.Error("a built-in root is not as pinned")
	}
}

// TestZero checks that the zero verifier gives no facts.
func TestZero(t *testing.T) {
	if _, err := (nvidia.Verifier{}).Platform().Verify(evidencetest.Read(t, serialized+"hopper_evidence.json"), evidencetest.Time("2026-06-01")); err == nil {
		t.Error("the zero verifier gives facts")
	}
	f, err := nvidia.Verifier{}.Examine(evidencetest.Read(t, serialized+"hopper_evidence.json"), evidencetest.Time("2026-06-01"))
	if got := judge(f, err); got != hgx {
		t.Error(got)
	}
}

// TestOthersAreNotOurs checks that evidence of other platforms is not taken for a report, nor
// endorsements.
func TestOthersAreNotOurs(t *testing.T) {
	evidencetest.Walk(t, func(path string, data []byte) {
		name := strings.ToLower(filepath.Base(path))
		ours := strings.HasPrefix(path, "nvidia/") && (strings.Contains(name, "report") || strings.Contains(name, "evidence") || strings.HasPrefix(name, "multi_") || strings.HasSuffix(name, "_data.json"))
		if !ours && nvidia.Detect(data) {
			t.Errorf("%s is taken for a report", path)
		}
	}, "azure", "tdx", "sgx", "nitro", "snp", "tpm", "dice", "arm-synthetic", "nvidia")
}

// TestPadding accepts zeros behind a genuine report, as some collectors leave them.
func TestPadding(t *testing.T) {
	v := nvidia.New(evidencetest.Set(t, unit+"hopperCertChain.txt"))
	report := endorse.Decode(evidencetest.Read(t, unit+"hopperAttestationReport.txt"))
	for n, ok := range map[string]bool{"": true, "\x00": true, strings.Repeat("\x00", 900): true, "\x01": false, "\x00\x00\x01": false} {
		_, err := v.Examine(append(bytes.Clone(report), n...), evidencetest.Time("2026-06-01"))
		if (err == nil) != ok {
			t.Errorf("%q: %v", n, err)
		}
	}
}

// TestNeeded checks what a fetcher is told to fetch.
func TestNeeded(t *testing.T) {
	rim := evidencetest.Read(t, google+"rim/NV_GPU_DRIVER_GH100_550.90.07.xml")
	for _, c := range []struct {
		name   string
		rims   []string
		status int
		have   [][]byte
	}{
		{serialized + "hopper_evidence.json", []string{"NV_GPU_DRIVER_GH100_590.12", "NV_GPU_VBIOS_G520_0200_885_9600A50001"}, 3, nil},
		{serialized + "hopper_evidence.json", []string{"NV_GPU_DRIVER_GH100_590.12", "NV_GPU_VBIOS_G520_0200_885_9600A50001"}, 6, [][]byte{rim, []byte("x")}},
		{serialized + "switch_evidence_ls10.json", []string{"NV_SWITCH_BIOS_5612_0002_890_9610550001"}, 3, nil},
		{google + "test_mpt_data.json", []string{"NV_GPU_CC_DRIVER_GB100_590.48.01", "NV_GPU_VBIOS_G525_0220_886_9700D90035"}, 10, nil},
		{google + "test_raw_gpu_attestation_report.dat", nil, 0, nil},
	} {
		n, err := nvidia.Needed(evidencetest.Read(t, c.name), c.have...)
		if err != nil || len(n.Status) != c.status {
			t.Errorf("%s: %d certificates, expected %d (%v)", c.name, len(n.Status), c.status, err)
		}
		if diff := cmp.Diff(c.rims, n.RIMs); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		for _, s := range n.Status {
			if err := s.Certificate.CheckSignatureFrom(s.Issuer); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := nvidia.Needed([]byte("{}")); err == nil {
		t.Error("something that is no evidence needs nothing")
	}
}

func BenchmarkExamine(b *testing.B) {
	for name, c := range map[string][]string{
		"GPU":                   {google + "test_raw_gpu_attestation_report.dat", google + "test_gpu_attestation_certificate_chain.dat", google + "rim/NV_GPU_DRIVER_GH100_550.90.07.xml", google + "rim/NV_GPU_VBIOS_1010_0200_882_96009F0001.xml"},
		"8 GPUs and 4 switches": {google + "test_ppcie_data.json"},
	} {
		b.Run(name, func(b *testing.B) {
			v, evidence, now := nvidia.New(evidencetest.Set(b, c[1:]...)), evidencetest.Read(b, c[0]), evidencetest.Time("2025-10-24")
			for b.Loop() {
				if _, err := v.Examine(evidence, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
