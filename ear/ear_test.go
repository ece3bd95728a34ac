package ear_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/ear"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func TestSignAndVerify(t *testing.T) {
	for _, shape := range []ear.Shape{ear.EAR(), ear.MAA(), ear.ITA()} {
		for _, a := range shape.Algorithms {
			r := ring(t, shape, a)
			room := roomKey(t)
			s := statement(t)
			s.Confirmation = must(ear.ConfirmRoom(room.Public()))
			token, err := r.Sign(base, s, now)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ear.Verify(token, expect(t, shape, r))
			if err != nil {
				t.Fatalf("%s %s: %v", shape.Name, a, err)
			}
			if got.Issuer != base+"/"+shape.Name || got.Audience != audience || got.Verdict != attest.Affirming || got.Platform != "snp" || got.Class != agreement.Confidential ||
				got.Policy != "rooms" || got.PolicyVersion != 3 || len(got.Nonce) != 32 || got.Expires.Sub(got.Issued) != ear.Lifetime ||
				got.Subject != "policy:rooms:platform:snp:class:confidential" || !got.Confirmation.Binds(room.Public()) {
				t.Errorf("%s %s: %+v", shape.Name, a, got)
			}
			if got.Confirmation.Binds(roomKey(t).Public()) {
				t.Error("the token is bound to another room's key")
			}
		}
	}
}

// TestRefusesTokens is a token that verifies, with one thing wrong.
func TestRefusesTokens(t *testing.T) {
	shape := ear.EAR()
	r := ring(t, shape, ear.ES256)
	token := must(r.Sign(base, statement(t), now))
	f := forge(t, r)
	good := claimsOf(t, token)
	typ := map[jose.HeaderKey]any{"typ": shape.Type}
	changed := func(change func(c map[string]any)) string {
		c := maps.Clone(good)
		change(c)
		return f.sign(ear.ES256, must(wire.Marshal(c)), typ)
	}
	set := func(name string, v any) string { return changed(func(c map[string]any) { c[name] = v }) }
	with := func(name jose.HeaderKey, v any) string {
		return f.sign(ear.ES256, must(wire.Marshal(good)), map[jose.HeaderKey]any{"typ": shape.Type, name: v})
	}
	if _, err := ear.Verify(changed(func(map[string]any) {}), expect(t, shape, r)); err != nil {
		t.Fatalf("the forger's own copy: %v", err)
	}
	own := must(json.Marshal(jose.JSONWebKey{Key: f.private.Public()}))
	head, rest, _ := strings.Cut(token, ".")
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"`+f.id+`","typ":"eat+jwt"}`)) + "." + rest
	mac := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","kid":"`+f.id+`","typ":"eat+jwt"}`)) + "." + rest
	other := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES384","kid":"`+f.id+`","typ":"eat+jwt"}`)) + "." + rest
	twice := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","alg":"ES256","kid":"`+f.id+`","typ":"eat+jwt"}`)) + "." + rest
	const invalid, refused = verdict.Invalid, verdict.Refused
	for _, c := range []struct {
		what, token string
		kind        verdict.Kind
		check       string
	}{
		{"no token", "", invalid, "token.form"},
		{"two parts", "a.b", invalid, "token.form"},
		{"too large", strings.Repeat("a", ear.MaxToken) + "..", invalid, "token.form"},
		{"header is not base64url", "!" + token, invalid, "token.form"},
		{"a header's member twice", twice, invalid, "token.form"},
		{"jwk in the header", with("jwk", json.RawMessage(own)), invalid, "token.header"},
		{"jku in the header", with("jku", "https://evil.example.org/certs"), invalid, "token.header"},
		{"x5u in the header", with("x5u", "https://evil.example.org/cert"), invalid, "token.header"},
		{"crit in the header", with("b64x", true), invalid, "token.header"},
		{"alg none", unsigned, invalid, "token.algorithm"},
		{"alg HS256", mac, invalid, "token.algorithm"},
		{"an alg of the shape, but not the key's", other, invalid, "token.algorithm"},
		{"typ of another shape", f.sign(ear.ES256, must(wire.Marshal(good)), map[jose.HeaderKey]any{"typ": "maa+jwt"}), invalid, "token.type"},
		{"no typ", f.sign(ear.ES256, must(wire.Marshal(good)), nil), invalid, "token.header"},
		{"another's key", must(ring(t, shape, ear.ES256).Sign(base, statement(t), now)), invalid, "token.keys"},
		{"a changed signature", head + "." + flip(rest), invalid, "token.signature"},
		{"a changed claim", head + "." + flipFirst(rest), invalid, "token.signature"},
		{"claims not canonical", f.sign(ear.ES256, append([]byte(" "), must(wire.Marshal(good))...), typ), invalid, "token.form"},
		{"a claim twice", f.sign(ear.ES256, []byte(`{"iss":"a","iss":"b"}`), typ), invalid, "token.form"},
		{"issuer", set("iss", base+"/maa"), invalid, "token.issuer"},
		{"issuer is a prefix", set("iss", base), invalid, "token.issuer"},
		{"audience", set("aud", "https://other.example.org"), invalid, "token.audience"},
		{"no audience", changed(func(c map[string]any) { delete(c, "aud") }), invalid, "token.audience"},
		{"several audiences", set("aud", []string{audience, "x"}), invalid, "token.form"},
		{"too long a life", set("exp", now.Add(ear.Lifetime+time.Second).Unix()), invalid, "token.lifetime"},
		{"no expiry", changed(func(c map[string]any) { delete(c, "exp") }), invalid, "token.lifetime"},
		{"a nonce that somebody else chose", set("strongroom_freshness", "relying-party"), invalid, "token.nonce"},
		{"no freshness", changed(func(c map[string]any) { delete(c, "strongroom_freshness") }), invalid, "token.nonce"},
		{"no key of the holder", changed(func(c map[string]any) { delete(c, "cnf") }), invalid, "token.key-binding"},
		{"another profile", set("eat_profile", "tag:example"), invalid, "token.profile"},
		{"two readings of the status", set("ear.status", "contraindicated"), invalid, "token.profile"},
		{"contraindicated", changed(func(c map[string]any) {
			c["strongroom_verdict"], c["ear_status"], c["ear.status"] = "contraindicated", "contraindicated", "contraindicated"
		}), refused, "token.verdict"},
		{"warning", changed(func(c map[string]any) {
			c["strongroom_verdict"], c["ear_status"], c["ear.status"] = "warning", "warning", "warning"
		}), refused, "token.verdict"},
		{"software", set("strongroom_class", "software"), refused, "token.class"},
		{"no class", set("strongroom_class", ""), invalid, "token.class"},
	} {
		_, err := ear.Verify(c.token, expect(t, shape, r))
		fails(t, c.what, err, c.kind, c.check)
	}
}

func flip(s string) string {
	last := len(s) - 10
	c := byte('A')
	if s[last] == c {
		c = 'B'
	}
	return s[:last] + string(c) + s[last+1:]
}

func flipFirst(s string) string { // in the payload
	c := byte('A')
	if s[20] == c {
		c = 'B'
	}
	return s[:20] + string(c) + s[21:]
}

func TestVerifyAtOtherTimes(t *testing.T) {
	r := ring(t, ear.EAR(), ear.ES256)
	token := must(r.Sign(base, statement(t), now))
	for _, c := range []struct {
		after time.Duration
		ok    bool
	}{{-ear.Skew - time.Second, false}, {-ear.Skew, true}, {ear.Lifetime + ear.Skew, true}, {ear.Lifetime + ear.Skew + time.Second, false}} {
		x := expect(t, ear.EAR(), r)
		x.Now = now.Add(c.after)
		_, err := ear.Verify(token, x)
		if c.ok && err != nil {
			t.Errorf("after %v: %v", c.after, err)
		}
		if !c.ok {
			fails(t, c.after.String(), err, verdict.Refused, "token.expired")
		}
	}
}

func TestExpectIsComplete(t *testing.T) {
	r := ring(t, ear.EAR(), ear.ES256)
	token := must(r.Sign(base, statement(t), now))
	for check, change := range map[string]func(*ear.Expect){
		"token.shape":    func(x *ear.Expect) { x.Shape = ear.Shape{} },
		"issuer":         func(x *ear.Expect) { x.Base = "" },
		"token.audience": func(x *ear.Expect) { x.Audience = "" },
		"token.keys":     func(x *ear.Expect) { x.Keys = ear.KeySet{} },
		"token.time":     func(x *ear.Expect) { x.Now = time.Time{} },
	} {
		x := expect(t, ear.EAR(), r)
		change(&x)
		_, err := ear.Verify(token, x)
		fails(t, check, err, verdict.Usage, check)
	}
	x := expect(t, ear.EAR(), r)
	x.Nonce = []byte("another nonce of 32 bytes.......")
	_, err := ear.Verify(token, x)
	fails(t, "nonce", err, verdict.Invalid, "token.nonce")

	s := statement(t)
	s.Freshness, s.Nonce = ear.ByRelyingParty, x.Nonce
	theirs := must(r.Sign(base, s, now))
	if _, err := ear.Verify(theirs, x); err != nil {
		t.Errorf("the relying party's own nonce: %v", err)
	}
	x.Nonce, x.InsecureAnyNonce = nil, true
	if _, err := ear.Verify(theirs, x); err != nil {
		t.Errorf("any nonce: %v", err)
	}
}

// TestEmptyNonce: a nonce of no bytes is none, and is not answered by a token without one.
func TestEmptyNonce(t *testing.T) {
	r, s := ring(t, ear.MAA(), ear.ES256), statement(t)
	s.Freshness, s.Nonce = ear.ByRelyingParty, nil
	token := must(r.Sign(base, s, now))
	for what, nonce := range map[string][]byte{"none": nil, "one of no bytes": {}} {
		x := expect(t, ear.MAA(), r)
		x.Nonce = nonce
		_, err := ear.Verify(token, x)
		fails(t, what, err, verdict.Invalid, "token.nonce")
	}
}

// TestRefusesStatements: what no token may be made of.
func TestRefusesStatements(t *testing.T) {
	r := ring(t, ear.EAR(), ear.ES256)
	for what, c := range map[string]struct {
		change func(*ear.Statement)
		kind   verdict.Kind
		check  string
	}{
		"no result":                  {func(s *ear.Statement) { s.Results = nil }, verdict.Usage, "token.result"},
		"no audience":                {func(s *ear.Statement) { s.Audience = "" }, verdict.Usage, "token.audience"},
		"audience with a line break": {func(s *ear.Statement) { s.Audience = "a\nb" }, verdict.Usage, "token.audience"},
		"no evidence":                {func(s *ear.Statement) { s.Evidence = wire.Digest{} }, verdict.Usage, "token.evidence"},
		"no freshness":               {func(s *ear.Statement) { s.Freshness = "" }, verdict.Usage, "token.freshness"},
		"no key":                     {func(s *ear.Statement) { s.Confirmation = ear.Confirmation{} }, verdict.Usage, "token.key-binding"},
		"contraindicated": {func(s *ear.Statement) {
			s.Results[0].Verdict = attest.Contraindicated
			s.Results[0].Checks = []verdict.Check{{ID: "tdx.tcb", Expected: "UpToDate", Got: "OutOfDate", Fix: "update"}}
		}, verdict.Refused, "tdx.tcb"},
		"an attached device is contraindicated": {func(s *ear.Statement) {
			gpu := result()
			gpu.Verdict, gpu.Checks = attest.Contraindicated, []verdict.Check{{ID: "nvidia.rim", Expected: "a", Got: "b", Fix: "c"}}
			s.Results = append(s.Results, gpu)
		}, verdict.Refused, "nvidia.rim"},
	} {
		s := statement(t)
		c.change(&s)
		_, err := r.Sign(base, s, now)
		fails(t, what, err, c.kind, c.check)
	}
	s := statement(t)
	s.Extra = map[string]any{"strongroom_class": "confidential"}
	if _, err := r.Sign(base, s, now); err == nil || !strings.Contains(err.Error(), "strongroom_class") {
		t.Errorf("a shape's own claim took the place of another: %v", err)
	}
	for _, bad := range []string{"", "attest.example.org", "ftp://a", "https://A.example.org", "https://a/", "https://u@a", "https://a?b", "https://a#b"} {
		_, err := r.Sign(bad, statement(t), now)
		fails(t, bad, err, verdict.Usage, "issuer")
	}
}

func TestBearerTokensLeaveSealedOnly(t *testing.T) {
	r := ring(t, ear.Federation(), ear.ES256)
	s := statement(t)
	_, err := r.Sign(base, s, now)
	fails(t, "in clear", err, verdict.Usage, "token.shape")
	_, err = r.Seal(base, s, keys.HPKEPublicKey{}, now)
	fails(t, "to nobody", err, verdict.Refused, "token.sealing")
	old := s
	old.Freshness = ear.ByRelyingParty
	_, err = r.Seal(base, old, must(keys.GenerateHPKEKey()).Public(), now)
	fails(t, "for another's nonce", err, verdict.Refused, "token.freshness")
	_, err = ring(t, ear.EAR(), ear.ES256).Seal(base, s, must(keys.GenerateHPKEKey()).Public(), now)
	fails(t, "another shape", err, verdict.Usage, "token.shape")

	room := must(keys.GenerateHPKEKey())
	sealed, err := r.Seal(base, s, room.Public(), now)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sealed.Sealed), "eyJ") {
		t.Error("the token is readable")
	}
	token, err := sealed.Open(room)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ear.Verify(token, expect(t, ear.Federation(), r)); err != nil {
		t.Error(err)
	}
	_, err = sealed.Open(must(keys.GenerateHPKEKey()))
	fails(t, "another room", err, verdict.Invalid, "token.sealing")
	for what, change := range map[string]func(*ear.Sealed){
		"audience": func(s *ear.Sealed) { s.Audience = "other" }, "issuer": func(s *ear.Sealed) { s.Issuer += "x" },
		"evidence": func(s *ear.Sealed) { s.Evidence[0]++ }, "text": func(s *ear.Sealed) { s.Sealed = append(slices.Clone(s.Sealed), 0) },
	} {
		other := sealed
		change(&other)
		_, err := other.Open(room)
		fails(t, what, err, verdict.Invalid, "token.sealing")
	}
}

func TestTokensOfOneShapeAreNoOther(t *testing.T) {
	for _, made := range ear.Shapes() {
		if made.Bearer {
			continue
		}
		r := ring(t, made, made.Algorithms[0])
		token := must(r.Sign(base, statement(t), now))
		for _, asked := range ear.Shapes() {
			_, err := ear.Verify(token, expect(t, asked, r))
			if made.Name == asked.Name {
				if err != nil {
					t.Errorf("%s: %v", made.Name, err)
				}
				continue
			}
			fails(t, made.Name+" as "+asked.Name, err, verdict.Invalid, "token.type")
		}
	}
	seen := map[string]bool{}
	for _, s := range ear.Shapes() {
		if seen[s.Type] || seen[s.Name] {
			t.Errorf("shape %s shares its name or typ", s.Name)
		}
		seen[s.Type], seen[s.Name] = true, true
	}
}

func TestClaims(t *testing.T) {
	r := ring(t, ear.EAR(), ear.ES256)
	s := statement(t)
	gpu := result()
	gpu.Platform, gpu.Verdict, gpu.Warnings = "nvidia", attest.Warning, []string{"nvidia.tcb"}
	gpu.Checks = []verdict.Check{{ID: "nvidia.tcb", OK: true}}
	s.Results = append(s.Results, gpu, gpu)
	c := claimsOf(t, must(r.Sign(base, s, now)))
	for name, want := range map[string]any{
		"iss": base + "/ear", "aud": audience, "eat_profile": ear.Profile, "ear_status": "warning", "strongroom_verdict": "warning", "strongroom_platform": "snp",
		"strongroom_class": "confidential", "strongroom_policy": "rooms", "strongroom_policy_version": 3.0, "strongroom_machine": "c0ffee", "strongroom_generation": "Genoa",
		"strongroom_measurement_measurement": "aa11", "strongroom_init_data": "0102", "strongroom_evidence": s.Evidence.String(),
		"strongroom_excludes": []any{"host administrator"}, "strongroom_trusts": []any{"AMD"},
	} {
		if diff := cmp.Diff(want, c[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	names := slices.Sorted(maps.Keys(c["submods"].(map[string]any)))
	if !slices.Equal(names, []string{"nvidia", "nvidia-2", "snp"}) {
		t.Errorf("submodules %v", names)
	}
	if _, found := c["strongroom_insecure"]; found {
		t.Error("a confidential platform is called insecure")
	}
	s = statement(t)
	s.Results[0].Class, s.Results[0].Verdict, s.Results[0].Warnings = agreement.Software, attest.Warning, []string{"class"}
	if c = claimsOf(t, must(r.Sign(base, s, now))); c["strongroom_insecure"] != true {
		t.Error("a software platform is not called insecure")
	}
}

// TestComposite: a machine and its devices have a submodule each, beside the whole.
func TestComposite(t *testing.T) {
	r := ring(t, ear.EAR(), ear.ES256)
	s := statement(t)
	s.Results[0].Platform, s.Results[0].Verdict, s.Results[0].Warnings = "composite", attest.Warning, []string{"composite.attachment", "device0.nvidia.rim"}
	for _, id := range []string{"cpu.snp.chain", "device0.nvidia.rim", "device1.nvidia.rim", "composite.attachment"} {
		s.Results[0].Checks = append(s.Results[0].Checks, verdict.Check{ID: id, OK: true})
	}
	submods := claimsOf(t, must(r.Sign(base, s, now)))["submods"].(map[string]any)
	got := map[string]any{}
	for name, m := range submods {
		got[name] = m.(map[string]any)["ear_status"]
	}
	want := map[string]any{"composite": "warning", "composite/cpu": "affirming", "composite/device0": "warning", "composite/device1": "affirming"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMeasurementsAreFewOrNamed(t *testing.T) {
	r := ring(t, ear.EAR(), ear.ES256)
	s := statement(t)
	s.Results[0].Measurements = map[string]string{}
	for i := range 24 {
		s.Results[0].Measurements[fmt.Sprintf("pcr/%d", i)] = "aa"
	}
	s.Results[0].Checks = append(s.Results[0].Checks, verdict.Check{ID: "policy.measurement.pcr/7", OK: true})
	var got []string
	for name := range claimsOf(t, must(r.Sign(base, s, now))) {
		if strings.HasPrefix(name, "strongroom_measurement_") {
			got = append(got, name)
		}
	}
	if !slices.Equal(got, []string{"strongroom_measurement_pcr_7"}) {
		t.Errorf("measurements %v", got)
	}
}

func TestConfirmations(t *testing.T) {
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	public := must(json.Marshal(jose.JSONWebKey{Key: &private.PublicKey, KeyID: "theirs", Algorithm: "ES256"}))
	c := must(ear.ConfirmJWK(public))
	if strings.Contains(string(c.JWK()), "theirs") || c.Thumbprint().IsZero() {
		t.Errorf("confirmation %s", c.JWK())
	}
	pair := must(ear.ConfirmRoom(must(keys.GenerateSigningKey(keys.Ed25519MLDSA)).Public()))
	if pair.JWK() != nil || !pair.Thumbprint().IsZero() {
		t.Error("half a pair of keys as a JWK")
	}
	small := `{"kty":"RSA","n":"` + base64.RawURLEncoding.EncodeToString(append([]byte{0xff}, make([]byte, 127)...)) + `","e":"AQAB"}`
	for what, text := range map[string]string{
		"nothing": "", "a private key": string(must(json.Marshal(jose.JSONWebKey{Key: private}))), "a secret": `{"kty":"oct","k":"AAAA"}`, "a small RSA key": small, "another document": `{}`,
	} {
		_, err := ear.ConfirmJWK([]byte(text))
		fails(t, what, err, verdict.Usage, "token.key-binding")
	}
	for what, text := range map[string]string{"nothing": "", "no key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "a certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		_, err := ear.ConfirmPEM([]byte(text))
		fails(t, what, err, verdict.Usage, "token.key-binding")
	}
}
