package endorse

import (
	"cmp"
	"crypto/x509"

	"strongroom.dev/keys"
	"strongroom.dev/lineage"
)

// NewVersion makes the version that data is, with the dates in it. Fields name the line within its
// kind. A number of more than 20 bytes is none (RFC 5280, section 5.2.3).
func NewVersion(kind Kind, name string, d Dates, data []byte, fields ...[]byte) lineage.Version {
	return lineage.New(string(kind), name, d.Issued, d.Number, data, fields...)
}

// VersionOfCRL gives the version that a revocation list is. Its line is the issuer's name and key.
func VersionOfCRL(l *x509.RevocationList) lineage.Version {
	return NewVersion(X509CRL, "the CRL of "+cmp.Or(l.Issuer.CommonName, l.Issuer.String()), Dates{Issued: l.ThisUpdate, Number: l.Number}, l.Raw, l.RawIssuer, l.AuthorityKeyId)
}

// Version gives the version that the bundle is of its signer's: the one whose signature was checked.
// Signers that keep several bundles side by side name each.
func (b Bundle) Version(signer keys.KeyID) lineage.Version {
	name := "the bundle of key " + signer.Short()
	if b.Name != "" {
		name = "the bundle " + string(b.Name) + " of key " + signer.Short()
	}
	return NewVersion(lineage.Bundle, name, Dates{Issued: b.Created.Time()}, nil, []byte(signer.String()), []byte(b.Name))
}
