package verifier_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"

	"strongroom.dev/attest"
	"strongroom.dev/endorse"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// TestAttesterApprovesNothing: what counts for being given is never taken with a request, be it the
// container policy that the attester's own machine runs under or a root that it made.
func TestAttesterApprovesNothing(t *testing.T) {
	var sets []endorse.Set
	officers := must(endorse.NewSet(endorse.Parse("approved.rego", []byte("package policy\n# approved\n"))...))
	w := newWorld(t, func(c *verifier.Config) {
		c.Endorsements = officers
		c.Table = func(set endorse.Set) []attest.Examiner { sets = append(sets, set); return table(set) }
	})
	w.inForce(rooms)
	root, middle := authorities()
	ask := func(files ...[]byte) error {
		r, _ := good(w)
		for _, f := range files {
			r.Endorsements = append(r.Endorsements, wire.Bytes(f))
		}
		sets = nil
		_, err := w.Attest(context.Background(), r)
		return err
	}
	for what, files := range map[string][][]byte{
		"its own container policy": {[]byte("package policy\n# its own\n")},
		"the approved policy":      {[]byte("package policy\n# approved\n")},
		"a root":                   {root},
		"a root beside others":     {middle, root},
	} {
		fails(t, what, ask(files...), verdict.Usage, "attestation.endorsements")
		if len(sets) > 0 {
			t.Errorf("%s: looked at", what)
		}
	}
	if err := ask(append(middle, root...)); err != nil || len(sets) != 1 {
		t.Fatalf("a chain as vendors serve it: %v", err)
	}
	got := sets[0]
	if c := got.Certificates(); len(c) != 1 || c[0].Subject.CommonName != "middle" || len(got.Of(endorse.ContainerPolicy)) != 1 {
		t.Errorf("%d endorsements, %d certificates", got.Len(), len(c))
	}
}

// authorities are certificates in PEM: of a root, and of an authority below it.
func authorities() (root, middle []byte) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	made := func(name string, parent *x509.Certificate) (*x509.Certificate, []byte) {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		if parent == nil {
			parent = c
		}
		der := must(x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, key))
		return c, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	r, root := made("root", nil)
	_, middle = made("middle", r)
	return root, middle
}
