package cose_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"

	"strongroom.dev/cbor"
	"strongroom.dev/cose"
)

func limits() cbor.Limits { return cbor.Limits{Values: 200, Depth: 8} }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func unhex(text string) []byte { return must(hex.DecodeString(strings.ReplaceAll(text, " ", ""))) }

// published is the example of RFC 9052, appendix C.2.1, with its key "11".
func published() (doc []byte, key *ecdsa.PublicKey) {
	doc = unhex("d28443a10126a10442313154546869732069732074686520636f6e74656e742e58408eb33e4ca31d1c465ab05aac34cc6b23d58fef5c083106c4d25a91aef0b0117e" +
		"2af9a291aa32e14ab834dc56ed2a223444547e01f11d3b0916e5a4c345cacb36")
	x := "bac5b11cad8f99f9c72b05cf4b9e26d244dc189f745228255a219a86d6a09eff"
	y := "20138bf82dc1b6d562be0fa54ab7804a3a64b6d72ccfed6b6fb6ed28bbfc117e"
	return doc, must(ecdsa.ParseUncompressedPublicKey(elliptic.P256(), unhex("04"+x+y)))
}

func TestPublished(t *testing.T) {
	doc, key := published()
	for name, data := range map[string][]byte{"tagged": doc, "untagged": doc[1:]} {
		s, err := cose.ParseSign1(data, limits())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(key); err != nil || string(s.Payload) != "This is the content." || s.Algorithm() != "ES256" || string(s.Unprotected.Get(4).Bytes) != "11" {
			t.Errorf("%s: %v, %q", name, err, s.Payload)
		}
	}
}

// TestMutated flips every byte: only the unprotected header is unsigned.
func TestMutated(t *testing.T) {
	doc, key := published()
	for i := range doc {
		if i >= 6 && i < 11 {
			continue // {4: '11'}
		}
		for bit := range 8 {
			mutated := bytes.Clone(doc)
			mutated[i] ^= 1 << bit
			s, err := cose.ParseSign1(mutated, limits())
			if err == nil && s.Verify(key) == nil {
				t.Errorf("bit %d of byte %d flipped verifies", bit, i)
			}
		}
	}
}

func TestForm(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "cut short"},
		{"another tag", "d1 84 40 a0 40 40", "not a COSE_Sign1"},
		{"tagged twice", "d2 d2 84 40 a0 40 40", "not a COSE_Sign1"},
		{"three members", "83 40 a0 40", "not a COSE_Sign1"},
		{"five members", "85 40 a0 40 40 40", "not a COSE_Sign1"},
		{"a map", "a1 00 00", "not a COSE_Sign1"},
		{"a header that is no byte string", "84 a0 a0 40 40", "not a COSE_Sign1"},
		{"an unprotected header that is no map", "84 40 40 40 40", "not a COSE_Sign1"},
		{"a payload elsewhere", "84 40 a0 f6 40", "not a COSE_Sign1"},
		{"a signature that is text", "84 40 a0 40 60", "not a COSE_Sign1"},
		{"a protected header that is no CBOR", "84 41 ff a0 40 40", "CBOR"},
		{"a protected header with bytes behind", "84 42 a0 00 a0 40 40", "behind"},
		{"a protected header that is no map", "84 41 80 a0 40 40", "no map"},
		{"an algorithm twice", "84 45 a2 01 26 01 26 a0 40 40", "twice"},
		{"bytes behind", "84 40 a0 40 40 00", "behind"},
		{"of indefinite length", "9f 40 a0 40 40 ff", "indefinite"},
	} {
		l := limits()
		l.Indefinite = true
		if _, err := cose.ParseSign1(unhex(c.text), l); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
	}
	if s, err := cose.ParseSign1(unhex("84 40 a0 40 40"), limits()); err != nil || s.Header.Kind != cbor.Map || s.Algorithm() != "" {
		t.Errorf("an empty header: %v", err)
	}
}

// sign makes a document with any header, signed by the key over the hash.
func sign(t *testing.T, header, payload []byte, key crypto.Signer, hash crypto.Hash) []byte {
	t.Helper()
	bstr := func(b []byte) []byte { return append([]byte{0x59, byte(len(b) >> 8), byte(len(b))}, b...) }
	short := func(b []byte) []byte { return append([]byte{0x40 | byte(len(b))}, b...) }
	if len(header) > 23 || len(payload) < 256 {
		t.Fatal("heads would be of another size")
	}
	tbs := bytes.Join([][]byte{[]byte("\x84\x6aSignature1"), short(header), {0x40}, bstr(payload)}, nil)
	digest := map[crypto.Hash][]byte{crypto.SHA256: sum(sha256.Sum256(tbs)), crypto.SHA384: sum48(sha512.Sum384(tbs)), crypto.SHA512: sum64(sha512.Sum512(tbs))}[hash]
	var signature []byte
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, digest)
		if err != nil {
			t.Fatal(err)
		}
		size := (k.Curve.Params().BitSize + 7) / 8
		signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case *rsa.PrivateKey:
		signature = must(rsa.SignPSS(rand.Reader, k, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
	}
	head := []byte{0x58, byte(len(signature))}
	if len(signature) > 255 {
		head = []byte{0x59, byte(len(signature) >> 8), byte(len(signature))}
	}
	return bytes.Join([][]byte{{0x84}, short(header), {0xa0}, bstr(payload), head, signature}, nil)
}

func sum(d [32]byte) []byte   { return d[:] }
func sum48(d [48]byte) []byte { return d[:] }
func sum64(d [64]byte) []byte { return d[:] }

// TestAlgorithms pairs every algorithm with every key: each verifies with its own kind only.
func TestAlgorithms(t *testing.T) {
	signers := map[string]crypto.Signer{
		"P-256": must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), "P-384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"P-521": must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)), "RSA": must(rsa.GenerateKey(rand.Reader, 2048)),
	}
	payload := bytes.Repeat([]byte("payload "), 40)
	for _, a := range []struct {
		header string // {1: algorithm}
		hash   crypto.Hash
		key    string
		name   string
	}{
		{"a1 01 26", crypto.SHA256, "P-256", "ES256"}, {"a1 01 28", crypto.SHA256, "P-256", "ES256"},
		{"a1 01 38 22", crypto.SHA384, "P-384", "ES384"}, {"a1 01 38 32", crypto.SHA384, "P-384", "ES384"},
		{"a1 01 38 23", crypto.SHA512, "P-521", "ES512"}, {"a1 01 38 33", crypto.SHA512, "P-521", "ES512"},
		{"a1 01 38 24", crypto.SHA256, "RSA", "PS256"}, {"a1 01 38 25", crypto.SHA384, "RSA", "PS384"}, {"a1 01 38 26", crypto.SHA512, "RSA", "PS512"},
		{"a1 01 05", crypto.SHA256, "", ""}, {"a1 01 27", crypto.SHA256, "", ""}, {"a1 01 63 455332", crypto.SHA256, "", ""}, {"a0", crypto.SHA256, "", ""},
		{"a1 01 39 0100", crypto.SHA256, "", ""}, {"a1 01 3b ffffffffffffffff", crypto.SHA256, "", ""},
	} {
		for name, key := range signers {
			s, err := cose.ParseSign1(sign(t, unhex(a.header), payload, key, a.hash), limits())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(key.Public()); (err == nil) != (name == a.key) || s.Algorithm() != a.name {
				t.Errorf("%s with %s: %v", a.header, name, err)
			}
		}
	}
	s := must(cose.ParseSign1(sign(t, unhex("a1 01 26"), payload, signers["P-256"], crypto.SHA256), limits()))
	other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for name, key := range map[string]crypto.PublicKey{"another key": &other.PublicKey, "Ed25519": make(ed25519.PublicKey, 32), "nothing": nil} {
		if s.Verify(key) == nil {
			t.Errorf("%s verifies", name)
		}
	}
	// s and n-s are both valid in ECDSA; zeros, and longer numbers, are not.
	for name, signature := range map[string][]byte{"zeros": make([]byte, 64), "short": s.Signature[:63], "long": append(bytes.Clone(s.Signature), 0), "DER": must(signers["P-256"].Sign(rand.Reader, make([]byte, 32), crypto.SHA256)),
		"order": append(elliptic.P256().Params().N.Bytes(), big.NewInt(1).FillBytes(make([]byte, 32))...)} {
		changed := *s
		changed.Signature = signature
		if changed.Verify(signers["P-256"].Public()) == nil {
			t.Errorf("%s verify", name)
		}
	}
}

func TestCritical(t *testing.T) {
	for _, c := range []struct {
		name, text string
		labels     int
		ok         bool
	}{
		{"none", "84 43 a1 01 26 a0 40 40", 0, true},
		{"one", "84 46 a2 01 26 02 81 21 a0 40 40", 1, true},
		{"an empty list", "84 45 a2 01 26 02 80 a0 40 40", 0, false},
		{"no list", "84 45 a2 01 26 02 21 a0 40 40", 0, false},
		{"unprotected", "84 43 a1 01 26 a1 02 81 21 40 40", 0, false},
	} {
		s, err := cose.ParseSign1(unhex(c.text), limits())
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if labels, ok := s.Critical(); ok != c.ok || len(labels) != c.labels {
			t.Errorf("%s: %v %t", c.name, labels, ok)
		}
	}
}

// TestKey reads the key of RFC 9679, section 6, and gives the thumbprint printed there.
func TestKey(t *testing.T) {
	const x, y = "65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d", "1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c"
	v := must(cbor.Parse(unhex("a4 01 02 20 01 21 5820"+x+"22 5820"+y), limits()))
	key, err := cose.Key(v)
	if err != nil {
		t.Fatal(err)
	}
	if thumb, err := cose.Thumbprint(key); err != nil || hex.EncodeToString(thumb[:]) != "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec" {
		t.Errorf("%x %v", thumb, err)
	}
	for name, text := range map[string]string{
		"of another type":        "a4 01 01 20 01 21 5820" + x + "22 5820" + y,
		"without a type":         "a3 20 01 21 5820" + x + "22 5820" + y,
		"of secp256k1":           "a4 01 02 20 08 21 5820" + x + "22 5820" + y,
		"of another curve":       "a4 01 02 20 02 21 5820" + x + "22 5820" + y,
		"off the curve":          "a4 01 02 20 01 21 5820" + y + "22 5820" + x,
		"with a sign for y":      "a4 01 02 20 01 21 5820" + x + "22 f5",
		"without y":              "a3 01 02 20 01 21 5820" + x,
		"of a number beyond all": "a4 01 02 20 1bffffffffffffffff 21 5820" + x + "22 5820" + y,
		"that is no map":         "80",
	} {
		if _, err := cose.Key(must(cbor.Parse(unhex(text), limits()))); err == nil {
			t.Errorf("a key %s is accepted", name)
		}
	}
	for _, curve := range []elliptic.Curve{elliptic.P384(), elliptic.P521()} {
		own := must(ecdsa.GenerateKey(curve, rand.Reader))
		thumb, err := cose.Thumbprint(&own.PublicKey)
		if err != nil || thumb == [32]byte{} {
			t.Error(err)
		}
	}
}

func FuzzParseSign1(f *testing.F) {
	doc, key := published()
	f.Add(doc)
	f.Add(unhex("84 40 a0 40 40"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := cose.ParseSign1(data, limits())
		if err != nil {
			return
		}
		s.Critical()
		cose.Key(s.Header)
		if s.Verify(key) == nil && string(s.Payload) != "This is the content." {
			t.Error("a signature over something else verifies")
		}
	})
}
