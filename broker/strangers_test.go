package broker_test

import (
	"context"
	"sync/atomic"
	"testing"

	"strongroom.dev/broker"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

// counting is beta's broker, which counts how often it is asked for a proof.
type counting struct {
	proving
	asked *atomic.Int64
}

func (c counting) Consistency(ctx context.Context, from, to int64) ([]wire.Hash, error) {
	c.asked.Add(1)
	return c.proving.Consistency(ctx, from, to)
}

// TestStrangersAskNobody shows that nobody but a room that would get its keys can have a
// broker ask its peers.
func TestStrangersAskNobody(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	var asked atomic.Int64
	h.cfg.Peers = map[string]broker.Peer{w.betaLog.Origin(): counting{proving{w}, &asked}}
	b, a := h.ready()
	w.newRoom(a, w.newRun(a)).granted(b)
	w.betaGrows(4)
	outdated := func(q *release.Request) { q.Peers[0].From, q.Peers[0].Proof = 0, []wire.Hash{} }

	stranger := w.newRoom(a, w.newRun(a))
	stranger.change = outdated
	genuine := w.root
	w.root = signingKey(t)
	_, err := stranger.ask(b)
	refusedBy(t, err, "evidence.root")
	if n := asked.Load(); n != 0 {
		t.Errorf("beta was asked %d times for a stranger", n)
	}

	w.root = genuine
	r := w.newRoom(a, w.newRun(a))
	r.change = outdated
	r.granted(b)
	if n := asked.Load(); n != 1 {
		t.Errorf("beta was asked %d times", n)
	}
}

// TestSoftwareNoLongerAllowed starts a broker anew without the setting that lets it give keys
// to software, while a room of that class runs.
func TestSoftwareNoLongerAllowed(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	b, a := h.ready()
	r := w.newRoom(a, w.newRun(a))
	r.granted(b)
	must1(r.live(b, nil))
	h.cfg.InsecureAllowSoftware = false
	b = h.open()
	_, err := r.live(b, commitment("answer"))
	refusedBy(t, err, "agreement.class")
	_, err = b.Release(ctx, r.request())
	refusedBy(t, err, "agreement.class")
}
