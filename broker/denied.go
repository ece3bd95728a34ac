package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// DenialAct is an officer's act about a denial: what, and why in a line, which may be empty.
type DenialAct struct {
	policy.Denial
	Reason string `json:"reason"`
}

// deniedRecord is one denial that stands; denyFacts is the public part of entries of the
// kinds deny and lift.
type deniedRecord struct {
	DenialAct
	TimeMS int64 `json:"time_ms"`
}

type denyFacts = DenialAct

// DenialStatus is one denial that stands.
type DenialStatus struct {
	DenialAct
	SinceMS int64 `json:"since_ms"`
}

func (a DenialAct) check() error {
	if err := a.Check(); err != nil {
		return err
	}
	return checkReason(a.Reason)
}

func checkReason(reason string) error {
	if _, err := wire.Marshal(reason); err != nil || len(reason) > maxReason || reason != verdict.Printable(reason) {
		return verdict.Misuse("--reason", fmt.Sprintf("one line of at most %d bytes", maxReason), verdict.Short(reason), "say it shorter")
	}
	return nil
}

func denialKey(d policy.Denial) string { return string(d.What) + "/" + d.Value }

// Deny keeps keys from rooms of an image, machine, root or generation, or on old firmware,
// whatever was agreed (R5): from the moment this returns nothing is released to one, and those that run are told
// to stop when they next ask whether they may go on.
func (b *Broker) Deny(ctx context.Context, act DenialAct) (Event, error) {
	return b.denial(ctx, "deny", act, act.String()+" is denied: no keys for it, and rooms with it stop", act.String()+" was denied before",
		func(tx Tx, now int64) error {
			if list, err := readDenied(tx); err != nil || len(list) >= maxDenials {
				return errors.Join(err, verdict.Refuse("broker.denial", fmt.Sprintf("at most %d denials", maxDenials), fmt.Sprint(len(list)), "deny a generation or a root, or lift some"))
			}
			return insert(tx, tableDenied, denialKey(act.Denial), deniedRecord{act, now})
		})
}

// Lift ends a denial. What the agreements say counts again, no more.
func (b *Broker) Lift(ctx context.Context, act DenialAct) (Event, error) {
	return b.denial(ctx, "lift", act, act.String()+" is no longer denied", act.String()+" is not denied",
		func(tx Tx, _ int64) error {
			if tx.Get(tableDenied, denialKey(act.Denial)) == nil {
				return ErrExists
			}
			return tx.Delete(tableDenied, denialKey(act.Denial))
		})
}

// denial records an act about a denial; do gives ErrExists if it changes nothing.
func (b *Broker) denial(ctx context.Context, kind wire.ID, act DenialAct, done, before string, do func(Tx, int64) error) (Event, error) {
	if err := b.serving(); err != nil {
		return Event{}, err
	}
	if err := act.check(); err != nil {
		return Event{}, err
	}
	public, err := json.Marshal(denyFacts(act))
	if err != nil {
		return Event{}, err
	}
	ev := Event{Kind: kind, TimeMS: b.now().UnixMilli(), Notes: []string{}}
	err = b.cfg.State.Update(func(tx Tx) error {
		ev.Number, ev.Done = -1, before
		if err := do(tx, ev.TimeMS); err != nil {
			if errors.Is(err, ErrExists) {
				return nil
			}
			return err
		}
		ev.Done = done
		subject := done
		if act.Reason != "" {
			subject += " (" + act.Reason + ")"
		}
		p, err := record(tx, ledger.Entry{Kind: kind, TimeMS: ev.TimeMS, Public: public}, Decision{Subject: subject}, act.Value)
		ev.Number = p.Number
		return err
	})
	return b.eventDone(ctx, ev, err)
}

// replayDeny takes a denial from a log that is believed again. Lifting is not replayed: what
// was ever denied stands until its officers lift it anew.
func replayDeny(tx Tx, e ledger.Entry) error {
	var f denyFacts
	if err := wire.Unmarshal(e.Public, &f); err != nil {
		return err
	}
	return ifNew(insert(tx, tableDenied, denialKey(f.Denial), deniedRecord{f, e.TimeMS}))
}

func readDenied(tx Tx) (list []DenialStatus, err error) {
	list = []DenialStatus{}
	var bad error
	err = tx.Scan(tableDenied, "", "", func(key string, _ []byte) bool {
		r, err := load[deniedRecord](tx, tableDenied, key)
		if bad = err; err == nil {
			list = append(list, DenialStatus{r.DenialAct, r.TimeMS})
		}
		return err == nil
	})
	return list, errors.Join(err, bad)
}

// floor gives the owner's own limits as they stand.
func (b *Broker) floor(tx Tx) (policy.Floor, error) {
	f := policy.Floor{InsecureAllowSoftware: b.cfg.InsecureAllowSoftware}
	list, err := readDenied(tx)
	for _, d := range list {
		f.Denied = append(f.Denied, d.Denial)
	}
	return f, err
}

// allowed is nil if the owner denies nothing of where a run takes place.
func (b *Broker) allowed(tx Tx, run *runRecord) error {
	f, err := b.floor(tx)
	if err != nil {
		return err
	}
	if run.Where == nil {
		return f.Allows(policy.Where{})
	}
	return f.Allows(*run.Where)
}
