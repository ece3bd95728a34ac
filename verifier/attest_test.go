package verifier_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/ear"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// good is a request that gives a token.
func good(w *world) (verifier.Request, attester) {
	a := newAttester()
	c := must(w.Challenge(verifier.ChallengeRequest{Audience: vault}))
	return verifier.Request{Evidence: a.evidence("snp", c.Challenge, false).bytes(), Challenge: c.Challenge, Key: a.jwk, Policy: "rooms", Audience: vault}, a
}

func TestToken(t *testing.T) {
	w := newWorld(t, nil)
	w.inForce(rooms)
	r, a := good(w)
	answer, err := w.Attest(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	token, err := w.verify(answer.Token, ear.EAR(), vault)
	if err != nil {
		t.Fatal(err)
	}
	want := must(ear.ConfirmJWK(a.jwk))
	if token.Confirmation.ID() != want.ID() || token.Policy != "rooms" || token.Platform != "snp" || answer.Vector.Executables != 3 || answer.Sealed != nil {
		t.Errorf("%+v %+v", token, answer)
	}
	nonce := attest.NonceOf(r.Challenge)
	if !bytes.Equal(token.Nonce, nonce[:]) {
		t.Error("the token has another nonce")
	}
	if _, err := w.verify(answer.Token, ear.EAR(), "https://other.example.org"); err == nil {
		t.Error("a token for one audience is good for another")
	}
}

// TestRefuses is the good request with one thing wrong.
func TestRefuses(t *testing.T) {
	w := newWorld(t, nil)
	w.inForce(rooms)
	another := newWorld(t, nil)
	other := newAttester()
	const usage, refused, invalid = verdict.Usage, verdict.Refused, verdict.Invalid
	for what, c := range map[string]struct {
		change func(r *verifier.Request, a attester)
		kind   verdict.Kind
		check  string
	}{
		"no evidence":         {func(r *verifier.Request, _ attester) { r.Evidence = nil }, invalid, "evidence.form"},
		"evidence of no kind": {func(r *verifier.Request, _ attester) { r.Evidence = []byte("hello") }, invalid, "evidence.form"},
		"forged evidence": {func(r *verifier.Request, a attester) {
			f := a.evidence("snp", r.Challenge, false)
			f.Forged = true
			r.Evidence = f.bytes()
		}, invalid, "snp.signature"},
		"a check failed": {func(r *verifier.Request, a attester) {
			f := a.evidence("snp", r.Challenge, false)
			f.Failed = "snp.tcb"
			r.Evidence = f.bytes()
		}, refused, "snp.tcb"},
		"for another challenge": {func(r *verifier.Request, a attester) { r.Evidence = a.evidence("snp", []byte("other"), false).bytes() }, refused, "freshness"},
		"with another's key": {func(r *verifier.Request, _ attester) {
			r.Key = []byte(`{"crv":"P-256","kty":"EC","x":"usWxHK2PmfnHKwXPS54m0kTcGJ90UiglWiGahtagnv8","y":"IBOL-C3BttVivg-lSreASjpkttcsz-1rb7btKLv8EX4"}`)
		}, refused, "freshness"},
		"an HPKE key slipped in":  {func(r *verifier.Request, _ attester) { k := other.hpke.Public(); r.HPKE = &k }, refused, "freshness"},
		"no challenge":            {func(r *verifier.Request, _ attester) { r.Challenge = nil }, usage, "attestation.freshness"},
		"challenge and nonce":     {func(r *verifier.Request, _ attester) { r.Nonce = make([]byte, 32) }, usage, "attestation.freshness"},
		"report data for a token": {func(r *verifier.Request, _ attester) { r.Challenge, r.ReportData = nil, []byte{1} }, usage, "attestation.freshness"},
		"a short nonce":           {func(r *verifier.Request, _ attester) { r.Challenge, r.Nonce = nil, []byte("15 bytes of it.") }, usage, "attestation.nonce"},
		"another service's challenge": {func(r *verifier.Request, _ attester) {
			r.Challenge = must(another.Challenge(verifier.ChallengeRequest{Audience: vault})).Challenge
		}, invalid, "challenge.known"},
		"challenge for another audience": {func(r *verifier.Request, _ attester) {
			r.Challenge = must(w.Challenge(verifier.ChallengeRequest{Audience: "https://other"})).Challenge
		}, invalid, "challenge.known"},
		"challenge for another purpose": {func(r *verifier.Request, _ attester) {
			r.Challenge = must(w.Challenge(verifier.ChallengeRequest{Audience: vault, Purpose: attest.ForRelease})).Challenge
		}, invalid, "challenge.known"},
		"an altered challenge":        {func(r *verifier.Request, _ attester) { r.Challenge[50] ^= 1 }, invalid, "challenge.known"},
		"a challenge cut off":         {func(r *verifier.Request, _ attester) { r.Challenge = r.Challenge[:40] }, invalid, "challenge.known"},
		"no key":                      {func(r *verifier.Request, _ attester) { r.Key = nil }, usage, "attestation.key"},
		"a key that is none":          {func(r *verifier.Request, _ attester) { r.Key = []byte(`{}`) }, usage, "token.key-binding"},
		"an HPKE key alone":           {func(r *verifier.Request, _ attester) { k := other.hpke.Public(); r.Key, r.HPKE = nil, &k }, usage, "attestation.key"},
		"no such policy":              {func(r *verifier.Request, _ attester) { r.Policy = "other" }, refused, "appraisal.policies"},
		"another shape":               {func(r *verifier.Request, _ attester) { r.Shape = "maa" }, usage, "attestation.shape"},
		"bearer, not gated":           {func(r *verifier.Request, _ attester) { r.Shape = "federation" }, refused, "attestation.audience"},
		"a long audience":             {func(r *verifier.Request, _ attester) { r.Audience = string(make([]byte, 300)) }, usage, "attestation.audience"},
		"endorsements unknown":        {func(r *verifier.Request, _ attester) { r.Endorsements = []wire.Bytes{[]byte("x")} }, usage, "attestation.endorsements"},
		"endorsements too many":       {func(r *verifier.Request, _ attester) { r.Endorsements = slices.Repeat([]wire.Bytes{[]byte("x")}, 17) }, usage, "attestation.endorsements"},
		"a public key as endorsement": {func(r *verifier.Request, _ attester) { r.Endorsements = []wire.Bytes{[]byte(aPublicKey)} }, usage, "attestation.endorsements"},
	} {
		r, a := good(w)
		c.change(&r, a)
		_, err := w.Attest(context.Background(), r)
		fails(t, what, err, c.kind, c.check)
	}
	r, _ := good(w)
	w.now = w.now.Add(verifier.ChallengeLifetime + time.Second)
	_, err := w.Attest(context.Background(), r)
	fails(t, "an old challenge", err, refused, "challenge.expired")
}

const aPublicKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEusWxHK2PmfnHKwXPS54m0kTcGJ90
UiglWiGahtagnv8gE4v4LcG21WK+D6VKt4BKOmS21yzP7Wtvtu0ou/wRfg==
-----END PUBLIC KEY-----
`

// TestResultWithoutToken: without an audience the answer is the result, good or bad.
func TestResultWithoutToken(t *testing.T) {
	w := newWorld(t, nil)
	w.inForce(rooms)
	ctx := context.Background()
	c := must(w.Challenge(verifier.ChallengeRequest{}))
	nonce := attest.NonceOf(c.Challenge)
	plain := tale{Told: "snp", ReportData: append(nonce[:], make([]byte, 32)...)}
	answer, err := w.Attest(ctx, verifier.Request{Evidence: plain.bytes(), Challenge: c.Challenge, Policy: "rooms"})
	if err != nil || answer.Result.Verdict != attest.Affirming || answer.Token != "" || answer.Expires != nil {
		t.Errorf("%+v: %v", answer, err)
	}
	plain.Failed = "snp.tcb"
	answer, err = w.Attest(ctx, verifier.Request{Evidence: plain.bytes(), ReportData: plain.ReportData})
	if err != nil || answer.Result.Verdict != attest.Contraindicated || answer.Vector.Hardware != 96 {
		t.Errorf("%+v: %v", answer, err)
	}
}

func TestNonceOfTheRelyingParty(t *testing.T) {
	w := newWorld(t, nil)
	w.inForce(rooms)
	a, nonce := newAttester(), []byte("a nonce of the relying party....")
	r := verifier.Request{Evidence: a.evidence("snp", nonce, false).bytes(), Nonce: nonce, Key: a.jwk, Policy: "rooms", Audience: vault}
	answer, err := w.Attest(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.verify(answer.Token, ear.EAR(), vault)
	fails(t, "by one who chose no nonce", err, verdict.Invalid, "token.nonce")
	x := ear.Expect{Shape: ear.EAR(), Base: base, Audience: vault, Keys: must(ear.ParseKeySet(must(w.KeySet(ear.EAR())))), Now: w.now, Nonce: nonce}
	if _, err := ear.Verify(answer.Token, x); err != nil {
		t.Error(err)
	}
}

func TestFederation(t *testing.T) {
	gate := verifier.Gate{Shape: ear.Federation(), Audience: vault, Policy: "rooms"}
	w := newWorld(t, func(c *verifier.Config) { c.Gates = []verifier.Gate{gate} })
	ctx, a := context.Background(), newAttester()
	hpke := a.hpke.Public()
	ask := func(change func(*verifier.Request, *tale)) (verifier.Answer, error) {
		c := must(w.Challenge(verifier.ChallengeRequest{Audience: vault}))
		r := verifier.Request{Challenge: c.Challenge, Key: a.jwk, HPKE: &hpke, Audience: vault, Shape: "federation"}
		e := a.evidence("snp", c.Challenge, true)
		if change != nil {
			change(&r, &e)
		}
		r.Evidence = e.bytes()
		return w.Attest(ctx, r)
	}
	_, err := ask(nil)
	fails(t, "before the policy is in force", err, verdict.Refused, "appraisal.policies")
	w.inForce(rooms)
	answer, err := ask(nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Token != "" || answer.Sealed == nil {
		t.Fatalf("a bearer token leaves in clear: %+v", answer)
	}
	token, err := w.verify(must(answer.Sealed.Open(a.hpke)), ear.Federation(), vault)
	if err != nil || token.Subject != "policy:rooms:platform:snp:class:confidential" {
		t.Errorf("%+v: %v", token, err)
	}
	for what, c := range map[string]struct {
		change func(*verifier.Request, *tale)
		check  string
		kind   verdict.Kind
	}{
		"no HPKE key":      {func(r *verifier.Request, e *tale) { r.HPKE = nil; *e = a.evidence("snp", r.Challenge, false) }, "token.sealing", verdict.Refused},
		"no init data":     {func(_ *verifier.Request, e *tale) { e.InitData = make([]byte, 32) }, "attestation.init-data", verdict.Refused},
		"another policy":   {func(r *verifier.Request, _ *tale) { r.Policy = "other" }, "attestation.policy", verdict.Refused},
		"another audience": {func(r *verifier.Request, _ *tale) { r.Audience = "https://other" }, "attestation.audience", verdict.Refused},
		"no audience":      {func(r *verifier.Request, _ *tale) { r.Audience = "" }, "attestation.audience", verdict.Usage},
		"a nonce of its own": {func(r *verifier.Request, e *tale) {
			r.Nonce, r.Challenge = r.Challenge[:32], nil
			*e = a.evidence("snp", r.Nonce, true)
		}, "token.freshness", verdict.Refused},
	} {
		_, err := ask(c.change)
		fails(t, what, err, c.kind, c.check)
	}
	// Where a platform has no init data, what it runs must be named.
	if _, err := ask(func(_ *verifier.Request, e *tale) { e.InitData = nil }); err != nil {
		t.Errorf("a named measurement in place of init data: %v", err)
	}
	w.inForce("id: rooms\nversion: 2\nplatforms:\n  snp: {}\n")
	_, err = ask(func(_ *verifier.Request, e *tale) { e.InitData = nil })
	fails(t, "neither", err, verdict.Refused, "attestation.init-data")
}

func TestSingleUse(t *testing.T) {
	for _, single := range []bool{false, true} {
		w := newWorld(t, func(c *verifier.Config) { c.SingleUse = single })
		w.inForce(rooms)
		ctx := context.Background()
		r, a := good(w)
		bad := r
		bad.Evidence = a.evidence("snp", []byte("other"), false).bytes()
		_, err := w.Attest(ctx, bad)
		fails(t, "what is refused uses nothing up", err, verdict.Refused, "freshness")
		if _, err := w.Attest(ctx, r); err != nil {
			t.Fatal(err)
		}
		openAgain(t, w)
		_, err = w.Attest(ctx, r)
		if !single {
			if err != nil {
				t.Errorf("stateless: %v", err)
			}
			continue
		}
		fails(t, "twice", err, verdict.Refused, "challenge.used")
		w.now = w.now.Add(2*verifier.ChallengeLifetime + time.Second)
		if err := w.Upkeep(ctx); err != nil {
			t.Fatal(err)
		}
		if left := must(w.store.List(ctx, verifier.TableRedeemed, "")); len(left) != 0 {
			t.Errorf("%d expired challenges are kept", len(left))
		}
		_, err = w.Attest(ctx, r)
		fails(t, "once forgotten", err, verdict.Refused, "challenge.expired")
	}
}

// TestRoom has evidence of the dev platform judged, made as a room makes it.
func TestRoom(t *testing.T) {
	root := must(keys.GenerateSigningKey(keys.Ed25519))
	w := newWorld(t, nil)
	w.inForce("id: dev\nversion: 1\nplatforms:\n  dev:\n    roots: ['" + root.Public().ID().String() + "']\n")
	room, hpke := must(keys.GenerateSigningKey(keys.ECDSAP256)), must(keys.GenerateHPKEKey())
	body := []byte(`{"agreement":"this one"}`)
	ask := func(change func(*verifier.Request)) (verifier.Answer, error) {
		c := must(w.Challenge(verifier.ChallengeRequest{Audience: vault, Purpose: attest.ForJoin}))
		b := attest.Binding{Purpose: attest.ForJoin, Nonce: attest.NonceOf(c.Challenge), Signing: room.Public(), HPKE: hpke.Public(),
			Agreement: wire.SHA384(agreement.AgreementType, body), Run: wire.DigestOf([]byte("run"))}
		e := must(dev.Sign(root, dev.Measurement{Agent: wire.DigestOf([]byte("agent"))}, attest.InitData(body), b.ReportData()))
		r := verifier.Request{Evidence: must(wire.Marshal(e)), Challenge: c.Challenge, Policy: "dev", Audience: vault,
			Room: &verifier.Room{Purpose: b.Purpose, Signing: b.Signing, HPKE: b.HPKE, Agreement: body, Run: b.Run}}
		if change != nil {
			change(&r)
		}
		return w.Attest(context.Background(), r)
	}
	answer, err := ask(nil)
	if err != nil {
		t.Fatal(err)
	}
	x := ear.Expect{Shape: ear.EAR(), Base: base, Audience: vault, Keys: must(ear.ParseKeySet(must(w.KeySet(ear.EAR())))), Now: w.now, AcceptWarning: true}
	_, err = ear.Verify(answer.Token, x)
	fails(t, "software", err, verdict.Refused, "token.class")
	x.InsecureAcceptSoftware = true
	token, err := ear.Verify(answer.Token, x)
	if err != nil || !token.Confirmation.Binds(room.Public()) || !bytes.Contains(token.Claims, []byte(`"strongroom_agreement":"sha384:`)) || !bytes.Contains(token.Claims, []byte(`"strongroom_purpose":"join"`)) {
		t.Errorf("%s %v", token.Claims, err)
	}
	for what, c := range map[string]struct {
		change func(*verifier.Request)
		kind   verdict.Kind
		check  string
	}{
		"another agreement":      {func(r *verifier.Request) { r.Room.Agreement = []byte(`{}`) }, verdict.Invalid, "evidence.init-data"},
		"another run":            {func(r *verifier.Request) { r.Room.Run = wire.DigestOf([]byte("x")) }, verdict.Refused, "freshness"},
		"another signing key":    {func(r *verifier.Request) { r.Room.Signing = root.Public() }, verdict.Refused, "freshness"},
		"another HPKE key":       {func(r *verifier.Request) { r.Room.HPKE = must(keys.GenerateHPKEKey()).Public() }, verdict.Refused, "freshness"},
		"another purpose":        {func(r *verifier.Request) { r.Room.Purpose = attest.ForRelease }, verdict.Invalid, "challenge.known"},
		"no agreement":           {func(r *verifier.Request) { r.Room.Agreement = nil }, verdict.Usage, "attestation.room"},
		"a room and a key":       {func(r *verifier.Request) { r.Key = []byte(theirJWK) }, verdict.Usage, "attestation.key"},
		"software, no policy":    {func(r *verifier.Request) { r.Policy = "" }, verdict.Refused, "class"},
		"no purpose of a room's": {func(r *verifier.Request) { r.Room.Purpose = "token" }, verdict.Usage, "attestation.room"},
	} {
		_, err := ask(c.change)
		fails(t, what, err, c.kind, c.check)
	}
}

// TestEndorsementsAtOnce: requests that bring endorsements have few places, and leave them.
func TestEndorsementsAtOnce(t *testing.T) {
	inside, finish := make(chan struct{}, 8), make(chan struct{})
	slow := func(set endorse.Set) []attest.Examiner {
		x := told("snp")
		if set.Len() == 0 {
			return []attest.Examiner{x}
		}
		examine := x.Examine
		x.Examine = func(data []byte, now time.Time) (attest.Finding, error) {
			inside <- struct{}{}
			<-finish
			return examine(data, now)
		}
		return []attest.Examiner{x}
	}
	w := newWorld(t, func(c *verifier.Config) { c.Table = slow })
	w.inForce(rooms)
	r, _ := good(w)
	r.Endorsements = []wire.Bytes{[]byte(aCertificate(t))}
	done := make(chan error, 2)
	for range 2 {
		go func() { _, err := w.Attest(context.Background(), r); done <- err }()
		<-inside
	}
	_, err := w.Attest(context.Background(), r)
	fails(t, "a third", err, verdict.Refused, "attestation.busy")
	if !errors.Is(err, verifier.ErrBusy) {
		t.Error("not known as busy")
	}
	plain, _ := good(w)
	if _, err := w.Attest(context.Background(), plain); err != nil {
		t.Errorf("one that brings none: %v", err)
	}
	close(finish)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := w.Attest(context.Background(), r); err != nil {
		t.Errorf("after them: %v", err)
	}
}

// aCertificate is one that nobody asks for, in PEM.
func aCertificate(t *testing.T) string {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "SEV-Milan"}}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))}))
}

func TestChallengeRefuses(t *testing.T) {
	w := newWorld(t, nil)
	_, err := w.Challenge(verifier.ChallengeRequest{Purpose: "ita"})
	fails(t, "a purpose that is not for asking", err, verdict.Usage, "challenge.purpose")
	_, err = w.Challenge(verifier.ChallengeRequest{Audience: "a\nb"})
	fails(t, "an audience of two lines", err, verdict.Usage, "attestation.audience")
	c := must(w.Challenge(verifier.ChallengeRequest{}))
	if bytes.Equal(c.Challenge, must(w.Challenge(verifier.ChallengeRequest{})).Challenge) || len(c.Challenge) > verifier.MaxChallenge {
		t.Error("two challenges are the same, or too long")
	}
}

func TestConfigRefuses(t *testing.T) {
	w := newWorld(t, nil)
	gate := verifier.Gate{Shape: ear.MAA(), Audience: vault, Policy: "rooms"}
	for check, change := range map[string]func(*verifier.Config){
		"issuer":             func(c *verifier.Config) { c.Base = "" },
		"attestation.config": func(c *verifier.Config) { c.EAR = "" },
		"token.rotation":     func(c *verifier.Config) { c.Rotation = ear.Rotation{} },
		"attestation.gates": func(c *verifier.Config) {
			c.Gates = []verifier.Gate{gate, {Shape: ear.MAA(), Audience: "other", Policy: "rooms"}}
		},
	} {
		cfg := w.cfg
		change(&cfg)
		_, err := verifier.Open(context.Background(), cfg)
		fails(t, check, err, verdict.Usage, check)
	}
	cfg := w.cfg
	cfg.Federation = ear.PS384
	_, err := verifier.Open(context.Background(), cfg)
	fails(t, "an algorithm of another shape", err, verdict.Usage, "attestation.config")
	cfg.Federation, cfg.Gates = ear.RS256, []verifier.Gate{{Shape: ear.Federation(), Audience: vault, Policy: "rooms"}}
	if set := string(must(must(verifier.Open(context.Background(), cfg)).KeySet(ear.Federation()))); !strings.Contains(set, `"RS256"`) {
		t.Errorf("key set %s", set)
	}
	for what, gates := range map[string][]verifier.Gate{
		"an EAR gate": {{Shape: ear.EAR(), Audience: vault, Policy: "rooms"}}, "no policy": {{Shape: ear.MAA(), Audience: vault}},
		"no audience": {{Shape: ear.Federation(), Policy: "rooms"}}, "twice": {{ear.Federation(), vault, "rooms"}, {ear.Federation(), vault, "other"}},
	} {
		cfg := w.cfg
		cfg.Gates = gates
		_, err := verifier.Open(context.Background(), cfg)
		fails(t, what, err, verdict.Usage, "attestation.gates")
	}
}
