package image

import (
	"bytes"
	"encoding/binary"
	"strings"

	"strongroom.dev/verdict"
)

// section is one part of a unified kernel image.
type section struct {
	name string // at most 8 bytes, ".linux"
	data []byte
}

// Offsets of PE32+ headers (Microsoft, PE Format). coff counts from the COFF header, opt from
// the optional header.
const (
	coffSections, coffSymbols, coffSymbolCount, coffOptSize                = 2, 8, 12, 16
	coffSize                                                               = 20
	optInitialized, optAlignment, optFileAlignment, optImage, optHeadSize  = 8, 32, 36, 56, 60
	optChecksum, optSecurity                                               = 64, 112 + 4*8
	sectionHeader, sectVirtualSize, sectAddress, sectRawSize, sectRawPlace = 40, 8, 12, 16, 20
	sectFlags                                                              = 36
)

// initializedReadable are a data section's flags: IMAGE_SCN_CNT_INITIALIZED_DATA, _MEM_READ.
const initializedReadable = 0x40000040

// pageSize aligns what is appended.
const pageSize = 4096

// pe is a PE32+ image with the places in it that appending touches.
type pe struct {
	data                 []byte
	coff, opt, table     int
	sections, headerSize int
	fileAlignment        int
}

// readPE finds the headers of a PE32+ image.
func readPE(data []byte) (p pe, err error) {
	bad := func(got string) (pe, error) {
		return pe{}, &verdict.Error{Kind: verdict.Broken, Check: "image.stub", Expected: "an EFI program (PE32+)", Got: got, Fix: "take the stub that the lock of this version names"}
	}
	if len(data) < 0x40 || data[0] != 'M' || data[1] != 'Z' {
		return bad("no MZ header")
	}
	at := int(binary.LittleEndian.Uint32(data[0x3c:]))
	if at > len(data)-24-optSecurity-8 || at < 0x40 || string(data[at:at+4]) != "PE\x00\x00" {
		return bad("no PE header")
	}
	p = pe{data: data, coff: at + 4, opt: at + 4 + coffSize}
	if binary.LittleEndian.Uint16(data[p.opt:]) != 0x20b {
		return bad("another kind of optional header")
	}
	p.sections = int(binary.LittleEndian.Uint16(data[p.coff+coffSections:]))
	p.table = p.opt + int(binary.LittleEndian.Uint16(data[p.coff+coffOptSize:]))
	p.headerSize = int(p.u32(p.opt + optHeadSize))
	p.fileAlignment = int(p.u32(p.opt + optFileAlignment))
	if p.table < p.opt+optSecurity+8 || p.headerSize > len(data) || p.table+p.sections*sectionHeader > p.headerSize {
		return bad("headers that don't fit")
	}
	if a := p.fileAlignment; a < 512 || a > 65536 || a&(a-1) != 0 {
		return bad("a file alignment out of range")
	}
	return p, nil
}

func (p pe) u32(at int) uint32    { return binary.LittleEndian.Uint32(p.data[at:]) }
func (p pe) set(at int, v uint32) { binary.LittleEndian.PutUint32(p.data[at:], v) }
func (p pe) section(i int) int    { return p.table + i*sectionHeader }
func (p pe) sectionName(i int) string {
	return strings.TrimRight(string(p.data[p.section(i):p.section(i)+8]), "\x00")
}

// ends gives where the sections end, in the file and in memory.
func (p pe) ends() (file, memory int64) {
	file = int64(p.headerSize)
	for i := range p.sections {
		s := p.section(i)
		file = max(file, int64(p.u32(s+sectRawPlace))+int64(p.u32(s+sectRawSize)))
		memory = max(memory, int64(p.u32(s+sectAddress))+int64(p.u32(s+sectVirtualSize)))
	}
	return file, memory
}

// appendSections gives an EFI program with sections behind its own, as systemd's stub reads
// them (Unified Kernel Image specification of the UAPI group). What a linker left behind the
// sections (symbols for debuggers) goes, and so does the checksum, which nothing checks.
func appendSections(program []byte, add []section) ([]byte, error) {
	p, err := readPE(bytes.Clone(program))
	if err != nil {
		return nil, err
	}
	fileEnd, memoryEnd := p.ends()
	if fileEnd > int64(len(p.data)) || p.table+(p.sections+len(add))*sectionHeader > p.headerSize {
		return nil, noRoom("whole sections, and room for more in the headers", "neither")
	}
	if p.u32(p.opt+optSecurity) != 0 || p.u32(p.opt+optSecurity+4) != 0 {
		return nil, noRoom("a program without a signature, which appending would break", "a signed one")
	}
	p.set(p.coff+coffSymbols, 0)
	p.set(p.coff+coffSymbolCount, 0)
	p.set(p.opt+optChecksum, 0)
	out := bytes.NewBuffer(p.data[:fileEnd:fileEnd])
	alignFile(out, p.fileAlignment)
	address, initialized := align(memoryEnd, pageSize), int64(p.u32(p.opt+optInitialized))
	for _, s := range add {
		if err := p.accepts(s); err != nil {
			return nil, err
		}
		raw := align(int64(len(s.data)), int64(p.fileAlignment))
		h := p.section(p.sections)
		clear(p.data[h : h+sectionHeader])
		copy(p.data[h:], s.name)
		p.set(h+sectVirtualSize, uint32(len(s.data)))
		p.set(h+sectAddress, uint32(address))
		p.set(h+sectRawSize, uint32(raw))
		p.set(h+sectRawPlace, uint32(out.Len()))
		p.set(h+sectFlags, initializedReadable)
		p.sections++
		out.Write(s.data)
		alignFile(out, p.fileAlignment)
		initialized += raw
		address = align(address+int64(len(s.data)), pageSize)
	}
	binary.LittleEndian.PutUint16(p.data[p.coff+coffSections:], uint16(p.sections))
	p.set(p.opt+optInitialized, uint32(initialized))
	p.set(p.opt+optImage, uint32(address))
	copy(out.Bytes(), p.data[:p.headerSize]) // the buffer has moved since
	return out.Bytes(), nil
}

// accepts reports why a section can't be appended.
func (p pe) accepts(s section) error {
	if len(s.name) < 2 || len(s.name) > 8 || s.name[0] != '.' || len(s.data) == 0 || len(s.data) > maxMember {
		return noRoom("a section with a short name and 1 byte to 64 MiB", verdict.Short(s.name))
	}
	for i := range p.sections {
		if p.sectionName(i) == s.name {
			return noRoom("a program without a section "+s.name, "one that has it")
		}
	}
	return nil
}

func align(n, to int64) int64 { return (n + to - 1) &^ (to - 1) }

func alignFile(out *bytes.Buffer, to int) {
	out.Write(make([]byte, align(int64(out.Len()), int64(to))-int64(out.Len())))
}

// sections gives the parts of a unified kernel image, in the order of its headers.
func sections(program []byte) ([]section, error) {
	p, err := readPE(program)
	if err != nil {
		return nil, err
	}
	var out []section
	for i := range p.sections {
		s := p.section(i)
		start, size := int64(p.u32(s+sectRawPlace)), int64(min(p.u32(s+sectVirtualSize), p.u32(s+sectRawSize)))
		if start+size > int64(len(program)) {
			return nil, noRoom("whole sections", "a cut one")
		}
		out = append(out, section{p.sectionName(i), program[start : start+size]})
	}
	return out, nil
}

func noRoom(expected, got string) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "image.stub", Expected: expected, Got: got, Fix: "take the stub that the lock of this version names"}
}
