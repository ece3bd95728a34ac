package sevsnp

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"strongroom.dev/wire"
)

// root is one of AMD's roots.
type root struct {
	product Product
	cert    *x509.Certificate
	pin     wire.Hash // SHA-256 of its SubjectPublicKeyInfo
}

// link is a verified certificate of a chip or cloud with the chain above it.
type link struct {
	*vek
	issuer *x509.Certificate
	root   root
}

// authority is one of AMD's intermediates, verified to be signed by its root.
type authority struct {
	cert *x509.Certificate
	id   [sha256.Size]byte // digest of the certificate
	root root
}

// pair names a certificate and the issuer under which it was verified, by their digests.
type pair struct{ cert, issuer [sha256.Size]byte }

// chains verifies certificates up to AMD's roots and remembers those it found genuine. What
// it remembers is a fact about bytes, so that it changes no answer, only the time it takes.
// It is safe for use by several goroutines; the lock is held for looking up and noting only.
type chains struct {
	roots   []root
	builtin []authority

	mu    sync.Mutex
	known map[pair]any // link or authority; of an authority, issuer is zero
}

// newChains takes the built-in certificates; they are constants, which a test verifies.
func newChains() *chains {
	c := &chains{known: make(map[pair]any)}
	for _, b := range []struct {
		product       Product
		pin, ark      string
		intermediates [2]string
	}{
		{Milan, pinMilan, arkMilan, [2]string{askMilan, asvkMilan}},
		{Genoa, pinGenoa, arkGenoa, [2]string{askGenoa, asvkGenoa}},
		{Turin, pinTurin, arkTurin, [2]string{askTurin, asvkTurin}},
	} {
		r := root{product: b.product, cert: builtin(b.ark)}
		pin, err := hex.DecodeString(b.pin)
		if err != nil || r.cert == nil || copy(r.pin[:], pin) != sha256.Size || r.pin != wire.HashOf(r.cert.RawSubjectPublicKeyInfo) {
			continue // a defect of this file: without the root, everything of the product is refused
		}
		c.roots = append(c.roots, r)
		for _, text := range b.intermediates {
			if cert := builtin(text); cert != nil {
				if a, err := c.authority(cert); err == nil {
					c.builtin = append(c.builtin, a)
				}
			}
		}
	}
	return c
}

func builtin(text string) *x509.Certificate {
	der, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "\n", ""))
	if err != nil {
		return nil
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	return cert
}

func (c *chains) recall(id pair) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[id]
}

// note remembers a genuine certificate. When there are too many, it forgets them all: to
// choose which to keep would be worth it only for a fleet larger than maxChains.
func (c *chains) note(id pair, what any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxChains {
		clear(c.known)
	}
	c.known[id] = what
}

// rootOf finds the root that a certificate names as its issuer.
func (c *chains) rootOf(issuer []byte) (root, bool) {
	for _, r := range c.roots {
		if bytes.Equal(r.cert.RawSubject, issuer) {
			return r, true
		}
	}
	return root{}, false
}

// authority verifies that a certificate is one of AMD's roots or intermediates.
func (c *chains) authority(cert *x509.Certificate) (authority, error) {
	id := sha256.Sum256(cert.Raw)
	if a, ok := c.recall(pair{cert: id}).(authority); ok {
		return a, nil
	}
	r, ok := c.rootOf(cert.RawIssuer)
	if !ok {
		return authority{}, fmt.Errorf("%.40q is issued by %.40q, no root of AMD's", cert.Subject.CommonName, cert.Issuer.CommonName)
	}
	if bytes.Equal(cert.RawSubject, cert.RawIssuer) && wire.HashOf(cert.RawSubjectPublicKeyInfo) != r.pin {
		return authority{}, fmt.Errorf("%.40q has another key than AMD's root of that name", cert.Subject.CommonName)
	}
	if _, ok := cert.PublicKey.(*rsa.PublicKey); !ok || !cert.BasicConstraintsValid || !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0 || len(cert.UnhandledCriticalExtensions) != 0 {
		return authority{}, fmt.Errorf("%.40q may not issue certificates", cert.Subject.CommonName)
	}
	if err := signedBy(cert, r.cert); err != nil {
		return authority{}, err
	}
	a := authority{cert, id, r}
	c.note(pair{cert: id}, a)
	return a, nil
}

// signedBy checks one signature of a chain. AMD signs with RSA-PSS and SHA-384 only.
func signedBy(cert, issuer *x509.Certificate) error {
	if cert.SignatureAlgorithm != x509.SHA384WithRSAPSS || !bytes.Equal(cert.RawIssuer, issuer.RawSubject) ||
		issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil {
		return fmt.Errorf("%.40q is not signed by %.40q", cert.Subject.CommonName, issuer.Subject.CommonName)
	}
	return nil
}

// link verifies the certificate of a chip or cloud under AMD's intermediates: the given ones
// first, then the built-in ones.
func (c *chains) link(v *vek, given []authority) (link, error) {
	id := sha256.Sum256(v.cert.Raw)
	err := fmt.Errorf("%q is issued by %.40q, which is not here", v.cert.Subject.CommonName, v.cert.Issuer.CommonName)
	for _, a := range append(given[:len(given):len(given)], c.builtin...) {
		if a.root.product != v.product || !bytes.Equal(a.cert.RawSubject, v.cert.RawIssuer) {
			continue
		}
		under := pair{id, a.id}
		if l, ok := c.recall(under).(link); ok {
			return l, nil
		}
		if err = signedBy(v.cert, a.cert); err == nil {
			l := link{vek: v, issuer: a.cert, root: a.root}
			c.note(under, l)
			return l, nil
		}
	}
	return link{}, err
}
