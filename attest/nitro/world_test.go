package nitro_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"strongroom.dev/internal/cbortest"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// world is a maker of enclaves with a root of its own.
type world struct {
	t      testing.TB
	now    time.Time
	keys   []*ecdsa.PrivateKey // root, region, zone, instance, enclave
	chain  []*x509.Certificate
	change func(i int, c *x509.Certificate) // of certificates before they are signed
	// renamed is whose certificate names another issuer than the one that signs it; 0 for nobody's.
	renamed int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	for range 5 {
		w.keys = append(w.keys, must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)))
	}
	w.build()
	return w
}

// build makes the chain anew, the root too.
func (w *world) build() {
	w.chain = nil
	for i, name := range []string{"a root", "a region", "a zone", "i-0123456789abcdef0", "i-0123456789abcdef0-enc0"} {
		c := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, NotBefore: w.now.Add(-time.Hour), NotAfter: w.now.Add(2 * time.Hour),
			BasicConstraintsValid: true, IsCA: i < 4, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, MaxPathLen: 3 - i, MaxPathLenZero: i == 3, SubjectKeyId: []byte{byte(i)}}
		if i == 4 {
			c.KeyUsage, c.MaxPathLen = x509.KeyUsageDigitalSignature, -1
		}
		if w.change != nil {
			w.change(i, c)
		}
		parent, by := c, w.keys[i]
		if i > 0 {
			parent, by = w.chain[i-1], w.keys[i-1]
			if i == w.renamed {
				named := *parent
				named.RawSubject = must(asn1.Marshal(pkix.Name{CommonName: "somebody"}.ToRDNSequence()))
				parent = &named
			}
		}
		der := must(x509.CreateCertificate(rand.Reader, c, parent, w.keys[i].Public(), by))
		w.chain = append(w.chain, must(x509.ParseCertificate(der)))
	}
}

// raw, pairs and nothing are what CBOR is written from.
type (
	raw     = cbortest.Raw
	pairs   = cbortest.Map
	nothing = cbortest.Omit
)

func pcr(b byte) []byte { return bytes.Repeat([]byte{b}, 48) }

// payload is a document's, with all members.
func (w *world) payload() pairs {
	registers := pairs{}
	for i := range 16 {
		b := byte(0)
		if i < 3 || i == 4 || i == 8 {
			b = byte(0x10 + i)
		}
		registers = append(registers, i, pcr(b))
	}
	var bundle []any
	for _, c := range w.chain[:4] {
		bundle = append(bundle, c.Raw)
	}
	return pairs{"module_id", "i-0123456789abcdef0-enc0123", "digest", "SHA384", "timestamp", int(w.now.UnixMilli()), "pcrs", registers,
		"certificate", w.chain[4].Raw, "cabundle", bundle, "public_key", nil, "user_data", bytes.Repeat([]byte{7}, 64), "nonce", []byte("a nonce")}
}

// document signs a payload as an NSM does.
func (w *world) document(payload pairs) []byte {
	return w.sign(raw("\xa1\x01\x38\x22"), cbortest.Encode(payload), w.keys[4])
}

func (w *world) sign(protected raw, payload []byte, key *ecdsa.PrivateKey) []byte {
	return cbortest.Sign1(protected, pairs{}, payload, key)
}

// list makes a CRL by one of the authorities, of the last hour and the next.
func (w *world) list(issuer int, serials ...int64) *x509.RevocationList {
	return w.partial(issuer, nil, serials...)
}

// partial makes a CRL with extensions.
func (w *world) partial(issuer int, extensions []pkix.Extension, serials ...int64) *x509.RevocationList {
	t := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: w.now.Add(-time.Hour), NextUpdate: w.now.Add(time.Hour), ExtraExtensions: extensions}
	for _, s := range serials {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: w.now})
	}
	return must(x509.ParseRevocationList(must(x509.CreateRevocationList(rand.Reader, t, w.chain[issuer], crypto.Signer(w.keys[issuer])))))
}
