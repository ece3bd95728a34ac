package ingress

import (
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A piece is what is carried at once. Who sends little waits with a small buffer, of one record
// of TLS. Who fills it sends much, and gets a large one: each piece costs two system calls and
// wakes whoever reads it.
const (
	smallPiece = 16 << 10
	largePiece = 256 << 10
	// sealedPiece is a large piece as records of TLS: each adds 22 bytes.
	sealedPiece = largePiece + largePiece/smallPiece*22
	// maxLarge is how many connections have large pieces at once: the others go on with small ones.
	maxLarge = 64
)

// buffers are those that pieces are carried in. The zero value is ready.
type buffers struct {
	small, large, sealed sync.Pool
	taken                atomic.Int64 // large ones
}

// take gives a buffer for pieces: a large one only if not too many have one.
func (b *buffers) take(large bool) *[]byte {
	if large && b.taken.Add(1) <= maxLarge {
		return buffer(&b.large, largePiece)
	}
	if large {
		b.taken.Add(-1)
	}
	return buffer(&b.small, smallPiece)
}

func buffer(pool *sync.Pool, size int) *[]byte {
	if p, ok := pool.Get().(*[]byte); ok {
		return p
	}
	p := make([]byte, size)
	return &p
}

// give takes a buffer back. It held plaintext, which the next to take it must not be able to
// send by a mistake of its own.
func (b *buffers) give(p *[]byte, used int) {
	clear((*p)[:used])
	if len(*p) == smallPiece {
		b.small.Put(p)
		return
	}
	b.large.Put(p)
	b.taken.Add(-1)
}

// client is the side of a connection that is not the container: its plaintext.
type client interface {
	io.ReadWriter
	CloseWrite() error
}

// corked is a TLS connection whose records of one write leave in one piece.
type corked struct {
	*tls.Conn
	wire    *wireConn
	buffers *buffers
}

func (c corked) Write(p []byte) (int, error) {
	if len(p) <= smallPiece { // one record: nothing to gather
		return c.Conn.Write(p)
	}
	sealed := buffer(&c.buffers.sealed, sealedPiece)
	defer c.buffers.sealed.Put(sealed)
	c.wire.cork(*sealed)
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
		err := b.carry(container, c, false) // TLS gives a record at most
		if err == nil {
			err = closeWrite(container)
		}
		if err != nil { // what the container still says has nobody to hear it
			cut(container)
			close()
		}
		up <- err
	}()
	err := b.carry(c, container, true)
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

// carry copies until src ends, in large pieces where it sends much and reads can give more
// than a small one.
func (b *buffers) carry(dst io.Writer, src io.Reader, large bool) error {
	buffer, used := b.take(false), 0
	defer func() { b.give(buffer, used) }()
	for {
		n, err := src.Read(*buffer)
		used = max(used, n)
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
		if more := large && n >= smallPiece; more != (len(*buffer) == largePiece) {
			b.give(buffer, used)
			buffer, used = b.take(more), 0
		}
	}
}

// linger waits until the other end has taken what was written last and goes away.
func linger(r io.Reader, close func()) {
	timer := time.AfterFunc(lingerTime, close)
	defer timer.Stop()
	_, _ = io.Copy(io.Discard, io.LimitReader(r, MaxShown))
}
