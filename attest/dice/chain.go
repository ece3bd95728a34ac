package dice

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"strongroom.dev/endorse"
	"strongroom.dev/wire"
)

// path is a chain of certificates, verified from a key at its top to the leaf.
type path struct {
	layers []*layer // root's end first
	// top is the key that signed the first; pinned tells whether the caller vouches for it.
	top    *key
	pinned bool
}

// leaf finds the one certificate of the evidence that no other names as its issuer. Two of them
// would be two devices, or two families of one, of which each must be shown by itself.
func (e *envelope) leaf() (*layer, error) {
	var leaves []*layer
	for _, l := range e.certificates {
		named := slices.ContainsFunc(e.certificates, func(other *layer) bool { return !bytes.Equal(other.der, l.der) && l.names(other) })
		same := slices.ContainsFunc(leaves, func(other *layer) bool { return bytes.Equal(other.der, l.der) })
		if !named && !same {
			leaves = append(leaves, l)
		}
	}
	if len(leaves) != 1 {
		return nil, fmt.Errorf("%d chains of certificates, expected one", len(leaves))
	}
	return leaves[0], nil
}

// names reports whether below says that it was signed by l: by the identifier of its key, or
// without one by its name. Names of layers differ in practice where the key is the same.
func (l *layer) names(below *layer) bool {
	id := below.cert.AuthorityKeyId
	if len(id) == 0 {
		return l.cert != nil && bytes.Equal(l.cert.RawSubject, below.cert.RawIssuer)
	}
	if l.cert != nil && len(l.cert.SubjectKeyId) > 0 {
		return bytes.Equal(l.cert.SubjectKeyId, id)
	}
	return l.key.named(id)
}

// build goes from the leaf up to a pinned key, or as far as it can. Each certificate must be
// signed by whomever it names; there being none to be found is for the caller to judge.
func (x *examination) build(leaf *layer) (*path, error) {
	p := &path{layers: []*layer{leaf}}
	for len(p.layers) <= maxDepth {
		below := p.layers[0]
		key, err := x.namedPin(below)
		if err != nil {
			return nil, err
		}
		if key != nil {
			p.top, p.pinned = key, true
			return p, nil
		}
		issuer, err := x.issuer(below)
		switch {
		case err != nil:
			return nil, err
		case issuer == nil:
			p.top = x.anyPin(below)
			p.pinned = p.top != nil
			return p, nil
		case x.pins.has(issuer.key):
			p.top, p.pinned = issuer.key, true
			return p, nil
		case issuer.cert == nil || bytes.Equal(issuer.der, below.der): // a request, or a root of its own
			p.top = issuer.key
			return p, nil
		}
		p.layers = append([]*layer{issuer}, p.layers...)
	}
	return nil, fmt.Errorf("more than %d certificates", maxDepth)
}

// pins are keys that the caller vouches for.
type pins []*key

func (p pins) has(k *key) bool {
	return slices.ContainsFunc(p, func(other *key) bool { return bytes.Equal(other.spki, k.spki) })
}

// namedPin gives the pinned key that a certificate names as its issuer's; it must have signed it.
func (x *examination) namedPin(below *layer) (*key, error) {
	id := below.cert.AuthorityKeyId
	for _, k := range x.pins {
		if !k.named(id) {
			continue
		}
		if err := k.verify(below.der); err != nil {
			return nil, fmt.Errorf("%.80q names the pinned key %s, and has %w", below.cert.Subject.CommonName, wire.HashOf(k.spki).Short(), err)
		}
		return k, nil
	}
	return nil, nil
}

// anyPin gives the pinned key that signed a certificate which names nobody at hand.
func (x *examination) anyPin(below *layer) *key {
	for _, k := range x.pins[:min(len(x.pins), maxTries)] {
		if k.verify(below.der) == nil {
			return k
		}
	}
	return nil
}

// issuer finds the certificate or request that a certificate names as its issuer, and whose key
// verifies it: in the evidence, then among the endorsements. It is an error if one is named,
// and none of that name verifies.
func (x *examination) issuer(below *layer) (*layer, error) {
	var wrong error
	for _, l := range slices.Concat(x.envelope.certificates, x.envelope.requests, x.held) {
		if !l.names(below) {
			continue
		}
		err := l.key.verify(below.der)
		if err == nil && l.cert != nil {
			err = mayIssue(l.cert)
		}
		if err == nil {
			return l, nil
		}
		wrong = fmt.Errorf("%.80q is not signed by whom it names: %w", below.cert.Subject.CommonName, err)
	}
	return nil, wrong
}

func mayIssue(c *x509.Certificate) error {
	if !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return fmt.Errorf("%.80q may not sign certificates", c.Subject.CommonName)
	}
	return nil
}

// constraints checks what the certificates of a path demand of their place in it.
func (p *path) constraints() error {
	for i, l := range p.layers {
		c := l.cert
		for _, id := range c.UnhandledCriticalExtensions {
			if !known(id) {
				return fmt.Errorf("%.80q has a critical extension that is not known here, %s", c.Subject.CommonName, id)
			}
		}
		below := max(len(p.layers)-2-i, 0) // authorities between it and the leaf
		if bounded := c.MaxPathLen > 0 || c.MaxPathLen == 0 && c.MaxPathLenZero; bounded && i < len(p.layers)-1 && below > c.MaxPathLen {
			return fmt.Errorf("%.80q has %d authorities below it, at most %d", c.Subject.CommonName, below, c.MaxPathLen)
		}
	}
	return nil
}

// dates checks that all certificates are valid now. Devices' own are, forever.
func (x *examination) dates(p *path) {
	const expected = "certificates that are valid now"
	for _, l := range p.layers {
		c := l.cert
		if x.now.Before(c.NotBefore.Add(-skew)) || x.now.After(c.NotAfter) {
			x.fail("dates", expected, fmt.Sprintf("%.80q is valid from %s to %s", c.Subject.CommonName, stamp(c.NotBefore), stamp(c.NotAfter)), "set the clock right, or have the device certified again")
			return
		}
	}
	x.pass("dates", expected, fmt.Sprintf("all %d are", len(p.layers)))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// revocation checks each certificate by the lists that its issuer publishes. Any genuine one
// revokes, however old. Where a certificate names a list, the newest must be current; devices'
// own certificates name none.
func (x *examination) revocation(p *path) {
	const expected = "no certificate revoked, by current lists of all issuers that publish one"
	looked := 0
	var missing *x509.Certificate
	var why error
	for i, l := range p.layers {
		lists := endorse.RevocationBy(l.cert.RawIssuer, x.crls, p.signedCRL(i))
		if since, revoked := lists.Revoked(l.cert.SerialNumber); revoked {
			x.fail("revocation", expected, fmt.Sprintf("%.80q, revoked %s", l.cert.Subject.CommonName, stamp(since)), "take the device out of use, and ask its maker why")
			return
		}
		switch current, err := lists.Current(x.now); {
		case err == nil:
			looked++
			x.used = append(x.used, endorse.VersionOfCRL(current))
		case len(l.cert.CRLDistributionPoints) > 0 && missing == nil:
			missing, why = l.cert, err
		}
	}
	switch {
	case missing != nil:
		x.fail("collateral", expected, fmt.Sprintf("none that speaks of %.80q: %v", missing.Subject.CommonName, why), "fetch "+fmt.Sprintf("%.100q", missing.CRLDistributionPoints[0])+" and give it with --endorsements")
	case looked == 0:
		x.pass("revocation", expected, "no certificate names a list")
	default:
		x.pass("revocation", expected, fmt.Sprintf("%d lists name none", looked))
	}
}

// signedCRL gives the check of lists by the issuer of a layer. A key that the caller pins without
// a certificate has no uses written down; it may sign lists.
func (p *path) signedCRL(i int) func(*x509.RevocationList) error {
	return func(l *x509.RevocationList) error {
		issuer := p.top
		if i > 0 {
			issuer = p.layers[i-1].key
			if p.layers[i-1].cert.KeyUsage&x509.KeyUsageCRLSign == 0 {
				return errors.New("the one at hand is by a key that may not sign lists")
			}
		}
		if issuer.verify(l.Raw) != nil {
			return errors.New("the one at hand is not signed by its issuer")
		}
		return nil
	}
}
