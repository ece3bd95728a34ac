package qemu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	folderPrefix = "strongroom-vm-"
	// folderLock is a file in a folder that its owner's process holds a lock on (flock(2)): the
	// kernel lets go of it when that process is gone, however it went.
	folderLock = "owner"
)

// folder is a machine's private folder. It goes with [folder.remove]; one whose process was
// killed stays until the next machine starts, which sweeps it.
type folder struct {
	path string
	lock *os.File
}

// newFolder makes a folder below parent, "" for the system's place, and sweeps those there that
// nobody owns any more.
func newFolder(parent string) (*folder, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	sweep(parent)
	for range 16 { // a sweep may come between a folder and its lock
		path, err := os.MkdirTemp(parent, folderPrefix)
		if err != nil {
			return nil, fmt.Errorf("making the machine's folder: %w", err)
		}
		lock, err := lockFolder(path, os.O_CREATE|os.O_EXCL)
		if err == nil {
			return &folder{path, lock}, nil
		}
		if err := os.RemoveAll(path); err != nil {
			return nil, err
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("locking the machine's folder: %w", err)
		}
	}
	return nil, fmt.Errorf("locking the machine's folder in %s: others are faster", parent)
}

// remove removes the folder, which holds nothing that matters any more.
func (f *folder) remove() error { return errors.Join(os.RemoveAll(f.path), f.lock.Close()) }

// lockFolder takes a folder's lock without waiting, if the file is still the folder's then.
func lockFolder(path string, flags int) (*os.File, error) {
	name := filepath.Join(path, folderLock)
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	held, err := f.Stat()
	if err == nil {
		var named os.FileInfo
		if named, err = os.Lstat(name); err == nil && (!os.SameFile(held, named) || !held.Mode().IsRegular()) {
			err = os.ErrNotExist
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweep removes machines' folders in parent that are this user's and whose process is gone, as
// far as it can: what it leaves only takes room.
func sweep(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(parent, e.Name())
		info, err := e.Info()
		if err != nil || !info.IsDir() || !strings.HasPrefix(e.Name(), folderPrefix) {
			continue
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Geteuid() {
			continue
		}
		lock, err := lockFolder(path, 0)
		if err != nil { // a folder without a lock is on its way, or no machine's
			continue
		}
		_ = os.RemoveAll(path)
		lock.Close()
	}
}
