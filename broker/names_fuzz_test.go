package broker_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"

	"strongroom.dev/broker"
	"strongroom.dev/verdict"
)

// FuzzNames: what strangers sign about names is refused, or is what was asked for.
func FuzzNames(f *testing.F) {
	const name = "web.alpha.example"
	k := must1(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	public := spki(f, k.Public())
	csr := must1(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, k))
	w := &world{t: f}
	w.clock.Store(start.UnixMilli())
	ca := newOutside(f, w)
	chain := must1(ca.Certify(ctx, k, csr))
	if request, made := broker.CheckNames(public, csr, chain[0], chain[1], name, w.now()); request != nil || made != nil {
		f.Fatal(request, made)
	}
	f.Add(csr, chain[0], chain[1])
	f.Fuzz(func(t *testing.T, csr, leaf, issuer []byte) {
		request, made := broker.CheckNames(public, csr, leaf, issuer, name, w.now())
		for check, err := range map[string]error{"certify.csr": request, "certify.made": made} {
			if err != nil && verdict.As(err).Check != check {
				t.Errorf("%v", err)
			}
		}
		if r, err := x509.ParseCertificateRequest(csr); request == nil && (err != nil || !bytes.Equal(r.RawSubjectPublicKeyInfo, public) || len(r.DNSNames) != 1 || r.DNSNames[0] != name) {
			t.Error("another request")
		}
		if c, err := x509.ParseCertificate(leaf); made == nil && (err != nil || !bytes.Equal(c.RawSubjectPublicKeyInfo, public) || len(c.DNSNames) != 1 || c.DNSNames[0] != name || c.IsCA) {
			t.Error("another certificate")
		}
	})
}
