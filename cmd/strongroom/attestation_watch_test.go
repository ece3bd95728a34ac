package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest/dev"
	"strongroom.dev/keys"
	"strongroom.dev/watch"
	"strongroom.dev/wire"
)

// TestWatchFleet watches one room of the insecure development platform, whose code changes.
func TestWatchFleet(t *testing.T) {
	root, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	agent := wire.DigestOf([]byte("agent"))
	room := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nonce, err := hex.DecodeString(r.URL.Query().Get("nonce"))
		if err != nil || len(nonce) != 32 {
			t.Errorf("nonce %q", r.URL.Query().Get("nonce"))
		}
		var reportData [64]byte
		copy(reportData[:], nonce)
		e, err := dev.Sign(root, dev.Measurement{Agent: agent}, wire.DigestOf([]byte("init")), reportData)
		if err != nil {
			t.Error(err)
		}
		data, err := json.Marshal(e)
		if err != nil {
			t.Error(err)
		}
		w.Write(data)
	}))
	defer room.Close()
	t.Chdir(t.TempDir())
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("p.yaml", "id: p\nversion: 1\nplatforms:\n  dev:\n    roots: [\""+root.Public().ID().String()+"\"]\n    measurements: {agent: ["+hex.EncodeToString(agent[:])+"]}\n")
	write("fleet.yaml", "every_seconds: 60\ntargets:\n- name: vault\n  url: "+room.URL+"/?nonce={nonce}\n  policy: p.yaml\n")
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	call := func(code int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		a := &app{in: bytes.NewReader(nil), out: &out, err: &errs, now: func() time.Time { return now }}
		if got := a.run(append([]string{"attestation"}, args...)); got != code {
			t.Fatalf("%v: exit code %d, expected %d: %s%s", args, got, code, out.String(), errs.String())
		}
		return out.String() + errs.String()
	}
	call(2, "fleet", "--dir", "w")
	call(2, "watch", "--dir", "w", "--fleet", "p.yaml")
	call(2, "watch", "--dir", "w", "--fleet", "fleet.yaml", "--endorsements", "nowhere")
	if _, err := os.Stat("w"); err == nil {
		t.Error("wrong calls made the directory")
	}
	once := []string{"watch", "--dir", "w", "--fleet", "fleet.yaml", "--once"}
	if text := call(0, once...); !strings.Contains(text, "vault") || !strings.Contains(text, "warned") {
		t.Error(text)
	}
	call(0, "fleet", "--dir", "w")
	agent = wire.DigestOf([]byte("another agent"))
	if text := call(3, once...); !strings.Contains(text, "policy.measurement.agent") {
		t.Error(text)
	}
	now = now.Add(time.Hour)
	var shown struct {
		Stale   bool
		Targets []shownTarget
	}
	text := call(3, "fleet", "--dir", "w", "--output", "json")
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&shown); err != nil || !shown.Stale || shown.Targets[0].Standing != watch.Unknown || shown.Targets[0].LastGood.IsZero() || len(shown.Targets[0].Changes) != 2 {
		t.Errorf("%v: %s", err, text)
	}

	// What rooms were judged by is remembered, and older bundles are refused at once.
	key := bundleOf(t, "old", "packer", now.Add(-2*time.Hour))
	bundleOf(t, "new", "packer", now.Add(-time.Hour))
	with := func(bundle string) []string {
		return append(once, "--endorsements-key", key, "--endorsements", bundle)
	}
	t.Setenv("STRONGROOM_HOME", "home")
	if text := call(3, with("old")...); strings.Count(text, "nothing is remembered") != 1 {
		t.Errorf("without a home: %s", text)
	}
	if err := os.Mkdir("home", 0o700); err != nil {
		t.Fatal(err)
	}
	if text := call(3, with("new")...); strings.Contains(text, "endorsements") {
		t.Error(text)
	}
	if text := call(3, with("old")...); !strings.Contains(text, "endorsements.rollback: ") {
		t.Error(text)
	}
}
