package predict

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"strongroom.dev/verdict"
)

// The GUIDs of OVMF's table below the reset vector (EDK II, OvmfPkg/ResetVector).
const (
	guidTable        = "96b582de-1fb2-45f7-baea-a366c55a082d"
	guidSEVHashes    = "7255371f-3a3b-4b04-927b-1da6efa8d454"
	guidSEVReset     = "00f771de-1a7e-4fcb-890e-68c77e2fb44e"
	guidSEVMetadata  = "dc886566-984a-4798-a75e-5585a7bf67cc"
	guidTDXMetadata  = "e47a6535-984a-4798-865e-4685a7bf8ec2"
	resetVectorBytes = 32 // between the table and the end of the image
	entryHeader      = 18 // size and GUID, behind each entry
	fourGiB          = 1 << 32
	pageSize         = 4096
)

// firmware is an OVMF image: what is mapped so that it ends at 4 GiB.
type firmware struct {
	data  []byte
	table map[guid][]byte
}

// base gives the guest address of the image's first byte.
func (f firmware) base() uint64 { return fourGiB - uint64(len(f.data)) }

func badFirmware(expected, got string) error {
	return verdict.Misuse("measure.firmware", expected, got, "name an OVMF image as its package ships it")
}

// parseFirmware reads the GUIDed table at the end of an image. An image without one is fine:
// it only says nothing. Parts of an image are fine if they are its end, such as the 4 KiB that
// hold the table.
func parseFirmware(data []byte) (firmware, error) {
	switch {
	case len(data) == 0:
		return firmware{}, badFirmware("a firmware image", "an empty file")
	case len(data) > MaxFirmware:
		return firmware{}, badFirmware(fmt.Sprintf("at most %d bytes", MaxFirmware), fmt.Sprint(len(data)))
	case len(data)%pageSize != 0:
		return firmware{}, badFirmware("whole pages of 4,096 bytes", fmt.Sprintf("%d bytes", len(data)))
	}
	f := firmware{data: data, table: map[guid][]byte{}}
	end := len(data) - resetVectorBytes
	if !bytes.Equal(data[end-16:end], guidBytes(guidTable)) {
		return f, nil
	}
	size := int(binary.LittleEndian.Uint16(data[end-entryHeader:]))
	if size < entryHeader || size > end {
		return f, badFirmware("a table inside the image", fmt.Sprintf("one of %d bytes", size))
	}
	return f, f.entries(data[end-size : end-entryHeader])
}

// entries reads the table from its end: each entry is data, its size with this header, its
// GUID.
func (f firmware) entries(table []byte) error {
	for len(table) > 0 {
		if len(table) < entryHeader {
			return badFirmware("a table of whole entries", fmt.Sprintf("%d bytes before the first", len(table)))
		}
		var id guid
		copy(id[:], table[len(table)-16:])
		size := int(binary.LittleEndian.Uint16(table[len(table)-entryHeader:]))
		if size < entryHeader || size > len(table) {
			return badFirmware("a table of whole entries", fmt.Sprintf("an entry of %d bytes", size))
		}
		if _, twice := f.table[id]; twice {
			return badFirmware("a table that names each entry once", fmt.Sprintf("%x twice", id[:]))
		}
		f.table[id] = table[len(table)-size : len(table)-entryHeader]
		table = table[:len(table)-size]
	}
	return nil
}

func guidBytes(text string) []byte { g := parseGUID(text); return g[:] }

// number reads an entry's first 32 bits.
func (f firmware) number(id string) (uint32, bool) {
	entry, ok := f.table[parseGUID(id)]
	if !ok || len(entry) < 4 {
		return 0, false
	}
	return binary.LittleEndian.Uint32(entry), true
}

// descriptor finds a metadata table by the entry that gives its offset from the image's end:
// a signature of 4 bytes, size, version, number of sections, sections of a fixed size.
func (f firmware) descriptor(id, signature string, section int) ([]byte, int, error) {
	offset, ok := f.number(id)
	if !ok {
		return nil, 0, badFirmware("firmware built for this platform, with "+signature+" metadata", "an image without")
	}
	if offset < 16 || uint64(offset) > uint64(len(f.data)) {
		return nil, 0, badFirmware(signature+" metadata inside the image", fmt.Sprintf("an offset of %d from its end", offset))
	}
	at := f.data[len(f.data)-int(offset):]
	if string(at[:4]) != signature {
		return nil, 0, badFirmware(signature+" metadata", fmt.Sprintf("%x where it should be", at[:4]))
	}
	size, version, n := binary.LittleEndian.Uint32(at[4:]), binary.LittleEndian.Uint32(at[8:]), binary.LittleEndian.Uint32(at[12:])
	switch {
	case version != 1:
		return nil, 0, badFirmware(signature+" metadata of version 1", fmt.Sprintf("version %d", version))
	case n == 0 || n > maxSections:
		return nil, 0, badFirmware(fmt.Sprintf("1 to %d sections", maxSections), fmt.Sprint(n))
	case uint64(size) != 16+uint64(n)*uint64(section) || uint64(size) > uint64(len(at)):
		return nil, 0, badFirmware(fmt.Sprintf("%s metadata of %d sections", signature, n), fmt.Sprintf("a size of %d bytes", size))
	}
	return at[16:size], int(n), nil
}

// sevSection is one part of guest memory that is set up at launch (EDK II,
// OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm).
type sevSection struct {
	address, size uint64
	kind          uint32
}

// The kinds of sections.
const (
	sevMemory       = 1
	sevSecrets      = 2
	sevCPUID        = 3
	sevCallingArea  = 4 // of a secure VM service module
	sevKernelHashes = 0x10
)

// sev gives the sections of SEV metadata, in order.
func (f firmware) sev() ([]sevSection, error) {
	raw, n, err := f.descriptor(guidSEVMetadata, "ASEV", 12)
	if err != nil {
		return nil, err
	}
	sections, pages := make([]sevSection, 0, n), uint64(0)
	for i := range n {
		at := raw[12*i:]
		s := sevSection{uint64(binary.LittleEndian.Uint32(at)), uint64(binary.LittleEndian.Uint32(at[4:])), binary.LittleEndian.Uint32(at[8:])}
		single := s.kind == sevSecrets || s.kind == sevCPUID || s.kind == sevKernelHashes
		switch {
		case s.kind != sevMemory && s.kind != sevCallingArea && !single:
			return nil, badFirmware("SEV metadata with sections of kinds 1 to 4 and 0x10", fmt.Sprintf("kind 0x%x", s.kind))
		case s.address%pageSize != 0 || s.size%pageSize != 0 || s.size == 0 || single && s.size != pageSize:
			return nil, badFirmware("SEV metadata with sections of whole pages", fmt.Sprintf("%d bytes at 0x%x", s.size, s.address))
		}
		if pages += s.size / pageSize; pages > maxMetadataPages {
			return nil, badFirmware(fmt.Sprintf("SEV metadata of at most %d pages", maxMetadataPages), "more")
		}
		sections = append(sections, s)
	}
	return sections, nil
}
