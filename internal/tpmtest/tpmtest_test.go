package tpmtest_test

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"strongroom.dev/attest/tpm"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/tpmtest"
	"strongroom.dev/keys"
	"strongroom.dev/tpm2"
	"strongroom.dev/wire"
)

// TestTPM takes the TPM through all that a software TPM of others is taken through.
func TestTPM(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	machine, err := tpmtest.New(now)
	if err != nil {
		t.Fatal(err)
	}
	public, err := tpm2.ParsePublic(machine.AKPublic)
	if err != nil || public.Lacks() != "" {
		t.Fatal(err, public)
	}
	c, err := tpm.NewChallenge(machine.EKCertificate, [][]byte{machine.Root}, public, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := machine.Activate(c.Credential, c.Secret)
	if err != nil {
		t.Fatal(err)
	}
	activator, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	record, err := c.Answered(answer, activator, now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	machine.Begin(wire.HashOf([]byte("agreement")))
	evidence, err := machine.Evidence([64]byte{1}, record)
	if err != nil {
		t.Fatal(err)
	}
	set, err := endorse.NewSet(endorse.Item{Kind: endorse.X509Certificate, Name: "root", Data: machine.Root})
	if err != nil {
		t.Fatal(err)
	}
	v := tpm.NewWithActivators(set, activator.Public())
	f, err := v.Examine(evidence.Evidence, now)
	if err != nil || f.Standing() == "contraindicated" || f.Facts.Root != machine.Fingerprint() || !bytes.Equal(f.Facts.InitData, machine.InitData) {
		t.Fatalf("%v %+v", err, f)
	}
	machine.Separate(wire.DigestOf([]byte("run")))
	if evidence, err = machine.Evidence([64]byte{1}, record); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Examine(evidence.Evidence, now); err == nil {
		t.Error("evidence after the separator")
	}
}

// TestOthersCredential finds no secret that is for other keys, or was altered.
func TestOthersCredential(t *testing.T) {
	now := time.Now()
	machine, err := tpmtest.New(now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := tpmtest.New(now)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2]*tpmtest.TPM{"its own": {machine, machine}, "another endorsement key": {other, machine}, "another attestation key": {machine, other}} {
		public, err := tpm2.ParsePublic(c[1].AKPublic)
		if err != nil {
			t.Fatal(err)
		}
		challenge, err := tpm.NewChallenge(c[0].EKCertificate, nil, public, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := machine.Activate(challenge.Credential, challenge.Secret); (err == nil) != (name == "its own") {
			t.Errorf("%s: %v", name, err)
		}
		for _, part := range [][]byte{challenge.Credential, challenge.Secret} {
			for i := range part {
				part[i] ^= 1
				if _, err := machine.Activate(challenge.Credential, challenge.Secret); err == nil {
					t.Errorf("%s: altered at %d", name, i)
				}
				part[i] ^= 1
			}
		}
	}
}
