package broker_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

// witness is a shared ledger in memory; it behaves as spec/ledger.md says one must.
type witness struct {
	signer *ledger.Signer
	now    func() time.Time

	mu     sync.Mutex
	logKey string
	seen   ledger.Checkpoint
	asked  int
	down   bool
	lies   string // appended to its cosignatures' base
}

var errDown = errors.New("no route to host")

func newWitness(t testing.TB, w *world, name string) *witness {
	secret, _, err := ledger.GenerateKey(name)
	must(t, err)
	return &witness{signer: must1(ledger.ParseSigner(secret)), now: w.now, logKey: w.descriptors["alpha"].Broker.LogKey}
}

func (w *witness) key() string { return w.signer.Verifier() }

func (w *witness) AddCheckpoint(_ context.Context, old int64, proof []wire.Hash, checkpoint string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.down {
		return "", errDown
	}
	c, err := ledger.OpenCheckpoint(checkpoint, w.logKey)
	if err != nil {
		return "", err
	}
	if old != w.seen.Size {
		return "", errors.New("conflict")
	}
	if old > 0 {
		if err := ledger.CheckConsistency(proof, w.seen, c); err != nil {
			return "", err
		}
	}
	w.seen = c
	if w.lies != "" {
		return w.lies, nil
	}
	return w.signer.Cosign(c, w.now())
}

func (w *witness) Latest(context.Context, string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return "", errDown
	}
	return w.seen.Note, nil
}

func (w *witness) set(down bool) { w.mu.Lock(); w.down = down; w.mu.Unlock() }

// witnesses adds shared ledgers to the world's agreement and gives the broker's table.
func (w *world) witnesses(quorum int64, list ...*witness) map[string]broker.Witness {
	table := map[string]broker.Witness{}
	for i, one := range list {
		w.agreement.Ledgers.Witnesses = append(w.agreement.Ledgers.Witnesses, agreement.Witness{Name: wire.ID("ledger-" + string(rune('a'+i))), Key: one.key()})
		table[one.key()] = one
	}
	w.agreement.Ledgers.Quorum = quorum
	return table
}

func TestWitnesses(t *testing.T) {
	w := newWorld(t)
	w.agreement.Inputs[0].RunsPerDay = 100
	one, two := newWitness(t, w, "one"), newWitness(t, w, "two")
	h := w.newHouse()
	h.cfg.Witnesses = w.witnesses(1, one, two)
	b, a := h.ready()
	w.newRoom(a, w.newRun(a)).granted(b) // opening the grant counts the quorum
	t.Run("one of two is enough", func(t *testing.T) {
		one.set(true)
		w.newRoom(a, w.newRun(a)).granted(b)
	})
	t.Run("none: recorded, no key, and the same request goes on later", func(t *testing.T) {
		two.set(true)
		r := w.newRoom(a, w.newRun(a))
		_, err := r.ask(b)
		refusedBy(t, err, "release.witnesses")
		before := must1(b.Status(ctx)).Recorded["grant"]
		_, err = b.Release(ctx, r.request())
		refusedBy(t, err, "release.witnesses")
		_, err = w.newRoom(a, r.run).ask(b)
		refusedBy(t, err, "run.once")
		two.set(false)
		answer, err := b.Release(ctx, r.request())
		must(t, err)
		must1(r.open(answer))
		if after := must1(b.Status(ctx)).Recorded["grant"]; after != before {
			t.Errorf("%d grants recorded, %d before the retry", after, before)
		}
	})
	t.Run("comes back and catches up", func(t *testing.T) {
		one.set(false)
		two.set(true)
		w.newRoom(a, w.newRun(a)).granted(b)
	})
	t.Run("a false cosignature counts for nothing", func(t *testing.T) {
		one.lies = must1(two.signer.Cosign(one.seen, w.now()))
		_, err := w.newRoom(a, w.newRun(a)).ask(b)
		refusedBy(t, err, "release.witnesses")
	})
}

func TestWitnessNotConfigured(t *testing.T) {
	w := newWorld(t)
	w.witnesses(1, newWitness(t, w, "one"))
	b, a := w.newHouse().ready()
	_, err := w.newRoom(a, w.newRun(a)).ask(b)
	e := refusedBy(t, err, "release.witnesses")
	if !strings.Contains(e.Got, "not told where") {
		t.Errorf("got %q", e.Got)
	}
}

// TestWitnessAheadWhileServing lets a witness show a later state of the log in mid-service.
func TestWitnessAheadWhileServing(t *testing.T) {
	w := newWorld(t)
	one := newWitness(t, w, "one")
	h := w.newHouse()
	h.cfg.Witnesses = w.witnesses(1, one)
	b, a := h.ready()
	w.newRoom(a, w.newRun(a)).granted(b)
	later := must1(w.keys.LogKey().SignCheckpoint(99, wire.HashOf([]byte("later"))))
	one.mu.Lock()
	one.seen = must1(ledger.OpenCheckpoint(later, one.logKey))
	one.mu.Unlock()
	_, err := w.newRoom(a, w.newRun(a)).ask(b)
	refusedBy(t, err, "broker.locked")
	if s := must1(b.Status(ctx)); s.Lock == nil || s.Lock.Kind != broker.LockBehind {
		t.Fatalf("lock %+v", s.Lock)
	}
}

// TestAnsweredForOthers sets a broker back while nobody but somebody on the way answers.
func TestAnsweredForOthers(t *testing.T) {
	w := newWorld(t)
	one := newWitness(t, w, "one")
	h := w.newHouse()
	h.cfg.Witnesses = w.witnesses(1, one)
	_, a := h.ready()
	copied, h := h.keep(t)
	w.newRoom(a, w.newRun(a)).granted(h.open())
	one.set(true)
	h = h.setBack(t, copied, true, true)
	recorded := must1(w.peer("").Seen(ctx, must1(release.NewSeenRequest(release.SeenRequest{Log: w.descriptors["alpha"].Broker.LogKey, Nonce: wire.HashOf([]byte("old"))}))))
	for name, answers := range map[string]broker.Peer{
		"unsigned":                 saying(`{"checkpoints":[]}`),
		"an answer from before":    saying(recorded),
		"signed by somebody else":  peer{key: w.signing["beta"]},
		"a checkpoint of no log":   w.peer("junk"),
		"a checkpoint not of ours": w.peer(w.betaLog.Checkpoint()),
	} {
		h.cfg.PeerAt = func(string) broker.Peer { return answers }
		if s := must1(h.open().Status(ctx)); s.Serving || s.Lock.Kind != broker.LockUnreachable {
			t.Errorf("%s: serving %v, lock %+v", name, s.Serving, s.Lock)
		}
	}
}

// junkNote is a witness whose answers lose the log's own signature on the way.
type junkNote struct{ *witness }

func (j junkNote) Latest(ctx context.Context, origin string) (string, error) {
	note, err := j.witness.Latest(ctx, origin)
	text, _, _ := strings.Cut(note, "\n\n")
	return text + "\n\n", err
}

func TestWitnessAnswerStripped(t *testing.T) {
	w := newWorld(t)
	one := newWitness(t, w, "one")
	h := w.newHouse()
	h.cfg.Witnesses, h.cfg.PeerAt = w.witnesses(1, one), nil
	_, a := h.ready()
	copied, h := h.keep(t)
	w.newRoom(a, w.newRun(a)).granted(h.open())
	h = h.setBack(t, copied, true, true)
	h.cfg.Witnesses[one.key()] = junkNote{one}
	if s := must1(h.open().Status(ctx)); s.Serving || s.Lock.Kind != broker.LockUnreachable {
		t.Errorf("serving %v, lock %+v", s.Serving, s.Lock)
	}
}

// racing is a witness that somebody shows the log's latest checkpoint just before the broker
// asks it to sign an earlier one.
type racing struct {
	*witness
	log   func() broker.Log
	grow  func()
	times int
}

func (x *racing) AddCheckpoint(c context.Context, old int64, proof []wire.Hash, checkpoint string) (string, error) {
	if x.times > 0 {
		x.times--
		x.grow()
		now, err := x.log().Consistency(old, x.log().Size())
		if err == nil {
			_, err = x.witness.AddCheckpoint(c, old, now, x.log().Checkpoint())
		}
		if err != nil {
			return "", err
		}
	}
	return x.witness.AddCheckpoint(c, old, proof, checkpoint)
}

func TestWitnessShownLaterCheckpoint(t *testing.T) {
	w := newWorld(t)
	one := newWitness(t, w, "one")
	h := w.newHouse()
	h.cfg.Witnesses = w.witnesses(1, one)
	x := &racing{witness: one, log: func() broker.Log { return h.log }}
	h.cfg.Witnesses[one.key()] = x
	b, a := h.ready()
	w.newRoom(a, w.newRun(a)).granted(b)
	stranger := w.newRoom(a, w.newRun(a))
	must(t, stranger.getChallenge(b))
	stranger.change = func(q *release.Request) { q.Evidence.Evidence = []byte("{}") }
	x.grow = func() { // a refusal is recorded: anybody can make the log grow
		if _, err := b.Release(ctx, stranger.request()); err == nil {
			t.Error("keys without evidence")
		}
	}
	x.times = 2
	w.newRoom(a, w.newRun(a)).granted(b)
	if s := must1(b.Status(ctx)); !s.Serving {
		t.Fatalf("locked: %+v", s.Lock)
	}
	x.times = 100 // without end, it is no reason to lock either
	_, err := w.newRoom(a, w.newRun(a)).ask(b)
	refusedBy(t, err, "release.witnesses")
	if s := must1(b.Status(ctx)); !s.Serving {
		t.Fatalf("locked: %+v", s.Lock)
	}
}
