package oci

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"strings"

	"strongroom.dev/verdict"
)

// maxParts bounds the entries of an archive around an image: a few for each layer.
const maxParts = 8192

// archive is a tar file whose parts are read in place.
type archive struct {
	file  *os.File
	parts map[string]part
}

type part struct {
	at, size int64
	link     string // of a symbolic link, as docker writes them for layers that repeat
}

func openTar(path string) (*archive, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, verdict.Misuse("image", "a file, or a directory with an OCI layout", verdict.Short(err.Error()), "name a registry's image, oci:DIR or docker-archive:FILE")
	}
	a := &archive{file: f, parts: map[string]part{}}
	if err := a.list(); err != nil {
		f.Close()
		return nil, verdict.NotGenuine("image.archive", "a tar file", verdict.Short(err.Error()), "write the archive anew; it must not be packed")
	}
	return a, nil
}

func (a *archive) list() error {
	r := tar.NewReader(a.file)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if len(a.parts) == maxParts {
			return fmt.Errorf("more than %d entries", maxParts)
		}
		at, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(h.Name, "./")
		if _, twice := a.parts[name]; twice {
			return fmt.Errorf("%.80q stands twice", name)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			a.parts[name] = part{at: at, size: h.Size}
		case tar.TypeSymlink:
			a.parts[name] = part{link: h.Linkname}
		}
	}
}

func (a *archive) open(path string) (io.ReadCloser, int64, error) {
	p, found := a.parts[path]
	if found && p.link != "" { // ../ID/layer.tar
		p, found = a.parts[strings.TrimPrefix(p.link, "../")]
	}
	if !found || p.link != "" {
		return nil, 0, os.ErrNotExist
	}
	return io.NopCloser(io.NewSectionReader(a.file, p.at, p.size)), p.size, nil
}

func (a *archive) close() error { return a.file.Close() }
