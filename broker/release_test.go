package broker_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

func TestRelease(t *testing.T) {
	w := newWorld(t)
	b, a := w.newHouse().ready()
	r := w.newRoom(a, w.newRun(a))
	answer := r.granted(b)
	t.Run("the same request gets the same bytes and counts once", func(t *testing.T) {
		for range 3 {
			again, err := b.Release(ctx, r.request())
			must(t, err)
			if !bytes.Equal(answer, again) {
				t.Error("another answer")
			}
		}
		s, err := b.Status(ctx)
		must(t, err)
		if s.Recorded["grant"] != 1 || s.Datasets[0].Runs != 1 {
			t.Errorf("%d grants and %d runs recorded", s.Recorded["grant"], s.Datasets[0].Runs)
		}
	})
	t.Run("no other room gets in under its release id", func(t *testing.T) {
		other := w.newRoom(a, r.run)
		other.releaseID = r.releaseID
		_, err := other.ask(b)
		refusedBy(t, err, "release.id")
	})
	t.Run("why explains it", func(t *testing.T) {
		list, err := b.Why(ctx, r.run.RunID)
		must(t, err)
		if list[0].Kind != "grant" || list[0].Refusal != "" || len(list[0].Checks) < 10 || list[1].Kind != "refusal" || list[1].Refusal == "" {
			t.Errorf("got %+v", list)
		}
		_, err = b.Why(ctx, "nothing")
		refusedBy(t, err, "broker.why")
	})
}

func TestReleaseRefused(t *testing.T) {
	for _, c := range []struct {
		name, check string
		change      func(*world, *room)
	}{
		{"evidence with a swapped room key", "evidence.binding", func(w *world, r *room) {
			r.change = func(q *release.Request) { q.Room.HPKE = must1(keys.GenerateHPKEKey()).Public() }
		}},
		{"a header of another file", "input.catalogued", func(w *world, r *room) {
			r.change = func(q *release.Request) { q.Inputs[0].Header = append(bytes.Clone(q.Inputs[0].Header), '\n') }
		}},
		{"a signature missing", "agreement.signatures", func(w *world, r *room) { r.agreement = w.agree("alpha", "study") }},
		{"a revoked party", "parties.revoked", nil},
		{"another broker's challenge", "challenge.known", func(w *world, r *room) {
			r.change = func(q *release.Request) { q.Challenge[0] ^= 1 }
		}},
		{"an expired challenge", "challenge.fresh", func(w *world, r *room) { w.pass(5 * time.Minute) }},
		{"no checkpoint of the other owner", "peers.checkpoints", func(w *world, r *room) {
			r.change = func(q *release.Request) { q.Peers = []release.PeerCheckpoint{} }
		}},
		{"a checkpoint by another key", "peers.checkpoints", func(w *world, r *room) {
			secret, _, err := ledger.GenerateKey(w.betaLog.Origin())
			must(w.t, err)
			note := must1(must1(ledger.ParseSigner(secret)).SignCheckpoint(7, wire.HashOf([]byte("fork"))))
			r.change = func(q *release.Request) { q.Peers[0].Checkpoint = note }
		}},
		{"an expired run", "run.unexpired", func(w *world, r *room) {
			r.run.Expires = wire.At(w.now())
			r.run = must1(agreement.NewRun(r.run.Run))
			must(w.t, r.run.Document.Sign(w.signing["study"]))
		}},
		{"another image", "evidence.image", func(w *world, r *room) { w.image.Agent[0] ^= 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			h := w.newHouse()
			b, a := h.ready()
			r := w.newRoom(a, w.newRun(a))
			must(t, r.getChallenge(b))
			if c.change == nil {
				must1(b.Revoke(ctx, w.descriptors["study"].Digest()))
			} else {
				c.change(w, r)
			}
			size := h.log.Size()
			_, err := b.Release(ctx, r.request())
			e := refusedBy(t, err, c.check)
			if len(e.Checks) < 10 {
				t.Errorf("only %d clauses explained", len(e.Checks))
			}
			if h.log.Size() != size+1 {
				t.Error("the refusal is not in the log")
			}
			entry, err := h.log.Entry(size)
			must(t, err)
			if parsed := must1(ledger.ParseEntry(entry)); parsed.Kind != "refusal" || parsed.RunID != r.run.RunID {
				t.Errorf("recorded %s", entry)
			}
			// Nothing was spent: the world put right, the run is released.
			if c.name == "a checkpoint by another key" || c.name == "no checkpoint of the other owner" || c.name == "a header of another file" {
				r.change = nil
				r.releaseID = randomID()
				r.granted(b)
			}
		})
	}
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestUnknownAgreement(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	b, a := h.ready()
	r := w.newRoom(a, w.newRun(a))
	must(t, r.getChallenge(b))
	w.agreement.Title = "Another study"
	r.agreement = w.agree()
	r.run = w.newRun(r.agreement)
	size := h.log.Size()
	_, err := b.Release(ctx, r.request())
	refusedBy(t, err, "agreement.activated")
	if h.log.Size() != size {
		t.Error("a stranger's agreement got into the log")
	}
	refusedBy(t, r.getChallenge(b), "agreement.activated")
}

func TestSpentOnce(t *testing.T) {
	w := newWorld(t)
	b, a := w.newHouse().ready()
	r := w.newRoom(a, w.newRun(a))
	r.granted(b)
	t.Run("a run", func(t *testing.T) {
		_, err := w.newRoom(a, r.run).ask(b)
		refusedBy(t, err, "run.once")
	})
	t.Run("a challenge", func(t *testing.T) {
		other := w.newRoom(a, w.newRun(a))
		other.challenge = r.challenge
		_, err := b.Release(ctx, other.request())
		refusedBy(t, err, "challenge.fresh")
	})
	t.Run("the day's runs", func(t *testing.T) {
		for range 2 {
			w.newRoom(a, w.newRun(a)).granted(b)
		}
		_, err := w.newRoom(a, w.newRun(a)).ask(b)
		refusedBy(t, err, "budget.runs")
		w.pass(24*time.Hour - time.Millisecond)
		_, err = w.newRoom(a, w.newRun(a)).ask(b)
		refusedBy(t, err, "budget.runs")
		w.pass(time.Millisecond)
		w.newRoom(a, w.newRun(a)).granted(b)
	})
}

// TestClockSetBack shows that runs recorded in the future still count.
func TestClockSetBack(t *testing.T) {
	w := newWorld(t)
	b, a := w.newHouse().ready()
	for range 3 {
		w.newRoom(a, w.newRun(a)).granted(b)
	}
	w.pass(-30 * time.Minute)
	_, err := w.newRoom(a, w.newRun(a)).ask(b)
	refusedBy(t, err, "budget.runs")
}

func TestRacingRooms(t *testing.T) {
	w := newWorld(t)
	w.agreement.Inputs[0].RunsPerDay = 100
	b, a := w.newHouse().ready()
	run := w.newRun(a)
	const n = 8
	rooms := make([]*room, n)
	for i := range rooms {
		rooms[i] = w.newRoom(a, run)
		must(t, rooms[i].getChallenge(b))
	}
	answers, errs := make([][]byte, n), make([]error, n)
	var wg sync.WaitGroup
	for i, r := range rooms {
		data := r.request()
		wg.Add(1)
		go func() {
			defer wg.Done()
			answers[i], errs[i] = b.Release(ctx, data)
		}()
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
			must1(rooms[i].open(answers[i]))
			continue
		}
		refusedBy(t, err, "run.once")
	}
	if won != 1 {
		t.Fatalf("%d of %d rooms got the keys of one run", won, n)
	}
}

func TestConcurrentRuns(t *testing.T) {
	w := newWorld(t)
	w.agreement.Inputs[0].RunsPerDay = 5
	b, a := w.newHouse().ready()
	const n = 8
	rooms := make([]*room, n)
	for i := range rooms {
		rooms[i] = w.newRoom(a, w.newRun(a))
		must(t, rooms[i].getChallenge(b))
	}
	errs, answers := make([]error, n), make([][]byte, n)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, r := range rooms {
		data := r.request()
		for range 2 { // each request twice, as a relay that retries sends it
			wg.Add(1)
			go func() {
				defer wg.Done()
				answer, err := b.Release(ctx, data)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					_, err = r.open(answer)
				}
				if err != nil {
					errs[i] = err
				} else if answers[i] == nil {
					answers[i] = answer
				} else if !bytes.Equal(answers[i], answer) {
					t.Error("one request got two answers")
				}
			}()
		}
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			refusedBy(t, err, "budget.runs")
		}
	}
	if won != 5 {
		t.Errorf("%d runs released, 5 a day agreed", won)
	}
	s := must1(b.Status(ctx))
	if s.Recorded["grant"] != 5 || s.Queued != 0 {
		t.Errorf("%d grants recorded, %d queued", s.Recorded["grant"], s.Queued)
	}
}

func TestOtherOwnersLog(t *testing.T) {
	w := newWorld(t)
	b, a := w.newHouse().ready()
	w.newRoom(a, w.newRun(a)).granted(b)
	t.Run("grows", func(t *testing.T) {
		w.betaGrows(4)
		r := w.newRoom(a, w.newRun(a))
		r.granted(b)
		if len(r.challenge.Seen) != 1 || r.challenge.Seen[0].Size != 3 {
			t.Errorf("seen %+v", r.challenge.Seen)
		}
		if held := w.held(b); held != w.betaLog.Checkpoint() {
			t.Errorf("holds %q", held)
		}
	})
	t.Run("is set back", func(t *testing.T) {
		r := w.newRoom(a, w.newRun(a))
		old := w.betaNotes[3]
		r.change = func(q *release.Request) {
			q.Peers[0] = release.PeerCheckpoint{Checkpoint: old, From: 0, Proof: []wire.Hash{}}
		}
		_, err := r.ask(b)
		refusedBy(t, err, "peers.checkpoints")
	})
	t.Run("proof from another size", func(t *testing.T) {
		w.betaGrows(2)
		r := w.newRoom(a, w.newRun(a))
		r.change = func(q *release.Request) {
			q.Peers[0].From, q.Peers[0].Proof = 5, must1(w.betaLog.Consistency(5, w.betaLog.Size()))
		}
		_, err := r.ask(b)
		refusedBy(t, err, "peers.checkpoints")
	})
}

func TestPurposeAndVersion(t *testing.T) {
	w := newWorld(t)
	b, a := w.newHouse().ready()
	data := must1(release.NewChallengeRequest(release.ChallengeRequest{Purpose: attest.ForIngress, Agreement: a.Digest(), Nonce: wire.HashOf([]byte("n"))}))
	_, err := b.Challenge(ctx, data)
	refusedBy(t, err, "challenge.purpose")
	for _, junk := range [][]byte{nil, []byte("{}"), bytes.Repeat([]byte("x"), release.MaxRequest+1)} {
		if _, err := b.Challenge(ctx, junk); err == nil {
			t.Error("junk got a challenge")
		}
		if _, err := b.Release(ctx, junk); err == nil {
			t.Error("junk got keys")
		}
		if _, err := b.Live(ctx, junk); err == nil {
			t.Error("junk is live")
		}
	}
}
