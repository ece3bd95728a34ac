package server_test

import (
	"context"
	"net"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/client"
	"strongroom.dev/ear"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/server"
	"strongroom.dev/store/attestation"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// TestOthersTakeTokens has the OpenID Connect library that vaults and proxies use discover the
// issuer and check a token, knowing nothing of us: what they gate on is there.
func TestOthersTakeTokens(t *testing.T) {
	for _, algorithm := range ear.Federation().Algorithms {
		t.Run(string(algorithm), func(t *testing.T) { othersTake(t, algorithm) })
	}
}

func othersTake(t *testing.T, algorithm ear.Algorithm) {
	ctx := context.Background()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	base := "http://" + listener.Addr().String()
	store := must(attestation.Open(filepath.Join(t.TempDir(), "state.db"), time.Second))
	t.Cleanup(func() { store.Close() })
	root, signing, hpke := must(keys.GenerateSigningKey(keys.Ed25519)), must(keys.GenerateSigningKey(keys.ECDSAP256)), must(keys.GenerateHPKEKey())
	s := must(verifier.Open(ctx, verifier.Config{Base: base, Store: store, EAR: ear.ES256, Federation: algorithm, Rotation: ear.Usual(), Build: "test", Now: time.Now,
		Table: func(endorse.Set) []attest.Examiner { return []attest.Examiner{dev.Examiner()} },
		Gates: []verifier.Gate{{Shape: ear.Federation(), Audience: vaultAudience, Policy: "dev"}, {Shape: ear.Federation(), Audience: "sts.amazonaws.com", Policy: "dev"}}}))
	must(s.AddPolicy(ctx, "dev", []byte("id: dev\nversion: 1\nplatforms:\n  dev:\n    roots: ['"+root.Public().ID().String()+"']\n")))
	must(s.Activate(ctx, "dev", 1))
	h := httptest.NewUnstartedServer(server.NewAttestation(s, server.AttestationLimits{}, nil).Handler())
	h.Listener.Close()
	h.Listener = listener
	h.Start()
	t.Cleanup(h.Close)

	c := client.NewAttestation(base, nil)
	token := func(audience string) string {
		challenge := must(c.Challenge(ctx, verifier.ChallengeRequest{Audience: audience, Purpose: attest.ForJoin}))
		body := []byte(`{}`)
		b := attest.Binding{Purpose: attest.ForJoin, Nonce: attest.NonceOf(challenge.Challenge), Signing: signing.Public(), HPKE: hpke.Public(), Agreement: wire.SHA384(agreement.AgreementType, body)}
		e := must(dev.Sign(root, dev.Measurement{Agent: wire.DigestOf([]byte("agent"))}, attest.InitData(body), b.ReportData()))
		answer := must(c.Attest(ctx, verifier.Request{Evidence: must(wire.Marshal(e)), Challenge: challenge.Challenge, Audience: audience, Shape: "federation",
			Room: &verifier.Room{Purpose: b.Purpose, Signing: b.Signing, HPKE: b.HPKE, Agreement: body}}))
		return must(answer.Sealed.Open(hpke))
	}
	provider, err := oidc.NewProvider(ctx, base+"/federation")
	if err != nil {
		t.Fatal(err)
	}
	vault := provider.Verifier(&oidc.Config{ClientID: vaultAudience})
	id, err := vault.Verify(ctx, token(vaultAudience))
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Policy   string `json:"strongroom_policy"`
		Class    string `json:"strongroom_class"`
		Verdict  string `json:"strongroom_verdict"`
		Insecure bool   `json:"strongroom_insecure"`
	}
	if err := id.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if id.Subject != "policy:dev:platform:dev:class:software" || claims.Policy != "dev" || claims.Class != "software" || claims.Verdict != "warning" || !claims.Insecure {
		t.Errorf("%+v %+v", id, claims)
	}
	if _, err := vault.Verify(ctx, token("sts.amazonaws.com")); err == nil {
		t.Error("a token for a cloud is taken by a vault")
	}
	if _, err := oidc.NewProvider(ctx, base+"/maa"); err == nil {
		t.Error("a shape that is off can be discovered")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
