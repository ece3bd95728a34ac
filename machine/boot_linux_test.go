package machine_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/image"
	"strongroom.dev/machine"
)

// missing skips a test where what it needs is absent, and fails it where it must be there.
func missing(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s: %v (scripts/setup test installs what is missing)", what, err)
	}
	t.Skipf("%s: %v (scripts/setup test installs what is missing)", what, err)
}

// build builds a program as rooms need it.
func build(t *testing.T, args ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	args = append(args, "-trimpath", "-o", path)
	if args[0] == "build" {
		args = append(args, "./testdata/engine")
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// makeImage makes an image whose first process is this test, with two engines.
func makeImage(t *testing.T) *image.Image {
	t.Helper()
	lock, err := image.BuiltinLock()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	fetch := image.Fetcher{Client: &http.Client{Timeout: 10 * time.Minute}, Mirrors: image.Mirrors(os.DirFS("/etc/apt")), Cache: filepath.Join(cache, "strongroom", "packages")}
	for _, p := range lock.Packages {
		_, err := fetch.Get(t.Context(), p)
		missing(t, "the packages of a room image", err)
	}
	engine := build(t, "build", "-ldflags=-s -w")
	img, err := image.Build(image.Config{
		Lock: lock, Packages: func(p image.Package) ([]byte, error) { return fetch.Get(t.Context(), p) }, Version: "test",
		Agent:   image.Program{Name: "strongroom-agent", Data: build(t, "test", "-c", "-ldflags=-s -w")},
		Engines: []image.Program{{Name: "one", Data: engine}, {Name: "two", Data: engine}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestGuest boots the test as the first process of a machine, without firmware that measures,
// which is quick, and hears what it found inside; then looks for what it left in memory: once
// with the image's own command line, once with the one for SEV-SNP.
func TestGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a machine")
	}
	program, err := exec.LookPath("qemu-system-x86_64")
	missing(t, "QEMU", err)
	img := makeImage(t)
	line := string(img.Files[image.FileCmdline])
	t.Run("own line", func(t *testing.T) { boot(t, program, img, line) })
	t.Run("without byte code", func(t *testing.T) { boot(t, program, img, line+" "+machine.NoByteCode) })
}

// lay writes the files that a machine starts with.
func lay(t *testing.T, img *image.Image) (dir string) {
	t.Helper()
	dir = t.TempDir()
	flipped := bytes.Clone(img.Files[image.EngineFile("two")])
	flipped[4096] ^= 0x10
	for name, data := range map[string][]byte{
		"vmlinuz": img.Files[image.FileKernel], "initrd": img.Files[image.FileInitrd], "engine-0": img.Files[image.EngineFile("one")], "engine-1": flipped,
		"input-0": []byte(sealedInput), "scratch-0": make([]byte, 1<<20), "memory": make([]byte, guestMemory<<20),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	layContainer(t, dir, build(t, "test", "-c", "-ldflags=-s -w"))
	return dir
}

// guestMemory is the machine's memory in MiB: enough for a kernel to use huge pages, and then to
// keep much free, which wiping must know of.
const guestMemory = 768

func boot(t *testing.T, program string, img *image.Image, line string) {
	dir := lay(t, img)
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	size := fmt.Sprintf("%dM", guestMemory)
	args := []string{"-machine", "q35,memory-backend=m", "-object", "memory-backend-file,id=m,size=" + size + ",share=on,mem-path=" + filepath.Join(dir, "memory"), "-m", size,
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
		// a place for logs of crashes, which the host offers and no room may take
		"-object", "memory-backend-file,id=e,size=64K,share=on,mem-path=" + filepath.Join(dir, "crashes"), "-device", "acpi-erst,memdev=e",
		"-kernel", filepath.Join(dir, "vmlinuz"), "-initrd", filepath.Join(dir, "initrd"), "-append", line,
		"-device", "virtio-serial-pci", "-chardev", "socket,id=c,path=" + filepath.Join(dir, "s"), "-device", "virtserialport,chardev=c,name=strongroom", "-device", "virtio-rng-pci"}
	for _, disk := range []string{"engine-0", "engine-1", "input-0", "scratch-0", "disk-0", "disk-1", "disk-2", "disk-3", "disk-4", "disk-5", "about"} {
		args = append(args, "-drive", fmt.Sprintf("if=none,id=%s,format=raw,file=%s,readonly=%s", disk, filepath.Join(dir, disk), map[bool]string{true: "off", false: "on"}[strings.Contains("scratch-0 disk-3 disk-4 disk-5", disk)]),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=%s,serial=%[1]s", disk))
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	var console bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &console
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(6*time.Minute, func() { cmd.Process.Kill(); listener.Close() })
	defer timer.Stop()
	left := converse(t, listener, filepath.Join(dir, "memory"))
	if err := cmd.Wait(); err != nil {
		t.Errorf("QEMU: %v", err)
	}
	t.Logf("%v\n%s", time.Since(began), console.String())
	checkConsole(t, console.String())
	if left == 0 {
		t.Error("the secret is not seen in memory: this test sees nothing")
	}
	if after := count(t, filepath.Join(dir, "memory"), secret()); after > 0 {
		t.Errorf("%d pages of the secret are left of %d", after, left)
	}
	for _, disk := range []string{"disk-3", "disk-4"} {
		data, err := os.ReadFile(filepath.Join(dir, disk))
		if err != nil || bytes.Contains(data, []byte(sealedText[:20])) || bytes.Count(data, []byte{0}) > len(data)-500_000 {
			t.Errorf("%s: %v, or plain text on it", disk, err)
		}
	}
	scratch, err := os.ReadFile(filepath.Join(dir, "scratch-0"))
	if err != nil || bytes.Contains(scratch, []byte(scratchText)) || bytes.Count(scratch[4096:40<<10], []byte{0}) > 1000 {
		t.Errorf("the scratch disk: %v, %.40q", err, scratch[4096:])
	}
}

// converse waits until the guest says that it left a secret, counts it, and lets it go on.
func converse(t *testing.T, listener net.Listener, memory string) (left int) {
	t.Helper()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	said := make([]byte, 5)
	if _, err := io.ReadFull(conn, said); err != nil || string(said) != "left\n" {
		t.Errorf("the guest says %q, %v", said, err)
		return 0
	}
	left = count(t, memory, secret())
	if _, err := conn.Write([]byte("wipe\n")); err != nil {
		t.Error(err)
	}
	io.Copy(io.Discard, conn) // until the machine is gone
	return left
}

// count counts a pattern of a page in a file.
func count(t *testing.T, path string, pattern []byte) (n int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for page := make([]byte, 1<<20); ; {
		got, err := io.ReadFull(f, page)
		n += bytes.Count(page[:got], pattern)
		if err != nil {
			return n
		}
	}
}

func checkConsole(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "Kernel panic") || !strings.Contains(text, "reboot: ") {
		t.Error("the machine did not end well")
	}
	want := []string{"prepare", "host"}
	for _, c := range guestChecks(machine.Config{Engines: make([]machine.Engine, 2)}) {
		want = append(want, c.name)
	}
	for _, name := range want {
		_, line, _ := strings.Cut(text, "guest: "+name+": ")
		line, _, _ = strings.Cut(line, "\n")
		if strings.TrimSpace(line) != "ok" {
			t.Errorf("%s: %s", name, line)
		}
	}
}
