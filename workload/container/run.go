package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/sandbox"
	"strongroom.dev/verdict"
)

// Grace is how long a container has between SIGTERM and SIGKILL.
const Grace = 10 * time.Second

// What a container waits before it is started again, doubling from the first to the last.
const firstBackoff, lastBackoff = 100 * time.Millisecond, 10 * time.Second

// Running is a container that was started.
type Running struct {
	plan    *Plan
	machine Machine
	cell    Cell
	logs    *logs
	volumes []*opened

	cancel  context.CancelFunc // of everything that goes on
	work    sync.WaitGroup     // connections and logs
	stop    chan struct{}      // closed by Stop
	stopped sync.Once
	ended   chan struct{} // closed when ending and err are set
	ending  Ending
	err     error
	closed  sync.Once
	states  []VolumeState
	closing error
	dropped int64
}

// Start opens the plan's disks and volumes, unpacks the image and starts the container. It
// runs until it ends and is not to be started again, until Stop, or until ctx ends, which
// kills it. Close must be called in the end, whatever happens.
func Start(ctx context.Context, p *Plan, m Machine) (*Running, error) {
	if m.Cell == nil || m.Disk == nil || m.Now == nil || m.Event == nil || len(p.container.Logs.Receivers) > 0 && m.Logs == nil {
		return nil, verdict.Misuse("container.machine", "a complete machine", "less", "a defect in the agent: report it")
	}
	inner, cancel := context.WithCancel(ctx)
	r := &Running{plan: p, machine: m, logs: newLogs(p.container.Logs, m), cancel: cancel, stop: make(chan struct{}), ended: make(chan struct{})}
	if err := r.start(ctx); err != nil {
		cancel()
		r.abandonVolumes()
		return nil, err
	}
	r.work.Go(func() { r.supervise(inner) })
	r.serve(ctx, inner)
	m.Event(EventStarted, "")
	return r, nil
}

func (r *Running) start(ctx context.Context) error {
	b := &builder{Running: r}
	defer b.close()
	c, err := b.build(ctx)
	if err != nil {
		return err
	}
	if r.cell, err = r.machine.Cell(ctx, c); err != nil {
		return fmt.Errorf("starting the container: %w", err)
	}
	return nil
}

// serve carries what the container prints, while the run goes on, and its connections to the
// agent, until it is closed.
func (r *Running) serve(run, ctx context.Context) {
	stdout, stderr := r.cell.Output()
	r.work.Go(func() { r.logs.read(run, "stdout", stdout) })
	r.work.Go(func() { r.logs.read(run, "stderr", stderr) })
	for _, e := range r.plan.egress {
		r.work.Go(func() { r.relay(ctx, e) })
	}
	if r.plan.transit != "" {
		r.work.Go(func() { r.transit(ctx) })
	}
}

// Dial connects to a port of the container, which the caller has checked to be one of the
// agreement's.
func (r *Running) Dial(ctx context.Context, port int) (Stream, error) { return r.cell.Dial(ctx, port) }

// Stop asks the container to end: SIGTERM, after Grace SIGKILL. It returns at once.
func (r *Running) Stop() { r.stopped.Do(func() { close(r.stop) }) }

// Wait waits for the container's end. The error is that of ctx, or what took the cell away.
func (r *Running) Wait(ctx context.Context) (Ending, error) {
	select {
	case <-r.ended:
		return r.ending, r.err
	case <-ctx.Done():
		return Ending{}, context.Cause(ctx)
	}
}

// Result gives the file "result" of the container's mount of kind result, at most so many
// bytes, between Wait and Close.
func (r *Running) Result(ctx context.Context, most int64) (*os.File, int64, error) {
	for _, m := range r.plan.container.Mounts {
		if m.Kind == agreement.Result {
			return r.cell.Result(ctx, m.Path, most)
		}
	}
	return nil, 0, verdict.Misuse("container.result", "a mount of kind result", "none", "a defect in the caller: report it")
}

// supervise waits for ends, and starts again as agreed.
func (r *Running) supervise(ctx context.Context) {
	defer close(r.ended)
	stopping := make(chan struct{})
	defer close(stopping)
	go r.terminate(ctx, stopping)
	kill := context.AfterFunc(ctx, r.cell.Kill)
	defer kill()
	for {
		exit, err := r.cell.Wait(ctx)
		if err != nil {
			r.err = errors.Join(context.Cause(ctx), err)
			return
		}
		r.ending.Exit = exit
		if !r.again(ctx, exit) {
			r.ending.Stopped = r.isStopping()
			return
		}
		if err := r.cell.Restart(ctx); err != nil {
			r.err = fmt.Errorf("starting the container again: %w", err)
			return
		}
		r.ending.Restarts++
		r.machine.Event(EventRestarted, fmt.Sprint(r.ending.Restarts))
	}
}

// again reports whether the container is to be started again, once it has waited its time.
func (r *Running) again(ctx context.Context, exit sandbox.Exit) bool {
	policy := r.plan.container.Restart
	failed := exit != sandbox.Exit{}
	wanted := policy.Policy == "always" || policy.Policy == "on-failure" && failed
	if !wanted || r.ending.Restarts >= policy.Most || r.isStopping() {
		return false
	}
	wait := lastBackoff
	if r.ending.Restarts < 7 {
		wait = firstBackoff << r.ending.Restarts
	}
	select {
	case <-time.After(wait):
		return true
	case <-r.stop:
	case <-ctx.Done():
	}
	return false
}

func (r *Running) isStopping() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

// terminate carries Stop out. Signals that come when nothing runs are of no consequence:
// supervise sees Stop too.
func (r *Running) terminate(ctx context.Context, done <-chan struct{}) {
	select {
	case <-r.stop:
	case <-done:
		return
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, Grace}, {syscall.SIGKILL, Grace}} {
		r.cell.Signal(step.signal) // if it can't be told, the next step follows
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case <-time.After(step.wait):
		}
	}
	r.cell.Kill()
}

// Close ends the container if it runs, hands over what is left of its logs, and closes its
// volumes: those of a container that ended are given their root, which their owners' brokers
// keep; those of one that was killed are left as they are. It gives how each volume was. When
// ctx ends, before or meanwhile, keys are taken away at once, what was printed is dropped, and
// no broker is told anything more.
func (r *Running) Close(ctx context.Context) ([]VolumeState, error) {
	r.closed.Do(func() {
		well := false
		select {
		case <-r.ended:
			well = r.err == nil
		default:
		}
		r.cancel()
		r.cell.Kill()
		<-r.ended
		if !well || ctx.Err() != nil { // what still holds a piece of logs up must not keep keys
			r.states = r.abandonVolumes()
		}
		r.work.Wait()
		if r.states == nil {
			r.states, r.closing = r.closeVolumes(ctx)
		}
		r.dropped = r.logs.end(ctx)
	})
	return r.states, r.closing
}

// Dropped is how many bytes of the container's logs were beyond the agreement's bound, after
// Close.
func (r *Running) Dropped() int64 { return r.dropped }
