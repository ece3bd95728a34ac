package ingress_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/ingress"
	"strongroom.dev/internal/ingresstest"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// TestAttestedOnly: an ordinary client at a port that lets in none hears the same clean word,
// whether or not it asks for a protocol, and one of an older TLS that it is too old.
func TestAttestedOnly(t *testing.T) {
	s := serve(t, world(t, agreement.Allow{Parties: []wire.ID{"alpha"}}), nil, nil)
	for name, test := range map[string]struct {
		protocols []string
		most      uint16
		says      string
	}{
		"no protocol":                {nil, tls.VersionTLS13, "no application protocol"},
		"protocols of browsers":      {[]string{"h2", "http/1.1"}, tls.VersionTLS13, "no application protocol"},
		"TLS 1.2":                    {nil, tls.VersionTLS12, "protocol version"},
		"TLS 1.2, with protocols":    {[]string{"http/1.1"}, tls.VersionTLS12, "protocol version"},
		"TLS 1.2, with the exchange": {[]string{ingress.Protocol}, tls.VersionTLS12, "protocol version"},
	} {
		_, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, NextProtos: test.protocols, MaxVersion: test.most})
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, expected %q", name, err, test.says)
		}
	}
	if *s.dialled != 0 {
		t.Error("the container was reached")
	}
	r := must(s.w.Room(ingresstest.Echo, nil))
	t.Cleanup(r.Close)
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(t.Context(), "web", theirs) }()
	tls.Client(ours, &tls.Config{InsecureSkipVerify: true}).Handshake()
	if err := <-ended; verdict.As(err).Check != "ingress.protocol" {
		t.Errorf("the room counts it as %v", err)
	}
}

// sessions counts what a client is given to come back with.
type sessions struct {
	tls.ClientSessionCache
	put int
}

func (s *sessions) Put(key string, state *tls.ClientSessionState) {
	s.put++
	s.ClientSessionCache.Put(key, state)
}

// TestNoResumption: a client that comes back is judged again: it is given no session, and so has
// no early data to send.
func TestNoResumption(t *testing.T) {
	s := serve(t, world(t, agreement.Allow{Anyone: true}), nil, nil)
	cache := &sessions{ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	for range 2 {
		conn := must(tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: cache}))
		echoed(t, conn, 100) // tickets come with the first bytes
		if conn.ConnectionState().DidResume {
			t.Error("a connection was resumed")
		}
		conn.Close()
	}
	if cache.put != 0 {
		t.Errorf("the client got %d sessions", cache.put)
	}
}

// TestOldTLS: below TLS 1.3 there is renegotiation; nobody gets there, wherever anyone may connect.
func TestOldTLS(t *testing.T) {
	s := serve(t, world(t, agreement.Allow{Anyone: true}), nil, nil)
	_, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Renegotiation: tls.RenegotiateFreelyAsClient})
	if err == nil || !strings.Contains(err.Error(), "protocol version") || *s.dialled != 0 {
		t.Errorf("%v, the container was reached %d times", err, *s.dialled)
	}
}

// TestHalfOpen: what either side still says once the other has finished arrives whole.
func TestHalfOpen(t *testing.T) {
	w := world(t, agreement.Allow{Anyone: true})
	for _, first := range []string{"client", "container"} {
		inside := make(chan net.Conn, 1)
		r := must(w.Room(ingresstest.Pipe(inside), nil))
		s := served{Room: r, w: w, address: must(r.Listen(t.Context(), "web", nil))}
		conn := must(s.connect(t, s.client()))
		container := (<-inside).(*net.TCPConn)
		ends := map[string]interface {
			io.ReadWriter
			CloseWrite() error
		}{"client": conn, "container": container}
		early, late := ends[first], ends[map[string]string{"client": "container", "container": "client"}[first]]
		io.WriteString(early, "the end")
		early.CloseWrite()
		if got, err := io.ReadAll(late); string(got) != "the end" || err != nil {
			t.Errorf("%s ends first: %q, %v", first, got, err)
		}
		rest := bytes.Repeat([]byte("and more "), 1<<15)
		go func() { late.Write(rest); late.CloseWrite() }()
		if got, err := io.ReadAll(early); !bytes.Equal(got, rest) || err != nil {
			t.Errorf("%s ends first: %d of %d bytes after it, %v", first, len(got), len(rest), err)
		}
		conn.Close()
		container.Close()
		r.Close()
	}
}

// trickle sends a byte at a time, as a client does that wants to hold its place.
type trickle struct {
	net.Conn
	after int // bytes that pass at once
}

func (c *trickle) Write(p []byte) (int, error) {
	for i := range p {
		if c.after--; c.after < 0 {
			time.Sleep(5 * time.Millisecond)
		}
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// TestTrickle: a client that is never silent, and never done, keeps its place no longer than a
// silent one, in the handshake and in the exchange.
func TestTrickle(t *testing.T) {
	for name, after := range map[string]int{"in the handshake": 0, "in the exchange": 1850} {
		r := must(world(t, agreement.Allow{Anyone: true}).Room(ingresstest.Echo, nil))
		ended := make(chan error, 1)
		ingress.Hurry(r.Server, 300*time.Millisecond)
		ours, theirs := net.Pipe()
		go func() { ended <- r.Serve(t.Context(), "web", theirs) }()
		go func() {
			c := tls.Client(&trickle{ours, after}, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ingress.Protocol}})
			c.Write(bytes.Repeat([]byte{0, 0, 15, 255}, 100)) // a hello of 4,095 bytes, slowly
		}()
		began := time.Now()
		err := <-ended
		if verdict.As(err).Check != "ingress.time" || time.Since(began) > 3*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(began))
		}
		ours.Close()
		r.Close()
	}
}

// TestQuietStays: the limits are for who is not admitted yet. A connection that is may be quiet
// for as long as the container bears it.
func TestQuietStays(t *testing.T) {
	w := world(t, agreement.Allow{Anyone: true})
	r := must(w.Room(ingresstest.Echo, nil))
	t.Cleanup(r.Close)
	ingress.Hurry(r.Server, 200*time.Millisecond)
	s := served{r, w, must(r.Listen(t.Context(), "web", nil)), nil}
	conn := must(s.connect(t, s.client()))
	time.Sleep(600 * time.Millisecond)
	echoed(t, conn, 1000)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}
