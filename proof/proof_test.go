package proof_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/privacy"
	"strongroom.dev/proof"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func TestVerifyAccepts(t *testing.T) {
	w := newWorld(t)
	b := w.bundle()
	encoded, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = proof.ParseBundle(encoded); err != nil {
		t.Fatal(err)
	}
	p, err := proof.Verify(b, w.trust(), start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if p.Class != agreement.Software || p.Run.RunID != w.run.RunID || !p.Time.Equal(start) {
		t.Errorf("proven %v %v %v", p.Class, p.Run.RunID, p.Time)
	}
	for _, c := range p.Checks {
		if !c.OK {
			t.Errorf("check %s is listed as failed", c.ID)
		}
	}
	if err := p.CheckFile(wire.HashOf([]byte("sealed")), 6); err != nil {
		t.Error(err)
	}
	if err := p.CheckFile(wire.HashOf([]byte("other")), 6); err == nil {
		t.Error("another file was accepted")
	}
	if err := p.CheckFile(wire.HashOf([]byte("sealed")), 7); err == nil {
		t.Error("another size was accepted")
	}
	// The agreement's own signer needs no roots of its own.
	own := w.trust()
	own.Roots, own.Ledgers, own.Agreements = nil, nil, []wire.Digest{w.agreement.Digest()}
	if _, err := proof.Verify(b, own, start); err != nil {
		t.Errorf("a signer of the agreement: %v", err)
	}
	if err := new(proof.Proven).CheckFile(wire.Hash{}, 0); err == nil {
		t.Error("the zero Proven accepted a file")
	}
}

// TestInsider changes one thing before everything is signed.
func TestInsider(t *testing.T) {
	stranger := signingKey(t)
	for _, c := range []struct {
		name, check string
		change      func(w *world)
	}{
		{"agreement not signed by a party", "agreement.signatures", func(w *world) {
			w.agreement.Document.Signatures = w.agreement.Document.Signatures[:2]
		}},
		{"agreement expired", "agreement.validity", func(w *world) { w.end = start.AddDate(0, 6, 1); w.now = w.end }},
		{"end in the future", "proof.time", func(w *world) { w.end = start.Add(24 * time.Hour) }},
		{"request by a party that may not run", "run.may-run", func(w *world) { w.request(func(r *agreement.Run) { r.Requester = "alpha" }) }},
		{"request of other datasets", "run.datasets", func(w *world) { w.request(func(r *agreement.Run) { r.Datasets = r.Datasets[:1] }) }},
		{"request signed by another", "run.signatures", func(w *world) {
			w.run.Document.Signatures = []keys.Signature{}
			w.sign(w.run.Document, stranger)
		}},
		{"statement by another owner", "dataset.signatures", func(w *world) {
			w.statements[0].Document.Signatures = []keys.Signature{}
			w.sign(w.statements[0].Document, w.parties["beta"].signing)
		}},
		{"evidence for another purpose", "evidence.binding", func(w *world) { w.purpose = attest.ForIngress }},
		{"another image", "evidence.image", func(w *world) { w.measured.Agent = wire.DigestOf([]byte("altered agent")) }},
		{"another root than agreed", "evidence.root", func(w *world) { w.root = stranger }},
		{"grant to another room", "proof.releases", func(w *world) { w.grantFacts = func(f *release.GrantFacts) { f.Room = stranger.Public().ID() } }},
		{"grant for other evidence", "proof.releases", func(w *world) { w.grantFacts = func(f *release.GrantFacts) { f.Evidence = wire.Digest{1} } }},
		{"grant of another dataset version", "proof.releases", func(w *world) {
			w.grantFacts = func(f *release.GrantFacts) { f.Inputs[0].Statement = wire.DigestOf([]byte("another version")) }
		}},
		{"grant of another dataset", "proof.releases", func(w *world) { w.grantFacts = func(f *release.GrantFacts) { f.Inputs[0].Dataset = "other" } }},
		{"grant of another file", "proof.releases", func(w *world) { w.grantFacts = func(f *release.GrantFacts) { f.Inputs[0].Header = wire.Hash{1} } }},
		{"grant of another's input", "proof.releases", func(w *world) { w.grantFacts = func(f *release.GrantFacts) { f.Inputs[0].Input = "gamma-patients" } }},
		{"grant that spends what nobody agreed on", "proof.releases", func(w *world) {
			w.grantFacts = func(f *release.GrantFacts) {
				f.Costs = []release.SpentInput{{Input: f.Inputs[0].Input, Cost: privacy.Cost{Epsilon: 1, Rho: 1}}}
			}
		}},
		{"grant of nothing", "proof.releases", func(w *world) { w.grantFacts = func(f *release.GrantFacts) { f.Inputs = f.Inputs[:0] } }},
		{"grant of one input twice", "proof.releases", func(w *world) {
			w.grantFacts = func(f *release.GrantFacts) { f.Inputs = append(f.Inputs, f.Inputs[0]) }
		}},
		{"output of another release than granted", "proof.lives", func(w *world) {
			w.outputFacts = func(f *release.OutputFacts) { f.ReleaseID = "ffffffffffffffffffffffffffffffff" }
		}},
		{"two histories of a log, of one size", "proof.consistency", func(w *world) {
			w.fork = func(log *ledger.Signer) { delete(w.logs, log.Verifier()) }
		}},
		{"two histories of a log, of two sizes", "proof.consistency", func(w *world) {
			w.fork = func(log *ledger.Signer) { w.logs[log.Verifier()] = [][]byte{[]byte("rewritten")} }
		}},
		{"refusal passed off as a grant", "proof.releases", func(w *world) { w.grantKind = "refusal" }},
		{"grant signed by another key", "proof.releases", func(w *world) { w.parties["beta"].release = stranger }},
		{"grant in another log", "proof.releases", func(w *world) { w.parties["beta"].log = logKey(w.t, "beta.example/log") }},
		{"no witness", "proof.releases", func(w *world) { w.cosign = false }},
		{"no output entry", "proof.lives", func(w *world) { w.outputKind = "grant" }},
		{"another plaintext than the brokers let out", "proof.result", func(w *world) { w.result.Commitment = wire.DigestOf([]byte("other")) }},
		{"result of another run", "proof.result", func(w *world) { w.result.Run = wire.DigestOf([]byte("other run")) }},
		{"result of another run id", "proof.result", func(w *world) { w.result.RunID = "ff0102030405060708090a0b0c0d0e0f" }},
		{"result for another receiver", "proof.result", func(w *world) { w.result.Receiver = "beta" }},
		{"result of another output", "proof.result", func(w *world) { w.result.Output = "others" }},
		{"result signed outside the room", "proof.result", func(w *world) { w.resultSigner = stranger }},
		{"record of another result", "proof.record", func(w *world) { w.record.Results = []wire.Digest{{1}} }},
		{"record of another run", "proof.record", func(w *world) { w.record.Run = wire.Digest{1} }},
		{"record of another plaintext", "proof.record", func(w *world) { w.record.Commitment = wire.Digest{1} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.change(w)
			refused(t, w.bundle(), w.trust(), w.now, c.check)
		})
	}
}

// TestOutsider changes a finished bundle or the verifier's trust.
func TestOutsider(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	foreign := other.bundle()
	for _, c := range []struct {
		name, check string
		change      func(b *proof.Bundle, trust *proof.Trust)
	}{
		{"party not pinned", "proof.parties", func(_ *proof.Bundle, trust *proof.Trust) { delete(trust.Parties, w.parties["beta"].party.Digest()) }},
		{"software root not relied on", "proof.root", func(_ *proof.Bundle, trust *proof.Trust) { trust.Roots = nil }},
		{"ledger not relied on", "proof.record", func(_ *proof.Bundle, trust *proof.Trust) { trust.Ledgers = nil }},
		{"no platforms", "evidence.platform", func(_ *proof.Bundle, trust *proof.Trust) { trust.Platforms = nil }},
		{"zero trust", "proof.parties", func(_ *proof.Bundle, trust *proof.Trust) { *trust = proof.Trust{} }},
		{"another world's agreement", "agreement.parties", func(b *proof.Bundle, _ *proof.Trust) { b.Agreement = foreign.Agreement }},
		{"another world's request", "run.agreement", func(b *proof.Bundle, _ *proof.Trust) { b.Run = foreign.Run }},
		{"another world's statement", "dataset.signatures", func(b *proof.Bundle, _ *proof.Trust) { b.Statements[1] = foreign.Statements[1] }},
		{"another room's keys", "evidence.binding", func(b *proof.Bundle, _ *proof.Trust) { b.Room = foreign.Room }},
		{"another challenge", "evidence.binding", func(b *proof.Bundle, _ *proof.Trust) { b.Releases[0].Challenge = []byte("other") }},
		{"evidence of the other broker", "evidence.binding", func(b *proof.Bundle, _ *proof.Trust) { b.Releases[0].Evidence = b.Releases[1].Evidence }},
		{"grant of the other broker", "proof.releases", func(b *proof.Bundle, _ *proof.Trust) { b.Releases[0].Grant = b.Releases[1].Grant }},
		{"releases swapped", "proof.releases", func(b *proof.Bundle, _ *proof.Trust) { b.Releases[0], b.Releases[1] = b.Releases[1], b.Releases[0] }},
		{"a release missing", "proof.releases", func(b *proof.Bundle, _ *proof.Trust) { b.Releases = b.Releases[:1] }},
		{"a life missing", "proof.lives", func(b *proof.Bundle, _ *proof.Trust) { b.Lives = b.Lives[:1] }},
		{"no lives", "proof.time", func(b *proof.Bundle, _ *proof.Trust) { b.Lives = nil }},
		{"lives swapped", "proof.lives", func(b *proof.Bundle, _ *proof.Trust) { b.Lives[0], b.Lives[1] = b.Lives[1], b.Lives[0] }},
		{"no proof that the logs are one", "proof.consistency", func(b *proof.Bundle, _ *proof.Trust) { b.Consistency = nil }},
		{"an empty proof that a log is one", "proof.consistency", func(b *proof.Bundle, _ *proof.Trust) { b.Consistency[1] = []wire.Hash{} }},
		{"a grant and entry of different releases", "proof.releases", func(b *proof.Bundle, _ *proof.Trust) {
			var g release.Granted
			if _, err := keys.ParseDocument(b.Releases[0].Grant, release.GrantType, &g); err != nil {
				t.Fatal(err)
			}
			g.ReleaseID = "ffffffffffffffffffffffffffffffff"
			b.Releases[0].Grant = w.marshal(w.document(release.GrantType, g, w.parties["alpha"].release))
		}},
		{"a record twice", "proof.record", func(b *proof.Bundle, _ *proof.Trust) { b.Records = append(b.Records, b.Records[0]) }},
		{"another world's result", "proof.result", func(b *proof.Bundle, _ *proof.Trust) { b.Result = foreign.Result }},
		{"another world's record", "proof.record", func(b *proof.Bundle, _ *proof.Trust) { b.Records = foreign.Records }},
		{"no record", "proof.record", func(b *proof.Bundle, _ *proof.Trust) { b.Records = []ledger.Receipt{} }},
		{"a party's descriptor missing", "agreement.parties", func(b *proof.Bundle, _ *proof.Trust) { b.Parties = b.Parties[:2] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, trust := w.bundle(), w.trust()
			c.change(b, &trust)
			refused(t, b, trust, w.now, c.check)
		})
	}
}

func refused(t *testing.T, b *proof.Bundle, trust proof.Trust, now time.Time, check string) {
	t.Helper()
	p, err := proof.Verify(b, trust, now)
	if err == nil {
		t.Fatalf("accepted: %+v", p.Result)
	}
	e := verdict.As(err)
	if e.Check != check {
		t.Errorf("refused by %s, expected %s: %v", e.Check, check, err)
	}
	if e.Kind != verdict.Refused && e.Kind != verdict.Invalid {
		t.Errorf("kind %v", e.Kind)
	}
	if e.Expected == "" || e.Got == "" || e.Fix == "" {
		t.Errorf("a refusal without expected, got or fix: %+v", e)
	}
}

func TestParseBundleRefuses(t *testing.T) {
	good, err := newWorld(t).bundle().Encode()
	if err != nil {
		t.Fatal(err)
	}
	many, _ := json.Marshal(make([]json.RawMessage, 65))
	for name, data := range map[string][]byte{
		"empty":          nil,
		"not JSON":       []byte("proof"),
		"unknown member": bytes.Replace(good, []byte(`{"agreement"`), []byte(`{"a":1,"agreement"`), 1),
		"member twice":   bytes.Replace(good, []byte(`{"agreement"`), []byte(`{"agreement":{},"agreement"`), 1),
		"other type":     bytes.Replace(good, []byte(proof.BundleType), []byte("strongroom/proof/v2"), 1),
		"truncated":      good[:len(good)/2],
		"trailing":       append(bytes.Clone(good), "{}"...),
		"too many":       bytes.Replace(good, []byte(`"lives":[`), append(append([]byte(`"lives":`), many...), `,"x":[`...), 1),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := proof.ParseBundle(data); verdict.As(err).Check != "proof.form" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzParseBundle(f *testing.F) {
	f.Add([]byte(`{"type":"strongroom/proof/v1"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := proof.ParseBundle(data)
		if err != nil {
			return
		}
		// What parses must come to a verdict, and without trust never to a good one.
		if _, err := proof.Verify(b, proof.Trust{}, start); err == nil {
			t.Error("proven without trust")
		}
	})
}
