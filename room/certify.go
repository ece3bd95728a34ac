package room

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"time"

	"strongroom.dev/ingress"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// certify gets the certificates of the room's ports: by the authority of the agreed party's
// broker, else its own, which proves nothing. Where an earlier one is shown instead of one
// that was not to be had, it gives the error too.
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
	mesh, authority := own, []wire.Bytes(nil)
	if s.agreed.Mesh {
		if mesh, authority, err = s.certified(ctx, release.ForMesh); err != nil {
			return err
		}
	}
	names, err := s.certifiedNames(ctx, own)
	if names == nil {
		return err
	}
	s.shown.set(s.agreed, names, mesh, authority)
	s.named = names
	return err
}

// certifiedNames gets the certificate of the ports' names. An authority outside may make it,
// whose failing must not end what is in order: the earlier one stays while it is valid, and
// comes with the error.
func (s *service) certifiedNames(ctx context.Context, own *tls.Certificate) (*tls.Certificate, error) {
	if len(s.names()) == 0 {
		return own, nil
	}
	fresh, _, err := s.certified(ctx, release.ForNames)
	if err != nil && s.named != nil && s.clock.now().Before(s.named.Leaf.NotAfter) {
		return s.named, err
	}
	return fresh, err
}

// names are those that the agreement gives the room's ports, each once.
func (s *service) names() (names []string) {
	for _, p := range s.agreed.Ports {
		for _, name := range p.Names {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
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
	if use == release.ForNames {
		csr, err := s.shown.key.Request(s.names())
		if err != nil {
			return nil, nil, err
		}
		if len(csr) <= release.MaxCSR { // else a broker that needs one says so
			asked.CSR = csr
		}
	}
	message, err := release.NewCertifyRequest(s.signing, asked)
	if err != nil {
		return nil, nil, err
	}
	answer, err := s.askPatiently(ctx, o.stream(), message)
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

// askPatiently asks for a certificate until there is one: an authority outside takes its time.
func (s *service) askPatiently(ctx context.Context, stream string, message []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, certifyPatience)
	defer cancel()
	for {
		answer, err := s.ask(ctx, stream, release.PathCertify, message, release.MaxSmall)
		if err == nil || verdict.As(err).Check != "certify.pending" {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pendingPause):
		}
	}
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
