package host_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"strongroom.dev/host"
)

// TestCrowd: one address has so many connections and no more, and keeps none from others.
func TestCrowd(t *testing.T) {
	at := func(address string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)) }
	for name, test := range map[string]struct {
		from  string // a port is put behind it
		same  []string
		other []string
	}{
		"IPv4":            {"192.0.2.1:%d", []string{"[::ffff:192.0.2.1]:7"}, []string{"192.0.2.2:7", "[2001:db8::1]:7"}},
		"IPv6, by its 64": {"[2001:db8::%d]:7", []string{"[2001:db8::ffff:1:1]:9"}, []string{"[2001:db8:0:1::1]:7", "192.0.2.1:7"}},
		"IPv6 of a link":  {"[fe80::%d%%eth0]:7", []string{"[fe80::1%eth1]:9"}, []string{"[::1]:7"}},
	} {
		t.Run(name, func(t *testing.T) {
			var c host.Crowd
			var leave []func()
			for i := range host.MaxFrom {
				one := c.Enter(at(fmt.Sprintf(test.from, i+1)))
				if one == nil {
					t.Fatalf("connection %d is turned away", i+1)
				}
				leave = append(leave, one)
			}
			for _, address := range append(test.same, fmt.Sprintf(test.from, 1)) {
				if c.Enter(at(address)) != nil {
					t.Errorf("one more, from %s, is let in", address)
				}
			}
			for _, address := range test.other {
				one := c.Enter(at(address))
				if one == nil {
					t.Fatalf("another address, %s, is turned away", address)
				}
				one()
			}
			leave[0]()
			leave[0]() // counts once
			first := c.Enter(at(test.same[0]))
			if first == nil || c.Enter(at(test.same[0])) != nil {
				t.Error("the place of one that left is one place")
			}
			for _, one := range append(leave, first) {
				one()
			}
			if n := c.Origins(); n != 0 {
				t.Errorf("%d addresses are remembered", n)
			}
		})
	}
}

// TestVisitors: a connection counts until it is closed, and one too many is closed.
func TestVisitors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var c host.Crowd
	arrive := func() (client, inside net.Conn, ok bool) {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		inside, ok = c.Take(conn.(*net.TCPConn))
		return client, inside, ok
	}
	var last net.Conn
	for i := range host.MaxFrom {
		_, inside, ok := arrive()
		if !ok {
			t.Fatalf("connection %d is turned away", i+1)
		}
		t.Cleanup(func() { inside.Close() })
		last = inside
	}
	client, _, ok := arrive()
	client.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := client.Read(make([]byte, 1)); ok || err != io.EOF {
		t.Errorf("one too many: let in %v, %v", ok, err)
	}
	last.Close()
	if _, inside, ok := arrive(); !ok {
		t.Error("the place of one that was closed is not free")
	} else {
		inside.Close()
	}
}
