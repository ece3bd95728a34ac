package erofs

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"strongroom.dev/verdict"
)

// Write writes a file system of these entries, whose order does not matter, and gives its
// size in blocks of BlockSize bytes. Every entry's parent must be among them; the root may
// be left out, and is then root's own with mode 0755. Each file is opened once, one after the
// other. Errors of entries are of kind Refused and name the entry.
func Write(w io.Writer, entries []Entry) (blocks int64, err error) {
	p, err := newPlan(entries)
	if err != nil {
		return 0, err
	}
	if err := p.place(); err != nil {
		return 0, err
	}
	out := &padder{w: bufio.NewWriterSize(w, 1<<20)}
	if err := p.write(out); err != nil {
		return 0, err
	}
	return p.blocks, out.w.Flush()
}

// Compare orders paths as a walk through the tree meets them: names bytewise, a directory
// before what is in it.
func Compare(a, b string) int {
	if a == "." || b == "." {
		return boolean(b == ".") - boolean(a == ".")
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return int(slash(a[i])) - int(slash(b[i]))
		}
	}
	return len(a) - len(b)
}

// slash puts the slash before every byte that a name may have.
func slash(c byte) byte {
	if c == '/' {
		return 0
	}
	return c
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// file is what will be an inode.
type file struct {
	Entry
	links  uint32
	xattrs []byte
	size   int64
	layout byte
	offset int64 // of its inode
	block  int64 // where its data starts, if plain
	// Of directories:
	parent   *file
	children []child
}

type child struct {
	name string
	file *file
}

func (f *file) nid() uint64 { return uint64(f.offset / slotSize) }

// plan is a file system before it is written: its inodes in the order in which a walk meets
// them first.
type plan struct {
	files  []*file
	blocks int64
}

func newPlan(entries []Entry) (*plan, error) {
	if len(entries) > MaxEntries {
		return nil, verdict.Refuse("erofs.entries", fmt.Sprintf("at most %d entries", MaxEntries), fmt.Sprint(len(entries)), "make the tree smaller")
	}
	sorted := slices.Clone(entries)
	if !slices.ContainsFunc(sorted, func(e Entry) bool { return e.Path == "." }) {
		sorted = append(sorted, Entry{Path: ".", Mode: Directory | 0o755})
	}
	slices.SortStableFunc(sorted, func(a, b Entry) int { return Compare(a.Path, b.Path) })
	files, err := filesOf(sorted)
	if err != nil {
		return nil, err
	}
	p := &plan{}
	for _, e := range sorted {
		if err := p.add(files, e); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// filesOf gives the entries that are no links, by their paths.
func filesOf(sorted []Entry) (map[string]*file, error) {
	files := make(map[string]*file, len(sorted))
	for i, e := range sorted {
		if why := e.check(); why != "" {
			return nil, refuse(e.Path, why)
		}
		if i > 0 && sorted[i-1].Path == e.Path {
			return nil, refuse(e.Path, "it stands there twice")
		}
		if e.Link != "" {
			continue
		}
		f := &file{Entry: e, size: e.Size}
		if e.Type() == Symlink {
			f.size = int64(len(e.Target))
		}
		var why string
		if f.xattrs, why = encodeXattrs(e.Xattrs); why != "" {
			return nil, refuse(e.Path, why)
		}
		files[e.Path] = f
	}
	return files, nil
}

// add puts an entry into its directory, and its file into the plan if this is its first name.
func (p *plan) add(files map[string]*file, e Entry) error {
	f := files[e.Path]
	if e.Link != "" {
		if f = files[e.Link]; f == nil || f.Type() == Directory {
			return refuse(e.Path, "it is a hard link to "+e.Link+", which is no file of this tree")
		}
	}
	if f.links == 0 {
		p.files = append(p.files, f)
	}
	if e.Path == "." {
		f.parent, f.links = f, 2
		return nil
	}
	dir := files[path.Dir(e.Path)]
	if dir == nil || dir.Type() != Directory {
		return refuse(e.Path, "what it lies in is no directory of this tree")
	}
	dir.children = append(dir.children, child{path.Base(e.Path), f})
	if f.links++; f.Type() == Directory {
		f.parent, f.links = dir, 2
		dir.links++
	}
	return nil
}

// names gives the names in a directory as they stand on the disk.
func (f *file) names() []string {
	names := []string{".", ".."}
	for _, c := range f.children {
		names = append(names, c.name)
	}
	slices.Sort(names)
	return names
}

// place finds the place of every inode and of its data.
func (p *plan) place() error {
	at := int64(BlockSize)
	for _, f := range p.files {
		if f.Type() == Directory {
			f.size = directorySize(f.names())
		}
		f.offset, at, f.layout = slot(at, len(f.xattrs), f.size)
	}
	p.blocks = roundUp(at, BlockSize) / BlockSize
	for _, f := range p.files {
		if f.layout == plain && f.size > 0 {
			f.block = p.blocks
			p.blocks += roundUp(f.size, BlockSize) / BlockSize
		}
		if p.blocks > MaxBlocks {
			return verdict.Refuse("erofs.size", fmt.Sprintf("at most %d bytes", int64(MaxBlocks)*BlockSize), "more, with entry "+verdict.Short(f.Path), "make the tree smaller")
		}
	}
	return nil
}

// slot gives where an inode stands that comes after what ends at an offset, where it ends with
// what is behind it, and its layout. Neither an inode nor inline data lies in two blocks;
// attributes may.
func slot(at int64, xattrs int, size int64) (offset, end int64, layout byte) {
	whole := int64(inodeSize + xattrs)
	together := int64(inodeSize)
	if size > 0 && size <= BlockSize-whole {
		whole += size
		together, layout = whole, inline
	}
	if at%BlockSize+together > BlockSize {
		at = roundUp(at, BlockSize)
	}
	return at, roundUp(at+whole, slotSize), layout
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

func (p *plan) write(w *padder) error {
	if _, err := w.Write(super{root: uint16(p.files[0].nid()), inodes: uint64(len(p.files)), blocks: uint32(p.blocks)}.encode()); err != nil {
		return err
	}
	for i, f := range p.files {
		if err := f.writeInode(w, uint32(i+1)); err != nil {
			return err
		}
	}
	for _, f := range p.files {
		if f.block == 0 {
			continue
		}
		if err := w.padTo(f.block * BlockSize); err != nil {
			return err
		}
		if err := f.writeData(w); err != nil {
			return err
		}
	}
	return w.padTo(p.blocks * BlockSize)
}

func (f *file) writeInode(w *padder, number uint32) error {
	if err := w.padTo(f.offset); err != nil {
		return err
	}
	n := node{layout: f.layout, xattrs: len(f.xattrs), mode: uint16(f.Mode), size: f.size, block: uint32(f.block), number: number,
		uid: f.UID, gid: f.GID, mtime: f.MTime, links: f.links}
	if _, err := w.Write(append(n.encode(), f.xattrs...)); err != nil || f.layout == plain {
		return err
	}
	return f.writeData(w)
}

func (f *file) writeData(w *padder) error {
	switch f.Type() {
	case Symlink:
		_, err := io.WriteString(w, f.Target)
		return err
	case Directory:
		return f.writeDirectory(w)
	}
	r, err := f.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close()
	}
	n, err := io.Copy(w, io.LimitReader(r, f.size))
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	if more, _ := io.ReadFull(r, make([]byte, 1)); n != f.size || more != 0 {
		return refuse(f.Path, fmt.Sprintf("its content is not of the %d bytes that were said", f.size))
	}
	return nil
}

func (f *file) writeDirectory(w *padder) error {
	entries := []dirent{{".", f.nid(), direntDirectory}, {"..", f.parent.nid(), direntDirectory}}
	for _, c := range f.children {
		entries = append(entries, dirent{c.name, c.file.nid(), direntType(c.file.Mode)})
	}
	slices.SortFunc(entries, func(a, b dirent) int { return strings.Compare(a.name, b.name) })
	for names := f.names(); len(names) > 0; {
		count, _ := fill(names)
		block := encodeBlock(entries[:count])
		names, entries = names[count:], entries[count:]
		if len(names) > 0 {
			block = append(block, make([]byte, BlockSize-len(block))...)
		}
		if _, err := w.Write(block); err != nil {
			return err
		}
	}
	return nil
}

// padder writes, and knows where it is.
type padder struct {
	w  *bufio.Writer
	at int64
}

func (p *padder) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.at += int64(n)
	return n, err
}

// padTo writes zeros up to an offset.
func (p *padder) padTo(offset int64) error {
	if offset < p.at {
		return fmt.Errorf("erofs: %d bytes written where %d belong", p.at, offset) // a defect of this package
	}
	_, err := io.CopyN(p, zeros{}, offset-p.at)
	return err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
