package ingress

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// port is one port as it is served.
type port struct {
	*Server
	agreement.Port
	authorities *x509.CertPool
	mesh        *x509.CertPool
	buffers     buffers
}

func (s *Server) newPort(p agreement.Port) (*port, error) {
	served := &port{Server: s, Port: p}
	var err error
	if served.authorities, err = pool(p.Allow.Authorities); err != nil {
		return nil, err
	}
	mesh := s.Mesh
	if len(p.Allow.Rooms) == 0 {
		mesh = nil
	}
	served.mesh, err = pool(mesh)
	return served, err
}

// pool makes a set of roots, nil of none.
func pool(ders []wire.Bytes) (*x509.CertPool, error) {
	if len(ders) == 0 {
		return nil, nil
	}
	p := x509.NewCertPool()
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, verdict.Misuse("ingress.authority", "a certificate", verdict.Short(err.Error()), "name authorities by their certificates (DER)")
		}
		p.AddCert(c)
	}
	return p, nil
}

// settings are what every connection has, with post-quantum key agreement first.
func settings(now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		CurvePreferences:            []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
		SessionTicketsDisabled:      true, // a client that comes back is judged again
		DynamicRecordSizingDisabled: true,
		Time:                        now,
	}
}

// connection is one TLS connection on its way in.
type connection struct {
	*port
	key wire.Hash // SHA-256 of the SPKI of the certificate that was shown
}

// choose makes the configuration for a client by what it offers.
func (c *connection) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	certificate := c.Certificate(c.Name)
	if c.MeshCertificate != nil && hello.ServerName == "" && len(c.Allow.Rooms) > 0 {
		if mesh := c.MeshCertificate(); mesh != nil {
			certificate = mesh
		}
	}
	if certificate == nil || certificate.Leaf == nil {
		return nil, fmt.Errorf("no certificate yet")
	}
	c.key = wire.HashOf(certificate.Leaf.RawSubjectPublicKeyInfo)
	t := settings(c.Now)
	// Without ClientCAs: their names would tell strangers whom the agreement lets in.
	t.Certificates = []tls.Certificate{*certificate}
	certified := c.authorities != nil || c.mesh != nil
	switch attested := slices.Contains(hello.SupportedProtos, Protocol); {
	case attested:
		t.NextProtos = []string{Protocol}
		if certified {
			t.ClientAuth = tls.RequestClientCert
		}
	case c.Allow.Anyone:
		t.NextProtos = ordinary(hello.SupportedProtos)
	case certified:
		t.NextProtos = ordinary(hello.SupportedProtos)
		t.ClientAuth = tls.RequireAnyClientCert
		t.VerifyConnection = func(s tls.ConnectionState) error { return c.certified(s.PeerCertificates) }
	case len(hello.SupportedProtos) > 0:
		t.NextProtos = []string{Protocol} // so that the client hears why: no_application_protocol
	case !slices.Contains(hello.SupportedVersions, tls.VersionTLS13):
		return nil, nil // so that it hears that its version is too old
	default:
		refused(hello.Conn)
		return nil, c.attestedOnly()
	}
	return t, nil
}

// refused tells a client that asks for no protocol what one hears that asks for others only:
// crypto/tls has no word for it but that something broke inside.
func refused(conn net.Conn) {
	if w, ok := conn.(*wireConn); ok {
		w.last([]byte{21, 3, 3, 0, 2, 2, 120}) // RFC 8446, sections 5.1 and 6: a fatal alert, no_application_protocol
	}
}

func (p *port) attestedOnly() error {
	return verdict.Refuse("ingress.protocol", "a client that asks for "+Protocol+" at port "+string(p.Name), "an ordinary one", "use strongroom connect: the agreement lets in nobody whom a certificate names")
}

// ordinary chooses what an ordinary client and the container may speak. Nothing here looks
// at what they do: HTTP/2 is chosen only for a client that can do nothing else.
func ordinary(offered []string) []string {
	if slices.Contains(offered, "http/1.1") {
		return []string{"http/1.1"}
	}
	for _, p := range offered {
		if p != "h2" {
			return []string{p}
		}
	}
	return offered
}

// serveTLS serves a connection of TLS.
func (p *port) serveTLS(ctx context.Context, place *place, wire *wireConn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	shut := func() { cancel(); wire.Close() } // who is too slow needs no evidence any more
	g := newGuard(p.hello, shut)
	defer g.stop()
	c := &connection{port: p}
	base := settings(p.Now)
	base.GetConfigForClient = c.choose
	t := tls.Server(wire, base)
	if err := t.HandshakeContext(ctx); err != nil {
		return slow(g, err)
	}
	if p.proven(t.ConnectionState().PeerCertificates) {
		place.admit()
	}
	plain := corked{t, wire, &p.buffers}
	container, err := c.admitTLS(ctx, plain, g)
	if err != nil {
		g.move(lingerTime)
		if plain.CloseWrite() == nil {
			linger(t, shut)
		}
		return slow(g, err)
	}
	g.stop()
	defer container.Close()
	if !place.admit() {
		cut(container)
		return context.Canceled
	}
	err = p.buffers.splice(plain, container, shut)
	if err == nil {
		linger(wire, shut)
	}
	return err
}

// slow says of what broke because somebody took too long that this is why.
func slow(g *guard, err error) error {
	if !g.late() {
		return err
	}
	return verdict.Refuse("ingress.time", "a client that says in time who it is", "none", "try again: a room waits for nobody for long")
}

// admitTLS lets a client in or not, and gives what is behind the port if so.
func (c *connection) admitTLS(ctx context.Context, plain corked, g *guard) (io.ReadWriteCloser, error) {
	state := plain.ConnectionState()
	who := caller{certificates: state.PeerCertificates}
	if state.NegotiatedProtocol == Protocol {
		return c.exchange(ctx, plain, who, g, func(nonce wire.Hash) (b channelBinding, err error) {
			exporter, err := state.ExportKeyingMaterial(exporterLabel, nonce[:], len(b.exporter))
			if err == nil {
				b = channelBinding{nonce: nonce, exporter: [32]byte(exporter), key: c.key, work: c.Work, port: c.Name}
			}
			return b, err
		})
	}
	// The handshake has judged certificates already; an ordinary client has nothing else.
	if !c.Allow.Anyone {
		if err := c.certified(who.certificates); err != nil {
			return nil, err
		}
	}
	return c.dial(ctx)
}

func (p *port) dial(ctx context.Context) (io.ReadWriteCloser, error) {
	conn, err := p.Dial(ctx, p.Name)
	if err != nil {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "ingress.container", Expected: "a container that listens at port " + string(p.Name), Got: "none", Fix: "try again in a moment: it may be starting", Err: err}
	}
	return conn, nil
}

// Key is the key of a room's certificates, made inside and never out of it.
type Key struct {
	private *ecdsa.PrivateKey
	spki    []byte
}

// NewKey makes a key on P-256, which every client knows.
func NewKey() (*Key, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(k.Public())
	return &Key{k, spki}, err
}

// SPKI gives the public key, as certificates hold it: what an authority is asked to certify.
func (k *Key) SPKI() []byte { return slices.Clone(k.spki) }

// Request gives a request for a certificate of names (PKCS #10, DER), as authorities take it
// that know nothing of rooms.
func (k *Key) Request(names []string) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, k.private)
}

// SelfSigned gives a certificate that proves nothing: clients of the exchange need none that
// does.
func (k *Key) SelfSigned(names []string, from, until time.Time) (*tls.Certificate, error) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a room"}, NotBefore: from, NotAfter: until,
		DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.private.Public(), k.private)
	if err != nil {
		return nil, err
	}
	return k.Certified([][]byte{der})
}

// Certified gives the certificate to show for a chain that an authority made of the key, the
// key's own first.
func (k *Key) Certified(chain [][]byte) (*tls.Certificate, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return nil, verdict.NotGenuine("ingress.certificate", fmt.Sprintf("1 to %d certificates", maxChain), fmt.Sprint(len(chain)), "ask the authority again")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil || !slices.Equal(leaf.RawSubjectPublicKeyInfo, k.spki) {
		return nil, verdict.NotGenuine("ingress.certificate", "a certificate of this room's key", "another", "ask the authority again")
	}
	return &tls.Certificate{Certificate: chain, PrivateKey: k.private, Leaf: leaf}, nil
}
