package test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
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
	"strongroom.dev/internal/world"
	"strongroom.dev/wire"
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

// command is one of the party's.
func (a alone) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(a.bin, "strongroom"), append([]string{"--home", a.path("alpha")}, args...)...)
	cmd.Dir = a.dir
	return cmd
}

// do runs a command to its end and gives what it printed.
func (a alone) do(args ...string) string {
	a.Helper()
	cmd := a.command(args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		a.Fatalf("%v: %v\n%s%s", args, err, out, said.String())
	}
	return string(out)
}

// said is what a process printed so far, for a test that fails.
type said struct{ file string }

func (s said) String() string {
	data, err := os.ReadFile(s.file)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// start starts a command that runs until the test ends, gently ended.
func (a alone) start(args ...string) said {
	a.Helper()
	log, err := os.CreateTemp(a.dir, "log")
	if err != nil {
		a.Fatal(err)
	}
	defer log.Close()
	cmd := a.command(args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		hard := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		defer hard.Stop()
		cmd.Wait()
	})
	return said{log.Name()}
}

// serve starts a command that serves on an address, until the test ends.
func (a alone) serve(address string, args ...string) {
	a.Helper()
	log := a.start(args...)
	for range 100 {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	a.Fatalf("%v does not serve: %s", args, log)
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

// freePort gives a loopback address nobody listens on at the moment.
func (a alone) freePort() string {
	a.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		a.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// agree makes the party, signs an agreement about a prepared image, activates it as job.json
// and serves its broker.
func (a alone) agree(dir string, more ...string) {
	a.Helper()
	broker := a.freePort()
	a.do("party", "init", "--name", "alpha", "--title", "Alpha", "--operator", "in house", "--broker-address", broker)
	a.do(append([]string{"agreement", "init", "--insecure-software", "--id", "job", "--title", "A job", "--container", dir, "--work", "job", "--party", "alpha", "-o", "raw.yaml"}, more...)...)
	raw, err := os.ReadFile(a.path("raw.yaml"))
	if err != nil {
		a.Fatal(err)
	}
	a.write("job.yaml", regexp.MustCompile(`<[A-Z].*>`).ReplaceAll(raw, []byte("Our words.")))
	a.do("agreement", "sign", "job.yaml", "--yes", "-o", "job.json")
	a.do("agreement", "activate", "job.json")
	a.serve(broker, "broker", "serve", "--listen", broker, "--insecure-allow-software")
}

// seal publishes a file as a dataset of its name.
func (a alone) seal(name string, data []byte) {
	a.Helper()
	a.write(name, data)
	a.do("dataset", "publish", name, "--dataset", name, "--format", "file", "--out", "sealed")
}

// TestPythonJob runs Debian's Python with scikit-learn, unchanged, on sealed patients with
// sealed code, and opens the sealed result; what it printed comes beside it.
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
		c.Logs = agreement.Logs{Receivers: []wire.ID{"alpha"}, MaxBytes: 1 << 16}
	})
	a.agree("py")
	patients, err := hospitals.Files.ReadFile("alpha.csv")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("testdata/train.py")
	if err != nil {
		t.Fatal(err)
	}
	a.seal("tumours", patients)
	a.seal("code", code)
	a.do("run", "job.json", "--work", "job", "--data", "sealed", "--disk", "image=py/image.disk", "--out", "out")
	results, err := filepath.Glob(a.path("out/result-*.age"))
	if err != nil || len(results) != 1 {
		t.Fatalf("%d results, expected one: %v", len(results), err)
	}
	if logs, err := filepath.Glob(a.path("out/logs-*.age")); err != nil || len(logs) == 0 {
		t.Errorf("no logs beside the result: %v", err)
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

// TestContainerMachine runs Debian's nginx, unchanged, in a virtual machine under a TPM, and
// reads a secret page through strongroom connect.
func TestContainerMachine(t *testing.T) {
	a := alone{T: t, bin: programs(t), dir: t.TempDir()}
	makesImages(t)
	if err := world.MissingMachines(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("scripts/setup vm installs what is missing: %v", err)
		}
		t.Skipf("scripts/setup vm installs what is missing: %v", err)
	}
	layout, err := debianimage.Nginx().Layout(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	a.do("image", "build", "-o", "room")
	a.do("container", "prepare", "oci:"+layout, "-o", "web")
	a.edit("web/container.yaml", func(c *agreement.Container) {
		c.Ports[0].Name = "web"
		c.Mounts = append(c.Mounts, agreement.Mount{Path: "/var/www/html/index.nginx-debian.html", Kind: agreement.File, Mode: 0o444, Input: "page"})
	})
	a.agree("web", "--image", "room")
	const page = "<p>secret</p>\n"
	a.seal("page", []byte(page))
	port, local := a.freePort(), a.freePort()
	log := a.start("run", "job.json", "--work", "job", "--data", "sealed", "--disk", "image=web/image.disk", "--publish", "web="+port, "--host", "qemu", "--image", "room", "--memory", "1024M")
	args := []string{"connect", port, "--agreement", "job.json", "--port", "web", "--as", "alpha", "--insecure-allow-software"}
	var found []byte
	for until := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Second) {
		if found, err = a.command(append(args, "--check")...).Output(); err == nil {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("the room's port is not reached: %s\n%s", found, log)
		}
	}
	if !bytes.Contains(found, []byte("platform tpm")) {
		t.Errorf("connect found\n%s", found)
	}
	a.serve(local, append(args, "--listen", local)...)
	answer, err := http.Get("http://" + local + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got, err := io.ReadAll(answer.Body); err != nil || string(got) != page {
		t.Errorf("the page is %q: %v", got, err)
	}
}
