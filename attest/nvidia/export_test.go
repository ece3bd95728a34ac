package nvidia

import (
	"crypto/x509"

	"strongroom.dev/endorse"
	"strongroom.dev/wire"
)

// NewUnder makes a verifier that trusts other roots than NVIDIA's, for tests with keys of
// their own.
func NewUnder(set endorse.Set, devices, rims *x509.Certificate) Verifier {
	l := newLinks()
	l.devices = anchor{devices, wire.HashOf(devices.RawSubjectPublicKeyInfo)}
	l.rims = anchor{rims, wire.HashOf(rims.RawSubjectPublicKeyInfo)}
	return Verifier{hold(l, set)}
}

// Builtin reports whether the built-in roots are as pinned.
func Builtin() bool { l := newLinks(); return l.devices.cert != nil && l.rims.cert != nil }

// RIM is what a RIM says, once it is verified.
type RIM struct {
	Edition, Product, Version string
	Golden                    map[int]int // alternatives by index
	Canonical                 []byte
	Chain                     []*x509.Certificate
}

// VerifyRIM parses a RIM and verifies all but its dates.
func VerifyRIM(data []byte) (RIM, error) { return verifyRIM(newLinks(), data) }

func verifyRIM(l *links, data []byte) (RIM, error) {
	r, err := parseRIM("test", data)
	if err != nil {
		return RIM{}, err
	}
	out := RIM{Edition: r.edition, Product: r.product, Version: r.version, Golden: make(map[int]int), Canonical: r.root.canonical(r.signature)}
	for _, ref := range r.golden {
		out.Golden[ref.index] = len(ref.values)
	}
	err = r.genuine(l)
	out.Chain = r.chain
	return out, err
}

// Canonical gives the canonical form of a document, and of an element in it without another.
func Canonical(data []byte) ([]byte, error) {
	root, err := parseXML(data)
	if err != nil {
		return nil, err
	}
	return root.canonical(nil), nil
}

// ParseResponse is the parser of OCSP responses.
func ParseResponse(der []byte) error { _, err := parseResponse(der); return err }

// ParseIdentity is the parser of firmware ids.
func ParseIdentity(leaf *x509.Certificate) (fwid []byte, open []string, err error) {
	id, err := parseIdentity(leaf)
	return id.fwid, id.open(), err
}
