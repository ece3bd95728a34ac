package image_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/image"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// written puts an image into a directory of its own, with a manifest that says what it says.
func written(t *testing.T, img *image.Image) string {
	t.Helper()
	img.Files[image.FileManifest] = img.Manifest.Text()
	dir := filepath.Join(t.TempDir(), "room")
	if err := img.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// having gives the packages of some uses only.
func having(t *testing.T, uses ...string) func(image.Package) ([]byte, bool) {
	t.Helper()
	_, debs := testPackages(t)
	return func(p image.Package) ([]byte, bool) {
		for _, use := range uses {
			if use == p.Use {
				return debs[p.File()], true
			}
		}
		return nil, false
	}
}

func TestInspect(t *testing.T) {
	img := built(t)
	dir := written(t, img)
	l, err := image.Inspect(dir, having(t, image.Uses()...))
	if err != nil || !cmp.Equal(l.Manifest, img.Manifest) {
		t.Fatalf("%v: %s", err, cmp.Diff(img.Manifest, l.Manifest))
	}
	var names []string
	for _, p := range l.Parts {
		names = append(names, p.Name)
		if got := l.Origin(p.Origin); p.Name == ".text" && got != "systemd-boot-efi 1.0-1: usr/lib/systemd/boot/efi/linuxx64.efi.stub" {
			t.Errorf("the stub's code is from %q", got)
		}
	}
	if want := []string{".text", ".osrel", ".cmdline", ".uname", ".linux", ".initrd"}; !cmp.Equal(names, want) {
		t.Errorf("sections %v", names)
	}
	if len(l.Stub.Digest) != 64 || l.Stub.Known != "" || len(l.Compared) != 5 {
		t.Errorf("stub %+v, compared %v", l.Stub, l.Compared)
	}
	if l.Role("strongroom-agent") != "init" || l.Role("strongroom-sql") != "engine-0" || l.Role("other") != "" {
		t.Errorf("%q, %q", l.Role("strongroom-agent"), l.Role("strongroom-sql"))
	}
	some, err := image.Inspect(dir, having(t, image.UseKernel))
	if err != nil || !cmp.Equal(some.Compared, []string{"linux-image-test 1.0-1"}) {
		t.Fatalf("%v, %v", some.Compared, err)
	}
	for want, f := range map[string]string{"linux-image-test 1.0-1: boot/vmlinuz-" + testRelease: image.FileKernel, "says ovmf 1.0-1: usr/share/OVMF/OVMF_CODE_4M.fd": image.FileCode, "strongroom-sql": "strongroom-sql.disk", "says made: cpio packed with zstd": image.FileInitrd} {
		file, _ := some.File(f)
		if got := some.Origin(file.Origin); got != want {
			t.Errorf("%s is from %q, expected %q", f, got, want)
		}
	}
}

// TestInspectFindsLies makes images that are whole and say untrue things of where they are from.
func TestInspectFindsLies(t *testing.T) {
	for name, test := range map[string]struct {
		lie   func(img *image.Image)
		found bool // without packages
		check string
	}{
		"other firmware": {func(img *image.Image) { swap(img, image.FileCode, []byte("evil code")) }, false, "image.origin"},
		"a file that its package lacks": {func(img *image.Image) {
			for i := range img.Manifest.Files {
				if f := &img.Manifest.Files[i]; f.Name == image.FileVars {
					f.Origin.Path = "usr/share/OVMF/none.fd"
				}
			}
		}, false, "image.origin"},
		"one path for two files": {func(img *image.Image) {
			for i := range img.Manifest.Files {
				if f := &img.Manifest.Files[i]; f.Name == image.FileCode {
					f.Origin.Path = "usr/share/OVMF/OVMF_VARS_4M.fd"
				}
			}
		}, false, "image.origin"},
		"another stub": {func(img *image.Image) {
			uki := append([]byte(nil), img.Files[image.FileUKI]...)
			uki[0x400] ^= 1 // the first byte of its code
			swap(img, image.FileUKI, uki)
		}, false, "image.origin"},
		"another package": {func(img *image.Image) { img.Manifest.Packages[0].SHA256[0] ^= 1 }, false, "image.package"},
		"a program told":  {func(img *image.Image) { img.Manifest.Programs[0].SHA256[0] ^= 1 }, true, "image.files"},
		"its size":        {func(img *image.Image) { img.Manifest.Programs[1].Size++ }, true, "image.files"},
		"no program":      {func(img *image.Image) { img.Manifest.Programs = img.Manifest.Programs[:1] }, true, "image.files"},
		"a program more": {func(img *image.Image) {
			img.Manifest.Programs = append(img.Manifest.Programs, image.File{Name: "more", SHA256: wire.Hash{1}})
		}, true, "image.files"},
		"one twice":          {func(img *image.Image) { img.Manifest.Programs[1] = img.Manifest.Programs[0] }, true, "image.files"},
		"init of a package":  {func(img *image.Image) { img.Manifest.Initrd[0].Origin = image.Origin{Package: "x 1"} }, true, "image.files"},
		"a module a program": {func(img *image.Image) { img.Manifest.Initrd[2].Origin = image.Origin{Program: "strongroom-agent"} }, true, "image.files"},
	} {
		img := built(t)
		test.lie(img)
		dir := written(t, img)
		if _, err := image.Inspect(dir, having(t, image.Uses()...)); err == nil || verdict.As(err).Check != test.check {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := image.Inspect(dir, having(t)); (err != nil) != test.found {
			t.Errorf("%s, without packages: %v", name, err)
		}
	}
}

func TestAtHand(t *testing.T) {
	lock, debs := testPackages(t)
	p, cache := lock.Packages[0], t.TempDir()
	f := image.Fetcher{Cache: cache}
	if _, ok := f.AtHand(p); ok {
		t.Error("an empty cache has it")
	}
	if err := os.WriteFile(filepath.Join(cache, p.SHA256.Short()+"-"+p.File()), debs[p.File()], 0o644); err != nil {
		t.Fatal(err)
	}
	if deb, ok := f.AtHand(p); !ok || string(deb) != string(debs[p.File()]) {
		t.Error("the cache doesn't give it")
	}
	p.Path = "../" + p.File()
	if _, ok := f.AtHand(p); ok {
		t.Error("a path that leaves the archive")
	}
	p = lock.Packages[0]
	if err := os.WriteFile(filepath.Join(cache, p.SHA256.Short()+"-"+p.File()), []byte(strings.Repeat("x", int(p.Size))), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.AtHand(p); ok {
		t.Error("other bytes")
	}
}
