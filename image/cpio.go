package image

import (
	"bytes"
	"fmt"
	"strconv"

	"strongroom.dev/verdict"
)

// The modes of an initrd's members (inode(7)): directories; the first program; other files.
const (
	modeDirectory = 0o040755
	modeInit      = 0o100555
	modeFile      = 0o100444
)

// entry is one file of an initrd.
type entry struct {
	name string // without a slash in front
	data []byte
}

// writeCpio writes directories, then files, as the kernel unpacks them into its first file
// system: cpio's "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst).
// All times and owners are 0 and inodes count up, so that the bytes depend on the members alone.
func writeCpio(directories []string, files []entry) []byte {
	var out bytes.Buffer
	inode := 0
	for _, name := range directories {
		inode++
		writeMember(&out, inode, modeDirectory, 2, entry{name: name})
	}
	for _, e := range files {
		inode++
		mode := modeFile
		if e.name == "init" {
			mode = modeInit
		}
		writeMember(&out, inode, mode, 1, e)
	}
	writeMember(&out, 0, 0, 1, entry{name: trailer})
	return out.Bytes()
}

const trailer = "TRAILER!!!"

func writeMember(out *bytes.Buffer, inode, mode, links int, e entry) {
	// magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor,
	// rdevminor, namesize, check
	fmt.Fprintf(out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		inode, mode, 0, 0, links, 0, len(e.data), 0, 0, 0, 0, len(e.name)+1, 0)
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

// readCpio reads what [writeCpio] wrote with these directories, and nothing else: writing
// what was read gives the same bytes again.
func readCpio(data []byte, directories []string) ([]entry, error) {
	var files []entry
	for at, n := 0, 0; n <= maxMembers; n++ {
		e, next, err := readMember(data, at)
		if err != nil {
			return nil, err
		}
		at = next
		switch {
		case e.name == trailer:
			if !bytes.Equal(writeCpio(directories, files), data) {
				return nil, badInitrd("an initrd as image build writes it", "one with other modes, owners, times or order, or more bytes behind it")
			}
			return files, nil
		case n < len(directories):
			if e.name != directories[n] {
				return nil, badInitrd("the directory "+directories[n], verdict.Short(e.name))
			}
		default:
			files = append(files, e)
		}
	}
	return nil, badInitrd(fmt.Sprintf("at most %d members", maxMembers), "more")
}

// maxMembers bounds the members of an initrd.
const maxMembers = 256

// readMember reads the member that starts at a place, and gives the place behind it.
func readMember(data []byte, at int) (e entry, next int, err error) {
	const header = 110
	if len(data)-at < header || string(data[at:at+6]) != "070701" {
		return e, 0, badInitrd("a member of a cpio archive (newc)", "other bytes")
	}
	size, err1 := hexField(data, at, 6)
	named, err2 := hexField(data, at, 11)
	if err1 != nil || err2 != nil || named < 1 || named > 256 {
		return e, 0, badInitrd("a header of a cpio member", "a broken one")
	}
	start := align(int64(at)+header+named, 4)
	end := start + size
	if next := align(end, 4); next <= int64(len(data)) {
		return entry{string(data[at+header : int64(at)+header+named-1]), data[start:end]}, int(next), nil
	}
	return e, 0, badInitrd("whole cpio members", "a cut one")
}

// hexField reads field n of the header at a place: eight hexadecimal digits behind the magic.
func hexField(data []byte, at, n int) (int64, error) {
	v, err := strconv.ParseUint(string(data[at+6+8*n:at+14+8*n]), 16, 32)
	return int64(v), err
}

func badInitrd(expected, got string) error {
	return verdict.NotGenuine("image.initrd", expected, got, "build the image anew")
}
