package nitro

import "crypto/x509"

// NewUnder makes a verifier that trusts another root than AWS's, for tests with keys of their
// own.
func NewUnder(root *x509.Certificate, crls ...*x509.RevocationList) Verifier {
	return Verifier{root, crls}
}

// ParseDocument is the parser of documents.
func ParseDocument(data []byte) error {
	_, err := parseDocument(data)
	return err
}
