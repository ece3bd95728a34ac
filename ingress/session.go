package ingress

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

const (
	// pollTime is how long a request for bytes waits for some: below what proxies allow.
	pollTime = 20 * time.Second
	// idleTime ends a session whose client has asked for nothing.
	idleTime = 90 * time.Second
)

// session is the room's end of a tunnel's session: a connection to [port.exchange], and what
// its requests are answered from.
type session struct {
	id       sessionID
	port     wire.ID
	keys     secrets
	up, down *pipe // from the client, and to it
	idle     *time.Timer
	cancel   context.CancelFunc

	admitted atomic.Bool // its requests are no stranger's any more

	// Each direction answers one request after the other.
	sending, receiving *turn
	sent, received     uint64 // numbers of the next requests
	lastSent           []byte // answer to the request before, which may be asked for again
	lastReceived       []byte
}

func (s *session) Read(p []byte) (int, error)  { return s.up.read(p) }
func (s *session) Write(p []byte) (int, error) { return s.down.write(p) }
func (s *session) CloseWrite() error           { s.down.end(); return nil }

// Close ends the session for good.
func (s *session) Close() error {
	s.idle.Stop()
	s.cancel()
	s.up.abort()
	s.down.abort()
	return nil
}

// replayed is the error of a request whose number is not the next.
func replayed(got uint64) error {
	return verdict.Refuse("tunnel.sequence", "the next request of the session", fmt.Sprint("number ", got), "somebody repeats or reorders requests: what was said counts once")
}

// send takes bytes from the client. A request that is repeated gets its answer again and
// carries nothing: a proxy may have lost the answer.
func (s *session) send(ctx context.Context, n uint64, plain []byte) ([]byte, error) {
	if plain[0] > flagEnd {
		return nil, unsealed()
	}
	ctx, done, err := s.sending.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	s.idle.Reset(idleTime)
	if n+1 == s.sent {
		return s.lastSent, nil
	}
	if n != s.sent {
		return nil, replayed(n)
	}
	if err := s.up.put(ctx, plain[1:]); err != nil {
		return nil, err
	}
	if plain[0] == flagEnd {
		s.up.end()
	}
	s.sent++
	h := head(tunnelSend, s.id, n)
	s.lastSent = s.keys.ack.Seal(h, n, nil, h)
	return s.lastSent, nil
}

// receive gives the client what there is, or waits a while for some.
func (s *session) receive(ctx context.Context, n uint64) ([]byte, error) {
	ctx, done, err := s.receiving.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	s.idle.Reset(idleTime)
	if n+1 == s.received {
		return s.lastReceived, nil
	}
	if n != s.received {
		return nil, replayed(n)
	}
	ctx, stop := context.WithTimeout(ctx, pollTime)
	defer stop()
	data, ended, err := s.down.take(ctx)
	if err != nil {
		return nil, err
	}
	flag := flagMore
	if ended {
		flag = flagEnd
	}
	s.received++
	h := head(tunnelReceive, s.id, n)
	s.lastReceived = s.keys.down.Seal(h, n, append([]byte{flag}, data...), h)
	return s.lastReceived, nil
}

func unsealed() error {
	return verdict.NotGenuine("tunnel.sealed", "a message of this session", "one that does not open", "it was altered on its way, or is another session's: connect again")
}

// turn is that of the one request of a direction which may wait. Whoever comes next ends the
// waiting of the one before: that one is a copy whose answer a proxy has given up, or somebody
// sends many to hold as many places.
type turn struct {
	one chan struct{} // holds one while somebody has the turn
	mu  sync.Mutex    // owns end
	end context.CancelFunc
}

func newTurn() *turn { return &turn{one: make(chan struct{}, 1)} }

// take waits for the turn, which lasts until done is called, and its waiting until ctx ends.
func (t *turn) take(ctx context.Context) (_ context.Context, done func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	t.mu.Lock()
	if t.end != nil {
		t.end()
	}
	t.end = cancel
	t.mu.Unlock()
	select {
	case t.one <- struct{}{}:
		return ctx, func() { <-t.one; cancel() }, nil
	case <-ctx.Done():
		cancel()
		return nil, nil, busy("requests of one direction of a session")
	}
}

// pipe holds a bounded number of bytes between the requests of a session and its connection.
type pipe struct {
	mu      sync.Mutex // owns all
	changed *sync.Cond
	buffer  bytes.Buffer
	ended   bool
	aborted bool
}

func newPipe() *pipe {
	p := &pipe{}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// read waits for bytes; io.EOF after the end.
func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.buffer.Len() == 0 {
		switch {
		case p.aborted:
			return 0, io.ErrUnexpectedEOF
		case p.ended:
			return 0, io.EOF
		case len(b) == 0:
			return 0, nil
		}
		p.changed.Wait()
	}
	n, _ := p.buffer.Read(b)
	p.changed.Broadcast()
	return n, nil
}

// write waits for room.
func (p *pipe) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	written := 0
	for written < len(b) {
		for p.buffer.Len() >= tunnelBuffer && !p.aborted {
			p.changed.Wait()
		}
		if p.aborted || p.ended {
			return written, io.ErrClosedPipe
		}
		n := min(len(b)-written, tunnelBuffer-p.buffer.Len())
		p.buffer.Write(b[written : written+n])
		written += n
		p.changed.Broadcast()
	}
	return written, nil
}

// put is write all or nothing: what does not fit before ctx ends may be sent again.
func (p *pipe) put(ctx context.Context, b []byte) error {
	stop := context.AfterFunc(ctx, func() { p.mu.Lock(); p.changed.Broadcast(); p.mu.Unlock() })
	defer stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.aborted || p.ended:
			return gone()
		case p.buffer.Len() == 0 || p.buffer.Len()+len(b) <= tunnelBuffer:
			p.buffer.Write(b)
			p.changed.Broadcast()
			return nil
		case ctx.Err() != nil:
			return busy("bytes that the container has not read yet")
		}
		p.changed.Wait()
	}
}

// take gives what there is, waiting for some until ctx ends; ended after the last. Of what
// broke off it gives nothing more: no part may look like the whole.
func (p *pipe) take(ctx context.Context) (data []byte, ended bool, err error) {
	stop := context.AfterFunc(ctx, func() { p.mu.Lock(); p.changed.Broadcast(); p.mu.Unlock() })
	defer stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.buffer.Len() == 0 && !p.ended && !p.aborted && ctx.Err() == nil {
		p.changed.Wait()
	}
	if p.aborted {
		return nil, false, gone()
	}
	data = bytes.Clone(p.buffer.Bytes())
	p.buffer.Reset()
	p.changed.Broadcast()
	return data, p.ended, nil
}

// drained waits until the client has closed the session, which it does once it has what was
// written last, or time is over.
func (p *pipe) drained(ctx context.Context, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { p.mu.Lock(); p.changed.Broadcast(); p.mu.Unlock() })
	defer stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.aborted && ctx.Err() == nil {
		p.changed.Wait()
	}
}

func gone() error {
	return &verdict.Error{Kind: verdict.Broken, Check: "tunnel.session", Expected: "a session that goes on", Got: "one that has ended", Fix: "connect again"}
}

// end says that nothing more is written; abort that nothing more is read either. What was
// aborted did not end.
func (p *pipe) end() {
	p.mu.Lock()
	p.ended = p.ended || !p.aborted
	p.changed.Broadcast()
	p.mu.Unlock()
}

func (p *pipe) abort() {
	p.mu.Lock()
	p.aborted = true
	p.changed.Broadcast()
	p.mu.Unlock()
}
