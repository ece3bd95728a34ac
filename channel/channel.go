// Package channel makes one byte stream into many: the agent's only way out is one
// connection to its host, and over it run named, flow-controlled streams to the owners'
// brokers, the ledgers and the host itself (spec/channel.md).
//
// The package promises that a hostile peer can neither deadlock a session nor make it hold
// more than the constants in limits.go add up to, that a slow stream does not hold up the
// others, and that no allocation is sized by what a peer declares. It protects nothing that
// passes: what does is signed or sealed end to end, so the relay needs no trust. A peer
// that breaks the protocol ends the session.
package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Role is a side of a session; it decides which streams the side may open.
type Role int

const (
	// Room is the side inside: it opens broker/NAME, ledger/NAME and egress/NAME.
	Room Role = 1
	// Host is the side outside: it opens control and ingress/NAME.
	Host Role = 2
)

func (r Role) String() string {
	switch r {
	case Room:
		return "room"
	case Host:
		return "host"
	}
	return fmt.Sprintf("role %d", int(r))
}

// MayOpen reports whether a side of this role may open a stream of that name.
func (r Role) MayOpen(name string) bool {
	kind, id, found := strings.Cut(name, "/")
	if len(name) > MaxName || found && !wire.ID(id).Valid() {
		return false
	}
	switch kind {
	case "control":
		return r == Host && !found
	case "ingress":
		return r == Host && found
	case "broker", "ledger", "egress":
		return r == Room && found
	}
	return false
}

// preface is what each side sends first, so that a peer of another version, or something
// that is no peer at all, is found out before anything is made of its bytes.
const preface = "strongroom/channel/v1\n"

// ErrClosed says that the session was closed by this side.
var ErrClosed = errors.New("channel closed")

// Session is one end of a channel. Its methods may be called from several goroutines.
type Session struct {
	conn io.ReadWriteCloser
	role Role

	mu       sync.Mutex // owns everything below, and every Stream's state; never held during I/O
	streams  map[uint32]*Stream
	opened   int // streams in the map that this side opened
	accepted int // streams in the map that the peer opened
	nextID   uint32
	peerID   uint32 // the last identifier that the peer used
	pieces   pieces
	ready    []*Stream // streams with something to send, each at most once
	backlog  []*Stream // opened by the peer, not yet accepted; at most MaxStreams
	err      error     // set once, when the session ends
	writable *sync.Cond
	arrived  *sync.Cond
	done     chan struct{} // closed when the session ends
	running  sync.WaitGroup
}

// New starts a session over conn, which it owns from then on. The zero Role is refused.
func New(conn io.ReadWriteCloser, role Role) (*Session, error) {
	if role != Room && role != Host {
		return nil, fmt.Errorf("channel: no session as %s", role)
	}
	s := &Session{conn: conn, role: role, streams: map[uint32]*Stream{}, done: make(chan struct{})}
	s.nextID = uint32(role) // rooms use odd identifiers, hosts even ones
	s.writable, s.arrived = sync.NewCond(&s.mu), sync.NewCond(&s.mu)
	s.running.Add(2)
	go s.reading()
	go s.writing()
	return s, nil
}

// Close ends the session and every stream, and waits until nothing of it runs.
func (s *Session) Close() error {
	s.fail(ErrClosed)
	s.running.Wait()
	return nil
}

// Done is closed when the session has ended, for whatever reason.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says why the session ended: nil while it lives, io.EOF if the peer went away.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail ends the session with its first error.
func (s *Session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.err = err
	for _, t := range s.streams {
		t.changed.Broadcast()
	}
	s.writable.Broadcast()
	s.arrived.Broadcast()
	close(s.done)
	s.conn.Close()
}

// violation is an error of the peer's.
func violation(expected, format string, args ...any) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "channel.protocol", Expected: expected,
		Got: fmt.Sprintf(format, args...), Fix: "both ends must be of the same version"}
}

// Open opens a stream. It fails if the name is not this side's to open or MaxStreams are
// open. When ctx ends the stream is reset.
func (s *Session) Open(ctx context.Context, name string) (*Stream, error) {
	if !s.role.MayOpen(name) {
		return nil, fmt.Errorf("channel: a %s may not open stream %q", s.role, verdict.Short(name))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nil, s.err
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case s.opened >= MaxStreams:
		return nil, fmt.Errorf("channel: %d streams are open already", s.opened)
	case s.nextID > maxID:
		return nil, fmt.Errorf("channel: the session has used all its stream identifiers")
	}
	t := s.newStream(s.nextID, name)
	t.mine, t.sayOpen = true, true
	s.nextID += 2
	s.opened++
	t.bind(ctx)
	s.queue(t)
	return t, nil
}

// Accept waits for a stream that the peer opens. When ctx ends, so does the wait.
func (s *Session) Accept(ctx context.Context) (*Stream, error) {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		s.arrived.Broadcast()
		s.mu.Unlock()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.backlog) == 0 {
		if s.err != nil {
			return nil, s.err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.arrived.Wait()
	}
	t := s.backlog[0]
	s.backlog = s.backlog[1:]
	return t, nil
}
