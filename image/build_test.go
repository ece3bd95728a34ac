package image_test

import (
	"bytes"
	"debug/pe"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/image"
	"strongroom.dev/machine"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func build(t testing.TB, c image.Config) *image.Image {
	t.Helper()
	img, err := image.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// built gives a copy of one image that all tests share.
func built(t testing.TB) *image.Image {
	t.Helper()
	shared.Do(func() { shared.image, shared.err = image.Build(testConfig(t)) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	m, err := image.ParseManifest(shared.image.Manifest.Text())
	if err != nil {
		t.Fatal(err)
	}
	return &image.Image{Manifest: m, Files: maps.Clone(shared.image.Files)}
}

var shared struct {
	sync.Once
	image *image.Image
	err   error
}

// TestBuildTwice builds into two directories of different depth: every file is the same.
func TestBuildTwice(t *testing.T) {
	one, two := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "deep", "er", "b")
	for _, dir := range []string{one, two} {
		if err := build(t, testConfig(t)).Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	names := func(dir string) (out []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			out = append(out, e.Name())
		}
		return out
	}
	want := []string{"OVMF_CODE.fd", "OVMF_SNP.fd", "OVMF_TDX.fd", "OVMF_VARS.fd", "cmdline", "image.json", "initrd", "room.efi", "sbom.spdx.json", "strongroom-sql.disk", "vmlinuz"}
	if !cmp.Equal(names(one), want) || !cmp.Equal(names(two), want) {
		t.Fatalf("%v, %v", names(one), names(two))
	}
	for _, name := range want {
		a, _ := os.ReadFile(filepath.Join(one, name))
		b, _ := os.ReadFile(filepath.Join(two, name))
		if !bytes.Equal(a, b) || len(a) == 0 {
			t.Errorf("%s differs, or is empty", name)
		}
	}
}

// TestBuildCounts changes one input at a time: the unified kernel image changes with each that a
// room's behaviour depends on.
func TestBuildCounts(t *testing.T) {
	uki := func(c image.Config) string { return string(build(t, c).Files[image.FileUKI]) }
	base := string(built(t).Files[image.FileUKI])
	for name, change := range map[string]func(c *image.Config){
		"agent":         func(c *image.Config) { c.Agent.Data = append(bytes.Clone(c.Agent.Data), 0) },
		"engine":        func(c *image.Config) { c.Engines[0].Data = append(bytes.Clone(c.Engines[0].Data), 0) },
		"no engine":     func(c *image.Config) { c.Engines = nil },
		"engine's name": func(c *image.Config) { c.Engines[0].Name = "other" },
		"engine's cgo":  func(c *image.Config) { c.Engines[0].Data = program(t, "cgo") }, // which it may have
		"version":       func(c *image.Config) { c.Version = "v2" },
	} {
		c := testConfig(t)
		change(&c)
		if uki(c) == base {
			t.Errorf("%s: the same image", name)
		}
	}
}

func TestBuildParts(t *testing.T) {
	img := built(t)
	f, err := pe.NewFile(bytes.NewReader(img.Files[image.FileUKI]))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range f.Sections {
		data, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		got[s.Name] = string(data[:min(len(data), int(s.VirtualSize))])
	}
	for name, want := range map[string]string{".cmdline": image.Cmdline + "\x00", ".linux": "a kernel", ".uname": testRelease, ".initrd": string(img.Files[image.FileInitrd])} {
		if got[name] != want {
			t.Errorf("%s: %q", name, verdict.Short(got[name]))
		}
	}
	if !strings.Contains(got[".osrel"], "VERSION_ID=\"v1-test\"\n") {
		t.Errorf("%q", got[".osrel"])
	}
	m := img.Manifest
	engine := program(t, "static")
	if len(m.Engines) != 1 || m.Engines[0].Digest != wire.DigestOf(engine) || m.Engines[0].Size != int64(len(engine)) || m.Engines[0].Disk != "engine-0" {
		t.Errorf("%+v", m.Engines)
	}
	var names []string
	for _, f := range m.Initrd {
		names = append(names, f.Name)
	}
	for _, want := range append(image.WantedModules(), "dm_bufio") {
		if !slices.Contains(names, "modules/"+want+".ko") {
			t.Errorf("no module %s in the initrd", want)
		}
	}
	if !slices.Contains(names, "init") || !slices.Contains(names, "machine.json") || !slices.IsSorted(names) {
		t.Errorf("initrd: %v", names)
	}
}

// TestFirmware: each platform's comes from its own package, two of which have one name; that for
// SEV-SNP only where the lock has it.
func TestFirmware(t *testing.T) {
	with, c := built(t), testConfig(t)
	c.Lock.Packages = c.Lock.Packages[:len(c.Lock.Packages)-1]
	without := build(t, c)
	for _, want := range []struct{ name, data, origin string }{
		{image.FileCode, "code", "ovmf 1.0-1: usr/share/OVMF/OVMF_CODE_4M.fd"}, {image.FileVars, "vars", "ovmf 1.0-1: usr/share/OVMF/OVMF_VARS_4M.fd"},
		{image.FileTDX, "for tdx", "ovmf 2.0-1: usr/share/ovmf/OVMF.fd"}, {image.FileSNP, "for snp", "ovmf-amdsev 1.0-1: usr/share/ovmf/OVMF.amdsev.fd"},
	} {
		for _, img := range []*image.Image{with, without} {
			f, there := img.Manifest.File(want.name)
			if img == without && want.name == image.FileSNP {
				if there || img.Files[want.name] != nil || strings.Contains(string(img.Files[image.FileSBOM]), "amdsev") {
					t.Errorf("%s is in an image whose lock has none", want.name)
				}
				continue
			}
			if string(img.Files[want.name]) != want.data || f.Origin.String() != want.origin || !strings.Contains(string(img.Files[image.FileManifest]), want.origin[:strings.Index(want.origin, ":")]) {
				t.Errorf("%s: %q of %s", want.name, img.Files[want.name], f.Origin)
			}
		}
	}
	for _, file := range []string{"ovmf_1.0-1_amd64.deb", "ovmf_2.0-1_amd64.deb", "ovmf-amdsev_1.0-1_amd64.deb"} {
		if !strings.Contains(string(with.Files[image.FileSBOM]), file) {
			t.Errorf("%s is not in the bill of materials", file)
		}
	}
	if !bytes.Equal(with.Files[image.FileUKI], without.Files[image.FileUKI]) {
		t.Error("firmware changes the room")
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(c *image.Config)
		kind  verdict.Kind
		check string
	}{
		"zero":            {func(c *image.Config) { *c = image.Config{} }, verdict.Usage, "image.build"},
		"no agent":        {func(c *image.Config) { c.Agent.Data = nil }, verdict.Usage, "image.build"},
		"no packages":     {func(c *image.Config) { c.Packages = nil }, verdict.Usage, "image.build"},
		"no version":      {func(c *image.Config) { c.Version = "" }, verdict.Usage, "image.build"},
		"quoting version": {func(c *image.Config) { c.Version = "v1\"\nID=other" }, verdict.Usage, "image.build"},
		"no lock":         {func(c *image.Config) { c.Lock = image.Lock{} }, verdict.Usage, "image.lock"},
		"another package": {func(c *image.Config) { c.Lock.Packages[1].SHA256[0] ^= 1 }, verdict.Invalid, "image.package"},
		"no kernel":       {func(c *image.Config) { empty(t, c, 0) }, verdict.Broken, "image.package"},
		"no variables":    {func(c *image.Config) { empty(t, c, 2) }, verdict.Broken, "image.package"},
		"nothing for tdx": {func(c *image.Config) { empty(t, c, 3) }, verdict.Broken, "image.package"},
		"nothing for snp": {func(c *image.Config) { empty(t, c, 4) }, verdict.Broken, "image.package"},
		"no program":      {func(c *image.Config) { c.Agent.Data = []byte("#!/bin/sh\n") }, verdict.Refused, "image.program"},
		"arm":             {func(c *image.Config) { c.Agent.Data = program(t, "arm") }, verdict.Refused, "image.program"},
		"cgo agent":       {func(c *image.Config) { c.Agent.Data = program(t, "cgo") }, verdict.Refused, "image.program"},
		"dynamic agent":   {func(c *image.Config) { c.Agent.Data = program(t, "dynamic") }, verdict.Refused, "image.program"},
		"dynamic engine":  {func(c *image.Config) { c.Engines[0].Data = program(t, "dynamic") }, verdict.Refused, "image.program"},
		"large agent":     {func(c *image.Config) { c.Agent.Data = append(bytes.Clone(c.Agent.Data), noise(17<<20)...) }, verdict.Refused, "image.size"},
		"large engine":    {func(c *image.Config) { c.Engines[0].Data = make([]byte, image.MaxDisk+1) }, verdict.Refused, "image.size"},
		"large disk":      {func(c *image.Config) { c.Engines[0].Data = make([]byte, image.MaxDisk-4096) }, verdict.Refused, "image.size"},
		"engine's name":   {func(c *image.Config) { c.Engines[0].Name = "../sql" }, verdict.Refused, "image.size"},
		"same engine":     {func(c *image.Config) { c.Engines = append(c.Engines, c.Engines[0]) }, verdict.Refused, "machine.config"},
		"mirror fails": {func(c *image.Config) {
			c.Packages = func(image.Package) ([]byte, error) { return nil, errors.New("no network") }
		}, verdict.Broken, "internal"},
	} {
		cfg := testConfig(t)
		c.spoil(&cfg)
		if _, err := image.Build(cfg); err == nil || verdict.As(err).Kind != c.kind || verdict.As(err).Check != c.check {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// empty puts another package in the place of one, in the lock too: one with nothing in it that
// images need.
func empty(t testing.TB, c *image.Config, i int) {
	t.Helper()
	deb := debOf(t, map[string][]byte{"usr/share/doc/readme": []byte("nothing")})
	rest, p := c.Packages, c.Lock.Packages[i]
	spoilt := packageFor(p.Use, p.Name, deb)
	c.Lock.Packages[i] = spoilt
	c.Packages = func(p image.Package) ([]byte, error) {
		if p == spoilt {
			return deb, nil
		}
		return rest(p)
	}
}

// noise doesn't compress.
func noise(n int) []byte {
	out := make([]byte, 0, n)
	for sum := wire.HashOf(nil); len(out) < n; sum = wire.HashOf(sum[:]) {
		out = append(out, sum[:]...)
	}
	return out
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	img := built(t)
	if err := img.Write(dir); err != nil {
		t.Errorf("into an empty directory: %v", err)
	}
	if err := img.Write(dir); err == nil || verdict.As(err).Kind != verdict.Usage {
		t.Errorf("over an image: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := img.Write(file); err == nil || verdict.As(err).Kind != verdict.Usage {
		t.Errorf("over a file: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestSBOM checks what SPDX 2.3 demands of a document, and that everything hangs together.
func TestSBOM(t *testing.T) {
	var doc struct {
		SPDXVersion, DataLicense, SPDXID, DocumentNamespace string
		CreationInfo                                        struct{ Created string }
		Packages                                            []struct{ SPDXID, Name, DownloadLocation string }
		Relationships                                       []struct{ SPDXElementID, RelationshipType, RelatedSPDXElement string }
	}
	img := built(t)
	if err := json.Unmarshal(img.Files[image.FileSBOM], &doc); err != nil {
		t.Fatal(err)
	}
	uki := wire.HashOf(img.Files[image.FileUKI])
	if doc.SPDXVersion != "SPDX-2.3" || doc.DataLicense != "CC0-1.0" || doc.SPDXID != "SPDXRef-DOCUMENT" || doc.CreationInfo.Created != "2026-01-02T03:04:05Z" ||
		!strings.HasSuffix(doc.DocumentNamespace, strings.TrimPrefix(uki.String(), "sha256:")) {
		t.Errorf("%+v", doc)
	}
	ids, named := map[string]string{"SPDXRef-DOCUMENT": ""}, map[string]bool{}
	for _, p := range doc.Packages {
		if _, twice := ids[p.SPDXID]; twice || p.DownloadLocation == "" || strings.Trim(p.SPDXID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" {
			t.Errorf("%+v", p)
		}
		ids[p.SPDXID], named[p.Name] = p.Name, true
	}
	reached := map[string]bool{"SPDXRef-DOCUMENT": true}
	for _, r := range doc.Relationships { // parents come before what they contain
		if _, there := ids[r.RelatedSPDXElement]; !there || !reached[r.SPDXElementID] {
			t.Errorf("%+v", r)
		}
		reached[r.RelatedSPDXElement] = true
	}
	if len(reached) != len(ids) {
		t.Errorf("%d of %d elements are related to the image", len(reached), len(ids))
	}
	for _, want := range []string{"linux-image-test", "systemd-boot-efi", "ovmf", "ovmf-amdsev", "strongroom-agent", "strongroom-sql", "std", "runtime", "example.test/agent", "example.test/agent/in.ner", "example.test/agent/in/ner", "example.test/agent/in-ner"} {
		if !named[want] {
			t.Errorf("%s is not in %v", want, slices.Sorted(maps.Keys(named)))
		}
	}
}

func TestMachineConfig(t *testing.T) {
	img := built(t)
	files := initrdOf(t, img)
	c, err := machine.Parse([]byte(files["machine.json"]))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Engines, img.Manifest.Engines) {
		t.Errorf("%+v", c.Engines)
	}
	for _, pair := range [][2]string{{"dm_mod", "dm_verity"}, {"dm_bufio", "dm_verity"}, {"configfs", "tsm"}, {"tsm", "sev_guest"}} {
		if slices.Index(c.Modules, pair[0]) < 0 || slices.Index(c.Modules, pair[0]) > slices.Index(c.Modules, pair[1]) {
			t.Errorf("%s is not before %s: %v", pair[0], pair[1], c.Modules)
		}
	}
	if slices.Contains(c.Modules, "builtin_one") {
		t.Error("a built-in module is to be loaded")
	}
}
