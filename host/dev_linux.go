package host

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/device"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// startDev starts a room as a process, on the INSECURE dev platform: it opens the inputs and
// starts the agent with its descriptors.
func (l *launch) startDev(ctx context.Context, job Job, agreement []byte) (body, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return body{}, err
	}
	evidence, theirDevice, err := socketPair()
	if err != nil {
		return body{}, err
	}
	files := []*os.File{theirs, theirDevice}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, name := range l.config.Programs.names {
		f, err := reopen(l.config.Programs.helpers[name])
		if err != nil {
			return body{}, err
		}
		files = append(files, f)
	}
	for _, in := range job.Inputs {
		f, err := in.open()
		if err != nil {
			return body{}, err
		}
		files = append(files, f)
	}
	for _, d := range job.Disks {
		f, err := d.openFor(job)
		if err != nil {
			return body{}, err
		}
		files = append(files, f)
	}
	var hand *net.UnixConn
	if len(job.Publish) > 0 {
		var theirs *os.File
		if hand, theirs, err = handover(); err != nil {
			return body{}, err
		}
		files = append(files, theirs)
	}
	exited, err := l.exec(ctx, files)
	if err != nil {
		return body{}, err
	}
	ended := make(chan error, 1)
	go func() {
		err := <-exited
		evidence.Close()
		if hand != nil {
			hand.Close()
		}
		ended <- err
	}()
	go device.Serve(ctx, evidence, devDevice{l.config, attest.InitData(agreement)})
	return body{channel: ours, hand: hand, exited: ended, wake: time.Minute, grace: 2 * time.Second}, nil
}

// exec starts the agent from its sealed copy. The thread that starts it lives until it ends:
// the kernel ties the death signal to that thread.
func (l *launch) exec(ctx context.Context, files []*os.File) (<-chan error, error) {
	cmd := exec.CommandContext(ctx, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), l.config.Programs.agent.Fd()))
	cmd.Args = []string{"strongroom-agent"}
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = l.config.Log, l.config.Log
	cmd.ExtraFiles = files
	cmd.WaitDelay = 2 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	exited := make(chan error, 1)
	started := make(chan error)
	// What this process was started with must not reach a room by accident.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil && err != unix.ENOSYS && err != unix.EINVAL {
		return nil, fmt.Errorf("keeping descriptors: %w", err)
	}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := cmd.Start()
		started <- err
		if err == nil {
			exited <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting the agent: %w", err)
	}
	return exited, nil
}

// devDevice is the evidence device of the dev platform. It serves the agent alone: nothing
// else holds the other end.
type devDevice struct {
	config   Config
	initData wire.Digest // of the agreement that the room was started for
}

// Begin refuses an agreement that the room was not started for.
func (d devDevice) Begin(_ context.Context, initData wire.Digest, _ wire.Hash) (device.Introduction, error) {
	if initData != d.initData {
		return device.Introduction{}, verdict.Refuse("device.init_data", "the agreement that this room was started for", "another", "start a room for each agreement")
	}
	return device.Introduction{Platform: dev.Name, Why: "started by the launcher of the INSECURE dev platform"}, nil
}

// Activate refuses: nobody has to vouch for the development root's key but who pins it.
func (d devDevice) Activate(context.Context, []byte, []byte) ([]byte, error) {
	return nil, verdict.Refuse("device.key", "a device with a key of its own", "the dev platform", "a defect in the agent: report it")
}

func (d devDevice) Attest(_ context.Context, report [64]byte, _ []byte) (attest.Evidence, error) {
	e, err := dev.Sign(d.config.Root, d.config.Programs.measured, d.initData, report)
	if err == nil && d.config.Evidence != nil {
		e = d.config.Evidence(report, e)
	}
	return e, err
}

// Separate measures nothing: the evidence of this platform has no place for it.
func (d devDevice) Separate(context.Context, wire.Digest) error { return nil }

// Ingress signs what the device composed for a connection.
func (d devDevice) Ingress(ctx context.Context, c device.Connection) (attest.Evidence, error) {
	return d.Attest(ctx, c.Binding().ReportData(), c.Record)
}

// socketPair gives a connection and the file that is its other end.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "channel")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	return conn, os.NewFile(uintptr(fds[1]), "channel"), err
}

// reopen gives a read-only descriptor of its own for a sealed file.
func reopen(f *os.File) (*os.File, error) {
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}
