package room

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"strongroom.dev/agreement"
	"strongroom.dev/channel"
	"strongroom.dev/device"
	"strongroom.dev/ingress"
	"strongroom.dev/sandbox"
	"strongroom.dev/sandbox/seccomp"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
)

// Containers is what a room needs to run work of kind container.
type Containers struct {
	// Lacks are layers that the kernel denied to cells only.
	Lacks []sandbox.Lack
	// Cell starts a cell that was made ready.
	Cell func(ctx context.Context, c sandbox.Cell) (container.Cell, error)
	// Mount has the machine's kernel mount a disk, where the evidence device says that it does:
	// elsewhere disks are unpacked into memory.
	Mount func(ctx context.Context, m device.Mount) (*os.File, error)
	// Volumes opens volumes, asking their owners' brokers; nil: none.
	Volumes func(broker container.Broker) *container.Volumes
	// Accept gives the next stream that the host opened, Open opens one to it.
	Accept func(ctx context.Context) (*channel.Stream, error)
	Open   func(ctx context.Context, name string) (*channel.Stream, error)
	// Connections gives the connections that a host hands over by a descriptor, one at a time,
	// each with the name of its port; nil: this machine takes none.
	Connections func(fd int) (func(ctx context.Context) (port wire.ID, conn io.ReadWriteCloser, err error), error)
	// Command waits for the host's next command.
	Command func() (Command, error)
}

// service is work of kind container: an existing image that serves, or gives a result.
type service struct {
	*run
	agreed agreement.Container
	disks  map[string]*os.File // by name; the container's once it starts
	server *ingress.Server
	// running is what connections go to; nil before and after.
	running atomic.Pointer[container.Running]
	shown   certificates
	named   *tls.Certificate // of the ports' names, the latest; certify's alone

	mu      sync.Mutex // owns what follows
	notices int
	pieces  int   // of logs that were let out
	no      error // a broker's, to the last of them
}

// check looks at what does not need the inputs: the machine, the requester's values, and the
// disks, so that a wrong one costs nobody a run.
func (s *service) check(ctx context.Context) error {
	for _, lack := range s.Containers.Lacks {
		if err := s.mayLack(lack); err != nil {
			return err
		}
	}
	if err := seccomp.CheckDenied(s.agreed.Seccomp.Deny); err != nil {
		return verdict.Refuse("container.seccomp", "system calls that the profile has", err.Error(), "deny only what there is: agreement check finds it")
	}
	if err := container.CheckEnvironment(s.agreed.Environment, s.request.Environment); err != nil {
		return err
	}
	if err := container.CheckSizes(s.agreed, s.mounts()); err != nil {
		return err
	}
	for _, d := range s.start.Disks {
		f, err := s.Input(d.FD)
		if err != nil {
			return verdict.Misuse("room.disks", "an open disk "+verdict.Short(d.Disk), err.Error(), "hand over the container's disks")
		}
		s.disks[d.Disk] = f
	}
	for _, name := range s.needed() {
		if s.disks[name] == nil {
			return verdict.Misuse("room.disks", "the disk "+name+" of the container", "none", "hand it over: --disk "+name+"=FILE")
		}
	}
	if s.mounts() {
		return nil
	}
	if s.agreed.Image.Sealed == "" {
		if err := container.CheckDisk(ctx, s.disks[container.ImageName], s.agreed.Image.Disk); err != nil {
			return err
		}
	}
	for i, m := range s.agreed.Mounts {
		if m.Kind == agreement.Data {
			if err := container.CheckDisk(ctx, s.disks[container.MountName(i)], *m.Disk); err != nil {
				return err
			}
		}
	}
	return nil
}

// needed are the names of the disks that the host must hand over.
func (s *service) needed() (names []string) {
	if s.agreed.Image.Sealed == "" {
		names = append(names, container.ImageName)
	}
	for i, m := range s.agreed.Mounts {
		if m.Kind == agreement.Data || m.Kind == agreement.Volume || m.Kind == agreement.Scratch && s.mounts() {
			names = append(names, container.MountName(i))
		}
	}
	return names
}

// disk gives a disk away, once.
func (s *service) disk(name string) (*os.File, error) {
	f := s.disks[name]
	if f == nil {
		return nil, verdict.Misuse("room.disks", "the disk "+name+" of the container", "none", "hand it over: --disk "+name+"=FILE")
	}
	delete(s.disks, name)
	return f, nil
}

// do runs the container to its end, and takes its result out if one was agreed.
func (s *service) do(ctx context.Context) (outcome, error) {
	began := s.Elapsed()
	inputs := map[wire.ID]container.Plaintext{}
	for _, in := range s.inputs {
		info, err := in.plain.Stat()
		if err != nil {
			return outcome{}, err
		}
		inputs[in.agreed.Name] = container.Plaintext{File: in.plain, Size: info.Size()}
	}
	plan, err := container.NewPlan(s.agreed, s.request.Environment, inputs)
	if err != nil {
		return outcome{}, err
	}
	if err := s.certify(ctx); err != nil {
		return outcome{}, err
	}
	if s.server, err = s.newServer(); err != nil {
		return outcome{}, err
	}
	defer s.server.Close()
	running, err := container.Start(ctx, plan, s.machine())
	if err != nil {
		return outcome{}, s.cause(ctx, err)
	}
	o, err := s.serve(ctx, running)
	states, closing := s.close(ctx, running)
	o.volumes = states
	s.forget()
	s.timings.WorkMS = (s.Elapsed() - began).Milliseconds()
	for _, v := range states {
		if !v.Closed {
			s.notice(container.EventVolume, v.Path+": not closed")
		}
	}
	// A lease that lapsed meanwhile, or a broker's no to the last piece of logs, ends the run too.
	if err = errors.Join(s.cause(ctx, err), closing, context.Cause(ctx), s.saidNo()); err != nil {
		return outcome{}, err
	}
	return o, s.step(Ended)
}

// close ends the container and closes its volumes, as long as the run may go on and the keys
// may be used.
func (s *service) close(ctx context.Context, running *container.Running) ([]container.VolumeState, error) {
	ctx, stop := context.WithTimeoutCause(ctx, s.Longest, &verdict.Error{Kind: verdict.Refused, Check: codeTime, Expected: codes[codeTime][0],
		Got: "volumes that are being closed", Fix: codes[codeTime][1]})
	defer stop()
	return running.Close(ctx)
}

func (s *service) saidNo() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.no
}

// cause gives the end of the run instead of what broke because of it.
func (s *service) cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// serve carries connections until the container has ended.
func (s *service) serve(ctx context.Context, running *container.Running) (o outcome, err error) {
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	s.running.Store(running)
	defer s.running.Store(nil)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() { s.accept(serving) })
	all.Go(func() { s.takeOver(serving) })
	all.Go(func() { s.recertify(serving) })
	all.Go(func() { s.reactivate(serving) })
	go s.obey(running)
	if err := s.step(Serving); err != nil {
		return o, err
	}
	ending, err := running.Wait(ctx)
	if err != nil || s.work.Output == "" {
		return o, err
	}
	if ending.Exit != (sandbox.Exit{}) || ending.Stopped {
		o.code, o.said = codeWork, fmt.Sprintf("the container ended with code %d, signal %d", ending.Code, ending.Signal)
		return o, nil
	}
	f, size, err := running.Result(ctx, s.output.MaxBytes)
	if err != nil {
		o.code, o.said = codeWork, verdict.Short(err.Error())
		return o, nil
	}
	defer f.Close()
	o.body = make([]byte, size)
	if _, err := io.ReadFull(f, o.body); err != nil {
		o.code, o.body, o.said = codeWork, nil, verdict.Short(err.Error())
	}
	return o, nil
}

// obey ends the container when the host asks for that: nothing rests on who asks.
func (s *service) obey(running *container.Running) {
	if c, err := s.Containers.Command(); err == nil && c.Command == Stop {
		running.Stop()
	}
}

// accept serves the streams that the host opens, each of which is one connection.
func (s *service) accept(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		stream, err := s.Containers.Accept(ctx)
		if err != nil {
			return
		}
		name, found := strings.CutPrefix(stream.Name(), "ingress/")
		if !found {
			stream.Reset("no such stream")
			continue
		}
		all.Go(func() {
			defer stream.Close()
			s.server.Serve(ctx, wire.ID(name), stream) //nolint:errcheck // its client was told
		})
	}
}

// takeOver serves the connections that the host hands over. They differ from those that come
// by streams only in what they cost.
func (s *service) takeOver(ctx context.Context) {
	if s.start.Connections == 0 || s.Containers.Connections == nil {
		return
	}
	next, err := s.Containers.Connections(s.start.Connections)
	if err != nil {
		s.notice("room.connections", verdict.As(err).Error())
		return
	}
	var all sync.WaitGroup
	defer all.Wait()
	for {
		port, conn, err := next(ctx)
		if err != nil {
			return
		}
		all.Go(func() { s.server.Serve(ctx, port, conn) }) //nolint:errcheck // its client was told
	}
}

// containerMachine is what the plan runs on.
func (s *service) machine() container.Machine {
	m := container.Machine{
		Cell: s.Containers.Cell,
		Disk: s.disk,
		Egress: func(ctx context.Context, name wire.ID) (container.Stream, error) {
			return s.Containers.Open(ctx, "egress/"+string(name))
		},
		Mesh:  s.neighbour,
		Now:   s.clock.now,
		Logs:  s.letOutLogs,
		Event: s.notice,
	}
	if s.Containers.Volumes != nil {
		m.Volumes = s.Containers.Volumes(s.volume)
	}
	if s.mounts() {
		m.Mounted, m.Scratch = s.mountVerity, s.mountScratch
		if m.Volumes != nil {
			m.Volumes.Device = s.mountVolume
		}
	}
	return m
}

// maxNotices bounds what a room tells besides its steps: a container that is refused over and
// over does not fill its host's memory.
const maxNotices = 200

// notice tells the host what it may know of the container.
func (s *service) notice(name, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.notices++; s.notices > maxNotices {
		return
	}
	s.Tell(Event{Event: Notice, Name: name, Text: verdict.Short(text)}) //nolint:errcheck // it is news, not more
}

// mayLack refuses a layer that this machine lacks and the agreement does not do without.
func (r *run) mayLack(lack sandbox.Lack) error {
	i := slices.IndexFunc(r.agreement.Platforms, func(p agreement.Platform) bool { return p.Kind == r.machine.Platform })
	if i >= 0 && slices.Contains(r.agreement.Platforms[i].MayLack, lack.Layer) {
		return nil
	}
	return verdict.Refuse("room.sandbox", "a kernel that allows the sandbox layer "+string(lack.Layer), lack.Reason,
		"start the room on another machine, or agree on may_lack: ["+string(lack.Layer)+"]")
}
