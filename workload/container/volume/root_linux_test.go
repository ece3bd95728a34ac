package volume_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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
	must(os.WriteFile(at("a/other"), []byte("content"), 0o644))
	must(os.Link(at("a/other"), at("a/other-2")))
	must(os.Symlink("a/file", at("link")))
	then := time.Unix(1_000_000_000, 1)
	// settle gives everything the same times again, links included.
	settle := func() {
		t.Helper()
		must(filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			ts, terr := unix.TimeToTimespec(then)
			return errors.Join(err, terr, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
		}))
	}
	settle()
	root := func() [32]byte {
		t.Helper()
		r, err := volume.RootOf(t.Context(), dir, 1<<20)
		must(err)
		return r
	}
	first := root()
	link := func(of string) error { // a/file-2 as another name of one of two equal files
		return errors.Join(os.Remove(at("a/other-2")), os.Link(at("a/"+of), at("a/other-2")))
	}
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
		// The same paths and contents, but another pair of names shares a file.
		"who shares a file": {func() error { return link("file") }, func() error { return link("other") }},
		"nobody shares": {func() error {
			return errors.Join(os.Remove(at("a/other-2")), os.WriteFile(at("a/other-2"), []byte("content"), 0o644))
		}, func() error { return link("other") }},
		"the end in zeros": {func() error { return os.WriteFile(at("a/file"), append([]byte("content"), 0), 0) }, func() error { return os.WriteFile(at("a/file"), []byte("content"), 0) }},
		"an owner":         {func() error { return chown(at("a/file"), 12345) }, func() error { return chown(at("a/file"), os.Getuid()) }},
		"a pipe":           {func() error { return unix.Mkfifo(at("pipe"), 0o600) }, func() error { return os.Remove(at("pipe")) }},
		"an attribute": {func() error { return unix.Setxattr(at("a/file"), "user.x", []byte("1"), 0) },
			func() error { return unix.Removexattr(at("a/file"), "user.x") }},
	} {
		if err := c.do(); err != nil {
			if name == "an attribute" && err == unix.ENOTSUP || name == "an owner" && errors.Is(err, fs.ErrPermission) {
				continue
			}
			t.Fatal(name, err)
		}
		settle()
		if root() == first {
			t.Errorf("%s: the root is the same", name)
		}
		must(c.undo())
		settle()
		if root() != first {
			t.Errorf("%s: undone, the root is another", name)
		}
	}
	must(os.Chtimes(at("a/file"), time.Now(), then))
	if root() != first {
		t.Error("reading a file, which sets its time of access, gives another root")
	}
	must(os.Chtimes(at("a/file"), then, then.Add(time.Nanosecond)))
	if root() == first {
		t.Error("another time of modification gives the same root")
	}
}

func chown(path string, uid int) error { return os.Lchown(path, uid, -1) }

// TestRootOfBounds: what a container may leave behind is read to its end, whatever its paths,
// and costs what is stored of it.
func TestRootOfBounds(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 3*4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := volume.RootOf(t.Context(), dir, 2*4096); err == nil || !strings.Contains(err.Error(), "more content") {
		t.Errorf("more content than the volume holds: %v", err)
	}
	for i := range 20 { // the same file under more names is not read again
		if err := os.Link(filepath.Join(dir, "file"), filepath.Join(dir, fmt.Sprint("name", i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := volume.RootOf(t.Context(), dir, 3*4096); err != nil {
		t.Error(err)
	}
	ended, end := context.WithCancelCause(t.Context())
	end(errors.New("the lease lapsed"))
	if _, err := volume.RootOf(ended, dir, 1<<20); err == nil || !strings.Contains(err.Error(), "the lease lapsed") {
		t.Errorf("after the lease: %v", err)
	}
}

// TestRootOfDeepTree goes below what a path can name.
func TestRootOfDeepTree(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range 40 {
		if err != nil {
			t.Fatal(err)
		}
		name := strings.Repeat("a", 250)
		must := unix.Mkdirat(fd, name, 0o700)
		next, oerr := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		unix.Close(fd)
		fd, err = next, errors.Join(must, oerr)
	}
	defer unix.Close(fd)
	before, err := volume.RootOf(t.Context(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkdirat(fd, "deepest", 0o700); err != nil {
		t.Fatal(err)
	}
	after, err := volume.RootOf(t.Context(), dir, 0)
	if err != nil || before == after {
		t.Errorf("what is deepest is not covered (%v)", err)
	}
}

// TestRootOfHoles: zeros give one root, stored or not, and what is not stored costs nothing.
func TestRootOfHoles(t *testing.T) {
	const size = 1 << 42
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(text string, at int64) [32]byte {
		t.Helper()
		_, err := f.WriteAt([]byte(text), at)
		terr := errors.Join(f.Truncate(size), os.Chtimes(f.Name(), time.Unix(1, 0), time.Unix(1, 0)), os.Chtimes(dir, time.Unix(1, 0), time.Unix(1, 0)))
		if err != nil || terr != nil {
			t.Fatal(err, terr)
		}
		root, err := volume.RootOf(t.Context(), dir, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
	first := write("planted", 5<<40/4)
	if write(strings.Repeat("\x00", 9000), 3<<30) != first {
		t.Error("zeros that are stored give another root than a hole")
	}
	if write("x", 3<<30+4096) == first {
		t.Error("what lies in the middle of a hole is not covered")
	}
	if write("\x00", 3<<30+4096) != first {
		t.Error("undone, the root is another")
	}
}
