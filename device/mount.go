package device

import (
	"context"
	"errors"
	"io"
	"os"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Mounter is what a device is besides where its machine's kernel mounts the disks of containers:
// the first process of a virtual machine (spec/room.md, section 2.1). Mount is asked once the
// work has started, and gives a detached mount for a cell.
type Mounter interface {
	Mount(ctx context.Context, m Mount) (*os.File, error)
}

// MountKind says what keeps a disk as it was meant.
type MountKind string

// The kinds of mounts.
const (
	// VerityMount is a read-only disk whose blocks the kernel checks against an agreed root.
	VerityMount MountKind = "verity"
	// ScratchMount is an empty file system, encrypted and authenticated under a key that is made
	// for it, never leaves the kernel and ends with the machine.
	ScratchMount MountKind = "scratch"
	// VolumeMount is a file system that stays, encrypted and authenticated under a given key. An
	// empty disk gets one.
	VolumeMount MountKind = "volume"
)

// Mount says what to mount. Members that its kind does not name are empty.
type Mount struct {
	// Disk is the serial number of the disk: "disk-0" for the first of the start message.
	Disk string    `json:"disk"`
	Kind MountKind `json:"kind"`
	// Root, Salt and Blocks (of 4096 bytes) are a verity disk's.
	Root   wire.Hash `json:"root"`
	Salt   wire.Hash `json:"salt"`
	Blocks int64     `json:"blocks"`
	// Places are paths that must be on a verity disk: mounts of the container will cover them.
	Places []string `json:"places"`
	// Bytes is how large the file system of scratch and volumes is.
	Bytes int64 `json:"bytes"`
	// Key is a volume's, 32 bytes.
	Key wire.Bytes `json:"key"`
}

// MissingPlace is the check of the refusal of a verity disk that lacks one of the places.
const MissingPlace = "machine.place"

// mount answers a question for a mount. The file follows the answer.
func (s *server) mount(ctx context.Context, conn io.ReadWriter, body []byte) error {
	var file *os.File
	answer := func() (any, error) {
		m, err := s.askedMount(body)
		if err != nil {
			return nil, err
		}
		defer clear(m.Key)
		mounter, ok := s.d.(Mounter)
		if !ok {
			return nil, verdict.Refuse("device.mount", "a machine that mounts disks", "none", "a defect in the agent: report it")
		}
		file, err = mounter.Mount(ctx, m)
		return nothing{}, err
	}
	err := reply(conn, answer)
	clear(body)
	if file == nil {
		return err
	}
	defer file.Close()
	if err != nil {
		return err
	}
	return sendFile(conn, file)
}

func (s *server) askedMount(body []byte) (m Mount, err error) {
	if !s.separated || s.run.IsZero() {
		return m, outOfOrder("mount once the work has started", "before")
	}
	return m, read(body, &m)
}

// Mount implements [Mounter]. The client's connection must be a local stream socket.
func (c *Client) Mount(ctx context.Context, m Mount) (f *os.File, err error) {
	m.Key = nonNil(m.Key)
	m.Places = append([]string{}, m.Places...)
	defer clear(m.Key)
	err = c.ask(ctx, "mount", m, &nothing{}, func() (err error) {
		f, err = takeFile(c.conn)
		return err
	})
	return f, err
}

// errNoFile: the other end said that a file follows, and none did.
var errNoFile = errors.New("no file came with the answer")
