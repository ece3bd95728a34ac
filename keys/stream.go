package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"strongroom.dev/wire"
)

// Encapsulation is the size of what [HPKEPublicKey.Encapsulate] gives to be sent.
const Encapsulation = 1120

const exported = "strongroom/hpke-secret/v1"

// Encapsulate makes a secret that only the holder of the private key can have too, by the
// encapsulated key that it returns (RFC 9180, section 5.3, in base mode, export only).
// Anybody can: the secret says nothing of who made it.
func (k HPKEPublicKey) Encapsulate(info []byte) (encapsulated []byte, s *Secret, err error) {
	public, err := hpke.MLKEM768X25519().NewPublicKey([]byte(k.bytes))
	if err != nil {
		return nil, nil, fmt.Errorf("HPKE key: %w", err)
	}
	encapsulated, sender, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.ExportOnly(), info)
	if err != nil {
		return nil, nil, err
	}
	secret, err := sender.Export(exported, 32)
	if err != nil {
		return nil, nil, err
	}
	s, err = NewSecret(secret)
	return encapsulated, s, err
}

// Decapsulate gives the secret of an encapsulated key. One that was altered gives another
// secret, or an error.
func (k *HPKEPrivateKey) Decapsulate(info, encapsulated []byte) (*Secret, error) {
	if k == nil || k.key == nil {
		return nil, fmt.Errorf("no HPKE key")
	}
	recipient, err := hpke.NewRecipient(encapsulated, k.key, hpke.HKDFSHA256(), hpke.ExportOnly(), info)
	if err != nil {
		return nil, err
	}
	secret, err := recipient.Export(exported, 32)
	if err != nil {
		return nil, err
	}
	return NewSecret(secret)
}

// Combine gives a secret that nobody has who lacks either of two, for the use that the tuple
// names.
func (s *Secret) Combine(other *Secret, domain string, fields ...[]byte) *Secret {
	s.must()
	other.must()
	out, err := hkdf.Key(sha256.New, append(s.MarshalSecret(), other.bytes[:]...), nil, string(wire.Tuple(domain, fields...)), 32)
	if err != nil { // 32 bytes is always a permitted length
		panic("keys: " + err.Error())
	}
	combined := &Secret{set: true}
	copy(combined.bytes[:], out)
	return combined
}

// Sealer seals numbered messages of one direction with AES-256-GCM. A number must never be
// used for two messages.
type Sealer struct {
	_    [0]func()
	aead cipher.AEAD
}

// SealerOverhead is how many bytes longer a sealed message is.
const SealerOverhead = 16

// Sealer makes a sealer for the direction that the tuple names.
func (s *Secret) Sealer(domain string, fields ...[]byte) *Sealer {
	key := s.Derive(domain, fields...)
	block, err := aes.NewCipher(key[:])
	if err != nil { // 32 bytes is always a permitted length
		panic("keys: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("keys: " + err.Error())
	}
	return &Sealer{aead: aead}
}

// Format redacts the key under every verb.
func (s Sealer) Format(f fmt.State, _ rune) { fmt.Fprint(f, "sealer (redacted)") }

func nonceOf(number uint64) []byte {
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], number)
	return nonce[:]
}

// Seal appends message number n to dst, sealed together with bytes that are sent beside it.
func (s *Sealer) Seal(dst []byte, n uint64, message, beside []byte) []byte {
	return s.aead.Seal(dst, nonceOf(n), message, beside)
}

// Open opens what Seal made of message number n.
func (s *Sealer) Open(n uint64, sealed, beside []byte) ([]byte, error) {
	message, err := s.aead.Open(nil, nonceOf(n), sealed, beside)
	if err != nil {
		return nil, fmt.Errorf("message %d does not open", n)
	}
	return message, nil
}
