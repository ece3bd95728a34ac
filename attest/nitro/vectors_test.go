package nitro_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest/nitro"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/verdict"
)

const (
	dstack    = "nitro/Dstack-TEE+dstack/dstack/dstack-attest/tests/"
	dstackQVL = "nitro/Dstack-TEE+dstack/dstack/nsm-qvl/tests/"
	evervault = "nitro/evervault+attestation-doc-validation/test-data/"
)

// TestVectors verifies every capture at its time, and says what is wrong at others.
func TestVectors(t *testing.T) {
	const good = "warning nitro.revocation"
	for _, c := range []struct{ name, at, want string }{
		{dstackQVL + "nitro_attestation.bin", "2025-12-25T13:15:40Z", good},
		{dstackQVL + "nitro_attestation.bin", "2026-11-24T12:00:00Z", "contraindicated -nitro.dates nitro.revocation"},
		{dstackQVL + "nitro_attestation.bin", "2025-12-25T16:15:38Z", "contraindicated -nitro.dates nitro.revocation"},
		{dstackQVL + "nitro_attestation.bin", "2025-12-25T13:00:00Z", "contraindicated -nitro.dates -nitro.timestamp nitro.revocation"},
		{dstackQVL + "nitro_attestation.bin", "2025-12-25T13:11:00Z", good}, // within the skew of clocks
		{dstack + "nitro_attestation.bin", "2025-12-25T17:00:00Z", good},
		{dstack + "nitro_attestation_dbg.bin", "2025-12-25T09:00:00Z", "contraindicated -nitro.debug nitro.revocation"},
		{evervault + "beta/valid-attestation-doc-bytes", "", good},
		{evervault + "beta/debug-mode-attestation-doc-bytes", "", "contraindicated -nitro.debug nitro.revocation"},
		{evervault + "valid-attestation-doc-base64", "", "contraindicated -nitro.debug nitro.revocation"},
		{evervault + "beta/valid-attestation-doc-base64", "", "contraindicated -nitro.debug nitro.revocation"},
	} {
		evidence := evidencetest.Find(t, c.name)
		if evidence == nil {
			t.Logf("%-40s not here", filepath.Base(c.name))
			continue
		}
		if !nitro.Detect(evidence) {
			t.Errorf("%s: not recognised", c.name)
		}
		v := nitro.New(endorse.Set{})
		now := evidencetest.Time("2026-11-24T12:00:00Z")
		if c.at != "" {
			now = evidencetest.Time(c.at)
		} else if f, err := v.Examine(evidence, now); err == nil { // at its own time
			now = evidencetest.Time(f.Claims["timestamp"].(string)).Add(time.Second)
		}
		f, err := v.Examine(evidence, now)
		got := evidencetest.Judge(f, err)
		t.Logf("%-32s at %s: %s", filepath.Base(c.name), now.Format(time.RFC3339), got)
		if got != c.want {
			t.Errorf("%s: got %q, expected %q (%v)", c.name, got, c.want, err)
		}
		if err == nil && (f.Facts.Class != agreement.Confidential || f.Facts.Root.IsZero() || len(f.Facts.Measurements) < 3 || len(f.Claims) < 28) {
			t.Errorf("%s: incomplete: %+v", c.name, f.Facts)
		}
	}
}

func TestClaims(t *testing.T) {
	f, err := nitro.New(endorse.Set{}).Examine(evidencetest.Read(t, dstackQVL+"nitro_attestation.bin"), evidencetest.Time("2025-12-25T13:15:40Z"))
	if err != nil {
		t.Fatal(err)
	}
	const pcr0 = "5cb702954321826d7939d6da829a940d787fcf32357beb8eae1ddf33c28c17d36f3ac3ba6828fdf7edeed02889702da6"
	for name, want := range map[string]any{
		"module_id": "i-0827e799ec9232d44-enc019b55a68bd2ed4b", "instance_id": "i-0827e799ec9232d44", "timestamp": "2025-12-25T13:15:37Z", "timestamp_ms": int64(1766668537578),
		"pcr0": pcr0, "pcr3": strings.Repeat("0", 96), "debug": false, "user_data": strings.Repeat("0", 128), "nonce": nil, "public_key": nil, "algorithm": "ES384",
		"form": "dstack attestation", "signer": "i-0827e799ec9232d44-enc019b55a68bd2ed4b.us-east-1.aws", "signer_not_after": "2025-12-25T16:15:37Z",
	} {
		if got := f.Claims[name]; got != want {
			t.Errorf("%s is %v, expected %v", name, got, want)
		}
	}
	if m := f.Facts.Measurements; len(m) != 3 || m["pcr0"] != pcr0 || f.Facts.Machine != "i-0827e799ec9232d44" || f.Facts.InitData != nil || f.Facts.Debug {
		t.Errorf("%+v", f.Facts)
	}
	// SHA-256 of the root's key; of its certificate it is the one that AWS publishes.
	if got := f.Facts.Root.String(); got != "sha256:f2caf5ecc6190b4a8399b78bc58a2bbcd0382375db8a1bfd78a82743874fd225" {
		t.Errorf("root %s", got)
	}
}

// TestMutatedVectors flips every byte of genuine documents: none is unsigned but the
// unprotected header, which is empty.
func TestMutatedVectors(t *testing.T) {
	whole := evidencetest.Read(t, dstackQVL+"nitro_attestation.bin")
	document := whole[4 : 4+4527]
	v, now := nitro.New(endorse.Set{}), evidencetest.Time("2025-12-25T13:15:40Z")
	if got := evidencetest.Judge(v.Examine(document, now)); got != "warning nitro.revocation" {
		t.Fatal(got)
	}
	for i := range document {
		if testing.Short() && i%7 != 0 {
			continue
		}
		mutated := bytes.Clone(document)
		mutated[i] ^= byte(1 << (i % 8))
		if _, err := v.Examine(mutated, now); err == nil || verdict.As(err).Kind != verdict.Invalid {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
	for i := range whole[:4] { // dstack's wrapping
		mutated := bytes.Clone(whole)
		mutated[i] ^= 1
		if _, err := v.Examine(mutated, now); err == nil && i != 1 { // the number of the platform decides nothing
			t.Errorf("byte %d flipped verifies", i)
		}
	}
}

// TestOthersAreNotOurs checks that evidence of other platforms is not taken for a document.
func TestOthersAreNotOurs(t *testing.T) {
	evidencetest.Others(t, nitro.Detect, "azure", "tdx", "sgx", "snp", "nvidia", "tpm", "dice", "arm-synthetic")
}
