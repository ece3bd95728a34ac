package privacy

import "math/big"

// The samplers of Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential
// Privacy" (2020): exact, on whole numbers and fractions alone, so that what a processor does
// to the last bits of a logarithm can't give a value away (Mironov 2012). How long they take
// depends on what they draw: a room pads the time at which results leave (R19).

// chance is true with probability n/of; n is from 0 to of.
func (s *Stream) chance(n, of *big.Int) bool {
	return s.below(of).Cmp(n) < 0
}

// decay is true with probability e^(-n/of), n at least 0 (algorithm 1).
func (s *Stream) decay(n, of *big.Int) bool {
	whole, rest := new(big.Int).QuoRem(n, of, new(big.Int))
	if whole.IsUint64() {
		for k := whole.Uint64(); k > 0; k-- {
			if !s.decayOne() {
				return false
			}
		}
	} else {
		// It would be true less than once in e^(2^64): the trials end long before.
		for s.decayOne() {
		}
		return false
	}
	if rest.Sign() == 0 {
		return true
	}
	if of.BitLen() <= 48 {
		return s.decaySmall(rest.Uint64(), of.Uint64())
	}
	for k := int64(1); ; k++ {
		if !s.chance(rest, new(big.Int).Mul(of, big.NewInt(k))) {
			return k%2 == 1
		}
	}
}

// decaySmall is decay for n below of, of below 2^48: k of stays below 2^64, since a run of
// 65,536 trials has no chance to happen.
func (s *Stream) decaySmall(n, of uint64) bool {
	for k := uint64(1); ; k++ {
		if s.below64(k*of) >= n {
			return k%2 == 1
		}
	}
}

// decayOne is true with probability 1/e.
func (s *Stream) decayOne() bool { return s.decaySmall(1, 1) }

// laplace draws x with probability in proportion to e^(-|x| s/t), t and s above 0
// (algorithm 2).
func (s *Stream) laplace(scale *big.Rat) *big.Int {
	t, d := scale.Num(), scale.Denom()
	for {
		u := s.below(t)
		if !s.decay(u, t) {
			continue
		}
		v := int64(0)
		for s.decayOne() {
			v++
		}
		x := new(big.Int).Mul(t, big.NewInt(v))
		x.Quo(x.Add(x, u), d)
		negative := s.below64(2) == 1
		if negative && x.Sign() == 0 {
			continue // else 0 would be twice as likely
		}
		if negative {
			x.Neg(x)
		}
		return x
	}
}

// gaussian draws x with probability in proportion to e^(-x^2/(2 variance)) (algorithm 3).
func (s *Stream) gaussian(variance *big.Rat) *big.Int {
	// t = floor(sigma) + 1; the Laplace distribution of that scale lies over the Gaussian one.
	t := new(big.Int).Quo(variance.Num(), variance.Denom())
	t.Sqrt(t).Add(t, big.NewInt(1))
	scale := new(big.Rat).SetInt(t)
	// The exponent is (|y| - v/t)^2/(2v) = (|y| t b - a)^2 / (2 a b t^2), v = a/b.
	a, b := variance.Num(), variance.Denom()
	tb := new(big.Int).Mul(t, b)
	of := new(big.Int).Mul(t, t)
	of.Mul(of, a).Mul(of, b).Lsh(of, 1)
	for {
		y := s.laplace(scale)
		n := new(big.Int).Abs(y)
		n.Mul(n, tb).Sub(n, a)
		if s.decay(n.Mul(n, n), of) {
			return y
		}
	}
}

// choose draws one of the candidates with probability in proportion to e^(-score rate): the
// exponential mechanism (McSherry and Talwar 2007), by drawing one and keeping it with the
// chance its score has beside the best. It draws as often as there are candidates at most, on
// average. Scores are at least 0 and small ones good.
func (s *Stream) choose(scores []*big.Int, rate *big.Rat) int {
	least := scores[0]
	for _, score := range scores[1:] {
		if score.Cmp(least) < 0 {
			least = score
		}
	}
	for {
		i := int(s.below64(uint64(len(scores))))
		n := new(big.Int).Sub(scores[i], least)
		if s.decay(n.Mul(n, rate.Num()), rate.Denom()) {
			return i
		}
	}
}
