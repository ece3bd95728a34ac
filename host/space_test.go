package host_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func TestOneHostOwnsAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home", "rooms")
	release, err := host.Own(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := host.Own(dir); verdict.As(err).Check != "host.lock" || verdict.As(err).Fix == "" {
		t.Errorf("a second host: %v", err)
	}
	release()
	if release, err = host.Own(dir); err != nil {
		t.Errorf("after the first: %v", err)
	} else {
		release()
	}
	if _, err := host.Own(filepath.Join(dir, "lock", "below")); verdict.As(err).Check != "host.folder" {
		t.Errorf("below a file: %v", err)
	}
}

// TestResultSize counts what results have whatever the answer: the next power of two, sealed, for
// each receiver.
func TestResultSize(t *testing.T) {
	a := agreement.Agreement{Work: []agreement.Work{{Name: "w", Output: "o"}}}
	for most, size := range map[int64]int64{1: 64 << 10, 60 << 10: 64 << 10, 60<<10 + 1: 128 << 10, 1 << 20: 2 << 20, agreement.MaxOutput: 2 << 30} {
		a.Outputs = []agreement.Output{{Name: "o", MaxBytes: most, Receivers: []wire.ID{"a", "b"}}}
		got := host.ResultSize(a, "w")
		if got < 2*size || got > 2*(size+size>>12+64<<10+wire.MaxDocument) {
			t.Errorf("%d: %d, expected some %d", most, got, 2*size)
		}
		if got/2-wire.MaxDocument > host.MaxFile {
			t.Errorf("%d: no client would fetch it", most)
		}
	}
}

func TestCheckSpace(t *testing.T) {
	if err := host.CheckSpace(t.TempDir(), 1); err != nil {
		t.Error(err)
	}
	if err := host.CheckSpace(filepath.Join(t.TempDir(), "none"), 1); err != nil {
		t.Errorf("nothing is known, and refused: %v", err)
	}
	dir := t.TempDir()
	if err := host.CheckSpace(dir, 1<<62); verdict.As(err).Check != "host.space" || strings.Contains(err.Error(), dir) {
		t.Errorf("%v, expected no space, and no path", err)
	}
}

// TestUnkept says what the disk said, without a path.
func TestUnkept(t *testing.T) {
	err := host.Unkept(&fs.PathError{Op: "write", Path: "/secret/path", Err: errors.New("no space left on device")})
	if e := verdict.As(err); e.Check != "host.results" || e.Got != "no space left on device" || strings.Contains(e.Error(), "secret") {
		t.Error(err)
	}
	own := errors.New("a file that ends too early")
	if got := host.Unkept(own); got != own {
		t.Errorf("%v, expected the room's own", got)
	}
}
