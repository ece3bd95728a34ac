package ingress

import (
	"bytes"
	"crypto/tls"
	"net"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// FillStrangers takes every place for clients that are not admitted yet.
func FillStrangers(s *Server) (release func()) {
	s.mu.Lock()
	s.strangers += maxStrangers
	s.mu.Unlock()
	return func() { s.mu.Lock(); s.strangers -= maxStrangers; s.mu.Unlock() }
}

// Hurry makes a server wait less long for strangers.
func Hurry(s *Server, most time.Duration) (restore func()) {
	hello, admission := s.hello, s.admission
	s.hello, s.admission = most, most
	return func() { s.hello, s.admission = hello, admission }
}

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
	tell(t, greeting{Shown: &shown{Digest: digest, Signing: signing.Public(), HPKE: hpke.Public(), Agreement: digest, Run: digest, Work: "web", Signature: signature}})
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

// Sessions counts the tunnel's sessions.
func Sessions(s *Server) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}
