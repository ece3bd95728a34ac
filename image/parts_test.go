package image_test

import (
	"bytes"
	"compress/gzip"
	"debug/pe"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"strongroom.dev/image"
	"strongroom.dev/verdict"
)

func all(string) bool { return true }

func TestReadDeb(t *testing.T) {
	data := tarOf(t, map[string][]byte{"a/": nil, "a/b": []byte("content")})
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(data)
	z.Close()
	for name, deb := range map[string][]byte{
		"xz":    arOf("debian-binary", "2.0\n", "control.tar.xz", "odd", "data.tar.xz", string(packXZ(t, data))),
		"zstd":  arOf("debian-binary", "2.0\n", "control.tar.zst", "", "data.tar.zst", string(packZstd(t, data))),
		"gzip":  arOf("debian-binary", "2.0\n", "data.tar.gz", packed.String()),
		"plain": arOf("debian-binary/", "2.0\n", "data.tar/", string(data)),
	} {
		if got, err := image.DebNames(deb, all); err != nil || !cmp.Equal(got, map[string]string{"a/b": "content"}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if got, err := image.DebNames(deb, func(name string) bool { return name != "a/b" }); err != nil || len(got) != 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestReadDebRefuses(t *testing.T) {
	data := tarOf(t, map[string][]byte{"a": []byte("content")})
	twice := append(bytes.Clone(data[:1024]), data...)
	for name, deb := range map[string][]byte{
		"nothing":         nil,
		"no archive":      []byte("PK\x03\x04"),
		"no member":       arOf(),
		"other archive":   arOf("data.tar", string(data)),
		"no data":         arOf("debian-binary", "2.0\n", "control.tar", ""),
		"cut member":      arOf("debian-binary", "2.0\n", "data.tar", string(data))[:1000],
		"other packing":   arOf("debian-binary", "2.0\n", "data.tar.lzma", string(data)),
		"broken xz":       arOf("debian-binary", "2.0\n", "data.tar.xz", string(data)),
		"cut xz":          arOf("debian-binary", "2.0\n", "data.tar.xz", string(packXZ(t, data)[:60])),
		"cut tar":         arOf("debian-binary", "2.0\n", "data.tar", string(data[:515])),
		"a file twice":    arOf("debian-binary", "2.0\n", "data.tar", string(twice)),
		"no header's end": bytes.Replace(arOf("debian-binary", "2.0\n", "data.tar", string(data)), []byte("`\n"), []byte("``"), 1),
		"a signed size":   bytes.Replace(arOf("debian-binary", "2.0\n", "data.tar", string(data)), []byte("4         `"), []byte("-4        `"), 1),
	} {
		if got, err := image.DebNames(deb, all); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzReadDeb(f *testing.F) {
	data := tarOf(f, map[string][]byte{"a": []byte("content")})
	f.Add(arOf("debian-binary", "2.0\n", "data.tar", string(data)))
	f.Add(arOf("debian-binary", "2.0\n", "data.tar.xz", string(packXZ(f, data))))
	f.Add(arOf("debian-binary", "2.0\n", "data.tar.zst", string(packZstd(f, data))))
	f.Fuzz(func(_ *testing.T, deb []byte) { image.DebNames(deb, all) })
}

func TestModuleOrder(t *testing.T) {
	files := map[string][]byte{
		"lib/modules/v/modules.builtin":   []byte("kernel/a/built-in.ko\nkernel/b/other.ko\n"),
		"lib/modules/v/kernel/top.ko.xz":  packXZ(t, moduleOf("mid-one,mid_two,built-in")),
		"lib/modules/v/kernel/mid-one.ko": moduleOf("low"), "lib/modules/v/kernel/mid-two.ko.zst": packZstd(t, moduleOf("low")),
		"lib/modules/v/kernel/low.ko": moduleOf(""), "lib/modules/v/kernel/loop-a.ko": moduleOf("loop-b"), "lib/modules/v/kernel/loop-b.ko": moduleOf("loop-a"),
		"lib/modules/v/kernel/lost.ko": moduleOf("nowhere"), "lib/modules/v/kernel/text.ko": []byte("text"), "lib/modules/v/kernel/cut.ko.xz": packXZ(t, moduleOf(""))[:40],
		"lib/modules/v/kernel/up.ko": moduleOf("../../init"),
	}
	got, err := image.ModuleOrder(files, []string{"top", "low", "other"})
	if want := []string{"low", "mid_one", "mid_two", "top"}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, name := range []string{"absent", "loop_a", "lost", "text", "cut", "up"} {
		if got, err := image.ModuleOrder(files, []string{name}); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestCpio(t *testing.T) {
	data := image.WriteCpio([]string{"dev"}, [2]string{"init", "#!"}, [2]string{"modules/a.ko", "four"})
	want := "070701" + "00000001" + "000041ED" + "00000000" + "00000000" + "00000002" + "00000000" + "00000000" + "00000000" + "00000000" + "00000000" + "00000000" + "00000004" + "00000000" + "dev\x00\x00\x00" +
		"070701" + "00000002" + "0000816D" + "00000000" + "00000000" + "00000001" + "00000000" + "00000002" + "00000000" + "00000000" + "00000000" + "00000000" + "00000005" + "00000000" + "init\x00\x00#!\x00\x00" +
		"070701" + "00000003" + "00008124" + "00000000" + "00000000" + "00000001" + "00000000" + "00000004" + "00000000" + "00000000" + "00000000" + "00000000" + "0000000D" + "00000000" + "modules/a.ko\x00\x00four" +
		"070701" + "00000000" + "00000000" + "00000000" + "00000000" + "00000001" + "00000000" + "00000000" + "00000000" + "00000000" + "00000000" + "00000000" + "0000000B" + "00000000" + "TRAILER!!!\x00\x00\x00\x00"
	if string(data) != want {
		t.Errorf("%q", data)
	}
	files, err := image.ReadCpio(data, []string{"dev"})
	if err != nil || !cmp.Equal(files, [][2]string{{"init", "#!"}, {"modules/a.ko", "four"}}) {
		t.Errorf("%v, %v", files, err)
	}
	for name, c := range map[string]struct {
		data string
		dirs []string
	}{
		"nothing":     {"", nil},
		"cut":         {want[:300], []string{"dev"}},
		"no trailer":  {want[:len(want)-124], []string{"dev"}},
		"more behind": {want + "\x00\x00\x00\x00", []string{"dev"}},
		"set-uid":     {strings.Replace(want, "0000816D", "0000896D", 1), []string{"dev"}},
		"owner":       {strings.Replace(want, "0000816D00000000", "0000816D00000001", 1), []string{"dev"}},
		"other dirs":  {want, []string{"proc"}},
		"no dirs":     {want, nil},
		"padding":     {strings.Replace(want, "init\x00\x00#!", "init\x00\x01#!", 1), []string{"dev"}},
		"huge":        {strings.Replace(want, "00000002"+"00000000"+"00000000"+"00000000"+"00000000"+"00000005", "FFFFFFFF"+"00000000"+"00000000"+"00000000"+"00000000"+"00000005", 1), []string{"dev"}},
	} {
		if files, err := image.ReadCpio([]byte(c.data), c.dirs); err == nil || verdict.As(err).Kind != verdict.Invalid {
			t.Errorf("%s: %v, %v", name, files, err)
		}
	}
}

func FuzzReadCpio(f *testing.F) {
	f.Add(image.WriteCpio([]string{"dev"}, [2]string{"init", "#!"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := image.ReadCpio(data, []string{"dev"})
		if err == nil && !bytes.Equal(image.WriteCpio([]string{"dev"}, files...), data) {
			t.Error("two archives of the same files")
		}
	})
}

func TestAppendSections(t *testing.T) {
	base := peOf()
	out, err := image.AppendSections(base, [2]string{".one", "1"}, [2]string{".two", strings.Repeat("2", 5000)})
	if err != nil {
		t.Fatal(err)
	}
	f, err := pe.NewFile(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	opt := f.OptionalHeader.(*pe.OptionalHeader64)
	if f.NumberOfSymbols != 0 || f.PointerToSymbolTable != 0 || opt.CheckSum != 0 || opt.SizeOfImage != 0x5000 || len(out) != 0x600+0x200+0x1400 {
		t.Errorf("%+v, %d bytes", opt, len(out))
	}
	type place struct {
		Name                               string
		VirtualSize, Address, Size, Offset uint32
	}
	var got []place
	for _, s := range f.Sections {
		got = append(got, place{s.Name, s.VirtualSize, s.VirtualAddress, s.Size, s.Offset})
	}
	if want := []place{{".text", 0x123, 0x1000, 0x200, 0x400}, {".one", 1, 0x2000, 0x200, 0x600}, {".two", 5000, 0x3000, 0x1400, 0x800}}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	if two, _ := f.Sections[2].Data(); string(two[:5000]) != strings.Repeat("2", 5000) {
		t.Error("other data")
	}
	if names, err := image.Sections(out); err != nil || !cmp.Equal(names, []string{".text", ".one", ".two"}) {
		t.Errorf("%v, %v", names, err)
	}
	if !bytes.Equal(base, peOf()) {
		t.Error("the program itself was changed")
	}
}

func TestAppendSectionsRefuses(t *testing.T) {
	change := func(at int, bytes ...byte) []byte {
		out := peOf()
		copy(out[at:], bytes)
		return out
	}
	for name, c := range map[string]struct {
		program []byte
		section [2]string
	}{
		"nothing":          {nil, [2]string{".a", "1"}},
		"no MZ":            {change(0, 'E', 'L'), [2]string{".a", "1"}},
		"header far away":  {change(0x3c, 0xff, 0xff, 0xff, 0x7f), [2]string{".a", "1"}},
		"PE32":             {change(0x58, 0x0b, 0x01), [2]string{".a", "1"}},
		"no alignment":     {change(0x58+36, 0, 0), [2]string{".a", "1"}},
		"signed":           {change(0x58+144, 0, 6, 0, 0, 8), [2]string{".a", "1"}},
		"cut":              {peOf()[:0x500], [2]string{".a", "1"}},
		"full headers":     {change(0x58+60, 0x70, 1), [2]string{".a", "1"}},
		"many sections":    {change(0x46, 0xff, 0xff), [2]string{".a", "1"}},
		"the same section": {peOf(), [2]string{".text", "1"}},
		"long name":        {peOf(), [2]string{".sections", "1"}},
		"no name":          {peOf(), [2]string{"", "1"}},
		"nothing in it":    {peOf(), [2]string{".a", ""}},
	} {
		if out, err := image.AppendSections(c.program, c.section); err == nil {
			t.Errorf("%s: %d bytes", name, len(out))
		}
	}
}

func FuzzAppendSections(f *testing.F) {
	f.Add(peOf())
	f.Fuzz(func(t *testing.T, program []byte) {
		before, err := image.Sections(program)
		if err != nil {
			return
		}
		out, err := image.AppendSections(program, [2]string{".new", "data"})
		if err != nil {
			return
		}
		if after, err := image.Sections(out); err != nil || !slices.Equal(after, append(before, ".new")) {
			t.Errorf("%v became %v, %v", before, after, err)
		}
	})
}

func TestPackageOf(t *testing.T) {
	for name, want := range map[string]string{
		"main.main": "main", "strongroom.dev/wire.(*canonicaliser).object": "strongroom.dev/wire", "slices.SortFunc[go.shape.[]example.com/a.T]": "slices",
		"example.com/a%2eb.F": "example.com/a.b", "example.com/v1.2/in%2ener.F.func1": "example.com/v1.2/in.ner", "type:.eq.example.com/a.T": "", "go:buildid": "", "memcpy": "", "": "", ".inittask": "",
	} {
		if got := image.PackageOf(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

// TestAgentPackages holds what the agent's own bytes say against the list that was reviewed:
// the bill of materials lists nothing that nobody looked at.
func TestAgentPackages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "../cmd/strongroom-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := image.ProgramPackages(image.Program{Name: "strongroom-agent", Data: data}, false)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile("../cmd/strongroom-agent/packages.txt")
	if err != nil {
		t.Fatal(err)
	}
	reviewed := append(strings.Fields(string(list)), "os/signal", "runtime/debug") // functions of the runtime under their users' names
	for _, p := range got {
		if !slices.Contains(reviewed, p) {
			t.Errorf("the agent holds code of %s, which cmd/strongroom-agent/packages.txt doesn't list", p)
		}
	}
	for _, p := range []string{"strongroom.dev/room", "strongroom.dev/cmd/strongroom-agent", "runtime", "crypto/sha256"} {
		if !slices.Contains(got, p) {
			t.Errorf("no code of %s found in the agent", p)
		}
	}
}

func FuzzCodeOf(f *testing.F) {
	f.Add(make([]byte, 100))
	f.Fuzz(func(_ *testing.T, table []byte) { image.CodeOf(table) })
}

// initrdOf unpacks an image's initrd.
func initrdOf(t testing.TB, img *image.Image) map[string]string {
	t.Helper()
	r, err := zstd.NewReader(bytes.NewReader(img.Files[image.FileInitrd]))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	files, err := image.ReadCpio(data, image.Directories())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range files {
		out[f[0]] = f[1]
	}
	return out
}
