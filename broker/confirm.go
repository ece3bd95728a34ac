package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// confirmFacts is the public part of an entry of kind confirm.
type confirmFacts struct {
	Lock   LockKind `json:"lock"`
	Reason string   `json:"reason"`
	// Size and Seen are what was confirmed: how many entries the log had, and the other
	// checkpoint that was known of it; none if the broker's own records showed it.
	Size int64           `json:"size"`
	Seen *seenCheckpoint `json:"seen,omitempty"`
	// Unconfirmed are the agreements that must be activated again.
	Unconfirmed []wire.Digest `json:"unconfirmed"`
}

type seenCheckpoint struct {
	Size int64     `json:"size"`
	Root wire.Hash `json:"root"`
}

// Confirmation names the lock that officers looked at; see [Lock.Confirmation].
type Confirmation struct {
	Lock LockKind `json:"lock"`
	Size int64    `json:"size"`
	Seen string   `json:"seen"`
}

// Confirmation names a lock, for [Broker.Confirm]; it is empty for nil.
func (l *Lock) Confirmation() Confirmation {
	if l == nil {
		return Confirmation{}
	}
	return Confirmation{l.Kind, l.Size, l.Seen}
}

// Confirm is the officers' word that a locked broker may go on (R3, R15). After a rollback
// or fork it takes the log as it is now: everything in the log counts as spent, retired and
// revoked besides what the state remembers, every agreement has to be activated again, and
// what was on its way when the log was set back is refused. Witnesses that saw the lost part
// will not sign this log again; agreements that demand them need a new log key.
//
// What is confirmed is the lock they looked at. If by now it is another, or somebody who can
// be asked again shows something worse, the broker locks for that, and it is confirmed anew.
func (b *Broker) Confirm(ctx context.Context, of Confirmation) (Event, error) {
	b.logMu.Lock() // nothing may be brought into the log meanwhile
	ev, err := b.confirm(ctx, of)
	b.logMu.Unlock()
	return b.eventDone(ctx, ev, err)
}

func (b *Broker) confirm(ctx context.Context, of Confirmation) (Event, error) {
	l := b.lock.Load()
	if l == nil {
		return Event{}, verdict.Refuse("broker.locked", "a broker that is locked", "one that serves", "there is nothing to confirm")
	}
	if l.Confirmation() != of {
		return Event{}, anotherLock(*l, "what was confirmed is not why it is locked")
	}
	ev := Event{Kind: "confirm", TimeMS: b.now().UnixMilli(), Notes: []string{}, Done: "the broker serves again; it was locked: " + l.Reason}
	agrees, err := b.agrees(ctx, l)
	if err != nil {
		return Event{}, err
	}
	if !agrees {
		if err := b.rebuild(); err != nil {
			return Event{}, broken("to read the log into the state", err)
		}
	}
	now, err := ledger.OpenCheckpoint(b.cfg.Log.Checkpoint(), b.logKey)
	if err != nil {
		return Event{}, err
	}
	err = b.cfg.State.Update(func(tx Tx) error {
		ev.Notes = []string{}
		facts := confirmFacts{Lock: l.Kind, Reason: verdict.Short(l.Reason), Size: l.Size, Unconfirmed: []wire.Digest{}}
		if seen := b.seenBy(*l); l.Seen != "" {
			facts.Seen = &seenCheckpoint{seen.Size, seen.Root}
		}
		waiting := []queuedEntry{}
		if !agrees {
			if facts.Unconfirmed, err = unconfirmAll(tx, ev.TimeMS); err != nil {
				return err
			}
			if waiting, err = b.rewind(tx, now, ev.TimeMS); err != nil {
				return err
			}
			if err = moveVolumes(tx, ev.TimeMS); err != nil {
				return err
			}
			if err = forget(tx); err != nil {
				return err
			}
			budgets, err := unconfirmBudgets(tx, ev.TimeMS)
			if err != nil {
				return err
			}
			if budgets > 0 {
				ev.Notes = append(ev.Notes, fmt.Sprintf("%d privacy budget(s) must be set again: what was spent in the part that was lost is not known", budgets))
			}
			ev.Notes = append(ev.Notes, fmt.Sprintf("%d agreement(s) must be activated again", len(facts.Unconfirmed)),
				"witnesses that saw more of this log will not sign it again: if an agreement demands them, make a new log key and descriptor")
		}
		if err := tx.Delete(tableMeta, metaLock); err != nil {
			return err
		}
		public, err := json.Marshal(facts)
		if err != nil {
			return err
		}
		p, err := record(tx, ledger.Entry{Kind: ev.Kind, TimeMS: ev.TimeMS, Public: public}, Decision{Subject: verdict.Short(ev.Done)})
		ev.Number = p.Number
		if err != nil {
			return err
		}
		return requeue(tx, waiting)
	})
	if err != nil {
		return Event{}, err
	}
	b.lock.Store(nil)
	return ev, nil
}

func anotherLock(l Lock, why string) error {
	return verdict.Refuse("broker.confirm", "the officers' word on why the broker is locked: "+string(l.Kind)+", "+l.Reason, why,
		"look at `strongroom broker status` again, then confirm that")
}

// agrees tells whether a locked broker's log is by now what everybody has seen, whoever
// showed something else before included: because it was restored whole, or because nobody
// could be asked in the first place.
func (b *Broker) agrees(ctx context.Context, l *Lock) (bool, error) {
	found, err := b.examine(ctx)
	if err != nil {
		return false, err
	}
	if found != nil && found.Kind != LockUnreachable {
		if found.Kind == l.Kind && found.Size == l.Size && !worse(b, *found, *l) {
			return false, nil
		}
		if err := b.setLock(*found); err != nil {
			return false, err
		}
		return false, anotherLock(*b.lock.Load(), "somebody who could be asked again showed something else")
	}
	if l.Seen == "" {
		return found == nil || l.Kind == LockUnreachable, nil
	}
	now, err := ledger.OpenCheckpoint(b.cfg.Log.Checkpoint(), b.logKey)
	if err != nil {
		return false, err
	}
	seen, err := ledger.OpenCheckpoint(l.Seen, b.logKey)
	if err != nil {
		return false, err
	}
	return b.compare(now, seen, "somebody") == nil, nil
}

// unconfirmAll takes authority from every activated agreement until it is activated again.
func unconfirmAll(tx Tx, now int64) ([]wire.Digest, error) {
	list := []wire.Digest{}
	var bad error
	err := tx.Scan(tableAgreements, "", "", func(key string, value []byte) bool {
		var r agreementRecord
		if bad = json.Unmarshal(value, &r); bad != nil {
			return false
		}
		if r.Standing != activated {
			return true
		}
		var digest wire.Digest
		digest, bad = wire.ParseDigest(key)
		list = append(list, digest)
		return bad == nil
	})
	if err := errors.Join(err, bad); err != nil {
		return nil, err
	}
	for _, digest := range list {
		if err := setStanding(tx, digest, unconfirmed, now); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// rewind makes the state continue from the log as it is now, and gives the queued records
// that are not in it, taken out of the queue.
func (b *Broker) rewind(tx Tx, now ledger.Checkpoint, timeMS int64) (waiting []queuedEntry, err error) {
	var all []queuedEntry
	var bad error
	err = tx.Scan(tableQueue, "", "", func(key string, value []byte) bool {
		var n int64
		n, bad = strconv.ParseInt(key, 16, 64)
		all = append(all, queuedEntry{n, value})
		return bad == nil
	})
	if err := errors.Join(err, bad); err != nil {
		return nil, err
	}
	for _, q := range all {
		if err := tx.Delete(tableQueue, entryKey(q.number)); err != nil {
			return nil, err
		}
		if q.number < now.Size {
			if there, err := b.cfg.Log.Entry(q.number); err == nil && string(there) == string(q.bytes) {
				continue
			}
		}
		waiting = append(waiting, q)
	}
	return waiting, errors.Join(addNumber(tx, metaEpoch, 1), putNumber(tx, metaNext, now.Size),
		putNumber(tx, metaNotBefore, timeMS), tx.Put(tableMeta, metaCheckpoint, []byte(now.Note)))
}

// requeue gives records that never reached the log new numbers in it: no record is lost.
// Their releases are, since they remember the old numbers.
func requeue(tx Tx, waiting []queuedEntry) error {
	next, err := number(tx, metaNext)
	if err != nil {
		return err
	}
	for _, q := range waiting {
		if err := tx.Insert(tableQueue, entryKey(next), q.bytes); err != nil {
			return err
		}
		next++
	}
	return putNumber(tx, metaNext, next)
}

// rebuildBatch is how many log entries are read into the state in one transaction.
const rebuildBatch = 512

// rebuild reads the whole log into the state, so that what either of them knows to be spent,
// retired or revoked stays so. It only ever takes away authority, and may be repeated.
func (b *Broker) rebuild() error {
	m, err := b.remember()
	if err != nil {
		return err
	}
	for from := int64(0); from < b.cfg.Log.Size(); from += rebuildBatch {
		err := b.cfg.State.Update(func(tx Tx) error {
			for n := from; n < min(from+rebuildBatch, b.cfg.Log.Size()); n++ {
				data, err := b.cfg.Log.Entry(n)
				if err != nil {
					return err
				}
				e, err := ledger.ParseEntry(data)
				if err != nil {
					return fmt.Errorf("entry %d: %w", n, err)
				}
				if err := replay(tx, e, placed{n, wire.HashOf(data)}, n >= m.next); err != nil {
					return fmt.Errorf("entry %d: %w", n, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// replay reads one entry into the state. unknown says that the state never had it.
func replay(tx Tx, e ledger.Entry, at placed, unknown bool) error {
	switch e.Kind {
	case "grant":
		return replayGrant(tx, e, at)
	case "output":
		f, err := release.ParseOutputFacts(e.Public)
		if err != nil {
			return err
		}
		run, err := load[runRecord](tx, tableRuns, e.RunID)
		if err != nil || run == nil || run.Commitment != nil {
			return err
		}
		run.Commitment, run.Output = &f.Commitment, &at
		return save(tx, tableRuns, e.RunID, run)
	case "activate":
		return replayActivate(tx, e)
	case "retire":
		return replayRetire(tx, e)
	case "revoke":
		var f revokeFacts
		if err := wire.Unmarshal(e.Public, &f); err != nil {
			return err
		}
		return ifNew(insert(tx, tableRevoked, f.Descriptor.String(), e.TimeMS))
	case "deny":
		return replayDeny(tx, e)
	case "accept":
		return replayAccept(tx, e)
	case "publish":
		return replayPublish(tx, e, unknown)
	case "volume":
		var f VolumeFacts
		if err := wire.Unmarshal(e.Public, &f); err != nil {
			return err
		}
		return replayVolume(tx, f, e.TimeMS)
	case "reset":
		return replayReset(tx, e)
	case "spend":
		return replaySpend(tx, e)
	case "budget":
		return replayBudget(tx, e, unknown)
	}
	return nil
}

func ifNew(err error) error {
	if errors.Is(err, ErrExists) {
		return nil
	}
	return err
}

func replayGrant(tx Tx, e ledger.Entry, at placed) error {
	f, err := release.ParseGrantFacts(e.Public)
	if err != nil {
		return err
	}
	if e.Agreement == nil || e.Run == nil {
		return fmt.Errorf("a grant without agreement or run")
	}
	run := runRecord{Agreement: *e.Agreement, Run: *e.Run, ReleaseID: f.ReleaseID, LeaseMS: f.LeaseMS}
	switch err := insert(tx, tableRuns, e.RunID, run); {
	case err == nil:
		if err := replayCosts(tx, e, f); err != nil {
			return err
		}
	case !errors.Is(err, ErrExists): // what the state knows is spent there, too
		return err
	}
	if err := ifNew(insert(tx, tableReleases, f.ReleaseID, releaseRecord{f.Request, e.RunID, at})); err != nil {
		return err
	}
	for _, in := range f.Inputs {
		if err := tx.Put(tableCounts, countKey(in.Dataset, e.TimeMS, e.RunID), []byte("1")); err != nil {
			return err
		}
	}
	return nil
}

// replayActivate keeps that a version was activated, but gives it no authority.
func replayActivate(tx Tx, e ledger.Entry) error {
	var f activateFacts
	if err := wire.Unmarshal(e.Public, &f); err != nil {
		return err
	}
	if e.Agreement == nil {
		return fmt.Errorf("an activation without agreement")
	}
	fresh := agreementRecord{ID: f.ID, Version: f.Version, Standing: unconfirmed, TimeMS: e.TimeMS}
	if err := ifNew(insert(tx, tableAgreements, e.Agreement.String(), fresh)); err != nil {
		return err
	}
	highest, err := load[idRecord](tx, tableIDs, string(f.ID))
	if err != nil {
		return err
	}
	if highest != nil && highest.Version >= f.Version {
		return nil
	}
	if highest != nil {
		if err := setStanding(tx, highest.Digest, retired, e.TimeMS); err != nil {
			return err
		}
	}
	return save(tx, tableIDs, string(f.ID), idRecord{f.Version, *e.Agreement})
}

func replayRetire(tx Tx, e ledger.Entry) error {
	var f retireFacts
	if err := wire.Unmarshal(e.Public, &f); err != nil {
		return err
	}
	if e.Agreement == nil {
		return fmt.Errorf("a retirement without agreement")
	}
	fresh := agreementRecord{ID: f.ID, Version: f.Version, Standing: retired, TimeMS: e.TimeMS}
	err := insert(tx, tableAgreements, e.Agreement.String(), fresh)
	if errors.Is(err, ErrExists) {
		return setStanding(tx, *e.Agreement, retired, e.TimeMS)
	}
	return err
}

func replayPublish(tx Tx, e ledger.Entry, unknown bool) error {
	var f publishFacts
	if err := wire.Unmarshal(e.Public, &f); err != nil {
		return err
	}
	if err := ifNew(insert(tx, tableHeaders, f.Header.String(), headerRecord{f.Dataset, f.Version})); err != nil {
		return err
	}
	current, err := load[datasetRecord](tx, tableDatasets, string(f.Dataset))
	if err != nil {
		return err
	}
	if current != nil && (current.Version > f.Version || current.Version == f.Version && !unknown) {
		return nil
	}
	return save(tx, tableDatasets, string(f.Dataset), datasetRecord{Version: f.Version, Statement: f.Statement, Header: f.Header, Admit: f.Admit})
}

// eachAgreement visits every agreement this broker knows of.
func (b *Broker) eachAgreement(visit func(agreementRecord, string)) error {
	return b.cfg.State.View(func(tx Tx) error {
		var bad error
		err := tx.Scan(tableAgreements, "", "", func(key string, value []byte) bool {
			var r agreementRecord
			if bad = json.Unmarshal(value, &r); bad == nil {
				visit(r, key)
			}
			return bad == nil
		})
		return errors.Join(err, bad)
	})
}
