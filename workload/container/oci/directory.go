package oci

import (
	"io"
	"io/fs"
	"os"
	"path"

	"strongroom.dev/erofs"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// DataSalt gives the salt of disks that hold no image: the same for all, so that the same
// files give the same root.
func DataSalt() wire.Hash { return wire.SHA256("strongroom/data-disk/v1") }

// ReadDirectory gives the entries of a directory as a data disk has them: all belong to one
// owner, files have mode 0644, or 0755 where their owner may execute them, directories 0755,
// times are zero, and a file with more than one name is several files. So the same files give
// the same disk on every machine. Symbolic links stay what they are, and are not followed.
// Devices, sockets and pipes are refused by name (disk.entry). Contents are read later, from
// root, which must stay open.
func ReadDirectory(root *os.Root, uid, gid uint32) (list []erofs.Entry, err error) {
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if len(list) == erofs.MaxEntries {
			return refuse("disk.entries", "fewer files and directories", "more than a disk holds", "make several disks")
		}
		e, err := directoryEntry(root, name, d)
		if err != nil {
			return err
		}
		e.UID, e.GID = uid, gid
		list = append(list, e)
		return nil
	})
	return list, err
}

func directoryEntry(root *os.Root, name string, d fs.DirEntry) (e erofs.Entry, err error) {
	e.Path = path.Clean(name)
	if why := erofs.BadPath(e.Path); why != "" && e.Path != "." {
		return e, refuse("disk.entry", "names that a disk can have", verdict.Short(name)+": "+why, "rename it")
	}
	switch d.Type() {
	case fs.ModeDir:
		e.Mode = erofs.Directory | 0o755
		return e, nil
	case fs.ModeSymlink:
		e.Mode = erofs.Symlink | 0o777
		e.Target, err = root.Readlink(name)
		return e, err
	case 0:
	default:
		return e, refuse("disk.entry", "files, directories and symbolic links", verdict.Short(name)+": "+kind(d.Type()), "leave it out")
	}
	info, err := d.Info()
	if err != nil {
		return e, err
	}
	e.Mode, e.Size = erofs.Regular|0o644, info.Size()
	if info.Mode()&0o100 != 0 {
		e.Mode = erofs.Regular | 0o755
	}
	if e.Size > 0 {
		e.Open = func() (io.Reader, error) { return root.Open(name) }
	}
	return e, nil
}

// kind names what no disk has.
func kind(t fs.FileMode) string {
	switch {
	case t&fs.ModeDevice != 0:
		return "a device"
	case t&fs.ModeSocket != 0:
		return "a socket"
	case t&fs.ModeNamedPipe != 0:
		return "a pipe"
	}
	return "something else"
}
