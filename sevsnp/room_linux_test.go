package sevsnp_test

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/snp"
	"strongroom.dev/broker"
	"strongroom.dev/device"
	"strongroom.dev/internal/tsmtest"
	study "strongroom.dev/internal/world"
	"strongroom.dev/machine"
	"strongroom.dev/policy"
	"strongroom.dev/sevsnp"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// scene is a study that is agreed for rooms on SEV-SNP, with real brokers, and a machine under
// the tests' own AMD: what a guest reads from its kernel there, brokers judge.
type scene struct {
	*world
	study *study.World
	held  sevsnp.Collateral // the brokers'
	aux   []byte            // what the host gives beside reports
}

// newScene agrees on one image on the chip of [world.report], changed.
func newScene(t *testing.T, change func(*agreement.Platform)) *scene {
	s := &scene{world: newWorld(t)}
	chip := s.chip(sevsnp.Milan)
	s.held = s.collateral(sevsnp.Milan)
	s.aux = table(t, guidVCEK, s.vek(chip).Raw)
	p := agreement.Platform{Kind: snp.Name, Machines: []string{hex.EncodeToString(chip.chip)}, Releases: []agreement.ReleaseLine{}, MayLack: []wire.ID{},
		Images: []agreement.Image{{Name: "room", Measurements: map[string]string{"measurement": hex.EncodeToString(s.report(5, 0x19, 1, nil)[0x90:0xc0])}}}}
	if change != nil {
		change(&p)
	}
	judged := attest.Platform{Name: snp.Name, Verify: func(evidence []byte, _ time.Time) (attest.Facts, error) {
		return snp.With(s.verifier(s.held)).Platform().Verify(evidence, s.now)
	}}
	var err error
	if s.study, err = study.Study(t.Context(), t.TempDir(), []agreement.Platform{p}, []attest.Platform{judged}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.study.Close)
	return s
}

// guidVCEK is what the chip's certificate stands under in AMD's certificate table (56421, GHCB).
const guidVCEK = "63da758de6644564adc5f4b93be8accd"

// guest gives the evidence device of a machine that was started for the agreement. change, where
// set, changes each report before the chip signs it.
func (s *scene) guest(t *testing.T, change func(b []byte)) device.Device {
	t.Helper()
	k, err := tsmtest.New(t.TempDir(), "sev_guest", s.aux, func(data [64]byte) []byte {
		return s.report(5, 0x19, 1, func(b []byte) {
			started := attest.ShortInitData(s.study.Agreement.Canonical())
			copy(b[0x50:], data[:])
			copy(b[0xc0:], started[:])
			if change != nil {
				change(b)
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
	found, err := machine.Detect(k.Root)
	if err != nil {
		t.Fatal(err)
	}
	d, err := machine.Processor(k.Root, found)
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

// TestRoom goes the whole way: a guest's evidence, a broker's grant, a result, its proof.
func TestRoom(t *testing.T) {
	s := newScene(t, nil)
	for name, aux := range map[string][]byte{"the chip's certificate from the host": s.aux, "and from the broker": nil} {
		if s.aux = aux; aux == nil {
			s.held = s.collateral(sevsnp.Milan, s.vek(s.chip(sevsnp.Milan)))
		}
		if answer, err := s.study.Ask(t.Context(), s.guest(t, nil)); err != nil || !strings.Contains(answer, "12") {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
	}
}

// TestRoomRefused gives no keys to rooms that are not what was agreed, or not known to be.
func TestRoomRefused(t *testing.T) {
	s := newScene(t, nil)
	good := *s
	var earlier attest.Evidence
	if _, err := s.study.Ask(t.Context(), lying{s.guest(t, nil), func(e attest.Evidence) attest.Evidence { earlier = e; return e }}); err != nil {
		t.Fatal(err)
	}
	zero := [64]byte{}
	later := func(change func(b []byte)) func([]byte) { // not at Begin, which the guest itself looks at
		return func(b []byte) {
			if [64]byte(b[0x50:]) != zero {
				change(b)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(b []byte)
		lie    func(attest.Evidence) attest.Evidence
		world  func()
		check  string
	}{
		"started for another agreement":    {change: func(b []byte) { b[0xc0] ^= 1 }, check: "machine.init_data"},
		"started for none":                 {change: func(b []byte) { clear(b[0xc0:0xe0]) }, check: "machine.init_data"},
		"another agreement":                {change: later(func(b []byte) { b[0xc0] ^= 1 }), check: "evidence.init-data"},
		"no agreement":                     {change: later(func(b []byte) { clear(b[0xc0:0xe0]) }), check: "evidence.init-data"},
		"debugging":                        {change: func(b []byte) { b[0x0a] |= 1 << 3 }, check: "snp.debug"},
		"migration":                        {change: func(b []byte) { b[0x0a] |= 1 << 2 }, check: "snp.migration"},
		"below other software":             {change: func(b []byte) { b[0x30] = 1 }, check: "snp.vmpl"},
		"another image":                    {change: func(b []byte) { b[0x90] ^= 1 }, check: "evidence.image"},
		"another chip":                     {change: func(b []byte) { b[0x1a0] ^= 1 }, check: "snp.chip_id"},
		"firmware below the certificate's": {change: func(b []byte) { b[0x187] = 99 }, check: "snp.tcb"},
		"an earlier room's evidence":       {lie: func(attest.Evidence) attest.Evidence { return earlier }, check: "evidence.binding"},
		"an altered report":                {lie: func(e attest.Evidence) attest.Evidence { e.Evidence = flipped(e.Evidence, 0x90); return e }, check: "snp.signature"},
		"as another platform's":            {lie: func(e attest.Evidence) attest.Evidence { e.Platform = "tdx"; return e }, check: "evidence.platform"},
		"a report that is cut":             {lie: func(e attest.Evidence) attest.Evidence { e.Evidence = e.Evidence[:0x400]; return e }, check: "snp.form"},
		"nonsense beside the report":       {world: func() { s.aux = []byte("nonsense") }, check: "snp.form"},
		"no certificate":                   {world: func() { s.aux = nil }, check: "snp.collateral"},
		"no list":                          {world: func() { s.held.CRLs = nil }, check: "snp.collateral"},
		"an expired list": {world: func() {
			s.held.CRLs = []*x509.RevocationList{s.crl(sevsnp.Milan, 5, s.now.AddDate(-2, 0, 0), s.now.AddDate(0, 0, -1), s.keys.ark)}
		}, check: "snp.collateral"},
		"a revoked chain": {world: func() {
			s.held.CRLs = append(s.held.CRLs, s.crl(sevsnp.Milan, 6, s.now.AddDate(0, 0, -1), s.now.AddDate(1, 0, 0), s.keys.ark, 2))
		}, check: "snp.revocation"},
		"another maker's chip": {world: func() {
			mine := *s.world
			mine.keys.ask = mine.keys.other
			s.aux = table(t, guidVCEK, mine.vek(mine.chip(sevsnp.Milan)).Raw)
		}, check: "snp.chain"},
	} {
		t.Run(name, func(t *testing.T) {
			*s = good
			if c.world != nil {
				c.world()
			}
			d := s.guest(t, c.change)
			if c.lie != nil {
				d = lying{d, c.lie}
			}
			s.refused(t, d, c.check)
		})
	}
	*s = good
	if _, err := s.study.Ask(t.Context(), s.guest(t, nil)); err != nil {
		t.Errorf("nothing wrong: %v", err)
	}
}

func flipped(data []byte, at int) []byte {
	data = append([]byte{}, data...)
	data[at] ^= 1
	return data
}

// TestRoomNotListed: genuine machines that the agreement does not mean.
func TestRoomNotListed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*agreement.Platform)
		check  string
	}{
		"another chip is listed": {func(p *agreement.Platform) { p.Machines = []string{strings.Repeat("ab", 64)} }, "evidence.machine"},
		"another root is pinned": {func(p *agreement.Platform) { root := wire.HashOf([]byte("root")); p.Root = &root }, "evidence.root"},
		"a measurement more":     {func(p *agreement.Platform) { p.Images[0].Measurements["agent"] = strings.Repeat("cd", 48) }, "evidence.image"},
		"rooms on another kind":  {func(p *agreement.Platform) { p.Kind = "tdx" }, "room.platform"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, c.change)
			s.refused(t, s.guest(t, nil), c.check)
		})
	}
	s := newScene(t, func(p *agreement.Platform) { p.Machines = []string{} })
	if _, err := s.study.Ask(t.Context(), s.guest(t, nil)); err != nil {
		t.Errorf("any chip: %v", err)
	}
	// Under a cloud's key no machine has a name.
	listed := newScene(t, nil)
	cloud := listed.chip(sevsnp.Milan)
	cloud.kind, cloud.csp = sevsnp.VLEK, "a cloud"
	listed.aux, listed.held = nil, listed.collateral(sevsnp.Milan, listed.vek(cloud))
	listed.refused(t, listed.guest(t, func(b []byte) { b[0x48] = 1 << 2; clear(b[0x1a0:0x1e0]) }), "evidence.machine")
}

// TestRoomDenied: an owner's own floor, below what was agreed and what AMD lets pass.
func TestRoomDenied(t *testing.T) {
	s := newScene(t, nil)
	older := func(b []byte) { b[0x1f7] = 99 } // launched under older microcode
	for _, c := range []struct {
		denied policy.Denial
		change func([]byte)
		ok     bool
	}{
		{policy.Denial{What: policy.DenyGeneration, Value: "snp/Milan"}, nil, false},
		{policy.Denial{What: policy.DenyGeneration, Value: "snp/Genoa"}, nil, true},
		{policy.Denial{What: policy.DenyBelow, Value: "snp/Milan/microcode=101"}, nil, false},
		{policy.Denial{What: policy.DenyBelow, Value: "snp/Milan/microcode=100"}, nil, true},
		{policy.Denial{What: policy.DenyBelow, Value: "snp/microcode=100"}, older, false},
		{policy.Denial{What: policy.DenyBelow, Value: "snp/microcode=99"}, older, true},
		{policy.Denial{What: policy.DenyBelow, Value: "snp/fmc=1"}, nil, false}, // Milan has none
		{policy.Denial{What: policy.DenyMachine, Value: strings.ToUpper(hex.EncodeToString(s.chip(sevsnp.Milan).chip))}, nil, false},
	} {
		act := broker.DenialAct{Denial: c.denied}
		b := s.study.Brokers["beta"]
		if _, err := b.Deny(t.Context(), act); err != nil {
			t.Fatal(err)
		}
		switch _, err := s.study.Ask(t.Context(), s.guest(t, c.change)); {
		case c.ok && err != nil:
			t.Errorf("%s: %v", c.denied, err)
		case !c.ok && (err == nil || verdict.As(err).Check != "evidence.floor"):
			t.Errorf("%s: %v, expected evidence.floor", c.denied, err)
		}
		if _, err := b.Lift(t.Context(), act); err != nil {
			t.Fatal(err)
		}
	}
}
