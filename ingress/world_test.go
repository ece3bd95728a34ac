package ingress_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/ingress"
	"strongroom.dev/internal/ingresstest"
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// judge accepts rooms of one world, by evidence of the dev platform, and remembers them.
type judge struct {
	w        *ingresstest.World
	remember bool
	mu       sync.Mutex
	accepted map[wire.Digest]attest.Binding
	last     wire.Digest
	asked    int
}

func (j *judge) Known() wire.Digest {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.remember {
		return wire.Digest{}
	}
	return j.last
}

func (j *judge) Activators() []keys.KeyID { return nil }

func (j *judge) Appraise(_ context.Context, e attest.Evidence, b attest.Binding) error {
	claims, err := attest.Verify(e, []attest.Platform{dev.New()}, attest.Expectation{Binding: b, AgreementBody: j.w.Agreement.Canonical(), Now: time.Now()})
	if err != nil {
		return err
	}
	if claims.Root() != j.w.Root.Public().ID() {
		return fmt.Errorf("another root")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.accepted == nil {
		j.accepted = map[wire.Digest]attest.Binding{}
	}
	j.asked++
	j.last, j.accepted[e.Digest()] = e.Digest(), b
	return nil
}

func (j *judge) Recall(d wire.Digest) (attest.Binding, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	b, ok := j.accepted[d]
	if !ok {
		return b, fmt.Errorf("never seen")
	}
	return b, nil
}

// world makes one whose only port, "web", lets these in.
func world(t testing.TB, allow agreement.Allow) *ingresstest.World {
	t.Helper()
	return must(ingresstest.New(ingresstest.Config{Ports: []agreement.Port{ingresstest.Port("web", allow), admin(allow)}}))
}

// admin is another port.
func admin(allow agreement.Allow) agreement.Port {
	p := ingresstest.Port("admin", allow)
	p.Port = 8081
	return p
}

// served is a room behind a listener.
type served struct {
	*ingresstest.Room
	w       *ingresstest.World
	address string
	dialled *int
}

func serve(t testing.TB, w *ingresstest.World, change func(*ingress.Config), wrap func(net.Conn) net.Conn) served {
	t.Helper()
	n := 0
	var mu sync.Mutex
	r := must(w.Room(func(ctx context.Context, port wire.ID) (io.ReadWriteCloser, error) {
		mu.Lock()
		n++
		mu.Unlock()
		return ingresstest.Echo(ctx, port)
	}, change))
	t.Cleanup(r.Close)
	return served{r, w, must(r.Listen(t.Context(), "web", wrap)), &n}
}

func (s served) client() ingress.Client {
	return ingress.Client{Work: "web", Port: "web", Judge: &judge{w: s.w}}
}

func (s served) connect(t testing.TB, c ingress.Client) (*ingress.Conn, error) {
	t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	connected, err := c.Connect(t.Context(), conn)
	if err == nil {
		t.Cleanup(func() { connected.Close() })
	}
	return connected, err
}

// echoed sends something through a connection, ends it, and wants it back and the end.
func echoed(t testing.TB, c interface {
	io.ReadWriter
	CloseWrite() error
}, size int) {
	t.Helper()
	sent := make([]byte, size)
	rand.Read(sent)
	said := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		said <- errors.Join(err, c.CloseWrite())
	}()
	got, err := io.ReadAll(c)
	// The answer may be here before the word of the end is through, where parts are lost.
	if werr := <-said; werr != nil {
		t.Error(werr)
	}
	if err != nil || string(got) != string(sent) {
		t.Fatalf("%d of %d bytes came back, %v", len(got), len(sent), err)
	}
}

// authority certifies clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageCertSign}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return authority{must(x509.ParseCertificate(der)), key}
}

func (a authority) der() []wire.Bytes { return []wire.Bytes{a.cert.Raw} }

// issue certifies a client; change alters what is certified.
func (a authority) issue(t testing.TB, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "a client"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(template)
	}
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key))
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func uri(t testing.TB, text string) []*url.URL {
	t.Helper()
	return []*url.URL{must(url.Parse(text))}
}
