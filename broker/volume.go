package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"strongroom.dev/agreement"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// lostGenerations is how far a volume's generation moves on when a log is set back: beyond
// every one that can have been given in the part that was lost.
const lostGenerations = 1 << 20

// volumeRecord is what the broker knows of the volume under a key of its owner's, by the
// key's dataset.
type volumeRecord struct {
	// Statement is the version of the key: under another there is another volume.
	Statement wire.Digest `json:"statement"`
	// Given is the generation last given to a room, Mounted the last that a room said is on the
	// disk; zero if none.
	Given   int64 `json:"given"`
	Mounted int64 `json:"mounted"`
	// Root is that of the content when generation Mounted was closed; absent if it was not.
	Root *wire.Hash `json:"root,omitempty"`
	// Holder is the run that was given generation Given; empty once it has closed the volume.
	Holder string `json:"holder,omitempty"`
	TimeMS int64  `json:"time_ms"` // of the last change
}

// VolumeFacts is the public part of a log entry of kind "volume": what a room did with which
// volume. It says nothing of the content.
type VolumeFacts struct {
	ReleaseID  string             `json:"release_id"`
	Input      wire.ID            `json:"input"`
	Dataset    wire.ID            `json:"dataset"`
	Statement  wire.Digest        `json:"statement"` // the version of its key
	Step       release.VolumeStep `json:"step"`
	Generation int64              `json:"generation"`
	// Fenced is the run that this one took the volume from; absent if none held it.
	Fenced string `json:"fenced,omitempty"`
	// Unclean, of an opening: whoever had mounted the volume last did not close it, so that the
	// room checks its generation alone.
	Unclean bool `json:"unclean,omitempty"`
}

// volumeBody is what an answer about a volume says.
type volumeBody struct {
	Generation int64                `json:"generation"`
	Previous   *release.VolumeState `json:"previous,omitempty"`
}

// Volume answers a room that opens, has mounted or closes a volume whose key the owner
// released to it (spec/broker.md, section 9). To open gives a generation above every one
// given before, and fences the run that still holds the volume: from then on it is refused
// (volume.fenced), here and where it asks whether it may go on. What is answered is in the
// log before it is.
func (b *Broker) Volume(ctx context.Context, data []byte) ([]byte, error) {
	asked, err := release.ParseVolumeRequest(data)
	if err != nil {
		b.counters.malformed.Add(1)
		return nil, err
	}
	return b.answerRoom(ctx, roomAsks{
		ofRun:   ofRun{asked.Broker, asked.Agreement, asked.Run, asked.RunID, asked.ReleaseID},
		request: asked.Document.Digest(), signedBy: asked, kind: "volume",
		subject: fmt.Sprintf("run %s: %s the volume of %s", asked.RunID, asked.Step, asked.Input),
		decide: func(tx Tx, a agreement.Agreement, run *runRecord, nowMS int64) (body, facts any, err error) {
			return decideVolume(tx, asked.VolumeRequest, a, run, nowMS)
		},
		sign: func(body json.RawMessage) ([]byte, error) {
			var said volumeBody
			if err := json.Unmarshal(body, &said); err != nil {
				return nil, broken("to read what was decided", err)
			}
			return release.NewVolumeAnswer(b.cfg.Keys.ReleaseKey(), asked.VolumeRequest, release.VolumeAnswer{Generation: said.Generation, Previous: said.Previous})
		},
	})
}

// volumeKey finds the key of a volume of the run's work among what the run was given.
func volumeKey(a agreement.Agreement, run *runRecord, input wire.ID) (*release.GrantedInput, error) {
	c, err := run.container(a)
	if err != nil {
		return nil, err
	}
	for _, m := range c.Mounts {
		if m.Kind != agreement.Volume || m.Input != input {
			continue
		}
		for i, in := range run.Inputs {
			if in.Input == input {
				return &run.Inputs[i], nil
			}
		}
	}
	return nil, verdict.Refuse("volume.input", "the key of a volume of "+string(run.Work)+" that this broker gave the run", verdict.Short(string(input)), "ask the broker of the key's owner")
}

func decideVolume(tx Tx, asked release.VolumeRequest, a agreement.Agreement, run *runRecord, nowMS int64) (body, facts any, err error) {
	key, err := volumeKey(a, run, asked.Input)
	if err != nil {
		return nil, nil, err
	}
	v, err := load[volumeRecord](tx, tableVolumes, string(key.Dataset))
	if err != nil {
		return nil, nil, err
	}
	if v == nil {
		v = &volumeRecord{Statement: key.Statement}
	}
	f := VolumeFacts{ReleaseID: asked.ReleaseID, Input: asked.Input, Dataset: key.Dataset, Statement: key.Statement, Step: asked.Step}
	said := volumeBody{}
	if asked.Step == release.VolumeOpen {
		if err := isCurrentKey(tx, key); err != nil {
			return nil, nil, err
		}
		said.Previous = v.open(key.Statement)
		f.Unclean = said.Previous != nil && !said.Previous.Clean()
		f.Fenced, err = fence(tx, v, asked.RunID)
	} else {
		err = v.step(asked, key.Statement)
	}
	if err != nil {
		return nil, nil, err
	}
	v.TimeMS = nowMS
	f.Generation, said.Generation = v.Given, v.Given
	return said, f, save(tx, tableVolumes, string(key.Dataset), v)
}

// isCurrentKey refuses to open a volume under a key that is not the dataset's current one: a
// request that somebody held back while the owner changed the key would begin the volume anew.
func isCurrentKey(tx Tx, key *release.GrantedInput) error {
	d, err := load[datasetRecord](tx, tableDatasets, string(key.Dataset))
	if err != nil {
		return err
	}
	if d == nil || d.Statement != key.Statement {
		got := "none"
		if d != nil {
			got = d.Statement.Short()
		}
		return verdict.Refuse("volume.key", "the key that is current for "+string(key.Dataset)+", "+key.Statement.Short(), got, "sign a new request: it reads the current key")
	}
	return nil
}

// open gives the next generation, and what the volume was before.
func (v *volumeRecord) open(statement wire.Digest) (before *release.VolumeState) {
	if v.Statement != statement { // a new key, and so a volume that nobody has written yet
		v.Statement, v.Mounted, v.Root = statement, 0, nil
	}
	v.Given++
	if v.Mounted == 0 {
		return nil
	}
	return &release.VolumeState{Generation: v.Mounted, Root: v.Root}
}

// fence makes a run the holder, and ends the one that was.
func fence(tx Tx, v *volumeRecord, runID string) (fenced string, err error) {
	before := v.Holder
	v.Holder = runID
	if before == "" || before == runID {
		return "", nil
	}
	run, err := load[runRecord](tx, tableRuns, before)
	if err != nil || run == nil {
		return "", broken("to read the record of the run that holds the volume", err)
	}
	run.Fenced = runID
	return before, save(tx, tableRuns, before, run)
}

// step records that the holder has mounted or closes the volume.
func (v *volumeRecord) step(asked release.VolumeRequest, statement wire.Digest) error {
	if v.Holder != asked.RunID || v.Given != asked.Generation || v.Statement != statement {
		return verdict.Refuse("volume.state", fmt.Sprintf("the run that holds the volume, with generation %d", v.Given), fmt.Sprintf("run %s with generation %d", asked.RunID, asked.Generation), "open the volume first")
	}
	if asked.Step == release.VolumeMounted {
		v.Mounted, v.Root = v.Given, nil
		return nil
	}
	if v.Mounted != v.Given {
		return verdict.Refuse("volume.state", "a volume that was mounted", "one that was only opened", "what nothing was written to needs no closing")
	}
	v.Root, v.Holder = asked.Root, ""
	return nil
}

// replayVolume takes what a log that is believed again says of a volume: it only moves on.
// The content's root is not in the log, so that a close is not known any more.
func replayVolume(tx Tx, f VolumeFacts, timeMS int64) error {
	v, err := load[volumeRecord](tx, tableVolumes, string(f.Dataset))
	if err != nil {
		return err
	}
	if v == nil {
		v = &volumeRecord{Statement: f.Statement}
	}
	if f.Generation < v.Given || f.Generation == v.Given && f.Statement == v.Statement && (f.Step == release.VolumeOpen || v.Mounted == v.Given) {
		return nil
	}
	if f.Statement != v.Statement {
		v.Statement, v.Mounted, v.Root = f.Statement, 0, nil
	}
	v.Given, v.TimeMS = f.Generation, timeMS
	if f.Step != release.VolumeOpen {
		v.Mounted, v.Root = f.Generation, nil
	}
	return save(tx, tableVolumes, string(f.Dataset), v)
}

// moveVolumes makes every volume one whose last generations may be lost: what is on the disk
// may be newer than what is known, and no run holds it.
func moveVolumes(tx Tx, nowMS int64) error {
	return eachVolume(tx, func(dataset wire.ID, v *volumeRecord) error {
		v.Given, v.Root, v.Holder, v.TimeMS = v.Given+lostGenerations, nil, "", nowMS
		return save(tx, tableVolumes, string(dataset), v)
	})
}

// eachVolume does something for every volume; it may write.
func eachVolume(tx Tx, do func(wire.ID, *volumeRecord) error) error {
	var datasets []wire.ID
	if err := tx.Scan(tableVolumes, "", "", func(key string, _ []byte) bool {
		datasets = append(datasets, wire.ID(key))
		return true
	}); err != nil {
		return err
	}
	for _, dataset := range datasets {
		v, err := load[volumeRecord](tx, tableVolumes, string(dataset))
		if err == nil && v == nil {
			err = errors.New("a volume that is not there")
		}
		if err == nil {
			err = do(dataset, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// VolumeStatus is one volume whose key the owner has.
type VolumeStatus struct {
	Dataset wire.ID `json:"dataset"` // of its key
	// State is "opened" (by a room that has not mounted it yet), "mounted", "closed", or
	// "unclean": it was mounted and its room never closed it.
	State      string `json:"state"`
	Generation int64  `json:"generation"` // last given
	Mounted    int64  `json:"mounted"`    // last that a room said is on the disk
	RunID      string `json:"run_id"`     // that holds it; empty if none does
	SinceMS    int64  `json:"since_ms"`
}

func (v *volumeRecord) status(dataset wire.ID, holds bool) VolumeStatus {
	s := VolumeStatus{Dataset: dataset, Generation: v.Given, Mounted: v.Mounted, SinceMS: v.TimeMS}
	switch {
	case holds && v.Mounted == v.Given:
		s.State, s.RunID = "mounted", v.Holder
	case holds:
		s.State, s.RunID = "opened", v.Holder
	case v.Root != nil || v.Mounted == 0:
		s.State = "closed"
	default:
		s.State = "unclean"
	}
	return s
}

// volumeStatus lists the volumes; a run whose lease has ended holds none any more.
func (b *Broker) volumeStatus(tx Tx) (list []VolumeStatus, err error) {
	list = []VolumeStatus{}
	err = eachVolume(tx, func(dataset wire.ID, v *volumeRecord) error {
		if v.Holder == "" {
			list = append(list, v.status(dataset, false))
			return nil
		}
		run, err := load[runRecord](tx, tableRuns, v.Holder)
		if err == nil {
			list = append(list, v.status(dataset, run != nil && b.now().UnixMilli() < run.LeaseEndMS))
		}
		return err
	})
	return list, err
}
