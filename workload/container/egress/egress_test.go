package egress_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"strongroom.dev/wire"
	"strongroom.dev/workload/container/egress"
)

const host = "db.example"

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// authority certifies.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{key: newKey(t)}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert = certificate(t, template, template, &a.key.PublicKey, a.key)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func certificate(t *testing.T, template, parent *x509.Certificate, public *ecdsa.PublicKey, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// server certifies a key for a name.
func (a authority) server(t *testing.T, name string, usage x509.ExtKeyUsage) (tls.Certificate, wire.Hash) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}}
	c := certificate(t, template, a.cert, &key.PublicKey, a.key)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}, wire.Hash(sha256.Sum256(c.RawSubjectPublicKeyInfo))
}

// pair gives two ends of a connection.
func pair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// dial connects to a server with that configuration.
func dial(t *testing.T, config *tls.Config, id egress.Identity, now time.Time) (egress.Stream, *tls.Conn, error) {
	t.Helper()
	near, far := pair(t)
	config.Time = func() time.Time { return noon }
	s := tls.Server(far, config)
	go s.HandshakeContext(t.Context())
	c, err := egress.Client(t.Context(), near, id, now)
	return c, s, err
}

func TestIdentities(t *testing.T) {
	good, other := newAuthority(t), newAuthority(t)
	mine, key := good.server(t, host, x509.ExtKeyUsageServerAuth)
	named, _ := good.server(t, "other.example", x509.ExtKeyUsageServerAuth)
	client, _ := good.server(t, host, x509.ExtKeyUsageClientAuth)
	foreign, foreignKey := other.server(t, host, x509.ExtKeyUsageServerAuth)
	authorities := []wire.Bytes{good.cert.Raw}
	for _, c := range []struct {
		name   string
		server tls.Certificate
		id     egress.Identity
		now    time.Time
		check  string // empty: accepted
	}{
		{"nobody", mine, egress.Identity{}, noon, "egress.identity"},
		{"no pin: the system's list does not help", mine, egress.Identity{Host: host}, noon, "egress.identity"},
		{"no name", mine, egress.Identity{Authorities: authorities}, noon, "egress.identity"},
		{"another authority", foreign, egress.Identity{Host: host, Authorities: authorities}, noon, "egress.authority"},
		{"another name", named, egress.Identity{Host: host, Authorities: authorities}, noon, "egress.authority"},
		{"a client's certificate", client, egress.Identity{Host: host, Authorities: authorities}, noon, "egress.authority"},
		{"another key", foreign, egress.Identity{Host: host, Keys: []wire.Hash{key}}, noon, "egress.key"},
		{"the key and another authority", foreign, egress.Identity{Host: host, Authorities: authorities, Keys: []wire.Hash{foreignKey}}, noon, "egress.authority"},
		{"the authority and another key", mine, egress.Identity{Host: host, Authorities: authorities, Keys: []wire.Hash{foreignKey}}, noon, "egress.key"},
		{"too early", mine, egress.Identity{Host: host, Authorities: authorities}, noon.Add(-2 * time.Hour), "egress.validity"},
		{"too late", mine, egress.Identity{Host: host, Keys: []wire.Hash{key}}, noon.Add(2 * time.Hour), "egress.validity"},
		{"by authority", mine, egress.Identity{Host: host, Authorities: authorities}, noon, ""},
		{"by key", mine, egress.Identity{Host: host, Keys: []wire.Hash{foreignKey, key}}, noon, ""},
		{"by both", mine, egress.Identity{Host: host, Authorities: authorities, Keys: []wire.Hash{key}}, noon, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := dial(t, &tls.Config{Certificates: []tls.Certificate{c.server}}, c.id, c.now)
			if c.check == "" && err != nil || c.check != "" && (err == nil || !strings.Contains(err.Error(), c.check)) {
				t.Errorf("expected %q, got %v", c.check, err)
			}
		})
	}
	t.Run("TLS 1.2", func(t *testing.T) {
		_, _, err := dial(t, &tls.Config{Certificates: []tls.Certificate{mine}, MaxVersion: tls.VersionTLS12}, egress.Identity{Host: host, Authorities: authorities}, noon)
		if err == nil || !strings.Contains(err.Error(), "egress.tls") {
			t.Errorf("got %v", err)
		}
	})
}

// TestRooms: a room of the mesh is who has its URI, by the mesh's authority, and no name helps.
func TestRooms(t *testing.T) {
	good, other := newAuthority(t), newAuthority(t)
	const room, another = "spiffe://00/work/db", "spiffe://00/work/web"
	certify := func(a authority, uris ...string) tls.Certificate {
		key := newKey(t)
		template := &x509.Certificate{SerialNumber: big.NewInt(3), DNSNames: []string{host}, NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		for _, text := range uris {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			template.URIs = append(template.URIs, u)
		}
		return tls.Certificate{Certificate: [][]byte{certificate(t, template, a.cert, &key.PublicKey, a.key).Raw}, PrivateKey: key}
	}
	mine := certify(good, another)
	id := egress.Identity{Room: room, Authorities: []wire.Bytes{good.cert.Raw}, Certificate: &mine}
	for name, c := range map[string]struct {
		server tls.Certificate
		id     egress.Identity
		check  string
	}{
		"no URI":            {certify(good), id, "egress.room"},
		"another room":      {certify(good, another), id, "egress.room"},
		"two rooms":         {certify(good, room, another), id, "egress.room"},
		"another authority": {certify(other, room), id, "egress.authority"},
		"no authority":      {certify(good, room), egress.Identity{Room: room}, "egress.identity"},
		"a room and a host": {certify(good, room), egress.Identity{Room: room, Host: host, Authorities: id.Authorities}, "egress.identity"},
		"a room and a key":  {certify(good, room), egress.Identity{Room: room, Authorities: id.Authorities, Keys: []wire.Hash{{}}}, "egress.identity"},
		"the room":          {certify(good, room), id, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, s, err := dial(t, &tls.Config{Certificates: []tls.Certificate{c.server}, ClientAuth: tls.RequireAnyClientCert}, c.id, noon)
			if c.check != "" {
				if err == nil || !strings.Contains(err.Error(), c.check) {
					t.Errorf("expected %s, got %v", c.check, err)
				}
				return
			}
			if err != nil || s.Handshake() != nil || len(s.ConnectionState().PeerCertificates) != 1 || s.ConnectionState().PeerCertificates[0].URIs[0].String() != another {
				t.Errorf("%v; the far end saw %d certificates", err, len(s.ConnectionState().PeerCertificates))
			}
		})
	}
}

// TestCut: a host that cuts a connection can't make a part of an answer look like the whole.
func TestCut(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.server(t, host, x509.ExtKeyUsageServerAuth)
	for _, honest := range []bool{false, true} {
		c, s, err := dial(t, &tls.Config{Certificates: []tls.Certificate{cert}}, egress.Identity{Host: host, Keys: []wire.Hash{key}}, noon)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(s, "part"); err != nil {
			t.Fatal(err)
		}
		if honest {
			s.Close()
		} else {
			s.NetConn().Close()
		}
		data, err := io.ReadAll(c)
		if string(data) != "part" || (err == nil) != honest {
			t.Errorf("honest %v: read %q, %v", honest, data, err)
		}
	}
}

func TestSplice(t *testing.T) {
	outer, inner := pair(t)
	far, near := pair(t)
	done := make(chan bool)
	go func() { egress.Splice(inner, far); close(done) }()
	if _, err := io.WriteString(outer, "question"); err != nil {
		t.Fatal(err)
	}
	outer.CloseWrite()
	if got, err := io.ReadAll(near); err != nil || string(got) != "question" {
		t.Errorf("%q, %v", got, err)
	}
	io.WriteString(near, "answer") // after the end of the question
	near.Close()
	if got, err := io.ReadAll(outer); err != nil || string(got) != "answer" {
		t.Errorf("%q, %v", got, err)
	}
	<-done
}
