package ear_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"strongroom.dev/ear"
	"strongroom.dev/verdict"
)

// TestRotation walks through a year, hour by hour: there is always one key that signs, it has
// been published for as long as promised, and tokens verify until they expire.
func TestRotation(t *testing.T) {
	every := ear.Usual()
	var r ear.Ring
	published := map[string]time.Time{}
	signed := map[string]bool{}
	start := now
	var before string // the key set an hour ago, and a token signed then
	var earlier ear.KeySet
	for at := start; at.Before(start.AddDate(0, 4, 0)); at = at.Add(4 * time.Hour) {
		next, changed, err := r.Advance(ear.EAR(), ear.ES256, every, at)
		if err != nil {
			t.Fatal(err)
		}
		if r = next; changed {
			if again, changed, _ := r.Advance(ear.EAR(), ear.ES256, every, at); changed || fmt.Sprint(again) != fmt.Sprint(r) {
				t.Fatal("advancing twice changes something")
			}
			r = must(ear.ParseRing(ear.EAR(), must(r.MarshalSecret())))
		}
		set := must(r.KeySet())
		ids := kids(t, set)
		if len(ids) > 3 {
			t.Fatalf("%v: %d keys", at, len(ids))
		}
		for _, id := range ids {
			if published[id].IsZero() {
				published[id] = at
			}
		}
		token := must(r.Sign(base, statement(t), at))
		id := headerOf(t, token)["kid"].(string)
		if len(signed) > 0 && !signed[id] && at.Sub(published[id]) < every.Ahead {
			t.Errorf("key %s signs %v after it was published", id, at.Sub(published[id]))
		}
		signed[id] = true
		x := ear.Expect{Shape: ear.EAR(), Base: base, Audience: audience, Keys: must(ear.ParseKeySet(set)), Now: at}
		if _, err := ear.Verify(token, x); err != nil {
			t.Fatal(err)
		}
		if before != "" { // a relying party with an older key set verifies today's token
			x.Keys = earlier
			if _, err := ear.Verify(token, x); err != nil {
				t.Fatalf("%v, with the key set of four hours ago: %v", at, err)
			}
		}
		before, earlier = token, must(ear.ParseKeySet(set))
	}
	if len(signed) != 4 {
		t.Errorf("%d keys signed in 4 months", len(signed))
	}
}

func TestOldKeysVerifyTheirLastToken(t *testing.T) {
	r := ring(t, ear.EAR(), ear.ES256)
	last := now.Add(-time.Hour).Add(ear.Usual().Every - time.Second)
	r, _, _ = r.Advance(ear.EAR(), ear.ES256, ear.Usual(), last)
	token := must(r.Sign(base, statement(t), last))
	at := last.Add(ear.Lifetime)
	r, _, _ = r.Advance(ear.EAR(), ear.ES256, ear.Usual(), at)
	x := ear.Expect{Shape: ear.EAR(), Base: base, Audience: audience, Keys: keySet(t, r), Now: at}
	if _, err := ear.Verify(token, x); err != nil {
		t.Error(err)
	}
	r, changed, _ := r.Advance(ear.EAR(), ear.ES256, ear.Usual(), at.Add(time.Hour))
	if x.Keys = keySet(t, r); !changed {
		t.Error("an old key stays for good")
	}
	_, err := ear.Verify(token, x)
	fails(t, "a key that is gone", err, verdict.Invalid, "token.keys")
}

func TestRingRefuses(t *testing.T) {
	_, err := ear.Ring{}.Sign(base, statement(t), now)
	if err == nil {
		t.Error("the zero ring signs")
	}
	_, _, err = ear.Ring{}.Advance(ear.EAR(), ear.RS256, ear.Usual(), now)
	fails(t, "algorithm", err, verdict.Usage, "token.algorithm")
	_, _, err = ear.Ring{}.Advance(ear.EAR(), ear.ES256, ear.Rotation{}, now)
	fails(t, "rotation", err, verdict.Usage, "token.rotation")
	_, _, err = ear.Ring{}.Advance(ear.Shape{}, ear.ES256, ear.Usual(), now)
	fails(t, "shape", err, verdict.Usage, "token.shape")
	mine := ear.EAR()
	mine.Type = "JWT"
	_, _, err = ear.Ring{}.Advance(mine, ear.ES256, ear.Usual(), now)
	fails(t, "own shape", err, verdict.Usage, "token.shape")

	r := ring(t, ear.EAR(), ear.ES256)
	_, err = r.Sign(base, statement(t), now.AddDate(1, 0, 0))
	fails(t, "a year later", err, verdict.Broken, "token.key")
	stored := string(must(r.MarshalSecret()))
	for what, text := range map[string]string{
		"nothing": "", "another shape's": strings.Replace(stored, "/ear", "/maa", 1), "another algorithm": strings.Replace(stored, "ES256", "ES384", 1),
		"no key": strings.Replace(stored, `"pkcs8":"M`, `"pkcs8":"N`, 1),
	} {
		_, err := ear.ParseRing(ear.EAR(), []byte(text))
		fails(t, what, err, verdict.Broken, "token.keys")
		if err != nil && strings.Contains(err.Error(), "MIG") {
			t.Errorf("%s: the error quotes the key: %v", what, err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", r, r, r); strings.Contains(text, "ecdsa") || !strings.Contains(text, "redacted") {
		t.Errorf("a ring prints as %s", text)
	}
}

func TestKeySetRefuses(t *testing.T) {
	good := string(must(ring(t, ear.EAR(), ear.ES256).KeySet()))
	var doc map[string][]map[string]any
	if err := json.Unmarshal([]byte(good), &doc); err != nil {
		t.Fatal(err)
	}
	key := doc["keys"][0]
	without := func(name string) string {
		k := map[string]any{}
		for n, v := range key {
			if n != name {
				k[n] = v
			}
		}
		return string(must(json.Marshal(map[string]any{"keys": []any{k}})))
	}
	for what, text := range map[string]string{
		"nothing": "", "no keys": `{"keys":[]}`, "no id": without("kid"), "no algorithm": without("alg"), "no use": without("use"),
		"two of one name": `{"keys":[` + string(must(json.Marshal(key))) + `,` + string(must(json.Marshal(key))) + `]}`,
		"a secret":        `{"keys":[{"kty":"oct","k":"AAAA","kid":"a","alg":"HS256","use":"sig"}]}`,
		"another curve":   strings.Replace(good, `"ES256"`, `"ES384"`, 1), "too large": good + strings.Repeat(" ", 1<<17), "members twice": `{"keys":[],"keys":[]}`,
	} {
		_, err := ear.ParseKeySet([]byte(text))
		fails(t, what, err, verdict.Invalid, "token.keys")
	}
}

func TestDiscovery(t *testing.T) {
	for _, s := range ear.Shapes() {
		var d struct {
			Issuer     string   `json:"issuer"`
			Keys       string   `json:"jwks_uri"`
			Algorithms []string `json:"id_token_signing_alg_values_supported"`
		}
		if err := json.Unmarshal(must(ear.Discovery(base, s)), &d); err != nil {
			t.Fatal(err)
		}
		if d.Issuer != base+"/"+s.Name || d.Keys != d.Issuer+"/certs" || len(d.Algorithms) != len(s.Algorithms) {
			t.Errorf("%+v", d)
		}
	}
}

func kids(t *testing.T, set []byte) []string {
	t.Helper()
	var doc struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(set, &doc); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, k := range doc.Keys {
		ids = append(ids, k.ID)
	}
	return ids
}
