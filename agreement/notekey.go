package agreement

import (
	"encoding/hex"
	"strings"

	"strongroom.dev/wire"
)

// Algorithm bytes of note verifier keys: C2SP signed-note, section "Signature types".
const (
	noteEd25519   = 1
	noteCosigning = 4 // timestamped Ed25519 cosignatures, C2SP tlog-cosignature
)

// noteKey checks the form of a note verifier key, NAME+HASH+KEY: HASH is the first 4 bytes
// of the SHA-256 of name, newline, algorithm byte and key. It keeps a mistyped key out of a
// signed document; what is signed with the key is checked elsewhere.
func (p place) noteKey(text string) error {
	if !validNoteKey(text) {
		return p.bad("a note verifier key, NAME+8 HEX DIGITS+BASE64, whose digits match", quoted(text), "copy it as `strongroom ledger` prints it")
	}
	return nil
}

func validNoteKey(text string) bool {
	name, rest, one := strings.Cut(text, "+")
	digits, encoded, two := strings.Cut(rest, "+")
	if !one || !two || name == "" || len(text) > MaxLine || strings.ContainsAny(name, " \t\n") {
		return false
	}
	var key wire.Bytes
	if err := key.UnmarshalText([]byte(encoded)); err != nil || len(key) != 33 {
		return false
	}
	if key[0] != noteEd25519 && key[0] != noteCosigning {
		return false
	}
	hash := wire.HashOf(append([]byte(name+"\n"), key...))
	return digits == hex.EncodeToString(hash[:4])
}
