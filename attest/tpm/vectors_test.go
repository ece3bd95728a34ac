package tpm_test

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/endorse"
	"strongroom.dev/verdict"
)

// read reads one file of genuine evidence. It stands beside the project, not in it.
func read(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("STRONGROOM_VECTORS")
	if dir == "" {
		dir = "../../../shared/vectors"
	}
	data, err := os.ReadFile(filepath.Join(dir, "attestation", filepath.FromSlash(name)))
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("genuine evidence is not here (STRONGROOM_VECTORS): %v", err)
	}
	if err != nil {
		t.Fatalf("genuine evidence is missing under CI=true: %v", err)
	}
	return data
}

func setOf(t testing.TB, files ...string) endorse.Set {
	t.Helper()
	var items []endorse.Item
	for _, name := range files {
		items = append(items, endorse.Parse(name, read(t, name))...)
	}
	set, err := endorse.NewSet(items...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func at(text string) time.Time {
	when, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return when
}

// Where the captures are, below the vectors.
const (
	gce     = "tpm/google+go-tpm-tools/internal/test/attestations/"
	trustee = "tpm/confidential-containers+trustee/deps/verifier/test_data/"
	azure   = "azure/confidential-containers+trustee/deps/verifier/test_data/"
	kinvolk = "azure/kinvolk+azure-cvm-tooling/az-cvm-vtpm/test/"
	openpcc = "azure/openpcc+openpcc/attestation/"
)

// failed lists the ids of the checks that failed.
func failed(f attest.Finding) string {
	var ids []string
	for _, c := range f.Checks {
		if !c.OK {
			ids = append(ids, c.ID)
		}
	}
	return strings.Join(ids, " ")
}

// vector is genuine evidence with what must come of it at a time.
type vector struct {
	what, file string
	with       []string
	day        string
	failed     string // ids of the failed checks, in order
	err        string // id of the check, for what is not genuine
	// withheld evidence is kept back from this project for independent checks.
	withheld bool
}

func vectors() []vector {
	return []vector{
		{what: "GCE, three banks, no nonce", file: gce + "gce-cos-85-no-nonce.pb", day: "2022-06-01", failed: "tpm.collateral tpm.nonce"},
		{what: "GCE, nonce 90 09", file: gce + "gce-cos-85-nonce9009.pb", day: "2022-06-01", failed: "tpm.collateral tpm.nonce", withheld: true},
		{what: "Trustee, key that nobody vouches for", file: trustee + "tpm_evidence.json", day: "2026-01-01", failed: "tpm.identity"},
		{what: "Azure's quote alone, binary", file: azure + "az-snp-vtpm/quote.bin", day: "2026-01-01", failed: "tpm.identity"},
		{what: "Azure's quote alone, JSON", file: azure + "az-snp-vtpm/tpm-quote-v1.json", day: "2026-01-01", failed: "tpm.identity"},
		{what: "az-cvm-vtpm's quote and pinned key", file: kinvolk + "quote.bin", with: []string{kinvolk + "akpub.pem"}, day: "2026-01-01"},
		{what: "a hardware report without a quote", file: azure + "az-snp-vtpm/hcl-report.bin", day: "2026-01-01", err: "tpm.form"},
	}
}

// TestVectors prints every genuine piece of evidence with its verdict.
func TestVectors(t *testing.T) {
	for _, c := range vectors() {
		t.Run(c.what, func(t *testing.T) {
			if c.withheld {
				t.Setenv("CI", "")
			}
			v := tpm.New(setOf(t, c.with...))
			f, err := v.Examine(read(t, c.file), at(c.day))
			if c.err != "" {
				if err == nil || verdict.As(err).Check != c.err || verdict.As(err).Kind != verdict.Invalid {
					t.Fatalf("%v, expected %s", err, c.err)
				}
				t.Logf("refused: %v", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s, class %s, root %s, machine %s", f.Standing(), f.Facts.Class, f.Facts.Root.Short(), f.Facts.Machine)
			for _, check := range f.Checks {
				t.Logf("  %v %s: %s", check.OK, check.ID, check.Got)
			}
			got := failed(f)
			if c.withheld { // more may be missing
				got = strings.Join(slices.DeleteFunc(strings.Fields(got), func(id string) bool { return !slices.Contains(strings.Fields(c.failed), id) }), " ")
			}
			if got != c.failed {
				t.Errorf("failed %s, expected %s", got, c.failed)
			}
		})
	}
}

// TestBuiltin parses the certificates that are built in.
func TestBuiltin(t *testing.T) {
	all := tpm.Builtin()
	if len(all) != 6 {
		t.Errorf("%d built-in certificates, expected 6", len(all))
	}
	for _, c := range all {
		if !c.IsCA {
			t.Errorf("%s is no authority", c.Subject)
		}
	}
}

// TestKeyCertificates follows the clouds' certificates of attestation keys, one of them padded
// with zeros as it is in its TPM.
func TestKeyCertificates(t *testing.T) {
	var leaves [][]byte
	rest := read(t, openpcc+"attest/testdata/azure_ak_certificates.txt")
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		leaves = append(leaves, block.Bytes)
	}
	if len(leaves) != 2 {
		t.Fatalf("%d certificates", len(leaves))
	}
	v := tpm.New(setOf(t, openpcc+"verify/azure_tpm_intermediate_01.pem", openpcc+"verify/azure_tpm_intermediate_03.pem"))
	for i, der := range leaves {
		if name, err := tpm.Chain(v, der, at("2026-03-01")); name != "Microsoft Azure" || err != nil {
			t.Errorf("leaf %d: %q %v", i, name, err)
		}
		for day, word := range map[string]string{"2025-06-01": "begins", "2026-11-21": "ended"} {
			if _, err := tpm.Chain(v, der, at(day)); err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("leaf %d on %s: %v", i, day, err)
			}
		}
		if _, err := tpm.Chain(tpm.New(setOf(t, openpcc+"verify/azure_tpm_intermediate_01.pem")), der, at("2026-03-01")); err == nil {
			t.Errorf("leaf %d: verified without its intermediate", i)
		}
		if _, err := tpm.Chain(v, append(bytes.TrimRight(bytes.Clone(der), "\x00"), 1), at("2026-03-01")); err == nil {
			t.Errorf("leaf %d: verified with a byte behind it", i)
		}
	}
}

// TestOthersAreNotOurs takes no evidence of other platforms for that of a TPM.
func TestOthersAreNotOurs(t *testing.T) {
	read(t, trustee+"tpm_evidence.json") // or skip
	dir := os.Getenv("STRONGROOM_VECTORS")
	if dir == "" {
		dir = "../../../shared/vectors"
	}
	ours := 0
	err := filepath.WalkDir(filepath.Join(dir, "attestation"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || !tpm.Detect(data) {
			return err
		}
		ours++
		switch name := filepath.Base(path); {
		case strings.HasPrefix(name, "gce-cos-"), name == "tpm_evidence.json", name == "quote.bin", name == "tpm-quote-v1.json":
		default:
			t.Errorf("%s is taken for evidence of a TPM", path)
		}
		return nil
	})
	if err != nil || ours == 0 {
		t.Errorf("%d recognised, %v", ours, err)
	}
}
