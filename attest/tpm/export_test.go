package tpm

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"
)

// Pinned gives a verifier that takes a root for a maker's, as if it were pinned.
func Pinned(v Verifier, spki []byte, name string, cloud bool) Verifier {
	s := *v.store
	s.makerOf = func(root []byte) maker {
		if bytes.Equal(root, spki) {
			return maker{name, cloud}
		}
		return makerOf(root)
	}
	v.store = &s
	return v
}

// Builtin gives the built-in certificates.
func Builtin() []*x509.Certificate { return builtin() }

// Chain follows an attestation key's certificate, and says whose root it leads to.
func Chain(v Verifier, der []byte, now time.Time) (string, error) {
	leaf, err := parseCertificate(der)
	if err != nil {
		return "", err
	}
	p, s := v.store.find(leaf, nil)
	switch {
	case p == nil:
		return "", fmt.Errorf("wrong %q, open %q", s.wrong, s.open)
	case badLeaf(leaf, oidAIK(), p.maker) != "":
		return "", fmt.Errorf("%s", badLeaf(leaf, oidAIK(), p.maker))
	case p.outOfDate(now) != "":
		return p.maker.name, fmt.Errorf("%s", p.outOfDate(now))
	}
	return p.maker.name, nil
}
