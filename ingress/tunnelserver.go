package ingress

import (
	"bytes"
	"context"
	"io"
	"time"

	"strongroom.dev/channel"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Relay brings a request of the tunnel to a room, on a stream of its own, and gives the answer.
// It is the host's part, which looks at nothing.
func Relay(stream io.ReadWriter, request []byte) ([]byte, error) {
	var all bytes.Buffer
	all.WriteString(tunnelPreface)
	if err := channel.WriteMessage(&all, request); err != nil {
		return nil, err
	}
	if _, err := stream.Write(all.Bytes()); err != nil {
		return nil, err
	}
	answer, err := channel.ReadMessage(stream, MaxTunnelMessage)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return answer, err
}

// serveTunnel answers one request of the tunnel, which stands alone on its stream.
func (p *port) serveTunnel(ctx context.Context, conn *wireConn) error {
	shut := func() { conn.Close() }
	g := newGuard(p.hello, shut)
	defer g.stop()
	preface := make([]byte, len(tunnelPreface))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return slow(g, err)
	}
	if string(preface) != tunnelPreface {
		return verdict.Refuse("ingress.protocol", "TLS, or a request of the tunnel", "something else", "see that the host is of this version")
	}
	request, err := channel.ReadMessage(conn, MaxTunnelMessage)
	if err != nil {
		return slow(g, err)
	}
	g.move(pollTime + lingerTime)
	answer, err := p.answerTunnel(ctx, request)
	if err != nil {
		answer = append([]byte{tunnelError}, verdict.Encode(err)...)
	}
	if werr := channel.WriteMessage(conn, answer); werr != nil {
		return werr
	}
	if werr := conn.CloseWrite(); werr != nil {
		return werr
	}
	linger(conn, shut)
	return err
}

func (p *port) answerTunnel(ctx context.Context, request []byte) ([]byte, error) {
	if p.Tunnel == nil {
		return nil, verdict.Refuse("tunnel.none", "a room with a tunnel", "one without", "connect by TLS")
	}
	if len(request) == 0 {
		return nil, tunnelForm("nothing")
	}
	switch kind := request[0]; kind {
	case tunnelKey:
		if len(request) != 1 {
			return nil, tunnelForm("more bytes")
		}
		return append([]byte{tunnelKey}, p.Tunnel.Public().Bytes()...), nil
	case tunnelOpen:
		return p.openTunnel(request)
	case tunnelSend, tunnelReceive, tunnelClose:
		id, n, sealed, err := parseHead(request)
		if err != nil {
			return nil, err
		}
		s := p.session(id)
		if s == nil {
			return nil, gone()
		}
		return s.answer(ctx, kind, n, sealed, request[:headSize])
	}
	return nil, tunnelForm("another kind of request")
}

func (s *session) answer(ctx context.Context, kind byte, n uint64, sealed, beside []byte) ([]byte, error) {
	switch kind {
	case tunnelSend:
		return s.send(ctx, n, sealed, beside)
	case tunnelReceive:
		return s.receive(ctx, n, sealed, beside)
	}
	if plain, err := s.keys.end.Open(n, sealed, beside); err != nil || len(plain) != 0 {
		return nil, unsealed()
	}
	return []byte{tunnelClose}, s.Close()
}

// session finds a session of this port.
func (p *port) session(id sessionID) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sessions[id]; s != nil && s.port == p.Name {
		return s
	}
	return nil
}

// openTunnel starts a session. Its keys come from two secrets: one for the room's key, so that
// nobody else can be the other end, and one for a key that the client made for this session,
// so that a repeated opening gives nobody what a client sent before.
func (p *port) openTunnel(request []byte) ([]byte, error) {
	if len(request) != 1+keys.Encapsulation+hpkeSize {
		return nil, tunnelForm("an opening of another size")
	}
	done, err := p.stranger()
	if err != nil {
		return nil, err
	}
	first, err := p.Tunnel.Decapsulate(tunnelInfo(p.Name), request[1:1+keys.Encapsulation])
	if err != nil {
		done()
		return nil, unsealed()
	}
	theirs, err := parseHPKE(request[1+keys.Encapsulation:])
	if err != nil {
		done()
		return nil, unsealed()
	}
	encapsulated, second, err := theirs.Encapsulate(tunnelAnswerInfo(p.Name, request))
	if err != nil {
		done()
		return nil, unsealed()
	}
	s := &session{id: keys.RandomID(), port: p.Name, up: newPipe(), down: newPipe()}
	answer := append(append([]byte{tunnelOpen}, s.id[:]...), encapsulated...)
	s.keys = newSecrets(first, second, request, answer)
	// A session outlives the request that opened it, and ends with the server.
	ctx, cancel := context.WithCancel(p.ctx)
	s.cancel = cancel
	s.idle = time.AfterFunc(idleTime, func() { s.Close() })
	if err := p.keep(s); err != nil {
		s.Close()
		done()
		return nil, err
	}
	p.running.Go(func() { p.serveSession(ctx, s, done) })
	return answer, nil
}

// parseHPKE reads a public key's bytes.
func parseHPKE(b []byte) (k keys.HPKEPublicKey, err error) {
	text, err := wire.Bytes(b).MarshalText()
	if err != nil {
		return k, err
	}
	err = k.UnmarshalText(append([]byte("x-wing:"), text...))
	return k, err
}

func (p *port) keep(s *session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ctx.Err() != nil:
		return gone()
	case len(p.sessions) >= maxSessions:
		return busy("sessions of the tunnel")
	}
	p.sessions[s.id] = s
	return nil
}

// serveSession is [port.serveTLS] for a session of the tunnel.
func (p *port) serveSession(ctx context.Context, s *session, done func()) {
	defer done()
	defer func() {
		s.Close()
		p.mu.Lock()
		delete(p.sessions, s.id)
		p.mu.Unlock()
	}()
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	shut := func() { s.Close() }
	g := newGuard(p.hello, shut)
	defer g.stop()
	container, err := p.exchange(ctx, s, caller{}, g, func(nonce wire.Hash) (channelBinding, error) {
		return s.keys.binding(nonce, p.Tunnel.Public(), p.Work, p.Name), nil
	})
	if err == nil {
		g.stop()
		done()
		defer container.Close()
		_ = p.buffers.splice(s, container, shut)
	}
	// What was written last is fetched by a request that is still to come.
	_ = s.CloseWrite()
	s.down.drained(ctx, lingerTime)
}
