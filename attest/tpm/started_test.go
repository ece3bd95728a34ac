package tpm_test

import (
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

// TestStarted: a quote from after the separator is evidence for ingress and for nothing else,
// and for ingress there is no other.
func TestStarted(t *testing.T) {
	signing, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	hpke, err := keys.GenerateHPKEKey()
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"what":"an agreement"}`)
	run, other := wire.DigestOf([]byte("run")), wire.DigestOf([]byte("another"))
	digest := wire.SHA384(agreement.AgreementType, body)
	for name, test := range map[string]struct {
		made, wanted attest.Purpose
		prepare      func(*tpmtest.TPM)
		wantRun      wire.Digest
		check        string // "" passes
	}{
		"ingress once started":        {attest.ForIngress, attest.ForIngress, func(m *tpmtest.TPM) { m.Separate(run) }, run, ""},
		"release before":              {attest.ForRelease, attest.ForRelease, func(*tpmtest.TPM) {}, run, ""},
		"release once started":        {attest.ForRelease, attest.ForRelease, func(m *tpmtest.TPM) { m.Separate(run) }, run, "tpm.init_data"},
		"join once started":           {attest.ForJoin, attest.ForJoin, func(m *tpmtest.TPM) { m.Separate(run) }, run, "tpm.init_data"},
		"ingress before":              {attest.ForIngress, attest.ForIngress, func(*tpmtest.TPM) {}, run, "tpm.init_data"},
		"ingress shown for a release": {attest.ForIngress, attest.ForRelease, func(*tpmtest.TPM) {}, run, "evidence.binding"},
		"release shown for ingress":   {attest.ForRelease, attest.ForIngress, func(m *tpmtest.TPM) { m.Separate(run) }, run, "evidence.binding"},
		"another run's work started":  {attest.ForIngress, attest.ForIngress, func(m *tpmtest.TPM) { m.Separate(other) }, run, "tpm.init_data"},
		"started twice": {attest.ForIngress, attest.ForIngress, func(m *tpmtest.TPM) {
			m.Separate(run)
			m.Separate(run)
		}, run, "tpm.init_data"},
		"something else in the PCR of work": {attest.ForIngress, attest.ForIngress, func(m *tpmtest.TPM) {
			m.Separate(run)
			m.Extend(tpm2.WorkPCR, run[:32])
		}, run, "tpm.init_data"},
	} {
		t.Run(name, func(t *testing.T) {
			machine, err := tpmtest.New(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			machine.Extend(4, run[:32]) // a kernel
			machine.Begin(attest.ShortInitData(body))
			c, err := tpm.NewChallenge(machine.EKCertificate, nil, public(t, machine.AKPublic), &recorder{})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := machine.Activate(c.Credential, c.Secret)
			if err != nil {
				t.Fatal(err)
			}
			record, err := c.Answered(answer, signing, time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			test.prepare(machine)
			b := attest.Binding{Purpose: test.made, Nonce: wire.HashOf([]byte("nonce")), Signing: signing.Public(), HPKE: hpke.Public(), Agreement: digest, Run: run}
			e, err := machine.Evidence(b.ReportData(), record)
			if err != nil {
				t.Fatal(err)
			}
			b.Purpose, b.Run = test.wanted, test.wantRun
			root := machine.Fingerprint()
			claims, err := attest.Verify(e, []attest.Platform{tpm.New(endorse.Set{}).Platform()}, attest.Expectation{Binding: b, AgreementBody: body, Now: time.Now(),
				// What a caller says of the work counts for nothing: the purpose decides.
				Trust: attest.Trust{Activators: []keys.PublicKey{signing.Public()}, Platforms: []agreement.Platform{{Kind: tpm.Name, Root: &root}}, Started: &run}})
			if test.check == "" {
				if err != nil {
					t.Fatal(err)
				}
				m := claims.Measurements()
				if m["pcr8"] != "" || m["pcr14"] != "" {
					t.Errorf("of a room, the PCRs 8 and 14 are compared and not measurements: %v", m)
				}
				return
			}
			if verdict.As(err).Check != test.check {
				t.Errorf("got %v", err)
			}
		})
	}
}
