// Package keys holds typed keys and the few operations done with them: signatures over
// documents, MACs over challenges, and HPKE to a room. It is the only importer of signing,
// key-agreement and AEAD packages, besides the vendors' evidence formats (endorse,
// attest/...), sealed files (seal), signed checkpoints (ledger), tokens (ear) and TLS (channel, ingress).
//
// Private keys have no exported bytes, print as "redacted" and leave the program only
// through their one named method. Signatures are always made over a document type and a
// digest, never over bytes a caller chose, so that no key can be used as an oracle.
package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"filippo.io/mldsa"
	"strongroom.dev/wire"
)

// Algorithm names how a key signs. It is part of the signed bytes.
type Algorithm string

// The algorithms of signing keys (spec/keys.md, section 2). In those with "+ml-dsa-65" the
// key is a pair and both signatures must verify.
const (
	Ed25519        Algorithm = "ed25519"
	ECDSAP256      Algorithm = "ecdsa-p256"
	Ed25519MLDSA   Algorithm = "ed25519+ml-dsa-65"
	ECDSAP256MLDSA Algorithm = "ecdsa-p256+ml-dsa-65"
)

// layout gives the sizes of one algorithm's parts in bytes.
type layout struct {
	ecdsa     bool
	pair      bool
	classic   int // public key of the classic half
	secret    int // private key of the classic half
	signature int // signature of the classic half
}

func (a Algorithm) layout() (layout, error) {
	switch a {
	case Ed25519, Ed25519MLDSA:
		return layout{false, a == Ed25519MLDSA, ed25519.PublicKeySize, ed25519.SeedSize, ed25519.SignatureSize}, nil
	case ECDSAP256, ECDSAP256MLDSA:
		return layout{true, a == ECDSAP256MLDSA, 65, 32, 64}, nil
	}
	return layout{}, fmt.Errorf("unknown signing algorithm %.40q", string(a))
}

// KeyID is the SHA-256 of a public key under its own domain: what signatures name keys by.
type KeyID = wire.Hash

// PublicKey checks signatures. The zero PublicKey verifies nothing. Its text is the
// algorithm, a colon and the key's bytes in base64: Ed25519 32 bytes, P-256 an
// uncompressed point of 65 bytes, in a pair followed by 1,952 bytes of ML-DSA-65.
type PublicKey struct {
	algorithm Algorithm
	bytes     string // comparable, and nobody can change it
}

// Algorithm gives how the key signs.
func (k PublicKey) Algorithm() Algorithm { return k.algorithm }

// IsZero reports whether the key was never set.
func (k PublicKey) IsZero() bool { return k.algorithm == "" }

// ID names the key.
func (k PublicKey) ID() KeyID {
	return wire.SHA256("strongroom/key-id/v1", []byte(k.algorithm), []byte(k.bytes))
}

func (k PublicKey) String() string {
	return string(k.algorithm) + ":" + base64.StdEncoding.EncodeToString([]byte(k.bytes))
}

// MarshalText writes the text form.
func (k PublicKey) MarshalText() ([]byte, error) {
	if k.IsZero() {
		return nil, fmt.Errorf("no public key")
	}
	return []byte(k.String()), nil
}

// UnmarshalText reads the text form and checks that it is a key of that algorithm.
func (k *PublicKey) UnmarshalText(text []byte) error {
	name, encoded, found := strings.Cut(string(text), ":")
	if !found || len(encoded) > 4096 {
		return fmt.Errorf("not a public key like ed25519:BASE64: %.40q", text)
	}
	var raw wire.Bytes
	if err := raw.UnmarshalText([]byte(encoded)); err != nil {
		return fmt.Errorf("public key: %w", err)
	}
	parsed := PublicKey{Algorithm(name), string(raw)}
	if _, err := parsed.split(); err != nil {
		return err
	}
	*k = parsed
	return nil
}

// ParsePublicKey reads the text of a public key.
func ParsePublicKey(text string) (k PublicKey, err error) {
	err = k.UnmarshalText([]byte(text))
	return k, err
}

// verifiers are the parsed halves of a public key.
type verifiers struct {
	ed    ed25519.PublicKey
	ecdsa *ecdsa.PublicKey
	pq    *mldsa.PublicKey
}

func (k PublicKey) split() (v verifiers, err error) {
	l, err := k.algorithm.layout()
	if err != nil {
		return v, err
	}
	want := l.classic
	if l.pair {
		want += mldsa.MLDSA65PublicKeySize
	}
	if len(k.bytes) != want {
		return v, fmt.Errorf("%s key of %d bytes, expected %d", k.algorithm, len(k.bytes), want)
	}
	classic := []byte(k.bytes[:l.classic])
	if l.ecdsa {
		if v.ecdsa, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), classic); err != nil {
			return v, fmt.Errorf("P-256 key: %w", err)
		}
	} else {
		v.ed = classic
	}
	if l.pair {
		if v.pq, err = mldsa.NewPublicKey(mldsa.MLDSA65(), []byte(k.bytes[l.classic:])); err != nil {
			return v, fmt.Errorf("ML-DSA-65 key: %w", err)
		}
	}
	return v, nil
}

// SigningKey signs documents. It is held by pointer and never copied or compared.
type SigningKey struct {
	_      [0]func() // not comparable: == is not constant-time
	public PublicKey
	ed     ed25519.PrivateKey
	ecdsa  *ecdsa.PrivateKey
	pq     *mldsa.PrivateKey
}

// GenerateSigningKey makes a new key from the system's randomness.
func GenerateSigningKey(a Algorithm) (*SigningKey, error) {
	l, err := a.layout()
	if err != nil {
		return nil, err
	}
	k := &SigningKey{}
	if l.ecdsa {
		if k.ecdsa, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	} else if _, k.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, err
	}
	if l.pair {
		if k.pq, err = mldsa.GenerateKey(mldsa.MLDSA65()); err != nil {
			return nil, err
		}
	}
	return k, k.setPublic(a)
}

func (k *SigningKey) setPublic(a Algorithm) error {
	var b []byte
	if k.ecdsa != nil {
		point, err := k.ecdsa.PublicKey.Bytes()
		if err != nil {
			return err
		}
		b = point
	} else {
		b = bytes.Clone(k.ed.Public().(ed25519.PublicKey))
	}
	if k.pq != nil {
		b = append(b, k.pq.PublicKey().Bytes()...)
	}
	k.public = PublicKey{a, string(b)}
	return nil
}

// Public gives the key that checks this one's signatures.
func (k *SigningKey) Public() PublicKey { return k.public }

func (k SigningKey) String() string { return "signing key (redacted)" }

// GoString redacts the key in %#v too.
func (k SigningKey) GoString() string { return k.String() }

// Format redacts the key under every verb.
func (k SigningKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// MarshalText refuses, so that a key can't slip into a document; see MarshalSecret.
func (k SigningKey) MarshalText() ([]byte, error) {
	return nil, fmt.Errorf("a signing key has no text")
}

const secretPrefix = "STRONGROOM-SIGNING-KEY-1:"

// MarshalSecret gives the text of a key file: the prefix, the algorithm, a colon and the
// secret's bytes in base64. Whoever reads it can sign as the party: keep it in a file with
// mode 0600.
func (k *SigningKey) MarshalSecret() (string, error) {
	secret, err := k.secret()
	if err != nil {
		return "", err
	}
	return secretPrefix + string(k.public.algorithm) + ":" + base64.StdEncoding.EncodeToString(secret) + "\n", nil
}

func (k *SigningKey) secret() (b []byte, err error) {
	if k.public.IsZero() {
		return nil, fmt.Errorf("no signing key")
	}
	if k.ecdsa != nil {
		if b, err = k.ecdsa.Bytes(); err != nil {
			return nil, err
		}
	} else {
		b = bytes.Clone(k.ed.Seed())
	}
	if k.pq != nil {
		b = append(b, k.pq.Bytes()...)
	}
	return b, nil
}

// ParseSigningKey reads what [SigningKey.MarshalSecret] wrote; lines starting with "#" and
// empty lines are passed over. The error never quotes the text.
func ParseSigningKey(text string) (*SigningKey, error) {
	var line string
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		if line != "" {
			return nil, fmt.Errorf("more than one key in a signing key file")
		}
		line = l
	}
	rest, found := strings.CutPrefix(line, secretPrefix)
	name, encoded, colon := strings.Cut(rest, ":")
	secret, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !found || !colon || err != nil {
		return nil, fmt.Errorf("not a signing key file (a line %s...)", secretPrefix)
	}
	return newSigningKey(Algorithm(name), secret)
}

func newSigningKey(a Algorithm, secret []byte) (*SigningKey, error) {
	l, err := a.layout()
	if err != nil {
		return nil, err
	}
	want := l.secret
	if l.pair {
		want += mldsa.PrivateKeySize
	}
	if len(secret) != want {
		return nil, fmt.Errorf("%s secret of %d bytes, expected %d", a, len(secret), want)
	}
	k := &SigningKey{}
	if l.ecdsa {
		if k.ecdsa, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), secret[:l.secret]); err != nil {
			return nil, fmt.Errorf("P-256 secret is not a valid scalar")
		}
	} else {
		k.ed = ed25519.NewKeyFromSeed(secret[:l.secret])
	}
	if l.pair {
		if k.pq, err = mldsa.NewPrivateKey(mldsa.MLDSA65(), secret[l.secret:]); err != nil {
			return nil, fmt.Errorf("ML-DSA-65 seed: %w", err)
		}
	}
	return k, k.setPublic(a)
}
