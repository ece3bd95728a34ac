package tilelog_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"strongroom.dev/store/tilelog"
)

func FuzzJournal(f *testing.F) {
	dir, signer := filepath.Join(f.TempDir(), "log"), newSigner(f, "log.example/fuzz")
	if err := tilelog.Create(dir, signer); err != nil {
		f.Fatal(err)
	}
	l, err := tilelog.Open(dir, signer)
	if err != nil {
		f.Fatal(err)
	}
	fill(f, l, 0, 3, 2)
	data, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		f.Fatal(err)
	}
	l.Close()
	f.Add(data)
	f.Add(data[:len(data)-1])
	f.Add([]byte("strongroom/journal/v1\n\n0\n\n\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := tilelog.ParseJournal(data)
		if err != nil {
			return
		}
		// What follows a whole frame changes nothing before it; it may make a cut one whole.
		if again, err := tilelog.ParseJournal(append(append([]byte{}, data...), 0)); err == nil && again < n {
			t.Fatalf("%d entries, and only %d with a byte after them", n, again)
		}
	})
}

func FuzzBundle(f *testing.F) {
	f.Add([]byte{0, 1, 'x', 0, 0}, 2)
	f.Add([]byte{}, 0)
	f.Add([]byte{0xff, 0xff}, 1)
	f.Fuzz(func(t *testing.T, data []byte, count int) {
		entries, err := tilelog.ParseBundle(data, count)
		if err != nil {
			return
		}
		var size int
		for _, e := range entries {
			size += 2 + len(e)
		}
		if len(entries) != count || size != len(data) {
			t.Fatalf("%d entries of %d bytes from %d bytes and count %d", len(entries), size, len(data), count)
		}
	})
}

func FuzzTilePath(f *testing.F) {
	for _, p := range []string{"tile/0/000", "tile/entries/x001/234.p/5", "tile/5/x999/x999/999", "tile/0/000.p/256", "tile/00/000", "tile/0/../../etc"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		level, n, width, err := tilelog.ParseTilePath(p)
		if err != nil {
			return
		}
		if level < -1 || n < 0 || width < 1 || width > 256 || bytes.Contains([]byte(p), []byte("..")) {
			t.Fatalf("%q gives level %d, number %d, width %d", p, level, n, width)
		}
	})
}

func TestParseTilePath(t *testing.T) {
	type tile struct {
		level int
		n     int64
		width int
	}
	for p, want := range map[string]tile{
		"tile/0/000":                     {0, 0, 256},
		"tile/0/001.p/1":                 {0, 1, 1},
		"tile/2/x001/x234/067":           {2, 1234067, 256},
		"tile/entries/x001/x234/067.p/9": {-1, 1234067, 9},
	} {
		level, n, width, err := tilelog.ParseTilePath(p)
		if (tile{level, n, width}) != want || err != nil {
			t.Errorf("%s: %d %d %d %v, expected %+v", p, level, n, width, err, want)
		}
	}
	for _, p := range []string{"", "tile", "tile/0", "tile/0/0", "tile/0/0000", "tile/0/x000/001", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/7/000",
		"tile/-1/000", "tile/+1/000", "tile/0/000/", "/tile/0/000", "tile/0/x001", "tile/0/-01", "tile/data/000", "tile/0/x999/x999/x999/x999/x999/x999/999", "tile/0/000.p/5/000"} {
		if level, n, width, err := tilelog.ParseTilePath(p); err == nil {
			t.Errorf("%q gave %d %d %d", p, level, n, width)
		}
	}
}
