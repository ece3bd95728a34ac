package broker_test

import (
	"context"
	"encoding/hex"
	"strings"
	"testing"

	"strongroom.dev/broker"
	"strongroom.dev/policy"
	"strongroom.dev/wire"
)

// denials of everything that a room's evidence says, by name.
func (w *world) denials() map[string]broker.DenialAct {
	of := func(what policy.What, value string) broker.DenialAct {
		return broker.DenialAct{Denial: policy.Denial{What: what, Value: value}, Reason: "found bad"}
	}
	sql := w.image.Helpers["strongroom-sql"]
	return map[string]broker.DenialAct{
		"agent":  of(policy.DenyImage, hex.EncodeToString(w.image.Agent[:])),
		"helper": of(policy.DenyImage, hex.EncodeToString(sql[:])),
		"root":   of(policy.DenyRoot, w.agreement.Platforms[0].Root.String()),
	}
}

func TestDenied(t *testing.T) {
	for name := range newWorld(t).denials() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b, a := w.newHouse().ready()
			act := w.denials()[name]
			r := w.newRoom(a, w.newRun(a))
			r.granted(b)
			must1(r.live(b, nil))
			if ev := must1(b.Deny(ctx, act)); ev.Number < 0 || ev.Kind != "deny" {
				t.Errorf("%+v", ev)
			}
			if s := must1(b.Status(ctx)); len(s.Denied) != 1 || s.Denied[0].DenialAct != act || s.Denied[0].SinceMS != w.now().UnixMilli() {
				t.Errorf("status %+v", s.Denied)
			}
			_, err := r.live(b, nil)
			refusedBy(t, err, "evidence.floor")
			_, err = r.live(b, commitment("answer"))
			refusedBy(t, err, "evidence.floor")
			// Nor are the same bytes given again.
			_, err = b.Release(ctx, r.request())
			refusedBy(t, err, "evidence.floor")
			next := w.newRoom(a, w.newRun(a))
			_, err = next.ask(b)
			refusedBy(t, err, "evidence.floor")

			if ev := must1(b.Lift(ctx, act)); ev.Number < 0 || ev.Kind != "lift" {
				t.Errorf("%+v", ev)
			}
			if list := must1(b.Why(ctx, act.Value)); len(list) != 2 || !strings.Contains(list[0].Subject, "found bad") {
				t.Errorf("why %+v", list)
			}
			must1(next.ask(b))
		})
	}
}

// acting is a witness during whose work an officer acts.
type acting struct {
	*witness
	act func()
}

func (a acting) AddCheckpoint(ctx context.Context, old int64, proof []wire.Hash, checkpoint string) (string, error) {
	a.act()
	return a.witness.AddCheckpoint(ctx, old, proof, checkpoint)
}

// TestDeniedMeanwhile denies the room's agent after the decision and before the keys leave.
func TestDeniedMeanwhile(t *testing.T) {
	w := newWorld(t)
	one := newWitness(t, w, "one")
	h := w.newHouse()
	h.cfg.Witnesses = w.witnesses(1, one)
	b, a := h.ready()
	r := w.newRoom(a, w.newRun(a))
	denied := make(chan error, 1)
	done := false
	h.cfg.Witnesses[one.key()] = acting{one, func() {
		if !done {
			done = true
			go func() { _, err := b.Deny(ctx, w.denials()["agent"]); denied <- err }()
			must(t, <-denied)
		}
	}}
	_, err := r.ask(b)
	refusedBy(t, err, "evidence.floor")
}

func TestDenialRefused(t *testing.T) {
	w := newWorld(t)
	b, _ := w.newHouse().ready()
	size := must1(b.Status(ctx)).Size
	good := w.denials()["agent"]
	for name, change := range map[string]func(*broker.DenialAct){
		"nothing":    func(a *broker.DenialAct) { *a = broker.DenialAct{} },
		"value":      func(a *broker.DenialAct) { a.Value = "x" },
		"what":       func(a *broker.DenialAct) { a.What = "" },
		"long":       func(a *broker.DenialAct) { a.Reason = strings.Repeat("a", 257) },
		"two lines":  func(a *broker.DenialAct) { a.Reason = "a\nb" },
		"not normal": func(a *broker.DenialAct) { a.Reason = "e\u0301" },
	} {
		act := good
		change(&act)
		if _, err := b.Deny(ctx, act); err == nil {
			t.Errorf("%s: denied", name)
		}
		if _, err := b.Lift(ctx, act); err == nil {
			t.Errorf("%s: lifted", name)
		}
	}
	if s := must1(b.Status(ctx)); s.Size != size || len(s.Denied) != 0 {
		t.Errorf("%d records more, %+v", s.Size-size, s.Denied)
	}
}
