package endorse_test

import (
	"os"
	"path/filepath"
	"testing"

	"strongroom.dev/endorse"
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

// TestParseAll prints what is recognised in every file of the vectors.
func TestParseAll(t *testing.T) {
	dir := vectors(t)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found := map[endorse.Kind]int{}
		items := endorse.Parse(filepath.Base(path), data)
		for _, it := range items {
			found[it.Kind]++
		}
		if _, err := endorse.NewSet(items...); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		rel, _ := filepath.Rel(dir, path)
		t.Logf("%-120s %v", rel, found)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
