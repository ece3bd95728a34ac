package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"

	"strongroom.dev/verdict"
)

// ErrReset is in the chain of every error of a stream that either side gave up.
var ErrReset = errors.New("stream reset")

// Stream is one stream of a session. Read and Write may each be called by one goroutine at
// a time; the other methods by any.
type Stream struct {
	session *Session
	id      uint32
	name    string
	mine    bool // this side opened it

	// The session's mutex owns what follows; changed tells of every change.
	changed *sync.Cond
	queued  bool // stands in session.ready
	gone    bool // no longer in session.streams

	in       inbox // received, not yet read; at most Window
	room     int   // bytes the peer may still send
	consumed int   // bytes read since credit was last given
	inEnded  bool  // the peer sent its end

	out      []byte // what a Write waits to see sent; at most Window
	credit   int    // bytes this side may still send
	sayOpen  bool   // the open frame is still to be sent
	outEnded bool   // CloseWrite was called
	endSent  bool

	broken   error // why the stream was reset, by either side
	sayReset string
	stop     func() bool // ends the watch over the context the stream is bound to
}

// newStream makes a stream and enters it. The caller holds the session's mutex.
func (s *Session) newStream(id uint32, name string) *Stream {
	t := &Stream{session: s, id: id, name: name, room: Window, credit: Window}
	t.changed = sync.NewCond(&s.mu)
	s.streams[id] = t
	return t
}

// Name gives the name the stream was opened under.
func (t *Stream) Name() string { return t.name }

// bind resets the stream when ctx ends. The caller holds the session's mutex.
func (t *Stream) bind(ctx context.Context) {
	t.stop = context.AfterFunc(ctx, func() {
		t.give(fmt.Errorf("%w: %w", ErrReset, context.Cause(ctx)), "cancelled")
	})
}

// Read reads what the peer wrote; io.EOF after the peer's end.
func (t *Stream) Read(p []byte) (int, error) {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for t.in.empty() {
		switch {
		case t.broken != nil:
			return 0, t.broken
		case t.inEnded:
			return 0, io.EOF
		case s.err != nil:
			return 0, ended(s.err)
		case len(p) == 0:
			return 0, nil
		}
		t.changed.Wait()
	}
	n := t.in.take(p, &s.pieces)
	t.consumed += n
	if t.consumed >= Window/2 && !t.inEnded {
		s.queue(t)
	}
	return n, nil
}

// WriteTo implements [io.WriterTo]: it hands what arrives to w as it lies, several pieces in
// one call of the kernel where w is a network's connection, until the peer's end. The peer may
// send more only for what w has taken.
func (t *Stream) WriteTo(w io.Writer) (written int64, err error) {
	var batch net.Buffers
	for {
		pieces, err := t.wait()
		if err != nil || pieces == nil {
			return written, err
		}
		batch = append(batch[:0], pieces...)
		all := batch
		n, err := all.WriteTo(w)
		written += n
		t.taken(pieces, int(n))
		if err != nil {
			return written, err
		}
	}
}

// wait gives all that is there to read, waiting for some; nil at the peer's end.
func (t *Stream) wait() ([][]byte, error) {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for t.in.empty() {
		switch {
		case t.broken != nil:
			return nil, t.broken
		case t.inEnded:
			return nil, nil
		case s.err != nil:
			return nil, ended(s.err)
		}
		t.changed.Wait()
	}
	pieces := t.in.pieces
	pieces[0] = pieces[0][t.in.read:]
	t.in = inbox{}
	return pieces, nil
}

// taken gives pieces back, of which n bytes were read.
func (t *Stream) taken(pieces [][]byte, n int) {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, piece := range pieces {
		if cap(piece) == MaxFrame { // the first may have been begun before
			s.pieces.put(piece)
		}
	}
	t.consumed += n
	if t.consumed >= Window/2 && !t.inEnded {
		s.queue(t)
	}
}

// Write sends p, waiting for the peer to make room. It returns once p was handed on.
func (t *Stream) Write(p []byte) (int, error) {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := 0
	for sent < len(p) {
		for t.credit == 0 && t.writeErr() == nil {
			t.changed.Wait()
		}
		if err := t.writeErr(); err != nil {
			return sent, err
		}
		n := min(t.credit, len(p)-sent)
		t.credit -= n
		t.out = p[sent : sent+n]
		s.queue(t)
		for t.out != nil && t.writeErr() == nil {
			t.changed.Wait()
		}
		if t.out != nil { // not all was handed on, and p belongs to the caller again
			sent += n - len(t.out)
			t.out = nil
			return sent, t.writeErr()
		}
		sent += n
	}
	return sent, nil
}

// writeErr says why nothing can be sent any more; nil if it can.
func (t *Stream) writeErr() error {
	switch {
	case t.broken != nil:
		return t.broken
	case t.outEnded:
		return fmt.Errorf("channel: write after the stream's end")
	case t.session.err != nil:
		return ended(t.session.err)
	}
	return nil
}

// ended gives a stream's error for the end of its session. The peer's going away in the
// middle of a stream is never an orderly end of it.
func ended(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// CloseWrite says that this side has written everything; reading goes on.
func (t *Stream) CloseWrite() error {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := t.writeErr(); err != nil {
		return err
	}
	t.outEnded = true
	s.queue(t)
	return nil
}

// Close lets go of the stream: if both sides have ended, quietly, else with a reset.
func (t *Stream) Close() error {
	s := t.session
	s.mu.Lock()
	if t.stop != nil {
		t.stop()
	}
	over := t.inEnded && t.outEnded
	if over {
		t.in.clear(&s.pieces)
	}
	s.mu.Unlock()
	if !over {
		t.give(fmt.Errorf("%w: closed", ErrReset), "closed")
	}
	return nil
}

// Reset gives the stream up and tells the peer why, in at most MaxReason bytes.
func (t *Stream) Reset(reason string) {
	t.give(fmt.Errorf("%w: %s", ErrReset, reason), reason)
}

func (t *Stream) give(err error, reason string) {
	s := t.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.broken != nil || t.gone {
		return
	}
	t.broken, t.out = err, nil
	t.in.clear(&s.pieces)
	t.sayReset = cut(reason)
	t.changed.Broadcast()
	s.queue(t)
}

// cut makes a reason fit to send: printable, not empty, at most MaxReason bytes.
func cut(reason string) string {
	reason = verdict.Short(reason)
	if reason == "" {
		return "closed"
	}
	return reason[:min(len(reason), MaxReason)]
}

// drop takes the stream out of the session's books. The caller holds the mutex.
func (s *Session) drop(t *Stream) {
	if t.gone {
		return
	}
	t.gone = true
	delete(s.streams, t.id)
	// A peer that opens and resets without end must not leave anything behind.
	s.ready = slices.DeleteFunc(s.ready, func(r *Stream) bool { return r == t })
	if t.mine {
		s.opened--
	} else {
		s.accepted--
		s.backlog = slices.DeleteFunc(s.backlog, func(r *Stream) bool { return r == t })
	}
	if t.stop != nil {
		t.stop()
	}
	t.changed.Broadcast()
}
