package broker

import (
	"context"
	"encoding/json"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// answerRecord is what was decided about a room's message, and the signed answer once it was
// made: the same message gets the same bytes, and takes effect once.
type answerRecord struct {
	Place placed `json:"place"`
	// Body is what the answer says, as its kind keeps it.
	Body json.RawMessage `json:"body"`
	// Answer is empty until the record of the decision is in the log.
	Answer []byte `json:"answer,omitempty"`
}

// roomAsks is a signed message of a room about its run that is recorded before it is
// answered.
type roomAsks struct {
	ofRun
	request  wire.Digest // of the signed message
	signedBy interface{ SignedBy(keys.PublicKey) error }
	kind     wire.ID // of the entry in the log
	subject  string  // for people
	// decide judges the message and changes the state. It gives what the answer will say, and the
	// public part of the entry.
	decide func(tx Tx, a agreement.Agreement, run *runRecord, nowMS int64) (body, facts any, err error)
	// sign makes the answer.
	sign func(body json.RawMessage) ([]byte, error)
}

// answerRoom decides, records and answers, in this order. What stops half-way stays decided,
// and the same message again goes on from there.
func (b *Broker) answerRoom(ctx context.Context, q roomAsks) ([]byte, error) {
	if err := b.serving(); err != nil {
		return nil, err
	}
	if err := b.signedByRoom(q.ofRun, q.signedBy); err != nil {
		return nil, err
	}
	done, err := b.decideOnce(q)
	if err != nil {
		b.refused(ctx, refusal{agreement: q.agreement, run: &q.run, runID: q.id, releaseID: q.releaseID, subject: q.subject}, err)
		return nil, err
	}
	if done.Answer != nil {
		return done.Answer, nil
	}
	if err := b.drain(ctx); err != nil {
		return nil, err
	}
	data, err := q.sign(done.Body)
	if err != nil {
		return nil, err
	}
	return b.keepBytes(q, data)
}

func (q roomAsks) key() string { return q.id + "/" + q.request.String() }

// decideOnce gives what was decided about a message, now or before.
func (b *Broker) decideOnce(q roomAsks) (done *answerRecord, err error) {
	now := b.now()
	err = b.cfg.State.Update(func(tx Tx) error {
		if err := b.serving(); err != nil {
			return err
		}
		known, run, err := b.goesOn(tx, q.agreement, q.id, now.UnixMilli())
		if err != nil {
			return err
		}
		if done, err = load[answerRecord](tx, tableAnswers, q.key()); err != nil || done != nil {
			return err
		}
		body, facts, err := q.decide(tx, known.agreement.Agreement, run, now.UnixMilli())
		if err != nil {
			return err
		}
		public, err := json.Marshal(facts)
		if err != nil {
			return err
		}
		done = new(answerRecord)
		if done.Body, err = json.Marshal(body); err != nil {
			return err
		}
		e := ledger.Entry{Kind: q.kind, TimeMS: now.UnixMilli(), Agreement: &q.agreement, Run: &q.run, RunID: q.id, Public: public}
		d := Decision{Subject: q.subject, Agreement: q.agreement.String(), RunID: q.id, ReleaseID: q.releaseID}
		if done.Place, err = record(tx, e, d, q.id, q.releaseID); err != nil {
			return err
		}
		return insert(tx, tableAnswers, q.key(), done)
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// keepBytes keeps the answer, if nobody was first, and gives what is kept. What ended the run
// meanwhile stops it here.
func (b *Broker) keepBytes(q roomAsks, data []byte) (kept []byte, err error) {
	err = b.cfg.State.Update(func(tx Tx) error {
		if _, _, err := b.goesOn(tx, q.agreement, q.id, b.now().UnixMilli()); err != nil {
			return err
		}
		done, err := load[answerRecord](tx, tableAnswers, q.key())
		if err != nil || done == nil {
			return broken("to find what was decided", err)
		}
		if there, err := b.cfg.Log.Entry(done.Place.Number); err != nil || wire.HashOf(there) != done.Place.Entry {
			return lostRecord()
		}
		if kept = done.Answer; kept != nil {
			return nil
		}
		kept, done.Answer = data, data
		return save(tx, tableAnswers, q.key(), done)
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}

// container gives the work of a run, where it is a container.
func (r *runRecord) container(a agreement.Agreement) (*agreement.Container, error) {
	w, found := a.WorkByName(r.Work)
	if !found || w.Container == nil {
		return nil, verdict.Refuse("run.container", "a run of work of kind container", "one of other work", "only containers have volumes and certificates")
	}
	return w.Container, nil
}
