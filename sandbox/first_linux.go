package sandbox

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/sandbox/seccomp"
	"strongroom.dev/wire"
)

// first is process 1 of a cell. It builds the root, starts the workload as its child, reaps,
// and does what the agent asks. It holds no key. What runs beside it can't reach it: it has
// rights that the workload's own user namespace doesn't know, and is not dumpable.
type first struct {
	link  *link
	order cellOrder
	group []*os.File // nil: none
	// stdout and stderr are the ends that workloads write to, one after the other.
	stdout, stderr *os.File

	mu      sync.Mutex
	running int  // the workload's pid; 0: none
	busy    bool // from its start until everything it started is gone
}

const (
	streamFD   = 4 // the order and the tree; control is 3
	groupFD    = 5 // and those after it, if there is a group
	hostName   = "room"
	maxDials   = 64 // at once
	dialWithin = 5  // seconds
)

// cellMain is the first process of a cell. It ends when the agent closes its end.
func cellMain() int {
	control, err := polledFD(3)
	if err != nil {
		return 1
	}
	f := &first{link: &link{file: control}}
	if argument(2) == strconv.Itoa(groupFiles) {
		for i := range groupFiles {
			f.group = append(f.group, os.NewFile(uintptr(groupFD+i), "group"))
		}
	}
	m := message{Lacks: f.lacks()}
	if err := f.shut(); err != nil {
		m.Error = err.Error()
	}
	if f.link.send(m) != nil || m.Error != "" {
		return 1
	}
	ask, files, err := f.link.receive()
	if err != nil || ask.Do != "start" {
		return 0 // the agent ended without an order
	}
	if err := f.build(files); err != nil {
		f.link.send(message{ID: ask.ID, Error: err.Error()})
		return 1
	}
	out, err := f.outputs()
	if err == nil {
		err = f.start()
	}
	if err != nil {
		f.link.send(message{ID: ask.ID, Error: err.Error()})
		return 1
	}
	if f.link.send(message{ID: ask.ID}, out[0], out[1]) != nil {
		return 1
	}
	unix.Close(out[0])
	unix.Close(out[1])
	f.serve()
	return 0
}

func polledFD(fd int) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "control"), nil
}

// lacks says which layers of its own the cell is without.
func (f *first) lacks() (lacks []Lack) {
	if !hasRange() {
		lacks = append(lacks, Lack{UserRange, "neither root nor somebody with subordinate ids started the room: there is one user"})
	}
	if f.group == nil {
		lacks = append(lacks, Lack{MemoryGroup, "the room has no control group: memory is bounded for each process alone"})
	}
	return lacks
}

// shut makes the process one that nobody beside it can look into or end.
func (f *first) shut() error {
	if os.Getpid() != 1 {
		return errors.New("it is not process 1")
	}
	if err := keepDescriptors(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: noCore, Max: noCore}); err != nil {
		return err
	}
	// The kernel gives process 1 only signals that it takes; taken, they do nothing.
	signal.Notify(make(chan os.Signal, 1))
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/null: %w", err)
	}
	for fd := range 3 {
		if err := unix.Dup3(null, fd, 0); err != nil {
			return err
		}
	}
	return unix.Close(null)
}

// build reads the order and does what comes before the workload.
func (f *first) build(files []*os.File) error {
	defer closeAll(files)
	stream := os.NewFile(streamFD, "order")
	defer stream.Close()
	r := bufio.NewReaderSize(stream, 256<<10)
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxOrder {
		return errors.New("an order beyond its bound")
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	if err := json.Unmarshal(data, &f.order); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	if err := f.order.makeRoot(r, files); err != nil {
		return err
	}
	if f.group != nil {
		if err := boundGroup(f.group, f.order.Limits.Memory); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(hostName)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	for _, addr := range f.order.Listen {
		if err := f.listen(addr); err != nil {
			return fmt.Errorf("listening on %s: %w", addr, err)
		}
	}
	return f.lock()
}

// lock leaves the first process the calls that workloads have, and the making of their user
// namespace. What it did before it can do no more.
func (f *first) lock() error {
	if err := onAll(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	filter, err := seccomp.Profile(nil)
	if err != nil {
		return err
	}
	filter.Rules = append(filter.Rules, seccomp.If(unix.SYS_CLONE, 0, allNamespaces|unix.CLONE_NEWCGROUP, unix.CLONE_NEWUSER))
	if err := filter.Install(true); err != nil && !f.order.lacks(Seccomp) {
		return fmt.Errorf("%s: %w", Seccomp, err)
	}
	return nil
}

// outputs makes the two pipes that workloads print to, and gives the ends of the agent. They
// are the workload's user's, who may open them by name, as /dev/stdout.
func (f *first) outputs() (out [2]int, err error) {
	for i, end := range []**os.File{&f.stdout, &f.stderr} {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return out, err
		}
		if err := unix.Fchown(p[1], f.order.owner(f.order.UID), f.order.owner(f.order.GID)); err != nil {
			return out, err
		}
		if err := unix.SetNonblock(p[0], true); err != nil {
			return out, err
		}
		out[i], *end = p[0], os.NewFile(uintptr(p[1]), "output")
	}
	return out, nil
}

// owner gives the number that a user has here: without a range everybody is user 0.
func (o *cellOrder) owner(id int) int {
	if o.lacks(UserRange) {
		return 0
	}
	return id
}

func (o *cellOrder) lacks(layer wire.ID) bool { return slices.Contains(Layers(o.MayLack), layer) }

// serve does what the agent asks until it is gone.
func (f *first) serve() {
	dials := make(chan bool, maxDials)
	for {
		m, files, err := f.link.receive()
		closeAll(files) // none is expected
		if err != nil {
			return
		}
		switch m.Do {
		case "dial":
			dials <- true
			go func() {
				f.dial(m)
				<-dials
			}()
		case "signal":
			f.answer(m, f.signal(m.Signal))
		case "restart":
			f.answer(m, f.restart())
		case "result":
			f.result(m)
		default:
			f.answer(m, errors.New("not a request"))
		}
	}
}

// answer answers without a descriptor, or with the only one, which is then closed.
func (f *first) answer(m message, err error, fds ...int) {
	reply := message{ID: m.ID}
	if err != nil {
		reply.Error = err.Error()
	}
	if f.link.send(reply, fds...) != nil {
		os.Exit(1) // the agent is gone
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func (f *first) dial(m message) {
	fd, err := connect(&unix.SockaddrInet4{Port: m.Port, Addr: [4]byte{127, 0, 0, 1}})
	if errors.Is(err, unix.ECONNREFUSED) {
		var six int
		var serr error
		if six, serr = connect(&unix.SockaddrInet6{Port: m.Port, Addr: [16]byte{15: 1}}); serr == nil {
			fd, err = six, nil
		}
	}
	if err != nil {
		f.answer(m, err)
		return
	}
	f.answer(m, nil, fd)
}

func connect(to unix.Sockaddr) (int, error) {
	family := unix.AF_INET
	if _, six := to.(*unix.SockaddrInet6); six {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	within := unix.Timeval{Sec: dialWithin}
	if err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &within); err == nil {
		err = retry(func() error { return unix.Connect(fd, to) })
	}
	if err == nil {
		err = handOver(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// handOver makes a connection what the agent, which may set nothing, wants it to be.
func handOver(fd int) error {
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{}); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	return unix.SetNonblock(fd, true)
}

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// listen takes connections at an address and hands them to the agent.
func (f *first) listen(text string) error {
	addr, err := netip.ParseAddrPort(text)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	go func() {
		for {
			conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			if err != nil { // of this connection alone, or too many at once
				time.Sleep(10 * time.Millisecond)
				continue
			}
			if handOver(conn) == nil && f.link.send(message{Accepted: text}, conn) != nil {
				os.Exit(1)
			}
			unix.Close(conn)
		}
	}()
	return nil
}

// loopbackUp brings up the only interface there is.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

func (f *first) signal(number int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == 0 {
		return errors.New("nothing runs")
	}
	return unix.Kill(f.running, syscall.Signal(number))
}

func (f *first) restart() error {
	if f.isBusy() {
		return errBusy
	}
	return f.start()
}

var errBusy = errors.New("the process still runs")

func (f *first) isBusy() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.busy
}

// reap waits for the workload and then ends whatever else there is.
func (f *first) reap(workload int) {
	var exit Exit
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil { // ECHILD: nobody is left
			break
		}
		if pid != workload {
			continue
		}
		exit.Code = status.ExitStatus()
		if status.Signaled() {
			exit = Exit{Signal: int(status.Signal())}
		}
		f.mu.Lock()
		f.running = 0 // its number may become another's
		f.mu.Unlock()
		unix.Kill(-1, unix.SIGKILL)
	}
	f.mu.Lock()
	f.busy = false
	f.mu.Unlock()
	if f.link.send(message{Ended: &exit}) != nil {
		os.Exit(1)
	}
}

// result opens the file "result" of a memory mount, going through no link.
func (f *first) result(m message) {
	switch {
	case f.isBusy():
		f.answer(m, errBusy)
		return
	case !f.order.inMemory(m.Path):
		f.answer(m, errors.New("no memory is mounted there"))
		return
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		f.answer(m, err)
		return
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, strings.TrimPrefix(m.Path, "/")+"/result", &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		f.answer(m, err)
		return
	}
	f.answer(m, nil, fd)
}

func (o *cellOrder) inMemory(path string) bool {
	for _, m := range o.Mounts {
		if m.Path == path && m.Kind == MemoryMount {
			return true
		}
	}
	return false
}
