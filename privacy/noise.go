package privacy

import (
	"math/big"

	"strongroom.dev/wire"
)

// Noise is a distribution of whole numbers around 0. The zero Noise is none: it is right only
// for what no unit can change.
type Noise struct {
	mechanism wire.ID
	scale     *big.Rat // Laplace: b, Gaussian: sigma squared; nil: always 0
}

// NewNoise gives the least noise that keeps a number within its share of a cost. One unit
// changes the number by at most each in every group, in groups of them. Under Laplace share is
// an epsilon and the scale groups each / share; under Gaussian it is a rho and the variance
// groups each^2 / (2 share).
func NewNoise(mechanism wire.ID, groups int64, each *big.Int, share *big.Rat) (Noise, error) {
	switch {
	case mechanism != Laplace && mechanism != Gaussian:
		return Noise{}, bad("mechanism laplace or gaussian", string(mechanism))
	case groups < 1 || groups > MaxBound || each == nil || each.Sign() < 0 || each.BitLen() > maxSensitivityBits:
		return Noise{}, bad("from 1 to 1000000 groups and a sensitivity in range", "another")
	case share == nil || share.Sign() <= 0:
		return Noise{}, bad("a share above 0", "none")
	case each.Sign() == 0:
		return Noise{mechanism: mechanism}, nil
	}
	scale := new(big.Rat).SetInt(each)
	if mechanism == Gaussian {
		scale.Mul(scale, scale)
		scale.Quo(scale, big.NewRat(2, 1))
	}
	scale.Mul(scale, big.NewRat(groups, 1))
	return Noise{mechanism, scale.Quo(scale, share)}, nil
}

// maxSensitivityBits bounds what one unit changes: sums have 38 digits, squares 76.
const maxSensitivityBits = 320

// Scale gives the exact parameter: b of e^(-|x|/b) under Laplace, sigma squared of
// e^(-x^2/(2 sigma^2)) under Gaussian; 0 for none.
func (n Noise) Scale() *big.Rat {
	if n.scale == nil {
		return new(big.Rat)
	}
	return new(big.Rat).Set(n.scale)
}

// Draw draws from the distribution.
func (n Noise) Draw(s *Stream) *big.Int {
	switch {
	case n.scale == nil:
		return new(big.Int)
	case n.mechanism == Laplace:
		return s.laplace(n.scale)
	}
	return s.gaussian(n.scale)
}

// widest gives the larger of two noises of one mechanism: it keeps whatever either keeps.
func (n Noise) widest(other Noise) Noise {
	if n.scale == nil || other.scale != nil && other.scale.Cmp(n.scale) > 0 {
		return other
	}
	return n
}

// beyond gives the smallest whole t from 1 on with P(X >= t) at most chance, or a bound of it
// that is a little larger; at most maxThreshold, else false.
func (n Noise) beyond(chance *big.Rat) (int64, bool) {
	if n.scale == nil {
		return 1, true
	}
	if n.mechanism == Laplace {
		return n.beyondLaplace(realRat(chance))
	}
	return n.beyondGaussian(realRat(chance))
}

// maxThreshold is the largest group size that thresholds are made for: more than there are
// people.
const maxThreshold = 1e12

// beyondLaplace: P(X >= t) = q^t/(1+q), q = e^(-1/b), so t = b ln(1/(chance (1+q))).
func (n Noise) beyondLaplace(chance *big.Float) (int64, bool) {
	b := realRat(n.scale)
	q := exp(zero().Neg(zero().Quo(real(1), b)))
	t := ln(zero().Mul(chance, q.Add(q, real(1))))
	t.Mul(t.Neg(t), b)
	if t.Sign() <= 0 {
		return 1, true
	}
	up := ceil(t)
	if !up.IsInt64() || up.Int64() > maxThreshold {
		return 0, false
	}
	return max(1, up.Int64()), true
}

func (n Noise) beyondGaussian(chance *big.Float) (int64, bool) {
	high := int64(1)
	for n.tail(high).Cmp(chance) > 0 {
		if high *= 2; high > maxThreshold {
			return 0, false
		}
	}
	low := high / 2 // too small, or 0
	for high-low > 1 {
		if middle := low + (high-low)/2; n.tail(middle).Cmp(chance) > 0 {
			low = middle
		} else {
			high = middle
		}
	}
	return high, true
}

// tail bounds P(X >= t), t above 0, of a discrete Gaussian from above. The weights from t on
// are at most a geometric series of e^(-t/v), those of all numbers at least 1 and at least
// sigma sqrt(2 pi), by Poisson's summation.
func (n Noise) tail(t int64) *big.Float {
	v := realRat(n.scale)
	first := exp(zero().Neg(zero().Quo(zero().Mul(real(t), real(t)), zero().Mul(real(2), v))))
	series := exp(zero().Neg(zero().Quo(real(t), v)))
	all := zero().Sqrt(zero().Mul(constant(twoPiDigits), v))
	if all.Cmp(real(1)) < 0 {
		all = real(1)
	}
	out := first.Quo(first, all.Mul(all, series.Sub(real(1), series)))
	return out.Mul(out, zero().Add(real(1), slack()))
}
