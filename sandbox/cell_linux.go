package sandbox

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox/tree"
)

// CellProcess is a cell in which something was started.
type CellProcess struct {
	// Stdout and Stderr are what the cell's processes print. They must be read, or what prints
	// waits; they end when the cell is killed.
	Stdout, Stderr *os.File

	cell *cell
	news chan struct{} // closed when the cell's first process is gone

	mu      sync.Mutex
	next    int64
	waiting map[int64]chan answer
	arrived map[string]chan *Conn
	ended   chan struct{} // closed when what runs has ended; a new one for each start
	exit    Exit
}

type answer struct {
	err   error
	files []*os.File
}

// cell is a process that waits in its namespaces for its order.
type cell struct {
	cmd    *exec.Cmd
	link   *link
	stream *os.File // the order, and the tree of the root
	lacks  []Lack
}

// cellOrder is all that a cell is told, but for descriptors and the tree.
type cellOrder struct {
	Argv         []string    `json:"argv"`
	Env          []string    `json:"env"`
	Directory    string      `json:"directory"`
	UID          int         `json:"uid"`
	GID          int         `json:"gid"`
	Groups       []int       `json:"groups"`
	Capabilities uint64      `json:"capabilities"`
	Deny         []string    `json:"deny"`
	Mounts       []cellMount `json:"mounts"`
	Hosts        []Host      `json:"hosts"`
	Listen       []string    `json:"listen"`
	Limits       CellLimits  `json:"limits"`
	Unpack       bool        `json:"unpack"`
	Tree         tree.Limits `json:"tree"`
	MayLack      []Lack      `json:"may_lack"`
}

// cellMount is a Mount whose file comes as a descriptor, in the order of mounts.
type cellMount struct {
	Path     string    `json:"path"`
	Kind     MountKind `json:"kind"`
	Bytes    int64     `json:"bytes"`
	Mode     uint32    `json:"mode"`
	UID      int       `json:"uid"`
	GID      int       `json:"gid"`
	Keep     bool      `json:"keep"`
	ReadOnly bool      `json:"read_only"`
	Exec     bool      `json:"exec"`
}

// maxOrder is for arguments and environment: the kernel takes 2 MiB of them.
const maxOrder = 8 << 20

// StartCell starts a process in a cell. It returns when the process was executed, or with
// what prevented it; then the cell is gone. A cell is used once; see [CellProcess.Restart].
func (in *Inside) StartCell(ctx context.Context, c Cell) (*CellProcess, error) {
	order, files, err := c.order()
	if err != nil {
		return nil, fmt.Errorf("cell: %w", err)
	}
	in.mu.Lock()
	if len(in.cells) == 0 {
		in.mu.Unlock()
		if in.noCell != nil {
			return nil, fmt.Errorf("cell: %w", in.noCell)
		}
		return nil, errors.New("cell: none is left")
	}
	ready := in.cells[0]
	in.cells = in.cells[1:]
	order.MayLack = append(slices.Clone(in.Lacks), ready.lacks...)
	in.mu.Unlock()
	p := &CellProcess{cell: ready, news: make(chan struct{}), waiting: map[int64]chan answer{},
		arrived: map[string]chan *Conn{}, ended: make(chan struct{})}
	for _, addr := range c.Listen {
		p.arrived[addr] = make(chan *Conn, backlog)
	}
	go p.listen()
	stop := context.AfterFunc(ctx, p.Kill)
	err = p.start(ctx, c, order, files)
	if !stop() { // whatever else went wrong
		err = ctx.Err()
	}
	if err != nil {
		p.Kill()
		return nil, fmt.Errorf("cell: %w", err)
	}
	return p, nil
}

// start sends the order and waits until it was carried out.
func (p *CellProcess) start(ctx context.Context, c Cell, order cellOrder, files []*os.File) error {
	defer p.cell.stream.Close()
	reply, err := p.request(message{Do: "start"}, files...)
	if err != nil {
		return err
	}
	if werr := p.write(order, c.Root.Unpack); werr != nil {
		// What the cell says is nearer to the reason, unless the tree could not be made here.
		p.cell.stream.Close()
		if a := p.wait(ctx, reply); a.err != nil && errors.Is(werr, unix.EPIPE) {
			return a.err
		}
		return werr
	}
	a := p.wait(ctx, reply)
	if a.err != nil {
		return a.err
	}
	if len(a.files) != 2 {
		closeAll(a.files)
		return errors.New("no output came")
	}
	p.Stdout, p.Stderr = a.files[0], a.files[1]
	return nil
}

func (p *CellProcess) write(order cellOrder, unpack func(*tree.Writer) error) error {
	data, err := json.Marshal(order)
	if err != nil {
		return err
	}
	if len(data) > maxOrder {
		return fmt.Errorf("an order of %d bytes, arguments and environment together", len(data))
	}
	w := bufio.NewWriterSize(p.cell.stream, 256<<10)
	w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(data)))) // errors stay until Flush
	w.Write(data)
	if unpack != nil {
		t := tree.NewWriter(w)
		if err := unpack(t); err != nil {
			return err
		}
		if err := t.Close(); err != nil {
			return err
		}
	}
	return w.Flush()
}

// order checks a cell and says it in the words of its first process.
func (c Cell) order() (cellOrder, []*os.File, error) {
	var none cellOrder
	set, err := capabilitySet(c.Capabilities)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return none, nil, err
	}
	o := cellOrder{Argv: c.Argv, Env: c.Env, Directory: c.Directory, UID: c.UID, GID: c.GID, Groups: c.Groups, Capabilities: set,
		Deny: c.Deny, Hosts: c.Hosts, Listen: c.Listen, Limits: c.Limits.filled(), Unpack: c.Root.Unpack != nil, Tree: c.Root.Limits}
	var files []*os.File
	if c.Root.Mount != nil {
		files = append(files, c.Root.Mount)
	}
	for _, m := range c.Mounts {
		o.Mounts = append(o.Mounts, cellMount{m.Path, m.Kind, m.Bytes, m.Mode, m.UID, m.GID, m.Keep, m.ReadOnly, m.Exec})
		if m.File != nil {
			files = append(files, m.File)
		}
	}
	if len(files) > maxPassed {
		return none, nil, fmt.Errorf("%d mounts with a file, at most %d", len(files), maxPassed)
	}
	return o, files, nil
}

// backlog is how many accepted connections wait for the agent at one address; more are closed.
const backlog = 64

// listen takes what the cell's first process says until it is gone.
func (p *CellProcess) listen() {
	for {
		m, files, err := p.cell.link.receive()
		if err != nil {
			break
		}
		switch {
		case m.ID != 0:
			p.answered(m, files)
		case m.Accepted != "" && len(files) == 1:
			p.accepted(m.Accepted, files[0])
		case m.Ended != nil:
			p.end(*m.Ended)
		default:
			closeAll(files)
		}
	}
	// Whatever made it fall silent, it is of no use any more.
	p.cell.cmd.Process.Kill()
	p.cell.cmd.Wait()
	p.gone()
	p.cell.link.file.Close()
}

func (p *CellProcess) answered(m message, files []*os.File) {
	p.mu.Lock()
	reply := p.waiting[m.ID]
	delete(p.waiting, m.ID)
	p.mu.Unlock()
	a := answer{files: files}
	if m.Error != "" {
		a.err = errors.New(m.Error)
	}
	if reply == nil {
		closeAll(files)
		return
	}
	reply <- a
}

func (p *CellProcess) accepted(addr string, f *os.File) {
	select {
	case p.arrived[addr] <- &Conn{f}: // of an address unknown here: nil, which takes nothing
	default:
		f.Close()
	}
}

func (p *CellProcess) end(e Exit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exit = e
	select {
	case <-p.ended:
	default:
		close(p.ended)
	}
}

// gone answers everything that still waits.
func (p *CellProcess) gone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.news)
	for id, reply := range p.waiting {
		delete(p.waiting, id)
		reply <- answer{err: errGone}
	}
}

var errGone = errors.New("the cell is gone")

// request sends a request; its answer comes on the channel, for sure and once.
func (p *CellProcess) request(m message, files ...*os.File) (chan answer, error) {
	reply := make(chan answer, 1)
	p.mu.Lock()
	p.next++
	m.ID = p.next
	p.waiting[m.ID] = reply
	p.mu.Unlock()
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	err := p.cell.link.send(m, fds...)
	runtime.KeepAlive(files)
	select {
	case <-p.news: // perhaps before the request was entered
		err = errGone
	default:
		if errors.Is(err, unix.EPIPE) {
			err = errGone
		}
	}
	if err == nil {
		return reply, nil
	}
	p.mu.Lock()
	delete(p.waiting, m.ID)
	p.mu.Unlock()
	return nil, err
}

func (p *CellProcess) wait(ctx context.Context, reply chan answer) answer {
	select {
	case a := <-reply:
		return a
	case <-ctx.Done():
		go func() { closeAll((<-reply).files) }()
		return answer{err: ctx.Err()}
	}
}

func (p *CellProcess) ask(ctx context.Context, m message) ([]*os.File, error) {
	reply, err := p.request(m)
	if err != nil {
		return nil, err
	}
	a := p.wait(ctx, reply)
	return a.files, a.err
}

// Conn is a connection with something in a cell, or from it.
type Conn struct{ *os.File }

// CloseWrite says that nothing more comes; what the other end says can still be read.
func (c *Conn) CloseWrite() error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) })
	return errors.Join(cerr, err)
}

// Dial connects to a TCP port at the cell's loopback address, 127.0.0.1 or ::1.
func (p *CellProcess) Dial(ctx context.Context, port int) (*Conn, error) {
	files, err := p.ask(ctx, message{Do: "dial", Port: port})
	if err == nil && len(files) != 1 {
		closeAll(files)
		err = errors.New("no connection came")
	}
	if err != nil {
		return nil, fmt.Errorf("port %d of the cell: %w", port, err)
	}
	return &Conn{files[0]}, nil
}

// Accept waits for a connection that the cell makes to one of its Listen addresses.
func (p *CellProcess) Accept(ctx context.Context, addr string) (*Conn, error) {
	arrived, found := p.arrived[addr]
	if !found {
		return nil, fmt.Errorf("the cell does not listen on %s for the agent", addr)
	}
	select {
	case c := <-arrived:
		return c, nil
	case <-p.news:
		return nil, errGone
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Signal sends a signal to the process that was started. One that has ended gets none.
func (p *CellProcess) Signal(s syscall.Signal) error {
	_, err := p.ask(context.Background(), message{Do: "signal", Signal: int(s)})
	return err
}

// Wait waits until the process that was started has ended. By then everything it left in the
// cell has ended too. An error: there is no telling how it ended, as the cell was killed.
func (p *CellProcess) Wait(ctx context.Context) (Exit, error) {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	select {
	case <-ended:
	case <-p.news:
		select {
		case <-ended:
		default:
			return Exit{}, errGone
		}
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit, nil
}

// Restart starts the same again, in the same root with its mounts as they were left, once
// Wait has told the end.
func (p *CellProcess) Restart(ctx context.Context) error {
	p.mu.Lock()
	before := p.ended
	select {
	case <-before:
		p.ended = make(chan struct{})
	default:
		p.mu.Unlock()
		return errors.New("the cell's process has not ended")
	}
	p.mu.Unlock()
	_, err := p.ask(ctx, message{Do: "restart"})
	if err != nil {
		p.mu.Lock()
		p.ended = before
		p.mu.Unlock()
	}
	return err
}

// Result opens the file "result" of the memory mount at path, once what ran has ended: a
// regular file of at most the size given, for reading. What it holds is whatever the cell's
// processes put there.
func (p *CellProcess) Result(ctx context.Context, path string, most int64) (*os.File, int64, error) {
	files, err := p.ask(ctx, message{Do: "result", Path: path})
	if err == nil && len(files) != 1 {
		closeAll(files)
		err = errors.New("no file came")
	}
	if err != nil {
		return nil, 0, fmt.Errorf("result: %w", err)
	}
	var st unix.Stat_t
	err = unix.Fstat(int(files[0].Fd()), &st)
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = errors.New("it is no regular file")
	case st.Size > most:
		err = fmt.Errorf("it has %d bytes, at most %d", st.Size, most)
	default:
		return files[0], st.Size, nil
	}
	files[0].Close()
	return nil, 0, fmt.Errorf("result: %w", err)
}

// Kill ends everything in the cell at once and waits until it is gone. It may be called at
// any time, and again.
func (p *CellProcess) Kill() {
	p.cell.cmd.Process.Kill() // process 1 of its namespace: the kernel ends all others with it
	<-p.news
}
