package keys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"filippo.io/mldsa"
	"strongroom.dev/wire"
)

// ErrSignature is what a signature that does not verify gives, whatever the reason.
var ErrSignature = errors.New("signature does not verify")

// Signer signs a document digest for one document type. [SigningKey] is one; a key in an
// HSM is another.
type Signer interface {
	Public() PublicKey
	// Sign signs the digest of a document of the named type.
	Sign(docType string, digest wire.Digest) (Signature, error)
}

// Signature is one key's signature over a document type and digest.
type Signature struct {
	Algorithm Algorithm  `json:"algorithm"`
	Key       KeyID      `json:"key"`
	Signature wire.Bytes `json:"signature"`
}

// message gives the signed bytes (spec/keys.md, section 3): everything a signature means is
// in them, algorithm and key included.
func message(docType string, a Algorithm, key KeyID, digest wire.Digest) []byte {
	return wire.Tuple("strongroom/signature/v1", []byte(docType), []byte(a), key[:], digest[:])
}

// Sign signs the digest of a document of the named type.
func (k *SigningKey) Sign(docType string, digest wire.Digest) (Signature, error) {
	if k == nil || k.public.IsZero() {
		return Signature{}, fmt.Errorf("no signing key")
	}
	s := Signature{Algorithm: k.public.algorithm, Key: k.public.ID()}
	msg := message(docType, s.Algorithm, s.Key, digest)
	if k.ecdsa != nil {
		hashed := sha256.Sum256(msg)
		r, t, err := ecdsa.Sign(rand.Reader, k.ecdsa, hashed[:])
		if err != nil {
			return Signature{}, err
		}
		s.Signature = make([]byte, 64)
		r.FillBytes(s.Signature[:32])
		t.FillBytes(s.Signature[32:])
	} else {
		s.Signature = ed25519.Sign(k.ed, msg)
	}
	if k.pq != nil {
		pq, err := k.pq.Sign(rand.Reader, msg, nil)
		if err != nil {
			return Signature{}, err
		}
		s.Signature = append(s.Signature, pq...)
	}
	return s, nil
}

// Verify checks s over the digest of a document of the named type; nil means genuine.
func (k PublicKey) Verify(docType string, digest wire.Digest, s Signature) error {
	if k.IsZero() || s.Algorithm != k.algorithm || s.Key != k.ID() {
		return ErrSignature
	}
	l, err := k.algorithm.layout()
	if err != nil {
		return ErrSignature
	}
	v, err := k.split()
	if err != nil || len(s.Signature) < l.signature || (len(s.Signature) > l.signature) != l.pair {
		return ErrSignature
	}
	msg := message(docType, s.Algorithm, s.Key, digest)
	classic, rest := s.Signature[:l.signature], s.Signature[l.signature:]
	if !v.verifyClassic(msg, classic) {
		return ErrSignature
	}
	if l.pair && mldsa.Verify(v.pq, msg, rest, nil) != nil {
		return ErrSignature
	}
	return nil
}

func (v verifiers) verifyClassic(msg, signature []byte) bool {
	if v.ecdsa == nil {
		return ed25519.Verify(v.ed, msg, signature)
	}
	hashed := sha256.Sum256(msg)
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(v.ecdsa, hashed[:], r, s)
}
