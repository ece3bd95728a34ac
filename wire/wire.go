// Package wire holds the canonical encodings and the domain-separated hashes that
// everything signed or bound is made of.
//
// There are two encodings. Documents (agreements, party descriptors, dataset statements,
// run requests) are canonical JSON, RFC 8785 restricted to integers: see [Marshal] and
// [Unmarshal]. What is hashed into evidence or into a key derivation is a tuple of byte
// strings with their lengths: see [Tuple]. Every hash starts with a domain string, so that
// bytes hashed for one purpose are never a valid input of another.
//
// The package refuses anything that has two readings: duplicate members, numbers that are
// not integers below 2^53, text that is not Unicode NFC, unknown members, and bytes that
// are not in canonical form already.
package wire

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
)

// Tuple encodes a domain string and byte strings so that no two different argument lists
// give the same bytes (spec/wire.md, section 2): the number of fields, then domain and
// fields, each behind its length; numbers are 4 bytes, big-endian.
func Tuple(domain string, fields ...[]byte) []byte {
	size := 8 + len(domain)
	for _, f := range fields {
		size += 4 + len(f)
	}
	out := make([]byte, 0, size)
	out = binary.BigEndian.AppendUint32(out, uint32(len(fields)))
	out = binary.BigEndian.AppendUint32(out, uint32(len(domain)))
	out = append(out, domain...)
	for _, f := range fields {
		out = binary.BigEndian.AppendUint32(out, uint32(len(f)))
		out = append(out, f...)
	}
	return out
}

// Uint64 gives n as 8 big-endian bytes, a field for [Tuple].
func Uint64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// Hash is a SHA-256 value, 32 bytes. Its text is "sha256:" and 64 lower-case hex digits.
type Hash [sha256.Size]byte

// Digest is a SHA-384 value, 48 bytes: what documents and programs are named by. Its text
// is "sha384:" and 96 lower-case hex digits.
type Digest [sha512.Size384]byte

// SHA256 hashes a tuple.
func SHA256(domain string, fields ...[]byte) Hash { return sha256.Sum256(Tuple(domain, fields...)) }

// SHA384 hashes a tuple.
func SHA384(domain string, fields ...[]byte) Digest {
	return sha512.Sum384(Tuple(domain, fields...))
}

// SHA512 hashes a tuple; evidence carries such values as report data.
func SHA512(domain string, fields ...[]byte) [sha512.Size]byte {
	return sha512.Sum512(Tuple(domain, fields...))
}

// HashOf is the plain SHA-256 of data, for things that already have one elsewhere, such as
// the header of a sealed file.
func HashOf(data []byte) Hash { return sha256.Sum256(data) }

// DigestOf is the plain SHA-384 of data, for things measured elsewhere, such as programs.
func DigestOf(data []byte) Digest { return sha512.Sum384(data) }

func (h Hash) String() string   { return "sha256:" + hex.EncodeToString(h[:]) }
func (d Digest) String() string { return "sha384:" + hex.EncodeToString(d[:]) }

// Short gives the first 12 hex digits, for screens; never compare it.
func (h Hash) Short() string { return hex.EncodeToString(h[:6]) }

// Short gives the first 12 hex digits, for screens; never compare it.
func (d Digest) Short() string { return hex.EncodeToString(d[:6]) }

// IsZero reports whether the value was never set. Zero is never a valid digest.
func (h Hash) IsZero() bool { return h == Hash{} }

// IsZero reports whether the value was never set. Zero is never a valid digest.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText writes the text form.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// MarshalText writes the text form.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the text form exactly: prefix, length, lower case.
func (h *Hash) UnmarshalText(text []byte) error { return parseHex(h[:], "sha256:", string(text)) }

// UnmarshalText reads the text form exactly: prefix, length, lower case.
func (d *Digest) UnmarshalText(text []byte) error { return parseHex(d[:], "sha384:", string(text)) }

// ParseHash reads the text of a Hash.
func ParseHash(text string) (h Hash, err error) {
	err = h.UnmarshalText([]byte(text))
	return h, err
}

// ParseDigest reads the text of a Digest.
func ParseDigest(text string) (d Digest, err error) {
	err = d.UnmarshalText([]byte(text))
	return d, err
}

func parseHex(dst []byte, prefix, text string) error {
	digits, found := strings.CutPrefix(text, prefix)
	if !found || len(digits) != 2*len(dst) || strings.ToLower(digits) != digits {
		return fmt.Errorf("not %s and %d lower-case hex digits: %.40q", prefix, 2*len(dst), text)
	}
	_, err := hex.Decode(dst, []byte(digits))
	return err
}

// Bytes is a byte string that is standard base64 with padding in JSON.
type Bytes []byte

// MarshalText writes standard base64.
func (b Bytes) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText reads standard base64 strictly: no line breaks, padding and spare bits exact.
func (b *Bytes) UnmarshalText(text []byte) error {
	if strings.ContainsAny(string(text), "\r\n") {
		return fmt.Errorf("line break in base64")
	}
	out, err := base64.StdEncoding.Strict().DecodeString(string(text))
	*b = out
	return err
}

// ID is a name that people and programs share: 1 to 63 of [a-z0-9-], starting with a letter
// and not ending in "-".
type ID string

// Valid reports whether the ID is well formed.
func (id ID) Valid() bool {
	if len(id) < 1 || len(id) > 63 || id[0] < 'a' || id[0] > 'z' || id[len(id)-1] == '-' {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// UnmarshalText reads a well-formed ID.
func (id *ID) UnmarshalText(text []byte) error {
	if !ID(text).Valid() {
		return fmt.Errorf("not a name of 1 to 63 of a-z, 0-9 and -, starting with a letter: %.70q", text)
	}
	*id = ID(text)
	return nil
}

// Time is a moment to the second, UTC. Its text is always of the form 2026-11-24T09:30:00Z.
type Time struct{ t time.Time }

const timeLayout = "2006-01-02T15:04:05Z"

// At makes a Time, cutting t to whole seconds.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Second)} }

// Time gives the moment.
func (t Time) Time() time.Time { return t.t }

// IsZero reports whether the time was never set.
func (t Time) IsZero() bool { return t.t.IsZero() }

func (t Time) String() string { return t.t.UTC().Format(timeLayout) }

// MarshalText writes the text form; a year outside 1..9999 is an error.
func (t Time) MarshalText() ([]byte, error) {
	if y := t.t.UTC().Year(); y < 1 || y > 9999 {
		return nil, fmt.Errorf("year %d can't be written", y)
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads the text form exactly.
func (t *Time) UnmarshalText(text []byte) error {
	parsed, err := time.Parse(timeLayout, string(text))
	if err != nil || parsed.Format(timeLayout) != string(text) {
		return fmt.Errorf("not a time like 2026-11-24T09:30:00Z: %.40q", text)
	}
	t.t = parsed.UTC()
	return nil
}

// HashReader is the plain SHA-256 of all r gives, and how many bytes that was.
func HashReader(r io.Reader) (Hash, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return Hash(h.Sum(nil)), n, err
}
