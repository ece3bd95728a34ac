package appraise_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"
	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// makers publish reference values: two release keys and a log.
type makers struct {
	one, two *keys.SigningKey
	log      *ledger.Signer
}

func newMakers(origin string) makers {
	secret, _, err := ledger.GenerateKey(origin)
	if err != nil {
		panic(err)
	}
	return makers{must(keys.GenerateSigningKey(keys.Ed25519)), must(keys.GenerateSigningKey(keys.ECDSAP256)), must(ledger.ParseSigner(secret))}
}

// values are good for the finding that found gives.
func values(version int64) reference.Values {
	return reference.Values{
		Product: "room", Version: version, SecurityVersion: 2, Created: wire.At(now.Add(-time.Hour)), Expires: wire.At(now.AddDate(0, 0, 90)),
		Groups: []reference.Group{
			{Name: "other", Platform: "snp", Measurements: map[string]string{"measurement": "bb22"}},
			{Name: "this", Platform: "snp", Measurements: map[string]string{"measurement": "aa11"}, Claims: map[string]string{"vmpl": "0"}, Minimum: map[string]int64{"reported_tcb.microcode": 72}},
		},
	}
}

// publish signs a set and records it, as the only entry of a log.
func (m makers) publish(v reference.Values) []byte {
	p := &reference.Published{Values: v, Document: must(v.Document())}
	for _, k := range []*keys.SigningKey{m.one, m.two} {
		if err := p.Document.Sign(k); err != nil {
			panic(err)
		}
	}
	entry := must(must(p.Entry(now)).Encode())
	p.Receipt = &ledger.Receipt{Entry: entry, Proof: []wire.Hash{}, Checkpoint: must(m.log.SignCheckpoint(1, wire.Hash(tlog.RecordHash(entry))))}
	return must(p.Encode())
}

func (m makers) policy(t testing.TB, more string) *appraise.Policy {
	return policy(t, fmt.Sprintf("%s    reference: {product: room, keys: [%q, %q], threshold: 2, least_security_version: 2, log: %q}\n%s", head, m.one.Public(), m.two.Public(), m.log.Verifier(), more))
}

func TestReference(t *testing.T) {
	m, other := newMakers("releases.example"), newMakers("releases.example")
	nothing := map[wire.ID]reference.Name{}
	low, old, zero := values(7), values(6), values(8)
	low.SecurityVersion, old.Groups = 1, old.Groups[:1]
	zero.Groups = zero.Groups[:1]
	expired := values(9)
	expired.Created, expired.Expires = wire.At(now.AddDate(0, 0, -90)), wire.At(now)
	for _, c := range []struct {
		name string
		more string
		sets [][]byte
		seen map[wire.ID]reference.Name
		want string
		used int64
	}{
		{"good", "", [][]byte{m.publish(values(7))}, nothing, "", 7},
		{"good and its measurements", "    measurements: {measurement: [aa11]}\n    registers: [measurement]\n", [][]byte{m.publish(values(7))}, nothing, "", 7},
		{"none", "", nil, nothing, "policy.reference.product", 0},
		{"another product's", "", [][]byte{m.publish(func() reference.Values { v := values(7); v.Product = "other"; return v }())}, nothing, "policy.reference.product", 0},
		{"not one at all", "", [][]byte{[]byte("{}")}, nothing, "policy.reference.product", 0},
		{"others' keys", "", [][]byte{other.publish(values(7))}, nothing, "policy.reference.signatures", 0},
		{"expired", "", [][]byte{m.publish(expired)}, nothing, "policy.reference.dates", 0},
		{"low", "", [][]byte{m.publish(low)}, nothing, "policy.reference.floor", 0},
		{"rolled back", "", [][]byte{m.publish(values(7))}, map[wire.ID]reference.Name{"room": {Product: "room", Version: 8, SecurityVersion: 2}}, "policy.reference.rollback", 0},
		{"another product was seen", "", [][]byte{m.publish(values(7))}, map[wire.ID]reference.Name{"else": {Product: "else", Version: 8, SecurityVersion: 2}}, "", 7},
		{"no memory", "", [][]byte{m.publish(values(7))}, nil, "warn policy.reference.rollback", 7},
		{"the newest counts", "", [][]byte{m.publish(old), m.publish(values(7)), m.publish(old)}, nothing, "", 7},
		{"the newest that verifies counts", "", [][]byte{m.publish(values(7)), other.publish(values(9)), []byte("x")}, nothing, "", 7},
		{"the newest has no such group", "", [][]byte{m.publish(zero), m.publish(values(7))}, nothing, "policy.reference.group", 8},
		{"its measurements too", "    measurements: {measurement: [bb22]}\n", [][]byte{m.publish(values(7))}, nothing, "policy.measurement.measurement", 7},
		{"a register that evidence lacks", "    registers: [launch]\n", [][]byte{m.publish(values(7))}, nothing, "policy.register.launch, policy.reference.group", 7},
		{"insecure_accept does not reach it", "    insecure_accept: [policy.reference]\n", nil, nothing, "policy.reference.product", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := appraise.Demand{Policy: m.policy(t, c.more), Freshness: fresh(), References: appraise.References{Sets: c.sets, Seen: c.seen}, Now: now}
			r := d.Judge(found())
			if got := failed(r); got != c.want {
				t.Errorf("got %q, expected %q", got, c.want)
			}
			// Checking the sets once and for all changes nothing of what is said.
			seen := d.References.Seen
			d.References = d.Policy.References(c.sets)
			d.References.Seen = seen
			if diff := cmp.Diff(string(must(json.Marshal(r))), string(must(json.Marshal(d.Judge(found()))))); diff != "" {
				t.Errorf("prepared: %s", diff)
			}
			if (r.Reference == nil) != (c.used == 0) || c.used != 0 && (r.Reference.Version != c.used || r.Reference.Digest.IsZero()) {
				t.Errorf("used %+v, expected version %d", r.Reference, c.used)
			}
		})
	}
}

// TestReferencesOfAnotherPolicy: what was found out for one policy says nothing about another.
func TestReferencesOfAnotherPolicy(t *testing.T) {
	m, other := newMakers("releases.example"), newMakers("releases.example")
	prepared := m.policy(t, "").References([][]byte{m.publish(values(7))})
	prepared.Seen = map[wire.ID]reference.Name{}
	d := appraise.Demand{Policy: other.policy(t, ""), Freshness: fresh(), References: prepared, Now: now}
	if got := failed(d.Judge(found())); got != "policy.reference.signatures" {
		t.Error(got)
	}
}

// TestReferenceGroup: a group counts whole, with its claims, and a mismatch names the nearest.
func TestReferenceGroup(t *testing.T) {
	m := newMakers("releases.example")
	judge := func(change func(*attest.Finding)) appraise.Result {
		f := found()
		change(&f)
		d := appraise.Demand{Policy: m.policy(t, ""), Freshness: fresh(), References: appraise.References{Sets: [][]byte{m.publish(values(7))}, Seen: map[wire.ID]reference.Name{}}, Now: now}
		return d.Judge(f)
	}
	for name, change := range map[string]func(*attest.Finding){
		"measurement": func(f *attest.Finding) { f.Facts.Measurements = map[string]string{"measurement": "aa12"} },
		"claim":       func(f *attest.Finding) { f.Claims["vmpl"] = 1 },
		"minimum":     func(f *attest.Finding) { f.Claims["reported_tcb"] = map[string]any{"microcode": 71} },
		"none":        func(f *attest.Finding) { f.Facts.Measurements = nil },
	} {
		if got := failed(judge(change)); got != "policy.reference.group" {
			t.Errorf("%s: %q", name, got)
		}
	}
	r := judge(func(f *attest.Finding) { f.Claims["vmpl"] = 1 })
	if got := r.Failed()[0].Got; !strings.Contains(got, "nearest is group this, with 1 of 3 different: vmpl is 1, expected \"0\"") {
		t.Error(got)
	}
	if r.Reference.Group != "" || judge(func(*attest.Finding) {}).Reference.Group != "this" {
		t.Error(r.Reference)
	}
	if !strings.Contains(r.Letter(), "nearest is group this") {
		t.Error(r.Letter())
	}
}

func TestReferenceInPolicy(t *testing.T) {
	m := newMakers("releases.example")
	key := fmt.Sprintf("%q", m.one.Public())
	line := func(members string) string { return head + "    reference: {" + members + "}\n" }
	for text, want := range map[string]string{
		line("product: room"): "release keys",
		line("product: Room, keys: [" + key + "], threshold: 1, least_security_version: 1, insecure_unlogged: true"):                 "p.yaml:5: appraisal.policy: expected a name",
		line("product: room, keys: [x], threshold: 1, least_security_version: 1, insecure_unlogged: true"):                           "a public key as keygen",
		line("product: room, keys: [" + key + ", " + key + "], threshold: 1, least_security_version: 1, insecure_unlogged: true"):    "each once",
		line("product: room, keys: [" + key + "], threshold: 2, least_security_version: 1, insecure_unlogged: true"):                 "how many of the 1 keys",
		line("product: room, keys: [" + key + "], threshold: -1, least_security_version: 1, insecure_unlogged: true"):                "how many of the 1 keys",
		line("product: room, keys: [" + key + "], threshold: 4294967297, least_security_version: 1, insecure_unlogged: true"):        "how many of the 1 keys",
		line("product: room, keys: [" + key + "], threshold: 1, insecure_unlogged: true"):                                            "a security version from 1",
		line("product: room, keys: [" + key + "], threshold: 1, least_security_version: 1"):                                          "the key of the log",
		line("product: room, keys: [" + key + "], threshold: 1, least_security_version: 1, log: x"):                                  "the verifier key",
		line("product: room, keys: [" + key + "], threshold: 1, least_security_version: 1, log: x, insecure_unlogged: true"):         "a log, or none",
		line("product: room, keys: [" + key + "], threshold: 1, least_security_version: 1, insecure_unlogged: true, unsigned: true"): "expected one of the members",
		head + "    registers: [a, a]": "each once",
		head + "    registers: [\"\"]": "each once",
	} {
		if p, err := appraise.Parse("p.yaml", []byte(text)); err == nil || p != nil || verdict.As(err).Kind != verdict.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", text, err, want)
		}
	}
	p := m.policy(t, "    registers: [measurement]\n")
	explained := p.Explain()
	for _, want := range []string{"it measures measurement", "reference values of room: signed by 2 of 2", "security version 2 or later", m.one.Public().ID().Short(), m.log.Verifier()} {
		if !strings.Contains(explained, want) {
			t.Errorf("%q is not in\n%s", want, explained)
		}
	}
	if advice := p.Lint([]string{"snp", "tdx", "dev"}); len(advice) != 2 { // machines, and tests
		t.Error(advice)
	}
	loose := policy(t, line("product: room, keys: ["+key+"], threshold: 1, least_security_version: 1, insecure_unlogged: true"))
	if advice := loose.Lint([]string{"snp", "tdx", "dev"}); len(advice) != 5 || !strings.Contains(loose.Explain(), "INSECURE: no log") {
		t.Error(advice)
	}
	// A policy without these members has the digest that it had before there were any.
	const digest = "sha384:dbe1f76de15265bb11b5347f4687567b67c9b0bf01bcdc059e5c91195e70d44033be9e107f520f6f1af38dfa8e730ca0"
	if plain := policy(t, "id: p\nversion: 1\nplatforms: {snp: {}}"); plain.Digest().String() != digest || plain.Digest() == p.Digest() {
		t.Error(plain.Digest())
	}
}

// TestUnloggedWarns: what is done without stays visible in every result.
func TestUnloggedWarns(t *testing.T) {
	m := newMakers("releases.example")
	p := policy(t, fmt.Sprintf("%s    reference: {product: room, keys: [%q, %q], threshold: 2, least_security_version: 2, insecure_unlogged: true}\n", head, m.one.Public(), m.two.Public()))
	d := appraise.Demand{Policy: p, Freshness: fresh(), References: appraise.References{Sets: [][]byte{m.publish(values(7))}, Seen: map[wire.ID]reference.Name{}}, Now: now}
	if got := failed(d.Judge(found())); got != "warn policy.reference.log" {
		t.Error(got)
	}
}

func BenchmarkReference(b *testing.B) {
	m := newMakers("releases.example")
	d := appraise.Demand{Policy: m.policy(b, ""), Freshness: fresh(), Now: now}
	for name, refs := range map[string]appraise.References{"each time": {Sets: [][]byte{m.publish(values(7))}}, "prepared": d.Policy.References([][]byte{m.publish(values(7))})} {
		b.Run(name, func(b *testing.B) {
			refs.Seen = map[wire.ID]reference.Name{}
			d.References = refs
			for b.Loop() {
				if d.Judge(found()).Err() != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}
