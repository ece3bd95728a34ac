package ear_test

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"strongroom.dev/agreement"
	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/ear"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

const (
	base     = "https://attest.example.org"
	audience = "https://vault.example.org"
)

// now is the time of every test.
var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// result is one of a good room, judged by a policy.
func result() appraise.Result {
	return appraise.Result{
		Verdict: attest.Affirming, Platform: "snp", Class: agreement.Confidential, Excludes: []string{"host administrator"}, Trusts: []string{"AMD"},
		Machine: "c0ffee", Generation: "Genoa", Root: wire.HashOf([]byte("root")).String(), Measurements: map[string]string{"measurement": "aa11"},
		Claims: map[string]any{},
		Checks: []verdict.Check{{ID: "snp.signature", OK: true}, {ID: "snp.debug", OK: true}, {ID: "snp.chip_id", OK: true}, {ID: "freshness", OK: true}, {ID: "class", OK: true},
			{ID: "policy.platform", OK: true}, {ID: "policy.measurement.measurement", OK: true}, {ID: "policy.machine", OK: true}, {ID: "policy.rule.vmpl", OK: true}},
		Policy: &appraise.PolicyName{ID: "rooms", Version: 3, Digest: wire.DigestOf([]byte("policy"))}, At: wire.At(now),
	}
}

func roomKey(t testing.TB) *keys.SigningKey {
	t.Helper()
	return must(keys.GenerateSigningKey(keys.Ed25519))
}

func statement(t testing.TB) ear.Statement {
	t.Helper()
	return ear.Statement{
		Results: []appraise.Result{result()}, Evidence: wire.DigestOf([]byte("evidence")), InitData: []byte{1, 2}, ReportData: []byte{3, 4}, Freshness: ear.ByService, Nonce: make([]byte, 32),
		Audience: audience, Confirmation: must(ear.ConfirmRoom(roomKey(t).Public())), Verifier: "test",
	}
}

func ring(t testing.TB, shape ear.Shape, a ear.Algorithm) ear.Ring {
	t.Helper()
	r, changed, err := ear.Ring{}.Advance(shape, a, ear.Usual(), now.Add(-time.Hour))
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	return r
}

func keySet(t testing.TB, r ear.Ring) ear.KeySet {
	t.Helper()
	return must(ear.ParseKeySet(must(r.KeySet())))
}

func expect(t testing.TB, shape ear.Shape, r ear.Ring) ear.Expect {
	t.Helper()
	return ear.Expect{Shape: shape, Base: base, Audience: audience, Keys: keySet(t, r), Now: now.Add(time.Minute)}
}

// forger signs whatever a test likes with a ring's own key, which only the issuer has.
type forger struct {
	private crypto.Signer
	id      string
}

func forge(t testing.TB, r ear.Ring) forger {
	t.Helper()
	var stored struct {
		Keys []struct {
			PKCS8 []byte `json:"pkcs8"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(must(r.MarshalSecret()), &stored); err != nil {
		t.Fatal(err)
	}
	private := must(x509.ParsePKCS8PrivateKey(stored.Keys[0].PKCS8)).(crypto.Signer)
	print := must((&jose.JSONWebKey{Key: private.Public()}).Thumbprint(crypto.SHA256))
	return forger{private, base64.RawURLEncoding.EncodeToString(print)}
}

func (f forger) sign(a ear.Algorithm, payload []byte, headers map[jose.HeaderKey]any) string {
	opts := &jose.SignerOptions{ExtraHeaders: headers}
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: a, Key: jose.JSONWebKey{Key: f.private, KeyID: f.id}}, opts))
	return must(must(signer.Sign(payload)).CompactSerialize())
}

// claimsOf gives a token's claims, unverified.
func claimsOf(t testing.TB, token string) map[string]any {
	t.Helper()
	object := must(jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{ear.ES256, ear.ES384, ear.PS384, ear.RS256}))
	var c map[string]any
	if err := json.Unmarshal(object.UnsafePayloadWithoutVerification(), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// fails demands an error about one check, with all that people need.
func fails(t *testing.T, what string, err error, kind verdict.Kind, check string) {
	t.Helper()
	var e *verdict.Error
	if !errors.As(err, &e) || e.Check != check || e.Kind != kind || e.Expected == "" || e.Got == "" || e.Fix == "" {
		t.Errorf("%s: %v, expected one of kind %v about %s that says what to do", what, err, kind, check)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
