package verifier

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"strongroom.dev/wire"
)

// invalid is how evidence is counted that is not genuine.
const invalid = "invalid"

// counters count what the service did. Names come from tables of the program, never from
// requests, so that they are few.
type counters struct {
	challenges atomic.Uint64

	mu       sync.Mutex
	verdicts map[Verdicts]uint64
	tokens   map[string]uint64
}

// Verdicts names evidence that was judged: its platform, "" for no known form, and what was
// said of it.
type Verdicts struct {
	Platform wire.ID
	Verdict  string
}

// Stats are the counts since the service started.
type Stats struct {
	Challenges uint64
	Verdicts   []Count[Verdicts]
	Tokens     []Count[string]
	// KeyExpiry is when each shape's newest key stops signing, in seconds since 1970.
	KeyExpiry []Count[string]
	// EndorsementsLeft is how long the endorsement that ends first is still good, ReferencesLeft
	// the same of reference values, of each product's newest set: below zero once it has ended,
	// nil if nothing at hand has an end. What came with requests does not count.
	EndorsementsLeft, ReferencesLeft *time.Duration
}

// Count is how often something happened.
type Count[T any] struct {
	What T
	N    uint64
}

func (c *counters) judged(platform wire.ID, said string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.verdicts == nil {
		c.verdicts = make(map[Verdicts]uint64)
	}
	c.verdicts[Verdicts{platform, said}]++
}

func (c *counters) token(shape string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens == nil {
		c.tokens = make(map[string]uint64)
	}
	c.tokens[shape]++
}

// Stats gives the counts, in the order of their names.
func (s *Service) Stats() Stats {
	st := Stats{Challenges: s.stats.challenges.Load()}
	s.stats.mu.Lock()
	for what, n := range s.stats.verdicts {
		st.Verdicts = append(st.Verdicts, Count[Verdicts]{what, n})
	}
	for _, shape := range slices.Sorted(maps.Keys(s.stats.tokens)) {
		st.Tokens = append(st.Tokens, Count[string]{shape, s.stats.tokens[shape]})
	}
	s.stats.mu.Unlock()
	slices.SortFunc(st.Verdicts, func(a, b Count[Verdicts]) int {
		return cmp.Or(cmp.Compare(a.What.Platform, b.What.Platform), cmp.Compare(a.What.Verdict, b.What.Verdict))
	})
	now, e := s.cfg.Now(), s.table.Load().ends
	st.EndorsementsLeft, st.ReferencesLeft = left(e.endorsements, now), left(e.references, now)
	rings := s.issuing.Load().rings
	for _, shape := range slices.Sorted(maps.Keys(rings)) {
		st.KeyExpiry = append(st.KeyExpiry, Count[string]{shape, uint64(rings[shape].Expiry().Unix())})
	}
	return st
}
