package broker_test

import (
	"slices"
	"strings"
	"testing"

	"strongroom.dev/broker"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
)

func TestResetVolumeRefused(t *testing.T) {
	w := newService(t)
	h := w.newHouse()
	b, a := h.ready()
	act := broker.VolumeAct{Dataset: "patients", Reason: "lost"}
	_, err := b.ResetVolume(ctx, act)
	refusedBy(t, err, "volume.state") // nobody has mounted it
	must1(w.newHolder(b, a).volume(b, release.VolumeOpen, 0))
	_, err = b.ResetVolume(ctx, act)
	refusedBy(t, err, "volume.state") // nor now
	w.newHolder(b, a).enters(b)       // generation 2
	size := h.log.Size()
	for check, c := range map[string]broker.VolumeAct{
		"volume.state":      {Dataset: "others", Reason: "lost"},
		"volume.generation": {Dataset: "patients", Generation: 1 << 41, Reason: "lost"},
		"--reason":          {Dataset: "patients"},
	} {
		_, err := b.ResetVolume(ctx, c)
		refusedBy(t, err, check)
	}
	_, err = b.ResetVolume(ctx, broker.VolumeAct{Dataset: "others", Generation: 1, Reason: "lost"})
	refusedBy(t, err, "volume.state")
	_, err = b.ResetVolume(ctx, broker.VolumeAct{Dataset: "patients", Generation: -1, Reason: "lost"})
	refusedBy(t, err, "volume.generation")
	_, err = b.ResetVolume(ctx, broker.VolumeAct{Dataset: "patients", Reason: "two\nlines"})
	refusedBy(t, err, "--reason")
	if h.log.Size() != size {
		t.Error("what was refused stands in the log")
	}
}

func TestResetVolume(t *testing.T) {
	w := newService(t)
	h := w.newHouse()
	b, a := h.ready()
	for range 3 {
		r := w.newHolder(b, a)
		opened := r.enters(b)
		must1(r.volume(b, release.VolumeClose, opened.Generation))
	}
	holder := w.newHolder(b, a)
	holder.enters(b) // generation 4

	// An older copy: from generation 2 on, its root unknown.
	ev := must1(b.ResetVolume(ctx, broker.VolumeAct{Dataset: "patients", Generation: 2, Reason: "backup of Sunday"}))
	if ev.Number < 0 || len(ev.Notes) != 1 || !strings.Contains(ev.Notes[0], holder.run.RunID) {
		t.Errorf("%+v", ev)
	}
	for _, step := range []release.VolumeStep{release.VolumeMounted, release.VolumeClose} {
		_, err := holder.volume(b, step, 4)
		refusedBy(t, err, "volume.fenced")
	}
	_, err := holder.live(b, nil)
	refusedBy(t, err, "volume.fenced")
	opened := w.newHolder(b, a).enters(b)
	if p := opened.Previous; opened.Generation != 6 || p == nil || p.Clean() || p.Accepts(1, 6) || !p.Accepts(2, 6) || !p.Accepts(4, 6) {
		t.Errorf("after a copy was taken: %+v", opened)
	}
	// Once: from then on the copy is as old as any.
	after := w.newHolder(b, a)
	opened = must1(after.volume(b, release.VolumeOpen, 0))
	if opened.Previous.Accepts(2, opened.Generation) {
		t.Errorf("the older disk counts still: %+v", opened)
	}

	must1(b.ResetVolume(ctx, broker.VolumeAct{Dataset: "patients", Reason: "burnt"}))
	_, err = after.volume(b, release.VolumeMounted, opened.Generation)
	refusedBy(t, err, "volume.fenced")
	if s := must1(b.Status(ctx)).Volumes; len(s) != 1 || s[0].RunID != "" || s[0].Mounted != 0 {
		t.Errorf("%+v", s)
	}
	if opened = must1(w.newHolder(b, a).volume(b, release.VolumeOpen, 0)); opened.Previous != nil || opened.Generation != 9 {
		t.Errorf("a volume begun anew: %+v", opened)
	}
	var kinds []string
	for i := range h.log.Size() {
		kinds = append(kinds, string(must1(ledger.ParseEntry(must1(h.log.Entry(i)))).Kind))
	}
	if n := len(slices.DeleteFunc(kinds, func(k string) bool { return k != "reset" })); n != 2 {
		t.Errorf("%d resets in the log", n)
	}
	list := must1(b.Why(ctx, "patients"))
	if !slices.ContainsFunc(list, func(d broker.Decision) bool { return strings.Contains(d.Subject, "burnt") }) {
		t.Errorf("why says nothing of it: %+v", list)
	}
}

// TestResetVolumeUnknown: after everything was lost the disk is more than its broker knows of,
// and is taken by its officers' word.
func TestResetVolumeUnknown(t *testing.T) {
	w := newService(t)
	h := w.newHouse()
	b, a := h.ready()
	must1(b.ResetVolume(ctx, broker.VolumeAct{Dataset: "patients", Generation: 7, Reason: "all logs lost"}))
	opened := w.newHolder(b, a).enters(b)
	if p := opened.Previous; p == nil || opened.Generation != 9 || !p.Accepts(7, 9) || p.Accepts(6, 9) {
		t.Errorf("%+v", opened)
	}
}

// TestResetVolumeReplayed: a log that is believed again says of a volume what it said before.
func TestResetVolumeReplayed(t *testing.T) {
	for name, least := range map[string]int64{"anew": 0, "a copy": 1} {
		t.Run(name, func(t *testing.T) {
			w := newService(t)
			h := w.newHouse()
			b, a := h.ready()
			for range 2 {
				w.newHolder(b, a).enters(b)
			}
			must1(b.ResetVolume(ctx, broker.VolumeAct{Dataset: "patients", Generation: least, Reason: "burnt"}))
			seen := h.log.Checkpoint()
			h.cfg.PeerAt = func(string) broker.Peer { return w.peer(seen) }
			h.cfg.State = newMemory()
			b = h.open()
			must1(confirm(b))
			must1(b.Activate(ctx, w.activation(a)))
			opened := must1(w.newHolder(b, a).volume(b, release.VolumeOpen, 0))
			p := opened.Previous
			if opened.Generation < 4 || (p == nil) != (least == 0) || p != nil && (p.Generation != 1 || p.Clean()) {
				t.Errorf("%+v, before %+v", opened, p)
			}
		})
	}
}
