package broker

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/policy"
	"strongroom.dev/release"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// clockSlack is how much earlier than now a broker's word about a key begins, so that a reader
// whose clock is a little behind can rely on it at once.
const clockSlack = time.Minute

// ActivateTPM challenges the TPM of a room to prove that the room's attestation key lives in it
// (spec/release.md, section 8). Nothing is kept, and nothing is released for it: whether the
// endorsement key's certificate is worth anything is judged with the evidence. It refuses under
// agreements that accept no TPM.
func (b *Broker) ActivateTPM(ctx context.Context, data []byte) ([]byte, error) {
	b.counters.activations.Add(1)
	asked, err := release.ParseActivateRequest(data)
	if err != nil {
		return nil, err
	}
	key, err := b.vouchable(ctx, asked.Broker, asked.Agreement, asked.Key)
	if err != nil {
		return nil, err
	}
	ticket := release.IssueTicket(b.cfg.Keys.Secret(), b.name, asked.Agreement, key.Name, asked.Key.EKCertificate, b.now())
	challenge, err := challengeTPM(ticket, asked.Key, key)
	if err != nil {
		return nil, err
	}
	return release.NewActivate(release.Activate{Broker: b.name, Credential: challenge.Credential, Secret: challenge.Secret, Ticket: ticket.Bytes})
}

// ActivatedTPM takes the TPM's answer, and if it is right gives this broker's word that the key
// lives there: a record signed by the release key, for as long as it takes to ask for keys.
func (b *Broker) ActivatedTPM(ctx context.Context, data []byte) ([]byte, error) {
	b.counters.activations.Add(1)
	asked, err := release.ParseActivatedRequest(data)
	if err != nil {
		return nil, err
	}
	key, err := b.vouchable(ctx, asked.Broker, asked.Agreement, asked.Key)
	if err != nil {
		return nil, err
	}
	now := b.now()
	ticket, err := release.RecogniseTicket(b.cfg.Keys.Secret(), b.name, asked.Agreement, key.Name, asked.Key.EKCertificate, asked.Ticket, now)
	if err != nil {
		return nil, b.noVouching(ctx, asked.Agreement, err)
	}
	challenge, err := challengeTPM(ticket, asked.Key, key)
	if err != nil {
		return nil, err
	}
	from := now.Add(-clockSlack)
	record, err := challenge.Answered(asked.Answer, b.cfg.Keys.ReleaseKey(), from, from.Add(release.ActivationLifetimeMS*time.Millisecond))
	if err != nil {
		return nil, b.noVouching(ctx, asked.Agreement, verdict.NotGenuine("activation.answer", "the secret that only the TPM with this endorsement key finds, and only beside this attestation key", "another",
			"make the attestation key in the TPM that the certificate is of"))
	}
	return record, nil
}

// vouchable checks that this broker serves, that the agreement is in force here and accepts
// TPMs, and that the key is one that signs nothing but what its TPM made.
func (b *Broker) vouchable(ctx context.Context, broker wire.ID, digest wire.Digest, key release.TPMKey) (*tpm2.Public, error) {
	if err := b.serving(); err != nil {
		return nil, err
	}
	if broker != b.name {
		return nil, verdict.Refuse("request.broker", "a request to "+string(b.name), "one to "+string(broker), "ask the broker of the input's owner")
	}
	if err := b.acceptsTPM(digest); err != nil {
		return nil, b.noVouching(ctx, digest, err)
	}
	public, err := tpm2.ParsePublic(key.AKPublic)
	if err != nil {
		return nil, badKey(err.Error())
	}
	if lack := public.Lacks(); lack != "" {
		return nil, badKey(lack)
	}
	return public, nil
}

func badKey(got string) error {
	return verdict.NotGenuine("activation.key", "a restricted signing key that can't leave its TPM, and a certificate of an endorsement key", verdict.Short(got), "make the attestation key from a template for such keys, and read the certificate from the TPM")
}

// challengeTPM encrypts a ticket's answer to the endorsement key.
func challengeTPM(ticket release.Ticket, key release.TPMKey, public *tpm2.Public) (*tpm.Challenge, error) {
	var certificates [][]byte
	for _, c := range key.Certificates {
		certificates = append(certificates, c)
	}
	challenge, err := tpm.ChallengeFor(ticket.Answer, key.EKCertificate, certificates, public, rand.Reader)
	if err != nil {
		return nil, badKey(strings.TrimPrefix(err.Error(), "activation: "))
	}
	return challenge, nil
}

// acceptsTPM checks that an agreement is activated and valid, and that this broker may release
// to a TPM's room under it.
func (b *Broker) acceptsTPM(digest wire.Digest) error {
	var known *parsedAgreement
	err := b.cfg.State.View(func(tx Tx) (err error) {
		known, err = b.activated(tx, digest)
		return err
	})
	if err != nil {
		return err
	}
	if err := isValid(known.agreement.Valid, b.now()); err != nil {
		return err
	}
	if !slices.ContainsFunc(known.agreement.Platforms, func(p agreement.Platform) bool { return p.Kind == tpm.Name }) {
		return verdict.Refuse("activation.platform", "an agreement that accepts rooms with a TPM", "one that does not", "start the room on a machine of a kind the agreement names")
	}
	return policy.Floor{InsecureAllowSoftware: b.cfg.InsecureAllowSoftware}.Allows(policy.Where{Class: known.agreement.Protection})
}

// noVouching records a refusal as that of a challenge: nobody has signed what was asked.
func (b *Broker) noVouching(ctx context.Context, digest wire.Digest, err error) error {
	b.refusedWithin(ctx, &b.challenges, refusal{agreement: digest, subject: "a word about the TPM of a room under " + digest.Short()}, err)
	return err
}
