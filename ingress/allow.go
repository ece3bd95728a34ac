package ingress

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// caller is what a client shows of who it is.
type caller struct {
	// certificates are those of the TLS handshake, which proved that the client has the first
	// one's key; nothing else of them is checked yet.
	certificates []*x509.Certificate
	party        json.RawMessage // a document of PartyType
	token        string
}

// admit says whether the agreement lets a client in at this port (R20): whoever one member of
// Allow admits. connected stands for this very connection. Strangers are not told whom the
// agreement names.
func (p *port) admit(who caller, connected wire.Digest) error {
	if p.Allow.Anyone {
		return nil
	}
	if p.proven(who.certificates) {
		return nil
	}
	switch {
	case len(who.party) > 0 && who.token != "":
		return p.refuse("a signature and a token: one of them says who connects")
	case len(who.party) > 0:
		return p.admitParty(who.party, connected)
	case who.token != "":
		return p.admitToken(who.token)
	case len(who.certificates) > 0:
		return p.certified(who.certificates)
	}
	return p.refuse("nothing that says who connects")
}

func (p *port) refuse(got string) error {
	return verdict.Refuse("ingress.admission", "somebody whom the agreement lets in at port "+string(p.Name), verdict.Short(got),
		"connect as one of those that `strongroom agreement explain` lists for the port")
}

// admitParty takes a connection's document that the threshold of a party's keys signed: what
// speaks for a party takes as many keys here as anywhere else.
func (p *port) admitParty(data []byte, connected wire.Digest) error {
	var body partyConnection
	doc, err := keys.ParseDocument(data, PartyType, &body)
	if err != nil {
		return verdict.NotGenuine("ingress.party", "a document of type "+PartyType, verdict.Short(err.Error()), "client and room must be of one version")
	}
	if body.Agreement != p.Agreement.Digest() || body.Connection != connected {
		return verdict.NotGenuine("ingress.party", "a signature over this very connection", "one over another", "somebody may be repeating an earlier connection, or stand in between")
	}
	party, found := p.Agreement.PartyByID(body.Party)
	if !found || !slices.Contains(p.Allow.Parties, body.Party) {
		return p.refuse("party " + string(body.Party))
	}
	i := slices.IndexFunc(p.Parties, func(s *agreement.SignedParty) bool {
		return s != nil && s.Document != nil && s.Digest() == party.Descriptor
	})
	if i < 0 {
		return p.refuse("party " + string(body.Party) + ", whose descriptor is not here")
	}
	now := p.Now()
	if err := p.Parties[i].VerifyOwn(now); err != nil {
		return err
	}
	return p.Parties[i].Signed("ingress.party", doc, now)
}

// proven reports whether the handshake alone has proven that the agreement lets a client in.
func (p *port) proven(chain []*x509.Certificate) bool {
	return len(chain) > 0 && p.certified(chain) == nil
}

// certified takes a client by its certificate: under one of the agreement's authorities, or
// under the mesh's for a work that may connect. The time is the room's.
func (p *port) certified(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return p.refuse("no certificate")
	}
	if len(chain) > maxChain {
		return p.refuse(fmt.Sprintf("%d certificates, at most %d", len(chain), maxChain))
	}
	now := p.Now()
	err := leadsTo(p.authorities, chain, now)
	if err == nil {
		return nil
	}
	if p.mesh != nil && leadsTo(p.mesh, chain, now) == nil {
		for _, work := range p.Allow.Rooms {
			if isRoom(chain[0], p.Agreement.Digest(), work) {
				return nil
			}
		}
		err = fmt.Errorf("a room of the agreement whose work may not connect here")
	}
	return p.refuse("a certificate that does not do: " + err.Error())
}

// leadsTo checks a client's certificate up to one of the roots.
func leadsTo(roots *x509.CertPool, chain []*x509.Certificate, now time.Time) error {
	if roots == nil {
		return fmt.Errorf("no authority is named for it")
	}
	// A certificate that names no use would pass for any.
	if !slices.Contains(chain[0].ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return fmt.Errorf("not for clients (extended key usage clientAuth)")
	}
	others := x509.NewCertPool()
	for _, c := range chain[1:] {
		others.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

// isRoom reports whether a certificate names the rooms of a work, and nothing else by URI.
func isRoom(c *x509.Certificate, digest wire.Digest, work wire.ID) bool {
	return len(c.URIs) == 1 && c.URIs[0].String() == agreement.RoomURI(digest, work)
}

// admitToken takes a client by a token of one of the agreement's issuers.
func (p *port) admitToken(token string) error {
	if len(token) > MaxToken {
		return p.refuse(fmt.Sprintf("a token of %d bytes, at most %d", len(token), MaxToken))
	}
	t, err := parseToken(token)
	if err != nil {
		return verdict.NotGenuine("ingress.token", "a signed token (JWT)", verdict.Short(err.Error()), "get one from the issuer")
	}
	for _, issuer := range p.Allow.Issuers {
		if issuer.Issuer == t.issuer {
			return t.check(issuer, p.Now())
		}
	}
	return p.refuse("a token of an issuer that the agreement does not name for it")
}
