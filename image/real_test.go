package image_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/image"
	"strongroom.dev/machine"
	"strongroom.dev/predict"
	"strongroom.dev/wire"
)

// TestRealImage builds a room image of Debian's own packages and an agent built from source
// in two directories: bit for bit the same, and what rooms need is in it.
func TestRealImage(t *testing.T) {
	if testing.Short() {
		t.Skip("fetches 48 MB once")
	}
	lock, err := image.BuiltinLock()
	if err != nil {
		t.Fatal(err)
	}
	debs := realPackages(t, lock)
	var images []*image.Image
	for _, dir := range []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "another", "place")} {
		c := testConfig(t)
		c.Lock, c.Packages = lock, func(p image.Package) ([]byte, error) { return debs[p.File()], nil }
		c.Agent.Data = fromSource(t, dir, "strongroom-agent")
		if os.Getenv("STRONGROOM_LONG") != "" { // linking the SQL engine takes half a minute
			c.Engines[0].Data = fromSource(t, dir, "strongroom-sql")
		}
		images = append(images, build(t, c))
	}
	for name, data := range images[0].Files {
		if !bytes.Equal(data, images[1].Files[name]) {
			t.Errorf("%s differs between two directories", name)
		}
	}
	checkReal(t, images[0])
}

// realPackages gets the packages that the lock names, from this machine's cache or its mirror.
func realPackages(t *testing.T, lock image.Lock) map[string][]byte {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	f := image.Fetcher{Client: &http.Client{Timeout: 5 * time.Minute}, Mirrors: image.Mirrors(os.DirFS("/etc/apt")), Cache: filepath.Join(cache, "strongroom", "packages")}
	debs := map[string][]byte{}
	for _, p := range lock.Packages {
		if debs[p.File()], err = f.Get(t.Context(), p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skipf("no packages to build a room image of: %v", err)
		}
	}
	return debs
}

// fromSource copies what a program is made of into a directory and builds it there, as the
// Makefile does.
func fromSource(t *testing.T, dir, name string) []byte {
	t.Helper()
	list := exec.Command("go", "list", "-deps", "-f", `{{if .Module}}{{if .Module.Main}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{end}}{{end}}`, "./cmd/"+name)
	list.Dir = ".."
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(strings.Fields(string(out)), filepath.Join(root, "go.mod"), filepath.Join(root, "go.sum"), filepath.Join(root, "Makefile"), filepath.Join(root, "scripts", "link-static")) {
		within, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		copyFile(t, file, filepath.Join(dir, within))
	}
	lines := run(t, dir, "make", "-n", "build", "VERSION=test")
	for line := range strings.Lines(lines) {
		if strings.HasSuffix(strings.TrimSpace(line), " ./cmd/"+name) {
			run(t, dir, "sh", "-ec", line)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return string(out)
}

// checkReal looks for what a real kernel must bring.
func checkReal(t *testing.T, img *image.Image) {
	t.Helper()
	if r, said := predict.ReleaseOf(img.Files[image.FileTDX]); !said || r.String() != "2025.02" {
		t.Errorf("firmware for TDX says that it is %v, %v", r, said)
	}
	if r := img.Manifest.Kernel; !strings.HasPrefix(r, "6.12.") || !strings.HasSuffix(r, "-cloud-amd64") {
		t.Errorf("kernel %s", r)
	}
	if uki := img.Files[image.FileUKI]; len(uki) > image.MaxUKI {
		t.Errorf("%d bytes", len(uki))
	}
	if measures, err := (predict.TDX{Firmware: img.Files[image.FileTDX]}).MeasuresBoot(); err != nil || !measures {
		t.Errorf("firmware for TDX measures what boots: %v, %v", measures, err)
	}
	digest, err := predict.StubDigest(img.Files[image.FileUKI])
	if err != nil {
		t.Fatal(err)
	}
	if name, known := predict.StubName(digest); !known || !strings.Contains(name, img.Manifest.Packages[1].Version) {
		t.Errorf("the boot stub of the lock is known as %q", name)
	}
	files := initrdOf(t, img)
	config, err := machine.Parse([]byte(files["machine.json"]))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"virtio_blk", "dm_verity", "dm_crypt", "sev_guest", "tdx_guest", "nsm"} {
		if !slices.Contains(config.Modules, name) {
			t.Errorf("no module %s", name)
		}
	}
	for _, name := range config.Modules {
		data := files["modules/"+name+".ko"]
		if !strings.HasSuffix(data, "~Module signature appended~\n") || !strings.Contains(data, "vermagic="+img.Manifest.Kernel+" ") {
			t.Errorf("module %s is not signed, or another kernel's", name)
		}
	}
	if got := wire.HashOf(img.Files[image.FileKernel]); img.Manifest.Sections[3].SHA256 != got {
		t.Errorf("the kernel in %s is another than %s", image.FileUKI, got)
	}
}
