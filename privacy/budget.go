package privacy

import (
	"math/big"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// The mechanisms that noise is made by, and the books that budgets are kept in.
const (
	// Laplace: noise of pure epsilon; epsilons add up.
	Laplace wire.ID = "laplace"
	// Gaussian: noise of zero-concentrated differential privacy; rhos add up.
	Gaussian wire.ID = "gaussian"
)

// Budget is what may be spent in all: every unit is (Epsilon, Delta)-differentially private
// in everything that is ever answered within it. The zero Budget allows nothing.
type Budget struct {
	Epsilon Epsilon `json:"epsilon"`
	// Delta is 0 only under Laplace, and then no group can be shown that the data chose.
	Delta Delta `json:"delta"`
	// Mechanism says how the books are kept. Books of Gaussian also take what Laplace costs;
	// books of Laplace take nothing else.
	Mechanism wire.ID `json:"mechanism"`
}

// Cost is what something costs, or all that was spent: of Gaussian mechanisms Epsilon is 0
// and Rho is not. Costs of one unit's data add up.
type Cost struct {
	Epsilon Epsilon `json:"epsilon"`
	Rho     Rho     `json:"rho"`
	// Delta is the probability that a group shows which a single unit made.
	Delta Delta `json:"delta"`
}

// Pure reports whether the cost has a pure epsilon.
func (c Cost) Pure() bool { return c.Epsilon > 0 || c.Rho == 0 }

// Validate checks that a cost is one that something can have: nothing negative, and a rho
// beside every epsilon.
func (c Cost) Validate() error {
	if c.Epsilon < 0 || c.Epsilon > maxSpent || c.Rho < 0 || c.Rho > maxRho || c.Delta < 0 || int64(c.Delta) >= oneDelta || c.Epsilon > 0 && c.Rho == 0 {
		return bad("a cost with numbers in range, and a rho beside an epsilon", c.String())
	}
	return nil
}

// String gives the cost for people.
func (c Cost) String() string {
	text := "epsilon " + c.Epsilon.String()
	if !c.Pure() {
		text = "rho " + c.Rho.String()
	}
	return text + ", delta " + c.Delta.String()
}

// Plus adds two costs; a sum out of range is an error.
func (c Cost) Plus(other Cost) (Cost, error) {
	for _, each := range []Cost{c, other} {
		if err := each.Validate(); err != nil {
			return Cost{}, err
		}
	}
	sum := Cost{Rho: c.Rho + other.Rho, Delta: c.Delta + other.Delta}
	if c.Pure() && other.Pure() {
		sum.Epsilon = c.Epsilon + other.Epsilon
	}
	return sum, sum.Validate()
}

// Validate checks that the budget has books, and a delta where it needs one.
func (b Budget) Validate() error {
	switch {
	case b.Mechanism != Laplace && b.Mechanism != Gaussian:
		return bad("mechanism laplace or gaussian", verdict.Short(string(b.Mechanism)))
	case b.Epsilon <= 0 || b.Epsilon > MaxEpsilon:
		return bad("an epsilon above 0 and at most "+MaxEpsilon.String(), b.Epsilon.String())
	case b.Delta < 0 || int64(b.Delta) >= oneDelta || b.Mechanism == Gaussian && b.Delta < 2:
		return bad("a delta below 1, and above 0 with gaussian", b.Delta.String())
	}
	return nil
}

// Limit gives the budget as the most that costs may add up to. Under Laplace that is itself.
// Under Gaussian half of delta pays for turning rho into epsilon, the other half for groups:
// fixed beforehand, since what is asked may depend on what was answered.
func (b Budget) Limit() (Cost, error) {
	if err := b.Validate(); err != nil {
		return Cost{}, err
	}
	if b.Mechanism == Laplace {
		return Cost{Epsilon: b.Epsilon, Rho: RhoOfPure(b.Epsilon), Delta: b.Delta}, nil
	}
	rho, err := RhoOf(b.Epsilon, b.Delta/2)
	if err == nil && rho == 0 {
		err = bad("an epsilon that a delta of "+b.Delta.String()+" leaves something of", b.Epsilon.String())
	}
	return Cost{Rho: rho, Delta: b.Delta / 2}, err
}

// Run gives what a run costs that says how much epsilon it spends: under Laplace that
// epsilon; under Gaussian the rho that alone keeps to it. Its delta for groups is the same
// part of the budget's as that.
func (b Budget) Run(epsilon Epsilon) (Cost, error) {
	limit, err := b.Limit()
	if err != nil {
		return Cost{}, err
	}
	if epsilon <= 0 || epsilon > b.Epsilon {
		return Cost{}, verdict.Refuse("privacy.run", "an epsilon above 0 and at most "+b.Epsilon.String(), epsilon.String(), "ask for less: answers get more noise")
	}
	if b.Mechanism == Laplace {
		return Cost{Epsilon: epsilon, Rho: RhoOfPure(epsilon), Delta: part(limit.Delta, int64(epsilon), int64(b.Epsilon))}, nil
	}
	rho, err := RhoOf(epsilon, b.Delta/2)
	if err != nil {
		return Cost{}, err
	}
	if rho == 0 {
		return Cost{}, verdict.Refuse("privacy.run", "an epsilon that a delta of "+b.Delta.String()+" leaves something of", epsilon.String(), "ask for more")
	}
	return Cost{Rho: rho, Delta: part(limit.Delta, int64(rho), int64(limit.Rho))}, nil
}

// part gives d n/of, rounded down.
func part(d Delta, n, of int64) Delta {
	x := new(big.Int).Mul(big.NewInt(int64(d)), big.NewInt(n))
	return Delta(x.Quo(x, big.NewInt(of)).Int64())
}

// Spend gives what is spent after a cost, or refuses it: check "privacy.budget". It changes
// nothing; whoever keeps the books stores what it gives before anything is answered.
func (b Budget) Spend(spent, cost Cost) (Cost, error) {
	limit, err := b.Limit()
	if err != nil {
		return Cost{}, err
	}
	if err := cost.Validate(); err != nil {
		return Cost{}, err
	}
	if cost.Rho == 0 {
		return Cost{}, bad("a cost: every answer has one", cost.String())
	}
	after, err := spent.Plus(cost)
	if err != nil {
		return Cost{}, err
	}
	if b.Mechanism == Laplace && !after.Pure() {
		return Cost{}, verdict.Refuse("privacy.budget", "costs of laplace, since these books add up epsilons", cost.String()+" after "+spent.String(), "ask with laplace noise")
	}
	if b.Mechanism == Laplace && after.Epsilon > limit.Epsilon || b.Mechanism == Gaussian && after.Rho > limit.Rho || after.Delta > limit.Delta {
		return Cost{}, verdict.Refuse("privacy.budget", "at most "+b.left(limit, spent).String()+" more", cost.String(), "ask for less; a budget is refilled by its owner's officers only")
	}
	return after, nil
}

// CanSpend reports whether Spend would take the cost.
func (b Budget) CanSpend(spent, cost Cost) bool {
	_, err := b.Spend(spent, cost)
	return err == nil
}

// Left gives what can still be spent, in the numbers that the books add up.
func (b Budget) Left(spent Cost) (Cost, error) {
	limit, err := b.Limit()
	if err != nil {
		return Cost{}, err
	}
	return b.left(limit, spent), spent.Validate()
}

func (b Budget) left(limit, spent Cost) Cost {
	out := Cost{Rho: max(0, limit.Rho-spent.Rho), Delta: max(0, limit.Delta-spent.Delta)}
	if b.Mechanism == Laplace {
		out = Cost{Epsilon: max(0, limit.Epsilon-spent.Epsilon), Delta: out.Delta}
		out.Rho = RhoOfPure(out.Epsilon)
	}
	return out
}

// Told gives what was spent as an epsilon at the budget's delta, rounded up: what answers so
// far tell of any unit at most.
func (b Budget) Told(spent Cost) (Epsilon, error) {
	if err := b.Validate(); err != nil {
		return 0, err
	}
	if err := spent.Validate(); err != nil {
		return 0, err
	}
	if b.Mechanism == Laplace && spent.Pure() {
		return spent.Epsilon, nil
	}
	if b.Mechanism == Laplace {
		return 0, bad("costs of laplace", spent.String())
	}
	return EpsilonOf(spent.Rho, b.Delta/2)
}

func bad(expected, got string) error {
	return verdict.Misuse("privacy.number", expected, got, "")
}
