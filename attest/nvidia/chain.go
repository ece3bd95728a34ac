package nvidia

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"strongroom.dev/wire"
)

// anchor is one of NVIDIA's roots.
type anchor struct {
	cert *x509.Certificate
	pin  wire.Hash // SHA-256 of its SubjectPublicKeyInfo
}

// links verifies chains up to NVIDIA's roots and remembers the signatures it found right.
// What it remembers is a fact about bytes, so that it changes no answer, only the time it
// takes. It is safe for use by several goroutines; the lock is held for looking up and noting
// only.
type links struct {
	devices, rims anchor

	mu    sync.Mutex
	known map[link]bool
}

// link names a certificate, or an OCSP response, and the certificate that verifies it.
type link struct{ signed, issuer [sha256.Size]byte }

func newLinks() *links {
	return &links{devices: builtin(deviceRoot, devicePin), rims: builtin(rimRoot, rimPin), known: make(map[link]bool)}
}

// builtin reads a built-in root. One that is not as pinned is left out, so that nothing
// verifies: a defect of this package, which a test would find.
func builtin(text, pin string) anchor {
	der, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, "\n", ""))
	if err != nil {
		return anchor{}
	}
	cert, err := x509.ParseCertificate(der)
	if sum := sha256.Sum256(der); err != nil || hex.EncodeToString(sum[:]) != pin {
		return anchor{}
	}
	return anchor{cert, wire.HashOf(cert.RawSubjectPublicKeyInfo)}
}

// verified remembers whether check holds of a link, if it does.
func (l *links) verified(signed, issuer []byte, check func() bool) bool {
	id := link{sha256.Sum256(signed), sha256.Sum256(issuer)}
	l.mu.Lock()
	known := l.known[id]
	l.mu.Unlock()
	if known {
		return true
	}
	if !check() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= maxKnown {
		clear(l.known)
	}
	l.known[id] = true
	return true
}

// issued reports whether a certificate is signed by another, with ECDSA and SHA-384 as all
// of NVIDIA's are.
func (l *links) issued(c, by *x509.Certificate) bool {
	return c.SignatureAlgorithm == x509.ECDSAWithSHA384 && l.verified(c.Raw, by.Raw, func() bool {
		return by.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
	})
}

// chain verifies a leaf up to a root, with the issuers found in pools, the first that fits at
// each step. It gives the certificates from the leaf to the root, both included.
func (l *links) chain(leaf *x509.Certificate, pool []*x509.Certificate, root anchor) ([]*x509.Certificate, error) {
	if root.cert == nil {
		return nil, fmt.Errorf("no root to trust")
	}
	chain := []*x509.Certificate{leaf}
	for {
		last := chain[len(chain)-1]
		if bytes.Equal(last.RawIssuer, root.cert.RawSubject) {
			if !l.issued(last, root.cert) {
				return nil, fmt.Errorf("%s is not signed by NVIDIA's root %s, whose name it gives as its issuer's", common(last), common(root.cert))
			}
			return append(chain, root.cert), nil
		}
		next, err := l.issuer(last, pool)
		if err != nil {
			return nil, err
		}
		if err := checkAuthority(next, len(chain)-1); err != nil {
			return nil, err
		}
		if chain = append(chain, next); len(chain) == maxChain {
			return nil, fmt.Errorf("a chain of more than %d certificates", maxChain)
		}
	}
}

// stranger gives the first certificate that came along and is not in the chain; nil if all
// are.
func stranger(came, chain []*x509.Certificate) *x509.Certificate {
	for _, c := range came {
		if !slices.ContainsFunc(chain, func(in *x509.Certificate) bool { return bytes.Equal(in.Raw, c.Raw) }) {
			return c
		}
	}
	return nil
}

// missingIssuer says that a chain ends early, which those who hold more certificates can mend.
type missingIssuer struct{ cert *x509.Certificate }

func (m missingIssuer) Error() string {
	return fmt.Sprintf("%s is issued by %s, which is not here", common(m.cert), text(m.cert.Issuer.String()))
}

func (l *links) issuer(c *x509.Certificate, pool []*x509.Certificate) (*x509.Certificate, error) {
	err := error(missingIssuer{c})
	tried := 0
	for _, by := range pool {
		if !bytes.Equal(by.RawSubject, c.RawIssuer) || by == c || tried == maxChain {
			continue
		}
		if tried++; l.issued(c, by) {
			return by, nil
		}
		err = fmt.Errorf("%s is not signed by %s", common(c), common(by))
	}
	return nil, err
}

// checkAuthority checks that a certificate may issue others, with so many below it that
// issue as well.
func checkAuthority(c *x509.Certificate, below int) error {
	limited := c.MaxPathLen > 0 || c.MaxPathLen == 0 && c.MaxPathLenZero
	switch {
	case !onP384(c) || !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Errorf("%s may not issue certificates", common(c))
	case limited && below > c.MaxPathLen:
		return fmt.Errorf("%s may not issue issuers", common(c))
	}
	return checkExtensions(c)
}

// checkLeaf checks that a certificate is for signing, and for nothing else.
func checkLeaf(c *x509.Certificate) error {
	if !onP384(c) || c.IsCA || c.KeyUsage&x509.KeyUsageDigitalSignature == 0 || c.KeyUsage&x509.KeyUsageCertSign != 0 {
		return fmt.Errorf("%s is no certificate of a P-384 key for signatures", common(c))
	}
	return checkExtensions(c)
}

func checkExtensions(c *x509.Certificate) error {
	if len(c.UnhandledCriticalExtensions) > 0 {
		return fmt.Errorf("%s has a critical extension that is not known here", common(c))
	}
	return nil
}

func onP384(c *x509.Certificate) bool {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	return ok && key.Curve == elliptic.P384()
}

// outside says which certificate of a chain is not valid at a time; "" if all are.
func outside(chain []*x509.Certificate, now time.Time) string {
	for _, c := range chain {
		switch {
		case now.After(c.NotAfter):
			return fmt.Sprintf("%s ended %s, %s ago", common(c), date(c.NotAfter), span(now.Sub(c.NotAfter)))
		case now.Before(c.NotBefore):
			return fmt.Sprintf("%s begins %s, in %s", common(c), date(c.NotBefore), span(c.NotBefore.Sub(now)))
		}
	}
	return ""
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// span shows a length of time as people say it.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.Round(time.Second).String()
}

// common gives the name of a certificate's subject, for people.
func common(c *x509.Certificate) string { return text(c.Subject.CommonName) }

func text(s string) string { return fmt.Sprintf("%.60q", s) }

// end gives when the first certificate of a chain ends.
func end(chain []*x509.Certificate) time.Time {
	first := chain[0].NotAfter
	for _, c := range chain {
		if c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

func names(chain []*x509.Certificate) []any {
	var all []any
	for _, c := range chain {
		all = append(all, c.Subject.CommonName)
	}
	return all
}
