package test

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/examples/hospitals"
	"strongroom.dev/internal/debianimage"
)

// alone is a party that does everything itself, in a folder of its own.
type alone struct {
	*testing.T
	bin, dir string
}

func (a alone) path(name string) string { return filepath.Join(a.dir, name) }

func (a alone) write(name string, data []byte) {
	a.Helper()
	if err := os.WriteFile(a.path(name), data, 0o600); err != nil {
		a.Fatal(err)
	}
}

// do runs a command to its end and gives what it printed.
func (a alone) do(args ...string) string {
	a.Helper()
	cmd := exec.Command(filepath.Join(a.bin, "strongroom"), append([]string{"--home", a.path("alpha")}, args...)...)
	cmd.Dir = a.dir
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		a.Fatalf("%v: %v\n%s%s", args, err, out, said.String())
	}
	return string(out)
}

// serve starts a command that serves on an address, until the test ends.
func (a alone) serve(address string, args ...string) {
	a.Helper()
	cmd := exec.Command(filepath.Join(a.bin, "strongroom"), append([]string{"--home", a.path("alpha")}, args...)...)
	cmd.Dir = a.dir
	if err := cmd.Start(); err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for range 100 {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	a.Fatalf("%v does not serve", args)
}

// edit changes the agreement's section of a prepared image.
func (a alone) edit(name string, change func(*agreement.Container)) {
	a.Helper()
	data, err := os.ReadFile(a.path(name))
	if err != nil {
		a.Fatal(err)
	}
	c, err := draft.ParseContainer(name, data)
	if err != nil {
		a.Fatal(err)
	}
	change(&c)
	a.write(name, []byte(draft.Container(c)))
}

// agree signs an agreement about a prepared image and activates it as job.json.
func (a alone) agree(dir string) {
	a.Helper()
	a.do("agreement", "init", "--insecure-software", "--id", "job", "--title", "A job", "--container", dir, "--work", "job", "--party", "alpha", "-o", "raw.yaml")
	raw, err := os.ReadFile(a.path("raw.yaml"))
	if err != nil {
		a.Fatal(err)
	}
	a.write("job.yaml", regexp.MustCompile(`<[A-Z].*>`).ReplaceAll(raw, []byte("Our words.")))
	a.do("agreement", "sign", "job.yaml", "--yes", "-o", "job.json")
	a.do("agreement", "activate", "job.json")
}

// TestPythonJob runs Debian's Python with scikit-learn, unchanged, on sealed patients with
// sealed code, and opens the sealed result.
func TestPythonJob(t *testing.T) {
	a := alone{T: t, bin: programs(t), dir: t.TempDir()}
	makesImages(t)
	layout, err := debianimage.Python().Layout(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	a.do("container", "prepare", "oci:"+layout, "-o", "py", "--", "python3", "/job/train.py")
	a.edit("py/container.yaml", func(c *agreement.Container) {
		c.Mounts = append(c.Mounts, agreement.Mount{Path: "/job/train.py", Kind: agreement.File, Mode: 0o444, Input: "code"},
			agreement.Mount{Path: "/job/tumours.csv", Kind: agreement.File, Mode: 0o444, Input: "tumours"},
			agreement.Mount{Path: "/out", Kind: agreement.Result, Bytes: 1 << 20, Mode: 0o700, UID: c.User.UID, GID: c.User.GID})
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broker := l.Addr().String()
	l.Close()
	a.do("party", "init", "--name", "alpha", "--title", "Alpha", "--operator", "in house", "--broker-address", broker)
	a.agree("py")
	patients, err := hospitals.Files.ReadFile("alpha.csv")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("testdata/train.py")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"tumours": patients, "code": code} {
		a.write(name, data)
		a.do("dataset", "publish", name, "--dataset", name, "--format", "file", "--out", "sealed")
	}
	a.serve(broker, "broker", "serve", "--listen", broker, "--insecure-allow-software")

	a.do("run", "job.json", "--work", "job", "--data", "sealed", "--disk", "image=py/image.disk", "--out", "out")
	results, err := filepath.Glob(a.path("out/*.age"))
	if err != nil || len(results) != 1 {
		t.Fatalf("%d results, expected one: %v", len(results), err)
	}
	var found struct {
		Patients int     `json:"patients"`
		Accuracy float64 `json:"accuracy"`
	}
	if err := json.Unmarshal([]byte(a.do("open", results[0], "-o", "-")), &found); err != nil {
		t.Fatal(err)
	}
	if found.Patients != bytes.Count(patients, []byte("\n"))-1 || found.Accuracy < 0.9 || found.Accuracy > 1 {
		t.Errorf("the job found %+v", found)
	}
}
