package tree

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Owners says who entries belong to where not all users exist: nil, and each entry has its
// own owner.
type Owners func(uid, gid uint32) (int, int)

// Unpack makes the tree that r holds in an empty directory, open as root, and reads it to
// its end. It goes through no link and leaves no file system: openat2(2), Linux 5.6. Directories
// get their modes and times at the end. On an error what is there is not to be used.
func Unpack(r *Reader, root *os.File, owners Owners) error {
	u := &unpacker{root: root, owners: owners, parent: -1, buffer: make([]byte, 256<<10)}
	defer u.leave()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return u.finish()
		}
		if err != nil {
			return err
		}
		if err := u.add(e, r); err != nil {
			var entry *EntryError
			if errors.As(err, &entry) {
				return err
			}
			return fmt.Errorf("entry %q: %w", e.Path, err)
		}
	}
}

type unpacker struct {
	root   *os.File
	owners Owners
	// parent is the directory of the entries that come now, open at dir.
	parent int
	dir    string
	dirs   []Entry // whose modes and times are still to be set
	buffer []byte
}

func (u *unpacker) leave() {
	if u.parent >= 0 {
		unix.Close(u.parent)
		u.parent = -1
	}
}

// open resolves a path below the root without following anything.
func (u *unpacker) open(name string, flags uint64) (int, error) {
	return unix.Openat2(int(u.root.Fd()), name, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS})
}

// enter makes the parent of a path the current directory.
func (u *unpacker) enter(name string) error {
	dir := path.Dir(name)
	if u.parent >= 0 && u.dir == dir {
		return nil
	}
	u.leave()
	fd, err := u.open(dir, unix.O_PATH|unix.O_DIRECTORY)
	switch {
	case errors.Is(err, unix.ELOOP):
		return &EntryError{name, "it lies below a symbolic link"}
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return &EntryError{name, "no directory before it holds it"}
	case err != nil:
		return err
	}
	u.parent, u.dir = fd, dir
	return nil
}

func (u *unpacker) add(e Entry, content io.Reader) error {
	if e.Path == "." {
		u.dirs = append(u.dirs, e)
		return nil
	}
	if err := u.enter(e.Path); err != nil {
		return err
	}
	name := path.Base(e.Path)
	var err error
	switch e.Type {
	case Directory:
		err = unix.Mkdirat(u.parent, name, 0o700)
		u.dirs = append(u.dirs, e)
	case Regular:
		return u.regular(e, name, content)
	case Symlink:
		err = unix.Symlinkat(e.Target, u.parent, name)
	case Pipe:
		err = unix.Mknodat(u.parent, name, unix.S_IFIFO|0o600, 0)
	case Link:
		return u.link(e, name)
	}
	if errors.Is(err, unix.EEXIST) {
		return &EntryError{e.Path, "it stands twice"}
	}
	if err != nil || e.Type == Directory {
		return err
	}
	return u.own(e, u.parent, name)
}

// own sets owner, mode and time of what name is, a link itself and not its target.
func (u *unpacker) own(e Entry, dir int, name string) error {
	uid, gid := int(e.UID), int(e.GID)
	if u.owners != nil {
		uid, gid = u.owners(e.UID, e.GID)
	}
	if err := unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("its owner %d:%d: %w", uid, gid, err)
	}
	if e.Type != Symlink { // after the owner: chown(2) takes set-user-ID bits away
		if err := unix.Fchmodat(dir, name, e.Mode, 0); err != nil {
			return err
		}
	}
	at := unix.NsecToTimespec(0)
	at.Sec = e.MTime
	return unix.UtimesNanoAt(dir, name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}

func (u *unpacker) regular(e Entry, name string, content io.Reader) error {
	fd, err := unix.Openat(u.parent, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.EEXIST) {
		return &EntryError{e.Path, "it stands twice"}
	}
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), e.Path)
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{content}, u.buffer)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && n != e.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return u.own(e, u.parent, name)
}

// link gives an earlier entry another name. The target is opened without following anything,
// so that what gets the name is what stands at that path.
func (u *unpacker) link(e Entry, name string) error {
	fd, err := u.open(path.Dir(e.Target), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return &EntryError{e.Path, "nothing it could link to stands before it"}
	}
	defer unix.Close(fd)
	err = unix.Linkat(fd, path.Base(e.Target), u.parent, name, 0)
	switch {
	case errors.Is(err, unix.EEXIST):
		return &EntryError{e.Path, "it stands twice"}
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EPERM):
		return &EntryError{e.Path, "nothing it could link to stands before it"}
	}
	return err
}

// finish sets what directories could not have while they were filled, the deepest first.
func (u *unpacker) finish() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		e := u.dirs[i]
		dir, name := int(u.root.Fd()), "."
		if e.Path != "." {
			if err := u.enter(e.Path); err != nil {
				return err
			}
			dir, name = u.parent, path.Base(e.Path)
		}
		if err := u.own(e, dir, name); err != nil {
			return &EntryError{e.Path, err.Error()}
		}
	}
	return nil
}
