package erofs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// FS is a file system that can be walked. It reads from its disk as it goes; the disk's own
// errors, such as those of package verity, are given as they are.
type FS struct {
	disk   io.ReaderAt
	super  super
	blocks int64
}

// Read reads what a disk of size bytes says of itself. Errors are of kind Invalid.
func Read(disk io.ReaderAt, size int64) (*FS, error) {
	if size < 2*BlockSize || size > MaxBlocks*BlockSize {
		return nil, invalid(fmt.Sprintf("a disk of %d bytes", size))
	}
	block := make([]byte, BlockSize)
	if err := readFull(disk, block, 0); err != nil {
		return nil, err
	}
	s := decodeSuper(block)
	if !bytes.Equal(s.encode(), block) {
		return nil, invalid("another first block")
	}
	if int64(s.blocks) < 2 || int64(s.blocks)*BlockSize > size {
		return nil, invalid(fmt.Sprintf("%d blocks on a disk of %d bytes", s.blocks, size))
	}
	return &FS{disk, s, int64(s.blocks)}, nil
}

// Size is the size of the file system in bytes, at most its disk's.
func (fs *FS) Size() int64 { return fs.blocks * BlockSize }

// readFull reads all of b; a disk that ends early is none of ours.
func readFull(disk io.ReaderAt, b []byte, offset int64) error {
	n, err := disk.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case err == io.EOF || err == nil:
		return invalid("a disk that ends early")
	}
	return err
}

// Walk gives every entry, each directory before what is in it and names in order of their
// bytes, until yield gives an error. The first name of a file with several is the file, the
// others are Links to it. Errors of the file system are of kind Invalid and name the entry;
// what was given before one is not to be used.
func (fs *FS) Walk(yield func(Entry) error) error {
	w := &walker{fs: fs, yield: yield, names: map[uint64]*name{}, at: BlockSize}
	root := uint64(fs.super.root)
	if err := w.visit(dirent{".", root, direntDirectory}, ".", root); err != nil {
		return err
	}
	return w.end()
}

// name is the first name of a file, and how many more are to come.
type name struct {
	path string
	left uint32
}

type walker struct {
	fs      *FS
	yield   func(Entry) error
	names   map[uint64]*name
	left    int64 // names that are to come
	entries int
	at      int64 // where the inodes that were met end
	// first and next are where plain data starts and where the next file's must; 0: none was met.
	first, next int64
}

// end checks that everything that inodes say of each other was so.
func (w *walker) end() error {
	if w.left != 0 {
		return invalid("files that say of more names than they have")
	}
	if uint64(len(w.names)) != w.fs.super.inodes {
		return invalid(fmt.Sprintf("%d inodes where %d are said", len(w.names), w.fs.super.inodes))
	}
	metadata := roundUp(w.at, BlockSize) / BlockSize
	if w.next == 0 {
		w.first, w.next = metadata, metadata
	}
	if w.first != metadata || w.next != w.fs.blocks {
		return invalid("space that belongs to nothing")
	}
	return nil
}

// inode is a node with where it stands.
type inode struct {
	node
	nid    uint64
	offset int64 // of its data
}

// visit gives an entry, and what is in it.
func (w *walker) visit(d dirent, path string, parent uint64) error {
	if w.entries++; w.entries > MaxEntries || len(path) > MaxPath {
		return invalidEntry(path, "too many entries, or too long a path")
	}
	if first := w.names[d.nid]; first != nil {
		if first.left == 0 || d.kind == direntDirectory {
			return invalidEntry(path, "a file that was met before")
		}
		first.left--
		w.left--
		return w.again(d, path, first.path)
	}
	n, attributes, err := w.fs.inode(d.nid, path)
	if err != nil {
		return err
	}
	if direntType(uint32(n.mode)) != d.kind || uint64(n.number) != uint64(len(w.names)+1) {
		return invalidEntry(path, "an inode that is not as its directory says")
	}
	e, err := w.entry(n, attributes, path)
	if err != nil {
		return err
	}
	w.names[d.nid] = &name{path: path}
	if d.kind != direntDirectory {
		w.names[d.nid].left = n.links - 1
		w.left += int64(n.links - 1)
		return w.yield(e)
	}
	if err := w.yield(e); err != nil {
		return err
	}
	return w.directory(n, path, parent)
}

// again gives another name of a file.
func (w *walker) again(d dirent, path, first string) error {
	n, attributes, err := w.fs.inode(d.nid, path)
	if err != nil {
		return err
	}
	if direntType(uint32(n.mode)) != d.kind {
		return invalidEntry(path, "an inode that is not as its directory says")
	}
	e, err := w.fs.entryOf(n, attributes, path)
	e.Link = first
	if err != nil {
		return err
	}
	return w.yield(e)
}

// inode reads an inode and its attributes.
func (fs *FS) inode(nid uint64, path string) (n inode, attributes map[string][]byte, err error) {
	if nid < BlockSize/slotSize || nid > uint64(fs.Size()-inodeSize)/slotSize {
		return n, nil, invalidEntry(path, "an inode outside the disk")
	}
	at := int64(nid) * slotSize
	if at%BlockSize > BlockSize-inodeSize {
		return n, nil, invalidEntry(path, "an inode in two blocks")
	}
	b := make([]byte, inodeSize)
	if err := readFull(fs.disk, b, at); err != nil {
		return n, nil, err
	}
	var ok bool
	if n.node, ok = decodeNode(b); !ok {
		return n, nil, invalidEntry(path, "an inode of another form")
	}
	n.nid, n.offset = nid, at+inodeSize+int64(n.xattrs)
	if n.xattrs > MaxXattrs || n.offset > fs.Size() {
		return n, nil, invalidEntry(path, "attributes that are too long")
	}
	b = make([]byte, n.xattrs)
	if err := readFull(fs.disk, b, at+inodeSize); err != nil {
		return n, nil, err
	}
	if attributes, ok = decodeXattrs(b); !ok {
		return n, nil, invalidEntry(path, "attributes of another form")
	}
	return n, attributes, fs.checkPlace(&n, path)
}

// checkPlace finds where an inode's data is, all of which must lie on the disk.
func (fs *FS) checkPlace(n *inode, path string) error {
	if n.size < 0 || n.size > fs.Size() {
		return invalidEntry(path, "a size that can't be")
	}
	if n.layout == plain {
		n.offset = int64(n.block) * BlockSize
	}
	if n.offset+n.size > fs.Size() {
		return invalidEntry(path, "data outside the disk")
	}
	return nil
}

// entry gives the entry of an inode that is met first. Inodes and their data stand one behind
// the other in the order of the walk: so no two share anything, and a tree has one disk.
func (w *walker) entry(n inode, attributes map[string][]byte, path string) (Entry, error) {
	offset, end, layout := slot(w.at, n.xattrs, n.size)
	if offset != int64(n.nid)*slotSize || layout != n.layout {
		return Entry{}, invalidEntry(path, "an inode in another place")
	}
	w.at = end
	if n.layout == plain && n.size > 0 {
		if w.next == 0 {
			w.first, w.next = int64(n.block), int64(n.block)
		}
		if int64(n.block) != w.next {
			return Entry{}, invalidEntry(path, "data in another place")
		}
		w.next += roundUp(n.size, BlockSize) / BlockSize
	} else if n.block != 0 {
		return Entry{}, invalidEntry(path, "data in another place")
	}
	if n.links == 0 || n.links > MaxEntries {
		return Entry{}, invalidEntry(path, "a number of names that can't be")
	}
	return w.fs.entryOf(n, attributes, path)
}

func (fs *FS) entryOf(n inode, attributes map[string][]byte, path string) (Entry, error) {
	e := Entry{Path: path, Mode: uint32(n.mode), UID: n.uid, GID: n.gid, MTime: n.mtime, Xattrs: attributes}
	switch e.Type() {
	case Regular:
		e.Size = n.size
		e.Open = func() (io.Reader, error) { return io.NewSectionReader(fs.disk, n.offset, n.size), nil }
	case Symlink:
		b := make([]byte, min(n.size, MaxPath+1)) // longer is refused
		if err := readFull(fs.disk, b, n.offset); err != nil {
			return e, err
		}
		e.Target = string(b)
	case Pipe:
		if n.size != 0 {
			return e, invalidEntry(path, "a pipe with content")
		}
	}
	if why := e.check(); why != "" {
		return e, invalidEntry(path, why)
	}
	return e, nil
}

// directory gives what is in a directory.
func (w *walker) directory(n inode, path string, parent uint64) error {
	last, links := "", uint32(0)
	for at := int64(0); at < n.size || at == 0; at += BlockSize {
		b := make([]byte, min(BlockSize, max(0, n.size-at)))
		if err := readFull(w.fs.disk, b, n.offset+at); err != nil {
			return err
		}
		list, ok := decodeBlock(b, at+BlockSize >= n.size)
		if !ok {
			return invalidEntry(path, "a directory of another form")
		}
		for _, d := range list {
			if d.name <= last {
				return invalidEntry(path, "a directory out of order")
			}
			last = d.name
			if d.kind == direntDirectory {
				links++
			}
			if err := w.member(d, n, path, parent); err != nil {
				return err
			}
		}
	}
	if links != n.links || links < 2 {
		return invalidEntry(path, "a directory that says of more or fewer than it has")
	}
	return nil
}

func (w *walker) member(d dirent, dir inode, path string, parent uint64) error {
	if d.name == "." || d.name == ".." {
		want := dir.nid
		if d.name == ".." {
			want = parent
		}
		if d.kind != direntDirectory || d.nid != want {
			return invalidEntry(path, "a directory with another "+d.name)
		}
		return nil
	}
	if why := badName(d.name); why != "" {
		return invalidEntry(path, "in it: "+why)
	}
	below := d.name
	if path != "." {
		below = path + "/" + d.name
	}
	return w.visit(d, below, dir.nid)
}

// decodeBlock reads one block of a directory, behind whose names only one that is not the
// last has padding; what encodeBlock does not write gives false.
func decodeBlock(b []byte, last bool) (list []dirent, ok bool) {
	if len(b) < direntSize {
		return nil, false
	}
	le := binary.LittleEndian
	names := int(le.Uint16(b[8:]))
	count := names / direntSize
	if names > len(b) || names == 0 || names%direntSize != 0 {
		return nil, false
	}
	for i := range count {
		e := b[i*direntSize:]
		from, to := int(le.Uint16(e[8:])), len(b)
		if i+1 < count {
			to = int(le.Uint16(e[direntSize+8:]))
		}
		if from > to || to > len(b) {
			return nil, false
		}
		name := b[from:to]
		if i+1 == count && !last {
			name = bytes.TrimRight(name, "\x00")
		}
		list = append(list, dirent{string(name), le.Uint64(e), e[10]})
	}
	again := encodeBlock(list)
	if !last {
		again = append(again, make([]byte, max(0, len(b)-len(again)))...)
	}
	return list, bytes.Equal(again, b)
}
