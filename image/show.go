package image

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/zstd"
	"strongroom.dev/machine"
	"strongroom.dev/verdict"
	"strongroom.dev/verity"
	"strongroom.dev/wire"
)

// maxFile bounds one file of an image, in bytes; engines' disks are the largest.
const maxFile = MaxDisk

// Open reads an image's directory and checks it: every file against the manifest, every part
// of the unified kernel image and of its initrd, and every engine's disk against the root
// that the initrd holds. It shows that an image is whole and says truly what it consists of;
// whether it is the one that was agreed is told by its measurements. Errors are of kind
// Invalid, or Usage where there is no image.
func Open(dir string) (Manifest, error) {
	m, _, err := open(dir)
	return m, err
}

// open gives the files too, by name.
func open(dir string) (Manifest, map[string][]byte, error) {
	data, err := readUpTo(filepath.Join(dir, FileManifest), MaxManifest)
	if err != nil {
		return Manifest{}, nil, verdict.Misuse("image", "an image's directory", dir+" without "+FileManifest, "strongroom image build -o DIR makes one")
	}
	m, err := ParseManifest(data)
	if err != nil {
		return Manifest{}, nil, err
	}
	files, err := readFiles(dir, m)
	if err != nil {
		return Manifest{}, nil, err
	}
	for _, check := range []func(Manifest, map[string][]byte) error{checkSections, checkInitrd, checkEngines, checkPrograms} {
		if err := check(m, files); err != nil {
			return Manifest{}, nil, err
		}
	}
	return m, files, nil
}

// readFiles reads the files that a manifest lists; no others may be there.
func readFiles(dir string, m Manifest) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if _, listed := m.File(e.Name()); !listed && e.Name() != FileManifest {
			return nil, notTheImage("files of the manifest only", verdict.Short(e.Name()))
		}
	}
	files := map[string][]byte{}
	for _, f := range m.Files {
		if filepath.Base(f.Name) != f.Name || f.Name == FileManifest || files[f.Name] != nil {
			return nil, notTheImage("each file by its name, once", verdict.Short(f.Name))
		}
		data, err := readUpTo(filepath.Join(dir, f.Name), maxFile)
		if err != nil {
			return nil, notTheImage("the file "+f.Name, verdict.Short(err.Error()))
		}
		if err := f.verify(data); err != nil {
			return nil, err
		}
		files[f.Name] = data
	}
	return files, nil
}

func readUpTo(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		return nil, fmt.Errorf("more than %d bytes", most)
	}
	return data, err
}

func (f File) verify(data []byte) error {
	if got := wire.HashOf(data); got != f.SHA256 || int64(len(data)) != f.Size {
		return notTheImage(fmt.Sprintf("%s: %d bytes, %s", f.Name, f.Size, f.SHA256), fmt.Sprintf("%d bytes, %s", len(data), got))
	}
	return nil
}

// checkSections holds the unified kernel image against the list of its sections, and those
// against the files that stand beside it.
func checkSections(m Manifest, files map[string][]byte) error {
	all, err := sections(files[FileUKI])
	if err != nil {
		return err
	}
	if len(all) < len(m.Sections) || len(m.Sections) == 0 {
		return notTheImage("sections of the unified kernel image", fmt.Sprintf("%d", len(all)))
	}
	beside := map[string][]byte{".linux": files[FileKernel], ".initrd": files[FileInitrd], ".cmdline": append(bytes.Clone(files[FileCmdline]), 0), ".uname": []byte(m.Kernel)}
	for i, s := range all[len(all)-len(m.Sections):] {
		if m.Sections[i].Name != s.name {
			return notTheImage("the section "+verdict.Short(m.Sections[i].Name), verdict.Short(s.name))
		}
		if err := m.Sections[i].verify(s.data); err != nil {
			return err
		}
		if want, there := beside[s.name]; there && !bytes.Equal(s.data, want) {
			return notTheImage("the section "+s.name+" as in the file beside "+FileUKI, "other bytes")
		}
		delete(beside, s.name)
	}
	if len(beside) != 0 || string(files[FileCmdline]) != m.Cmdline {
		return notTheImage("kernel, initrd, command line and release in "+FileUKI, "not all of them")
	}
	return nil
}

// checkInitrd holds the files in the initrd against the manifest.
func checkInitrd(m Manifest, files map[string][]byte) error {
	entries, err := unpackInitrd(files[FileInitrd])
	if err != nil {
		return err
	}
	if len(entries) != len(m.Initrd) {
		return notTheImage(fmt.Sprintf("%d files in the initrd", len(m.Initrd)), fmt.Sprintf("%d", len(entries)))
	}
	for i, e := range entries {
		if m.Initrd[i].Name != e.name {
			return notTheImage("the file "+verdict.Short(m.Initrd[i].Name)+" in the initrd", verdict.Short(e.name))
		}
		if err := m.Initrd[i].verify(e.data); err != nil {
			return err
		}
		if e.name != "machine.json" {
			continue
		}
		config, err := machine.Parse(e.data)
		if err != nil {
			return err
		}
		if !slices.Equal(config.Engines, m.Engines) {
			return notTheImage("the manifest's engines in /machine.json", "others")
		}
	}
	return nil
}

// maxInitrd bounds an unpacked initrd, in bytes.
const maxInitrd = 128 << 20

func unpackInitrd(packed []byte) ([]entry, error) {
	d, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxInitrd), zstd.WithDecoderMaxWindow(maxInitrd))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	data, err := io.ReadAll(io.LimitReader(d, maxInitrd+1))
	if err != nil || len(data) > maxInitrd {
		return nil, badInitrd("a cpio archive packed with zstd, at most 128 MiB", "another file")
	}
	return readCpio(data, Directories())
}

// checkEngines computes the root of each engine's disk from its data.
func checkEngines(m Manifest, files map[string][]byte) error {
	for _, e := range m.Engines {
		disk, size := files[EngineFile(e.Name)], e.DataBlocks*verity.BlockSize
		if e.Size < 1 || e.Size > size || size > int64(len(disk)) {
			return notTheImage("the disk of engine "+verdict.Short(string(e.Name)), fmt.Sprintf("%d bytes", len(disk)))
		}
		tree, root, err := verity.Tree(disk[:size], e.Salt[:])
		if err != nil {
			return err
		}
		if root != e.Root || !bytes.Equal(tree, disk[size:]) {
			return notTheImage("the root "+e.Root.String()+" of engine "+string(e.Name), root.String())
		}
		if got := wire.DigestOf(disk[:e.Size]); got != e.Digest {
			return notTheImage("the program "+e.Digest.String()+" of engine "+string(e.Name), got.String())
		}
	}
	return nil
}

func notTheImage(expected, got string) error {
	return verdict.NotGenuine("image.files", expected, got, "the image is damaged or was changed: build it anew")
}
