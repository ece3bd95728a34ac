package machine

import (
	"encoding/binary"
	"fmt"
	"io"

	"strongroom.dev/verdict"
)

// The ext4 file systems that a machine makes (Documentation/filesystems/ext4 of the kernel):
// blocks of 4,096 bytes, 32,768 of them a group, each group with its own bitmaps and inodes, a
// journal in the first group. Nothing is left for the kernel to initialize, and no block that
// was not written is ever read: the device below has no valid tag for such.
const (
	ext4Block     = 4096
	ext4Group     = 8 * ext4Block
	ext4InodeSize = 256
	ext4PerInode  = 16 << 10 // bytes of disk for each inode
	ext4First     = 11       // the first inode that is nobody's by rule
	ext4Journal   = 8        // the journal's inode
	minExt4       = 32 << 20
	maxExt4       = 8 << 40 // block numbers have 32 bits here

	ext4DirMode  = 0o040755
	ext4FileMode = 0o100600
	ext4Extents  = 0x80000 // EXT4_EXTENTS_FL
)

// ext4Layout is where everything is.
type ext4Layout struct {
	blocks, groups, perGroup, tableBlocks, descBlocks uint32
	journal, journalAt, rootAt, dirAt                 uint32
	id                                                [16]byte
	seed                                              [16]byte
}

// newExt4 lays a file system of so many bytes out; a last group too small for its own tables
// is left out.
func newExt4(bytes int64, id, seed [16]byte) (l ext4Layout, err error) {
	if bytes < minExt4 || bytes > maxExt4 {
		return l, verdict.Refuse("machine.disk", fmt.Sprintf("a file system of %d to %d bytes", int64(minExt4), int64(maxExt4)), fmt.Sprint(bytes), "agree on another size")
	}
	l = ext4Layout{blocks: uint32(bytes / ext4Block), id: id, seed: seed}
	l.perGroup = min(ext4Group*ext4Block/ext4PerInode, (l.blocks*(ext4Block>>10)/(ext4PerInode>>10)+15)&^15)
	l.tableBlocks = l.perGroup * ext4InodeSize / ext4Block
	for {
		l.groups = (l.blocks + ext4Group - 1) / ext4Group
		l.descBlocks = (l.groups*32 + ext4Block - 1) / ext4Block
		last := l.blocks - (l.groups-1)*ext4Group
		if l.groups == 1 || last > l.overhead(l.groups-1)+64 {
			break
		}
		l.blocks -= last
	}
	l.journal = min(max(l.blocks/32, 1024), 16384)
	l.rootAt = l.overhead(0)
	l.dirAt = l.rootAt + 1
	l.journalAt = l.dirAt + 1
	return l, nil
}

// backup reports whether a group begins with a copy of the superblock (sparse_super).
func (l ext4Layout) backup(group uint32) bool {
	if group <= 1 {
		return true
	}
	for _, base := range []uint32{3, 5, 7} {
		n := base
		for n < group {
			n *= base
		}
		if n == group {
			return true
		}
	}
	return false
}

// tables gives the block where a group's bitmaps and inodes begin, from the group's first.
func (l ext4Layout) tables(group uint32) uint32 {
	if l.backup(group) {
		return 1 + l.descBlocks
	}
	return 0
}

// overhead is how many of a group's blocks its own tables take.
func (l ext4Layout) overhead(group uint32) uint32 { return l.tables(group) + 2 + l.tableBlocks }

// used is how many blocks from a group's first are in use.
func (l ext4Layout) used(group uint32) uint32 {
	if group == 0 {
		return l.journalAt + l.journal
	}
	return l.overhead(group)
}

func (l ext4Layout) size(group uint32) uint32 { return min(ext4Group, l.blocks-group*ext4Group) }

func (l ext4Layout) free() (blocks uint32) {
	for g := range l.groups {
		blocks += l.size(g) - l.used(g)
	}
	return blocks
}

// formatExt4 makes a file system with nothing in its root but an empty directory of mode 0700.
func formatExt4(w io.WriterAt, l ext4Layout, dir string) error {
	descriptors := l.descriptors()
	for g := range l.groups {
		if err := l.writeGroup(w, g, descriptors); err != nil {
			return err
		}
	}
	if err := l.writeInodes(w); err != nil {
		return err
	}
	for block, data := range map[uint32][]byte{
		l.rootAt: l.directory(2, 2, dir), l.dirAt: l.directory(ext4First, 2, ""), l.journalAt: l.journalHead(),
	} {
		if err := write(w, block, data); err != nil {
			return err
		}
	}
	return zero(w, l.journalAt+1, l.journal-1)
}

func write(w io.WriterAt, block uint32, data []byte) error {
	_, err := w.WriteAt(data, int64(block)*ext4Block)
	return err
}

// zero writes so many empty blocks.
func zero(w io.WriterAt, block, count uint32) error {
	const most = 256
	empty := make([]byte, most*ext4Block)
	for ; count > 0; count -= min(most, count) {
		if err := write(w, block, empty[:min(most, count)*ext4Block]); err != nil {
			return err
		}
		block += min(most, count)
	}
	return nil
}

// writeGroup writes a group's copy of the superblock, its bitmaps and its empty inodes.
func (l ext4Layout) writeGroup(w io.WriterAt, g uint32, descriptors []byte) error {
	first := g * ext4Group
	if l.backup(g) {
		super := make([]byte, ext4Block)
		at := 0
		if g == 0 {
			at = 1024
		}
		copy(super[at:], l.super(g))
		if err := write(w, first, super); err != nil {
			return err
		}
		if err := write(w, first+1, descriptors); err != nil {
			return err
		}
	}
	blocks := bitmap(l.used(g), l.size(g))
	inodes := bitmap(0, l.perGroup)
	if g == 0 {
		inodes = bitmap(ext4First, l.perGroup)
	}
	at := first + l.tables(g)
	if err := write(w, at, append(blocks, inodes...)); err != nil {
		return err
	}
	return zero(w, at+2, l.tableBlocks)
}

// bitmap gives a block in which the first of so many are in use, and those that do not exist.
func bitmap(used, exist uint32) []byte {
	b := make([]byte, ext4Block)
	for i := range uint32(8 * ext4Block) {
		if i < used || i >= exist {
			b[i/8] |= 1 << (i % 8)
		}
	}
	return b
}

// descriptors gives the table of groups.
func (l ext4Layout) descriptors() []byte {
	b := make([]byte, l.descBlocks*ext4Block)
	for g := range l.groups {
		d := b[g*32:]
		at := g*ext4Group + l.tables(g)
		le := binary.LittleEndian
		le.PutUint32(d[0:], at)
		le.PutUint32(d[4:], at+1)
		le.PutUint32(d[8:], at+2)
		le.PutUint16(d[12:], uint16(l.size(g)-l.used(g)))
		le.PutUint16(d[14:], uint16(l.perGroup))
		if g == 0 {
			le.PutUint16(d[14:], uint16(l.perGroup-ext4First))
			le.PutUint16(d[16:], 2) // directories
		}
	}
	return b
}

// super gives the superblock, as it stands in a group.
func (l ext4Layout) super(group uint32) []byte {
	b := make([]byte, 1024)
	le := binary.LittleEndian
	put := func(at int, v uint32) { le.PutUint32(b[at:], v) }
	short := func(at int, v uint16) { le.PutUint16(b[at:], v) }
	put(0, l.groups*l.perGroup)
	put(4, l.blocks)
	put(12, l.free())
	put(16, l.groups*l.perGroup-ext4First)
	put(24, 2) // blocks of 1024 << 2
	put(28, 2)
	put(32, ext4Group)
	put(36, ext4Group)
	put(40, l.perGroup)
	short(54, 0xffff) // mounts before a check: never
	short(56, 0xef53)
	short(58, 1) // clean
	short(60, 2) // read-only after an error
	put(76, 1)   // inodes of their own size
	put(84, ext4First)
	short(88, ext4InodeSize)
	short(90, uint16(group))
	put(92, 0x4|0x8|0x20)           // journal, extended attributes, indexed directories
	put(96, 0x2|0x40)               // types in directories, extents
	put(100, 0x1|0x2|0x8|0x20|0x40) // sparse superblocks, large and huge files, many links, larger inodes
	copy(b[104:], l.id[:])
	put(224, ext4Journal)
	copy(b[236:], l.seed[:])
	b[252] = 1 // half MD4
	b[253] = 1 // the journal's blocks are noted below
	short(254, 32)
	extents := l.extent(l.journalAt, l.journal)
	copy(b[268:], extents)
	put(268+64, l.journal*ext4Block)
	short(348, 32)
	short(350, 32)
	put(352, 2) // bytes are unsigned in hashes of names
	return b
}

// extent gives an inode's map of one run of blocks.
func (l ext4Layout) extent(block, count uint32) []byte {
	b := make([]byte, 60)
	le := binary.LittleEndian
	le.PutUint16(b[0:], 0xf30a)
	le.PutUint16(b[2:], 1)
	le.PutUint16(b[4:], 4)
	le.PutUint16(b[16:], uint16(count))
	le.PutUint32(b[20:], block)
	return b
}

// inode gives one inode, owned by user 0.
func (l ext4Layout) inode(mode, links uint16, block, count uint32) []byte {
	b := make([]byte, ext4InodeSize)
	le := binary.LittleEndian
	le.PutUint16(b[0:], mode)
	le.PutUint32(b[4:], count*ext4Block)
	le.PutUint16(b[26:], links)
	le.PutUint32(b[28:], count*(ext4Block/sector))
	le.PutUint32(b[32:], ext4Extents)
	copy(b[40:], l.extent(block, count))
	le.PutUint16(b[128:], 32)
	return b
}

// writeInodes writes the first group's inodes that are in use.
func (l ext4Layout) writeInodes(w io.WriterAt) error {
	table := make([]byte, ext4Block)
	place := func(n int, inode []byte) { copy(table[(n-1)*ext4InodeSize:], inode) }
	place(2, l.inode(ext4DirMode, 3, l.rootAt, 1))
	place(ext4Journal, l.inode(ext4FileMode, 1, l.journalAt, l.journal))
	place(ext4First, l.inode(0o040700, 2, l.dirAt, 1))
	return write(w, l.tables(0)+2, table)
}

// directory gives the block of a directory with at most one other in it.
func (l ext4Layout) directory(self, parent uint32, other string) []byte {
	b := make([]byte, ext4Block)
	le := binary.LittleEndian
	at := 0
	entry := func(inode uint32, name string, last bool) {
		size := (8 + len(name) + 3) &^ 3
		if last {
			size = ext4Block - at
		}
		le.PutUint32(b[at:], inode)
		le.PutUint16(b[at+4:], uint16(size))
		b[at+6], b[at+7] = byte(len(name)), 2
		copy(b[at+8:], name)
		at += size
	}
	entry(self, ".", false)
	entry(parent, "..", other == "")
	if other != "" {
		entry(ext4First, other, true)
	}
	return b
}

// journalHead gives the journal's first block (fs/jbd2: superblock version 2): an empty log.
func (l ext4Layout) journalHead() []byte {
	b := make([]byte, ext4Block)
	be := binary.BigEndian
	for i, v := range []uint32{0xc03b3998, 4, 0, ext4Block, l.journal, 1, 1, 0} {
		be.PutUint32(b[4*i:], v)
	}
	copy(b[48:], l.id[:])
	be.PutUint32(b[64:], 1) // users
	return b
}
