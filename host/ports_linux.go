package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"strongroom.dev/channel"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// publish lets connections in once the room serves. Each is a stream of the room's, and what
// passes is for the room to admit and to decrypt.
func (l *launch) publish(ctx context.Context, session *channel.Session) {
	if len(l.ports) == 0 || !l.served(ctx) {
		return
	}
	var from crowd
	for _, p := range l.ports {
		door := newDoor(p.listener.Addr(), Tunnel(func(ctx context.Context, port wire.ID) (io.ReadWriteCloser, error) {
			if port != p.name {
				return nil, verdict.Refuse("ingress.port", "port "+string(p.name)+", which is published here", string(port), "ask for the address of that port")
			}
			return l.open(ctx, session, port)
		}))
		context.AfterFunc(ctx, door.close)
		go func() {
			defer door.close()
			for {
				conn, err := p.listener.Accept()
				if err != nil {
					return
				}
				if v, ok := from.take(conn.(*net.TCPConn)); ok { // which TCP listeners give
					go l.admit(ctx, session, p.name, door, v)
				}
			}
		}()
	}
}

// served waits until the room serves, and reports whether it does.
func (l *launch) served(ctx context.Context) bool {
	for from := 0; ; {
		events, ended := l.Events(ctx, from)
		for _, e := range events {
			if e.Step == room.Serving {
				return true
			}
		}
		if ended || ctx.Err() != nil {
			return false
		}
		from += len(events)
	}
}

// crowded is how long a connection waits for others to end before it is turned away.
const crowded = 5 * time.Second

// admit brings one connection to the room's port: HTTP as requests of the tunnel, TLS as it is
// where the room takes connections over, else as a stream of its own. Nothing is taken for a
// client that says nothing.
func (l *launch) admit(ctx context.Context, session *channel.Session, port wire.ID, door *door, conn visitor) {
	conn.SetReadDeadline(time.Now().Add(crowded)) //nolint:errcheck // TCP connections have deadlines
	first, err := peek(conn.TCPConn)
	if err != nil {
		conn.Close()
		return
	}
	conn.SetReadDeadline(time.Time{}) //nolint:errcheck // as above
	if IsHTTP(first) {
		door.enter(conn)
		return
	}
	defer conn.Close()
	if l.body.hand != nil {
		hand(l.body.hand, port, conn.TCPConn) //nolint:errcheck // a client that is not taken is turned away
		return
	}
	stream, err := l.open(ctx, session, port)
	if err != nil {
		return
	}
	splice(conn, stream)
}

// peek gives the first byte of a connection, which stays to be read.
func peek(conn *net.TCPConn) (first byte, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	b, n := make([]byte, 1), 0
	rerr := raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), b, unix.MSG_PEEK)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	if err = errors.Join(rerr, err); err == nil && n == 0 {
		err = io.EOF
	}
	return b[0], err
}

// hand gives a connection to the room's agent: it is the agent's from then on, and this
// process carries no byte of it.
func hand(to *net.UnixConn, port wire.ID, conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		to.SetWriteDeadline(time.Now().Add(crowded)) //nolint:errcheck // Unix sockets have deadlines
		_, _, err = to.WriteMsgUnix([]byte(port), unix.UnixRights(int(fd)), nil)
	})
	return errors.Join(cerr, err)
}

// handover makes both ends of what connections are handed over by.
func handover() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "connections")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	return conn.(*net.UnixConn), os.NewFile(uintptr(fds[1]), "connections"), nil
}

// open opens a stream to a port, and waits a while for others to end where there are too many.
func (l *launch) open(ctx context.Context, session *channel.Session, port wire.ID) (*channel.Stream, error) {
	until := time.Now().Add(crowded)
	for {
		stream, err := session.Open(ctx, "ingress/"+string(port))
		if err == nil || session.Err() != nil || ctx.Err() != nil || time.Now().After(until) {
			return stream, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// carry connects a stream of the room's with the place that it is for.
func (l *launch) carry(ctx context.Context, stream *channel.Stream) {
	address, found := l.places[stream.Name()]
	if !found {
		stream.Reset("no such place in the agreement")
		return
	}
	dialer := net.Dialer{Timeout: 20 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		stream.Reset("the host can't reach it: " + err.Error())
		return
	}
	defer conn.Close()
	splice(conn, stream)
}

// splice carries bytes both ways until both directions have ended, or one broke.
func splice(conn net.Conn, stream *channel.Stream) {
	defer stream.Close()
	up := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{stream}, struct{ io.Reader }{conn}, make([]byte, 2*channel.MaxFrame))
		if err == nil {
			err = stream.CloseWrite()
		} else {
			stream.Reset("the connection broke")
		}
		up <- err
	}()
	_, err := stream.WriteTo(conn)
	if half, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	if err != nil {
		conn.Close() // wakes the other direction
	}
	<-up
}
