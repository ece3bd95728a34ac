package predict

import (
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// VMM is a virtual machine monitor, by the registers that it starts processors with. The zero
// value is refused.
type VMM string

// The monitors whose registers are known.
const (
	// QEMU is QEMU from 6.0, on KVM.
	QEMU VMM = "QEMU"
	// EC2 is that of Amazon's EC2.
	EC2 VMM = "ec2"
	// GCE is that of Google's Compute Engine.
	GCE VMM = "gce"
)

// VMMs are the monitors that there are, as the command line names them.
func VMMs() []VMM { return []VMM{QEMU, EC2, GCE} }

// machine is what a monitor starts a processor with, beside what all have in common.
type machine struct {
	code, codeFirst, stack, task uint16 // attributes of CS (and of the first processor's), SS, TR
	rdx, pat                     uint64
	signature                    bool // RDX holds the CPUID signature instead
	control                      uint32
	fpu                          uint16
}

// resetVector is where the first processor starts.
const resetVector = 0xfffffff0

// featureSNP is bit 0 of SEV_FEATURES (AMD64 manual, volume 2, table B-4).
const featureSNP = 1

// registers gives the digests of the first processor's register page and of the others'.
func (s SNP) registers(f firmware) (first, others wire.Digest, err error) {
	m, ok := machineOf(s.VMM)
	switch {
	case !ok:
		return first, others, verdict.Misuse("measure.vmm", "QEMU, ec2 or gce", fmt.Sprintf("%q", s.VMM), "name one of them")
	case s.VCPUs < 1 || s.VCPUs > MaxVCPUs:
		return first, others, verdict.Misuse("measure.vcpus", fmt.Sprintf("1 to %d processors", MaxVCPUs), fmt.Sprint(s.VCPUs), "give the number of processors of the guest")
	case s.Features&featureSNP == 0:
		return first, others, verdict.Misuse("measure.guest_features", "SEV features with bit 0 (SEV-SNP)", fmt.Sprintf("0x%x", s.Features), "give those that the guest is launched with, 0x1 if unsure")
	}
	signature, err := CPUSignature(s.CPU)
	if err != nil {
		return first, others, err
	}
	start, ok := f.number(guidSEVReset)
	if s.VCPUs > 1 && (!ok || start == 0) {
		return first, others, badFirmware("an address at which further processors start", "none")
	}
	page := m.page(resetVector, signature, s.Features)
	first = sha512.Sum384(page[:])
	page = m.page(start, signature, s.Features)
	return first, sha512.Sum384(page[:]), nil
}

func machineOf(v VMM) (machine, bool) {
	const pat = 0x0007040600070406 // as processors come out of reset
	switch v {
	case QEMU:
		return machine{code: 0x9b, codeFirst: 0x9b, stack: 0x93, task: 0x8b, signature: true, pat: pat, control: 0x1f80, fpu: 0x37f}, true
	case EC2:
		return machine{code: 0x9b, codeFirst: 0x9a, stack: 0x92, task: 0x83, rdx: 0x600, pat: pat}, true
	case GCE:
		return machine{code: 0x9b, codeFirst: 0x9b, stack: 0x93, task: 0x8b, rdx: 0x600, pat: 0x00070106}, true
	}
	return machine{}, false
}

// page makes a processor's save area (AMD64 manual, volume 2, table B-4), for one that starts
// at an address.
func (m machine) page(start uint32, signature uint32, features uint64) [pageSize]byte {
	var p [pageSize]byte
	segment := func(at int, selector, attributes uint16, base uint64) {
		binary.LittleEndian.PutUint16(p[at:], selector)
		binary.LittleEndian.PutUint16(p[at+2:], attributes)
		binary.LittleEndian.PutUint32(p[at+4:], 0xffff)
		binary.LittleEndian.PutUint64(p[at+8:], base)
	}
	put := func(at int, value uint64) { binary.LittleEndian.PutUint64(p[at:], value) }
	code, rdx := m.code, m.rdx
	if start == resetVector {
		code = m.codeFirst
	}
	if m.signature {
		rdx = uint64(signature)
	}
	segment(0x000, 0, 0x93, 0)                          // ES
	segment(0x010, 0xf000, code, uint64(start&^0xffff)) // CS
	segment(0x020, 0, m.stack, 0)                       // SS
	segment(0x030, 0, 0x93, 0)                          // DS
	segment(0x040, 0, 0x93, 0)                          // FS
	segment(0x050, 0, 0x93, 0)                          // GS
	segment(0x060, 0, 0, 0)                             // GDTR
	segment(0x070, 0, 0x82, 0)                          // LDTR
	segment(0x080, 0, 0, 0)                             // IDTR
	segment(0x090, 0, m.task, 0)                        // TR
	put(0x0d0, 0x1000)                                  // EFER: SVME, which KVM sets
	put(0x148, 0x40)                                    // CR4: MCE, which KVM sets
	put(0x158, 0x10)                                    // CR0
	put(0x160, 0x400)                                   // DR7
	put(0x168, 0xffff0ff0)                              // DR6
	put(0x170, 0x2)                                     // RFLAGS
	put(0x178, uint64(start&0xffff))                    // RIP
	put(0x268, m.pat)                                   // G_PAT
	put(0x310, rdx)                                     // RDX
	put(0x3b0, features)                                // SEV_FEATURES
	put(0x3e8, 1)                                       // XCR0
	binary.LittleEndian.PutUint32(p[0x408:], m.control) // MXCSR
	binary.LittleEndian.PutUint16(p[0x410:], m.fpu)     // x87 control word
	return p
}

// cpu is a processor's family, model and stepping.
type cpu struct{ family, model, stepping uint32 }

// cpus are QEMU's models of AMD's server processors (target/i386/cpu.c), without versions,
// which change none of this.
//
// constant: a table that is never written.
var cpus = map[string]cpu{
	"EPYC":       {23, 1, 2},
	"EPYC-IBPB":  {23, 1, 2},
	"EPYC-Rome":  {23, 49, 0},
	"EPYC-Milan": {25, 1, 1},
	"EPYC-Genoa": {25, 17, 0},
	"EPYC-Turin": {26, 0, 0},
}

// CPUTypes are the processors that [CPUSignature] knows, without versions.
func CPUTypes() []string { return slices.Sorted(maps.Keys(cpus)) }

// CPUSignature gives what CPUID function 1 answers in EAX for a processor: one of QEMU's models
// of AMD's, with or without a version ("EPYC-Milan-v2"), or that very value in hex ("0x00a00f11"),
// for guests that see the host's own processor. The error is a [verdict.Error] of kind Usage.
func CPUSignature(name string) (uint32, error) {
	if digits, hex := strings.CutPrefix(name, "0x"); hex {
		if n, err := strconv.ParseUint(digits, 16, 32); err == nil && n != 0 {
			return uint32(n), nil
		}
	}
	model := name
	if i := strings.LastIndex(name, "-v"); i > 0 {
		if n, err := strconv.ParseUint(name[i+2:], 10, 8); err == nil && n > 0 && name[i+2] != '0' {
			model = name[:i]
		}
	}
	c, ok := cpus[model]
	if !ok {
		return 0, verdict.Misuse("measure.vcpu_type", "one of "+strings.Join(CPUTypes(), ", ")+", with or without a version such as -v2, or a CPUID signature in hex", fmt.Sprintf("%q", verdict.Short(name)), "name the -cpu of the guest")
	}
	return c.signature(), nil
}

// signature encodes family, model and stepping (AMD64 manual, volume 3, appendix E.3.2).
func (c cpu) signature() uint32 {
	family, extended := c.family, uint32(0)
	if family > 15 {
		family, extended = 15, c.family-15
	}
	return extended<<20 | c.model>>4<<16 | family<<8 | c.model&15<<4 | c.stepping
}
