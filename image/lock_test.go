package image_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/image"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func TestBuiltinLock(t *testing.T) {
	lock, err := image.BuiltinLock()
	if err != nil {
		t.Fatal(err)
	}
	if kernel := lock.Of(image.UseKernel); !strings.HasPrefix(kernel.Name, "linux-image-6.12.") || !strings.Contains(kernel.Path, "linux-signed-") {
		t.Errorf("%+v: rooms need the signed 6.12 kernel", kernel)
	}
	again, err := image.ParseLock(lock.Text())
	if err != nil || !cmp.Equal(again, lock) {
		t.Errorf("%v, %v", again, err)
	}
}

func TestParseLockRefuses(t *testing.T) {
	good, err := image.BuiltinLock()
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(l *image.Lock){
		"format":          func(l *image.Lock) { l.Format = "strongroom/image-lock/v2" },
		"no package":      func(l *image.Lock) { l.Packages = []image.Package{} },
		"one missing":     func(l *image.Lock) { l.Packages = l.Packages[1:] },
		"none for tdx":    func(l *image.Lock) { l.Packages = l.Packages[:3] },
		"snp's for tdx":   func(l *image.Lock) { l.Packages[3].Use = image.UseSNP },
		"one twice":       func(l *image.Lock) { l.Packages = append(l.Packages, l.Packages[0]) },
		"other order":     func(l *image.Lock) { l.Packages[0], l.Packages[1] = l.Packages[1], l.Packages[0] },
		"other use":       func(l *image.Lock) { l.Packages[0].Use = "init" },
		"no name":         func(l *image.Lock) { l.Packages[0].Name = "" },
		"path in name":    func(l *image.Lock) { l.Packages[0].Name = "../linux" },
		"no version":      func(l *image.Lock) { l.Packages[0].Version = "" },
		"other archive":   func(l *image.Lock) { l.Packages[0].Archive = "ubuntu" },
		"path out":        func(l *image.Lock) { l.Packages[0].Path = "pool/../../etc/" + l.Packages[0].File() },
		"absolute path":   func(l *image.Lock) { l.Packages[0].Path = "/pool/" + l.Packages[0].File() },
		"query":           func(l *image.Lock) { l.Packages[0].Path += "?x=.deb" },
		"other package":   func(l *image.Lock) { l.Packages[0].Path = "pool/main/o/other/other_1_amd64.deb" },
		"no debian file":  func(l *image.Lock) { l.Packages[0].Path += ".sh" },
		"no size":         func(l *image.Lock) { l.Packages[0].Size = 0 },
		"size":            func(l *image.Lock) { l.Packages[0].Size = 1 << 40 },
		"no digest":       func(l *image.Lock) { l.Packages[0].SHA256 = wire.Hash{} },
		"a line in suite": func(l *image.Lock) { l.Packages[0].Suite = "bookworm\n" },
	} {
		lock := good
		lock.Packages = append([]image.Package{}, good.Packages...)
		spoil(&lock)
		if _, err := image.ParseLock(lock.Text()); err == nil || verdict.As(err).Kind != verdict.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "{", `{"format":"` + image.LockFormat + `"}`, strings.Replace(string(good.Text()), `"use"`, `"extra": 1, "use"`, 1), string(good.Text()) + strings.Repeat(" ", image.MaxLock)} {
		if _, err := image.ParseLock([]byte(text)); err == nil {
			t.Errorf("%q is a lock", verdict.Short(text))
		}
	}
}

// TestParseOldLock: locks from before the firmware of their own that some platforms have can be
// updated, and nothing can be built of them.
func TestParseOldLock(t *testing.T) {
	good, err := image.BuiltinLock()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := image.ParseOldLock(good.Text()); err != nil || !cmp.Equal(got, good) {
		t.Errorf("%v, %v", got, err)
	}
	old := good
	old.Packages = good.Packages[:3]
	if got, err := image.ParseOldLock(old.Text()); err != nil || !cmp.Equal(got, old) || got.Has(image.UseTDX) {
		t.Errorf("%v, %v", got, err)
	}
	for name, spoil := range map[string]func(l *image.Lock){
		"format":      func(l *image.Lock) { l.Format = "strongroom/image-lock/v2" },
		"no package":  func(l *image.Lock) { l.Packages = []image.Package{} },
		"one missing": func(l *image.Lock) { l.Packages = l.Packages[1:] },
		"no digest":   func(l *image.Lock) { l.Packages[0].SHA256 = wire.Hash{} },
	} {
		lock := old
		lock.Packages = append([]image.Package{}, old.Packages...)
		spoil(&lock)
		if _, err := image.ParseOldLock(lock.Text()); err == nil || verdict.As(err).Kind != verdict.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := image.ParseOldLock([]byte("{")); err == nil {
		t.Error("nonsense")
	}
}

func FuzzParseLock(f *testing.F) {
	lock, _ := image.BuiltinLock()
	f.Add(lock.Text())
	f.Fuzz(func(t *testing.T, data []byte) {
		if old, err := image.ParseOldLock(data); err == nil {
			if again, err := image.ParseOldLock(old.Text()); err != nil || !cmp.Equal(again, old) {
				t.Errorf("to be updated: %v, %v", again, err)
			}
		}
		lock, err := image.ParseLock(data)
		if err != nil {
			return
		}
		if again, err := image.ParseLock(lock.Text()); err != nil || !cmp.Equal(again, lock) {
			t.Errorf("%v, %v", again, err)
		}
	})
}

func TestCompareVersions(t *testing.T) {
	for _, c := range []struct {
		a    string
		want int
		b    string
	}{
		{"6.12.117-1~deb12u1", 1, "6.12.113-1~deb12u1"}, {"6.12.99-1", -1, "6.12.101-1"}, {"1.0-1", 0, "1.0-1"}, {"1.0", -1, "1.0-1"}, {"1.0~rc1", -1, "1.0"}, {"1.0~~", -1, "1.0~"},
		{"1:0.1", 1, "9.9"}, {"0:1", 0, "1"}, {"1.0a", 1, "1.0"}, {"1.0+b1", 1, "1.0"}, {"1.0+", 1, "1.0a"}, {"252.39-1~deb12u2", 1, "252.38-1~deb12u1"}, {"2022.11-6+deb12u2", 1, "2022.11-6"},
		{"1.01", 0, "1.1"}, {"1.0-1-2", -1, "1.0-2-1"}, {"99999999999999999999", 1, "9999999999999999999"}, {"", 0, ""}, {"", -1, "1"}, {"~", -1, ""},
	} {
		if got := image.CompareVersions(c.a, c.b); got != c.want {
			t.Errorf("%s against %s: %d", c.a, c.b, got)
		}
		if got := image.CompareVersions(c.b, c.a); got != -c.want {
			t.Errorf("%s against %s: %d", c.b, c.a, got)
		}
	}
}

func FuzzCompareVersions(f *testing.F) {
	f.Add("1:2~3-4", "1.0+b1")
	f.Fuzz(func(t *testing.T, a, b string) {
		if image.CompareVersions(a, b) != -image.CompareVersions(b, a) || image.CompareVersions(a, a) != 0 {
			t.Errorf("no order of %q and %q", a, b)
		}
	})
}

func TestMirrors(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		want       map[string]string
	}{
		"nothing":    {"other", "", map[string]string{}},
		"one line":   {"sources.list", "# deb http://not.example/debian x main\ndeb [arch=amd64 signed-by=/k] http://m.example/debian bookworm main\ndeb-src http://src.example/debian bookworm main\ndeb https://s.example/debian-security/ bookworm-security main\n", map[string]string{"debian": "http://m.example/debian", "debian-security": "https://s.example/debian-security/"}},
		"first wins": {"sources.list", "deb http://one.example/debian a main\ndeb http://two.example/debian b main\n", map[string]string{"debian": "http://one.example/debian"}},
		"deb822":     {"sources.list.d/debian.sources", "# comment\nTypes: deb deb-src\nURIs: http://m.example/debian\n http://n.example/debian-security\nSuites: bookworm\n", map[string]string{"debian": "http://m.example/debian", "debian-security": "http://n.example/debian-security"}},
		"disabled":   {"sources.list.d/debian.sources", "Types: deb\nEnabled: no\nURIs: http://m.example/debian\n", map[string]string{}},
		"sources":    {"sources.list.d/debian.sources", "Types: deb-src\nURIs: http://m.example/debian\n", map[string]string{}},
		"others":     {"sources.list.d/x.list", "deb http://x.example/ubuntu a main\ndeb cdrom:[x]/debian a main\ndeb file:/srv/debian a main\ndeb mirror+file:/etc/debian a main\ndeb http://lonely.example/debian\n", map[string]string{}},
	} {
		if got := image.Mirrors(fstest.MapFS{c.file: {Data: []byte(c.text)}}); !cmp.Equal(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := image.MirrorsAt("http://m.example/"); !cmp.Equal(got, map[string]string{"debian": "http://m.example/debian", "debian-security": "http://m.example/debian-security"}) {
		t.Error(got)
	}
}

func FuzzMirrors(f *testing.F) {
	f.Add("deb [a=b] http://m.example/debian x y\n")
	f.Fuzz(func(t *testing.T, text string) {
		for archive, uri := range image.Mirrors(fstest.MapFS{"sources.list": {Data: []byte(text)}, "sources.list.d/a.sources": {Data: []byte(text)}}) {
			if !strings.HasPrefix(uri, "http") || !strings.Contains(uri, archive) {
				t.Errorf("%s at %q", archive, uri)
			}
		}
	})
}
