package qemu

import "encoding/binary"

// The probe is a UEFI program of one deed: it tells QEMU's debug-exit device probeValue,
// which makes QEMU exit with probeExit. To get there the firmware of a room must have come
// through real, protected and long mode, paging, decompression and its own drivers: all that
// KVM gets wrong where it is there and does not work.
const (
	probeValue = 0x2a
	probePort  = 0xf4
	probeExit  = probeValue<<1 | 1
	// probeSize is above what QEMU takes for a kernel.
	probeSize = 16 << 10
)

// probeProgram gives the program, a PE32+ image (PE/COFF specification 8.3, sections 2 to 4)
// of one section.
func probeProgram() []byte {
	const header, optional, section, file, memory = 0x40, 0x58, 0x148, 0x200, 0x1000
	b := make([]byte, probeSize)
	put16 := func(at int, v uint16) { binary.LittleEndian.PutUint16(b[at:], v) }
	put32 := func(at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
	copy(b, "MZ")
	put32(0x3c, header)
	copy(b[header:], "PE\x00\x00")
	put16(header+4, 0x8664)  // x86-64
	put16(header+6, 1)       // section
	put16(header+20, 0xf0)   // size of the optional header
	put16(header+22, 0x0022) // executable, large addresses
	put16(optional, 0x20b)   // PE32+
	put32(optional+4, file)  // size of code
	put32(optional+16, memory)
	put32(optional+20, memory)
	put32(optional+32, memory) // alignment of sections in memory,
	put32(optional+36, file)   // and in the file
	put32(optional+56, 2*memory)
	put32(optional+60, file) // size of headers
	put16(optional+68, 10)   // EFI application
	put32(optional+108, 16)  // data directories, all empty
	copy(b[section:], ".text")
	put32(section+8, file)
	put32(section+12, memory)
	put32(section+16, file)
	put32(section+20, file)
	put32(section+36, 0x60000020) // code, executable, readable
	// mov al, probeValue; out probePort, al; hlt, for ever.
	copy(b[file:], []byte{0xb0, probeValue, 0xe6, probePort, 0xf4, 0xeb, 0xfd})
	return b
}

// probeArgs gives QEMU's arguments to run the program under KVM, on a room's own firmware.
func probeArgs(firmware, variables, program string) []string {
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot",
		"-machine", "q35,vmport=off", "-accel", KVM, "-cpu", "host", "-smp", "2", "-m", "256M",
	}
	if variables == "" {
		args = append(args, "-bios", firmware)
	} else {
		args = append(args, "-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+escape(firmware), "-drive", "if=pflash,unit=1,format=raw,file="+escape(variables))
	}
	return append(args, "-kernel", program, "-device", "isa-debug-exit,iobase=0xf4,iosize=1")
}
