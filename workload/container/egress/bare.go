package egress

import (
	"io"
	"net"
	"time"
)

// bare makes a connection of a byte stream, for package tls. It has no addresses, and no
// deadlines: whoever waits closes it.
type bare struct{ io.ReadWriteCloser }

func (bare) LocalAddr() net.Addr              { return nowhere{} }
func (bare) RemoteAddr() net.Addr             { return nowhere{} }
func (bare) SetDeadline(time.Time) error      { return nil }
func (bare) SetReadDeadline(time.Time) error  { return nil }
func (bare) SetWriteDeadline(time.Time) error { return nil }

type nowhere struct{}

func (nowhere) Network() string { return "stream" }
func (nowhere) String() string  { return "a stream of the host's" }
