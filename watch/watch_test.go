package watch_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/verdict"
	"strongroom.dev/watch"
	"strongroom.dev/wire"
)

// world is a fleet of two rooms, a webhook, and a watcher.
type world struct {
	t      *testing.T
	fleet  watch.Fleet
	rooms  *httptest.Server
	path   string
	now    time.Time
	nonces int

	mu      sync.Mutex
	says    map[string]string // by room: its evidence; "" answers 500
	hook    *httptest.Server
	deaf    bool
	heard   []string
	beats   int
	watcher *watch.Watcher
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), says: map[string]string{"a": "good m1 c1", "b": "good m2 c1"}, path: filepath.Join(t.TempDir(), "watch.json")}
	w.rooms = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		text := w.says[strings.TrimPrefix(r.URL.Path, "/")]
		switch {
		case text == "":
			rw.WriteHeader(500)
		case strings.HasPrefix(text, "elsewhere"):
			http.Redirect(rw, r, "/a?n="+r.URL.Query().Get("n"), http.StatusFound)
		case strings.HasPrefix(text, "old "):
			io.WriteString(rw, "good m1 c1 "+strings.Repeat("00", 32))
		default:
			io.WriteString(rw, text+" "+r.URL.Query().Get("n"))
		}
	}))
	w.hook = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if r.URL.Path == "/beat" {
			w.beats++
			return
		}
		if w.deaf {
			rw.WriteHeader(503)
			return
		}
		var c watch.Change
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
			t.Error(err)
		}
		w.heard = append(w.heard, string(c.Target)+": "+string(c.Was)+" -> "+string(c.Is)+" "+c.Says)
	}))
	t.Cleanup(w.rooms.Close)
	t.Cleanup(w.hook.Close)
	w.fleet = watch.Fleet{EverySeconds: 60, Targets: []watch.Target{{Name: "a", URL: w.rooms.URL + "/a?n={nonce}"}, {Name: "b", URL: w.rooms.URL + "/b?n={nonce}"}}}
	w.restart()
	return w
}

// judge reads "good MACHINE CODE NONCE" and "bad ...".
func judge(_ watch.Target, evidence, nonce []byte, now time.Time) appraise.Result {
	f := strings.Fields(string(evidence))
	r := appraise.Result{Verdict: attest.Contraindicated, At: wire.At(now), Checks: []verdict.Check{{ID: "tcb", Expected: "up to date", Got: "old"}}}
	if len(f) == 4 && f[0] == "good" && f[3] == hex.EncodeToString(nonce) {
		r.Verdict, r.Machine, r.Measurements, r.Checks = attest.Affirming, f[1], map[string]string{"code": f[2]}, nil
	}
	return r
}

func (w *world) restart() {
	w.t.Helper()
	var err error
	w.watcher, err = watch.New(watch.Config{
		Fleet: w.fleet, Path: w.path, Judge: judge, Webhook: w.hook.URL, Heartbeat: w.hook.URL + "/beat",
		Nonce: func() [32]byte { w.mu.Lock(); defer w.mu.Unlock(); w.nonces++; return [32]byte{byte(w.nonces), 1} }, Now: func() time.Time { return w.now },
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// round makes a round and gives what the webhook heard.
func (w *world) round(change func()) string {
	w.t.Helper()
	w.mu.Lock()
	w.heard = nil
	if change != nil {
		change()
	}
	w.mu.Unlock()
	w.now = w.now.Add(time.Minute)
	if err := w.watcher.Round(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.heard, "\n")
}

func TestRounds(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name   string
		change func()
		want   string
	}{
		{"first", nil, ""},
		{"nothing changed", nil, ""},
		{"outdated", func() { w.says["a"] = "bad m1 c1" }, "a: good -> bad tcb: expected up to date, got old"},
		{"still outdated", nil, ""},
		{"mended", func() { w.says["a"] = "good m1 c1" }, "a: bad -> good "},
		{"gone", func() { w.says["b"] = "" }, "b: good -> unreachable status 500"},
		{"back on another machine", func() { w.says["b"] = "good m3 c1" }, "b: unreachable -> good another machine answers: m3"},
		{"other code", func() { w.says["b"] = "good m3 c2" }, "b: good -> good other code is measured: "},
		{"old evidence", func() { w.says["a"] = "old " }, "a: good -> bad tcb"},
		{"sent elsewhere", func() { w.says["a"], w.says["b"] = "good m1 c1", "elsewhere" }, "a: bad -> good \nb: good -> unreachable status 302"},
	} {
		if got := w.round(c.change); !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%s: %q, expected %q", c.name, got, c.want)
		}
	}
	if w.beats != 10 || w.nonces != 20 {
		t.Errorf("%d heartbeats, %d nonces", w.beats, w.nonces)
	}
	s := w.watcher.State()
	if got := s.Targets["b"]; got.LastGood.IsZero() || got.LastGood == got.At {
		t.Errorf("last good %v", got.LastGood)
	}
	if n := len(s.History["b"]); n != 5 {
		t.Errorf("%d changes in the history", n)
	}
}

// TestNoChangeIsLost: the webhook is down, the watcher is started again; the change is told.
func TestNoChangeIsLost(t *testing.T) {
	w := newWorld(t)
	w.round(nil)
	if got := w.round(func() { w.says["a"], w.deaf = "bad m1 c1", true }); got != "" {
		t.Fatal(got)
	}
	w.restart()
	if got := w.round(func() { w.deaf = false }); !strings.HasPrefix(got, "a: good -> bad") {
		t.Errorf("heard %q", got)
	}
	w.restart()
	if got := w.round(nil); got != "" {
		t.Errorf("told twice: %q", got)
	}
}

// TestStoppedWatcher: who stops watching no longer vouches for anybody.
func TestStoppedWatcher(t *testing.T) {
	w := newWorld(t)
	w.round(nil)
	s, err := watch.Load(w.path)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Now("a", w.now.Add(2*time.Minute)); got.Standing != watch.Good {
		t.Errorf("%+v", got)
	}
	if got := s.Now("a", w.now.Add(3*time.Minute)); got.Standing != watch.Unknown || got.LastGood.IsZero() {
		t.Errorf("%+v", got)
	}
	if got := s.Now("nobody", w.now); got.Standing != watch.Unknown {
		t.Errorf("%+v", got)
	}
	if !(watch.State{}).Stale(w.now) {
		t.Error("a new state is not stale")
	}
}

// TestInterruptedRound changes nothing.
func TestInterruptedRound(t *testing.T) {
	w := newWorld(t)
	w.round(nil)
	before, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := w.watcher.Round(ctx); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(w.path); err != nil || !bytes.Equal(before, after) {
		t.Error("the state changed", err)
	}
}

func TestTargetRemoved(t *testing.T) {
	w := newWorld(t)
	w.round(nil)
	w.fleet.Targets = w.fleet.Targets[:1]
	w.restart()
	if s := w.watcher.State(); len(s.Targets) != 1 {
		t.Errorf("%v", s.Targets)
	}
}

func TestDamagedState(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile(w.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := watch.Load(w.path)
	if e := verdict.As(err); e.Check != "watch.state" || e.Where != w.path {
		t.Error(err)
	}
}

func TestParseFleet(t *testing.T) {
	const good = "every_seconds: 600\ntargets:\n- name: a\n  url: https://a.example/evidence?nonce={nonce}\n  policy: p.yaml\n"
	f, err := watch.ParseFleet("f.yaml", []byte(good))
	if err != nil || f.Every() != 10*time.Minute || f.Targets[0].Policy != "p.yaml" {
		t.Errorf("%+v, %v", f, err)
	}
	for text, want := range map[string]string{
		"":                                       "an empty file",
		"every_seconds: 600":                     "1 to 4096 targets",
		strings.Replace(good, "600", "9", 1):     "10 to 86400",
		strings.Replace(good, "{nonce}", "1", 1): "with {nonce} in it",
		strings.Replace(good, "https:", "file:", 1):       "with {nonce} in it",
		strings.Replace(good, "name: a", "name: \"\"", 1): "a name of",
		good + "- name: a\n  url: https://b/{nonce}\n":    "a name of its own",
		good + "  secret: x\n":                            "one of the members",
	} {
		_, err := watch.ParseFleet("f.yaml", []byte(text))
		if e := verdict.As(err); err == nil || e.Kind != verdict.Usage || e.Check != "watch.fleet" || !strings.Contains(err.Error(), want) || !strings.HasPrefix(e.Where, "f.yaml:") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseFleet(f *testing.F) {
	f.Add([]byte("every_seconds: 600\ntargets: [{name: a, url: 'http://a/{nonce}'}]"))
	f.Fuzz(func(_ *testing.T, data []byte) { watch.ParseFleet("f", data) })
}
