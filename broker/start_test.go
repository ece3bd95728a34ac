package broker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/wire"
)

// peer is beta's broker, which holds a checkpoint of alpha's log or none.
type peer struct {
	key  *keys.SigningKey
	note string
	err  error
}

func (w *world) peer(note string) peer { return peer{w.betaRelease, note, nil} }

func (p peer) Seen(_ context.Context, question []byte) ([]byte, error) {
	if p.err != nil {
		return nil, p.err
	}
	asked, err := release.ParseSeenRequest(question)
	if err != nil {
		return nil, err
	}
	return release.NewSeen(p.key, "beta-org", asked, p.note)
}

func (p peer) Consistency(context.Context, int64, int64) ([]wire.Hash, error) {
	return nil, errors.New("not asked in this test")
}

// copyDir keeps a copy of alpha's house, to set it back later.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	must(t, os.CopyFS(to, os.DirFS(from)))
}

// setBack puts an old log, an old state or both back, and opens the house again.
func (h *house) setBack(t *testing.T, copied string, log, stateToo bool) *house {
	h.close()
	if log {
		must(t, os.RemoveAll(filepath.Join(h.w.dir, "alpha")))
		copyDir(t, filepath.Join(copied, "alpha"), filepath.Join(h.w.dir, "alpha"))
	}
	if stateToo {
		data, err := os.ReadFile(filepath.Join(copied, "state.db"))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(h.w.dir, "state.db"), data, 0o600))
	}
	again := h.w.newHouse()
	again.cfg.Witnesses, again.cfg.Peers, again.cfg.PeerAt = h.cfg.Witnesses, h.cfg.Peers, h.cfg.PeerAt
	again.agreement = h.agreement
	return again
}

// keep copies the house as it is now; the house is opened again, without its broker.
func (h *house) keep(t *testing.T) (string, *house) {
	h.close()
	copied := t.TempDir()
	copyDir(t, filepath.Join(h.w.dir, "alpha"), filepath.Join(copied, "alpha"))
	data, err := os.ReadFile(filepath.Join(h.w.dir, "state.db"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(copied, "state.db"), data, 0o600))
	again := h.w.newHouse()
	again.cfg.Witnesses, again.cfg.Peers, again.cfg.PeerAt, again.agreement = h.cfg.Witnesses, h.cfg.Peers, h.cfg.PeerAt, h.agreement
	return copied, again
}

func TestRollback(t *testing.T) {
	for _, c := range []struct {
		name       string
		log, state bool
		// others says who else knows: "", "witness" or "peer".
		others string
	}{
		{"log set back, state knows", true, false, ""},
		{"state set back, log knows", false, true, ""},
		{"both set back, a witness knows", true, true, "witness"},
		{"both set back, a peer knows", true, true, "peer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.unaudited() // whose history is lost: TestHistoryLost
			h := w.newHouse()
			one := newWitness(t, w, "one")
			if c.others == "witness" {
				h.cfg.Witnesses = w.witnesses(1, one)
			}
			_, a := h.ready()
			copied, h := h.keep(t)
			b := h.open()
			spent := w.newRoom(a, w.newRun(a))
			spent.granted(b)
			must1(spent.live(b, commitment("answer")))
			if c.others == "peer" {
				h.cfg.Peers = map[string]broker.Peer{"broker.example/beta": w.peer(h.log.Checkpoint())}
			}
			h = h.setBack(t, copied, c.log, c.state)
			b = h.open()
			s := must1(b.Status(ctx))
			if s.Serving || s.Lock == nil || s.Lock.Kind != broker.LockBehind {
				t.Fatalf("serving %v, lock %+v", s.Serving, s.Lock)
			}
			refusesAll(t, w, b, a, spent)

			t.Run("it stays locked until officers confirm", func(t *testing.T) {
				h.cfg.Witnesses, h.cfg.Peers = nil, nil // nobody tells this time
				refusesAll(t, w, h.open(), a, spent)
				b = h.open()
				ev := must1(confirm(b))
				if len(ev.Notes) != 2 {
					t.Errorf("notes %q", ev.Notes)
				}
				_, err := confirm(b)
				refusedBy(t, err, "broker.locked")
				refusedBy(t, w.newRoom(a, w.newRun(a)).getChallenge(b), "agreement.activated")
			})
			t.Run("activated again, it goes on, and what it knows to be spent stays spent", func(t *testing.T) {
				must1(b.Activate(ctx, w.activation(a)))
				if c.others == "" {
					_, err := w.newRoom(a, spent.run).ask(b)
					refusedBy(t, err, "run.once")
				}
				if w.agreement.Ledgers.Quorum == 0 {
					w.newRoom(a, w.newRun(a)).granted(b)
				}
			})
			t.Run("and serves after the next start", func(t *testing.T) {
				if s := must1(h.open().Status(ctx)); !s.Serving {
					t.Errorf("locked: %+v", s.Lock)
				}
			})
		})
	}
}

// refusesAll demands that a locked broker does nothing but tell its status.
func refusesAll(t *testing.T, w *world, b *broker.Broker, a *agreement.SignedAgreement, spent *room) {
	t.Helper()
	refusedBy(t, w.newRoom(a, w.newRun(a)).getChallenge(b), "broker.locked")
	_, err := b.Release(ctx, spent.request())
	refusedBy(t, err, "broker.locked")
	_, err = spent.live(b, nil)
	refusedBy(t, err, "broker.locked")
	_, err = b.Activate(ctx, w.activation(a))
	refusedBy(t, err, "broker.locked")
	_, err = b.Retire(ctx, a.Digest())
	refusedBy(t, err, "broker.locked")
	_, err = b.Revoke(ctx, a.Digest())
	refusedBy(t, err, "broker.locked")
	_, err = b.Publish(ctx, w.publication())
	refusedBy(t, err, "broker.locked")
}

// TestRetirementOutlivesRestore sets the state back to before a retirement.
func TestRetirementOutlivesRestore(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	_, a := h.ready()
	copied, h := h.keep(t)
	b := h.open()
	must1(b.Retire(ctx, a.Digest()))
	must1(b.Revoke(ctx, wire.DigestOf([]byte("somebody"))))
	h = h.setBack(t, copied, false, true)
	b = h.open()
	must1(confirm(b))
	_, err := b.Activate(ctx, w.activation(a))
	refusedBy(t, err, "agreement.activated")
	if ev := must1(b.Revoke(ctx, wire.DigestOf([]byte("somebody")))); ev.Number != -1 {
		t.Error("the revocation was forgotten")
	}
}

// TestStateLost starts with the log alone.
func TestStateLost(t *testing.T) {
	w := newWorld(t)
	w.unaudited()
	h := w.newHouse()
	b, a := h.ready()
	spent := w.newRoom(a, w.newRun(a))
	spent.granted(b)
	must1(spent.live(b, commitment("answer")))
	h.close()
	must(t, os.Remove(filepath.Join(w.dir, "state.db")))
	h = w.newHouse()
	b = h.open()
	refusesAll(t, w, b, a, spent)
	w.pass(time.Second)
	must1(confirm(b))
	must1(b.Activate(ctx, w.activation(a)))
	_, err := w.newRoom(a, spent.run).ask(b)
	refusedBy(t, err, "run.once")
	_, err = b.Release(ctx, spent.request())
	refusedBy(t, err, "challenge.fresh")
	w.newRoom(a, w.newRun(a)).granted(b) // the catalogue is there again
	if s := must1(b.Status(ctx)); s.Datasets[0].Runs != 2 {
		t.Errorf("%d runs counted", s.Datasets[0].Runs)
	}
}

// TestForked puts another history of the same length and key in the log's place.
func TestForked(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	h.ready()
	h.close()
	dir := filepath.Join(w.dir, "alpha")
	must(t, os.RemoveAll(dir))
	must(t, tilelog.Create(dir, w.keys.LogKey()))
	log := must1(tilelog.Open(dir, w.keys.LogKey()))
	must1(log.Append(ctx, [][]byte{[]byte("x"), []byte("y"), []byte("z")}))
	must(t, log.Close())
	// The state believes it made three entries too.
	h = w.newHouse()
	must1(0, h.state.Update(func(tx broker.Tx) error { return tx.Put("meta", "next", []byte("3")) }))
	b := h.open()
	if s := must1(b.Status(ctx)); s.Lock == nil || s.Lock.Kind != broker.LockForked {
		t.Fatalf("lock %+v", s.Lock)
	}
}

// TestQueuedIsNotWhatStands finds another entry where a queued one should be.
func TestQueuedIsNotWhatStands(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	_, a := h.ready()
	size := h.log.Size()
	must1(h.log.Append(ctx, [][]byte{[]byte("a stranger's")}))
	r := w.newRoom(a, w.newRun(a))
	_, err := r.ask(h.broker)
	refusedBy(t, err, "broker.locked")
	if s := must1(h.broker.Status(ctx)); s.Lock == nil || s.Lock.Kind != broker.LockForked || s.Size != size+1 {
		t.Fatalf("lock %+v", s.Lock)
	}
	// After its officers confirmed, the record is in the log at another place, and lost as a release.
	b := h.open()
	_, err = confirm(b)
	if err == nil {
		t.Fatal("a log with a stranger's entry, which can't be read, was confirmed")
	}
}

func TestNobodyReachable(t *testing.T) {
	w := newWorld(t)
	one := newWitness(t, w, "one")
	h := w.newHouse()
	h.cfg.Witnesses = w.witnesses(1, one)
	h.cfg.PeerAt = nil
	_, a := h.ready()
	r := w.newRoom(a, w.newRun(a))
	r.granted(h.broker)
	one.set(true)
	b := h.open()
	s := must1(b.Status(ctx))
	if s.Lock == nil || s.Lock.Kind != broker.LockUnreachable {
		t.Fatalf("lock %+v", s.Lock)
	}
	refusesAll(t, w, b, a, r)
	must(t, b.Recheck(ctx))
	refusesAll(t, w, b, a, r)

	t.Run("officers confirm", func(t *testing.T) {
		ev := must1(confirm(b))
		if len(ev.Notes) != 0 {
			t.Errorf("notes %q", ev.Notes)
		}
		must(t, w.newRoom(a, w.newRun(a)).getChallenge(b))
	})
	t.Run("or somebody answers", func(t *testing.T) {
		b := h.open()
		refusesAll(t, w, b, a, r)
		one.set(false)
		must(t, b.Recheck(ctx))
		w.newRoom(a, w.newRun(a)).granted(b)
	})
	t.Run("one of two is enough", func(t *testing.T) {
		h.cfg.Peers = map[string]broker.Peer{"broker.example/beta": peer{err: errDown}}
		if s := must1(h.open().Status(ctx)); !s.Serving {
			t.Errorf("locked: %+v", s.Lock)
		}
	})
	t.Run("peers of activated agreements are asked at their address", func(t *testing.T) {
		h.cfg.Peers, h.cfg.Witnesses = nil, nil
		asked := ""
		h.cfg.PeerAt = func(address string) broker.Peer { asked = address; return peer{err: errDown} }
		if s := must1(h.open().Status(ctx)); s.Serving || asked != "127.0.0.1:1" {
			t.Errorf("serving %v, asked %q", s.Serving, asked)
		}
	})
}

func TestConfigRefused(t *testing.T) {
	w := newWorld(t)
	good := w.newHouse().cfg
	for name, change := range map[string]func(*broker.Config){
		"broker.config 1":      func(c *broker.Config) { *c = broker.Config{} },
		"broker.config 2":      func(c *broker.Config) { c.Platforms = nil },
		"broker.config 3":      func(c *broker.Config) { c.Own = append([]*agreement.SignedParty{w.descriptors["beta"]}, c.Own...) },
		"broker.descriptor 1":  func(c *broker.Config) { c.Own = []*agreement.SignedParty{w.descriptors["study"]} },
		"broker.release-key 1": func(c *broker.Config) { c.Own = []*agreement.SignedParty{w.descriptors["beta"]} },
	} {
		cfg := good
		change(&cfg)
		_, err := broker.Open(ctx, cfg)
		refusedBy(t, err, name[:len(name)-2])
	}
}

func TestSoftwareNotAllowed(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	h.cfg.InsecureAllowSoftware = false
	b, a := h.ready()
	_, err := w.newRoom(a, w.newRun(a)).ask(b)
	refusedBy(t, err, "agreement.class")
}

// held gives what a broker says it holds of beta's log.
func (w *world) held(b *broker.Broker) string {
	asked := release.SeenRequest{Version: release.Version, Log: w.descriptors["beta"].Broker.LogKey, Nonce: wire.HashOf([]byte(randomID()))}
	question, err := release.NewSeenRequest(asked)
	must(w.t, err)
	answer, err := b.Seen(ctx, question)
	must(w.t, err)
	seen, err := release.VerifySeen(answer, w.keys.ReleaseKey().Public(), "alpha-org", asked)
	must(w.t, err)
	return seen.Checkpoint
}

// saying answers the same to every question.
type saying []byte

func (s saying) Seen(context.Context, []byte) ([]byte, error)                   { return s, nil }
func (s saying) Consistency(context.Context, int64, int64) ([]wire.Hash, error) { return nil, errDown }

// TestNobodyToAsk opens a broker with an active agreement that was told of nobody.
func TestNobodyToAsk(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	h.ready()
	h.cfg.PeerAt = nil
	if s := must1(h.open().Status(ctx)); s.Serving || s.Lock.Kind != broker.LockUnreachable {
		t.Errorf("serving %v, lock %+v", s.Serving, s.Lock)
	}
	h.cfg.NeverServed = true
	if s := must1(h.open().Status(ctx)); !s.Serving {
		t.Errorf("locked: %+v", s.Lock)
	}
}

// TestPeerDisplaced lets a party take over another's origin.
func TestPeerDisplaced(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	_, a := h.ready()
	copied, h := h.keep(t)
	b := h.open()
	w.newRoom(a, w.newRun(a)).granted(b)
	later := h.log.Checkpoint()
	h = h.setBack(t, copied, true, true)
	h.cfg.Peers = map[string]broker.Peer{w.descriptors["beta"].Broker.LogKey: w.peer(later), w.betaLog.Origin(): saying("{}")}
	if s := must1(h.open().Status(ctx)); s.Serving || s.Lock.Kind != broker.LockBehind {
		t.Errorf("serving %v, lock %+v", s.Serving, s.Lock)
	}
}

// confirm confirms whatever lock a broker has.
func confirm(b *broker.Broker) (broker.Event, error) {
	return b.Confirm(ctx, must1(b.Status(ctx)).Lock.Confirmation())
}

// TestConfirmSomethingElse has officers confirm that nobody can be asked; when they do,
// somebody can, and shows that the log was set back.
func TestConfirmSomethingElse(t *testing.T) {
	w := newWorld(t)
	one := newWitness(t, w, "one")
	h := w.newHouse()
	h.cfg.Witnesses, h.cfg.PeerAt = w.witnesses(1, one), nil
	_, a := h.ready()
	copied, h := h.keep(t)
	w.newRoom(a, w.newRun(a)).granted(h.open())
	h = h.setBack(t, copied, true, true)
	one.set(true)
	b := h.open()
	looked := must1(b.Status(ctx)).Lock.Confirmation()
	if looked.Lock != broker.LockUnreachable {
		t.Fatalf("lock %+v", looked)
	}
	one.set(false)
	for range 2 { // not the second time either
		_, err := b.Confirm(ctx, looked)
		refusedBy(t, err, "broker.confirm")
		if s := must1(b.Status(ctx)); s.Serving || s.Lock.Kind != broker.LockBehind {
			t.Fatalf("serving %v, lock %+v", s.Serving, s.Lock)
		}
	}
	ev := must1(confirm(b))
	entry := must1(ledger.ParseEntry(must1(h.log.Entry(ev.Number))))
	for _, part := range []string{`"lock":"behind"`, `"seen":{"root":"` + one.seen.Root.String() + `","size":3}`, `"size":2`} {
		if !strings.Contains(string(entry.Public), part) {
			t.Errorf("%s is not in the entry: %s", part, entry.Public)
		}
	}
}

// TestStrangersLearnNoAddresses looks at what a locked or failing broker tells anyone.
func TestStrangersLearnNoAddresses(t *testing.T) {
	w := newWorld(t)
	one := newWitness(t, w, "one")
	h := w.newHouse()
	h.cfg.Witnesses, h.cfg.PeerAt = w.witnesses(1, one), nil
	b, a := h.ready()
	one.set(true)
	_, err := w.newRoom(a, w.newRun(a)).ask(b)
	if e := refusedBy(t, err, "release.witnesses"); strings.Contains(e.Error(), errDown.Error()) {
		t.Errorf("told %v", e)
	}
	if s := must1(b.Status(ctx)); len(s.Troubles) != 1 || !strings.Contains(s.Troubles[0], errDown.Error()) {
		t.Errorf("officers learn %q", s.Troubles)
	}
	b = h.open()
	if e := refusedBy(t, w.newRoom(a, w.newRun(a)).getChallenge(b), "broker.locked"); strings.Contains(e.Error(), errDown.Error()) {
		t.Errorf("told %v", e)
	}
	if l := must1(b.Status(ctx)).Lock; !strings.Contains(l.Detail, errDown.Error()) {
		t.Errorf("officers learn %+v", l)
	}
}
