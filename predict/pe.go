package predict

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/measure"
	"strongroom.dev/verdict"
)

// program is a PE image (Microsoft, PE Format), as firmware loads it.
type program struct {
	data         []byte
	headers      int // bytes of headers
	optional     int // where the optional header stands
	directory    int // where its directory entries do
	entries      int // how many there are
	checksum     int // where the checksum stands
	certificates int // where the directory entry of certificates stands; 0 if there is none
	signed       int // bytes of certificates
	entry        uint32
	sections     []peSection
}

// peSection is a section of a program.
type peSection struct {
	name          string
	address, size uint32 // in memory
	at, raw       uint32 // in the file
	flags         uint32 // what memory it becomes
}

// Offsets of PE headers: from the COFF header, and from the optional header behind it.
const (
	coffHeader      = 20
	coffSections    = 2
	coffOptional    = 16
	coffFlags       = 18
	optionalEntry   = 16
	optionalBase    = 24
	optionalBase32  = 28
	optionalAlign   = 32
	optionalHeaders = 60
	optionalSum     = 64
	optionalKind    = 68 // subsystem, and what the program says of itself
	sectionHeader   = 40
	pe32, pe32plus  = 0x10b, 0x20b
	directoryEntry  = 8
	maxDirectories  = 16
	certificatesNo  = 4 // of the directory entries
)

func badProgram(got string) error {
	return verdict.Misuse("measure.kernel", "an EFI program (PE)", got, "name a unified kernel image, or a kernel with an EFI stub")
}

// parseProgram reads the headers of a PE image. Sections must lie in the file, without
// overlap: loaders and hashers would disagree on anything else.
func parseProgram(data []byte) (*program, error) {
	u16 := func(at int) int { return int(binary.LittleEndian.Uint16(data[at:])) }
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(data[at:]) }
	if len(data) > MaxImage {
		return nil, badProgram(fmt.Sprintf("more than %d bytes", MaxImage))
	}
	if len(data) < 64 || data[0] != 'M' || data[1] != 'Z' {
		return nil, badProgram("no MZ header")
	}
	pe := int64(u32(0x3c))
	if pe < 64 || pe+4+coffHeader+optionalSum+4 > int64(len(data)) || string(data[pe:pe+4]) != "PE\x00\x00" {
		return nil, badProgram("no PE header")
	}
	coff := int(pe) + 4
	optional := coff + coffHeader
	table, n := optional+u16(coff+coffOptional), u16(coff+coffSections)
	p := &program{data: data, headers: int(u32(optional + optionalHeaders)), optional: optional, checksum: optional + optionalSum, entry: u32(optional + optionalEntry)}
	switch {
	case n == 0 || n > maxSections:
		return nil, badProgram(fmt.Sprintf("%d sections, 1 to %d expected", n, maxSections))
	case p.headers > len(data) || table+n*sectionHeader > p.headers || table < p.checksum+4:
		return nil, badProgram("headers that don't fit")
	}
	if err := p.directories(optional, table); err != nil {
		return nil, err
	}
	for i := range n {
		h := table + i*sectionHeader
		p.sections = append(p.sections, peSection{strings.TrimRight(string(data[h:h+8]), "\x00"), u32(h + 12), u32(h + 8), u32(h + 20), u32(h + 16), u32(h + 36)})
	}
	return p, p.checkSections()
}

// directories finds the directory entries, and that of certificates among them.
func (p *program) directories(optional, table int) error {
	first := optional + 112 // of the directory entries
	switch magic := binary.LittleEndian.Uint16(p.data[optional:]); magic {
	case pe32plus:
	case pe32:
		first = optional + 96
	default:
		return badProgram(fmt.Sprintf("an optional header of kind 0x%x", magic))
	}
	if first > table {
		return badProgram("an optional header that is cut short")
	}
	entries := binary.LittleEndian.Uint32(p.data[first-4:])
	if entries > maxDirectories || first+int(entries)*directoryEntry > table {
		return badProgram("directory entries that don't fit")
	}
	if p.directory, p.entries = first, int(entries); entries <= certificatesNo {
		return nil
	}
	p.certificates = first + certificatesNo*directoryEntry
	at, size := binary.LittleEndian.Uint32(p.data[p.certificates:]), binary.LittleEndian.Uint32(p.data[p.certificates+4:])
	if size != 0 && int64(at)+int64(size) != int64(len(p.data)) {
		return badProgram("certificates that don't end the file")
	}
	p.signed = int(size)
	return nil
}

// files gives the sections that have bytes in the file, in their order there.
func (p *program) files() []peSection {
	var in []peSection
	for _, s := range p.sections {
		if s.raw != 0 {
			in = append(in, s)
		}
	}
	slices.SortFunc(in, func(a, b peSection) int { return cmp.Compare(a.at, b.at) })
	return in
}

func (p *program) checkSections() error {
	end := int64(p.headers)
	for _, s := range p.files() {
		if int64(s.at) < end {
			return badProgram(fmt.Sprintf("a section %q over what is before it", verdict.Short(s.name)))
		}
		end = int64(s.at) + int64(s.raw)
	}
	if end > int64(len(p.data)-p.signed) {
		return badProgram("a section beyond the end of the file")
	}
	return nil
}

// authenticode gives the hash of the image that is signed and measured (Microsoft,
// Authenticode PE signature format; EDK II's Tcg2Dxe and TdTcg2Dxe compute the same): all of it
// but the checksum, the certificates and their directory entry. What follows the sections counts
// from the sum of their sizes on.
func (p *program) authenticode(a measure.Algorithm) []byte {
	parts := [][]byte{p.data[:p.checksum]}
	if p.certificates == 0 {
		parts = append(parts, p.data[p.checksum+4:p.headers])
	} else {
		parts = append(parts, p.data[p.checksum+4:p.certificates], p.data[p.certificates+directoryEntry:p.headers])
	}
	sum := p.headers
	for _, s := range p.files() {
		parts = append(parts, p.data[s.at:s.at+s.raw])
		sum += int(s.raw)
	}
	if end := len(p.data) - p.signed; end > sum {
		parts = append(parts, p.data[sum:end])
	}
	return a.Sum(parts...)
}

// section gives the bytes of the one section of a name as they are in memory; nil if there is
// none.
func (p *program) section(name string) ([]byte, error) {
	var found []byte
	for _, s := range p.sections {
		if s.name != name {
			continue
		}
		if found != nil {
			return nil, badProgram("two sections " + name)
		}
		if s.size == 0 || s.size > s.raw {
			return nil, badProgram(fmt.Sprintf("a section %s of %d bytes, %d of them in the file", name, s.size, s.raw))
		}
		found = p.data[s.at : s.at+s.size]
	}
	return found, nil
}
