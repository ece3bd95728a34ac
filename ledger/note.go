package ledger

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// signature is one signature line of a note.
type signature struct {
	name string
	id   uint32
	sig  []byte
}

const signaturePrefix = "— "

func signatureLine(name string, id uint32, sig []byte) string {
	return signaturePrefix + name + " " + base64.StdEncoding.EncodeToString(append(binary.BigEndian.AppendUint32(nil, id), sig...)) + "\n"
}

// splitNote takes a signed note apart. There is one reading and one spelling: exact base64,
// no two signatures by one key, nothing after the last signature.
func splitNote(signed string) (text string, sigs []signature, err error) {
	if len(signed) > MaxNote {
		return "", nil, fmt.Errorf("signed note of %d bytes, at most %d", len(signed), MaxNote)
	}
	i := strings.LastIndex(signed, "\n\n")
	if i < 0 {
		return "", nil, errors.New("no blank line before the signatures")
	}
	sigs, err = parseSignatures(signed[i+2:])
	return signed[:i+1], sigs, err
}

func parseSignatures(block string) (sigs []signature, err error) {
	for len(block) > 0 {
		line, rest, found := strings.Cut(block, "\n")
		if !found {
			return nil, errors.New("bytes after the last signature")
		}
		block = rest
		s, err := parseSignature(line)
		if err != nil {
			return nil, err
		}
		for _, other := range sigs {
			if other.name == s.name && other.id == s.id {
				return nil, fmt.Errorf("two signatures by one key of %.60q", s.name)
			}
		}
		if sigs = append(sigs, s); len(sigs) > MaxSignatures {
			return nil, fmt.Errorf("more than %d signatures", MaxSignatures)
		}
	}
	return sigs, nil
}

func parseSignature(line string) (s signature, err error) {
	rest, found := strings.CutPrefix(line, signaturePrefix)
	name, encoded, space := strings.Cut(rest, " ")
	if !found || !space || checkOrigin(name) != nil {
		return s, fmt.Errorf("not a signature line: %.60q", line)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) < 5 || len(raw) > 4+maxSignature {
		return s, fmt.Errorf("signature line of %.60q: not a key hash and a signature in base64", name)
	}
	return signature{name, binary.BigEndian.Uint32(raw), raw[4:]}, nil
}

// verified checks a note's signatures with the given verifiers and returns those that are
// there. A signature by a known key that does not verify is an error, never a smaller
// count: somebody changed something.
func verified(signed string, known ...note.Verifier) (text string, by []signature, err error) {
	text, sigs, err := splitNote(signed)
	if err != nil {
		return "", nil, err
	}
	if _, err := note.Open([]byte(signed), note.VerifierList(known...)); err != nil {
		var unverified *note.UnverifiedNoteError
		if errors.As(err, &unverified) {
			return text, nil, nil
		}
		return "", nil, err
	}
	for _, s := range sigs {
		for _, k := range known {
			if s.name == k.Name() && s.id == k.KeyHash() {
				by = append(by, s)
			}
		}
	}
	return text, by, nil
}
