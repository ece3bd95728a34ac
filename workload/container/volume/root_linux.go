package volume

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"strongroom.dev/wire"
)

const (
	// unit is what contents are hashed in, bytes: units of zeros only are left out, so that a
	// file costs what is stored of it.
	unit = 4096
	// mostRead is how much is read at once, bytes.
	mostRead = 256 * unit
	// maxDepth bounds how deep directories lie in each other: each is remembered.
	maxDepth = 1 << 16
)

// RootOf gives the root of a directory tree: a hash over its directories' entries (names by
// their bytes), each with name, type and permissions, owner, size, time of modification,
// extended attributes, a hash of its content or the text of its link, and which entry was the
// first of the same file (spec/container.md, section 5.4). The times of access and of change
// are left out: reading changes them. It reads at most so many bytes of contents, none twice
// and none of holes, and ends with ctx.
func RootOf(ctx context.Context, dir string, most int64) (root wire.Hash, err error) {
	w := walk{ended: func() error { return context.Cause(ctx) }, left: most, buffer: make([]byte, mostRead), met: map[file]uint64{}}
	defer func() {
		if w.at != nil {
			w.at.Close()
		}
	}()
	top, err := w.tree(dir)
	if err != nil {
		return root, broken("reading its content", err)
	}
	return wire.SHA256("strongroom/volume-root/v1", top), nil
}

// file is what the kernel knows a file by, whatever its names.
type file struct{ device, inode uint64 }

func fileOf(st *unix.Stat_t) file { return file{uint64(st.Dev), uint64(st.Ino)} }

// walk goes through a tree by descriptors: no path is too long for it. It remembers the
// directories it is in, and files with several names, which are few.
type walk struct {
	ended   func() error
	left    int64 // bytes that may still be read
	buffer  []byte
	entries uint64          // met so far
	met     map[file]uint64 // the number of the first entry of each
	at      *os.File        // the directory it is in
	levels  []*level
}

// level is a directory that the walk is in.
type level struct {
	name  string
	st    unix.Stat_t
	attrs []byte
	names []string // that are left
	sum   hash.Hash
}

// tree gives the entry of a whole tree.
func (w *walk) tree(dir string) ([]byte, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := w.enter(os.NewFile(uintptr(fd), "."), ""); err != nil {
		return nil, err
	}
	for {
		if err := w.ended(); err != nil {
			return nil, err
		}
		l := w.levels[len(w.levels)-1]
		if len(l.names) > 0 {
			name := l.names[0]
			l.names = l.names[1:]
			if err := w.step(l, name); err != nil {
				return nil, err
			}
			continue
		}
		entry := entryOf(l.name, &l.st, l.attrs, l.sum.Sum(nil), 0)
		if w.levels = w.levels[:len(w.levels)-1]; len(w.levels) == 0 {
			return entry, nil
		}
		if err := w.leave(); err != nil {
			return nil, err
		}
		w.levels[len(w.levels)-1].sum.Write(entry)
	}
}

// enter goes into a directory that was opened, which is then the walk's.
func (w *walk) enter(dir *os.File, name string) (err error) {
	if w.at != nil {
		w.at.Close()
	}
	w.at = dir
	w.entries++
	if len(w.levels) == maxDepth {
		return fmt.Errorf("more than %d directories in each other", maxDepth)
	}
	l := &level{name: name, sum: sha256.New()}
	if err := unix.Fstat(int(dir.Fd()), &l.st); err != nil {
		return err
	}
	if l.attrs, err = attributesOf(dir, "."); err != nil {
		return err
	}
	if l.names, err = dir.Readdirnames(-1); err != nil {
		return err
	}
	slices.Sort(l.names)
	w.levels = append(w.levels, l)
	return nil
}

// leave goes back to the directory above, which must be the one that the walk came from.
func (w *walk) leave() error {
	up, err := open(w.at, "..", unix.O_DIRECTORY, &w.levels[len(w.levels)-1].st)
	if err != nil {
		return err
	}
	w.at.Close()
	w.at = up
	return nil
}

// step takes one entry of the directory that the walk is in.
func (w *walk) step(l *level, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(w.at.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		dir, err := open(w.at, name, unix.O_DIRECTORY, &st)
		if err != nil {
			return err
		}
		return w.enter(dir, name)
	}
	w.entries++
	attrs, err := attributesOf(w.at, name)
	if err != nil {
		return err
	}
	first := w.first(&st)
	var body []byte
	if first == 0 {
		if body, err = w.body(name, &st); err != nil {
			return err
		}
	}
	l.sum.Write(entryOf(name, &st, attrs, body, first))
	return nil
}

// first gives the number of the entry in which the walk met the file before, 0 if it did not.
func (w *walk) first(st *unix.Stat_t) uint64 {
	if st.Nlink < 2 {
		return 0
	}
	before := w.met[fileOf(st)]
	if before == 0 {
		w.met[fileOf(st)] = w.entries
	}
	return before
}

func entryOf(name string, st *unix.Stat_t, attrs, body []byte, first uint64) []byte {
	size := uint64(0)
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		size = uint64(st.Size)
	}
	return wire.Tuple("strongroom/volume-entry/v1", []byte(name), wire.Uint64(uint64(st.Mode)), wire.Uint64(uint64(st.Uid)), wire.Uint64(uint64(st.Gid)),
		wire.Uint64(size), wire.Uint64(uint64(st.Mtim.Sec)), wire.Uint64(uint64(st.Mtim.Nsec)), attrs, body, wire.Uint64(first))
}

func (w *walk) body(name string, st *unix.Stat_t) ([]byte, error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		f, err := open(w.at, name, unix.O_NONBLOCK, st)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return w.content(int(f.Fd()), st.Size)
	case unix.S_IFLNK:
		var text [unix.PathMax]byte
		n, err := unix.Readlinkat(int(w.at.Fd()), name, text[:])
		return text[:max(n, 0)], err
	}
	return nil, nil
}

// content gives the hash of a file's units that are not zeros, each behind its number.
func (w *walk) content(fd int, size int64) ([]byte, error) {
	h := sha256.New()
	for at := int64(0); at < size; {
		from, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if err == unix.ENXIO { // nothing but a hole
			break
		}
		if err != nil {
			return nil, err
		}
		to, err := unix.Seek(fd, from, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		at = from / unit * unit
		to = min((to+unit-1)/unit*unit, size)
		if to <= at {
			return nil, errChanged
		}
		for ; at < to; at += mostRead {
			if err := w.units(h, fd, at, w.buffer[:min(mostRead, to-at)]); err != nil {
				return nil, err
			}
		}
		at = (to + unit - 1) / unit * unit
	}
	return h.Sum(nil), nil
}

// units reads some units and hashes them.
func (w *walk) units(h hash.Hash, fd int, at int64, buffer []byte) error {
	if err := w.ended(); err != nil {
		return err
	}
	if w.left -= int64(len(buffer)); w.left < 0 {
		return errors.New("more content than a file system of the agreed bytes holds")
	}
	for got := 0; got < len(buffer); {
		n, err := unix.Pread(fd, buffer[got:], at+int64(got))
		if err != nil {
			return err
		}
		if n == 0 {
			return errChanged
		}
		got += n
	}
	var zeros [unit]byte
	for i := 0; i < len(buffer); i += unit {
		part := buffer[i:min(i+unit, len(buffer))]
		if bytes.Equal(part, zeros[:len(part)]) {
			continue
		}
		h.Write(wire.Uint64(uint64(at+int64(i)) / unit))
		h.Write(part)
	}
	return nil
}

// errChanged: nothing runs that may change a content while it is read.
var errChanged = errors.New("it changes while it is read")

// open opens an entry of a directory, which must be the file that was looked at.
func open(dir *os.File, name string, flags int, want *unix.Stat_t) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NOATIME|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "a file") // errors are told to hosts, names are not
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && (fileOf(&st) != fileOf(want) || st.Mode != want.Mode) {
		err = errChanged
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

const maxAttributes = 64 << 10 // bytes of names, and of one value: the kernel's own bound

// attributesOf gives a hash of the extended attributes of an entry of a directory, names
// sorted. The kernel has no call for those of a link by a descriptor but this path.
func attributesOf(dir *os.File, entry string) ([]byte, error) {
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), entry)
	var buffer [maxAttributes]byte
	n, err := unix.Llistxattr(path, buffer[:])
	if err == unix.ENOTSUP || err == nil && n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	names := strings.Split(strings.TrimSuffix(string(buffer[:n]), "\x00"), "\x00")
	slices.Sort(names)
	h := sha256.New()
	for _, name := range names {
		n, err := unix.Lgetxattr(path, name, buffer[:])
		if err != nil {
			return nil, fmt.Errorf("attributes: %w", err)
		}
		h.Write(wire.Tuple("strongroom/volume-attribute/v1", []byte(name), buffer[:n]))
	}
	return h.Sum(nil), nil
}
