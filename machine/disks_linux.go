package machine

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// maxDisks is the most disks of one kind: descriptors of an agent end at 400 (spec/room.md,
// section 3).
const maxDisks = 190

// disk finds the virtio disk with a serial number below root, and gives its node's path.
// Two of one number are refused: the host can't have meant both.
func disk(root, serial string) (string, error) {
	paths, err := filepath.Glob(filepath.Join(root, "sys/block/vd*/serial"))
	if err != nil {
		return "", err
	}
	var found []string
	for _, path := range paths {
		if got, err := readShort("", path); err == nil && got == serial {
			found = append(found, filepath.Base(filepath.Dir(path)))
		}
	}
	switch len(found) {
	case 0:
		return "", fs.ErrNotExist
	case 1:
		return filepath.Join("/dev", found[0]), nil
	}
	return "", verdict.Refuse("machine.disk", "one disk with the serial number "+serial, fmt.Sprint(len(found)), "give each disk of the machine a number of its own")
}

// loaded are the engines, in memory, in the order of the configuration.
type loaded struct {
	programs []*os.File
	err      error
}

func loadEngines(engines []Engine) (l loaded) {
	for _, e := range engines {
		program, err := loadEngine(e)
		if err != nil {
			l.err = fmt.Errorf("engine %s: %w", e.Name, err)
			return l
		}
		l.programs = append(l.programs, program)
	}
	return l
}

// loadEngine copies an engine from its disk, through the kernel's check of every block, into
// a memory file, seals that, and compares what is in it with the configuration.
func loadEngine(e Engine) (*os.File, error) {
	path, err := disk("/", e.Disk)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, verdict.Refuse("machine.disk", "a virtio disk with the serial number "+e.Disk, "none", "start the machine with the disks of its image")
	}
	if err != nil {
		return nil, err
	}
	checked, err := mapped(e.Disk, verityTarget(path, e))
	if err != nil {
		return nil, refuseDisk(e, err)
	}
	defer unmapped(e.Disk) //nolint:errcheck // read-only: nothing is lost, and the machine ends
	src, err := os.Open(checked)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return program(src, e)
}

func refuseDisk(e Engine, err error) error {
	return verdict.Refuse("machine.disk", fmt.Sprintf("a disk %s that leads to the measured root %s", e.Disk, e.Root.Short()), err.Error(), "get the image's disk again: it is damaged, or of another image")
}

// program copies an engine and seals the copy.
func program(src io.Reader, e Engine) (*os.File, error) {
	fd, err := unix.MemfdCreate(string(e.Name), unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), string(e.Name))
	h := sha512.New384()
	if _, err := io.CopyBuffer(io.MultiWriter(onlyWriter{f}, h), io.LimitReader(src, e.Size), make([]byte, 1<<20)); err != nil {
		f.Close()
		return nil, refuseDisk(e, err)
	}
	if got := wire.Digest(h.Sum(nil)); got != e.Digest {
		f.Close()
		return nil, refuseDisk(e, fmt.Errorf("a program with the digest %s", got.Short()))
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// onlyWriter hides a file's other methods, so that copying goes through the buffer.
type onlyWriter struct{ io.Writer }

// openDisks opens the disks of one kind, numbered from 0 without a gap, read-only: sealed
// inputs ("input-N"), and what a container has besides ("disk-N"). What they hold is checked
// by the agent.
func openDisks(kind string) ([]*os.File, error) {
	var disks []*os.File
	for i := range maxDisks {
		path, err := disk("/", kind+"-"+strconv.Itoa(i))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		disks = append(disks, f)
	}
	return disks, nil
}
