package ingress

import (
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"time"
)

// pieces is how much is carried at once: four records of TLS, twice the largest frame of a
// channel.
const pieces = 64 << 10

// buffers are those that pieces are carried in.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return p
	}
	p := make([]byte, pieces)
	return &p
}

// put takes a buffer back. It held plaintext, which the next to take it must not be able to
// send by a mistake of its own.
func (b *buffers) put(p *[]byte, used int) {
	clear((*p)[:used])
	b.pool.Put(p)
}

// client is the side of a connection that is not the container: its plaintext.
type client interface {
	io.ReadWriter
	CloseWrite() error
}

// corked is a TLS connection whose records of one write leave in one piece.
type corked struct {
	*tls.Conn
	wire *wireConn
}

func (c corked) Write(p []byte) (int, error) {
	if len(p) <= 16<<10 { // one record: nothing to gather
		return c.Conn.Write(p)
	}
	c.wire.cork()
	n, err := c.Conn.Write(p)
	if uerr := c.wire.uncork(); err == nil {
		err = uerr
	}
	return n, err
}

// CloseWrite says at both levels that nothing follows.
func (c corked) CloseWrite() error {
	if err := c.Conn.CloseWrite(); err != nil {
		return err
	}
	return c.wire.CloseWrite()
}

// splice carries bytes both ways until both ways have ended, each end handed on as what it
// is: a client that goes away without saying that it has written everything breaks the
// container's connection, it does not end it.
func (b *buffers) splice(c client, container io.ReadWriteCloser, close func()) error {
	up := make(chan error, 1)
	go func() {
		err := b.carry(container, c)
		if err == nil {
			err = closeWrite(container)
		}
		if err != nil { // what the container still says has nobody to hear it
			cut(container)
			close()
		}
		up <- err
	}()
	err := b.carry(c, container)
	if err == nil {
		err = c.CloseWrite()
	}
	if err != nil {
		cut(container)
		close()
	}
	return errors.Join(<-up, err)
}

// cut ends a connection as one that broke, where it can tell that from one that ended.
func cut(c io.Closer) {
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0)
	}
	c.Close()
}

// carry copies until src ends.
func (b *buffers) carry(dst io.Writer, src io.Reader) error {
	buffer, most := b.get(), 0
	defer func() { b.put(buffer, most) }()
	for {
		n, err := src.Read(*buffer)
		most = max(most, n)
		if n > 0 {
			if _, werr := dst.Write((*buffer)[:n]); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// linger waits until the other end has taken what was written last and goes away.
func linger(r io.Reader, close func()) {
	timer := time.AfterFunc(lingerTime, close)
	defer timer.Stop()
	_, _ = io.Copy(io.Discard, io.LimitReader(r, MaxShown))
}
