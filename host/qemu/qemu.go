// Package qemu is how a host makes a room that is a virtual machine: exact command lines of
// QEMU and of the software TPM swtpm (spec/host-interface.md), and the processes behind them.
//
// The machine has what a room needs and nothing else: its firmware, kernel and disks, all
// read-only, one byte channel, a console that only writes, entropy and a TPM. No network, no
// monitor, no debug port: what QEMU is not asked for, it can't be talked into later.
//
// Command lines are computed, on any system; machines start on Linux only.
package qemu

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// The platforms of virtual machines, as agreements name them. A machine of platform tpm is
// measured by a TPM and keeps nobody out; the others keep out whoever runs QEMU.
const (
	TPM wire.ID = "tpm"
	SNP wire.ID = "snp"
	TDX wire.ID = "tdx"
)

// What runs the machine's processors. KVM is right only where [Prove] found that it works.
const (
	KVM = "kvm"
	TCG = "tcg"
)

// ChannelPort is the name of the virtio port that the byte channel runs over.
const ChannelPort = "strongroom"

// Limits of a machine.
const (
	MinMemory = 256     // MiB: below it the firmware has no room for kernel and initrd
	MaxMemory = 1 << 20 // MiB
	MaxCPUs   = 255     // without interrupt remapping
	MaxDisks  = 8 * maxDiskSlots
	maxLine   = 2048 // bytes of a kernel's command line and the zero behind it, on x86
	maxSerial = 20   // bytes of a virtio disk's serial number (virtio 1.2, section 5.2.6)

	firstDiskSlot = 8
	maxDiskSlots  = 0x1e - firstDiskSlot // slot 0x1f is the machine's own
)

// Config is a virtual machine. The zero value is refused.
type Config struct {
	// Platform is [TPM], [SNP] or [TDX].
	Platform wire.ID
	// Accel is [KVM] or [TCG]; SNP and TDX need KVM.
	Accel string
	// CPUs is the number of virtual processors, Memory the size of memory in MiB.
	CPUs   int
	Memory int
	// Firmware is the path of the firmware: the code volume for a TPM's machine, the whole of
	// it for the others, which measure it at launch and keep no variables.
	Firmware string
	// Variables is the path of the firmware's variables, this machine's own copy. TPM only.
	Variables string
	// Kernel is the path of the unified kernel image.
	Kernel string
	// Disks are attached in this order.
	Disks []Disk
	// Channel is the host's end of the byte channel.
	Channel Socket
	// Console is the path that what the machine prints is written to. Nothing is read.
	Console string
	// TPM is the control socket of the software TPM. TPM only.
	TPM Socket
	// InitData is what the machine is started for: SHA-384 and SHA-256 of the agreement
	// (attest.InitData, attest.ShortInitData). A TPM's machine measures its own.
	InitData      wire.Digest
	ShortInitData wire.Hash
	// SNP and TDX are read on these platforms.
	SNP SNPConfig
	TDX TDXConfig
}

// Disk is a disk.
type Disk struct {
	// Serial is how the machine finds it: 1 to 20 of a-z, 0-9 and -.
	Serial string
	// Path is a file with the disk's bytes. Where its size is no multiple of 512, the machine
	// sees zeros to the next one.
	Path string
	// Writable lets the machine write to it; most are read-only.
	Writable bool
	// New, with an empty Path, has [Start] make a sparse file of so many bytes in the machine's
	// folder, which goes with the machine.
	New int64
}

// Socket is a connected stream socket: an inherited descriptor, or the path of a listening
// one. One of the two is given.
type Socket struct {
	FD   int // above 2
	Path string
}

// SNPConfig is what a launch on AMD SEV-SNP takes beside the machine.
type SNPConfig struct {
	// Policy is the guest policy (SEV-SNP firmware ABI, section 4.3), as [DefaultPolicy]. The
	// debugging bit is refused.
	Policy uint64
	// CPU is QEMU's name of the processor model, as [DefaultCPU]: its signature is measured.
	CPU string
	// CBit is the bit of a page table's entry that says "encrypted", and ReducedBits how many
	// bits of physical addresses encryption takes: 51 and 1 on every processor with SEV-SNP.
	CBit        int
	ReducedBits int
	// Line is the kernel's command line, in place of the kernel image's own.
	Line string
}

// TDXConfig is what a launch on Intel TDX takes beside the machine.
type TDXConfig struct {
	// QuoteSocket is the path of the quote generation service's socket; where it is empty, the
	// service is at vsock QuoteCID:QuotePort.
	QuoteSocket string
	QuoteCID    uint32
	QuotePort   uint32
}

const (
	// DefaultPolicy allows hyper-threads, and nothing else; bit 17 is always set.
	DefaultPolicy = 0x30000
	// DefaultCPU is the model that every processor with SEV-SNP can be.
	DefaultCPU = "EPYC-v4"
	// policyOne is bit 17 of the policy, which must be set; policyDebug lets the host read the
	// machine's memory, policyMigrate lets it be moved to an agent of the host's.
	policyOne, policyMigrate, policyDebug = 1 << 17, 1 << 18, 1 << 19
)

// Check reports what is wrong with a configuration, nil if nothing. It reads no file.
func (c Config) Check() error {
	if c.Platform != TPM && c.Platform != SNP && c.Platform != TDX {
		return misuse("platform tpm, snp or tdx", strconv.Quote(verdict.Short(string(c.Platform))))
	}
	if c.Accel != KVM && (c.Accel != TCG || c.Platform != TPM) {
		return misuse("KVM, or software emulation for platform tpm", strconv.Quote(c.Accel))
	}
	if c.CPUs < 1 || c.CPUs > MaxCPUs {
		return misuse(fmt.Sprintf("1 to %d processors", MaxCPUs), strconv.Itoa(c.CPUs))
	}
	if c.Memory < MinMemory || c.Memory > MaxMemory {
		return misuse(fmt.Sprintf("%d to %d MiB of memory", MinMemory, MaxMemory), strconv.Itoa(c.Memory))
	}
	files := []named{{"the firmware", c.Firmware}, {"the kernel image", c.Kernel}, {"the console's log", c.Console}}
	if c.Platform == TPM {
		files = append(files, named{"the firmware's variables", c.Variables})
	}
	for _, f := range files {
		if err := f.check(); err != nil {
			return err
		}
	}
	if err := checkDisks(c.Disks); err != nil {
		return err
	}
	if err := c.Channel.check("the channel"); err != nil {
		return err
	}
	return c.checkPlatform()
}

func (c Config) checkPlatform() error {
	switch {
	case c.Platform == TPM:
		return c.TPM.check("the TPM")
	case c.InitData.IsZero() || c.ShortInitData.IsZero():
		return misuse("the init data of an agreement", "none")
	case c.Platform == TDX:
		if q := c.TDX.QuoteSocket; q != "" {
			return named{"the quote generation service's socket", q}.check()
		}
		if c.TDX.QuoteCID == 0 || c.TDX.QuotePort == 0 {
			return misuse("where the quote generation service is", "nothing")
		}
		return nil
	}
	p := c.SNP
	if p.Policy&policyOne == 0 || p.Policy&(policyDebug|policyMigrate) != 0 {
		return misuse("a guest policy with bit 17, without debugging and migration", fmt.Sprintf("%#x", p.Policy))
	}
	if p.CPU == "" || strings.Trim(p.CPU, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		return misuse("a processor model of QEMU's, such as "+DefaultCPU, strconv.Quote(verdict.Short(p.CPU)))
	}
	if p.CBit < 32 || p.CBit > 63 || p.ReducedBits < 1 || p.ReducedBits > 16 {
		return misuse("the place of the encryption bit and the address bits it takes, as 51 and 1", fmt.Sprintf("%d and %d", p.CBit, p.ReducedBits))
	}
	if p.Line == "" || len(p.Line) >= maxLine || strings.ContainsFunc(p.Line, func(r rune) bool { return r < ' ' || r > '~' }) {
		return misuse(fmt.Sprintf("a command line of the kernel's, 1 to %d printable characters", maxLine-1), strconv.Quote(verdict.Short(p.Line)))
	}
	return nil
}

// named is a path and what it is for.
type named struct{ what, path string }

// check demands an absolute path: QEMU reads relative ones, and some names, its own way.
func (n named) check() error {
	if !path.IsAbs(n.path) || strings.ContainsAny(n.path, "\x00\n") {
		return misuse("the absolute path of "+n.what, strconv.Quote(verdict.Short(n.path)))
	}
	return nil
}

func (s Socket) check(what string) error {
	if s.FD == 0 {
		return named{"the socket of " + what, s.Path}.check()
	}
	if s.FD <= 2 || s.Path != "" {
		return misuse("one descriptor above 2, or one path, for "+what, fmt.Sprintf("%d and %q", s.FD, verdict.Short(s.Path)))
	}
	return nil
}

func checkDisks(disks []Disk) error {
	if len(disks) > MaxDisks {
		return misuse(fmt.Sprintf("at most %d disks", MaxDisks), strconv.Itoa(len(disks)))
	}
	seen := map[string]bool{}
	for _, d := range disks {
		if d.Serial == "" || len(d.Serial) > maxSerial || strings.Trim(d.Serial, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || seen[d.Serial] {
			return misuse("disks named once each, in 1 to 20 of a-z, 0-9 and -", strconv.Quote(verdict.Short(d.Serial)))
		}
		seen[d.Serial] = true
		if err := (named{"disk " + d.Serial, d.Path}).check(); err != nil {
			return err
		}
	}
	return nil
}

func misuse(expected, got string) error {
	return verdict.Misuse("vm.config", expected, got, "strongroom host serve --help names what a machine takes")
}
