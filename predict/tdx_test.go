package predict_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/measure"
	"strongroom.dev/predict"
)

func sum(parts ...[]byte) []byte { return measure.SHA384.Sum(parts...) }

func fold(bank measure.Algorithm, digests ...[]byte) string {
	value := make([]byte, bank.Size())
	for _, d := range digests {
		value = bank.Sum(value, d)
	}
	return hex.EncodeToString(value)
}

// TestGenuineLog compares the rules with what firmware on genuine hardware logged: QEMU, 2 GiB, a
// kernel handed over. This early firmware ended RTMR 0 with a separator that later ones put into
// RTMR 1.
func TestGenuineLog(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(evidencetest.Dir(t), "tdx/confidential-containers+trustee/deps/verifier/test_data/CCEL_data_ovmf"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := measure.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	handOff, err := predict.HandOff(2 << 30)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int][]byte{0: handOff, 7: make([]byte, 4), 12: {0, 0}, 13: predict.Menu(), 14: []byte("Calling EFI Application from Boot Option"),
		18: []byte("Exit Boot Services Invocation"), 19: []byte("Exit Boot Services Returned with Success")}
	for i, v := range predict.Variables() {
		want[2+i] = v
	}
	for i, event := range want {
		if got := l.Events[i].Digest(measure.SHA384); !bytes.Equal(got, sum(event)) {
			t.Errorf("event %d: logged %x, computed %x", i+1, got, sum(event))
		}
	}
}

// TestGenuineOrder looks at the register of what boots in a log from Google's Compute Engine, which
// boots from a disk: the action, the separator in this register, programs, the end.
func TestGenuineOrder(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(evidencetest.Dir(t), "tdx/google+go-tdx-guest/testing/testdata/ccel/ccel_data.dat"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := measure.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	var digests [][]byte
	for _, e := range l.Events {
		if e.Register == 2 && e.Extends() {
			digests = append(digests, e.Digest(measure.SHA384))
		}
	}
	last := len(digests) - 1
	for i, event := range map[int]string{0: "Calling EFI Application from Boot Option", 1: "\x00\x00\x00\x00",
		last - 1: "Exit Boot Services Invocation", last: "Exit Boot Services Returned with Success"} {
		if !bytes.Equal(digests[i], sum([]byte(event))) {
			t.Errorf("event %d of the register is not %q", i+1, event)
		}
	}
}

// TestGenuineVariables compares the configuration volume with Debian's empty variables, which that
// firmware started with too.
func TestGenuineVariables(t *testing.T) {
	const logged = "344bc51c980ba621aaa00da3ed7436f7d6e549197dfe699515dfa2c6583d95e6412af21c097d473155875ffd561d6790"
	if got := hex.EncodeToString(sum(installed(t, "/usr/share/OVMF/OVMF_VARS_4M.fd"))); got != logged {
		t.Logf("other variables than those of 2022.11: %s", got)
	}
}

// launchMeasurement computes MRTD a second time, record by record.
func launchMeasurement(image []byte, sections []tdxSection) []byte {
	h := sha512.New384()
	for _, s := range sections {
		for page := s.address; page < s.address+s.size; page += 4096 {
			var add [128]byte
			copy(add[:], "MEM.PAGE.ADD")
			binary.LittleEndian.PutUint64(add[16:], page)
			if s.flags != 2 { // else it is added later
				h.Write(add[:])
			}
			for i := uint64(0); s.flags == 1 && i < 16; i++ {
				var extend [128]byte
				copy(extend[:], "MR.EXTEND")
				binary.LittleEndian.PutUint64(extend[16:], page+256*i)
				h.Write(extend[:])
				at := uint64(s.at) + page - s.address + 256*i
				h.Write(image[at : at+256])
			}
		}
	}
	return h.Sum(nil)
}

func TestRegisters(t *testing.T) {
	predict.KnowStub(t, stubImage())
	var sections []tdxSection
	fw := tdxFirmware(t, tdxDriver, func(s []tdxSection) []tdxSection {
		sections = append(s, tdxSection{address: 0x900000, size: 0x2000, kind: 0, flags: 2})
		return sections
	})
	tables := &predict.ACPI{Loader: []byte("loader"), RSDP: []byte("rsdp"), Tables: []byte("tables")}
	v, err := predict.TDX{Firmware: fw, Boot: &predict.DirectBoot{Kernel: roomImage()}, Memory: 4 << 30, ACPI: tables}.Registers()
	if err != nil {
		t.Fatal(err)
	}
	handOff, err := predict.HandOff(4 << 30)
	if err != nil {
		t.Fatal(err)
	}
	rtmr0 := [][]byte{sum(handOff), sum(fw[:4096])}
	for _, variable := range predict.Variables() {
		rtmr0 = append(rtmr0, sum(variable))
	}
	separator := sum(make([]byte, 4))
	rtmr0 = append(rtmr0, separator, sum([]byte("loader")), sum([]byte("rsdp")), sum([]byte("tables")), sum([]byte{0, 0}), sum(predict.Menu()))
	want := map[string]string{
		"mrtd":  hex.EncodeToString(launchMeasurement(fw, sections)),
		"rtmr0": fold(measure.SHA384, rtmr0...),
		"rtmr1": fold(measure.SHA384, authenticode(measure.SHA384, roomImage()), sum([]byte("Calling EFI Application from Boot Option")), separator,
			authenticode(measure.SHA384, kernelImage()), sum([]byte("Exit Boot Services Invocation")), sum([]byte("Exit Boot Services Returned with Success"))),
		"rtmr2": fold(measure.SHA384, sum(utf16("quiet panic=-1")), sum([]byte("an initrd"))),
	}
	if diff := cmp.Diff(want, v.Values); diff != "" {
		t.Error(diff)
	}
}

// TestRegistersWithout leaves out what values depend on.
func TestRegistersWithout(t *testing.T) {
	predict.KnowStub(t, stubImage())
	good := predict.TDX{Firmware: tdxFirmware(t, tdxDriver, nil), Boot: &predict.DirectBoot{Kernel: roomImage()}, Memory: 1 << 30,
		ACPI: &predict.ACPI{Loader: []byte("l"), RSDP: []byte("r"), Tables: []byte("t")}}
	for _, c := range []struct {
		name, want, note string
		change           func(*predict.TDX)
	}{
		{"all", "mrtd rtmr0 rtmr1 rtmr2", "", func(*predict.TDX) {}},
		{"memory", "mrtd rtmr1 rtmr2", "--memory", func(x *predict.TDX) { x.Memory = 0 }},
		{"tables", "mrtd rtmr1 rtmr2", "--acpi", func(x *predict.TDX) { x.ACPI = nil }},
		{"kernel", "mrtd rtmr0", "without a kernel", func(x *predict.TDX) { x.Boot = nil }},
		{"driver", "mrtd", "TdTcg2Dxe", func(x *predict.TDX) { x.Firmware = tdxFirmware(t, ffs2, nil) }},
	} {
		x := good
		c.change(&x)
		v, err := x.Registers()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var names []string
		for _, name := range []string{"mrtd", "rtmr0", "rtmr1", "rtmr2"} {
			if v.Values[name] != "" {
				names = append(names, name)
			}
		}
		if got := strings.Join(names, " "); got != c.want || !strings.Contains(strings.Join(v.Notes, "\n"), c.note) || len(v.Values) != len(names) {
			t.Errorf("%s: got %s, expected %s; notes %q", c.name, got, c.want, v.Notes)
		}
	}
}

// TestBuilds: OVMF's builds have their drivers in different volumes, and some have Secure Boot, on
// whose keys RTMR 0 depends.
func TestBuilds(t *testing.T) {
	predict.KnowStub(t, stubImage())
	const secureBoot, other = "f0e6a44f-7195-41c3-ac64-54f202cd0a21", "462caa21-7614-4503-836e-8ab6f4662331"
	of := func(name string) []byte { return file(t, name, 7, []byte("driver")) }
	for _, c := range []struct {
		name, want, note string
		volumes          [][]byte
	}{
		{"general", "mrtd rtmr0 rtmr1 rtmr2", "2022.11 to 2025.02", [][]byte{volume(t, 512), volume(t, 1024, of(other), of(tdxDriver))}},
		{"IntelTdx", "mrtd rtmr0 rtmr1 rtmr2", "2022.11 to 2025.02", [][]byte{volume(t, 1024, of(tdxDriver)), volume(t, 512, of(other))}},
		{"IntelTdx with Secure Boot", "mrtd rtmr1 rtmr2", "Secure Boot", [][]byte{volume(t, 1024, of(secureBoot), of(tdxDriver)), volume(t, 512, of(other))}},
		{"general with Secure Boot", "mrtd rtmr1 rtmr2", "Secure Boot", [][]byte{volume(t, 512), volume(t, 1024, of(tdxDriver), of(secureBoot))}},
		{"one that measures nothing", "mrtd", "TdTcg2Dxe", [][]byte{volume(t, 512), volume(t, 1024, of(other))}},
	} {
		x := predict.TDX{Firmware: tdxFirmwareOf(t, compactVolume(t, c.volumes...), nil), Boot: &predict.DirectBoot{Kernel: roomImage()}, Memory: 1 << 30,
			ACPI: &predict.ACPI{Loader: []byte("l"), RSDP: []byte("r"), Tables: []byte("t")}}
		v, err := x.Registers()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := strings.Join(slices.Sorted(maps.Keys(v.Values)), " "); got != c.want || !strings.Contains(strings.Join(v.Notes, "\n"), c.note) {
			t.Errorf("%s: got %s, expected %s; notes %q", c.name, got, c.want, v.Notes)
		}
		if measures, err := x.MeasuresBoot(); err != nil || measures != strings.Contains(c.want, "rtmr1") {
			t.Errorf("%s: measures what boots: %v, %v", c.name, measures, err)
		}
	}
}

// TestDebian13 holds the rules against what the firmware of room images logged when it booted
// one: Debian 13's, QEMU 7.2, 1 GiB, a software TPM. Its two drivers that measure, for a TPM and for
// trust domains, measure the same in the same order; there is one more ACPI table, the TPM's own log
// of 64 KiB of zeros, which a machine without a TPM has not.
func TestDebian13(t *testing.T) {
	data, err := os.ReadFile("testdata/ovmf-2025.02-8+deb13u1.log")
	if err != nil {
		t.Fatal(err)
	}
	l, err := measure.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	var platform, boots [][]byte // what trust domains measure into RTMR 0 and 1
	for _, e := range l.Events {
		switch digest := e.Digest(measure.SHA384); {
		case !e.Extends():
		case e.Register == 7, e.Register == 1:
			platform = append(platform, digest)
		case e.Register == 4, e.Register == 5:
			boots = append(boots, digest)
		}
	}
	separator := sum(make([]byte, 4))
	var want [][]byte
	for _, v := range predict.Variables() {
		want = append(want, sum(v))
	}
	want = append(want, separator)
	if len(platform) != len(want)+7 {
		t.Fatalf("%d events", len(platform))
	}
	want = append(want, platform[6], platform[7], sum(make([]byte, 64<<10)), platform[9]) // loader, RSDP, TPM's log, tables
	want = append(want, sum([]byte{0, 0}), sum(predict.Menu()), separator)
	if diff := cmp.Diff(want, platform); diff != "" {
		t.Errorf("RTMR 0: %s", diff)
	}
	if len(boots) != 7 {
		t.Fatalf("%d events", len(boots))
	}
	want = [][]byte{boots[0], sum([]byte("Calling EFI Application from Boot Option")), separator, separator, // one of PCR 4 and one of PCR 5
		boots[4], sum([]byte("Exit Boot Services Invocation")), sum([]byte("Exit Boot Services Returned with Success"))}
	if diff := cmp.Diff(want, boots); diff != "" {
		t.Errorf("RTMR 1: %s", diff)
	}
}

// TestDebianTDX takes the firmware that Debian 12 has, which measures nothing of what boots.
func TestDebianTDX(t *testing.T) {
	debian := predict.TDX{Firmware: installed(t, "/usr/share/ovmf/OVMF.fd")}
	v, err := debian.Registers()
	if err != nil {
		t.Fatal(err)
	}
	if measures, err := debian.MeasuresBoot(); measures || err != nil {
		t.Errorf("it measures what boots: %v, %v", measures, err)
	}
	if measures, err := (predict.TDX{Firmware: tdxFirmware(t, tdxDriver, nil)}).MeasuresBoot(); !measures || err != nil {
		t.Errorf("firmware made for it: %v, %v", measures, err)
	}
	if len(v.Values["mrtd"]) != 96 || len(v.Values) != 1 || len(v.Notes) != 1 {
		t.Errorf("%+v", v)
	}
}

func TestTDXRefused(t *testing.T) {
	predict.KnowStub(t, stubImage())
	good := predict.TDX{Firmware: tdxFirmware(t, tdxDriver, nil), Memory: 1 << 30, ACPI: &predict.ACPI{Loader: []byte("l"), RSDP: []byte("r"), Tables: []byte("t")}}
	section := func(i int, change func(*tdxSection)) func(*predict.TDX) {
		return func(x *predict.TDX) {
			x.Firmware = tdxFirmware(t, tdxDriver, func(s []tdxSection) []tdxSection { change(&s[i]); return s })
		}
	}
	for _, c := range []struct {
		name, check, word string
		change            func(*predict.TDX)
	}{
		{"nothing", "measure.firmware", "empty", func(x *predict.TDX) { *x = predict.TDX{} }},
		{"no metadata", "measure.firmware", "TDVF", func(x *predict.TDX) { x.Firmware = make([]byte, 4096) }},
		{"the end of an image", "measure.firmware", "whole firmware", func(x *predict.TDX) { x.Firmware = vectorFile(t, "ovmf_OvmfX64_suffix.bin") }},
		{"an unknown kind", "measure.firmware", "kind 4", section(0, func(s *tdxSection) { s.kind = 4 })},
		{"an unknown attribute", "measure.firmware", "attributes 0x4", section(0, func(s *tdxSection) { s.flags = 4 })},
		{"an address off the page", "measure.firmware", "whole pages", section(2, func(s *tdxSection) { s.address++ })},
		{"no size", "measure.firmware", "whole pages", section(2, func(s *tdxSection) { s.size = 0 })},
		{"above 4 GiB", "measure.firmware", "whole pages", section(2, func(s *tdxSection) { s.address = 1 << 32 })},
		{"an address that wraps", "measure.firmware", "whole pages", section(2, func(s *tdxSection) { s.address = 1<<64 - 4096 })},
		{"half in the image", "measure.firmware", "wholly", section(1, func(s *tdxSection) { s.raw = 2048 })},
		{"measured contents that are not there", "measure.firmware", "wholly", section(2, func(s *tdxSection) { s.flags = 1 })},
		{"beyond the image", "measure.firmware", "whole firmware", section(1, func(s *tdxSection) { s.at = 1 << 30 })},
		{"too many pages", "measure.firmware", "pages", section(2, func(s *tdxSection) { s.address, s.size = 0, 1<<31 })},
		{"no configuration volume", "measure.firmware", "configuration", section(1, func(s *tdxSection) { s.kind = 0 })},
		{"two hand-off blocks", "measure.firmware", "hand-off", section(2, func(s *tdxSection) { s.kind = 2 })},
		{"sections over each other", "measure.firmware", "apart", section(2, func(s *tdxSection) { s.address = 0x80a000 })},
		{"hardly any memory", "measure.memory", "64 MiB", func(x *predict.TDX) { x.Memory = 1 << 20 }},
		{"a broken size of memory", "measure.memory", "whole MiB", func(x *predict.TDX) { x.Memory++ }},
		{"an empty table", "measure.acpi", "rsdp", func(x *predict.TDX) { x.ACPI = &predict.ACPI{Loader: []byte("l"), Tables: []byte("t")} }},
		{"a huge table", "measure.acpi", "tables", func(x *predict.TDX) {
			x.ACPI = &predict.ACPI{Loader: []byte("l"), RSDP: []byte("r"), Tables: make([]byte, 1<<20+1)}
		}},
		{"no compressed volumes", "measure.firmware", "volumes", func(x *predict.TDX) {
			x.Firmware = append([]byte(nil), x.Firmware...)
			x.Firmware[4096+40] = 'x' // the volume's signature
		}},
	} {
		x := good
		c.change(&x)
		_, err := x.Registers()
		refused(t, c.name, err, c.check, c.word)
	}
}

func FuzzTDX(f *testing.F) {
	f.Add(tdxFirmware(f, tdxDriver, nil))
	f.Add(vectorFile(f, "ovmf_AmdSev_suffix.bin"))
	f.Fuzz(func(t *testing.T, fw []byte) {
		v, err := predict.TDX{Firmware: fw, Memory: 1 << 30, ACPI: &predict.ACPI{Loader: []byte("l"), RSDP: []byte("r"), Tables: []byte("t")}}.Registers()
		if err == nil && len(v.Values["mrtd"]) != 96 {
			t.Errorf("%+v", v)
		}
	})
}
