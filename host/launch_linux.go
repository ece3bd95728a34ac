package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	initData wire.Digest
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
	go l.attest()
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

// attest is the evidence device of the dev platform: 64 bytes of report data in, evidence
// behind its length in 4 bytes out. It serves the agent alone: nothing else holds the other
// end.
func (l *launch) attest() {
	for {
		var report [64]byte
		if _, err := io.ReadFull(l.device, report[:]); err != nil {
			return
		}
		evidence, err := dev.Sign(l.config.Root, l.config.Programs.measured, l.initData, report)
		if err != nil {
			return
		}
		data, err := wire.Marshal(evidence)
		if err != nil {
			return
		}
		if l.config.Evidence != nil {
			data = l.config.Evidence(report, data)
		}
		if err := channel.WriteMessage(l.device, data); err != nil {
			return
		}
	}
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
