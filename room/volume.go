package room

import (
	"context"
	"fmt"

	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// volume asks the broker of a volume's owner about it, by the input that holds its key.
func (s *service) volume(ctx context.Context, input wire.ID, step release.VolumeStep, generation int64, root *wire.Hash) (a release.VolumeAnswer, err error) {
	agreed, found := s.agreement.InputByName(input)
	o := s.owner(agreed.Owner)
	if !found || o == nil {
		return a, verdict.Misuse("room.volume", "an input of the work", verdict.Short(string(input)), "a defect in the agent: report it")
	}
	asked := release.VolumeRequest{Version: release.Version, Broker: o.party.Name, Agreement: s.agreement.Digest(), Run: s.request.Digest(), RunID: s.request.RunID,
		ReleaseID: o.releaseID, Input: input, Step: step, Generation: generation, Root: root, Nonce: newNonce()}
	message, err := release.NewVolumeRequest(s.signing, asked)
	if err != nil {
		return a, err
	}
	answer, err := s.insist(ctx, o.stream(), release.PathVolume, message, release.MaxSmall)
	if err != nil {
		return a, fmt.Errorf("broker of %s: %w", o.id, err)
	}
	return release.VerifyVolumeAnswer(answer, o.party.Broker.ReleaseKey, asked)
}
