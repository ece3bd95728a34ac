package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/internal/world"
	"strongroom.dev/release"
	"strongroom.dev/room"
	"strongroom.dev/sandbox"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// programs builds the agent and takes the SQL engine from bin/, where `make build` puts it.
var programs = sync.OnceValues(func() (agent string, err error) {
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "strongroom-agent")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return path, nil
})

const sqlEngine = "../../bin/strongroom-sql"

func TestMain(m *testing.M) {
	flagParsed := m.Run()
	if path, err := programs(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(flagParsed)
}

// image loads agent and engine, or skips the test.
func image(t *testing.T) *host.Programs {
	t.Helper()
	if _, err := os.Stat(sqlEngine); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("bin/strongroom-sql is missing: make build")
		}
		t.Skip("bin/strongroom-sql is missing: make build")
	}
	agent, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Load(agent, map[wire.ID]string{"strongroom-sql": sqlEngine})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// patients gives n rows; the diagnosis of every third is m.
func patients(from, n int) string {
	var b strings.Builder
	b.WriteString("patient,diagnosis,radius\n")
	for i := from; i < from+n; i++ {
		diagnosis := "b"
		if i%3 == 0 {
			diagnosis = "m"
		}
		b.WriteString(fmt.Sprintf("%d,%s,%d.250\n", i, diagnosis, i%20))
	}
	return b.String()
}

func newWorld(t *testing.T, p *host.Programs, change func(*world.Config)) *world.World {
	t.Helper()
	c := world.Config{Dir: t.TempDir(), Image: p.Measurement(), MinGroup: 10, MaxRows: 100, MaxBytes: 10_000, LeaseMS: 3000,
		Owners: []world.Owner{
			{ID: "alpha", Plain: strings.NewReader(patients(1, 200)), Format: agreement.CSV},
			{ID: "beta", Plain: strings.NewReader(patients(1000, 100)), Format: agreement.CSV},
		},
		Schema: []agreement.Column{{Name: "patient", Type: "integer", Unit: true}, {Name: "diagnosis", Type: "text"}, {Name: "radius", Type: "decimal", Scale: 3}},
		Work: []agreement.Work{{Name: "counts", Kind: "sql", Description: "patients by diagnosis", Query: "SELECT diagnosis, count(*) AS n, avg(radius) AS mean FROM rows WHERE radius >= $least GROUP BY diagnosis",
			Parameters: []agreement.Parameter{{Name: "least", Type: "integer", Min: "0", Max: "19", Values: []string{}}}}}}
	if change != nil {
		change(&c)
	}
	w, err := world.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// start starts a room for one run.
func start(t *testing.T, w *world.World, p *host.Programs, id string) (*host.Room, *agreement.SignedRun) {
	t.Helper()
	job, run, err := w.Job("counts", map[string]string{"least": "0"})
	if err != nil {
		t.Fatal(err)
	}
	c := w.Host
	c.Programs, c.Log = p, os.Stderr
	r, err := host.Start(t.Context(), c, id, job)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	return r, run
}

// TestRoom runs the whole of it: the agent in its sandbox, DuckDB in a tighter one, brokers
// and a ledger over HTTP, and a result that its proof holds for.
func TestRoom(t *testing.T) {
	p := image(t)
	w := newWorld(t, p, nil)
	began := time.Now()
	r, run := start(t, w, p, "one")
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("cold start to result: %v", time.Since(began))
	head, body, err := w.Open(r.Dir(), run)
	if err != nil {
		t.Fatal(err)
	}
	if head.Status != room.OK || !strings.HasPrefix(body, "diagnosis,n,mean\n") || strings.Count(body, "\n") != 3 {
		detail, err := w.Detail("alpha")
		t.Errorf("%v\n%s\n%+v %v", head, body, detail, err)
	}
	// Another room, the same image: nothing of the first is left over.
	second, run := start(t, w, p, "two")
	if err := second.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, again, err := w.Open(second.Dir(), run); err != nil || again != body {
		t.Errorf("%q, %v", again, err)
	}
}

// TestQueryOutsideTheRules is explained in full, and asks no broker.
func TestQueryOutsideTheRules(t *testing.T) {
	p := image(t)
	w := newWorld(t, p, func(c *world.Config) {
		c.Work[0].Query = "SELECT count(*) AS n FROM rows, read_csv('/etc/passwd') WHERE radius >= $least"
	})
	r, _ := start(t, w, p, "one")
	err := r.Wait(t.Context())
	if e := verdict.As(err); e.Kind != verdict.Refused || !strings.HasPrefix(e.Check, "sql.") {
		t.Errorf("got %v", err)
	}
	for id, b := range w.Brokers {
		if s, err := b.Status(t.Context()); err != nil || s.SinceStart.Challenges != 0 {
			t.Errorf("%s was asked: %+v, %v", id, s.SinceStart, err)
		}
	}
}

// TestStopLeavesNothing kills a room and looks for what is left of it.
func TestStopLeavesNothing(t *testing.T) {
	p := image(t)
	w := newWorld(t, p, nil)
	c := w.Host
	c.Programs = p
	hold := make(chan bool)
	c.Relay = func(ctx context.Context, _, _ string, body []byte, next host.Next) (int, []byte) {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return next(body)
	}
	job, _, err := w.Job("counts", map[string]string{"least": "0"})
	if err != nil {
		t.Fatal(err)
	}
	before := children(t)
	r, err := host.Start(t.Context(), c, "one", job)
	if err != nil {
		t.Fatal(err)
	}
	for events, from := []room.Event(nil), 0; ; from += len(events) {
		if events, _ = r.Events(t.Context(), from); len(events) == 0 || events[len(events)-1].Step == room.Verified {
			break
		}
	}
	if len(children(t)) <= len(before) {
		t.Fatal("no process of the room is seen: this test sees nothing")
	}
	r.Stop()
	deadline := time.Now().Add(5 * time.Second)
	for len(children(t)) > len(before) {
		if time.Now().After(deadline) {
			t.Fatalf("left over: %v", children(t))
		}
		time.Sleep(20 * time.Millisecond)
	}
	if len(r.Files()) != 0 {
		t.Errorf("files: %v", r.Files())
	}
}

// children lists the processes whose name is the agent's or the engine's.
func children(t *testing.T) (list []string) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, _ := os.ReadFile(name)
		if bytes.HasPrefix(data, []byte("strongroom-agent\x00")) || bytes.HasPrefix(data, []byte("strongroom-sql\x00")) {
			list = append(list, filepath.Base(filepath.Dir(name)))
		}
	}
	return list
}

// TestAgentByHand: started by hand, the agent says what it wants instead of hanging.
func TestAgentByHand(t *testing.T) {
	agent, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(agent)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != int(verdict.Usage) || !strings.Contains(string(out), "descriptors 3 and 4") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := exec.Command(agent, "--version").Output(); err != nil || len(bytes.TrimSpace(out)) == 0 {
		t.Errorf("version: %q, %v", out, err)
	}
}

// elsewhere makes a copy of the tests, the agent and the engine that nobody else's rights are
// needed to use, and gives a command that runs TestPrebuilt there.
func elsewhere(t *testing.T, wrap ...string) *exec.Cmd {
	t.Helper()
	image(t).Close() // or skips
	dir := t.TempDir()
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{".", "bin", "cmd/strongroom-agent", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for parent := filepath.Dir(dir); parent != "/" && parent != os.TempDir(); parent = filepath.Dir(parent) {
		os.Chmod(parent, 0o755)
	}
	agent, _ := programs()
	for from, to := range map[string]string{sqlEngine: "bin/strongroom-sql", agent: "cmd/strongroom-agent/prebuilt", test: "cmd/strongroom-agent/test"} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	args := append(wrap, filepath.Join(dir, "cmd/strongroom-agent/test"), "-test.run", "^TestPrebuilt$", "-test.v")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = filepath.Join(dir, "cmd/strongroom-agent")
	cmd.Env = []string{"TMPDIR=" + filepath.Join(dir, "tmp"), "STRONGROOM_TEST_PREBUILT=./prebuilt", "PATH=" + os.Getenv("PATH")}
	return cmd
}

// TestOrdinaryUser runs a room as a user without any right, with every layer in place.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the other tests run as an ordinary user already")
	}
	cmd := elsewhere(t)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestPrebuilt")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDeniedLayers runs rooms where the kernel denies a layer: they are refused, unless the
// agreement says that the layer may lack, and then they work.
func TestDeniedLayers(t *testing.T) {
	for _, name := range []string{"user", "mnt", "pid", "net"} {
		for _, agreed := range []bool{false, true} {
			cmd := elsewhere(t, "unshare", "-Ur", "sh", "-c", "echo 0 >/proc/sys/user/max_"+name+"_namespaces && exec \"$@\"", "sh")
			if agreed {
				cmd.Env = append(cmd.Env, "STRONGROOM_TEST_MAY_LACK=1")
			}
			out, err := cmd.CombinedOutput()
			if passed := bytes.Contains(out, []byte("--- PASS: TestPrebuilt")); passed != agreed {
				t.Errorf("without %s namespaces, agreed %v: %v\n%s", name, agreed, err, out)
			}
			if !agreed && !bytes.Contains(out, []byte("room.sandbox")) {
				t.Errorf("without %s namespaces: refused for another reason\n%s", name, out)
			}
		}
	}
}

// TestPrebuilt is the other half of the tests that run elsewhere.
func TestPrebuilt(t *testing.T) {
	path := os.Getenv("STRONGROOM_TEST_PREBUILT")
	if path == "" {
		t.Skip("run by other tests")
	}
	p, err := host.Load(path, map[wire.ID]string{"strongroom-sql": sqlEngine})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	w := newWorld(t, p, func(c *world.Config) {
		if os.Getenv("STRONGROOM_TEST_MAY_LACK") != "" {
			c.MayLack = []wire.ID{sandbox.UserNamespace, sandbox.MountNamespace, sandbox.PIDNamespace, sandbox.NetworkNamespace}
		}
	})
	r, run := start(t, w, p, "one")
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	head, _, err := w.Open(r.Dir(), run)
	if err != nil || head.Status != room.OK {
		detail, _ := w.Detail("alpha")
		t.Errorf("%v %+v %v", head, detail, err)
	}
}

// TestPlantedSecrets: data that breaks a run shows up nowhere but in its owner's own part of
// the record: not in the log of the host, not in events, not in any file but the sealed ones.
func TestPlantedSecrets(t *testing.T) {
	const planted = "PLANTED-4711"
	p := image(t)
	w := newWorld(t, p, func(c *world.Config) {
		c.Owners[0].Plain = strings.NewReader(patients(1, 50) + planted + ",b,1.000\n")
	})
	var log bytes.Buffer
	c := w.Host
	c.Programs, c.Log = p, &log
	job, run, err := w.Job("counts", map[string]string{"least": "0"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := host.Start(t.Context(), c, "one", job)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	head, body, err := w.Open(r.Dir(), run)
	if err != nil || head.Code != "run.failed" || body != "" {
		t.Errorf("%v %q %v", head, body, err)
	}
	for owner, learns := range map[wire.ID]bool{"alpha": true, "beta": false} {
		d, err := w.Detail(owner)
		if err != nil || strings.Contains(d.Reason, planted) != learns {
			t.Errorf("%s: %+v %v", owner, d, err)
		}
	}
	events, _ := r.Events(t.Context(), 0)
	if strings.Contains(log.String(), planted) || strings.Contains(fmt.Sprintf("%+v", events), planted) {
		t.Error("the host sees the secret")
	}
	filepath.WalkDir(w.Dir, func(path string, d os.DirEntry, err error) error {
		if data, rerr := os.ReadFile(path); err == nil && rerr == nil && bytes.Contains(data, []byte(planted)) {
			t.Errorf("the secret is in %s", path)
		}
		return nil
	})
}

// TestNetworkCut: the host lets nothing through once the keys are out. The room ends by
// itself, with the lease, and nothing leaves.
func TestNetworkCut(t *testing.T) {
	p := image(t)
	w := newWorld(t, p, func(c *world.Config) { c.LeaseMS = 500 })
	c := w.Host
	c.Programs, c.Log = p, os.Stderr
	c.Relay = func(ctx context.Context, _, path string, body []byte, next host.Next) (int, []byte) {
		if path == release.PathLive {
			<-ctx.Done()
		}
		return next(body)
	}
	job, _, err := w.Job("counts", map[string]string{"least": "0"})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r, err := host.Start(t.Context(), c, "one", job)
	if err != nil {
		t.Fatal(err)
	}
	if e := verdict.As(r.Wait(t.Context())); e.Check != "lease.lapsed" || e.Kind != verdict.Refused {
		t.Errorf("got %v", e)
	}
	if took := time.Since(began); took > 10*time.Second || len(r.Files()) != 0 {
		t.Errorf("after %v, files %v", took, r.Files())
	}
}

// TestAlteredAgent: one byte of the agent altered, and no key comes.
func TestAlteredAgent(t *testing.T) {
	p := image(t)
	w := newWorld(t, p, nil)
	agent, _ := programs()
	data, err := os.ReadFile(agent)
	if err != nil {
		t.Fatal(err)
	}
	altered := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(altered, append(data, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	other, err := host.Load(altered, map[wire.ID]string{"strongroom-sql": sqlEngine})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	r, _ := start(t, w, other, "one")
	if e := verdict.As(r.Wait(t.Context())); e.Check != "evidence.image" || e.Kind != verdict.Refused && e.Kind != verdict.Invalid {
		t.Errorf("got %v", e)
	}
}
