package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"strongroom.dev/verdict"
	"strongroom.dev/workload/sql"
)

var update = flag.Bool("update", false, "write packages.txt")

const vectors = "../../spec/vectors/sql/"

// With this variable set, the test's own executable is strongroom-sql.
const asProgram = "STRONGROOM_SQL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// TestPackages keeps the list of what is inside small on purpose: a package that comes in
// is a line in a review (R22).
func TestPackages(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "GOOS=linux", "GOARCH=amd64")
	got, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("packages.txt", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("packages.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the packages linked are not those of packages.txt (go test ./cmd/strongroom-sql -update writes them):\n%s", got)
	}
	for _, never := range []string{"strongroom.dev/seal", "strongroom.dev/release", "strongroom.dev/channel", "filippo.io/age"} {
		if strings.Contains("\n"+string(got), "\n"+never+"\n") {
			t.Errorf("%s is linked: the engine opens nothing and talks to nobody", never)
		}
	}
}

func job(t *testing.T, query string) []byte {
	t.Helper()
	data, err := os.ReadFile(vectors + "job.json")
	if err != nil {
		t.Fatal(err)
	}
	j, err := sql.ParseJob(data)
	if err != nil {
		t.Fatal(err)
	}
	j.Query = query
	out, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		args  []string
		in    []byte
		exit  int
		shows string
	}{
		{[]string{"check"}, job(t, "SELECT ward, count(*) AS n FROM people GROUP BY ward"), 0, `"plan": "sha256:`},
		{[]string{"check"}, job(t, "SELECT person FROM people"), 3, "query.unit"},
		{[]string{"check"}, bytes.Replace(job(t, "SELECT 1"), []byte(`"check_only":true`), []byte(`"check_only":false`), 1), 2, "job"},
		{[]string{"check"}, []byte("{"), 2, "job"},
		{[]string{"check"}, nil, 2, "job"},
		{[]string{"profile"}, []byte("{}"), 2, "job"},
		{[]string{"profile"}, nil, 2, "job"},
		{[]string{"check", "more"}, nil, 2, "command line"},
		{[]string{"serve"}, nil, 2, "command line"},
		{[]string{"--version"}, nil, 0, "unknown"},
	} {
		var out bytes.Buffer
		err := run(test.args, bytes.NewReader(test.in), &out)
		text := out.String()
		if isCheck := len(test.args) == 1 && (test.args[0] == "check" || test.args[0] == "profile"); isCheck && !json.Valid(out.Bytes()) || err != nil && isCheck && !strings.HasPrefix(text, `{"error":{"kind":"`) {
			t.Errorf("%v prints %q, not one document", test.args, text)
		}
		if err != nil {
			text += err.Error()
		}
		if got := verdict.Exit(err); got != test.exit || !strings.Contains(text, test.shows) {
			t.Errorf("%v: exit %d, %s", test.args, got, text)
		}
	}
}

// start runs the program as the agent does: a socket as descriptor 3, sealed inputs behind.
func start(t *testing.T, files ...string) (conn *os.File, wait func() error) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(pair[0], true); err != nil { // for deadlines
		t.Fatal(err)
	}
	conn, theirs := os.NewFile(uintptr(pair[0]), "agent"), os.NewFile(uintptr(pair[1]), "engine")
	t.Cleanup(func() { conn.Close() })
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{asProgram + "=1"}
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.MemfdCreate("input", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "input")
		defer f.Close()
		if _, err := f.Write(data); err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	return conn, cmd.Wait
}

func TestServe(t *testing.T) {
	conn, wait := start(t, vectors+"alpha.csv", vectors+"beta.csv")
	j, err := sql.ParseJob(job(t, "SELECT ward, count(*) AS n FROM people GROUP BY ward"))
	if err != nil {
		t.Fatal(err)
	}
	j.CheckOnly, j.Inputs[0].FD, j.Inputs[1].FD = false, 4, 5
	var phases []sql.Phase
	got, err := sql.Run(context.Background(), conn, j, func(p sql.Progress) { phases = append(phases, p.Phase) })
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 4 || *got.Rows[0][0] != "a" || len(phases) < 3 {
		t.Errorf("%d rows, phases %v", len(got.Rows), phases)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
}

// A conversation that makes no sense ends the program, with an exit code that says so.
func TestServeNonsense(t *testing.T) {
	conn, wait := start(t)
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := wait(); err == nil {
		t.Error("nonsense was answered")
	}
}

func TestServeWithoutSocket(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{asProgram + "=1"}
	err := cmd.Run()
	if cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("exit %d, %v", cmd.ProcessState.ExitCode(), err)
	}
}
