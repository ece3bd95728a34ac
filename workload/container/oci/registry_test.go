package oci_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/container/oci"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// hub is a registry on loopback, and what lies between it and its client.
type hub struct {
	*testing.T
	host string
	mu   sync.Mutex
	asks []string // "PATH RANGE", of blobs and manifests
	// change alters answers; nil: as they are.
	change func(ask string, resp *http.Response)
}

func newHub(t *testing.T) *hub {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return &hub{T: t, host: strings.TrimPrefix(server.URL, "http://")}
}

// RoundTrip makes the hub the transport of its client.
func (h *hub) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || r.URL.Path == "/v2/" {
		return resp, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	ask := strings.TrimSpace(r.URL.Path + " " + r.Header.Get("Range"))
	h.asks = append(h.asks, ask)
	if h.change != nil {
		h.change(ask, resp)
	}
	return resp, nil
}

func (h *hub) put(method, path, mediaType string, data []byte) {
	h.Helper()
	req, err := http.NewRequestWithContext(h.Context(), method, "http://"+h.host+path, bytes.NewReader(data))
	if err != nil {
		h.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		body, _ := io.ReadAll(resp.Body)
		h.Fatalf("%s %s: %s %s", method, path, resp.Status, body)
	}
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (h *hub) blob(name string, data []byte) string {
	h.Helper()
	h.put(http.MethodPost, "/v2/"+name+"/blobs/uploads/?digest="+digestOf(data), "application/octet-stream", data)
	return digestOf(data)
}

// push puts a layout's image there, and gives its digest.
func (h *hub) push(name, tag, layout string) string {
	h.Helper()
	var index struct {
		Manifests []struct{ Digest string }
	}
	text, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil || json.Unmarshal(text, &index) != nil {
		h.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(layout, "blobs/sha256/*"))
	if err != nil {
		h.Fatal(err)
	}
	var top []byte
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			h.Fatal(err)
		}
		if digestOf(data) == index.Manifests[0].Digest {
			top = data
			continue
		}
		h.blob(name, data)
	}
	h.put(http.MethodPut, "/v2/"+name+"/manifests/"+tag, manifestType, top)
	return digestOf(top)
}

func (h *hub) source(name, cache string) oci.Source {
	return oci.Source{Name: h.host + "/" + name, Platform: oci.Platform{OS: "linux", Architecture: "amd64"}, Limits: oci.Ordinary(), Cache: cache, Transport: h}
}

// get opens and flattens an image of the hub.
func (h *hub) get(src oci.Source) (img *oci.Image, d oci.Disk, err error) {
	if img, err = oci.Open(h.Context(), src); err != nil {
		return nil, d, err
	}
	defer img.Close()
	tree, err := img.Flatten(h.Context(), h.TempDir())
	if err != nil {
		return img, d, err
	}
	defer tree.Close()
	d, err = oci.WriteDisk(io.Discard, tree.Entries(), img.Manifest)
	return img, d, err
}

func (h *hub) layers() (list []string) {
	for _, ask := range h.asks {
		if strings.Contains(ask, "/blobs/") {
			list = append(list, ask)
		}
	}
	return list
}

func shop(t *testing.T) image {
	return of(t, []entry{dir("bin"), {name: "bin/run", kind: '0', body: strings.Repeat("#!/bin/sh\n", 500), mode: 0o755}}, []entry{file("page", strings.Repeat("x", 70000))})
}

// TestRegistry: an image by its tag and by its digest is the layout's, and is fetched once.
func TestRegistry(t *testing.T) {
	h := newHub(t)
	layout := shop(t).write(t)
	digest := h.push("shop/web", "1.4", layout)
	cache := t.TempDir()
	img, first, err := h.get(h.source("shop/web:1.4", cache))
	if err != nil {
		t.Fatal(err)
	}
	if want := h.host + "/shop/web@" + digest; img.Reference != want || img.Resolved != "1.4" || img.Manifest.String() != digest {
		t.Errorf("found %s, tag %s, manifest %s; expected %s", img.Reference, img.Resolved, img.Manifest, want)
	}
	if got := len(h.layers()); got != 3 { // a configuration, two layers
		t.Errorf("fetched %v", h.layers())
	}
	h.asks = nil
	img, second, err := h.get(h.source("shop/web@"+digest, cache))
	if err != nil || second != first || img.Resolved != "" {
		t.Errorf("by digest: %v, tag %q, disk %v, expected %v", err, img.Resolved, second, first)
	}
	if len(h.layers()) != 0 {
		t.Errorf("fetched again: %v", h.layers())
	}
	_, third, err := h.get(oci.Source{Name: "oci:" + layout, Platform: oci.Platform{OS: "linux", Architecture: "amd64"}, Limits: oci.Ordinary()})
	if err != nil || third != first {
		t.Errorf("of the layout: %v, disk %v, expected %v", err, third, first)
	}
}

// cut ends a body early, as a lost connection does.
type cut struct {
	io.ReadCloser
	left int
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// TestResume: a fetch that broke off goes on where it ended, in the same call and in a later.
func TestResume(t *testing.T) {
	h := newHub(t)
	digest := h.push("shop/web", "1.4", shop(t).write(t))
	large := func(ask string, resp *http.Response) bool {
		return strings.Contains(ask, "/blobs/") && resp.ContentLength > 30000
	}
	broke := false
	h.change = func(ask string, resp *http.Response) {
		if !broke && large(ask, resp) {
			broke = true
			resp.Body = &cut{resp.Body, 12345}
		}
	}
	cache := t.TempDir()
	_, want, err := h.get(h.source("shop/web:1.4", cache))
	if err != nil || !broke {
		t.Fatalf("cut: %v, %v", broke, err)
	}
	if !slices.ContainsFunc(h.asks, func(ask string) bool { return strings.Contains(ask, " bytes=12345-") }) {
		t.Errorf("asked %v, expected what was left", h.asks)
	}
	// Cancelled, and called again.
	cache, h.asks = t.TempDir(), nil
	ctx, cancel := context.WithCancel(t.Context())
	h.change = func(ask string, resp *http.Response) {
		if large(ask, resp) {
			resp.Body = &cut{resp.Body, 23456}
			cancel()
		}
	}
	img, err := oci.Open(ctx, h.source("shop/web@"+digest, cache))
	if err == nil {
		_, err = img.Flatten(ctx, t.TempDir())
	}
	if err == nil {
		t.Fatal("a cancelled call gave an image")
	}
	h.change, h.asks = nil, nil
	if _, got, err := h.get(h.source("shop/web@"+digest, cache)); err != nil || got != want {
		t.Errorf("called again: %v, %v; expected %v", got, err, want)
	}
	parts, _ := filepath.Glob(filepath.Join(cache, "*.part"))
	if len(parts) != 0 {
		t.Errorf("left %v", parts)
	}
}

// TestHostileRegistry: what a registry makes up is found out; its mishaps are called so.
func TestHostileRegistry(t *testing.T) {
	body := func(resp *http.Response, data []byte) {
		resp.Body.Close()
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	}
	flip := func(resp *http.Response) {
		data, err := io.ReadAll(resp.Body)
		if err != nil || len(data) == 0 {
			t.Error(err)
			return
		}
		data[len(data)/2] ^= 1
		body(resp, data)
	}
	good := shop(t).write(t)
	for name, test := range map[string]struct {
		change func(ask string, resp *http.Response)
		tag    string
		check  string
		kind   verdict.Kind
	}{
		"another manifest than the digest's": {func(ask string, resp *http.Response) {
			if strings.Contains(ask, "/manifests/") {
				flip(resp)
			}
		}, "", "image.digest", verdict.Invalid},
		"altered parts": {func(ask string, resp *http.Response) {
			if strings.Contains(ask, "/blobs/") {
				flip(resp)
			}
		}, "", "image.digest", verdict.Invalid},
		"parts that go on and on": {func(ask string, resp *http.Response) {
			if strings.Contains(ask, "/blobs/") {
				resp.Body = io.NopCloser(io.MultiReader(resp.Body, endless{}))
			}
		}, "", "image.digest", verdict.Invalid},
		"a manifest that goes on and on": {func(ask string, resp *http.Response) {
			if strings.Contains(ask, "/manifests/") {
				resp.Body = io.NopCloser(endless{})
			}
		}, ":1.4", "image.size", verdict.Refused},
		"no such tag": {nil, ":1.5", "image.parts", verdict.Invalid},
		"nobody is let in": {func(_ string, resp *http.Response) {
			resp.StatusCode = http.StatusForbidden
		}, ":1.4", "registry", verdict.Broken},
		"a name that can't be": {nil, ":no tag", "image", verdict.Usage},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			digest := h.push("shop/web", "1.4", good)
			h.change = test.change
			if test.tag == "" {
				test.tag = "@" + digest
			}
			cache := t.TempDir()
			_, _, err := h.get(h.source("shop/web"+test.tag, cache))
			if e := verdict.As(err); err == nil || e.Check != test.check || e.Kind != test.kind {
				t.Errorf("got %v, expected %s of kind %v", err, test.check, test.kind)
			}
			if kept, _ := filepath.Glob(filepath.Join(cache, "sha256-*[0-9a-f]")); len(kept) != 0 {
				t.Errorf("kept %v", kept)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		_, err := oci.Open(t.Context(), oci.Source{Name: "127.0.0.1:1/a:b", Platform: oci.Platform{OS: "linux", Architecture: "amd64"}, Limits: oci.Ordinary(), Cache: t.TempDir()})
		if err == nil || verdict.As(err).Check != "registry" {
			t.Errorf("got %v", err)
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// TestMishaps: a busy registry is asked again, and what lies damaged in the cache is fetched
// again.
func TestMishaps(t *testing.T) {
	h := newHub(t)
	digest := h.push("shop/web", "1.4", shop(t).write(t))
	cache := t.TempDir()
	busy := 0
	h.change = func(ask string, resp *http.Response) {
		if strings.Contains(ask, "/blobs/") && busy == 0 {
			busy++
			resp.StatusCode = http.StatusServiceUnavailable
		}
	}
	_, want, err := h.get(h.source("shop/web@"+digest, cache))
	if err != nil || busy == 0 {
		t.Fatalf("busy %d times: %v", busy, err)
	}
	files, err := filepath.Glob(filepath.Join(cache, "*"))
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for i, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		data[0] ^= 1
		if err := os.WriteFile(f, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if i > 0 { // damaged before it was whole
			if err := os.Rename(f, f+".part"); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(f+".part", int64(len(data)/2)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, got, err := h.get(h.source("shop/web@"+digest, cache)); err != nil || got != want {
		t.Errorf("got %v, %v; expected %v", got, err, want)
	}
}

// TestIndex: of an index the platform's image is taken, never another.
func TestIndex(t *testing.T) {
	h := newHub(t)
	digest := h.push("shop/web", "amd64", shop(t).write(t))
	size := len(h.manifest("shop/web", digest))
	put := func(tag string, platforms ...any) {
		var list []any
		for _, p := range platforms {
			list = append(list, map[string]any{"mediaType": manifestType, "digest": digest, "size": size, "platform": p})
		}
		data, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": list})
		if err != nil {
			t.Fatal(err)
		}
		h.put(http.MethodPut, "/v2/shop/web/manifests/"+tag, "application/vnd.oci.image.index.v1+json", data)
	}
	amd, arm := map[string]any{"os": "linux", "architecture": "amd64"}, map[string]any{"os": "linux", "architecture": "arm64"}
	unknown := map[string]any{"os": "unknown", "architecture": "unknown"}
	put("good", amd, unknown)
	put("twice", amd, amd)
	put("other", arm)
	put("lies", map[string]any{"os": "linux", "architecture": "s390x"})
	for tag, check := range map[string]string{"good": "", "twice": "image.platform", "other": "image.platform"} {
		img, _, err := h.get(h.source("shop/web:"+tag, t.TempDir()))
		if check == "" && (err != nil || img.Manifest.String() != digest) || check != "" && (err == nil || verdict.As(err).Check != check) {
			t.Errorf("%s: %v, expected %q", tag, err, check)
		}
	}
	src := h.source("shop/web:lies", t.TempDir()) // the configuration says what it is
	src.Platform.Architecture = "s390x"
	if _, _, err := h.get(src); err == nil || verdict.As(err).Check != "image.platform" {
		t.Errorf("an image of another platform than its index says: %v", err)
	}
}

func (h *hub) manifest(name, id string) []byte {
	h.Helper()
	resp, err := http.Get(fmt.Sprintf("http://%s/v2/%s/manifests/%s", h.host, name, id))
	if err != nil {
		h.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		h.Fatal(err)
	}
	return data
}
