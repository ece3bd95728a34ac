package verifier

import (
	"context"
	"errors"
	"fmt"

	"strongroom.dev/appraise"
	"strongroom.dev/reference"
	"strongroom.dev/wire"
)

// references gives the sets of reference values with what is remembered of each product (R5:
// they never go back). Policies that ask for none need none.
func (s *Service) references(ctx context.Context, p *appraise.Policy) (appraise.References, error) {
	r := appraise.References{Seen: map[wire.ID]reference.Name{}}
	if p == nil {
		return r, nil
	}
	for _, line := range p.Lines() {
		r.Sets = s.table.Load().references
		known, _, err := s.seen(ctx, line.Product)
		if err != nil {
			return r, err
		}
		if known.Version != 0 {
			r.Seen[line.Product] = known
		}
	}
	return r, nil
}

func (s *Service) seen(ctx context.Context, product wire.ID) (known reference.Name, data []byte, err error) {
	if data, err = s.cfg.Store.Get(ctx, TableSeen, string(product)); err != nil || data == nil {
		return known, nil, err
	}
	if err := wire.Unmarshal(data, &known); err != nil {
		return known, nil, fmt.Errorf("what is remembered of %s in the store: %w", product, err)
	}
	return known, data, nil
}

// saw remembers the set that a result was judged by, before anything comes of the result. If
// another instance has seen a newer one meanwhile, that one stays, and the result is refused.
func (s *Service) saw(ctx context.Context, used *appraise.ReferenceUsed) error {
	if used == nil {
		return nil
	}
	for range swapAttempts {
		known, old, err := s.seen(ctx, used.Product)
		if err != nil || known == used.Name {
			return err
		}
		if err := used.Name.Follows(known); err != nil {
			return err
		}
		data, err := wire.Marshal(used.Name)
		if err != nil {
			return err
		}
		if err = s.cfg.Store.Swap(ctx, TableSeen, string(used.Product), old, data); !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return busy()
}
