package keys_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"strongroom.dev/keys"
)

// TestEncapsulate: both ends of an encapsulation have the same secret, and nobody else.
func TestEncapsulate(t *testing.T) {
	key, err := keys.GenerateHPKEKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := keys.GenerateHPKEKey()
	if err != nil {
		t.Fatal(err)
	}
	encapsulated, sent, err := key.Public().Encapsulate([]byte("info"))
	if err != nil || len(encapsulated) != keys.Encapsulation {
		t.Fatalf("%d bytes, %v", len(encapsulated), err)
	}
	same := func(s *keys.Secret) bool { return s.Derive("use") == sent.Derive("use") }
	if got, err := key.Decapsulate([]byte("info"), encapsulated); err != nil || !same(got) {
		t.Errorf("the key's own: %v", err)
	}
	altered := bytes.Clone(encapsulated)
	altered[len(altered)-1] ^= 1
	for name, got := range map[string]func() (*keys.Secret, error){
		"other info":  func() (*keys.Secret, error) { return key.Decapsulate([]byte("other"), encapsulated) },
		"another key": func() (*keys.Secret, error) { return other.Decapsulate([]byte("info"), encapsulated) },
		"altered":     func() (*keys.Secret, error) { return key.Decapsulate([]byte("info"), altered) },
	} {
		if s, err := got(); err == nil && same(s) {
			t.Errorf("%s gives the same secret", name)
		}
	}
	if _, err := key.Decapsulate(nil, nil); err == nil {
		t.Error("nothing was decapsulated")
	}
	if _, _, err := (keys.HPKEPublicKey{}).Encapsulate(nil); err == nil {
		t.Error("to no key")
	}
	if _, err := (*keys.HPKEPrivateKey)(nil).Decapsulate(nil, encapsulated); err == nil {
		t.Error("by no key")
	}
}

// TestCombine depends on both secrets, their order and the use.
func TestCombine(t *testing.T) {
	a, b := keys.GenerateSecret(), keys.GenerateSecret()
	seen := map[[32]byte]string{}
	for name, s := range map[string]*keys.Secret{"a with b": a.Combine(b, "use"), "b with a": b.Combine(a, "use"), "another use": a.Combine(b, "other"), "fields": a.Combine(b, "use", nil), "a with a": a.Combine(a, "use")} {
		if before, twice := seen[s.Derive("x")]; twice {
			t.Errorf("%s is %s", name, before)
		}
		seen[s.Derive("x")] = name
	}
	if once, again := a.Combine(b, "use").Derive("x"), a.Combine(b, "use").Derive("x"); once != again {
		t.Error("not the same twice")
	}
}

// TestSealer opens what was sealed, under its number and beside what it was sealed with.
func TestSealer(t *testing.T) {
	secret := keys.GenerateSecret()
	s, same, other := secret.Sealer("way"), secret.Sealer("way"), secret.Sealer("way back")
	sealed := s.Seal([]byte("head"), 7, []byte("message"), []byte("beside"))
	if !bytes.HasPrefix(sealed, []byte("head")) || len(sealed) != len("head")+len("message")+keys.SealerOverhead {
		t.Fatalf("%q", sealed)
	}
	sealed = sealed[len("head"):]
	if got, err := same.Open(7, sealed, []byte("beside")); err != nil || string(got) != "message" {
		t.Errorf("%q, %v", got, err)
	}
	altered := bytes.Clone(sealed)
	altered[0] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another number":    func() ([]byte, error) { return s.Open(8, sealed, []byte("beside")) },
		"beside other":      func() ([]byte, error) { return s.Open(7, sealed, []byte("else")) },
		"another direction": func() ([]byte, error) { return other.Open(7, sealed, []byte("beside")) },
		"altered":           func() ([]byte, error) { return s.Open(7, altered, []byte("beside")) },
		"nothing":           func() ([]byte, error) { return s.Open(7, nil, []byte("beside")) },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	if text := fmt.Sprintf("%v %+v", *s, s); !strings.Contains(text, "redacted") {
		t.Errorf("a sealer prints as %s", text)
	}
}

// TestVerifyJWS with RFC 8037's example, appendix A.4, and what is not of its key or algorithm.
func TestVerifyJWS(t *testing.T) {
	public, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil {
		t.Fatal(err)
	}
	key, err := keys.ParsePublicKey("ed25519:" + base64.StdEncoding.EncodeToString(public))
	if err != nil {
		t.Fatal(err)
	}
	const input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
	signature, err := base64.RawURLEncoding.DecodeString("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
	if err != nil {
		t.Fatal(err)
	}
	if err := key.VerifyJWS("EdDSA", []byte(input), signature); err != nil {
		t.Error(err)
	}
	pair, err := keys.GenerateSigningKey(keys.Ed25519MLDSA)
	if err != nil {
		t.Fatal(err)
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"another algorithm": key.VerifyJWS("ES256", []byte(input), signature),
		"none":              key.VerifyJWS("none", []byte(input), nil),
		"no algorithm":      key.VerifyJWS("", []byte(input), signature),
		"another input":     key.VerifyJWS("EdDSA", []byte(input+"x"), signature),
		"cut":               key.VerifyJWS("EdDSA", []byte(input), signature[:63]),
		"longer":            key.VerifyJWS("EdDSA", []byte(input), append(bytes.Clone(signature), 0)),
		"another key":       key.VerifyJWS("EdDSA", []byte(input), ed25519.Sign(private, []byte(input))),
		"no key":            keys.PublicKey{}.VerifyJWS("EdDSA", []byte(input), signature),
		"a pair":            pair.Public().VerifyJWS("EdDSA", []byte(input), signature),
		"a pair, unnamed":   pair.Public().VerifyJWS("", []byte(input), signature),
	} {
		if !errors.Is(err, keys.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
