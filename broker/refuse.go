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

// counters are what happened since the start.
type counters struct {
	challenges, lives, malformed, refused, unlogged atomic.Int64
}

// bucket lets refusalBurst refusals through and one more every refusalEvery.
type bucket struct {
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
	if earned := int(min(now.Sub(k.filled)/refusalEvery, refusalBurst)); earned > 0 {
		k.tokens = min(k.tokens+earned, refusalBurst)
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
	e := verdict.As(cause)
	if e.Kind != verdict.Refused && e.Kind != verdict.Invalid {
		return
	}
	b.counters.refused.Add(1)
	now := b.now()
	if !b.refusals.take(now) {
		b.counters.unlogged.Add(1)
		return
	}
	known := false
	err := b.cfg.State.Update(func(tx Tx) error {
		if known = tx.Get(tableAgreements, r.agreement.String()) != nil; !known {
			return nil
		}
		public, err := json.Marshal(RefusalFacts{r.releaseID, verdict.Short(e.Check)})
		if err != nil {
			return err
		}
		entry := ledger.Entry{Kind: "refusal", TimeMS: now.UnixMilli(), Agreement: &r.agreement, Run: r.run, RunID: r.runID, Public: public}
		d := Decision{Subject: r.subject, Agreement: r.agreement.String(), RunID: r.runID, ReleaseID: r.releaseID, Refusal: e.Error(), Checks: e.Checks}
		_, err = record(tx, entry, d, r.runID, r.releaseID)
		return err
	})
	if err != nil || !known {
		b.counters.unlogged.Add(1)
		return
	}
	// Another request's drain will bring it in if this one can't.
	_ = b.drain(ctx)
}

func lostRecord() error {
	return verdict.Refuse("release.record", "the record of this release in the broker's log", "another entry at its number, since the log was restored", "sign a new run request: this one was lost with its record")
}
