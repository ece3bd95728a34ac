package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"strongroom.dev/broker"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/home"
	"strongroom.dev/verdict"
)

// brokerEndorsements are the endorsements of a broker that serves, read again and again.
type brokerEndorsements struct {
	*endorsed
	status atomic.Pointer[broker.Endorsements]
}

// brokerEndorsements reads what the flags name, for the first time.
func (a *app) brokerEndorsements(h *home.Home, f endorsementFlags) (*brokerEndorsements, error) {
	e, err := a.endorsedNow(f, h)
	if err != nil {
		return nil, err
	}
	b := &brokerEndorsements{endorsed: e}
	b.note(nil)
	return b, nil
}

// note keeps what is there to say; trouble is why nothing new could be read.
func (b *brokerEndorsements) note(trouble error) {
	s := broker.Endorsements{ReadMS: b.app.now().UnixMilli()}
	if trouble != nil {
		last := *b.status.Load()
		last.Trouble = trouble.Error()
		b.status.Store(&last)
		return
	}
	if table, err := b.held.Load().at(b.app.now()); err == nil {
		s.Items = table.set.Len()
		first, name := table.ends()
		if !first.IsZero() {
			s.FirstMS, s.First = first.UnixMilli(), name
		}
	}
	b.status.Store(&s)
}

// ends says what of the sources ends first, and when: of that which is issued anew from time to
// time, and of bundles. A certificate has its own time, and is one machine's or one maker's.
func (t *endorsedTable) ends() (first time.Time, name string) {
	note := func(until time.Time, what string) {
		if !until.IsZero() && (first.IsZero() || until.Before(first)) {
			first, name = until, what
		}
	}
	for _, s := range t.sources {
		if s.bundle != nil {
			note(s.bundle.Expires.Time(), "bundle "+s.bundle.File)
		}
		for _, it := range s.items {
			if it.Kind != endorse.X509Certificate {
				note(it.Dates().Until, string(it.Kind)+" "+it.Name)
			}
		}
	}
	return first, name
}

// renewEvery is how often a serving broker reads its endorsements anew.
const renewEvery = time.Minute

// renew reads the endorsements anew every minute, and when told to. What fails is said once, and
// what was there stays: it is dated, and refuses by itself once it has expired.
func (b *brokerEndorsements) renew(ctx context.Context, hup <-chan os.Signal) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		case <-tick.C:
		}
		b.again()
	}
}

func (b *brokerEndorsements) again() {
	changed, err := b.read()
	before := b.status.Load().Trouble
	b.note(err)
	now := b.status.Load()
	switch {
	case now.Trouble != "" && now.Trouble != before:
		b.app.say("broker: endorsements stay as they were: %s", verdict.Printable(now.Trouble))
	case changed, before != "" && now.Trouble == "":
		b.app.say("broker: %d endorsements read anew", now.Items)
	}
}

// endorsementsText says what evidence of hardware is judged by.
func endorsementsText(w io.Writer, e *broker.Endorsements, now time.Time) {
	if e == nil {
		return
	}
	fmt.Fprintf(w, "  endorsed    by %d endorsements, read %s", e.Items, since(e.ReadMS))
	if e.FirstMS != 0 {
		ends := "is the first to end"
		if !now.Before(time.UnixMilli(e.FirstMS)) {
			ends = "ENDED"
		}
		fmt.Fprintf(w, "; %s %s, %s", verdict.Printable(e.First), ends, since(e.FirstMS))
	}
	fmt.Fprintln(w)
	if e.Trouble != "" {
		fmt.Fprintf(w, "  TROUBLE     endorsements stay as they were: %s\n", verdict.Printable(e.Trouble))
	}
}
