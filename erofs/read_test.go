package erofs_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
)

const goldenSample = "0843b5e16fae331c3af87b6f271743447487662a699dad01dde2daaf9a98cd3a"

func TestReadRefuses(t *testing.T) {
	disk := write(t, sample())
	for name, c := range map[string][]byte{
		"nothing":   nil,
		"one block": disk[:erofs.BlockSize],
		"cut":       disk[:len(disk)-erofs.BlockSize],
		"zeros":     make([]byte, 1<<20),
	} {
		if _, err := flatten(t, c); err == nil || verdict.As(err).Kind != verdict.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestChangedBytes: whatever byte of a small disk is changed, the reader refuses it or reads
// another tree; only padding goes unread, as with the kernel.
func TestChangedBytes(t *testing.T) {
	disk := write(t, []erofs.Entry{dir("d"), file("d/f", "content"), {Path: "d/l", Link: "d/f"}, {Path: "s", Mode: erofs.Symlink | 0o777, Target: "d/f"}, file("big", string(make([]byte, 5000))),
		{Path: "x", Mode: erofs.Regular, Xattrs: map[string][]byte{"user.a": {1, 2, 3}}}})
	before, _ := flatten(t, disk)
	for i := range disk {
		for _, bit := range []byte{1, 4, 0x80} {
			changed := bytes.Clone(disk)
			changed[i] ^= bit
			list, err := flatten(t, changed)
			if err != nil && verdict.As(err).Kind != verdict.Invalid {
				t.Fatalf("byte %d: %v", i, err)
			}
			if err == nil && disk[i] != 0 && cmp.Equal(before, list) {
				t.Errorf("byte %d does not count", i)
			}
		}
	}
}

func rewrite(t testing.TB, list []flat) []byte {
	t.Helper()
	var entries []erofs.Entry
	for _, f := range list {
		e := f.Entry
		if e.Type() == erofs.Regular {
			e.Open = func() (io.Reader, error) { return bytes.NewReader([]byte(f.Content)), nil }
		}
		entries = append(entries, e)
	}
	return write(t, entries)
}

func TestWalkStops(t *testing.T) {
	disk := write(t, sample())
	stop := errors.New("stop")
	fs, err := erofs.Read(bytes.NewReader(disk), int64(len(disk)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := fs.Walk(func(erofs.Entry) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("%d entries, %v", n, err)
	}
	if _, err := erofs.Read(broken{}, 1<<20); !errors.Is(err, errDisk) {
		t.Errorf("the disk's own error became %v", err)
	}
}

type broken struct{}

var errDisk = errors.New("disk")

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

// FuzzRead: whatever is on a disk, the reader ends, and what it reads can be written and read
// again.
func FuzzRead(f *testing.F) {
	f.Add(write(f, nil))
	f.Add(write(f, []erofs.Entry{dir("d"), file("d/f", "content"), {Path: "d/l", Link: "d/f"}, {Path: "p", Mode: erofs.Pipe},
		{Path: "x", Mode: erofs.Regular, Xattrs: map[string][]byte{"user.a": {1}, "security.capability": {2}}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 1<<18)]
		list, err := flatten(t, mended(data))
		if err != nil {
			return
		}
		again, err := flatten(t, rewrite(t, list))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(list, again); d != "" {
			t.Fatal(d)
		}
	})
}

func mended(data []byte) []byte {
	data = bytes.Clone(data)
	erofs.Mend(data)
	return data
}
