package image_test

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"strongroom.dev/image"
	"strongroom.dev/wire"
)

// The packages of tests hold what an image takes out of real ones, in small: an EFI program
// of two sections, a kernel that is only bytes, modules of nothing but their description.

func packXZ(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func packZstd(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// tarOf makes a tar archive as dpkg writes it: names start with "./".
func tarOf(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data := files[name]
		h := &tar.Header{Name: "./" + name, Mode: 0o644, Size: int64(len(data)), ModTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Typeflag: tar.TypeReg}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Size = tar.TypeDir, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// arOf makes an ar archive out of pairs of name and content.
func arOf(members ...string) []byte {
	out := []byte("!<arch>\n")
	for i := 0; i+1 < len(members); i += 2 {
		out = fmt.Appendf(out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", members[i], 1767323045, 0, 0, "100644", len(members[i+1]))
		out = append(out, members[i+1]...)
		if len(members[i+1])%2 == 1 {
			out = append(out, '\n')
		}
	}
	return out
}

func debOf(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	return arOf("debian-binary", "2.0\n", "control.tar.xz", "any", "data.tar.xz", string(packXZ(t, tarOf(t, files))))
}

// moduleOf makes a kernel module: an ELF file whose .modinfo says what it needs.
func moduleOf(depends string) []byte {
	info := "license=GPL\x00depends=" + depends + "\x00name=any\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	var out bytes.Buffer
	head := elf.Header64{Type: 1, Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 2}
	copy(head.Ident[:], "\x7fELF\x02\x01\x01")
	infoAt := uint64(64)
	namesAt := infoAt + uint64(len(info))
	head.Shoff = (namesAt + uint64(len(names)) + 7) &^ 7
	binary.Write(&out, binary.LittleEndian, head)
	out.WriteString(info + names)
	out.Write(make([]byte, int(head.Shoff)-out.Len()))
	for _, s := range []elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: infoAt, Size: uint64(len(info)), Addralign: 1},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: namesAt, Size: uint64(len(names)), Addralign: 1},
	} {
		binary.Write(&out, binary.LittleEndian, s)
	}
	return out.Bytes()
}

// peOf makes an EFI program of one page of code and a symbol table behind it.
func peOf() []byte {
	out := make([]byte, 0x400)
	copy(out, "MZ")
	out[0x3c] = 0x40
	copy(out[0x40:], "PE\x00\x00\x64\x86\x01\x00")
	binary.LittleEndian.PutUint32(out[0x4c:], 0x600) // symbols
	binary.LittleEndian.PutUint32(out[0x50:], 1)
	binary.LittleEndian.PutUint16(out[0x54:], 0xf0)
	opt := out[0x58:]
	binary.LittleEndian.PutUint16(opt, 0x20b)
	binary.LittleEndian.PutUint32(opt[32:], 0x1000)
	binary.LittleEndian.PutUint32(opt[36:], 0x200)
	binary.LittleEndian.PutUint32(opt[56:], 0x2000)
	binary.LittleEndian.PutUint32(opt[60:], 0x400)
	binary.LittleEndian.PutUint32(opt[64:], 0xdeadbeef) // checksum
	binary.LittleEndian.PutUint32(opt[108:], 16)
	sect := out[0x58+0xf0:]
	copy(sect, ".text")
	for i, v := range []uint32{0x123, 0x1000, 0x200, 0x400} {
		binary.LittleEndian.PutUint32(sect[8+4*i:], v)
	}
	binary.LittleEndian.PutUint32(sect[36:], 0x60000020)
	out = append(out, bytes.Repeat([]byte{0xc3}, 0x200)...)
	return append(out, "symbols"...)
}

const testRelease = "6.12.1+test-cloud-amd64"

func kernelFiles(t testing.TB) map[string][]byte {
	files := map[string][]byte{
		"boot/vmlinuz-" + testRelease:                        []byte("a kernel"),
		"lib/modules/" + testRelease + "/modules.builtin":    []byte("kernel/lib/builtin-one.ko\n"),
		"lib/modules/" + testRelease + "/kernel/":            nil,
		"usr/share/doc/linux-image/copyright":                []byte("not wanted"),
		"lib/modules/" + testRelease + "/kernel/unwanted.ko": []byte("not a module"),
	}
	needs := map[string]string{"dm_verity": "dm-mod,dm-bufio", "tsm": "configfs", "sev_guest": "tsm,builtin-one", "tdx_guest": "tsm"}
	for _, name := range append(image.WantedModules(), "dm_bufio") {
		file := strings.ReplaceAll(name, "_", "-")
		files["lib/modules/"+testRelease+"/kernel/any/"+file+".ko.xz"] = packXZ(t, moduleOf(needs[name]))
	}
	return files
}

// testPackages gives packages by their files' names, and their lock.
func testPackages(t testing.TB) (image.Lock, map[string][]byte) {
	t.Helper()
	lock := image.Lock{Format: image.LockFormat}
	debs := map[string][]byte{}
	for _, p := range []struct {
		use, name string
		files     map[string][]byte
	}{
		{image.UseKernel, "linux-image-test", kernelFiles(t)},
		{image.UseStub, "systemd-boot-efi", map[string][]byte{"usr/lib/systemd/boot/efi/linuxx64.efi.stub": peOf()}},
		{image.UseFirmware, "ovmf", map[string][]byte{"usr/share/OVMF/OVMF_CODE_4M.fd": []byte("code"), "usr/share/OVMF/OVMF_VARS_4M.fd": []byte("vars"), "usr/share/ovmf/OVMF.fd": []byte("old")}},
		{image.UseTDX, "ovmf", map[string][]byte{"usr/share/OVMF/OVMF_CODE_4M.fd": []byte("newer code"), "usr/share/ovmf/OVMF.fd": []byte("for tdx")}},
		{image.UseSNP, "ovmf-amdsev", map[string][]byte{"usr/share/ovmf/OVMF.amdsev.fd": []byte("for snp")}},
	} {
		pkg := packageFor(p.use, p.name, debOf(t, p.files))
		debs[pkg.File()] = debOf(t, p.files)
		lock.Packages = append(lock.Packages, pkg)
	}
	return lock, debs
}

func packageFor(use, name string, deb []byte) image.Package {
	version := "1.0-1"
	if use == image.UseTDX { // of the same name as another
		version = "2.0-1"
	}
	return image.Package{Use: use, Name: name, Version: version, Archive: "debian", Suite: "bookworm",
		Path: "pool/main/t/test/" + name + "_" + version + "_amd64.deb", Size: int64(len(deb)), SHA256: wire.HashOf(deb)}
}

// inner is a package whose path differs from others' only where an SPDX identifier can't.
const inner = "package inner\n\nfunc Say() { println(\"hello\") }\n"

// programs are built once for all tests: a static one, and ones that rooms can't run.
var programs = sync.OnceValues(func() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "strongroom-image-test-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{"go.mod": "module example.test/agent\n\ngo 1.26\n", "main.go": "package main\n\nimport (\n\t\"example.test/agent/in.ner\"\n\ttoo \"example.test/agent/in/ner\"\n\talso \"example.test/agent/in-ner\"\n)\n\nfunc main() { inner.Say(); too.Say(); also.Say() }\n",
		"in.ner/inner.go": inner, "in/ner/inner.go": inner, "in-ner/inner.go": inner} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	out := map[string][]byte{}
	for name, env := range map[string][]string{"static": {"CGO_ENABLED=0", "GOARCH=amd64"}, "arm": {"CGO_ENABLED=0", "GOARCH=arm64"}, "cgo": {"CGO_ENABLED=1", "GOARCH=amd64"}, "dynamic": {"CGO_ENABLED=0", "GOARCH=amd64", "GOFLAGS=-buildmode=pie"}} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", filepath.Join(dir, name), ".")
		cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "GOOS=linux", "GOFLAGS=", "GOWORK=off"), env...)
		if said, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build: %w: %s", err, said)
		}
		if out[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return out, nil
})

func program(t testing.TB, name string) []byte {
	t.Helper()
	all, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return all[name]
}

// testConfig is what a small image is built of.
func testConfig(t testing.TB) image.Config {
	t.Helper()
	lock, debs := testPackages(t)
	return image.Config{
		Lock: lock, Packages: func(p image.Package) ([]byte, error) { return debs[p.File()], nil },
		Agent:   image.Program{Name: "strongroom-agent", Data: program(t, "static")},
		Engines: []image.Program{{Name: "strongroom-sql", Data: program(t, "static")}},
		Version: "v1-test",
	}
}
