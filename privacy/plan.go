package privacy

import (
	"math/big"

	"strongroom.dev/verdict"
)

// Plan is a query with its noise: how much each number gets, and below which size groups
// don't show. It is made of the query alone and holds nothing of the data.
type Plan struct {
	query   Query
	outputs []output
	selects []selection
}

// output is an Output with the noise of its parts.
type output struct {
	Output
	noises []noisy
	// rate is that of a quantile: e^(-score rate).
	rate *big.Rat
	// shared: the number is the noisy count that selects groups, which costs once.
	shared bool
}

// noisy is one number that gets noise.
type noisy struct {
	purpose string
	Noise
}

// selection hides groups with few units of one input.
type selection struct {
	input Input
	noise Noise
	// least is the smallest number of units, noise added, of a group that shows.
	least int64
}

// Plan divides the cost of each input among everything that its units can change, by weights,
// and gives every number the largest noise that any input needs.
func (q Query) Plan() (*Plan, error) {
	if err := q.validate(); err != nil {
		return nil, err
	}
	p := &Plan{query: q}
	shared := q.shared()
	for i, out := range q.Outputs {
		planned, err := q.planOutput(out)
		if err != nil {
			return nil, err
		}
		planned.shared = i == shared
		p.outputs = append(p.outputs, planned)
	}
	if q.Known {
		return p, nil
	}
	for _, in := range q.Inputs {
		s, err := q.planSelection(in)
		if err != nil {
			return nil, err
		}
		p.selects = append(p.selects, s)
	}
	return p, nil
}

// shared gives the output that is the count which selects groups, -1 if none is: there is one
// input, and its units are asked for.
func (q Query) shared() int {
	if q.Known || len(q.Inputs) > 1 {
		return -1
	}
	for i, out := range q.Outputs {
		if out.Kind == Units {
			return i
		}
	}
	return -1
}

func (o Output) weight() int64 { return max(1, o.Weight) }

// selectionWeight is the weight of one input's selection.
func (q Query) selectionWeight() int64 {
	if i := q.shared(); i >= 0 {
		return q.Outputs[i].weight()
	}
	return 1
}

// touches reports whether a unit of one input can change how many units of another a group
// has: not if their rows stand in one table.
func touches(in, other Input) bool { return in.Name == other.Name || in.Table != other.Table }

// selections gives how many inputs' counts a unit of the input can change.
func (q Query) selections(in Input) (n int64) {
	for _, other := range q.Inputs {
		if !q.Known && touches(in, other) {
			n++
		}
	}
	return n
}

// share gives what an input spends on something of a weight: of its epsilon under Laplace, of
// its rho under Gaussian.
func (q Query) share(in Input, weight int64) *big.Rat {
	all := q.selections(in) * q.selectionWeight()
	for i, out := range q.Outputs {
		if i != q.shared() {
			all += out.weight()
		}
	}
	share := big.NewRat(int64(in.Cost.Epsilon), int64(OneEpsilon))
	if q.Mechanism == Gaussian {
		share = big.NewRat(int64(in.Cost.Rho), int64(OneRho))
	}
	return share.Mul(share, big.NewRat(weight, all))
}

// noise gives the noise of a number that gets 1 in parts of a weight; each says by how much a
// unit of an input changes it in one group, before stability.
func (q Query) noise(weight, parts int64, each func(Input) *big.Int) (Noise, error) {
	var widest Noise
	for _, in := range q.Inputs {
		change := each(in)
		if change == nil {
			continue
		}
		share := q.share(in, weight)
		n, err := NewNoise(q.Mechanism, in.MaxGroups, times(change, in.Stability), share.Quo(share, big.NewRat(parts, 1)))
		if err != nil {
			return Noise{}, err
		}
		widest = widest.widest(n)
	}
	return widest, nil
}

func times(n *big.Int, by int64) *big.Int { return new(big.Int).Mul(n, big.NewInt(by)) }

// unitsChanged gives by how much a unit of an input changes how many units of a table a group has.
func unitsChanged(in Input, same bool) *big.Int {
	if same {
		return big.NewInt(1)
	}
	return big.NewInt(in.MaxRows)
}

// planOutput gives an output's noise; spec/privacy.md, section 5, has the sensitivities.
func (q Query) planOutput(out Output) (output, error) {
	planned := output{Output: out}
	rows := func(each *big.Int) func(Input) *big.Int {
		return func(in Input) *big.Int { return times(each, in.MaxRows) }
	}
	one := rows(big.NewInt(1))
	var parts []piece
	switch out.Kind {
	case Units:
		parts = []piece{{"units", func(in Input) *big.Int { return unitsChanged(in, in.Table == out.Table) }}}
	case Rows:
		parts = []piece{{"rows", one}}
	case Sum:
		most := new(big.Int).Abs(out.Min)
		if out.Max.CmpAbs(most) > 0 {
			most.Abs(out.Max)
		}
		parts = []piece{{"sum", rows(most)}}
	case Mean:
		parts = []piece{{"rows", one}, {"sum", rows(out.width())}}
	case Variance:
		width := out.width()
		parts = []piece{{"rows", one}, {"sum", rows(width)}, {"squares", rows(new(big.Int).Mul(width, width))}}
	case Quantile:
		planned.rate = q.rate(out)
		return planned, nil
	}
	for _, p := range parts {
		n, err := q.noise(out.weight(), int64(len(parts)), p.each)
		if err != nil {
			return output{}, err
		}
		planned.noises = append(planned.noises, noisy{p.purpose, n})
	}
	return planned, nil
}

// piece is a part of an output with its sensitivity.
type piece struct {
	purpose string
	each    func(Input) *big.Int
}

func (o Output) width() *big.Int { return new(big.Int).Sub(o.Max, o.Min) }

// rate gives that of the exponential mechanism for a quantile: a share of epsilon e divided
// among MaxGroups, over twice the score's sensitivity. Under Gaussian e is the largest with
// groups e^2/8 within the share: the mechanism's range is bounded (Cesar and Rogers 2021).
func (q Query) rate(out Output) *big.Rat {
	var least *big.Rat
	for _, in := range q.Inputs {
		e := q.share(in, out.weight())
		e.Quo(e, big.NewRat(in.MaxGroups, 1))
		if q.Mechanism == Gaussian {
			e = root(e.Mul(e, big.NewRat(8, 1)))
		}
		change := times(big.NewInt(max(out.Of, out.In-out.Of)), 2*in.MaxRows)
		e.Quo(e, new(big.Rat).SetInt(times(change, in.Stability)))
		if least == nil || e.Cmp(least) < 0 {
			least = e
		}
	}
	return least
}

// root gives a square root rounded down to a multiple of 10^-12.
func root(x *big.Rat) *big.Rat {
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(24), nil)
	n := new(big.Int).Mul(x.Num(), scale)
	n.Quo(n, x.Denom())
	return new(big.Rat).SetFrac(n.Sqrt(n), big.NewInt(1e12))
}

// planSelection gives the threshold of one input's groups. Where a unit's coming makes a group
// reach MinGroup, that the group then shows has a probability of at most the input's delta
// over all groups and all counts that the unit changes.
func (q Query) planSelection(in Input) (selection, error) {
	n, err := q.noise(q.selectionWeight(), 1, func(other Input) *big.Int {
		if !touches(other, in) {
			return nil
		}
		return unitsChanged(other, other.Table == in.Table)
	})
	if err != nil {
		return selection{}, err
	}
	s := selection{input: in, noise: n}
	for _, other := range q.Inputs {
		if !touches(other, in) {
			continue
		}
		change := times(unitsChanged(other, other.Table == in.Table), other.Stability).Int64()
		// A unit changes as many groups as it is in, and where rows drive others out more.
		chances := new(big.Int).Mul(big.NewInt(other.MaxGroups*other.Stability), big.NewInt(q.selections(other)))
		chance := new(big.Rat).SetFrac(big.NewInt(int64(other.Cost.Delta)), chances.Mul(chances, big.NewInt(oneDelta)))
		t, possible := n.beyond(chance)
		if !possible {
			return selection{}, verdict.Refuse("privacy.threshold", "an epsilon and a delta with which a group of people can show", other.Cost.String(), "ask for more, or for fewer outputs")
		}
		// From MinGroup-1 units the count gets to MinGroup-1+change at most.
		s.least = max(s.least, in.MinGroup-1+change+t)
	}
	return s, nil
}
