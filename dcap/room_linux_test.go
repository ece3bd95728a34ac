package dcap_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/tdx"
	"strongroom.dev/broker"
	"strongroom.dev/device"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/internal/tsmtest"
	study "strongroom.dev/internal/world"
	guest "strongroom.dev/machine"
	"strongroom.dev/policy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Where a quote of version 4 has what rooms are known by.
const (
	bodyAt       = 48
	mrtdAt       = 136
	mrconfigidAt = 184
	rtmrAt       = 328
	reportDataAt = 520
)

// scene is a study that is agreed for rooms on TDX, with real brokers, and a machine under the
// tests' own Intel: what a guest reads from its kernel there, brokers judge.
type scene struct {
	*world
	study *study.World
	body  []byte // of quotes, but for what the agreement and the challenge say
	log   []byte // of the firmware's, where the kernel shows one
}

// newScene agrees on one image on the machine of [world.quote], changed.
func newScene(t *testing.T, body []byte, change func(*agreement.Platform)) *scene {
	s := &scene{world: newWorld(t), body: body}
	judged := attest.Platform{Name: tdx.Name, Verify: func(evidence []byte, _ time.Time) (attest.Facts, error) {
		return tdx.With(s.verifier()).Platform().Verify(evidence, now)
	}}
	facts, err := judged.Verify(s.quote(func(p *q) { p.body = body }), now)
	if err != nil {
		t.Fatal(err)
	}
	p := agreement.Platform{Kind: tdx.Name, Machines: []string{facts.Machine}, Releases: []agreement.ReleaseLine{}, MayLack: []wire.ID{},
		Images: []agreement.Image{{Name: "room", Measurements: facts.Measurements}}}
	if change != nil {
		change(&p)
	}
	if s.study, err = study.Study(t.Context(), t.TempDir(), []agreement.Platform{p}, []attest.Platform{judged}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.study.Close)
	return s
}

// usual is the body of a trust domain of module 1.6.
func usual() []byte { return td([3]byte{6, 1, 3}) }

// guest gives the evidence device of a trust domain that was started for the agreement. change,
// where set, changes each quote before it is signed.
func (s *scene) guest(t *testing.T, change func(p *q)) device.Device {
	t.Helper()
	k, err := tsmtest.New(t.TempDir(), "tdx_guest", nil, func(data [64]byte) []byte {
		return s.quote(func(p *q) {
			started := attest.InitData(s.study.Agreement.Canonical())
			p.body = bytes.Clone(s.body)
			copy(p.body[mrconfigidAt:], started[:])
			copy(p.body[reportDataAt:], data[:])
			if change != nil {
				change(p)
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	if s.log != nil {
		path := filepath.Join(k.Root, "sys/firmware/acpi/tables/data/CCEL")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, s.log, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := guest.Detect(k.Root)
	if err != nil {
		t.Fatal(err)
	}
	d, err := guest.Processor(k.Root, found)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// lying is a device that shows other evidence than its own.
type lying struct {
	device.Device
	lie func(attest.Evidence) attest.Evidence
}

func (d lying) Attest(ctx context.Context, data [64]byte, record []byte) (attest.Evidence, error) {
	e, err := d.Device.Attest(ctx, data, record)
	return d.lie(e), err
}

// refused has a room ask, and compares the check that stops it.
func (s *scene) refused(t *testing.T, d device.Device, check string) {
	t.Helper()
	answer, err := s.study.Ask(t.Context(), d)
	if err == nil || verdict.As(err).Check != check {
		t.Errorf("%q, %v; expected %s", answer, err, check)
	}
}

// answered has a room ask and be answered.
func (s *scene) answered(t *testing.T, d device.Device) {
	t.Helper()
	if answer, err := s.study.Ask(t.Context(), d); err != nil || !strings.Contains(answer, "12") {
		t.Errorf("%q, %v", answer, err)
	}
}

// TestRoom goes the whole way: a guest's evidence, a broker's grant, a result, its proof; with
// quotes of both versions.
func TestRoom(t *testing.T) {
	s := newScene(t, usual(), nil)
	s.answered(t, s.guest(t, nil))
	s.answered(t, s.guest(t, func(p *q) { p.version, p.bodyType = 5, 2 }))
	// Another release of Intel's module is no other image.
	s.answered(t, s.guest(t, func(p *q) { p.body[16] ^= 1 }))
}

// TestRoomLog: what the guest shows beside its quote leads to the quote's registers, or is refused.
func TestRoomLog(t *testing.T) {
	const logs = "tdx/google+go-tdx-guest/testing/testdata/ccel/"
	recorded, log := evidencetest.Read(t, logs+"cos-113-tdx-quote.dat"), evidencetest.Read(t, logs+"ccel_data.dat")
	body := usual()
	copy(body[rtmrAt:reportDataAt], recorded[bodyAt+rtmrAt:])
	s := newScene(t, body, nil)
	s.log = log
	s.answered(t, s.guest(t, nil))
	s.refused(t, s.guest(t, func(p *q) { p.body[rtmrAt+48] ^= 1 }), "tdx.event_log")
	s.log = bytes.Repeat([]byte{0xff}, 100)
	s.refused(t, s.guest(t, nil), "tdx.event_log")
}

// TestRoomRefused gives no keys to rooms that are not what was agreed, or not known to be.
func TestRoomRefused(t *testing.T) {
	later := func(change func(p *q)) func(*q) { // not at Begin, which the guest itself looks at
		return func(p *q) {
			if [64]byte(p.body[reportDataAt:]) != [64]byte{} {
				change(p)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(p *q)
		lie    func(attest.Evidence) attest.Evidence
		world  func(w *world)
		check  string
	}{
		"started for another agreement": {change: func(p *q) { p.body[mrconfigidAt] ^= 1 }, check: "machine.init_data"},
		"started for none":              {change: func(p *q) { clear(p.body[mrconfigidAt:][:48]) }, check: "machine.init_data"},
		"another agreement":             {change: later(func(p *q) { p.body[mrconfigidAt] ^= 1 }), check: "evidence.init-data"},
		"no agreement":                  {change: later(func(p *q) { clear(p.body[mrconfigidAt:][:48]) }), check: "evidence.init-data"},
		"debugging":                     {change: func(p *q) { p.body[120] = 1 }, check: "tdx.debug"},
		"another image":                 {change: func(p *q) { p.body[mrtdAt] ^= 1 }, check: "evidence.image"},
		"another kernel":                {change: func(p *q) { p.body[rtmrAt+48] ^= 1 }, check: "evidence.image"},
		"service domains": {change: func(p *q) {
			p.version, p.bodyType, p.body = 5, 3, append(p.body, append(make([]byte, 16), bytes.Repeat([]byte{1}, 48)...)...)
		}, check: "evidence.image"},
		"an old module":              {change: func(p *q) { p.body[0] = 4 }, check: "tdx.tcb.module"},
		"a module of another signer": {change: func(p *q) { p.body[64] = 1 }, check: "tdx.module"},
		"a module for debugging":     {change: func(p *q) { p.body[112] = 1 }, check: "tdx.module"},
		"an old quoting enclave":     {change: func(p *q) { p.qe[258] = 3 }, check: "tdx.tcb.qe"},
		"somebody else's enclave":    {change: func(p *q) { p.qe[128] ^= 1 }, check: "tdx.qe_identity"},
		"old firmware":               {world: func(w *world) { w.reissue(machine{w.machine.components, 10, w.machine.fmspc}) }, check: "tdx.tcb.platform"},
		"a revoked machine":          {world: func(w *world) { w.revokedByCA = append(w.revokedByCA, w.pck.SerialNumber) }, check: "tdx.revocation"},
		"no lists":                   {world: func(w *world) { w.omitCRLs = true }, check: "tdx.collateral"},
		"no TCB information":         {world: func(w *world) { w.omitInfo = true }, check: "tdx.collateral"},
		"expired TCB information":    {world: func(w *world) { w.info["nextUpdate"] = now.Add(-time.Minute).Format(stampForm) }, check: "tdx.collateral_dates"},
		"another's TCB information":  {world: func(w *world) { w.info["fmspc"] = "00806f050000" }, check: "tdx.collateral"},
		"a quote that was altered":   {lie: func(e attest.Evidence) attest.Evidence { e.Evidence[bodyAt+mrtdAt] ^= 1; return e }, check: "tdx.signature"},
		"a quote that is cut":        {lie: func(e attest.Evidence) attest.Evidence { e.Evidence = e.Evidence[:700]; return e }, check: "tdx.quote"},
		"as another platform's":      {lie: func(e attest.Evidence) attest.Evidence { e.Platform = "snp"; return e }, check: "evidence.platform"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, usual(), nil)
			if c.world != nil {
				c.world(s.world)
			}
			d := s.guest(t, c.change)
			if c.lie != nil {
				d = lying{d, c.lie}
			}
			s.refused(t, d, c.check)
		})
	}
}

// TestRoomReplayed: evidence answers one challenge, for one room.
func TestRoomReplayed(t *testing.T) {
	s := newScene(t, usual(), nil)
	var earlier attest.Evidence
	s.answered(t, lying{s.guest(t, nil), func(e attest.Evidence) attest.Evidence { earlier = e; return e }})
	s.refused(t, lying{s.guest(t, nil), func(attest.Evidence) attest.Evidence { return earlier }}, "evidence.binding")
}

// TestRoomNotListed: genuine machines that the agreement does not mean.
func TestRoomNotListed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*agreement.Platform)
		check  string
	}{
		"another machine is listed": {func(p *agreement.Platform) { p.Machines = []string{strings.Repeat("ef", 16)} }, "evidence.machine"},
		"another root is pinned":    {func(p *agreement.Platform) { root := wire.HashOf([]byte("root")); p.Root = &root }, "evidence.root"},
		"a register less":           {func(p *agreement.Platform) { delete(p.Images[0].Measurements, "rtmr3") }, "evidence.image"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, usual(), c.change)
			s.refused(t, s.guest(t, nil), c.check)
		})
	}
	s := newScene(t, usual(), func(p *agreement.Platform) { p.Machines = []string{} })
	s.answered(t, s.guest(t, nil))
}

// TestRoomDenied: an owner's own floor, below what was agreed and what Intel lets pass.
func TestRoomDenied(t *testing.T) {
	s := newScene(t, usual(), nil)
	b := s.study.Brokers["beta"]
	denied := func(what policy.What, value string, check string) {
		t.Helper()
		act := broker.DenialAct{Denial: policy.Denial{What: what, Value: value}}
		if _, err := b.Deny(t.Context(), act); err != nil {
			t.Fatal(err)
		}
		if check == "" {
			s.answered(t, s.guest(t, nil))
		} else {
			s.refused(t, s.guest(t, nil), check)
		}
		if _, err := b.Lift(t.Context(), act); err != nil {
			t.Fatal(err)
		}
	}
	const floor = "evidence.floor"
	denied(policy.DenyGeneration, "tdx/90C06F000000", floor)
	denied(policy.DenyGeneration, "tdx/00806F050000", "")
	denied(policy.DenyBelow, "tdx/date=20241113", "")
	denied(policy.DenyBelow, "tdx/date=20241114", floor)
	denied(policy.DenyBelow, "tdx/module-date=20240313", "")
	denied(policy.DenyBelow, "tdx/module-date=20240314", floor)
	denied(policy.DenyBelow, "tdx/evaluation=18", "")
	denied(policy.DenyBelow, "tdx/90c06f000000/evaluation=19", floor)
	denied(policy.DenyBelow, "tdx/up-to-date=1", "")
	s.reissue(machine{s.machine.components, 12, s.machine.fmspc}) // needs hardening: a warning
	denied(policy.DenyImage, strings.Repeat("ab", 48), "")
	denied(policy.DenyBelow, "tdx/up-to-date=1", floor)
	denied(policy.DenyBelow, "tdx/date=20241113", floor)
}
