package image

import (
	"bytes"
	"debug/elf"
	"io"
	"path"
	"strings"

	"strongroom.dev/machine"
	"strongroom.dev/verdict"
)

// maxModule bounds a decompressed kernel module, in bytes; the largest of Debian's have 4 MB.
const maxModule = 16 << 20

// modules are the kernel modules of a package, by the kernel's own names.
type modules struct {
	packed  map[string]packed
	builtin map[string]bool
	ready   map[string]module
}

// packed is a module as it lies in its package.
type packed struct {
	name string // path in the package
	data []byte
}

// module is a kernel module as it goes into the initrd: its signature is still behind it.
type module struct {
	name, from string
	data       []byte
	depends    []string
}

// moduleName gives the kernel's own name of a module file: the kernel reads "-" as "_".
func moduleName(file string) string {
	base := path.Base(file)
	for _, ending := range []string{".xz", ".zst", ".gz", ".ko"} {
		base = strings.TrimSuffix(base, ending)
	}
	return strings.ReplaceAll(base, "-", "_")
}

// newModules looks through a kernel package's files.
func newModules(files map[string]debFile) modules {
	m := modules{map[string]packed{}, map[string]bool{}, map[string]module{}}
	for name, f := range files {
		switch {
		case path.Base(name) == "modules.builtin":
			for line := range strings.Lines(string(f.data)) {
				m.builtin[moduleName(strings.TrimSpace(line))] = true
			}
		case strings.Contains(path.Base(name), ".ko"):
			m.packed[moduleName(name)] = packed{name, f.data}
		}
	}
	return m
}

// order gives the wanted modules and what they depend on, each after what it needs. What is
// built into the kernel needs no module.
func (m modules) order(wanted []string) ([]module, error) {
	var out []module
	done := map[string]bool{}
	var visit func(name string, depth int) error
	visit = func(name string, depth int) error {
		if done[name] || m.builtin[name] {
			return nil
		}
		if depth > 16 {
			return missing("modules that depend on each other in one direction", "a circle at "+verdict.Short(name))
		}
		mod, err := m.open(name)
		if err != nil {
			return err
		}
		for _, d := range mod.depends {
			if err := visit(d, depth+1); err != nil {
				return err
			}
		}
		done[name] = true
		out = append(out, mod)
		return nil
	}
	for _, name := range wanted {
		if err := visit(name, 0); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (m modules) open(name string) (module, error) {
	if mod, ok := m.ready[name]; ok {
		return mod, nil
	}
	p, ok := m.packed[name]
	if !ok || !machine.ModuleName(name) {
		return module{}, missing("the module "+verdict.Short(name)+" in the kernel's package, or built into the kernel", "neither")
	}
	ending := path.Ext(p.name)
	if ending == ".ko" {
		ending = ""
	}
	r, err := decompress(ending, bytes.NewReader(p.data))
	if err != nil {
		return module{}, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err != nil || len(data) > maxModule {
		return module{}, missing("the module "+name+" whole, at most 16 MiB", "a broken or larger one")
	}
	depends, err := dependencies(data)
	if err != nil {
		return module{}, err
	}
	mod := module{name, p.name, data, depends}
	m.ready[name] = mod
	return mod, nil
}

// dependencies reads what a module needs out of its .modinfo section: "key=value" strings,
// each ended by a zero byte.
func dependencies(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, missing("a kernel module in ELF", verdict.Short(err.Error()))
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, missing("a kernel module with .modinfo", "none")
	}
	info, err := s.Data()
	if err != nil {
		return nil, missing("a kernel module with .modinfo", verdict.Short(err.Error()))
	}
	for entry := range strings.SplitSeq(string(info), "\x00") {
		if list, found := strings.CutPrefix(entry, "depends="); found && list != "" {
			return strings.Split(strings.ReplaceAll(list, "-", "_"), ","), nil
		}
	}
	return nil, nil
}

func missing(expected, got string) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "image.kernel", Expected: expected, Got: got, Fix: "the kernel package is not one that rooms can boot: take the one that the lock of this version names"}
}
