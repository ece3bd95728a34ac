package broker_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"strongroom.dev/broker"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

// outside is an authority that knows nothing of rooms.
type outside struct {
	t      testing.TB
	w      *world
	key    *ecdsa.PrivateKey
	root   *x509.Certificate
	asked  atomic.Int64
	life   time.Duration
	first  crypto.PublicKey // the first account that asked
	before func()           // called as it is asked
	err    error
	// made changes the certificate before it is signed, and the chain after.
	made func(leaf *x509.Certificate, key *crypto.PublicKey)
	last func(chain [][]byte) [][]byte
}

func newOutside(t testing.TB, w *world) *outside {
	o := &outside{t: t, w: w, key: must1(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), life: 90 * 24 * time.Hour}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "outside"}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(10000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	o.root = must1(x509.ParseCertificate(must1(x509.CreateCertificate(rand.Reader, template, template, o.key.Public(), o.key))))
	return o
}

func (o *outside) Name() string { return "https://ca.example/dir" }

func (o *outside) Account(context.Context, crypto.Signer) (string, error) {
	return "https://ca.example/account/1", nil
}

func (o *outside) Certify(_ context.Context, account crypto.Signer, csr []byte) ([][]byte, error) {
	n := o.asked.Add(1)
	if o.before != nil {
		o.before()
	}
	if n == 1 {
		o.first = account.Public()
	}
	if public := account.Public().(*ecdsa.PublicKey); !public.Equal(o.first) {
		o.t.Error("another account")
	}
	if o.err != nil {
		return nil, o.err
	}
	request := must1(x509.ParseCertificateRequest(csr))
	leaf := &x509.Certificate{SerialNumber: big.NewInt(n + 1), NotBefore: o.w.now().Add(-time.Hour), NotAfter: o.w.now().Add(o.life), DNSNames: request.DNSNames,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	public := request.PublicKey.(crypto.PublicKey)
	if o.made != nil {
		o.made(leaf, &public)
	}
	chain := [][]byte{must1(x509.CreateCertificate(rand.Reader, leaf, o.root, public, o.key)), o.root.Raw}
	if o.last != nil {
		chain = o.last(chain)
	}
	return chain, nil
}

// named is a service whose broker has an authority outside, and one room of it with its key.
type named struct {
	*room
	h   *house
	b   *broker.Broker
	ca  *outside
	key *ecdsa.PrivateKey
}

func newNamed(t testing.TB) *named {
	w := newService(t)
	// Each test is about certificates; its runs go on.
	w.agreement.LeaseMS = 3_600_000
	h, ca := w.newHouse(), newOutside(t, w)
	h.cfg.Names, h.cfg.NamesPerWeek = ca, 3
	b, a := h.ready()
	return &named{w.newHolder(b, a), h, b, ca, must1(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
}

func (n *named) csr(names ...string) []byte {
	return must1(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, n.key))
}

// ask asks for a certificate of the room's key for its names.
func (n *named) ask(change func(*release.CertifyRequest)) (*x509.Certificate, error) {
	data, asked := n.certifyRequest(release.ForNames, func(r *release.CertifyRequest) {
		r.SPKI, r.CSR = spki(n.w.t, n.key.Public()), n.csr("web.alpha.example")
		if change != nil {
			change(r)
		}
	})
	answer, err := n.b.Certify(ctx, data)
	if err != nil {
		return nil, err
	}
	if again := must1(n.b.Certify(ctx, data)); !bytes.Equal(again, answer) {
		n.w.t.Error("two answers to one request")
	}
	c, err := release.VerifyCertified(answer, n.w.descriptors["alpha"].Broker.ReleaseKey, asked)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(c.Chain[0])
}

func (n *named) kinds() map[wire.ID]int {
	kinds := map[wire.ID]int{}
	for i := range n.h.log.Size() {
		kinds[must1(ledger.ParseEntry(must1(n.h.log.Entry(i)))).Kind]++
	}
	return kinds
}

// TestNames has names certified outside: recorded before it is asked, once for each key until
// half of the certificate's life is over.
func TestNames(t *testing.T) {
	n := newNamed(t)
	n.ca.before = func() {
		if n.kinds()["order"] != int(n.ca.asked.Load()) {
			t.Error("asked before it was recorded")
		}
	}
	leaf := must1(n.ask(nil))
	must(t, verifies(leaf, n.ca.root, "web.alpha.example", n.w.now()))
	if again := must1(n.ask(nil)); !again.Equal(leaf) || n.ca.asked.Load() != 1 {
		t.Errorf("another certificate of one key, %d orders", n.ca.asked.Load())
	}
	if kinds := n.kinds(); kinds["order"] != 1 || kinds["certify"] != 2 || kinds["authority"] != 0 {
		t.Errorf("recorded %v", kinds)
	}
	// The mesh stays with the broker.
	if mesh, _ := n.certified(n.b, release.ForMesh); mesh.CheckSignatureFrom(n.ca.root) == nil {
		t.Error("the mesh is certified outside")
	}
	// A broker that is started again knows its certificates and its account.
	n.b = n.h.open()
	if again := must1(n.ask(nil)); !again.Equal(leaf) {
		t.Error("another certificate after a restart")
	}
	if s := must1(n.b.Status(ctx)); s.NamesAuthority != n.ca.Name() {
		t.Errorf("names are certified by %q", s.NamesAuthority)
	}
	if account := must1(n.b.NamesAccount(ctx)); account != "https://ca.example/account/1" {
		t.Error(account)
	}
}

func TestNamesRenewed(t *testing.T) {
	n := newNamed(t)
	n.ca.life = time.Hour
	leaf := must1(n.ask(nil)) // of two hours, one of which is over
	if renewed := must1(n.ask(nil)); renewed.Equal(leaf) || n.ca.asked.Load() != 2 {
		t.Error("not renewed when half of its life was over")
	}
}

// TestNamesAtOnce: one order for all who ask for the same.
func TestNamesAtOnce(t *testing.T) {
	n := newNamed(t)
	hold := make(chan struct{})
	n.ca.before = func() { <-hold }
	ended := make(chan error, 8)
	for range cap(ended) {
		go func() { _, err := n.ask(nil); ended <- err }()
	}
	time.Sleep(50 * time.Millisecond)
	close(hold)
	for range cap(ended) {
		must(t, <-ended)
	}
	if n.ca.asked.Load() != 1 {
		t.Errorf("%d orders", n.ca.asked.Load())
	}
}

// TestNamesPending: a room that hangs up finds the certificate when it comes again.
func TestNamesPending(t *testing.T) {
	n := newNamed(t)
	hold := make(chan struct{})
	n.ca.before = func() { <-hold }
	data, _ := n.certifyRequest(release.ForNames, func(r *release.CertifyRequest) {
		r.SPKI, r.CSR = spki(t, n.key.Public()), n.csr("web.alpha.example")
	})
	soon, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err := n.b.Certify(soon, data)
	refusedBy(t, err, "certify.pending")
	close(hold)
	must1(n.b.Certify(ctx, data))
	if kinds := n.kinds(); kinds["refusal"] != 0 || kinds["order"] != 1 {
		t.Errorf("recorded %v", kinds)
	}
}

func TestNamesRefused(t *testing.T) {
	other := must1(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for name, c := range map[string]struct {
		change func(*named, *release.CertifyRequest)
		check  string
	}{
		"no CSR":       {func(_ *named, r *release.CertifyRequest) { r.CSR = nil }, "certify.csr"},
		"no CSR's":     {func(_ *named, r *release.CertifyRequest) { r.CSR = []byte{1} }, "certify.csr"},
		"another name": {func(n *named, r *release.CertifyRequest) { r.CSR = n.csr("bank.example") }, "certify.csr"},
		"one more":     {func(n *named, r *release.CertifyRequest) { r.CSR = n.csr("web.alpha.example", "bank.example") }, "certify.csr"},
		"twice":        {func(n *named, r *release.CertifyRequest) { r.CSR = n.csr("web.alpha.example", "web.alpha.example") }, "certify.csr"},
		"no name":      {func(n *named, r *release.CertifyRequest) { r.CSR = n.csr() }, "certify.csr"},
		"a subject": {func(n *named, r *release.CertifyRequest) {
			r.CSR = must1(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "bank.example"}, DNSNames: []string{"web.alpha.example"}}, n.key))
		}, "certify.csr"},
		"an extension": {func(n *named, r *release.CertifyRequest) {
			r.CSR = must1(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"web.alpha.example"},
				ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 19}, Value: []byte{0x30, 3, 1, 1, 0xff}}}}, n.key))
		}, "certify.csr"},
		"another key's": {func(n *named, r *release.CertifyRequest) {
			r.CSR = must1(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"web.alpha.example"}}, other))
		}, "certify.csr"},
		"a signature": {func(n *named, r *release.CertifyRequest) { r.CSR[len(r.CSR)-1] ^= 1 }, "certify.csr"},
		"another run": {func(n *named, r *release.CertifyRequest) { r.RunID = randomID() }, "live.run"},
	} {
		n := newNamed(t)
		_, err := n.ask(func(r *release.CertifyRequest) { c.change(n, r) })
		refusedBy(t, err, c.check)
		if n.ca.asked.Load() != 0 || n.kinds()["order"] != 0 {
			t.Errorf("%s: the authority was asked", name)
		}
		n.h.close()
	}
	n := newNamed(t)
	stranger := *n.room
	stranger.signing = signingKey(t)
	n.room = &stranger
	_, err := n.ask(nil)
	refusedBy(t, err, "message.signature")
	if n.ca.asked.Load() != 0 {
		t.Error("the authority was asked")
	}
}

// TestNamesMade refuses what an authority should not have made.
func TestNamesMade(t *testing.T) {
	other := must1(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for name, c := range map[string]struct {
		made func(*x509.Certificate, *crypto.PublicKey)
		last func([][]byte) [][]byte
	}{
		"another key":  {made: func(_ *x509.Certificate, k *crypto.PublicKey) { *k = other.Public() }},
		"another name": {made: func(c *x509.Certificate, _ *crypto.PublicKey) { c.DNSNames = []string{"bank.example"} }},
		"one more":     {made: func(c *x509.Certificate, _ *crypto.PublicKey) { c.DNSNames = append(c.DNSNames, "*.alpha.example") }},
		"an authority": {made: func(c *x509.Certificate, _ *crypto.PublicKey) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }},
		"for clients": {made: func(c *x509.Certificate, _ *crypto.PublicKey) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}},
		"over":           {made: func(c *x509.Certificate, _ *crypto.PublicKey) { c.NotAfter = start.Add(-time.Minute) }},
		"not begun":      {made: func(c *x509.Certificate, _ *crypto.PublicKey) { c.NotBefore = start.Add(time.Hour) }},
		"alone":          {last: func(l [][]byte) [][]byte { return l[:1] }},
		"five":           {last: func(l [][]byte) [][]byte { return [][]byte{l[0], l[1], l[1], l[1], l[1]} }},
		"upside down":    {last: func(l [][]byte) [][]byte { slices.Reverse(l); return l }},
		"no certificate": {last: func(l [][]byte) [][]byte { return [][]byte{l[0], {1}} }},
	} {
		n := newNamed(t)
		n.ca.made, n.ca.last = c.made, c.last
		if _, err := n.ask(nil); err == nil {
			t.Errorf("%s: taken", name)
		} else {
			refusedBy(t, err, "certify.made")
		}
		if kinds := n.kinds(); kinds["certify"] != 0 || kinds["order"] != 1 {
			t.Errorf("%s: recorded %v", name, kinds)
		}
		n.h.close()
	}
}

// TestNamesBounds keeps to what authorities allow.
func TestNamesBounds(t *testing.T) {
	n := newNamed(t)
	n.ca.err = errors.New("no such zone")
	for range 4 {
		if _, err := n.ask(nil); err == nil || !strings.Contains(err.Error(), "no such zone") {
			t.Fatal(err)
		}
		n.w.pass(time.Second)
	}
	_, err := n.ask(nil)
	refusedBy(t, err, "certify.failing")
	n.ca.err = nil
	n.w.pass(61 * time.Minute)
	n.room = n.w.newHolder(n.b, n.h.agreement)
	anew := func() error {
		n.key = must1(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) // of a new room
		_, err := n.ask(nil)
		return err
	}
	for range 3 {
		must(t, anew())
	}
	refusedBy(t, anew(), "certify.rate")
	n.w.pass(7*24*time.Hour + time.Minute)
	n.room = n.w.newHolder(n.b, n.h.agreement)
	must(t, anew())
	if n.ca.asked.Load() != 8 {
		t.Errorf("asked %d times", n.ca.asked.Load())
	}
}

func TestNamesConfig(t *testing.T) {
	w := newService(t)
	h := w.newHouse()
	h.cfg.Names = newOutside(t, w)
	_, err := broker.Open(ctx, h.cfg)
	refusedBy(t, err, "broker.config") // no bound
	h.cfg.Names = nil
	_, err = h.open().NamesAccount(ctx)
	refusedBy(t, err, "certify.authority")
}
