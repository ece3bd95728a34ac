package container

import (
	"context"
	"io"
	"os"
	"syscall"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/sandbox"
	"strongroom.dev/wire"
)

// Stream is a connection that can be ended one way.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Cell is a running cell: package sandbox's, see [Cells].
type Cell interface {
	// Dial connects to a port of the cell's loopback.
	Dial(ctx context.Context, port int) (Stream, error)
	// Accept gives the next connection that the cell's programs made to one of the addresses
	// that it listens on for the agent.
	Accept(ctx context.Context, address string) (Stream, error)
	// Output are standard output and error. They end only when the cell is killed.
	Output() (stdout, stderr io.Reader)
	Signal(syscall.Signal) error
	// Wait gives how the first process ended; everything else in the cell is then killed.
	Wait(ctx context.Context) (sandbox.Exit, error)
	// Restart starts it again after Wait, on the same root and mounts.
	Restart(ctx context.Context) error
	// Result gives the file "result" of the memory mount at path, after Wait.
	Result(ctx context.Context, path string, most int64) (*os.File, int64, error)
	Kill()
}

// Machine is what a plan runs on. Members without "nil" in their comment are required.
type Machine struct {
	// Cell starts a cell that was made ready.
	Cell func(ctx context.Context, c sandbox.Cell) (Cell, error)
	// Disk gives the host's descriptor of a disk: "image", or "mount-N" with N the index of
	// the mount in the agreement. It is checked block by block, and closed here.
	Disk func(name string) (*os.File, error)
	// Mounted gives a disk as a detached mount that the kernel checks (dm-verity), where the
	// machine has that; nil: disks are unpacked into memory. It refuses a disk that lacks one of
	// the places, with the check [device.MissingPlace].
	Mounted func(ctx context.Context, name string, disk agreement.VerityDisk, places []string) (*os.File, error)
	// Scratch gives an empty place on the host's disk, under a key of this room alone, as a
	// detached mount; nil: scratch lies in memory.
	Scratch func(ctx context.Context, name string, m agreement.Mount) (*os.File, error)
	// Volumes opens volumes; nil: a container with any is refused.
	Volumes *Volumes
	// Egress gives a byte stream to a far end of the agreement by its name; the host finds it.
	// nil: none.
	Egress func(ctx context.Context, name wire.ID) (Stream, error)
	// Mesh makes the attested exchange with a room of the agreement over a stream; nil: none.
	Mesh func(ctx context.Context, e agreement.Egress, s Stream) (Stream, error)
	// Now is the room's clock (R13).
	Now func() time.Time
	// Logs takes what the container printed, in pieces of at most LogPiece bytes: lines as the
	// Kubernetes CRI writes them (TIME STREAM F TEXT). It is never called twice at a time, nor
	// after the context of Start or Close has ended, which is its own; and not at all if the
	// agreement names no receivers.
	Logs func(ctx context.Context, piece Printed)
	// Event says what the host may know; see the constants named Event.
	Event func(name, text string)
}

// LogPiece is how many bytes of logs come together at most before they are handed over.
const LogPiece = 1 << 20

// The events.
const (
	EventStarted   = "container.started"
	EventRestarted = "container.restarted"
	EventImage     = "container.image"   // why an image was unpacked that could have been mounted
	EventScratch   = "container.scratch" // where scratch lies, if not on the host's disk
	EventVolume    = "container.volume"  // a volume's protection, and whether it was closed well
	EventEgress    = "container.egress"  // a connection to a far end that was refused
)

// Ending is how a container ended for good.
type Ending struct {
	sandbox.Exit
	Restarts int64
	// Stopped: it was told to, or the room's time was over.
	Stopped bool
}

// VolumeState says how a volume was opened and closed: what claims name.
type VolumeState struct {
	Path  string
	Input wire.ID // that holds its key
	// Protection is what keeps the host out: see package volume.
	Protection string
	Generation int64
	// Unclean: whoever had it last did not close it, so only its generation was checked.
	Unclean bool
	// Closed: the owner's broker knows its root.
	Closed bool
}
