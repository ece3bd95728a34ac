package broker

import (
	"context"

	"strongroom.dev/attest"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Challenge answers a room that wants to be given keys: a fresh challenge, and where this
// broker's log and its view of the other owners' logs stand (R11, R15). Nothing is kept of
// it; redeeming it is what is recorded. A refusal under an agreement that this broker knows,
// such as one that was retired, is recorded under the agreement: the room has not said for
// which run it asks.
func (b *Broker) Challenge(ctx context.Context, data []byte) ([]byte, error) {
	b.counters.challenges.Add(1)
	asked, err := release.ParseChallengeRequest(data)
	if err != nil {
		return nil, err
	}
	if err := b.serving(); err != nil {
		return nil, err
	}
	if asked.Purpose != attest.ForRelease {
		return nil, verdict.Refuse("challenge.purpose", "purpose "+string(attest.ForRelease), string(asked.Purpose), "this broker gives keys and does nothing else")
	}
	seen, err := b.seenUnder(asked.Agreement)
	if err != nil {
		b.refusedWithin(ctx, &b.challenges, refusal{agreement: asked.Agreement, subject: "a challenge for a run under " + asked.Agreement.Short()}, err)
		return nil, err
	}
	now := b.now()
	token, err := release.IssueChallenge(b.cfg.Keys.Secret(), b.name, asked.Agreement, asked.Purpose, now)
	if err != nil {
		return nil, err
	}
	return release.NewChallenge(b.cfg.Keys.ReleaseKey(), asked, release.Challenge{
		Broker:     b.name,
		Token:      token,
		TimeMS:     now.UnixMilli(),
		Checkpoint: b.cfg.Log.Checkpoint(),
		Seen:       seen,
	})
}

// seenUnder gives what this broker last accepted of the other owners' logs under an
// activated agreement.
func (b *Broker) seenUnder(digest wire.Digest) ([]release.SeenLog, error) {
	seen := []release.SeenLog{}
	err := b.cfg.State.View(func(tx Tx) error {
		known, err := b.activated(tx, digest)
		if err != nil {
			return err
		}
		for _, peer := range b.otherOwners(known) {
			record, err := load[seenRecord](tx, tableSeen, peer.Broker.LogKey)
			if err != nil {
				return err
			}
			if record != nil {
				seen = append(seen, release.SeenLog{Origin: record.Origin, Size: record.Size})
			}
		}
		return nil
	})
	return seen, err
}
