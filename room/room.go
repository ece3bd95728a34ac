// Package room is what happens inside: it takes an agreement, a signed request and sealed
// inputs from an untrusted host, checks all of them, asks every owner's broker for keys,
// runs the agreed work in a sandbox of its own, and lets out sealed results, a record and
// the proof of both (spec/room.md, spec/result.md).
//
// It promises that no broker is asked before everything that can be checked has been; that
// work starts only with the keys of all inputs, and ends with the first lease that lapses
// (R12, R13); that nothing leaves without the word of every owner's broker about this very
// plaintext (R14); and that after the first input is decrypted nobody but that data's owner
// learns why a run failed (R19). It keeps nothing: a room serves one run and ends.
package room

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"strongroom.dev/device"
	"strongroom.dev/sandbox"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/sql"
)

// Config is what a room stands on. All members but Lacks and Containers are required: the zero Config
// refuses.
type Config struct {
	// Lacks are the sandbox layers that the kernel denied.
	Lacks []sandbox.Lack
	// Device makes evidence of the machine.
	Device device.Device
	// Ask makes one call to a broker or ledger ("broker/alpha", "/v1/release") by way of the
	// host, which may answer what it likes. limit bounds the answer in bytes.
	Ask func(ctx context.Context, stream, path string, body []byte, limit int) ([]byte, error)
	// Tell sends an event to the host, and File a finished file.
	Tell func(Event) error
	File func(name string, data io.Reader, size int64) error
	// Input opens a descriptor that the host handed over.
	Input func(fd int) (*os.File, error)
	// Memory makes a file that lives in memory only; Seal makes one read-only for good.
	Memory func(name string) (*os.File, error)
	Seal   func(*os.File) error
	// Engine runs one job in the sandboxed engine, with these files open from descriptor
	// FirstFile up. said is what the engine printed, which may quote data. It must end, and
	// have ended the engine, soon after ctx ends. It is called twice: for the check, and for
	// the job.
	Engine func(ctx context.Context, program *os.File, job sql.Job, files []*os.File) (result sql.Result, said string, err error)
	// FirstFile is the engine's descriptor of its first file.
	FirstFile int
	// Silence is called before the first input is decrypted: what the process prints from then
	// on must go nowhere.
	Silence func() error
	// Elapsed reads a clock that nobody outside sets: time since any fixed moment, rising also
	// while the machine sleeps.
	Elapsed func() time.Duration
	// HostClock reads the clock that the host sets. It decides nothing: documents that it calls
	// invalid are refused early, and all are judged again by the brokers' time.
	HostClock func() time.Time
	// Patience is how long the room tries again to reach what a run needs once it has been paid
	// for; see MaxPatience.
	Patience time.Duration
	// Longest is how long the keys are used at most, from the last grant to the end of the work;
	// see MaxWork.
	Longest time.Duration
	// EngineMemory and EngineThreads are what the engine may use.
	EngineMemory  int64
	EngineThreads int64
	// Containers is what work of kind container needs; nil: this room does none.
	Containers *Containers
}

func (c *Config) complete() bool {
	return c.Device != nil && c.Ask != nil && c.Tell != nil && c.File != nil && c.Input != nil && c.Memory != nil && c.Seal != nil &&
		c.Engine != nil && c.FirstFile > 0 && c.Silence != nil && c.Elapsed != nil && c.HostClock != nil &&
		c.Patience > 0 && c.Patience <= MaxPatience && c.Longest > 0 && c.Longest <= MaxWork && c.EngineMemory > 0 && c.EngineThreads > 0
}

// Run does one run. It tells the host of everything the host may know, the reason of a
// refusal included, and returns that too, for the exit code. Once an input has been
// decrypted, what it returns has one code and no more.
func Run(ctx context.Context, c Config, start Start) error {
	if !c.complete() {
		return verdict.Misuse("room.config", "a complete configuration", "less", "a defect in the agent: report it")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r := &run{Config: c, cancel: cancel}
	r.clock.elapsed, r.leases.elapsed = c.Elapsed, c.Elapsed
	err := r.run(ctx, start)
	cause := context.Cause(ctx)
	cancel(nil)
	r.background.Wait() // who asks for leases needs the keys that wipe takes
	r.wipe()
	if err == nil {
		return c.Tell(Event{Event: Done})
	}
	// The cause, such as a lapsed lease, says more than what broke because of it.
	if cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if r.opened {
		err = onlyCode(err)
	}
	c.Tell(Event{Event: Stopped, Error: verdict.Encode(err)}) // if it is lost, the exit code remains
	return err
}
