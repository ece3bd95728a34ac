// Package erofs writes and reads EROFS, the read-only file system of Linux
// (Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h of the kernel), in one plain
// form: blocks of 4,096 bytes, extended inodes, nothing compressed, nothing shared. The same
// entries, in whatever order they come, give the same bytes on every machine.
// Spec: spec/container-image.md, section The file system.
//
// It promises that no entry lies outside the tree or below anything but a directory, that no
// path stands twice, and that devices and sockets do not exist in it. Its reader takes only
// what its writer writes, never allocates by a size that the disk states, and ends on every
// input.
package erofs

import (
	"io"
	"strings"

	"strongroom.dev/verdict"
)

// BlockSize is the size of a block in bytes.
const BlockSize = 4096

// What a file system may hold.
const (
	MaxEntries = 4 << 20  // ten times what the largest images have
	MaxPath    = 4095     // bytes of a path or of a link's target, as in Linux
	MaxName    = 255      // bytes of one element of a path
	MaxBlocks  = 1 << 28  // 1 TiB, as an agreement has it
	MaxXattrs  = 16 << 10 // bytes of all extended attributes of one entry, encoded
	MaxTime    = 1 << 40  // seconds since 1970
)

// Types are the bits of Entry.Mode that say what an entry is, as in Linux.
const (
	TypeBits  = 0o170000
	Pipe      = 0o010000
	Directory = 0o040000
	Regular   = 0o100000
	Symlink   = 0o120000
)

// Entry is one entry of a tree.
type Entry struct {
	// Path is relative to the root, clean, with slashes; "." is the root itself.
	Path string
	// Mode is one of the types and permission bits, 0 to 07777.
	Mode     uint32
	UID, GID uint32
	// MTime is in seconds since 1970, 0 to MaxTime.
	MTime int64
	// Size of a regular file's content, in bytes; 0 of everything else.
	Size int64
	// Target of a symbolic link, whatever it points to.
	Target string
	// Xattrs are extended attributes by their whole names, such as "security.capability".
	Xattrs map[string][]byte
	// Link makes the entry another name of the regular file, symbolic link or pipe at this path,
	// which is no Link itself. Everything else but Path is then ignored, and is the file's when
	// read.
	Link string
	// Open gives a regular file's content, exactly Size bytes; nil where Size is 0.
	Open func() (io.Reader, error)
}

// Type gives the bits of Mode that say what the entry is.
func (e Entry) Type() uint32 { return e.Mode & TypeBits }

// check says what is wrong with an entry by itself; "" is nothing.
func (e Entry) check() string {
	if e.Path != "." {
		if why := BadPath(e.Path); why != "" {
			return why
		}
	}
	if e.Link != "" {
		if e.Path == "." {
			return "the root is a link"
		}
		return BadPath(e.Link)
	}
	switch t := e.Type(); {
	case t != Directory && t != Regular && t != Symlink && t != Pipe:
		return "it is a device, a socket or of no type"
	case e.Path == "." && t != Directory:
		return "the root is no directory"
	case e.Mode&^(TypeBits|0o7777) != 0:
		return "its mode has other bits than type and permissions"
	case e.MTime < 0 || e.MTime > MaxTime:
		return "its time can't be"
	case e.Size < 0 || e.Size > MaxBlocks*BlockSize || e.Size > 0 && t != Regular:
		return "its size can't be"
	case e.Size > 0 && e.Open == nil:
		return "it has no content"
	case t == Symlink:
		return badTarget(e.Target)
	case e.Target != "":
		return "it has a target and is no symbolic link"
	}
	return ""
}

// BadPath says what is wrong with the path of an entry that is not the root; "" is nothing.
func BadPath(path string) string {
	if path == "" || len(path) > MaxPath {
		return "its path is empty or too long"
	}
	for name := range strings.SplitSeq(path, "/") {
		if why := badName(name); why != "" {
			return why
		}
	}
	return ""
}

func badName(name string) string {
	switch {
	case name == "" || name == "." || name == "..":
		return "its path is not clean, relative and below the root"
	case len(name) > MaxName || strings.ContainsAny(name, "/\x00"):
		return "a name in its path is too long, or has a slash or a zero byte"
	}
	return ""
}

func badTarget(target string) string {
	if target == "" || len(target) > MaxPath || strings.ContainsRune(target, 0) {
		return "its target is empty, too long or has a zero byte"
	}
	return ""
}

func refuse(path, why string) error {
	return verdict.Refuse("erofs.entry", "entries that a file system can hold", "entry "+verdict.Short(path)+": "+why, "leave it out of the tree")
}

func invalid(why string) error {
	return verdict.NotGenuine("erofs.disk", "a file system as `strongroom container prepare` writes it", why, "prepare the image again, or find out who made this disk")
}

func invalidEntry(path, why string) error {
	return invalid("entry " + verdict.Short(path) + ": " + why)
}
