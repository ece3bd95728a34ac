package keys

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"strongroom.dev/wire"
)

// Suite names the one HPKE suite of protocol version 1: X-Wing (ML-KEM-768 with X25519,
// KEM id 0x647a), HKDF-SHA-256, AES-256-GCM (RFC 9180; draft-ietf-hpke-pq).
const Suite = "x-wing/hkdf-sha256/aes-256-gcm"

// HPKEPublicKey receives sealed messages; 1,216 bytes. Its text is "x-wing:" and base64.
type HPKEPublicKey struct{ bytes string }

// HPKEPrivateKey opens what was sealed to its public key. It never leaves the program.
type HPKEPrivateKey struct {
	_      [0]func()
	key    hpke.PrivateKey
	public HPKEPublicKey
}

// GenerateHPKEKey makes a new key from the system's randomness.
func GenerateHPKEKey() (*HPKEPrivateKey, error) {
	key, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		return nil, err
	}
	return &HPKEPrivateKey{key: key, public: HPKEPublicKey{string(key.PublicKey().Bytes())}}, nil
}

// NewHPKEKey makes the key of a seed of 32 secret bytes, always the same.
func NewHPKEKey(seed []byte) (*HPKEPrivateKey, error) {
	key, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil {
		return nil, err
	}
	return &HPKEPrivateKey{key: key, public: HPKEPublicKey{string(key.PublicKey().Bytes())}}, nil
}

// Public gives the key to seal to.
func (k *HPKEPrivateKey) Public() HPKEPublicKey { return k.public }

// Format redacts the key under every verb.
func (k HPKEPrivateKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, "HPKE key (redacted)") }

// MarshalText refuses, so that a key can't slip into a document.
func (k HPKEPrivateKey) MarshalText() ([]byte, error) {
	return nil, fmt.Errorf("an HPKE private key has no text")
}

// IsZero reports whether the key was never set.
func (k HPKEPublicKey) IsZero() bool { return k.bytes == "" }

// Bytes gives the key's encoding, a field for hashes.
func (k HPKEPublicKey) Bytes() []byte { return []byte(k.bytes) }

func (k HPKEPublicKey) String() string {
	text, _ := wire.Bytes(k.bytes).MarshalText()
	return "x-wing:" + string(text)
}

// MarshalText writes the text form.
func (k HPKEPublicKey) MarshalText() ([]byte, error) {
	if k.IsZero() {
		return nil, fmt.Errorf("no HPKE key")
	}
	return []byte(k.String()), nil
}

// UnmarshalText reads the text form.
func (k *HPKEPublicKey) UnmarshalText(text []byte) error {
	const prefix = "x-wing:"
	if len(text) < len(prefix) || len(text) > 4096 || string(text[:len(prefix)]) != prefix {
		return fmt.Errorf("not an HPKE key like x-wing:BASE64: %.40q", text)
	}
	var raw wire.Bytes
	if err := raw.UnmarshalText(text[len(prefix):]); err != nil {
		return fmt.Errorf("HPKE key: %w", err)
	}
	if _, err := hpke.MLKEM768X25519().NewPublicKey(raw); err != nil {
		return fmt.Errorf("HPKE key: %w", err)
	}
	k.bytes = string(raw)
	return nil
}

// Seal encrypts a message to the key, bound to info. The result is the encapsulated key
// (1,120 bytes), then the ciphertext (16 bytes longer than the message).
func (k HPKEPublicKey) Seal(info, message []byte) ([]byte, error) {
	public, err := hpke.MLKEM768X25519().NewPublicKey([]byte(k.bytes))
	if err != nil {
		return nil, fmt.Errorf("HPKE key: %w", err)
	}
	return hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES256GCM(), info, message)
}

// Open decrypts what [HPKEPublicKey.Seal] made with the same info.
func (k *HPKEPrivateKey) Open(info, sealed []byte) ([]byte, error) {
	if k == nil || k.key == nil {
		return nil, fmt.Errorf("no HPKE key")
	}
	return hpke.Open(k.key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, sealed)
}

// Secret is 32 random bytes that make MACs and derived secrets. The zero Secret panics
// rather than make a MAC anyone can make.
type Secret struct {
	_     [0]func()
	bytes [32]byte
	set   bool
}

// GenerateSecret makes a new secret from the system's randomness.
func GenerateSecret() *Secret {
	s := &Secret{set: true}
	rand.Read(s.bytes[:]) // never fails: crypto/rand ends the program rather than return weak bytes
	return s
}

// NewSecret takes 32 bytes read from where [Secret.MarshalSecret] put them.
func NewSecret(b []byte) (*Secret, error) {
	if len(b) != 32 {
		return nil, fmt.Errorf("secret of %d bytes, expected 32", len(b))
	}
	s := &Secret{set: true}
	copy(s.bytes[:], b)
	return s, nil
}

// MarshalSecret gives the secret's 32 bytes, for its owner's store.
func (s *Secret) MarshalSecret() []byte { s.must(); return append([]byte(nil), s.bytes[:]...) }

// Format redacts the secret under every verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "secret (redacted)") }

// MarshalText refuses, so that a secret can't slip into a document; see MarshalSecret.
func (s Secret) MarshalText() ([]byte, error) { return nil, fmt.Errorf("a secret has no text") }

func (s *Secret) must() {
	if !s.set {
		panic("keys: use of a zero Secret")
	}
}

// MAC gives HMAC-SHA-256 over a tuple.
func (s *Secret) MAC(domain string, fields ...[]byte) [32]byte {
	s.must()
	h := hmac.New(sha256.New, s.bytes[:])
	h.Write(wire.Tuple(domain, fields...))
	return [32]byte(h.Sum(nil))
}

// VerifyMAC checks a MAC in constant time.
func (s *Secret) VerifyMAC(mac []byte, domain string, fields ...[]byte) bool {
	want := s.MAC(domain, fields...)
	return hmac.Equal(mac, want[:])
}

// Derive gives another 32 secret bytes with HKDF-SHA-256, for the use that the tuple names.
func (s *Secret) Derive(domain string, fields ...[]byte) [32]byte {
	s.must()
	out, err := hkdf.Key(sha256.New, s.bytes[:], nil, string(wire.Tuple(domain, fields...)), 32)
	if err != nil { // 32 bytes is always a permitted length
		panic("keys: " + err.Error())
	}
	return [32]byte(out)
}

// RandomID gives 16 random bytes, for challenges, runs and releases.
func RandomID() (id [16]byte) { rand.Read(id[:]); return id }
