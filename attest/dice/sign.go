package dice

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
)

// key is a public key of a layer, in any of the families that DICE devices use.
type key struct {
	spki []byte
	// point are the bits of the key in spki.
	point  []byte
	public crypto.PublicKey // *ecdsa.PublicKey or *mldsa.PublicKey
}

func parseKey(spki []byte) (*key, error) {
	public, err := mldsax509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, err
	}
	k := &key{spki: spki, public: public}
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		if _, err := algorithmOf(p); err != nil {
			return nil, err
		}
		k.point, err = p.Bytes()
	case *mldsa.PublicKey:
		k.point = p.Bytes()
	default:
		err = errors.New("a key of a kind not accepted here")
	}
	return k, err
}

// family names the kind of key, for people.
func (k *key) family() string {
	switch p := k.public.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + p.Curve.Params().Name
	case *mldsa.PublicKey:
		return p.Parameters().String()
	}
	return "unknown"
}

// named reports whether a key identifier is one that devices make of this key: 20 bytes of
// its SHA-1 (RFC 5280, section 4.2.1.2) or SHA-256 (RFC 7093; Caliptra).
func (k *key) named(id []byte) bool {
	sha1Sum, sha256Sum, whole := sha1.Sum(k.point), sha256.Sum256(k.point), sha256.Sum256(k.spki)
	return bytes.Equal(id, sha1Sum[:]) || bytes.Equal(id, sha256Sum[:20]) || bytes.Equal(id, sha256Sum[:]) || bytes.Equal(id, whole[:20])
}

// signed is the outer form of certificates, requests and CRLs (X.509, section 6.3).
type signed struct {
	TBS       asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

// verify checks the signature on a certificate, request or CRL.
func (k *key) verify(der []byte) error {
	var s signed
	rest, err := asn1.Unmarshal(der, &s)
	if err != nil || len(rest) > 0 || s.Signature.BitLength%8 != 0 {
		return errors.New("not a signed document")
	}
	want, err := algorithmOf(k.public)
	if err != nil {
		return err
	}
	if !s.Algorithm.Algorithm.Equal(want) || len(s.Algorithm.Parameters.FullBytes) != 0 {
		return fmt.Errorf("signed by algorithm %s, which is not that of the key", s.Algorithm.Algorithm)
	}
	return k.verifyMessage(s.TBS.FullBytes, s.Signature.Bytes)
}

// verifyMessage checks a signature by the one algorithm of the key: ECDSA with the hash of its
// curve's size, or ML-DSA with an empty context (FIPS 204; RFC 9881, section 3).
func (k *key) verifyMessage(message, signature []byte) error {
	switch p := k.public.(type) {
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(p, digest(p.Curve, message), signature) {
			return errors.New("a signature that does not verify")
		}
		return nil
	case *mldsa.PublicKey:
		if mldsa.Verify(p, message, signature, nil) != nil {
			return errors.New("a signature that does not verify")
		}
		return nil
	}
	return errors.New("a key of a kind not accepted here")
}

func digest(curve elliptic.Curve, message []byte) []byte {
	switch curve {
	case elliptic.P256():
		d := sha256.Sum256(message)
		return d[:]
	case elliptic.P384():
		d := sha512.Sum384(message)
		return d[:]
	}
	d := sha512.Sum512(message)
	return d[:]
}

// algorithmOf gives the one algorithm that a key signs with: ecdsa-with-SHA256, 384 or 512
// (RFC 5758), id-ml-dsa-44, 65 or 87 (RFC 9881).
func algorithmOf(public crypto.PublicKey) (asn1.ObjectIdentifier, error) {
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		switch p.Curve {
		case elliptic.P256():
			return asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, nil
		case elliptic.P384():
			return asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, nil
		case elliptic.P521():
			return asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, nil
		}
	case *mldsa.PublicKey:
		switch p.Parameters() {
		case mldsa.MLDSA44():
			return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}, nil
		case mldsa.MLDSA65():
			return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}, nil
		case mldsa.MLDSA87():
			return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 19}, nil
		}
	}
	return nil, errors.New("a key of a kind not accepted here")
}
