package container

import (
	"context"
	"os"

	"strongroom.dev/agreement"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Broker asks the broker of a volume's owner about it, and checks the answer: see
// release.VolumeRequest.
type Broker func(ctx context.Context, input wire.ID, step release.VolumeStep, generation int64, root *wire.Hash) (release.VolumeAnswer, error)

// Volumes opens volumes on this machine.
type Volumes struct {
	Broker Broker
}

// opened is a volume that was opened.
type opened struct{ state VolumeState }

func (b *builder) openVolume(_ context.Context, _ int, m agreement.Mount) (*os.File, error) {
	return nil, verdict.Refuse("volume.disk", "a machine that keeps volumes", "none, for "+m.Path, "run it on another machine")
}

func (r *Running) closeVolumes(context.Context) ([]VolumeState, error) {
	return r.abandonVolumes(), nil
}

func (r *Running) abandonVolumes() (states []VolumeState) {
	for _, v := range r.volumes {
		states = append(states, v.state)
	}
	return states
}
