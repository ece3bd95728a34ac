package policy_test

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/reference"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// makers make room images: two of three keys sign, and a log records.
type makers struct {
	*world
	keys []*keys.SigningKey
	log  *tilelog.Log
	line agreement.ReleaseLine
}

func newMakers(w *world) *makers {
	m := &makers{world: w}
	secret, verifier, err := ledger.GenerateKey("releases.example/log")
	w.must(err)
	signer, err := ledger.ParseSigner(secret)
	w.must(err)
	dir := filepath.Join(w.t.TempDir(), "log")
	w.must(tilelog.Create(dir, signer))
	m.log, err = tilelog.Open(dir, signer)
	w.must(err)
	w.t.Cleanup(func() { m.log.Close() })
	m.line = agreement.ReleaseLine{Product: "room", Threshold: 2, MinimumVersion: 1, LogKey: verifier}
	for range 3 {
		k := signingKey(w.t)
		m.keys, m.line.Keys = append(m.keys, k), append(m.line.Keys, k.Public().String())
	}
	return m
}

// values are a set that lists what the world's room measures, beside another image.
func (m *makers) values() reference.Values {
	return reference.Values{Product: "room", Version: 2, SecurityVersion: 1, Created: wire.At(now.Add(-time.Hour)), Expires: wire.At(now.Add(100 * time.Hour)),
		Groups: []reference.Group{
			{Name: "older", Platform: "dev", Measurements: map[string]string{"agent": strings.Repeat("ab", 48), "helper/strongroom-sql": strings.Repeat("cd", 48)}},
			{Name: "newer", Platform: "dev", Measurements: m.measurement.Named()},
		}}
}

// publish signs and records a set.
func (m *makers) publish(v reference.Values, signers ...*keys.SigningKey) []byte {
	m.t.Helper()
	doc, err := v.Document()
	m.must(err)
	for _, k := range signers {
		m.must(doc.Sign(k))
	}
	p := &reference.Published{Values: v, Document: doc}
	e, err := p.Entry(now)
	m.must(err)
	data, err := e.Encode()
	m.must(err)
	at, err := m.log.Append(context.Background(), [][]byte{data})
	m.must(err)
	receipt, err := m.log.Receipt(at)
	m.must(err)
	p.Receipt = &receipt
	out, err := p.Encode()
	m.must(err)
	return out
}

func (m *makers) accept(v reference.Values) *reference.Candidate {
	m.t.Helper()
	line, err := policy.LineOf(m.line)
	m.must(err)
	c, err := reference.Accept(m.publish(v, m.keys[0], m.keys[2]), line)
	m.must(err)
	return c
}

// TestDecideByReleaseLine breaks one thing at a time about a room that a release line accepts.
func TestDecideByReleaseLine(t *testing.T) {
	for name, test := range map[string]struct {
		values func(*reference.Values)
		books  func(*policy.Books, wire.Digest)
		got    string // part of what was found; "" if the room is accepted
	}{
		"listed":  {got: ""},
		"no set":  {books: func(b *policy.Books, _ wire.Digest) { b.References = nil }, got: "no set of its reference values is known here"},
		"nil set": {books: func(b *policy.Books, line wire.Digest) { b.References[line] = policy.Newest{} }, got: "no set of its reference values is known here"},
		"other line": {books: func(b *policy.Books, line wire.Digest) {
			b.References = map[wire.Digest]policy.Newest{{1}: b.References[line]}
		}, got: "no set of its"},
		"expired":    {values: func(v *reference.Values) { v.Expires = wire.At(now) }, got: "no longer good: reference.dates"},
		"not yet":    {values: func(v *reference.Values) { v.Created = wire.At(now.Add(time.Second)) }, got: "no longer good: reference.dates"},
		"not listed": {values: func(v *reference.Values) { v.Groups = v.Groups[:1] }, got: "version 2 of it, the newest known here, does not list this image: against group older: agent is "},
		"other platform": {values: func(v *reference.Values) {
			for i := range v.Groups {
				v.Groups[i].Platform = "tdx"
			}
		}, got: "no group for this kind of machine"},
		"a register left out": {values: func(v *reference.Values) { delete(v.Groups[1].Measurements, "helper/strongroom-sql") }, got: "the group names none"},
		"a register too many": {values: func(v *reference.Values) { v.Groups[1].Measurements["helper/other"] = strings.Repeat("ef", 48) }, got: "helper/other is no such register instead of efefefefefef"},
		"parts of two images": {values: func(v *reference.Values) {
			a, b := v.Groups[0].Measurements, v.Groups[1].Measurements
			a["agent"], b["agent"] = b["agent"], a["agent"]
		}, got: "does not list"},
		"a claim that rooms don't have": {values: func(v *reference.Values) { v.Groups[1].Minimum = map[string]int64{"svn": 1} }, got: "svn is no such claim"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := newMakers(w)
			v := m.values()
			if test.values != nil {
				test.values(&v)
			}
			c := m.accept(v)
			p := &w.agreement.Platforms[0]
			p.Releases, p.Images = []agreement.ReleaseLine{m.line}, []agreement.Image{}
			w.body = nil
			line := policy.LineDigest(m.line)
			w.change = func(r *policy.Request) {
				r.Books.References = map[wire.Digest]policy.Newest{line: {Set: c}}
				if test.books != nil {
					test.books(&r.Books, line)
				}
			}
			g, checks, err := policy.Decide(w.build())
			if test.got != "" {
				e := verdict.As(err)
				if err == nil || e.Check != "evidence.image" || e.Kind != verdict.Refused || !strings.Contains(e.Got, test.got) || !strings.Contains(e.Fix, "broker reference add") {
					t.Errorf("%v, expected %q", err, test.got)
				}
				for _, c := range checks {
					if !c.OK && c.ID != "evidence.image" {
						t.Errorf("failed too: %+v", c)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if by := g.Terms().Listed; by == nil || by.Line != line || by.Name != c.Name() || by.Group != "newer" {
				t.Errorf("listed by %+v", by)
			}
		})
	}
}

// TestPinnedBeforeListed takes an image that the agreement pins as pinned, sets or not.
func TestPinnedBeforeListed(t *testing.T) {
	w := newWorld(t)
	m := newMakers(w)
	w.agreement.Platforms[0].Releases = []agreement.ReleaseLine{m.line}
	for _, refs := range []map[wire.Digest]policy.Newest{nil, {policy.LineDigest(m.line): {Set: m.accept(m.values())}}} {
		w.change = func(r *policy.Request) { r.Books.References = refs }
		w.run.Agreement, w.body = wire.Digest{}, nil
		g, _, err := policy.Decide(w.build())
		if err != nil || g.Terms().Listed != nil {
			t.Errorf("%v, %+v", err, g.Terms().Listed)
		}
	}
	// Neither the image that is pinned nor one that is listed: both are told of.
	w.agreement.Platforms[0].Images[0].Measurements = map[string]string{"agent": strings.Repeat("12", 48)}
	w.change = func(r *policy.Request) { r.Books.References = nil }
	w.run.Agreement, w.body = wire.Digest{}, nil
	_, _, without := policy.Decide(w.build())
	if got := verdict.As(without).Got; !strings.Contains(got, "against image room: agent is ") || !strings.Contains(got, "release line room: no set") {
		t.Error(got)
	}
}

// TestDeniedThoughListed has the owner's floor stand above what makers sign.
func TestDeniedThoughListed(t *testing.T) {
	w := newWorld(t)
	m := newMakers(w)
	p := &w.agreement.Platforms[0]
	p.Releases, p.Images = []agreement.ReleaseLine{m.line}, []agreement.Image{}
	c := m.accept(m.values())
	w.change = func(r *policy.Request) {
		r.Books.References = map[wire.Digest]policy.Newest{policy.LineDigest(m.line): {Set: c}}
		r.Floor.Denied = []policy.Denial{{What: policy.DenyImage, Value: m.measurement.Named()["agent"]}}
	}
	if _, _, err := policy.Decide(w.build()); err == nil || verdict.As(err).Check != "evidence.floor" {
		t.Error(err)
	}
}

func TestLists(t *testing.T) {
	w := newWorld(t)
	m := newMakers(w)
	a := w.agreement
	a.Platforms[0].Releases = []agreement.ReleaseLine{m.line}
	line := policy.LineDigest(m.line)
	c := m.accept(m.values())
	where := policy.Where{Platform: "dev", Measurements: m.measurement.Named()}
	by := policy.Listed{Line: line, Name: c.Name(), Group: "newer"}
	refs := policy.References{Now: now, Newest: map[wire.Digest]policy.Newest{line: {Set: c}}}
	later := refs
	later.Now = now.Add(100 * time.Hour)
	v := m.values()
	v.Version, v.Groups = 3, v.Groups[:1]
	newer := policy.References{Now: now, Newest: map[wire.Digest]policy.Newest{line: {Set: m.accept(v)}}}
	other := a
	other.Platforms = []agreement.Platform{{Kind: "dev"}}
	for name, test := range map[string]struct {
		refs policy.References
		by   policy.Listed
		a    agreement.Agreement
		w    policy.Where
		ok   bool
	}{
		"still listed":       {refs, by, a, where, true},
		"pinned":             {policy.References{}, policy.Listed{}, other, policy.Where{}, true},
		"withdrawn":          {newer, by, a, where, false},
		"expired":            {later, by, a, where, false},
		"no set":             {policy.References{}, by, a, where, false},
		"line gone":          {refs, by, other, where, false},
		"by another line":    {refs, policy.Listed{Line: wire.Digest{9}, Name: c.Name()}, a, where, false},
		"nothing measured":   {refs, by, a, policy.Where{Platform: "dev"}, false},
		"on another machine": {refs, by, a, policy.Where{Platform: "tpm", Measurements: where.Measurements}, false},
	} {
		if err := test.refs.Lists(test.by, test.a, test.w); (err == nil) != test.ok || err != nil && (verdict.As(err).Check != "evidence.image" || verdict.As(err).Fix == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLineOf(t *testing.T) {
	m := newMakers(newWorld(t))
	good := m.line
	digests := map[wire.Digest]string{}
	for name, change := range map[string]func(*agreement.ReleaseLine){
		"good":      func(*agreement.ReleaseLine) {},
		"product":   func(l *agreement.ReleaseLine) { l.Product = "other" },
		"threshold": func(l *agreement.ReleaseLine) { l.Threshold = 1 },
		"minimum":   func(l *agreement.ReleaseLine) { l.MinimumVersion = 2 },
		"log":       func(l *agreement.ReleaseLine) { l.LogKey += "=" },
		"keys":      func(l *agreement.ReleaseLine) { l.Keys = l.Keys[:2] },
		"order":     func(l *agreement.ReleaseLine) { l.Keys[0], l.Keys[1] = l.Keys[1], l.Keys[0] },
	} {
		l := good
		l.Keys = append([]string{}, good.Keys...)
		change(&l)
		d := policy.LineDigest(l)
		if digests[d] != "" {
			t.Errorf("%s and %s are one line", name, digests[d])
		}
		digests[d] = name
	}
	for name, change := range map[string]func(*agreement.ReleaseLine){
		"no keys":       func(l *agreement.ReleaseLine) { l.Keys = nil },
		"bad key":       func(l *agreement.ReleaseLine) { l.Keys = []string{"x", "y"} },
		"too many keys": func(l *agreement.ReleaseLine) { l.Keys = make([]string, 33) },
		"threshold":     func(l *agreement.ReleaseLine) { l.Threshold = 1 << 40 },
		"no threshold":  func(l *agreement.ReleaseLine) { l.Threshold = -1 },
		"no log":        func(l *agreement.ReleaseLine) { l.LogKey = "" },
		"no minimum":    func(l *agreement.ReleaseLine) { l.MinimumVersion = 0 },
	} {
		l := good
		change(&l)
		if _, err := policy.LineOf(l); err == nil || verdict.As(err).Kind != verdict.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestListedOnEveryKind compares the registers of each kind of machine: all of them, and no other.
func TestListedOnEveryKind(t *testing.T) {
	hex := func(digit string, n int) string { return strings.Repeat(digit, 2*n) }
	for kind, registers := range map[wire.ID]map[string]string{
		"dev": {"agent": hex("a", 48), "helper/strongroom-sql": hex("b", 48)},
		"tpm": {"firmware.version": hex("1", 32), "firmware.900000": hex("2", 32), "pcr4": hex("3", 32), "pcr11": hex("4", 32)},
		"snp": {"measurement": hex("c", 48)},
		"tdx": {"mrtd": hex("d", 48), "rtmr0": hex("e", 48), "rtmr1": hex("f", 48), "rtmr2": hex("9", 48)},
	} {
		w := newWorld(t)
		m := newMakers(w)
		v := m.values()
		v.Groups = append(v.Groups, reference.Group{Name: "this-one", Platform: kind, Measurements: registers, Exact: true},
			reference.Group{Name: "on-azure", Platform: "azure", Measurements: registers})
		refs := policy.References{Now: now, Newest: map[wire.Digest]policy.Newest{policy.LineDigest(m.line): {Set: m.accept(v)}}}
		root := wire.HashOf([]byte("root"))
		a := agreement.Agreement{Protection: agreement.Software, Platforms: []agreement.Platform{{Kind: kind, Root: &root, Releases: []agreement.ReleaseLine{m.line}}}}
		for name, change := range map[string]func(map[string]string){
			"":                 func(map[string]string) {},
			"one more":         func(r map[string]string) { r["pcr15"] = hex("5", 32) },
			"another value":    func(r map[string]string) { r[first(r)] = hex("6", 32) },
			"one less":         func(r map[string]string) { delete(r, first(r)) },
			"under other name": func(r map[string]string) { r["x"] = r[first(r)]; delete(r, first(r)) },
		} {
			found := maps.Clone(registers)
			if change(found); len(found) == 0 {
				continue // no platform finds that
			}
			check, listed := policy.AcceptedImage(a, refs, w.claims(kind, root, found))
			if check.OK != (name == "") || check.ID != "evidence.image" || check.OK != (listed != nil) || check.OK && listed.Group != "this-one" {
				t.Errorf("%s, %s: %+v by %+v", kind, name, check, listed)
			}
		}
	}
}

func first(registers map[string]string) string { return slices.Sorted(maps.Keys(registers))[0] }

// claims are those of a machine of any kind, as its platform would find them.
func (w *world) claims(kind wire.ID, root wire.Hash, measured map[string]string) attest.Claims {
	w.t.Helper()
	body := []byte("body")
	digest := wire.SHA384(agreement.AgreementType, body)
	b := attest.Binding{Purpose: attest.ForRelease, Nonce: w.nonce, Signing: w.room.Public(), HPKE: w.hpke.Public(), Agreement: digest, Run: digest}
	data, init := b.ReportData(), attest.InitData(body)
	platform := attest.Platform{Name: kind, Verify: func([]byte, time.Time) (attest.Facts, error) {
		return attest.Facts{Platform: kind, Class: agreement.Software, Root: root, Measurements: measured, ReportData: data[:], InitData: init[:]}, nil
	}}
	c, err := attest.Verify(attest.Evidence{Platform: kind, Evidence: []byte("evidence")}, []attest.Platform{platform}, attest.Expectation{Binding: b, AgreementBody: body, Now: now})
	w.must(err)
	return c
}
