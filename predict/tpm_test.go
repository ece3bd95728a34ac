package predict_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/measure"
	"strongroom.dev/predict"
	"strongroom.dev/verdict"
)

// authenticode hashes an image of this package's making: all of it but checksum, directory entry
// and certificates.
func authenticode(bank measure.Algorithm, image []byte) []byte {
	const sum, entry = 0x58 + 64, 0x58 + 112 + 8*4
	end := len(image) - int(binary.LittleEndian.Uint32(image[entry+4:]))
	return bank.Sum(image[:sum], image[sum+4:entry], image[entry+8:end])
}

func utf16(text string) []byte {
	var out []byte
	for _, r := range text {
		out = append(out, byte(r), 0)
	}
	return append(out, 0, 0)
}

const (
	code4M = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	// These were in the PCRs after a boot with this firmware, at every size of memory.
	versionDigest = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
	driversDigest = "82a0445201cb49945461acc6ed78426700fb7e92819862edc55ba3ad4559b135"
	onlySeparator = "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969"
	bootServices  = "a5ceb755d043f32431d63e39f5161464620a3437280494b5850dc1b47cc074e0"
	noSecureBoot  = "65caf8dd1e0ea7a6347b635d2b379c93b9a1351edc2afc3ecda700e534eb3068"
)

func TestPCRs(t *testing.T) {
	fw := installed(t, code4M)
	predict.KnowStub(t, stubImage())
	v, err := predict.TPM{Firmware: fw, Boot: &predict.DirectBoot{Kernel: roomImage()}}.PCRs()
	if err != nil {
		t.Fatal(err)
	}
	const bank = measure.SHA256
	of := func(text string) []byte { return bank.Sum([]byte(text)) }
	want := map[string]string{
		"firmware.version": versionDigest, "firmware.900000": driversDigest, "pcr2": onlySeparator, "pcr3": onlySeparator, "pcr6": onlySeparator,
		"pcr5": bootServices, "pcr7": noSecureBoot,
		"pcr4": fold(bank, authenticode(bank, roomImage()), of("Calling EFI Application from Boot Option"), of("\x00\x00\x00\x00"), authenticode(bank, kernelImage())),
		"pcr9": fold(bank, bank.Sum(utf16("quiet panic=-1")), of("an initrd")),
		"pcr11": fold(bank, of(".linux\x00"), bank.Sum(kernelImage()), of(".osrel\x00"), of("ID=room\n"), of(".cmdline\x00"), of("quiet panic=-1\x00"),
			of(".initrd\x00"), of("an initrd")),
	}
	if v.Values["firmware.900000"] != driversDigest { // another version is installed, and its own version not known
		want["firmware.900000"] = v.Values["firmware.900000"]
		if _, known := v.Values["firmware.version"]; !known {
			delete(want, "firmware.version")
		}
	}
	if diff := cmp.Diff(want, v.Values); diff != "" {
		t.Error(diff)
	}
}

// TestDiskPCRs starts the image from a disk: it is measured behind the action.
func TestDiskPCRs(t *testing.T) {
	predict.KnowStub(t, stubImage())
	v, err := predict.DiskPCRs(roomImage())
	if err != nil {
		t.Fatal(err)
	}
	const bank = measure.SHA256
	of := func(text string) []byte { return bank.Sum([]byte(text)) }
	want := fold(bank, of("Calling EFI Application from Boot Option"), of("\x00\x00\x00\x00"), authenticode(bank, roomImage()), authenticode(bank, kernelImage()))
	handedOver, err := predict.TPM{Firmware: installed(t, code4M), Boot: &predict.DirectBoot{Kernel: roomImage()}}.PCRs()
	if err != nil {
		t.Fatal(err)
	}
	if v.Values["pcr4"] != want || v.Values["pcr9"] != handedOver.Values["pcr9"] || v.Values["pcr11"] != handedOver.Values["pcr11"] || len(v.Values) != 3 || len(v.Notes) != 1 {
		t.Errorf("%+v", v)
	}
	_, err = predict.DiskPCRs(kernelImage())
	refused(t, "a bare kernel", err, "measure.kernel", "bare")
}

// TestBareKernel changes the header of a kernel as QEMU does.
func TestBareKernel(t *testing.T) {
	fw := installed(t, code4M)
	kernel := pe(nil, part{".text", bytes.Repeat([]byte("code "), 300)})
	copy(kernel[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(kernel[0x206:], 0x20f)
	kernel[0x211] = 1
	binary.LittleEndian.PutUint32(kernel[0x22c:], 0x7fffffff)
	boot := &predict.DirectBoot{Kernel: kernel, Initrd: []byte("an initrd"), Append: "quiet"}
	pcr4 := func(memory uint64) string {
		v, err := predict.TPM{Firmware: fw, Boot: boot, Memory: memory}.PCRs()
		if err != nil {
			t.Fatal(err)
		}
		if want := fold(measure.SHA256, measure.SHA256.Sum(utf16("quiet initrd=initrd")), measure.SHA256.Sum([]byte("an initrd"))); v.Values["pcr9"] != want || v.Values["pcr11"] != "" || len(v.Notes) == 0 {
			t.Errorf("%+v", v)
		}
		return v.Values["pcr4"]
	}
	patched := func(address uint32) string {
		k := append([]byte(nil), kernel...)
		k[0x210], k[0x211] = 0xb0, 0x81
		copy(k[0x224:], []byte{0, 0xfe})
		binary.LittleEndian.PutUint32(k[0x228:], 0x20000)
		binary.LittleEndian.PutUint32(k[0x218:], address)
		binary.LittleEndian.PutUint32(k[0x21c:], 9)
		of := func(text string) []byte { return measure.SHA256.Sum([]byte(text)) }
		return fold(measure.SHA256, authenticode(measure.SHA256, k), of("Calling EFI Application from Boot Option"), of("\x00\x00\x00\x00"))
	}
	for memory, address := range map[uint64]uint32{512 << 20: 0x1ffd7000, 2 << 30: 0x7ffd7000, 0xb0000000: 0x7ffd7000, 8 << 30: 0x7ffd7000, 0xa0000000: 0x7ffff000} {
		if got, want := pcr4(memory), patched(address); got != want {
			t.Errorf("%d MiB: got %s, expected %s", memory>>20, got, want)
		}
	}
	kernel[0x236] = 2 // may be loaded anywhere below 4 GiB
	if got, want := pcr4(0xa0000000), patched(0x9ffd7000); got != want {
		t.Errorf("got %s, expected %s", got, want)
	}
}

// TestInstalledStub holds the known stubs against Debian's.
func TestInstalledStub(t *testing.T) {
	id, err := predict.StubDigest(installed(t, "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"))
	if err != nil {
		t.Fatal(err)
	}
	if id != "668580d2327867295f1368dfc0ab64b9a17b16c820ae43ea487fff0cf8c00c92" {
		t.Logf("a stub of another version than the image's: %s", id)
	}
}

func TestStubDigest(t *testing.T) {
	bare, err := predict.StubDigest(stubImage())
	if err != nil {
		t.Fatal(err)
	}
	if whole, err := predict.StubDigest(roomImage()); err != nil || whole != bare {
		t.Errorf("%s, %v; the bare stub's is %s", whole, err, bare)
	}
	other := stubImage()
	other[bytes.Index(other, []byte("code of"))]++
	if changed, err := predict.StubDigest(other); err != nil || changed == bare {
		t.Errorf("%s, %v of a changed stub", changed, err)
	}
	moved := stubImage()
	moved[0x58+112+8*16+12+1] = 0x20 // the first section's address
	if changed, err := predict.StubDigest(moved); err != nil || changed == bare {
		t.Errorf("%s, %v of a stub at another address", changed, err)
	}
	for name, at := range map[string]int{
		"machine": 0x44, "characteristics": 0x44 + 18, "entry": 0x58 + 16, "base": 0x58 + 24, "high base": 0x58 + 31, "section alignment": 0x58 + 32, "subsystem": 0x58 + 68,
		"what it says of itself": 0x58 + 70, "exports": 0x58 + 112, "relocations": 0x58 + 112 + 8*5, "size of relocations": 0x58 + 112 + 8*5 + 4, "last directory": 0x58 + 112 + 8*15,
		"number of directories": 0x58 + 108, "a section's flags": 0x58 + 112 + 8*16 + 36, "a section's name": 0x58 + 112 + 8*16 + 7,
	} {
		image := stubImage()
		if image[at]++; name == "number of directories" {
			image[at] -= 2
		}
		if changed, err := predict.StubDigest(image); err != nil || changed == bare {
			t.Errorf("%s, %v of a stub with other %s", changed, err, name)
		}
	}
	for name, at := range map[string]int{"time": 0x44 + 4, "checksum": 0x58 + 64, "size in memory": 0x58 + 56, "DOS header": 0x10} {
		image := stubImage()
		image[at]++
		if same, err := predict.StubDigest(image); err != nil || same != bare {
			t.Errorf("%s, %v of a stub with another %s", same, err, name)
		}
	}
	if signed, err := predict.StubDigest(sign(stubImage(), "certificates....")); err != nil || signed != bare {
		t.Errorf("%s, %v of a signed stub", signed, err)
	}
	if more, err := predict.StubDigest(stubImage(part{".pcrpkey", []byte("key")})); err != nil || more == bare {
		t.Errorf("%s, %v with a section that may be measured", more, err)
	}
}

func TestTPMRefused(t *testing.T) {
	good := predict.TPM{Firmware: installed(t, code4M)}
	predict.KnowStub(t, stubImage())
	uki := func(parts ...part) *predict.DirectBoot { return &predict.DirectBoot{Kernel: stubImage(parts...)} }
	linux, line, initrd := part{".linux", kernelImage()}, part{".cmdline", []byte("quiet")}, part{".initrd", []byte("i")}
	old := pe(nil, part{".text", []byte("x")})
	copy(old[0x202:], "HdrS")
	recent := append([]byte(nil), old...)
	recent[0x206], recent[0x207], recent[0x211] = 0x0f, 2, 1
	for _, c := range []struct {
		name, check, word string
		boot              *predict.DirectBoot
		memory            uint64
	}{
		{"no kernel", "measure.kernel", "none", nil, 0},
		{"an empty kernel", "measure.kernel", "empty", &predict.DirectBoot{}, 0},
		{"no program", "measure.kernel", "MZ", &predict.DirectBoot{Kernel: []byte("text")}, 0},
		{"an unknown stub", "measure.stub", "digest", &predict.DirectBoot{Kernel: pe(nil, part{".text", []byte("other")}, linux, line, initrd)}, 0},
		{"a section whose rules are not known", "measure.stub", "digest", uki(linux, line, initrd, part{".pcrsig", []byte("{}")}), 0},
		{"a section laid over the stub in memory", "measure.kernel", "in memory", &predict.DirectBoot{Kernel: overlaid(pe(nil, part{".text", []byte("stub")}, part{".osrel", []byte("other code")}, linux, line, initrd))}, 0},
		{"no command line", "measure.kernel", "without .cmdline", uki(linux, initrd), 0},
		{"no initrd", "measure.kernel", "without .initrd", uki(linux, line), 0},
		{"no kernel in it", "measure.kernel", "MZ", uki(part{".linux", []byte("kernel")}, line, initrd), 0},
		{"two command lines", "measure.kernel", "two sections", uki(linux, line, line, initrd), 0},
		{"a command line beyond ASCII", "measure.append", "0xc3", uki(linux, part{".cmdline", []byte("caf\u00e9")}, initrd), 0},
		{"a command line of two lines", "measure.append", "0x0a", uki(linux, part{".cmdline", []byte("quiet\n")}, initrd), 0},
		{"a command line with more behind its end", "measure.append", "0x00", uki(linux, part{".cmdline", []byte("quiet\x00 debug")}, initrd), 0},
		{"an initrd beside it", "measure.append", "beside", &predict.DirectBoot{Kernel: roomImage(), Initrd: []byte("i")}, 0},
		{"a command line beside it", "measure.append", "beside", &predict.DirectBoot{Kernel: roomImage(), Append: "debug"}, 0},
		{"an old kernel", "measure.kernel", "protocol", &predict.DirectBoot{Kernel: old}, 1 << 30},
		{"a kernel and no memory", "measure.memory", "none", &predict.DirectBoot{Kernel: recent}, 0},
		{"a kernel with hardly any memory", "measure.memory", "initrd", &predict.DirectBoot{Kernel: recent, Initrd: make([]byte, 4096)}, 4096},
		{"a kernel's command line beyond ASCII", "measure.append", "0xc3", &predict.DirectBoot{Kernel: recent, Append: "\u00e9"}, 1 << 30},
	} {
		x := good
		x.Boot, x.Memory = c.boot, c.memory
		_, err := x.PCRs()
		refused(t, c.name, err, c.check, c.word)
	}
	good.Boot = &predict.DirectBoot{Kernel: roomImage()}
	for name, fw := range map[string][]byte{
		"volumes of another size": append(aligned4K(compactVolume(t, volume(t, 512), volume(t, 1024))), make([]byte, 4096)...),
		"no volumes":              make([]byte, 8192),
		"no driver for a TPM":     aligned4K(compactVolume(t, volume(t, 0xe0000), volume(t, 0xc00000))),
	} {
		good.Firmware = fw
		_, err := good.PCRs()
		refused(t, name, err, "measure.firmware", "")
	}
}

func aligned4K(data []byte) []byte {
	return append(data, make([]byte, aligned(len(data), 4096)-len(data))...)
}

// TestUnknownFirmware gives what can be known of firmware that nobody has booted here.
func TestUnknownFirmware(t *testing.T) {
	predict.KnowStub(t, stubImage())
	drivers := volume(t, 0xc00000, file(t, "fdff263d-5f68-4591-87ba-b768f445a9af", 7, []byte("Tcg2Dxe")))
	v, err := predict.TPM{Firmware: aligned4K(compactVolume(t, volume(t, 0xe0000), drivers)), Boot: &predict.DirectBoot{Kernel: roomImage()}}.PCRs()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := v.Values["firmware.version"]; ok || v.Values["firmware.900000"] != hex.EncodeToString(measure.SHA256.Sum(drivers)) || !strings.Contains(strings.Join(v.Notes, ""), "firmware.version") {
		t.Errorf("%+v", v)
	}
}

func TestProgramRefused(t *testing.T) {
	good := pe(nil, part{".text", []byte("code")}, part{".data", []byte("data")})
	const coff, optional, table = 0x44, 0x58, 0x58 + 112 + 8*16
	for name, c := range map[string]struct {
		change func([]byte) []byte
		word   string
	}{
		"cut short":                          {func(b []byte) []byte { return b[:63] }, "MZ"},
		"another magic":                      {func(b []byte) []byte { b[0] = 'Z'; return b }, "MZ"},
		"headers far away":                   {func(b []byte) []byte { copy(b[0x3c:], []byte{0xff, 0xff, 0xff, 0xff}); return b }, "no PE"},
		"headers in the first":               {func(b []byte) []byte { b[0x3c] = 4; return b }, "no PE"},
		"no sections":                        {func(b []byte) []byte { b[coff+2] = 0; return b }, "0 sections"},
		"too many sections":                  {func(b []byte) []byte { b[coff+2] = 65; return b }, "65 sections"},
		"headers beyond the file":            {func(b []byte) []byte { b[optional+63] = 1; return b }, "headers"},
		"no room for the sections' table":    {func(b []byte) []byte { b[optional+60], b[optional+61] = 0x80, 1; return b }, "headers"},
		"a table before the optional header": {func(b []byte) []byte { b[coff+16] = 4; b[coff+17] = 0; return b }, "headers"},
		"an optional header of another kind": {func(b []byte) []byte { b[optional] = 0; return b }, "kind 0x200"},
		"a short optional header":            {func(b []byte) []byte { b[coff+16] = 80; return b }, "cut short"},
		"directories that don't fit":         {func(b []byte) []byte { b[coff+16] = 112 + 8*4; return b }, "don't fit"},
		"certificates in the middle":         {func(b []byte) []byte { b[optional+112+36] = 8; return b }, "certificates"},
		"a section over the headers":         {func(b []byte) []byte { b[table+21] = 0; return b }, "over"},
		"a section over another":             {func(b []byte) []byte { copy(b[table+40+20:], b[table+20:table+24]); return b }, "over"},
		"a section beyond the file":          {func(b []byte) []byte { b[table+40+17] = 0xff; return b }, "beyond"},
		"a section with more in memory":      {func(b []byte) []byte { b[table+9] = 0xff; return b }, "in the file"},
	} {
		_, err := predict.StubDigest(c.change(append([]byte(nil), good...)))
		refused(t, name, err, "measure.kernel", c.word)
	}
}

func FuzzProgram(f *testing.F) {
	f.Add(roomImage())
	f.Add(kernelImage())
	f.Fuzz(func(t *testing.T, image []byte) {
		id, err := predict.StubDigest(image)
		var e *verdict.Error
		if err == nil && len(id) != 64 || err != nil && !errors.As(err, &e) {
			t.Errorf("%q, %v", id, err)
		}
	})
}

// FuzzKernel takes any bytes for a kernel, and for the parts of a unified kernel image.
func FuzzKernel(f *testing.F) {
	fw := tdxFirmware(f, tdxDriver, nil)
	predict.KnowStub(f, stubImage())
	f.Add(kernelImage(), []byte("quiet"), uint64(1<<30))
	f.Fuzz(func(t *testing.T, kernel, line []byte, memory uint64) {
		for _, boot := range []*predict.DirectBoot{
			{Kernel: kernel, Initrd: []byte("i"), Append: string(line)},
			{Kernel: stubImage(part{".linux", kernel}, part{".cmdline", line}, part{".initrd", []byte("i")})},
		} {
			v, err := predict.TDX{Firmware: fw, Boot: boot, Memory: memory}.Registers()
			if err == nil && len(v.Values["rtmr1"]) != 96 {
				t.Errorf("%+v", v)
			}
		}
	})
}

// FuzzVolumes takes any bytes for firmware.
func FuzzVolumes(f *testing.F) {
	predict.KnowStub(f, stubImage())
	f.Add(aligned4K(compactVolume(f, volume(f, 512), volume(f, 1024))))
	boot := &predict.DirectBoot{Kernel: roomImage()}
	f.Fuzz(func(t *testing.T, fw []byte) {
		if r, said := predict.ReleaseOf(fw); said && (r.Year < 2000 || r.Year > 2099 || r.Month < 1 || r.Month > 12) {
			t.Errorf("%+v", r)
		}
		if v, err := (predict.TPM{Firmware: fw, Boot: boot}).PCRs(); err == nil && v.Values["pcr4"] == "" {
			t.Errorf("%+v", v)
		}
	})
}
