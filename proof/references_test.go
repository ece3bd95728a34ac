package proof_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/proof"
	"strongroom.dev/reference"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

// makers make the room's image: their agreement names no image, but two of their three keys.
type makers struct {
	*world
	keys []*keys.SigningKey
	log  *ledger.Signer
	line agreement.ReleaseLine
}

func newMakers(t *testing.T) *makers {
	t.Helper()
	w := newWorld(t)
	m := &makers{world: w, log: logKey(t, "releases.example/log")}
	m.line = agreement.ReleaseLine{Product: "room", Threshold: 2, MinimumVersion: 2, LogKey: m.log.Verifier()}
	for range 3 {
		k := signingKey(t)
		m.keys, m.line.Keys = append(m.keys, k), append(m.line.Keys, k.Public().String())
	}
	w.agree(func(a *agreement.Agreement) {
		a.Platforms[0].Images, a.Platforms[0].Releases = []agreement.Image{}, []agreement.ReleaseLine{m.line}
	})
	return m
}

func (m *makers) values() reference.Values {
	return reference.Values{Product: "room", Version: 7, SecurityVersion: 2, Created: wire.At(start.Add(-time.Hour)), Expires: wire.At(start.Add(time.Second)),
		Groups: []reference.Group{{Name: "other", Platform: "dev", Measurements: map[string]string{"agent": strings.Repeat("ab", 48)}},
			{Name: "image", Platform: "dev", Measurements: m.measured.Named()}}}
}

// set signs values and records them.
func (m *makers) set(change func(*reference.Values), signers ...*keys.SigningKey) *reference.Published {
	m.t.Helper()
	v := m.values()
	change(&v)
	doc, err := v.Document()
	must(m.t, doc, err)
	for _, k := range signers {
		m.sign(doc, k)
	}
	p := &reference.Published{Values: v, Document: doc}
	e, err := p.Entry(start)
	must(m.t, e, err)
	m.logs = map[string][][]byte{}
	m.cosign = false
	receipt := m.receipt(m.log, e)
	m.cosign = true
	p.Receipt = &receipt
	return p
}

// by makes the brokers' records name a set.
func (m *makers) by(p *reference.Published) {
	m.grantFacts = func(f *release.GrantFacts) {
		f.Reference = &policy.Listed{Line: policy.LineDigest(m.line), Name: p.Name(), Group: "image"}
	}
}

func (m *makers) file(p *reference.Published) []byte {
	m.t.Helper()
	data, err := p.Encode()
	return must(m.t, data, err)
}

func TestProvenByReleaseLine(t *testing.T) {
	same := func(*reference.Values) {}
	listed := func(change func(*policy.Listed)) func(*makers, *proof.Trust) {
		return func(m *makers, _ *proof.Trust) {
			before := m.grantFacts
			m.grantFacts = func(f *release.GrantFacts) { before(f); change(f.Reference) }
		}
	}
	for _, c := range []struct {
		name, check string
		values      func(*reference.Values)
		signers     []int
		change      func(*makers, *proof.Trust)
	}{
		{name: "proven"},
		{name: "beside another set", change: func(m *makers, trust *proof.Trust) {
			newer := m.set(func(v *reference.Values) { v.Version = 8 }, m.keys[0], m.keys[1])
			trust.References = append([][]byte{m.file(newer), []byte("no set")}, trust.References...)
		}},
		{name: "beside itself with a signature less", change: func(m *makers, trust *proof.Trust) {
			trust.References = append([][]byte{m.file(m.set(same, m.keys[1]))}, trust.References...)
		}},
		{name: "not given", check: "proof.reference", change: func(_ *makers, trust *proof.Trust) { trust.References = nil }},
		{name: "another one given", check: "proof.reference", change: func(m *makers, trust *proof.Trust) {
			trust.References = [][]byte{m.file(m.set(func(v *reference.Values) { v.Version = 8 }, m.keys[0], m.keys[1]))}
		}},
		{name: "one signature too few", check: "reference.signatures", signers: []int{0}},
		{name: "below the minimum", check: "reference.floor", values: func(v *reference.Values) { v.SecurityVersion = 1 }},
		{name: "another product", check: "reference.product", values: func(v *reference.Values) { v.Product = "engine" }},
		{name: "not in the log", check: "reference.log", change: func(m *makers, trust *proof.Trust) {
			p := m.set(same, m.keys[0], m.keys[1])
			p.Receipt = nil
			trust.References = [][]byte{m.file(p)}
		}},
		{name: "expired when it was decided", check: "evidence.image", values: func(v *reference.Values) { v.Expires = wire.At(start) }},
		{name: "expired since", values: func(v *reference.Values) { v.Expires = wire.At(start.Add(time.Second)) }},
		{name: "not listed", check: "evidence.image", values: func(v *reference.Values) { v.Groups = v.Groups[:1] }},
		{name: "listed for another platform", check: "evidence.image", values: func(v *reference.Values) { v.Groups[1].Platform = "tpm" }},
		{name: "another group recorded", check: "proof.reference", change: listed(func(l *policy.Listed) { l.Group = "other" })},
		{name: "another version recorded", check: "proof.reference", change: listed(func(l *policy.Listed) { l.Version = 8 })},
		{name: "another line recorded", check: "proof.reference", change: listed(func(l *policy.Listed) { l.Line = wire.Digest{1} })},
		{name: "none recorded", check: "evidence.image", change: func(m *makers, _ *proof.Trust) { m.grantFacts = nil }},
		{name: "recorded though pinned", check: "proof.reference", change: func(m *makers, _ *proof.Trust) {
			m.agree(func(a *agreement.Agreement) { a.Platforms[0].Releases = []agreement.ReleaseLine{m.line} })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMakers(t)
			if c.values == nil {
				c.values = same
			}
			signers := m.keys[1:]
			if c.signers != nil {
				signers = m.keys[:1]
			}
			p := m.set(c.values, signers...)
			m.by(p)
			trust := m.trust()
			trust.References = [][]byte{m.file(p)}
			if c.change != nil {
				c.change(m, &trust)
			}
			if c.check != "" {
				refused(t, m.bundle(), trust, m.now, c.check)
				return
			}
			out, err := proof.Verify(m.bundle(), trust, m.now)
			if err != nil {
				t.Fatal(err)
			}
			if len(out.References) != 1 || out.References[0].Name != p.Name() {
				t.Errorf("by %+v", out.References)
			}
		})
	}
}

func writeReferenceVectors(t *testing.T) {
	m := newMakers(t)
	p := m.set(func(*reference.Values) {}, m.keys[0], m.keys[2])
	older := m.set(func(v *reference.Values) { v.Version, v.Groups = 6, v.Groups[:1] }, m.keys[0], m.keys[2])
	few := m.set(func(*reference.Values) {}, m.keys[0])
	m.by(p)
	trust := vectorTrust{nil, []wire.Hash{m.root.Public().ID()}, []ledger.Witness{{Name: "witness", Key: m.witness.Verifier()}}, nil}
	for _, party := range m.agreement.Parties {
		trust.Parties = append(trust.Parties, party.Descriptor)
	}
	with := func(p ...*reference.Published) vectorTrust {
		out := trust
		for _, one := range p {
			out.References = append(out.References, json.RawMessage(m.file(one)))
		}
		return out
	}
	b := m.bundle()
	writeVector(m.world, "reference-proven", "proven", with(older, p), b)
	writeVector(m.world, "reference-not-given", "proof.reference", with(older), b)
	writeVector(m.world, "reference-one-signature", "reference.signatures", with(few), b)
	m.by(older)
	writeVector(m.world, "reference-does-not-list", "evidence.image", with(older, p), m.bundle())
}
