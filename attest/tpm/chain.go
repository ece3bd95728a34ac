package tpm

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
	"strongroom.dev/tpm2"
	"strongroom.dev/wire"
)

// The TCG's object identifiers (EK credential profile 2.5, appendix A) and X.509's.
func oidEK() asn1.ObjectIdentifier  { return asn1.ObjectIdentifier{2, 23, 133, 8, 1} }
func oidAIK() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 23, 133, 8, 3} }
func oidSAN() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 17} }

// oidNameConstraints are not evaluated here; no TPM maker uses them.
func oidNameConstraints() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 30} }

// parseCertificate reads DER with zeros behind it, as read from an index of a TPM's memory.
func parseCertificate(data []byte) (*x509.Certificate, error) {
	var raw asn1.RawValue
	rest, err := asn1.Unmarshal(data, &raw)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if len(bytes.TrimLeft(rest, "\x00")) > 0 {
		return nil, fmt.Errorf("certificate with %d bytes behind it", len(rest))
	}
	c, err := x509.ParseCertificate(raw.FullBytes)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

func parseCertificates[T ~[]byte](all []T) ([]*x509.Certificate, error) {
	if len(all) > MaxCertificates {
		return nil, fmt.Errorf("%d certificates, at most %d", len(all), MaxCertificates)
	}
	var out []*x509.Certificate
	for _, data := range all {
		c, err := parseCertificate(data)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// store is the certificates of authorities that are at hand, by subject.
type store struct {
	bySubject map[string][]*x509.Certificate
	// given are those that the relying party gave: software roots must be among them.
	given map[string]bool
	// pinned are fingerprints of roots that an agreement names.
	pinned []wire.Hash
	// makerOf gives whom a root is pinned for.
	makerOf func(spki []byte) maker
}

// newStore takes the relying party's certificates, and adds the clouds'.
func newStore(given []*x509.Certificate) *store {
	s := &store{bySubject: map[string][]*x509.Certificate{}, given: map[string]bool{}, makerOf: makerOf}
	for _, c := range append(builtin(), given...) {
		s.add(c)
	}
	for _, c := range given {
		s.given[string(c.Raw)] = true
	}
	return s
}

func (s *store) add(c *x509.Certificate) {
	if c.BasicConstraintsValid && c.IsCA {
		s.bySubject[string(c.RawSubject)] = append(s.bySubject[string(c.RawSubject)], c)
	}
}

// path is certificates from a key to a root.
type path struct {
	certs []*x509.Certificate // leaf first, root last
	maker maker               // zero for a root that is not pinned here
	given bool                // the root is the relying party's own, or pinned by its agreement
}

func (p *path) leaf() *x509.Certificate { return p.certs[0] }
func (p *path) root() *x509.Certificate { return p.certs[len(p.certs)-1] }

// fingerprint is the SHA-256 of the root's SubjectPublicKeyInfo.
func (p *path) fingerprint() wire.Hash { return wire.HashOf(p.root().RawSubjectPublicKeyInfo) }

// search is a search for a path.
type search struct {
	*store
	extra []*x509.Certificate
	tries int
	wrong string // an issuer whose signature does not verify
	open  string // an issuer that is not at hand
	from  string // where the missing issuer says it can be had
}

// find looks for a path from leaf to a root that is pinned or that signed itself. Without
// one, wrong says which signature is false, or open which issuer is missing.
func (s *store) find(leaf *x509.Certificate, extra []*x509.Certificate) (*path, *search) {
	f := &search{store: s, extra: extra}
	return f.up([]*x509.Certificate{leaf}), f
}

func (f *search) up(certs []*x509.Certificate) *path {
	top := certs[len(certs)-1]
	if m := f.makerOf(top.RawSubjectPublicKeyInfo); m.name != "" && len(certs) > 1 {
		return &path{certs: certs, maker: m}
	}
	if len(certs) > 1 && bytes.Equal(top.RawSubject, top.RawIssuer) && f.signed(top, top) {
		return &path{certs: certs, given: f.given[string(top.Raw)] || slices.Contains(f.pinned, wire.HashOf(top.RawSubjectPublicKeyInfo))}
	}
	if len(certs) == maxPath {
		return nil
	}
	found := false
	for _, c := range f.issuers(top) {
		if slices.ContainsFunc(certs, c.Equal) || !f.mayIssue(c, certs) {
			continue
		}
		if !f.signed(top, c) {
			f.wrong = top.Subject.String()
			continue
		}
		found = true
		if p := f.up(append(slices.Clip(certs), c)); p != nil {
			return p
		}
	}
	if !found && f.open == "" {
		f.open = top.Issuer.String()
		if len(top.IssuingCertificateURL) > 0 {
			f.from = top.IssuingCertificateURL[0]
		}
	}
	return nil
}

func hashBytes(data []byte) []byte { h := wire.HashOf(data); return h[:] }

// issuers gives the certificates that a certificate names as its issuer's.
func (f *search) issuers(c *x509.Certificate) []*x509.Certificate {
	all := slices.Clone(f.bySubject[string(c.RawIssuer)])
	for _, i := range f.extra {
		if i.BasicConstraintsValid && i.IsCA && bytes.Equal(i.RawSubject, c.RawIssuer) {
			all = append(all, i)
		}
	}
	return slices.DeleteFunc(all, func(i *x509.Certificate) bool {
		return len(c.AuthorityKeyId) > 0 && len(i.SubjectKeyId) > 0 && !bytes.Equal(c.AuthorityKeyId, i.SubjectKeyId)
	})
}

// mayIssue checks that a certificate allows its holder to sign one above such a path, for
// keys of TPMs (RFC 5280, sections 4.2.1.3, 4.2.1.9 and 4.2.1.12).
func (f *search) mayIssue(c *x509.Certificate, below []*x509.Certificate) bool {
	if c.KeyUsage&x509.KeyUsageCertSign == 0 || len(c.UnhandledCriticalExtensions) > 0 || hasExtension(c, oidNameConstraints()) || tpm2.CheckKey(c.PublicKey) != nil {
		return false
	}
	if c.MaxPathLen >= 0 && (c.MaxPathLen > 0 || c.MaxPathLenZero) && len(below)-1 > c.MaxPathLen {
		return false
	}
	if bytes.Equal(c.RawSubject, c.RawIssuer) {
		return true // roots' purposes differ from what they are used for
	}
	// Google's authority for endorsement keys also issues for attestation keys.
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 || hasUsage(c, oidAIK()) || hasUsage(c, oidEK()) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// signed checks a signature, as long as there are tries left.
func (f *search) signed(c, by *x509.Certificate) bool {
	if f.tries++; f.tries > maxTries {
		return false
	}
	return by.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

func hasUsage(c *x509.Certificate, usage asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(c.UnknownExtKeyUsage, usage.Equal)
}

func hasExtension(c *x509.Certificate, id asn1.ObjectIdentifier) bool {
	for _, e := range c.Extensions {
		if e.Id.Equal(id) {
			return true
		}
	}
	return false
}

// badLeaf says what a key's certificate lacks for the purpose; "" for a proper one.
func badLeaf(c *x509.Certificate, usage asn1.ObjectIdentifier, m maker) string {
	unhandled := slices.DeleteFunc(slices.Clone(c.UnhandledCriticalExtensions), func(id asn1.ObjectIdentifier) bool {
		return id.Equal(oidSAN()) // names of TPMs, read by [identify]
	})
	need := x509.KeyUsageDigitalSignature
	if usage.Equal(oidEK()) {
		need = x509.KeyUsageKeyAgreement
		if _, ok := c.PublicKey.(*rsa.PublicKey); ok {
			need = x509.KeyUsageKeyEncipherment
		}
	}
	// Google certifies attestation keys for the purpose of endorsement keys.
	right := hasUsage(c, usage) || m.name == "Google Cloud" && hasUsage(c, oidEK())
	switch {
	case c.IsCA:
		return "it is an authority's"
	case len(unhandled) > 0:
		return "it has an unknown critical extension " + unhandled[0].String()
	case hasExtension(c, oidNameConstraints()):
		return "it has name constraints"
	case c.KeyUsage&need == 0:
		return "its key usage is another"
	case !right:
		return "its extended key usage is another"
	}
	return ""
}

// outOfDate says which certificate of the path is not valid at a time, and how far off.
func (p *path) outOfDate(now time.Time) string {
	for _, c := range p.certs {
		name := c.Subject.CommonName
		if name == "" {
			name = "the key's"
		}
		switch {
		case now.Before(c.NotBefore):
			return fmt.Sprintf("certificate %q begins %s, %s too late", name, c.NotBefore.UTC().Format(time.DateOnly), days(c.NotBefore.Sub(now)))
		case now.After(c.NotAfter):
			return fmt.Sprintf("certificate %q ended %s, %s ago", name, c.NotAfter.UTC().Format(time.DateOnly), days(now.Sub(c.NotAfter)))
		}
	}
	return ""
}

func days(d time.Duration) string {
	n := int((d + 24*time.Hour - 1) / (24 * time.Hour))
	if n == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}

// revocation is what CRLs say of a path.
type revocation struct {
	missing []string // CRLs that are named but not at hand, current, whole and genuine
	revoked string   // a certificate that a genuine CRL names
	checked int      // certificates that a current CRL was checked for
	used    []lineage.Version
}

// revocation looks for a CRL for every certificate whose issuer publishes one or is known to
// have one. A certificate that a genuine CRL names is revoked however old the CRL is.
func (p *path) revocation(crls []*x509.RevocationList, now time.Time) revocation {
	var r revocation
	for i, c := range p.certs[:len(p.certs)-1] {
		issuer := p.certs[i+1]
		lists := endorse.RevocationBy(issuer.RawSubject, crls, endorse.SignedCRL(issuer))
		if _, revoked := lists.Revoked(c.SerialNumber); revoked {
			r.revoked = fmt.Sprintf("certificate %x of %q", c.SerialNumber, issuer.Subject.CommonName)
		}
		current, err := lists.Current(now)
		switch {
		case err == nil:
			r.checked++
			r.used = append(r.used, endorse.VersionOfCRL(current))
		case len(c.CRLDistributionPoints) > 0:
			r.missing = append(r.missing, fmt.Sprintf("%q (%v) from %s", issuer.Subject.CommonName, err, c.CRLDistributionPoints[0]))
		case lists.Published():
			r.missing = append(r.missing, fmt.Sprintf("%q (%v)", issuer.Subject.CommonName, err))
		}
	}
	return r
}
