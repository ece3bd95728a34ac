package room

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/device"
	"strongroom.dev/ingress"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
	"strongroom.dev/workload/container/egress"
)

// certificates are what the room shows, by port.
type certificates struct {
	key *ingress.Key

	mu     sync.Mutex // owns what follows
	byPort map[wire.ID]*tls.Certificate
	room   *tls.Certificate // of the mesh; nil: it is in none
	mesh   []wire.Bytes     // the authority of the agreement's rooms
	until  time.Time        // when the first of them ends
}

func (c *certificates) of(port wire.ID) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byPort[port]
}

// ofRoom gives what rooms show each other, nil outside a mesh.
func (c *certificates) ofRoom() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.room
}

// set shows new certificates: names at the ports that have some, mesh at the others, and to
// rooms of the mesh, whose authority is then given, at every port that lets them in.
func (c *certificates) set(agreed agreement.Container, names, mesh *tls.Certificate, authority []wire.Bytes) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byPort = map[wire.ID]*tls.Certificate{}
	for _, p := range agreed.Ports {
		if c.byPort[p.Name] = mesh; len(p.Names) > 0 {
			c.byPort[p.Name] = names
		}
	}
	c.mesh, c.until, c.room = authority, earlier(names.Leaf.NotAfter, mesh.Leaf.NotAfter), nil
	if agreed.Mesh {
		c.room = mesh
	}
}

// fill gives a server what the room shows.
func (c *certificates) fill(config ingress.Config) ingress.Config {
	config.Certificate, config.MeshCertificate, config.Mesh = c.of, c.ofRoom, c.mesh
	return config
}

// newServer makes what serves the container's ports.
func (s *service) newServer() (*ingress.Server, error) {
	tunnel, err := keys.GenerateHPKEKey()
	if err != nil {
		return nil, err
	}
	return ingress.New(s.shown.fill(ingress.Config{
		Agreement: s.agreement, Parties: s.parties, Run: s.request.Digest(), Work: s.work.Name,
		Signing: s.signing, HPKE: s.hpke.Public(), Tunnel: tunnel,
		Evidence: s.ingressEvidence, Dial: s.dial, Now: s.clock.now,
	}))
}

// dial connects to what is behind a port.
func (s *service) dial(ctx context.Context, name wire.ID) (io.ReadWriteCloser, error) {
	running := s.running.Load()
	i := slices.IndexFunc(s.agreed.Ports, func(p agreement.Port) bool { return p.Name == name })
	if running == nil || i < 0 {
		return nil, fmt.Errorf("no container at port %s", name)
	}
	return running.Dial(ctx, int(s.agreed.Ports[i].Port))
}

// ingressEvidence makes evidence for one connection, with the record of a broker that the
// client relies on if there is one.
func (s *service) ingressEvidence(ctx context.Context, nonce wire.Hash, activators []keys.KeyID) (attest.Evidence, error) {
	s.mu.Lock()
	record := s.owners[0].record
	for _, o := range s.owners {
		if slices.Contains(activators, o.party.Broker.ReleaseKey.ID()) {
			record = o.record
			break
		}
	}
	s.mu.Unlock()
	return s.Device.Ingress(ctx, device.Connection{Nonce: nonce, Signing: s.signing.Public(), HPKE: s.hpke.Public(), Agreement: s.agreement.Digest(), Run: s.request.Digest(), Record: record})
}

// recordLife is half of the least that a broker's word on the machine's key lasts: it ends an
// hour after it began (spec/release.md, section 8).
const recordLife = 25 * time.Minute

// reactivate has every owner's broker vouch for the machine's key again and again, where it
// needs that: who connects relies on one's word.
func (s *service) reactivate(ctx context.Context) {
	if s.run.machine.Key == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(recordLife):
		}
		for _, o := range s.owners {
			record, err := s.activateFor(ctx, o)
			if err != nil {
				if ctx.Err() == nil {
					s.notice("room.activation", verdict.As(err).Error())
				}
				continue
			}
			s.mu.Lock()
			o.record = record
			s.mu.Unlock()
		}
	}
}

// neighbour makes TLS with a room of the same agreement: each shows the certificate that the
// agreement's own authority gave its key once its evidence had been accepted.
func (s *service) neighbour(ctx context.Context, e agreement.Egress, raw container.Stream) (container.Stream, error) {
	s.shown.mu.Lock()
	certificate, authority := s.shown.room, s.shown.mesh
	s.shown.mu.Unlock()
	if certificate == nil {
		return nil, verdict.Refuse("egress.room", "a room of the agreement's mesh", "one that is in none", "agree on mesh: true for its work")
	}
	return egress.Client(ctx, raw, egress.Identity{Room: agreement.RoomURI(s.agreement.Digest(), e.Room), Authorities: authority, Certificate: certificate}, s.clock.now())
}
