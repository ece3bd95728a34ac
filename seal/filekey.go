package seal

import (
	"bytes"
	"fmt"

	"strongroom.dev/verdict"
)

// fileKeySize is the size of age's file key in bytes.
const fileKeySize = 16

// FileKey opens the payload of one sealed file. It is held by pointer, prints as
// "redacted" and has no text. The zero FileKey opens nothing.
type FileKey struct {
	_ [0]func() // not comparable: == is not constant-time
	// secret is behind a pointer so that wiping reaches every copy, and that %p, which fmt
	// lets nobody format, prints an address.
	secret *secret
}

type secret struct {
	bytes [fileKeySize]byte
	wiped bool
}

// NewFileKey takes the 16 bytes that [FileKey.MarshalSecret] gave.
func NewFileKey(b []byte) (*FileKey, error) {
	if len(b) != fileKeySize {
		return nil, verdict.NotGenuine("sealed.key", "a file key of 16 bytes", fmt.Sprintf("%d bytes", len(b)), "ask for the key again")
	}
	return &FileKey{secret: &secret{bytes: [fileKeySize]byte(b)}}, nil
}

// MarshalSecret gives the key's 16 bytes, to be sealed to a room. The caller wipes them.
func (k *FileKey) MarshalSecret() ([]byte, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	return bytes.Clone(k.secret.bytes[:]), nil
}

// Wipe overwrites the key, which then opens nothing. A nil or wiped key may be wiped again.
func (k *FileKey) Wipe() {
	if k != nil && k.secret != nil {
		*k.secret = secret{wiped: true}
	}
}

func (k *FileKey) check() error {
	if k == nil || k.secret == nil || k.secret.wiped {
		return verdict.Refuse("sealed.key", "a file key", "none, or one wiped", "obtain the file's key first")
	}
	return nil
}

// Format redacts the key under every verb.
func (k FileKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, "file key (redacted)") }

// MarshalText refuses, so that a key can't slip into a document; see MarshalSecret.
func (k FileKey) MarshalText() ([]byte, error) { return nil, fmt.Errorf("a file key has no text") }
