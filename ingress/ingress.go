// Package ingress is how a room is reached by clients that judge it first (spec/ingress.md).
//
// The agent ends TLS 1.3 inside. A client that asks for the protocol "strongroom/1" is shown
// evidence that was made for this very connection, or a signature over it by the key of
// evidence it knows, and says who it is; ordinary clients come in where the agreement lets
// them. For paths on which somebody else ends TLS there is a tunnel of sealed HTTP requests
// with the same exchange inside.
//
// It promises that no byte reaches what is behind a port before the agreement's rule for that
// port admitted who sent it (R20), that what a room shows for one connection is worthless on
// any other, and that a client has no byte of a room that its judge did not accept. It parses
// no HTTP. A certificate proves a name and never a room (R21).
package ingress

import (
	"context"
	"crypto/tls"
	"io"
	"sync"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Config is what serves a room's ports. All members but Mesh, MeshCertificate and
// Tunnel are required: the
// zero Config refuses.
type Config struct {
	// Agreement and Parties say who may connect; Run is the digest of the request whose work,
	// named Work, serves.
	Agreement *agreement.SignedAgreement
	Parties   []*agreement.SignedParty
	Run       wire.Digest
	Work      wire.ID
	// Signing is the room's signing key, HPKE the public half of its other one: the keys that
	// its evidence binds.
	Signing keys.Signer
	HPKE    keys.HPKEPublicKey
	// Evidence asks the evidence device for evidence for one connection
	// ([strongroom.dev/device.Device.Ingress]). The record that vouches for the device's key, where
	// it has one, should be by one of these keys if there is such a one.
	Evidence func(ctx context.Context, nonce wire.Hash, activators []keys.KeyID) (attest.Evidence, error)
	// Certificate gives the certificate to show from now on for a port: see [Key].
	Certificate func(port wire.ID) *tls.Certificate
	// MeshCertificate gives what to show instead at ports that rooms may reach, to clients that
	// ask for no name, as rooms do; nil: nothing else.
	MeshCertificate func() *tls.Certificate
	// Mesh are authorities (DER) of the certificates of this agreement's rooms.
	Mesh []wire.Bytes
	// Tunnel is a key of the tunnel's own; nil: no tunnel.
	Tunnel *keys.HPKEPrivateKey
	// Dial connects to what is behind a port. What it gives may have CloseWrite.
	Dial func(ctx context.Context, port wire.ID) (io.ReadWriteCloser, error)
	// Now is the room's time (R13).
	Now func() time.Time
}

func (c Config) check() error {
	missing := ""
	switch {
	case c.Agreement == nil || c.Agreement.Document == nil:
		missing = "no agreement"
	case c.Run.IsZero() || c.Work == "":
		missing = "no run"
	case c.Signing == nil || c.HPKE.IsZero():
		missing = "no room keys"
	case c.Evidence == nil || c.Certificate == nil || c.Dial == nil || c.Now == nil:
		missing = "no evidence, certificate, container or clock"
	}
	if missing == "" {
		return nil
	}
	return verdict.Misuse("ingress.config", "a complete configuration", missing, "a defect in the agent: report it")
}

// Server serves the ports of one room. Its methods may be called from several goroutines.
type Server struct {
	Config
	ports map[wire.ID]*port

	hello, admission time.Duration
	making           chan struct{} // holds one while evidence is made
	// ctx ends with Close, and with it every session of the tunnel.
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	places places

	mu       sync.Mutex // owns what follows
	waiting  int
	known    []wire.Digest // of evidence made here, the newest last
	sessions map[sessionID]*session
}

// New makes a server.
func New(c Config) (*Server, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s := &Server{Config: c, ports: map[wire.ID]*port{}, making: make(chan struct{}, 1), sessions: map[sessionID]*session{}, hello: helloTime, admission: admissionTime}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	work, found := c.Agreement.WorkByName(c.Work)
	if !found || work.Container == nil {
		return nil, verdict.Misuse("ingress.config", "work of kind container", verdict.Short(string(c.Work)), "a defect in the agent: report it")
	}
	var err error
	for _, p := range work.Container.Ports {
		if s.ports[p.Name], err = s.newPort(p); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Serve serves one connection that a host brought to a port, until it is over, and closes it.
// It is TLS, or one request of the tunnel. The error, for whoever counts them, says why a
// client was not admitted or how the connection broke; nothing of it tells of data.
func (s *Server) Serve(ctx context.Context, name wire.ID, conn io.ReadWriteCloser) error {
	defer conn.Close()
	p := s.ports[name]
	if p == nil {
		return verdict.Refuse("ingress.port", "a port of the work", verdict.Short(string(name)), "name a port that the agreement names")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	place, err := s.places.enter(cancel) // before anything is read of it: who says nothing is a stranger too
	if err != nil {
		return err
	}
	defer place.leave()
	return place.explain(p.serve(ctx, place, conn))
}

func (p *port) serve(ctx context.Context, place *place, conn io.ReadWriteCloser) error {
	g := newGuard(p.hello, func() { conn.Close() })
	first, whole, err := peek(conn)
	g.stop()
	if err != nil {
		return slow(g, err)
	}
	if first == tunnelPreface[0] {
		return p.serveTunnel(ctx, place, whole)
	}
	return p.serveTLS(ctx, place, whole)
}

// Close ends every session of the tunnel and waits for them. Connections of TLS end with their
// contexts.
func (s *Server) Close() {
	s.cancel()
	s.running.Wait()
}

// evidence makes evidence for a connection, one at a time, or gives the digest of what the
// client knows if it was made here.
func (s *Server) evidence(ctx context.Context, b channelBinding, h hello, proven bool) (*attest.Evidence, wire.Digest, error) {
	if h.Known != nil && s.remembers(*h.Known) {
		return nil, *h.Known, nil
	}
	if err := s.wait(ctx, proven); err != nil {
		return nil, wire.Digest{}, err
	}
	defer func() { <-s.making }()
	e, err := s.Evidence(ctx, b.evidenceNonce(), h.Activators)
	if err != nil {
		return nil, wire.Digest{}, err
	}
	digest := e.Digest()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = append(s.known, digest)
	if len(s.known) > maxRemembered {
		s.known = s.known[1:]
	}
	return &e, digest, nil
}

func (s *Server) remembers(digest wire.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.known {
		if d == digest {
			return true
		}
	}
	return false
}

// wait waits for the evidence device. Strangers leave some of the queue to clients that have
// proven who they are.
func (s *Server) wait(ctx context.Context, proven bool) error {
	most := maxWaiting
	if !proven {
		most = maxStrangersWaiting
	}
	s.mu.Lock()
	if s.waiting >= most {
		s.mu.Unlock()
		return busy("clients that wait for evidence")
	}
	s.waiting++
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.waiting--; s.mu.Unlock() }()
	select {
	case s.making <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
