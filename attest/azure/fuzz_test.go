package azure_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"strongroom.dev/attest/azure"
	"strongroom.dev/internal/evidencetest"
)

// report makes an HCL report around runtime data.
func report(kind uint32, hardware, runtime []byte) []byte {
	b := make([]byte, 1236)
	copy(b, "HCLA")
	copy(b[32:1216], hardware)
	for at, value := range map[int]uint32{4: 2, 8: uint32(1236 + len(runtime)), 12: 2, 1216: uint32(20 + len(runtime)), 1220: 1, 1224: kind, 1228: 1, 1232: uint32(len(runtime))} {
		binary.LittleEndian.PutUint32(b[at:], value)
	}
	return append(b, runtime...)
}

func FuzzParseReport(f *testing.F) {
	f.Add(report(2, []byte{2}, []byte("{}")))
	f.Add(report(4, []byte{0x81}, []byte("{}")))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := azure.ParseReport(data)
		if err == nil && ((r.SNP == nil) == (r.TD == nil) || len(r.Runtime) > len(data)) {
			t.Errorf("%+v", r)
		}
	})
}

func FuzzParseRuntime(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kid":"HCLAkPub","kty":"RSA","e":"AQAB","n":"AQAB"}],"vm-configuration":{"a":1,"b":true,"c":"x","d":1e3},"user-data":"00"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := azure.ParseRuntime(data)
		if err == nil && r.AK == nil {
			t.Errorf("%+v", r)
		}
	})
}

// FuzzExamine reads anything: nothing of it is genuine.
func FuzzExamine(f *testing.F) {
	f.Add([]byte(`{"version":1,"hcl_report":[72],"tpm_quote":{"message":[1],"signature":"00","pcrs":["00"]},"vcek":"-----BEGIN"}`))
	f.Add([]byte(`{"platform":"az-tdx","evidence":{"hcl_report":"00","td_quote":"00","tpm_quote":{}}}`))
	f.Add([]byte(`{"type":"strongroom/azure-evidence/v1"}`))
	f.Add([]byte("HCLA"))
	v := azure.Verifier{}
	f.Fuzz(func(t *testing.T, data []byte) {
		finding, err := v.Examine(data, evidencetest.Time("2025-06-01"))
		if err == nil && (evidencetest.Failed(finding) == "" || len(finding.Claims) != 0) {
			t.Errorf("genuine: %+v", finding)
		}
		if azure.Detect(data) && bytes.HasPrefix(data, []byte("HCLB")) {
			t.Error("recognised")
		}
	})
}
