package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// Signature types of note keys: C2SP signed-note, section "Signature types".
const (
	algEd25519     = 1 // Ed25519 over the note's text: what logs sign with
	algCosignature = 4 // timestamped Ed25519, C2SP cosignature/v1: what witnesses sign with
)

// Signer is the key of a log, which is also its key as a witness of other logs. It is held
// by pointer, redacts itself, and signs nothing but checkpoints of its own origin,
// cosignatures and statements about what it has witnessed. The zero Signer signs nothing.
type Signer struct {
	_      [0]func() // not comparable
	origin string
	key    ed25519.PrivateKey
}

// GenerateKey makes the key of a new log with the given origin: secret is the text of a key
// file (C2SP signed-note signer key), verifier the text by which others check it.
func GenerateKey(origin string) (secret, verifier string, err error) {
	if err := checkOrigin(origin); err != nil {
		return "", "", err
	}
	s := &Signer{origin: origin, key: ed25519.NewKeyFromSeed(keys.GenerateSecret().MarshalSecret())}
	seed := append([]byte{algEd25519}, s.key.Seed()...)
	secret = fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", origin, keyID(origin, algEd25519, s.public()), base64.StdEncoding.EncodeToString(seed))
	return secret, s.Verifier(), nil
}

// ParseSigner reads a key file as [GenerateKey] writes it; lines starting with "#" and empty
// lines are passed over. The error never quotes the text.
func ParseSigner(text string) (*Signer, error) {
	malformed := fmt.Errorf("not a log key file (a line PRIVATE+KEY+NAME+...)")
	line, err := onlyLine(text)
	if err != nil {
		return nil, err
	}
	parts := strings.SplitN(line, "+", 5)
	if len(line) > maxKey || len(parts) != 5 || parts[0] != "PRIVATE" || parts[1] != "KEY" {
		return nil, malformed
	}
	seed, err := base64.StdEncoding.Strict().DecodeString(parts[4])
	if err != nil || len(seed) != 1+ed25519.SeedSize || seed[0] != algEd25519 || checkOrigin(parts[2]) != nil {
		return nil, malformed
	}
	s := &Signer{origin: parts[2], key: ed25519.NewKeyFromSeed(seed[1:])}
	if parts[3] != fmt.Sprintf("%08x", keyID(s.origin, algEd25519, s.public())) {
		return nil, fmt.Errorf("log key file of %s: the key's hash does not match", s.origin)
	}
	return s, nil
}

func onlyLine(text string) (line string, err error) {
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		if line != "" {
			return "", fmt.Errorf("more than one key in a log key file")
		}
		line = l
	}
	return line, nil
}

// VerifierOf gives the verifier key that belongs to the text of a key file.
func VerifierOf(secret string) (string, error) {
	s, err := ParseSigner(secret)
	if err != nil {
		return "", err
	}
	return s.Verifier(), nil
}

// Origin gives the log's name, the first line of its checkpoints.
func (s *Signer) Origin() string { return s.origin }

// Verifier gives the text of the key that checks this one's signatures: NAME+HASH+KEY.
func (s *Signer) Verifier() string {
	return verifierText(s.origin, algEd25519, s.public())
}

// Format redacts the key under every verb.
func (s Signer) Format(f fmt.State, _ rune) { fmt.Fprint(f, "log key (redacted)") }

// MarshalText refuses, so that a key can't slip into a document.
func (s Signer) MarshalText() ([]byte, error) { return nil, fmt.Errorf("a log key has no text") }

func (s *Signer) public() ed25519.PublicKey {
	if s == nil || len(s.key) != ed25519.PrivateKeySize {
		panic("ledger: use of a zero Signer")
	}
	return bytes.Clone(s.key.Public().(ed25519.PublicKey))
}

// sign makes the log's own signature line over a note's text.
func (s *Signer) sign(text string) string {
	public := s.public()
	return signatureLine(s.origin, keyID(s.origin, algEd25519, public), ed25519.Sign(s.key, []byte(text)))
}

// cosign makes a cosignature line over a note's text: "I saw this, and nothing that it does
// not extend, as of now".
func (s *Signer) cosign(text string, now time.Time) (string, error) {
	if now.Unix() <= 0 {
		return "", fmt.Errorf("cosignature at %s: before 1970", now)
	}
	public := s.public()
	stamped := wire.Uint64(uint64(now.Unix()))
	stamped = append(stamped, ed25519.Sign(s.key, cosigned(text, uint64(now.Unix())))...)
	return signatureLine(s.origin, keyID(s.origin, algCosignature, public), stamped), nil
}

// cosigned gives the bytes that a cosignature signs (C2SP tlog-cosignature, "Ed25519 signed
// message").
func cosigned(text string, seconds uint64) []byte {
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", seconds, text)
}

// keyID names a key in signature lines: C2SP signed-note, "Verifier keys".
func keyID(name string, algorithm byte, public []byte) uint32 {
	hash := wire.HashOf(append([]byte(name+"\n"+string(algorithm)), public...))
	return binary.BigEndian.Uint32(hash[:4])
}

func verifierText(name string, algorithm byte, public []byte) string {
	return fmt.Sprintf("%s+%08x+%s", name, keyID(name, algorithm, public), base64.StdEncoding.EncodeToString(append([]byte{algorithm}, public...)))
}

// verifierKey is a parsed verifier key.
type verifierKey struct {
	name      string
	algorithm byte
	public    ed25519.PublicKey
}

func parseVerifier(text string) (k verifierKey, err error) {
	malformed := fmt.Errorf("not a note verifier key like NAME+HASH+KEY: %.60q", text)
	parts := strings.SplitN(text, "+", 3)
	if len(text) > maxKey || len(parts) != 3 {
		return k, malformed
	}
	if err := checkOrigin(parts[0]); err != nil {
		return k, err
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize {
		return k, malformed
	}
	k = verifierKey{parts[0], raw[0], raw[1:]}
	if k.algorithm != algEd25519 && k.algorithm != algCosignature {
		return k, fmt.Errorf("verifier key of %s: unknown signature type %d", k.name, k.algorithm)
	}
	if text != verifierText(k.name, k.algorithm, k.public) {
		return k, fmt.Errorf("verifier key of %s: the key's hash does not match", k.name)
	}
	return k, nil
}

// OriginOf gives the name in a verifier key, after checking the key's form.
func OriginOf(verifier string) (string, error) {
	k, err := parseVerifier(verifier)
	return k.name, err
}

// log gives the verifier of a log's own signatures.
func (k verifierKey) log() (note.Verifier, error) {
	if k.algorithm != algEd25519 {
		return nil, fmt.Errorf("key of %s signs as a witness, not as a log", k.name)
	}
	return noteVerifier{k.name, keyID(k.name, algEd25519, k.public), func(text, sig []byte) bool {
		return len(sig) == ed25519.SignatureSize && ed25519.Verify(k.public, text, sig)
	}}, nil
}

// witness gives the verifier of the cosignatures of a witness. A ledger's log key is its
// witness key too, under the other signature type: one name and one key in an agreement.
func (k verifierKey) witness() note.Verifier {
	return noteVerifier{k.name, keyID(k.name, algCosignature, k.public), func(text, sig []byte) bool {
		seconds, ok := cosignedAt(sig)
		return ok && ed25519.Verify(k.public, cosigned(string(text), seconds), sig[8:])
	}}
}

// cosignedAt reads the time of a timestamped signature.
func cosignedAt(sig []byte) (seconds uint64, ok bool) {
	if len(sig) != 8+ed25519.SignatureSize {
		return 0, false
	}
	seconds = binary.BigEndian.Uint64(sig)
	return seconds, seconds > 0 && seconds <= maxSeconds
}

// maxSeconds is the last second of the year 9999: later ones have no text.
const maxSeconds = 253402300799

type noteVerifier struct {
	name   string
	id     uint32
	verify func(text, sig []byte) bool
}

func (v noteVerifier) Name() string                 { return v.name }
func (v noteVerifier) KeyHash() uint32              { return v.id }
func (v noteVerifier) Verify(text, sig []byte) bool { return v.verify(text, sig) }

// checkOrigin accepts names of printable ASCII without space and plus, at most MaxOrigin
// bytes. "cosignature/v1" and names that start like our own statements are nobody's, so that
// no text of one kind begins like a text of another.
func checkOrigin(origin string) error {
	if len(origin) < 1 || len(origin) > MaxOrigin || origin == "cosignature/v1" || strings.HasPrefix(origin, statementPrefix) {
		return fmt.Errorf("log name %.40q: expected 1 to %d bytes, and none of ours for statements", origin, MaxOrigin)
	}
	for i := range len(origin) {
		if c := origin[i]; c <= ' ' || c >= 0x7f || c == '+' {
			return fmt.Errorf("log name %.40q: expected printable ASCII without space and plus", origin)
		}
	}
	return nil
}

// statementPrefix starts the first line of every signed note here that is no checkpoint.
const statementPrefix = "strongroom/statement/"
