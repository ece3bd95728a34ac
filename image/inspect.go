package image

import (
	"bytes"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"strongroom.dev/predict"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Look is what [Inspect] found in an image's directory.
type Look struct {
	Manifest
	// Stub is the boot stub in the unified kernel image.
	Stub Stub `json:"stub"`
	// Parts are all sections of the unified kernel image in the order of its headers: the stub's
	// own, then the manifest's Sections.
	Parts []File `json:"parts"`
	// Compared are the packages that were at hand, by name and version: every file that the
	// manifest says is theirs is, and so is the stub. Of others' files it is only said.
	Compared []string `json:"compared"`
}

// Stub is a boot stub.
type Stub struct {
	// Digest names it: [predict.StubDigest], hex.
	Digest string `json:"digest"`
	// Known is the name of the stub that has this digest; empty if none is known to.
	Known string `json:"known"`
}

// Inspect checks an image's directory as [Open] does, looks at every section of its unified
// kernel image, and compares files with the packages that they are said to be from, as far as
// atHand has these: it gives false for a package that is not. Errors are those of Open.
func Inspect(dir string, atHand func(Package) ([]byte, bool)) (Look, error) {
	m, files, err := open(dir)
	if err != nil {
		return Look{}, err
	}
	l := Look{Manifest: m, Compared: []string{}}
	if l.Stub.Digest, err = predict.StubDigest(files[FileUKI]); err != nil {
		return Look{}, notTheImage("a boot stub in "+FileUKI, verdict.Short(err.Error()))
	}
	l.Stub.Known, _ = predict.StubName(l.Stub.Digest)
	all, err := sections(files[FileUKI])
	if err != nil {
		return Look{}, err
	}
	stub := Origin{Package: Lock{Packages: m.Packages}.Of(UseStub).String(), Path: stubPath}
	for _, s := range all[:len(all)-len(m.Sections)] {
		l.Parts = append(l.Parts, fileOf(s.name, s.data, stub))
	}
	l.Parts = append(l.Parts, m.Sections...)
	for _, p := range m.Packages {
		deb, ok := atHand(p)
		if !ok {
			continue
		}
		if err := l.compare(p, deb); err != nil {
			return Look{}, err
		}
		l.Compared = append(l.Compared, p.String())
	}
	return l, nil
}

// compare holds what the manifest says is of a package against the package.
func (l *Look) compare(p Package, deb []byte) error {
	if err := p.Verify(deb); err != nil {
		return err
	}
	said := map[string]File{} // by path
	for _, f := range slices.Concat(l.Files, l.Sections, l.Initrd) {
		if f.Origin.Package != p.String() {
			continue
		}
		if other, twice := said[f.Origin.Path]; twice && other.SHA256 != f.SHA256 {
			return notFrom(p, f.Origin.Path, other.SHA256.String()+" and "+f.SHA256.String())
		}
		said[f.Origin.Path] = f
	}
	files, err := readDeb(deb, func(name string) bool { return said[name].Name != "" || p.Use == UseStub && name == stubPath })
	if err != nil {
		return err
	}
	for name, f := range said {
		data, err := unpacked(name, files[name].data)
		if err != nil {
			return err
		}
		if got := wire.HashOf(data); got != f.SHA256 {
			return notFrom(p, name, f.Name+" with "+f.SHA256.String())
		}
	}
	if p.Use != UseStub {
		return nil
	}
	if digest, err := predict.StubDigest(files[stubPath].data); err != nil || digest != l.Stub.Digest {
		return notFrom(p, stubPath, "a stub with the digest "+l.Stub.Digest)
	}
	return nil
}

// unpacked gives a kernel module as it goes into an initrd, and any other file as it is.
func unpacked(name string, data []byte) ([]byte, error) {
	ending := path.Ext(name)
	if !strings.HasSuffix(strings.TrimSuffix(name, ending), ".ko") {
		return data, nil
	}
	r, err := decompress(ending, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxModule+1))
}

// Origin says where a file came from, and whether that was found to be so or is only said.
func (l Look) Origin(o Origin) string {
	if o.Program != "" || slices.Contains(l.Compared, o.Package) {
		return o.String()
	}
	return "says " + o.String()
}

// Role says what one of the programs is in the room: "init", or the name of the disk that it
// lies on as an engine; empty for neither.
func (m Manifest) Role(program string) string {
	for _, e := range m.Engines {
		if string(e.Name) == program {
			return e.Disk
		}
	}
	for _, f := range m.Initrd {
		if f.Name == initName && f.Origin.Program == program {
			return initName
		}
	}
	return ""
}

// initName is the first process' file in the initrd.
const initName = "init"

// checkPrograms holds the list of programs against those in the image, each once.
func checkPrograms(m Manifest, files map[string][]byte) error {
	found := map[string]File{}
	for _, f := range m.Initrd {
		if f.Name == initName {
			found[f.Origin.Program] = f
		} else if f.Origin.Program != "" {
			return notTheImage("no program in the initrd beside "+initName, verdict.Short(f.Name))
		}
	}
	for _, e := range m.Engines {
		found[string(e.Name)] = fileOf(string(e.Name), files[EngineFile(e.Name)][:e.Size], Origin{}) // checkEngines has seen that it fits
	}
	if len(found) != 1+len(m.Engines) || len(m.Programs) != len(found) {
		return notTheImage("a program for "+initName+" and one for each engine", "others")
	}
	for _, p := range m.Programs {
		f, ok := found[p.Name]
		if !ok || f.SHA256 != p.SHA256 || f.Size != p.Size {
			return notTheImage("the program "+verdict.Short(p.Name)+", "+p.SHA256.String(), "another in the image")
		}
		delete(found, p.Name)
	}
	return nil
}

// AtHand gives a package's bytes if the cache has it, whole. It asks nobody.
func (f Fetcher) AtHand(p Package) ([]byte, bool) {
	if p.check() != nil {
		return nil, false
	}
	deb, err := readPackage(f.path(p), p)
	return deb, err == nil
}

// path is where a package lies in the cache.
func (f Fetcher) path(p Package) string {
	return filepath.Join(f.Cache, p.SHA256.Short()+"-"+p.File())
}

func notFrom(p Package, name, got string) error {
	return verdict.NotGenuine("image.origin", "the file "+verdict.Short(name)+" of "+p.String(), verdict.Short(got), "the image says of a file that it is Debian's, and it is another: build it anew")
}
