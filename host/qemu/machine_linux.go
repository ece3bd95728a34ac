package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/internal/folder"
	"strongroom.dev/verdict"
)

// folderPrefix is how the names of machines' folders begin.
const folderPrefix = "strongroom-vm-"

// setupTime bounds how long making a software TPM may take: about a second, a few where the
// machine is busy.
const setupTime = time.Minute

// Start starts a machine. It is killed when ctx ends, and by the kernel when this process
// does. Nothing of it stays behind: its folder is removed when it has ended, or, if this process
// was killed, when the next machine starts in the same place.
func Start(ctx context.Context, l Launch) (*Running, error) {
	if err := l.Programs.CheckQEMU(); err != nil {
		return nil, err
	}
	f, err := folder.New(l.Dir, folderPrefix)
	if err != nil {
		return nil, err
	}
	m := &launching{Launch: l, folder: f, dir: f.Path()}
	r, err := m.start(ctx)
	if err != nil {
		return nil, errors.Join(err, f.Remove())
	}
	return r, nil
}

// launching is a machine on its way, and what has to be closed if it fails.
type launching struct {
	Launch
	folder *folder.Folder
	dir    string     // the folder's path
	files  []*os.File // QEMU's, from descriptor 3 up
	close  []io.Closer
}

// newDisks makes the disks that live as long as the machine.
func (m *launching) newDisks() error {
	m.Machine.Disks = slices.Clone(m.Machine.Disks)
	for i, d := range m.Machine.Disks {
		if d.New == 0 || d.Path != "" {
			continue
		}
		path := filepath.Join(m.dir, fmt.Sprintf("new-%d", i))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Truncate(d.New), f.Close()); err != nil {
			return fmt.Errorf("making disk %s: %w", d.Serial, err)
		}
		m.Machine.Disks[i].Path, m.Machine.Disks[i].Writable = path, true
	}
	return nil
}

func (m *launching) start(parent context.Context) (_ *Running, err error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer func() {
		for _, f := range m.files {
			f.Close()
		}
		if err != nil {
			cancel(err)
			for _, c := range m.close {
				c.Close()
			}
		}
	}()
	channel, fd, err := m.pair()
	if err != nil {
		return nil, err
	}
	m.close = append(m.close, channel)
	m.Machine.Channel = Socket{FD: fd}
	printed, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making the console's pipe: %w", err)
	}
	m.close = append(m.close, printed)
	// QEMU opens a file to write to, and gets the pipe again: nothing can be read from it.
	m.Machine.Console = fmt.Sprintf("/proc/self/fd/%d", m.inherit(write))
	var tpm *process
	if m.Machine.Platform == TPM {
		if tpm, err = m.tpm(ctx); err != nil {
			return nil, err
		}
	}
	if err := m.newDisks(); err != nil {
		return nil, err
	}
	args, err := m.Machine.Args()
	if err != nil {
		return nil, err
	}
	vm, err := start(ctx, m.dir, m.Programs.QEMU, args, watch(cancel), m.files...)
	if err != nil {
		return nil, err
	}
	r := &Running{channel: channel, cancel: cancel, done: make(chan struct{})}
	copied := make(chan struct{})
	go func() {
		_, _ = io.Copy(&console{to: m.Launch.Console, left: MaxConsole}, printed)
		close(copied)
	}()
	go func() {
		r.err = supervise(ctx, cancel, vm, tpm)
		channel.Close()
		<-copied
		printed.Close()
		_ = m.folder.Remove()
		close(r.done)
	}()
	return r, nil
}

// watch ends a machine whose processor KVM could not go on with: QEMU would wait for a
// debugger.
func watch(cancel context.CancelCauseFunc) func([]byte) {
	return func(said []byte) {
		if bytes.Contains(said, []byte("KVM internal error")) {
			cancel(&verdict.Error{Kind: verdict.Broken, Check: "vm.kvm", Expected: "KVM to run the machine", Got: "KVM internal error", Fix: "strongroom doctor host says whether KVM works here"})
		}
	}
}

// supervise waits for the machine's end and says why it ended, nil if it powered itself off.
// A machine without its TPM is none.
func supervise(ctx context.Context, cancel context.CancelCauseFunc, vm, tpm *process) error {
	if tpm == nil {
		<-vm.exited
	} else {
		select {
		case <-vm.exited:
		case <-tpm.exited:
			// It ends when QEMU lets go of it: look who was first.
			select {
			case <-vm.exited:
			case <-time.After(2 * time.Second):
				cancel(&verdict.Error{Kind: verdict.Broken, Check: "vm.tpm", Expected: "a software TPM that stays", Got: verdict.Short("it ended: " + tpm.said.last())})
				<-vm.exited
			}
		}
	}
	err := vm.failure(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	if tpm != nil {
		<-tpm.exited
	}
	return err
}

// inherit gives the number that a file will have as QEMU's descriptor.
func (m *launching) inherit(f *os.File) int {
	m.files = append(m.files, f)
	return 2 + len(m.files)
}

// pair gives our end of a stream, and the number of QEMU's.
func (m *launching) pair() (net.Conn, int, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, 0, err
	}
	return ours, m.inherit(theirs), nil
}

// tpm makes this machine's TPM and its copy of the firmware's variables, and starts the TPM.
func (m *launching) tpm(ctx context.Context) (*process, error) {
	if err := m.Programs.CheckTPM(); err != nil {
		return nil, err
	}
	if m.CA == nil {
		return nil, misuse("an authority for software TPMs", "none")
	}
	variables := filepath.Join(m.dir, "variables.fd")
	if err := copyFile(variables, m.Machine.Variables); err != nil {
		return nil, err
	}
	m.Machine.Variables = variables
	if err := m.CA.newTPM(ctx, m.dir, m.Programs); err != nil {
		return nil, err
	}
	qemus, swtpms, err := filePair()
	if err != nil {
		return nil, err
	}
	defer swtpms.Close()
	m.Machine.TPM = Socket{FD: m.inherit(qemus)}
	args, err := TPMConfig{State: filepath.Join(m.dir, "tpm"), Control: Socket{FD: 3}}.Args()
	if err != nil {
		return nil, err
	}
	return start(ctx, m.dir, m.Programs.SWTPM, args, nil, swtpms)
}

// copyFile copies the variables: half a MiB, and never without bound.
func copyFile(dst, src string) error {
	const most = 16 << 20
	in, err := os.Open(src)
	if err != nil {
		return verdict.Misuse("vm.firmware", "the firmware's variables", err.Error(), "strongroom image build puts them into the image's directory")
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(in, most+1))
	if err == nil && n > most {
		err = misuse("variables of at most 16 MiB", "more")
	}
	return errors.Join(err, out.Close())
}

// socketPair gives a connection and the file that is its other end.
func socketPair() (net.Conn, *os.File, error) {
	ours, theirs, err := filePair()
	if err != nil {
		return nil, nil, err
	}
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	return conn, theirs, nil
}

func filePair() (*os.File, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}
