package proof_test

import (
	"crypto/rand"
	"os"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/tpmtest"
	"strongroom.dev/proof"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// tpmWorld is a run in a room with a software TPM, under an agreement that accepts dev rooms
// too. Each owner's broker vouched for the TPM's key some time before start.
type tpmWorld struct {
	*world
	machine *tpmtest.TPM
	// by says whose broker vouches before an owner's broker, lasting how long from when on.
	by           func(owner wire.ID) wire.ID
	from, lasted time.Duration
}

func newTPMWorld(t *testing.T) *tpmWorld {
	t.Helper()
	w := &tpmWorld{world: newWorld(t), by: func(owner wire.ID) wire.ID { return owner }, from: -time.Minute, lasted: time.Hour}
	machine, err := tpmtest.New(start)
	w.machine = must(t, machine, err)
	log, err := os.ReadFile("../measure/testdata/ovmf-512mib.bin")
	if err := w.machine.Boot(must(t, log, err)); err != nil {
		t.Fatal(err)
	}
	bare, err := w.machine.Evidence([64]byte{}, nil)
	must(t, bare, err)
	f, err := tpm.New(endorse.Set{}).Examine(bare.Evidence, start)
	must(t, f, err)
	root := w.machine.Fingerprint()
	w.agree(func(a *agreement.Agreement) {
		a.Platforms = append(a.Platforms, agreement.Platform{Kind: "tpm", Root: &root, Machines: []string{}, Releases: []agreement.ReleaseLine{}, MayLack: []wire.ID{},
			Images: []agreement.Image{{Name: "vm", Measurements: f.Facts.Measurements}}})
	})
	w.machine.Begin(attest.ShortInitData(w.agreement.Canonical()))
	w.evidence = w.show
	return w
}

// show makes the evidence for an owner's broker.
func (w *tpmWorld) show(owner wire.ID, report [64]byte) attest.Evidence {
	public, err := tpm2.ParsePublic(w.machine.AKPublic)
	must(w.t, public, err)
	c, err := tpm.NewChallenge(w.machine.EKCertificate, nil, public, rand.Reader)
	must(w.t, c, err)
	answer, err := w.machine.Activate(c.Credential, c.Secret)
	must(w.t, answer, err)
	from := start.Add(w.from)
	record, err := c.Answered(answer, w.parties[w.by(owner)].release, from, from.Add(w.lasted))
	must(w.t, record, err)
	evidence, err := w.machine.Evidence(report, record)
	return must(w.t, evidence, err)
}

// stranger trusts the TPM's root too.
func (w *tpmWorld) stranger() proof.Trust {
	t := w.trust()
	t.Platforms = []attest.Platform{dev.New(), tpm.New(endorse.Set{}).Platform()}
	t.Roots = append(t.Roots, w.machine.Fingerprint())
	return t
}

// TestTPMProven has a stranger check a run in a room with a TPM, long after the word about its key:
// it counts that the word held when the owner's broker relied on it.
func TestTPMProven(t *testing.T) {
	w := newTPMWorld(t)
	w.end, w.now = start.Add(2*time.Hour), start.AddDate(0, 1, 0)
	p, err := proof.Verify(w.bundle(), w.stranger(), w.now)
	if err != nil {
		t.Fatal(err)
	}
	if p.Platform != "tpm" || p.Class != agreement.Software || len(p.Trusts) == 0 {
		t.Errorf("%+v", p)
	}
	w.evidence = nil
	if p, err = proof.Verify(w.bundle(), w.stranger(), w.now); err != nil || p.Platform != "dev" {
		t.Errorf("a dev room under the same agreement: %v", err)
	}
}

// TestTPMNotProven refuses evidence that the owner's own broker could not have relied on.
func TestTPMNotProven(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*tpmWorld, *proof.Trust)
		check  string
	}{
		"the other owner's word": {func(w *tpmWorld, _ *proof.Trust) {
			w.by = func(owner wire.ID) wire.ID { return map[wire.ID]wire.ID{"alpha": "beta", "beta": "alpha"}[owner] }
		}, "tpm.activation"},
		"a word that was over":                 {func(w *tpmWorld, _ *proof.Trust) { w.from = -time.Hour }, "tpm.activation_dates"},
		"a word of later":                      {func(w *tpmWorld, _ *proof.Trust) { w.from = time.Second }, "tpm.activation_dates"},
		"a root the verifier does not rely on": {func(w *tpmWorld, trust *proof.Trust) { trust.Roots = trust.Roots[:1] }, "proof.root"},
		"no verifier of TPMs":                  {func(w *tpmWorld, trust *proof.Trust) { trust.Platforms = trust.Platforms[:1] }, "evidence.platform"},
		"another TPM": {func(w *tpmWorld, _ *proof.Trust) {
			other, err := tpmtest.New(start)
			w.machine = must(w.t, other, err)
			w.machine.Begin(attest.ShortInitData(w.agreement.Canonical()))
		}, "tpm.root"},
		"another program":        {func(w *tpmWorld, _ *proof.Trust) { w.machine.Extend(12, make([]byte, 32)) }, "evidence.image"},
		"after the work started": {func(w *tpmWorld, _ *proof.Trust) { w.machine.Separate(w.run.Digest()) }, "tpm.init_data"},
	} {
		w := newTPMWorld(t)
		trust := w.stranger()
		c.change(w, &trust)
		if _, err := proof.Verify(w.bundle(), trust, w.now); err == nil || verdict.As(err).Check != c.check {
			t.Errorf("%s: %v, expected %s", name, err, c.check)
		}
	}
}
