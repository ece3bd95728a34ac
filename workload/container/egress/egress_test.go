package egress_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container/egress"
)

var (
	now  = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	name = "api.example"
)

// issuer makes certificates.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (i *issuer) make(t *testing.T, template x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(1)
	parent, signer := &template, key
	if i != nil {
		parent, signer = i.cert, i.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func authority(t *testing.T) *issuer {
	key := newKey(t)
	var none *issuer
	cert := none.make(t, x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, key)
	return &issuer{cert, key}
}

func leaf(host string, change func(*x509.Certificate)) x509.Certificate {
	c := x509.Certificate{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), DNSNames: []string{host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature}
	if change != nil {
		change(&c)
	}
	return c
}

func pin(c *x509.Certificate) wire.Hash { return wire.HashOf(c.RawSubjectPublicKeyInfo) }

// stream gives a TCP connection as the container's own, which can be ended one way.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() { c, _ := l.Accept(); accepted <- c }()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server = <-accepted
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// TestIdentity: who is pinned gets the bytes, and nobody else a single one.
func TestIdentity(t *testing.T) {
	ca, other := authority(t), authority(t)
	key := newKey(t)
	good := ca.make(t, leaf(name, nil), key)
	self := (*issuer)(nil).make(t, leaf(name, nil), key)
	for title, test := range map[string]struct {
		shown *x509.Certificate
		id    egress.Identity
		max   uint16
		check string // "" is admitted
	}{
		"authority":           {good, egress.Identity{Host: name, Authorities: []wire.Bytes{ca.cert.Raw}}, 0, ""},
		"key":                 {self, egress.Identity{Host: name, Keys: []wire.Hash{pin(self)}}, 0, ""},
		"both":                {good, egress.Identity{Host: name, Authorities: []wire.Bytes{ca.cert.Raw}, Keys: []wire.Hash{pin(good)}}, 0, ""},
		"nobody":              {good, egress.Identity{Host: name}, 0, "egress.identity"},
		"no host":             {good, egress.Identity{Authorities: []wire.Bytes{ca.cert.Raw}}, 0, "egress.identity"},
		"another authority":   {good, egress.Identity{Host: name, Authorities: []wire.Bytes{other.cert.Raw}}, 0, "egress.authority"},
		"self-signed":         {self, egress.Identity{Host: name, Authorities: []wire.Bytes{ca.cert.Raw}}, 0, "egress.authority"},
		"another host":        {ca.make(t, leaf("evil.example", nil), key), egress.Identity{Host: name, Authorities: []wire.Bytes{ca.cert.Raw}}, 0, "egress.authority"},
		"another key":         {good, egress.Identity{Host: name, Authorities: []wire.Bytes{ca.cert.Raw}, Keys: []wire.Hash{pin(ca.cert)}}, 0, "egress.key"},
		"key of another host": {good, egress.Identity{Host: name, Authorities: []wire.Bytes{other.cert.Raw}, Keys: []wire.Hash{pin(good)}}, 0, "egress.authority"},
		"expired": {ca.make(t, leaf(name, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }), key),
			egress.Identity{Host: name, Authorities: []wire.Bytes{ca.cert.Raw}}, 0, "egress.validity"},
		"not valid yet": {ca.make(t, leaf(name, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Minute) }), key),
			egress.Identity{Host: name, Keys: []wire.Hash{pin(good)}}, 0, "egress.validity"},
		"for clients": {ca.make(t, leaf(name, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), key),
			egress.Identity{Host: name, Authorities: []wire.Bytes{ca.cert.Raw}}, 0, "egress.authority"},
		"old TLS": {good, egress.Identity{Host: name, Authorities: []wire.Bytes{ca.cert.Raw}}, tls.VersionTLS12, "egress.tls"},
	} {
		t.Run(title, func(t *testing.T) {
			raw, far := pair(t)
			got := make(chan string, 1)
			go func() {
				server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{test.shown.Raw}, PrivateKey: key}}, MaxVersion: test.max})
				b, _ := io.ReadAll(server)
				far.Close()
				got <- string(b)
			}()
			conn, err := egress.Client(t.Context(), raw, test.id, now)
			if err == nil {
				io.WriteString(conn, "secret")
				conn.CloseWrite()
			}
			raw.(*net.TCPConn).CloseWrite()
			received := <-got
			if test.check == "" && (err != nil || received != "secret") {
				t.Errorf("got %v, far end received %q", err, received)
			}
			if test.check != "" && (err == nil || verdict.As(err).Check != test.check || received != "") {
				t.Errorf("got %v, far end received %q, expected %s", err, received, test.check)
			}
		})
	}
}

// TestCut: an end that does not say so is no end.
func TestCut(t *testing.T) {
	ca, key := authority(t), newKey(t)
	cert := ca.make(t, leaf(name, nil), key)
	raw, far := pair(t)
	go func() {
		server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}})
		io.WriteString(server, "half of it")
		far.Close()
	}()
	conn, err := egress.Client(t.Context(), raw, egress.Identity{Host: name, Authorities: []wire.Bytes{ca.cert.Raw}}, now)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err == nil {
		t.Errorf("%q passed for the whole", got)
	}
}
