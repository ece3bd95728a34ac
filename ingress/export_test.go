package ingress

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Places counts those of clients that are admitted, of strangers, and in the queue for evidence.
func Places(s *Server) (admitted, strangers, waiting int) {
	s.places.mu.Lock()
	admitted, strangers = s.places.admitted, len(s.places.strangers)
	s.places.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return admitted, strangers, s.waiting
}

// Crowds are places without a server.
type Crowds struct{ places places }

// Enter lets so many strangers in, admits them if so said, and gives how many were turned away.
func (c *Crowds) Enter(n int, admit bool) (turned int) {
	for range n {
		one, err := c.places.enter(func() {})
		if err != nil {
			turned++
		} else if admit {
			one.admit()
		}
	}
	return turned
}

// Count counts them.
func (c *Crowds) Count() (admitted, strangers int) {
	return c.places.admitted, len(c.places.strangers)
}

// Within has a client wait less long for a room's exchange.
func (c Client) Within(most time.Duration) Client {
	c.within = most
	return c
}

// Broken gives what is to be had of a direction of a session that breaks behind some bytes, and
// of which somebody says afterwards that it ended.
func Broken(data string) (got []byte, ended bool, err error) {
	p := newPipe()
	p.write([]byte(data)) //nolint:errcheck // it has room
	p.abort()
	p.end()
	got, ended, err = p.take(context.Background())
	return got, ended || p.ended, err
}

// MaxStrangers and the others are the limits of strangers.
const (
	MaxStrangers        = maxStrangers
	MaxStrangersWaiting = maxStrangersWaiting
)

// Hurry makes a server that serves nobody yet wait less long for strangers.
func Hurry(s *Server, most time.Duration) { s.hello, s.admission = most, most }

// Impostor answers a client as if it were known by a digest, signed with a key of its own.
func Impostor(conn net.Conn, key *Key, signing keys.Signer, digest wire.Digest) {
	defer conn.Close()
	certificate, err := key.SelfSigned(nil, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		return
	}
	t := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*certificate}, NextProtos: []string{Protocol}})
	var h hello
	if receive(t, MaxHello, "a hello", &h) != nil {
		return
	}
	state := t.ConnectionState()
	exporter, err := state.ExportKeyingMaterial(exporterLabel, h.Nonce[:], 32)
	if err != nil {
		return
	}
	b := channelBinding{nonce: h.Nonce, exporter: [32]byte(exporter), key: wire.HashOf(key.SPKI()), work: "web", port: h.Port}
	signature, err := signing.Sign(connectionType, b.digest(digest))
	if err != nil {
		return
	}
	hpke, err := keys.GenerateHPKEKey()
	if err != nil {
		return
	}
	_ = send(t, greeting{Shown: &shown{Digest: digest, Signing: signing.Public(), HPKE: hpke.Public(), Agreement: digest, Run: digest, Work: "web", Signature: signature}})
	_, _ = t.Read(make([]byte, 1))
}

// ParseToken reads a token's form.
func ParseToken(text string) { _, _ = parseToken(text) }

// ReadAll reads bytes as each of the messages there are.
func ReadAll(data []byte) {
	for limit, into := range map[int]any{MaxHello: new(hello), MaxShown: new(greeting), MaxAdmission: new(admission), MaxDecision: new(decision)} {
		_ = receive(bytes.NewReader(data), limit, "a message", into)
	}
}

// AdmitParty judges a document of a party at a port, for a connection.
func AdmitParty(s *Server, name wire.ID, doc []byte, connected wire.Digest) error {
	return s.ports[name].admit(caller{party: doc}, connected)
}

// Sessions counts the tunnel's sessions.
func Sessions(s *Server) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Derived gives what a connection's parts make: the nonce of its evidence, and the digest that
// both ends sign.
func Derived(nonce wire.Hash, exporter [32]byte, key wire.Hash, work, port wire.ID, evidence wire.Digest) (wire.Hash, wire.Digest) {
	b := channelBinding{nonce: nonce, exporter: exporter, key: key, work: work, port: port}
	return b.evidenceNonce(), b.digest(evidence)
}

// ConnectionType is the type of the room's signature.
const ConnectionType = connectionType

// ReadMessage reads a message's body as one of the four.
func ReadMessage(name string, body []byte) error {
	limit, into := map[string]int{"hello": MaxHello, "greeting": MaxShown, "admission": MaxAdmission, "decision": MaxDecision}[name], map[string]any{"hello": new(hello), "greeting": new(greeting), "admission": new(admission), "decision": new(decision)}[name]
	return receive(bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)), limit, name, into)
}

// CheckHello checks a hello at a port.
func CheckHello(body []byte, port wire.ID) error {
	var h hello
	if err := wire.Unmarshal(body, &h); err != nil {
		return err
	}
	return h.check(port)
}

// CheckToken checks a token of an issuer.
func CheckToken(text string, by agreement.Issuer, now time.Time) error {
	t, err := parseToken(text)
	if err != nil {
		return verdict.NotGenuine("ingress.token", "a token", err.Error(), "")
	}
	return t.check(by, now)
}

// Session is a tunnel's keys.
type Session struct{ s secrets }

// NewSession makes the keys of a session from its two secrets.
func NewSession(first, second *keys.Secret, request, answer []byte) Session {
	return Session{newSecrets(first, second, request, answer)}
}

// Exporter gives what stands in the place of TLS's exporter.
func (s Session) Exporter(nonce wire.Hash) [32]byte {
	return s.s.base.Derive(exporterLabel, nonce[:])
}

// Message gives a whole sealed message of a direction.
func (s Session) Message(direction string, id [16]byte, n uint64, plain []byte) []byte {
	kind := map[string]byte{"send": tunnelSend, "sent": tunnelSend, "receive": tunnelReceive, "received": tunnelReceive, "close": tunnelClose}[direction]
	by := map[string]*keys.Sealer{"send": s.s.send, "sent": s.s.ack, "receive": s.s.ask, "received": s.s.down, "close": s.s.end}[direction]
	h := head(kind, id, n)
	return by.Seal(append([]byte(nil), h...), n, plain, h)
}

// Buffers are those that pieces are carried in.
type Buffers struct{ buffers }

// Carry copies until src ends.
func (b *Buffers) Carry(dst io.Writer, src io.Reader, large bool) error {
	return b.carry(dst, src, large)
}

// MaxLarge is how many connections have large pieces at once.
const MaxLarge = maxLarge
