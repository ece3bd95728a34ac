//go:build linux

package sandbox_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"strongroom.dev/sandbox"
)

// cellReport is what an agent with cells found: see testdata/cell.
type cellReport struct {
	Lacks, CellLacks []sandbox.Lack
	Error            string
	Got              map[string]string
}

// cellProgram builds agent and workload, one program.
var cellProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cell")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "cell")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, "./testdata/cell")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, os.Chmod(dir, 0o755)
})

// runCell runs a scenario as a user, with further descriptors, and gives its report.
func runCell(t *testing.T, scenario string, uid uint32, files ...*os.File) cellReport {
	t.Helper()
	path, err := cellProgram()
	if err != nil {
		t.Fatal(err)
	}
	from, to, _ := os.Pipe()
	text, textIn, _ := os.Pipe()
	textIn.WriteString(scenario)
	textIn.Close()
	program, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	cmd := exec.CommandContext(t.Context(), path)
	cmd.ExtraFiles = append([]*os.File{to, text, program}, files...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	to.Close()
	text.Close()
	out, _ := io.ReadAll(from)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Fatalf("exit code %d, expected the program's own 7: %s", code, stderr.String())
	}
	var r cellReport
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}

// TestCell: what a workload sees where all is well, as root and as an ordinary user.
func TestCell(t *testing.T) {
	for _, uid := range users(t) {
		r := runCell(t, "hello", uid)
		if len(r.Lacks) != 0 || r.Error != "" {
			t.Fatalf("uid %d: lacks %v, %s", uid, r.Lacks, r.Error)
		}
		secret := "33:34"
		if slices.Contains(sandbox.Layers(r.CellLacks), sandbox.UserRange) {
			secret = "0:0"
		} else if uid != 0 {
			t.Errorf("uid %d: has a range of users", uid)
		}
		want := "uid 0 gid 0 secret " + secret + " host room env [\"NAME=VALUE\"]"
		if !strings.Contains(r.Got["out"], want) || r.Got["out exit"] != "{3 0}" {
			t.Errorf("uid %d: expected %s, got exit %s and %.300s", uid, want, r.Got["out exit"], r.Got["out"])
		}
	}
}
