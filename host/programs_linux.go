package host

import (
	"crypto/sha512"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
	"strongroom.dev/attest/dev"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Programs is a room image on the dev platform: sealed copies of agent and helpers in
// memory, and their measurements. What is measured is what is executed: nobody can change a
// sealed copy, and the files they came from don't matter any more.
type Programs struct {
	agent    *os.File
	helpers  map[wire.ID]*os.File
	names    []wire.ID // of helpers, sorted
	measured dev.Measurement
}

// Load copies and measures the programs at the paths given.
func Load(agent string, helpers map[wire.ID]string) (*Programs, error) {
	p := &Programs{helpers: map[wire.ID]*os.File{}, measured: dev.Measurement{Helpers: map[string]wire.Digest{}}}
	var err error
	if p.agent, p.measured.Agent, err = sealedCopy(agent); err != nil {
		return nil, err
	}
	for name, path := range helpers {
		f, digest, err := sealedCopy(path)
		if err != nil {
			p.Close()
			return nil, err
		}
		p.helpers[name], p.measured.Helpers[string(name)] = f, digest
		p.names = append(p.names, name)
	}
	slices.Sort(p.names)
	return p, nil
}

// Measurement gives what evidence will say of the image.
func (p *Programs) Measurement() dev.Measurement { return p.measured }

// Close frees the copies. Rooms that run keep theirs.
func (p *Programs) Close() {
	if p.agent != nil {
		p.agent.Close()
	}
	for _, f := range p.helpers {
		f.Close()
	}
}

// sealedCopy copies a program into a memory file, seals it, and measures the sealed bytes.
func sealedCopy(path string) (*os.File, wire.Digest, error) {
	src, err := os.Open(path)
	if err != nil {
		return nil, wire.Digest{}, verdict.Misuse("host.program", "a program of the room image", err.Error(), "make build puts all programs into one folder")
	}
	defer src.Close()
	fd, err := unix.MemfdCreate("strongroom-program", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL { // kernels before 6.3 make every memory file executable
		fd, err = unix.MemfdCreate("strongroom-program", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, wire.Digest{}, fmt.Errorf("making a memory file: %w", err)
	}
	f := os.NewFile(uintptr(fd), path)
	if _, err := io.Copy(f, src); err != nil {
		f.Close()
		return nil, wire.Digest{}, fmt.Errorf("copying %s: %w", path, err)
	}
	digest, err := sealAndMeasure(f)
	if err != nil {
		f.Close()
		return nil, wire.Digest{}, fmt.Errorf("sealing %s: %w", path, err)
	}
	return f, digest, nil
}

func sealAndMeasure(f *os.File) (digest wire.Digest, err error) {
	seals := unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return digest, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return digest, err
	}
	h := sha512.New384()
	if _, err := io.Copy(h, f); err != nil {
		return digest, err
	}
	return wire.Digest(h.Sum(nil)), nil
}
