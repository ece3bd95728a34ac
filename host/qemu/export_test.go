package qemu

import (
	"encoding/binary"
	"io"
)

// ProbeProgram and ProbeArgs are the probe, for running it without KVM.
var (
	ProbeProgram = probeProgram
	ProbeArgs    = probeArgs
)

// ProbeExit is how QEMU ends when the probe got through.
const ProbeExit = probeExit

// Program gives a UEFI program that runs other code.
func Program(code []byte) []byte {
	b := probeProgram()
	copy(b[binary.LittleEndian.Uint32(b[0x148+20:]):], code)
	return b
}

// NewConsole gives what a machine's console is passed through.
func NewConsole(to io.Writer, most int) io.Writer { return &console{to: to, left: most} }
