package main

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/host/qemu"
	"strongroom.dev/image"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func (r teller) measured(args ...string) prediction {
	r.t.Helper()
	var p prediction
	if err := json.Unmarshal([]byte(r.run(0, append([]string{"image", "measure", "--output", "json"}, args...)...)), &p); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// TestMeasureLaunchDigests compares the command with every digest that another tool computed.
func TestMeasureLaunchDigests(t *testing.T) {
	dir := evidencetest.Beside(t, "measure")
	table, err := os.ReadFile(filepath.Join(dir, "snp-launch-digests.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for name, data := range map[string][]byte{
		"k1": sha3.SumSHAKE256([]byte("strongroom-vector-kernel-1"), 40000),
		"k2": sha3.SumSHAKE256([]byte("strongroom-vector-kernel-2"), 1234),
		"i1": sha3.SumSHAKE256([]byte("strongroom-vector-initrd-1"), 99999),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := teller{t, "home", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, row := range strings.Split(strings.TrimSpace(string(table)), "\n")[1:] {
		c := strings.Split(row, "\t")
		args := []string{"--platform", "snp", "--firmware", filepath.Join(dir, c[0]), "--vcpus", c[1], "--vcpu-type", c[2], "--guest-features", c[3], "--vmm", c[4], "--append", c[7]}
		if c[5] != "none" {
			args = append(args, "--kernel", c[5], "--initrd", c[6])
		}
		p := r.measured(args...)
		if p.Values["launch_digest"] != c[8] || len(p.Values) != 1 || p.Platform != "snp" {
			t.Errorf("%s: got %v", row, p)
		}
		if c[5] == "k2" {
			kernel := sha256.Sum256(sha3.SumSHAKE256([]byte("strongroom-vector-kernel-2"), 1234))
			if len(p.Inputs) != 3 || p.Inputs["kernel"] != hex.EncodeToString(kernel[:]) {
				t.Errorf("inputs %v", p.Inputs)
			}
		}
	}
}

// TestMeasureWithoutByteCode: an image on SEV-SNP is measured with the command line that its
// rooms are started with, which keeps the host's byte code out.
func TestMeasureWithoutByteCode(t *testing.T) {
	firmware := filepath.Join(evidencetest.Beside(t, "measure"), "ovmf_AmdSev_suffix.bin")
	t.Chdir(t.TempDir())
	if err := os.Mkdir("room", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"room.efi": "kernel", "cmdline": "quiet"} {
		if err := os.WriteFile(filepath.Join("room", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := teller{t, "home", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	got := r.measured("room", "--platform", "snp", "--firmware", firmware)
	same := r.measured("--platform", "snp", "--firmware", firmware, "--kernel", "room/room.efi", "--append", snpConfig("", "quiet").Line)
	own := r.measured("room", "--platform", "snp", "--firmware", firmware, "--append", "quiet")
	data, err := os.ReadFile(firmware)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("room/OVMF_SNP.fd", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if own := r.measured("room", "--platform", "snp"); own.Values["launch_digest"] != got.Values["launch_digest"] {
		t.Errorf("with the image's own firmware %v, named %v", own, got)
	}
	if got.Values["launch_digest"] != same.Values["launch_digest"] || got.Values["launch_digest"] == own.Values["launch_digest"] || got.Inputs["cmdline"] == "" {
		t.Errorf("%v, named one by one %v, with its own line %v", got, same, own)
	}
}

// TestMeasureSigns makes a set of reference values of a prediction.
func TestMeasureSigns(t *testing.T) {
	firmware := filepath.Join(evidencetest.Beside(t, "measure"), "ovmf_OvmfX64_suffix.bin")
	t.Chdir(t.TempDir())
	r := teller{t, "home", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	r.run(0, "keygen", "--purpose", "signing", "-o", "release.key")
	call := []string{"image", "measure", "--platform", "snp", "--firmware", firmware, "--vcpus", "2"}
	text := r.run(0, call...)
	digest := r.measured(call[2:]...).Values["launch_digest"]
	if digest == "" || !strings.Contains(text, "launch_digest: "+digest+"\n") || !strings.Contains(text, "No agreement can rest on these values") || strings.Contains(text, "platforms:") {
		t.Errorf("digest %q in %s", digest, text)
	}
	if err := os.WriteFile("vmlinuz", []byte("a kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	hashed := []string{"image", "measure", "--platform", "snp", "--firmware", filepath.Join(filepath.Dir(firmware), "ovmf_AmdSev_suffix.bin"), "--kernel", "vmlinuz"}
	if text := r.run(0, hashed...); !strings.Contains(text, "  - kind: snp\n") || !strings.Contains(text, "measurement: \""+r.measured(hashed[2:]...).Values["launch_digest"]+"\"") {
		t.Error(text)
	}
	signed := append(call, "--sign", "release.key")
	r.run(2, signed...) // nowhere to write to
	r.run(2, append(signed, "-o", "x.set", "--product", "Room")...)
	r.run(2, append(signed, "-o", "-", "--output", "json")...)
	if _, err := os.Stat("x.set"); err == nil {
		t.Error("a set of a refused call")
	}
	r.run(0, append(signed, "-o", "room.set", "--version", "7")...)
	data, err := os.ReadFile("room.set")
	if err != nil {
		t.Fatal(err)
	}
	p, err := reference.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	g := p.Values.Groups
	if p.Values.Product != "room" || p.Values.Version != 7 || len(p.Document.Signatures) != 1 || len(g) != 1 || g[0].Measurements["measurement"] != digest || g[0].Platform != "snp" {
		t.Errorf("%+v", p.Values)
	}
	r.run(2, append(signed, "-o", "room.set")...) // the name is taken
}

// TestOwnFirmware: each platform's machines start with the image's firmware for it, or with what
// was named, and an image without any for SEV-SNP says so before anything starts.
func TestOwnFirmware(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{image.FileTDX, "named.fd"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("firmware"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	named := filepath.Join(dir, "named.fd")
	for _, c := range []struct {
		platform wire.ID
		firmware string
		want     string
	}{
		{qemu.TDX, "", filepath.Join(dir, image.FileTDX)}, {qemu.TDX, named, named}, {qemu.SNP, named, named},
	} {
		var m qemu.Config
		f := vmFlags{platform: string(c.platform), firmware: c.firmware, image: dir, cpuType: qemu.DefaultCPU}
		if err := f.confidential(&m, dir, "quiet"); err != nil || m.Firmware != c.want {
			t.Errorf("%s, named %q: %q, %v", c.platform, c.firmware, m.Firmware, err)
		}
		if got := firmwareFor(doctorFlags{image: dir, firmware: c.firmware}, c.platform); got != c.want {
			t.Errorf("doctor looks at %q", got)
		}
	}
	f := vmFlags{platform: string(qemu.SNP), image: dir}
	if e := verdict.As(f.confidential(&qemu.Config{}, dir, "quiet")); e.Check != "--firmware" || !strings.Contains(e.Got, image.FileSNP) {
		t.Errorf("none for SEV-SNP: %v", e)
	}
	if err := os.WriteFile(filepath.Join(dir, image.FileSNP), []byte("firmware"), 0o600); err != nil {
		t.Fatal(err)
	}
	var m qemu.Config
	if err := f.confidential(&m, dir, "quiet"); err != nil || m.Firmware != filepath.Join(dir, image.FileSNP) || m.SNP.Line != "quiet initcall_blacklist=acpi_init pci=lastbus=1" {
		t.Errorf("%+v, %v", m, err)
	}
	if got := firmwareFor(doctorFlags{image: dir}, qemu.SNP); got != filepath.Join(dir, image.FileSNP) || firmwareFor(doctorFlags{}, qemu.TDX) != "" {
		t.Errorf("doctor looks at %q", got)
	}
}

// debian gives a file of a Debian package, by its path.
func debian(t *testing.T, path string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs the package ovmf: ", err)
		}
		t.Skip("needs the package ovmf: ", err)
	}
	return path
}

// TestMeasureTDX takes Debian 12's firmware, which measures nothing of what boots, and says so.
func TestMeasureTDX(t *testing.T) {
	firmware := debian(t, "/usr/share/ovmf/OVMF.fd")
	t.Chdir(t.TempDir())
	r := teller{t, "home", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	p := r.measured("--platform", "tdx", "--firmware", firmware)
	if len(p.Values) != 1 || len(p.Values["mrtd"]) != 96 || len(p.Notes) != 1 || len(p.Inputs) != 1 {
		t.Errorf("%+v", p)
	}
	if text := r.run(0, "image", "measure", "--platform", "tdx", "--firmware", firmware); !strings.Contains(text, "note: this firmware measures nothing into RTMRs") || !strings.Contains(text, "No agreement can rest") {
		t.Error(text)
	}
	if err := os.Mkdir("room", 0o700); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(firmware)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"room/OVMF_TDX.fd": data, "room/room.efi": []byte("kernel")} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if q := r.measured("room", "--platform", "tdx"); q.Values["mrtd"] != p.Values["mrtd"] || len(q.Inputs) != 2 {
		t.Errorf("%+v", q)
	}
}

// TestMeasureTPM measures a kernel that is handed over beside Debian's firmware.
func TestMeasureTPM(t *testing.T) {
	firmware := debian(t, "/usr/share/OVMF/OVMF_CODE_4M.fd")
	t.Chdir(t.TempDir())
	r := teller{t, "home", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	kernel := make([]byte, 1024) // a program of one section, with headers of 512 bytes
	for at, text := range map[int]string{0: "MZ", 0x3c: "\x40", 0x40: "PE\x00\x00", 0x46: "\x01", 0x54: "\x70", 0x58: "\x0b\x02", 0x58 + 61: "\x02",
		0x58 + 0x70: ".text\x00\x00\x00\x10\x00\x00\x00\x00\x10\x00\x00\x00\x02\x00\x00\x00\x02"} {
		copy(kernel[at:], text)
	}
	for name, data := range map[string][]byte{"vmlinuz": kernel, "initrd": []byte("i")} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	call := []string{"--platform", "tpm", "--firmware", firmware, "--kernel", "vmlinuz", "--initrd", "initrd", "--append", "quiet", "--memory", "2G"}
	p := r.measured(call...)
	for _, name := range []string{"pcr2", "pcr3", "pcr4", "pcr5", "pcr6", "pcr7", "pcr9", "firmware.900000"} {
		if len(p.Values[name]) != 64 {
			t.Errorf("%s is %q", name, p.Values[name])
		}
	}
	if p.Values["pcr12"] != strings.Repeat("0", 64) {
		t.Errorf("pcr12 is %q", p.Values["pcr12"])
	}
	if q := r.measured(append(call, "--append", "debug")...); q.Values["pcr9"] == p.Values["pcr9"] || q.Values["pcr4"] != p.Values["pcr4"] {
		t.Error("another command line gives other values than that of PCR 9, or the same")
	}
	text := r.run(0, append([]string{"image", "measure"}, call...)...)
	if strings.Index(text, "pcr9:") < strings.Index(text, "pcr4:") || !strings.Contains(text, "  - kind: tpm\n") || strings.Contains(text, "pcr12: \"") {
		t.Error(text)
	}
}
