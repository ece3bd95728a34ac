package broker_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

func spki(t testing.TB, public any) wire.Bytes { return must1(x509.MarshalPKIXPublicKey(public)) }

func tlsKey(t testing.TB) wire.Bytes {
	return spki(t, must1(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public())
}

func (r *room) certifyRequest(use release.CertificateUse, change func(*release.CertifyRequest)) ([]byte, release.CertifyRequest) {
	asked := release.CertifyRequest{Version: release.Version, Broker: "alpha-org", Agreement: r.agreement.Digest(), Run: r.run.Digest(), RunID: r.run.RunID,
		ReleaseID: r.releaseID, Use: use, SPKI: tlsKey(r.w.t), Nonce: wire.HashOf([]byte(randomID()))}
	if change != nil {
		change(&asked)
	}
	data, err := release.NewCertifyRequest(r.signing, asked)
	must(r.w.t, err)
	return data, asked
}

// certified asks, checks the answer as a room does, and gives the room's certificate and the
// authority's.
func (r *room) certified(b *broker.Broker, use release.CertificateUse) (leaf, root *x509.Certificate) {
	r.w.t.Helper()
	data, asked := r.certifyRequest(use, nil)
	c, err := release.VerifyCertified(must1(b.Certify(ctx, data)), r.w.descriptors["alpha"].Broker.ReleaseKey, asked)
	must(r.w.t, err)
	return must1(x509.ParseCertificate(c.Chain[0])), must1(x509.ParseCertificate(c.Chain[1]))
}

// verifies tells whether a client that trusts root at a moment takes the certificate.
func verifies(leaf, root *x509.Certificate, name string, at time.Time) error {
	pool := x509.NewCertPool()
	pool.AddCert(root)
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

func TestCertify(t *testing.T) {
	w := newService(t)
	h := w.newHouse()
	b, a := h.ready()
	r := w.newHolder(b, a)

	leaf, root := r.certified(b, release.ForNames)
	must(t, verifies(leaf, root, "web.alpha.example", w.now()))
	if verifies(leaf, root, "other.alpha.example", w.now()) == nil || len(leaf.URIs) != 0 || leaf.IsCA {
		t.Error("it certifies more than the agreement's names")
	}
	if life := leaf.NotAfter.Sub(w.now()); life > 24*time.Hour || life < 23*time.Hour {
		t.Errorf("it lives %s", life)
	}
	block, rest := pem.Decode([]byte(must1(b.Authority(ctx))))
	if block == nil || len(rest) != 0 || !must1(x509.ParseCertificate(block.Bytes)).Equal(root) {
		t.Error("the authority shown is another")
	}

	mesh, meshRoot := r.certified(b, release.ForMesh)
	if len(mesh.URIs) != 1 || mesh.URIs[0].String() != agreement.RoomURI(a.Digest(), "mean-radius") || len(mesh.DNSNames) != 0 {
		t.Errorf("names %v and %v", mesh.URIs, mesh.DNSNames)
	}
	if meshRoot.Equal(root) || mesh.CheckSignatureFrom(root) == nil || !meshRoot.NotAfter.Equal(a.Valid.Until.Time()) {
		t.Error("the mesh has the authority for names")
	}
	// Both authorities are made once: the keys follow from the broker's secret.
	_, again := w.newHolder(h.open(), a).certified(h.open(), release.ForNames)
	if !again.Equal(root) {
		t.Error("another authority after a restart")
	}
	kinds := map[wire.ID]int{}
	for i := range h.log.Size() {
		kinds[must1(ledger.ParseEntry(must1(h.log.Entry(i)))).Kind]++
	}
	if kinds["authority"] != 2 || kinds["certify"] != 3 {
		t.Errorf("recorded %v", kinds)
	}
	// Another agreement's mesh is another.
	w.agreement.ID = "another"
	other := w.agree()
	must1(b.Activate(ctx, w.activation(other)))
	if _, otherRoot := w.newHolder(b, other).certified(b, release.ForMesh); otherRoot.Equal(meshRoot) || mesh.CheckSignatureFrom(otherRoot) == nil {
		t.Error("two agreements share a mesh")
	}
}

// A certificate never outlives the agreement.
func TestCertifyEndsWithTheAgreement(t *testing.T) {
	w := newService(t)
	w.agreement.Valid.Until = wire.At(start.Add(2 * time.Hour))
	b, a := w.newHouse().ready()
	leaf, _ := w.newHolder(b, a).certified(b, release.ForNames)
	if !leaf.NotAfter.Equal(start.Add(2 * time.Hour)) {
		t.Errorf("until %s", leaf.NotAfter)
	}
}

func TestCertifyRefused(t *testing.T) {
	w := newService(t)
	b, a := w.newHouse().ready()
	r := w.newHolder(b, a)
	send := func(r *room, b *broker.Broker, use release.CertificateUse, change func(*release.CertifyRequest)) error {
		data, _ := r.certifyRequest(use, change)
		_, err := b.Certify(ctx, data)
		return err
	}
	for name, c := range map[string]struct {
		change func(*release.CertifyRequest)
		check  string
	}{
		"another broker":  {func(v *release.CertifyRequest) { v.Broker = "beta-org" }, "live.run"},
		"another run":     {func(v *release.CertifyRequest) { v.RunID = randomID() }, "live.run"},
		"another release": {func(v *release.CertifyRequest) { v.ReleaseID = randomID() }, "live.run"},
		"no key":          {func(v *release.CertifyRequest) { v.SPKI = []byte{1} }, "certify.key"},
		"Ed25519": {func(v *release.CertifyRequest) {
			public, _, _ := ed25519.GenerateKey(rand.Reader)
			v.SPKI = spki(t, public)
		}, "certify.key"},
		"P-384": {func(v *release.CertifyRequest) {
			v.SPKI = spki(t, must1(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).Public())
		}, "certify.key"},
	} {
		if err := send(r, b, release.ForNames, c.change); err == nil {
			t.Errorf("%s: certified", name)
		} else {
			refusedBy(t, err, c.check)
		}
	}
	other := *r
	other.signing = signingKey(t)
	refusedBy(t, send(&other, b, release.ForNames, nil), "message.signature")
	// A room whose volume another took over is no room any more.
	r.enters(b)
	w.newHolder(b, a).enters(b)
	refusedBy(t, send(r, b, release.ForNames, nil), "volume.fenced")
	r = w.newHolder(b, a)
	w.pass(3 * time.Second)
	refusedBy(t, send(r, b, release.ForNames, nil), "lease")

	for name, c := range map[string]struct {
		change func(*agreement.Container)
		use    release.CertificateUse
		check  string
	}{
		"certified by another": {func(c *agreement.Container) { c.CertifiedBy = "beta" }, release.ForNames, "certify.party"},
		"no names":             {func(c *agreement.Container) { c.Ports = []agreement.Port{} }, release.ForNames, "certify.names"},
		"no mesh":              {func(c *agreement.Container) { c.Mesh = false }, release.ForMesh, "certify.mesh"},
	} {
		w := newService(t)
		c.change(w.agreement.Work[0].Container)
		b, a := w.newHouse().ready()
		if err := send(w.newHolder(b, a), b, c.use, nil); err == nil {
			t.Errorf("%s: certified", name)
		} else {
			refusedBy(t, err, c.check)
		}
	}
	w = newWorld(t)
	b, a = w.newHouse().ready()
	refusedBy(t, send(w.newHolder(b, a), b, release.ForNames, nil), "run.container")
}
