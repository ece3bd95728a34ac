// Package durable writes files so that a crash at any moment leaves either the old file or
// the new one under its name, whole and on the disk, and never a part of one.
//
// It promises that when WriteFile, Commit or CommitNew return nil the file and its name
// survive loss of power (where the file system honours fsync), with exactly the mode asked
// for whatever the umask. It refuses names of directories, devices, pipes and sockets,
// which a rename would take the place of.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// ErrDone is what a [File] gives when it is used after Commit, CommitNew or Abort.
var ErrDone = errors.New("file was committed or aborted already")

// WriteFile replaces the file at path with data, atomically and durably. mode is the
// file's permission bits.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	f, err := Create(path, mode)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// WriteNew is [WriteFile] for a name that must not exist yet: if it does, nothing changes
// and the error is fs.ErrExist.
func WriteNew(path string, data []byte, mode fs.FileMode) error {
	f, err := Create(path, mode)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.CommitNew()
}

// File is a file being written under a temporary name beside its final one. It is not safe
// for concurrent use.
type File struct {
	path string
	temp *os.File // nil once committed or aborted
}

// Create starts a file that will stand at path once committed. Until then nothing is at
// path that was not there before. The caller defers [File.Abort].
func Create(path string, mode fs.FileMode) (*File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		what := "not a regular file"
		if info.IsDir() {
			what = "is a directory"
		}
		return nil, &fs.PathError{Op: "create", Path: path, Err: errors.New(what)}
	}
	// 0600 until the mode is set: os.CreateTemp promises it.
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return nil, err
	}
	if err := temp.Chmod(mode.Perm()); err != nil && runtime.GOOS != "windows" {
		temp.Close()
		os.Remove(temp.Name())
		return nil, err
	}
	return &File{path: path, temp: temp}, nil
}

// Write appends to the file.
func (f *File) Write(p []byte) (int, error) {
	if f.temp == nil {
		return 0, ErrDone
	}
	return f.temp.Write(p)
}

// Hole appends so many zeros, without taking room for them where the file system can do that.
func (f *File) Hole(n int64) error {
	if f.temp == nil {
		return ErrDone
	}
	if n < 0 {
		return fs.ErrInvalid
	}
	end, err := f.temp.Seek(n, io.SeekCurrent)
	if err != nil {
		return err
	}
	return f.temp.Truncate(end)
}

// ReadFrom lets io.Copy use the system's fast paths.
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	if f.temp == nil {
		return 0, ErrDone
	}
	return f.temp.ReadFrom(r)
}

// Commit makes the file durable and gives it its name, replacing what stood there. After
// an error nothing has changed under the name, except where making the name itself durable
// was what failed: then the new file may or may not be there after a crash.
func (f *File) Commit() error {
	return f.finish(func(temp string) error { return os.Rename(temp, f.path) })
}

// CommitNew is [File.Commit] for a name that must not exist: if it does, whoever made it,
// it stays and the error is fs.ErrExist.
func (f *File) CommitNew() error {
	return f.finish(func(temp string) error { return nameNew(temp, f.path) })
}

// MoveNew gives a whole file another name on the same file system, durably; the caller has
// made its content durable. If the name is taken, whoever made it, it stays and the error is
// fs.ErrExist.
func MoveNew(from, to string) error {
	if err := nameNew(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

func nameNew(temp, path string) error {
	// A hard link fails on an existing name without a race; rename would replace it.
	err := os.Link(temp, path)
	if err == nil {
		return os.Remove(temp)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	// A file system without hard links (FAT, some network shares): look, then rename.
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	return os.Rename(temp, path)
}

func (f *File) finish(name func(temp string) error) error {
	if f.temp == nil {
		return ErrDone
	}
	temp := f.temp
	f.temp = nil
	err := temp.Sync()
	if cerr := temp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = name(temp.Name())
	}
	if err != nil {
		os.Remove(temp.Name())
		return err
	}
	return SyncDir(filepath.Dir(f.path))
}

// Abort removes the temporary file. After Commit or CommitNew it does nothing.
func (f *File) Abort() {
	if f.temp == nil {
		return
	}
	f.temp.Close()
	os.Remove(f.temp.Name())
	f.temp = nil
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories can't be flushed there; NTFS journals names itself
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("making the names in %s durable: %w", dir, err)
	}
	return nil
}
