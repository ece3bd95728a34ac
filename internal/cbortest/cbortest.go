// Package cbortest writes CBOR and COSE for tests, sound and unsound, in whatever order they
// are given. It shares no code with the packages that read them.
package cbortest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	_ "crypto/sha256" // for crypto.Hash
	_ "crypto/sha512"
	"encoding/binary"
	"fmt"
)

// Raw is CBOR that is written as it is.
type Raw []byte

// Tag is a tag's number, an int, and the value under it.
type Tag [2]any

// Map is a map in the order of its members: key, value, key, value.
type Map []any

// Omit is the value of a member that [Map.Set] leaves out.
type Omit struct{}

// Set gives the map with one member's value changed, or added behind the others if there is
// none.
func (m Map) Set(key, value any) Map {
	var out Map
	found := false
	for i := 0; i < len(m); i += 2 {
		if m[i] != key {
			out = append(out, m[i], m[i+1])
			continue
		}
		found = true
		if value != any(Omit{}) {
			out = append(out, key, value)
		}
	}
	if !found && value != any(Omit{}) {
		out = append(out, key, value)
	}
	return out
}

// Encode writes a value in its shortest form: nil, bool, int, string, []byte, []any, [Map],
// [Tag], [Raw]. It panics at any other.
func Encode(v any) []byte {
	switch v := v.(type) {
	case nil:
		return []byte{0xf6}
	case Raw:
		return v
	case bool:
		return []byte{map[bool]byte{false: 0xf4, true: 0xf5}[v]}
	case int:
		if v < 0 {
			return head(1, uint64(-1-v))
		}
		return head(0, uint64(v))
	case string:
		return append(head(3, uint64(len(v))), v...)
	case []byte:
		return append(head(2, uint64(len(v))), v...)
	case []any:
		return all(head(4, uint64(len(v))), v)
	case Map:
		return all(head(5, uint64(len(v)/2)), v)
	case Tag:
		return append(head(6, uint64(v[0].(int))), Encode(v[1])...)
	}
	panic(fmt.Sprintf("%T", v))
}

func all(out []byte, values []any) []byte {
	for _, v := range values {
		out = append(out, Encode(v)...)
	}
	return out
}

func head(major byte, n uint64) []byte {
	switch {
	case n < 24:
		return []byte{major<<5 | byte(n)}
	case n < 1<<8:
		return []byte{major<<5 | 24, byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32([]byte{major<<5 | 26}, uint32(n))
	}
	return binary.BigEndian.AppendUint64([]byte{major<<5 | 27}, n)
}

// ToBeSigned gives the Sig_structure of a COSE_Sign1 without external data (RFC 9052, section
// 4.4).
func ToBeSigned(protected, payload []byte) []byte {
	return Encode([]any{"Signature1", protected, []byte{}, payload})
}

// Sign1 makes an untagged COSE_Sign1, signed with ECDSA over the hash of the key's curve. The
// protected header is an encoded map; what it says of the algorithm is the caller's affair.
func Sign1(protected []byte, unprotected Map, payload []byte, key *ecdsa.PrivateKey) []byte {
	h := map[elliptic.Curve]crypto.Hash{elliptic.P256(): crypto.SHA256, elliptic.P384(): crypto.SHA384, elliptic.P521(): crypto.SHA512}[key.Curve].New()
	h.Write(ToBeSigned(protected, payload))
	r, s, err := ecdsa.Sign(rand.Reader, key, h.Sum(nil))
	if err != nil {
		panic(err)
	}
	size := (key.Curve.Params().BitSize + 7) / 8
	signature := append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	return Encode([]any{protected, unprotected, payload, signature})
}
