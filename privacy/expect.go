package privacy

import (
	"math"
	"math/big"

	"strongroom.dev/wire"
)

// Expected is how far an output's numbers will be off, for people who choose an epsilon. It is
// computed of the query alone.
type Expected struct {
	Column string
	Kind   Kind
	// Deviation is the standard deviation of the noise, in the last place of the values' type.
	// Of means it is an upper bound for a group of as many rows as was asked about, and so it is of
	// variances; of quantiles it is 0.
	Deviation float64
	// Within is how far off 95 of 100 numbers are at most, in the same unit. Of quantiles it is
	// in rows: how far from the rank asked for.
	Within float64
}

// Hidden is what a plan does with small groups of one input's units.
type Hidden struct {
	Input wire.ID
	// Least is the smallest number of units, noise added, of a group that shows.
	Least int64
	// Sure is how many units a group needs so that 95 of 100 such groups show.
	Sure int64
}

// Expect says how far answers will be off for groups of so many rows with a value.
func (p *Plan) Expect(rows int64) []Expected {
	n := float64(max(rows, 1))
	all := make([]Expected, 0, len(p.outputs))
	for _, o := range p.outputs {
		e := Expected{Column: o.Column, Kind: o.Kind}
		switch {
		case o.shared:
			e.Deviation, e.Within = p.selects[0].noise.deviation(), p.selects[0].noise.within()
		case o.Kind == Quantile:
			e.Within = o.ranks()
		case o.Kind == Mean:
			e.Deviation = math.Min(o.meanDeviation(n), o.widthFloat()/2)
			e.Within = math.Min(1.96*o.meanDeviation(n), o.widthFloat())
		case o.Kind == Variance:
			d := o.varianceDeviation(n)
			most := o.widthFloat() * o.widthFloat() / 4
			e.Deviation, e.Within = math.Min(d, most), math.Min(1.96*d, most)
		default:
			e.Deviation, e.Within = o.noises[0].deviation(), o.noises[0].within()
		}
		all = append(all, e)
	}
	return all
}

// Hides says which groups don't show: nothing where the groups are the query's own.
func (p *Plan) Hides() []Hidden {
	all := make([]Hidden, 0, len(p.selects))
	for _, s := range p.selects {
		all = append(all, Hidden{s.input.Name, s.least, s.least + int64(math.Ceil(s.noise.within()))})
	}
	return all
}

func float(x *big.Rat) float64 {
	f, _ := x.Float64()
	return f
}

// deviation is the standard deviation of a noise.
func (n Noise) deviation() float64 {
	if n.scale == nil {
		return 0
	}
	scale := float(n.scale)
	if n.mechanism == Gaussian {
		return math.Sqrt(scale) // a little less, where it is below 1
	}
	// The variance is 2q/(1-q)^2 with q = e^(-1/b).
	return math.Sqrt(2*math.Exp(-1/scale)) / -math.Expm1(-1/scale)
}

// within is the smallest t with P(|X| > t) at most 1/20, or a little more.
func (n Noise) within() float64 {
	t, possible := n.beyond(big.NewRat(1, 40))
	switch {
	case possible:
		return float64(t - 1)
	case n.mechanism == Laplace:
		return float(n.scale) * math.Log(20)
	}
	return 1.96 * n.deviation()
}

func (o output) widthFloat() float64 {
	return float(new(big.Rat).SetInt(o.width()))
}

// meanDeviation bounds that of (Y+s)/(2(n+c)): s/2n from the sum, and the mean's distance from
// the middle, at most half the width, times c/n from the count.
func (o output) meanDeviation(n float64) float64 {
	return math.Hypot(o.noises[1].deviation()/2, o.widthFloat()/2*o.noises[0].deviation()) / n
}

// varianceDeviation bounds that of Z/8N - (Y/2N)^2 to first order, Z the squares' sum: its
// derivatives are at most 1/8n by Z, w/2n by Y and 3w^2/8n by N.
func (o output) varianceDeviation(n float64) float64 {
	w := o.widthFloat()
	values := math.Hypot(o.noises[2].deviation()/8, w/2*o.noises[1].deviation())
	return math.Hypot(values, 3*w*w/8*o.noises[0].deviation()) / n
}

// ranks bounds the score of 95 of 100 choices (McSherry and Talwar 2007), in rows.
func (o output) ranks() float64 {
	return math.Log(20*float64(o.Candidates)) / (float(o.rate) * float64(o.In))
}
