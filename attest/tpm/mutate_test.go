package tpm_test

import (
	"bytes"
	"testing"
	"time"

	"strongroom.dev/attest/tpm"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/measure"
	"strongroom.dev/wire"
)

// accepted reports whether evidence is still taken for what the unaltered one is.
func accepted(t *testing.T, v tpm.Verifier, data []byte, now time.Time, failing string) bool {
	t.Helper()
	f, err := v.Examine(data, now)
	return err == nil && f.Facts.Class == "integrity-only" && evidencetest.Failed(f) == failing
}

// TestMutatedGCE alters every byte of the quotes, their values and the key's certificate in
// evidence of Google's cloud. The public area beside them is the evidence's own word, as far
// as the certificate doesn't speak of it, and the log is no part of what is signed: it is
// left out.
func TestMutatedGCE(t *testing.T) {
	data := evidencetest.Read(t, gce+"gce-cos-85-no-nonce.pb")
	t.Parallel()
	log := bytes.Index(data, []byte("Spec ID Event03")) - 32 // behind an event's header
	certificate := bytes.LastIndex(data, []byte("\x30\x82\x05\x38")) - 3
	data = append(bytes.Clone(data[:log-4]), data[certificate:]...)
	v, now, failing := tpm.New(evidencetest.Set(t)), evidencetest.Time("2022-06-01"), "tpm.collateral tpm.nonce"
	if !accepted(t, v, data, now, failing) {
		t.Fatal("unaltered, and refused")
	}
	quotes := bytes.Index(data, []byte("\xff\x54\x43\x47"))
	for i := range data {
		if i < quotes || testing.Short() && i%17 != 0 {
			continue
		}
		altered := bytes.Clone(data)
		altered[i] ^= byte(1 << (i % 8))
		if accepted(t, v, altered, now, failing) {
			t.Errorf("byte %d altered, and accepted", i)
		}
	}
}

// TestMutatedEvidence alters every byte of evidence whose key was activated: there, all of the
// public area counts too.
func TestMutatedEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	initData := measure.SHA256.Sum([]byte("agreement"))
	b := bank(measure.SHA256)
	b.Values[8] = measure.SHA256.Sum(make([]byte, 32), initData)
	w.quotes(quoteBy(rsaSigner(3), nonce(), b))
	w.evidence.InitData = initData
	w.activate(t, leaf(t, w.middle, rsaSigner(5), purposeEK), signer(t, 1), noon.Add(-time.Hour), noon.Add(time.Hour))
	v := w.verifier(t)
	if !accepted(t, v, w.bytes(t), noon, "") {
		t.Fatal("unaltered, and refused")
	}
	quote := w.evidence.Quotes[0]
	parts := map[string]wire.Bytes{
		"public area": w.evidence.AKPublic, "activation": w.evidence.Activation, "init data": w.evidence.InitData, "message": quote.Message, "signature": quote.Signature, "PCR 0": quote.Banks["sha256"]["0"],
	}
	for name, part := range parts {
		for i := range part {
			if testing.Short() && i%17 != 0 {
				continue
			}
			part[i] ^= byte(1 << (i % 8))
			if data, err := w.evidence.Encode(); err == nil && accepted(t, v, data, noon, "") {
				t.Errorf("%s altered at %d, and accepted", name, i)
			}
			part[i] ^= byte(1 << (i % 8))
		}
	}
}
