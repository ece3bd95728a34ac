package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"strongroom.dev/internal/durable"
)

func TestHole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := durable.Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	const n = 8 << 20
	if err := f.Hole(-1); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a hole of less than nothing: %v", err)
	}
	for range 2 {
		if _, err := f.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := f.Hole(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := f.Hole(1); !errors.Is(err, durable.ErrDone) {
		t.Errorf("a hole in what is written: %v", err)
	}
	if want := strings.Repeat("x"+strings.Repeat("\x00", n), 2); read(t, path) != want {
		t.Error("a hole holds something, or is missing at the end")
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if took := info.Sys().(*syscall.Stat_t).Blocks * 512; took > n {
		t.Errorf("%d bytes with two holes take %d", info.Size(), took)
	}
}
