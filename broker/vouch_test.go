package broker_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/tpmtest"
	"strongroom.dev/keys"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// newTPM makes the TPM of a machine that booted a room's image.
func newTPM(t testing.TB) *tpmtest.TPM {
	t.Helper()
	machine, err := tpmtest.New(start)
	must(t, err)
	log, err := os.ReadFile("../measure/testdata/ovmf-512mib.bin")
	must(t, err)
	must(t, machine.Boot(log))
	return machine
}

// tpmHouse is alpha's house under an agreement of class software that accepts dev rooms and
// those of one software TPM's root.
func tpmHouse(t testing.TB) (*house, *tpmtest.TPM) {
	t.Helper()
	w, machine := newWorld(t), newTPM(t)
	evidence, err := machine.Evidence([64]byte{}, nil)
	must(t, err)
	f, err := tpm.New(endorse.Set{}).Examine(evidence.Evidence, start)
	must(t, err)
	root := machine.Fingerprint()
	w.agreement.Platforms = append(w.agreement.Platforms, agreement.Platform{Kind: "tpm", Root: &root, Machines: []string{}, Releases: []agreement.ReleaseLine{}, MayLack: []wire.ID{},
		Images: []agreement.Image{{Name: "room", Measurements: f.Facts.Measurements}}})
	h := w.newHouse()
	h.cfg.Platforms = []attest.Platform{dev.New(), tpm.New(endorse.Set{}).Platform()}
	h.ready()
	return h, machine
}

func keyOf(machine *tpmtest.TPM) release.TPMKey {
	return release.TPMKey{EKCertificate: machine.EKCertificate, Certificates: []wire.Bytes{machine.Root}, AKPublic: machine.AKPublic}
}

// challenged asks alpha's broker for a challenge to a TPM.
func (h *house) challenged(key release.TPMKey) (release.Activate, error) {
	data, err := release.NewActivateRequest(release.ActivateRequest{Broker: "alpha-org", Agreement: h.agreement.Digest(), Key: key})
	must(h.w.t, err)
	answer, err := h.broker.ActivateTPM(ctx, data)
	if err != nil {
		return release.Activate{}, err
	}
	return release.ParseActivate(answer, "alpha-org")
}

// answered brings alpha's broker the answer of a TPM.
func (h *house) answered(key release.TPMKey, ticket, answer []byte) ([]byte, error) {
	data, err := release.NewActivatedRequest(release.ActivatedRequest{Broker: "alpha-org", Agreement: h.agreement.Digest(), Key: key, Ticket: ticket, Answer: answer})
	must(h.w.t, err)
	return h.broker.ActivatedTPM(ctx, data)
}

// vouched has a TPM prove its key to alpha's broker.
func (h *house) vouched(machine *tpmtest.TPM) []byte {
	h.w.t.Helper()
	c, err := h.challenged(keyOf(machine))
	must(h.w.t, err)
	answer, err := machine.Activate(c.Credential, c.Secret)
	must(h.w.t, err)
	record, err := h.answered(keyOf(machine), c.Ticket, answer)
	must(h.w.t, err)
	must(h.w.t, release.VerifyActivated(record, h.w.descriptors["alpha"].Broker.ReleaseKey))
	return record
}

// onTPM makes a room that shows evidence of a TPM instead of the dev platform's.
func (h *house) onTPM(machine *tpmtest.TPM, record []byte) *room {
	r := h.w.newRoom(h.agreement, h.w.newRun(h.agreement))
	r.change = func(req *release.Request) {
		binding := attest.Binding{Purpose: attest.ForRelease, Nonce: attest.NonceOf(req.Challenge), Signing: r.signing.Public(), HPKE: r.hpke.Public(), Agreement: r.agreement.Digest(), Run: r.run.Digest()}
		var err error
		req.Evidence, err = machine.Evidence(binding.ReportData(), record)
		must(h.w.t, err)
	}
	return r
}

func (h *house) begin(machine *tpmtest.TPM) {
	machine.Begin(attest.ShortInitData(h.agreement.Canonical()))
}

// TestTwoHosts releases to rooms on both kinds of machines that one agreement accepts.
func TestTwoHosts(t *testing.T) {
	h, machine := tpmHouse(t)
	h.begin(machine)
	if h.onTPM(machine, h.vouched(machine)).granted(h.broker) == nil {
		t.Error("no keys")
	}
	h.w.newRoom(h.agreement, h.w.newRun(h.agreement)).granted(h.broker)
	s, err := h.broker.Status(ctx)
	if err != nil || s.SinceStart.Activations != 2 {
		t.Errorf("%v %+v", err, s.SinceStart)
	}
}

// TestVouchRefused vouches for no key that a TPM didn't prove to this broker just now.
func TestVouchRefused(t *testing.T) {
	h, machine := tpmHouse(t)
	key, other := keyOf(machine), newTPM(t)
	c, err := h.challenged(key)
	must(t, err)
	answer, err := machine.Activate(c.Credential, c.Secret)
	must(t, err)

	free := key
	free.AKPublic = bytes.Clone(key.AKPublic)
	free.AKPublic[5] ^= 1 // restricted, bit 16 of the attributes
	broken := key
	broken.EKCertificate = []byte("certificate")
	for name, bad := range map[string]release.TPMKey{"a key that signs anything": free, "no certificate": broken, "no certificate above": {EKCertificate: key.EKCertificate, AKPublic: key.AKPublic, Certificates: []wire.Bytes{{1}}},
		"no key": {EKCertificate: key.EKCertificate, AKPublic: []byte{1}}} {
		if _, err := h.challenged(bad); err == nil || verdict.As(err).Check != "activation.key" {
			t.Errorf("%s: %v", name, err)
		}
	}
	swapped := key
	swapped.EKCertificate = other.EKCertificate
	for name, try := range map[string]struct {
		key            release.TPMKey
		ticket, answer []byte
		check          string
	}{
		"another answer":          {key, c.Ticket, make([]byte, 32), "activation.answer"},
		"a part of the answer":    {key, c.Ticket, answer[:16], "activation.answer"},
		"another attestation key": {keyOf(other), c.Ticket, answer, "activation.known"},
		"another endorsement key": {swapped, c.Ticket, answer, "activation.known"},
		"another ticket":          {key, append([]byte{1}, c.Ticket[1:]...), answer, "activation.known"},
	} {
		_, err := h.answered(try.key, try.ticket, try.answer)
		refusedBy(t, err, try.check)
		t.Log(name)
	}
	if _, err := other.Activate(c.Credential, c.Secret); err == nil {
		t.Error("another TPM answers")
	}
	if _, err := h.answered(key, c.Ticket, answer); err != nil {
		t.Errorf("the right answer: %v", err)
	}
	h.w.pass(5 * time.Minute)
	_, err = h.answered(key, c.Ticket, answer)
	refusedBy(t, err, "activation.fresh")
}

// TestVouchUnder vouches under agreements that are in force, are known here and accept TPMs.
func TestVouchUnder(t *testing.T) {
	h, machine := tpmHouse(t)
	ask := func(of wire.ID, digest wire.Digest) error {
		data, err := release.NewActivateRequest(release.ActivateRequest{Broker: of, Agreement: digest, Key: keyOf(machine)})
		must(t, err)
		_, err = h.broker.ActivateTPM(ctx, data)
		answered, answerErr := release.NewActivatedRequest(release.ActivatedRequest{Broker: of, Agreement: digest, Key: keyOf(machine), Ticket: []byte{1}, Answer: []byte{1}})
		must(t, answerErr)
		if _, answerErr = h.broker.ActivatedTPM(ctx, answered); answerErr == nil || err != nil && verdict.As(err).Check != verdict.As(answerErr).Check {
			t.Errorf("asked %v, answered %v", err, answerErr)
		}
		return err
	}
	must(t, ask("alpha-org", h.agreement.Digest()))
	refusedBy(t, ask("beta-org", h.agreement.Digest()), "request.broker")
	refusedBy(t, ask("alpha-org", wire.DigestOf([]byte("another"))), "agreement.activated")
	if why, err := h.broker.Why(ctx, h.agreement.Digest().String()); err != nil || len(why) != 2 || !strings.Contains(why[1].Subject, "a word about the TPM") {
		t.Errorf("%v %+v", err, why)
	}

	h.broker = nil
	h.cfg.InsecureAllowSoftware = false
	h.broker = h.open()
	refusedBy(t, ask("alpha-org", h.agreement.Digest()), "agreement.class")
	h.cfg.InsecureAllowSoftware = true
	h.broker = h.open()
	_, err := h.broker.Retire(ctx, h.agreement.Digest())
	must(t, err)
	refusedBy(t, ask("alpha-org", h.agreement.Digest()), "agreement.activated")

	w := newWorld(t)
	h = w.newHouse()
	h.ready()
	refusedBy(t, ask("alpha-org", h.agreement.Digest()), "activation.platform")
	h.w.pass(2000 * time.Hour)
	refusedBy(t, ask("alpha-org", h.agreement.Digest()), "agreement.validity")
	if _, err := h.broker.ActivateTPM(ctx, []byte("{}")); err == nil {
		t.Error("no request")
	}
	if _, err := h.broker.ActivatedTPM(ctx, []byte("{}")); err == nil {
		t.Error("no answer")
	}
}

// TestTPMRefused gives no keys to rooms whose TPM is not the one that this broker asked, or
// whose evidence is not of this room.
func TestTPMRefused(t *testing.T) {
	type setting struct {
		*house
		machine *tpmtest.TPM
		record  []byte
	}
	for name, c := range map[string]struct {
		change func(*setting) *room
		check  string
	}{
		"a word about another TPM": {func(s *setting) *room {
			other := newTPM(t)
			s.begin(other)
			return s.onTPM(other, s.record)
		}, "tpm.activation"},
		"another endorsement key in the word": {func(s *setting) *room {
			other := newTPM(t)
			was, is := wire.Bytes(s.machine.EKCertificate), wire.Bytes(other.EKCertificate)
			from, err := was.MarshalText()
			must(t, err)
			to, err := is.MarshalText()
			must(t, err)
			return s.onTPM(s.machine, bytes.Replace(s.record, from, to, 1))
		}, "tpm.activation"},
		"another party's word": {func(s *setting) *room {
			return s.onTPM(s.machine, resigned(t, s.record, s.w.betaRelease))
		}, "tpm.activation"},
		"no word":         {func(s *setting) *room { return s.onTPM(s.machine, nil) }, "tpm.identity"},
		"a word too old":  {func(s *setting) *room { s.w.pass(time.Hour); return s.onTPM(s.machine, s.record) }, "tpm.activation_dates"},
		"another program": {func(s *setting) *room { s.machine.Extend(11, make([]byte, 32)); return s.onTPM(s.machine, s.record) }, "tpm.event_log"},
		"more measured than agreed": {func(s *setting) *room {
			s.machine.Extend(12, make([]byte, 32)) // credentials, or another command line
			return s.onTPM(s.machine, s.record)
		}, "evidence.image"},
		"after the work started": {func(s *setting) *room { s.machine.Separate(wire.DigestOf(nil)); return s.onTPM(s.machine, s.record) }, "tpm.init_data"},
		"another agreement": {func(s *setting) *room {
			other := newTPM(t)
			other.Begin(wire.HashOf([]byte("another agreement")))
			return s.onTPM(other, s.vouched(other))
		}, "tpm.root"},
		"a quote for an earlier challenge": {func(s *setting) *room {
			r := s.onTPM(s.machine, s.record)
			must(t, r.getChallenge(s.broker))
			r.request()
			earlier := r.asked.Evidence
			r.change = func(req *release.Request) { req.Evidence = earlier }
			return r
		}, "evidence.binding"},
	} {
		s := &setting{}
		s.house, s.machine = tpmHouse(t)
		s.begin(s.machine)
		s.record = s.vouched(s.machine)
		_, err := c.change(s).ask(s.broker)
		t.Log(name)
		refusedBy(t, err, c.check)
	}
	// A root that the agreement does not pin is refused, not called false, and told from the pinned one.
	stranger := newTPM(t)
	other, pinned := tpmHouse(t)
	stranger.Begin(attest.ShortInitData(other.agreement.Canonical()))
	_, err := other.onTPM(stranger, other.vouched(stranger)).ask(other.broker)
	e := verdict.As(err)
	refusedBy(t, err, "tpm.root")
	if e.Kind != verdict.Refused || !strings.Contains(e.Expected, pinned.Fingerprint().String()) || !strings.Contains(e.Got, stranger.Fingerprint().String()) || e.Fix == "" {
		t.Errorf("another root: %v", e)
	}
	// The right TPM, begun with another agreement.
	h, machine := tpmHouse(t)
	machine.Begin(wire.HashOf([]byte("another agreement")))
	_, err = h.onTPM(machine, h.vouched(machine)).ask(h.broker)
	refusedBy(t, err, "evidence.init-data")
}

// resigned gives a record as another party's broker would have signed it.
func resigned(t testing.TB, record []byte, by keys.Signer) []byte {
	t.Helper()
	var body tpm.Activation
	_, err := keys.ParseDocument(record, tpm.ActivationType, &body)
	must(t, err)
	doc, err := keys.NewDocument(tpm.ActivationType, body)
	must(t, err)
	must(t, doc.Sign(by))
	data, err := doc.Encode()
	must(t, err)
	return data
}

// TestWordAboutAKey says exactly what package attest/tpm reads, for at most an hour.
func TestWordAboutAKey(t *testing.T) {
	if release.ActivatedType != tpm.ActivationType {
		t.Fatal("two types of one document")
	}
	h, machine := tpmHouse(t)
	var body tpm.Activation
	_, err := keys.ParseDocument(h.vouched(machine), tpm.ActivationType, &body)
	must(t, err)
	if got := body.Expires.Time().Sub(body.Activated.Time()); got > time.Hour || body.Activated.Time().After(h.w.now()) || !bytes.Equal(body.AKName, machine.AKName) || !bytes.Equal(body.EKCertificate, machine.EKCertificate) {
		t.Errorf("for %s: %+v", got, body)
	}
}
