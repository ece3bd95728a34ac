package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container/volume"
)

// Broker asks the broker of a volume's owner about it, and checks the answer: see
// release.VolumeRequest.
type Broker func(ctx context.Context, input wire.ID, step release.VolumeStep, generation int64, root *wire.Hash) (release.VolumeAnswer, error)

// Volumes opens volumes on this machine.
type Volumes struct {
	Broker Broker
	// Keep asks the keeper: package sandbox's Inside.Keep with package volume's Keeper.Do.
	Keep func(ctx context.Context, request []byte, files ...*os.File) (answer []byte, file *os.File, err error)
	// Device gives the file system of a volume as a detached mount, where a device below it
	// encrypts and authenticates, under a key that is derived from the volume's; nil: the host
	// hands over a mounted file system, and what lies in it is encrypted with fscrypt.
	Device func(ctx context.Context, name string, m agreement.Mount, key [32]byte) (*os.File, error)
}

// opened is a volume that was opened.
type opened struct {
	index  int
	input  wire.ID
	bytes  int64 // agreed
	state  VolumeState
	marked bool // its generation is this room's
	let    bool // the keeper let go of it
}

// openVolume opens a volume and gives its content as a detached mount. Nothing is written to
// it but its generation before its owner's broker has recorded that, so that a wrong disk, or
// a room that ends here, spoils no right one.
func (b *builder) openVolume(ctx context.Context, i int, m agreement.Mount) (*os.File, error) {
	v := b.machine.Volumes
	if v == nil || v.Broker == nil || v.Keep == nil {
		return nil, verdict.Refuse("volume.disk", "a machine that keeps volumes", "none, for "+m.Path, "run it on another machine")
	}
	o := &opened{index: i, input: m.Input, bytes: m.Bytes, state: VolumeState{Path: m.Path, Input: m.Input, Protection: volume.Fscrypt}}
	if v.Device != nil {
		o.state.Protection = volume.Device
	}
	found, err := b.take(ctx, o, m)
	if err != nil {
		return nil, err
	}
	b.volumes = append(b.volumes, o)
	given, err := v.Broker(ctx, m.Input, release.VolumeOpen, 0, nil)
	if err != nil {
		return nil, err
	}
	if err := b.compare(ctx, o, found, given); err != nil {
		return nil, err
	}
	o.state.Generation = given.Generation
	if _, _, err := v.ask(ctx, volume.Request{Step: volume.Mark, Volume: i, Generation: given.Generation, Mode: uint32(m.Mode), UID: int(m.UID), GID: int(m.GID)}); err != nil {
		return nil, err
	}
	if _, err := v.Broker(ctx, m.Input, release.VolumeMounted, given.Generation, nil); err != nil {
		return nil, err
	}
	o.marked = true
	_, f, err := v.ask(ctx, volume.Request{Step: volume.Attach, Volume: i})
	if err == nil && f == nil {
		err = errors.New("no mount came")
	}
	b.machine.Event(EventVolume, o.state.text())
	return f, err
}

// text says how a volume is, in the words of claims.
func (s VolumeState) text() string {
	text := fmt.Sprintf("%s: %s, generation %d", s.Path, s.Protection, s.Generation)
	if s.Protection == volume.Fscrypt {
		text += ", confidential but not authenticated while mounted"
	} else {
		text += ", confidential and authenticated"
	}
	if s.Unclean {
		text += ", volume: unclean"
	}
	return text
}

// take gives the keeper the volume's file system and key.
func (b *builder) take(ctx context.Context, o *opened, m agreement.Mount) (volume.Answer, error) {
	v, key := b.machine.Volumes, b.plan.volumes[o.index]
	request := volume.Request{Step: volume.Open, Volume: o.index, Key: key.MarshalSecret(), Encrypt: v.Device == nil}
	var disk *os.File
	var err error
	if v.Device == nil {
		disk, err = b.machine.Disk(MountName(o.index))
	} else {
		disk, err = v.Device(ctx, MountName(o.index), m, key.Derive("strongroom/volume-device/v1"))
	}
	if err != nil {
		clear(request.Key)
		return volume.Answer{}, err
	}
	found, _, err := v.ask(ctx, request, b.keep(disk))
	clear(request.Key)
	return found, err
}

// compare holds what is on the disk against what the owner's broker knows.
func (b *builder) compare(ctx context.Context, o *opened, found volume.Answer, given release.VolumeAnswer) error {
	p := given.Previous
	onDisk := fmt.Sprintf("generation %d", found.Generation)
	if found.Generation == 0 {
		onDisk = "a new one"
	}
	const fix = "put the right disk back; if it is lost, the officers of its key's owner start it anew, or take an older copy: strongroom broker volume"
	if p == nil {
		if !found.Empty || found.Generation >= given.Generation {
			return verdict.Refuse("volume.generation", "an empty volume at "+o.state.Path+": no room ever wrote to it", onDisk+" with content", fix)
		}
		return nil
	}
	if !p.Accepts(found.Generation, given.Generation) {
		return verdict.Refuse("volume.generation", fmt.Sprintf("generation %d of the volume at %s", p.Generation, o.state.Path), onDisk, fix)
	}
	if !p.Clean() {
		o.state.Unclean = true
		return nil
	}
	now, err := b.machine.Volumes.root(ctx, o)
	if err != nil {
		return err
	}
	if *now != *p.Root {
		return verdict.Refuse("volume.root", "the content that the volume at "+o.state.Path+" was closed with", "another", fix)
	}
	return nil
}

// ask asks the keeper.
func (v *Volumes) ask(ctx context.Context, r volume.Request, files ...*os.File) (a volume.Answer, f *os.File, err error) {
	request, err := json.Marshal(r)
	if err != nil {
		return a, nil, err
	}
	answer, f, err := v.Keep(ctx, request, files...)
	clear(request)
	if err != nil {
		return a, nil, &verdict.Error{Kind: verdict.Broken, Check: "volume.disk", Expected: "a keeper of volumes", Got: verdict.Short(err.Error()), Err: err}
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return a, f, err
	}
	if len(a.Error) > 0 {
		return a, f, verdict.Decode(a.Error)
	}
	return a, f, nil
}

// closeVolumes tells the owners' brokers the roots of volumes whose container has ended. One
// that can't be told stays as it is after a kill: unclean, at the next opening.
func (r *Running) closeVolumes(ctx context.Context) ([]VolumeState, error) {
	var failed []error
	for _, o := range r.volumes {
		if err := r.closeVolume(ctx, o); err != nil {
			failed = append(failed, fmt.Errorf("volume %s: %w", o.state.Path, err))
		}
	}
	return r.abandonVolumes(), errors.Join(failed...)
}

func (r *Running) closeVolume(ctx context.Context, o *opened) error {
	v := r.machine.Volumes
	if !o.marked {
		return nil
	}
	root, err := v.root(ctx, o)
	if err != nil {
		return err
	}
	if err := r.let(o); err != nil {
		return err
	}
	if _, err := v.Broker(ctx, o.input, release.VolumeClose, o.state.Generation, root); err != nil {
		return err
	}
	o.state.Closed = true
	return nil
}

// letTime is how long the keeper has to take a key away, or to answer at all once a run has
// ended: after that it is killed.
const letTime = 5 * time.Second

// root has the keeper compute the root of a volume's content. It is asked again and again, so
// that it is there to take the key away as soon as ctx ends, however much content there is.
func (v *Volumes) root(ctx context.Context, o *opened) (*wire.Hash, error) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		select {
		case <-late.Done():
		case <-time.After(letTime):
			cancel()
		}
	})()
	for ctx.Err() == nil {
		a, _, err := v.ask(late, volume.Request{Step: volume.Root, Volume: o.index, Bytes: o.bytes})
		switch {
		case err != nil:
			return nil, err
		case a.Root != nil:
			return a.Root, nil
		case !a.More:
			return nil, verdict.Misuse("volume.root", "the root of the content", "none", "a defect in the agent: report it")
		}
	}
	return nil, context.Cause(ctx)
}

// let has the keeper take the key away and let go of the disk.
func (r *Running) let(o *opened) error {
	if o.let {
		return nil
	}
	o.let = true
	ctx, cancel := context.WithTimeout(context.Background(), letTime)
	defer cancel()
	_, _, err := r.machine.Volumes.ask(ctx, volume.Request{Step: volume.Forget, Volume: o.index})
	return err
}

// abandonVolumes lets go of the volumes, and says how they were.
func (r *Running) abandonVolumes() (states []VolumeState) {
	states = []VolumeState{}
	for _, o := range r.volumes {
		r.let(o) //nolint:errcheck // the process ends soon, and with it every hold
		states = append(states, o.state)
	}
	return states
}
