// Package home is a party's directory: its own descriptor and keys, the address book of the
// parties it knows, the agreements and dataset statements it keeps, and where its broker's
// state lies (docs/home.md).
//
// It promises that every file is written whole and durably with nobody else allowed to read
// it, that versions are never overwritten, and that what it returns as a party, agreement
// or statement has the form of one; signatures are checked where the method says so. It
// refuses a directory or a key that other users of the machine can read.
package home

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"strongroom.dev/internal/durable"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Home is a party's (or a host's) directory. It holds no state of its own: every method
// reads what is on the disk, so several programs can use one directory.
type Home struct{ dir string }

// Open takes an existing directory. It need not hold a party: a host has only a
// development root. The directory must be private to its owner.
func Open(dir string) (*Home, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, verdict.Misuse("home", "a party's directory at "+dir, "nothing there",
			"strongroom party init makes one; --home or STRONGROOM_HOME name another")
	}
	if err != nil {
		return nil, readError("home", err)
	}
	if !info.IsDir() {
		return nil, verdict.Misuse("home", "a directory at "+dir, "a file", "--home or STRONGROOM_HOME name another")
	}
	if err := private(dir, info); err != nil {
		return nil, err
	}
	return &Home{dir}, nil
}

// Create makes the directory if there is none, then opens it.
func Create(dir string) (*Home, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, verdict.Misuse("home", "a directory that can be made at "+dir, cause(err).Error(), "--home or STRONGROOM_HOME name another")
	}
	return Open(dir)
}

// Dir gives the directory's path.
func (h *Home) Dir() string { return h.dir }

// Path gives the path of something in the directory.
func (h *Home) Path(elem ...string) string {
	return filepath.Join(append([]string{h.dir}, elem...)...)
}

// BrokerState, BrokerLog and BrokerSocket are where the party's broker keeps its state and
// its own log, and where it listens for its owner's orders.
func (h *Home) BrokerState() string  { return h.Path("broker", "state.db") }
func (h *Home) BrokerLog() string    { return h.Path("broker", "log") }
func (h *Home) BrokerSocket() string { return h.Path("broker", "admin.sock") }

// private refuses a file or directory that anyone but its owner can reach.
func private(path string, info fs.FileInfo) error {
	if runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	mend := "chmod 600 " + verdict.ShellWord(path)
	if info.IsDir() {
		mend = "chmod 700 " + verdict.ShellWord(path)
	}
	return verdict.Refuse("home.permissions", "nobody but the owner may use "+path, fmt.Sprintf("mode %04o", info.Mode().Perm()), mend)
}

// read gives a file of ours, of at most MaxFile bytes.
func (h *Home) read(elem ...string) ([]byte, error) {
	path := h.Path(elem...)
	info, err := os.Stat(path)
	if err != nil {
		return nil, absent(err)
	}
	if !info.Mode().IsRegular() || info.Size() > MaxFile {
		return nil, verdict.Misuse("home.file", fmt.Sprintf("a file of at most %d bytes", MaxFile), path, "it was not written by strongroom; move it away")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, absent(err)
	}
	return data, nil
}

// absent keeps the error of a file that is not there, which callers ask for, as it is; any
// other becomes one line with a place.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return readError("home.file", err)
}

// readSecret is read for keys: the file must be private.
func (h *Home) readSecret(elem ...string) ([]byte, error) {
	path := h.Path(elem...)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, absent(err)
	}
	if !info.Mode().IsRegular() {
		return nil, verdict.Refuse("home.permissions", "a regular file at "+path, info.Mode().Type().String(), "put the key itself there")
	}
	if err := private(path, info); err != nil {
		return nil, err
	}
	return h.read(elem...)
}

// write puts a file in place, making its directory. Only new files are written if fresh.
func (h *Home) write(fresh bool, data []byte, elem ...string) error {
	path := h.Path(elem...)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return readError("home.write", err)
	}
	write := durable.WriteFile
	if fresh {
		write = durable.WriteNew
	}
	err := write(path, data, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if err != nil {
		return readError("home.write", err)
	}
	return nil
}

// files lists the names in one of the directories that end in .json; a missing directory
// is an empty one.
func (h *Home) files(elem ...string) ([]string, error) {
	entries, err := os.ReadDir(h.Path(elem...))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, readError("home", err)
	}
	var names []string
	for _, e := range entries {
		if n := e.Name(); filepath.Ext(n) == ".json" && n[0] != '.' && e.Type().IsRegular() {
			names = append(names, n)
		}
	}
	return names, nil
}

// hexName is how a file is named by digest: the digits alone.
func hexName(d wire.Digest) string { return d.String()[len("sha384:"):] + ".json" }

// cause leaves out the operation and path that an os error repeats.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// readError makes an error of the disk one line with a place. Another user's home is a wrong
// call, not a broken disk.
func readError(check string, err error) error {
	var p *fs.PathError
	if errors.Is(err, fs.ErrPermission) && errors.As(err, &p) {
		return &verdict.Error{Kind: verdict.Usage, Check: "home.permissions", Where: p.Path, Expected: "a file of your own, which you may " + deed(p.Op), Got: "permission denied",
			Fix: "be the user whom ls -ld shows as its owner, or name your own home with --home or STRONGROOM_HOME", Err: err}
	}
	e := &verdict.Error{Kind: verdict.Broken, Check: check, Expected: "a file that can be used", Got: cause(err).Error(), Fix: "look at the disk and the permissions", Err: err}
	if errors.As(err, &p) {
		e.Where = p.Path
	}
	return e
}

// deed says what an operation of the system is for.
func deed(op string) string {
	switch op {
	case "open", "read", "stat", "lstat":
		return "read"
	}
	return "write"
}

// damaged says that a file of ours does not read as what it should be.
func damaged(path, expected string, err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "home.file", Expected: expected, Got: verdict.Short(err.Error()), Where: path,
		Fix: "restore the file from a copy, or move it away", Err: err}
}

// Lock keeps every other writer of the directory out until the function it returns is
// called. It waits at most ten seconds. Methods that write take it themselves; holding it
// while calling them would wait for oneself.
func (h *Home) Lock() (unlock func(), err error) { return h.lock(10*time.Second, "lock") }

// LockDataset keeps other publishers of one dataset out, without waiting.
func (h *Home) LockDataset(name wire.ID) (unlock func(), err error) {
	if err := os.MkdirAll(h.Path("datasets", string(name)), 0o700); err != nil {
		return nil, readError("home.write", err)
	}
	return h.lock(0, "datasets", string(name), "lock")
}

func (h *Home) lock(patience time.Duration, elem ...string) (func(), error) {
	path := h.Path(elem...)
	unlock, err := durable.Lock(path, patience)
	if errors.Is(err, durable.ErrLocked) {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "home.lock", Expected: "to be the only writer", Got: "another strongroom is writing", Where: path, Fix: "wait for it to end", Err: err}
	}
	if err != nil {
		return nil, readError("home.lock", err)
	}
	return unlock, nil
}
