package image

import (
	"bytes"
	"fmt"
	"strconv"

	"strongroom.dev/verdict"
)

// The file types of cpio's mode field (inode(7)).
const (
	modeDir  = 0o040000
	modeFile = 0o100000
)

// entry is one member of an initrd.
type entry struct {
	name string // without a slash in front
	mode uint32 // type and permissions
	data []byte
}

func directory(name string) entry { return entry{name, modeDir | 0o755, nil} }

// writeCpio writes members as the kernel unpacks them into its first file system: cpio's
// "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst). All times and
// owners are 0 and inodes count up, so that the bytes depend on the members alone.
func writeCpio(entries []entry) []byte {
	var out bytes.Buffer
	for i, e := range entries {
		links := 1
		if e.mode&modeDir != 0 {
			links = 2
		}
		writeMember(&out, i+1, links, e)
	}
	writeMember(&out, 0, 1, entry{name: trailer})
	return out.Bytes()
}

const trailer = "TRAILER!!!"

func writeMember(out *bytes.Buffer, inode, links int, e entry) {
	// magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor,
	// rdevminor, namesize, check
	fmt.Fprintf(out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		inode, e.mode, 0, 0, links, 0, len(e.data), 0, 0, 0, 0, len(e.name)+1, 0)
	out.WriteString(e.name)
	out.WriteByte(0)
	pad(out)
	out.Write(e.data)
	pad(out)
}

func pad(out *bytes.Buffer) {
	for out.Len()%4 != 0 {
		out.WriteByte(0)
	}
}

// readCpio reads what [writeCpio] wrote: the members up to the trailer, nothing behind it.
func readCpio(data []byte) ([]entry, error) {
	const header = 110
	var out []entry
	for at := 0; len(out) < maxEntries; {
		if len(data)-at < header || string(data[at:at+6]) != "070701" {
			return nil, badInitrd("a member of a cpio archive (newc)", "other bytes")
		}
		mode, err1 := hexField(data, at, 1)
		size, err2 := hexField(data, at, 6)
		named, err3 := hexField(data, at, 11)
		if err1 != nil || err2 != nil || err3 != nil || named < 1 || named > 256 {
			return nil, badInitrd("a header of a cpio member", "a broken one")
		}
		start := (at + header + int(named) + 3) &^ 3
		end := start + int(size)
		if end > len(data) {
			return nil, badInitrd("whole cpio members", "a cut one")
		}
		name := string(data[at+header : at+header+int(named)-1])
		at = (end + 3) &^ 3
		if name == trailer {
			if at != len(data) {
				return nil, badInitrd("nothing behind the cpio archive", "more bytes")
			}
			return out, nil
		}
		out = append(out, entry{name, uint32(mode), data[start:end]})
	}
	return nil, badInitrd(fmt.Sprintf("at most %d members", maxEntries), "more")
}

// hexField reads field n of the header at a place: eight hexadecimal digits behind the magic.
func hexField(data []byte, at, n int) (uint64, error) {
	return strconv.ParseUint(string(data[at+6+8*n:at+14+8*n]), 16, 32)
}

func badInitrd(expected, got string) error {
	return verdict.NotGenuine("image.initrd", expected, got, "build the image anew")
}
