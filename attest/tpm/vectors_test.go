package tpm_test

import (
	"bytes"
	"encoding/pem"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/attest/tpm"
	"strongroom.dev/internal/evidencetest"
)

// Where the captures are, below the vectors.
const (
	gce     = "tpm/google+go-tpm-tools/internal/test/attestations/"
	trustee = "tpm/confidential-containers+trustee/deps/verifier/test_data/"
	azure   = "azure/confidential-containers+trustee/deps/verifier/test_data/"
	kinvolk = "azure/kinvolk+azure-cvm-tooling/az-cvm-vtpm/test/"
	openpcc = "azure/openpcc+openpcc/attestation/"
)

func cases() []evidencetest.Case {
	return []evidencetest.Case{
		{What: "GCE, three banks, no nonce", File: gce + "gce-cos-85-no-nonce.pb", At: "2022-06-01", Failed: "tpm.collateral tpm.nonce"},
		{What: "GCE, nonce 90 09", File: gce + "gce-cos-85-nonce9009.pb", At: "2022-06-01", Failed: "tpm.collateral tpm.nonce", Withheld: true},
		{What: "Trustee, key that nobody vouches for", File: trustee + "tpm_evidence.json", At: "2026-01-01", Failed: "tpm.identity"},
		{What: "Azure's quote alone, binary", File: azure + "az-snp-vtpm/quote.bin", At: "2026-01-01", Failed: "tpm.identity"},
		{What: "Azure's quote alone, JSON", File: azure + "az-snp-vtpm/tpm-quote-v1.json", At: "2026-01-01", Failed: "tpm.identity"},
		{What: "az-cvm-vtpm's quote and pinned key", File: kinvolk + "quote.bin", With: []string{kinvolk + "akpub.pem"}, At: "2026-01-01"},
		{What: "a hardware report without a quote", File: azure + "az-snp-vtpm/hcl-report.bin", At: "2026-01-01", Err: "tpm.form"},
	}
}

// TestVectors prints every genuine piece of evidence with its verdict.
func TestVectors(t *testing.T) { evidencetest.Try(t, cases(), tpm.New, nil) }

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
	rest := evidencetest.Read(t, openpcc+"attest/testdata/azure_ak_certificates.txt")
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
	v := tpm.New(evidencetest.Set(t, openpcc+"verify/azure_tpm_intermediate_01.pem", openpcc+"verify/azure_tpm_intermediate_03.pem"))
	for i, der := range leaves {
		if name, err := tpm.Chain(v, der, evidencetest.Time("2026-03-01")); name != "Microsoft Azure" || err != nil {
			t.Errorf("leaf %d: %q %v", i, name, err)
		}
		for day, word := range map[string]string{"2025-06-01": "begins", "2026-11-21": "ended"} {
			if _, err := tpm.Chain(v, der, evidencetest.Time(day)); err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("leaf %d on %s: %v", i, day, err)
			}
		}
		if _, err := tpm.Chain(tpm.New(evidencetest.Set(t, openpcc+"verify/azure_tpm_intermediate_01.pem")), der, evidencetest.Time("2026-03-01")); err == nil {
			t.Errorf("leaf %d: verified without its intermediate", i)
		}
		if _, err := tpm.Chain(v, append(bytes.TrimRight(bytes.Clone(der), "\x00"), 1), evidencetest.Time("2026-03-01")); err == nil {
			t.Errorf("leaf %d: verified with a byte behind it", i)
		}
	}
}

// TestOthersAreNotOurs takes no evidence of other platforms for that of a TPM.
func TestOthersAreNotOurs(t *testing.T) {
	ours := 0
	evidencetest.Walk(t, func(path string, data []byte) {
		if !tpm.Detect(data) {
			return
		}
		ours++
		switch name := filepath.Base(path); {
		case strings.HasPrefix(name, "gce-cos-"), name == "tpm_evidence.json", name == "quote.bin", name == "tpm-quote-v1.json":
		default:
			t.Errorf("%s is taken for evidence of a TPM", path)
		}
	})
	if ours == 0 {
		t.Error("none is recognised")
	}
}
