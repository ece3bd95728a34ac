package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Live answers a room that asks whether its run may go on (R13). A yes extends the lease. A
// request with a commitment asks whether this output may leave: the first commitment of a
// run is recorded, with a receipt in the answer, and any other is refused for good (R14).
//
// A no is final for the room, which wipes: the agreement was retired or revoked, the owner
// denies the machine or its image, its makers withdrew the image, the lease has lapsed, or the run has its answer already.
// Only a counter that is not above the last (live.counter) says nothing about the run: whoever
// showed an old request again gets it, and a room whose requests overtook each other, which
// asks anew.
func (b *Broker) Live(ctx context.Context, data []byte) ([]byte, error) {
	b.counters.lives.Add(1)
	asked, err := release.ParseLiveRequest(data)
	if err != nil {
		return nil, err
	}
	if err := b.serving(); err != nil {
		return nil, err
	}
	if err := b.signedByRoom(ofRun{asked.Broker, asked.Agreement, asked.Run, asked.RunID, asked.ReleaseID}, asked); err != nil {
		return nil, err
	}
	now := b.now()
	answer, output, ledgers, err := b.prolong(asked.LiveRequest, now)
	if err != nil {
		b.refused(ctx, refusal{agreement: asked.Agreement, run: &asked.Run, runID: asked.RunID, releaseID: asked.ReleaseID,
			subject: "may run " + asked.RunID + " go on?"}, err)
		return nil, err
	}
	if output != nil {
		if err := b.drain(ctx); err != nil {
			return nil, err
		}
		receipt, err := b.witnessed(ctx, *output, ledgers)
		if err != nil {
			return nil, err
		}
		answer.Receipt = &receipt
	}
	return release.NewLive(b.cfg.Keys.ReleaseKey(), asked.LiveRequest, answer)
}

// ofRun is the run that a room says it asks about.
type ofRun struct {
	broker         wire.ID
	agreement, run wire.Digest
	id, releaseID  string
}

// signedByRoom checks that the room that was given the keys is asking.
func (b *Broker) signedByRoom(of ofRun, asked interface{ SignedBy(keys.PublicKey) error }) error {
	var run *runRecord
	err := b.cfg.State.View(func(tx Tx) (err error) {
		run, err = load[runRecord](tx, tableRuns, of.id)
		return err
	})
	if err != nil {
		return broken("to read the run's record", err)
	}
	if run == nil || run.Room == nil || of.broker != b.name || run.ReleaseID != of.releaseID || run.Agreement != of.agreement || run.Run != of.run {
		return verdict.Refuse("live.run", "a run that this broker gave keys for", "run "+of.id+", release "+of.releaseID+", which it did not", "ask for keys first")
	}
	return asked.SignedBy(*run.Room)
}

// prolong decides, extends the lease and records a commitment, in one transaction. output is
// where the commitment is recorded, nil if there was none.
func (b *Broker) prolong(asked release.LiveRequest, now time.Time) (answer release.Live, output *placed, ledgers agreement.Ledgers, err error) {
	nowMS := now.UnixMilli()
	err = b.cfg.State.Update(func(tx Tx) error {
		known, run, err := b.goesOn(tx, asked.Agreement, asked.RunID, nowMS)
		if err != nil {
			return err
		}
		ledgers = known.agreement.Ledgers
		if late := nowMS - asked.AfterMS - run.LeaseMS; late >= 0 {
			return verdict.Refuse("lease", "a request of a room whose own lease lasts", fmt.Sprintf("one %d ms after it ended: the room last heard of this broker at %d", late, asked.AfterMS),
				"the run is over: sign a new request; somebody held back what the room asked, or what it was answered")
		}
		if asked.Counter <= run.LiveCounter {
			return verdict.Refuse("live.counter", fmt.Sprintf("a request with a counter above %d", run.LiveCounter), fmt.Sprint(asked.Counter),
				"ask anew with a higher counter; an old request extends no lease")
		}
		run.LiveCounter = asked.Counter
		// A lease never outlives the agreement.
		run.LeaseEndMS = min(nowMS+run.LeaseMS, known.agreement.Valid.Until.Time().UnixMilli())
		answer = release.Live{TimeMS: nowMS, LeaseEndMS: run.LeaseEndMS}
		output = nil
		if asked.Commitment != nil {
			shown, err := b.openShown(run, asked)
			if err != nil {
				return err
			}
			if err := commit(tx, run, asked, shown, nowMS); err != nil {
				return err
			}
			output = run.Output
		}
		return save(tx, tableRuns, asked.RunID, run)
	})
	return answer, output, ledgers, err
}

// goesOn gives a run's agreement and record if nothing ends the run.
func (b *Broker) goesOn(tx Tx, digest wire.Digest, runID string, nowMS int64) (*parsedAgreement, *runRecord, error) {
	known, err := b.activated(tx, digest)
	if err != nil {
		return nil, nil, err
	}
	run, err := load[runRecord](tx, tableRuns, runID)
	if err != nil || run == nil {
		return nil, nil, broken("to read the run's record", err)
	}
	if err := b.allowed(tx, run); err != nil {
		return nil, nil, err
	}
	if err := b.stillListed(tx, run, known.agreement.Agreement); err != nil {
		return nil, nil, err
	}
	return known, run, mayGoOn(known.agreement.Valid, run, nowMS)
}

// commit records the run's one answer, and what it shows; the same one again is no second.
func commit(tx Tx, run *runRecord, asked release.LiveRequest, shown [][]byte, nowMS int64) error {
	if run.Commitment != nil {
		if *run.Commitment == *asked.Commitment {
			return nil
		}
		return verdict.Refuse("run.one-answer", "the answer this run has already given, "+run.Commitment.Short(), "another, "+asked.Commitment.Short(),
			"one run id has one answer: sign a new run request")
	}
	if err := remember(tx, run, asked.RunID, shown, nowMS); err != nil {
		return err
	}
	public, err := json.Marshal(release.OutputFacts{ReleaseID: run.ReleaseID, Commitment: *asked.Commitment})
	if err != nil {
		return err
	}
	e := ledger.Entry{Kind: "output", TimeMS: nowMS, Agreement: &asked.Agreement, Run: &asked.Run, RunID: asked.RunID, Public: public}
	p, err := record(tx, e, Decision{Subject: "the output of run " + asked.RunID + " may leave", Agreement: asked.Agreement.String(),
		RunID: asked.RunID, ReleaseID: run.ReleaseID}, asked.RunID, run.ReleaseID)
	run.Commitment, run.Output = asked.Commitment, &p
	return err
}

// mayGoOn checks the agreement's window and the run's lease.
func mayGoOn(valid agreement.Validity, run *runRecord, nowMS int64) error {
	if err := isValid(valid, time.UnixMilli(nowMS)); err != nil {
		return err
	}
	if run.LeaseEndMS == 0 {
		return verdict.Refuse("lease", "a run whose keys have left", "one whose release was never answered", "ask again for the keys, with the same release id")
	}
	if run.Fenced == fencedByOfficers {
		return verdict.Refuse("volume.fenced", "a run that holds its volumes", "one whose volume its owner's officers took back", "the run is over: see strongroom broker why of the volume's dataset")
	}
	if run.Fenced != "" {
		return verdict.Refuse("volume.fenced", "a run that holds its volumes", "one whose volume run "+run.Fenced+" took over", "the run is over: a volume is in one room at a time")
	}
	if nowMS >= run.LeaseEndMS {
		return verdict.Refuse("lease", "a request before the lease ended", fmt.Sprintf("one %d ms after it", nowMS-run.LeaseEndMS),
			"the run is over: sign a new request; renew leases sooner, or agree on a longer one")
	}
	return nil
}

func isValid(valid agreement.Validity, now time.Time) error {
	if now.Before(valid.From.Time()) || !now.Before(valid.Until.Time()) {
		return verdict.Refuse("agreement.validity", "a time from "+valid.From.String()+" until "+valid.Until.String(), wire.At(now).String(), "sign and activate a new version")
	}
	return nil
}
