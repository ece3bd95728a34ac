package tpm_test

import (
	"crypto/x509"
	"testing"

	"strongroom.dev/endorse"
)

// TestEndorsements: the newest genuine CRL is told, a forged one is not.
func TestEndorsements(t *testing.T) {
	w := newWorld(t)
	w.recertify(t, pointed)
	forger := authority(t, "Maker's intermediate", nil, rsaSigner(4), func(c *x509.Certificate) { c.SubjectKeyId = w.middle.cert.SubjectKeyId })
	newest := crl(t, w.middle, noon.AddDate(0, 0, -2))
	w.set = append(w.set, crl(t, w.middle, noon.AddDate(0, 0, -3)), newest, crl(t, forger, noon.AddDate(0, 0, -1)))
	l, err := x509.ParseRevocationList(newest)
	if err != nil {
		t.Fatal(err)
	}
	f, err := w.verifier(t).Examine(w.bytes(t), w.now)
	if err != nil || len(f.Endorsements) != 1 || f.Endorsements[0] != endorse.VersionOfCRL(l) {
		t.Errorf("%v, %v", f.Endorsements, err)
	}
}
