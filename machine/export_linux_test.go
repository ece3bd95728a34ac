package machine

import (
	"io"
	"os"
	"strongroom.dev/device"
	"time"
)

// What the first process is made of, for tests.
var (
	FindDisk      = disk
	FindPort      = findPort
	ApplySettings = applySettings
	Inspect       = inspect
	ByteCode      = refuseByteCode
	Hypervisor    = refuseHypervisor
	FromHost      = fromHost
	Pump          = pump
)

// Settings gives the names and values of the settings.
func Settings() map[string]string {
	all := map[string]string{}
	for _, s := range settings() {
		all[s.name] = s.value
	}
	return all
}

// Program copies and seals an engine.
func Program(src io.Reader, e Engine) (*os.File, error) { return program(src, e) }

// VerityTable gives the table of an engine's disk as the kernel takes it.
func VerityTable(disk string, e Engine) []byte { return verityTarget(disk, e).bytes() }

// The steps of the first process, for tests inside a machine.
var (
	Prepare      = prepare
	LoadEngine   = loadEngine
	OpenDisks    = openDisks
	WaitForPort  = waitForPort
	OpenBlocking = openBlocking
	Entropy      = entropy
	Unmapped     = unmapped
	UnmapSealed  = unmapSealed
	KernelLog    = kernelLog
)

// Down ends the machine, and wipes it however long that takes.
func Down() { down(&console{}, time.Hour) }

// SilenceKernel takes the consoles of a tree from its kernel.
func SilenceKernel(root string) error { return silenceKernel(root) }

// NewMounter gives what mounts disks for an agent.
func NewMounter() device.Mounter { return &mounter{} }

// FormatExt4 makes a file system of so many bytes with a directory in it.
func FormatExt4(w io.WriterAt, size int64, dir string) error {
	l, err := newExt4(size, [16]byte{1}, [16]byte{2})
	if err != nil {
		return err
	}
	return formatExt4(w, l, dir)
}
