package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/internal/home"
	"strongroom.dev/verdict"
)

// What kept the program from the end of a run says how to go on; a room's own reason stays.
func TestUnseen(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, c := range map[string]struct {
		ctx        context.Context
		err        error
		check, fix string
		kind       verdict.Kind
	}{
		"interrupted": {stopped, errors.New("canceled"), "run.interrupted", "later", verdict.Broken},
		"no network":  {t.Context(), &verdict.Error{Kind: verdict.Broken, Check: "reachable", Fix: "start it"}, "reachable", "later", verdict.Broken},
		"full disk":   {t.Context(), errors.New("no space left"), "internal", "later", verdict.Broken},
		"forgotten":   {t.Context(), verdict.Misuse("room.id", "a room", "none", "list them"), "room.lost", "the run is spent: sign a new request", verdict.Broken},
		"refused":     {t.Context(), verdict.Refuse("run.once", "the first", "another", "sign anew"), "run.once", "sign anew", verdict.Refused},
		"forged":      {t.Context(), verdict.NotGenuine("result.run", "this", "that", "ask another host"), "result.run", "ask another host", verdict.Invalid},
	} {
		if e := verdict.As(unseen(c.ctx, c.err, "x\x1b[2J", "later")); e.Check != c.check || e.Fix != c.fix || e.Kind != c.kind || strings.Contains(e.Error(), "\x1b") {
			t.Errorf("%s: kind %d, %v", name, e.Kind, e)
		}
	}
}

// Printed commands can be pasted into a shell, and reach the same home, host and place.
func TestFetchLater(t *testing.T) {
	a := &app{homeDir: "my lab"}
	want := "strongroom --home 'my lab' room fetch 1 --host http://h:1 --out 'my results'"
	if got := a.fetchLater("http://h:1", "1", "my results"); !strings.HasSuffix(got, want) {
		t.Errorf("%s", got)
	}
}

// A service has no result: who is interrupted hears what became of its container and volumes.
func TestServeLater(t *testing.T) {
	a := &app{homeDir: "my lab"}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	here := unseen(stopped, errors.New("canceled"), "r", a.serveLater("", "1")).Error()
	for _, want := range []string{"run.interrupted", "its volumes were not closed", "one Ctrl-C asks a container to end"} {
		if !strings.Contains(here, want) || strings.Contains(here, "result") {
			t.Errorf("%q is not in %s", want, here)
		}
	}
	there := a.serveLater("http://h:1", "1")
	if strings.Contains(there, "result") || !strings.Contains(there, "strongroom --home 'my lab' room status 1 --host http://h:1") || !strings.Contains(there, "room stop 1 --host http://h:1") {
		t.Error(there)
	}
}

// Who forgets --host is told so, before anything else that is then wrong.
func TestForgottenHost(t *testing.T) {
	h, err := home.Create(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	var ag agreement.Agreement
	r := &running{host: "dev"}
	if err := r.forgotHost(h, ag); verdict.As(err).Check != "--host" || !strings.Contains(err.Error(), "has no development root") {
		t.Errorf("no root: %v", err)
	}
	root, err := h.DevRoot(true)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.forgotHost(h, ag); verdict.As(err).Check != "--host" {
		t.Errorf("another root: %v", err)
	}
	id := root.Public().ID()
	ag.Platforms = []agreement.Platform{{}, {Root: &id}}
	if err := r.forgotHost(h, ag); err != nil {
		t.Errorf("the agreement's root: %v", err)
	}
	for _, named := range []*running{{host: "dev", hostNamed: true}, {host: "http://h:1", hostNamed: true}} {
		if err := named.forgotHost(h, agreement.Agreement{}); err != nil {
			t.Errorf("%+v: %v", named, err)
		}
	}
}

func TestRoomOf(t *testing.T) {
	rooms := []host.Info{{ID: "a", RunID: "1", State: "stopped"}, {ID: "b", RunID: "1", State: "done"}, {ID: "c", RunID: "1", State: "stopped"}, {ID: "d", RunID: "2", State: "running"}}
	for name, want := range map[string]string{"1": "b", "2": "d", "c": "c"} {
		if r, err := roomOf(rooms, name); err != nil || r.ID != want {
			t.Errorf("%s: %s, %v", name, r.ID, err)
		}
	}
	if _, err := roomOf(rooms, "3"); verdict.As(err).Kind != verdict.Usage {
		t.Errorf("none: %v", err)
	}
	// A host that names a room as the run that is asked for is called gets no other run shown.
	const run = "000102030405060708090a0b0c0d0e0f"
	if r, err := roomOf([]host.Info{{ID: run, RunID: "1", State: "done"}}, run); err == nil {
		t.Errorf("run %s for %s", r.RunID, run)
	}
}

// A host's run id becomes a file's name.
func TestRunIDsFromHosts(t *testing.T) {
	ag := agreement.Agreement{Work: []agreement.Work{{Name: "counts", Output: "figures"}}, Outputs: []agreement.Output{{Name: "figures", Receivers: nil}}}
	const good = "000102030405060708090a0b0c0d0e0f"
	if _, err := offeredNames(ag, host.Info{Work: "counts", RunID: good}); err != nil {
		t.Error(err)
	}
	for _, i := range []host.Info{{Work: "counts", RunID: "../../../../home/x/.ssh/"}, {Work: "counts"}, {Work: "other", RunID: good}, {Work: "counts", RunID: good[:30]}} {
		if _, err := offeredNames(ag, i); verdict.As(err).Kind != verdict.Invalid {
			t.Errorf("%+v: %v", i, err)
		}
	}
}

func TestPlaceForLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for out, usage := range map[string]bool{filepath.Join(dir, "a", "b"): false, dir: false, file: true, filepath.Join(file, "x"): true} {
		if err := placeFor(out, []string{"n"}, 0); (err != nil) != usage || usage && verdict.Exit(err) != 2 {
			t.Errorf("%s: %v", out, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestRunFlags(t *testing.T) {
	none := func(string) bool { return false }
	for _, r := range []running{{work: "w"}, {work: "w", expires: -time.Hour}, {work: "w", expires: 25 * time.Hour}, {expires: time.Hour}} {
		r.host = "dev"
		if err := r.check(none); verdict.Exit(err) != 2 {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if err := (&running{work: "w", expires: time.Hour, host: "dev"}).check(none); err != nil {
		t.Error(err)
	}
}

// TestOutFull says of a result that can't be written where it was to go, and where it still is.
func TestOutFull(t *testing.T) {
	dir := t.TempDir()
	if err := placeFor(dir, []string{"n"}, 1<<62); verdict.As(err).Check != "--out" || verdict.As(err).Where != dir {
		t.Errorf("no room for the result: %v", err)
	}
	full := &bounded{w: brokenDisk{}, left: 100}
	if _, err := full.Write([]byte("x")); err == nil || !errors.Is(full.failed, syscall.ENOSPC) {
		t.Errorf("a full disk: %v, remembered %v", err, full.failed)
	}
	err := unseen(t.Context(), outError(dir, full.failed), "room", "fetch it later")
	if e := verdict.As(err); e.Kind != verdict.Broken || e.Check != "--out" || e.Fix != "fetch it later" || !strings.Contains(e.Got, "no space") {
		t.Errorf("%+v", e)
	}
	local := &localSite{app: &app{}}
	if got := local.keep(err); got != err {
		t.Errorf("without a room: %v", got)
	}
}

type brokenDisk struct{}

func (brokenDisk) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: "p", Err: syscall.ENOSPC}
}
