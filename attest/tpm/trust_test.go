package tpm_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/tpmtest"
	"strongroom.dev/keys"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// activated has a TPM prove where its key lives, to whoever signs with a key.
func activated(t testing.TB, machine *tpmtest.TPM, by keys.Signer) []byte {
	t.Helper()
	public, err := tpm2.ParsePublic(machine.AKPublic)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tpm.NewChallenge(machine.EKCertificate, nil, public, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := machine.Activate(c.Credential, c.Secret)
	if err != nil {
		t.Fatal(err)
	}
	record, err := c.Answered(answer, by, noon, noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// TestUnder trusts whom an agreement trusts: the broker that asked, and the roots that it pins
// for this kind of machine, and nobody else.
func TestUnder(t *testing.T) {
	machine, err := tpmtest.New(noon)
	if err != nil {
		t.Fatal(err)
	}
	broker, other := signer(t, 1), signer(t, 2)
	evidence, err := machine.Evidence([64]byte{1}, activated(t, machine, broker))
	if err != nil {
		t.Fatal(err)
	}
	root, stranger := machine.Fingerprint(), wire.HashOf([]byte("another root"))
	pins := func(kind wire.ID, root *wire.Hash) []agreement.Platform {
		return []agreement.Platform{{Kind: "dev", Root: &stranger}, {Kind: kind, Root: root}}
	}
	by := func(keys ...keys.PublicKey) []keys.PublicKey { return keys }
	platform := tpm.New(endorse.Set{}).Platform()
	for name, c := range map[string]struct {
		trust  attest.Trust
		failed string
	}{
		"root and broker":                  {attest.Trust{Activators: by(broker.Public()), Platforms: pins("tpm", &root)}, ""},
		"nobody":                           {attest.Trust{}, "tpm.activation"},
		"another broker":                   {attest.Trust{Activators: by(other.Public()), Platforms: pins("tpm", &root)}, "tpm.activation"},
		"root alone":                       {attest.Trust{Platforms: pins("tpm", &root)}, "tpm.activation"},
		"broker alone":                     {attest.Trust{Activators: by(broker.Public())}, "tpm.root"},
		"another root":                     {attest.Trust{Activators: by(broker.Public()), Platforms: pins("tpm", &stranger)}, "tpm.root"},
		"no root pinned":                   {attest.Trust{Activators: by(broker.Public()), Platforms: pins("tpm", nil)}, "tpm.root"},
		"the root of another kind":         {attest.Trust{Activators: by(broker.Public()), Platforms: pins("dev", &root)}, "tpm.root"},
		"the root for the other kind only": {attest.Trust{Activators: by(broker.Public()), Platforms: pins("snp", &root)}, "tpm.root"},
	} {
		facts, err := platform.Under(c.trust).Verify(evidence.Evidence, noon.Add(time.Minute))
		if c.failed == "" && (err != nil || facts.Class != agreement.Software || facts.Root != root || facts.Machine == "") {
			t.Errorf("%s: %v %+v", name, err, facts)
		}
		if c.failed != "" && (err == nil || verdict.As(err).Check != c.failed) {
			t.Errorf("%s: %v, expected %s", name, err, c.failed)
		}
		if name == "another root" && (!strings.Contains(verdict.As(err).Expected, stranger.String()) || !strings.Contains(verdict.As(err).Got, root.String())) {
			t.Errorf("%s: %v, expected both fingerprints", name, err)
		}
		// Nothing of it stays.
		if _, err := platform.Verify(evidence.Evidence, noon.Add(time.Minute)); err == nil || verdict.As(err).Check != "tpm.activation" {
			t.Errorf("%s: afterwards, without an agreement: %v", name, err)
		}
	}
}

// TestUnderMaker keeps the class of a maker's root that an agreement pins.
func TestUnderMaker(t *testing.T) {
	w := newWorld(t)
	root := wire.HashOf(w.root.cert.RawSubjectPublicKeyInfo)
	trust := attest.Trust{Platforms: []agreement.Platform{{Kind: "tpm", Root: &root}}}
	if facts, err := w.verifier(t).Platform().Under(trust).Verify(w.bytes(t), w.now); err != nil || facts.Class != agreement.IntegrityOnly {
		t.Errorf("%v %s", err, facts.Class)
	}
	w.pinned, w.set = false, nil
	w.evidence.Certificates = append(w.evidence.Certificates, w.root.cert.Raw)
	if facts, err := w.verifier(t).Platform().Under(trust).Verify(w.bytes(t), w.now); err != nil || facts.Class != agreement.Software {
		t.Errorf("of no known maker: %v %s", err, facts.Class)
	}
}

// TestZeroVerifierUnder has the zero verifier go by an agreement too.
func TestZeroVerifierUnder(t *testing.T) {
	w := newWorld(t)
	w.evidence.Certificates = append(w.evidence.Certificates, w.root.cert.Raw)
	root := wire.HashOf(w.root.cert.RawSubjectPublicKeyInfo)
	trust := attest.Trust{Platforms: []agreement.Platform{{Kind: "tpm", Root: &root}}}
	if facts, err := (tpm.Verifier{}).Platform().Under(trust).Verify(w.bytes(t), w.now); err != nil || facts.Class != agreement.Software {
		t.Errorf("%v %s", err, facts.Class)
	}
}
