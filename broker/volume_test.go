package broker_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

// newService is a world whose work is a container: alpha's input is the key of its volume,
// beta's a secret, and alpha certifies its names.
func newService(t testing.TB) *world {
	w := newWorld(t)
	w.serve()
	return w
}

func (w *world) serve() {
	a := &w.agreement
	for i := range a.Inputs {
		a.Inputs[i].Format, a.Inputs[i].Schema, a.Inputs[i].Rules = agreement.Opaque, []agreement.Column{}, nil
		a.Inputs[i].RunsPerDay = 100_000
	}
	a.Tables, a.Outputs = []agreement.Table{}, []agreement.Output{}
	work := &a.Work[0]
	work.Kind, work.Query, work.Tables, work.Parameters, work.Output = "container", "", []string{}, []agreement.Parameter{}, ""
	work.Container = &agreement.Container{
		Image: agreement.ContainerImage{Reference: "web", Manifest: wire.HashOf([]byte("m")), Disk: agreement.VerityDisk{Blocks: 1, Root: wire.HashOf([]byte("r"))}},
		Argv:  []string{"/bin/web"}, User: agreement.User{Groups: []int64{}}, Directory: "/",
		Environment:  []agreement.Environment{{Name: "SECRET", Kind: agreement.FromFile, Input: "beta-rows"}},
		Mounts:       []agreement.Mount{{Path: "/var/lib/web", Kind: agreement.Volume, Bytes: 1 << 20, Mode: 0o700, Input: "alpha-rows"}},
		Capabilities: []string{}, Seccomp: agreement.Seccomp{Profile: "default", Deny: []string{}},
		Ports: []agreement.Port{{Name: "web", Port: 8080, Names: []string{"web.alpha.example"}, Allow: agreement.Allow{
			Parties: []wire.ID{"study"}, Authorities: []wire.Bytes{}, Issuers: []agreement.Issuer{}, Rooms: []wire.ID{}}}},
		Egress: []agreement.Egress{}, Logs: agreement.Logs{Receivers: []wire.ID{}}, Restart: agreement.Restart{Policy: "never"},
		Limits: agreement.Limits{Memory: 64 << 20, Processes: 8, Files: 64}, CertifiedBy: "alpha", Mesh: true,
	}
}

// volumeRequest makes a message about alpha's volume.
func (r *room) volumeRequest(step release.VolumeStep, generation int64, change func(*release.VolumeRequest)) ([]byte, release.VolumeRequest) {
	asked := release.VolumeRequest{Version: release.Version, Broker: "alpha-org", Agreement: r.agreement.Digest(), Run: r.run.Digest(), RunID: r.run.RunID,
		ReleaseID: r.releaseID, Input: "alpha-rows", Step: step, Generation: generation, Nonce: wire.HashOf([]byte(randomID()))}
	if step == release.VolumeClose {
		root := wire.HashOf([]byte("content"))
		asked.Root = &root
	}
	if change != nil {
		change(&asked)
	}
	data, err := release.NewVolumeRequest(r.signing, asked)
	must(r.w.t, err)
	return data, asked
}

func (r *room) volume(b *broker.Broker, step release.VolumeStep, generation int64) (release.VolumeAnswer, error) {
	data, asked := r.volumeRequest(step, generation, nil)
	answer, err := b.Volume(ctx, data)
	if err != nil {
		return release.VolumeAnswer{}, err
	}
	return release.VerifyVolumeAnswer(answer, r.w.descriptors["alpha"].Broker.ReleaseKey, asked)
}

// enters opens and mounts the volume.
func (r *room) enters(b *broker.Broker) release.VolumeAnswer {
	r.w.t.Helper()
	a := must1(r.volume(b, release.VolumeOpen, 0))
	must1(r.volume(b, release.VolumeMounted, a.Generation))
	return a
}

// newHolder is a room that has the volume's key.
func (w *world) newHolder(b *broker.Broker, a *agreement.SignedAgreement) *room {
	w.t.Helper()
	r := w.newRoom(a, w.newRun(a))
	r.granted(b)
	return r
}

func TestVolume(t *testing.T) {
	w := newService(t)
	h := w.newHouse()
	b, a := h.ready()
	first := w.newHolder(b, a)
	opened := must1(first.volume(b, release.VolumeOpen, 0))
	if opened.Generation != 1 || opened.Previous != nil {
		t.Fatalf("a volume that nobody has written: %+v", opened)
	}
	_, err := first.volume(b, release.VolumeClose, 1)
	refusedBy(t, err, "volume.state") // not mounted
	_, err = first.volume(b, release.VolumeMounted, 2)
	refusedBy(t, err, "volume.state")
	must1(first.volume(b, release.VolumeMounted, 1))
	must1(first.volume(b, release.VolumeClose, 1))
	_, err = first.volume(b, release.VolumeClose, 1)
	refusedBy(t, err, "volume.state") // it holds it no longer

	second := w.newHolder(b, a)
	opened = must1(second.volume(b, release.VolumeOpen, 0))
	if p := opened.Previous; opened.Generation != 2 || p == nil || p.Generation != 1 || !p.Clean() || *p.Root != wire.HashOf([]byte("content")) {
		t.Fatalf("after a clean close: %+v", opened)
	}
	must1(first.live(b, nil)) // who has closed is not fenced

	// Who only opened leaves the volume as it was.
	third := w.newHolder(b, a)
	opened = must1(third.volume(b, release.VolumeOpen, 0))
	if p := opened.Previous; opened.Generation != 3 || p.Generation != 1 || !p.Clean() || !p.Accepts(1, 3) || !p.Accepts(2, 3) || p.Accepts(3, 3) || p.Accepts(0, 3) {
		t.Fatalf("after an attempt: %+v", opened)
	}
	_, err = second.volume(b, release.VolumeMounted, 2)
	refusedBy(t, err, "volume.fenced")
	_, err = second.live(b, nil)
	refusedBy(t, err, "volume.fenced")
	must1(third.volume(b, release.VolumeMounted, 3))

	// Who died with it left it unclean, and can't come back.
	fourth := w.newHolder(b, a)
	opened = must1(fourth.volume(b, release.VolumeOpen, 0))
	if p := opened.Previous; opened.Generation != 4 || p.Generation != 3 || p.Clean() {
		t.Fatalf("after a death: %+v", opened)
	}
	_, err = third.volume(b, release.VolumeClose, 3)
	refusedBy(t, err, "volume.fenced")
	_, err = third.volume(b, release.VolumeOpen, 0)
	refusedBy(t, err, "volume.fenced")
	_, err = third.live(b, commitment("late"))
	refusedBy(t, err, "volume.fenced")

	s := must1(b.Status(ctx))
	if len(s.Volumes) != 1 || s.Volumes[0].State != "opened" || s.Volumes[0].Generation != 4 || s.Volumes[0].Mounted != 3 || s.Volumes[0].RunID != fourth.run.RunID {
		t.Errorf("%+v", s.Volumes)
	}
	w.pass(4 * time.Second)
	_, err = fourth.volume(b, release.VolumeMounted, 4)
	refusedBy(t, err, "lease")
	if s = must1(b.Status(ctx)); s.Volumes[0].State != "unclean" {
		t.Errorf("%+v", s.Volumes)
	}
	facts := volumesIn(t, h.log)
	if len(facts) != 7 || facts[4].Unclean || !facts[6].Unclean || facts[4].Fenced != second.run.RunID || facts[6].Fenced != third.run.RunID || facts[1].Step != release.VolumeMounted || facts[1].Dataset != "patients" {
		t.Errorf("%+v", facts)
	}
}

// volumesIn are the entries about volumes in a log.
func volumesIn(t testing.TB, log broker.Log) (list []broker.VolumeFacts) {
	t.Helper()
	for i := range log.Size() {
		e, err := ledger.ParseEntry(must1(log.Entry(i)))
		must(t, err)
		if e.Kind == "volume" {
			var f broker.VolumeFacts
			must(t, wire.Unmarshal(e.Public, &f))
			list = append(list, f)
		}
	}
	return list
}

func TestVolumeRefused(t *testing.T) {
	w := newService(t)
	h := w.newHouse()
	b, a := h.ready()
	r := w.newHolder(b, a)
	send := func(change func(*release.VolumeRequest)) error {
		data, _ := r.volumeRequest(release.VolumeOpen, 0, change)
		_, err := b.Volume(ctx, data)
		return err
	}
	for name, c := range map[string]struct {
		change func(*release.VolumeRequest)
		check  string
	}{
		"another broker":    {func(v *release.VolumeRequest) { v.Broker = "beta-org" }, "live.run"},
		"another run":       {func(v *release.VolumeRequest) { v.RunID = randomID() }, "live.run"},
		"another request":   {func(v *release.VolumeRequest) { v.Run[0] ^= 1 }, "live.run"},
		"another agreement": {func(v *release.VolumeRequest) { v.Agreement[0] ^= 1 }, "live.run"},
		"another release":   {func(v *release.VolumeRequest) { v.ReleaseID = randomID() }, "live.run"},
		"no volume":         {func(v *release.VolumeRequest) { v.Input = "beta-rows" }, "volume.input"},
		"no input":          {func(v *release.VolumeRequest) { v.Input = "other" }, "volume.input"},
	} {
		if err := send(c.change); err == nil {
			t.Errorf("%s: answered", name)
		} else {
			refusedBy(t, err, c.check)
		}
	}
	data, _ := r.volumeRequest(release.VolumeOpen, 0, nil)
	_, err := b.Volume(ctx, append(bytes.Clone(data), 'x'))
	refusedBy(t, err, "message.form")
	other := *r
	other.signing = signingKey(t)
	data, _ = other.volumeRequest(release.VolumeOpen, 0, nil)
	_, err = b.Volume(ctx, data)
	refusedBy(t, err, "message.signature")
	if got := volumesIn(t, h.log); len(got) != 0 {
		t.Errorf("recorded as done: %+v", got)
	}
	must1(b.Retire(ctx, a.Digest()))
	refusedBy(t, send(nil), "agreement.activated")

	// A query has no volumes.
	w = newWorld(t)
	b, a = w.newHouse().ready()
	r = w.newHolder(b, a)
	data, _ = r.volumeRequest(release.VolumeOpen, 0, nil)
	_, err = b.Volume(ctx, data)
	refusedBy(t, err, "run.container")
}

// The same message gets the same bytes, of the same process or another, and counts once.
func TestVolumeRetried(t *testing.T) {
	w := newService(t)
	h := w.newHouse()
	b, a := h.ready()
	r := w.newHolder(b, a)
	data, asked := r.volumeRequest(release.VolumeOpen, 0, nil)
	answer := must1(b.Volume(ctx, data))
	if again := must1(h.open().Volume(ctx, data)); !bytes.Equal(answer, again) {
		t.Error("answered twice, differently")
	}
	must1(release.VerifyVolumeAnswer(answer, w.descriptors["alpha"].Broker.ReleaseKey, asked))
	if got := volumesIn(t, h.log); len(got) != 1 {
		t.Errorf("recorded %d times", len(got))
	}
	// Not once somebody else has it.
	w.newHolder(b, a).enters(b)
	_, err := b.Volume(ctx, data)
	refusedBy(t, err, "volume.fenced")
}

// A new version of the key is a new volume, whose generations go on.
func TestVolumeOfANewKey(t *testing.T) {
	w := newService(t)
	h := w.newHouse()
	b, a := h.ready()
	r := w.newHolder(b, a)
	r.enters(b)
	must1(r.volume(b, release.VolumeClose, 1))
	old := w.statements["alpha"].Digest()
	w.sealData()
	w.statements["alpha"] = w.state("alpha", "patients", 2, &old, w.header)
	must1(b.Publish(ctx, w.publication()))
	if opened := must1(w.newHolder(b, a).volume(b, release.VolumeOpen, 0)); opened.Generation != 2 || opened.Previous != nil {
		t.Errorf("%+v", opened)
	}
}

func TestVolumeLocked(t *testing.T) {
	w := newService(t)
	h := w.newHouse()
	b, a := h.ready()
	r := w.newHolder(b, a)
	r.enters(b)
	h.cfg.PeerAt = func(string) broker.Peer { return w.peer("") }
	h.cfg.State = newMemory() // an old state was put back
	locked := h.open()
	data, _ := r.volumeRequest(release.VolumeClose, 1, nil)
	_, err := locked.Volume(ctx, data)
	refusedBy(t, err, "broker.locked")
}

// An older state or log makes a broker forget who had the volume, never a generation: those
// it may have forgotten are passed over.
func TestVolumeAfterRollback(t *testing.T) {
	for name, c := range map[string]struct{ log, state, lost bool }{
		"an old state":         {state: true},
		"an old log and state": {log: true, state: true},
		"a lost state":         {lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newService(t)
			h := w.newHouse()
			b, a := h.ready()
			early := w.newHolder(b, a)
			early.enters(b)
			must1(early.volume(b, release.VolumeClose, 1))
			copied, h := h.keep(t)
			b = h.open()
			late := w.newHolder(b, a)
			late.enters(b)
			must1(late.volume(b, release.VolumeClose, 2))
			holding := w.newHolder(b, a)
			holding.enters(b)
			seen := h.log.Checkpoint()
			if c.lost {
				h.close()
				must(t, os.Remove(filepath.Join(w.dir, "state.db")))
				h = w.newHouse()
			} else {
				h = h.setBack(t, copied, c.log, c.state)
			}
			h.cfg.PeerAt = func(string) broker.Peer { return w.peer(seen) }
			b = h.open()
			_, err := holding.volume(b, release.VolumeClose, 3)
			refusedBy(t, err, "broker.locked")
			w.pass(time.Second)
			must1(confirm(b))
			must1(b.Activate(ctx, w.activation(a)))
			if c.log { // its catalogue is older too
				_, err := b.Publish(ctx, w.publication())
				must(t, err)
			}
			opened := must1(w.newHolder(b, a).volume(b, release.VolumeOpen, 0))
			p := opened.Previous
			if p == nil || p.Clean() || !p.Accepts(3, opened.Generation) {
				t.Errorf("%+v, before %+v", opened, p)
			}
			if want := int64(3); !c.log && p != nil && (p.Generation != want || p.Accepts(2, opened.Generation)) {
				t.Errorf("what the log knows is forgotten: %+v", p)
			}
			_, err = holding.volume(b, release.VolumeClose, 3)
			if err == nil {
				t.Error("a run from before the rollback closes the volume")
			}
		})
	}
}

// A request to open under a key that its owner has replaced is refused, however late it comes:
// it would begin the volume anew, and an empty disk would be taken for it.
func TestVolumeOfOldKey(t *testing.T) {
	w := newService(t)
	h := w.newHouse()
	b, a := h.ready()
	first := w.newHolder(b, a)
	first.enters(b)
	must1(first.volume(b, release.VolumeClose, 1))
	late := w.newHolder(b, a)
	v1 := w.statements["alpha"].Digest()
	must1(b.Publish(ctx, w.publish("patients", 2, &v1, w.sealAgain())))
	_, err := late.volume(b, release.VolumeOpen, 0)
	refusedBy(t, err, "volume.key")
	if s := must1(b.Status(ctx)); len(s.Volumes) != 1 || s.Volumes[0].Mounted != 1 {
		t.Errorf("%+v", s.Volumes)
	}
}
