package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Inside is the sandboxed program's hold on its sandbox.
type Inside struct {
	// Lacks are the layers that the kernel denied, to the program or to a helper of its.
	Lacks []Lack
	// CellLacks are the layers that only cells have and the kernel denied to one.
	CellLacks []Lack

	mu      sync.Mutex
	helpers []*helper // made ready, not yet used
	cells   []*cell
	noCell  error // why there is none

	keeper   *keeper // nil: none
	noKeeper error   // why
}

// Command says what to run in a helper's sandbox.
type Command struct {
	// Program is a sealed memory file holding a static executable.
	Program *os.File
	// Args are its arguments, its name first. The environment is empty.
	Args []string
	// Files become its descriptors from FirstFile up. 3 is the other end of Process.Conn, 0 is
	// at its end, 1 and 2 are Process.Said.
	Files  []*os.File
	Limits Limits
}

// Process is a running helper.
type Process struct {
	// Conn is a stream socket to the helper's descriptor 3, with deadlines; Kill closes it.
	Conn *os.File

	cmd  *exec.Cmd
	said *said
	out  *os.File // the reading end of the helper's standard output and error
	done chan struct{}
	err  error
}

// helper is a process that has shut itself in and waits to be told what to execute.
type helper struct {
	cmd     *exec.Cmd
	control *os.File // our end of a socket pair
	conn    *os.File // our end of the program's connection
	theirs  *os.File // the program's
	out     *os.File
}

// ready is what a helper says when it is in its sandbox; order is the answer; then the
// socket closes when the program runs, or a failure comes.
type ready struct {
	Lacks []Lack `json:"lacks"`
	Error string `json:"error"`
}

type order struct {
	Args   []string `json:"args"`
	Limits Limits   `json:"limits"`
	// MayLack are the layers already known, and reported, to be missing.
	MayLack []Lack `json:"may_lack"`
}

// FirstFile is the lowest descriptor of a Command's files. Below it a helper's own run-time
// has descriptors while it waits, which must stay whole until it becomes the program.
const FirstFile = 16

const (
	maxMessage = 64 << 10 // an order: arguments and limits
	maxPassed  = 250      // descriptors in one message; the kernel takes 253
	// patience is how long a helper may take to shut itself in or to execute its program.
	patience = 20 * time.Second
)

// ready starts n helpers and waits until each is in its sandbox.
func (in *Inside) ready(n int) error {
	flags := availableNamespaces()
	for range n {
		h, err := startHelper(flags)
		if err != nil {
			in.Close()
			return fmt.Errorf("preparing a helper: %w", err)
		}
		in.helpers = append(in.helpers, h)
	}
	for _, h := range in.helpers {
		var r ready
		if err := h.hear(&r); err != nil {
			in.Close()
			return fmt.Errorf("preparing a helper: %w", err)
		}
		in.Lacks = append(in.Lacks, r.Lacks...)
	}
	return nil
}

func startHelper(flags uintptr) (*helper, error) {
	h := &helper{}
	var theirControl, in *os.File
	var err error
	if h.control, theirControl, err = socketPair(unix.SOCK_SEQPACKET); err != nil {
		return nil, err
	}
	defer theirControl.Close()
	wait := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(int(h.control.Fd()), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return nil, err
	}
	// The program's end stays here until it is passed on; only ours never blocks a thread.
	if h.conn, h.theirs, err = socketPair(unix.SOCK_STREAM); err != nil {
		return nil, err
	}
	if h.conn, err = polled(h.conn); err != nil {
		return nil, err
	}
	if h.out, in, err = os.Pipe(); err != nil {
		return nil, err
	}
	defer in.Close()
	h.cmd = exec.Command("/proc/self/exe", argHelper, fmt.Sprintf("%x", flags))
	h.cmd.Args[0] = os.Args[0]
	h.cmd.Env = []string{}
	h.cmd.Stdin, h.cmd.Stdout, h.cmd.Stderr = os.Stdin, in, in
	h.cmd.ExtraFiles = []*os.File{theirControl}
	h.cmd.SysProcAttr = attributes(flags)
	h.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return h, h.cmd.Start()
}

func socketPair(kind int) (a, b *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "socket"), nil
}

// polled makes f one that the run-time waits for without holding a thread.
func polled(f *os.File) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "helper"), nil
}

// hear reads one message. io.EOF: the helper is gone, or has executed its program.
func (h *helper) hear(v any) error {
	buffer := make([]byte, maxMessage)
	n, _, _, err := recvmsg(int(h.control.Fd()), buffer, nil)
	if err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	return json.Unmarshal(buffer[:n], v)
}

func recvmsg(fd int, p, oob []byte) (n, oobn, flags int, err error) {
	for {
		n, oobn, flags, _, err = unix.Recvmsg(fd, p, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			return
		}
	}
}

func (h *helper) kill() {
	h.cmd.Process.Kill()
	h.cmd.Wait()
	for _, f := range []*os.File{h.control, h.conn, h.theirs, h.out} {
		f.Close()
	}
}

// Start executes a program in a helper's sandbox. It fails if all helpers that were made
// ready are used, or if a layer not among Lacks turns out to be missing.
func (in *Inside) Start(c Command) (*Process, error) {
	if c.Program == nil || len(c.Args) == 0 || len(c.Files) > maxPassed-2 {
		return nil, fmt.Errorf("sandbox: no program, no arguments or more than %d files", maxPassed-2)
	}
	in.mu.Lock()
	if len(in.helpers) == 0 {
		in.mu.Unlock()
		return nil, fmt.Errorf("sandbox: no helper is left")
	}
	h := in.helpers[0]
	in.helpers = in.helpers[1:]
	lacks := slices.Clone(in.Lacks)
	in.mu.Unlock()
	if err := h.execute(c, lacks); err != nil {
		h.kill()
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	h.control.Close()
	h.theirs.Close()
	p := &Process{Conn: h.conn, cmd: h.cmd, out: h.out, said: &said{}, done: make(chan struct{})}
	go p.wait()
	return p, nil
}

func (h *helper) execute(c Command, lacks []Lack) error {
	message, err := json.Marshal(order{c.Args, c.Limits, lacks})
	if err != nil {
		return err
	}
	if len(message) > maxMessage {
		return fmt.Errorf("an order of %d bytes", len(message))
	}
	fds := []int{int(c.Program.Fd()), int(h.theirs.Fd())}
	for _, f := range c.Files {
		fds = append(fds, int(f.Fd()))
	}
	err = unix.Sendmsg(int(h.control.Fd()), message, unix.UnixRights(fds...), nil, 0)
	runtime.KeepAlive(c)
	if err != nil {
		return fmt.Errorf("sending the order: %w", err)
	}
	var failed ready
	switch err := h.hear(&failed); {
	case errors.Is(err, io.EOF):
		return nil // its end closed as it executed the program
	case err != nil:
		return err
	}
	return errors.New(failed.Error)
}

// Close ends the helpers and cells that were never used.
func (in *Inside) Close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, h := range in.helpers {
		h.kill()
	}
	in.helpers = nil
	in.closeCells()
	if in.keeper != nil {
		in.keeper.close()
		in.keeper = nil
	}
}

// Silence takes the program's own standard output and error away, for good: what it prints
// after it has read data, a crash included, must not reach the host.
func (in *Inside) Silence() error {
	for _, fd := range []int{1, 2} {
		if err := unix.Dup3(0, fd, 0); err != nil { // 0 is open for reading only, at its end
			return err
		}
	}
	return nil
}

func (p *Process) wait() {
	defer close(p.done)
	io.Copy(p.said, p.out) // until the helper ends: it alone holds the other end
	p.out.Close()
	p.err = p.cmd.Wait()
}

// Wait waits for the end of the helper. nil means that it exited with code 0.
func (p *Process) Wait() error { <-p.done; return p.err }

// Kill ends the helper at once and waits until it is gone. It may be called at any time.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
	p.Conn.Close()
}

// Said is the start of what the helper wrote to its standard output and error, at most 16
// KiB, once it has ended. It may quote data: it is for the data's owners only.
func (p *Process) Said() string {
	<-p.done
	return string(p.said.text)
}

// said keeps the first 16 KiB written to it and swallows the rest.
type said struct{ text []byte }

func (s *said) Write(b []byte) (int, error) {
	const most = 16 << 10
	s.text = append(s.text, b[:min(len(b), most-len(s.text))]...)
	return len(b), nil
}
