//go:build linux

package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox"
	"strongroom.dev/wire"
)

// report is what the probe found: see testdata/probe.
type report struct {
	Lacks    []sandbox.Lack
	Attempts map[string]string
	Helper   *report
	Wait     string
	Said     string
	Extra    string
}

// probe builds the program that tries everything, without cgo, as agents are built.
var probe = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "probe")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "probe")
	build := exec.Command("go", "build", "-o", path, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, os.Chmod(dir, 0o755)
})

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "sandbox-hold" { // what MapForCells starts
		sandbox.Main(0, 0)
	}
	code := m.Run()
	for _, program := range []func() (string, error){probe, cellProgram} {
		if path, err := program(); err == nil {
			os.RemoveAll(filepath.Dir(path))
		}
	}
	os.Exit(code)
}

// run starts the probe, in front of it a wrapping command, as a user, and gives its report.
func run(t *testing.T, mode string, uid uint32, wrap ...string) report {
	t.Helper()
	path, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	from, to, _ := os.Pipe()
	modes, modeIn, _ := os.Pipe()
	modeIn.WriteString(mode)
	modeIn.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	program := os.NewFile(uintptr(fd), "probe")
	program.Write(data)
	defer program.Close()

	args := append(wrap, path)
	if len(wrap) > 0 && wrap[0] == "deny" {
		args = append([]string{path}, wrap...)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.ExtraFiles = []*os.File{to, program, modes}
	strayDescriptor(t)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	to.Close()
	modes.Close()
	out, _ := io.ReadAll(from)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Fatalf("exit code %d, expected the program's own 7: %s", code, stderr.String())
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}

// strayDescriptor opens one that every child gets, as a careless shell would.
func strayDescriptor(t *testing.T) {
	t.Helper()
	fd, err := unix.Open("/dev/null", unix.O_RDWR, 0)
	if err == nil {
		err = unix.Dup3(fd, 77, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	t.Cleanup(func() { unix.Close(77) })
}

// users are who the tests run as: whoever runs them, and if that is root, nobody too.
func users(t *testing.T) []uint32 {
	if os.Geteuid() != 0 {
		return []uint32{0} // 0: as we are
	}
	return []uint32{0, 65534}
}

func TestEveryLayerHolds(t *testing.T) {
	for _, uid := range users(t) {
		r := run(t, "try", uid)
		if len(r.Lacks) != 0 {
			t.Errorf("uid %d: lacks %v", uid, r.Lacks)
		}
		if r.Helper == nil {
			t.Fatalf("uid %d: no word from the helper: %s %s", uid, r.Wait, r.Said)
		}
		for who, attempts := range map[string]map[string]string{"agent": r.Attempts, "helper": r.Helper.Attempts} {
			if len(attempts) < 40 {
				t.Errorf("uid %d: %s tried %d things only", uid, who, len(attempts))
			}
			for name, err := range attempts {
				if err == "" {
					t.Errorf("uid %d: %s: %s worked", uid, who, name)
				}
			}
		}
		if want := "pid 1 uid 0 core 1"; !strings.HasPrefix(r.Helper.Attempts["facts"], want) {
			t.Errorf("uid %d: helper is %s, expected %s", uid, r.Helper.Attempts["facts"], want)
		}
		if want := fmt.Sprintf("inherited [3 %d]", sandbox.FirstFile); !strings.HasSuffix(r.Helper.Attempts["facts"], want) {
			t.Errorf("uid %d: helper is %s, expected %s: what else it holds is somebody's", uid, r.Helper.Attempts["facts"], want)
		}
		if r.Helper.Extra != "plain text" {
			t.Errorf("uid %d: the helper reads its input by /proc/self/fd: %s", uid, r.Helper.Extra)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct{ mode, wait, said string }{
		{"memory", "exit status 2", "out of memory"},
		{"threads", "exit status 2", "new OS thread"},
		{"cpu", "signal: killed", ""},
		{"sleep", "signal: killed", ""}, // the agent kills it
		{"crash", "exit status 2", "a secret"},
	} {
		start := time.Now()
		r := run(t, c.mode, 0)
		if r.Helper != nil || r.Wait != c.wait || !strings.Contains(r.Said, c.said) || len(r.Said) > 16<<10 {
			t.Errorf("%s: helper %v, %s, said %.100s", c.mode, r.Helper, r.Wait, r.Said)
		}
		if time.Since(start) > 20*time.Second {
			t.Errorf("%s took %v", c.mode, time.Since(start))
		}
	}
}

// Each layer is taken away in turn; what remains must be reported exactly.
func TestDeniedLayersAreNamed(t *testing.T) {
	sysctl := func(name string) []string {
		return []string{"unshare", "-Ur", "sh", "-c", "echo 0 >/proc/sys/user/max_" + name + "_namespaces && exec \"$@\"", "sh"}
	}
	for _, c := range []struct {
		name string
		wrap []string
		want []wire.ID
	}{
		{"user", sysctl("user"), []wire.ID{sandbox.UserNamespace}},
		// Without a /proc of its own the agent can't give its helper's user namespace a user.
		{"mount", sysctl("mnt"), []wire.ID{sandbox.MountNamespace, sandbox.UserNamespace}},
		{"pid", sysctl("pid"), []wire.ID{sandbox.PIDNamespace}},
		{"net", sysctl("net"), []wire.ID{sandbox.NetworkNamespace}},
		{"landlock", []string{"deny", "landlock"}, []wire.ID{sandbox.Landlock}},
		{"seccomp", []string{"deny", "seccomp"}, []wire.ID{sandbox.Seccomp}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, "hello", 0, c.wrap...)
			if got := sandbox.Layers(r.Lacks); !slices.Equal(got, c.want) {
				t.Errorf("lacks %v, expected %v", r.Lacks, c.want)
			}
			if r.Helper == nil {
				t.Errorf("the helper did not run: %s %s", r.Wait, r.Said)
			}
		})
	}
}

// One layer less is not none: what the others hold, they hold alone.
func TestLayersHoldAlone(t *testing.T) {
	for _, c := range []struct {
		layer string
		// allowed is what only the missing layer forbids.
		allowed []string
	}{
		{"landlock", []string{"open /proc/self/status", "list /"}},
		{"seccomp", []string{"socket inet", "socket inet6", "socket unix", "socket netlink", "fork", "new user namespace", "keyring", "io_uring", "shared memory",
			"change the personality", "clone3", "unnamed file", "bpf", "read another's memory" /* process 1, which it is itself */}},
	} {
		r := run(t, "hello", 0, "deny", c.layer)
		if r.Helper == nil {
			t.Fatalf("without %s: %s %s", c.layer, r.Wait, r.Said)
		}
		for name, err := range r.Helper.Attempts {
			if err == "" && !slices.Contains(c.allowed, name) {
				t.Errorf("without %s: %s worked", c.layer, name)
			}
		}
	}
}

// Killing what waits outside ends what is inside.
func TestKillingTheOutsideEndsTheInside(t *testing.T) {
	path, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	from, to, _ := os.Pipe()
	modes, keep, _ := os.Pipe() // never written: the probe inside waits for its mode
	defer keep.Close()
	program, _ := os.Open(path)
	defer program.Close()
	cmd := exec.Command(path)
	cmd.ExtraFiles = []*os.File{to, program, modes}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	to.Close()
	modes.Close()
	time.Sleep(300 * time.Millisecond)
	cmd.Process.Kill()
	cmd.Wait()
	ended := make(chan bool)
	go func() { io.ReadAll(from); close(ended) }() // ends when no process holds the other end
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("a process inside lives on")
	}
}
