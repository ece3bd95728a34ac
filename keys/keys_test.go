package keys_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

func TestSignAndVerify(t *testing.T) {
	for _, a := range algorithms {
		k, err := keys.GenerateSigningKey(a)
		if err != nil {
			t.Fatal(err)
		}
		s, err := k.Sign(docType, digest("d"))
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Public().Verify(docType, digest("d"), s); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		again := must(keys.ParseSigningKey("# purpose: signing\n\n" + must(k.MarshalSecret())))
		if again.Public() != k.Public() || again.Public().Algorithm() != a {
			t.Errorf("%s: another key came back from the file", a)
		}
	}
	if _, err := keys.GenerateSigningKey("rsa"); err == nil {
		t.Error("made a key of an unknown algorithm")
	}
}

func TestZeroValuesRefuse(t *testing.T) {
	var public keys.PublicKey
	s := must(seedKey(keys.Ed25519, "signer").Sign(docType, digest("d")))
	if public.Verify(docType, digest("d"), s) == nil || public.Verify(docType, digest("d"), keys.Signature{}) == nil {
		t.Error("the zero public key verified something")
	}
	if _, err := public.MarshalText(); err == nil || !public.IsZero() {
		t.Error("the zero public key has a text")
	}
	if _, err := new(keys.SigningKey).Sign(docType, digest("d")); err == nil {
		t.Error("the zero signing key signed")
	}
	if _, err := new(keys.SigningKey).MarshalSecret(); err == nil {
		t.Error("the zero signing key has a secret")
	}
	var hpke keys.HPKEPublicKey
	if _, err := hpke.Seal(nil, []byte("m")); err == nil || !hpke.IsZero() {
		t.Error("sealed to the zero key")
	}
	if _, err := hpke.MarshalText(); err == nil {
		t.Error("the zero HPKE key has a text")
	}
	if _, err := new(keys.HPKEPrivateKey).Open(nil, make([]byte, 1200)); err == nil {
		t.Error("the zero HPKE key opened something")
	}
	for name, use := range map[string]func(*keys.Secret){
		"MAC": func(s *keys.Secret) { s.MAC("d") }, "Derive": func(s *keys.Secret) { s.Derive("d") },
		"MarshalSecret": func(s *keys.Secret) { s.MarshalSecret() }, "VerifyMAC": func(s *keys.Secret) { s.VerifyMAC(make([]byte, 32), "d") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of a zero secret went through", name)
				}
			}()
			use(new(keys.Secret))
		}()
	}
	if n, err := (&keys.Document{Type: docType}).SignedBy([]keys.PublicKey{{}}); n != 0 || err != nil {
		t.Errorf("the zero key counts: %d, %v", n, err)
	}
}

// TestRedaction shows that no way of printing shows a secret, of a pointer or of a value.
func TestRedaction(t *testing.T) {
	k := seedKey(keys.Ed25519MLDSA, "signer")
	secretText := must(k.MarshalSecret())
	secretBytes := must(base64.StdEncoding.DecodeString(strings.TrimSpace(secretText[strings.LastIndex(secretText, ":")+1:])))
	plain := wire.SHA256("strongroom/test/secret")
	s := must(keys.NewSecret(plain[:]))
	h := must(keys.NewHPKEKey(plain[:]))
	for _, v := range []any{k, *k, s, *s, h, *h, struct{ K *keys.SigningKey }{k}, struct{ S keys.Secret }{*s}, []any{k, s, h}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			out := fmt.Sprintf(verb, v)
			for _, secret := range [][]byte{secretBytes[:32], secretBytes[32:], plain[:]} {
				for _, form := range []string{fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), string(secret), fmt.Sprintf("%d", secret[:8]), strings.Trim(fmt.Sprintf("%v", secret[:8]), "[]"), base64.StdEncoding.EncodeToString(secret)} {
					if strings.Contains(out, form) {
						t.Errorf("%T under %s: %.60s", v, verb, out)
					}
				}
			}
		}
	}
	for _, v := range []any{k, *k, s, *s, h, *h} {
		if out, err := json.Marshal(v); err == nil {
			t.Errorf("%T has JSON: %s", v, out)
		}
	}
}

func TestParseSigningKeyRefuses(t *testing.T) {
	good := must(seedKey(keys.ECDSAP256, "signer").MarshalSecret())
	for name, text := range map[string]string{
		"empty": "", "comment": "# nothing\n", "two keys": good + good, "no prefix": strings.TrimPrefix(good, "STRONGROOM-"), "unknown algorithm": strings.Replace(good, "ecdsa-p256", "rsa", 1),
		"other algorithm": strings.Replace(good, "ecdsa-p256", "ecdsa-p256+ml-dsa-65", 1), "short": strings.Replace(good, "=", "", 1),
		"zero scalar":    "STRONGROOM-SIGNING-KEY-1:ecdsa-p256:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n",
		"scalar too big": "STRONGROOM-SIGNING-KEY-1:ecdsa-p256:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{255}, 32)) + "\n",
		"public key":     seedKey(keys.Ed25519, "signer").Public().String(),
	} {
		_, err := keys.ParseSigningKey(text)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		for field := range strings.SplitSeq(strings.TrimSpace(text), ":") {
			if len(field) > 30 && strings.Contains(err.Error(), field) {
				t.Errorf("%s: the error quotes the key: %v", name, err)
			}
		}
	}
}

func TestSignedBy(t *testing.T) {
	a, b, c := seedKey(keys.Ed25519, "a"), seedKey(keys.ECDSAP256, "b"), seedKey(keys.Ed25519, "c")
	d := must(keys.NewDocument(docType, body{7}))
	count := func(want int, trusted ...keys.PublicKey) {
		t.Helper()
		if n, err := d.SignedBy(trusted); err != nil || n != want {
			t.Errorf("%d signatures, %v; expected %d", n, err, want)
		}
	}
	count(0, a.Public())
	for _, k := range []*keys.SigningKey{a, b, a} {
		if err := d.Sign(k); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.Signatures) != 2 {
		t.Errorf("%d signatures after one key signed twice", len(d.Signatures))
	}
	count(2, a.Public(), b.Public(), c.Public())
	count(1, a.Public(), a.Public(), a.Public()) // a key listed often counts once
	count(0, c.Public())
	count(0)
	d.Signatures[1].Signature[5] ^= 1
	if _, err := d.SignedBy([]keys.PublicKey{a.Public(), b.Public()}); err == nil {
		t.Error("a forged signature was only not counted")
	}
}

func TestSecret(t *testing.T) {
	s := keys.GenerateSecret()
	mac := s.MAC("d", []byte("a"))
	if !s.VerifyMAC(mac[:], "d", []byte("a")) {
		t.Error("a genuine MAC was refused")
	}
	other := keys.GenerateSecret()
	for name, ok := range map[string]bool{
		"other domain": s.VerifyMAC(mac[:], "e", []byte("a")), "other field": s.VerifyMAC(mac[:], "d", []byte("b")), "short": s.VerifyMAC(mac[:31], "d", []byte("a")),
		"none": s.VerifyMAC(nil, "d", []byte("a")), "other secret": other.VerifyMAC(mac[:], "d", []byte("a")),
	} {
		if ok {
			t.Errorf("%s: accepted", name)
		}
	}
	if again := must(keys.NewSecret(s.MarshalSecret())); again.MAC("d", []byte("a")) != mac {
		t.Error("another secret came back from the store")
	}
	if s.Derive("a") == s.Derive("b") || s.Derive("a") == s.MAC("a") {
		t.Error("one value for two uses")
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := keys.NewSecret(make([]byte, n)); err == nil {
			t.Errorf("a secret of %d bytes", n)
		}
	}
	if one, other := keys.RandomID(), keys.RandomID(); one == other {
		t.Error("two random ids are alike")
	}
}

func TestHPKE(t *testing.T) {
	k := must(keys.GenerateHPKEKey())
	sealed := must(k.Public().Seal([]byte("info"), []byte("message")))
	if len(sealed) != 1120+7+16 || len(k.Public().Bytes()) != 1216 {
		t.Errorf("%d bytes sealed to a key of %d", len(sealed), len(k.Public().Bytes()))
	}
	if got, err := k.Open([]byte("info"), sealed); err != nil || string(got) != "message" {
		t.Errorf("opened as %q, %v", got, err)
	}
	if _, err := must(keys.GenerateHPKEKey()).Open([]byte("info"), sealed); err == nil {
		t.Error("another key opened it")
	}
	text := must(k.Public().MarshalText())
	var again keys.HPKEPublicKey
	if err := again.UnmarshalText(text); err != nil || again != k.Public() {
		t.Errorf("read back as another key: %v", err)
	}
	for _, bad := range []string{"", "x-wing:", "x-wing:AAAA", string(text[7:]), string(text) + "AAAA", strings.Replace(string(text), "x-wing", "X-Wing", 1), "x-wing:" + strings.Repeat("A", 5000)} {
		var k keys.HPKEPublicKey
		if err := k.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%.30q is a key", bad)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	for _, v := range documentVectors() {
		f.Add([]byte(v.Document))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var b body
		d, err := keys.ParseDocument(data, docType, &b)
		if err != nil {
			return
		}
		encoded, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := keys.ParseDocument(encoded, docType, &b)
		if err != nil || again.Digest() != d.Digest() || len(again.Signatures) != len(d.Signatures) {
			t.Fatalf("read back as another: %v", err)
		}
	})
}

func FuzzKeyTexts(f *testing.F) {
	for _, v := range publicKeyVectors() {
		f.Add(v.Public)
	}
	for _, a := range algorithms {
		f.Add(must(seedKey(a, "signer").MarshalSecret()))
	}
	f.Add(must(keys.NewHPKEKey(make([]byte, 32))).Public().String())
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := keys.ParsePublicKey(text); err == nil && k.String() != text {
			t.Fatalf("%q is written back as %q", text, k)
		}
		if k, err := keys.ParseSigningKey(text); err == nil {
			if again, err := keys.ParseSigningKey(must(k.MarshalSecret())); err != nil || again.Public() != k.Public() {
				t.Fatalf("another key came back: %v", err)
			}
		}
		var h keys.HPKEPublicKey
		if h.UnmarshalText([]byte(text)) == nil && h.String() != text {
			t.Fatalf("%q is written back as %q", text, h)
		}
	})
}

// FuzzVerify shows that no other bytes than Ed25519's one signature verify.
func FuzzVerify(f *testing.F) {
	k := seedKey(keys.Ed25519, "signer")
	good := must(k.Sign(docType, digest("d")))
	f.Add([]byte(good.Signature))
	f.Add([]byte(good.Signature[:32]))
	f.Fuzz(func(t *testing.T, signature []byte) {
		s := keys.Signature{Algorithm: good.Algorithm, Key: good.Key, Signature: signature}
		if k.Public().Verify(docType, digest("d"), s) == nil && !bytes.Equal(signature, good.Signature) {
			t.Fatalf("%x verifies too", signature)
		}
	})
}
