package predict

import (
	"encoding/binary"
	"fmt"

	"strongroom.dev/measure"
	"strongroom.dev/verdict"
)

// Offsets in the setup header of a Linux kernel (Linux, Documentation/arch/x86/boot.rst).
const (
	setupMagic    = 0x202 // "HdrS"
	setupVersion  = 0x206
	setupLoader   = 0x210
	setupFlags    = 0x211
	setupInitrd   = 0x218
	setupSize     = 0x21c
	setupHeapEnd  = 0x224
	setupLine     = 0x228
	setupMost     = 0x22c
	setupExtended = 0x236
	setupEnd      = 0x268
)

// lowMemory gives the bytes of memory below 4 GiB in QEMU's q35 machine (hw/i386/pc_q35.c).
func lowMemory(memory uint64) uint64 {
	if memory >= 0xb0000000 {
		return 0x80000000
	}
	return memory
}

// acpiReserve is what QEMU keeps of low memory for ACPI tables (hw/i386/pc.c).
const acpiReserve = 0x28000

// patched gives a kernel as QEMU hands it over: with the setup header filled in (hw/i386/x86.c,
// x86_load_linux). What has no such header, as a unified kernel image, is handed over as it is.
func patched(kernel []byte, initrd int, memory uint64) ([]byte, error) {
	if len(kernel) < setupEnd || string(kernel[setupMagic:setupMagic+4]) != "HdrS" {
		return kernel, nil
	}
	version := binary.LittleEndian.Uint16(kernel[setupVersion:])
	if version < 0x20c || kernel[setupFlags]&1 == 0 {
		return nil, verdict.Misuse("measure.kernel", "a kernel of boot protocol 2.12 or later that is loaded high", fmt.Sprintf("protocol 0x%x", version), "name a kernel from 2013 or later")
	}
	if memory == 0 {
		return nil, verdict.Misuse("measure.memory", "the size of memory, on which QEMU's changes of the kernel's header depend", "none", "give it, or build a unified kernel image, which nobody changes")
	}
	k := append([]byte(nil), kernel...)
	k[setupLoader], k[setupFlags] = 0xb0, k[setupFlags]|0x80 // QEMU, and there is a heap
	binary.LittleEndian.PutUint16(k[setupHeapEnd:], 0xfe00)
	binary.LittleEndian.PutUint32(k[setupLine:], 0x20000)
	if initrd == 0 {
		return k, nil
	}
	most := uint64(binary.LittleEndian.Uint32(k[setupMost:]))
	if binary.LittleEndian.Uint16(k[setupExtended:])&2 != 0 { // may be anywhere below 4 GiB
		most = 0xffffffff
	}
	if low := lowMemory(memory); low <= acpiReserve || most >= low-acpiReserve {
		most = max(low, acpiReserve+1) - acpiReserve - 1
	}
	if uint64(initrd) >= most {
		return nil, verdict.Misuse("measure.memory", "memory for the initrd", fmt.Sprintf("%d bytes of memory, %d of initrd", memory, initrd), "give the machine more")
	}
	binary.LittleEndian.PutUint32(k[setupInitrd:], uint32((most-uint64(initrd))&^(pageSize-1)))
	binary.LittleEndian.PutUint32(k[setupSize:], uint32(initrd))
	return k, nil
}

// booted is what the firmware and the kernel's EFI stub measure of what boots.
type booted struct {
	kernel []byte // the digest of the image that the firmware starts
	inner  []byte // that of the kernel in a unified kernel image; nil in a bare one
	uki    *uki
	line   []byte // what the stub measures of the command line: UTF-16 with a zero
	initrd []byte // what it measures of the initrd; nil if there is none
}

// boots works out what is measured of a kernel, in a bank.
func boots(b *DirectBoot, memory uint64, bank measure.Algorithm) (booted, error) {
	if err := b.check(); err != nil {
		return booted{}, err
	}
	outer, err := parseProgram(b.Kernel)
	if err != nil {
		return booted{}, err
	}
	if outer.isUKI() {
		return bootsUKI(b, outer, bank)
	}
	if _, err := lineOf([]byte(b.Append)); err != nil {
		return booted{}, err
	}
	image, err := patched(b.Kernel, len(b.Initrd), memory)
	if err != nil {
		return booted{}, err
	}
	outer.data = image
	line := b.Append
	if len(b.Initrd) > 0 {
		line += " initrd=initrd" // which OVMF's loader adds
	}
	return booted{kernel: outer.authenticode(bank), line: append(wide(line), 0, 0), initrd: b.Initrd}, nil
}

func bootsUKI(b *DirectBoot, outer *program, bank measure.Algorithm) (booted, error) {
	if len(b.Initrd) > 0 || b.Append != "" {
		return booted{}, verdict.Misuse("measure.append", "a unified kernel image alone, which has its own initrd and command line", "one beside it", "leave out --initrd and --append; a room refuses to run with them")
	}
	u, err := parseUKI(outer)
	if err != nil {
		return booted{}, err
	}
	inner, err := parseProgram(u.parts[sectionLinux])
	if err != nil {
		return booted{}, err
	}
	return booted{outer.authenticode(bank), inner.authenticode(bank), u, append(wide(u.line), 0, 0), u.parts[sectionInitrd]}, nil
}

// handedOver gives what the firmware measures of applications when the monitor hands the kernel
// over: the image itself is loaded, and so measured, before the boot option is called.
func (b booted) handedOver(bank measure.Algorithm) [][]byte {
	all := [][]byte{b.kernel, bank.Sum([]byte(callingApplication)), bank.Sum(separator())}
	if b.inner != nil {
		all = append(all, b.inner)
	}
	return all
}

// stubMeasures gives what the kernel's EFI stub measures.
func (b booted) stubMeasures(bank measure.Algorithm) [][]byte {
	all := [][]byte{bank.Sum(b.line)}
	if len(b.initrd) > 0 {
		all = append(all, bank.Sum(b.initrd))
	}
	return all
}
