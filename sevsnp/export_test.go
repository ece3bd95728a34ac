package sevsnp

import (
	"crypto/x509"

	"strongroom.dev/wire"
)

// NewUnder makes a verifier that trusts other roots than AMD's, for tests with keys of
// their own.
func NewUnder(c Collateral, roots map[Product]*x509.Certificate) *Verifier {
	chains := &chains{known: make(map[pair]any)}
	for product, cert := range roots {
		chains.roots = append(chains.roots, root{product, cert, wire.HashOf(cert.RawSubjectPublicKeyInfo)})
	}
	return newVerifier(chains, c)
}

// Builtin gives the number of built-in roots and of intermediates that verify under them.
func Builtin() (roots, intermediates int) {
	c := newChains()
	return len(c.roots), len(c.builtin)
}

// ParseVEK is the parser of VCEKs and VLEKs.
func ParseVEK(c *x509.Certificate) (TCB, Product, error) {
	v, err := parseVEK(c)
	if err != nil {
		return TCB{}, "", err
	}
	return v.tcb, v.product, nil
}

// ParseStatement is the verifier of UVM endorsements.
func ParseStatement(data []byte) (feed string, err error) {
	st, err := parseStatement(data)
	if err != nil {
		return "", err
	}
	return st.feed, nil
}

// Chains gives how many genuine certificates a verifier remembers.
func (v *Verifier) Chains() int { return len(v.chains.known) }
