// Package cose verifies COSE_Sign1 (RFC 9052, section 4.2), a payload signed by one key, and
// reads COSE keys of elliptic curves.
//
// It promises that a document it verifies was signed by the given key, over exactly the
// protected header and payload that it shows, with an algorithm of that very kind of key.
// Whose key that is, and what the payload means, is for the caller.
package cose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"strongroom.dev/cbor"
)

// Labels of header parameters (RFC 9052, section 3.1; RFC 9360, section 2).
const (
	LabelAlgorithm   = 1
	LabelCritical    = 2
	LabelContentType = 3
	LabelX5Chain     = 33
	LabelX5T         = 34
)

// tagSign1 is the tag of COSE_Sign1, which may be absent.
const tagSign1 = 18

// Sign1 is a COSE_Sign1. Nothing in it is verified but its form.
type Sign1 struct {
	// Protected is the protected header as it is signed.
	Protected []byte
	// Header is what stands in Protected: a map.
	Header cbor.Value
	// Unprotected is not signed.
	Unprotected cbor.Value
	Payload     []byte
	Signature   []byte
}

// ParseSign1 reads a COSE_Sign1, tagged or not, with its payload inside. The limits hold for
// the document and for its protected header, each on its own.
func ParseSign1(data []byte, l cbor.Limits) (*Sign1, error) {
	l.Indefinite = false
	v, err := cbor.Parse(data, l)
	if err != nil {
		return nil, err
	}
	if v.Kind == cbor.Tag && v.Number == tagSign1 {
		v = v.Items[0]
	}
	if v.Kind != cbor.Array || len(v.Items) != 4 || v.Items[0].Kind != cbor.Bytes || v.Items[1].Kind != cbor.Map || v.Items[2].Kind != cbor.Bytes || v.Items[3].Kind != cbor.Bytes {
		return nil, errors.New("not a COSE_Sign1 with its payload inside")
	}
	s := &Sign1{Protected: v.Items[0].Bytes, Header: cbor.Value{Kind: cbor.Map}, Unprotected: v.Items[1], Payload: v.Items[2].Bytes, Signature: v.Items[3].Bytes}
	if len(s.Protected) == 0 {
		return s, nil // an empty map (RFC 9052, section 3)
	}
	if s.Header, err = cbor.Parse(s.Protected, l); err != nil {
		return nil, err
	}
	if s.Header.Kind != cbor.Map {
		return nil, errors.New("a protected header that is no map")
	}
	return s, nil
}

// Critical gives the labels that the signer wants understood (RFC 9052, section 3.1), and
// whether the list is well-formed. Whoever acts on a document must know all of them.
func (s *Sign1) Critical() ([]cbor.Value, bool) {
	if s.Unprotected.Get(LabelCritical).Kind != cbor.None {
		return nil, false
	}
	crit := s.Header.Get(LabelCritical)
	return crit.Items, crit.Kind == cbor.None || crit.Kind == cbor.Array && len(crit.Items) > 0
}

// toBeSigned gives Sig_structure (RFC 9052, section 4.4) without external data.
func (s *Sign1) toBeSigned() []byte {
	b := make([]byte, 0, 32+len(s.Protected)+len(s.Payload))
	b = append(b, "\x84\x6aSignature1"...)
	for _, part := range [][]byte{s.Protected, nil, s.Payload} {
		b = append(appendHead(b, len(part)), part...)
	}
	return b
}

// appendHead writes the shortest head of a byte string of n bytes.
func appendHead(b []byte, n int) []byte {
	switch {
	case n < 24:
		return append(b, 0x40|byte(n))
	case n < 1<<8:
		return append(b, 0x58, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 0x59), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0x5a), uint32(n))
}

// algorithm is one of RFC 9053, section 2.1, RFC 9864 or RFC 8230, section 2: ECDSA with one
// curve, or RSA-PSS.
type algorithm struct {
	name  string
	hash  crypto.Hash
	curve elliptic.Curve // nil for RSA-PSS
}

func algorithmOf(id int64) (algorithm, bool) {
	switch id {
	case -7, -9:
		return algorithm{"ES256", crypto.SHA256, elliptic.P256()}, true
	case -35, -51:
		return algorithm{"ES384", crypto.SHA384, elliptic.P384()}, true
	case -36, -52:
		return algorithm{"ES512", crypto.SHA512, elliptic.P521()}, true
	case -37:
		return algorithm{"PS256", crypto.SHA256, nil}, true
	case -38:
		return algorithm{"PS384", crypto.SHA384, nil}, true
	case -39:
		return algorithm{"PS512", crypto.SHA512, nil}, true
	}
	return algorithm{}, false
}

func (s *Sign1) algorithm() (algorithm, error) {
	id, ok := s.Header.Get(LabelAlgorithm).Int()
	if !ok {
		return algorithm{}, errors.New("no algorithm in the protected header")
	}
	a, ok := algorithmOf(id)
	if !ok {
		return algorithm{}, fmt.Errorf("an algorithm not accepted here (%d)", id)
	}
	return a, nil
}

// Algorithm names the algorithm in the protected header, as in "ES384"; "" for one that is
// not accepted here.
func (s *Sign1) Algorithm() string {
	a, _ := s.algorithm()
	return a.name
}

// Verify checks the signature with a key: ECDSA on the one curve of its algorithm, or
// RSA-PSS with a salt as long as the hash.
func (s *Sign1) Verify(key crypto.PublicKey) error {
	a, err := s.algorithm()
	if err != nil {
		return err
	}
	digest := digestOf(a.hash, s.toBeSigned())
	switch k := key.(type) {
	case *rsa.PublicKey:
		if a.curve != nil {
			return errors.New("an RSA key with an algorithm of ECDSA")
		}
		return rsa.VerifyPSS(k, a.hash, digest, s.Signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: a.hash})
	case *ecdsa.PublicKey:
		if a.curve == nil || a.curve != k.Curve {
			return fmt.Errorf("a key on %s with the algorithm %s", k.Curve.Params().Name, a.name)
		}
		size := (k.Curve.Params().BitSize + 7) / 8
		if len(s.Signature) != 2*size {
			return fmt.Errorf("a signature of %d bytes, expected %d", len(s.Signature), 2*size)
		}
		r, t := new(big.Int).SetBytes(s.Signature[:size]), new(big.Int).SetBytes(s.Signature[size:])
		if !ecdsa.Verify(k, digest, r, t) {
			return errors.New("a signature that does not verify")
		}
		return nil
	}
	return errors.New("a key of a kind not accepted here")
}

func digestOf(hash crypto.Hash, data []byte) []byte {
	switch hash {
	case crypto.SHA384:
		d := sha512.Sum384(data)
		return d[:]
	case crypto.SHA512:
		d := sha512.Sum512(data)
		return d[:]
	}
	d := sha256.Sum256(data)
	return d[:]
}

// Labels and values of keys (RFC 9052, section 7.1; RFC 9053, section 7.1).
const (
	keyType  = 1
	keyCurve = -1
	keyX     = -2
	keyY     = -3

	typeEC2 = 2
)

// Key reads a COSE_Key of P-256, P-384 or P-521 with both coordinates.
func Key(v cbor.Value) (*ecdsa.PublicKey, error) {
	kind, isKind := v.Get(keyType).Int()
	number, isCurve := v.Get(keyCurve).Int()
	curve := map[int64]elliptic.Curve{1: elliptic.P256(), 2: elliptic.P384(), 3: elliptic.P521()}[number]
	if !isKind || kind != typeEC2 || !isCurve || curve == nil {
		return nil, errors.New("a COSE key that is not one of P-256, P-384 or P-521")
	}
	x, y := v.Get(keyX).Bytes, v.Get(keyY).Bytes
	if size := (curve.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
		return nil, fmt.Errorf("a COSE key with coordinates of %d and %d bytes, expected %d", len(x), len(y), size)
	}
	return ecdsa.ParseUncompressedPublicKey(curve, bytes.Join([][]byte{{4}, x, y}, nil))
}

// Thumbprint gives the SHA-256 thumbprint of a key of an elliptic curve (RFC 9679): of its
// required members, in the shortest form and the order of RFC 8949, section 4.2.
func Thumbprint(key *ecdsa.PublicKey) ([32]byte, error) {
	point, err := key.Bytes()
	if err != nil {
		return [32]byte{}, err
	}
	numbers := map[elliptic.Curve]byte{elliptic.P256(): 1, elliptic.P384(): 2, elliptic.P521(): 3}
	size := (len(point) - 1) / 2
	b := []byte{0xa4, keyType, typeEC2, 0x20, numbers[key.Curve], 0x21}
	b = append(appendHead(b, size), point[1:1+size]...)
	b = append(appendHead(append(b, 0x22), size), point[1+size:]...)
	return sha256.Sum256(b), nil
}
