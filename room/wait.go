package room

import (
	"context"
	"time"

	"strongroom.dev/verdict"
)

// What a run still needs once owners' brokers have spent it is worth waiting for: a ledger
// that restarts must cost nobody a run. Each wait ends with the room's patience, or with a
// lease.

// noWitness is the check of a broker whose agreement's shared ledgers did not sign: what it
// was asked is recorded there, and counts once however often it is asked.
const noWitness = "release.witnesses"

// waiter tries again and again, until its time is over.
type waiter struct {
	run  *run
	end  time.Duration // by Elapsed
	wait time.Duration // until the next try
	told bool
}

func (r *run) waiter() *waiter {
	return &waiter{run: r, end: r.Elapsed() + r.Patience, wait: 50 * time.Millisecond}
}

// again waits a moment and reports whether there is to be another try. The host is told once
// whom the room waits for.
func (w *waiter) again(ctx context.Context, what string) bool {
	const longest = 2 * time.Second
	if ctx.Err() != nil || w.run.Elapsed()+w.wait > w.end {
		return false
	}
	if !w.told && w.wait >= 200*time.Millisecond { // a hiccup is not worth a word
		w.told = true
		// A host that can't be told ends the channel, and so the run, by itself.
		w.run.Tell(Event{Event: Waiting, For: what, WaitMS: w.run.Patience.Milliseconds()})
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(w.wait):
	}
	w.wait = min(2*w.wait, longest)
	return true
}

// insist makes a call that the run can't do without once it has been paid for. It is the same
// message each time: what was decided about it is decided.
func (r *run) insist(ctx context.Context, stream, path string, body []byte, limit int) ([]byte, error) {
	for w := r.waiter(); ; {
		answer, err := r.askOnce(ctx, w, stream, path, body, limit)
		if err == nil || !passing(err) && !unwitnessed(err) {
			return answer, err
		}
		if !w.again(ctx, missing(stream, err)) {
			return nil, givenUp(err)
		}
	}
}

// askOnce asks within the waiter's time: a host that holds a call back must not hold the room
// open for as long as it pleases.
func (r *run) askOnce(ctx context.Context, w *waiter, stream, path string, body []byte, limit int) ([]byte, error) {
	const least = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, max(least, w.end-r.Elapsed()))
	defer cancel()
	return r.Ask(ctx, stream, path, body, limit)
}

func unwitnessed(err error) bool { return verdict.As(err).Check == noWitness }

// missing names who is waited for.
func missing(stream string, err error) string {
	if unwitnessed(err) {
		return "ledgers of " + stream
	}
	return stream
}

// givenUp makes the error of the last try that of the wait: nobody said no, something is
// broken.
func givenUp(err error) error {
	if !unwitnessed(err) {
		return err
	}
	e := verdict.As(err)
	return &verdict.Error{Kind: verdict.Broken, Check: codeLedger, Expected: codes[codeLedger][0], Got: e.Got, Fix: codes[codeLedger][1], Where: e.Where, Err: err}
}
