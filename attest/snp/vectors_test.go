package snp_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/snp"
	"strongroom.dev/endorse"
	"strongroom.dev/verdict"
)

// vectors gives the folder of real captures; without it the test is skipped, and under CI
// fails.
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

// Where the captures are, below the vectors.
const (
	google  = "snp/google+go-sev-guest/verify/"
	trustee = "snp/confidential-containers+trustee/deps/verifier/test_data/snp/"
	e2e     = "snp/confidential-containers+trustee/attestation-service/tests/e2e/"
	rs      = "snp/confidential-dot-ai+attestation-rs/crates/attestation/test_data/snp/"
	openpcc = "snp/openpcc+openpcc/attestation/attest/testdata/"
	virtee  = "snp/virtee+sev/tests/certs_data/"
	sidecar = "snp/microsoft+confidential-sidecar-containers/pkg/attest/test_data/"
	scitt   = "snp/microsoft+scitt-ccf-ledger/test/payloads/"
	azure   = "azure/"
)

// crls holds AMD's lists for Milan (2025-05-06 to 2026-05-12) and Genoa (2024-10-23 to
// 2025-11-03), and some certificates.
const crls = openpcc + "sev_certificates.txt"

func load(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors(t), filepath.FromSlash(name)))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return data
}

func set(t testing.TB, names ...string) endorse.Set {
	t.Helper()
	var items []endorse.Item
	for _, name := range names {
		items = append(items, endorse.Parse(name, load(t, name))...)
	}
	s, err := endorse.NewSet(items...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func at(t testing.TB, day string) time.Time {
	t.Helper()
	when, err := time.Parse("2006-01-02", day)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// failed gives the ids of failed checks, without the platform's name.
func failed(f attest.Finding) []string {
	ids := []string{}
	for _, c := range f.Checks {
		if !c.OK {
			ids = append(ids, strings.TrimPrefix(c.ID, "snp."))
		}
	}
	return ids
}

func TestPrint(t *testing.T) {
	for _, c := range []struct {
		name, day string
		with      []string
	}{
		{google + "testdata/attestation.bin", "2025-06-01", []string{google + "testdata/vcek.testcer", crls}},
		{trustee + "test-report.bin", "2025-06-01", []string{trustee + "test-vcek.der", crls}},
		{trustee + "test-report.bin", "2025-06-01", []string{trustee + "test-vcek-invalid-legacy.der", crls}},
		{trustee + "test-report.bin", "2025-06-01", []string{trustee + "test-vcek-invalid-new.der", crls}},
		{trustee + "test-vlek-report.bin", "2025-06-01", []string{trustee + "test-vlek.der", crls}},
		{e2e + "evidence.json", "2025-08-01", []string{crls}},
		{rs + "live-report-v5-genoa.bin", "2026-03-01", []string{rs + "live-vcek-genoa.der", crls}},
		{rs + "live-evidence-genoa.json", "2026-03-01", []string{crls}},
		{scitt + "css-attested-cosesign1-20250617.cose", "2025-08-01", []string{crls}},
		{scitt + "css-attested-cosesign1-20250812.cose", "2025-08-20", []string{crls}},
		{sidecar + "snp_report.bin", "2025-06-01", []string{sidecar + "uvm_host_amd_certificate.pem", sidecar + "uvm_security_policy.base64", sidecar + "body.uvm_reference_info.bin", crls}},
		{openpcc + "gce_sevsnp_report.txt", "2025-06-01", []string{crls}},
	} {
		f, err := snp.New(set(t, c.with...)).Examine(load(t, c.name), at(t, c.day))
		if err != nil {
			t.Logf("%s: %v", c.name, err)
			continue
		}
		t.Logf("%s %s: %s failed %v warnings %v", c.name, c.day, f.Standing(), failed(f), f.Warnings)
		for _, k := range f.Checks {
			t.Logf("     %v %s: expected %s, got %s (%s)", k.OK, k.ID, k.Expected, k.Got, k.Fix)
		}
		_ = verdict.Check{}
	}
}
