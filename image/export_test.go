package image

// What tests in their own package need of the inside.

// DebNames gives the names and contents of the files that readDeb takes.
func DebNames(deb []byte, want func(string) bool) (map[string]string, error) {
	files, err := readDeb(deb, want)
	out := map[string]string{}
	for name, f := range files {
		out[name] = string(f.data)
	}
	return out, err
}

// ModuleOrder gives the load order of wanted modules out of files by path.
func ModuleOrder(files map[string][]byte, wanted []string) ([]string, error) {
	in := map[string]debFile{}
	for name, data := range files {
		in[name] = debFile{data: data}
	}
	mods, err := newModules(in).order(wanted)
	var out []string
	for _, m := range mods {
		out = append(out, m.name)
	}
	return out, err
}

// WriteCpio and ReadCpio take files as pairs of name and content.
func WriteCpio(directories []string, files ...[2]string) []byte {
	var in []entry
	for _, f := range files {
		in = append(in, entry{f[0], []byte(f[1])})
	}
	return writeCpio(directories, in)
}

func ReadCpio(data []byte, directories []string) (files [][2]string, err error) {
	entries, err := readCpio(data, directories)
	for _, e := range entries {
		files = append(files, [2]string{e.name, string(e.data)})
	}
	return files, err
}

// AppendSections takes sections as pairs of name and content.
func AppendSections(program []byte, add ...[2]string) ([]byte, error) {
	var in []section
	for _, s := range add {
		in = append(in, section{s[0], []byte(s[1])})
	}
	return appendSections(program, in)
}

func Sections(program []byte) (names []string, err error) {
	all, err := sections(program)
	for _, s := range all {
		names = append(names, s.name)
	}
	return names, err
}

func ProgramPackages(p Program, cgo bool) ([]string, error) {
	g, err := readProgram(p, cgo)
	return g.packages, err
}

// CheckEngines holds disks against a manifest's engines.
func CheckEngines(m Manifest, files map[string][]byte) error { return checkEngines(m, files) }

var (
	CompareVersions = compareVersions
	PackageOf       = packageOf
	CodeOf          = codeOf
	WantedModules   = wantedModules
)
