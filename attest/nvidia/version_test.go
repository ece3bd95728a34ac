package nvidia_test

import (
	"crypto"
	"crypto/x509"
	"math/big"
	"testing"

	"golang.org/x/crypto/ocsp"
	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
	"strongroom.dev/wire"
)

// TestEndorsements: of each certificate the newest genuine word is told, whatever hash its issuer is
// named with, and it is of one line with older ones.
func TestEndorsements(t *testing.T) {
	s := single()
	f, err := s.examine()
	if err != nil || len(f.Endorsements) == 0 {
		t.Fatalf("%v, %v", f.Endorsements, err)
	}
	before := map[lineage.Line]lineage.Version{}
	for _, v := range f.Endorsements {
		if v.Issued != wire.At(s.now.Add(-3600e9)) || v.Digest.IsZero() {
			t.Errorf("%+v", v)
		}
		before[v.Of] = v
	}
	if len(before) != len(f.Endorsements) {
		t.Errorf("%d lines in %d versions", len(before), len(f.Endorsements))
	}
	w := theWorld()
	say := func(signer *authority, days int) endorse.Item {
		r := &ocsp.Response{Status: ocsp.Good, SerialNumber: w.identity.cert.SerialNumber, ThisUpdate: s.now.AddDate(0, 0, days), NextUpdate: s.now.AddDate(0, 0, 9), IssuerHash: crypto.SHA256}
		return endorse.Item{Kind: endorse.OCSPResponse, Data: response384(w.root, signer, r)}
	}
	s.items = []endorse.Item{say(w.root, 0), say(w.root, -9), say(w.otherRoot, 0)}
	if f, err = s.examine(); err != nil || len(f.Endorsements) != len(before) {
		t.Fatalf("%v, %v", f.Endorsements, err)
	}
	changed := 0
	for _, v := range f.Endorsements {
		switch old, known := before[v.Of]; {
		case !known:
			t.Errorf("%v is of another line", v)
		case v.Issued != old.Issued:
			changed++
			if v.Issued != wire.At(s.now) || old.Follows(v) == nil {
				t.Errorf("%v after %v", v, old)
			}
		}
	}
	if changed != 1 {
		t.Errorf("%d are of another date", changed)
	}
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: s.now.Add(1e9), NextUpdate: s.now.AddDate(0, 0, 1), SignatureAlgorithm: x509.ECDSAWithSHA384}
	s.items = []endorse.Item{{Kind: endorse.X509CRL, Data: must(x509.CreateRevocationList(nil, list, w.root.cert, w.root.key))}}
	s.now = s.now.Add(2e9)
	if f, err = s.examine(); err != nil || f.Endorsements == nil {
		t.Fatal(err)
	}
	lists := 0
	for _, v := range f.Endorsements {
		if v.Name == "the CRL of "+w.root.cert.Subject.CommonName {
			lists++
		}
	}
	if lists == 0 {
		t.Errorf("no CRL in %v", f.Endorsements)
	}
}
