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
