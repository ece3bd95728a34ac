package image_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/image"
	"strongroom.dev/verdict"
)

// mirror serves one package as it is told to.
type mirror struct {
	content  []byte
	status   int  // instead of the package, if not 0
	cut      int  // bytes to stop after, if not 0
	deaf     bool // to ranges
	requests []string
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.requests = append(m.requests, r.URL.Path+" "+r.Header.Get("Range"))
	if m.status != 0 {
		http.Error(w, "no", m.status)
		return
	}
	if m.cut != 0 {
		w.Header().Set("Content-Length", fmt.Sprint(len(m.content)))
		w.Write(m.content[:m.cut])
		return
	}
	if m.deaf {
		r.Header.Del("Range")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.content))
}

func fetcher(t *testing.T, m *mirror) image.Fetcher {
	t.Helper()
	s := httptest.NewServer(m)
	t.Cleanup(s.Close)
	return image.Fetcher{Client: s.Client(), Mirrors: image.MirrorsAt(s.URL), Cache: filepath.Join(t.TempDir(), "cache")}
}

func sample() ([]byte, image.Package) {
	deb := []byte(strings.Repeat("a package ", 1000))
	return deb, packageFor(image.UseStub, "systemd-boot-efi", deb)
}

func TestFetch(t *testing.T) {
	deb, p := sample()
	m := &mirror{content: deb}
	f := fetcher(t, m)
	var last int64
	f.Progress = func(_ image.Package, done int64) { last = done }
	for range 2 { // the second time from the cache
		if got, err := f.Get(t.Context(), p); err != nil || !bytes.Equal(got, deb) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if len(m.requests) != 1 || m.requests[0] != "/debian/"+p.Path+" " || last != p.Size {
		t.Errorf("%v, %d", m.requests, last)
	}
}

// TestFetchGoesOn: what broke off goes on where it stopped, with a mirror that knows ranges and
// with one that doesn't.
func TestFetchGoesOn(t *testing.T) {
	deb, p := sample()
	for name, deaf := range map[string]bool{"ranges": false, "no ranges": true} {
		m := &mirror{content: deb, cut: 1234, deaf: deaf}
		f := fetcher(t, m)
		if _, err := f.Get(t.Context(), p); err == nil || !strings.Contains(err.Error(), "1234 bytes") || !strings.Contains(err.Error(), "goes on where it stopped") {
			t.Errorf("%s: %v", name, err)
		}
		m.cut = 0
		if got, err := f.Get(t.Context(), p); err != nil || !bytes.Equal(got, deb) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if len(m.requests) != 2 || !strings.HasSuffix(m.requests[1], " bytes=1234-") {
			t.Errorf("%s: %v", name, m.requests)
		}
	}
}

func TestFetchRefuses(t *testing.T) {
	deb, p := sample()
	other := bytes.Clone(deb)
	other[5000] ^= 1
	for name, c := range map[string]struct {
		m    mirror
		kind verdict.Kind
		says string
	}{
		"gone":     {mirror{status: 404}, verdict.Broken, "image lock --update"},
		"gone too": {mirror{status: 410}, verdict.Broken, "image lock --update"},
		"failing":  {mirror{status: 503}, verdict.Broken, "503"},
		"other":    {mirror{content: other}, verdict.Invalid, p.SHA256.String()},
		"longer":   {mirror{content: append(bytes.Clone(deb), 0)}, verdict.Broken, "more bytes"},
		"shorter":  {mirror{content: deb[:100]}, verdict.Broken, "100 bytes"},
		"nothing":  {mirror{content: []byte{}}, verdict.Broken, "0 bytes"},
	} {
		f := fetcher(t, &c.m)
		_, err := f.Get(t.Context(), p)
		if err == nil || verdict.As(err).Kind != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		// Whatever happened, a good mirror mends it at the latest when asked twice.
		c.m = mirror{content: deb}
		if _, err := f.Get(t.Context(), p); err != nil {
			if _, err := f.Get(t.Context(), p); err != nil {
				t.Errorf("%s, with a good mirror: %v", name, err)
			}
		}
	}
}

func TestFetchWithoutMirror(t *testing.T) {
	_, p := sample()
	f := image.Fetcher{Client: http.DefaultClient, Cache: t.TempDir()}
	if _, err := f.Get(t.Context(), p); err == nil || verdict.As(err).Kind != verdict.Usage || !strings.Contains(err.Error(), "--mirror URL") {
		t.Error(err)
	}
	if _, err := f.Get(t.Context(), image.Package{}); err == nil {
		t.Error("no package was fetched")
	}
}

// TestCacheIsChecked: a package that was damaged on this machine is found before it is read.
func TestCacheIsChecked(t *testing.T) {
	deb, p := sample()
	f := fetcher(t, &mirror{content: deb})
	if _, err := f.Get(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	found, _ := filepath.Glob(filepath.Join(f.Cache, "*.deb"))
	if len(found) != 1 {
		t.Fatal(found)
	}
	for name, spoilt := range map[string][]byte{"a byte": append([]byte{deb[0] ^ 1}, deb[1:]...), "cut": deb[:10]} {
		if err := os.WriteFile(found[0], spoilt, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Get(t.Context(), p); err == nil || verdict.As(err).Kind != verdict.Invalid || !strings.Contains(err.Error(), found[0]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFromDir(t *testing.T) {
	deb, p := sample()
	dir := t.TempDir()
	if _, err := image.FromDir(dir, p); err == nil || verdict.As(err).Kind != verdict.Usage || !strings.Contains(err.Error(), p.SHA256.String()) {
		t.Errorf("nothing there: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, p.File()), deb, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := image.FromDir(dir, p); err != nil || !bytes.Equal(got, deb) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := os.WriteFile(filepath.Join(dir, p.File()), bytes.ToUpper(deb), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := image.FromDir(dir, p); err == nil || verdict.As(err).Kind != verdict.Invalid {
		t.Errorf("another file: %v", err)
	}
}
