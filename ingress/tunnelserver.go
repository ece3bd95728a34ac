package ingress

import (
	"bytes"
	"context"
	"errors"
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
func (p *port) serveTunnel(ctx context.Context, place *place, conn *wireConn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	shut := func() { cancel(); conn.Close() } // what waits for the session's bytes waits no more
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
	answer, err := p.answerTunnel(ctx, place, request)
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

func (p *port) answerTunnel(ctx context.Context, place *place, request []byte) ([]byte, error) {
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
		return s.answer(ctx, place, kind, n, sealed, request[:headSize])
	}
	return nil, tunnelForm("another kind of request")
}

// answer opens a request, which is its client's then, and answers it.
func (s *session) answer(ctx context.Context, place *place, kind byte, n uint64, sealed, beside []byte) ([]byte, error) {
	by := map[byte]*keys.Sealer{tunnelSend: s.keys.send, tunnelReceive: s.keys.ask, tunnelClose: s.keys.end}[kind]
	plain, err := by.Open(n, sealed, beside)
	if err != nil || (kind == tunnelSend) != (len(plain) > 0) {
		return nil, unsealed()
	}
	if s.admitted.Load() {
		place.admit()
	}
	switch kind {
	case tunnelSend:
		return s.send(ctx, n, plain)
	case tunnelReceive:
		return s.receive(ctx, n)
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
	first, err := p.Tunnel.Decapsulate(tunnelInfo(p.Name), request[1:1+keys.Encapsulation])
	if err != nil {
		return nil, unsealed()
	}
	theirs, err := parseHPKE(request[1+keys.Encapsulation:])
	if err != nil {
		return nil, unsealed()
	}
	encapsulated, second, err := theirs.Encapsulate(tunnelAnswerInfo(p.Name, request))
	if err != nil {
		return nil, unsealed()
	}
	s := &session{id: keys.RandomID(), port: p.Name, up: newPipe(), down: newPipe(), sending: newTurn(), receiving: newTurn()}
	answer := append(append([]byte{tunnelOpen}, s.id[:]...), encapsulated...)
	s.keys = newSecrets(first, second, request, answer)
	// A session outlives the request that opened it, and ends with the server.
	ctx, cancel := context.WithCancel(p.ctx)
	s.cancel = cancel
	s.idle = time.AfterFunc(idleTime, func() { s.Close() })
	place, err := p.places.enter(func() { s.Close() })
	if err == nil {
		err = p.keep(s)
	}
	if err != nil {
		s.Close()
		if place != nil {
			place.leave()
		}
		return nil, err
	}
	p.running.Go(func() { p.serveSession(ctx, place, s) })
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
func (p *port) serveSession(ctx context.Context, place *place, s *session) {
	defer place.leave()
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
	g.stop()
	if err == nil {
		defer container.Close()
		if !place.leave() {
			cut(container)
			return
		}
		s.admitted.Store(true)
		err = p.buffers.splice(s, container, shut) // which says that it has ended, if it has
	} else if errors.As(err, new(told)) {
		err = s.CloseWrite()
	}
	if err == nil { // what was written last is fetched by a request that is still to come
		s.down.drained(ctx, lingerTime)
	}
}
