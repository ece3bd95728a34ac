package volume

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"strongroom.dev/wire"
)

// RootOf gives the root of a directory tree: SHA-256 over all entries in the order of a walk
// (names of a directory by their bytes), each with path, type and permissions, owner, size,
// time of modification, extended attributes, the SHA-256 of its content or the text of its
// link, and the first of its names where it has several (spec/container.md, section 5.4). The
// times of access and of change are left out: reading changes them.
func RootOf(dir string) (root wire.Hash, err error) {
	sum := sha256.New()
	w := walk{buffer: make([]byte, 1<<20), names: map[file]string{}}
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
		fields, err := w.entry(path, name)
		if err != nil {
			return err
		}
		sum.Write(wire.Tuple("strongroom/volume-entry/v1", append([][]byte{[]byte(name)}, fields...)...))
		return nil
	})
	if err != nil {
		return root, broken("reading its content", err)
	}
	return wire.SHA256("strongroom/volume-root/v1", sum.Sum(nil)), nil
}

// file is what the kernel knows a file by, whatever its names.
type file struct{ device, inode uint64 }

// walk is what a walk remembers: only files with several names, which are few.
type walk struct {
	buffer []byte
	names  map[file]string // the first name of each
}

// first gives the name under which the walk met a file before, "" if it did not.
func (w *walk) first(st *unix.Stat_t, name string) string {
	if st.Nlink < 2 || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return ""
	}
	f := file{uint64(st.Dev), uint64(st.Ino)}
	before, met := w.names[f]
	if !met {
		w.names[f] = name
	}
	return before
}

func (w *walk) entry(path, name string) ([][]byte, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return nil, err
	}
	attributes, err := attributesOf(path)
	if err != nil {
		return nil, err
	}
	var body []byte
	size := uint64(0)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		size = uint64(st.Size)
		body, err = contentOf(path, w.buffer)
	case unix.S_IFLNK:
		var text string
		text, err = os.Readlink(path)
		body = []byte(text)
	}
	if err != nil {
		return nil, err
	}
	return [][]byte{wire.Uint64(uint64(st.Mode)), wire.Uint64(uint64(st.Uid)), wire.Uint64(uint64(st.Gid)), wire.Uint64(size),
		wire.Uint64(uint64(st.Mtim.Sec)), wire.Uint64(uint64(st.Mtim.Nsec)), attributes, body, []byte(w.first(&st, name))}, nil
}

func contentOf(path string, buffer []byte) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOATIME|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, buffer); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

const maxAttributes = 64 << 10 // bytes of names, and of one value: the kernel's own bound

// attributesOf gives a hash of the extended attributes, names sorted.
func attributesOf(path string) ([]byte, error) {
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
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		h.Write(wire.Tuple("strongroom/volume-attribute/v1", []byte(name), buffer[:n]))
	}
	return h.Sum(nil), nil
}
