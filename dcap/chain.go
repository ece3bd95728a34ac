package dcap

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"strongroom.dev/wire"
)

// intelRoot is the public key (SubjectPublicKeyInfo, DER) of "Intel SGX Root CA". The key is
// pinned rather than a certificate: Intel has issued two for it, valid to 2033 and to 2049
// (https://certificates.trustedservices.intel.com/IntelSGXRootCA.der is the latter).
const intelRoot = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEC6nEwMDIYZOj/iPWsCzaEKi71OiOSLRFhWGjbnBVJfVnkY4u3IjkDYYL0MxO4mqsyYjlBalTVYxFP2sJBK5zlA=="

// The subjects of Intel's certificates (PCK certificate and CRL profile, section 1.3).
const (
	nameRoot      = "Intel SGX Root CA"
	namePlatform  = "Intel SGX PCK Platform CA"
	nameProcessor = "Intel SGX PCK Processor CA"
	namePCK       = "Intel SGX PCK Certificate"
	nameSigning   = "Intel SGX TCB Signing"
)

// root is the pinned key that everything leads to.
type root struct {
	spki []byte
	key  *ecdsa.PublicKey
}

func newRoot(spki string) (root, error) {
	der, err := base64.StdEncoding.DecodeString(spki)
	if err != nil {
		return root{}, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return root{}, err
	}
	k, err := p256(key)
	return root{der, k}, err
}

// fingerprint is the SHA-256 of the root's SubjectPublicKeyInfo.
func (r root) fingerprint() wire.Hash { return wire.HashOf(r.spki) }

func p256(key any) (*ecdsa.PublicKey, error) {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P256() {
		return nil, fmt.Errorf("no P-256 key")
	}
	return k, nil
}

// signedBy checks a raw signature r || s of 64 bytes over SHA-256 of data.
func signedBy(key *ecdsa.PublicKey, data, signature []byte) bool {
	if len(signature) != 64 {
		return false
	}
	digest := sha256.Sum256(data)
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(key, digest[:], r, s)
}

// rawKey reads the attestation key, x || y; it must be a point of the curve.
func rawKey(xy []byte) (*ecdsa.PublicKey, error) {
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, xy...))
}

// form checks what all of Intel's certificates have in common, and gives the key.
func form(c *x509.Certificate) (*ecdsa.PublicKey, error) {
	switch {
	case c.SignatureAlgorithm != x509.ECDSAWithSHA256:
		return nil, fmt.Errorf("%q is signed with %s, expected ECDSA with SHA-256", c.Subject.CommonName, c.SignatureAlgorithm)
	case len(c.UnhandledCriticalExtensions) > 0:
		return nil, fmt.Errorf("%q has an unknown critical extension", c.Subject.CommonName)
	}
	key, err := p256(c.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", c.Subject.CommonName, err)
	}
	return key, nil
}

// issued checks that a certificate is signed by a key, under its issuer's name.
func issued(c *x509.Certificate, by *ecdsa.PublicKey, name string) error {
	issuer := x509.Certificate{PublicKeyAlgorithm: x509.ECDSA, PublicKey: by}
	if c.Issuer.CommonName != name || issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
		return fmt.Errorf("%.60q is not signed by %q", c.Subject.CommonName, name)
	}
	return nil
}

// authority is a CA below the root that issues PCK certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PublicKey
	// crls are its revocation lists, whose signatures are checked.
	crls []*crl
}

// authority checks that a certificate is one of Intel's PCK CAs.
func (r root) authority(c *x509.Certificate) (*authority, error) {
	key, err := form(c)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Subject.CommonName != namePlatform && c.Subject.CommonName != nameProcessor:
		return nil, fmt.Errorf("%.60q is no CA of PCK certificates", c.Subject.CommonName)
	case !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, fmt.Errorf("%.60q may not sign certificates", c.Subject.CommonName)
	}
	return &authority{cert: c, key: key}, issued(c, r.key, nameRoot)
}

// signer checks that a certificate is one of Intel's TCB signing certificates.
func (r root) signer(c *x509.Certificate) (*ecdsa.PublicKey, error) {
	key, err := form(c)
	if err != nil {
		return nil, err
	}
	if c.Subject.CommonName != nameSigning || c.IsCA || c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, fmt.Errorf("%.60q is no TCB signing certificate", c.Subject.CommonName)
	}
	return key, issued(c, r.key, nameRoot)
}

// root checks that a certificate is for the pinned key. Its signature must be right too,
// though nothing rests on it: the key is what is trusted.
func (r root) root(c *x509.Certificate) error {
	if !bytes.Equal(c.RawSubjectPublicKeyInfo, r.spki) {
		return fmt.Errorf("the root %.60q has the key %s, expected the Intel SGX Root CA's %s",
			c.Subject.CommonName, wire.HashOf(c.RawSubjectPublicKeyInfo).Short(), r.fingerprint().Short())
	}
	// The two genuine certificates, by SHA-256: no need to check what has been checked.
	switch sum := sha256.Sum256(c.Raw); hex.EncodeToString(sum[:]) {
	case "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3", "fc64f8076d79a4fee9d1d473d74c89eb8d8fd55c5abafeabeba7366d20429404":
		return nil
	}
	if _, err := form(c); err != nil {
		return err
	}
	return issued(c, r.key, nameRoot)
}

// chain is the certificates in a quote, signatures checked.
type chain struct {
	pck  *x509.Certificate
	ca   *authority
	root *x509.Certificate // nil if it was left out
	key  *ecdsa.PublicKey  // of pck
	info PCK
}

// pemChain reads certificates in PEM, one after the other with nothing but white space
// between them, behind the last also zero bytes.
func pemChain(text []byte) ([]*x509.Certificate, error) {
	const begin = "-----BEGIN CERTIFICATE-----"
	text = bytes.TrimRight(text, "\x00")
	var certs []*x509.Certificate
	for {
		if text = bytes.TrimLeft(text, " \t\r\n"); len(text) == 0 {
			return certs, nil
		}
		block, rest := pem.Decode(text)
		if block == nil || !bytes.HasPrefix(text, []byte(begin)) || bytes.Count(text[:len(text)-len(rest)], []byte("-----BEGIN")) != 1 || len(block.Headers) > 0 {
			return nil, fmt.Errorf("certificate chain that is not plain PEM")
		}
		if len(certs) == 3 {
			return nil, fmt.Errorf("more than three certificates in the chain")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", len(certs)+1, err)
		}
		certs = append(certs, c)
		text = rest
	}
}

// chain checks the certificates of a quote up to the pinned root: PCK, its CA, the root.
func (v *Verifier) chain(text []byte) (*chain, error) {
	certs, err := pemChain(text)
	if err != nil {
		return nil, err
	}
	if len(certs) < 2 {
		return nil, fmt.Errorf("%d certificates in the chain, expected three", len(certs))
	}
	c := &chain{pck: certs[0]}
	if len(certs) == 3 {
		c.root = certs[2]
		if err := v.root.root(c.root); err != nil {
			return nil, err
		}
	}
	if c.ca, err = v.authority(certs[1]); err != nil {
		return nil, err
	}
	if c.key, err = form(c.pck); err != nil {
		return nil, err
	}
	if c.pck.Subject.CommonName != namePCK || c.pck.IsCA {
		return nil, fmt.Errorf("%.60q is no PCK certificate", c.pck.Subject.CommonName)
	}
	if !bytes.Equal(c.pck.RawIssuer, c.ca.cert.RawSubject) {
		return nil, fmt.Errorf("the PCK certificate's issuer is not the CA beside it")
	}
	if err := issued(c.pck, c.ca.key, c.ca.cert.Subject.CommonName); err != nil {
		return nil, err
	}
	c.info, err = ParsePCK(c.pck)
	return c, err
}

// expired describes a certificate that is not valid at a time; "" if it is.
func expired(c *x509.Certificate, now time.Time) string {
	switch {
	case now.Before(c.NotBefore):
		return fmt.Sprintf("%q is valid only from %s", c.Subject.CommonName, day(c.NotBefore))
	case now.After(c.NotAfter):
		return fmt.Sprintf("%q expired on %s, %s ago", c.Subject.CommonName, day(c.NotAfter), days(now.Sub(c.NotAfter)))
	}
	return ""
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// days says how long something is, roughly.
func days(d time.Duration) string {
	const aDay = 24 * time.Hour
	switch n := int(d / aDay); {
	case n == 0:
		return "less than a day"
	case n == 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", n)
	}
}
