package privacy

import "math/big"

// What tests of the arithmetic and of the whole loss need to see.

func Ln(x *big.Float) *big.Float  { return ln(x) }
func Exp(x *big.Float) *big.Float { return exp(x) }
func LN2() *big.Float             { return constant(ln2Digits) }
func TwoPi() *big.Float           { return constant(twoPiDigits) }
func Floor(x *big.Float) *big.Int { return floor(x) }
func Ceil(x *big.Float) *big.Int  { return ceil(x) }

func (s *Stream) Below(n *big.Int) *big.Int                { return s.below(n) }
func (s *Stream) Decay(n, of *big.Int) bool                { return s.decay(n, of) }
func (s *Stream) Laplace(b *big.Rat) *big.Int              { return s.laplace(b) }
func (s *Stream) Gaussian(v *big.Rat) *big.Int             { return s.gaussian(v) }
func (s *Stream) Choose(scores []*big.Int, r *big.Rat) int { return s.choose(scores, r) }
func (n Noise) Beyond(chance *big.Rat) (int64, bool)       { return n.beyond(chance) }
func (p *Plan) Threshold(i int) int64                      { return p.selects[i].least }
func (p *Plan) SelectNoise(i int) Noise                    { return p.selects[i].noise }
func (p *Plan) Shared(i int) bool                          { return p.outputs[i].shared }
func (p *Plan) Rate(i int) *big.Rat                        { return p.outputs[i].rate }
func (p *Plan) Noises(i int) (all []Noise) {
	for _, n := range p.outputs[i].noises {
		all = append(all, n.Noise)
	}
	return all
}

// Exact gives what an output's noises are added to, or a quantile's scores.
func (p *Plan) Exact(i int, v Value) []*big.Int {
	o := p.outputs[i]
	n := big.NewInt(v.Count)
	switch o.Kind {
	case Units, Rows:
		return []*big.Int{n}
	case Sum:
		return []*big.Int{v.Sum}
	case Quantile:
		return o.scores(v)
	}
	y, y2 := o.centre(v)
	if o.Kind == Mean {
		return []*big.Int{n, y}
	}
	return []*big.Int{n, y, o.squares(v, y2)}
}
