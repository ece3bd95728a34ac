package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/host"
	"strongroom.dev/room"
	"strongroom.dev/wire"
)

// TestEvidenceTaken takes evidence from a host and from a proof; verify reads it, and it is about
// the very run.
func TestEvidenceTaken(t *testing.T) {
	ag, alpha := readStudy(t)
	b, _ := bootOf(t, "2cpus-512mib")
	other, _ := bootOf(t, "1cpu-512mib")
	other.Shown.Broker = "beta"
	info := host.Info{ID: "0a0b0c0d", State: "ended", RunID: "00", Requester: "a", Work: "a", Platform: "tpm", Started: wire.At(b.At), Files: []string{}, Agreement: ag.Digest(), Shown: []room.Shown{b.Shown, other.Shown}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/rooms") {
			json.NewEncoder(w).Encode(host.RoomList{Rooms: []host.Info{info}})
			return
		}
		json.NewEncoder(w).Encode(info)
	}))
	defer s.Close()
	dir := t.TempDir()
	proven := filepath.Join(dir, "x.proof")
	vector, err := os.ReadFile("../../spec/vectors/proof/proven.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Bundle json.RawMessage `json:"bundle"`
	}
	if err := json.Unmarshal(vector, &v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(proven, v.Bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, err: &errs, now: func() time.Time { return b.At }}
		code := a.run(append(args, "--home", filepath.Join(dir, "none")))
		return code, out.String() + errs.String()
	}
	fromRoom, fromProof := filepath.Join(dir, "room.json"), filepath.Join(dir, "proof.json")
	for _, c := range []struct {
		code int
		say  string
		args []string
	}{
		{2, "--out", []string{"room", "evidence", "0a0b0c0d", "--host", s.URL, "--broker", "alpha"}},
		{2, "alpha, beta", []string{"room", "evidence", "0a0b0c0d", "--host", s.URL, "-o", fromRoom}},
		{2, "--broker", []string{"room", "evidence", "0a0b0c0d", "--host", s.URL, "-o", fromRoom, "--broker", "gamma"}},
		{0, "of run 00: request " + b.Shown.Run.Short(), []string{"room", "evidence", "0a0b0c0d", "--host", s.URL, "-o", fromRoom, "--broker", "alpha"}},
		{0, "--insecure-allow-software\n", []string{"room", "evidence", "0a0b0c0d", "--host", s.URL, "-o", fromRoom, "--broker", "alpha", "--force"}},
		{0, `"request": "` + b.Shown.Run.String(), []string{"room", "evidence", "0a0b0c0d", "--host", s.URL, "-o", fromRoom, "--broker", "alpha", "--force", "--output", "json"}},
		{2, "room.json", []string{"room", "evidence", "0a0b0c0d", "--host", s.URL, "-o", fromRoom, "--broker", "alpha"}},
		{4, "proof.form", []string{"receipt", "evidence", fromRoom, "-o", fromProof}},
		{2, "--broker", []string{"receipt", "evidence", proven, "-o", fromProof}},
		{0, "relied on it at", []string{"receipt", "evidence", proven, "-o", fromProof, "--broker", "alpha"}},
		{0, "NOT verified", []string{"inspect", fromProof}},
		{0, "PCR 12", []string{"inspect", fromRoom}},
		{0, "freshness", []string{"verify", fromRoom, "--activator", alpha.String(), "--root", ag.Platforms[0].Root.String(), "--insecure-allow-software", "--report-data", taken(b.Shown, "00").ReportData}},
		{3, "FAIL freshness", []string{"verify", fromRoom, "--activator", alpha.String(), "--root", ag.Platforms[0].Root.String(), "--insecure-allow-software", "--report-data", taken(other.Shown, "00").ReportData}},
	} {
		if code, said := run(c.args...); code != c.code || !strings.Contains(said, c.say) {
			t.Errorf("%s: exit code %d, expected %d and %q: %s", strings.Join(c.args, " "), code, c.code, c.say, said)
		}
	}
}
