package release_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/policy"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

func address() release.Address {
	return release.Address{Broker: "alpha", Nonce: wire.HashOf([]byte("n")), Evidence: wire.DigestOf([]byte("e")), Agreement: wire.DigestOf([]byte("a")), Run: wire.DigestOf([]byte("r")),
		Input: "rows", Header: wire.HashOf([]byte("h")), ReleaseID: releaseID, LeaseMS: 3000}
}

// A key opens for the very address it was sealed to and for no other: every field counts.
func TestKeysAreAddressed(t *testing.T) {
	room := hpkeKey(t)
	plain := append(bytes.Repeat([]byte{7}, 16), bytes.Repeat([]byte{9}, 32)...)
	seal := func(a release.Address, plain []byte) release.SealedKey {
		t.Helper()
		sealed, err := room.Public().Seal(a.Info(), plain)
		if err != nil {
			t.Fatal(err)
		}
		return release.SealedKey{Input: a.Input, Header: a.Header, Sealed: sealed}
	}
	sealed := seal(address(), plain)
	m, err := release.OpenKey(room, address(), sealed)
	if err != nil {
		t.Fatal(err)
	}
	if m.FileKey() != [16]byte(plain[:16]) || m.RunSecret() != [32]byte(plain[16:]) {
		t.Error("other key material came out")
	}
	m.Wipe()
	if m.FileKey() != [16]byte{} || m.RunSecret() != [32]byte{} {
		t.Error("wiped key material is still there")
	}

	infos := map[string]string{string(address().Info()): "none"}
	for field, change := range map[string]func(*release.Address){
		"broker":     func(a *release.Address) { a.Broker = "beta" },
		"nonce":      func(a *release.Address) { a.Nonce[0] ^= 1 },
		"evidence":   func(a *release.Address) { a.Evidence[0] ^= 1 },
		"agreement":  func(a *release.Address) { a.Agreement[0] ^= 1 },
		"run":        func(a *release.Address) { a.Run[0] ^= 1 },
		"input":      func(a *release.Address) { a.Input = "more" },
		"header":     func(a *release.Address) { a.Header[0] ^= 1 },
		"release id": func(a *release.Address) { a.ReleaseID = runID },
		"lease":      func(a *release.Address) { a.LeaseMS++ },
	} {
		a := address()
		change(&a)
		if other, found := infos[string(a.Info())]; found {
			t.Errorf("%s: same info as %s", field, other)
		}
		infos[string(a.Info())] = field
		moved := sealed
		moved.Input, moved.Header = a.Input, a.Header // a host would relabel it
		_, err := release.OpenKey(room, a, moved)
		refusedBy(t, "another "+field, err, "grant.key")
	}
	_, err = release.OpenKey(hpkeKey(t), address(), sealed)
	refusedBy(t, "another room", err, "grant.key")
	_, err = release.OpenKey(nil, address(), sealed)
	refusedBy(t, "no room key", err, "grant.key")
	for name, bad := range map[string]release.SealedKey{
		"short":         {Input: sealed.Input, Header: sealed.Header, Sealed: sealed.Sealed[1:]},
		"empty":         {Input: sealed.Input, Header: sealed.Header},
		"altered":       {Input: sealed.Input, Header: sealed.Header, Sealed: append([]byte{1}, sealed.Sealed[1:]...)},
		"shorter plain": seal(address(), plain[:47]),
		"longer plain":  seal(address(), append(plain, 0)),
		"relabelled":    {Input: "more", Header: sealed.Header, Sealed: sealed.Sealed},
		"other header":  {Input: sealed.Input, Sealed: sealed.Sealed},
	} {
		_, err := release.OpenKey(room, address(), bad)
		refusedBy(t, name, err, "grant.key")
	}
}

func TestSealKeyNeedsAGrant(t *testing.T) {
	_, err := release.SealKey(policy.Redeemed{}, "rows", release.NewKeyMaterial([16]byte{1}, [32]byte{2}))
	refusedBy(t, "the zero grant", err, "grant")
}

func TestKeyMaterialIsRedacted(t *testing.T) {
	m := release.NewKeyMaterial([16]byte{0xab, 0xab}, [32]byte{0xcd, 0xcd})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		if text := fmt.Sprintf(verb, m); !strings.Contains(text, "redacted") {
			t.Errorf("%s prints %s", verb, text)
		}
	}
	if text, err := json.Marshal(m); err == nil {
		t.Errorf("key material became %s", text)
	}
}

// conversation is one request and what is known of it when the answer comes.
func conversation(t *testing.T) (room *keys.HPKEPrivateKey, asked release.Asked) {
	t.Helper()
	signing, hpke := signingKey(t), hpkeKey(t)
	_, sent, err := release.NewRequest(signing, request(signing, hpke.Public()))
	if err != nil {
		t.Fatal(err)
	}
	return hpke, release.Asked{Request: sent, Challenge: release.Challenge{TimeMS: now.UnixMilli()}, Agreement: wire.DigestOf([]byte("a")), Run: wire.DigestOf([]byte("r")), MaxLeaseMS: 3000}
}

// granted answers a request as its broker would.
func granted(t *testing.T, asked release.Asked) release.Granted {
	t.Helper()
	g := release.Granted{Version: release.Version, Broker: "alpha", ReleaseID: releaseID, Request: asked.Request.Digest(), TimeMS: now.UnixMilli() + 10, LeaseMS: 3000, Receipt: receipt()}
	for i, in := range asked.Request.Inputs {
		a := release.Address{Broker: "alpha", Nonce: attest.NonceOf(asked.Request.Challenge), Evidence: asked.Request.Evidence.Digest(), Agreement: asked.Agreement, Run: asked.Run,
			Input: in.Input, Header: wire.HashOf(in.Header), ReleaseID: releaseID, LeaseMS: 3000}
		sealed, err := asked.Request.Room.HPKE.Seal(a.Info(), bytes.Repeat([]byte{byte(i + 1)}, 48))
		if err != nil {
			t.Fatal(err)
		}
		g.Releases = append(g.Releases, release.SealedKey{Input: in.Input, Header: a.Header, Sealed: sealed})
	}
	return g
}

func TestGrant(t *testing.T) {
	room, asked := conversation(t)
	broker := signingKey(t)
	data, err := release.NewGrant(broker, granted(t, asked))
	if err != nil {
		t.Fatal(err)
	}
	g, err := release.VerifyGrant(data, broker.Public(), asked)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := g.Open(room, asked)
	if err != nil || len(opened) != 2 || opened[0].FileKey()[0] != 1 || opened[1].RunSecret()[31] != 2 {
		t.Errorf("%v %v", opened, err)
	}
	// The verified grant of another run: signed, well-formed, and its keys stay shut.
	asked.Run = wire.DigestOf([]byte("another"))
	if opened, err := g.Open(room, asked); err == nil || opened != nil {
		t.Error("keys for another run opened")
	}
}

func TestGrantRefused(t *testing.T) {
	_, asked := conversation(t)
	broker := signingKey(t)
	for name, test := range map[string]struct {
		change func(*release.Granted)
		check  string
	}{
		"version":           {func(g *release.Granted) { g.Version = "strongroom/release/v0" }, "message.version"},
		"broker":            {func(g *release.Granted) { g.Broker = "beta" }, "grant.request"},
		"request":           {func(g *release.Granted) { g.Request[0] ^= 1 }, "grant.request"},
		"zero request":      {func(g *release.Granted) { g.Request = wire.Digest{} }, "message.form"},
		"release id":        {func(g *release.Granted) { g.ReleaseID = runID }, "grant.request"},
		"no time":           {func(g *release.Granted) { g.TimeMS = 0 }, "message.form"},
		"before challenge":  {func(g *release.Granted) { g.TimeMS = now.UnixMilli() - 1 }, "grant.time"},
		"long after":        {func(g *release.Granted) { g.TimeMS += 5 * 60 * 1000 }, "grant.time"},
		"no lease":          {func(g *release.Granted) { g.LeaseMS = 0 }, "message.form"},
		"longer lease":      {func(g *release.Granted) { g.LeaseMS = 3001 }, "grant.lease"},
		"no keys":           {func(g *release.Granted) { g.Releases = []release.SealedKey{} }, "message.form"},
		"key left out":      {func(g *release.Granted) { g.Releases = g.Releases[:1] }, "grant.inputs"},
		"key twice":         {func(g *release.Granted) { g.Releases[1] = g.Releases[0] }, "grant.inputs"},
		"keys swapped":      {func(g *release.Granted) { g.Releases[0], g.Releases[1] = g.Releases[1], g.Releases[0] }, "grant.inputs"},
		"keys relabelled":   {func(g *release.Granted) { g.Releases[0].Header[0] ^= 1 }, "grant.inputs"},
		"key more":          {func(g *release.Granted) { g.Releases = append(g.Releases, g.Releases[0]) }, "grant.inputs"},
		"key of other size": {func(g *release.Granted) { g.Releases[0].Sealed = g.Releases[0].Sealed[:100] }, "message.form"},
		"no receipt":        {func(g *release.Granted) { g.Receipt.Checkpoint = "" }, "message.form"},
		"receipt index":     {func(g *release.Granted) { g.Receipt.Index = -1 }, "message.form"},
		"receipt's proof":   {func(g *release.Granted) { g.Receipt.Proof = make([]wire.Hash, release.MaxProof+1) }, "message.form"},
	} {
		g := granted(t, asked)
		test.change(&g)
		doc, err := keys.NewDocument(release.GrantType, g)
		if err != nil {
			t.Fatal(err)
		}
		if err := doc.Sign(broker); err != nil {
			t.Fatal(err)
		}
		data, err := doc.Encode()
		if err != nil {
			t.Fatal(err)
		}
		_, err = release.VerifyGrant(data, broker.Public(), asked)
		refusedBy(t, name, err, test.check)
	}

	data, err := release.NewGrant(broker, granted(t, asked))
	if err != nil {
		t.Fatal(err)
	}
	_, err = release.VerifyGrant(data, signingKey(t).Public(), asked)
	refusedBy(t, "another key", err, "message.signature")
	_, err = release.VerifyGrant(bytes.Replace(data, []byte(`"lease_ms":3000`), []byte(`"lease_ms":2000`), 1), broker.Public(), asked)
	refusedBy(t, "altered", err, "message.signature")
	_, err = release.VerifyGrant(data, broker.Public(), release.Asked{})
	refusedBy(t, "nothing asked", err, "grant")
	noLease := asked
	noLease.MaxLeaseMS = 0
	_, err = release.VerifyGrant(data, broker.Public(), noLease)
	refusedBy(t, "no lease agreed", err, "grant")
	_, err = release.VerifyGrant(nil, broker.Public(), asked)
	refusedBy(t, "nothing", err, "message.form")
	_, err = release.VerifyGrant(make([]byte, release.MaxGrant+1), broker.Public(), asked)
	refusedBy(t, "too long", err, "message.form")
	if _, err := release.NewGrant(broker, release.Granted{}); err == nil {
		t.Error("an empty grant was signed")
	}
}

// A keeper's grant brings the run secret and no key.
func TestGrantWithoutInputs(t *testing.T) {
	signing, hpke := signingKey(t), hpkeKey(t)
	r := request(signing, hpke.Public())
	r.Inputs = nil
	_, sent, err := release.NewRequest(signing, r)
	if err != nil {
		t.Fatal(err)
	}
	asked := release.Asked{Request: sent, Challenge: release.Challenge{TimeMS: now.UnixMilli()}, Agreement: wire.DigestOf([]byte("a")), Run: wire.DigestOf([]byte("r")), MaxLeaseMS: 3000}
	broker := signingKey(t)
	address, err := asked.Address("", 3000)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := hpke.Public().Seal(address.Info(), append(make([]byte, 16), bytes.Repeat([]byte{9}, 32)...))
	if err != nil {
		t.Fatal(err)
	}
	verify := func(asked release.Asked, change func(*release.Granted)) (release.Granted, error) {
		t.Helper()
		g := granted(t, asked)
		g.Releases, g.Secret = []release.SealedKey{}, secret
		change(&g)
		doc, err := keys.NewDocument(release.GrantType, g)
		if err != nil {
			t.Fatal(err)
		}
		if err := doc.Sign(broker); err != nil {
			t.Fatal(err)
		}
		data, err := doc.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return release.VerifyGrant(data, broker.Public(), asked)
	}
	key := release.SealedKey{Input: "rows", Sealed: make([]byte, len(secret))}
	for name, test := range map[string]struct {
		change func(*release.Granted)
		check  string
	}{
		"nothing":        {func(g *release.Granted) { g.Secret = nil }, "message.form"},
		"short":          {func(g *release.Granted) { g.Secret = g.Secret[1:] }, "message.form"},
		"a key":          {func(g *release.Granted) { g.Secret, g.Releases = nil, []release.SealedKey{key} }, "grant.inputs"},
		"a key and more": {func(g *release.Granted) { g.Releases = []release.SealedKey{key} }, "message.form"},
	} {
		_, err := verify(asked, test.change)
		refusedBy(t, name, err, test.check)
	}
	_, withInputs := conversation(t)
	_, err = verify(withInputs, func(*release.Granted) {})
	refusedBy(t, "a secret in place of keys", err, "grant.inputs")

	g, err := verify(asked, func(*release.Granted) {})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := g.Open(hpke, asked)
	if err != nil || len(opened) != 1 || opened[0].FileKey() != [16]byte{} || opened[0].RunSecret()[31] != 9 {
		t.Errorf("%v %v", opened, err)
	}
	asked.Run = wire.DigestOf([]byte("another"))
	if _, err := g.Open(hpke, asked); err == nil {
		t.Error("the secret of another run opened")
	}
	if _, err := withInputs.Address("", 3000); err == nil {
		t.Error("an address of no input beside inputs")
	}
	_, err = release.SealSecret(policy.Redeemed{}, [32]byte{1})
	refusedBy(t, "the zero grant", err, "grant")
}

func FuzzVerifyGrant(f *testing.F) {
	broker := signingKey(f)
	f.Add([]byte(`{"body":{},"signatures":[],"type":"strongroom/release-grant/v1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		asked := release.Asked{Request: &release.SignedRequest{}, MaxLeaseMS: 1}
		if g, err := release.VerifyGrant(data, broker.Public(), asked); err == nil {
			t.Errorf("a grant nobody signed: %+v", g)
		}
	})
}
