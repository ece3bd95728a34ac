package release_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

func volumeRequest(step release.VolumeStep) release.VolumeRequest {
	r := release.VolumeRequest{Version: release.Version, Broker: "alpha", Agreement: wire.DigestOf([]byte("a")), Run: wire.DigestOf([]byte("r")), RunID: runID,
		ReleaseID: releaseID, Input: "state-key", Step: step, Nonce: wire.HashOf([]byte("n"))}
	if step != release.VolumeOpen {
		r.Generation = 7
	}
	if step == release.VolumeClose {
		root := wire.HashOf([]byte("content"))
		r.Root = &root
	}
	return r
}

func signedAs(t testing.TB, key keys.Signer, docType string, body any) []byte {
	t.Helper()
	doc, err := keys.NewDocument(docType, body)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Sign(key); err != nil {
		t.Fatal(err)
	}
	data, err := doc.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestVolumeRequest(t *testing.T) {
	room := signingKey(t)
	for _, step := range []release.VolumeStep{release.VolumeOpen, release.VolumeMounted, release.VolumeClose} {
		data, err := release.NewVolumeRequest(room, volumeRequest(step))
		if err != nil {
			t.Fatal(err)
		}
		r, err := release.ParseVolumeRequest(data)
		if err != nil || r.SignedBy(room.Public()) != nil || r.Step != step {
			t.Fatalf("%v, %+v", err, r)
		}
		refusedBy(t, "another room", r.SignedBy(signingKey(t).Public()), "message.signature")
	}
	zero, root := wire.Hash{}, wire.HashOf([]byte("x"))
	for name, c := range map[string]struct {
		step   release.VolumeStep
		change func(*release.VolumeRequest)
		check  string
	}{
		"version":            {release.VolumeOpen, func(r *release.VolumeRequest) { r.Version = "strongroom/release/v0" }, "message.version"},
		"agreement":          {release.VolumeOpen, func(r *release.VolumeRequest) { r.Agreement = wire.Digest{} }, "message.form"},
		"run":                {release.VolumeOpen, func(r *release.VolumeRequest) { r.Run = wire.Digest{} }, "message.form"},
		"nonce":              {release.VolumeOpen, func(r *release.VolumeRequest) { r.Nonce = zero }, "message.form"},
		"run id":             {release.VolumeOpen, func(r *release.VolumeRequest) { r.RunID = "x" }, "message.form"},
		"release id":         {release.VolumeOpen, func(r *release.VolumeRequest) { r.ReleaseID = "x" }, "message.form"},
		"step":               {release.VolumeOpen, func(r *release.VolumeRequest) { r.Step = "format" }, "message.form"},
		"open a generation":  {release.VolumeOpen, func(r *release.VolumeRequest) { r.Generation = 1 }, "message.form"},
		"mounted none":       {release.VolumeMounted, func(r *release.VolumeRequest) { r.Generation = 0 }, "message.form"},
		"mounted below zero": {release.VolumeMounted, func(r *release.VolumeRequest) { r.Generation = -1 }, "message.form"},
		"mounted a root":     {release.VolumeMounted, func(r *release.VolumeRequest) { r.Root = &root }, "message.form"},
		"close without root": {release.VolumeClose, func(r *release.VolumeRequest) { r.Root = nil }, "message.form"},
		"close zero root":    {release.VolumeClose, func(r *release.VolumeRequest) { r.Root = &zero }, "message.form"},
	} {
		r := volumeRequest(c.step)
		c.change(&r)
		_, err := release.ParseVolumeRequest(signedAs(t, room, release.VolumeRequestType, r))
		refusedBy(t, name, err, c.check)
	}
}

func TestVolumeAnswer(t *testing.T) {
	broker := signingKey(t)
	root := wire.HashOf([]byte("content"))
	asked := volumeRequest(release.VolumeOpen)
	good := release.VolumeAnswer{Generation: 9, Previous: &release.VolumeState{Generation: 7, Root: &root}}
	data, err := release.NewVolumeAnswer(broker, asked, good)
	if err != nil {
		t.Fatal(err)
	}
	a, err := release.VerifyVolumeAnswer(data, broker.Public(), asked)
	if err != nil || a.Generation != 9 || !a.Previous.Clean() || !a.Previous.Accepts(8, 9) {
		t.Fatalf("%v, %+v", err, a)
	}
	_, err = release.VerifyVolumeAnswer(data, signingKey(t).Public(), asked)
	refusedBy(t, "another broker's key", err, "message.signature")
	for name, change := range map[string]func(*release.VolumeRequest){
		"broker": func(r *release.VolumeRequest) { r.Broker = "beta" },
		"run":    func(r *release.VolumeRequest) { r.Run[0] ^= 1 },
		"input":  func(r *release.VolumeRequest) { r.Input = "other-key" },
		"step":   func(r *release.VolumeRequest) { r.Step = release.VolumeMounted },
		"nonce":  func(r *release.VolumeRequest) { r.Nonce[0] ^= 1 },
		"zero":   func(r *release.VolumeRequest) { r.Nonce = wire.Hash{} },
	} {
		other := asked
		change(&other)
		_, err := release.VerifyVolumeAnswer(data, broker.Public(), other)
		refusedBy(t, "another "+name, err, "volume.answer")
	}
	mounted := volumeRequest(release.VolumeMounted)
	if data, err = release.NewVolumeAnswer(broker, mounted, release.VolumeAnswer{Generation: 8}); err != nil {
		t.Fatal(err)
	}
	_, err = release.VerifyVolumeAnswer(data, broker.Public(), mounted)
	refusedBy(t, "another generation", err, "volume.answer")
	zero := wire.Hash{}
	for name, bad := range map[string]release.VolumeAnswer{
		"no generation":  {},
		"not before":     {Generation: 7, Previous: &release.VolumeState{Generation: 7}},
		"from nowhere":   {Generation: 7, Previous: &release.VolumeState{}},
		"an empty root":  {Generation: 7, Previous: &release.VolumeState{Generation: 1, Root: &zero}},
		"out of integer": {Generation: wire.MaxInteger + 1},
	} {
		if _, err := release.NewVolumeAnswer(broker, asked, bad); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if _, err := release.NewVolumeAnswer(broker, mounted, release.VolumeAnswer{Generation: 7, Previous: &release.VolumeState{Generation: 1}}); err == nil {
		t.Error("a state before of what is mounted: signed")
	}
}

func certifyRequest(spki []byte) release.CertifyRequest {
	return release.CertifyRequest{Version: release.Version, Broker: "alpha", Agreement: wire.DigestOf([]byte("a")), Run: wire.DigestOf([]byte("r")), RunID: runID,
		ReleaseID: releaseID, Use: release.ForNames, SPKI: spki, Nonce: wire.HashOf([]byte("n"))}
}

// issue makes a certificate of a key by a parent; nil makes it its own.
func issue(t *testing.T, template, parent *x509.Certificate, public, signer *ecdsa.PrivateKey) []byte {
	t.Helper()
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), now.Add(-time.Hour), now.Add(time.Hour)
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestCertified(t *testing.T) {
	broker, room := signingKey(t), signingKey(t)
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	ca, leaf, other := newKey(), newKey(), newKey()
	spki, err := x509.MarshalPKIXPublicKey(leaf.Public())
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER := issue(t, root, nil, ca, ca)
	otherRoot := issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, other, other)
	server := func(change func(*x509.Certificate)) *x509.Certificate {
		c := &x509.Certificate{Subject: pkix.Name{CommonName: "room"}, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		change(c)
		return c
	}
	same := func(*x509.Certificate) {}
	good := issue(t, server(same), root, leaf, ca)
	asked := certifyRequest(spki)
	answer := func(asked release.CertifyRequest, chain ...wire.Bytes) ([]byte, error) {
		return release.NewCertified(broker, asked, chain)
	}
	data, err := answer(asked, good, rootDER)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := release.VerifyCertified(data, broker.Public(), asked); err != nil || !bytes.Equal(c.Chain[0], good) {
		t.Fatal(err)
	}
	_, err = release.VerifyCertified(data, room.Public(), asked)
	refusedBy(t, "another key", err, "message.signature")
	for name, change := range map[string]func(*release.CertifyRequest){
		"broker": func(r *release.CertifyRequest) { r.Broker = "beta" }, "run": func(r *release.CertifyRequest) { r.Run[0] ^= 1 },
		"use": func(r *release.CertifyRequest) { r.Use = release.ForMesh }, "nonce": func(r *release.CertifyRequest) { r.Nonce[0] ^= 1 },
		"zero": func(r *release.CertifyRequest) { r.Nonce = wire.Hash{} },
	} {
		changed := asked
		change(&changed)
		_, err := release.VerifyCertified(data, broker.Public(), changed)
		refusedBy(t, "another "+name, err, "certify.answer")
	}
	for name, chain := range map[string][]wire.Bytes{
		"another key":       {issue(t, server(same), root, other, ca), rootDER},
		"another authority": {good, otherRoot},
		"no certificate":    {good, []byte{1}},
		"an authority":      {issue(t, server(func(c *x509.Certificate) { c.IsCA = true }), root, leaf, ca), rootDER},
		"for clients":       {issue(t, server(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), root, leaf, ca), rootDER},
	} {
		data, err := answer(asked, chain...)
		if err != nil {
			t.Fatal(err)
		}
		_, err = release.VerifyCertified(data, broker.Public(), asked)
		refusedBy(t, name, err, "certify.chain")
	}
	for name, chain := range map[string][]wire.Bytes{"alone": {good}, "none": {}, "five": {good, good, good, good, good}, "empty": {good, {}}, "long": {good, make([]byte, release.MaxChainCertificate+1)}} {
		if _, err := answer(asked, chain...); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

func TestCertifyRequest(t *testing.T) {
	room := signingKey(t)
	data, err := release.NewCertifyRequest(room, certifyRequest([]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	r, err := release.ParseCertifyRequest(data)
	if err != nil || r.SignedBy(room.Public()) != nil {
		t.Fatal(err)
	}
	refusedBy(t, "another room", r.SignedBy(signingKey(t).Public()), "message.signature")
	for name, c := range map[string]struct {
		change func(*release.CertifyRequest)
		check  string
	}{
		"version":    {func(r *release.CertifyRequest) { r.Version = "strongroom/release/v0" }, "message.version"},
		"agreement":  {func(r *release.CertifyRequest) { r.Agreement = wire.Digest{} }, "message.form"},
		"run":        {func(r *release.CertifyRequest) { r.Run = wire.Digest{} }, "message.form"},
		"nonce":      {func(r *release.CertifyRequest) { r.Nonce = wire.Hash{} }, "message.form"},
		"run id":     {func(r *release.CertifyRequest) { r.RunID = "" }, "message.form"},
		"release id": {func(r *release.CertifyRequest) { r.ReleaseID = "" }, "message.form"},
		"use":        {func(r *release.CertifyRequest) { r.Use = "everything" }, "message.form"},
		"no key":     {func(r *release.CertifyRequest) { r.SPKI = wire.Bytes{} }, "message.form"},
		"long key":   {func(r *release.CertifyRequest) { r.SPKI = make([]byte, release.MaxSPKI+1) }, "message.form"},
		"long CSR":   {func(r *release.CertifyRequest) { r.CSR = make([]byte, release.MaxCSR+1) }, "message.form"},
		"mesh's CSR": {func(r *release.CertifyRequest) { r.Use, r.CSR = release.ForMesh, []byte{1} }, "message.form"},
	} {
		r := certifyRequest([]byte{1})
		c.change(&r)
		_, err := release.ParseCertifyRequest(signedAs(t, room, release.CertifyRequestType, r))
		refusedBy(t, name, err, c.check)
	}
}

func FuzzParseVolumeRequest(f *testing.F) {
	for _, step := range []release.VolumeStep{release.VolumeOpen, release.VolumeClose} {
		data, err := release.NewVolumeRequest(signingKey(f), volumeRequest(step))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := release.ParseVolumeRequest(data); err == nil && (r.Nonce.IsZero() || (r.Root != nil) != (r.Step == release.VolumeClose) || len(r.Document.Signatures) != 1) {
			t.Errorf("%+v", r.VolumeRequest)
		}
	})
}

func FuzzParseCertifyRequest(f *testing.F) {
	data, err := release.NewCertifyRequest(signingKey(f), certifyRequest([]byte{1}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := release.ParseCertifyRequest(data); err == nil && (r.Nonce.IsZero() || len(r.SPKI) == 0 || len(r.Document.Signatures) != 1) {
			t.Errorf("%+v", r.CertifyRequest)
		}
	})
}

func FuzzVerifyVolumeAnswer(f *testing.F) {
	broker := signingKey(f)
	asked := volumeRequest(release.VolumeOpen)
	f.Add(signedAs(f, broker, release.VolumeAnswerType, release.VolumeAnswer{Version: release.Version, Broker: "alpha", Input: "state-key", Step: release.VolumeOpen}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := release.VerifyVolumeAnswer(data, broker.Public(), asked); err == nil {
			t.Errorf("an answer nobody signed: %+v", a)
		}
	})
}

func FuzzVerifyCertified(f *testing.F) {
	broker := signingKey(f)
	asked := certifyRequest([]byte{1})
	f.Add(signedAs(f, broker, release.CertificateType, release.Certified{Version: release.Version, Broker: "alpha", Use: release.ForNames, Chain: []wire.Bytes{{1}, {2}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := release.VerifyCertified(data, broker.Public(), asked); err == nil {
			t.Errorf("an answer nobody signed: %+v", c)
		}
	})
}
