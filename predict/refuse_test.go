package predict_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"strongroom.dev/predict"
	"strongroom.dev/verdict"
)

// refused checks that err is a wrong call about a check, in one clear line.
func refused(t *testing.T, name string, err error, check, word string) {
	t.Helper()
	var e *verdict.Error
	if !errors.As(err, &e) || e.Kind != verdict.Usage || e.Check != check || e.Expected == "" || e.Got == "" || e.Fix == "" || !strings.Contains(err.Error(), word) {
		t.Errorf("%s: got %v, expected %s with %q", name, err, check, word)
	}
}

// changed gives a copy of data that was changed at an offset from its end.
func changed(data []byte, fromEnd int, with ...byte) []byte {
	c := append([]byte(nil), data...)
	copy(c[len(c)-fromEnd:], with)
	return c
}

func TestSNPRefused(t *testing.T) {
	fw, plain := vectorFile(t, "ovmf_AmdSev_suffix.bin"), vectorFile(t, "ovmf_OvmfX64_suffix.bin")
	metadata := int(binary.LittleEndian.Uint32(fw[len(fw)-50-22-26-26-22:])) // the fourth entry from the end
	good := predict.SNP{Firmware: fw, VCPUs: 1, CPU: "EPYC", Features: 1, VMM: predict.QEMU}
	if _, err := good.LaunchDigest(); err != nil {
		t.Fatal(err)
	}
	boot := &predict.DirectBoot{Kernel: []byte("kernel")}
	for _, c := range []struct {
		name, check, word string
		change            func(*predict.SNP)
	}{
		{"nothing", "measure.firmware", "empty", func(s *predict.SNP) { *s = predict.SNP{} }},
		{"half a page", "measure.firmware", "whole pages", func(s *predict.SNP) { s.Firmware = fw[:2048] }},
		{"too much firmware", "measure.firmware", "at most", func(s *predict.SNP) { s.Firmware = make([]byte, predict.MaxFirmware+4096) }},
		{"no table", "measure.firmware", "SEV", func(s *predict.SNP) { s.Firmware = make([]byte, 4096) }},
		{"a table of nothing", "measure.firmware", "table", func(s *predict.SNP) { s.Firmware = changed(fw, 50, 0, 0) }},
		{"a table beyond the image", "measure.firmware", "table", func(s *predict.SNP) { s.Firmware = changed(fw, 50, 0xff, 0xff) }},
		{"an entry of nothing", "measure.firmware", "entry", func(s *predict.SNP) { s.Firmware = changed(fw, 50+18, 0, 0) }},
		{"an entry beyond the table", "measure.firmware", "entry", func(s *predict.SNP) { s.Firmware = changed(fw, 50+18, 200, 0) }},
		{"the table cut short", "measure.firmware", "before the first", func(s *predict.SNP) { s.Firmware = changed(fw, 50, 30, 0) }},
		{"an entry twice", "measure.firmware", "twice", func(s *predict.SNP) { s.Firmware = changed(fw, 50+22+16, fw[len(fw)-50-16:len(fw)-50]...) }},
		{"metadata beyond the image", "measure.firmware", "offset", func(s *predict.SNP) { s.Firmware = changed(fw, 50+22+26+26+22, 0, 0x20) }},
		{"metadata at the very end", "measure.firmware", "offset", func(s *predict.SNP) { s.Firmware = changed(fw, 50+22+26+26+22, 3, 0, 0, 0) }},
		{"no metadata there", "measure.firmware", "ASEV", func(s *predict.SNP) { s.Firmware = changed(fw, metadata, 'B') }},
		{"metadata of another version", "measure.firmware", "version 2", func(s *predict.SNP) { s.Firmware = changed(fw, metadata-8, 2) }},
		{"no sections", "measure.firmware", "sections", func(s *predict.SNP) { s.Firmware = changed(fw, metadata-12, 0) }},
		{"too many sections", "measure.firmware", "sections", func(s *predict.SNP) { s.Firmware = changed(fw, metadata-12, 65) }},
		{"another size", "measure.firmware", "size", func(s *predict.SNP) { s.Firmware = changed(fw, metadata-4, 90) }},
		{"a section of an unknown kind", "measure.firmware", "kind 0x9", func(s *predict.SNP) { s.Firmware = changed(fw, metadata-16-8, 9) }},
		{"a section off the page", "measure.firmware", "whole pages", func(s *predict.SNP) { s.Firmware = changed(fw, metadata-16, 1) }},
		{"a section of no size", "measure.firmware", "whole pages", func(s *predict.SNP) { s.Firmware = changed(fw, metadata-16-4, 0, 0, 0, 0) }},
		{"a secrets section of two pages", "measure.firmware", "whole pages", func(s *predict.SNP) { s.Firmware = changed(fw, metadata-16-24-4, 0, 0x20) }},
		{"a section of 2 GiB", "measure.firmware", "pages", func(s *predict.SNP) { s.Firmware = changed(fw, metadata-16-4, 0, 0, 0, 0x80) }},
		{"no processors", "measure.vcpus", "1 to", func(s *predict.SNP) { s.VCPUs = 0 }},
		{"too many processors", "measure.vcpus", "1 to", func(s *predict.SNP) { s.VCPUs = predict.MaxVCPUs + 1 }},
		{"no start for the second processor", "measure.firmware", "further processors", func(s *predict.SNP) { s.Firmware, s.VCPUs = changed(fw, 50+22, 0, 0, 0, 0), 2 }},
		{"no monitor", "measure.vmm", "QEMU, ec2 or gce", func(s *predict.SNP) { s.VMM = "" }},
		{"a monitor in other letters", "measure.vmm", "QEMU", func(s *predict.SNP) { s.VMM = "qemu" }},
		{"no features", "measure.guest_features", "bit 0", func(s *predict.SNP) { s.Features = 0 }},
		{"features without SNP", "measure.guest_features", "0x20", func(s *predict.SNP) { s.Features = 0x20 }},
		{"no processor type", "measure.vcpu_type", "EPYC-Milan", func(s *predict.SNP) { s.CPU = "" }},
		{"the host's processor", "measure.vcpu_type", "host", func(s *predict.SNP) { s.CPU = "host" }},
		{"a version of no number", "measure.vcpu_type", "EPYC-vx", func(s *predict.SNP) { s.CPU = "EPYC-vx" }},
		{"a version with a sign", "measure.vcpu_type", "EPYC-v+1", func(s *predict.SNP) { s.CPU = "EPYC-v+1" }},
		{"version nought", "measure.vcpu_type", "EPYC-v0", func(s *predict.SNP) { s.CPU = "EPYC-v0" }},
		{"a signature of zero", "measure.vcpu_type", "0x0", func(s *predict.SNP) { s.CPU = "0x0" }},
		{"an empty kernel", "measure.kernel", "empty", func(s *predict.SNP) { s.Boot = &predict.DirectBoot{} }},
		{"a long command line", "measure.append", "2047", func(s *predict.SNP) {
			s.Boot = &predict.DirectBoot{Kernel: []byte("k"), Append: strings.Repeat("x", 2048)}
		}},
		{"a NUL in the command line", "measure.append", "byte 1", func(s *predict.SNP) {
			s.Boot = &predict.DirectBoot{Kernel: []byte("k"), Append: "a\x00b"}
		}},
		{"a kernel for firmware that checks none", "measure.kernel", "AmdSev", func(s *predict.SNP) { s.Firmware, s.Boot = plain, boot }},
		{"a kernel without a section for hashes", "measure.kernel", "section", func(s *predict.SNP) {
			s.Firmware, s.Boot = changed(fw, metadata-16-5*12-8, sevMemory), boot
		}},
		{"hashes outside their section", "measure.firmware", "kernel hashes", func(s *predict.SNP) { s.Firmware, s.Boot = changed(fw, 50+22+26+26, 0, 0x1c), boot }},
		{"hashes across its end", "measure.firmware", "kernel hashes", func(s *predict.SNP) { s.Firmware, s.Boot = changed(fw, 50+22+26+26, 0x60, 0x0f), boot }},
	} {
		s := good
		c.change(&s)
		_, err := s.LaunchDigest()
		refused(t, c.name, err, c.check, c.word)
	}
}

const sevMemory = 1

func TestCPUSignature(t *testing.T) {
	for name, want := range map[string]uint32{
		"EPYC": 0x800f12, "EPYC-v4": 0x800f12, "EPYC-IBPB": 0x800f12, "EPYC-Rome-v5": 0x830f10, "EPYC-Milan": 0xa00f11, "EPYC-Milan-v3": 0xa00f11,
		"EPYC-Genoa": 0xa10f10, "EPYC-Turin-v1": 0xb00f00, "0xa20f12": 0xa20f12,
	} {
		if got, err := predict.CPUSignature(name); err != nil || got != want {
			t.Errorf("%s: got 0x%x, %v, expected 0x%x", name, got, err, want)
		}
	}
}

// TestLaunchDigestDepends changes each thing that a guest is launched with.
func TestLaunchDigestDepends(t *testing.T) {
	fw := vectorFile(t, "ovmf_AmdSev_suffix.bin")
	base := func() predict.SNP {
		return predict.SNP{Firmware: fw, VCPUs: 2, CPU: "EPYC", Features: 1, VMM: predict.QEMU, Boot: &predict.DirectBoot{Kernel: []byte("k"), Initrd: []byte("i"), Append: "a"}}
	}
	seen := map[string]string{}
	for name, change := range map[string]func(*predict.SNP){
		"nothing":      func(*predict.SNP) {},
		"firmware":     func(s *predict.SNP) { s.Firmware = changed(fw, 4096, 1) },
		"processors":   func(s *predict.SNP) { s.VCPUs = 3 },
		"type":         func(s *predict.SNP) { s.CPU = "EPYC-Milan" },
		"features":     func(s *predict.SNP) { s.Features = 0x21 },
		"EC2":          func(s *predict.SNP) { s.VMM = predict.EC2 },
		"GCE":          func(s *predict.SNP) { s.VMM = predict.GCE },
		"kernel":       func(s *predict.SNP) { s.Boot.Kernel = []byte("l") },
		"initrd":       func(s *predict.SNP) { s.Boot.Initrd = nil },
		"command line": func(s *predict.SNP) { s.Boot.Append = "" },
		"no kernel":    func(s *predict.SNP) { s.Boot = nil },
	} {
		s := base()
		change(&s)
		d, err := s.LaunchDigest()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if other, same := seen[d.String()]; same {
			t.Errorf("%s and %s: the same digest", name, other)
		}
		seen[d.String()] = name
	}
}

func FuzzSNP(f *testing.F) {
	f.Add(vectorFile(f, "ovmf_AmdSev_suffix.bin"))
	f.Add(vectorFile(f, "ovmf_OvmfX64_suffix.bin"))
	f.Fuzz(func(t *testing.T, fw []byte) {
		s := predict.SNP{Firmware: fw, VCPUs: 2, CPU: "EPYC", Features: 1, VMM: predict.EC2, Boot: &predict.DirectBoot{Kernel: []byte("k")}}
		d, err := s.LaunchDigest()
		if err == nil && d.IsZero() {
			t.Error("a digest of zeros")
		}
	})
}
