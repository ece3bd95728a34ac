package qemu

import (
	"context"
	"io"
	"net"

	"strongroom.dev/verdict"
)

// Launch is a machine to be started. Sockets, console and this machine's own copy of the
// firmware's variables are made by [Start]; Machine.Variables is what it copies.
type Launch struct {
	Machine  Config
	Programs Programs
	// CA certifies the software TPM of a TPM's machine, which is new for each.
	CA *CA
	// Dir is where the machine's private folder is made, "" for the system's place.
	Dir string
	// Console takes what the machine prints, at most MaxConsole bytes; nil discards it.
	Console io.Writer
}

// MaxConsole is how many bytes of a machine's console are passed on: a room prints little,
// and one that prints without end must not fill the host's disk.
const MaxConsole = 1 << 20

// Running is a machine that was started. Its methods may be called from any goroutine.
type Running struct {
	channel net.Conn
	cancel  context.CancelCauseFunc
	done    chan struct{}
	err     error // set before done is closed
}

// Channel is the host's end of the byte channel. It is closed when the machine has ended.
func (r *Running) Channel() net.Conn { return r.channel }

// Done is closed when the machine has ended and its folder is gone.
func (r *Running) Done() <-chan struct{} { return r.done }

// Err says, once Done is closed, why the machine broke off: nil where it powered itself off.
func (r *Running) Err() error { return r.err }

// Stop kills the machine and waits until it is gone.
func (r *Running) Stop() {
	r.cancel(&verdict.Error{Kind: verdict.Broken, Check: "vm.ended", Expected: "a machine that powers itself off", Got: "it was stopped"})
	<-r.done
}
