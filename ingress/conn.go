package ingress

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// wireConn makes a host's stream a connection that crypto/tls takes, and sends what is
// written while it is corked in one piece: the records of one TLS write are several, and each
// piece costs the channel a frame and two goroutines a change.
type wireConn struct {
	io.ReadWriteCloser
	first []byte // read ahead

	mu     sync.Mutex // owns what follows; held over the underlying Write, which keeps the order
	corked bool
	held   []byte
	over   bool // nothing more is sent
}

// peek reads the first byte of a connection, which stays to be read.
func peek(conn io.ReadWriteCloser) (byte, *wireConn, error) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		return 0, nil, err
	}
	return first[0], &wireConn{ReadWriteCloser: conn, first: first}, nil
}

func (c *wireConn) Read(p []byte) (int, error) {
	if len(c.first) > 0 && len(p) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	n, err := c.ReadWriteCloser.Read(p)
	return n, unended(err)
}

// errCut is the end of a connection that did not say that it ends. crypto/tls would take it
// for an end like another: whoever carries the bytes could make a part look like the whole.
var errCut = errors.New("the connection was cut")

func unended(err error) error {
	if err == io.EOF {
		return errCut
	}
	return err
}

// strict is a client's connection, whose end in the middle is none.
type strict struct{ net.Conn }

func (s strict) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	return n, unended(err)
}

func (c *wireConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return 0, io.ErrClosedPipe
	}
	if !c.corked {
		return c.ReadWriteCloser.Write(p)
	}
	if len(c.held)+len(p) > cap(c.held) {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > cap(c.held) {
		return c.ReadWriteCloser.Write(p)
	}
	c.held = append(c.held, p...)
	return len(p), nil
}

// last sends something after which nothing is sent any more.
func (c *wireConn) last(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.ReadWriteCloser.Write(p) // if it is lost, so be it
	c.over = true
}

func (c *wireConn) flush() error {
	if len(c.held) == 0 {
		return nil
	}
	_, err := c.ReadWriteCloser.Write(c.held)
	c.held = c.held[:0]
	return err
}

// cork holds back what is written from now on, as much as the buffer takes; uncork sends it
// and lets go of the buffer.
func (c *wireConn) cork(buffer []byte) {
	c.mu.Lock()
	c.corked, c.held = true, buffer[:0]
	c.mu.Unlock()
}

func (c *wireConn) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.flush()
	c.corked, c.held = false, nil
	return err
}

// CloseWrite ends what is written, where the stream below knows that.
func (c *wireConn) CloseWrite() error { return closeWrite(c.ReadWriteCloser) }

func closeWrite(c io.Closer) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// deadlined is what a connection of a network has and a stream of a channel has not.
type deadlined interface {
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

func (c *wireConn) SetDeadline(t time.Time) error {
	if d, ok := c.ReadWriteCloser.(deadlined); ok {
		return d.SetDeadline(t)
	}
	return nil // the timers of whoever serves it close it instead
}

func (c *wireConn) SetReadDeadline(t time.Time) error {
	if d, ok := c.ReadWriteCloser.(deadlined); ok {
		return d.SetReadDeadline(t)
	}
	return nil
}

func (c *wireConn) SetWriteDeadline(t time.Time) error {
	if d, ok := c.ReadWriteCloser.(deadlined); ok {
		return d.SetWriteDeadline(t)
	}
	return nil
}

// nowhere is an address that says nothing: of a stream nobody knows where it comes from.
type nowhere struct{}

func (nowhere) Network() string { return "room" }
func (nowhere) String() string  { return "room" }

func (c *wireConn) LocalAddr() net.Addr  { return nowhere{} }
func (c *wireConn) RemoteAddr() net.Addr { return nowhere{} }

// guard closes a connection when its time is over, unless it is moved or stopped before.
type guard struct {
	timer *time.Timer
	mu    sync.Mutex
	fired bool
}

func newGuard(after time.Duration, close func()) *guard {
	g := &guard{}
	g.timer = time.AfterFunc(after, func() {
		g.mu.Lock()
		g.fired = true
		g.mu.Unlock()
		close()
	})
	return g
}

func (g *guard) move(after time.Duration) { g.timer.Reset(after) }
func (g *guard) stop()                    { g.timer.Stop() }

// late reports whether it was the guard that closed the connection.
func (g *guard) late() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fired
}
