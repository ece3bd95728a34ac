package dcap_test

import (
	"os"
	"path/filepath"
	"testing"
)

// vector reads genuine evidence. It stands beside the project, not in it.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("STRONGROOM_VECTORS")
	if dir == "" {
		dir = "../../shared/vectors"
	}
	data, err := os.ReadFile(filepath.Join(dir, "attestation", name))
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("genuine evidence is not here (STRONGROOM_VECTORS): %v", err)
	}
	if err != nil {
		t.Fatalf("genuine evidence is missing under CI=true: %v", err)
	}
	return data
}
