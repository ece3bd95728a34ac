package image

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"encoding/binary"
	"runtime/debug"
	"slices"
	"strings"

	"strongroom.dev/verdict"
)

// goProgram is what a Go program's own bytes say of what it is made of.
type goProgram struct {
	info *debug.BuildInfo
	// packages are the packages that the program holds code of, sorted.
	packages []string
}

// readProgram looks into a program. Rooms run statically linked Go programs for Linux on
// x86-64 only; the first process is without cgo as well (R22).
func readProgram(p Program, cgo bool) (goProgram, error) {
	bad := func(expected, got string) (goProgram, error) {
		return goProgram{}, verdict.Refuse("image.program", string(p.Name)+": "+expected, got, "make build builds it as rooms need it")
	}
	info, err := buildinfo.Read(bytes.NewReader(p.Data))
	if err != nil {
		return bad("a Go program with its build information", verdict.Short(err.Error()))
	}
	f, err := elf.NewFile(bytes.NewReader(p.Data))
	if err != nil || f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 {
		return bad("a program for Linux on x86-64", "another file")
	}
	for _, s := range f.Progs {
		if s.Type == elf.PT_INTERP {
			return bad("a statically linked program", "one that needs a dynamic linker")
		}
	}
	if v := setting(info, "CGO_ENABLED"); !cgo && v != "0" {
		return bad("a program built with CGO_ENABLED=0", "CGO_ENABLED="+v)
	}
	table := f.Section(".gopclntab")
	if table == nil {
		return bad("the table of its functions", "none")
	}
	data, err := table.Data()
	if err != nil {
		return bad("the table of its functions", verdict.Short(err.Error()))
	}
	packages := codeOf(data)
	if len(packages) == 0 {
		return bad("the table of its functions", "one of another version of Go")
	}
	for i, name := range packages {
		if name == "main" {
			packages[i] = info.Path
		}
	}
	slices.Sort(packages)
	return goProgram{info, slices.Compact(packages)}, nil
}

func setting(info *debug.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// codeOf gives the packages of all functions that a Go program names, inlined ones too. They
// stand in the function name table of pclntab, which even a stripped program has (debug/gosym
// reads the same header, but lists functions with code of their own only).
func codeOf(table []byte) (packages []string) {
	const header = 8 + 4*8 // magic, sizes; then functions, files, text start, offset of names
	if len(table) < header+8 || table[7] != 8 {
		return nil
	}
	start, end := binary.LittleEndian.Uint64(table[header-8:]), binary.LittleEndian.Uint64(table[header:])
	if start < header || start > end || end > uint64(len(table)) {
		return nil
	}
	seen := map[string]bool{}
	for name := range bytes.SplitSeq(table[start:end], []byte{0}) {
		if p := packageOf(string(name)); p != "" && !seen[p] {
			seen[p] = true
			packages = append(packages, p)
		}
	}
	return packages
}

// packageOf gives the package in a function's linker name, "" if there is none in it:
// "example.com/a/b.(*T).M", "slices.Sort[...]"; dots in the last element are written %2e.
func packageOf(name string) string {
	if i := strings.IndexAny(name, "[("); i >= 0 {
		name = name[:i]
	}
	slash := strings.LastIndexByte(name, '/') + 1
	dot := strings.IndexByte(name[slash:], '.')
	if dot <= 0 || strings.ContainsAny(name, ": ") { // "type:.eq.…", "go:…"
		return ""
	}
	return strings.ReplaceAll(name[:slash+dot], "%2e", ".")
}
