//go:build linux

package container_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/erofs"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/verity"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
)

// scenario and report are those of testdata/agent.
type scenario struct {
	Container   agreement.Container
	Environment map[string]string
	Inputs      map[wire.ID][]byte
	Disks       []string
	Egress      bool
	Given       given
	Stop, Kill  bool
	MaxResult   int64
}

type given struct {
	Generation int64
	Previous   *release.VolumeState
}

type report struct {
	Error    json.RawMessage
	Ending   container.Ending
	Logs     string
	Dropped  int64
	Result   []byte
	States   []container.VolumeState
	Events   []string
	Steps    []string
	Root     *wire.Hash
	Override []string
	Keeper   string
}

func (r report) err() error {
	if len(r.Error) == 0 || string(r.Error) == "null" {
		return nil
	}
	return verdict.Decode(r.Error)
}

// said is what the container printed, without the heads of its lines.
func (r report) said() (text string) {
	for line := range strings.Lines(r.Logs) {
		parts := strings.SplitN(line, " ", 4)
		text += parts[len(parts)-1]
	}
	return text
}

// program builds agent and workload, one program.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "container")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "agent")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, "./testdata/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, os.Chmod(dir, 0o755)
})

// diskOf writes a disk with these entries.
func diskOf(t *testing.T, entries ...erofs.Entry) (string, agreement.VerityDisk) {
	t.Helper()
	var data bytes.Buffer
	if _, err := erofs.Write(&data, entries); err != nil {
		t.Fatal(err)
	}
	salt := wire.HashOf([]byte("salt"))
	disk, root, blocks, err := verity.Disk(data.Bytes(), salt[:])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, agreement.VerityDisk{Blocks: blocks, Salt: salt, Root: root}
}

func dir(path string) erofs.Entry { return erofs.Entry{Path: path, Mode: erofs.Directory | 0o755} }

func file(path, text string) erofs.Entry {
	return erofs.Entry{Path: path, Mode: erofs.Regular | 0o644, Size: int64(len(text)), Open: func() (io.Reader, error) { return strings.NewReader(text), nil }}
}

// image is the image with the workload in it.
func image(t *testing.T) (string, agreement.VerityDisk) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bin := erofs.Entry{Path: "bin/agent", Mode: erofs.Regular | 0o755, Size: int64(len(data)), Open: func() (io.Reader, error) { return bytes.NewReader(data), nil }}
	return diskOf(t, dir("bin"), bin, dir("etc"), file("etc/hosts", ""), file("etc/passwd", "root\n"), dir("opt"), dir("opt/data"), file("opt/data/hidden", "image"))
}

// work is a scenario of one thing done by the workload, with logs, and its disks' files.
func work(t *testing.T, mode string, args ...string) (scenario, []*os.File) {
	t.Helper()
	path, disk := image(t)
	return scenario{Container: agreement.Container{
		Image: agreement.ContainerImage{Disk: disk}, Argv: append([]string{"/bin/agent", "work", mode}, args...), Directory: "/etc",
		User: agreement.User{UID: 1000, GID: 100}, Seccomp: agreement.Seccomp{Profile: "default"},
		Mounts: []agreement.Mount{{Path: "/tmp", Kind: agreement.Memory, Bytes: 1 << 20, Mode: 0o1777}},
		Logs:   agreement.Logs{Receivers: []wire.ID{"alpha"}, MaxBytes: 1 << 20}, Restart: agreement.Restart{Policy: "never"},
		Limits: agreement.Limits{Memory: 256 << 20, Processes: 64, Files: 128},
	}, Disks: []string{container.ImageName}}, []*os.File{opened(t, path)}
}

func opened(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// run runs a scenario in a cell. Without root users don't exist in it, which these tests need.
func run(t *testing.T, s scenario, files ...*os.File) report {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("cells with users need root")
		}
		t.Skip("cells with users need root")
	}
	return runAs(t, 0, s, files...)
}

// runAs runs a scenario as a user.
func runAs(t *testing.T, uid uint32, s scenario, files ...*os.File) report {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	from, to, _ := os.Pipe()
	text, textIn, _ := os.Pipe()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	go func() { textIn.Write(data); textIn.Close() }()
	cmd := exec.CommandContext(t.Context(), path)
	cmd.ExtraFiles = append([]*os.File{to, text}, files...)
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	to.Close()
	out, _ := io.ReadAll(from)
	cmd.Wait()
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s: %s", err, out, stderr.String())
	}
	return r
}

// well runs a scenario that must end well.
func well(t *testing.T, s scenario, files ...*os.File) report {
	t.Helper()
	r := run(t, s, files...)
	if err := r.err(); err != nil || r.Ending.Code != 0 || r.Ending.Signal != 0 {
		t.Fatalf("%v, ending %+v, said %q, events %q", err, r.Ending, r.said(), r.Events)
	}
	return r
}

// refused runs one that must be refused with the check.
func refused(t *testing.T, check string, s scenario, files ...*os.File) {
	t.Helper()
	if err := run(t, s, files...).err(); err == nil || !strings.Contains(err.Error(), check) {
		t.Errorf("expected a refusal by %s, got %v", check, err)
	}
}
