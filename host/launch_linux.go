package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/channel"
	"strongroom.dev/device"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Start starts a room on the INSECURE dev platform for one run. It ends with ctx. id names
// its folder under Config.Dir, made when the first result comes.
func Start(ctx context.Context, c Config, id string, job Job) (*Room, error) {
	if c.Programs == nil || c.Root == nil || c.Dir == "" || id == "" {
		return nil, verdict.Misuse("host.config", "programs, a development root and a folder", "less", "a defect in the caller: report it")
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	targets, err := c.targets(job)
	if err != nil {
		return nil, err
	}
	message, err := job.start(c.Programs.names)
	if err != nil {
		return nil, err
	}
	a, err := keysDocument(job.Agreement)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := newRoom(c, targets, filepath.Join(c.Dir, id), cancel)
	l := &launch{Room: r, initData: attest.InitData(a)}
	if err := l.start(ctx, job); err != nil {
		cancel()
		return nil, err
	}
	go l.run(ctx, message)
	return r, nil
}

// keysDocument gives the canonical body of the agreement that init data is made of.
func keysDocument(raw json.RawMessage) ([]byte, error) {
	a, err := agreement.ParseAgreement(raw)
	if err != nil {
		return nil, err
	}
	return a.Canonical(), nil
}

// launch is the processes and descriptors behind a room.
type launch struct {
	*Room
	initData wire.Digest // of the agreement that it was started for
	channel  net.Conn
	device   net.Conn
	exited   chan error
}

// start opens the inputs and starts the agent with its descriptors.
func (l *launch) start(ctx context.Context, job Job) error {
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	device, theirDevice, err := socketPair()
	if err != nil {
		return err
	}
	l.channel, l.device = ours, device
	files := []*os.File{theirs, theirDevice}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, name := range l.config.Programs.names {
		f, err := reopen(l.config.Programs.helpers[name])
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	for _, in := range job.Inputs {
		f, err := in.open()
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	return l.exec(ctx, files)
}

// exec starts the agent from its sealed copy. The thread that starts it lives until it ends:
// the kernel ties the death signal to that thread.
func (l *launch) exec(ctx context.Context, files []*os.File) error {
	cmd := exec.CommandContext(ctx, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), l.config.Programs.agent.Fd()))
	cmd.Args = []string{"strongroom-agent"}
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = l.config.Log, l.config.Log
	cmd.ExtraFiles = files
	cmd.WaitDelay = 2 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	l.exited = make(chan error, 1)
	started := make(chan error)
	// What this process was started with must not reach a room by accident.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil && err != unix.ENOSYS && err != unix.EINVAL {
		return fmt.Errorf("keeping descriptors: %w", err)
	}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := cmd.Start()
		started <- err
		if err == nil {
			l.exited <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting the agent: %w", err)
	}
	return nil
}

// run serves the room to its end.
func (l *launch) run(ctx context.Context, message []byte) {
	defer l.cancel()
	go device.Serve(ctx, l.device, devDevice{l})
	err := l.converse(ctx, message)
	l.channel.Close()
	l.device.Close()
	// The room has nothing more to say; an agent that lingers is killed.
	timer := time.AfterFunc(2*time.Second, l.cancel)
	waitErr := <-l.exited
	timer.Stop()
	if err == nil && waitErr != nil {
		err = &verdict.Error{Kind: verdict.Broken, Check: "room.ended", Expected: "an agent that ends well", Got: waitErr.Error(), Err: waitErr}
	}
	if err != nil && ctx.Err() != nil && !isVerdict(err) {
		err = &verdict.Error{Kind: verdict.Broken, Check: "room.stopped", Expected: "a room that runs to its end", Got: "it was stopped", Fix: "sign a new request: what it held is gone", Err: ctx.Err()}
	}
	l.end(err)
}

func isVerdict(err error) bool {
	var e *verdict.Error
	return errors.As(err, &e) && e.Check != "room.ended"
}

// converse sends the start message, relays the room's calls and reads its events.
func (l *launch) converse(ctx context.Context, message []byte) error {
	session, err := channel.New(l.channel, channel.Host)
	if err != nil {
		return err
	}
	defer session.Close()
	go l.relayAll(ctx, session)
	control, err := session.Open(ctx, "control")
	if err != nil {
		return err
	}
	if err := channel.WriteMessage(control, message); err != nil {
		return err
	}
	return l.listen(control)
}

// relayAll answers the room's calls until the session ends.
func (l *launch) relayAll(ctx context.Context, session *channel.Session) {
	for {
		stream, err := session.Accept(ctx)
		if err != nil {
			return
		}
		go stream.Serve(release.MaxRequest, func(path string, body []byte) (int, []byte) {
			return l.relay(ctx, stream.Name(), path, body)
		})
	}
}

// devDevice is the evidence device of the dev platform. It serves the agent alone: nothing
// else holds the other end.
type devDevice struct{ *launch }

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
