package sevsnp_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"strongroom.dev/endorse"
	"strongroom.dev/sevsnp"
)

// vectors gives the folder of real captures; without it the test is skipped, and under CI
// fails.
func vectors(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("STRONGROOM_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "vectors")
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
	rsCerts = "snp/confidential-dot-ai+attestation-rs/crates/attestation/certs/amd/"
	openpcc = "snp/openpcc+openpcc/attestation/attest/testdata/"
	virtee  = "snp/virtee+sev/tests/certs_data/"
	sidecar = "snp/microsoft+confidential-sidecar-containers/pkg/attest/test_data/"
	scitt   = "snp/microsoft+scitt-ccf-ledger/test/payloads/"
	// lists holds AMD's CRLs for Milan (2025-05-06 to 2026-05-12) and Genoa (2024-10-23 to
	// 2025-11-03), and some certificates.
	lists = openpcc + "sev_certificates.txt"
)

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

func collateral(t testing.TB, names ...string) sevsnp.Collateral {
	t.Helper()
	var items []endorse.Item
	for _, name := range names {
		items = append(items, endorse.Parse(name, load(t, name))...)
	}
	s, err := endorse.NewSet(items...)
	if err != nil {
		t.Fatal(err)
	}
	c := sevsnp.Collateral{Certificates: s.Certificates(), CRLs: s.CRLs()}
	for _, it := range s.Of(endorse.COSESign1) {
		c.Statements = append(c.Statements, it.Data)
	}
	for _, it := range s.Of(endorse.ContainerPolicy) {
		c.Policies = append(c.Policies, it.Data)
	}
	return c
}

func at(day string) time.Time {
	when, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	return when
}
