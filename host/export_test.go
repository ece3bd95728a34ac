package host

import "net"

// Unkept is unkept.
func Unkept(err error) error { return unkept(err) }

// Crowd counts connections by where they come from.
type Crowd struct{ crowd }

// Enter is enter.
func (c *Crowd) Enter(from net.Addr) (leave func()) { return c.enter(from) }

// Take is take.
func (c *Crowd) Take(conn *net.TCPConn) (net.Conn, bool) { return c.take(conn) }

// Origins counts the addresses that are remembered.
func (c *Crowd) Origins() int { return len(c.at) }

// MaxFrom is how many connections one address has.
const MaxFrom = maxFrom
