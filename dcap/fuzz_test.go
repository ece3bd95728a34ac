package dcap_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"

	"strongroom.dev/dcap"
)

func yes([]byte, []byte) bool { return true }

func FuzzExamine(f *testing.F) {
	f.Add([]byte("\x04\x00\x02\x00\x81\x00\x00\x00"))
	f.Add([]byte(`{"quote":"AwACAAAAAAAAAAAAk5pyM/ecTKmUCg2zlX8GBw=="}`))
	f.Add([]byte(`{"cc_eventlog":"AAAA","quote":"AwACAAAAAAAAAAAAk5pyM/ecTKmUCg2zlX8GBw=="}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v *dcap.Verifier
		for _, tee := range []dcap.TEE{dcap.SGX, dcap.TDX} {
			if r, err := v.Examine(data, tee, now); err == nil && r.Root.IsZero() {
				t.Error("a result without a root")
			}
		}
		dcap.Detect(data)
	})
}

func FuzzParseTCBInfo(f *testing.F) {
	f.Add([]byte(`{"tcbInfo":{"id":"TDX","version":3,"tcbLevels":[{"tcb":{"sgxtcbcomponents":[{"svn":1}],"pcesvn":1}}]},"signature":"` + strings.Repeat("00", 64) + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := dcap.ParseTCBInfo(data, yes)
		if err == nil && (len(info.Levels) == 0 || info.Evaluation < 1 || info.Issued.IsZero()) {
			t.Errorf("incomplete: %+v", info)
		}
	})
}

func FuzzParseIdentity(f *testing.F) {
	f.Add([]byte(`{"enclaveIdentity":{"id":"QE","version":2,"isvprodid":1,"tcbLevels":[{"tcb":{"isvsvn":1}}]},"signature":"` + strings.Repeat("00", 64) + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := dcap.ParseIdentity(data, yes)
		if err == nil && (len(id.Levels) == 0 || id.Evaluation < 1) {
			t.Errorf("incomplete: %+v", id)
		}
	})
}

func FuzzParseEvaluations(f *testing.F) {
	f.Add([]byte(`{"tcbEvaluationDataNumbers":{"id":"SGX","version":1,"tcbEvalNumbers":[{"tcbEvaluationDataNumber":1}]},"signature":"` + strings.Repeat("00", 64) + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := dcap.ParseEvaluations(data, yes)
		if err == nil && len(list.Numbers) == 0 {
			t.Errorf("incomplete: %+v", list)
		}
	})
}

func FuzzParsePCK(f *testing.F) {
	f.Add([]byte{0x30, 0x0f, 0x30, 0x0d})
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = dcap.ParsePCK(&x509.Certificate{Extensions: []pkix.Extension{{Id: oid(), Value: data}}})
	})
}
