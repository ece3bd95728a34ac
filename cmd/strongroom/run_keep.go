package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"strongroom.dev/host"
	"strongroom.dev/verdict"
)

// machineSpace is what a room needs in the folder for temporary files beside its results: the
// firmware's variables, the software TPM's state and the machine's log.
const machineSpace = 16 << 20

// tempRoom refuses a folder for temporary files that a room can't be started in.
func tempRoom(bytes int64) error {
	dir := os.TempDir()
	const fix = "set TMPDIR to a directory on a disk with room"
	probe, err := os.CreateTemp(dir, "strongroom-*")
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		return &verdict.Error{Kind: verdict.Usage, Check: "TMPDIR", Where: dir, Expected: "a directory for temporary files", Got: systemReason(err), Fix: fix, Err: err}
	}
	if err := host.CheckSpace(dir, bytes+machineSpace); err != nil {
		e := *verdict.As(err)
		e.Check, e.Where, e.Fix = "TMPDIR", dir, fix
		return &e
	}
	return nil
}

// outSpace refuses a directory for results on a disk that has no room for them.
func outSpace(at string, bytes int64) error {
	err := host.CheckSpace(at, bytes)
	if err == nil {
		return nil
	}
	e := *verdict.As(err)
	e.Check, e.Where, e.Fix = "--out", at, "make room there, or choose another directory"
	return &e
}

// outError says why a result could not be written where it belongs.
func outError(path string, err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "--out", Where: path, Expected: "a place for the result", Got: systemReason(err), Fix: "make room there, or choose another directory", Err: err}
}

// systemReason is a system's error without the path, which stands elsewhere in the line.
func systemReason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return verdict.Short(err.Error())
}

// keep leaves what the room let out where it lies if it could not be put where it belongs, and says
// where: there is no second answer to a run.
func (s *localSite) keep(err error) error {
	if err == nil || verdict.As(err).Check != "--out" || s.room == nil {
		return err
	}
	e := *verdict.As(err)
	for _, name := range s.room.Files() {
		if strings.HasSuffix(name, ".age") {
			if s.folder != nil {
				s.folder.Keep() //nolint:errcheck // it stays anyway, until somebody sweeps it
				s.folder = nil
			}
			e.Fix = "make room there. The result and its proof lie in " + s.room.Dir() + " until you take them: " + s.app.self() + " open " + shellWord(filepath.Join(s.room.Dir(), name))
		}
	}
	return &e
}

// keep has nothing to do: a host keeps what its rooms let out.
func (remoteSite) keep(err error) error { return err }
