package corim_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"math/big"
	"time"

	"strongroom.dev/corim"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) // constant: the time of every test

// tag and pairs are CBOR tags and maps, in the order in which they are written.
type tag struct {
	number uint64
	inner  any
}
type pairs []any // key, value, key, value
type list []any

// encode writes CBOR in its shortest form: int, string, []byte, bool, tag, pairs, list.
func encode(v any) []byte {
	switch v := v.(type) {
	case int:
		if v < 0 {
			return head(1, uint64(-1-v))
		}
		return head(0, uint64(v))
	case []byte:
		return append(head(2, uint64(len(v))), v...)
	case string:
		return append(head(3, uint64(len(v))), v...)
	case bool:
		return []byte{map[bool]byte{false: 0xf4, true: 0xf5}[v]}
	case list:
		out := head(4, uint64(len(v)))
		for _, it := range v {
			out = append(out, encode(it)...)
		}
		return out
	case pairs:
		out := head(5, uint64(len(v)/2))
		for _, it := range v {
			out = append(out, encode(it)...)
		}
		return out
	case tag:
		return append(head(6, v.number), encode(v.inner)...)
	}
	panic(fmt.Sprintf("%T", v))
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

// maker signs CoRIMs, itself or by a certificate under its root.
type maker struct {
	key, rootKey *ecdsa.PrivateKey
	root, leaf   *x509.Certificate
}

func newMaker() maker {
	m := maker{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), rootKey: must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	m.root = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, root, root, m.rootKey.Public(), m.rootKey))))
	m.leaf = m.certify(x509.KeyUsageDigitalSignature, now.AddDate(1, 0, 0))
	return m
}

func (m maker) certify(usage x509.KeyUsage, until time.Time) *x509.Certificate {
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "signer"}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: until, KeyUsage: usage}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, leaf, m.root, m.key.Public(), m.rootKey))))
}

// meta says who signs, and until when.
func meta(until time.Time) []byte {
	return encode(pairs{0, pairs{0, "Example Makers"}, 1, pairs{0, tag{1, int(now.Unix()) - 60}, 1, tag{1, int(until.Unix())}}})
}

func header(more ...any) pairs {
	return append(pairs{1, -7, 3, "application/rim+cbor", 8, meta(now.AddDate(0, 2, 0))}, more...)
}

// sign makes a COSE_Sign1 of a payload.
func (m maker) sign(protected pairs, unprotected pairs, payload []byte) []byte {
	h := encode(protected)
	digest := sha256.Sum256(encode(list{"Signature1", h, []byte{}, payload}))
	r, s, err := ecdsa.Sign(rand.Reader, m.key, digest[:])
	if err != nil {
		panic(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return encode(tag{18, list{h, unprotected, payload, signature}})
}

func comid(triples ...any) tag {
	return tag{506, encode(pairs{1, pairs{0, "room-image"}, 4, pairs{0, list(triples)}})}
}

func class(model string) pairs { return pairs{0, pairs{1, "Example", 2, model}} }

func digest(n int, fill byte) list {
	alg := map[int]int{32: 1, 48: 7, 64: 8}[n]
	return list{alg, bytes.Repeat([]byte{fill}, n)}
}

// measurement is one element with a digest.
func measurement(key any, values ...any) pairs { return pairs{0, key, 1, pairs(values)} }

func manifest(tags ...any) []byte {
	return encode(tag{501, pairs{0, "example-1", 1, list(tags), 3, tag{32, "tag:example.com,2026:room"}, 4, pairs{1, tag{1, int(now.AddDate(0, 1, 0).Unix())}}}})
}

// good has two triples, with everything that is read.
func good() []byte {
	return manifest(
		comid(
			list{class("four"), list{
				measurement("measurement", 2, list{digest(48, 0xaa), digest(32, 0xab)}, 11, "launch", 0, pairs{0, "1.2"}),
				measurement(7, 1, tag{553, 3}),
				measurement(tag{111, []byte{0x2a, 0x03}}, 4, tag{560, []byte{1, 2}}, 1, 9),
			}},
			list{pairs{0, pairs{0, tag{37, bytes.Repeat([]byte{0x11}, 16)}, 3, 1}}, list{
				pairs{1, pairs{14, pairs{0, list{digest(48, 0xbb)}, "rtmr1", list{digest(48, 0xbc)}}}},
				measurement("svn", 1, tag{552, 4}),
				measurement("masked", 4, tag{563, list{[]byte{5}, []byte{0xff}}}),
			}},
		),
		tag{505, []byte{0xa0}},
	)
}

func (m maker) trust() corim.Trust { return corim.Trust{Keys: []crypto.PublicKey{m.key.Public()}} }

func (m maker) roots() corim.Trust { return corim.Trust{Roots: []*x509.Certificate{m.root}} }
