package ingress_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/ingress"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// post brings requests to a room's port as a host does, through change.
func (s served) post(port wire.ID, change func(request []byte, next func([]byte) ([]byte, error)) ([]byte, error)) ingress.Post {
	return func(ctx context.Context, request []byte) ([]byte, error) {
		next := func(request []byte) ([]byte, error) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			stop := context.AfterFunc(ctx, func() { ours.Close() })
			defer stop()
			go s.Serve(context.WithoutCancel(ctx), port, theirs)
			return ingress.Relay(ours, request)
		}
		if change == nil {
			return next(request)
		}
		return change(bytes.Clone(request), next)
	}
}

func TestTunnel(t *testing.T) {
	s := serve(t, world(t, agreement.Allow{Parties: []wire.ID{"alpha"}}), nil, nil)
	j := &judge{w: s.w, remember: true}
	c := who{party: "alpha", signers: signers(s.w.Keys["alpha"])}.on(s.client())
	c.Judge = j
	for range 2 {
		conn := must(c.ConnectTunnel(t.Context(), s.post("web", nil)))
		echoed(t, conn, 3<<20)
		conn.Close()
	}
	if j.asked != 1 {
		t.Errorf("evidence was judged %d times", j.asked)
	}
	if _, err := s.client().ConnectTunnel(t.Context(), s.post("web", nil)); verdict.As(err).Check != "ingress.admission" {
		t.Errorf("nobody: %v", err)
	}
	if _, err := (ingress.Client{}).ConnectTunnel(t.Context(), s.post("web", nil)); verdict.As(err).Check != "ingress.client" {
		t.Errorf("the zero client: %v", err)
	}
	c.Port = "admin"
	if _, err := c.ConnectTunnel(t.Context(), s.post("web", nil)); err == nil {
		t.Errorf("another port's")
	}
}

// TestTunnelLosses: requests and answers that get lost are asked for again, and carry what
// they carry once.
func TestTunnelLosses(t *testing.T) {
	s := serve(t, world(t, agreement.Allow{Anyone: true}), nil, nil)
	var mu sync.Mutex
	n := 0
	lossy := s.post("web", func(request []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		mu.Lock()
		n++
		i := n
		mu.Unlock()
		switch {
		case i%5 == 3:
			return nil, errors.New("lost on the way")
		case i%7 == 4 && request[0] > 1: // an opening whose answer is lost leaves a session behind, and is made anew
			next(request)
			return nil, errors.New("lost on the way back")
		}
		return next(request)
	})
	conn := must(s.client().ConnectTunnel(t.Context(), lossy))
	defer conn.Close()
	echoed(t, conn, 1<<20)
}

// TestTunnelReplayed: what a client sent once counts once, in its session and in any other.
func TestTunnelReplayed(t *testing.T) {
	var got bytes.Buffer
	var mu sync.Mutex
	s := serve(t, world(t, agreement.Allow{Anyone: true}), func(c *ingress.Config) {
		c.Dial = func(context.Context, wire.ID) (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			go func() {
				buffer := make([]byte, 1024)
				for {
					n, err := theirs.Read(buffer)
					mu.Lock()
					got.Write(buffer[:n])
					mu.Unlock()
					if err != nil {
						return
					}
					theirs.Write([]byte("ok"))
				}
			}()
			return ours, nil
		}
	}, nil)
	var requests, answers [][]byte
	conn := must(s.client().ConnectTunnel(t.Context(), s.post("web", func(request []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		answer, err := next(request)
		mu.Lock()
		defer mu.Unlock()
		requests, answers = append(requests, request), append(answers, answer)
		return answer, err
	})))
	for _, text := range []string{"one ", "two "} {
		io.WriteString(conn, text)
		io.ReadFull(conn, make([]byte, 2))
	}
	replay := s.post("web", nil)
	mu.Lock()
	all, said := requests, answers
	mu.Unlock()
	for i, request := range all {
		answer, err := replay(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case answer[0] == 0xff: // refused
		case request[0] == 0: // the key is anybody's
		case request[0] == 1 && bytes.Equal(answer, said[i]):
			t.Error("an opening that is repeated opens the same session")
		case request[0] > 1 && !bytes.Equal(answer, said[i]):
			t.Errorf("request %d of kind %d is taken again", i, request[0])
		}
	}
	// The whole session again, under the id that the repeated opening got.
	opened := must(replay(t.Context(), all[1]))
	for _, request := range all[2:] {
		again := append([]byte{request[0]}, opened[1:17]...)
		again = append(again, request[17:]...)
		if answer := must(replay(t.Context(), again)); answer[0] != 0xff {
			t.Errorf("a request of another session is taken: kind %d", request[0])
		}
	}
	io.WriteString(conn, "three")
	io.ReadFull(conn, make([]byte, 2))
	mu.Lock()
	defer mu.Unlock()
	if got.String() != "one two three" {
		t.Errorf("the container got %q", got.String())
	}
}

// TestTunnelAltered: nothing that a host alters or answers itself passes.
func TestTunnelAltered(t *testing.T) {
	w := world(t, agreement.Allow{Anyone: true})
	s, other := serve(t, w, nil, nil), serve(t, w, nil, nil)
	flip := func(kind byte, at int, answer bool) func([]byte, func([]byte) ([]byte, error)) ([]byte, error) {
		return func(request []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			if request[0] != kind {
				return next(request)
			}
			if !answer {
				request[at] ^= 1
				return next(request)
			}
			out, err := next(request)
			if err == nil && at < len(out) {
				out[at] ^= 1
			}
			return out, err
		}
	}
	for name, change := range map[string]func([]byte, func([]byte) ([]byte, error)) ([]byte, error){
		"the key":                  flip(0, 100, true),
		"an opening":               flip(1, 100, false),
		"the client's key":         flip(1, 2000, false),
		"the session":              flip(1, 5, true),
		"the room's encapsulation": flip(1, 100, true),
		"what is sent":             flip(2, 30, false),
		"its number":               flip(2, 24, false),
		"what was sent":            flip(2, 26, true),
		"the asking":               flip(3, 30, false),
		"what is received":         flip(3, 30, true),
		"nothing back": func(request []byte, _ func([]byte) ([]byte, error)) ([]byte, error) {
			return nil, nil
		},
	} {
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		conn, err := s.client().ConnectTunnel(ctx, s.post("web", change))
		stop()
		if err == nil {
			conn.Close()
			t.Errorf("%s: connected", name)
		}
	}
	// Another room's tunnel is another room's.
	theirs := other.post("web", nil)
	_, err := s.client().ConnectTunnel(t.Context(), s.post("web", func(request []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if request[0] == 0 {
			return theirs(t.Context(), request)
		}
		return next(request)
	}))
	if err == nil {
		t.Error("another room's key")
	}
}

// TestTunnelForms refuses what is no request of the tunnel.
func TestTunnelForms(t *testing.T) {
	s := serve(t, world(t, agreement.Allow{Anyone: true}), nil, nil)
	for name, request := range map[string][]byte{"nothing": {}, "a key and more": {0, 0}, "a short opening": {1, 2, 3}, "a short request": {2, 2, 3}, "another kind": {9}, "nobody's session": append([]byte{2}, make([]byte, 60)...)} {
		answer, err := s.post("web", nil)(t.Context(), request)
		if err != nil || len(answer) == 0 || answer[0] != 0xff {
			t.Errorf("%s: %q, %v", name, answer, err)
		}
	}
	without := serve(t, s.w, func(c *ingress.Config) { c.Tunnel = nil }, nil)
	if _, err := without.client().ConnectTunnel(t.Context(), without.post("web", nil)); verdict.As(err).Check != "tunnel.none" {
		t.Errorf("got %v", err)
	}
}

// TestTunnelDeadline: calls end at their deadlines, and those of writing that may have been
// half done end the connection.
func TestTunnelDeadline(t *testing.T) {
	s := serve(t, world(t, agreement.Allow{Anyone: true}), nil, nil)
	conn := must(s.client().ConnectTunnel(t.Context(), s.post("web", nil)))
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	conn.SetReadDeadline(time.Time{})
	io.WriteString(conn, "a")
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Errorf("after a deadline: %v", err)
	}
}

// TestTunnelSessions: a room has so many sessions and no more, and each ends with its client.
func TestTunnelSessions(t *testing.T) {
	s := serve(t, world(t, agreement.Allow{Anyone: true}), nil, nil)
	var asked []byte
	conn := must(s.client().ConnectTunnel(t.Context(), s.post("web", func(request []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if request[0] == 2 {
			asked = request
		}
		return next(request)
	})))
	if n := ingress.Sessions(s.Server); n != 1 {
		t.Errorf("%d sessions", n)
	}
	// Its requests are its own port's.
	if answer := must(s.post("admin", nil)(t.Context(), asked)); answer[0] != 0xff || !bytes.Contains(answer, []byte("tunnel.session")) {
		t.Errorf("a session of another port: %q", answer)
	}
	conn.Close()
	for range 100 {
		if ingress.Sessions(s.Server) == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if n := ingress.Sessions(s.Server); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	if _, err := conn.Write([]byte("a")); err == nil {
		t.Error("a closed connection takes bytes")
	}
}

func FuzzTunnel(f *testing.F) {
	s := serve(f, world(f, agreement.Allow{Anyone: true}), nil, nil)
	f.Add([]byte{0})
	f.Add(append([]byte{1}, make([]byte, 2336)...))
	f.Add(append([]byte{2}, make([]byte, 60)...))
	post := s.post("web", nil)
	f.Fuzz(func(t *testing.T, request []byte) {
		if len(request) < 1<<16 {
			post(t.Context(), request)
		}
	})
}
