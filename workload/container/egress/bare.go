package egress

import (
	"errors"
	"io"
	"net"
	"time"
)

// bare makes a connection of a byte stream, for package tls. It has no addresses, and no
// deadlines: whoever waits closes it.
type bare struct{ io.ReadWriteCloser }

// errCut is the end of a connection that did not say that it ends. Package tls would take it
// for an end like another: a host could make a part of an answer look like the whole.
var errCut = errors.New("the connection was cut")

func (b bare) Read(p []byte) (int, error) {
	n, err := b.ReadWriteCloser.Read(p)
	if err == io.EOF {
		err = errCut
	}
	return n, err
}

func (bare) LocalAddr() net.Addr              { return nowhere{} }
func (bare) RemoteAddr() net.Addr             { return nowhere{} }
func (bare) SetDeadline(time.Time) error      { return nil }
func (bare) SetReadDeadline(time.Time) error  { return nil }
func (bare) SetWriteDeadline(time.Time) error { return nil }

type nowhere struct{}

func (nowhere) Network() string { return "stream" }
func (nowhere) String() string  { return "a stream of the host's" }
