package test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/erofs"
	"strongroom.dev/internal/acmetest"
	"strongroom.dev/verity"
	"strongroom.dev/wire"
)

// TestACME has the names of rooms certified by an authority that knows nothing of rooms: one
// that demands an account of its own, and refuses some nonces, as it may.
func TestACME(t *testing.T) {
	s := acmetest.Start(t, acmetest.Options{Demand: true, BadNonces: 5})
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	scripts(t, "testdata/acme", "DIRECTORY="+s.Directory, "ROOTS="+put("tls.pem", string(s.TLS)), "OUTSIDE="+put("root.pem", string(s.Root)),
		"ACCOUNT="+put("account", acmetest.BindingID+" "+acmetest.BindingKey+"\n"), "FILES="+s.Files, "HOOK="+s.Hook(t))
}

// page writes the image and the agreement's section of a container that serves one page to
// anyone, at web.alpha.example: page DIR.
func page(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	path, err := exec.LookPath("busybox")
	ts.Check(err)
	program, err := os.ReadFile(path)
	ts.Check(err)
	file := func(path string, mode uint32, data []byte) erofs.Entry {
		return erofs.Entry{Path: path, Mode: erofs.Regular | mode, Size: int64(len(data)), Open: func() (io.Reader, error) { return bytes.NewReader(data), nil }}
	}
	var image bytes.Buffer
	_, err = erofs.Write(&image, []erofs.Entry{{Path: "bin", Mode: erofs.Directory | 0o755}, {Path: "www", Mode: erofs.Directory | 0o755},
		file("bin/busybox", 0o755, program), file("www/index.html", 0o644, []byte("a room's page\n"))})
	ts.Check(err)
	disk, root, blocks, err := verity.Disk(image.Bytes(), make([]byte, 32))
	ts.Check(err)
	section := draft.Container(agreement.Container{
		Image: agreement.ContainerImage{Reference: "page", Manifest: wire.HashOf(image.Bytes()), Disk: agreement.VerityDisk{Blocks: blocks, Root: root}},
		Argv:  []string{"/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"}, Directory: "/", User: agreement.User{UID: 1000, GID: 100, Groups: []int64{}},
		Environment: []agreement.Environment{}, Capabilities: []string{}, Seccomp: agreement.Seccomp{Profile: "default"}, Mounts: []agreement.Mount{},
		Ports:  []agreement.Port{{Name: "web", Port: 8080, Names: []string{"web.alpha.example", "www.alpha.example"}, Allow: agreement.Allow{Anyone: true}}},
		Limits: agreement.Limits{Memory: 64 << 20, Processes: 16, Files: 64}, Restart: agreement.Restart{Policy: "never"}, Logs: agreement.Logs{Receivers: []wire.ID{}},
		CertifiedBy: "alpha", Mesh: true})
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(os.WriteFile(filepath.Join(dir, "image.disk"), disk, 0o644))
	ts.Check(os.WriteFile(filepath.Join(dir, "container.yaml"), []byte(section), 0o644))
}
