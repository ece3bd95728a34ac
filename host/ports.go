package host

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/channel"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Publication says at which address of the host a port of a container is reached.
type Publication struct {
	Port    wire.ID `json:"port"`
	Address string  `json:"address"` // host:port; port 0 is any
}

// ports are the listeners of a room's published ports.
type ports []published

type published struct {
	name     wire.ID
	listener net.Listener
}

func (p ports) close() {
	for _, one := range p {
		one.listener.Close()
	}
}

func (p ports) addresses() map[wire.ID]string {
	out := map[wire.ID]string{}
	for _, one := range p {
		out[one.name] = one.listener.Addr().String()
	}
	return out
}

// mountName is the name of a mount's disk (spec/room.md, section 3).
func mountName(i int) string { return fmt.Sprintf("mount-%d", i) }

// containerOf gives the container that a job runs, nil if it runs none.
func containerOf(a agreement.Agreement, job Job) *agreement.Container {
	run, err := agreement.ParseRun(job.Run)
	if err != nil {
		return nil
	}
	w, _ := a.WorkByName(run.Work)
	return w.Container
}

// openPorts listens at the addresses that a job publishes, before anything is started: an
// address that is in use is found out in time.
func openPorts(a agreement.Agreement, job Job) (ports, error) {
	var open ports
	c := containerOf(a, job)
	for _, p := range job.Publish {
		if c == nil || !slices.ContainsFunc(c.Ports, func(have agreement.Port) bool { return have.Name == p.Port }) {
			open.close()
			return nil, verdict.Misuse("host.publish", "a port of the agreed container", verdict.Short(string(p.Port)), "strongroom agreement explain shows its ports")
		}
		if _, twice := open.addresses()[p.Port]; twice {
			open.close()
			return nil, verdict.Misuse("host.publish", "one address for port "+string(p.Port), "two", "publish each port once")
		}
		l, err := net.Listen("tcp", p.Address)
		if err != nil {
			open.close()
			return nil, &verdict.Error{Kind: verdict.Usage, Check: "host.publish", Expected: "an address of this machine that is free", Got: verdict.Short(err.Error()),
				Fix: "publish port " + string(p.Port) + " at another", Err: err}
		}
		open = append(open, published{p.Port, l})
	}
	return open, nil
}

// publish lets connections in once the room serves. Each is a stream of the room's, and what
// passes is for the room to admit and to decrypt.
func (l *launch) publish(ctx context.Context, session *channel.Session) {
	if len(l.ports) == 0 || !l.served(ctx) {
		return
	}
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
				go l.admit(ctx, session, p.name, door, conn)
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

// admit carries one connection to the room's port: TLS as a stream of its own, HTTP as
// requests of the tunnel. No stream is taken for a client that says nothing.
func (l *launch) admit(ctx context.Context, session *channel.Session, port wire.ID, door *door, conn net.Conn) {
	first := make([]byte, 1)
	conn.SetReadDeadline(time.Now().Add(crowded))
	if _, err := io.ReadFull(conn, first); err != nil {
		conn.Close()
		return
	}
	conn.SetReadDeadline(time.Time{})
	if IsHTTP(first[0]) {
		door.enter(&begun{conn, first})
		return
	}
	defer conn.Close()
	stream, err := l.open(ctx, session, port)
	if err != nil {
		return
	}
	if _, err := stream.Write(first); err != nil {
		stream.Close()
		return
	}
	splice(conn, stream)
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

// places says where the places are that a job's container may reach. An address is a hint:
// the room checks who is there.
func places(a agreement.Agreement, job Job, known map[wire.ID]string) map[string]string {
	out := map[string]string{}
	c := containerOf(a, job)
	if c == nil {
		return out
	}
	for _, e := range c.Egress {
		address := net.JoinHostPort(e.Host, strconv.FormatInt(e.Port, 10))
		if other, found := known[e.Name]; found {
			address = other
		}
		out["egress/"+string(e.Name)] = address
	}
	return out
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

func (d Disk) missing(why string) error {
	return verdict.Misuse("host.disk", fmt.Sprintf("the disk %s of the container", d.Name), why, "give --disk "+d.Name+"=FILE; strongroom container prepare writes an image's")
}
