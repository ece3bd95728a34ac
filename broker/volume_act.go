package broker

import (
	"context"
	"encoding/json"
	"fmt"

	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// VolumeAct is an officer's act about a volume whose disk is lost, or of which only an older
// copy is left.
type VolumeAct struct {
	Dataset wire.ID `json:"dataset"` // of the volume's key
	// Generation is what the disk must at least have from now on; 0: there is no disk, and the
	// next room that opens the volume makes an empty one.
	Generation int64  `json:"generation"`
	Reason     string `json:"reason"` // one line
}

// resetFacts is the public part of a log entry of kind "reset": what the officers said of a
// volume, and the generation that the act itself used up, by which everything before it is
// fenced.
type resetFacts struct {
	Dataset   wire.ID     `json:"dataset"`
	Statement wire.Digest `json:"statement"`
	Least     int64       `json:"least"` // VolumeAct.Generation
	Given     int64       `json:"given"`
	Fenced    string      `json:"fenced,omitempty"` // the run that still held the volume
	Reason    string      `json:"reason"`
}

// maxLeast is beyond every generation that openings and lost logs can lead to.
const maxLeast = 1 << 40

// fencedByOfficers stands in place of a run that took over a volume.
const fencedByOfficers = "officers"

// ResetVolume makes a volume usable again whose disk is lost (spec/broker.md, section 7): the
// next opening begins anew, or takes the copy that is left. It gives up, once and on record,
// what the broker otherwise keeps its owner from: an older disk. The run that still holds the
// volume is fenced.
func (b *Broker) ResetVolume(ctx context.Context, act VolumeAct) (Event, error) {
	if err := b.serving(); err != nil {
		return Event{}, err
	}
	if err := act.check(); err != nil {
		return Event{}, err
	}
	ev := Event{Kind: "reset", TimeMS: b.now().UnixMilli(), Notes: []string{}}
	err := b.cfg.State.Update(func(tx Tx) error {
		facts, err := act.take(tx, ev.TimeMS)
		if err != nil {
			return err
		}
		ev.Done = act.String()
		if facts.Fenced != "" {
			ev.Notes = append(ev.Notes, "run "+facts.Fenced+" held the volume and is over")
		}
		public, err := json.Marshal(facts)
		if err != nil {
			return err
		}
		p, err := record(tx, ledger.Entry{Kind: ev.Kind, TimeMS: ev.TimeMS, Public: public}, Decision{Subject: ev.Done + " (" + act.Reason + ")"}, string(act.Dataset))
		ev.Number = p.Number
		return err
	})
	return b.eventDone(ctx, ev, err)
}

// String says what was done, for people.
func (act VolumeAct) String() string {
	if act.Generation == 0 {
		return fmt.Sprintf("the volume of %s begins anew, empty: what was on it is given up", act.Dataset)
	}
	return fmt.Sprintf("the volume of %s goes on from a disk of generation %d or later, as after a kill: an older disk is taken, once", act.Dataset, act.Generation)
}

func (act VolumeAct) check() error {
	if act.Reason == "" {
		return verdict.Misuse("--reason", "why, in one line", "nothing", "say what became of the disk: it stands in the log")
	}
	if act.Generation < 0 || act.Generation > maxLeast {
		return verdict.Misuse("volume.generation", "a generation that was on the disk", fmt.Sprint(act.Generation), "the event container.volume of the run whose disk was copied says it; 0 begins anew")
	}
	return checkReason(act.Reason)
}

func (act VolumeAct) take(tx Tx, nowMS int64) (f resetFacts, err error) {
	v, err := act.volume(tx)
	if err != nil {
		return f, err
	}
	fenced, err := fence(tx, v, fencedByOfficers)
	if err != nil {
		return f, err
	}
	v.reset(max(v.Given, act.Generation)+1, act.Generation, nowMS)
	return resetFacts{act.Dataset, v.Statement, act.Generation, v.Given, fenced, act.Reason}, save(tx, tableVolumes, string(act.Dataset), v)
}

// volume gives what is known of the volume. Nothing may be, after a log and a state were lost:
// then a disk can still be taken, under the key's current version.
func (act VolumeAct) volume(tx Tx) (*volumeRecord, error) {
	v, err := load[volumeRecord](tx, tableVolumes, string(act.Dataset))
	if err != nil {
		return nil, err
	}
	if (v == nil || v.Mounted == 0) && act.Generation == 0 {
		return nil, verdict.Refuse("volume.state", "a volume that a room has mounted", "none under "+verdict.Short(string(act.Dataset)), "strongroom broker status lists the volumes; a new one needs no reset")
	}
	if v != nil {
		return v, nil
	}
	d, err := load[datasetRecord](tx, tableDatasets, string(act.Dataset))
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, verdict.Refuse("volume.state", "the dataset of a volume's key", verdict.Short(string(act.Dataset)), "strongroom broker status lists datasets and volumes")
	}
	return &volumeRecord{Statement: d.Statement}, nil
}

func (v *volumeRecord) reset(given, least, nowMS int64) {
	v.Given, v.Mounted, v.Root, v.Holder, v.TimeMS = given, least, nil, "", nowMS
}

// replayReset takes a reset from a log that is believed again, unless what the state knows is
// later than it.
func replayReset(tx Tx, e ledger.Entry) error {
	var f resetFacts
	if err := wire.Unmarshal(e.Public, &f); err != nil {
		return err
	}
	v, err := load[volumeRecord](tx, tableVolumes, string(f.Dataset))
	if err != nil {
		return err
	}
	if v == nil {
		v = &volumeRecord{}
	}
	if f.Given <= v.Given {
		return nil
	}
	v.Statement = f.Statement
	v.reset(f.Given, f.Least, e.TimeMS)
	return save(tx, tableVolumes, string(f.Dataset), v)
}
