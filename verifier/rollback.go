package verifier

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
	"strongroom.dev/wire"
)

// newest is what an instance knows of the newest versions, so that it need not ask the store for
// every request. It is read from the store once: what another instance uses meanwhile takes nothing
// away from this one before it starts anew, so that endorsements may reach instances at different
// times. The zero value knows nothing.
type newest struct {
	mu   sync.Mutex
	seen lineage.Seen
}

func (n *newest) of(line lineage.Line) (lineage.Version, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	v, known := n.seen[line]
	return v, known
}

// add never takes a newer version away.
func (n *newest) add(v lineage.Version) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old, known := n.seen[v.Of]; known && v.Follows(old) != nil {
		return
	}
	if n.seen == nil {
		n.seen = lineage.Seen{}
	}
	n.seen[v.Of] = v
}

// digestsOf gives the SHA-256 of each endorsement.
func digestsOf(set endorse.Set) map[wire.Hash]bool {
	own := make(map[wire.Hash]bool, set.Len())
	for _, it := range set.Items() {
		own[wire.HashOf(it.Data)] = true
	}
	return own
}

// endorsementsSeen gives what is remembered of the lines of what a finding relied on.
func (s *Service) endorsementsSeen(ctx context.Context, used []lineage.Version) (lineage.Seen, error) {
	seen := lineage.Seen{}
	for _, v := range used {
		known, found := s.newest.of(v.Of)
		if !found {
			stored, data, err := s.endorsedBefore(ctx, v.Of)
			if err != nil {
				return nil, err
			}
			if data == nil {
				continue
			}
			s.newest.add(stored)
			known = stored
		}
		seen[v.Of] = known
	}
	return seen, nil
}

// endorsedBefore gives what the store remembers of a line, and the bytes of that; nil if it has none.
func (s *Service) endorsedBefore(ctx context.Context, line lineage.Line) (v lineage.Version, data []byte, err error) {
	if data, err = s.cfg.Store.Get(ctx, TableEndorsed, string(line)); err != nil || data == nil {
		return v, nil, err
	}
	if v, err = lineage.Parse(data, line); err != nil {
		return v, nil, fmt.Errorf("what is remembered of the endorsement %s in the store: %w", line, err)
	}
	return v, data, nil
}

// sawEndorsements remembers what a result relied on, before anything comes of it: of the service's
// own only, since whoever asks could else bring genuine ones that are newer than the officers', and
// lock those out.
func (s *Service) sawEndorsements(ctx context.Context, used []lineage.Version) error {
	own := s.table.Load().own
	for _, v := range used {
		if !own[v.Digest] {
			continue
		}
		if known, found := s.newest.of(v.Of); found && known.Follows(v) == nil {
			continue // the same, or one that the result was refused for
		}
		if err := s.remember(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// rememberBundles remembers bundles before they are used, all of them or, if one is older than what
// is remembered, none.
func (s *Service) rememberBundles(ctx context.Context, bundles []lineage.Version) error {
	bundles = lineage.Newest(bundles)
	for _, b := range bundles {
		known, data, err := s.endorsedBefore(ctx, b.Of)
		if err == nil && data != nil {
			err = b.Follows(known)
		}
		if err != nil {
			return err
		}
	}
	for _, b := range bundles {
		if err := s.remember(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// remember puts a version in the store, unless it is there. If another instance has used a newer one
// meanwhile, that one stays, and it is an error.
func (s *Service) remember(ctx context.Context, v lineage.Version) error {
	for range swapAttempts {
		known, old, err := s.endorsedBefore(ctx, v.Of)
		if err != nil {
			return err
		}
		if old != nil {
			if err := v.Follows(known); err != nil {
				return err
			}
			if known.Follows(v) == nil {
				s.newest.add(known)
				return nil
			}
		}
		data, err := v.Encode()
		if err != nil {
			return err
		}
		if err = s.cfg.Store.Swap(ctx, TableEndorsed, string(v.Of), old, data); err == nil {
			s.newest.add(v)
			return nil
		}
		if !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return busy()
}
