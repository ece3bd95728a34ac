package cca_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/cca"
	"strongroom.dev/internal/evidencetest"
)

const (
	trustee  = "arm-synthetic/confidential-containers+trustee/deps/verifier/test_data/cca/misc/"
	veraison = "arm-synthetic/veraison+services/scheme/arm-cca/test/evidence/"
)

// veraisonKey is the key that veraison's test suite registers for its platform
// (scheme/arm-cca/test/corim/src/comid-cca-platform-ta.json).
const veraisonKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMKBCTNIcKUSDii11ySs3526iDZ8A
iTo7Tu6KPAqv7D7gS2XpJFbZiItSs3m9+9Ue6GnvHw/GW2ZZaVtszggXIw==
-----END PUBLIC KEY-----`

// TestVectors verifies both tokens there are with the keys their makers publish.
func TestVectors(t *testing.T) {
	cpak := string(evidencetest.Read(t, trustee+"cpak-pub.json"))
	for _, c := range []struct {
		name string
		keys []string
		want string
	}{
		{trustee + "cca-example-token.cbor", []string{cpak}, "affirming"},
		{trustee + "cca-example-token.cbor", []string{veraisonKey, cpak}, "affirming"},
		{trustee + "cca-example-token.cbor", nil, "contraindicated -cca.key"},
		{trustee + "cca-example-token.cbor", []string{veraisonKey}, "contraindicated -cca.key"}, // of another curve: it can't be its
		{veraison + "cca-good.cbor", []string{veraisonKey}, "affirming"},
		{veraison + "cca-good.cbor", []string{cpak}, "contraindicated -cca.key"},
	} {
		token := evidencetest.Read(t, c.name)
		if !cca.Detect(token) {
			t.Errorf("%s: not recognised", c.name)
		}
		f, err := cca.New(evidencetest.SetOf(t, c.keys...)).Examine(token, time.Time{})
		got := evidencetest.Judge(f, err)
		t.Logf("%-30s with %d keys: %s", filepath.Base(c.name), len(c.keys), got)
		if got != c.want {
			t.Errorf("%s: got %q, expected %q (%v)", c.name, got, c.want, err)
		}
		if f.Facts.Root.IsZero() != (len(f.Claims) == 0) || f.Facts.Root.IsZero() != f.Facts.Debug || f.Facts.Class != agreement.Confidential {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

func TestFacts(t *testing.T) {
	v := cca.New(evidencetest.SetOf(t, string(evidencetest.Read(t, trustee+"cpak-pub.json"))))
	token := evidencetest.Read(t, trustee+"cca-example-token.cbor")
	facts, err := v.Platform().Verify(token, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if facts.Platform != cca.Name || len(facts.ReportData) != 64 || len(facts.InitData) != 32 || len(facts.Measurements) != 15 || facts.Debug ||
		facts.Measurements["platform/rse-bl1-2"] != "9a271f2a916b0b6ee6cecb2426f0b3206ef074578be55d9bc94f6f3fe3ab86aa" || len(facts.Measurements["rim"]) != 128 ||
		facts.Machine != "0107060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918" || facts.Generation[:8] != "7f454c46" {
		t.Errorf("%+v", facts)
	}
	f, err := v.Examine(token, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{"platform_profile": "http://arm.com/CCA-SSD/1.0.0", "platform_lifecycle": int64(12291), "platform_lifecycle_name": "secured", "platform_config": "cfcfcfcf",
		"realm_profile": "", "realm_hash_algorithm": "sha-512", "realm_personalization_value": strings.Repeat("0", 128), "platform_algorithm": "ES384"} {
		if f.Claims[name] != want {
			t.Errorf("%s is %v, expected %v", name, f.Claims[name], want)
		}
	}
	// In the form of Trustee's evidence, where a token is a list of numbers.
	numbers := make([]int, len(token))
	for i, b := range token {
		numbers[i] = int(b)
	}
	text, err := json.Marshal(map[string]any{"token": numbers})
	if err != nil {
		t.Fatal(err)
	}
	if got := evidencetest.Judge(v.Examine(text, time.Time{})); got != "affirming" || !cca.Detect(text) {
		t.Errorf("in JSON: %q", got)
	}
	if got := evidencetest.Judge(cca.Verifier{}.Examine(token, time.Time{})); got != "contraindicated -cca.key" {
		t.Errorf("the zero verifier: %q", got)
	}
	if got := evidencetest.Judge(v.Examine([]byte("{}"), time.Time{})); got != "invalid evidence cca.form" {
		t.Errorf("nothing: %q", got)
	}
}

// TestInitData takes hashes of 48 and 32 bytes out of a personalization value.
func TestInitData(t *testing.T) {
	for _, c := range []struct{ hash, want int }{{0, 32}, {32, 32}, {48, 48}, {49, 64}, {64, 64}, {33, 48}} {
		value := append([]byte(strings.Repeat("\x01", c.hash)), make([]byte, 64-c.hash)...)
		if got := cca.InitData(value); len(got) != c.want {
			t.Errorf("%d bytes and zeros give %d", c.hash, len(got))
		}
	}
}

// TestMutatedVectors flips every byte of both tokens.
func TestMutatedVectors(t *testing.T) {
	for name, key := range map[string]string{trustee + "cca-example-token.cbor": string(evidencetest.Read(t, trustee+"cpak-pub.json")), veraison + "cca-good.cbor": veraisonKey} {
		token, v := evidencetest.Read(t, name), cca.New(evidencetest.SetOf(t, key))
		evidencetest.Flip(token, func(i int) {
			if f, err := v.Examine(token, time.Time{}); err == nil && f.Standing() != attest.Contraindicated {
				t.Errorf("%s: byte %d flipped verifies", name, i)
			}
		})
	}
}

// TestOthersAreNotOurs checks that evidence of other platforms is not taken for a token.
func TestOthersAreNotOurs(t *testing.T) {
	evidencetest.Others(t, cca.Detect, "azure", "tdx", "sgx", "snp", "nvidia", "tpm", "dice", "nitro", "arm-synthetic/veraison+services/perf")
}
