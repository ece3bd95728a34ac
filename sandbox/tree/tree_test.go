//go:build linux

package tree_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox/tree"
)

const (
	dir     = tree.Directory
	regular = tree.Regular
	symlink = tree.Symlink
	link    = tree.Link
	pipe    = tree.Pipe
)

// content is what a regular file of that size has.
func content(size int64) io.Reader { return strings.NewReader(strings.Repeat("x", int(size))) }

func written(t testing.TB, entries ...tree.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tree.NewWriter(&b)
	for _, e := range entries {
		if err := w.Add(e, content(e.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// mine makes everything the tester's, who may have no other user.
func mine(uint32, uint32) (int, int) { return os.Getuid(), os.Getgid() }

func unpack(t testing.TB, stream []byte, limits tree.Limits) (string, error) {
	t.Helper()
	at := t.TempDir()
	root, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	return at, tree.Unpack(tree.NewReader(bytes.NewReader(stream), limits), root, mine)
}

var plenty = tree.Limits{Entries: 100, Bytes: 1 << 20}

func TestUnpack(t *testing.T) {
	at, err := unpack(t, written(t,
		tree.Entry{Path: ".", Type: dir, Mode: 0o750, MTime: 7},
		tree.Entry{Path: "a", Type: dir, Mode: 0o555, MTime: 8},
		tree.Entry{Path: "a/file", Type: regular, Mode: 0o4711, MTime: -9, Size: 70_000},
		tree.Entry{Path: "a/empty", Type: regular, Mode: 0o600},
		tree.Entry{Path: "a/again", Type: link, Target: "a/file"},
		tree.Entry{Path: "out", Type: symlink, Mode: 0o777, MTime: 10, Target: "/etc/../../passwd"},
		tree.Entry{Path: "out2", Type: link, Target: "out"},
		tree.Entry{Path: "pipe", Type: pipe, Mode: 0o622},
	), plenty)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		mode  uint32
		mtime int64
		size  int64
		links uint64
	}{
		".": {unix.S_IFDIR | 0o750, 7, -1, 3}, "a": {unix.S_IFDIR | 0o555, 8, -1, 2},
		"a/file": {unix.S_IFREG | 0o4711, -9, 70_000, 2}, "a/again": {unix.S_IFREG | 0o4711, -9, 70_000, 2}, "a/empty": {unix.S_IFREG | 0o600, 0, 0, 1},
		"out": {unix.S_IFLNK | 0o777, 10, 17, 2}, "pipe": {unix.S_IFIFO | 0o622, 0, 0, 1},
	} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(at, path), &st); err != nil {
			t.Fatal(err)
		}
		if want.size < 0 {
			want.size = st.Size
		}
		if st.Mode != want.mode || st.Mtim.Sec != want.mtime || st.Size != want.size || uint64(st.Nlink) != want.links {
			t.Errorf("%s: %o, time %d, %d bytes, %d links; expected %+v", path, st.Mode, st.Mtim.Sec, st.Size, st.Nlink, want)
		}
	}
	if target, err := os.Readlink(filepath.Join(at, "out")); target != "/etc/../../passwd" {
		t.Errorf("%s %v", target, err)
	}
	os.Chmod(filepath.Join(at, "a"), 0o755) // so that an ordinary user can remove it
}

// TestRefused: entries that can't be, alone or after others, each by name.
func TestRefused(t *testing.T) {
	d, f := tree.Entry{Path: "d", Type: dir, Mode: 0o755}, tree.Entry{Path: "f", Type: regular, Mode: 0o644}
	l := tree.Entry{Path: "l", Type: symlink, Target: "d"}
	for _, c := range []struct {
		name    string
		entries []tree.Entry
		why     string
	}{
		{"absolute", []tree.Entry{{Path: "/etc", Type: dir}}, "not clean"},
		{"parent", []tree.Entry{{Path: "../x", Type: dir}}, "not clean"},
		{"parent within", []tree.Entry{d, {Path: "d/../../x", Type: regular}}, "not clean"},
		{"dot", []tree.Entry{{Path: "./x", Type: regular}}, "not clean"},
		{"root as a file", []tree.Entry{{Path: ".", Type: regular}}, "not clean"},
		{"slash behind", []tree.Entry{{Path: "x/", Type: dir}}, "not clean"},
		{"empty", []tree.Entry{{Type: dir}}, "empty"},
		{"zero byte", []tree.Entry{{Path: "a\x00b", Type: dir}}, "zero byte"},
		{"long name", []tree.Entry{{Path: strings.Repeat("x", 256), Type: dir}}, "too long"},
		{"long path", []tree.Entry{{Path: strings.Repeat("x/", 2048) + "x", Type: dir}}, "too long"},
		{"device", []tree.Entry{{Path: "x", Type: tree.Pipe + 1}}, "its type"},
		{"mode", []tree.Entry{{Path: "x", Type: dir, Mode: 0o10000}}, "its mode"},
		{"no owner", []tree.Entry{{Path: "x", Type: dir, UID: 1<<32 - 1}}, "its owner"},
		{"size of a directory", []tree.Entry{{Path: "x", Type: dir, Size: 1}}, "its size"},
		{"target of a file", []tree.Entry{{Path: "x", Type: regular, Target: "y"}}, "no link"},
		{"link to outside", []tree.Entry{{Path: "x", Type: link, Target: "../y"}}, "its target"},
		{"twice", []tree.Entry{f, f}, "twice"},
		{"directory twice", []tree.Entry{d, d}, "twice"},
		{"link twice", []tree.Entry{l, l}, "twice"},
		{"file over a link", []tree.Entry{l, {Path: "l", Type: regular}}, "twice"},
		{"below a link", []tree.Entry{d, l, {Path: "l/x", Type: regular}}, "below a symbolic link"},
		{"below a link out", []tree.Entry{{Path: "l", Type: symlink, Target: "/tmp"}, {Path: "l/x", Type: dir}}, "below a symbolic link"},
		{"deep below a link", []tree.Entry{d, {Path: "d/e", Type: dir, Mode: 0o755}, l, {Path: "l/e/x", Type: dir}}, "below a symbolic link"},
		{"below a file", []tree.Entry{f, {Path: "f/x", Type: regular}}, "no directory"},
		{"no parent", []tree.Entry{{Path: "a/b", Type: regular}}, "no directory"},
		{"link to nothing", []tree.Entry{{Path: "a", Type: link, Target: "b"}}, "nothing it could link to"},
		{"link to a directory", []tree.Entry{d, {Path: "a", Type: link, Target: "d"}}, "nothing it could link to"},
		{"link through a link", []tree.Entry{d, {Path: "d/x", Type: regular}, l, {Path: "a", Type: link, Target: "l/x"}}, "nothing it could link to"},
		{"link over a file", []tree.Entry{f, {Path: "g", Type: regular}, {Path: "g", Type: link, Target: "f"}}, "twice"},
		{"too many bytes", []tree.Entry{{Path: "x", Type: regular, Size: 1<<20 + 1}}, "more bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			w := tree.NewWriter(&b)
			var err error
			for _, e := range c.entries {
				if err = w.Add(e, content(e.Size)); err != nil {
					break
				}
			}
			if err == nil {
				w.Close()
				_, err = unpack(t, b.Bytes(), plenty)
			}
			var entry *tree.EntryError
			last := c.entries[len(c.entries)-1]
			if !errors.As(err, &entry) || entry.Path != last.Path || !strings.Contains(err.Error(), c.why) {
				t.Errorf("got %v, expected %q with %q", err, last.Path, c.why)
			}
		})
	}
}

// TestReaderBelievesNothing: what a writer would not write is refused by the reader too.
func TestReaderBelievesNothing(t *testing.T) {
	whole := written(t, tree.Entry{Path: "file", Type: regular, Mode: 0o644, Size: 3})
	for n := range len(whole) {
		if _, err := unpack(t, whole[:n], plenty); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	start := strings.Index(string(whole), "\n") + 1
	for at, why := range map[int]string{0: "no tree of this version", start: "its type", start + 1: "not in the format", start + 4: "its mode", start + 24: "its size", start + 32: "not in the format"} {
		b := bytes.Clone(whole)
		b[at] = 0xff
		if _, err := unpack(t, b, plenty); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("byte %d: %v, expected %q", at, err, why)
		}
	}
	if _, err := unpack(t, whole, tree.Limits{Bytes: 100}); err == nil || !strings.Contains(err.Error(), "more entries") {
		t.Errorf("no entries allowed: %v", err)
	}
}

// TestWriter: a tree that can't be whole is an error where it is written.
func TestWriter(t *testing.T) {
	for _, short := range []io.Reader{nil, content(2)} {
		w := tree.NewWriter(io.Discard)
		if err := w.Add(tree.Entry{Path: "x", Type: regular, Size: 3}, short); err == nil {
			t.Error("a file shorter than its size was written")
		}
		if err := w.Close(); err == nil {
			t.Error("a broken tree was closed")
		}
	}
	var b bytes.Buffer
	w := tree.NewWriter(&b)
	w.Add(tree.Entry{Path: "x", Type: regular, Size: 3}, content(9))
	w.Close()
	if diff := cmp.Diff(written(t, tree.Entry{Path: "x", Type: regular, Size: 3}), b.Bytes()); diff != "" {
		t.Errorf("content beyond the size is in the tree: %s", diff)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(written(f, tree.Entry{Path: ".", Type: dir, Mode: 0o755}, tree.Entry{Path: "a", Type: regular, Size: 5}, tree.Entry{Path: "b", Type: symlink, Target: "a"}))
	f.Add(written(f, tree.Entry{Path: "d", Type: dir}, tree.Entry{Path: "d/p", Type: pipe}, tree.Entry{Path: "l", Type: link, Target: "d/p"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := tree.NewReader(bytes.NewReader(data), plenty)
		var again bytes.Buffer
		w := tree.NewWriter(&again)
		for {
			e, err := r.Next()
			if errors.Is(err, io.EOF) {
				w.Close()
				break
			}
			if err != nil {
				return
			}
			if err := w.Add(e, r); err != nil {
				if errors.Is(err, io.ErrUnexpectedEOF) {
					return
				}
				t.Fatalf("read, and not written: %v", err)
			}
		}
		if !bytes.HasPrefix(data, again.Bytes()) {
			t.Error("the same tree has two forms")
		}
	})
}
