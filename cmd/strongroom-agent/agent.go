package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/channel"
	"strongroom.dev/device"
	"strongroom.dev/room"
	"strongroom.dev/sandbox"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/container"
	"strongroom.dev/workload/sql"
)

// The descriptors an agent starts with; helpers and inputs follow, named in the start message.
const (
	channelFD = 3
	deviceFD  = 4
)

// patience is how long the host may take over what has nothing to wait for.
const patience = 30 * time.Second

// agent composes a room of the machine it runs on.
type agent struct {
	inside  *sandbox.Inside
	session *channel.Session
	control *channel.Stream
	device  *device.Client
	telling sync.Mutex // one event or file at a time
}

func serve(in *sandbox.Inside, memory int64, connected bool) error {
	if !connected {
		return verdict.Misuse("descriptors 3 and 4", "connections to a host", "none", "strongroom run and strongroom host serve start this program")
	}
	conn, err := polled(channelFD, "channel")
	if err != nil {
		return err
	}
	asked, err := polled(deviceFD, "evidence device")
	if err != nil {
		return err
	}
	session, err := channel.New(conn, channel.Room)
	if err != nil {
		return err
	}
	defer session.Close()
	// A host that goes away ends the run.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-session.Done(); cancel() }()
	a := &agent{inside: in, session: session, device: device.NewClient(asked)}
	return a.run(ctx, memory)
}

// isStream reports whether a descriptor is a stream socket.
func isStream(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_STREAM
}

// polled makes a descriptor one that the run-time waits for without holding a thread.
func polled(fd int, name string) (*os.File, error) {
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (a *agent) run(ctx context.Context, memory int64) error {
	first, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	control, err := a.session.Accept(first)
	if err != nil {
		return fmt.Errorf("waiting for the host: %w", err)
	}
	if control.Name() != "control" {
		return verdict.Misuse("room.start", "the control stream first", control.Name(), "host and agent must be of the same version")
	}
	a.control = control
	data, err := channel.ReadMessage(control, room.MaxStart)
	if err != nil {
		return fmt.Errorf("reading the start message: %w", err)
	}
	start, err := room.ParseStart(data)
	if err == nil {
		err = room.Run(ctx, a.config(memory), start)
	} else {
		a.tell(room.Event{Event: room.Stopped, Error: verdict.Encode(err)})
	}
	a.leave()
	return err
}

// leave says that nothing more comes, and waits until the host has taken it.
func (a *agent) leave() {
	if a.control.CloseWrite() != nil {
		return
	}
	select {
	case <-a.session.Done():
	case <-time.After(patience):
	}
}

func (a *agent) config(memory int64) room.Config {
	return room.Config{
		Lacks:  a.inside.Lacks,
		Device: a.device,
		Ask:    a.session.Call,
		Tell:   a.tell,
		File: func(name string, data io.Reader, size int64) error {
			a.telling.Lock()
			defer a.telling.Unlock()
			return room.WriteFile(a.control, name, data, size)
		},
		Input:         handedOver,
		Memory:        memoryFile,
		Seal:          sealFile,
		Engine:        a.engine,
		FirstFile:     sandbox.FirstFile,
		Silence:       a.inside.Silence,
		Elapsed:       elapsed,
		HostClock:     time.Now,
		Patience:      room.MaxPatience,
		Longest:       room.MaxWork,
		EngineMemory:  memory,
		EngineThreads: int64(runtime.NumCPU()),
		Containers: &room.Containers{
			Lacks:       a.inside.CellLacks,
			Cell:        container.Cells(a.inside),
			Mount:       a.device.Mount,
			Volumes:     a.volumes,
			Accept:      a.session.Accept,
			Open:        a.session.Open,
			Connections: handedConnections,
			Command:     func() (room.Command, error) { return room.ReadCommand(a.control) },
		},
	}
}

// volumes opens volumes with the keeper.
func (a *agent) volumes(broker container.Broker) *container.Volumes {
	return &container.Volumes{Broker: broker, Keep: a.inside.Keep}
}

func (a *agent) tell(e room.Event) error {
	a.telling.Lock()
	defer a.telling.Unlock()
	return room.WriteEvent(a.control, e)
}

// handedOver opens a descriptor that the host handed over.
func handedOver(fd int) (*os.File, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), fmt.Sprintf("descriptor %d", fd)), nil
}

// memoryFile makes a file without a place in any file system, which nobody can execute.
func memoryFile(name string) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// sealFile makes a memory file one that nobody can change any more.
func sealFile(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	return err
}

// elapsed reads the machine's counter that goes on while it sleeps.
func elapsed() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("no clock: " + err.Error()) // can't happen, and no lease could be kept
	}
	return time.Duration(t.Nano())
}

// engine runs one job in a helper's sandbox and ends the helper.
func (a *agent) engine(ctx context.Context, program *os.File, job sql.Job, files []*os.File) (sql.Result, string, error) {
	p, err := a.inside.Start(sandbox.Command{
		Program: program,
		Args:    []string{"strongroom-sql"},
		Files:   files,
		// DuckDB keeps itself to the job's memory; this is where it ends if it doesn't.
		Limits: sandbox.Limits{Memory: 2*job.Memory + 2<<30, Files: sandbox.MaxFiles},
	})
	if err != nil {
		return sql.Result{}, "", err
	}
	stop := context.AfterFunc(ctx, p.Kill)
	defer stop()
	result, err := sql.Run(ctx, p.Conn, job, nil)
	p.Kill()
	return result, p.Said(), err
}

// engineMemory is half of what the machine has free: the rest is for inputs and results.
func engineMemory() int64 {
	const least = 256 << 20
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return least
	}
	return max(least, int64(uint64(info.Freeram+info.Bufferram)*uint64(info.Unit)/2)>>20<<20)
}
