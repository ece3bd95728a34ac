package room

import (
	"bytes"
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
	"strongroom.dev/release"
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

// newServer makes what serves the container's ports.
func (s *service) newServer() (*ingress.Server, error) {
	tunnel, err := keys.GenerateHPKEKey()
	if err != nil {
		return nil, err
	}
	return ingress.New(ingress.Config{
		Agreement: s.agreement, Parties: s.parties, Run: s.request.Digest(), Work: s.work.Name,
		Signing: s.signing, HPKE: s.hpke.Public(), Tunnel: tunnel,
		Evidence: s.ingressEvidence, Certificate: s.shown.of, Mesh: s.shown.mesh, Dial: s.dial, Now: s.clock.now,
	})
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

// certify gets the certificates of the room's ports: by the authority of the agreed party's
// broker, else its own, which proves nothing.
func (s *service) certify(ctx context.Context) (err error) {
	if s.shown.key == nil {
		if s.shown.key, err = ingress.NewKey(); err != nil {
			return err
		}
	}
	now := s.clock.now()
	own, err := s.shown.key.SelfSigned(nil, now.Add(-time.Hour), s.agreement.Valid.Until.Time())
	if err != nil {
		return err
	}
	names, mesh, authority := own, own, []wire.Bytes(nil)
	if slices.ContainsFunc(s.agreed.Ports, func(p agreement.Port) bool { return len(p.Names) > 0 }) {
		if names, _, err = s.certified(ctx, release.ForNames); err != nil {
			return err
		}
	}
	if s.agreed.Mesh {
		if mesh, authority, err = s.certified(ctx, release.ForMesh); err != nil {
			return err
		}
	}
	shown := map[wire.ID]*tls.Certificate{}
	for _, p := range s.agreed.Ports {
		if shown[p.Name] = mesh; len(p.Names) > 0 {
			shown[p.Name] = names
		}
	}
	s.shown.mu.Lock()
	defer s.shown.mu.Unlock()
	s.shown.byPort, s.shown.mesh, s.shown.until = shown, authority, earlier(names.Leaf.NotAfter, mesh.Leaf.NotAfter)
	if s.agreed.Mesh {
		s.shown.room = mesh
	}
	return nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// certified asks the agreed party's broker to certify the room's key.
func (s *service) certified(ctx context.Context, use release.CertificateUse) (*tls.Certificate, []wire.Bytes, error) {
	o := s.owner(s.agreed.CertifiedBy)
	if o == nil {
		return nil, nil, verdict.Refuse("room.certificate", "a party that certifies and admits the run", verdict.Short(string(s.agreed.CertifiedBy)), "agree on it as a keeper")
	}
	asked := release.CertifyRequest{Version: release.Version, Broker: o.party.Name, Agreement: s.agreement.Digest(), Run: s.request.Digest(), RunID: s.request.RunID,
		ReleaseID: o.releaseID, Use: use, SPKI: s.shown.key.SPKI(), Nonce: newNonce()}
	message, err := release.NewCertifyRequest(s.signing, asked)
	if err != nil {
		return nil, nil, err
	}
	answer, err := s.ask(ctx, o.stream(), release.PathCertify, message, release.MaxSmall)
	if err != nil {
		return nil, nil, fmt.Errorf("broker of %s: %w", o.id, err)
	}
	got, err := release.VerifyCertified(answer, o.party.Broker.ReleaseKey, asked)
	if err != nil {
		return nil, nil, err
	}
	var chain [][]byte
	for _, der := range got.Chain {
		chain = append(chain, der)
	}
	certificate, err := s.shown.key.Certified(chain)
	return certificate, got.Chain[len(got.Chain)-1:], err
}

// recertify asks for new certificates when half of the life of the old ones is over.
func (s *service) recertify(ctx context.Context) {
	if s.agreed.CertifiedBy == "" {
		return
	}
	for {
		s.shown.mu.Lock()
		wait := max(s.shown.until.Sub(s.clock.now())/2, time.Second)
		s.shown.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if err := s.certify(ctx); err != nil && ctx.Err() == nil {
			s.notice("room.certificate", verdict.As(err).Error())
		}
	}
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

// letOutLogs seals a piece of what the container printed to those who may read it.
func (s *service) letOutLogs(piece []byte) {
	s.mu.Lock()
	s.pieces++
	n := s.pieces
	s.mu.Unlock()
	for _, id := range s.agreed.Logs.Receivers {
		if err := s.sealLogs(id, n, piece); err != nil {
			s.notice("room.logs", verdict.As(err).Check)
		}
	}
}

func (s *service) sealLogs(id wire.ID, n int, piece []byte) error {
	to, err := recipients(s.party(id))
	if err != nil {
		return err
	}
	file, err := s.Memory("logs")
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := sealTo(file, bytes.NewReader(piece), to)
	if err != nil {
		return err
	}
	return s.File(fmt.Sprintf("logs-%s-%s-%d.age", id, s.request.RunID[:8], n), file, size)
}
