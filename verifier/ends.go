package verifier

import (
	"time"

	"strongroom.dev/endorse"
	"strongroom.dev/reference"
	"strongroom.dev/wire"
)

// ends are when the first endorsement and the first set of reference values in a table end; zero
// if none has an end. They are read for whoever renews them in time, and verified when used.
type ends struct{ endorsements, references time.Time }

func endsOf(set endorse.Set, references [][]byte) (e ends) {
	for _, it := range set.Items() {
		e.endorsements = earlier(e.endorsements, it.Dates().Until)
	}
	newest := map[wire.ID]reference.Values{}
	for _, data := range references {
		if p, err := reference.Parse(data); err == nil && p.Values.Version > newest[p.Values.Product].Version {
			newest[p.Values.Product] = p.Values
		}
	}
	for _, v := range newest {
		e.references = earlier(e.references, v.Expires.Time())
	}
	return e
}

// earlier gives the earlier of two times, of which either may be zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// left gives how long it is until a time, below zero if it has passed; nil for no time.
func left(until, now time.Time) *time.Duration {
	if until.IsZero() {
		return nil
	}
	d := until.Sub(now)
	return &d
}
