package ingress_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/ingress"
	"strongroom.dev/internal/ingresstest"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// who says who a client is.
type who struct {
	party       wire.ID
	signers     []keys.Signer
	token       string
	certificate *tls.Certificate
}

func (w who) on(c ingress.Client) ingress.Client {
	c.Party, c.Signers, c.Certificate = w.party, w.signers, w.certificate
	if w.token != "" {
		c.Token = func(context.Context) (string, error) { return w.token, nil }
	}
	return c
}

func signers(all []*keys.SigningKey) (list []keys.Signer) {
	for _, k := range all {
		list = append(list, k)
	}
	return list
}

// issuer makes tokens.
type issuer struct {
	key  jwsKey
	name string
}

func (i issuer) token(claims map[string]any) string {
	all := map[string]any{"iss": i.name, "aud": "web", "sub": "ann", "exp": time.Now().Add(time.Minute).Unix()}
	for name, value := range claims {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	header := map[string]any{"alg": i.key.algorithm, "typ": "JWT", "kid": "any"}
	return i.key.sign(encode(header), encode(all))
}

func encode(v any) string {
	return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v)))
}

// TestAllow: each kind of rule lets in whom it names and nobody else, and no byte of anybody
// else reaches the container.
func TestAllow(t *testing.T) {
	ca, otherCA, mesh := newAuthority(t), newAuthority(t), newAuthority(t)
	ed, es, stranger := newJWSKey(t, "EdDSA"), newJWSKey(t, "ES256"), newJWSKey(t, "EdDSA")
	idp := issuer{ed, "https://login.example"}
	w := must(ingresstest.New(ingresstest.Config{Ports: []agreement.Port{ingresstest.Port("web", agreement.Allow{
		Parties: []wire.ID{"beta"}, Authorities: ca.der(), Rooms: []wire.ID{"reader"},
		Issuers: []agreement.Issuer{{Issuer: idp.name, Audience: "web", Keys: []string{ed.text, es.text}, Subjects: []string{"ann"}}},
	})}, Change: reader}))
	s := serve(t, w, func(c *ingress.Config) { c.Mesh = mesh.der() }, nil)
	alpha, beta := signers(w.Keys["alpha"]), signers(w.Keys["beta"])
	room := func(by authority, name string) *tls.Certificate {
		return by.issue(t, func(c *x509.Certificate) { c.URIs = uri(t, name) })
	}
	reading := agreement.RoomURI(w.Agreement.Digest(), "reader")
	for name, test := range map[string]struct {
		who   who
		check string // "" is let in
	}{
		"party with two of three keys":    {who{party: "beta", signers: beta[:2]}, ""},
		"party with all keys":             {who{party: "beta", signers: beta}, ""},
		"party with one key of two":       {who{party: "beta", signers: beta[:1]}, "ingress.party"},
		"party with a key twice":          {who{party: "beta", signers: []keys.Signer{beta[0], beta[0]}}, "ingress.party"},
		"party that may not":              {who{party: "alpha", signers: alpha}, "ingress.admission"},
		"party with another's keys":       {who{party: "beta", signers: alpha}, "ingress.party"},
		"nobody's party":                  {who{party: "gamma", signers: beta}, "ingress.admission"},
		"nothing":                         {who{}, "ingress.admission"},
		"certificate":                     {who{certificate: ca.issue(t, nil)}, ""},
		"certificate of another CA":       {who{certificate: otherCA.issue(t, nil)}, "ingress.admission"},
		"certificate that expired":        {who{certificate: ca.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })}, "ingress.admission"},
		"certificate of later":            {who{certificate: ca.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })}, "ingress.admission"},
		"certificate of servers":          {who{certificate: ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })}, "ingress.admission"},
		"certificate for no use":          {who{certificate: ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = nil })}, "ingress.admission"},
		"room of the mesh":                {who{certificate: room(mesh, reading)}, ""},
		"room of another work":            {who{certificate: room(mesh, agreement.RoomURI(w.Agreement.Digest(), "web"))}, "ingress.admission"},
		"room of another agreement":       {who{certificate: room(mesh, agreement.RoomURI(wire.DigestOf(nil), "reader"))}, "ingress.admission"},
		"no room's certificate of it":     {who{certificate: mesh.issue(t, nil)}, "ingress.admission"},
		"room by a CA for people":         {who{certificate: room(ca, reading)}, ""}, // the CA's word is enough by itself
		"room by another CA":              {who{certificate: room(otherCA, reading)}, "ingress.admission"},
		"token EdDSA":                     {who{token: idp.token(nil)}, ""},
		"token ES256":                     {who{token: issuer{es, idp.name}.token(nil)}, ""},
		"token for several":               {who{token: idp.token(map[string]any{"aud": []string{"other", "web"}})}, ""},
		"token with a fraction":           {who{token: idp.token(map[string]any{"exp": float64(time.Now().Unix()) + 30.5})}, ""},
		"token for others":                {who{token: idp.token(map[string]any{"aud": "other"})}, "ingress.token"},
		"token for nobody":                {who{token: idp.token(map[string]any{"aud": nil})}, "ingress.token"},
		"token that expired":              {who{token: idp.token(map[string]any{"exp": time.Now().Add(-time.Second).Unix()})}, "ingress.token"},
		"token without an end":            {who{token: idp.token(map[string]any{"exp": nil})}, "ingress.token"},
		"token of later":                  {who{token: idp.token(map[string]any{"nbf": time.Now().Add(time.Minute).Unix()})}, "ingress.token"},
		"token that counts already":       {who{token: idp.token(map[string]any{"nbf": time.Now().Add(-time.Minute).Unix()})}, ""},
		"token of another subject":        {who{token: idp.token(map[string]any{"sub": "bob"})}, "ingress.token"},
		"token of no subject":             {who{token: idp.token(map[string]any{"sub": nil})}, "ingress.token"},
		"token with SUB":                  {who{token: idp.token(map[string]any{"sub": "bob", "SUB": "ann", "Sub": "ann"})}, "ingress.token"},
		"token of another issuer":         {who{token: issuer{ed, "https://other.example"}.token(nil)}, "ingress.admission"},
		"token by another key":            {who{token: issuer{stranger, idp.name}.token(nil)}, "ingress.token"},
		"token without a signature":       {who{token: unsigned(idp.token(nil), "none")}, "ingress.token"},
		"token with a symmetric MAC":      {who{token: unsigned(idp.token(nil), "HS256")}, "ingress.token"},
		"token with extensions":           {who{token: ed.sign(encode(map[string]any{"alg": "EdDSA", "crit": []string{"x"}, "x": 1}), strings.Split(idp.token(nil), ".")[1])}, "ingress.token"},
		"no token":                        {who{token: "not a token"}, "ingress.token"},
		"certificate and, by it, a party": {who{certificate: otherCA.issue(t, nil), party: "beta", signers: beta[:2]}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := *s.dialled
			conn, err := s.connect(t, test.who.on(s.client()))
			if test.check == "" {
				if err != nil {
					t.Fatal(err)
				}
				echoed(t, conn, 1000)
				return
			}
			if verdict.As(err).Check != test.check {
				t.Errorf("got %v", err)
			}
			if *s.dialled != before {
				t.Error("the container was reached")
			}
		})
	}
}

// reader adds work "reader" to an agreement, and its mesh.
func reader(a *agreement.Agreement) {
	second := a.Work[0]
	c := *second.Container
	c.Ports, c.Mesh, c.CertifiedBy = []agreement.Port{}, true, "alpha"
	a.Work[0].Container.Mesh, a.Work[0].Container.CertifiedBy = true, "alpha"
	second.Name, second.Container = "reader", &c
	a.Work = append(a.Work, second)
}

func unsigned(token, algorithm string) string {
	parts := strings.Split(token, ".")
	return encode(map[string]any{"alg": algorithm}) + "." + parts[1] + "."
}

// TestPartyElsewhere: what a party signed for one connection lets nobody in by another.
func TestPartyElsewhere(t *testing.T) {
	w := world(t, agreement.Allow{Parties: []wire.ID{"alpha"}})
	s := serve(t, w, nil, nil)
	kept := &keeping{SigningKey: w.Keys["alpha"][0]}
	c := s.client()
	c.Party, c.Signers = "alpha", []keys.Signer{kept}
	must(s.connect(t, c))
	kept.replay = true
	if _, err := s.connect(t, c); verdict.As(err).Check != "ingress.party" || verdict.As(err).Kind != verdict.Invalid {
		t.Errorf("the signature alone: %v", err)
	}
	// The whole document, as somebody who saw it could send it.
	one, other := wire.DigestOf([]byte("one")), wire.DigestOf([]byte("other"))
	for _, test := range []struct {
		agreed, connected wire.Digest
		ok                bool
	}{{w.Agreement.Digest(), one, true}, {w.Agreement.Digest(), other, false}, {other, one, false}} {
		doc := must(keys.NewDocument(ingress.PartyType, map[string]any{"party": "alpha", "agreement": test.agreed, "connection": one}))
		if err := doc.Sign(w.Keys["alpha"][0]); err != nil {
			t.Fatal(err)
		}
		err := ingress.AdmitParty(s.Server, "web", must(doc.Encode()), test.connected)
		if test.ok != (err == nil) || err != nil && (verdict.As(err).Check != "ingress.party" || verdict.As(err).Kind != verdict.Invalid) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// keeping gives the signature it made before.
type keeping struct {
	*keys.SigningKey
	last   keys.Signature
	replay bool
}

func (k *keeping) Sign(docType string, digest wire.Digest) (keys.Signature, error) {
	if k.replay {
		return k.last, nil
	}
	var err error
	k.last, err = k.SigningKey.Sign(docType, digest)
	return k.last, err
}

// TestRoomsTime: certificates and tokens are judged by the room's clock.
func TestRoomsTime(t *testing.T) {
	ca := newAuthority(t)
	s := serve(t, world(t, agreement.Allow{Authorities: ca.der()}), func(c *ingress.Config) {
		c.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	}, nil)
	if _, err := s.connect(t, (who{certificate: ca.issue(t, nil)}).on(s.client())); verdict.As(err).Check != "ingress.admission" {
		t.Errorf("got %v", err)
	}
}

// TestOrdinary: clients that know no exchange come in where anyone may, or with a certificate
// that an authority of the agreement made, and nowhere else.
func TestOrdinary(t *testing.T) {
	ca, otherCA := newAuthority(t), newAuthority(t)
	for name, test := range map[string]struct {
		allow     agreement.Allow
		client    *tls.Certificate
		protocols []string
		chosen    string
		ok        bool
	}{
		"anyone":                         {agreement.Allow{Anyone: true}, nil, nil, "", true},
		"anyone, a browser":              {agreement.Allow{Anyone: true}, nil, []string{"h2", "http/1.1"}, "http/1.1", true},
		"anyone, psql":                   {agreement.Allow{Anyone: true}, nil, []string{"postgresql"}, "postgresql", true},
		"anyone, HTTP/2 alone":           {agreement.Allow{Anyone: true}, nil, []string{"h2"}, "h2", true},
		"a certificate":                  {agreement.Allow{Authorities: ca.der()}, ca.issue(t, nil), []string{"http/1.1"}, "http/1.1", true},
		"no certificate":                 {agreement.Allow{Authorities: ca.der()}, nil, nil, "", false},
		"another authority's":            {agreement.Allow{Authorities: ca.der()}, otherCA.issue(t, nil), nil, "", false},
		"parties only":                   {agreement.Allow{Parties: []wire.ID{"alpha"}}, nil, nil, "", false},
		"parties only, a browser":        {agreement.Allow{Parties: []wire.ID{"alpha"}}, nil, []string{"h2", "http/1.1"}, "", false},
		"parties only, some certificate": {agreement.Allow{Parties: []wire.ID{"alpha"}}, ca.issue(t, nil), nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, world(t, test.allow), nil, nil)
			c := &tls.Config{InsecureSkipVerify: true, NextProtos: test.protocols}
			if test.client != nil {
				c.Certificates = []tls.Certificate{*test.client}
			}
			conn, err := tls.Dial("tcp", s.address, c)
			if err == nil {
				defer conn.Close()
				if got := conn.ConnectionState().NegotiatedProtocol; test.ok && got != test.chosen {
					t.Errorf("chose %q", got)
				}
			}
			if test.ok {
				if err != nil {
					t.Fatal(err)
				}
				echoed(t, conn, 100_000)
				return
			}
			if err == nil { // in TLS 1.3 a client hears of its certificate with its first byte
				io.WriteString(conn, "let me in")
				_, err = conn.Read(make([]byte, 1))
			}
			if err == nil || *s.dialled != 0 {
				t.Errorf("an ordinary client is in, %v", err)
			}
		})
	}
	s := serve(t, world(t, agreement.Allow{Anyone: true}), nil, nil)
	if _, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
}

// TestShownToRooms: a port with a name of its own shows other rooms who it is among them.
func TestShownToRooms(t *testing.T) {
	mesh := newAuthority(t)
	w := must(ingresstest.New(ingresstest.Config{Ports: []agreement.Port{ingresstest.Port("web", agreement.Allow{Anyone: true, Rooms: []wire.ID{"reader"}})}, Change: reader}))
	ofMesh := mesh.issue(t, func(c *x509.Certificate) { c.URIs = uri(t, agreement.RoomURI(w.Agreement.Digest(), "web")) })
	ofMesh.Leaf = must(x509.ParseCertificate(ofMesh.Certificate[0]))
	s := serve(t, w, func(c *ingress.Config) {
		c.Mesh, c.MeshCertificate = mesh.der(), func() *tls.Certificate { return ofMesh }
	}, nil)
	for name, room := range map[string]bool{"": true, "web.example": false} {
		conn := must(tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, ServerName: name}))
		if shown := conn.ConnectionState().PeerCertificates[0]; (len(shown.URIs) == 1) != room {
			t.Errorf("to %q: %v", name, shown.URIs)
		}
		echoed(t, conn, 1000)
		conn.Close()
	}
	// The exchange binds whichever was shown.
	if _, err := s.connect(t, s.client()); err != nil {
		t.Error(err)
	}
}

// TestOversized: a message over its limit ends the connection before it is read.
func TestOversized(t *testing.T) {
	s := serve(t, world(t, agreement.Allow{Parties: []wire.ID{"alpha"}}), nil, nil)
	for name, message := range map[string][]byte{
		"a long hello":    append([]byte{0, 0, 0x10, 1}, make([]byte, 4097)...),
		"an endless one":  {0xff, 0xff, 0xff, 0xff},
		"not canonical":   append([]byte{0, 0, 0, 3}, "{ }"...),
		"null":            append([]byte{0, 0, 0, 4}, "null"...),
		"unknown members": append([]byte{0, 0, 0, 7}, `{"a":1}`...),
	} {
		conn := must(tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ingress.Protocol}}))
		conn.Write(message)
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		conn.Close()
	}
}

// TestContainerAway: a client hears that nothing listens.
func TestContainerAway(t *testing.T) {
	s := serve(t, world(t, agreement.Allow{Anyone: true}), func(c *ingress.Config) {
		c.Dial = func(context.Context, wire.ID) (io.ReadWriteCloser, error) { return nil, fmt.Errorf("refused") }
	}, nil)
	if _, err := s.connect(t, s.client()); verdict.As(err).Check != "ingress.container" || verdict.As(err).Kind != verdict.Broken {
		t.Errorf("got %v", err)
	}
}

// TestCut: a host that cuts a connection does not make a part look like the whole.
func TestCut(t *testing.T) {
	var through net.Conn
	s := serve(t, world(t, agreement.Allow{Anyone: true}), nil, func(c net.Conn) net.Conn { through = c; return c })
	conn := must(s.connect(t, s.client()))
	io.WriteString(conn, "a part")
	io.ReadFull(conn, make([]byte, 6))
	through.Close()
	if got, err := io.ReadAll(conn); err == nil {
		t.Errorf("%q and an end", got)
	}
}
