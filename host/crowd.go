package host

import (
	"net"
	"net/netip"
	"sync"

	"strongroom.dev/ingress"
)

// maxFrom is how many connections to a room's ports this process holds at once from one
// address: half of what a room takes, so that none takes all. A proxy is one address.
const maxFrom = ingress.MaxConnections / 2

// crowd counts connections by where they come from. The zero value is ready.
type crowd struct {
	mu sync.Mutex // owns at
	at map[netip.Prefix]int
}

// enter counts a connection until leave is called, which may be more than once; leave is nil if
// there are too many from its address.
func (c *crowd) enter(from net.Addr) (leave func()) {
	where := origin(from)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at[where] >= maxFrom {
		return nil
	}
	if c.at == nil {
		c.at = map[netip.Prefix]int{}
	}
	c.at[where]++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.at[where]--; c.at[where] == 0 {
			delete(c.at, where)
		}
	})
}

// origin gives what stands for one client: an IPv4 address, or the 64 bits of an IPv6 address
// that its owner does not choose.
func origin(from net.Addr) netip.Prefix {
	tcp, ok := from.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip, bits := tcp.AddrPort().Addr().Unmap().WithZone(""), 64
	if ip.Is4() {
		bits = 32
	}
	where, _ := ip.Prefix(bits) // the zero one for the zero address
	return where
}

// visitor is a connection that is counted until it is closed.
type visitor struct {
	*net.TCPConn
	leave func()
}

func (v visitor) Close() error {
	v.leave()
	return v.TCPConn.Close()
}

// take counts a connection, or closes it where there are too many.
func (c *crowd) take(conn *net.TCPConn) (visitor, bool) {
	leave := c.enter(conn.RemoteAddr())
	if leave == nil {
		conn.Close()
		return visitor{}, false
	}
	return visitor{conn, leave}, true
}
