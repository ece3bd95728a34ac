package predict

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// SNP is how an SEV-SNP guest is launched. The zero value is refused.
type SNP struct {
	// Firmware is the OVMF image, or its last 4 KiB or more.
	Firmware []byte
	// Boot is the kernel that the virtual machine monitor hands over; nil if the guest boots
	// from a disk. It needs firmware with an area for its hashes.
	Boot *DirectBoot
	// VCPUs is how many processors the guest has, from 1.
	VCPUs int
	// CPU is their type; see [CPUSignature].
	CPU string
	// Features are SEV_FEATURES of the guest: bit 0 is SEV-SNP itself, and must be set.
	Features uint64
	// VMM is the virtual machine monitor.
	VMM VMM
}

// DirectBoot is a kernel with what goes beside it.
type DirectBoot struct {
	// Kernel is the kernel, or the unified kernel image, as it is in its file.
	Kernel []byte
	// Initrd is the initial RAM disk; empty if there is none.
	Initrd []byte
	// Append is the command line, without an end of line or a NUL.
	Append string
}

func (b *DirectBoot) check() error {
	switch {
	case len(b.Kernel) == 0:
		return verdict.Misuse("measure.kernel", "a kernel", "an empty file", "name another file")
	case len(b.Kernel) > MaxImage:
		return verdict.Misuse("measure.kernel", fmt.Sprintf("at most %d bytes", MaxImage), fmt.Sprint(len(b.Kernel)), "name another file")
	case len(b.Initrd) > MaxImage:
		return verdict.Misuse("measure.initrd", fmt.Sprintf("at most %d bytes", MaxImage), fmt.Sprint(len(b.Initrd)), "name another file")
	}
	return checkCommandLine(b.Append)
}

func checkCommandLine(line string) error {
	if len(line) > MaxCommandLine {
		return verdict.Misuse("measure.append", fmt.Sprintf("a command line of at most %d bytes", MaxCommandLine), fmt.Sprint(len(line)), "shorten it")
	}
	for i := range len(line) {
		if line[i] == 0 {
			return verdict.Misuse("measure.append", "a command line without NUL", fmt.Sprintf("one at byte %d", i), "give it without")
		}
	}
	return nil
}

// The types of pages (SEV-SNP firmware ABI 1.55, section 8.17: PAGE_TYPE).
const (
	pageNormal     = 1
	pageVMSA       = 2
	pageZero       = 3
	pageUnmeasured = 4
	pageSecrets    = 5
	pageCPUID      = 6
)

// vmsaAddress is where the register pages count as being: the last page of a 48-bit address
// space, whatever a hypervisor does.
const vmsaAddress = 0xfffffffff000

// launch is the launch digest as SNP_LAUNCH_UPDATE carries it on.
type launch struct{ digest wire.Digest }

// update adds a page: the digest is that of PAGE_INFO (ABI 1.55, section 8.17.2),
// which holds the digest so far.
func (l *launch) update(kind byte, address uint64, contents wire.Digest) {
	var info [0x70]byte
	copy(info[:], l.digest[:])
	copy(info[0x30:], contents[:])
	binary.LittleEndian.PutUint16(info[0x60:], uint16(len(info)))
	info[0x62] = kind // no initial migration image, no permissions for lower privilege levels
	binary.LittleEndian.PutUint64(info[0x68:], address)
	l.digest = sha512.Sum384(info[:])
}

// pages adds memory with contents, a page at a time.
func (l *launch) pages(address uint64, data []byte) {
	for at := 0; at < len(data); at += pageSize {
		l.update(pageNormal, address+uint64(at), sha512.Sum384(data[at:at+pageSize]))
	}
}

// blank adds pages of a kind whose contents don't count.
func (l *launch) blank(kind byte, address, size uint64) {
	for at := uint64(0); at < size; at += pageSize {
		l.update(kind, address+at, wire.Digest{})
	}
}

// LaunchDigest gives MEASUREMENT of the guest's attestation reports: the firmware, what its
// metadata sets up, and the first registers of each processor. Errors are a [verdict.Error] of
// kind Usage.
func (s SNP) LaunchDigest() (wire.Digest, error) {
	f, err := parseFirmware(s.Firmware)
	if err != nil {
		return wire.Digest{}, err
	}
	sections, err := f.sev()
	if err != nil {
		return wire.Digest{}, err
	}
	hashes, err := s.kernelHashes(f, sections)
	if err != nil {
		return wire.Digest{}, err
	}
	first, others, err := s.registers(f)
	if err != nil {
		return wire.Digest{}, err
	}
	var l launch
	l.pages(f.base(), f.data)
	for _, section := range sections {
		l.section(section, hashes, s.VMM)
	}
	if s.VMM == EC2 { // which adds the CPUID page behind all others
		for _, section := range sections {
			if section.kind == sevCPUID {
				l.blank(pageCPUID, section.address, section.size)
			}
		}
	}
	for i := range s.VCPUs {
		page := others
		if i == 0 {
			page = first
		}
		l.update(pageVMSA, vmsaAddress, page)
	}
	return l.digest, nil
}

func (l *launch) section(s sevSection, hashes []byte, vmm VMM) {
	switch s.kind {
	case sevMemory:
		kind := byte(pageZero)
		if vmm == GCE {
			kind = pageUnmeasured
		}
		l.blank(kind, s.address, s.size)
	case sevSecrets:
		l.blank(pageSecrets, s.address, s.size)
	case sevCPUID:
		if vmm != EC2 {
			l.blank(pageCPUID, s.address, s.size)
		}
	case sevKernelHashes:
		if hashes != nil {
			l.pages(s.address, hashes)
			return
		}
		fallthrough
	default:
		l.blank(pageZero, s.address, s.size)
	}
}

// The GUIDs of the table of hashes (QEMU, target/i386/sev.c; EDK II, OvmfPkg/AmdSev).
const (
	guidHashTable   = "9438d606-4f22-4cc9-b479-a793d411fd21"
	guidHashKernel  = "4de79437-abd2-427f-b835-d5b172d2045b"
	guidHashInitrd  = "44baf731-3a2f-4bd7-9af1-41e29169781d"
	guidHashAppend  = "97d02dd8-bd20-4c94-aa78-e7714d36ab2a"
	hashEntry       = entryHeader + sha256.Size
	hashTable       = entryHeader + 3*hashEntry
	hashTablePadded = (hashTable + 15) / 16 * 16
)

// kernelHashes makes the page with the hashes of what the monitor hands over, which the
// firmware checks it against; nil if it hands over nothing.
func (s SNP) kernelHashes(f firmware, sections []sevSection) ([]byte, error) {
	if s.Boot == nil {
		return nil, nil
	}
	if err := s.Boot.check(); err != nil {
		return nil, err
	}
	address, ok := f.number(guidSEVHashes)
	if !ok || address == 0 {
		return nil, noKernelHashes("a firmware without it")
	}
	in := -1
	for i, section := range sections {
		if section.kind != sevKernelHashes {
			continue
		}
		if in >= 0 {
			return nil, badFirmware("one area for kernel hashes", "two")
		}
		in = i
	}
	if in < 0 {
		return nil, noKernelHashes("SEV metadata without a section for it")
	}
	offset := uint64(address) - sections[in].address
	if uint64(address) < sections[in].address || offset+hashTablePadded > pageSize {
		return nil, badFirmware("an area for kernel hashes within its section", fmt.Sprintf("0x%x, section at 0x%x", address, sections[in].address))
	}
	page := make([]byte, pageSize)
	s.Boot.hashes(page[offset:])
	return page, nil
}

func noKernelHashes(got string) error {
	return verdict.Misuse("measure.kernel", "firmware with an area for kernel hashes (OVMF's AmdSev build), since nothing else measures a kernel beside the firmware", got, "name such firmware (OVMF.amdsev.fd), or no kernel")
}

// hashes writes the table: command line with its NUL, initrd, kernel.
func (b *DirectBoot) hashes(to []byte) {
	put := func(at int, id string, size int) {
		copy(to[at:], guidBytes(id))
		binary.LittleEndian.PutUint16(to[at+16:], uint16(size))
	}
	put(0, guidHashTable, hashTable)
	at := entryHeader
	for _, e := range []struct {
		id   string
		hash [sha256.Size]byte
	}{
		{guidHashAppend, sha256.Sum256(append([]byte(b.Append), 0))},
		{guidHashInitrd, sha256.Sum256(b.Initrd)},
		{guidHashKernel, sha256.Sum256(b.Kernel)},
	} {
		put(at, e.id, hashEntry)
		copy(to[at+entryHeader:], e.hash[:])
		at += hashEntry
	}
}
