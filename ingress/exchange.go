package ingress

import (
	"context"
	"encoding/json"
	"io"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// exchange shows the room to a client, hears who it is, and gives what is behind the port if
// the agreement lets it in (spec/ingress.md, section 3). What it refuses it explains.
func (p *port) exchange(ctx context.Context, rw io.ReadWriter, who caller, g *guard, bind func(wire.Hash) (channelBinding, error)) (io.ReadWriteCloser, error) {
	var h hello
	if err := receive(rw, MaxHello, "a hello", &h); err != nil {
		return nil, err
	}
	g.move(p.admission)
	connected, err := p.show(ctx, rw, h, p.proven(who.certificates), bind)
	if err != nil {
		return nil, tell(rw, greeting{Error: document(err)}, err)
	}
	var a admission
	if err := receive(rw, MaxAdmission, "a client's word of who it is", &a); err != nil {
		return nil, err
	}
	who.party, who.token = a.Party, a.Token
	err = p.admit(who, connected)
	var container io.ReadWriteCloser
	if err == nil {
		container, err = p.dial(ctx)
	}
	if err != nil {
		return nil, tell(rw, decision{Error: document(err)}, err)
	}
	if err := send(rw, decision{OK: true}); err != nil {
		container.Close()
		return nil, err
	}
	return container, nil
}

// show sends the room's first message, and gives the digest that stands for the connection.
func (p *port) show(ctx context.Context, w io.Writer, h hello, proven bool, bind func(wire.Hash) (channelBinding, error)) (connected wire.Digest, err error) {
	if err := h.check(p.Name); err != nil {
		return connected, err
	}
	b, err := bind(h.Nonce)
	if err != nil {
		return connected, err
	}
	e, digest, err := p.evidence(ctx, b, h, proven)
	if err != nil {
		return connected, err
	}
	connected = b.digest(digest)
	signature, err := p.Signing.Sign(connectionType, connected)
	if err != nil {
		return connected, err
	}
	return connected, send(w, greeting{Shown: &shown{Evidence: e, Digest: digest, Signing: p.Signing.Public(), HPKE: p.HPKE,
		Agreement: p.Agreement.Digest(), Run: p.Run, Work: p.Work, Signature: signature}})
}

// document gives an error as it is sent.
func document(err error) json.RawMessage { return verdict.Encode(err) }

// told is an error that the client was told, in the last message to it: that message is whole.
type told struct{ error }

func (t told) Unwrap() error { return t.error }

// tell sends the last message of an exchange that failed by err; if it is lost, so be it.
func tell(w io.Writer, message any, err error) error {
	if send(w, message) != nil {
		return err
	}
	return told{err}
}
