package ingress_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/ingress"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

type evidence = func(context.Context, wire.Hash, []keys.KeyID) (attest.Evidence, error)

// blocked makes evidence once it is released.
func blocked(next evidence, release chan struct{}) evidence {
	return func(ctx context.Context, nonce wire.Hash, by []keys.KeyID) (attest.Evidence, error) {
		select {
		case <-release:
			return next(ctx, nonce, by)
		case <-ctx.Done():
			return attest.Evidence{}, context.Cause(ctx)
		}
	}
}

// until waits for something that is about to be so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// TestStrangers: whoever takes places and says nothing, or next to nothing, keeps out nobody,
// and ends nothing of those that are in.
func TestStrangers(t *testing.T) {
	s := serve(t, world(t, agreement.Allow{Parties: []wire.ID{"alpha"}}), nil, nil)
	c := who{party: "alpha", signers: signers(s.w.Keys["alpha"])}.on(s.client())
	inside := must(s.connect(t, c))
	through := must(c.ConnectTunnel(t.Context(), s.post("web", nil)))
	defer through.Close()
	for name, says := range map[string][]byte{"nothing": nil, "a byte of TLS": {0x16}, "a byte of the tunnel": {0x73}} {
		ended, silent := make(chan error, ingress.MaxConnections), []net.Conn{}
		for range ingress.MaxConnections {
			ours, theirs := net.Pipe()
			silent = append(silent, ours)
			go func() { ended <- s.Serve(t.Context(), "web", theirs) }()
			if says != nil {
				ours.Write(says)
			}
		}
		for range ingress.MaxConnections - ingress.MaxStrangers {
			if err := <-ended; verdict.As(err).Check != "ingress.busy" {
				t.Fatalf("%s: one of the first ends with %v", name, err)
			}
		}
		if _, strangers, _ := ingress.Places(s.Server); strangers != ingress.MaxStrangers {
			t.Errorf("%s: %d strangers", name, strangers)
		}
		if _, err := s.connect(t, c); err != nil {
			t.Errorf("%s: who is to be let in: %v", name, err)
		}
		conn, err := c.ConnectTunnel(t.Context(), s.post("web", nil))
		if err != nil {
			t.Fatalf("%s: who is to be let in, by the tunnel: %v", name, err)
		}
		conn.Close()
		for _, c := range silent {
			c.Close()
		}
		until(t, "nobody else is left", func() bool {
			_, strangers, _ := ingress.Places(s.Server)
			return strangers == 0 && ingress.Sessions(s.Server) == 1
		})
	}
	echoed(t, inside, 1000)
	echoed(t, through, 1000)
}

// TestPlaces: strangers never have more than theirs, and none where all are of those admitted.
func TestPlaces(t *testing.T) {
	var c ingress.Crowds
	if turned := c.Enter(3*ingress.MaxConnections, false); turned != 0 {
		t.Errorf("%d strangers are turned away, not those before them", turned)
	}
	if admitted, strangers := c.Count(); admitted != 0 || strangers != ingress.MaxStrangers {
		t.Errorf("%d strangers", strangers)
	}
	for want := 1; want <= ingress.MaxConnections; want++ {
		if turned := c.Enter(1, true); turned != 0 {
			t.Fatalf("client %d is turned away", want)
		}
		admitted, strangers := c.Count()
		if admitted != want || admitted+strangers > ingress.MaxConnections {
			t.Fatalf("%d admitted, %d strangers", admitted, strangers)
		}
	}
	if turned := c.Enter(2, false); turned != 2 {
		t.Errorf("%d of 2 are turned away where all places are taken", turned)
	}
}

// TestCopies: one request of a session waits, however often somebody sends it again, and it
// has a stranger's place until the session's client is admitted.
func TestCopies(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, world(t, agreement.Allow{Anyone: true}), func(c *ingress.Config) { c.Evidence = blocked(c.Evidence, release) }, nil)
	polls := make(chan []byte, 100)
	post := s.post("web", func(request []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if request[0] == 3 {
			polls <- request
		}
		return next(request)
	})
	connected := make(chan *ingress.Conn, 1)
	go func() {
		conn, err := s.client().ConnectTunnel(t.Context(), post)
		if err != nil {
			t.Error(err)
		}
		connected <- conn
	}()
	<-polls
	until(t, "session and request are strangers", func() bool {
		admitted, strangers, _ := ingress.Places(s.Server)
		return admitted == 0 && strangers == 2
	})
	close(release)
	conn := <-connected
	if conn == nil {
		t.FailNow()
	}
	defer conn.Close()
	for len(polls) > 0 {
		<-polls
	}
	go io.ReadFull(conn, make([]byte, 1)) //nolint:errcheck // there is nothing
	request := <-polls
	const copies = 30
	answered := make(chan error, copies)
	for range copies {
		go func() {
			_, err := s.post("web", nil)(t.Context(), request)
			answered <- err
		}()
	}
	for i := range copies - 1 {
		select {
		case <-answered:
		case <-time.After(5 * time.Second):
			t.Fatalf("%d of %d copies wait", copies-i, copies)
		}
	}
	until(t, "one request waits, and is no stranger's", func() bool {
		admitted, strangers, _ := ingress.Places(s.Server)
		return admitted == 1 && strangers == 0
	})
}

// TestQueue: strangers do not fill the queue for evidence.
func TestQueue(t *testing.T) {
	by, release := newAuthority(t), make(chan struct{})
	s := serve(t, world(t, agreement.Allow{Authorities: by.der()}), func(c *ingress.Config) { c.Evidence = blocked(c.Evidence, release) }, nil)
	ended := make(chan error, 2*ingress.MaxStrangersWaiting)
	connect := func(c ingress.Client) {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			_, err = c.Connect(t.Context(), conn)
		}
		ended <- err
	}
	for range 1 + ingress.MaxStrangersWaiting { // one of them is served
		go connect(s.client())
	}
	waiting := func(n int) func() bool {
		return func() bool { _, _, waiting := ingress.Places(s.Server); return waiting == n }
	}
	until(t, "strangers wait", waiting(ingress.MaxStrangersWaiting))
	if _, err := s.connect(t, s.client()); verdict.As(err).Check != "ingress.busy" {
		t.Errorf("one stranger more: %v", err)
	}
	c := s.client()
	c.Certificate = by.issue(t, nil)
	done := make(chan error, 1)
	go func() { _, err := s.connect(t, c); done <- err }()
	until(t, "a client that was admitted waits", waiting(ingress.MaxStrangersWaiting+1))
	close(release)
	if err := <-done; err != nil {
		t.Errorf("a client that was admitted: %v", err)
	}
}

// TestNoNames: a room asks for certificates without saying of whom.
func TestNoNames(t *testing.T) {
	by := newAuthority(t)
	s := serve(t, world(t, agreement.Allow{Authorities: by.der()}), nil, nil)
	for name, protocols := range map[string][]string{"a client of the exchange": {ingress.Protocol}, "an ordinary one": nil} {
		asked, certificate := false, by.issue(t, nil)
		conn, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols,
			GetClientCertificate: func(i *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if asked = true; len(i.AcceptableCAs) > 0 {
					t.Errorf("%s is told %d authorities", name, len(i.AcceptableCAs))
				}
				return certificate, nil
			}})
		if err != nil || !asked {
			t.Fatalf("%s: asked %v, %v", name, asked, err)
		}
		conn.Close()
	}
}
