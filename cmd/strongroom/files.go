package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"strongroom.dev/internal/durable"
	"strongroom.dev/internal/home"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// openHome gives the party's directory.
func (a *app) openHome() (*home.Home, error) { return home.Open(a.homeDir) }

// readDocument reads a whole small file, "-" meaning standard input. what says what it should be.
func (a *app) readDocument(path, what string) ([]byte, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(io.LimitReader(a.in, wire.MaxDocument+1))
	} else {
		f, ferr := a.openFile(path, what)
		if ferr != nil {
			return nil, ferr
		}
		defer f.Close()
		data, err = io.ReadAll(io.LimitReader(f, wire.MaxDocument+1))
	}
	switch {
	case err != nil:
		return nil, fileError(path, what, err)
	case len(data) > wire.MaxDocument:
		return nil, misfile(path, what, fmt.Sprintf("more than %d bytes", wire.MaxDocument), "name the right file")
	case len(bytes.TrimSpace(data)) == 0:
		return nil, misfile(path, what, "an empty file", "name the right file")
	}
	return data, nil
}

// openFile opens a file that the user named.
func (a *app) openFile(path, what string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(path, what, err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		f.Close()
		if isImage(path) {
			return nil, misfile(path, what, "the directory of a room image", imageCommands(path))
		}
		return nil, misfile(path, what, "a directory", "name the file")
	}
	return f, err
}

func misfile(path, what, got, fix string) error {
	return &verdict.Error{Kind: verdict.Usage, Check: "file", Where: path, Expected: what, Got: got, Fix: fix}
}

// fileError makes an error of the system about a file the user named one line.
func fileError(path, what string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return misfile(path, what, "no such file", "check the name")
	}
	if errors.Is(err, fs.ErrPermission) {
		return misfile(path, what, "permission denied", "ls -l "+path+" shows who may use it")
	}
	if errors.Is(err, fs.ErrExist) {
		return &verdict.Error{Kind: verdict.Usage, Check: "file", Where: path, Expected: "a name that is free", Got: "a file", Fix: "name another, or replace it with --force", Err: fs.ErrExist}
	}
	for _, wrong := range []struct {
		err error
		got string
	}{
		{syscall.ENOTDIR, "a file where a directory belongs"}, {syscall.EISDIR, "a directory"}, {syscall.EINVAL, "a name that can't be one"},
		{syscall.ENAMETOOLONG, "a name that is too long"}, {syscall.ELOOP, "links that go round in a circle"}, {syscall.EROFS, "a disk that can't be written to"},
	} {
		if errors.Is(err, wrong.err) {
			return misfile(path, what, wrong.got, "check the name")
		}
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "file", Where: path, Expected: what, Got: err.Error(), Fix: "look at the disk", Err: err}
}

// noListener makes the system's error about an address to listen at one line.
func noListener(flag string, err error) error {
	got := err
	var op *net.OpError
	if errors.As(err, &op) {
		got = op.Err
	}
	var call *os.SyscallError
	if errors.As(got, &call) {
		got = call.Err
	}
	return verdict.Misuse(flag, "a free address of this machine", verdict.Short(got.Error()), "choose another port; 0 finds one")
}

// inFile says in which file a document's error is.
func inFile(path string, err error) error {
	if err == nil {
		return nil
	}
	e := *verdict.As(err)
	if e.Where == "" {
		e.Where = path
	} else if !strings.HasPrefix(e.Where, path) {
		e.Where = path + ": " + e.Where
	}
	return &e
}

// saveFile writes a whole file under a name the user chose, "-" meaning standard output.
func (a *app) saveFile(path string, data []byte, mode fs.FileMode, force bool) error {
	if path == "-" {
		_, err := a.out.Write(data)
		return err
	}
	if err := free(path, force); err != nil {
		return err
	}
	write := durable.WriteNew
	if force {
		write = durable.WriteFile
	}
	if err := write(path, data, mode); err != nil {
		return placeError(path, err)
	}
	return nil
}

// placeError is fileError for a file that is to be made.
func placeError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return misfile(path, "a place to write to", "no such directory: "+filepath.Dir(path), "make it first, or name another place")
	}
	return fileError(path, "a place to write to", err)
}

// free refuses a name that is taken, and one of something that is no file.
func free(path string, force bool) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil
	case info.IsDir():
		return misfile(path, "a name for a file", "a directory", "name a file in it")
	case !info.Mode().IsRegular():
		return misfile(path, "a name for a file", "a device or pipe", "-o - writes to standard output")
	case !force:
		return fileError(path, "", fs.ErrExist)
	}
	return nil
}

// mayBecomeDir refuses a name that no directory can be made under, before anything is made.
func mayBecomeDir(path string) error {
	for at := filepath.Clean(path); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case err == nil && info.IsDir():
			return nil
		case err == nil:
			return fileError(path, "a directory to write to", syscall.ENOTDIR)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			return fileError(path, "a directory to write to", err)
		case at == filepath.Dir(at):
			return nil // making it says more
		}
	}
}

// createFile starts a file under a name the user chose, and tells at once if the name is taken.
func createFile(path string, mode fs.FileMode, force bool) (*durable.File, error) {
	if err := free(path, force); err != nil {
		return nil, err
	}
	f, err := durable.Create(path, mode)
	if err != nil {
		return nil, placeError(path, err)
	}
	return f, nil
}

// commitFile gives a file its name.
func commitFile(f *durable.File, path string, force bool) error {
	commit := f.CommitNew
	if force {
		commit = f.Commit
	}
	if err := commit(); err != nil {
		return placeError(path, err)
	}
	return nil
}

// noStdoutWithJSON refuses to mix a file's bytes with the one document on standard output.
func (a *app) noStdoutWithJSON(path string) error {
	if a.json && path == "-" {
		return verdict.Misuse("output", "a file name with --output json", "standard output", "give -o FILE")
	}
	return nil
}

// grouped shows a digest so that people can compare it aloud: groups of eight digits.
func grouped(d wire.Digest) string {
	digits := strings.TrimPrefix(d.String(), "sha384:")
	var b strings.Builder
	for i := 0; i < len(digits); i += 8 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(digits[i : i+8])
	}
	return b.String()
}
