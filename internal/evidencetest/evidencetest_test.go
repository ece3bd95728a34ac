package evidencetest_test

import (
	"os"
	"path/filepath"
	"testing"

	"strongroom.dev/internal/evidencetest"
)

// ended is what a test that ends panics with here.
type ended string

// fake is a test whose end is looked at.
type fake struct{ testing.TB }

func (fake) Helper()               {}
func (fake) Fatal(...any)          { panic(ended("failed")) }
func (fake) Fatalf(string, ...any) { panic(ended("failed")) }
func (fake) Skip(...any)           { panic(ended("skipped")) }
func (fake) Skipf(string, ...any)  { panic(ended("skipped")) }

// end says how a test comes to its end: "failed", "skipped", or "ran".
func end(run func(testing.TB)) (how ended) {
	defer func() {
		if e, ok := recover().(ended); ok {
			how = e
		}
	}()
	run(fake{})
	return "ran"
}

// folder makes a folder of vectors with one file that is there, one that is only listed and, by
// not being there, one that is held back.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	below := filepath.Join(dir, "attestation", "snp", "maker+repo")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	list := "category\trepo\tpath\tcommit\tlicense\tbytes\tsha256\nsnp\tmaker/repo\there\tc\tl\t1\t00\nsnp\tmaker/repo\tlost\tc\tl\t1\t01\n"
	for path, text := range map[string]string{filepath.Join(below, "here"): "x", filepath.Join(dir, "attestation", "MANIFEST.tsv"): list} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestMissing(t *testing.T) {
	const here, lost, held = "snp/maker+repo/here", "snp/maker+repo/lost", "snp/maker+repo/held"
	read := func(name string) func(testing.TB) { return func(t testing.TB) { evidencetest.Read(t, name) } }
	find := func(name string) func(testing.TB) { return func(t testing.TB) { evidencetest.Find(t, name) } }
	dir, set := func(t testing.TB) { evidencetest.Dir(t) }, func(t testing.TB) { evidencetest.Set(t, lost) }
	list := func(t testing.TB) { evidencetest.Manifest(t) }
	walk := func(t testing.TB) { evidencetest.Walk(t, func(string, []byte) {}, "tdx") }
	there := folder(t)
	for _, c := range []struct {
		name, dir string
		run       func(testing.TB)
		usual, ci ended
	}{
		{"the folder", "/nonexistent", dir, "skipped", "failed"},
		{"the list", "/nonexistent", list, "skipped", "failed"},
		{"a file", "/nonexistent", read(here), "skipped", "failed"},
		{"a file that may be held back", "/nonexistent", find(held), "skipped", "failed"},
		{"a folder that is there", there, dir, "ran", "ran"},
		{"a file that is there", there, read(here), "ran", "ran"},
		{"a file that is listed", there, read(lost), "skipped", "failed"},
		{"a file that is listed, and may be held back", there, find(lost), "skipped", "failed"},
		{"a file that is held back", there, find(held), "ran", "ran"},
		{"endorsements that are listed", there, set, "skipped", "failed"},
		{"a folder below", there, walk, "failed", "failed"},
		{"another folder of vectors", there, func(t testing.TB) { evidencetest.Beside(t, "measure") }, "skipped", "failed"},
	} {
		t.Setenv("STRONGROOM_VECTORS", c.dir)
		t.Setenv("CI", "")
		if got := end(c.run); got != c.usual {
			t.Errorf("%s: %s, expected %s", c.name, got, c.usual)
		}
		t.Setenv("CI", "true")
		if got := end(c.run); got != c.ci {
			t.Errorf("%s under CI: %s, expected %s", c.name, got, c.ci)
		}
	}
}

// TestFolder finds the folder from wherever a test is run.
func TestFolder(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for value, want := range map[string]string{
		"":             filepath.Join(filepath.Dir(root), "shared", "vectors", "attestation"),
		"../elsewhere": filepath.Join(filepath.Dir(root), "elsewhere", "attestation"),
		"/elsewhere":   "/elsewhere/attestation",
	} {
		t.Setenv("STRONGROOM_VECTORS", value)
		if got, err := evidencetest.Folder(); got != want || err != nil {
			t.Errorf("%q: %s %v, expected %s", value, got, err, want)
		}
	}
}
