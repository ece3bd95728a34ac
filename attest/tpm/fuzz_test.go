package tpm_test

import (
	"testing"
	"time"

	"strongroom.dev/attest/tpm"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/measure"
)

// FuzzExamine reads anything: nothing of it is genuine.
func FuzzExamine(f *testing.F) {
	f.Add([]byte(`{"ak_public":"AAAA","tpm_quote":{"message":[1],"signature":"00","pcrs":["00"]}}`))
	f.Add([]byte(`{"type":"strongroom/tpm-evidence/v1","quotes":[]}`))
	f.Add([]byte{0x0a, 2, 1, 2, 0x12, 4, 0x0a, 2, 3, 4})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0, 0, 0, 0, 0, 9})
	v := tpm.New(endorsements(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		finding, err := v.Examine(data, noon)
		if err == nil && (evidencetest.Failed(finding) == "" || len(finding.Claims) != 0) {
			t.Errorf("genuine: %+v", finding)
		}
		tpm.Detect(data)
	})
}

// FuzzParts puts anything into the parts of good evidence that nothing signs as a whole: what
// is in them can make it refused, and never gives it a root.
func FuzzParts(f *testing.F) {
	w := newWorld(f)
	f.Add(w.ak.cert.Raw, []byte{}, []byte{}, []byte{})
	f.Add([]byte{}, w.middle.cert.Raw, []byte(`{"type":"strongroom/tpm-activation/v1","body":{},"signatures":[]}`), make([]byte, 40))
	v := tpm.New(endorsements(f))
	f.Fuzz(func(t *testing.T, certificate, other, activation, log []byte) {
		e := w.evidence
		e.AKCertificate, e.Activation, e.EventLog = certificate, activation, log
		e.Certificates = nil
		if len(other) > 0 {
			e.Certificates = append(e.Certificates, other)
		}
		data, err := e.Encode()
		if err != nil {
			return
		}
		start := time.Now()
		finding, err := v.Examine(data, noon)
		if err == nil && (evidencetest.Failed(finding) == "" || finding.Facts.Class != "software") {
			t.Errorf("%+v", finding)
		}
		if spent := time.Since(start); spent > 5*time.Second {
			t.Errorf("took %v", spent)
		}
	})
}

// FuzzInitData lets no init data pass but the one in the PCR.
func FuzzInitData(f *testing.F) {
	w := newWorld(f)
	initData := measure.SHA256.Sum([]byte("agreement"))
	b := bank(measure.SHA256)
	b.Values[8] = measure.SHA256.Sum(make([]byte, 32), initData)
	w.quotes(quoteBy(rsaSigner(3), nonce(), b))
	v := w.verifier(f)
	f.Add(initData[:31])
	f.Fuzz(func(t *testing.T, data []byte) {
		e := w.evidence
		e.InitData = data
		encoded, err := e.Encode()
		if err != nil {
			return
		}
		if _, err := v.Examine(encoded, noon); err == nil && len(data) > 0 && string(data) != string(initData) {
			t.Errorf("init data %x", data)
		}
	})
}
