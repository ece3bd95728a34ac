package test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/policy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// judged is evidence in the hands of a relying party, with what it goes by.
type judged struct {
	agreement *agreement.SignedAgreement
	evidence  attest.Evidence
	want      attest.Expectation
}

// judgedAs gives recorded evidence to alpha's broker, at the time of the recording.
func judgedAs(t *testing.T, s recordedStudy, b recordedBoot) judged {
	t.Helper()
	a, err := agreement.ParseAgreement(s.Agreement)
	if err != nil {
		t.Fatal(err)
	}
	shown := b.Shown
	return judged{a, shown.Evidence, attest.Expectation{
		Binding: attest.Binding{Purpose: attest.ForRelease, Nonce: attest.NonceOf(shown.Challenge), Signing: shown.Room.Signing, HPKE: shown.Room.HPKE, Agreement: a.Digest(), Run: shown.Run},
		Now:     b.At, AgreementBody: a.Canonical(), Trust: attest.Trust{Activators: []keys.PublicKey{s.Alpha}, Platforms: a.Platforms},
	}}
}

// refusal says why a broker gives no keys, nil if nothing of the evidence is in the way.
func (j judged) refusal() error {
	claims, err := attest.Verify(j.evidence, []attest.Platform{tpm.New(endorse.Set{}).Platform()}, j.want)
	if err != nil {
		return err
	}
	if check, _ := policy.AcceptedImage(j.agreement.Agreement, policy.References{}, claims); !check.OK {
		return verdict.FromCheck(verdict.Refused, check, nil)
	}
	return nil
}

// TestRecordedBoots judges what real machines showed: the agreed image is accepted, at any size
// and with every measurement as it was computed from the image's files; any other start is
// refused, for the register that takes in what was changed.
func TestRecordedBoots(t *testing.T) {
	s := readStudy(t)
	differ := map[string][]string{
		"command-line":    {"pcr11", "pcr4", "pcr9"},
		"debug-kernel":    {"pcr11", "pcr4"},
		"initrd":          {"pcr11", "pcr4", "pcr9"},
		"stub-arguments":  {"pcr12", "pcr9"},
		"credentials":     {"pcr12", "pcr4", "pcr9"}, // a disk has another PCR 4
		"extension-image": {"pcr13", "pcr4", "pcr9"},
	}
	for name, b := range readBoots(t) {
		j := judgedAs(t, s, b)
		err := j.refusal()
		computed, quoted := j.agreement.Platforms[0].Images[0].Measurements, quotedIn(t, b)
		if b.About == "" || b.Memory == 0 || len(quoted) < 10 {
			t.Errorf("%s: %+v", name, quoted)
		}
		want := differ[name]
		if got := differences(computed, quoted); !slices.Equal(got, want) {
			t.Errorf("%s: %v differ, expected %v", name, got, want)
		}
		if want == nil {
			if err != nil || !maps.Equal(computed, quoted) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || verdict.As(err).Check != "evidence.image" || verdict.As(err).Kind != verdict.Refused {
			t.Errorf("%s: %v", name, err)
			continue
		}
		e := verdict.As(err)
		for _, register := range want {
			if !strings.Contains(e.Got, register+" ") {
				t.Errorf("%s: nothing is said of %s: %s", name, register, e.Got)
			}
		}
	}
}

// differences names what two sets of measurements don't have in common.
func differences(a, b map[string]string) (names []string) {
	for name := range a {
		if b[name] != a[name] {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// TestRecordedTampered takes the agreed image's evidence and changes what a host can: what it
// shows, to whom, for what, and parts of it.
func TestRecordedTampered(t *testing.T) {
	s, all := readStudy(t), readBoots(t)
	honest, other, debug := all["1cpu-512mib"], all["1cpu-1024mib"], all["debug-kernel"]
	if err := judgedAs(t, s, honest).refusal(); err != nil {
		t.Fatal(err)
	}
	stranger, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	parts := func(b recordedBoot) (e tpm.Evidence) {
		if err := wire.Unmarshal(b.Shown.Evidence.Evidence, &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	for name, c := range map[string]struct {
		boot  recordedBoot
		ask   func(*judged)       // another question
		alter func(*tpm.Evidence) // other evidence
		check string
	}{
		"replayed for a new challenge":       {boot: honest, ask: func(j *judged) { j.want.Binding.Nonce = attest.NonceOf([]byte("another")) }, check: "evidence.binding"},
		"for other keys of a room":           {boot: honest, ask: func(j *judged) { j.want.Binding.Signing = stranger.Public() }, check: "evidence.binding"},
		"for another run":                    {boot: honest, ask: func(j *judged) { j.want.Binding.Run[0] ^= 1 }, check: "evidence.binding"},
		"another machine's, for this room":   {boot: honest, ask: func(j *judged) { j.evidence = other.Shown.Evidence }, check: "evidence.binding"},
		"another agreement":                  {boot: honest, ask: func(j *judged) { another(t, j) }, check: "evidence.binding"},
		"shown to a broker that never asked": {boot: honest, ask: func(j *judged) { j.want.Trust.Activators = []keys.PublicKey{stranger.Public()} }, check: "tpm.activation"},
		"a root that nobody pinned":          {boot: honest, ask: func(j *judged) { j.want.Trust.Platforms = nil }, check: "tpm.root"},
		"an hour later":                      {boot: honest, ask: func(j *judged) { j.want.Now = j.want.Now.Add(time.Hour) }, check: "tpm.activation_dates"},
		"another TPM's endorsement key":      {boot: honest, alter: func(e *tpm.Evidence) { e.Activation = parts(other).Activation }, check: "tpm.activation"},
		"an endorsement key's certificate swapped in the record": {boot: honest, alter: func(e *tpm.Evidence) {
			e.Activation = swapped(t, e.Activation, parts(other).Activation)
		}, check: "tpm.activation"},
		"another TPM's quote":            {boot: honest, alter: func(e *tpm.Evidence) { e.Quotes = parts(other).Quotes }, check: "tpm.quote"},
		"another TPM's attestation key":  {boot: honest, alter: func(e *tpm.Evidence) { e.AKPublic = parts(other).AKPublic }, check: "tpm.quote"},
		"quote and key of another TPM":   {boot: honest, alter: func(e *tpm.Evidence) { e.AKPublic, e.Quotes = parts(other).AKPublic, parts(other).Quotes }, check: "tpm.activation"},
		"one bit of the event log":       {boot: honest, alter: func(e *tpm.Evidence) { e.EventLog[bytes.Index(e.EventLog, []byte("l\x00i\x00n\x00u\x00x"))-20] ^= 1 }, check: "tpm.event_log"},
		"the end of the event log":       {boot: honest, alter: func(e *tpm.Evidence) { e.EventLog = cutLog(e.EventLog) }, check: "tpm.event_log"},
		"no event log":                   {boot: honest, alter: func(e *tpm.Evidence) { e.EventLog = nil }, check: "evidence.image"},
		"another machine's event log":    {boot: honest, alter: func(e *tpm.Evidence) { e.EventLog = parts(other).EventLog }, check: "tpm.event_log"},
		"an honest log for a bad kernel": {boot: debug, alter: func(e *tpm.Evidence) { e.EventLog = parts(honest).EventLog }, check: "tpm.event_log"},
		"an honest PCR for a bad kernel": {boot: debug, alter: func(e *tpm.Evidence) {
			e.Quotes[0].Banks["sha256"]["11"] = parts(honest).Quotes[0].Banks["sha256"]["11"]
		}, check: "tpm.quote"},
		"another agreement's init data": {boot: honest, alter: func(e *tpm.Evidence) { e.InitData[0] ^= 1 }, check: "tpm.init_data"},
	} {
		j := judgedAs(t, s, c.boot)
		if c.ask != nil {
			c.ask(&j)
		}
		if c.alter != nil {
			e := parts(c.boot)
			c.alter(&e)
			data, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			j.evidence.Evidence = data
		}
		if err := j.refusal(); err == nil || verdict.As(err).Check != c.check {
			t.Errorf("%s: %v, expected %s", name, err, c.check)
		}
	}
}

// another has evidence judged under the same agreement with another id.
func another(t *testing.T, j *judged) {
	t.Helper()
	changed := j.agreement.Agreement
	changed.ID = "other"
	a, err := agreement.NewAgreement(changed)
	if err != nil {
		t.Fatal(err)
	}
	j.agreement, j.want.AgreementBody, j.want.Binding.Agreement = a, a.Canonical(), a.Digest()
	f, err := tpm.New(endorse.Set{}).Examine(j.evidence.Evidence, j.want.Now)
	if err != nil {
		t.Fatal(err)
	}
	if short := attest.ShortInitData(a.Canonical()); bytes.Equal(f.Facts.InitData, short[:]) {
		t.Error("the machine measured this agreement")
	}
}

// swapped puts the endorsement key's certificate of one activation record into another.
func swapped(t *testing.T, record, from []byte) []byte {
	t.Helper()
	var is, was tpm.Activation
	if _, err := keys.ParseDocument(from, tpm.ActivationType, &is); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.ParseDocument(record, tpm.ActivationType, &was); err != nil {
		t.Fatal(err)
	}
	old, err := was.EKCertificate.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	text, err := is.EKCertificate.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Replace(record, old, text, 1)
}

// cutLog leaves out all that was measured since the boot stub came to the initrd.
func cutLog(log []byte) []byte {
	return log[:bytes.LastIndex(log, []byte("i\x00n\x00i\x00t\x00r\x00d\x00"))-50]
}
