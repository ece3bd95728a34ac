package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"strongroom.dev/attest/dev"
	"strongroom.dev/host"
	"strongroom.dev/host/qemu"
	"strongroom.dev/image"
	"strongroom.dev/internal/home"
	"strongroom.dev/machine"
	"strongroom.dev/predict"
	"strongroom.dev/verdict"
)

// vmFlags are what starting rooms as virtual machines takes.
type vmFlags struct {
	platform string
	image    string
	memory   string
	cpus     int
	firmware string
	cpuType  string
	quotes   string
}

// defaultQuotes is where Intel's quote generation service listens unless configured otherwise.
const defaultQuotes = "/var/run/tdx-qgs/qgs.socket"

func (f *vmFlags) add(cmd *cobra.Command, platform, usage string) {
	flags := cmd.Flags()
	flags.StringVar(&f.platform, "platform", platform, usage)
	flags.StringVar(&f.image, "image", "", "`DIR` of the room image, for virtual machines")
	flags.StringVar(&f.memory, "memory", "2G", "`SIZE` of a room's memory, such as 512M or 2G")
	flags.IntVar(&f.cpus, "cpus", 2, "a room's processors")
	flags.StringVar(&f.firmware, "firmware", "", "`FILE` of firmware for snp or tdx, instead of the image's "+image.FileSNP+" or "+image.FileTDX)
	flags.StringVar(&f.cpuType, "vcpu-type", qemu.DefaultCPU, "`MODEL` of the processors on snp, as QEMU names it")
	flags.StringVar(&f.quotes, "quote-service", defaultQuotes, "`SOCKET` of the quote generation service on tdx, or vsock:CID:PORT")
}

// machineFlags are those of vmFlags that mean nothing without a virtual machine.
func machineFlags() []string {
	return []string{"image", "memory", "cpus", "firmware", "vcpu-type", "quote-service"}
}

// firstGiven gives the first of these flags that a call has, "" if it has none.
func firstGiven(given func(flag string) bool, names ...string) string {
	for _, name := range names {
		if given(name) {
			return "--" + name
		}
	}
	return ""
}

// checkSize demands a machine that QEMU and a room's kernel can start with.
func (f *vmFlags) checkSize() error {
	if f.cpus < 1 || f.cpus > qemu.MaxCPUs {
		return verdict.Misuse("--cpus", fmt.Sprintf("1 to %d processors", qemu.MaxCPUs), strconv.Itoa(f.cpus), "as in --cpus 2")
	}
	memory, err := memorySize(f.memory)
	if err == nil && (memory < qemu.MinMemory<<20 || memory > qemu.MaxMemory<<20) {
		err = verdict.Misuse("--memory", fmt.Sprintf("%dM to %dG: with less, kernel and initrd have no place", qemu.MinMemory, qemu.MaxMemory>>10), strconv.Quote(verdict.Short(f.memory)), "as in --memory 2G")
	}
	return err
}

// check finds what is wrong with the flags alone; given says which the call has.
func (f *vmFlags) check(given func(flag string) bool) error {
	switch f.platform {
	case string(dev.Name):
		if f.image != "" {
			return verdict.Misuse("--platform", "the platform of a virtual machine, since there is an image: tpm, snp or tdx", "dev", "give --platform")
		}
		if flag := firstGiven(given, machineFlags()...); flag != "" {
			return verdict.Misuse(flag, "the platform of a virtual machine with it: tpm, snp or tdx", "dev, whose rooms are processes", "give --platform and --image, or leave "+flag+" out")
		}
		return nil
	case string(qemu.TPM):
		if f.firmware != "" {
			return verdict.Misuse("--firmware", "none on tpm, where it is the image's", f.firmware, "leave it out")
		}
	case string(qemu.SNP), string(qemu.TDX):
	default:
		return verdict.Misuse("--platform", "dev, tpm, snp or tdx", strconv.Quote(verdict.Short(f.platform)), "name one of them")
	}
	if f.image == "" {
		return verdict.Misuse("--image", "the directory of a room image", "none", "strongroom image build -o DIR makes one")
	}
	return f.checkSize()
}

// vmConfig makes what starts rooms as virtual machines, but for what runs their processors
// ([app.accelerate]). makeCA makes this home's authority for
// software TPMs if there is none. The flags were checked.
func (a *app) vmConfig(ctx context.Context, h *home.Home, f vmFlags, makeCA bool) (*host.VM, error) {
	dir, err := filepath.Abs(f.image)
	if err != nil {
		return nil, err
	}
	manifest, err := image.Open(dir)
	if err != nil {
		return nil, err
	}
	vm := &host.VM{Launch: qemu.Launch{Programs: qemu.FindPrograms()}}
	for _, e := range manifest.Engines {
		vm.Engines = append(vm.Engines, host.Engine{Name: e.Name, Path: filepath.Join(dir, image.EngineFile(e.Name))})
	}
	memory, err := memorySize(f.memory)
	if err != nil {
		return nil, err
	}
	m := &vm.Launch.Machine
	m.CPUs, m.Memory, m.Kernel = f.cpus, int(memory>>20), filepath.Join(dir, image.FileUKI)
	if f.platform == string(qemu.TPM) {
		m.Platform, m.Firmware, m.Variables = qemu.TPM, filepath.Join(dir, image.FileCode), filepath.Join(dir, image.FileVars)
		if vm.Launch.CA, err = a.tpmCA(ctx, h, makeCA); err != nil {
			return nil, err
		}
	} else if err := f.confidential(m, dir, manifest.Cmdline); err != nil {
		return nil, err
	} else if _, err := a.expected(f); err != nil {
		return nil, err
	}
	return vm, nil
}

// confidential fills in what machines of SEV-SNP and TDX are started with.
func (f *vmFlags) confidential(m *qemu.Config, dir, line string) error {
	path := f.firmware
	if path == "" {
		var err error
		if path, err = ownFirmware(dir, f.platform); err != nil {
			return err
		}
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return misfile(path, "the firmware", "no such file", "name it with --firmware")
	}
	if m.Firmware, err = filepath.Abs(path); err != nil {
		return err
	}
	if f.platform == string(qemu.SNP) {
		m.Platform, m.SNP = qemu.SNP, snpConfig(f.cpuType, line)
		return nil
	}
	m.Platform, m.TDX.QuoteSocket = qemu.TDX, f.quotes
	if address, vsock := strings.CutPrefix(f.quotes, "vsock:"); vsock {
		cid, port, _ := strings.Cut(address, ":")
		c, cidErr := strconv.ParseUint(cid, 10, 32)
		p, portErr := strconv.ParseUint(port, 10, 32)
		if cidErr != nil || portErr != nil || c == 0 || p == 0 {
			return verdict.Misuse("--quote-service", "the path of a socket, or vsock:CID:PORT", strconv.Quote(verdict.Short(f.quotes)), "as in vsock:2:4050")
		}
		m.TDX = qemu.TDXConfig{QuoteCID: uint32(c), QuotePort: uint32(p)}
	}
	return nil
}

// expected gives the measurements that evidence of the rooms will carry, and refuses firmware
// under which nothing would prove their kernel.
func (a *app) expected(f vmFlags) (map[string]string, error) {
	m := measureFlags{platform: f.platform, firmware: f.firmware, vcpus: f.cpus, vcpuType: f.cpuType, features: "0x1", vmm: string(predict.QEMU), memory: f.memory, inputs: map[string]string{}}
	dir := []string{f.image}
	switch f.platform {
	case string(qemu.TPM):
		p, err := a.measuredTPM(m, dir)
		return p.measurements, err
	case string(qemu.SNP):
		p, err := a.measuredSNP(m, dir)
		return p.measurements, err
	}
	p, err := a.measuredTDX(m, dir)
	if err == nil && p.Values["rtmr1"] == "" {
		err = verdict.Misuse("--firmware", "firmware that measures what boots", "none that does", "leave it out to take the image's, or name OVMF's IntelTdx build")
	}
	return p.measurements, err
}

// accelerate has rooms run under KVM where a machine has come through its firmware under it, just
// now; else in software, where the platform allows it.
func (a *app) accelerate(ctx context.Context, c host.Config, f vmFlags) error {
	if c.VM == nil {
		return nil
	}
	dir, err := filepath.Abs(f.image)
	if err != nil {
		return err
	}
	m := &c.VM.Launch.Machine
	m.Accel = qemu.KVM
	err = qemu.Prove(ctx, c.VM.Launch.Programs, filepath.Join(dir, image.FileCode), filepath.Join(dir, image.FileVars))
	if err == nil || m.Platform != qemu.TPM || verdict.As(err).Check != "vm.kvm" {
		return err
	}
	m.Accel = qemu.TCG
	a.say("KVM does not work here, so rooms run in software, some ten times slower; strongroom doctor host says why")
	return nil
}

// tpmCA gives this home's authority for software TPMs.
func (a *app) tpmCA(ctx context.Context, h *home.Home, create bool) (*qemu.CA, error) {
	ca, err := qemu.OpenCA(h.Path("tpm"))
	if !errors.Is(err, fs.ErrNotExist) {
		return ca, err
	}
	if !create {
		return nil, verdict.Misuse("vm.tpm_ca", "this home directory's authority for software TPMs", "none", "start the room on the host whose root the agreement pins: --host URL, or --home with its directory; for a new agreement, strongroom host root --platform tpm makes one")
	}
	return qemu.NewCA(ctx, h.Path("tpm"), qemu.FindPrograms())
}

// insecurity says whom a room of this host does not keep out, "" if it keeps out the host.
func insecurity(c host.Config) string {
	switch {
	case c.VM == nil:
		return fmt.Sprintf("INSECURE: rooms run on the dev platform, root %s", c.Root.Public().ID())
	case c.VM.Launch.CA != nil:
		return fmt.Sprintf("INSECURE: rooms run in machines whose memory this host can read, under software TPMs, root %s", c.VM.Launch.CA.Root())
	}
	return ""
}

// snpConfig gives a launch on SEV-SNP of an image with this command line of its own.
func snpConfig(cpu, line string) qemu.SNPConfig {
	return qemu.SNPConfig{Policy: qemu.DefaultPolicy, CPU: cpu, CBit: 51, ReducedBits: 1, Line: line + " " + machine.NoByteCode}
}
