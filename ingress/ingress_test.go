package ingress_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/ingress"
	"strongroom.dev/internal/ingresstest"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func TestExchange(t *testing.T) {
	s := serve(t, world(t, agreement.Allow{Anyone: true}), nil, nil)
	j := &judge{w: s.w, remember: true}
	c := s.client()
	c.Judge = j
	for i := range 3 {
		conn, err := s.connect(t, c)
		if err != nil {
			t.Fatal(err)
		}
		if conn.Fresh != (i == 0) || conn.Binding.Signing != s.Signing.Public() {
			t.Errorf("connection %d: fresh %v", i, conn.Fresh)
		}
		echoed(t, conn, 3<<20)
	}
	if j.asked != 1 {
		t.Errorf("evidence was judged %d times", j.asked)
	}
	if state := must(s.connect(t, c)).Conn.(*tls.Conn).ConnectionState(); state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768 {
		t.Errorf("TLS %x with %v", state.Version, state.CurveID)
	}
}

// TestZeroClient: a client that pins nothing reaches nobody.
func TestZeroClient(t *testing.T) {
	for name, change := range map[string]func(*ingress.Client){
		"no judge":             func(c *ingress.Client) { c.Judge = nil },
		"no work":              func(c *ingress.Client) { c.Work = "" },
		"no port":              func(c *ingress.Client) { c.Port = "" },
		"a party without keys": func(c *ingress.Client) { c.Party = "alpha" },
		"a party and a token": func(c *ingress.Client) {
			c.Party, c.Token = "alpha", func(context.Context) (string, error) { return "", nil }
		},
		"everything (zero)":      func(c *ingress.Client) { *c = ingress.Client{} },
		"keys without the party": func(c *ingress.Client) { c.Signers = []keys.Signer{&keys.SigningKey{}} },
	} {
		c := ingress.Client{Work: "web", Port: "web", Judge: &judge{}}
		change(&c)
		ours, theirs := net.Pipe()
		_, err := c.Connect(t.Context(), ours)
		if verdict.As(err).Check != "ingress.client" {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := theirs.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: something was sent, %v", name, err)
		}
	}
	if _, err := ingress.New(ingress.Config{}); verdict.As(err).Check != "ingress.config" {
		t.Errorf("the zero server: %v", err)
	}
}

// recorded gives the evidence that a room makes, as somebody in between could keep it.
type recorded struct {
	mu  sync.Mutex
	all []attest.Evidence
}

func (r *recorded) keep(next func(context.Context, wire.Hash, []keys.KeyID) (attest.Evidence, error)) func(context.Context, wire.Hash, []keys.KeyID) (attest.Evidence, error) {
	return func(ctx context.Context, nonce wire.Hash, by []keys.KeyID) (attest.Evidence, error) {
		e, err := next(ctx, nonce, by)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all = append(r.all, e)
		return e, err
	}
}

// TestDiverted: what a genuine room shows, or showed, does not pass for another connection.
func TestDiverted(t *testing.T) {
	w := world(t, agreement.Allow{Anyone: true})
	var shown recorded
	genuine := serve(t, w, func(c *ingress.Config) { c.Evidence = shown.keep(c.Evidence) }, nil)
	if _, err := genuine.connect(t, genuine.client()); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*ingress.Config)
		check  string
	}{
		"evidence of connection A on B": {func(c *ingress.Config) {
			c.Evidence = func(context.Context, wire.Hash, []keys.KeyID) (attest.Evidence, error) { return shown.all[0], nil }
			c.Signing = genuine.Signing // even with the room's key
		}, "evidence.binding"},
		"evidence asked of the genuine room for this nonce": {func(c *ingress.Config) {
			c.Evidence = func(ctx context.Context, nonce wire.Hash, _ []keys.KeyID) (attest.Evidence, error) {
				return genuine.Evidence(ctx, nonce, nil)
			}
		}, "evidence.binding"},
		"signed by another room": {func(c *ingress.Config) {
			other := must(keys.GenerateSigningKey(keys.Ed25519))
			c.Signing = lying{genuine.Signing.Public(), other}
			c.HPKE, c.Run = genuine.HPKE, genuine.Run
			c.Evidence = genuine.Evidence
		}, "ingress.signature"},
		"another work": {func(c *ingress.Config) { c.Evidence = genuine.Evidence }, "evidence.binding"},
	} {
		s := serve(t, w, test.change, nil)
		if _, err := s.connect(t, s.client()); verdict.As(err).Check != test.check {
			t.Errorf("%s: %v", name, err)
		}
		if *s.dialled != 0 {
			t.Errorf("%s: the container was reached", name)
		}
	}
}

// lying says that it is another key than the one it signs with.
type lying struct {
	public keys.PublicKey
	keys.Signer
}

func (l lying) Public() keys.PublicKey { return l.public }

// TestKnownElsewhere: a client that knows a room is not content with another that says so.
func TestKnownElsewhere(t *testing.T) {
	w := world(t, agreement.Allow{Anyone: true})
	a := serve(t, w, nil, nil)
	j := &judge{w: w, remember: true}
	c := a.client()
	c.Judge = j
	if _, err := a.connect(t, c); err != nil {
		t.Fatal(err)
	}
	known := j.last
	// An honest room does not know the digest, and makes evidence.
	b := serve(t, w, nil, nil)
	conn, err := b.connect(t, c)
	if err != nil || !conn.Fresh || conn.Binding.Signing != b.Signing.Public() {
		t.Fatalf("%+v, %v", conn, err)
	}
	// One that says it is a, with a key of its own.
	j.last = known
	if _, err := impostor(t, b, known).connect(t, c); verdict.As(err).Check != "ingress.signature" {
		t.Errorf("a known room's digest from another: %v", err)
	}
	// A room that names evidence the client does not know.
	j.last = wire.Digest{}
	if _, err := impostor(t, b, known).connect(t, c); verdict.As(err).Check != "ingress.evidence" {
		t.Errorf("no evidence: %v", err)
	}
}

// impostor is a server whose code is not the agent's: it shows a digest without evidence.
func impostor(t *testing.T, s served, digest wire.Digest) served {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go ingress.Impostor(conn, s.Key, s.Signing, digest)
		}
	}()
	s.address = l.Addr().String()
	return s
}

// TestMiddle: whoever ends TLS between a client and a room shows another key and another
// exporter, whatever it relays.
func TestMiddle(t *testing.T) {
	w := world(t, agreement.Allow{Anyone: true})
	room := serve(t, w, nil, nil)
	key := must(ingress.NewKey())
	certificate := must(key.SelfSigned(nil, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	l := must(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*certificate}, NextProtos: []string{ingress.Protocol}}))
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			inner, err := tls.Dial("tcp", room.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ingress.Protocol}})
			if err != nil {
				conn.Close()
				continue
			}
			go io.Copy(inner, conn)
			go io.Copy(conn, inner)
		}
	}()
	middle := room
	middle.address = l.Addr().String()
	j := &judge{w: w, remember: true}
	c := room.client()
	c.Judge = j
	if _, err := middle.connect(t, c); verdict.As(err).Check != "evidence.binding" {
		t.Errorf("fresh evidence: %v", err)
	}
	must(room.connect(t, c))
	if _, err := middle.connect(t, c); verdict.As(err).Check != "ingress.signature" {
		t.Errorf("a known room: %v", err)
	}
	if *room.dialled != 1 {
		t.Errorf("the container was reached %d times", *room.dialled)
	}
}

// TestReplayed: a client takes no bytes that a room sent before.
func TestReplayed(t *testing.T) {
	w := world(t, agreement.Allow{Anyone: true})
	s := serve(t, w, nil, nil)
	var sent bytes.Buffer
	conn := must(net.Dial("tcp", s.address))
	c := s.client()
	must(c.Connect(t.Context(), tee{conn, &sent}))
	ours, theirs := net.Pipe()
	go io.Copy(io.Discard, theirs)
	go theirs.Write(sent.Bytes())
	if _, err := c.Connect(t.Context(), ours); verdict.As(err).Check != "ingress.tls" {
		t.Errorf("%v", err)
	}
}

type tee struct {
	net.Conn
	read io.Writer
}

func (t tee) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.read.Write(p[:n])
	return n, err
}

// TestTokenStays: a token goes to no room that was not accepted.
func TestTokenStays(t *testing.T) {
	asked := 0
	token := func(context.Context) (string, error) { asked++; return "a.b.c", nil }
	w := world(t, agreement.Allow{Parties: []wire.ID{"alpha"}})
	other := world(t, agreement.Allow{Parties: []wire.ID{"alpha"}})
	s := serve(t, w, nil, nil)
	c := s.client()
	c.Judge, c.Token = &judge{w: other}, token
	if _, err := s.connect(t, c); err == nil || asked != 0 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	c.Judge = &judge{w: w}
	if _, err := s.connect(t, c); verdict.As(err).Check != "ingress.token" || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
}

// TestOtherPort: a host that brings a client to another port than it asks for is found out.
func TestOtherPort(t *testing.T) {
	s := serve(t, world(t, agreement.Allow{Anyone: true}), nil, nil)
	c := s.client()
	c.Port = "admin"
	if _, err := s.connect(t, c); verdict.As(err).Check != "ingress.port" {
		t.Errorf("%v", err)
	}
	c = s.client()
	c.Work = "another"
	if _, err := s.connect(t, c); verdict.As(err).Check != "ingress.work" {
		t.Errorf("%v", err)
	}
}

// TestNotARoom: a server with a certificate, and one without TLS, are refused as what they are.
func TestNotARoom(t *testing.T) {
	key := must(ingress.NewKey())
	certificate := must(key.SelfSigned([]string{"example.com"}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	for name, listen := range map[string]func() (net.Listener, error){
		"a web server": func() (net.Listener, error) {
			return tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*certificate}, NextProtos: []string{"h2", "http/1.1"}})
		},
		"TLS without a protocol": func() (net.Listener, error) {
			return tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*certificate}})
		},
		"plain": func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") },
	} {
		l := must(listen())
		go func() {
			conn, err := l.Accept()
			if err == nil {
				io.ReadAtLeast(conn, make([]byte, 10), 10)
				io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
				conn.Close()
			}
		}()
		s := served{address: l.Addr().String()}
		_, err := s.connect(t, ingress.Client{Work: "web", Port: "web", Judge: &judge{}})
		if e := verdict.As(err); e.Check != "ingress.protocol" || e.Kind != verdict.Refused {
			t.Errorf("%s: %v", name, err)
		}
		l.Close()
	}
}

// TestHalfClosed: a client that goes away in the middle is not taken for one that has finished.
func TestHalfClosed(t *testing.T) {
	w := world(t, agreement.Allow{Anyone: true})
	for _, orderly := range []bool{true, false} {
		var c *container
		r := must(w.Room(func(context.Context, wire.ID) (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			c = &container{Conn: ours, closed: make(chan bool, 2)}
			go io.Copy(io.Discard, theirs)
			return c, nil
		}, nil))
		s := served{Room: r, w: w, address: must(r.Listen(t.Context(), "web", nil))}
		conn := must(s.connect(t, s.client()))
		io.WriteString(conn, "half a")
		if orderly {
			conn.CloseWrite()
		} else {
			conn.Conn.(*tls.Conn).NetConn().Close()
		}
		if half := <-c.closed; half != orderly {
			t.Errorf("orderly %v, but the container sees its client's end: %v", orderly, half)
		}
		conn.Close()
		r.Close()
	}
}

// container tells how its connection ends.
type container struct {
	net.Conn
	closed chan bool
}

func (c *container) CloseWrite() error { c.closed <- true; return nil }
func (c *container) Close() error {
	select {
	case c.closed <- false:
	default:
	}
	return c.Conn.Close()
}

// TestSlow: a client that says nothing keeps its place for a while only.
func TestSlow(t *testing.T) {
	w := world(t, agreement.Allow{Anyone: true})
	r := must(w.Room(ingresstest.Echo, nil))
	t.Cleanup(r.Close)
	ingress.Hurry(r.Server, 50*time.Millisecond)
	ended := make(chan error, 1)
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() { ended <- r.Serve(t.Context(), "web", theirs) }()
	ours.Write([]byte{0x16})
	if err := <-ended; verdict.As(err).Check != "ingress.time" {
		t.Errorf("%v", err)
	}
}
