package dice_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dice"
	"strongroom.dev/endorse"
	"strongroom.dev/verdict"
)

// vectors gives the folder of captures; without it the test is skipped, and under CI fails.
func vectors(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("STRONGROOM_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	dir = filepath.Join(dir, "attestation")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no test vectors: %v", err)
		}
		t.Skipf("no test vectors in %s: set STRONGROOM_VECTORS", dir)
	}
	return dir
}

const (
	caliptra  = "dice/chipsalliance+caliptra-sw/test/tests/caliptra_integration_tests/smoke_testdata/"
	blackwell = "nvidia/NVIDIA+attestation-sdk/nv-attestation-sdk-cpp/unit-tests/testdata/sample_attestation_data/gpu/blackwellCertChain.txt"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// join gives the bytes of several files of Caliptra's.
func join(t testing.TB, names ...string) []byte {
	var all []byte
	for _, name := range names {
		all = append(all, read(t, caliptra+name+".der")...)
	}
	return all
}

func set(t testing.TB, data ...[]byte) endorse.Set {
	t.Helper()
	var items []endorse.Item
	for _, d := range data {
		items = append(items, endorse.Parse("endorsement", d)...)
	}
	s, err := endorse.NewSet(items...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var today = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// judge sums up an examination: the standing with failed checks and warnings, or the check
// that says why it is not genuine.
func judge(f attest.Finding, err error) string {
	var e *verdict.Error
	if errors.As(err, &e) {
		return e.Kind.String() + " " + e.Check
	}
	if err != nil {
		return err.Error()
	}
	words := []string{string(f.Standing())}
	for _, c := range f.Checks {
		if !c.OK {
			words = append(words, "-"+c.ID)
		}
	}
	return strings.Join(append(words, f.Warnings...), " ")
}

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
			f, err := dice.New(set(t, join(t, c.with...))).Examine(evidence, today)
			got := judge(f, err)
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
		v := dice.New(set(t, join(t, "idevid_csr_"+family)))
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
		if got := judge(v.Examine(evidence, today.AddDate(-10, 0, 0))); got != "contraindicated -dice.dates" {
			t.Errorf("%s, before its certificates: %q", family, got)
		}
	}
}

// TestTexts reads a chain in PEM, hex and base64.
func TestTexts(t *testing.T) {
	v := dice.New(set(t, join(t, "idevid_csr_ecc")))
	chain := join(t, "ldevid_cert_ecc", "fmc_alias_cert_ecc")
	var text []byte
	for _, name := range []string{"fmc_alias_cert_ecc", "ldevid_cert_ecc"} {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: join(t, name)})...)
	}
	for name, evidence := range map[string][]byte{"PEM": text, "base64": []byte(base64.StdEncoding.EncodeToString(chain))} {
		if got := judge(v.Examine(evidence, today)); got != "affirming" || !dice.Detect(evidence) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestBlackwell takes the certificates of a GPU, which are those of a DICE device too: under
// its maker's root all links verify, but it states that it is not configured.
func TestBlackwell(t *testing.T) {
	chain := read(t, blackwell)
	if !dice.Detect(chain) {
		t.Error("not recognised")
	}
	if got := judge(dice.New(endorse.Set{}).Examine(chain, today)); got != "contraindicated -dice.root" {
		t.Errorf("unpinned: %q", got)
	}
	certificates := set(t, chain).Certificates()
	root := certificates[len(certificates)-1]
	pin, err := endorse.NewSet(endorse.Item{Kind: endorse.PublicKey, Data: root.RawSubjectPublicKeyInfo})
	if err != nil {
		t.Fatal(err)
	}
	f, err := dice.New(pin).Examine(chain, today)
	if got := judge(f, err); got != "contraindicated -dice.collateral -dice.flags" || !f.Facts.Debug || len(f.Facts.Measurements) == 0 {
		t.Errorf("under %q: %q, %v, %+v", root.Subject.CommonName, got, err, f.Facts)
	}
}

// TestMutatedVectors flips every byte of ECC certificates, and in ML-DSA every byte but the
// middle of keys and signatures, of which it takes every 16th.
func TestMutatedVectors(t *testing.T) {
	for _, family := range []string{"ecc", "mldsa"} {
		v := dice.New(set(t, join(t, "idevid_csr_"+family)))
		chain := join(t, "ldevid_cert_"+family, "fmc_alias_cert_"+family)
		for i := range chain {
			if testing.Short() && i%7 != 0 || family == "mldsa" && i%16 != 0 && os.Getenv("STRONGROOM_LONG") == "" && bytes.Count(chain[max(i-64, 0):min(i+64, len(chain))], []byte{0x06}) < 2 {
				continue
			}
			chain[i] ^= byte(1 << (i % 8))
			if f, err := v.Examine(chain, today); err == nil && f.Standing() != attest.Contraindicated {
				t.Errorf("%s: byte %d flipped: %s", family, i, judge(f, err))
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
		v := dice.New(set(t, mutated))
		if f, err := v.Examine(chain, today); err == nil && f.Standing() != attest.Contraindicated {
			t.Errorf("byte %d flipped: %s", i, judge(f, err))
		}
		if f, err := dice.New(set(t, request)).Examine(append(bytes.Clone(mutated), chain...), today); err == nil && f.Standing() != attest.Contraindicated {
			t.Errorf("in the evidence, byte %d flipped: %s", i, judge(f, err))
		}
	}
}

// TestOthersAreNotOurs checks that evidence of other platforms is not taken for certificates of
// a device.
func TestOthersAreNotOurs(t *testing.T) {
	for _, dir := range []string{"azure", "tdx", "sgx", "snp", "tpm", "nitro", "arm-synthetic", "nvidia"} {
		err := filepath.WalkDir(filepath.Join(vectors(t), dir), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			chain := strings.Contains(strings.ToLower(path), "certchain") || strings.Contains(path, "cert_chain") || strings.Contains(path, "certificate_chain") || strings.Contains(path, "coco_certs")
			if err == nil && dice.Detect(data) && !chain { // GPUs' chains are those of DICE devices
				t.Errorf("%s is taken for certificates of a device", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if data, err := json.Marshal(map[string]any{"certificates": []string{base64.StdEncoding.EncodeToString(join(t, "ldevid_cert_ecc"))}}); err != nil || dice.Detect(data) {
		t.Errorf("somebody's document is taken for ours: %v", err)
	}
}
