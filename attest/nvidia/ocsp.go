package nvidia

import (
	"bytes"
	"crypto"
	"crypto/sha1" // names issuers in certificate ids (RFC 6960); no signature is made with it
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// response is an OCSP response (RFC 6960), not yet verified: that takes the issuer.
type response struct {
	raw       []byte
	data      []byte // tbsResponseData, as signed
	signature []byte
	singles   []single
	responder responder
	delegate  *x509.Certificate // the responder's own certificate, if one came along
}

// responder says who signed: a name, or the SHA-1 of a key.
type responder struct{ name, key []byte }

// single is what a response says of one certificate.
type single struct {
	hash        asn1.ObjectIdentifier
	issuer, key []byte
	serial      *big.Int
	status      status
	reason      int
	since       time.Time
	thisUpdate  time.Time
	nextUpdate  time.Time
}

type status int

const (
	unknown status = iota
	good
	revoked
)

// reasonHold is certificateHold (RFC 5280, section 5.3.1): the one revocation that may be
// taken back.
const reasonHold = 6

// The ASN.1 of RFC 6960, section 4.2.1.
type (
	asnResponse struct {
		Status asn1.Enumerated
		Bytes  asn1.RawValue // [0], explicit
	}
	asnBytes struct {
		Type     asn1.ObjectIdentifier
		Response []byte
	}
	asnBasic struct {
		Data         asnData
		Algorithm    pkix.AlgorithmIdentifier
		Signature    asn1.BitString
		Certificates asn1.RawValue `asn1:"optional"` // [0], explicit
	}
	asnData struct {
		Raw        asn1.RawContent
		Version    int `asn1:"explicit,tag:0,default:0,optional"`
		Responder  asn1.RawValue
		ProducedAt time.Time `asn1:"generalized"`
		Singles    []asnSingle
		Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
	}
	asnSingle struct {
		ID         asnID
		Status     asn1.RawValue
		ThisUpdate time.Time        `asn1:"generalized"`
		NextUpdate time.Time        `asn1:"generalized,explicit,tag:0,optional"`
		Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
	}
	asnID struct {
		Hash   pkix.AlgorithmIdentifier
		Issuer []byte
		Key    []byte
		Serial *big.Int
	}
	asnRevoked struct {
		Since  time.Time       `asn1:"generalized"`
		Reason asn1.Enumerated `asn1:"explicit,tag:0,optional"`
	}
)

// oidNonce is the nonce of a response (RFC 8954). Responses come to this package from
// whoever fetched them, so that dates and not nonces say how fresh they are.
func oidNonce() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
}

func parseResponse(der []byte) (*response, error) {
	var outer asnResponse
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) > 0 || outer.Bytes.Class != asn1.ClassContextSpecific || outer.Bytes.Tag != 0 {
		return nil, errors.New("no OCSP response")
	}
	var inner asnBytes
	if rest, err := asn1.Unmarshal(outer.Bytes.Bytes, &inner); err != nil || len(rest) > 0 {
		return nil, errors.New("no OCSP response")
	}
	if outer.Status != 0 || !inner.Type.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}) {
		return nil, fmt.Errorf("an OCSP response of status %d", outer.Status)
	}
	var basic asnBasic
	if rest, err := asn1.Unmarshal(inner.Response, &basic); err != nil || len(rest) > 0 {
		return nil, errors.New("no basic OCSP response")
	}
	d := basic.Data
	certificates, err := parseCertificates(basic.Certificates)
	if err != nil {
		return nil, err
	}
	switch {
	case d.Version != 0:
		return nil, fmt.Errorf("an OCSP response of version %d", d.Version+1)
	case !basic.Algorithm.Algorithm.Equal(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}):
		return nil, errors.New("an OCSP response not signed with ECDSA and SHA-384")
	case len(d.Singles) == 0 || len(d.Singles) > maxSingles || len(certificates) > maxChain:
		return nil, errors.New("an OCSP response about no certificate, or too many")
	case critical(d.Extensions):
		return nil, errors.New("an OCSP response with an unknown critical extension")
	}
	r := &response{raw: der, data: d.Raw, signature: basic.Signature.RightAlign()}
	if r.responder, err = parseResponder(d.Responder); err != nil {
		return nil, err
	}
	for _, s := range d.Singles {
		parsed, err := s.parse()
		if err != nil {
			return nil, err
		}
		r.singles = append(r.singles, parsed)
	}
	for _, c := range certificates {
		if r.delegate == nil && r.responder.is(c) {
			r.delegate = c
		}
	}
	return r, nil
}

// parseCertificates reads [0] { SEQUENCE OF Certificate }, or nothing.
func parseCertificates(v asn1.RawValue) ([]*x509.Certificate, error) {
	if len(v.FullBytes) == 0 {
		return nil, nil
	}
	var list []asn1.RawValue
	if rest, err := asn1.Unmarshal(v.Bytes, &list); err != nil || len(rest) > 0 || v.Class != asn1.ClassContextSpecific || v.Tag != 0 || len(list) > maxChain {
		return nil, errors.New("an OCSP response with something else than certificates at its end")
	}
	var all []*x509.Certificate
	for _, raw := range list {
		c, err := x509.ParseCertificate(raw.FullBytes)
		if err != nil {
			return nil, fmt.Errorf("an OCSP response with a certificate: %w", err)
		}
		all = append(all, c)
	}
	return all, nil
}

// critical reports whether an extension other than the nonce is critical.
func critical(extensions []pkix.Extension) bool {
	return slices.ContainsFunc(extensions, func(e pkix.Extension) bool { return e.Critical && !e.Id.Equal(oidNonce()) })
}

func parseResponder(v asn1.RawValue) (responder, error) {
	if v.Class == asn1.ClassContextSpecific && v.IsCompound {
		switch v.Tag {
		case 1:
			return responder{name: v.Bytes}, nil
		case 2:
			var key []byte
			if rest, err := asn1.Unmarshal(v.Bytes, &key); err == nil && len(rest) == 0 {
				return responder{key: key}, nil
			}
		}
	}
	return responder{}, errors.New("an OCSP response by nobody")
}

func (r responder) is(c *x509.Certificate) bool {
	if r.name != nil {
		return bytes.Equal(r.name, c.RawSubject)
	}
	sum := sha1.Sum(keyBits(c))
	return bytes.Equal(r.key, sum[:])
}

// keyBits gives the bits of a certificate's public key, which key hashes are made of.
func keyBits(c *x509.Certificate) []byte {
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &spki); err != nil {
		return nil
	}
	return spki.Key.RightAlign()
}

func (s asnSingle) parse() (single, error) {
	v := single{hash: s.ID.Hash.Algorithm, issuer: s.ID.Issuer, key: s.ID.Key, serial: s.ID.Serial, thisUpdate: s.ThisUpdate, nextUpdate: s.NextUpdate}
	if !s.NextUpdate.After(s.ThisUpdate) { // nor is there one if it is left out
		return v, errors.New("an OCSP response without an end")
	}
	if critical(s.Extensions) {
		return v, errors.New("an OCSP response with an unknown critical extension")
	}
	if s.Status.Class != asn1.ClassContextSpecific {
		return v, errors.New("an OCSP response without a status")
	}
	switch s.Status.Tag {
	case 0:
		v.status = good
	case 1:
		var detail asnRevoked
		if rest, err := asn1.UnmarshalWithParams(s.Status.FullBytes, &detail, "tag:1"); err != nil || len(rest) > 0 {
			return v, errors.New("an OCSP response that revokes at no time")
		}
		v.status, v.since, v.reason = revoked, detail.Since, int(detail.Reason)
	case 2:
		v.status = unknown
	default:
		return v, fmt.Errorf("an OCSP response of certificate status %d", s.Status.Tag)
	}
	return v, nil
}

// about reports whether a single response is about a certificate of an issuer.
func (s single) about(c, issuer *x509.Certificate) bool {
	var h crypto.Hash
	switch {
	case s.hash.Equal(asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}):
		h = crypto.SHA1
	case s.hash.Equal(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}):
		h = crypto.SHA256
	case s.hash.Equal(oidSHA384()):
		h = crypto.SHA384
	default:
		return false
	}
	return s.serial.Cmp(c.SerialNumber) == 0 && bytes.Equal(s.issuer, sum(h, issuer.RawSubject)) && bytes.Equal(s.key, sum(h, keyBits(issuer)))
}

func sum(h crypto.Hash, data []byte) []byte {
	switch h {
	case crypto.SHA1:
		d := sha1.Sum(data)
		return d[:]
	case crypto.SHA256:
		d := sha256.Sum256(data)
		return d[:]
	}
	d := sha512.Sum384(data)
	return d[:]
}

// signer gives the certificate that signed the response, if it may speak for the issuer: the
// issuer itself, or one that it issued for nothing but that (RFC 6960, section 4.2.2.2).
func (r *response) signer(l *links, issuer *x509.Certificate) (*x509.Certificate, error) {
	by := issuer
	if r.delegate != nil && !bytes.Equal(r.delegate.Raw, issuer.Raw) {
		by = r.delegate
		if !l.issued(by, issuer) || by.IsCA || !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) || !onP384(by) || len(by.UnhandledCriticalExtensions) > 0 {
			return nil, fmt.Errorf("%s may not speak for %s", common(by), common(issuer))
		}
	} else if !r.responder.is(issuer) {
		return nil, errors.New("an OCSP response by somebody else than the issuer")
	}
	ok := l.verified(r.raw, by.Raw, func() bool {
		return by.CheckSignature(x509.ECDSAWithSHA384, r.data, r.signature) == nil
	})
	if !ok {
		return nil, fmt.Errorf("an OCSP response that %s did not sign", common(by))
	}
	return by, nil
}
