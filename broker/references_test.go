package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/reference"
	"strongroom.dev/release"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/wire"
)

// makers make room images: two of three keys sign, and a log records.
type makers struct {
	w    *world
	keys []*keys.SigningKey
	log  *tilelog.Log
	line agreement.ReleaseLine
}

// newMakers has the world's agreement accept what makers sign, and pin nothing.
func newMakers(w *world) *makers {
	w.t.Helper()
	m := &makers{w: w}
	m.log, m.line.LogKey = m.newLog("releases.example/log")
	m.line.Product, m.line.Threshold, m.line.MinimumVersion = "room", 2, 1
	for range 3 {
		k := signingKey(w.t)
		m.keys, m.line.Keys = append(m.keys, k), append(m.line.Keys, k.Public().String())
	}
	m.agree(m.line)
	return m
}

func (m *makers) agree(lines ...agreement.ReleaseLine) {
	platforms := append([]agreement.Platform{}, m.w.agreement.Platforms...)
	platforms[0].Images, platforms[0].Releases = []agreement.Image{}, lines
	m.w.agreement.Platforms = platforms
}

func (m *makers) newLog(origin string) (*tilelog.Log, string) {
	secret, verifier, err := ledger.GenerateKey(origin)
	must(m.w.t, err)
	signer, err := ledger.ParseSigner(secret)
	must(m.w.t, err)
	dir := filepath.Join(m.w.t.TempDir(), "log")
	must(m.w.t, tilelog.Create(dir, signer))
	log := must1(tilelog.Open(dir, signer))
	m.w.t.Cleanup(func() { log.Close() })
	return log, verifier
}

// values are version n, of security version 1: what the world's room measures, and another image.
func (m *makers) values(n int64) reference.Values {
	return reference.Values{Product: "room", Version: n, SecurityVersion: 1, Created: wire.At(start.Add(-time.Hour)), Expires: wire.At(start.Add(100 * time.Hour)),
		Groups: []reference.Group{
			{Name: "other", Platform: "dev", Measurements: map[string]string{"agent": strings.Repeat("ab", 48), "helper/strongroom-sql": strings.Repeat("cd", 48)}},
			{Name: "room", Platform: "dev", Measurements: m.w.image.Named()},
		}}
}

func (m *makers) without(n int64) reference.Values {
	v := m.values(n)
	v.Groups = v.Groups[:1]
	return v
}

func (m *makers) sign(v reference.Values, signers ...*keys.SigningKey) *reference.Published {
	m.w.t.Helper()
	p := &reference.Published{Values: v, Document: must1(v.Document())}
	for _, k := range signers {
		must(m.w.t, p.Document.Sign(k))
	}
	return p
}

func (m *makers) record(p *reference.Published, log *tilelog.Log) broker.ReferenceAct {
	m.w.t.Helper()
	if log != nil {
		e := must1(p.Entry(start))
		at := must1(log.Append(ctx, [][]byte{must1(e.Encode())}))
		receipt := must1(log.Receipt(at))
		p.Receipt = &receipt
	}
	return broker.ReferenceAct{Set: must1(p.Encode())}
}

// publish signs with the last two keys and records.
func (m *makers) publish(v reference.Values) broker.ReferenceAct {
	m.w.t.Helper()
	return m.record(m.sign(v, m.keys[1:]...), m.log)
}

// TestReferenceRefused gives a broker that knows version 5 what it must not take.
func TestReferenceRefused(t *testing.T) {
	type V = reference.Values
	for name, test := range map[string]struct {
		check string
		set   func(*makers) broker.ReferenceAct
		minor func(*V)
	}{
		"one signature too few": {check: "reference.signatures", set: func(m *makers) broker.ReferenceAct { return m.record(m.sign(m.values(6), m.keys[0]), m.log) }},
		"one key twice":         {check: "reference.form", set: func(m *makers) broker.ReferenceAct { return twice(m) }},
		"a key not in the line": {check: "reference.signatures", set: func(m *makers) broker.ReferenceAct {
			return m.record(m.sign(m.values(6), m.keys[0], signingKey(t)), m.log)
		}},
		"not signed":     {check: "reference.signatures", set: func(m *makers) broker.ReferenceAct { return m.record(m.sign(m.values(6)), m.log) }},
		"not in the log": {check: "reference.log", set: func(m *makers) broker.ReferenceAct { return m.record(m.sign(m.values(6), m.keys...), nil) }},
		"in another log": {check: "reference.log", set: func(m *makers) broker.ReferenceAct {
			log, _ := m.newLog("releases.example/log")
			return m.record(m.sign(m.values(6), m.keys...), log)
		}},
		"no set":                                {check: "reference.form", set: func(*makers) broker.ReferenceAct { return broker.ReferenceAct{Set: []byte("{}")} }},
		"nothing":                               {check: "reference.form", set: func(*makers) broker.ReferenceAct { return broker.ReferenceAct{} }},
		"below the minimum":                     {check: "reference.floor", minor: func(v *V) { v.SecurityVersion = 1 }},
		"below the minimum, and the one before": {check: "reference.floor", minor: func(v *V) { v.Version, v.SecurityVersion = 4, 1 }},
		"older":                                 {check: "reference.rollback", minor: func(v *V) { v.Version = 4 }},
		"another of the same version":           {check: "reference.rollback", minor: func(v *V) { v.Version = 5; v.Groups = v.Groups[1:] }},
		"a lower security version":              {check: "reference.rollback", minor: func(v *V) { v.SecurityVersion = 2 }},
		"expired":                               {check: "reference.dates", minor: func(v *V) { v.Expires = wire.At(start) }},
		"not made yet":                          {check: "reference.dates", minor: func(v *V) { v.Created = wire.At(start.Add(time.Minute)) }},
		"another product":                       {check: "reference.product", minor: func(v *V) { v.Product = "engine" }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := newMakers(w)
			m.line.MinimumVersion = 2
			m.agree(m.line)
			h := w.newHouse()
			b, _ := h.ready()
			five := m.values(5)
			five.SecurityVersion = 3
			must1(b.AddReference(ctx, m.publish(five)))
			before := must1(b.Status(ctx))
			v := m.values(6)
			v.SecurityVersion = 3
			if test.minor != nil {
				test.minor(&v)
			}
			act := broker.ReferenceAct{}
			if test.set == nil {
				act = m.publish(v)
			} else {
				act = test.set(m)
			}
			for range 2 { // and after a restart
				_, err := b.AddReference(ctx, act)
				if e := refusedBy(t, err, test.check); e.Fix == "" {
					t.Errorf("no way out: %v", e)
				}
				after := must1(b.Status(ctx))
				if len(after.References) != 1 || after.References[0] != before.References[0] || after.Size != before.Size {
					t.Errorf("%+v, was %+v", after.References, before.References)
				}
				h.close()
				h = w.newHouse()
				b = h.open()
			}
		})
	}
}

// twice has one key sign two times.
func twice(m *makers) broker.ReferenceAct {
	p := m.sign(m.values(6), m.keys[0])
	p.Document.Signatures = append(p.Document.Signatures, p.Document.Signatures[0])
	return m.record(p, m.log)
}

// TestReferenceLine lives through versions of an image.
func TestReferenceLine(t *testing.T) {
	w := newWorld(t)
	m := newMakers(w)
	h := w.newHouse()
	b, a := h.ready()
	refuse := func(part string) {
		t.Helper()
		_, err := w.newRoom(a, w.newRun(a)).ask(b)
		if e := refusedBy(t, err, "evidence.image"); !strings.Contains(e.Got, part) {
			t.Errorf("%s, expected %q", e.Got, part)
		}
	}
	if s := must1(b.Status(ctx)); len(s.References) != 1 || s.References[0].Product != "room" || s.References[0].Version != 0 || s.References[0].Held {
		t.Errorf("%+v", s.References)
	}
	refuse("no set of its reference values is known here")
	must1(b.AddReference(ctx, m.publish(m.without(1))))
	refuse("version 1 of it, the newest known here, does not list this image")

	act := m.publish(m.values(2))
	if ev := must1(b.AddReference(ctx, act)); ev.Kind != "accept" || ev.Number < 0 || len(ev.Notes) != 0 {
		t.Errorf("%+v", ev)
	}
	if ev := must1(b.AddReference(ctx, act)); ev.Number >= 0 {
		t.Errorf("recorded twice: %+v", ev)
	}
	name := must1(reference.Parse(act.Set)).Name()
	r := w.newRoom(a, w.newRun(a))
	facts := grantedFacts(t, r, b)
	if by := facts.Reference; by == nil || by.Name != name || by.Group != "room" || by.Line != policy.LineDigest(m.line) {
		t.Errorf("granted by %+v", by)
	}
	must1(r.live(b, nil))
	if list := must1(b.Why(ctx, name.Digest.String())); len(list) != 1 || list[0].Kind != "accept" {
		t.Errorf("why %+v", list)
	}

	h.close()
	h = w.newHouse()
	b = h.open()
	must1(r.live(b, nil))
	w.newRoom(a, w.newRun(a)).granted(b)
	s := must1(b.Status(ctx)).References[0]
	if s.Version != 2 || s.Set != name.Digest.String() || !s.Held || s.ExpiresMS != start.Add(100*time.Hour).UnixMilli() {
		t.Errorf("%+v", s)
	}

	// The makers withdraw the image: rooms that run with it stop, and get the same bytes no more.
	must1(b.AddReference(ctx, m.publish(m.without(3))))
	refuse("version 3 of it")
	_, err := r.live(b, nil)
	refusedBy(t, err, "evidence.image")
	_, err = b.Release(ctx, r.request())
	refusedBy(t, err, "evidence.image")
	// Going back is a new version.
	_, err = b.AddReference(ctx, act)
	refusedBy(t, err, "reference.rollback")
	must1(b.AddReference(ctx, m.publish(m.values(4))))
	r = w.newRoom(a, w.newRun(a))
	r.granted(b)

	// The owner's own word is above the makers'.
	must1(b.Deny(ctx, w.denials()["agent"]))
	_, err = w.newRoom(a, w.newRun(a)).ask(b)
	refusedBy(t, err, "evidence.floor")
	must1(b.Lift(ctx, w.denials()["agent"]))
	must1(r.live(b, nil))

	w.pass(100 * time.Hour)
	refuse("version 4 of it is no longer good: reference.dates")
	_, err = b.AddReference(ctx, m.publish(m.values(5)))
	refusedBy(t, err, "reference.dates")
}

// grantedFacts gives what the record of a grant says.
func grantedFacts(t *testing.T, r *room, b *broker.Broker) release.GrantFacts {
	t.Helper()
	g := must1(r.open(must1(r.ask(b))))
	return must1(release.ParseGrantFacts(must1(ledger.ParseEntry(g.Receipt.Entry)).Public))
}

// TestReferenceEnds lets a set end while a room runs by it.
func TestReferenceEnds(t *testing.T) {
	w := newWorld(t)
	m := newMakers(w)
	b, a := w.newHouse().ready()
	v := m.values(1)
	v.Expires = wire.At(start.Add(2 * time.Second))
	must1(b.AddReference(ctx, m.publish(v)))
	r := w.newRoom(a, w.newRun(a))
	r.granted(b)
	w.pass(2 * time.Second)
	_, err := r.live(b, commitment("answer"))
	refusedBy(t, err, "evidence.image")
}

// TestReferenceMeanwhile withdraws the image after the decision and before the keys leave.
func TestReferenceMeanwhile(t *testing.T) {
	w := newWorld(t)
	m := newMakers(w)
	one := newWitness(t, w, "one")
	h := w.newHouse()
	h.cfg.Witnesses = w.witnesses(1, one)
	b, a := h.ready()
	must1(b.AddReference(ctx, m.publish(m.values(1))))
	next := m.publish(m.without(2))
	done := make(chan error, 1)
	acted := false
	h.cfg.Witnesses[one.key()] = acting{one, func() {
		if !acted {
			acted = true
			go func() { _, err := b.AddReference(ctx, next); done <- err }()
			must(t, <-done)
		}
	}}
	_, err := w.newRoom(a, w.newRun(a)).ask(b)
	refusedBy(t, err, "evidence.image")
}

// TestReferenceBooksMove has the newest set change between a decision and its transaction.
func TestReferenceBooksMove(t *testing.T) {
	w := newWorld(t)
	m := newMakers(w)
	h := w.newHouse()
	s := &hookedState{State: h.state}
	h.cfg.State = s
	b, a := h.ready()
	must1(b.AddReference(ctx, m.publish(m.values(1))))
	next := m.publish(m.without(2))
	r := w.newRoom(a, w.newRun(a))
	must(t, r.getChallenge(b))
	hook := func() { must1(b.AddReference(ctx, next)) }
	s.hook.Store(&hook)
	_, err := b.Release(ctx, r.request())
	refusedBy(t, err, "evidence.image")
}

// TestReferencePinned pins the room's image beside a line: no set is asked.
func TestReferencePinned(t *testing.T) {
	w := newWorld(t)
	images := w.agreement.Platforms[0].Images
	m := newMakers(w)
	w.agreement.Platforms[0].Images = images
	b, a := w.newHouse().ready()
	r := w.newRoom(a, w.newRun(a))
	if facts := grantedFacts(t, r, b); facts.Reference != nil {
		t.Errorf("granted by %+v", facts.Reference)
	}
	must1(b.AddReference(ctx, m.publish(m.without(1))))
	must1(r.live(b, nil))
}

// next activates the following version of the world's agreement, with other lines.
func (m *makers) next(b *broker.Broker, before *agreement.SignedAgreement, lines ...agreement.ReleaseLine) *agreement.SignedAgreement {
	m.w.t.Helper()
	digest := before.Digest()
	m.w.agreement.Version, m.w.agreement.Supersedes = before.Version+1, &digest
	m.agree(lines...)
	a := m.w.agree()
	must1(b.Activate(ctx, m.w.activation(a)))
	return a
}

// TestReferenceOtherLine has the next agreement name the line otherwise.
func TestReferenceOtherLine(t *testing.T) {
	w := newWorld(t)
	m := newMakers(w)
	b, a := w.newHouse().ready()
	four := m.publish(m.values(4))
	must1(b.AddReference(ctx, m.publish(m.values(5))))

	// Other order, higher minimum: the same line, whose memory stays; what it knows is too low.
	line := m.line
	line.MinimumVersion, line.Keys = 2, []string{m.line.Keys[2], m.line.Keys[0], m.line.Keys[1]}
	a = m.next(b, a, line)
	_, err := w.newRoom(a, w.newRun(a)).ask(b)
	if e := refusedBy(t, err, "evidence.image"); !strings.Contains(e.Got, "not good enough: reference.floor") {
		t.Error(e)
	}
	v := m.values(6)
	v.SecurityVersion = 2
	must1(b.AddReference(ctx, m.publish(v)))
	w.newRoom(a, w.newRun(a)).granted(b)

	// A key is replaced: another line, without a set. What both accept can't go back either.
	line.Keys = append([]string{signingKey(t).Public().String()}, m.line.Keys[1:]...)
	line.MinimumVersion = 1
	a = m.next(b, a, line)
	_, err = w.newRoom(a, w.newRun(a)).ask(b)
	refusedBy(t, err, "evidence.image")
	_, err = b.AddReference(ctx, four)
	refusedBy(t, err, "reference.rollback")
	must1(b.AddReference(ctx, m.publish(v)))
	w.newRoom(a, w.newRun(a)).granted(b)
	if s := must1(b.Status(ctx)).References; len(s) != 2 || s[0].Version != 6 || s[1].Version != 6 {
		t.Errorf("%+v", s)
	}
	// With the line gone from every agreement there is nothing to give sets for.
	m.next(b, a, agreement.ReleaseLine{Product: "other", Keys: m.line.Keys, Threshold: 1, MinimumVersion: 1, LogKey: m.line.LogKey})
	_, err = b.AddReference(ctx, m.publish(m.values(7)))
	refusedBy(t, err, "reference.product")
}

func TestReferenceNotes(t *testing.T) {
	w := newWorld(t)
	m := newMakers(w)
	b := w.newHouse().open()
	act := m.publish(m.values(1))
	_, err := b.AddReference(ctx, act)
	refusedBy(t, err, "reference.product")
	ev := must1(b.Activate(ctx, w.activation(w.agree())))
	if len(ev.Notes) != 1 || !strings.Contains(ev.Notes[0], "broker reference add") {
		t.Errorf("%+v", ev)
	}
	must1(b.AddReference(ctx, act))
	if ev := must1(b.Activate(ctx, w.activation(w.agree()))); len(ev.Notes) != 0 {
		t.Errorf("%+v", ev)
	}
	v := m.values(2)
	v.Groups[0].Minimum = map[string]int64{"svn": 2}
	if ev := must1(b.AddReference(ctx, m.publish(v))); len(ev.Notes) != 1 || !strings.HasPrefix(ev.Notes[0], "1 of its 2 groups") {
		t.Errorf("%+v", ev)
	}
}

// TestReferenceFailures makes every durable call about sets go wrong once: the officer gives the
// set again, to the same process or to a new one. It counts, older ones don't, and the log has
// it once.
func TestReferenceFailures(t *testing.T) {
	w := newWorld(t)
	m := newMakers(w)
	first, second := m.publish(m.without(1)), m.publish(m.values(2))
	for _, where := range []string{"state", "log"} {
		for _, persisted := range []bool{false, true} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s persisted=%v restart=%v", where, persisted, restart), func(t *testing.T) {
					for at := int64(1); ; at++ {
						f := &fault{at: at, persisted: persisted}
						w.referencesWith(t, where, f, restart, first, second)
						if t.Failed() {
							t.Fatalf("with call %d going wrong", at)
						}
						if f.calls.Load() < at {
							t.Logf("%d calls made to go wrong", at-1)
							break
						}
					}
				})
			}
		}
	}
}

func (w *world) referencesWith(t *testing.T, where string, f *fault, restart bool, first, second broker.ReferenceAct) {
	t.Helper()
	w = worldIn(w, t)
	h := w.newHouse()
	h.state.(interface{ Close() error }).Close()
	h.state = newMemory()
	h.cfg.State = h.state
	_, a := h.ready()
	if where == "state" {
		h.cfg.State = faultyState{h.state, f}
	} else {
		h.cfg.Log = faultyLog{h.log, f}
	}
	b := h.open()
	for _, act := range []broker.ReferenceAct{first, second} {
		var err error
		for range 3 {
			if b == nil {
				if b, err = broker.Open(ctx, h.cfg); err != nil {
					continue
				}
			}
			if _, err = b.AddReference(ctx, act); err == nil {
				break
			}
			if restart {
				b = nil
			}
		}
		must(t, err)
	}
	h.cfg.State, h.cfg.Log = h.state, h.log
	b = h.open()
	_, err := b.AddReference(ctx, first)
	refusedBy(t, err, "reference.rollback")
	w.newRoom(a, w.newRun(a)).granted(b)
	n := 0
	for i := range h.log.Size() {
		if must1(ledger.ParseEntry(must1(h.log.Entry(i)))).Kind == "accept" {
			n++
		}
	}
	if s := must1(b.Status(ctx)); n != 2 || s.Queued != 0 || !s.Serving {
		t.Errorf("%d entries, %d queued", n, s.Queued)
	}
	h.close()
}

// TestReferenceAfterRollback loses the state: the log remembers which set was the newest, not
// its file.
func TestReferenceAfterRollback(t *testing.T) {
	w := newWorld(t)
	w.unaudited()
	m := newMakers(w)
	h := w.newHouse()
	b, a := h.ready()
	one, two := m.publish(m.values(1)), m.publish(m.values(2))
	must1(b.AddReference(ctx, one))
	must1(b.AddReference(ctx, two))
	h.close()
	must(t, os.Remove(filepath.Join(w.dir, "state.db")))
	h = w.newHouse()
	b = h.open()
	_, err := b.AddReference(ctx, two)
	refusedBy(t, err, "broker.locked")
	must1(confirm(b))
	must1(b.Publish(ctx, w.publication()))
	if ev := must1(b.Activate(ctx, w.activation(a))); len(ev.Notes) != 1 {
		t.Errorf("%+v", ev)
	}
	if s := must1(b.Status(ctx)).References; len(s) != 1 || s[0].Version != 2 || s[0].Held {
		t.Errorf("%+v", s)
	}
	_, err = w.newRoom(a, w.newRun(a)).ask(b)
	if e := refusedBy(t, err, "evidence.image"); !strings.Contains(e.Got, "its file is gone") {
		t.Error(e)
	}
	_, err = b.AddReference(ctx, one)
	refusedBy(t, err, "reference.rollback")
	must1(b.AddReference(ctx, two))
	w.newRoom(a, w.newRun(a)).granted(b)
}
