package dice_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.Hash
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"

	"filippo.io/mldsa"
	mldsax509 "filippo.io/mldsa/x509"
	"strongroom.dev/endorse"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// signer is a layer's key. crypto/x509 can't make certificates with ML-DSA, so that these are
// put together by hand.
type signer struct {
	key       crypto.Signer
	hash      crypto.Hash
	algorithm asn1.ObjectIdentifier
	spki      []byte
}

func ecSigner(curve elliptic.Curve) *signer {
	s := map[elliptic.Curve]signer{
		elliptic.P256(): {hash: crypto.SHA256, algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}},
		elliptic.P384(): {hash: crypto.SHA384, algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}},
		elliptic.P521(): {hash: crypto.SHA512, algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}},
		elliptic.P224(): {hash: crypto.SHA256, algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}},
	}[curve]
	s.key = must(ecdsa.GenerateKey(curve, rand.Reader))
	s.spki = must(mldsax509.MarshalPKIXPublicKey(s.key.Public()))
	return &s
}

func pqSigner(p mldsa.Parameters) *signer {
	n := map[mldsa.Parameters]int{mldsa.MLDSA44(): 17, mldsa.MLDSA65(): 18, mldsa.MLDSA87(): 19}[p]
	key := must(mldsa.GenerateKey(p))
	return &signer{key: key, algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, n}, spki: must(mldsax509.MarshalPKIXPublicKey(key.PublicKey()))}
}

func (s *signer) sign(message []byte) []byte {
	if s.hash == 0 {
		return must(s.key.Sign(rand.Reader, message, crypto.Hash(0)))
	}
	h := s.hash.New()
	h.Write(message)
	return must(s.key.Sign(rand.Reader, h.Sum(nil), s.hash))
}

// id is the key's identifier, as Caliptra makes it.
func (s *signer) id() []byte {
	var v struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	must(asn1.Unmarshal(s.spki, &v))
	sum := sha256.Sum256(v.Key.Bytes)
	return sum[:20]
}

// template says what stands in a certificate.
type template struct {
	name, issuer string
	key          *signer
	by           *signer
	authority    bool
	pathLen      int // -1 for none
	usage        byte
	extensions   []pkix.Extension
	noAKI        bool
	aki, ski     []byte
	from, to     time.Time
	algorithm    asn1.ObjectIdentifier
	params       asn1.RawValue
	crl          string
	breakIt      bool
}

type tbsCertificate struct {
	Version    int `asn1:"explicit,tag:0"`
	Serial     *big.Int
	Algorithm  pkix.AlgorithmIdentifier
	Issuer     asn1.RawValue
	Validity   struct{ From, To time.Time }
	Subject    asn1.RawValue
	Key        asn1.RawValue
	Extensions []pkix.Extension `asn1:"explicit,tag:3,omitempty"`
}

func name(text string) asn1.RawValue {
	return asn1.RawValue{FullBytes: must(asn1.Marshal(pkix.Name{CommonName: text}.ToRDNSequence()))}
}

// certificate signs what the template says.
func (t template) certificate() []byte {
	algorithm := pkix.AlgorithmIdentifier{Algorithm: t.by.algorithm, Parameters: t.params}
	if t.algorithm != nil {
		algorithm.Algorithm = t.algorithm
	}
	c := tbsCertificate{Version: 2, Serial: big.NewInt(int64(len(t.name)) + 1), Algorithm: algorithm, Issuer: name(t.issuer), Subject: name(t.name), Key: asn1.RawValue{FullBytes: t.key.spki}}
	c.Validity.From, c.Validity.To = t.from, t.to
	constraints := struct {
		CA  bool
		Len int `asn1:"optional,default:-1"`
	}{t.authority, t.pathLen}
	if t.authority {
		c.Extensions = append(c.Extensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: must(asn1.Marshal(constraints))})
	}
	c.Extensions = append(c.Extensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 0, t.usage}})
	if t.ski != nil {
		c.Extensions = append(c.Extensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 14}, Value: must(asn1.Marshal(t.ski))})
	}
	if !t.noAKI {
		aki := struct {
			ID []byte `asn1:"tag:0"`
		}{t.aki}
		c.Extensions = append(c.Extensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 35}, Value: must(asn1.Marshal(aki))})
	}
	if t.crl != "" {
		uri := append([]byte{0x86, byte(len(t.crl))}, t.crl...)
		c.Extensions = append(c.Extensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 31}, Value: seq(seq(tlv(0xa0, tlv(0xa0, uri))))})
	}
	c.Extensions = append(c.Extensions, t.extensions...)
	tbs := must(asn1.Marshal(c))
	signature := t.by.sign(tbs)
	if t.breakIt {
		signature = t.by.sign(append(tbs, 0))
	}
	return signedDER(tbs, algorithm, signature)
}

func signedDER(tbs []byte, algorithm pkix.AlgorithmIdentifier, signature []byte) []byte {
	return seq(tbs, must(asn1.Marshal(algorithm)), must(asn1.Marshal(asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)})))
}

// request makes a PKCS #10 request for a key.
func request(key *signer, breakIt bool) []byte {
	info := seq([]byte{2, 1, 0}, name("IDevID").FullBytes, key.spki, []byte{0xa0, 0})
	signature := key.sign(info)
	if breakIt {
		signature = key.sign(append(info, 0))
	}
	return signedDER(info, pkix.AlgorithmIdentifier{Algorithm: key.algorithm}, signature)
}

// list makes a CRL.
func list(issuer string, by *signer, from, to time.Time, serials ...int64) []byte {
	return partial(issuer, by, from, to, nil, serials...)
}

// partial makes a CRL with extensions.
func partial(issuer string, by *signer, from, to time.Time, extensions []pkix.Extension, serials ...int64) []byte {
	parts := [][]byte{{2, 1, 1}, must(asn1.Marshal(pkix.AlgorithmIdentifier{Algorithm: by.algorithm})), name(issuer).FullBytes, must(asn1.Marshal(from)), must(asn1.Marshal(to))}
	if len(serials) > 0 {
		var entries [][]byte
		for _, n := range serials {
			entries = append(entries, seq(must(asn1.Marshal(big.NewInt(n))), must(asn1.Marshal(from))))
		}
		parts = append(parts, seq(entries...))
	}
	if len(extensions) > 0 {
		parts = append(parts, tlv(0xa0, must(asn1.Marshal(extensions))))
	}
	tbs := seq(parts...)
	return signedDER(tbs, pkix.AlgorithmIdentifier{Algorithm: by.algorithm}, by.sign(tbs))
}

func tlv(tag byte, body []byte) []byte {
	switch n := len(body); {
	case n < 128:
		return append([]byte{tag, byte(n)}, body...)
	case n < 256:
		return append([]byte{tag, 0x81, byte(n)}, body...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body...)
	}
}

func seq(parts ...[]byte) []byte { return tlv(0x30, bytes.Join(parts, nil)) }

// info writes a DiceTcbInfo of a type, with a SHA-384 FWID of one byte over and over, and flags
// and mask if they are given, in bits of the first byte.
func info(kind string, fwid byte, flags ...byte) []byte {
	digest := seq([]byte{6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2}, tlv(4, bytes.Repeat([]byte{fwid}, 48)))
	parts := [][]byte{tlv(0xa6, digest)}
	if len(flags) > 0 {
		parts = append(parts, tlv(0x87, []byte{0, flags[0], 0, 0, 1}))
	}
	parts = append(parts, tlv(0x89, []byte(kind)))
	if len(flags) > 1 {
		parts = append(parts, tlv(0x8a, []byte{0, flags[1], 0, 0, 1}))
	}
	return seq(parts...)
}

func stated(n int, critical bool, value []byte) pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 23, 133, 5, 4, n}, Critical: critical, Value: value}
}

// device is a device with a key for each layer: authority, identity, local identity, first
// firmware, runtime.
type device struct {
	keys      []*signer
	templates []template // of the identity and the layers below it; the authority has none
}

// closed are flags that say that nothing is open, and speak of all that matters.
func closed() []byte { return []byte{0, 0xf0} }

func newDevice(make func() *signer) *device {
	d := &device{}
	for range 5 {
		d.keys = append(d.keys, make())
	}
	names := []string{"authority", "IDevID", "LDevID", "FMC alias", "RT alias"}
	for i := 1; i < 5; i++ {
		t := template{name: names[i], issuer: names[i-1], key: d.keys[i], by: d.keys[i-1], authority: i < 4, pathLen: 4 - i, usage: 4, ski: d.keys[i].id(), aki: d.keys[i-1].id(),
			from: today.AddDate(-1, 0, 0), to: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}
		if i == 4 {
			t.usage, t.pathLen = 0x80, -1
		}
		d.templates = append(d.templates, t)
	}
	d.templates[2].extensions = []pkix.Extension{stated(5, false, seq(info("DEVICE_INFO", 1, closed()...), info("FMC_INFO", 2)))}
	d.templates[3].extensions = []pkix.Extension{stated(1, true, info("RT_INFO", 3)), stated(4, true, seq(tlv(4, []byte{1, 2, 3})))}
	return d
}

// chain gives the certificates of the layers from the one with a number down: 1 is the
// identity, 2 the local identity, 3 the first firmware, 4 the runtime.
func (d *device) chain(from int) []byte {
	var all []byte
	for _, t := range d.templates[from-1:] {
		all = append(all, t.certificate()...)
	}
	return all
}

// with gives a copy whose layer with a number is changed.
func (d *device) with(layer int, change func(*template)) *device {
	c := &device{keys: d.keys, templates: append([]template{}, d.templates...)}
	change(&c.templates[layer-1])
	return c
}

// pin gives a set of public keys.
func pin(keys ...*signer) endorse.Set {
	var items []endorse.Item
	for _, k := range keys {
		items = append(items, endorse.Item{Kind: endorse.PublicKey, Data: k.spki})
	}
	return must(endorse.NewSet(items...))
}
