package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
)

// WorkloadKey is a key that a workload uses and never sees (spec/container.md, section
// 4.3). Unlike every other key here it serves whatever bytes the workload names, so
// nothing but derivatives of its own domains is ever used, and no document of ours is signed
// by any of them. A context, which may be empty, gives each use a derivative of its own.
type WorkloadKey struct{ secret *Secret }

// The domains of the derivatives.
const (
	workloadSign    = "strongroom/transit/sign/v1"
	workloadEncrypt = "strongroom/transit/encrypt/v1"
	workloadMAC     = "strongroom/transit/hmac/v1"
	workloadDerive  = "strongroom/transit/derive/v1"
)

// ErrWorkload is in the chain of every error about what a workload brought to be opened.
var ErrWorkload = errors.New("message authentication failed")

// NewWorkloadKey takes 32 bytes.
func NewWorkloadKey(b []byte) (*WorkloadKey, error) {
	s, err := NewSecret(b)
	if err != nil {
		return nil, err
	}
	return &WorkloadKey{s}, nil
}

// Format redacts the key under every verb.
func (k WorkloadKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, "workload key (redacted)") }

// MarshalText refuses, so that a key can't slip into a document.
func (k WorkloadKey) MarshalText() ([]byte, error) {
	return nil, fmt.Errorf("a workload key has no text")
}

func (k *WorkloadKey) signer(context []byte) ed25519.PrivateKey {
	seed := k.secret.Derive(workloadSign, context)
	defer clear(seed[:])
	return ed25519.NewKeyFromSeed(seed[:])
}

// Sign gives an Ed25519 signature (RFC 8032, not prehashed) over the message, 64 bytes.
func (k *WorkloadKey) Sign(context, message []byte) []byte {
	return ed25519.Sign(k.signer(context), message)
}

// Public gives the Ed25519 key that checks signatures of the context, 32 bytes.
func (k *WorkloadKey) Public(context []byte) []byte {
	return k.signer(context).Public().(ed25519.PublicKey)
}

// Verify checks what Sign made.
func (k *WorkloadKey) Verify(context, message, signature []byte) bool {
	return len(signature) == ed25519.SignatureSize && ed25519.Verify(k.Public(context), message, signature)
}

const workloadSalt = 16 // bytes; every message has a key of its own, so their number has no bound

func (k *WorkloadKey) aead(context, salt []byte) (cipher.AEAD, error) {
	key := k.secret.Derive(workloadEncrypt, context, salt)
	defer clear(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Encrypt gives 16 random bytes, of which with the context this message's key is derived, a
// random nonce of 12 bytes, and the message under AES-256-GCM with the associated data.
func (k *WorkloadKey) Encrypt(context, associated, message []byte) ([]byte, error) {
	out := make([]byte, workloadSalt, workloadSalt+12+len(message)+16)
	rand.Read(out)
	aead, err := k.aead(context, out)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	return aead.Seal(append(out, nonce...), nonce, message, associated), nil
}

// Decrypt opens what Encrypt made.
func (k *WorkloadKey) Decrypt(context, associated, sealed []byte) ([]byte, error) {
	if len(sealed) < workloadSalt+12+16 {
		return nil, ErrWorkload
	}
	aead, err := k.aead(context, sealed[:workloadSalt])
	if err != nil {
		return nil, err
	}
	rest := sealed[workloadSalt:]
	message, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], associated)
	if err != nil {
		return nil, ErrWorkload
	}
	return message, nil
}

// MAC gives an HMAC over the message with a hash of sha2-256, sha2-384 or sha2-512, each
// with a key of its own.
func (k *WorkloadKey) MAC(algorithm string, message []byte) ([]byte, error) {
	hashes := map[string]func() hash.Hash{"sha2-256": sha256.New, "sha2-384": sha512.New384, "sha2-512": sha512.New}
	h := hashes[algorithm]
	if h == nil {
		return nil, fmt.Errorf("no hash %.40q", algorithm)
	}
	key := k.secret.Derive(workloadMAC, []byte(algorithm))
	defer clear(key[:])
	m := hmac.New(h, key[:])
	m.Write(message)
	return m.Sum(nil), nil
}

// VerifyMAC checks what MAC made, in constant time.
func (k *WorkloadKey) VerifyMAC(algorithm string, message, mac []byte) bool {
	want, err := k.MAC(algorithm, message)
	return err == nil && hmac.Equal(mac, want)
}

// Derive gives 32 bytes that belong to the context: the same each time.
func (k *WorkloadKey) Derive(context []byte) []byte {
	out := k.secret.Derive(workloadDerive, context)
	return out[:]
}

// RandomBytes gives n random bytes, for keys and tokens of a workload.
func RandomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
