package relying_test

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/device"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/ingresstest"
	"strongroom.dev/internal/tpmtest"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/reference"
	"strongroom.dev/relying"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// machine is a TPM whose room serves.
type machine struct {
	*tpmtest.TPM
	signing *keys.SigningKey
	hpke    *keys.HPKEPrivateKey
	run     wire.Digest
}

func newMachine() *machine {
	m := &machine{must(tpmtest.New(time.Now())), must(keys.GenerateSigningKey(keys.Ed25519)), must(keys.GenerateHPKEKey()), wire.DigestOf([]byte("run"))}
	m.Extend(4, make([]byte, 32)) // a kernel
	return m
}

// vouch has a broker ask the TPM for its key, and gives its record.
func (m *machine) vouch(by *keys.SigningKey) []byte {
	public := must(tpm2.ParsePublic(m.AKPublic))
	c := must(tpm.NewChallenge(m.EKCertificate, [][]byte{m.Root}, public, rand.Reader))
	answer := must(m.Activate(c.Credential, c.Secret))
	return must(c.Answered(answer, by, time.Now().Add(-time.Minute), time.Now().Add(time.Hour)))
}

// TestTPM: a TPM's room is accepted by the word of a broker that the client trusts, once its
// work has started.
func TestTPM(t *testing.T) {
	m := newMachine()
	bare := must(m.Evidence([64]byte{}, nil))
	measured := must(tpm.New(endorse.Set{}).Examine(bare.Evidence, time.Now())).Facts.Measurements
	root := m.Fingerprint()
	w := world(func(a *agreement.Agreement) {
		a.Platforms = []agreement.Platform{{Kind: tpm.Name, Root: &root, Machines: []string{}, Releases: []agreement.ReleaseLine{}, MayLack: []wire.ID{},
			Images: []agreement.Image{{Name: "vm", Measurements: measured}}}}
	})
	m.Begin(attest.ShortInitData(w.Agreement.Canonical()))
	record := m.vouch(w.Release["beta"])
	show := func() (attest.Evidence, attest.Binding) {
		b := device.Connection{Nonce: wire.HashOf([]byte("nonce")), Signing: m.signing.Public(), HPKE: m.hpke.Public(), Agreement: w.Agreement.Digest(), Run: m.run}.Binding()
		return must(m.Evidence(b.ReportData(), record)), b
	}
	judge := func(activators ...wire.ID) error {
		c := config(w)
		c.Platforms, c.Activators = []attest.Platform{tpm.New(endorse.Set{}).Platform()}, activators
		e, b := show()
		return must(relying.New(c)).Appraise(t.Context(), e, b)
	}
	if err := judge("beta"); verdict.As(err).Check != "tpm.init_data" {
		t.Errorf("before its work: %v", err)
	}
	m.Separate(m.run)
	if err := judge("alpha", "beta"); err != nil {
		t.Errorf("%v", err)
	}
	for _, activators := range [][]wire.ID{nil, {"alpha"}} {
		if err := judge(activators...); verdict.As(err).Check != "tpm.activation" {
			t.Errorf("by the word of %v: %v", activators, err)
		}
	}
}

// line is a release line with its makers.
type line struct {
	agreement.ReleaseLine
	key *keys.SigningKey
	log *tilelog.Log
}

func newLine(t *testing.T) *line {
	secret, verifier, err := ledger.GenerateKey("releases.example/log")
	if err != nil {
		t.Fatal(err)
	}
	signer := must(ledger.ParseSigner(secret))
	dir := filepath.Join(t.TempDir(), "log")
	if err := tilelog.Create(dir, signer); err != nil {
		t.Fatal(err)
	}
	l := &line{key: must(keys.GenerateSigningKey(keys.Ed25519)), log: must(tilelog.Open(dir, signer))}
	t.Cleanup(func() { l.log.Close() })
	l.ReleaseLine = agreement.ReleaseLine{Product: "room", Keys: []string{l.key.Public().String()}, Threshold: 1, MinimumVersion: 1, LogKey: verifier}
	return l
}

// set publishes a version that lists an image.
func (l *line) set(t *testing.T, version int64, m dev.Measurement) policy.Newest {
	v := reference.Values{Product: "room", Version: version, SecurityVersion: 1, Created: wire.At(time.Now().Add(-time.Hour)), Expires: wire.At(time.Now().Add(time.Hour)),
		Groups: []reference.Group{{Name: "dev", Platform: "dev", Measurements: m.Named()}}}
	doc := must(v.Document())
	if err := doc.Sign(l.key); err != nil {
		t.Fatal(err)
	}
	p := &reference.Published{Values: v, Document: doc}
	data := must(must(p.Entry(time.Now())).Encode())
	receipt := must(l.log.Receipt(must(l.log.Append(t.Context(), [][]byte{data}))))
	p.Receipt = &receipt
	return policy.Newest{Set: must(reference.Accept(must(p.Encode()), must(policy.LineOf(l.ReleaseLine))))}
}

// TestReleaseLine: an image that a release line lists is accepted with its set and never
// without, and sets never go back.
func TestReleaseLine(t *testing.T) {
	l := newLine(t)
	w := world(func(a *agreement.Agreement) {
		a.Platforms[0].Images, a.Platforms[0].Releases = []agreement.Image{}, []agreement.ReleaseLine{l.ReleaseLine}
	})
	one, two := l.set(t, 1, w.Image), l.set(t, 2, w.Image)
	gone := l.set(t, 3, dev.Measurement{Agent: wire.DigestOf([]byte("another"))})
	var given policy.Newest
	var told []int64
	c := config(w)
	c.References = func() (map[wire.Digest]policy.Newest, error) {
		return map[wire.Digest]policy.Newest{policy.LineDigest(l.ReleaseLine): given}, nil
	}
	c.Remember = func(n reference.Name) error { told = append(told, n.Version); return nil }
	judge := must(relying.New(c))
	r := must(w.Room(ingresstest.Echo, nil))
	defer r.Close()
	var last wire.Digest
	appraise := func(judge *relying.Client) error {
		id := keys.RandomID()
		b := device.Connection{Nonce: wire.HashOf(id[:]), Signing: r.Signing.Public(), HPKE: r.HPKE, Agreement: w.Agreement.Digest(), Run: r.Run}.Binding()
		e := must(r.Evidence(context.Background(), b.Nonce, nil))
		last = e.Digest()
		return judge.Appraise(t.Context(), e, b)
	}
	without := config(w)
	if err := appraise(must(relying.New(without))); verdict.As(err).Check != "evidence.image" {
		t.Errorf("without a set: %v", err)
	}
	for _, test := range []struct {
		set   policy.Newest
		check string
	}{{policy.Newest{}, "evidence.image"}, {two, ""}, {one, "reference.rollback"}, {two, ""}, {gone, "evidence.image"}} {
		given = test.set
		if err := appraise(judge); err == nil != (test.check == "") || err != nil && verdict.As(err).Check != test.check {
			t.Errorf("want %q: %v", test.check, err)
		}
	}
	if !slices.Equal(told, []int64{2, 2}) {
		t.Errorf("told of %v", told)
	}
	// What was accepted stops counting when its makers withdraw the image.
	given = two
	if err := appraise(judge); err != nil {
		t.Fatal(err)
	}
	must(judge.Recall(last))
	given = gone
	if _, err := judge.Recall(last); verdict.As(err).Check != "evidence.image" {
		t.Errorf("an image that was withdrawn: %v", err)
	}
}
