package oci

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
)

// Note is something of an image that the disk does not have as it was.
type Note struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// item is an entry of a layer.
type item struct {
	path    string // "." is the root
	link    string // of hard links: what is linked to
	content *content
}

// content is what stands at one or more paths.
type content struct {
	entry erofs.Entry // without Path and Link
}

// layer is what a layer's archive says, before anything is done with it.
type layer struct {
	items  []item
	links  []item
	remove []string // paths that were whited out
	opaque []string // directories of which nothing from below stays
}

// refuseEntry names a layer's entry.
func refuseEntry(n int, path, expected, got string) error {
	return refuse("image.entry", expected, fmt.Sprintf("layer %d: %s: %s", n, verdict.Short(path), got), "build the image without it")
}

// place is where a reader of a file is; package tar seeks over what nobody reads.
type place struct {
	f  *os.File
	b  *bufio.Reader
	at int64
}

func (p *place) Read(b []byte) (int, error) {
	n, err := p.b.Read(b)
	p.at += int64(n)
	return n, err
}

func (p *place) Seek(offset int64, whence int) (int64, error) {
	switch {
	case whence == io.SeekCurrent && offset == 0:
		return p.at, nil
	case whence == io.SeekCurrent && offset > 0 && offset <= int64(p.b.Buffered()):
		n, err := p.b.Discard(int(offset))
		p.at += int64(n)
		return p.at, err
	case whence == io.SeekCurrent:
		offset += p.at
	case whence == io.SeekEnd:
		end, err := p.f.Seek(0, io.SeekEnd)
		if err != nil {
			return 0, err
		}
		offset += end
	}
	at, err := p.f.Seek(offset, io.SeekStart)
	p.at = at
	p.b.Reset(p.f)
	return at, err
}

// reader reads one layer.
type reader struct {
	n     int
	file  *os.File
	size  int64
	left  *int // entries that may still come
	seen  map[string]bool
	layer layer
	notes *[]Note
}

func (r *reader) read() (layer, error) {
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return layer{}, err
	}
	at := &place{f: r.file, b: bufio.NewReaderSize(r.file, 1<<16)}
	archive := tar.NewReader(at)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return r.layer, nil
		}
		if err != nil {
			return layer{}, layerError(r.n, err)
		}
		if *r.left--; *r.left < 0 {
			return layer{}, refuseEntry(r.n, h.Name, "fewer entries in all layers", "one too many")
		}
		if err := r.add(h, at.at); err != nil {
			return layer{}, err
		}
	}
}

// clean gives a name in a layer as a path; "." is the root.
func clean(name string) (string, string) {
	p := strings.TrimSuffix(name, "/")
	for {
		rest, found := strings.CutPrefix(p, "./")
		if !found {
			break
		}
		p = rest
	}
	if p == "." || p == "" && name != "" {
		return ".", ""
	}
	// An absolute name means the image's root; more than one slash means nothing.
	p = strings.TrimPrefix(p, "/")
	return p, erofs.BadPath(p)
}

const whiteout = ".wh."

func (r *reader) add(h *tar.Header, offset int64) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		for name := range h.PAXRecords {
			if name != "comment" {
				return refuseEntry(r.n, h.Name, "no settings for entries that follow", verdict.Short(name))
			}
		}
		return nil
	}
	path, why := clean(h.Name)
	if why != "" {
		return refuseEntry(r.n, h.Name, "a path inside the image", why)
	}
	if r.seen[path] {
		return refuseEntry(r.n, h.Name, "every path once in a layer", "it stands there twice")
	}
	r.seen[path] = true
	for name := range h.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") {
			return refuseEntry(r.n, h.Name, "files that hold all their bytes", "a sparse file")
		}
	}
	dir, base := split(path)
	if strings.HasPrefix(base, whiteout) {
		return r.whiteout(h, dir, base)
	}
	if strings.HasPrefix(dir, whiteout) || strings.Contains(dir, "/"+whiteout) {
		return refuseEntry(r.n, h.Name, "entries that do not lie below a whiteout", "one that does")
	}
	return r.put(h, path, offset)
}

func split(path string) (dir, base string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return ".", path
}

// whiteout takes a mark that something below is gone (OCI image-spec, layer.md).
func (r *reader) whiteout(h *tar.Header, dir, base string) error {
	if h.Typeflag != tar.TypeReg || h.Size != 0 {
		return refuseEntry(r.n, h.Name, "whiteouts that are empty files", "another one")
	}
	name := strings.TrimPrefix(base, whiteout)
	switch {
	case base == ".wh..wh..opq":
		r.layer.opaque = append(r.layer.opaque, dir)
		return nil
	case name == "" || name == "." || name == ".." || strings.HasPrefix(name, whiteout):
		return refuseEntry(r.n, h.Name, "the whiteout of a name, or .wh..wh..opq", "of nothing that can be")
	}
	if dir != "." {
		name = dir + "/" + name
	}
	r.layer.remove = append(r.layer.remove, name)
	return nil
}

func (r *reader) put(h *tar.Header, path string, offset int64) error {
	e := erofs.Entry{UID: uint32(h.Uid), GID: uint32(h.Gid), Mode: uint32(h.Mode & 0o7777), MTime: min(max(0, h.ModTime.Unix()), erofs.MaxTime)}
	if h.Mode&^0o7777&^0o170000 != 0 {
		return refuseEntry(r.n, h.Name, "a mode of permission bits", fmt.Sprintf("%o", h.Mode))
	}
	switch h.Typeflag {
	case tar.TypeLink:
		to, why := clean(h.Linkname)
		if why != "" || to == "." {
			return refuseEntry(r.n, h.Name, "a hard link to a file of the image", "one to "+verdict.Short(h.Linkname)+": "+why)
		}
		if h.Size != 0 {
			return refuseEntry(r.n, h.Name, "a hard link without bytes of its own", fmt.Sprintf("%d bytes", h.Size))
		}
		r.layer.links = append(r.layer.links, item{path: path, link: to})
		return nil
	case tar.TypeReg:
		e.Mode |= erofs.Regular
	case tar.TypeDir:
		e.Mode |= erofs.Directory
	case tar.TypeSymlink:
		e.Mode, e.Target = erofs.Symlink|0o777, h.Linkname
		if h.Linkname == "" || len(h.Linkname) > erofs.MaxPath || strings.ContainsRune(h.Linkname, 0) {
			return refuseEntry(r.n, h.Name, "a symbolic link's target", "none, or one that can't be")
		}
	case tar.TypeFifo:
		e.Mode |= erofs.Pipe
	case tar.TypeChar, tar.TypeBlock:
		return r.device(h, path)
	default:
		return refuseEntry(r.n, h.Name, "files, directories, links and pipes", fmt.Sprintf("an entry of type %q", h.Typeflag))
	}
	if path == "." && h.Typeflag != tar.TypeDir {
		return refuseEntry(r.n, h.Name, "a root that is a directory", "another one")
	}
	if err := r.contents(h, &e, offset); err != nil {
		return err
	}
	r.lessen(h, path, &e)
	r.layer.items = append(r.layer.items, item{path: path, content: &content{entry: e}})
	return nil
}

// contents says where a file's bytes are.
func (r *reader) contents(h *tar.Header, e *erofs.Entry, offset int64) error {
	if h.Size < 0 || h.Size > 0 && h.Typeflag != tar.TypeReg || offset+h.Size > r.size {
		return refuseEntry(r.n, h.Name, "bytes that are in the layer, of a file", fmt.Sprintf("%d bytes", h.Size))
	}
	if e.Size = h.Size; h.Size > 0 {
		file := r.file
		e.Open = func() (io.Reader, error) { return io.NewSectionReader(file, offset, h.Size), nil }
	}
	return nil
}

// nobody is whom files belong to whose owner has no number in a room.
const nobody = 65534

// lessen leaves out what a room gives no effect to, and says so.
func (r *reader) lessen(h *tar.Header, path string, e *erofs.Entry) {
	if e.Type() == erofs.Regular && e.Mode&0o6000 != 0 {
		r.note(path, fmt.Sprintf("mode %04o became %04o: nothing in a room gains rights", e.Mode&0o7777, e.Mode&0o1777))
		e.Mode &^= 0o6000
	}
	if h.Uid < 0 || h.Uid > 65535 || h.Gid < 0 || h.Gid > 65535 {
		r.note(path, fmt.Sprintf("owner %d:%d became nobody where it is above 65535: a room has no such number", h.Uid, h.Gid))
		if h.Uid < 0 || h.Uid > 65535 {
			e.UID = nobody
		}
		if h.Gid < 0 || h.Gid > 65535 {
			e.GID = nobody
		}
	}
	for record := range h.PAXRecords {
		if name, found := strings.CutPrefix(record, "SCHILY.xattr."); found {
			r.note(path, "without its attribute "+verdict.Short(name)+": nothing in a room reads it")
		}
	}
}

// maxNotes bounds what is said of one image.
const maxNotes = 10000

func (r *reader) note(path, text string) {
	if len(*r.notes) < maxNotes {
		*r.notes = append(*r.notes, Note{path, text})
	} else if len(*r.notes) == maxNotes {
		*r.notes = append(*r.notes, Note{"~", "and more that is not written down"}) // sorts last
	}
}

// standard are the device nodes that every /dev has, by name and numbers.
func standard(path string, h *tar.Header) bool {
	numbers := map[string][2]int64{"dev/null": {1, 3}, "dev/zero": {1, 5}, "dev/full": {1, 7}, "dev/random": {1, 8}, "dev/urandom": {1, 9}, "dev/tty": {5, 0}, "dev/console": {5, 1}, "dev/ptmx": {5, 2}}
	want, found := numbers[path]
	return found && h.Typeflag == tar.TypeChar && want == [2]int64{h.Devmajor, h.Devminor}
}

func (r *reader) device(h *tar.Header, path string) error {
	if !standard(path, h) {
		return refuseEntry(r.n, h.Name, "no device nodes but the ordinary ones of /dev", fmt.Sprintf("device %d:%d", h.Devmajor, h.Devminor))
	}
	r.note(path, "left out: a room's /dev is its own")
	return nil
}
