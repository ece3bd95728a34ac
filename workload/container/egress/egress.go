// Package egress is the agent's end of a container's connections outward: TLS 1.3 over a
// byte stream that an untrusted host found, with the far end's identity pinned by the
// agreement (R20; spec/container.md, section Egress).
//
// It promises that not a byte of the container's leaves before the far end has shown the
// pinned identity, and that neither an address, nor the system's own list of authorities, nor
// its clock decides anything. Between the container and the agent the bytes are in the clear,
// inside the room.
package egress

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Identity is who the far end must be. The zero Identity is nobody.
type Identity struct {
	// Host is the name that its certificate must have.
	Host string
	// Authorities are certificates (DER), to one of which the far end's must lead, for Host.
	// Keys are SHA-256 of public keys (SPKI), one of which the far end's own must be. At least
	// one of the two; what is given must hold.
	Authorities []wire.Bytes
	Keys        []wire.Hash
	// Room is the URI of a room of the mesh, instead of Host and Keys: the far end's certificate
	// must have it, by one of Authorities. Certificate is what is shown to it.
	Room        string
	Certificate *tls.Certificate
}

func (id Identity) name() string {
	if id.Room != "" {
		return id.Room
	}
	return id.Host
}

// Stream is a connection that can be ended one way.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Client makes the handshake over a byte stream and gives the protected one, which then owns
// it; now is the time that certificates are judged by. On an error the stream is broken, and
// stays the caller's to close. ctx bounds the handshake alone.
func Client(ctx context.Context, raw io.ReadWriteCloser, id Identity, now time.Time) (Stream, error) {
	config, err := id.config(now)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(bare{raw}, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		var e *verdict.Error
		if errors.As(err, &e) {
			return nil, e
		}
		return nil, &verdict.Error{Kind: verdict.Refused, Check: "egress.tls", Expected: "TLS 1.3 with " + id.name(), Got: verdict.Short(err.Error()),
			Fix: "see what answers there: the host chose the address", Err: err}
	}
	return conn, nil
}

func (id Identity) config(now time.Time) (*tls.Config, error) {
	host, room := id.Host != "" && (len(id.Authorities) > 0 || len(id.Keys) > 0), id.Room != "" && len(id.Authorities) > 0 && len(id.Keys) == 0
	if host == room || host && id.Room != "" || room && id.Host != "" {
		return nil, verdict.Misuse("egress.identity", "a host's name, and authorities or keys; or a room's and authorities", "less", "a defect in the caller: an agreement has them")
	}
	roots := x509.NewCertPool() // empty, never the system's
	for _, der := range id.Authorities {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, verdict.Misuse("egress.identity", "certificates of authorities", verdict.Short(err.Error()), "a defect in the caller: agreements are validated")
		}
		roots.AddCert(cert)
	}
	shown := []tls.Certificate{}
	if id.Certificate != nil {
		shown = append(shown, *id.Certificate)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		ServerName:   id.Host,
		Certificates: shown,
		RootCAs:      roots,
		Time:         func() time.Time { return now },
		// The library's own check knows no pins alone: check below does both, and always.
		InsecureSkipVerify:     true,
		VerifyConnection:       func(s tls.ConnectionState) error { return id.check(s.PeerCertificates, roots, now) },
		SessionTicketsDisabled: true,
	}, nil
}

// check judges the far end's certificates; its key has signed the handshake.
func (id Identity) check(certs []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	if len(certs) == 0 {
		return verdict.Refuse("egress.identity", "a certificate of "+id.name(), "none", "see what answers there: the host chose the address")
	}
	leaf := certs[0]
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return verdict.Refuse("egress.validity", "a certificate of "+id.name()+" valid at "+now.UTC().Format(time.RFC3339),
			fmt.Sprintf("one valid from %s to %s", leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339)), "its owner renews it")
	}
	if key := wire.Hash(sha256.Sum256(leaf.RawSubjectPublicKeyInfo)); len(id.Keys) > 0 && !slices.Contains(id.Keys, key) {
		return verdict.Refuse("egress.key", "one of the keys that the agreement pins for "+id.Host, key.String(), "see what answers there, or agree to its new key")
	}
	if len(id.Authorities) == 0 {
		return nil
	}
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	if id.Room != "" && (len(leaf.URIs) != 1 || leaf.URIs[0].String() != id.Room) {
		return verdict.Refuse("egress.room", "the certificate of "+id.Room, "another's", "see what answers there: the host chose the address")
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: id.Host, Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return verdict.Refuse("egress.authority", "a certificate of "+id.name()+" by an authority of the agreement", verdict.Short(err.Error()), "see what answers there, or agree to its new authority")
	}
	return nil
}

// Splice carries bytes both ways until both ends have said that nothing more comes, or one
// breaks. It closes both.
func Splice(a, b Stream) {
	var wg sync.WaitGroup
	one := func(to, from Stream) {
		if _, err := io.Copy(to, from); err != nil || to.CloseWrite() != nil {
			to.Close()
			from.Close()
		}
	}
	wg.Go(func() { one(a, b) })
	wg.Go(func() { one(b, a) })
	wg.Wait()
	a.Close()
	b.Close()
}
