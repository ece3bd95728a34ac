package volume_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/workload/container/volume"
)

// TestRootOf changes one thing after the other: each gives another root, and undone the same.
func TestRootOf(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(at("a/b"), 0o755))
	must(os.WriteFile(at("a/file"), []byte("content"), 0o644))
	must(os.Symlink("a/file", at("link")))
	root := func() [32]byte {
		t.Helper()
		r, err := volume.RootOf(dir)
		must(err)
		return r
	}
	first := root()
	for name, c := range map[string]struct{ do, undo func() error }{
		"content":     {func() error { return os.WriteFile(at("a/file"), []byte("Content"), 0) }, func() error { return os.WriteFile(at("a/file"), []byte("content"), 0) }},
		"length":      {func() error { return os.Truncate(at("a/file"), 100) }, func() error { return os.Truncate(at("a/file"), 7) }},
		"mode":        {func() error { return os.Chmod(at("a/file"), 0o600) }, func() error { return os.Chmod(at("a/file"), 0o644) }},
		"its own":     {func() error { return os.Chmod(dir, 0o711) }, func() error { return os.Chmod(dir, 0o755) }},
		"name":        {func() error { return os.Rename(at("a/file"), at("a/File")) }, func() error { return os.Rename(at("a/File"), at("a/file")) }},
		"place":       {func() error { return os.Rename(at("a/file"), at("file")) }, func() error { return os.Rename(at("file"), at("a/file")) }},
		"a directory": {func() error { return os.Mkdir(at("a/b/c"), 0o755) }, func() error { return os.Remove(at("a/b/c")) }},
		"a link": {func() error { os.Remove(at("link")); return os.Symlink("a/b", at("link")) },
			func() error { os.Remove(at("link")); return os.Symlink("a/file", at("link")) }},
		"a pipe": {func() error { return unix.Mkfifo(at("pipe"), 0o600) }, func() error { return os.Remove(at("pipe")) }},
		"an attribute": {func() error { return unix.Setxattr(at("a/file"), "user.x", []byte("1"), 0) },
			func() error { return unix.Removexattr(at("a/file"), "user.x") }},
	} {
		if err := c.do(); err != nil {
			if name == "an attribute" && err == unix.ENOTSUP {
				continue
			}
			t.Fatal(name, err)
		}
		if root() == first {
			t.Errorf("%s: the root is the same", name)
		}
		must(c.undo())
	}
	must(os.Chmod(dir, 0o755))
	must(os.Chtimes(at("a/file"), time.Now(), time.Now().Add(-time.Hour)))
	if root() != first {
		t.Error("undone, the root is another")
	}
}
