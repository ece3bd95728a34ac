package dice_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dice"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/verdict"
)

const (
	caliptra  = "dice/chipsalliance+caliptra-sw/test/tests/caliptra_integration_tests/smoke_testdata/"
	blackwell = "nvidia/NVIDIA+attestation-sdk/nv-attestation-sdk-cpp/unit-tests/testdata/sample_attestation_data/gpu/blackwellCertChain.txt"
)

// join gives the bytes of several files of Caliptra's.
func join(t testing.TB, names ...string) []byte {
	var all []byte
	for _, name := range names {
		all = append(all, evidencetest.Read(t, caliptra+name+".der")...)
	}
	return all
}

var today = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// TestVectors verifies both of Caliptra's chains, whole and in part.
func TestVectors(t *testing.T) {
	const identity = "warning dice.flags dice.measurements"
	for _, family := range []string{"ecc", "mldsa"} {
		csr, ldevid, fmc := "idevid_csr_"+family, "ldevid_cert_"+family, "fmc_alias_cert_"+family
		other := map[string]string{"ecc": "mldsa", "mldsa": "ecc"}[family]
		for _, c := range []struct {
			evidence, with []string
			want           string
		}{
			{[]string{ldevid, fmc}, []string{csr}, "affirming"},
			{[]string{fmc, ldevid}, []string{csr}, "affirming"},
			{[]string{csr, ldevid, fmc}, []string{csr}, "affirming"},
			{[]string{fmc}, []string{csr, ldevid}, "affirming"},
			{[]string{ldevid}, []string{csr}, identity},
			{[]string{csr, ldevid, fmc}, nil, "contraindicated -dice.root"},
			{[]string{ldevid, fmc}, nil, "contraindicated -dice.root"},
			{[]string{fmc}, []string{csr}, "contraindicated -dice.root"},
			{[]string{ldevid, fmc}, []string{"idevid_csr_" + other}, "contraindicated -dice.root"},
			{[]string{ldevid, fmc, "ldevid_cert_" + other, "fmc_alias_cert_" + other}, []string{csr}, "invalid evidence dice.form"},
			{[]string{csr}, []string{csr}, "invalid evidence dice.form"},
		} {
			evidence := join(t, c.evidence...)
			f, err := dice.New(evidencetest.SetOf(t, join(t, c.with...))).Examine(evidence, today)
			got := evidencetest.Judge(f, err)
			t.Logf("%-50s with %-40s: %s", strings.Join(c.evidence, " "), strings.Join(c.with, " "), got)
			if got != c.want || !dice.Detect(evidence) {
				t.Errorf("%v with %v: got %q, expected %q (%v)", c.evidence, c.with, got, c.want, err)
			}
			if err == nil && (f.Facts.Root.IsZero() != (len(f.Claims) == 0) || f.Facts.Root.IsZero() != f.Facts.Debug || f.Facts.Class != agreement.IntegrityOnly) {
				t.Errorf("%+v", f)
			}
		}
	}
}

func TestFacts(t *testing.T) {
	for family, algorithm := range map[string]string{"ecc": "ECDSA P-384", "mldsa": "ML-DSA-87"} {
		v := dice.New(evidencetest.SetOf(t, join(t, "idevid_csr_"+family)))
		evidence := join(t, "ldevid_cert_"+family, "fmc_alias_cert_"+family)
		facts, err := v.Platform().Verify(evidence, today)
		if err != nil {
			t.Fatal(err)
		}
		if facts.Platform != dice.Name || facts.Debug || len(facts.Measurements) != 2 || !strings.HasPrefix(facts.Measurements["device-info"], "89174d32") || !strings.HasPrefix(facts.Measurements["fmc-info"], "83ffe184") ||
			facts.Machine != strings.TrimPrefix(facts.Root.String(), "sha256:") || facts.ReportData != nil {
			t.Errorf("%+v", facts)
		}
		f, err := v.Examine(evidence, today)
		if err != nil {
			t.Fatal(err)
		}
		layers := f.Claims["layers"].([]any)
		ldevid, fmc := layers[0].(map[string]any), layers[1].(map[string]any)
		infos := fmc["tcb_infos"].([]any)
		device := infos[0].(map[string]any)
		if f.Claims["family"] != algorithm || f.Claims["open"] != false || f.Claims["debug_said"] != true || f.Claims["ueid"] != strings.Repeat("00", 17) || len(layers) != 2 ||
			!slices.Equal(ldevid["purposes"].([]any), []any{"certifies lower layers", "identity, local"}) || len(infos) != 2 || device["svn"] != int64(0x107) || device["flags_known"] != "0x8000000b" {
			t.Errorf("%s: %+v", family, f.Claims)
		}
		// An identity alone is no reason to trust firmware.
		if _, err := v.Platform().Verify(join(t, "ldevid_cert_"+family), today); err == nil || verdict.As(err).Check != "dice.measurements" {
			t.Errorf("%s, identity alone: %v", family, err)
		}
		if got := evidencetest.Judge(v.Examine(evidence, today.AddDate(-10, 0, 0))); got != "contraindicated -dice.dates" {
			t.Errorf("%s, before its certificates: %q", family, got)
		}
	}
}

// TestTexts reads a chain in PEM, hex and base64.
func TestTexts(t *testing.T) {
	v := dice.New(evidencetest.SetOf(t, join(t, "idevid_csr_ecc")))
	chain := join(t, "ldevid_cert_ecc", "fmc_alias_cert_ecc")
	var text []byte
	for _, name := range []string{"fmc_alias_cert_ecc", "ldevid_cert_ecc"} {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: join(t, name)})...)
	}
	for name, evidence := range map[string][]byte{"PEM": text, "base64": []byte(base64.StdEncoding.EncodeToString(chain))} {
		if got := evidencetest.Judge(v.Examine(evidence, today)); got != "affirming" || !dice.Detect(evidence) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestBlackwell takes the certificates of a GPU, which are those of a DICE device too: under
// its maker's root all links verify, but it states that it is not configured.
func TestBlackwell(t *testing.T) {
	chain := evidencetest.Read(t, blackwell)
	if !dice.Detect(chain) {
		t.Error("not recognised")
	}
	if got := evidencetest.Judge(dice.New(endorse.Set{}).Examine(chain, today)); got != "contraindicated -dice.root" {
		t.Errorf("unpinned: %q", got)
	}
	certificates := evidencetest.SetOf(t, chain).Certificates()
	root := certificates[len(certificates)-1]
	pin, err := endorse.NewSet(endorse.Item{Kind: endorse.PublicKey, Data: root.RawSubjectPublicKeyInfo})
	if err != nil {
		t.Fatal(err)
	}
	f, err := dice.New(pin).Examine(chain, today)
	if got := evidencetest.Judge(f, err); got != "contraindicated -dice.collateral -dice.flags" || !f.Facts.Debug || len(f.Facts.Measurements) == 0 {
		t.Errorf("under %q: %q, %v, %+v", root.Subject.CommonName, got, err, f.Facts)
	}
}

// TestMutatedVectors flips every byte of ECC certificates, and in ML-DSA every byte but the
// middle of keys and signatures, of which it takes every 16th.
func TestMutatedVectors(t *testing.T) {
	for _, family := range []string{"ecc", "mldsa"} {
		v := dice.New(evidencetest.SetOf(t, join(t, "idevid_csr_"+family)))
		chain := join(t, "ldevid_cert_"+family, "fmc_alias_cert_"+family)
		for i := range chain {
			if testing.Short() && i%7 != 0 || family == "mldsa" && i%16 != 0 && os.Getenv("STRONGROOM_LONG") == "" && bytes.Count(chain[max(i-64, 0):min(i+64, len(chain))], []byte{0x06}) < 2 {
				continue
			}
			chain[i] ^= byte(1 << (i % 8))
			if f, err := v.Examine(chain, today); err == nil && f.Standing() != attest.Contraindicated {
				t.Errorf("%s: byte %d flipped: %s", family, i, evidencetest.Judge(f, err))
			}
			chain[i] ^= byte(1 << (i % 8))
		}
	}
}

// TestMutatedRequest flips bytes of the pinned request: it is then no pin, or of another key.
func TestMutatedRequest(t *testing.T) {
	chain := join(t, "ldevid_cert_ecc", "fmc_alias_cert_ecc")
	request := join(t, "idevid_csr_ecc")
	for i := range request {
		mutated := bytes.Clone(request)
		mutated[i] ^= byte(1 << (i % 8))
		v := dice.New(evidencetest.SetOf(t, mutated))
		if f, err := v.Examine(chain, today); err == nil && f.Standing() != attest.Contraindicated {
			t.Errorf("byte %d flipped: %s", i, evidencetest.Judge(f, err))
		}
		if f, err := dice.New(evidencetest.SetOf(t, request)).Examine(append(bytes.Clone(mutated), chain...), today); err == nil && f.Standing() != attest.Contraindicated {
			t.Errorf("in the evidence, byte %d flipped: %s", i, evidencetest.Judge(f, err))
		}
	}
}

// TestOthersAreNotOurs checks that evidence of other platforms is not taken for certificates of
// a device.
func TestOthersAreNotOurs(t *testing.T) {
	evidencetest.Walk(t, func(name string, data []byte) {
		lower := strings.ToLower(name)
		chain := strings.Contains(lower, "certchain") || strings.Contains(name, "cert_chain") || strings.Contains(name, "certificate_chain") || strings.Contains(name, "coco_certs")
		if dice.Detect(data) && !chain { // GPUs' chains are those of DICE devices
			t.Errorf("%s is taken for certificates of a device", name)
		}
	}, "azure", "tdx", "sgx", "snp", "tpm", "nitro", "arm-synthetic", "nvidia")
	if data, err := json.Marshal(map[string]any{"certificates": []string{base64.StdEncoding.EncodeToString(join(t, "ldevid_cert_ecc"))}}); err != nil || dice.Detect(data) {
		t.Errorf("somebody's document is taken for ours: %v", err)
	}
}
