// Package evidencetest is what tests of recorded evidence share: where it is, and how what
// comes of it is told.
//
// The evidence is other people's, and stands beside the project, not in it: in the folder
// that STRONGROOM_VECTORS names, else in ../shared/vectors from the module's root. Where it is
// missing a test is skipped, or fails under CI=true. Some files are held back from this
// project for independent checks; the manifest beside the evidence lists those that are not.
package evidencetest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"strongroom.dev/endorse"
)

// ErrNone says that there is no recorded evidence here.
var ErrNone = errors.New("no recorded evidence here: set STRONGROOM_VECTORS to the folder of vectors")

// Folder gives the absolute path of the recorded evidence, whether it is there or not.
func Folder() (string, error) {
	root, err := vectors()
	return filepath.Join(root, "attestation"), err
}

// vectors gives the absolute path of all vectors. A STRONGROOM_VECTORS that is not absolute counts
// from the module's root, like the usual place.
func vectors() (string, error) {
	dir := os.Getenv("STRONGROOM_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "shared", "vectors")
	}
	if !filepath.IsAbs(dir) {
		root, err := moduleRoot()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, dir)
	}
	return dir, nil
}

// moduleRoot is the folder of go.mod, looked for upward from this file, which tests that change
// their folder still find, and from the working directory.
func moduleRoot() (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	_, source, _, _ := runtime.Caller(0)
	for _, from := range []string{filepath.Dir(source), here} {
		for dir := from; filepath.IsAbs(dir); dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return here, nil
}

// Load reads one file of the evidence, by its slash-separated path. The error is ErrNone if
// the file is not there.
func Load(name string) ([]byte, error) {
	dir, err := Folder()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	return data, err
}

// Required reports whether evidence that is missing is a failure.
func Required() bool { return os.Getenv("CI") == "true" }

// Dir gives the absolute path of the evidence; without it the test ends, skipped or failed.
func Dir(t testing.TB) string {
	t.Helper()
	return Beside(t, "attestation")
}

// Beside gives the absolute path of a folder of the vectors, such as "measure"; without it the
// test ends, skipped or failed.
func Beside(t testing.TB, folder string) string {
	t.Helper()
	root, err := vectors()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, folder)
	if _, err := os.Stat(dir); err != nil {
		missing(t, dir, err)
	}
	return dir
}

// Read gives a file that is listed; without it the test ends, skipped or failed.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := Load(name)
	if err != nil {
		missing(t, name, err)
	}
	return data
}

// missing ends a test for want of evidence.
func missing(t testing.TB, what string, err error) {
	t.Helper()
	if Required() {
		t.Fatalf("%s is missing under CI=true: %v", what, err)
	}
	if errors.Is(err, ErrNone) || errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s: %v", what, ErrNone)
	}
	t.Fatalf("%s: %v", what, err)
}

// Find gives a file that may be held back, nil if it is. Without any evidence, or without a
// file that is listed, it ends the test like Read.
func Find(t testing.TB, name string) []byte {
	t.Helper()
	Dir(t)
	data, err := Load(name)
	if errors.Is(err, ErrNone) && Manifest(t)[name] == "" {
		return nil
	}
	if err != nil {
		missing(t, name, err)
	}
	return data
}

// Manifest reads the list of what is not held back: SHA-256 in hex by path.
func Manifest(t testing.TB) map[string]string {
	t.Helper()
	listed := make(map[string]string)
	for i, line := range strings.Split(strings.TrimSpace(string(Read(t, "MANIFEST.tsv"))), "\n") {
		columns := strings.Split(line, "\t") // category, repository, path, commit, license, bytes, sha256
		if i == 0 || len(columns) != 7 {
			continue
		}
		listed[columns[0]+"/"+strings.Replace(columns[1], "/", "+", 1)+"/"+columns[2]] = columns[6]
	}
	return listed
}

// Walk shows every file below some folders of the evidence, all of it if none is named.
func Walk(t testing.TB, see func(name string, data []byte), folders ...string) {
	t.Helper()
	root := Dir(t)
	if len(folders) == 0 {
		folders = []string{"."}
	}
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			see(filepath.ToSlash(name), data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Others goes through folders of other platforms' evidence, and reports what is taken for this
// platform's.
func Others(t testing.TB, detect func([]byte) bool, folders ...string) {
	t.Helper()
	Walk(t, func(name string, data []byte) {
		if detect(data) {
			t.Errorf("%s is taken for evidence of this platform", name)
		}
	}, folders...)
}

// Set makes endorsements of whatever is recognised in files that are listed, and in all files
// of folders, whose names end in a slash.
func Set(t testing.TB, names ...string) endorse.Set {
	t.Helper()
	var items []endorse.Item
	for _, name := range names {
		if !strings.HasSuffix(name, "/") {
			items = append(items, endorse.Parse(name, Read(t, name))...)
			continue
		}
		Walk(t, func(name string, data []byte) { items = append(items, endorse.Parse(name, data)...) }, name)
	}
	return made(t, items)
}

// SetOf makes endorsements of whatever is recognised in bytes.
func SetOf[B ~string | ~[]byte](t testing.TB, data ...B) endorse.Set {
	t.Helper()
	var items []endorse.Item
	for _, d := range data {
		items = append(items, endorse.Parse("endorsement", []byte(d))...)
	}
	return made(t, items)
}

func made(t testing.TB, items []endorse.Item) endorse.Set {
	t.Helper()
	set, err := endorse.NewSet(items...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Flip inverts one bit of every byte in turn, of every seventh in short tests, and has see
// look at data each time. It leaves data as it was.
func Flip(data []byte, see func(at int)) {
	for i := range data {
		if testing.Short() && i%7 != 0 {
			continue
		}
		data[i] ^= byte(1 << (i % 8))
		see(i)
		data[i] ^= byte(1 << (i % 8))
	}
}
