package broker

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// refusal is what a refused request was about.
type refusal struct {
	agreement wire.Digest
	run       *wire.Digest
	runID     string
	releaseID string
	subject   string
}

// RefusalFacts is the public part of a log entry of kind "refusal": which release was
// refused and by which check. What was found stays in the broker's own state.
type RefusalFacts struct {
	ReleaseID string `json:"release_id"`
	Check     string `json:"check"`
}

// Told is what a broker tells whoever runs it about a decision while it serves: ids, and the
// check that refused. It holds nothing of what was asked or found.
type Told struct {
	Kind      string // "grant" or "refusal"
	Agreement string // digest
	RunID     string // "" where a challenge was refused
	ReleaseID string // likewise
	Check     string // "" for a grant
}

func (b *Broker) tell(t Told) {
	if b.cfg.Tell != nil {
		b.cfg.Tell(t)
	}
}

// counters are what happened since the start.
type counters struct {
	challenges, activations, lives, malformed, refused, unlogged atomic.Int64
}

// bucket lets burst refusals through and one more every so often.
type bucket struct {
	burst  int
	every  time.Duration
	mu     sync.Mutex
	tokens int
	filled time.Time
}

func (k *bucket) take(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Before(k.filled) {
		k.filled = now
	}
	if earned := int(min(now.Sub(k.filled)/k.every, time.Duration(k.burst))); earned > 0 {
		k.tokens = min(k.tokens+earned, k.burst)
		k.filled = now
	}
	if k.tokens == 0 {
		return false
	}
	k.tokens--
	return true
}

// refused records that a request was refused, if it was about an agreement known here and
// not too many were just before; others are only counted, so that nobody can fill the disk.
// Errors of our own making are no refusals. What can't be recorded changes nothing for the
// asker: the answer is no already.
func (b *Broker) refused(ctx context.Context, r refusal, cause error) {
	b.refusedWithin(ctx, &b.refusals, r, cause)
}

func (b *Broker) refusedWithin(ctx context.Context, bound *bucket, r refusal, cause error) {
	e := verdict.As(cause)
	if e.Kind != verdict.Refused && e.Kind != verdict.Invalid {
		return
	}
	b.counters.refused.Add(1)
	now := b.now()
	if !b.knows(r.agreement) || !bound.take(now) { // what is about nothing here takes nobody's place

		b.counters.unlogged.Add(1)
		return
	}
	about := []string{r.runID, r.releaseID}
	if r.run == nil { // a challenge names no run
		about = []string{r.agreement.String()}
	}
	err := b.cfg.State.Update(func(tx Tx) error {
		public, err := json.Marshal(RefusalFacts{r.releaseID, verdict.Short(e.Check)})
		if err != nil {
			return err
		}
		entry := ledger.Entry{Kind: "refusal", TimeMS: now.UnixMilli(), Agreement: &r.agreement, Run: r.run, RunID: r.runID, Public: public}
		d := Decision{Subject: r.subject, Agreement: r.agreement.String(), RunID: r.runID, ReleaseID: r.releaseID, Refusal: e.Error(), Checks: e.Checks}
		_, err = record(tx, entry, d, about...)
		return err
	})
	if err != nil {
		b.counters.unlogged.Add(1)
		return
	}
	b.tell(Told{Kind: "refusal", Agreement: r.agreement.String(), RunID: r.runID, ReleaseID: r.releaseID, Check: e.Check})
	// Another request's drain will bring it in if this one can't.
	_ = b.drain(ctx)
}

// knows tells whether there is a record of an agreement, which is never removed.
func (b *Broker) knows(agreement wire.Digest) (known bool) {
	err := b.cfg.State.View(func(tx Tx) error {
		known = tx.Get(tableAgreements, agreement.String()) != nil
		return nil
	})
	return known && err == nil
}

func lostRecord() error {
	return verdict.Refuse("release.record", "the record of this release in the broker's log", "another entry at its number, since the log was restored", "sign a new run request: this one was lost with its record")
}
