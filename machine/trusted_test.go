package machine_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"strconv"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/device"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/swtpm"
	"strongroom.dev/keys"
	"strongroom.dev/machine"
	"strongroom.dev/machine/chip"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// started is a machine with a TPM whose agreement was measured.
type started struct {
	device.Device
	tpm       *swtpm.TPM
	intro     device.Introduction
	activator *keys.SigningKey
}

func start(t *testing.T, banks string) started {
	t.Helper()
	s := started{tpm: swtpm.Start(t, banks)}
	var err error
	if s.Device, err = machine.NewTrusted(chip.New(s.tpm), [32]byte{1}, nil); err != nil {
		t.Fatal(err)
	}
	if s.intro, err = s.Begin(t.Context(), initData, short); err != nil {
		t.Fatal(err)
	}
	if s.activator, err = keys.GenerateSigningKey(keys.Ed25519); err != nil {
		t.Fatal(err)
	}
	return s
}

// challenge asks whether the introduced key lives in the TPM with an EK certificate.
func (s started) challenge(t *testing.T, ek []byte) *tpm.Challenge {
	t.Helper()
	public, err := tpm2.ParsePublic(s.intro.Key.AKPublic)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tpm.NewChallenge(ek, [][]byte{s.tpm.Issuer, s.tpm.Root}, public, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s started) activate(t *testing.T) (record []byte) {
	t.Helper()
	c := s.challenge(t, s.intro.Key.EKCertificate)
	answer, err := s.Activate(t.Context(), c.Credential, c.Secret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if record, err = c.Answered(answer, s.activator, now.Add(-time.Minute), now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return record
}

// examine says what a verifier finds that knows the TPM's root and the activator.
func (s started) examine(t *testing.T, e attest.Evidence) (attest.Finding, error) {
	t.Helper()
	return s.verifier(t).Examine(e.Evidence, time.Now())
}

func (s started) verifier(t *testing.T) tpm.Verifier {
	t.Helper()
	items := append(endorse.Parse("root", s.tpm.Root), endorse.Parse("issuer", s.tpm.Issuer)...)
	set, err := endorse.NewSet(items...)
	if err != nil {
		t.Fatal(err)
	}
	return tpm.NewWithActivators(set, s.activator.Public())
}

func hpkeKey(t *testing.T) keys.HPKEPublicKey {
	t.Helper()
	k, err := keys.GenerateHPKEKey()
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

func TestTrusted(t *testing.T) {
	for _, banks := range []string{"sha256", "sha1,sha256,sha384,sha512"} {
		s := start(t, banks)
		if s.intro.Platform != machine.TPM || s.intro.Why == "" || s.intro.Key == nil {
			t.Fatalf("%+v", s.intro)
		}
		report := [64]byte{5}
		e, err := s.Attest(t.Context(), report, s.activate(t))
		if err != nil || e.Platform != tpm.Name {
			t.Fatalf("%s, %v", e.Platform, err)
		}
		f, err := s.examine(t, e)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range f.Checks {
			if !c.OK {
				t.Errorf("%s fails: got %s", c.ID, c.Got)
			}
		}
		nonce := wire.SHA256("strongroom/short-report-data/v1", report[:])
		if f.Facts.Class != "software" || !bytes.Equal(f.Facts.InitData, short[:]) || !bytes.Equal(f.Facts.ReportData, nonce[:]) {
			t.Errorf("%+v", f.Facts)
		}
	}
}

// TestTrustedBeginsOnce: a second agreement would be measured over the first.
func TestTrustedBeginsOnce(t *testing.T) {
	s := start(t, "sha256")
	if _, err := s.Begin(t.Context(), wire.DigestOf(nil), wire.HashOf(nil)); verdict.As(err).Check != "machine.init_data" {
		t.Errorf("%v", err)
	}
}

// TestSeparated: once the work starts, what a TPM says speaks for no agreement any more, even
// if somebody gets it to say something; but to whoever connects it speaks for the room.
func TestSeparated(t *testing.T) {
	s := start(t, "sha256,sha384")
	record := s.activate(t)
	before, err := s.Attest(t.Context(), [64]byte{}, record)
	if err != nil {
		t.Fatal(err)
	}
	run := wire.DigestOf([]byte("run"))
	if _, err := s.Ingress(t.Context(), device.Connection{}); verdict.As(err).Check != "machine.separated" {
		t.Errorf("evidence for ingress before the work: %v", err)
	}
	if err := s.Separate(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Attest(t.Context(), [64]byte{}, record); verdict.As(err).Check != "machine.separated" {
		t.Errorf("evidence after the separator: %v", err)
	}
	s.activate(t) // where its key lives, it says as ever: a room may serve for long
	// What it says to whoever connects has the separator in it, and passes for nothing else.
	shown, err := s.Ingress(t.Context(), device.Connection{Nonce: wire.HashOf([]byte("nonce")), Signing: s.activator.Public(), HPKE: hpkeKey(t), Agreement: run, Run: run, Record: record})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.examine(t, shown); verdict.As(err).Check != "tpm.init_data" {
		t.Errorf("evidence for ingress: %v", err)
	}
	for id, want := range map[*wire.Digest]string{&run: "", new(wire.Digest): "tpm.init_data"} {
		if _, err := s.verifier(t).Under(attest.Trust{Started: id}).Examine(shown.Evidence, time.Now()); (err != nil) != (want != "") || err != nil && verdict.As(err).Check != want {
			t.Errorf("evidence for ingress of run %s: %v", id.Short(), err)
		}
	}
	// The same salt gives the same key, as its owner could have it.
	again := chip.New(s.tpm)
	ak, err := again.NewAttestationKey([32]byte{1})
	if err != nil || !bytes.Equal(ak.Public, s.intro.Key.AKPublic) {
		t.Fatalf("another key, %v", err)
	}
	q, err := again.Quote(ak, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	work, separator := wire.SHA256("strongroom/work/v1", run[:]), sha256.Sum256(make([]byte, 4))
	want := make([]byte, 32)
	for _, m := range [][]byte{work[:], separator[:]} {
		h := sha256.Sum256(append(want, m...))
		want = h[:]
	}
	if !bytes.Equal(q.PCRs[14], want) {
		t.Errorf("PCR 14 is %x, expected %x", q.PCRs[14], want)
	}
	if _, err := s.examine(t, forge(t, before, q)); verdict.As(err).Check != "tpm.init_data" {
		t.Errorf("a quote after the separator: %v", err)
	}
}

// forge puts another quote into evidence.
func forge(t *testing.T, e attest.Evidence, q chip.Quote) attest.Evidence {
	t.Helper()
	var parts tpm.Evidence
	if err := wire.Unmarshal(e.Evidence, &parts); err != nil {
		t.Fatal(err)
	}
	for i, v := range q.PCRs {
		parts.Quotes[0].Banks["sha256"][strconv.Itoa(i)] = v
	}
	parts.Quotes[0].Message, parts.Quotes[0].Signature = q.Message, q.Signature
	data, err := parts.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return attest.Evidence{Platform: e.Platform, Evidence: data}
}

// TestEKSwapped: a TPM answers no challenge to another one's endorsement key.
func TestEKSwapped(t *testing.T) {
	s, other := start(t, "sha256"), start(t, "sha256")
	c := s.challenge(t, other.intro.Key.EKCertificate)
	for name, d := range map[string]device.Device{"the key's own": s, "the certificate's": other} {
		if _, err := d.Activate(t.Context(), c.Credential, c.Secret); verdict.As(err).Check != "machine.activation" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Activate(t.Context(), []byte{0, 1}, nil); verdict.As(err).Check != "machine.activation" {
		t.Errorf("nothing: %v", err)
	}
	s.activate(t) // and it answers its own after that
}
