package broker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/broker"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

func commitment(s string) *wire.Digest { d := wire.DigestOf([]byte(s)); return &d }

func TestLive(t *testing.T) {
	w := newWorld(t)
	b, a := w.newHouse().ready()
	r := w.newRoom(a, w.newRun(a))
	r.granted(b)
	for range 4 { // longer in all than one lease
		w.pass(2 * time.Second)
		l, err := r.live(b, nil)
		must(t, err)
		if want := w.now().UnixMilli() + a.LeaseMS; l.LeaseEndMS != want {
			t.Errorf("lease ends at %d, expected %d", l.LeaseEndMS, want)
		}
	}
	t.Run("only the room that was given the keys", func(t *testing.T) {
		other := *r
		other.signing = signingKey(t)
		_, err := other.live(b, nil)
		refusedBy(t, err, "message.signature")
	})
	t.Run("only for that run and release", func(t *testing.T) {
		other := *r
		other.releaseID = randomID()
		_, err := other.live(b, nil)
		refusedBy(t, err, "live.run")
		other = *r
		other.run = w.newRun(a)
		_, err = other.live(b, nil)
		refusedBy(t, err, "live.run")
	})
	t.Run("not with what it asked before", func(t *testing.T) {
		must1(r.live(b, nil))
		old := *r
		w.pass(2 * time.Second)
		_, err := b.Live(ctx, old.lastLive)
		refusedBy(t, err, "live.counter")
		old.counter -= 2 // signed anew, with a counter used before
		_, err = old.live(b, commitment("an older one"))
		refusedBy(t, err, "live.counter")
		w.pass(time.Second)
		_, err = b.Live(ctx, old.lastLive)
		refusedBy(t, err, "lease") // what was refused has extended nothing
	})
	r = w.newRoom(a, w.newRun(a))
	r.granted(b)
	t.Run("one answer", func(t *testing.T) {
		first, err := r.live(b, commitment("answer"))
		must(t, err)
		entry, _, err := first.Receipt.Verify(w.descriptors["alpha"].Broker.LogKey, nil, 0)
		must(t, err)
		facts, err := release.ParseOutputFacts(entry.Public)
		must(t, err)
		if entry.Kind != "output" || entry.RunID != r.run.RunID || facts.Commitment != *commitment("answer") {
			t.Errorf("receipt of %+v", entry)
		}
		again, err := r.live(b, commitment("answer"))
		must(t, err)
		if again.Receipt.Index != first.Receipt.Index {
			t.Error("the same commitment was recorded twice")
		}
		_, err = r.live(b, commitment("another answer"))
		refusedBy(t, err, "run.one-answer")
	})
	t.Run("a lapsed lease is over for good", func(t *testing.T) {
		w.pass(3 * time.Second)
		_, err := r.live(b, nil)
		refusedBy(t, err, "lease")
		w.pass(-2 * time.Second)
		w.pass(2 * time.Second)
		_, err = r.live(b, commitment("answer"))
		refusedBy(t, err, "lease")
	})
}

func TestSwitchedOffMidRun(t *testing.T) {
	for name, off := range map[string]func(*world, *house) error{
		"retired": func(w *world, h *house) error {
			_, err := h.broker.Retire(ctx, h.agreement.Digest())
			return err
		},
		"revoked": func(w *world, h *house) error {
			_, err := h.broker.Revoke(ctx, w.descriptors["beta"].Digest())
			return err
		},
		"superseded": func(w *world, h *house) error {
			digest := h.agreement.Digest()
			w.agreement.Version, w.agreement.Supersedes = 2, &digest
			_, err := h.broker.Activate(ctx, w.activation(w.agree()))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			h := w.newHouse()
			b, a := h.ready()
			r := w.newRoom(a, w.newRun(a))
			r.granted(b)
			must1(r.live(b, nil))
			must(t, off(w, h))
			check := "agreement.activated"
			if name == "revoked" {
				check = "agreement.revoked"
			}
			_, err := r.live(b, nil)
			refusedBy(t, err, check)
			_, err = r.live(b, commitment("answer"))
			refusedBy(t, err, check)
			// Nor are the same bytes given again.
			_, err = b.Release(ctx, r.request())
			refusedBy(t, err, check)
		})
	}
}

// TestLeaseEndsWithAgreement shows that no lease is longer than the agreement's validity.
func TestLeaseEndsWithAgreement(t *testing.T) {
	w := newWorld(t)
	w.agreement.Valid.Until = wire.At(start.Add(4 * time.Second))
	b, a := w.newHouse().ready()
	r := w.newRoom(a, w.newRun(a))
	r.granted(b)
	w.pass(2 * time.Second)
	l, err := r.live(b, nil)
	must(t, err)
	if until := a.Valid.Until.Time().UnixMilli(); l.LeaseEndMS > until {
		t.Errorf("lease ends %d ms after the agreement", l.LeaseEndMS-until)
	}
	w.pass(2 * time.Second)
	_, err = r.live(b, nil)
	refusedBy(t, err, "agreement.validity")
}

func TestRefusalsAreBounded(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	b, a := h.ready()
	r := w.newRoom(a, w.newRun(a))
	r.granted(b)
	must1(b.Retire(ctx, a.Digest()))
	for range 100 {
		r.live(b, nil)
	}
	s := must1(b.Status(ctx))
	if s.Recorded["refusal"] != 60 || s.SinceStart.Refused != 100 || s.SinceStart.Unlogged != 40 {
		t.Errorf("%+v, %+v", s.Recorded, s.SinceStart)
	}
	w.pass(3 * time.Second)
	for range 10 {
		r.live(b, nil)
	}
	if s := must1(b.Status(ctx)); s.Recorded["refusal"] != 63 {
		t.Errorf("%d refusals recorded", s.Recorded["refusal"])
	}
	for i := range h.log.Size() {
		must1(ledger.ParseEntry(must1(h.log.Entry(i))))
	}
}

// slow is a witness that takes its time.
type slow struct {
	*witness
	w *world
	d time.Duration
}

func (s slow) AddCheckpoint(ctx context.Context, old int64, proof []wire.Hash, checkpoint string) (string, error) {
	s.w.pass(s.d)
	return s.witness.AddCheckpoint(ctx, old, proof, checkpoint)
}

// TestAgreementEndsMeanwhile lets an agreement end while its witness signs.
func TestAgreementEndsMeanwhile(t *testing.T) {
	w := newWorld(t)
	one := newWitness(t, w, "one")
	h := w.newHouse()
	h.cfg.Witnesses = w.witnesses(1, one)
	w.agreement.Valid.Until = wire.At(start.Add(10 * time.Second))
	b, a := h.ready()
	until := a.Valid.Until.Time().UnixMilli()
	t.Run("soon after: the lease is over by then", func(t *testing.T) {
		h.cfg.Witnesses[one.key()] = slow{one, w, 8 * time.Second}
		r := w.newRoom(a, w.newRun(a))
		answer, err := r.ask(b)
		must(t, err)
		if g := must1(r.open(answer)); g.TimeMS+g.LeaseMS > until {
			t.Errorf("lease until %d ms after the end", g.TimeMS+g.LeaseMS-until)
		}
	})
	t.Run("before: no keys", func(t *testing.T) {
		h.cfg.Witnesses[one.key()] = slow{one, w, 2 * time.Second}
		r := w.newRoom(a, w.newRun(a))
		_, err := r.ask(b)
		refusedBy(t, err, "agreement.validity")
		_, err = b.Release(ctx, r.request())
		refusedBy(t, err, "agreement.validity")
	})
}

// TestRefusedChallenges shows that a room refused before it could name its run leaves a trace
// under the agreement, and that nobody fills the log that way or crowds out other refusals.
func TestRefusedChallenges(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	var told []broker.Told
	h.cfg.Tell = func(d broker.Told) { told = append(told, d) }
	b, a := h.ready()
	r := w.newRoom(a, w.newRun(a))
	r.granted(b)
	must1(b.Retire(ctx, a.Digest()))
	ask := func(agreement wire.Digest) {
		t.Helper()
		_, err := b.Challenge(ctx, must1(release.NewChallengeRequest(release.ChallengeRequest{Purpose: attest.ForRelease, Agreement: agreement, Nonce: wire.HashOf([]byte("n"))})))
		refusedBy(t, err, "agreement.activated")
	}
	ask(wire.DigestOf([]byte("unknown")))
	if s := must1(b.Status(ctx)); s.Recorded["refusal"] != 0 || s.SinceStart.Unlogged != 1 {
		t.Errorf("of an unknown agreement: %+v, %+v", s.Recorded, s.SinceStart)
	}
	for range 50 {
		ask(a.Digest())
	}
	if s := must1(b.Status(ctx)); s.Recorded["refusal"] != 10 || s.SinceStart.Refused != 51 || s.SinceStart.Unlogged != 41 {
		t.Errorf("%+v, %+v", s.Recorded, s.SinceStart)
	}
	list := must1(b.Why(ctx, a.Digest().String()))
	if last := list[len(list)-1]; last.Kind != "refusal" || !strings.Contains(last.Refusal, "retired") || last.RunID != "" {
		t.Errorf("why the agreement: %+v", last)
	}
	r.live(b, nil) // what a room signed has its own bound
	w.pass(time.Minute)
	ask(a.Digest())
	if s := must1(b.Status(ctx)); s.Recorded["refusal"] != 12 {
		t.Errorf("%d refusals recorded", s.Recorded["refusal"])
	}
	if len(told) != 13 || told[0].Kind != "grant" || told[0].RunID != r.run.RunID || told[1].Check != "agreement.activated" || told[11].RunID != r.run.RunID {
		t.Errorf("told %+v", told)
	}
	for i := range h.log.Size() {
		must1(ledger.ParseEntry(must1(h.log.Entry(i))))
	}
}
