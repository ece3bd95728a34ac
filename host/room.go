package host

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"strongroom.dev/internal/durable"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Room is a room that this host started. Its methods may be called from any goroutine.
type Room struct {
	config  Config
	targets map[string]string
	dir     string
	cancel  context.CancelFunc
	done    chan struct{}
	ports   ports             // where a container's ports are reached
	places  map[string]string // egress stream -> address

	stopping chan struct{} // closed when the room is asked to end
	asked    sync.Once

	mu     sync.Mutex // owns what follows
	events []room.Event
	files  []string
	err    error
	more   chan struct{} // closed and made anew when an event comes
}

func newRoom(c Config, targets map[string]string, dir string, cancel context.CancelFunc) *Room {
	return &Room{config: c, targets: targets, dir: dir, cancel: cancel, done: make(chan struct{}), more: make(chan struct{}), stopping: make(chan struct{})}
}

// Finish asks a room that serves to end: its container is told to, and its volumes are closed.
func (r *Room) Finish() { r.asked.Do(func() { close(r.stopping) }) }

// Serves reports whether a container runs in the room.
func (r *Room) Serves() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.events, func(e room.Event) bool { return e.Step == room.Serving })
}

// Ports gives the addresses at which a container's ports are reached, by their names.
func (r *Room) Ports() map[wire.ID]string { return r.ports.addresses() }

// Stop kills the room. What it had in memory is gone.
func (r *Room) Stop() {
	r.cancel()
	<-r.done
}

// End asks a room that serves to end, and gives it some time for that, before it is killed.
func (r *Room) End() {
	if r.Serves() {
		r.Finish()
		select {
		case <-r.done:
		case <-time.After(endingTime):
		}
	}
	r.Stop()
}

// endingTime is how long a container and its volumes may take to end: the container's own ten
// seconds, and its volumes' roots.
const endingTime = 30 * time.Second

// Done is closed when the room has ended.
func (r *Room) Done() <-chan struct{} { return r.done }

// Wait waits for the end and gives the reason if the room stopped without a result.
func (r *Room) Wait(ctx context.Context) error {
	select {
	case <-r.done:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Dir is the folder that the room's files are in.
func (r *Room) Dir() string { return r.dir }

// Files gives the names of the files that the room let out so far.
func (r *Room) Files() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.files...)
}

// Events gives the events from the given number on, and whether the room has ended. If there
// is none yet it waits for one, for the end, or for ctx.
func (r *Room) Events(ctx context.Context, from int) (events []room.Event, ended bool) {
	for {
		r.mu.Lock()
		if from < 0 || from > len(r.events) {
			from = len(r.events)
		}
		events, more := append([]room.Event(nil), r.events[from:]...), r.more
		r.mu.Unlock()
		select {
		case <-r.done:
			return r.last(from)
		default:
		}
		if len(events) > 0 {
			return events, false
		}
		select {
		case <-more:
		case <-r.done:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// last gives what is left once the room has ended: nothing is added any more.
func (r *Room) last(from int) ([]room.Event, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]room.Event(nil), r.events[from:]...), true
}

func (r *Room) add(e room.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	close(r.more)
	r.more = make(chan struct{})
}

// end says how the room ended, once. A room that could not say so itself has it said for it.
func (r *Room) end(err error) {
	r.mu.Lock()
	r.err = err
	if n := len(r.events); err != nil && (n == 0 || r.events[n-1].Event != room.Stopped) {
		r.events = append(r.events, room.Event{Event: room.Stopped, Error: verdict.Encode(err)})
	}
	r.mu.Unlock()
	close(r.done)
}

// maxEvents bounds what a room may tell: a run has some twenty events.
const maxEvents = 1000

// listen reads the room's events to the last.
func (r *Room) listen(control io.Reader) error {
	for range maxEvents {
		e, err := room.ReadEvent(control)
		if err != nil {
			return err
		}
		if e.Event == room.File {
			if err := r.receive(control, e); err != nil {
				return unkept(err)
			}
		}
		r.add(e)
		switch e.Event {
		case room.Done:
			return nil
		case room.Stopped:
			return verdict.Decode(e.Error)
		}
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "room.event", Expected: fmt.Sprintf("at most %d events", maxEvents), Got: "more"}
}

// receive puts a file of the room into its folder: whole or not at all.
func (r *Room) receive(control io.Reader, e room.Event) error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	f, err := durable.Create(filepath.Join(r.dir, e.Name), 0o600)
	if err != nil {
		return err
	}
	if err := room.ReadFile(f, control, e.Size); err != nil {
		f.Abort()
		return err
	}
	if err := f.Commit(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files = append(r.files, e.Name)
	return nil
}
