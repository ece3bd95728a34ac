package qemu

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/verdict"
)

// process is a program that ends with us: it is killed when its context ends, and by the
// kernel when this process does.
type process struct {
	name   string
	said   tail
	exited chan struct{} // closed when it has ended
	err    error         // then: how
}

// tailSize is how much of what a program prints is kept.
const tailSize = 8 << 10

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex // owns what follows
	data []byte
	seen func(line []byte) // called with each write, if set
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if n := len(t.data) - tailSize; n > 0 {
		t.data = append(t.data[:0], t.data[n:]...)
	}
	if t.seen != nil {
		t.seen(t.data)
	}
	return len(p), nil
}

// last gives the last line that says something.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.data), []byte("\n"))
	return strings.TrimSpace(string(lines[len(lines)-1]))
}

// start starts a program with descriptors 3 and up, an empty environment but for the
// directories of programs, and files in dir. The thread that starts it lives until it ends:
// the kernel ties the death signal to that thread.
func start(ctx context.Context, dir, path string, args []string, seen func([]byte), files ...*os.File) (*process, error) {
	return startIn(ctx, 0, dir, path, args, seen, files...)
}

// startIn starts a program in a process group, 0 for one of its own.
func startIn(ctx context.Context, group int, dir, path string, args []string, seen func([]byte), files ...*os.File) (*process, error) {
	p := &process{name: filepath.Base(path), exited: make(chan struct{})}
	p.said.seen = seen
	cmd := exec.CommandContext(ctx, path, args...)
	// swtpm_setup starts others by name and makes its own folder below TMPDIR.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "HOME=" + dir, "LC_ALL=C"}
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = &p.said, &p.said
	cmd.ExtraFiles = files
	cmd.WaitDelay = time.Second
	// A group, so that what it started goes with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true, Pgid: group}
	cmd.Cancel = func() error { return unix.Kill(-cmp.Or(group, cmd.Process.Pid), unix.SIGKILL) }
	// What this process was started with must not reach a machine by accident.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil && err != unix.ENOSYS && err != unix.EINVAL {
		return nil, fmt.Errorf("keeping descriptors: %w", err)
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "vm.program", Expected: p.name + " to start", Got: verdict.Short(err.Error()), Fix: "strongroom doctor host looks at it", Err: err}
	}
	return p, nil
}

// run runs a program to its end, and ends whatever it left running.
func run(ctx context.Context, dir, path string, args []string) error {
	group, end, err := guard()
	if err != nil {
		return err
	}
	defer end()
	p, err := startIn(ctx, group, dir, path, args, nil)
	if err != nil {
		return err
	}
	<-p.exited
	return p.failure(ctx)
}

// guard makes a process group that ends with us, for a program that starts others: the kernel's
// death signal reaches the program alone. The group's first process kills all of it, itself
// too, once its input ends, which it does with end and when this process is gone.
func guard() (group int, end func(), err error) {
	input, ours, err := os.Pipe()
	if err != nil {
		return 0, nil, fmt.Errorf("making a process group: %w", err)
	}
	defer input.Close()
	cmd := exec.Command("/bin/sh", "-c", "read -r end; kill -KILL 0")
	cmd.Env, cmd.Stdin, cmd.SysProcAttr = []string{}, input, &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return 0, nil, errors.Join(fmt.Errorf("making a process group: %w", err), ours.Close())
	}
	return cmd.Process.Pid, func() { ours.Close(); _ = cmd.Wait() }, nil
}

// failure says how a program ended, nil if well. It is called once it has.
func (p *process) failure(ctx context.Context) error {
	if p.err == nil {
		return nil
	}
	got := p.err.Error()
	if last := p.said.last(); last != "" {
		got += ": " + last
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		got = "it did not end in time"
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "vm.program", Expected: p.name + " to end well", Got: verdict.Short(got), Fix: "strongroom doctor host looks at it", Err: p.err}
}
