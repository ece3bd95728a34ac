package ready

import (
	"context"
	"fmt"
	"os"
	"strings"

	"strongroom.dev/predict"
	"strongroom.dev/verdict"
)

// tpm: virtual machines with a software TPM run anywhere; with KVM they are fast.
func (e *examination) tpm(ctx context.Context) {
	e.qemu(ctx, version{7, 2}, "")
	for _, p := range []struct{ name, what, fix string }{
		{"swtpm", "a software TPM", "swtpm"},
		{"swtpm_setup", "what makes a TPM with certified keys", "swtpm-tools"},
		{"swtpm_localca", "what certifies its keys", "swtpm-tools"},
		{"swtpm_cert", "what writes its certificates", "swtpm-tools"},
		{"certtool", "what makes the authority's own certificates", "gnutls-bin"},
	} {
		found := e.Look(p.name)
		got := found
		if found == "" {
			got = "none in $PATH"
		}
		if p.name == "swtpm" && found != "" {
			e.swtpm(ctx, found)
			continue
		}
		e.check("tpm."+p.name, found != "", p.what, got, "install it (on Debian: "+p.fix+")")
	}
	e.kvm(ctx, false)
}

func (e *examination) swtpm(ctx context.Context, path string) {
	least := version{0, 7}
	text, err := e.Ask(ctx, path, "--version")
	v, known := parseVersion(firstLine(text))
	got := firstLine(text)
	if err != nil || !known {
		got = "it does not say its version"
	}
	e.check("tpm.swtpm", err == nil && known && !v.less(least), "swtpm "+least.String()+" or newer", got, "install it (on Debian: swtpm)")
}

// qemu checks QEMU's version, and that it was built with an object.
func (e *examination) qemu(ctx context.Context, least version, object string) {
	const name, fix = "qemu-system-x86_64", "install it (on Debian: qemu-system-x86)"
	path := e.Look(name)
	if path == "" {
		e.check("qemu", false, "QEMU "+least.String()+" or newer", "no "+name+" in $PATH", fix)
		return
	}
	text, err := e.Ask(ctx, path, "--version")
	v, known := parseVersion(firstLine(text))
	got := firstLine(text)
	if err != nil || !known {
		got = "it does not say its version"
	}
	e.check("qemu", err == nil && known && !v.less(least), "QEMU "+least.String()+" or newer", got, "install a newer one")
	if object == "" {
		return
	}
	objects, err := e.Ask(ctx, path, "-object", "help")
	has := err == nil && strings.Contains(objects, object)
	got = "it has"
	if !has {
		got = "it has none"
	}
	e.check("qemu.object", has, "QEMU built with the object "+object, got, "install a build of QEMU that has it")
}

// kvm checks that machines run under KVM, by running one.
func (e *examination) kvm(ctx context.Context, needed bool) {
	const what = "KVM that runs a machine"
	err := e.Open("/dev/kvm")
	got := "a machine came through its firmware"
	if err != nil {
		got = "/dev/kvm: " + why(err)
	} else if err = e.Prove(ctx); err != nil {
		got = verdict.As(err).Got
	}
	fix := "load the processor's KVM module, give this user access to /dev/kvm, and use a machine that is not itself virtual"
	if err != nil && !needed {
		got = "rooms run in software, slowly: " + got
	}
	e.check("kvm", err == nil || !needed, what, got, fix)
}

// firmware checks that the firmware to be used measures a room's kernel, or finds one, which it
// gives.
func (e *examination) firmware(id, what, fix string, places ...string) (place string, data []byte) {
	if e.asked.Firmware != "" {
		places = []string{e.asked.Firmware}
	}
	got := "none at " + strings.Join(places, ", ")
	for _, place := range places {
		data, err := e.read(place)
		if err != nil {
			continue
		}
		if err := e.Judge(e.asked.Platform, []byte(data)); err != nil {
			got = place + ": " + verdict.As(err).Got
			continue
		}
		e.check(id, true, what, place, "")
		return place, []byte(data)
	}
	e.check(id, false, what, got, fix)
	return "", nil
}

// optionROMs checks that firmware leaves the programs alone that devices bring, where it says how
// old it is: they run in the machine, and no launch digest covers them.
func (e *examination) optionROMs(place string, firmware []byte) {
	since := predict.FirmwareRelease{Year: 2023, Month: 2}
	release, said := e.Release(firmware)
	got := place + ", which does not say its release"
	if said {
		got = "EDK II " + release.String() + " (" + place + ")"
	}
	e.check("snp.option-roms", !said || !release.Before(since), "firmware that runs no device's option ROM: EDK II "+since.String()+" or newer", got, "take newer firmware: under this one, what the host puts into an option ROM runs inside")
}

// snp checks a host of SEV-SNP rooms, from the processor up.
func (e *examination) snp(ctx context.Context) {
	vendor, model, flags := parseCPU(e.line("/proc/cpuinfo"))
	got := model + ", flag sev_snp"
	fix := "host on AMD EPYC 7003 or newer"
	switch {
	case vendor != "AuthenticAMD":
		got = model + " (" + vendor + ")"
	case !flags["sev_snp"] && flags["sev_es"]:
		got = model + " with SEV-ES and no flag sev_snp"
		fix = "in the machine's set-up turn on SMEE, SEV-SNP and RMP table coverage, and give SEV-ES address space identifiers; EPYC 7003 or newer has it"
	case !flags["sev_snp"]:
		got = model + " without the flag sev_snp"
		fix = "in the machine's set-up turn on SMEE, SEV and SEV-SNP; EPYC 7003 or newer has it"
	}
	e.check("snp.cpu", vendor == "AuthenticAMD" && flags["sev_snp"], "an AMD processor with SEV-SNP turned on", got, fix)
	enabled := e.line("/sys/module/kvm_amd/parameters/sev_snp") == "Y"
	e.kernel("snp.kernel", version{6, 11}, enabled)
	e.options("snp.kernel-config", "CONFIG_KVM_AMD_SEV", "CONFIG_CRYPTO_DEV_SP_PSP")
	passthrough := e.argument("iommu", "pt") || e.argument("iommu.passthrough", "1") || e.argument("amd_iommu", "off") || e.argument("iommu", "off")
	got = "nothing in its way"
	if passthrough {
		got = "an IOMMU that is off or passes through: " + e.line("/proc/cmdline")
	}
	e.check("snp.iommu", !passthrough, "an IOMMU in use, which SEV-SNP depends on", got, "take iommu=pt, iommu=off, amd_iommu=off and iommu.passthrough=1 off the kernel's command line")
	e.parameter("snp.kvm_amd", "kvm_amd", "sev_snp", "add kvm_amd.sev=1 kvm_amd.sev_es=1 kvm_amd.sev_snp=1 to the kernel's command line; dmesg | grep -i -e sev -e rmp says what is in the way")
	if e.device("snp.device", "/dev/sev", "the secure processor's device", "load its driver: modprobe ccp; dmesg | grep ccp says why there is none") {
		e.sevFirmware()
	}
	e.qemu(ctx, version{9, 1}, "sev-snp-guest")
	place, firmware := e.firmware("snp.ovmf", "firmware for SEV-SNP with an area for the kernel's hashes (OVMF's AmdSev build)", "install it (ovmf-amdsev of the Debian after 13, edk2-ovmf on Fedora) and name it with --firmware, or build the image with it: strongroom image lock --update --snp",
		"/usr/share/ovmf/OVMF.amdsev.fd", "/usr/share/edk2/ovmf/OVMF.amdsev.fd", "/usr/share/OVMF/OVMF.amdsev.fd")
	if firmware != nil {
		e.optionROMs(place, firmware)
	}
	e.kvm(ctx, true)
}

func (e *examination) sevFirmware() {
	least := version{1, 51} // the first with the SEV-SNP interface that Linux uses
	major, minor, build, err := e.SEVFirmware()
	got := fmt.Sprintf("%d.%d build %d", major, minor, build)
	if err != nil {
		got = "it does not say: " + why(err)
	}
	e.check("snp.firmware", err == nil && !(version{major, minor}).less(least), "SEV firmware "+least.String()+" or newer", got, "update the machine's set-up (BIOS), or put AMD's amd_sev_*.sbin into /lib/firmware/amd and restart")
}

// tdx checks a host of TDX rooms, from the processor up.
func (e *examination) tdx(ctx context.Context) {
	vendor, model, flags := parseCPU(e.line("/proc/cpuinfo"))
	got, fix := model+", flag tdx_host_platform", "host on Intel Xeon of the fifth generation or newer, or a fourth made for it"
	if vendor != "GenuineIntel" {
		got = model + " (" + vendor + ")"
	} else if !flags["tdx_host_platform"] {
		got = model + " without the flag tdx_host_platform"
		fix = "in the machine's set-up turn on TME, TME-MT, TDX, SEAM loader and SGX, and set the TDX key split above 0"
	}
	e.check("tdx.cpu", vendor == "GenuineIntel" && flags["tdx_host_platform"], "an Intel processor with TDX turned on", got, fix)
	enabled := e.line("/sys/module/kvm_intel/parameters/tdx") == "Y"
	e.kernel("tdx.kernel", version{6, 16}, enabled)
	e.options("tdx.kernel-config", "CONFIG_INTEL_TDX_HOST", "CONFIG_KVM_INTEL_TDX")
	hibernates := !enabled && e.exists("/sys/power/disk") && !e.argument("nohibernate", "") && !strings.Contains(e.line("/sys/power/disk"), "disabled")
	got = "nothing in its way"
	if hibernates {
		got = "a kernel that can hibernate, which then gives up TDX"
	}
	e.check("tdx.hibernation", !hibernates, "a kernel that does not hibernate", got, "add nohibernate to the kernel's command line")
	e.parameter("tdx.kvm_intel", "kvm_intel", "tdx", "add kvm_intel.tdx=1 to the kernel's command line; dmesg | grep -i tdx says whether the TDX module was found and initialised")
	for _, d := range []string{"sgx_enclave", "sgx_provision"} {
		e.check("tdx."+d, e.exists("/dev/"+d), "SGX, in which quotes are signed", present(e.exists("/dev/"+d), "/dev/"+d), "turn SGX on in the machine's set-up")
	}
	e.quotes()
	e.qemu(ctx, version{10, 1}, "tdx-guest")
	e.firmware("tdx.ovmf", "firmware that measures a kernel into RTMRs", "take a room image's own with --image, or install it (ovmf of Debian 13, edk2-ovmf on Fedora) and name it with --firmware",
		"/usr/share/ovmf/OVMF.inteltdx.fd", "/usr/share/edk2/ovmf/OVMF.inteltdx.fd", "/usr/share/ovmf/OVMF.tdx.fd", "/usr/share/ovmf/OVMF.fd")
	e.kvm(ctx, true)
}

func present(there bool, path string) string {
	if there {
		return path
	}
	return "no " + path
}

// quotes checks that the quote generation service listens: without it a room starts, and
// gets no evidence.
func (e *examination) quotes() {
	const what, fix = "the quote generation service (QGS) listening", "install Intel's tdx-qgs, register the platform (PCCS, mpa_registration_tool), start qgsd, and name its socket with --quote-service"
	if address, vsock := strings.CutPrefix(e.asked.QuoteSocket, "vsock:"); vsock {
		there := e.exists("/dev/vhost-vsock") || e.exists("/dev/vsock")
		e.check("tdx.qgs", there, what, present(there, "/dev/vsock")+"; whether it listens at "+address+" shows when a room asks", "load the module vhost_vsock")
		return
	}
	info, err := statFile(e.Files, e.asked.QuoteSocket)
	got := e.asked.QuoteSocket
	ok := err == nil && info.Mode()&os.ModeSocket != 0
	if err != nil {
		got = "no " + got
	} else if !ok {
		got += " is no socket"
	}
	e.check("tdx.qgs", ok, what, got, fix)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
