package host_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/agreement"
	"strongroom.dev/client"
	"strongroom.dev/host"
	"strongroom.dev/internal/world"
	"strongroom.dev/keys"
	"strongroom.dev/server"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// program writes a shell script that stands for a program of a room image.
func program(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLoadMeasuresWhatItExecutes changes a program's file after it was loaded.
func TestLoadMeasuresWhatItExecutes(t *testing.T) {
	dir := t.TempDir()
	agent, helper := program(t, dir, "agent", "exit 0"), program(t, dir, "helper", "exit 1")
	p, err := host.Load(agent, map[wire.ID]string{"sql": helper})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	data, err := os.ReadFile(agent)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Measurement().Agent, wire.DigestOf(data); got != want {
		t.Errorf("agent measured %s, the file is %s", got, want)
	}
	if err := os.WriteFile(agent, []byte("#!/bin/sh\nexit 9"), 0o700); err != nil {
		t.Fatal(err)
	}
	again, err := host.Load(agent, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Measurement().Agent == p.Measurement().Agent {
		t.Error("a changed program has the same measurement")
	}
	for _, fd := range sealedFiles(t) {
		if _, err := unix.Write(fd, []byte("x")); err == nil {
			t.Errorf("descriptor %d of a loaded program can be written", fd)
		}
	}
	if _, err := host.Load(filepath.Join(dir, "none"), nil); verdict.Exit(err) != int(verdict.Usage) {
		t.Errorf("a missing program: %v", err)
	}
}

// sealedFiles gives this process's descriptors of memory files made by Load.
func sealedFiles(t *testing.T) (fds []int) {
	t.Helper()
	for fd := 3; fd < 256; fd++ {
		target, err := os.Readlink("/proc/self/fd/" + itoa(fd))
		if err == nil && strings.Contains(target, "strongroom-program") {
			fds = append(fds, fd)
		}
	}
	if len(fds) == 0 {
		t.Fatal("no sealed copies found")
	}
	return fds
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// image is a room image whose agent never speaks.
func image(t *testing.T, text string) *host.Programs {
	t.Helper()
	p, err := host.Load(program(t, t.TempDir(), "agent", text), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// worldOf is a real world whose rooms run a given image.
func worldOf(t *testing.T, p *host.Programs) *world.World {
	t.Helper()
	w, err := world.New(t.Context(), world.Config{Dir: t.TempDir(), Image: p.Measurement(), MinGroup: 10, MaxRows: 10, MaxBytes: 4096, LeaseMS: 3000,
		Owners: []world.Owner{{ID: "alpha", Plain: strings.NewReader("patient,ward\n1,a\n"), Format: agreement.CSV}},
		Schema: []agreement.Column{{Name: "patient", Type: "integer", Unit: true}, {Name: "ward", Type: "text"}},
		Work: []agreement.Work{{Name: "counts", Kind: "sql", Description: "counts", Query: "SELECT ward, count(*) AS n FROM rows GROUP BY ward",
			Parameters: []agreement.Parameter{}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// TestRoomThatFails: whatever an agent does instead of its work, the host says so and leaves
// no process behind.
func TestRoomThatFails(t *testing.T) {
	root, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"exits": "exit 0", "fails": "exit 7", "talks rubbish": "echo rubbish >&3; exit 0", "hangs": "exec 3>&- 4>&-; sleep 60"} {
		t.Run(name, func(t *testing.T) {
			p := image(t, text)
			w := worldOf(t, p)
			job, _, err := w.Job("counts", map[string]string{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := host.Start(t.Context(), host.Config{Programs: p, Root: root, Dir: t.TempDir()}, "room", job)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err = r.Wait(ctx)
			if verdict.Exit(err) != int(verdict.Broken) || ctx.Err() != nil {
				t.Errorf("ended with %v", err)
			}
			if _, ended := r.Events(t.Context(), 0); !ended {
				t.Error("the room ended and its events did not")
			}
		})
	}
}

func TestStopKills(t *testing.T) {
	root, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(t.TempDir(), "pid")
	p := image(t, "echo $$ > "+pidFile+"; sleep 60")
	w := worldOf(t, p)
	job, _, err := w.Job("counts", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := host.Start(t.Context(), host.Config{Programs: p, Root: root, Dir: t.TempDir()}, "room", job)
	if err != nil {
		t.Fatal(err)
	}
	var pid []byte
	for range 100 {
		if pid, _ = os.ReadFile(pidFile); len(pid) > 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.Stop()
	if err := r.Wait(t.Context()); verdict.As(err).Check != "room.stopped" {
		t.Errorf("stopped room ended with %v", err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); err == nil {
		t.Errorf("process %s is still there", pid)
	}
}

func TestStartRefuses(t *testing.T) {
	if _, err := host.Start(t.Context(), host.Config{}, "room", host.Job{}); verdict.As(err).Check != "host.config" {
		t.Errorf("the zero Config: %v", err)
	}
	root, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	c := host.Config{Programs: image(t, "exit 0"), Root: root, Dir: t.TempDir()}
	if _, err := host.Start(t.Context(), c, "room", host.Job{Agreement: []byte("{}")}); verdict.As(err).Check != "agreement.form" {
		t.Errorf("no agreement: %v", err)
	}
}

// TestServing speaks to a served host the way a requester does.
func TestServing(t *testing.T) {
	root, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	p := image(t, "sleep 60")
	w := worldOf(t, p)
	job, run, err := w.Job("counts", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := host.NewManager(host.Config{Programs: p, Root: root, Dir: t.TempDir()}, dataDir(t, job), 1, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	web := httptest.NewServer(server.Host(t.Context(), m, nil))
	defer web.Close()
	h := client.Host{URL: web.URL, HTTP: &http.Client{}}

	if _, err := h.Start(t.Context(), spoiled(job)); verdict.As(err).Check != "run.signatures" {
		t.Errorf("a request that was changed: %v", err)
	}
	info, err := h.Start(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	if info.RunID != run.RunID || info.State != "running" {
		t.Errorf("started %+v", info)
	}
	if _, err := h.Start(t.Context(), job); verdict.As(err).Check != "host.rooms" {
		t.Errorf("a second room on a host for one: %v", err)
	}
	if list, err := h.Rooms(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("%d rooms, %v", len(list), err)
	}
	if sealed, err := h.Datasets(t.Context()); err != nil || len(sealed) != 1 {
		t.Errorf("%d datasets, %v", len(sealed), err)
	}
	if info, err = h.Stop(t.Context(), info.ID); err != nil || info.State != "stopped" || info.Error == "" {
		t.Errorf("stopped %+v, %v", info, err)
	}
	for _, bad := range []string{"none", "../" + info.ID, ""} {
		if _, err := h.Room(t.Context(), bad); err == nil && bad != "" {
			t.Errorf("room %q was found", bad)
		}
	}
	if err := h.Fetch(t.Context(), info.ID, "../../etc/passwd", new(strings.Builder)); verdict.Exit(err) != int(verdict.Usage) {
		t.Errorf("a file outside the room: %v", err)
	}
}

// A host that was restarted serves what finished rooms let out, and says which are lost.
func TestRestart(t *testing.T) {
	root, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	p := image(t, "sleep 60")
	w := worldOf(t, p)
	job, run, err := w.Job("counts", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	c := host.Config{Programs: p, Root: root, Dir: t.TempDir()}
	data := dataDir(t, job)
	again := func() *host.Manager {
		t.Helper()
		m, err := host.NewManager(c, data, 4, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := again()
	defer m.Close()
	var rooms []host.Info
	for range 3 {
		info, err := m.Start(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		rooms = append(rooms, info)
	}
	// A manager that knows nothing of the first one is a host that was killed and started.
	for _, name := range []string{"figures-lab-1.age", "figures-lab-1.proof"} {
		if err := os.WriteFile(filepath.Join(c.Dir, rooms[0].ID, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stopped, _, err := m.Get(rooms[1].ID)
	if err != nil {
		t.Fatal(err)
	}
	stopped.Stop()
	web := httptest.NewServer(server.Host(t.Context(), again(), nil))
	defer web.Close()
	h := client.Host{URL: web.URL, HTTP: &http.Client{}}
	deadline := time.Now().Add(10 * time.Second)
	for i, state := range []string{"done", "stopped", "lost"} {
		info, err := h.Room(t.Context(), rooms[i].ID)
		for state == "stopped" && info.State == "lost" && time.Now().Before(deadline) { // its end was not yet recorded
			time.Sleep(20 * time.Millisecond)
			web.Config.Handler = server.Host(t.Context(), again(), nil)
			info, err = h.Room(t.Context(), rooms[i].ID)
		}
		if err != nil || info.State != state || info.RunID != run.RunID || (info.Error == "") != (state == "done") {
			t.Errorf("%s: %+v, %v", state, info, err)
		}
		if events, ended, err := h.Events(t.Context(), rooms[i].ID, 0); err != nil || !ended || len(events) == 0 {
			t.Errorf("%s: %d events, ended %v, %v", state, len(events), ended, err)
		}
	}
	var got strings.Builder
	if err := h.Fetch(t.Context(), rooms[0].ID, "figures-lab-1.age", &got); err != nil || got.String() != "figures-lab-1.age" {
		t.Errorf("%q, %v", got.String(), err)
	}
	if err := h.Fetch(t.Context(), rooms[0].ID, "room.json", &got); verdict.As(err).Check != "room.file" {
		t.Errorf("the record is served: %v", err)
	}
}

// A statement whose sealed file is not there is refused without a path, and starts nothing.
func TestMissingSealedFile(t *testing.T) {
	root, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	p := image(t, "exit 0")
	job, _, err := worldOf(t, p).Job("counts", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	c := host.Config{Programs: p, Root: root, Dir: t.TempDir()}
	data := dataDir(t, job)
	if err := os.Remove(filepath.Join(data, string(job.Inputs[0].Name)+".age")); err != nil {
		t.Fatal(err)
	}
	m, err := host.NewManager(c, data, 1, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Start(t.Context(), job)
	if e := verdict.As(err); e.Check != "host.data" || e.Kind != verdict.Refused || strings.Contains(err.Error(), data) {
		t.Errorf("from a data directory: %v", err)
	}
	job.Inputs[0].Path = filepath.Join(data, "gone.age")
	_, err = host.Start(t.Context(), c, "room", job)
	if e := verdict.As(err); e.Check != "host.data" || e.Kind != verdict.Refused || strings.Contains(err.Error(), data) {
		t.Errorf("at the launch: %v", err)
	}
	if list, err := os.ReadDir(c.Dir); err != nil || len(list) != 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

// Strangers who sign an agreement among themselves start nothing on a host, even if they name
// the statements it shows to anyone; nor does anybody for an agreement that it does not serve.
func TestStrangersStartNothing(t *testing.T) {
	p := image(t, "sleep 60")
	theirs, _, err := worldOf(t, p).Job("counts", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	w := worldOf(t, p)
	job, run, err := w.Job("counts", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	root, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	manager := func(data string, agreements ...wire.Digest) *host.Manager {
		m, err := host.NewManager(host.Config{Programs: p, Root: root, Dir: t.TempDir(), Agreements: agreements}, data, 1, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		return m
	}
	if _, err := manager(dataDir(t, theirs)).Start(t.Context(), job); verdict.As(err).Check != "host.data" {
		t.Errorf("over files the host does not hold: %v", err)
	}
	if _, err := manager(dataDir(t, job), wire.DigestOf([]byte("another"))).Start(t.Context(), job); verdict.As(err).Check != "host.agreement" {
		t.Errorf("an agreement that is not served: %v", err)
	}
	if _, err := manager(dataDir(t, forged(t, job)), run.Agreement).Start(t.Context(), job); verdict.As(err).Check != "dataset.signatures" {
		t.Errorf("a statement not signed by the owner: %v", err)
	}
	unsuited, err := host.NewManager(host.Config{Programs: p, Root: root, Dir: t.TempDir(), Suits: func(a agreement.Agreement) error {
		return verdict.Refuse("host.root", "another root", string(a.ID), "")
	}}, dataDir(t, job), 1, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer unsuited.Close()
	if _, err := unsuited.Start(t.Context(), job); verdict.As(err).Check != "host.root" || len(unsuited.All()) != 0 {
		t.Errorf("an agreement that the host's rooms do not suit: %v", err)
	}
	if _, err := manager(dataDir(t, job), run.Agreement).Start(t.Context(), job); err != nil {
		t.Errorf("an agreement that is served: %v", err)
	}
}

// forged is a job with statements that are signed by nobody.
func forged(t *testing.T, job host.Job) host.Job {
	t.Helper()
	inputs := slices.Clone(job.Inputs)
	for i, in := range inputs {
		d, err := agreement.ParseDataset(in.Statement)
		if err != nil {
			t.Fatal(err)
		}
		d.Document.Signatures = []keys.Signature{}
		if inputs[i].Statement, err = d.Document.Encode(); err != nil {
			t.Fatal(err)
		}
	}
	job.Inputs = inputs
	return job
}

// spoiled is a job whose request somebody changed.
func spoiled(job host.Job) host.Job {
	job.Run = []byte(strings.Replace(string(job.Run), `"work":"counts"`, `"work":"counts","x":1`, 1))
	job.Run = []byte(strings.Replace(string(job.Run), `,"x":1`, ``, 1))
	job.Run = []byte(strings.Replace(string(job.Run), `"parameters":{}`, `"parameters":{"a":"1"}`, 1))
	return job
}

// dataDir puts a job's inputs where a manager finds them.
func dataDir(t *testing.T, job host.Job) string {
	t.Helper()
	dir := t.TempDir()
	for _, in := range job.Inputs {
		if err := os.Symlink(in.Path, filepath.Join(dir, string(in.Name)+".age")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, string(in.Name)+".statement.json"), in.Statement, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What is no statement is passed over.
	if err := os.WriteFile(filepath.Join(dir, "rubbish.statement.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestManagerRefuses(t *testing.T) {
	if _, err := host.NewManager(host.Config{}, "", 1, time.Now); verdict.As(err).Check != "host.config" {
		t.Errorf("no data directory: %v", err)
	}
	if _, err := host.NewManager(host.Config{}, filepath.Join(t.TempDir(), "none"), 1, time.Now); verdict.As(err).Check != "host.data" {
		t.Errorf("a missing data directory: %v", err)
	}
	if runtime.GOOS != "linux" {
		t.Error("these tests are for Linux")
	}
}
