package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"strongroom.dev/broker"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/release/file"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var errDisk = errors.New("input/output error")

// fault makes one durable call go wrong: the nth, before or after it was made durable.
type fault struct {
	calls     atomic.Int64
	at        int64
	persisted bool
}

// strikes counts a call and says whether it goes wrong.
func (f *fault) strikes() bool { return f.calls.Add(1) == f.at }

type faultyState struct {
	broker.State
	*fault
}

func (s faultyState) Update(f func(broker.Tx) error) error {
	if !s.strikes() {
		return s.State.Update(f)
	}
	if s.persisted {
		if err := s.State.Update(f); err != nil {
			return err
		}
	}
	return errDisk
}

type faultyLog struct {
	broker.Log
	*fault
}

func (l faultyLog) Append(ctx context.Context, entries [][]byte) (int64, error) {
	if !l.strikes() {
		return l.Log.Append(ctx, entries)
	}
	if l.persisted {
		if _, err := l.Log.Append(ctx, entries); err != nil {
			return 0, err
		}
	}
	return 0, errDisk
}

// watchedKeys fails the test if a header is unwrapped for a release whose grant is not in
// the log: record before act.
type watchedKeys struct {
	*file.Store
	t        *testing.T
	log      broker.Log
	releases *atomic.Int64 // how many releases may have been unwrapped for so far
}

func (k watchedKeys) Unwrap(header []byte) (*seal.FileKey, error) {
	if want := k.releases.Load(); want > 0 {
		if have := int64(len(logOf(k.t, k.log).grants)); have < want {
			k.t.Errorf("unwrapped for release %d with %d grants in the log", want, have)
		}
	}
	return k.Store.Unwrap(header)
}

func (k watchedKeys) ReleaseKey() keys.Signer { return k.Store.ReleaseKey() }

// TestFailures makes every durable call of a whole life of a broker go wrong once, in every
// way: each time the caller asks the same again, of the same process or of a new one, and
// gets what was asked; nothing is spent twice, and no record is lost.
func TestFailures(t *testing.T) {
	w := newWorld(t)
	for _, where := range []string{"state", "log"} {
		for _, persisted := range []bool{false, true} {
			for _, restart := range []bool{false, true} {
				name := fmt.Sprintf("%s persisted=%v restart=%v", where, persisted, restart)
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					for at := int64(1); ; at++ {
						f := &fault{at: at, persisted: persisted}
						w.lifeWith(t, where, f, restart)
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

// lifeWith lives the life of a broker under one fault.
func (w *world) lifeWith(t *testing.T, where string, f *fault, restart bool) {
	t.Helper()
	w = worldIn(w, t) // a directory of its own
	h := w.newHouse()
	h.state.(interface{ Close() error }).Close()
	h.state = newMemory() // which keeps the same contract, and spares the disk
	h.cfg.State = h.state
	releases := &atomic.Int64{}
	h.cfg.Keys = watchedKeys{w.keys, t, h.log, releases}
	if where == "state" {
		h.cfg.State = faultyState{h.state, f}
	} else {
		h.cfg.Log = faultyLog{h.log, f}
	}
	var b *broker.Broker
	// again asks until it is done; what goes wrong must say that it was not the asker's fault.
	again := func(do func() error) {
		t.Helper()
		for range 3 {
			var err error
			if b == nil {
				b, err = broker.Open(ctx, h.cfg)
			}
			if err == nil {
				err = do()
			}
			if err == nil {
				return
			}
			if verdict.As(err).Kind != verdict.Broken {
				t.Fatalf("refused: %v", err)
			}
			if restart {
				b = nil
			}
		}
		t.Fatal("not done after three attempts")
	}
	a := w.agree()
	again(func() error { _, err := b.Publish(ctx, w.publication()); return err })
	again(func() error { _, err := b.Activate(ctx, w.activation(a)); return err })
	r := w.newRoom(a, w.newRun(a))
	again(func() error { return r.getChallenge(b) })
	releases.Store(1)
	data := r.request()
	var answer []byte
	again(func() (err error) { answer, err = b.Release(ctx, data); return err })
	must1(r.open(answer))
	again(func() error {
		second, err := b.Release(ctx, data)
		if err == nil && !bytes.Equal(second, answer) {
			t.Error("answered twice, differently")
		}
		return err
	})
	output := commitment(r.run.RunID)
	again(func() error { _, err := r.live(b, output); return err })
	_, err := r.live(b, commitment("another"))
	for verdict.As(err).Kind == verdict.Broken { // the fault fell on this one
		_, err = r.live(b, commitment("another"))
	}
	refusedBy(t, err, "run.one-answer")
	again(func() error { _, err := b.Revoke(ctx, wire.DigestOf([]byte("somebody"))); return err })
	again(func() error { _, err := b.Retire(ctx, a.Digest()); return err })
	h.checkLife(t)
}

// checkLife demands each event of the life in the log, once, and opens it again.
func (h *house) checkLife(t *testing.T) {
	t.Helper()
	h.cfg.State, h.cfg.Log, h.cfg.Keys = h.state, h.log, h.w.keys
	b := h.open()
	s := must1(b.Status(ctx))
	if !s.Serving || s.Queued != 0 {
		t.Errorf("lock %+v, %d queued", s.Lock, s.Queued)
	}
	kinds := map[string]int{}
	for i := range h.log.Size() {
		kinds[string(must1(ledger.ParseEntry(must1(h.log.Entry(i)))).Kind)]++
	}
	for kind, want := range map[string]int{"publish": 1, "activate": 1, "grant": 1, "output": 1, "revoke": 1, "retire": 1} {
		if kinds[kind] != want {
			t.Errorf("%d entries %s, expected %d", kinds[kind], kind, want)
		}
	}
	if s.Datasets[0].Runs != 1 {
		t.Errorf("%d runs counted", s.Datasets[0].Runs)
	}
	h.close()
}

// worldIn is the world with another directory for alpha's house.
func worldIn(w *world, t *testing.T) *world {
	other := &world{t: t, dir: t.TempDir(), signing: w.signing, descriptors: w.descriptors, keys: w.keys, root: w.root, image: w.image, betaLog: w.betaLog,
		betaNotes: w.betaNotes, betaRelease: w.betaRelease, header: w.header, fileKey: w.fileKey, statements: w.statements, agreement: w.agreement}
	other.clock.Store(w.clock.Load())
	return other
}

// hookedState runs a function before the next Update.
type hookedState struct {
	broker.State
	hook atomic.Pointer[func()]
}

func (s *hookedState) Update(f func(broker.Tx) error) error {
	if hook := s.hook.Swap(nil); hook != nil {
		(*hook)()
	}
	return s.State.Update(f)
}

// TestSeenMovesMeanwhile has another run advance what was seen of beta's log between a
// decision and its transaction.
func TestSeenMovesMeanwhile(t *testing.T) {
	for _, c := range []struct {
		name, check string
		peer        bool
	}{
		{"the peer proves that both are one log", "", true},
		{"nobody proves it", "peers.checkpoints", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			h := w.newHouse()
			s := &hookedState{State: h.state}
			h.cfg.State = s
			if c.peer {
				h.cfg.Peers = map[string]broker.Peer{w.betaLog.Origin(): proving{w}}
			}
			b, a := h.ready()
			w.newRoom(a, w.newRun(a)).granted(b)
			first, second := w.newRoom(a, w.newRun(a)), w.newRoom(a, w.newRun(a))
			must(t, first.getChallenge(b))
			must(t, second.getChallenge(b))
			w.betaGrows(2)
			early := second.request()
			w.betaGrows(2)
			late := first.request()
			hook := func() { must1(b.Release(ctx, early)) }
			s.hook.Store(&hook)
			answer, err := b.Release(ctx, late)
			if c.check != "" {
				refusedBy(t, err, c.check)
				return
			}
			must(t, err)
			must1(first.open(answer))
			if held := w.held(b); held != w.betaLog.Checkpoint() {
				t.Error("the later checkpoint is not kept")
			}
		})
	}
}

// proving is beta's broker.
type proving struct{ w *world }

func (p proving) Seen(context.Context, []byte) ([]byte, error) { return nil, errDown }
func (p proving) Consistency(_ context.Context, from, to int64) ([]wire.Hash, error) {
	return p.w.betaLog.Consistency(from, to)
}

// retiringKeys retire the agreement while a header is unwrapped.
type retiringKeys struct {
	*file.Store
	retire *func()
}

func (k retiringKeys) Unwrap(header []byte) (*seal.FileKey, error) {
	if *k.retire != nil {
		(*k.retire)()
	}
	return k.Store.Unwrap(header)
}

func TestRetiredWhileSealing(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	var retire func()
	h.cfg.Keys = retiringKeys{w.keys, &retire}
	b, a := h.ready()
	retire = func() { must1(b.Retire(ctx, a.Digest())) }
	_, err := w.newRoom(a, w.newRun(a)).ask(b)
	refusedBy(t, err, "agreement.activated")
}
