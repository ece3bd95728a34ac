package verifier_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"strongroom.dev/endorse"
	"strongroom.dev/keys"
)

// TestStatsSayWhatEnds: whoever watches sees how long endorsements and reference values last.
func TestStatsSayWhatEnds(t *testing.T) {
	w := newWorld(t, nil)
	if st := w.Stats(); st.EndorsementsLeft != nil || st.ReferencesLeft != nil {
		t.Errorf("nothing is at hand, and yet %v, %v", st.EndorsementsLeft, st.ReferencesLeft)
	}
	certificate := func(until time.Time) endorse.Item {
		key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a"}, NotBefore: w.now.AddDate(-1, 0, 0), NotAfter: until}
		return endorse.Item{Kind: endorse.X509Certificate, Name: "a", Data: must(x509.CreateCertificate(rand.Reader, c, c, key.Public(), key))}
	}
	key := must(keys.GenerateSigningKey(keys.Ed25519))
	old := w.published(key, 1, "aa11")
	w.now = w.now.AddDate(0, 1, 0)
	sets := [][]byte{w.published(key, 2, "aa11"), old, []byte("junk")}
	w.renew(must(endorse.NewSet(certificate(w.now.AddDate(1, 0, 0)), certificate(w.now.Add(36*time.Hour)))), sets)
	want := w.now.AddDate(0, 3, 0).Sub(w.now)
	if st := w.Stats(); st.EndorsementsLeft == nil || *st.EndorsementsLeft != 36*time.Hour || st.ReferencesLeft == nil || *st.ReferencesLeft != want {
		t.Errorf("%v, %v, expected 36h and %v", st.EndorsementsLeft, st.ReferencesLeft, want)
	}
	w.now = w.now.Add(37 * time.Hour)
	if st := w.Stats(); *st.EndorsementsLeft != -time.Hour {
		t.Errorf("%v, expected an hour ago", st.EndorsementsLeft)
	}
}
