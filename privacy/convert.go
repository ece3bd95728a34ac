package privacy

import "math/big"

// The orders at which a bound is tried: alpha = 1 + (1024+m)/1024 * 2^e, m from 0 to 1023,
// e from -12 to 39. Every order gives a valid bound; between neighbours it hardly moves.
const (
	orderSteps  = 1024
	orderLowest = -12
	orderCount  = 52 * orderSteps
)

// order gives alpha-1.
func order(j int) *big.Float {
	x := real(int64(orderSteps + j%orderSteps))
	return x.SetMantExp(x, j/orderSteps+orderLowest-10)
}

// best gives the largest value of a function of the order that rises, then falls.
func best(f func(j int) *big.Float) *big.Float {
	low, high := 0, orderCount-1
	for high-low > 2 {
		a, b := low+(high-low)/3, high-(high-low)/3
		if f(a).Cmp(f(b)) < 0 {
			low = a
		} else {
			high = b
		}
	}
	most := f(low)
	for j := low + 1; j <= high; j++ {
		if v := f(j); v.Cmp(most) > 0 {
			most = v
		}
	}
	return most
}

// atOrder gives ln(1/(alpha delta))/(alpha-1) + ln(1-1/alpha) (Canonne, Kamath and Steinke
// 2020, section 2.3), and alpha.
func atOrder(j int, delta Delta) (loss, alpha *big.Float) {
	minus := order(j)
	alpha = zero().Add(minus, real(1))
	d := zero().Quo(real(int64(delta)), real(oneDelta))
	loss = zero().Quo(ln(zero().Mul(alpha, d)), minus)
	return loss.Sub(ln(zero().Quo(minus, alpha)), loss), alpha
}

// EpsilonOf gives an epsilon that rho-zCDP keeps to but for probability delta, which is above
// 0: the smallest that the bound of Canonne, Kamath and Steinke gives, rounded up. It may be
// more than [MaxEpsilon].
func EpsilonOf(rho Rho, delta Delta) (Epsilon, error) {
	if rho < 0 || rho > maxRho || delta <= 0 || int64(delta) >= oneDelta {
		return 0, bad("a rho of at most "+maxRho.String()+" and a delta above 0 and below 1", rho.String()+" and "+delta.String())
	}
	r := zero().Quo(real(int64(rho)), real(int64(OneRho)))
	loss := best(func(j int) *big.Float {
		loss, alpha := atOrder(j, delta)
		return loss.Neg(loss.Add(loss, alpha.Mul(alpha, r)))
	})
	loss.Neg(loss)
	if rho == 0 || loss.Sign() <= 0 {
		return 0, nil
	}
	return Epsilon(ceil(loss.Mul(loss, real(int64(OneEpsilon)))).Int64()), nil
}

// maxRho keeps all sums and epsilons within 63 bits.
const maxRho = 100_000 * OneRho

// RhoOf gives the most rho that keeps to epsilon but for probability delta, rounded down: 0
// where epsilon is too small for any.
func RhoOf(epsilon Epsilon, delta Delta) (Rho, error) {
	if epsilon <= 0 || epsilon > MaxEpsilon || delta <= 0 || int64(delta) >= oneDelta {
		return 0, bad("an epsilon above 0 and at most "+MaxEpsilon.String()+" and a delta above 0 and below 1", epsilon.String()+" and "+delta.String())
	}
	e := zero().Quo(real(int64(epsilon)), real(int64(OneEpsilon)))
	most := best(func(j int) *big.Float {
		loss, alpha := atOrder(j, delta)
		return loss.Quo(loss.Sub(e, loss), alpha)
	})
	if most.Sign() <= 0 {
		return 0, nil
	}
	rho := Rho(floor(most.Mul(most, real(int64(OneRho)))).Int64())
	return max(rho, 0), nil
}

// RhoOfPure gives what a mechanism of pure epsilon costs, epsilon tanh(epsilon/2), rounded up:
// the least that holds for every such mechanism (spec/privacy.md, section 7). Epsilon is at
// most [MaxEpsilon]; what is not above 0 costs nothing, and is no mechanism's.
func RhoOfPure(epsilon Epsilon) Rho {
	if epsilon <= 0 {
		return 0
	}
	epsilon = min(epsilon, MaxEpsilon)
	e := zero().Quo(real(int64(epsilon)), real(int64(OneEpsilon)))
	q := exp(zero().Neg(e)) // tanh(e/2) = (1-q)/(1+q)
	rho := zero().Quo(zero().Sub(real(1), q), zero().Add(real(1), q))
	up := ceil(rho.Mul(rho.Mul(rho, e), real(int64(OneRho)))).Int64()
	return Rho(min(up, int64(epsilon)*(int64(OneRho)/int64(OneEpsilon)))) // tanh is below 1
}
