package ingress_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/ingress"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// breaking is a container's connection that says a part of what it has to say, and breaks: with
// its last bytes or after them.
type breaking struct {
	gate  chan struct{}
	after bool
	said  bool
}

var errReset = errors.New("connection reset by peer")

func (b *breaking) Read(p []byte) (int, error) {
	if b.said {
		return 0, errReset
	}
	<-b.gate
	b.said = true
	if b.after {
		return copy(p, "half of an answ"), nil
	}
	return copy(p, "half of an answ"), errReset
}

func (b *breaking) Write(p []byte) (int, error) { return len(p), nil }
func (b *breaking) Close() error                { return nil }

// TestTunnelBreaks: what a container broke off is no whole answer at a client of the tunnel,
// as it is none over TLS.
func TestTunnelBreaks(t *testing.T) {
	if got, ended, err := ingress.Broken("half of an answ"); ended || err == nil || verdict.As(err).Check != "tunnel.session" {
		t.Errorf("a direction that broke gives %q, ended %v, %v", got, ended, err)
	}
	w := world(t, agreement.Allow{Anyone: true})
	j := &judge{w: w, remember: true}
	for name, after := range map[string]bool{"with the last bytes": false, "after them": true} {
		gates := make(chan chan struct{}, 1)
		s := serve(t, w, func(c *ingress.Config) {
			c.Dial = func(context.Context, wire.ID) (io.ReadWriteCloser, error) {
				gate := make(chan struct{})
				gates <- gate
				return &breaking{gate: gate, after: after}, nil
			}
		}, nil)
		for range 40 { // it is a race which request hears of the break
			c := s.client()
			c.Judge = j
			conn := must(c.ConnectTunnel(t.Context(), s.post("web", nil)))
			gate := <-gates
			time.AfterFunc(2*time.Millisecond, func() { close(gate) })
			if data, err := io.ReadAll(conn); err == nil {
				t.Fatalf("%s: %q, and a clean end", name, data)
			}
			conn.Close()
		}
	}
}

// TestTunnelRoomEnds: the end of a room is no end of what its container was saying.
func TestTunnelRoomEnds(t *testing.T) {
	w := world(t, agreement.Allow{Anyone: true})
	for range 10 {
		s := serve(t, w, func(c *ingress.Config) {
			c.Dial = func(context.Context, wire.ID) (io.ReadWriteCloser, error) {
				ours, theirs := net.Pipe()
				go func() {
					for {
						if _, err := theirs.Write(make([]byte, 1000)); err != nil {
							return
						}
					}
				}()
				return ours, nil
			}
		}, nil)
		conn := must(s.client().ConnectTunnel(t.Context(), s.post("web", nil)))
		time.AfterFunc(2*time.Millisecond, s.Close)
		if data, err := io.ReadAll(conn); err == nil {
			t.Fatalf("%d bytes, and a clean end", len(data))
		}
		conn.Close()
	}
}

// TestExchangeEnds: a client waits for a room's exchange for a while only, whoever keeps silent.
func TestExchangeEnds(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, world(t, agreement.Allow{Anyone: true}), func(c *ingress.Config) {
		next := c.Evidence
		c.Evidence = blocked(next, release)
	}, nil)
	defer close(release)
	c := s.client().Within(100 * time.Millisecond)
	for name, connect := range map[string]func() error{
		"a silent peer": func() error {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			_, err := c.Connect(t.Context(), ours)
			return err
		},
		"a room without evidence": func() error { _, err := s.connect(t, c); return err },
		"a silent host": func() error {
			_, err := c.ConnectTunnel(t.Context(), func(ctx context.Context, _ []byte) ([]byte, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
			return err
		},
		"a room without evidence, by the tunnel": func() error {
			_, err := c.ConnectTunnel(t.Context(), s.post("web", nil))
			return err
		},
	} {
		ended := make(chan error, 1)
		go func() { ended <- connect() }()
		select {
		case err := <-ended:
			if e := verdict.As(err); e.Check != "ingress.time" || e.Kind != verdict.Broken {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: the client still waits", name)
		}
	}
}
