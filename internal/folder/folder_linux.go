// Package folder keeps private folders for temporary files that go when their process does,
// however it ends: one that was killed leaves its folder to the next process, which sweeps it.
package folder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// owner is a file in a folder that its process holds a lock on (flock(2)): the kernel lets go
// of it when that process is gone, however it went.
const owner = "owner"

// Folder is a process's private folder. The zero Folder is none.
type Folder struct {
	path string
	lock *os.File
}

// Path is where the folder is.
func (f *Folder) Path() string { return f.path }

// New makes a folder, whose name begins with prefix, below parent, "" for the system's place for
// temporary files, and sweeps those of that prefix there that nobody owns any more. Where the
// system has no such locks nothing is swept.
func New(parent, prefix string) (*Folder, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	sweep(parent, prefix)
	for range 16 { // a sweep may come between a folder and its lock
		path, err := os.MkdirTemp(parent, prefix)
		if err != nil {
			return nil, fmt.Errorf("making a folder: %w", err)
		}
		lock, err := lockFolder(path, os.O_CREATE|os.O_EXCL)
		if err == nil {
			return &Folder{path, lock}, nil
		}
		if err := os.RemoveAll(path); err != nil {
			return nil, err
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("locking a folder: %w", err)
		}
	}
	return nil, fmt.Errorf("locking a folder in %s: others are faster", parent)
}

// Keep leaves the folder to people: nothing sweeps it any more.
func (f *Folder) Keep() error {
	return errors.Join(os.Remove(filepath.Join(f.path, owner)), f.lock.Close())
}

// Remove removes the folder with all that it holds.
func (f *Folder) Remove() error { return errors.Join(os.RemoveAll(f.path), f.lock.Close()) }

// lockFolder takes a folder's lock without waiting, if the file is still the folder's then.
func lockFolder(path string, flags int) (*os.File, error) {
	name := filepath.Join(path, owner)
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

// sweep removes folders in parent that are this user's and whose process is gone, as far as it
// can: what it leaves only takes room.
func sweep(parent, prefix string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(parent, e.Name())
		info, err := e.Info()
		if err != nil || !info.IsDir() || !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		if by, ok := info.Sys().(*syscall.Stat_t); !ok || int(by.Uid) != os.Geteuid() {
			continue
		}
		lock, err := lockFolder(path, 0)
		if err != nil { // a folder without a lock is on its way, or nobody's
			continue
		}
		_ = os.RemoveAll(path)
		lock.Close()
	}
}
