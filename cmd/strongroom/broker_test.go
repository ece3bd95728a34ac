package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/broker"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/ledger"
	"strongroom.dev/wire"
)

// strongroomCommand runs the real program; the test binary is it under that name.
func strongroomCommand(home string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{"--home", home, "--output", "json"}, args...)...)
	cmd.Args[0] = "strongroom"
	return cmd
}

func answerOf(t *testing.T, home string, into any, args ...string) int {
	t.Helper()
	cmd := strongroomCommand(home, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, _ := cmd.Output()
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("%v: %v: %q %q", args, err, out, stderr.String())
	}
	return cmd.ProcessState.ExitCode()
}

// brokerProcess is a broker in a process of its own.
type brokerProcess struct {
	*exec.Cmd
	ready struct {
		Address string `json:"address"`
		Serving bool   `json:"serving"`
	}
	stderr bytes.Buffer
	rest   *bufio.Reader
}

func startBrokerProcess(t *testing.T, home string, args ...string) *brokerProcess {
	t.Helper()
	r := &brokerProcess{Cmd: strongroomCommand(home, append([]string{"broker", "serve", "--listen", "127.0.0.1:0"}, args...)...)}
	r.Cmd.Stderr = &r.stderr
	out, err := r.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Process.Kill() })
	r.rest = bufio.NewReader(out)
	line, err := r.rest.ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &r.ready) != nil {
		t.Fatalf("no ready line: %q %v %s", line, err, r.stderr.String())
	}
	return r
}

func TestBrokerServes(t *testing.T) {
	// The socket's path is longer than the system takes.
	home := filepath.Join(t.TempDir(), strings.Repeat("a-long-name-", 10), "home")
	if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
		t.Fatal(err)
	}
	var party map[string]any
	answerOf(t, home, &party, "party", "init", "--name", "alpha", "--title", "Alpha", "--operator", "in house, Berlin")
	b := startBrokerProcess(t, home, "--insecure-allow-software")

	var public broker.Public
	getJSON(t, "http://"+b.ready.Address+"/v1/status", &public)
	if public.Party != "alpha" || !public.Serving || !public.InsecureSoftware || public.Operator != "in house, Berlin" {
		t.Errorf("status %+v", public)
	}
	for path, want := range map[string]int{"/admin/status": http.StatusNotFound, "/v1/release": http.StatusMethodNotAllowed} {
		answer, err := http.Get("http://" + b.ready.Address + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("GET %s: %d, expected %d", path, answer.StatusCode, want)
		}
	}
	big, err := http.Post("http://"+b.ready.Address+"/v1/challenge", "application/json", bytes.NewReader(make([]byte, 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	big.Body.Close()
	if big.StatusCode != http.StatusBadRequest {
		t.Errorf("a challenge request of 1 MiB: %d", big.StatusCode)
	}

	var status struct {
		broker.Status
		Running bool `json:"running"`
	}
	if code := answerOf(t, home, &status, "broker", "status"); code != 0 || !status.Running || status.KeyStore == "" {
		t.Errorf("code %d, %+v", code, status)
	}
	info, err := os.Stat(filepath.Join(home, "broker", "admin.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("admin socket: %v %v", info, err)
	}
	var refusal struct {
		Error struct{ Check string } `json:"error"`
	}
	if code := answerOf(t, home, &refusal, "broker", "confirm", "unreachable"); code != 3 || refusal.Error.Check != "broker.locked" {
		t.Errorf("confirm: code %d, %+v", code, refusal)
	}
	if code := answerOf(t, home, &refusal, "broker", "serve", "--listen", "127.0.0.1:0"); code != 1 || refusal.Error.Check != "broker.state" {
		t.Errorf("a second broker: code %d, %+v", code, refusal)
	}
	if code := answerOf(t, home, &refusal, "broker", "why", "nothing"); code != 2 || refusal.Error.Check != "broker.why" {
		t.Errorf("why: code %d, %+v", code, refusal)
	}
	if !strings.Contains(b.stop(t), "INSECURE") {
		t.Errorf("nothing said about software rooms: %s", b.stderr.String())
	}
	if code := answerOf(t, home, &status, "broker", "status"); code != 0 || status.Running {
		t.Errorf("after the end: code %d, running %v", code, status.Running)
	}
}

// TestBrokerServesEndorsed: a serving broker says what it judges hardware by, and reads it anew.
func TestBrokerServesEndorsed(t *testing.T) {
	collateral, err := filepath.Abs(filepath.Join(evidencetest.Dir(t), "tdx", "Phala-Network+dcap-qvl", "sample", "tdx_quote_collateral.json"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(collateral)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	home, endorsements := filepath.Join(dir, "home"), filepath.Join(dir, "endorsements")
	var party map[string]any
	answerOf(t, home, &party, "party", "init", "--name", "alpha", "--title", "Alpha")
	var refusal struct {
		Error struct{ Check string } `json:"error"`
	}
	if code := answerOf(t, home, &refusal, "broker", "serve", "--listen", "127.0.0.1:0", "--endorsements", endorsements); code != 2 || refusal.Error.Check != "file" {
		t.Errorf("no endorsements there: code %d, %+v", code, refusal)
	}
	if err := os.Mkdir(endorsements, 0o700); err != nil {
		t.Fatal(err)
	}
	b := startBrokerProcess(t, home, "--endorsements", endorsements)
	read := func() broker.Endorsements {
		var s broker.Status
		if code := answerOf(t, home, &s, "broker", "status"); code != 0 || s.Endorsements == nil {
			t.Fatalf("code %d, %+v", code, s.Endorsements)
		}
		return *s.Endorsements
	}
	if e := read(); e.Items != 0 || e.FirstMS != 0 {
		t.Errorf("an empty directory: %+v", e)
	}
	if err := os.WriteFile(filepath.Join(endorsements, "collateral.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); read().Items == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing was read anew")
		}
	}
	if e := read(); e.FirstMS == 0 || !strings.Contains(e.First, "collateral.json") {
		t.Errorf("%+v", e)
	}
	if said := b.stop(t); !strings.Contains(said, "endorsements read anew") {
		t.Errorf("%s", said)
	}
}

// stop ends the broker as an operator does, and gives what it said.
func (r *brokerProcess) stop(t *testing.T) string {
	t.Helper()
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r.rest)
	if err != nil || len(rest) != 0 {
		t.Errorf("more than one document on standard output: %q %v", rest, err)
	}
	if err := r.Wait(); err != nil {
		t.Errorf("stopped with %v: %s", err, r.stderr.String())
	}
	return r.stderr.String()
}

func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err == nil {
		err = wire.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", url, err, data)
	}
}

// TestBrokerAlone shows that a broker that can ask nobody refuses everything until its
// officers say so.
func TestBrokerAlone(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	var ignored map[string]any
	answerOf(t, home, &ignored, "party", "init", "--name", "alpha", "--title", "Alpha")
	_, key, err := ledger.GenerateKey("ledger.example")
	if err != nil {
		t.Fatal(err)
	}
	b := startBrokerProcess(t, home, "--witness", "http://127.0.0.1:1="+key)
	if b.ready.Serving {
		t.Error("serves though it could ask nobody")
	}
	var ev broker.Event
	if code := answerOf(t, home, &ev, "broker", "confirm", "unreachable"); code != 0 || ev.Kind != "confirm" {
		t.Errorf("confirm: code %d %+v", code, ev)
	}
	var public broker.Public
	getJSON(t, "http://"+b.ready.Address+"/v1/status", &public)
	if !public.Serving || public.Size != 1 {
		t.Errorf("after confirm: %+v", public)
	}
	if !strings.Contains(b.stop(t), "LOCKED") {
		t.Errorf("did not say that it was locked: %s", b.stderr.String())
	}
}

// TestBrokerAsksForOfficersToo stops a broker and commands it while nobody it was told of
// answers: an officer's act behind a log that was set back would fork it.
func TestBrokerAsksForOfficersToo(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	var ignored map[string]any
	answerOf(t, home, &ignored, "party", "init", "--name", "alpha", "--title", "Alpha")
	_, key, err := ledger.GenerateKey("ledger.example")
	if err != nil {
		t.Fatal(err)
	}
	startBrokerProcess(t, home, "--witness", "http://127.0.0.1:1="+key).stop(t)
	startBrokerProcess(t, home).stop(t) // told of nobody this time
	other, paper := filepath.Join(t.TempDir(), "beta"), filepath.Join(t.TempDir(), "beta.json")
	for _, args := range [][]string{
		{other, "party", "init", "--name", "beta", "--title", "Beta"},
		{other, "party", "show", "-o", paper},
		{home, "party", "add", paper, "--checked", "phone"},
	} {
		if out, err := strongroomCommand(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v %s", args, err, out)
		}
	}
	cmd := strongroomCommand(home, "party", "revoke", "beta")
	out, _ := cmd.CombinedOutput()
	if !bytes.Contains(out, []byte("broker.locked")) || cmd.ProcessState.ExitCode() == 0 {
		t.Errorf("code %d, %s", cmd.ProcessState.ExitCode(), out)
	}
	var s broker.Status
	if code := answerOf(t, home, &s, "broker", "status"); code != 0 || s.Serving || s.Lock == nil || s.Lock.Kind != broker.LockUnreachable || s.Size != 0 {
		t.Errorf("code %d, %+v", code, s)
	}
}

// Looking at a broker that is not serving changes no file of it, and leaves none.
func TestLookingAtAStoppedBroker(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	var ignored map[string]any
	if code := answerOf(t, home, &ignored, "party", "init", "--name", "alpha", "--title", "Alpha", "--operator", "in house"); code != 0 {
		t.Fatal(code)
	}
	startBrokerProcess(t, home).stop(t)
	before := filesOf(t, home)
	var status struct {
		Running bool
		Size    int64
	}
	if code := answerOf(t, home, &status, "broker", "status"); code != 0 || status.Running {
		t.Errorf("exit code %d, %+v", code, status)
	}
	if code := answerOf(t, home, &ignored, "broker", "why", "nothing"); code != 2 {
		t.Errorf("exit code %d", code)
	}
	if diff := cmp.Diff(before, filesOf(t, home)); diff != "" {
		t.Error(diff)
	}
}

// filesOf gives what stands in every file of a directory, and when it was last changed.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out[path] = info.ModTime().String()
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			out[path] += string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
