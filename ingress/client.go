package ingress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Judge says whether a room is the one that a client wants. Package relying has one that goes
// by an agreement.
type Judge interface {
	// Known names evidence that was accepted before and still counts; zero: none.
	Known() wire.Digest
	// Activators are keys whose word is taken for where a TPM's attestation key lives.
	Activators() []keys.KeyID
	// Appraise judges evidence, which must be for this binding. Its agreement and run are the
	// room's word: both must be what the client wants.
	Appraise(ctx context.Context, e attest.Evidence, b attest.Binding) error
	// Recall gives what evidence bound that was accepted before; an error if it no longer counts.
	Recall(evidence wire.Digest) (attest.Binding, error)
}

// Client connects to a port of a room. Work, Port and Judge are required: the zero Client
// refuses.
type Client struct {
	Work  wire.ID
	Port  wire.ID
	Judge Judge
	// Party and Signers say who connects: the threshold of that party's keys.
	Party   wire.ID
	Signers []keys.Signer
	// Token gives a token that says who connects, nil: none. It is asked once the room is
	// accepted, and no other room ever gets it.
	Token func(ctx context.Context) (string, error)
	// Certificate says who connects, in the TLS handshake: whoever is at the other end sees it.
	Certificate *tls.Certificate
	// ServerName is sent in the clear, for whoever finds the way by it; it is not checked.
	ServerName string
	// Now is the client's clock; nil: time.Now.
	Now func() time.Time

	within time.Duration // for the whole exchange; 0: exchangeTime
}

func (c Client) check() error {
	missing := ""
	switch {
	case c.Judge == nil:
		missing = "no judge: nothing says which rooms to accept"
	case !c.Work.Valid() || !c.Port.Valid():
		missing = "no work or port"
	case c.Party != "" && c.Token != nil:
		missing = "both a party and a token"
	case (c.Party != "") != (len(c.Signers) > 0):
		missing = "a party without keys, or keys without a party"
	}
	if missing == "" {
		return nil
	}
	return verdict.Misuse("ingress.client", "what to connect to and how to judge it", missing, "pin an agreement: without one no room is accepted")
}

// Conn is a connection to a room that was accepted. What was read and written before went to
// nobody else.
type Conn struct {
	net.Conn
	half func() error
	// Evidence names the evidence by which the room was accepted, Binding what it bound. Fresh is
	// set if it was made for this very connection.
	Evidence wire.Digest
	Binding  attest.Binding
	Fresh    bool
}

// CloseWrite says that nothing more will be written; reading goes on.
func (c *Conn) CloseWrite() error { return c.half() }

// Connect runs the exchange over a connection to a host, which it owns from then on, and gives
// the connection to the room once the room was accepted and has let the client in, in at most
// 90 seconds. Every error is a [verdict.Error] or of the connection.
func (c Client) Connect(ctx context.Context, conn net.Conn) (*Conn, error) {
	ctx, cancel := c.timely(ctx)
	defer cancel()
	connected, err := c.connect(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, because(ctx, err)
	}
	return connected, nil
}

// timely bounds the exchange: whoever is at the other end could hold a client forever.
func (c Client) timely(ctx context.Context) (context.Context, context.CancelFunc) {
	within := c.within
	if within == 0 {
		within = exchangeTime
	}
	return context.WithTimeoutCause(ctx, within, &verdict.Error{Kind: verdict.Broken, Check: "ingress.time", Expected: "the room's whole exchange within " + within.String(), Got: "less of it",
		Fix: "see whether the room still runs, and try again"})
}

// because says why what failed was broken off, if it was.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

func (c Client) connect(ctx context.Context, conn net.Conn) (*Conn, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var key wire.Hash
	t := tls.Client(strict{conn}, c.settings(&key))
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, handshakeError(err)
	}
	state := t.ConnectionState()
	if state.NegotiatedProtocol != Protocol {
		return nil, notARoom("one that speaks no " + Protocol)
	}
	done, err := c.exchange(ctx, t, func(nonce wire.Hash) (b channelBinding, err error) {
		exporter, err := state.ExportKeyingMaterial(exporterLabel, nonce[:], len(b.exporter))
		if err == nil {
			b = channelBinding{nonce: nonce, exporter: [32]byte(exporter), key: key, work: c.Work, port: c.Port}
		}
		return b, err
	})
	if err != nil {
		return nil, err
	}
	if !stop() { // the connection is being closed
		return nil, context.Cause(ctx)
	}
	done.Conn, done.half = t, t.CloseWrite
	return done, nil
}

// settings: no certificate is checked, since none says what a room is; evidence for this
// connection's own key does (R21).
func (c Client) settings(key *wire.Hash) *tls.Config {
	now := c.Now
	if now == nil {
		now = time.Now
	}
	t := settings(now)
	t.NextProtos, t.ServerName = []string{Protocol}, c.ServerName
	t.InsecureSkipVerify = true
	t.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("no certificate")
		}
		*key = wire.HashOf(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
		return nil
	}
	if c.Certificate != nil {
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.Certificate, nil }
	}
	return t
}

func notARoom(got string) error {
	return verdict.Refuse("ingress.protocol", "a room's agent at the other end", got, "a certificate proves a name, not a room: ask the host for the address of the room's port; through a proxy that ends TLS connect with --via")
}

func handshakeError(err error) error {
	var far *net.OpError // crypto/tls says of an alert no more than its text
	if errors.As(err, &far) && far.Op == "remote error" && strings.Contains(far.Err.Error(), "no application protocol") {
		return notARoom("one that speaks no " + Protocol)
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return notARoom("one that speaks no TLS")
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "ingress.tls", Expected: "a TLS 1.3 handshake with the room's agent", Got: verdict.Short(err.Error()), Fix: "see whether the room still runs", Err: err}
}

// exchange is the client's half of spec/ingress.md, section 3.
func (c Client) exchange(ctx context.Context, rw io.ReadWriter, bind func(wire.Hash) (channelBinding, error)) (*Conn, error) {
	first, second := keys.RandomID(), keys.RandomID()
	h := hello{Version: Version, Nonce: wire.Hash(slices.Concat(first[:], second[:])), Port: c.Port, Activators: c.Judge.Activators()}
	if h.Activators == nil {
		h.Activators = []keys.KeyID{}
	}
	if known := c.Judge.Known(); !known.IsZero() {
		h.Known = &known
	}
	b, err := bind(h.Nonce)
	if err != nil {
		return nil, err
	}
	if err := send(rw, h); err != nil {
		return nil, err
	}
	var g greeting
	if err := receive(rw, MaxShown, "a room's greeting", &g); err != nil {
		return nil, broken(err)
	}
	if g.Shown == nil {
		return nil, said(g.Error)
	}
	done, connected, err := c.judge(ctx, h, *g.Shown, b)
	if err != nil {
		return nil, err
	}
	a, err := c.admission(ctx, done.Binding.Agreement, connected)
	if err != nil {
		return nil, err
	}
	if err := send(rw, a); err != nil {
		return nil, broken(err)
	}
	var d decision
	if err := receive(rw, MaxDecision, "a room's decision", &d); err != nil {
		return nil, broken(err)
	}
	if !d.OK {
		return nil, said(d.Error)
	}
	return done, nil
}

// said gives the refusal that a room sent; one without a reason is broken.
func said(document []byte) error {
	e := verdict.Decode(document)
	e.Where = "the room says"
	return e
}

func broken(err error) error {
	var e *verdict.Error
	if errors.As(err, &e) {
		return err
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "ingress.exchange", Expected: "the room's side of the exchange", Got: verdict.Short(err.Error()), Fix: "see whether the room still runs, and try again", Err: err}
}

// judge accepts what a room shows of itself, for this connection, or refuses it.
func (c Client) judge(ctx context.Context, h hello, s shown, b channelBinding) (*Conn, wire.Digest, error) {
	if s.Work != c.Work {
		return nil, wire.Digest{}, verdict.Refuse("ingress.work", "a room whose work is "+string(c.Work), string(s.Work), "ask the host for the address of that work's room")
	}
	done := &Conn{Evidence: s.Digest, Fresh: s.Evidence != nil}
	if s.Evidence != nil {
		done.Binding = attest.Binding{Purpose: attest.ForIngress, Nonce: b.evidenceNonce(), Signing: s.Signing, HPKE: s.HPKE, Agreement: s.Agreement, Run: s.Run}
		if s.Evidence.Digest() != s.Digest {
			return nil, wire.Digest{}, stale("evidence by another digest")
		}
		if err := c.Judge.Appraise(ctx, *s.Evidence, done.Binding); err != nil {
			return nil, wire.Digest{}, err
		}
	} else {
		if h.Known == nil || s.Digest != *h.Known {
			return nil, wire.Digest{}, stale("no evidence")
		}
		var err error
		if done.Binding, err = c.Judge.Recall(s.Digest); err != nil {
			return nil, wire.Digest{}, err
		}
	}
	connected := b.digest(s.Digest)
	// By the key that the evidence bound, whatever the room says it is.
	if err := done.Binding.Signing.Verify(connectionType, connected, s.Signature); err != nil {
		return nil, wire.Digest{}, verdict.NotGenuine("ingress.signature", "this very connection, signed by the room's key "+done.Binding.Signing.ID().Short(), "a signature over something else, or by another key",
			"somebody stands between you and the room: connect by another way")
	}
	return done, connected, nil
}

func stale(got string) error {
	return verdict.NotGenuine("ingress.evidence", "evidence for this connection, or the signature of a room accepted before", got, "somebody stands between you and the room: connect by another way")
}

// admission says who connects, once the room was accepted.
func (c Client) admission(ctx context.Context, agreed, connected wire.Digest) (a admission, err error) {
	if c.Party != "" {
		doc, err := keys.NewDocument(PartyType, partyConnection{Party: c.Party, Agreement: agreed, Connection: connected})
		if err != nil {
			return a, err
		}
		for _, s := range c.Signers {
			if err := doc.Sign(s); err != nil {
				return a, err
			}
		}
		a.Party, err = doc.Encode()
		return a, err
	}
	if c.Token != nil {
		a.Token, err = c.Token(ctx)
	}
	return a, err
}
