package ear_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"strongroom.dev/ear"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors anew")

const vectors = "../spec/vectors/ear"

// vector is one case of spec/ear.md: a token, what a relying party expects, and what must come
// of it.
type vector struct {
	What string `json:"what"`
	// Expect is "pass" or the id of the check that fails.
	Expect   string          `json:"expect"`
	Shape    string          `json:"shape"`
	Base     string          `json:"base"`
	Audience string          `json:"audience"`
	Now      wire.Time       `json:"now"`
	Keys     json.RawMessage `json:"keys"`
	Token    string          `json:"token"`
	// Claims are those of a token that passes, and Vector what its checks gave.
	Claims json.RawMessage `json:"claims,omitempty"`
	Vector *ear.Vector     `json:"vector,omitempty"`
}

// header gives a token's header, as anyone can write it.
func headerOf(t testing.TB, token string) map[string]any {
	t.Helper()
	first, _, _ := strings.Cut(token, ".")
	var h map[string]any
	if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(first)), &h); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestWriteVectors makes them from a fresh key when asked to; signatures by ECDSA are never the
// same twice.
func TestWriteVectors(t *testing.T) {
	if !*update {
		t.Skip("-update writes them")
	}
	shape := ear.EAR()
	r := ring(t, shape, ear.ES256)
	f := forge(t, r)
	good := vector{What: "an attestation result", Expect: "pass", Shape: shape.Name, Base: base, Audience: audience, Now: wire.At(now), Keys: must(r.KeySet()), Token: must(r.Sign(base, statement(t), now))}
	claims := claimsOf(t, good.Token)
	typ := map[jose.HeaderKey]any{"typ": shape.Type}
	changed := func(name string, v any) string {
		c := maps.Clone(claims)
		if c[name] = v; v == nil {
			delete(c, name)
		}
		return f.sign(ear.ES256, must(wire.Marshal(c)), typ)
	}
	head := func(name jose.HeaderKey, v any) string {
		return f.sign(ear.ES256, must(wire.Marshal(claims)), map[jose.HeaderKey]any{"typ": shape.Type, name: v})
	}
	warned := statement(t)
	warned.Results[0].Verdict, warned.Results[0].Warnings = "warning", []string{"snp.signature"}
	cases := map[string]vector{"good": good}
	for name, c := range map[string]struct{ what, check, token string }{
		"header-jku":        {"a header that says where its key is", "token.header", head("jku", "https://evil.example.org/certs")},
		"header-jwk":        {"a header that brings its key", "token.header", head("jwk", jose.JSONWebKey{Key: f.private.Public()})},
		"header-x5u":        {"a header that says where its certificate is", "token.header", head("x5u", "https://evil.example.org/cert")},
		"type-other":        {"a token of another shape", "token.type", f.sign(ear.ES256, must(wire.Marshal(claims)), map[jose.HeaderKey]any{"typ": "maa+jwt"})},
		"key-other":         {"a key that is not in the set", "token.keys", must(ring(t, shape, ear.ES256).Sign(base, statement(t), now))},
		"signature-altered": {"an altered signature", "token.signature", flip(good.Token)},
		"issuer-other":      {"another issuer", "token.issuer", changed("iss", base+"/maa")},
		"audience-other":    {"another audience", "token.audience", changed("aud", "https://other.example.org")},
		"audience-missing":  {"no audience", "token.audience", changed("aud", nil)},
		"expiry-missing":    {"no expiry", "token.lifetime", changed("exp", nil)},
		"cnf-missing":       {"no key of its holder", "token.key-binding", changed("cnf", nil)},
		"profile-other":     {"another profile", "token.profile", changed("eat_profile", "tag:github.com,2023:veraison/ear")},
		"class-software":    {"a software platform", "token.class", changed("strongroom_class", "software")},
		"verdict-warning":   {"a warning, where only affirming will do", "token.verdict", must(r.Sign(base, warned, now))},
		"claim-twice":       {"a claim that stands twice", "token.form", f.sign(ear.ES256, []byte(`{"iss":"a","iss":"b"}`), typ)},
	} {
		v := good
		v.What, v.Expect, v.Token = c.what, c.check, c.token
		cases[name] = v
	}
	late := good
	late.What, late.Expect, late.Now = "a token that has expired", "token.expired", wire.At(now.Add(ear.Lifetime+2*ear.Skew))
	cases["expired"] = late
	for name, v := range cases {
		if v.Expect == "pass" {
			vector := ear.VectorOf(result())
			v.Claims, v.Vector = must(wire.Marshal(claimsOf(t, v.Token))), &vector
		}
		if err := os.WriteFile(filepath.Join(vectors, name+".json"), append(must(json.MarshalIndent(v, "", "  ")), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVectors(t *testing.T) {
	files, err := filepath.Glob(vectors + "/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d vectors: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			var v vector
			if err := json.Unmarshal(must(os.ReadFile(file)), &v); err != nil {
				t.Fatal(err)
			}
			x := ear.Expect{Base: v.Base, Audience: v.Audience, Keys: must(ear.ParseKeySet(v.Keys)), Now: v.Now.Time()}
			for _, s := range ear.Shapes() {
				if s.Name == v.Shape {
					x.Shape = s
				}
			}
			got, err := ear.Verify(v.Token, x)
			if v.Expect != "pass" {
				var e *verdict.Error
				if !errors.As(err, &e) || e.Check != v.Expect {
					t.Errorf("%v, expected %s", err, v.Expect)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(must(wire.Canonical(v.Claims))), string(got.Claims)); diff != "" {
				t.Error(diff)
			}
			if *v.Vector != ear.VectorOf(result()) {
				t.Errorf("vector %+v", *v.Vector)
			}
		})
	}
}

// FuzzVerify: whatever comes, it is an explained error or a token that was issued.
func FuzzVerify(f *testing.F) {
	r := ring(f, ear.EAR(), ear.ES256)
	issued := must(r.Sign(base, statement(f), now))
	f.Add(issued)
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0..")
	x := expect(f, ear.EAR(), r)
	f.Fuzz(func(t *testing.T, token string) {
		_, err := ear.Verify(token, x)
		var e *verdict.Error
		if err == nil && token != issued || err != nil && (!errors.As(err, &e) || e.Check == "" || e.Fix == "") {
			t.Errorf("%q: %v", token, err)
		}
	})
}

// FuzzKeys reads key sets and keys as strangers may send them.
func FuzzKeys(f *testing.F) {
	f.Add(must(ring(f, ear.EAR(), ear.ES256).KeySet()))
	f.Add([]byte(`{"kty":"RSA","n":"AQAB","e":"AQAB"}`))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, err := range []error{second(ear.ParseKeySet(data)), second(ear.ConfirmJWK(data)), second(ear.ConfirmPEM(data)), second(ear.ParseRing(ear.EAR(), data))} {
			var e *verdict.Error
			if err != nil && !errors.As(err, &e) {
				t.Errorf("%q: %v", data, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }
