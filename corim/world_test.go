package corim_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"

	"strongroom.dev/corim"
	"strongroom.dev/internal/cbortest"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) // constant: the time of every test

// tag, pairs and list are what CBOR is written from.
type (
	tag   = cbortest.Tag
	pairs = cbortest.Map
	list  = []any
)

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
	return cbortest.Encode(pairs{0, pairs{0, "Example Makers"}, 1, pairs{0, tag{1, int(now.Unix()) - 60}, 1, tag{1, int(until.Unix())}}})
}

func header(more ...any) pairs {
	return append(pairs{1, -7, 3, "application/rim+cbor", 8, meta(now.AddDate(0, 2, 0))}, more...)
}

// sign makes a COSE_Sign1 of a payload.
func (m maker) sign(protected pairs, unprotected pairs, payload []byte) []byte {
	return cbortest.Encode(tag{18, cbortest.Raw(cbortest.Sign1(cbortest.Encode(protected), unprotected, payload, m.key))})
}

func comid(triples ...any) tag {
	return tag{506, cbortest.Encode(pairs{1, pairs{0, "room-image"}, 4, pairs{0, list(triples)}})}
}

func class(model string) pairs { return pairs{0, pairs{1, "Example", 2, model}} }

func digest(n int, fill byte) list {
	alg := map[int]int{32: 1, 48: 7, 64: 8}[n]
	return list{alg, bytes.Repeat([]byte{fill}, n)}
}

// measurement is one element with a digest.
func measurement(key any, values ...any) pairs { return pairs{0, key, 1, pairs(values)} }

func manifest(tags ...any) []byte {
	return cbortest.Encode(tag{501, pairs{0, "example-1", 1, list(tags), 3, tag{32, "tag:example.com,2026:room"}, 4, pairs{1, tag{1, int(now.AddDate(0, 1, 0).Unix())}}}})
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
