package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/durable"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// lockName is the file whose lock keeps a second host off a folder of rooms.
const lockName = "lock"

// Own makes a folder of rooms, if need be, and keeps other hosts off it until release is called:
// one that starts later would take the rooms of the first for lost. The error is of kind Broken,
// check host.lock.
func Own(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, folderError(dir, err)
	}
	release, err = durable.Lock(filepath.Join(dir, lockName), 0)
	switch {
	case errors.Is(err, durable.ErrLocked):
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "host.lock", Where: dir, Expected: "to be the only host that keeps rooms there", Got: "another strongroom host serve does",
			Fix: "stop that one, or give this one another folder with --dir, and another home directory (--home) if it is to have roots of its own", Err: err}
	case err != nil:
		return nil, folderError(dir, err)
	}
	return release, nil
}

func folderError(dir string, err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "host.folder", Where: dir, Expected: "a folder for what rooms let out", Got: reason(err), Fix: "make it, or name another with --dir", Err: err}
}

// ResultSize is the most that the results of a work take on a disk, in bytes: for each receiver
// the largest output that the agreement allows, sealed, and its proof.
func ResultSize(a agreement.Agreement, work wire.ID) int64 {
	w, _ := a.WorkByName(work)
	output, _ := a.OutputByName(w.Output)
	// All results of an output have one size, a power of two (spec/result.md, section 2); age adds
	// 16 bytes to each 64 KiB, and a header of some KiB (age specification, Payload).
	size := int64(64 << 10)
	for size < 4<<10+output.MaxBytes {
		size *= 2
	}
	sealed := size + size>>12 + 64<<10
	return int64(len(output.Receivers)) * (sealed + wire.MaxDocument)
}

// CheckSpace refuses a directory on a disk that has not so many bytes left for this user. The error
// is of kind Broken, check host.space, and names no path: a caller of a host may read it. Where the
// system doesn't say how much is left it finds nothing wrong.
func CheckSpace(dir string, bytes int64) error {
	free, known := freeBytes(dir)
	if !known || free >= bytes {
		return nil
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "host.space", Expected: fmt.Sprintf("%d KiB free for the largest results that the agreement allows", (bytes+1023)>>10), Got: fmt.Sprintf("%d KiB", free>>10),
		Fix: "the host's operator must make room on its disk"}
}

// unkept says what kept a file that a room let out from being written. Who asked for the run reads
// it: it names no path.
func unkept(err error) error {
	var at *fs.PathError
	var link *os.LinkError
	got := ""
	switch {
	case errors.As(err, &at):
		got = at.Err.Error()
	case errors.As(err, &link):
		got = link.Err.Error()
	default:
		return err // of the room
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "host.results", Expected: "a place for what the room lets out", Got: got, Fix: "the host's operator must make room on its disk; the run is spent: sign a new request", Err: err}
}
