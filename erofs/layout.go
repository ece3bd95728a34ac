package erofs

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
)

// Numbers of the format (fs/erofs/erofs_fs.h).
const (
	superOffset = 1024
	superSize   = 128
	superMagic  = 0xE0F5E1E2
	blockBits   = 12
	features    = 0x1 | 0x2 // compatible ones: a checksum, and times that are of modification

	inodeSize   = 64
	slotSize    = 32 // what inodes are counted in
	direntSize  = 12
	xattrHeader = 12 // before the attributes of an inode
	xattrEntry  = 4  // before the name of an attribute

	extended = 1 // in an inode's format
	plain    = 0 // layouts, from bit 1: all in blocks
	inline   = 2 // all behind the inode
)

// super is what the superblock says; all else in it is fixed.
type super struct {
	root   uint16
	inodes uint64
	blocks uint32
}

// encode gives the first block, in which nothing else stands.
func (s super) encode() []byte {
	block := make([]byte, BlockSize)
	b, le := block[superOffset:], binary.LittleEndian
	le.PutUint32(b, superMagic)
	le.PutUint32(b[8:], features)
	b[12] = blockBits
	le.PutUint16(b[14:], s.root)
	le.PutUint64(b[16:], s.inodes)
	le.PutUint32(b[36:], s.blocks)
	// The kernel's CRC-32C is not inverted at the end. It is of all that stands from here to the
	// end of the block, with zero where it goes.
	le.PutUint32(b[4:], ^crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return block
}

func decodeSuper(block []byte) super {
	b, le := block[superOffset:], binary.LittleEndian
	return super{root: le.Uint16(b[14:]), inodes: le.Uint64(b[16:]), blocks: le.Uint32(b[36:])}
}

// node is an inode as it stands on the disk.
type node struct {
	layout   byte
	xattrs   int // bytes behind the inode, before inline data
	mode     uint16
	size     int64
	block    uint32 // where plain data starts
	number   uint32
	uid, gid uint32
	mtime    int64
	links    uint32
}

func (n node) encode() []byte {
	b, le := make([]byte, inodeSize), binary.LittleEndian
	le.PutUint16(b, extended|uint16(n.layout)<<1)
	if n.xattrs > 0 {
		le.PutUint16(b[2:], uint16((n.xattrs-xattrHeader)/4+1))
	}
	le.PutUint16(b[4:], n.mode)
	le.PutUint64(b[8:], uint64(n.size))
	le.PutUint32(b[16:], n.block)
	le.PutUint32(b[20:], n.number)
	le.PutUint32(b[24:], n.uid)
	le.PutUint32(b[28:], n.gid)
	le.PutUint64(b[32:], uint64(n.mtime))
	le.PutUint32(b[44:], n.links)
	return b
}

// decodeNode reads an inode of 64 bytes; what is not as encode writes it gives false.
func decodeNode(b []byte) (n node, ok bool) {
	le := binary.LittleEndian
	format := le.Uint16(b)
	n = node{
		layout: byte(format >> 1),
		mode:   le.Uint16(b[4:]), size: int64(le.Uint64(b[8:])), block: le.Uint32(b[16:]), number: le.Uint32(b[20:]),
		uid: le.Uint32(b[24:]), gid: le.Uint32(b[28:]), mtime: int64(le.Uint64(b[32:])), links: le.Uint32(b[44:]),
	}
	if count := int(le.Uint16(b[2:])); count > 0 {
		n.xattrs = xattrHeader + 4*(count-1)
	}
	return n, string(n.encode()) == string(b) && (n.layout == plain || n.layout == inline)
}

// Types of directory entries.
const (
	direntRegular   = 1
	direntDirectory = 2
	direntPipe      = 5
	direntSymlink   = 7
)

func direntType(mode uint32) byte {
	switch mode & TypeBits {
	case Regular:
		return direntRegular
	case Directory:
		return direntDirectory
	case Pipe:
		return direntPipe
	}
	return direntSymlink
}

// dirent is an entry of a directory.
type dirent struct {
	name string
	nid  uint64
	kind byte
}

// fill says how many of the entries, which are sorted, go into one block, and how many bytes
// they take.
func fill(list []string) (count, bytes int) {
	for _, name := range list {
		if bytes+direntSize+len(name) > BlockSize {
			break
		}
		bytes += direntSize + len(name)
		count++
	}
	return count, bytes
}

// directorySize is the size of a directory with such names.
func directorySize(names []string) (size int64) {
	for {
		count, bytes := fill(names)
		if names = names[count:]; len(names) == 0 {
			return size + int64(bytes)
		}
		size += BlockSize
	}
}

// encodeBlock gives one block of a directory: the entries, then their names; it has no more
// bytes than these take.
func encodeBlock(list []dirent) []byte {
	out, at, le := make([]byte, 0, BlockSize), len(list)*direntSize, binary.LittleEndian
	for _, d := range list {
		out = le.AppendUint64(out, d.nid)
		out = le.AppendUint16(out, uint16(at))
		out = append(out, d.kind, 0)
		at += len(d.name)
	}
	for _, d := range list {
		out = append(out, d.name...)
	}
	return out
}

// prefixes are the beginnings of attributes' names that the format has a number for.
func prefixes() map[byte]string {
	return map[byte]string{1: "user.", 2: "system.posix_acl_access", 3: "system.posix_acl_default", 4: "trusted.", 6: "security."}
}

// encodeXattrs gives what stands behind an inode with such attributes, nothing for none; or
// says what is wrong with them.
func encodeXattrs(attributes map[string][]byte) (out []byte, why string) {
	if len(attributes) == 0 {
		return nil, ""
	}
	out = make([]byte, xattrHeader)
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		value := attributes[name]
		index, rest := splitName(name)
		if index == 0 || len(value) > MaxXattrs {
			return nil, "its attribute " + name + " is too long or of no namespace that file systems keep"
		}
		out = append(out, byte(len(rest)), index)
		out = binary.LittleEndian.AppendUint16(out, uint16(len(value)))
		out = append(append(out, rest...), value...)
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
	}
	if len(out) > MaxXattrs {
		return nil, "its attributes are too long"
	}
	return out, ""
}

// splitName gives the number of a name's beginning, and the rest; 0 where there is none.
func splitName(name string) (index byte, rest string) {
	for i, prefix := range prefixes() {
		rest, found := strings.CutPrefix(name, prefix)
		if whole := !strings.HasSuffix(prefix, "."); found && whole == (rest == "") && len(rest) <= MaxName && !strings.ContainsRune(rest, 0) {
			return i, rest
		}
	}
	return 0, ""
}

// decodeXattrs reads what encodeXattrs writes, and nothing else.
func decodeXattrs(b []byte) (map[string][]byte, bool) {
	if len(b) == 0 {
		return nil, true
	}
	out := map[string][]byte{}
	for rest := b[xattrHeader:]; len(rest) > 0; {
		if len(rest) < xattrEntry {
			return nil, false
		}
		name, value := int(rest[0]), int(binary.LittleEndian.Uint16(rest[2:]))
		prefix, found := prefixes()[rest[1]]
		end := xattrEntry + name + value
		if !found || end > len(rest) {
			return nil, false
		}
		out[prefix+string(rest[xattrEntry:xattrEntry+name])] = slices.Clone(rest[xattrEntry+name : end])
		rest = rest[min(len(rest), (end+3)&^3):]
	}
	again, why := encodeXattrs(out)
	return out, why == "" && string(again) == string(b)
}
