package broker

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

const (
	// certificateLife is the longest that a room's certificate lives.
	certificateLife = 24 * time.Hour
	// namesLife is how long the authority for names lives: people put it into clients.
	namesLife = 10 * 365 * 24 * time.Hour
)

// rootRecord is the certificate of an authority. Its key is not kept: it follows from the
// broker's secret.
type rootRecord struct {
	Certificate []byte `json:"certificate"`
}

// authorityFacts is the public part of an entry of kind "authority": an authority was made.
type authorityFacts struct {
	Use         release.CertificateUse `json:"use"`
	Certificate wire.Hash              `json:"certificate"`
}

// CertifyFacts is the public part of a log entry of kind "certify": whose key was certified
// for what, and until when.
type CertifyFacts struct {
	ReleaseID   string                 `json:"release_id"`
	Use         release.CertificateUse `json:"use"`
	Key         wire.Hash              `json:"key"` // SHA-256 of the public key (SPKI)
	Names       []string               `json:"names"`
	Certificate wire.Hash              `json:"certificate"`
	UntilMS     int64                  `json:"until_ms"`
	// Authority is the authority outside that made it; absent if it is this broker's own.
	Authority string `json:"authority,omitempty"`
}

// authority is what certifies rooms' keys: the party's for names, or an agreement's for its
// mesh.
type authority struct {
	use       release.CertificateUse
	agreement wire.Digest // of a mesh
	title     string
	until     time.Time
}

func (b *Broker) namesAuthority(now time.Time) authority {
	return authority{use: release.ForNames, title: string(b.name) + " (rooms)", until: now.Add(namesLife)}
}

func meshAuthority(a agreement.Agreement, digest wire.Digest) authority {
	return authority{use: release.ForMesh, agreement: digest, title: "rooms of " + string(a.ID) + " " + digest.Short(), until: a.Valid.Until.Time()}
}

// place is where its certificate stands in the state.
func (y authority) place() string {
	if y.use == release.ForMesh {
		return y.agreement.String()
	}
	return string(y.use)
}

// authorityKey derives the authority's private key.
func (b *Broker) authorityKey(y authority) (*ecdsa.PrivateKey, error) {
	return b.derivedKey("strongroom/authority-key/v1", []byte(y.use), []byte(b.name), y.agreement[:])
}

// derivedKey derives a private key from the broker's secret. A candidate that is no key of
// P-256, one of 2^32, makes way for the next.
func (b *Broker) derivedKey(label string, of ...[]byte) (*ecdsa.PrivateKey, error) {
	for n := uint64(0); n < 8; n++ {
		candidate := b.cfg.Keys.Secret().Derive(label, append(slices.Clip(of), wire.Uint64(n))...)
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), candidate[:]); err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("no key for %s", label)
}

// root gives an authority's certificate, and makes and records it where there is none.
func (b *Broker) root(tx Tx, y authority, now time.Time) (*x509.Certificate, error) {
	had, err := load[rootRecord](tx, tableRoots, y.place())
	if err != nil {
		return nil, err
	}
	if had != nil {
		return x509.ParseCertificate(had.Certificate)
	}
	der, err := b.makeRoot(y, now)
	if err != nil {
		return nil, err
	}
	public, err := json.Marshal(authorityFacts{y.use, wire.HashOf(der)})
	if err != nil {
		return nil, err
	}
	e := ledger.Entry{Kind: "authority", TimeMS: now.UnixMilli(), Public: public}
	if y.use == release.ForMesh {
		e.Agreement = &y.agreement
	}
	if _, err := record(tx, e, Decision{Subject: "the authority for " + string(y.use) + " is made: " + y.title}); err != nil {
		return nil, err
	}
	if err := insert(tx, tableRoots, y.place(), rootRecord{der}); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (b *Broker) makeRoot(y authority, now time.Time) ([]byte, error) {
	key, err := b.authorityKey(y)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial([]byte(y.place())), Subject: pkix.Name{Organization: []string{"Strongroom"}, CommonName: y.title},
		NotBefore: now.Add(-clockSlack).UTC(), NotAfter: y.until.UTC(), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	return x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
}

// serial gives a serial number of 127 bits that nobody can choose.
func serial(of ...[]byte) *big.Int {
	sum := sha256.Sum256(append(bytes.Join(of, nil), binary.BigEndian.AppendUint64(nil, uint64(len(of)))...))
	sum[0] = sum[0]&0x7f | 0x40
	return new(big.Int).SetBytes(sum[:16])
}

// Authority gives the certificate (PEM) of this party's authority for rooms' names, for the
// configuration of clients; it is made on first use. What it says of a server is that this
// broker gave that server's room its keys.
func (b *Broker) Authority(ctx context.Context) (string, error) {
	if err := b.serving(); err != nil {
		return "", err
	}
	now := b.now()
	var root *x509.Certificate
	err := b.cfg.State.Update(func(tx Tx) (err error) {
		root, err = b.root(tx, b.namesAuthority(now), now)
		return err
	})
	if err != nil {
		return "", broken("to make the authority", err)
	}
	if err := b.drain(ctx); err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})), nil
}

// Certify answers a room that asks for a certificate of its own TLS key (spec/broker.md,
// sections 10 and 11): for the names that the agreement gives its ports, or as the room that it is to
// the others of the agreement. The agreement must name this party as the one who certifies,
// and this broker must have released to the room. A certificate lives a day at most, and ends
// with the agreement, unless an authority outside makes it; it is in the log before it leaves.
func (b *Broker) Certify(ctx context.Context, data []byte) ([]byte, error) {
	asked, err := release.ParseCertifyRequest(data)
	if err != nil {
		b.counters.malformed.Add(1)
		return nil, err
	}
	q := b.asksToCertify(asked)
	if asked.Use == release.ForNames && b.cfg.Names != nil {
		if err := b.orderNames(ctx, q, asked); err != nil {
			return nil, err
		}
	}
	return b.answerRoom(ctx, q)
}

func (b *Broker) asksToCertify(asked *release.SignedCertifyRequest) roomAsks {
	return roomAsks{
		ofRun:   ofRun{asked.Broker, asked.Agreement, asked.Run, asked.RunID, asked.ReleaseID},
		request: asked.Document.Digest(), signedBy: asked, kind: "certify",
		subject: fmt.Sprintf("run %s: a certificate for %s", asked.RunID, asked.Use),
		decide: func(tx Tx, a agreement.Agreement, run *runRecord, nowMS int64) (body, facts any, err error) {
			return b.certify(tx, asked, a, run, time.UnixMilli(nowMS))
		},
		sign: func(body json.RawMessage) ([]byte, error) {
			var chain []wire.Bytes
			if err := json.Unmarshal(body, &chain); err != nil {
				return nil, broken("to read what was decided", err)
			}
			return release.NewCertified(b.cfg.Keys.ReleaseKey(), asked.CertifyRequest, chain)
		},
	}
}

// mayCertify gives the container whose room asks, if it is this broker's to certify, and the
// key is one.
func (b *Broker) mayCertify(asked release.CertifyRequest, a agreement.Agreement, run *runRecord) (*agreement.Container, *ecdsa.PublicKey, error) {
	c, err := run.container(a)
	if err != nil {
		return nil, nil, err
	}
	party, found := a.PartyByID(c.CertifiedBy)
	if !found || !b.own[party.Descriptor] {
		return nil, nil, verdict.Refuse("certify.party", "a work whose rooms "+string(b.name)+" certifies", fmt.Sprintf("%s, certified by %q", run.Work, string(c.CertifiedBy)), "ask the party that certified_by names")
	}
	public, err := x509.ParsePKIXPublicKey(asked.SPKI)
	key, ok := public.(*ecdsa.PublicKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, nil, verdict.Misuse("certify.key", "an ECDSA key on P-256", "another", "make such a key")
	}
	return c, key, nil
}

func (b *Broker) certify(tx Tx, asked *release.SignedCertifyRequest, a agreement.Agreement, run *runRecord, now time.Time) (body, facts any, err error) {
	c, public, err := b.mayCertify(asked.CertifyRequest, a, run)
	if err != nil {
		return nil, nil, err
	}
	if asked.Use == release.ForNames && b.cfg.Names != nil {
		return b.ordered(tx, asked, c, run, now)
	}
	y, names, uri, err := b.certifies(asked.CertifyRequest, a, c, run, now)
	if err != nil {
		return nil, nil, err
	}
	root, err := b.root(tx, y, now)
	if err != nil {
		return nil, nil, err
	}
	key, err := b.authorityKey(y)
	if err != nil {
		return nil, nil, err
	}
	until := earliest(now.Add(certificateLife), a.Valid.Until.Time(), root.NotAfter)
	request := asked.Document.Digest()
	leaf := &x509.Certificate{
		SerialNumber: serial(request[:]), Subject: pkix.Name{Organization: []string{"Strongroom"}, CommonName: "a room of " + string(run.Work)},
		NotBefore: now.Add(-clockSlack).UTC(), NotAfter: until.UTC(), DNSNames: names, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if uri != nil {
		leaf.URIs, leaf.ExtKeyUsage = []*url.URL{uri}, append(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, public, key)
	if err != nil {
		return nil, nil, broken("to sign a certificate", err)
	}
	f := CertifyFacts{ReleaseID: asked.ReleaseID, Use: asked.Use, Key: wire.HashOf(asked.SPKI), Names: append([]string{}, names...), Certificate: wire.HashOf(der), UntilMS: until.UnixMilli()}
	if uri != nil {
		f.Names = append(f.Names, uri.String())
	}
	return []wire.Bytes{der, root.Raw}, f, nil
}

// certifies says who certifies what: nothing of it comes from the room.
func (b *Broker) certifies(asked release.CertifyRequest, a agreement.Agreement, c *agreement.Container, run *runRecord, now time.Time) (y authority, names []string, uri *url.URL, err error) {
	if asked.Use == release.ForMesh {
		if !c.Mesh {
			return y, nil, nil, verdict.Refuse("certify.mesh", "work in the agreement's mesh", string(run.Work)+", which is not", "the agreement would have to say mesh: true")
		}
		uri, err = url.Parse(agreement.RoomURI(asked.Agreement, run.Work))
		return meshAuthority(a, asked.Agreement), nil, uri, err
	}
	if names, err = namesOf(c, run); err != nil {
		return y, nil, nil, err
	}
	return b.namesAuthority(now), names, nil, nil
}

// namesOf gives the names that the agreement gives a work's ports, each once.
func namesOf(c *agreement.Container, run *runRecord) (names []string, err error) {
	for _, port := range c.Ports {
		for _, name := range port.Names {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return nil, verdict.Refuse("certify.names", "work whose ports have names", string(run.Work)+", whose have none", "the agreement would have to name them")
	}
	return names, nil
}

func earliest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if t.Before(first) {
			first = t
		}
	}
	return first
}
