package room

import (
	"context"
	"fmt"

	"strongroom.dev/release"
)

// activate has every owner's broker make sure where the key lives that signs this machine's
// evidence, if nobody has certified it. Each goes by its own word alone: the others may work
// together with whoever runs the machine (spec/release.md, section 8).
func (r *run) activate(ctx context.Context) error {
	if r.machine.Key == nil {
		return nil
	}
	return each(ctx, r.owners, func(ctx context.Context, o *owner) (err error) {
		if o.record, err = r.activateFor(ctx, o); err != nil {
			return fmt.Errorf("broker of %s: %w", o.id, err)
		}
		return nil
	})
}

// activateFor brings a broker's challenge to the TPM, its answer to the broker, and the
// broker's word back.
func (r *run) activateFor(ctx context.Context, o *owner) ([]byte, error) {
	key := release.TPMKey{EKCertificate: r.machine.Key.EKCertificate, Certificates: r.machine.Key.Certificates, AKPublic: r.machine.Key.AKPublic}
	message, err := release.NewActivateRequest(release.ActivateRequest{Broker: o.party.Name, Agreement: r.agreement.Digest(), Key: key})
	if err != nil {
		return nil, err
	}
	answer, err := r.ask(ctx, o.stream(), release.PathActivate, message, release.MaxSmall)
	if err != nil {
		return nil, err
	}
	challenge, err := release.ParseActivate(answer, o.party.Name)
	if err != nil {
		return nil, err
	}
	found, err := r.Device.Activate(ctx, challenge.Credential, challenge.Secret)
	if err != nil {
		return nil, fmt.Errorf("evidence device: %w", err)
	}
	message, err = release.NewActivatedRequest(release.ActivatedRequest{Broker: o.party.Name, Agreement: r.agreement.Digest(), Key: key, Ticket: challenge.Ticket, Answer: found})
	if err != nil {
		return nil, err
	}
	record, err := r.ask(ctx, o.stream(), release.PathActivated, message, release.MaxSmall)
	if err != nil {
		return nil, err
	}
	return record, release.VerifyActivated(record, o.party.Broker.ReleaseKey)
}
