package image_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/image"
	"strongroom.dev/machine"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func TestOpen(t *testing.T) {
	img := built(t)
	dir := filepath.Join(t.TempDir(), "room")
	if err := img.Write(dir); err != nil {
		t.Fatal(err)
	}
	if m, err := image.Open(dir); err != nil || !cmp.Equal(m, img.Manifest) {
		t.Errorf("%v: %s", err, cmp.Diff(img.Manifest, m))
	}
	if _, err := image.Open(t.TempDir()); err == nil || verdict.As(err).Kind != verdict.Usage {
		t.Errorf("an empty directory: %v", err)
	}
}

// TestOpenFindsEveryChange flips a bit in each file, removes it, and adds one.
func TestOpenFindsEveryChange(t *testing.T) {
	img := built(t)
	dir := filepath.Join(t.TempDir(), "room")
	if err := img.Write(dir); err != nil {
		t.Fatal(err)
	}
	refused := func(what string) {
		t.Helper()
		if _, err := image.Open(dir); err == nil || verdict.As(err).Kind != verdict.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	for name, data := range img.Files {
		path := filepath.Join(dir, name)
		if name != image.FileManifest {
			spoilt := bytes.Clone(data)
			spoilt[len(spoilt)/2] ^= 1
			if err := os.WriteFile(path, spoilt, 0o644); err != nil {
				t.Fatal(err)
			}
			refused(name + " with a flipped bit")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			refused("no " + name)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := image.Open(dir); err != nil {
		t.Fatalf("restored: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "extra"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	refused("a file more")
}

// TestOpenFindsLies makes manifests that agree with their files and not with what is in these.
func TestOpenFindsLies(t *testing.T) {
	for name, lie := range map[string]func(img *image.Image){
		"another format": func(img *image.Image) { img.Manifest.Format = "strongroom/image/v2" },
		"another kernel": func(img *image.Image) { swap(img, image.FileKernel, []byte("another")) },
		"another initrd": func(img *image.Image) {
			swap(img, image.FileInitrd, packZstd(t, image.WriteCpio(image.Directories(), [2]string{"init", "evil"})))
		},
		"another line":    func(img *image.Image) { swap(img, image.FileCmdline, []byte("debug")) },
		"a line told":     func(img *image.Image) { img.Manifest.Cmdline = "debug" },
		"a release told":  func(img *image.Image) { img.Manifest.Kernel = "6.12.2" },
		"no sections":     func(img *image.Image) { img.Manifest.Sections = img.Manifest.Sections[:0] },
		"fewer sections":  func(img *image.Image) { img.Manifest.Sections = img.Manifest.Sections[1:2] },
		"section's name":  func(img *image.Image) { img.Manifest.Sections[1].Name = ".dtb" },
		"section digest":  func(img *image.Image) { img.Manifest.Sections[0].SHA256[0] ^= 1 },
		"fewer members":   func(img *image.Image) { img.Manifest.Initrd = img.Manifest.Initrd[1:] },
		"member's name":   func(img *image.Image) { img.Manifest.Initrd[1].Name = "sbin/init" },
		"member's digest": func(img *image.Image) { img.Manifest.Initrd[0].SHA256[0] ^= 1 },
		"engine's root":   func(img *image.Image) { img.Manifest.Engines[0].Root[0] ^= 1 },
		"no engine":       func(img *image.Image) { img.Manifest.Engines = img.Manifest.Engines[:0] },
		"another disk": func(img *image.Image) {
			swap(img, "strongroom-sql.disk", append(bytes.Clone(img.Files["strongroom-sql.disk"]), make([]byte, 4096)...))
		},
		"a changed tree": func(img *image.Image) {
			disk := bytes.Clone(img.Files["strongroom-sql.disk"])
			disk[len(disk)-1] ^= 1
			swap(img, "strongroom-sql.disk", disk)
		},
		"no kernel image": func(img *image.Image) { swap(img, image.FileUKI, []byte("MZ")) },
		"a file outside":  func(img *image.Image) { img.Manifest.Files[0].Name = "../OVMF_TDX.fd" },
		"a file twice":    func(img *image.Image) { img.Manifest.Files = append(img.Manifest.Files, img.Manifest.Files[0]) },
		"another program": func(img *image.Image) { img.Manifest.Engines[0].Digest[0] ^= 1 },
	} {
		img := built(t)
		lie(img)
		img.Files[image.FileManifest] = img.Manifest.Text()
		dir := filepath.Join(t.TempDir(), "room")
		if err := img.Write(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := image.Open(dir); err == nil {
			t.Errorf("%s: believed", name)
		}
	}
}

func TestCheckEngines(t *testing.T) {
	for name, lie := range map[string]func(e *machine.Engine){
		"root": func(e *machine.Engine) { e.Root[0] ^= 1 }, "salt": func(e *machine.Engine) { e.Salt[0] ^= 1 }, "digest": func(e *machine.Engine) { e.Digest[0] ^= 1 },
		"size": func(e *machine.Engine) { e.Size-- }, "no size": func(e *machine.Engine) { e.Size = 0 }, "large": func(e *machine.Engine) { e.Size = e.DataBlocks*4096 + 1 },
		"fewer blocks": func(e *machine.Engine) { e.DataBlocks-- }, "more blocks": func(e *machine.Engine) { e.DataBlocks++ }, "many blocks": func(e *machine.Engine) { e.DataBlocks = 1 << 40 },
		"negative blocks": func(e *machine.Engine) { e.DataBlocks = -1 }, "no such disk": func(e *machine.Engine) { e.Name = "other" },
	} {
		img := built(t)
		if err := image.CheckEngines(img.Manifest, img.Files); err != nil {
			t.Fatal(err)
		}
		lie(&img.Manifest.Engines[0])
		if err := image.CheckEngines(img.Manifest, img.Files); err == nil || verdict.As(err).Kind != verdict.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOpenStaysInside: a manifest can't name a file elsewhere, even where it is the same.
func TestOpenStaysInside(t *testing.T) {
	img := built(t)
	dir := filepath.Join(t.TempDir(), "room")
	first := img.Manifest.Files[0].Name
	img.Manifest.Files[0].Name = "../" + first
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), first), img.Files[first], 0o644); err != nil {
		t.Fatal(err)
	}
	delete(img.Files, first)
	img.Files[image.FileManifest] = img.Manifest.Text()
	if err := img.Write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := image.Open(dir); err == nil || !strings.Contains(err.Error(), "by its name") {
		t.Error(err)
	}
}

// swap puts another file in its place, and tells the manifest.
func swap(img *image.Image, name string, data []byte) {
	img.Files[name] = data
	for i := range img.Manifest.Files {
		if f := &img.Manifest.Files[i]; f.Name == name {
			f.Size, f.SHA256 = int64(len(data)), wire.HashOf(data)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"format":"` + image.Format + `"}`))
	f.Add(built(f).Files[image.FileManifest])
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := image.ParseManifest(data)
		if err != nil {
			return
		}
		if again, err := image.ParseManifest(m.Text()); err != nil || !cmp.Equal(again, m) {
			t.Errorf("%v: %s", err, cmp.Diff(m, again))
		}
	})
}

func TestOriginText(t *testing.T) {
	for want, o := range map[string]image.Origin{"ovmf 1.0-1: a/b": {Package: "ovmf 1.0-1", Path: "a/b"}, "strongroom-sql": {Program: "strongroom-sql"}, "made: so": {Made: "made: so"}} {
		if got := o.String(); got != want || strings.Contains(got, "  ") {
			t.Errorf("%q", got)
		}
	}
}
