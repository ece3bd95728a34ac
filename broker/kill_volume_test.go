package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"strongroom.dev/broker"
	"strongroom.dev/client"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// exchange is one message of a room and the answer it got.
type exchange struct{ message, answer []byte }

// ask sends a message until it is answered; an answer once had is kept.
func (x *exchange) ask(send func(ctx context.Context, message []byte) ([]byte, error)) error {
	if x.answer != nil {
		return nil
	}
	answer, err := send(ctx, x.message)
	if err == nil {
		x.answer = answer
	}
	return err
}

// tenant is a room that goes through all that one asks about volumes and certificates.
type tenant struct {
	*errand
	open, mounted, closed, certified exchange
	asked                            release.VolumeRequest
	generation                       int64
	fenced                           bool
}

func (n *tenant) advance(c *client.Broker) error {
	err := n.steps(c)
	if err != nil && verdict.As(err).Check == "volume.fenced" {
		n.fenced = true // another room has it: that is an end too
		return nil
	}
	return err
}

func (n *tenant) steps(c *client.Broker) error {
	if n.certified.message == nil {
		n.certified.message, _ = n.certifyRequest(release.ForNames, nil)
		n.open.message, n.asked = n.volumeRequest(release.VolumeOpen, 0, nil)
	}
	if err := n.certified.ask(c.Certify); err != nil {
		return err
	}
	if err := n.open.ask(c.Volume); err != nil {
		return err
	}
	if n.generation == 0 {
		a, err := release.VerifyVolumeAnswer(n.open.answer, n.w.descriptors["alpha"].Broker.ReleaseKey, n.asked)
		if err != nil {
			return err
		}
		n.generation = a.Generation
		n.mounted.message, _ = n.volumeRequest(release.VolumeMounted, n.generation, nil)
		n.closed.message, _ = n.volumeRequest(release.VolumeClose, n.generation, nil)
	}
	if err := n.mounted.ask(c.Volume); err != nil {
		return err
	}
	return n.closed.ask(c.Volume)
}

// TestKillVolumes kills a broker at random moments while rooms take a volume from each other:
// no generation is given twice, everything answered is in the log, and the same message gets
// the same bytes.
func TestKillVolumes(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	w := newService(t)
	tenants := map[*errand]*tenant{}
	w.more = func(e *errand) func(*client.Broker) error {
		n := &tenant{errand: e}
		tenants[e] = n
		return n.advance
	}
	all := w.liveThrough(t, rounds)
	w.more = nil
	h, b := w.checkAfterDeaths(t, all)
	facts := volumesIn(t, h.log)
	var opened []int64
	for _, f := range facts {
		if f.Step == release.VolumeOpen {
			opened = append(opened, f.Generation)
		}
	}
	for i, g := range opened {
		if g != int64(i+1) {
			t.Fatalf("generation %d was given as number %d: %v", g, i+1, opened)
		}
	}
	answered, fenced := 0, 0
	for _, n := range tenants {
		if n.fenced {
			fenced++
		}
		for step, x := range map[release.VolumeStep]*exchange{release.VolumeOpen: &n.open, release.VolumeMounted: &n.mounted, release.VolumeClose: &n.closed} {
			if x.answer == nil {
				continue
			}
			answered++
			recorded := slices.IndexFunc(facts, func(f broker.VolumeFacts) bool {
				return f.ReleaseID == n.releaseID && f.Step == step && f.Generation == n.generation
			})
			if recorded < 0 {
				t.Errorf("%s of run %s was answered and is not in the log", step, n.run.RunID)
			}
			again, err := b.Volume(ctx, x.message)
			if err == nil && !bytes.Equal(again, x.answer) {
				t.Errorf("%s of run %s was answered twice, differently", step, n.run.RunID)
			}
		}
		if n.certified.answer != nil && !n.fenced {
			if again := must1(b.Certify(ctx, n.certified.message)); !bytes.Equal(again, n.certified.answer) {
				t.Errorf("run %s has two certificates for one request", n.run.RunID)
			}
		}
	}
	t.Logf("%d generations, %d steps answered, %d runs fenced", len(opened), answered, fenced)
	if answered == 0 {
		t.Error("nothing was answered")
	}
}

// TestVolumeFailures makes every durable call of a volume's and a certificate's life go wrong
// once, in every way.
func TestVolumeFailures(t *testing.T) {
	w := newService(t)
	for _, where := range []string{"state", "log"} {
		for _, persisted := range []bool{false, true} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s persisted=%v restart=%v", where, persisted, restart), func(t *testing.T) {
					t.Parallel()
					for at := int64(1); ; at++ {
						f := &fault{persisted: persisted}
						w.tenancyWith(t, where, f, at, restart)
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

func (w *world) tenancyWith(t *testing.T, where string, f *fault, at int64, restart bool) {
	t.Helper()
	w = worldIn(w, t)
	h := w.newHouse()
	h.state.(interface{ Close() error }).Close()
	h.state = newMemory()
	h.cfg.State = h.state
	b, a := h.ready()
	r := w.newHolder(b, a)
	if where == "state" { // from here on
		h.cfg.State = faultyState{h.state, f}
	} else {
		h.cfg.Log = faultyLog{h.log, f}
	}
	f.at, b = at, nil
	again := func(message []byte, do func(*broker.Broker) func(context.Context, []byte) ([]byte, error)) []byte {
		t.Helper()
		for range 4 {
			var err error
			if b == nil {
				b, err = broker.Open(ctx, h.cfg)
			}
			if err == nil {
				var answer []byte
				if answer, err = do(b)(ctx, message); err == nil {
					return answer
				}
			}
			if verdict.As(err).Kind != verdict.Broken {
				t.Fatalf("refused: %v", err)
			}
			if restart {
				b = nil
			}
		}
		t.Fatal("not done after four attempts")
		return nil
	}
	volume := func(b *broker.Broker) func(context.Context, []byte) ([]byte, error) { return b.Volume }
	certify := func(b *broker.Broker) func(context.Context, []byte) ([]byte, error) { return b.Certify }
	key := w.descriptors["alpha"].Broker.ReleaseKey
	for _, step := range []release.VolumeStep{release.VolumeOpen, release.VolumeMounted, release.VolumeClose} {
		generation := int64(1)
		if step == release.VolumeOpen {
			generation = 0
		}
		data, asked := r.volumeRequest(step, generation, nil)
		answer := again(data, volume)
		if said := must1(release.VerifyVolumeAnswer(answer, key, asked)); said.Generation != 1 {
			t.Errorf("generation %d", said.Generation)
		}
		if second := again(data, volume); !bytes.Equal(second, answer) {
			t.Errorf("%s was answered twice, differently", step)
		}
	}
	data, asked := r.certifyRequest(release.ForNames, nil)
	answer := again(data, certify)
	must1(release.VerifyCertified(answer, key, asked))
	if second := again(data, certify); !bytes.Equal(second, answer) {
		t.Error("two certificates for one request")
	}
	h.cfg.State, h.cfg.Log = h.state, h.log
	b = h.open()
	s := must1(b.Status(ctx))
	if !s.Serving || s.Queued != 0 || len(s.Volumes) != 1 || s.Volumes[0].State != "closed" || s.Volumes[0].Generation != 1 {
		t.Errorf("lock %+v, %d queued, volumes %+v", s.Lock, s.Queued, s.Volumes)
	}
	kinds := map[wire.ID]int{}
	for i := range h.log.Size() {
		kinds[must1(ledger.ParseEntry(must1(h.log.Entry(i)))).Kind]++
	}
	if kinds["volume"] != 3 || kinds["certify"] != 1 || kinds["authority"] != 1 || kinds["grant"] != 1 {
		t.Errorf("recorded %v", kinds)
	}
	h.close()
}

// TestVolumeEntriesSayNothing looks for the content's root in what the log shows.
func TestVolumeEntriesSayNothing(t *testing.T) {
	w := newService(t)
	h := w.newHouse()
	b, a := h.ready()
	r := w.newHolder(b, a)
	r.enters(b)
	must1(r.volume(b, release.VolumeClose, 1))
	for i := range h.log.Size() {
		if entry := string(must1(h.log.Entry(i))); strings.Contains(entry, wire.HashOf([]byte("content")).String()) {
			t.Errorf("entry %d shows the content's root", i)
		}
	}
}
