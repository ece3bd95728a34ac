package privacy

import (
	"math/big"

	"strongroom.dev/verdict"
)

// Cell is one group with its exact numbers, as the data has them after clamping and limiting.
type Cell struct {
	// Key is what [CellKey] gives of the group's values.
	Key []byte
	// Units are how many units of each input the group has, in the order of the query's inputs.
	Units []int64
	// Values are the group's numbers for each output, in the order of the query's outputs.
	Values []Value
}

// Value is what an output is made of. Which members it needs is the kind's matter.
type Value struct {
	// Count is how many units, rows or values there are: all kinds but Quantile.
	Count int64
	// Sum is of the values, Squares of their squares, in the last place of their type: Sum and
	// Mean need Sum, Variance both.
	Sum, Squares *big.Int
	// Below and Above are for a Quantile: how many values are smaller and larger than each of
	// [Output.Points].
	Below, Above []int64
}

// Points gives the values that a quantile may have, in the last place of their type.
func (o Output) Points() []*big.Int {
	points := make([]*big.Int, 0, o.Candidates)
	width := o.width()
	for i := range o.Candidates {
		x := times(width, i)
		x.Quo(x, big.NewInt(o.Candidates-1))
		points = append(points, x.Add(x, o.Min))
	}
	return points
}

// Release gives a group's answer: for each output its number in the last place of the values'
// type, nil as a whole where the group doesn't show. The seed is the run's. Sums and counts
// may be negative: they are off by as much below as above, on average. Means lie within the
// values' bounds, and variances are what such values can have.
//
// It must be called for every group that the data has, and its refusal is no answer: it says
// that the numbers can't be what the query's bounds leave of any data.
func (p *Plan) Release(seed [32]byte, cell Cell) ([]*big.Rat, error) {
	if seed == [32]byte{} {
		return nil, verdict.Misuse("privacy.seed", "the run's secret", "none", "derive it from every owner's")
	}
	if err := p.check(cell); err != nil {
		return nil, err
	}
	var shared *big.Int
	for i, s := range p.selects {
		count := big.NewInt(cell.Units[i])
		count.Add(count, s.noise.Draw(NewStream(seed, string(s.input.Name), cell.Key, "select")))
		if cell.Units[i] < s.input.MinGroup || count.Cmp(big.NewInt(s.least)) < 0 {
			return nil, nil
		}
		shared = count
	}
	answer := make([]*big.Rat, 0, len(p.outputs))
	for i, o := range p.outputs {
		if o.shared {
			answer = append(answer, new(big.Rat).SetInt(shared))
			continue
		}
		answer = append(answer, o.release(seed, cell.Key, cell.Values[i]))
	}
	return answer, nil
}

// check refuses numbers that no data within the query's bounds has: somebody forgot to clamp
// or to limit, and the noise would not be enough.
func (p *Plan) check(cell Cell) error {
	if len(cell.Units) != len(p.query.Inputs) || len(cell.Values) != len(p.outputs) {
		return broken("units of every input, values of every output", "others")
	}
	rows := new(big.Int) // at most
	for i, in := range p.query.Inputs {
		if cell.Units[i] < 0 {
			return broken("no negative number of units", "one")
		}
		rows.Add(rows, times(big.NewInt(cell.Units[i]), in.MaxRows))
	}
	for i, o := range p.outputs {
		if !o.possible(cell.Values[i], rows) {
			return broken("numbers that clamped values of so many units can have", "others in column "+verdict.Short(o.Column))
		}
		if o.shared && cell.Values[i].Count != cell.Units[0] {
			return broken("as many units in column "+verdict.Short(o.Column)+" as in the group", "another number")
		}
	}
	return nil
}

func broken(expected, got string) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "privacy.bounds", Expected: expected, Got: got}
}

// possible reports whether values within the bounds can have these numbers.
func (o output) possible(v Value, rows *big.Int) bool {
	if o.Kind == Quantile {
		return o.possibleRanks(v, rows)
	}
	n := big.NewInt(v.Count)
	if v.Count < 0 || n.Cmp(rows) > 0 {
		return false
	}
	if o.Kind == Units || o.Kind == Rows {
		return true
	}
	if v.Sum == nil || v.Sum.Cmp(new(big.Int).Mul(n, o.Min)) < 0 || v.Sum.Cmp(new(big.Int).Mul(n, o.Max)) > 0 {
		return false
	}
	if o.Kind != Variance {
		return true
	}
	if v.Squares == nil {
		return false
	}
	_, y2 := o.centre(v)
	width := o.width()
	most := width.Mul(width, width)
	return y2.Sign() >= 0 && y2.Cmp(most.Mul(most, n)) <= 0
}

func (o output) possibleRanks(v Value, rows *big.Int) bool {
	if int64(len(v.Below)) != o.Candidates || int64(len(v.Above)) != o.Candidates || v.Below[0] != 0 || v.Above[o.Candidates-1] != 0 {
		return false
	}
	most := rows
	for i := range v.Below {
		if v.Below[i] < 0 || v.Above[i] < 0 || i > 0 && (v.Below[i] < v.Below[i-1] || v.Above[i] > v.Above[i-1]) {
			return false
		}
		if n := new(big.Int).Add(big.NewInt(v.Below[i]), big.NewInt(v.Above[i])); n.Cmp(most) > 0 {
			return false
		}
	}
	return true
}

// centre gives the sums of y and y^2, y = 2x - Min - Max: from -width to width.
func (o output) centre(v Value) (y, y2 *big.Int) {
	n, middle := big.NewInt(v.Count), new(big.Int).Add(o.Min, o.Max)
	y = new(big.Int).Lsh(v.Sum, 1)
	y.Sub(y, new(big.Int).Mul(n, middle))
	if v.Squares == nil {
		return y, nil
	}
	// y^2 = 4x^2 - 4 middle x + middle^2
	y2 = new(big.Int).Mul(middle, v.Sum)
	y2.Sub(v.Squares, y2).Lsh(y2, 2)
	return y, y2.Add(y2, n.Mul(n, middle).Mul(n, middle))
}

func (o output) release(seed [32]byte, key []byte, v Value) *big.Rat {
	if o.Kind == Quantile {
		return o.quantile(NewStream(seed, o.Column, key, "quantile"), v)
	}
	drawn := make([]*big.Int, 0, len(o.noises))
	for _, n := range o.noises {
		drawn = append(drawn, n.Draw(NewStream(seed, o.Column, key, n.purpose)))
	}
	n := big.NewInt(v.Count)
	switch o.Kind {
	case Units, Rows:
		return new(big.Rat).SetInt(n.Add(n, drawn[0]))
	case Sum:
		return new(big.Rat).SetInt(drawn[0].Add(drawn[0], v.Sum))
	}
	y, y2 := o.centre(v)
	count := new(big.Int).Add(n, drawn[0])
	if count.Sign() <= 0 {
		count.SetInt64(1)
	}
	width := new(big.Rat).SetInt(o.width())
	mean := clamp(new(big.Rat).SetFrac(y.Add(y, drawn[1]), count), new(big.Rat).Neg(width), width)
	if o.Kind == Mean {
		middle := new(big.Rat).SetInt(new(big.Int).Add(o.Min, o.Max))
		return mean.Quo(mean.Add(mean, middle), big.NewRat(2, 1))
	}
	z := new(big.Rat).SetInt(drawn[2].Add(drawn[2], o.squares(v, y2)))
	square := new(big.Rat).Mul(width, width)
	z.Quo(z, new(big.Rat).SetInt(count))
	z.Quo(z.Add(z, square), big.NewRat(2, 1))
	z.Sub(clamp(z, new(big.Rat), square), mean.Mul(mean, mean))
	return clamp(z.Quo(z, big.NewRat(4, 1)), new(big.Rat), square.Quo(square, big.NewRat(4, 1)))
}

// squares gives the sum of z = 2y^2 - width^2, from -width^2 to width^2: half of what y^2
// changes by, in its own unit.
func (o output) squares(v Value, y2 *big.Int) *big.Int {
	width := o.width()
	all := times(width.Mul(width, width), v.Count)
	return all.Sub(new(big.Int).Lsh(y2, 1), all)
}

// quantile chooses a point whose rank is near the one asked for.
func (o output) quantile(s *Stream, v Value) *big.Rat {
	return new(big.Rat).SetInt(o.Points()[s.choose(o.scores(v), o.rate)])
}

// scores says how far the rank of each point is from the one asked for, times In.
func (o output) scores(v Value) []*big.Int {
	scores := make([]*big.Int, 0, o.Candidates)
	for i := range v.Below {
		score := times(big.NewInt(v.Below[i]), o.In-o.Of)
		scores = append(scores, score.Sub(score, times(big.NewInt(v.Above[i]), o.Of)).Abs(score))
	}
	return scores
}

func clamp(x, low, high *big.Rat) *big.Rat {
	if x.Cmp(low) < 0 {
		return x.Set(low)
	}
	if x.Cmp(high) > 0 {
		return x.Set(high)
	}
	return x
}
