package test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/erofs"
	"strongroom.dev/host/volume"
	"strongroom.dev/internal/world"
	"strongroom.dev/verity"
	"strongroom.dev/wire"
)

// TestScriptsOfRoot runs the scenarios that only root can be the host of.
func TestScriptsOfRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("volumes need a host run by root")
		}
		t.Skip("volumes need a host run by root")
	}
	scripts(t, "testdata/root")
}

// TestVolumeMachine keeps a volume in virtual machines, whose kernels encrypt and authenticate it.
func TestVolumeMachine(t *testing.T) {
	if err := world.MissingMachines(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("scripts/setup vm installs what is missing: %v", err)
		}
		t.Skipf("scripts/setup vm installs what is missing: %v", err)
	}
	scripts(t, "testdata/machine")
}

// count is what the container does: it counts its starts in its volume, and serves what is
// there until it is told to end.
const count = `echo counting from ${n:-here}
n=$(cat /data/n 2>/dev/null || echo 0)
echo $((n+1)) > /scratch/n && cat /scratch/n > /data/n && sync
exec busybox httpd -f -p 8080 -h /data`

const volumeBytes = 32 << 20

// counter writes the image and the agreement's section of a container that counts: counter DIR.
func counter(ts *testscript.TestScript, _ bool, args []string) {
	busybox(ts, ts.MkAbs(args[0]), []string{"cat", "sh", "sync"}, agreement.Container{
		Image:       agreement.ContainerImage{Reference: "counter"},
		Argv:        []string{"/bin/sh", "-c", count},
		Environment: []agreement.Environment{{Name: "PATH", Kind: agreement.Exact, Value: "/bin"}},
		Mounts: []agreement.Mount{{Path: "/data", Kind: agreement.Volume, Bytes: volumeBytes, Mode: 0o750, UID: 1000, GID: 100, Input: "count-key"},
			{Path: "/scratch", Kind: agreement.Scratch, Bytes: 8 << 20, Mode: 0o1777}},
		Ports: []agreement.Port{{Name: "web", Port: 8080, Names: []string{}, Allow: agreement.Allow{Anyone: true}}},
		Logs:  agreement.Logs{Receivers: []wire.ID{"alpha"}, MaxBytes: 1 << 16}})
}

// busybox writes the image and the agreement's section of a container of busybox, with links
// of these names to it.
func busybox(ts *testscript.TestScript, dir string, names []string, c agreement.Container) {
	path, err := exec.LookPath("busybox")
	ts.Check(err)
	program, err := os.ReadFile(path)
	ts.Check(err)
	entries := []erofs.Entry{{Path: "bin", Mode: erofs.Directory | 0o755}, {Path: "data", Mode: erofs.Directory | 0o755},
		{Path: "dev", Mode: erofs.Directory | 0o755}, {Path: "proc", Mode: erofs.Directory | 0o755}, {Path: "scratch", Mode: erofs.Directory | 0o755},
		{Path: "bin/busybox", Mode: erofs.Regular | 0o755, Size: int64(len(program)), Open: func() (io.Reader, error) { return bytes.NewReader(program), nil }}}
	for _, name := range names {
		entries = append(entries, erofs.Entry{Path: "bin/" + name, Mode: erofs.Symlink | 0o777, Target: "busybox"})
	}
	var image bytes.Buffer
	_, err = erofs.Write(&image, entries)
	ts.Check(err)
	disk, root, blocks, err := verity.Disk(image.Bytes(), make([]byte, 32))
	ts.Check(err)
	c.Image = agreement.ContainerImage{Reference: c.Image.Reference, Manifest: wire.HashOf(image.Bytes()), Disk: agreement.VerityDisk{Blocks: blocks, Root: root}}
	c.Directory, c.User = "/", agreement.User{UID: 1000, GID: 100, Groups: []int64{}}
	c.Capabilities, c.Seccomp, c.Restart = []string{}, agreement.Seccomp{Profile: "default"}, agreement.Restart{Policy: "never"}
	c.Limits = agreement.Limits{Memory: 64 << 20, Processes: 16, Files: 64}
	section := draft.Container(c)
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(os.WriteFile(filepath.Join(dir, "image.disk"), disk, 0o644))
	ts.Check(os.WriteFile(filepath.Join(dir, "container.yaml"), []byte(section), 0o644))
}

// takeaway removes the one file that a volume's content has, as a host can that reads no
// name: takeaway VOLUME.
func takeaway(ts *testscript.TestScript, _ bool, args []string) {
	mount, err := volume.Open(ts.MkAbs(args[0]), volumeBytes)
	ts.Check(err)
	defer mount.Close()
	files, err := filepath.Glob(filepath.Join("/proc/self/fd", strconv.Itoa(int(mount.Fd())), volume.Directory, "*", "*"))
	ts.Check(err)
	if len(files) != 1 {
		ts.Fatalf("the volume has %d files", len(files))
	}
	ts.Check(os.Remove(files[0]))
}

// spoil changes a bit in every block of a file that is not empty, behind its first 64 KiB, as a
// host can: spoil VOLUME.
func spoil(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	for at := 64 << 10; at+4096 <= len(data); at += 4096 {
		if block := data[at : at+4096]; bytes.Count(block, []byte{0}) < 1000 {
			block[17] ^= 1
		}
	}
	ts.Check(os.WriteFile(path, data, 0o600))
}

// get compares what a room's port serves, as ordinary clients see it, once it serves, in ten
// seconds or those given: get ADDRESS/PATH REGEXP [SECONDS].
func get(ts *testscript.TestScript, _ bool, args []string) {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // no certificate proves a room
	var got string
	patience := 10
	if len(args) > 2 {
		var err error
		patience, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	for until := time.Now().Add(time.Duration(patience) * time.Second); time.Now().Before(until); {
		answer, err := client.Get("https://" + args[0])
		if err == nil {
			body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
			answer.Body.Close()
			ts.Check(err)
			if answer.StatusCode == http.StatusOK {
				if !regexp.MustCompile(args[1]).Match(body) {
					ts.Fatalf("%s serves %q", args[0], body)
				}
				return
			}
			got = answer.Status
		} else {
			got = err.Error()
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("%s serves nothing: %s", args[0], strings.TrimSpace(got))
}
