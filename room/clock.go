package room

import (
	"context"
	"fmt"
	"sync"
	"time"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// clock is the room's clock (R13): the latest time that an owner's broker signed, advanced by
// the machine's own counter. Before the first broker has spoken there is no time.
type clock struct {
	elapsed func() time.Duration

	mu   sync.Mutex
	base time.Time     // what a broker said
	at   time.Duration // when it was said, by elapsed
}

// heard takes a broker's signed time; it never sets the clock back.
func (c *clock) heard(timeMS int64) {
	t := time.UnixMilli(timeMS)
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.elapsed(); c.base.IsZero() || t.After(c.base.Add(now-c.at)) {
		c.base, c.at = t, now
	}
}

// now gives the time; zero, which is valid for nothing, before any broker has spoken.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.base.IsZero() {
		return time.Time{}
	}
	return c.base.Add(c.elapsed() - c.at)
}

// leases watches the leases of all owners' keys. Each ends a span after the request that
// was answered with it was sent, by the machine's own counter: a broker's clock may differ
// from another's, but the span is its own.
type leases struct {
	elapsed func() time.Duration
	mu      sync.Mutex
	ends    map[wire.ID]time.Duration
}

func (l *leases) extend(owner wire.ID, sent time.Duration, span time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends == nil {
		l.ends = map[wire.ID]time.Duration{}
	}
	before, known := l.ends[owner]
	if known && before <= l.elapsed() {
		return // it has lapsed: an answer that comes late gives it no new life
	}
	if end := sent + span; end > before {
		l.ends[owner] = end
	}
}

// check gives an error if a lease has lapsed, else how long the shortest lives on.
func (l *leases) check() (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := time.Hour
	now := l.elapsed()
	for owner, end := range l.ends {
		if end <= now {
			return 0, &verdict.Error{Kind: verdict.Refused, Check: codeLapsed, Expected: "word from the broker of " + string(owner) + " before its lease ended",
				Got: fmt.Sprintf("none, %d ms after it", (now - end).Milliseconds()), Fix: "keep brokers reachable while a run goes on, or agree on a longer lease"}
		}
		left = min(left, end-now)
	}
	return left, nil
}

// watch calls lapsed once, when the first lease lapses, unless ctx ends before. It looks
// often enough to notice that the machine slept.
func (l *leases) watch(ctx context.Context, lapsed func(error)) {
	for {
		left, err := l.check()
		if err != nil {
			lapsed(err)
			return
		}
		timer := time.NewTimer(min(left, glance))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
