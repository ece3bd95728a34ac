package predict

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/verdict"
)

// The sections of a unified kernel image (UAPI group, Unified Kernel Image specification).
const (
	sectionLinux   = ".linux"
	sectionOSRel   = ".osrel"
	sectionCommand = ".cmdline"
	sectionInitrd  = ".initrd"
	sectionSplash  = ".splash"
	sectionDTB     = ".dtb"
	sectionUname   = ".uname"
)

// stub is a boot stub whose rules are known.
type stub struct {
	name string
	// measured are the sections that it measures into PCR 11, in its order.
	measured []string
}

// stubs are the known stubs by [StubDigest].
//
// constant: a table that is never written.
var stubs = map[string]stub{
	"668580d2327867295f1368dfc0ab64b9a17b16c820ae43ea487fff0cf8c00c92": {
		"systemd 252 (Debian 252.39-1~deb12u2)",
		[]string{sectionLinux, sectionOSRel, sectionCommand, sectionInitrd, sectionSplash, sectionDTB},
	},
}

// payload reports whether a section is no part of the stub itself. Only sections whose rules are
// known may stand there.
func payload(name string) bool {
	return slices.Contains([]string{sectionLinux, sectionOSRel, sectionCommand, sectionInitrd, sectionSplash, sectionDTB, sectionUname}, name)
}

// uki is a unified kernel image.
type uki struct {
	program *program
	stub    stub
	parts   map[string][]byte
	line    string
}

// loading gives what headers say of how a loader makes a program out of sections: a relocation
// directory that points elsewhere, or another base, would have it change the code it loads.
// Sizes are left out, which grow with what is appended, and so is the directory entry of
// certificates, which comes with a signature and loads nothing.
func (p *program) loading() []byte {
	at := func(start, n int) []byte { return p.data[start : start+n] }
	base := append([]byte(nil), at(p.optional+optionalBase, 8)...)
	magic := at(p.optional, 2)
	if binary.LittleEndian.Uint16(magic) == pe32 {
		base = append(append(base[:0], at(p.optional+optionalBase32, 4)...), 0, 0, 0, 0)
	}
	coff := p.optional - coffHeader
	out := slices.Concat(at(coff, 2), at(coff+coffFlags, 2), magic, binary.LittleEndian.AppendUint32(nil, p.entry), base,
		at(p.optional+optionalAlign, 4), at(p.optional+optionalKind, 4), binary.LittleEndian.AppendUint32(nil, uint32(p.entries)))
	for i := range p.entries {
		if i != certificatesNo {
			out = append(out, at(p.directory+i*directoryEntry, directoryEntry)...)
		}
	}
	return out
}

// stubDigest names the stub of an image, whatever was appended to it: the SHA-256 of how it is
// loaded and, for each section of its own, name, address, size, flags and bytes.
func (p *program) stubDigest() (string, error) {
	h := sha256.New()
	h.Write(p.loading())
	for _, s := range p.sections {
		if payload(s.name) {
			continue
		}
		data, err := p.section(s.name)
		if err != nil {
			return "", err
		}
		var head [20]byte
		copy(head[:8], s.name)
		binary.LittleEndian.PutUint32(head[8:], s.address)
		binary.LittleEndian.PutUint32(head[12:], s.size)
		binary.LittleEndian.PutUint32(head[16:], s.flags)
		h.Write(head[:])
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// StubDigest gives the digest by which a unified kernel image's boot stub is known here: in hex,
// the SHA-256 of its code and data and of how these are loaded (spec/measurements.md,
// section 5), whatever was appended to it. The error is a [verdict.Error] of kind Usage.
func StubDigest(image []byte) (string, error) {
	p, err := parseProgram(image)
	if err != nil {
		return "", err
	}
	return p.stubDigest()
}

// StubName gives the name of the known stub that has a digest, as [StubDigest] gives it, and
// whether there is one.
func StubName(digest string) (name string, known bool) {
	s, known := stubs[digest]
	return s.name, known
}

// checkMemory refuses sections that lie over others in memory, or in another order than in the
// headers: a payload laid over the stub's code would run in its place. EDK II loads as many
// bytes of a section as its size in memory says, or all of them where that is zero.
func (p *program) checkMemory() error {
	end := int64(0)
	for _, s := range p.sections {
		if int64(s.address) < end {
			return badProgram(fmt.Sprintf("a section %q over what is before it in memory", verdict.Short(s.name)))
		}
		end = int64(s.address) + int64(cmp.Or(s.size, s.raw))
	}
	return nil
}

// isUKI reports whether a program carries a kernel.
func (p *program) isUKI() bool {
	return slices.ContainsFunc(p.sections, func(s peSection) bool { return s.name == sectionLinux })
}

// parseUKI reads a unified kernel image with a known stub.
func parseUKI(p *program) (*uki, error) {
	if err := p.checkMemory(); err != nil {
		return nil, err
	}
	id, err := p.stubDigest()
	if err != nil {
		return nil, err
	}
	known, ok := stubs[id]
	if !ok {
		return nil, verdict.Misuse("measure.stub", "a boot stub whose rules are known: "+stubNames(), "one with the digest "+id, "build the image with that stub, or take the values from evidence of one boot")
	}
	u := &uki{program: p, stub: known, parts: map[string][]byte{}}
	for _, s := range p.sections {
		if !payload(s.name) {
			continue
		}
		if u.parts[s.name], err = p.section(s.name); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{sectionLinux, sectionCommand, sectionInitrd} {
		if u.parts[name] == nil {
			return nil, badProgram("a unified kernel image without " + name)
		}
	}
	u.line, err = lineOf(u.parts[sectionCommand])
	return u, err
}

func stubNames() string {
	var names []string
	for _, s := range stubs {
		names = append(names, s.name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// lineOf reads a command line that may end in a zero. What stub and kernel make of anything
// beyond printable ASCII depends on them.
func lineOf(section []byte) (string, error) {
	line := string(bytes.TrimSuffix(section, []byte{0}))
	for i := range len(line) {
		if line[i] < ' ' || line[i] > '~' {
			return "", verdict.Misuse("measure.append", "a command line of printable ASCII", fmt.Sprintf("0x%02x at byte %d", line[i], i), "build the image with such a line")
		}
	}
	return line, checkCommandLine(line)
}
