package ready_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/host/ready"
	"strongroom.dev/predict"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// good is firmware that measures a kernel.
const good = "firmware that measures"

// host is a made-up machine.
type host struct {
	files    fstest.MapFS
	programs map[string]string // path to what --version prints
	objects  string
	closed   map[string]error
	kvm      error
	major    int
	minor    int
	sevError error
	release  predict.FirmwareRelease // of firmware; none if zero
}

func text(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

func (h host) machine() ready.Machine {
	return ready.Machine{
		Files: h.files,
		Look: func(name string) string {
			if _, found := h.programs["/usr/bin/"+name]; found {
				return "/usr/bin/" + name
			}
			return ""
		},
		Ask: func(_ context.Context, path string, args ...string) (string, error) {
			if slices.Contains(args, "-object") {
				return h.objects, nil
			}
			if h.programs[path] == "broken" {
				return "", errors.New("exit status 127")
			}
			return h.programs[path], nil
		},
		Open:  func(path string) error { return h.closed[path] },
		Prove: func(context.Context) error { return h.kvm },
		Judge: func(_ wire.ID, firmware []byte) error {
			if string(firmware) != good {
				return verdict.Misuse("measure.firmware", "x", "no such build", "x")
			}
			return nil
		},
		Release:     func([]byte) (predict.FirmwareRelease, bool) { return h.release, h.release != predict.FirmwareRelease{} },
		SEVFirmware: func() (int, int, int, error) { return h.major, h.minor, 21, h.sevError },
	}
}

func tpmHost() host {
	return host{files: fstest.MapFS{}, programs: map[string]string{
		"/usr/bin/qemu-system-x86_64": "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright",
		"/usr/bin/swtpm":              "TPM emulator version 0.7.1, Copyright (c) 2014-2021 IBM Corp.",
		"/usr/bin/swtpm_setup":        "x", "/usr/bin/swtpm_localca": "x", "/usr/bin/swtpm_cert": "x", "/usr/bin/certtool": "x",
	}}
}

func snpHost() host {
	return host{
		files: fstest.MapFS{
			"proc/cpuinfo":                            text("processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 9354\nflags\t\t: fpu sev sev_es sev_snp\n\nprocessor\t: 1\n"),
			"proc/sys/kernel/osrelease":               text("6.12.48+deb13-amd64\n"),
			"proc/cmdline":                            text("root=/dev/sda1 quiet kvm_amd.sev=1\n"),
			"boot/config-6.12.48+deb13-amd64":         text("CONFIG_KVM_AMD_SEV=y\n# CONFIG_X is not set\nCONFIG_CRYPTO_DEV_SP_PSP=y\n"),
			"sys/module/kvm_amd/parameters/sev_snp":   text("Y\n"),
			"dev/sev":                                 text(""),
			"usr/share/ovmf/OVMF.amdsev.fd":           text(good),
			"usr/share/edk2/ovmf/OVMF.inteltdx.fd":    text(good),
			"opt/firmware/without-a-place-for-hashes": text("another build"),
		},
		programs: map[string]string{"/usr/bin/qemu-system-x86_64": "QEMU emulator version 10.1.0"},
		objects:  "List of user creatable objects:\n  sev-guest\n  sev-snp-guest\n  tdx-guest\n", major: 1, minor: 55,
	}
}

func tdxHost() host {
	h := snpHost()
	maps.Copy(h.files, fstest.MapFS{
		"proc/cpuinfo":                         text("vendor_id\t: GenuineIntel\nmodel name\t: INTEL(R) XEON(R) PLATINUM 8570\nflags\t\t: vmx tdx_host_platform\n"),
		"proc/sys/kernel/osrelease":            text("6.17.2\n"),
		"boot/config-6.17.2":                   text("CONFIG_INTEL_TDX_HOST=y\nCONFIG_KVM_INTEL_TDX=y\n"),
		"sys/module/kvm_intel/parameters/tdx":  text("Y\n"),
		"sys/power/disk":                       text("[platform] shutdown\n"),
		"dev/sgx_enclave":                      text(""),
		"dev/sgx_provision":                    text(""),
		"var/run/tdx-qgs/qgs.socket":           {Mode: fs.ModeSocket},
		"usr/share/edk2/ovmf/OVMF.inteltdx.fd": text(good),
	})
	return h
}

func makers() map[wire.ID]func() host {
	return map[wire.ID]func() host{"tpm": tpmHost, "snp": snpHost, "tdx": tdxHost}
}

func examine(t *testing.T, h host, asked ready.Asked) (missing []verdict.Check) {
	t.Helper()
	if asked.Platform == "tdx" && asked.QuoteSocket == "" {
		asked.QuoteSocket = "/var/run/tdx-qgs/qgs.socket"
	}
	checks, err := h.machine().Examine(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range checks {
		if seen[c.ID] {
			t.Errorf("%s stands twice", c.ID)
		}
		seen[c.ID] = true
		if c.Expected == "" || c.Got == "" || c.OK != (c.Fix == "") {
			t.Errorf("%+v does not say what it is about", c)
		}
		if !c.OK {
			missing = append(missing, c)
		}
	}
	return missing
}

func TestWholeHosts(t *testing.T) {
	for platform, make := range makers() {
		if missing := examine(t, make(), ready.Asked{Platform: platform}); missing != nil {
			t.Errorf("%s: %+v", platform, missing)
		}
	}
}

// TestEachThingMissing takes one thing after the other away: it is found, alone, by name.
func TestEachThingMissing(t *testing.T) {
	without := func(name string) func(*host) { return func(h *host) { delete(h.files, name) } }
	with := func(name, data string) func(*host) { return func(h *host) { h.files[name] = text(data) } }
	program := func(name, says string) func(*host) {
		return func(h *host) {
			if h.programs["/usr/bin/"+name] = says; says == "" {
				delete(h.programs, "/usr/bin/"+name)
			}
		}
	}
	for name, c := range map[string]struct {
		platform wire.ID
		change   func(*host)
		check    string
		got      string
	}{
		"no qemu":               {"tpm", program("qemu-system-x86_64", ""), "qemu", "none|no qemu"},
		"old qemu":              {"tpm", program("qemu-system-x86_64", "QEMU emulator version 6.2.0"), "qemu", "6.2.0"},
		"broken qemu":           {"tpm", program("qemu-system-x86_64", "broken"), "qemu", "does not say"},
		"no swtpm":              {"tpm", program("swtpm", ""), "tpm.swtpm", "none in $PATH"},
		"old swtpm":             {"tpm", program("swtpm", "TPM emulator version 0.6.3"), "tpm.swtpm", "0.6.3"},
		"no setup":              {"tpm", program("swtpm_setup", ""), "tpm.swtpm_setup", "none in $PATH"},
		"no localca":            {"tpm", program("swtpm_localca", ""), "tpm.swtpm_localca", "none in $PATH"},
		"no cert":               {"tpm", program("swtpm_cert", ""), "tpm.swtpm_cert", "none in $PATH"},
		"no certtool":           {"tpm", program("certtool", ""), "tpm.certtool", "none in $PATH"},
		"snp on Intel":          {"snp", with("proc/cpuinfo", "vendor_id\t: GenuineIntel\nmodel name\t: Xeon\nflags\t\t: vmx\n"), "snp.cpu", "Xeon (GenuineIntel)"},
		"snp turned off":        {"snp", with("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 7763\nflags\t\t: sev sev_es\n"), "snp.cpu", "no flag sev_snp"},
		"sev turned off":        {"snp", with("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 7763\nflags\t\t: sme\n"), "snp.cpu", "without the flag"},
		"kernel without snp":    {"snp", with("boot/config-6.12.48+deb13-amd64", "CONFIG_KVM_AMD_SEV=y\n"), "snp.kernel-config", "without CONFIG_CRYPTO_DEV_SP_PSP"},
		"iommu passes through":  {"snp", with("proc/cmdline", "quiet iommu=pt\n"), "snp.iommu", "iommu=pt"},
		"iommu off":             {"snp", with("proc/cmdline", "amd_iommu=off\n"), "snp.iommu", "amd_iommu=off"},
		"sev_snp off":           {"snp", with("sys/module/kvm_amd/parameters/sev_snp", "N\n"), "snp.kvm_amd", "sev_snp=N"},
		"no device":             {"snp", without("dev/sev"), "snp.device", "no /dev/sev"},
		"device of others":      {"snp", func(h *host) { h.closed = map[string]error{"/dev/sev": fs.ErrPermission} }, "snp.device", "permission"},
		"old firmware":          {"snp", func(h *host) { h.minor = 49 }, "snp.firmware", "1.49"},
		"silent firmware":       {"snp", func(h *host) { h.sevError = errors.New("no such ioctl") }, "snp.firmware", "no such ioctl"},
		"qemu before snp":       {"snp", program("qemu-system-x86_64", "QEMU emulator version 8.2.2"), "qemu", "8.2.2"},
		"qemu built without":    {"snp", func(h *host) { h.objects = "sev-guest" }, "qemu.object", "none"},
		"no ovmf":               {"snp", without("usr/share/ovmf/OVMF.amdsev.fd"), "snp.ovmf", "none at"},
		"ovmf without hashes":   {"snp", with("usr/share/ovmf/OVMF.amdsev.fd", "another build"), "snp.ovmf", "no such build"},
		"ovmf with option ROMs": {"snp", func(h *host) { h.release = predict.FirmwareRelease{Year: 2022, Month: 11} }, "snp.option-roms", "EDK II 2022.11"},
		"ovmf without them":     {"snp", func(h *host) { h.release = predict.FirmwareRelease{Year: 2023, Month: 2} }, "", ""},
		"kvm closed":            {"snp", func(h *host) { h.closed = map[string]error{"/dev/kvm": fs.ErrNotExist} }, "kvm", "/dev/kvm"},
		"kvm breaks":            {"snp", func(h *host) { h.kvm = verdict.Refuse("vm.kvm", "x", "a tiny machine died", "") }, "kvm", "a tiny machine died"},
		"tdx on AMD":            {"tdx", with("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nmodel name\t: EPYC\nflags\t\t: x\n"), "tdx.cpu", "EPYC (AuthenticAMD)"},
		"tdx turned off":        {"tdx", with("proc/cpuinfo", "vendor_id\t: GenuineIntel\nmodel name\t: Xeon\nflags\t\t: vmx\n"), "tdx.cpu", "without the flag"},
		"kernel without tdx":    {"tdx", with("boot/config-6.17.2", "CONFIG_KVM_INTEL_TDX=y\n"), "tdx.kernel-config", "CONFIG_INTEL_TDX_HOST"},
		"no enclave":            {"tdx", without("dev/sgx_enclave"), "tdx.sgx_enclave", "no /dev/sgx_enclave"},
		"no provisioning":       {"tdx", without("dev/sgx_provision"), "tdx.sgx_provision", "no /dev/sgx_provision"},
		"no quotes":             {"tdx", without("var/run/tdx-qgs/qgs.socket"), "tdx.qgs", "no /var/run"},
		"quotes of a file":      {"tdx", with("var/run/tdx-qgs/qgs.socket", ""), "tdx.qgs", "no socket"},
		"qemu before tdx":       {"tdx", program("qemu-system-x86_64", "QEMU emulator version 10.0.2"), "qemu", "10.0.2"},
		"no ovmf for tdx":       {"tdx", without("usr/share/edk2/ovmf/OVMF.inteltdx.fd"), "tdx.ovmf", "none at"},
		"qemu without tdx":      {"tdx", func(h *host) { h.objects = "sev-snp-guest" }, "qemu.object", "none"},
		"kvm breaks under tdx":  {"tdx", func(h *host) { h.kvm = errors.New("no") }, "kvm", "no"},
		"kernel of nobody":      {"tpm", func(h *host) {}, "", ""},
		"tpm does without kvm":  {"tpm", func(h *host) { h.kvm = errors.New("no") }, "", ""},
		"tpm without a device":  {"tpm", func(h *host) { h.closed = map[string]error{"/dev/kvm": fs.ErrNotExist} }, "", ""},
		"snp older with a port": {"snp", func(h *host) { h.files["proc/sys/kernel/osrelease"] = text("6.8.0-custom\n") }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := makers()[c.platform]()
			c.change(&h)
			missing := examine(t, h, ready.Asked{Platform: c.platform})
			if c.check == "" {
				if missing != nil {
					t.Errorf("%+v", missing)
				}
				return
			}
			if len(missing) != 1 || missing[0].ID != c.check {
				t.Fatalf("%+v", missing)
			}
			if !slices.ContainsFunc(strings.Split(c.got, "|"), func(s string) bool { return strings.Contains(missing[0].Got, s) }) {
				t.Errorf("got %q, expected %q in it", missing[0].Got, c.got)
			}
		})
	}
}

// TestSeveralThings: what depends on another thing is named with it.
func TestSeveralThings(t *testing.T) {
	h := snpHost()
	delete(h.files, "sys/module/kvm_amd/parameters/sev_snp")
	h.files["proc/sys/kernel/osrelease"] = text("6.1.0-56-amd64\n")
	var ids []string
	for _, c := range examine(t, h, ready.Asked{Platform: "snp"}) {
		ids = append(ids, c.ID)
	}
	if diff := cmp.Diff([]string{"snp.kernel", "snp.kvm_amd"}, ids); diff != "" {
		t.Error(diff)
	}
	h = tdxHost()
	h.files["sys/module/kvm_intel/parameters/tdx"] = text("N\n")
	ids = nil
	for _, c := range examine(t, h, ready.Asked{Platform: "tdx"}) {
		ids = append(ids, c.ID)
	}
	if diff := cmp.Diff([]string{"tdx.hibernation", "tdx.kvm_intel"}, ids); diff != "" {
		t.Error(diff)
	}
}

func TestNamedFirmwareAndPackedConfig(t *testing.T) {
	h := snpHost()
	for firmware, ok := range map[string]bool{"/usr/share/ovmf/OVMF.amdsev.fd": true, "/opt/firmware/without-a-place-for-hashes": false, "/none": false} {
		if missing := examine(t, h, ready.Asked{Platform: "snp", Firmware: firmware}); (missing == nil) != ok {
			t.Errorf("%s: %+v", firmware, missing)
		}
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte("CONFIG_KVM_AMD_SEV=y\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	delete(h.files, "boot/config-6.12.48+deb13-amd64")
	if missing := examine(t, h, ready.Asked{Platform: "snp"}); missing != nil {
		t.Errorf("a kernel that hides its configuration: %+v", missing)
	}
	h.files["proc/config.gz"] = text(packed.String())
	if missing := examine(t, h, ready.Asked{Platform: "snp"}); len(missing) != 1 || missing[0].ID != "snp.kernel-config" {
		t.Errorf("a packed configuration: %+v", missing)
	}
}

func TestEmptyMachine(t *testing.T) {
	for _, platform := range ready.Platforms() {
		h := host{files: fstest.MapFS{}, kvm: errors.New("no"), closed: map[string]error{"/dev/kvm": fs.ErrNotExist}}
		if missing := examine(t, h, ready.Asked{Platform: platform}); len(missing) < 5 {
			t.Errorf("%s: an empty machine lacks %d things", platform, len(missing))
		}
	}
	if _, err := tpmHost().machine().Examine(t.Context(), ready.Asked{Platform: "sgx"}); verdict.Exit(err) != int(verdict.Usage) {
		t.Error(err)
	}
}

// TestThisMachine: whatever it is, it is examined in time.
func TestThisMachine(t *testing.T) {
	m := ready.This(func(context.Context) error { return nil })
	for _, platform := range ready.Platforms() {
		if checks, err := m.Examine(t.Context(), ready.Asked{Platform: platform, QuoteSocket: "vsock:2:4050"}); err != nil || len(checks) == 0 {
			t.Errorf("%s: %v, %v", platform, checks, err)
		}
	}
}

func FuzzFiles(f *testing.F) {
	f.Add("vendor_id : AuthenticAMD\nflags : sev_snp", "6.12", "CONFIG_X=y", []byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, cpu, release, config string, packed []byte) {
		h := snpHost()
		h.files["proc/cpuinfo"], h.files["proc/sys/kernel/osrelease"] = text(cpu), text(release)
		h.files["proc/config.gz"] = &fstest.MapFile{Data: packed}
		h.files["proc/cmdline"] = text(config)
		for _, platform := range ready.Platforms() {
			if _, err := h.machine().Examine(t.Context(), ready.Asked{Platform: platform}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestInstalledFirmware judges what Debian 12 has: neither build that confidential rooms need.
func TestInstalledFirmware(t *testing.T) {
	firmware, err := os.ReadFile("/usr/share/ovmf/OVMF.fd")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no OVMF, which scripts/setup installs: %v", err)
		}
		t.Skipf("no OVMF (apt-get install ovmf): %v", err)
	}
	for _, platform := range []wire.ID{"snp", "tdx"} {
		if err := ready.This(nil).Judge(platform, firmware); verdict.Exit(err) != int(verdict.Usage) {
			t.Errorf("%s: %v", platform, err)
		}
	}
}
