package privacy

import "math/big"

// Logarithms and exponentials in software, so that every machine computes the same cost for
// the same epsilon: the processor's own differ in their last bits. Their errors are far below
// slack, which every result is moved by, against who spends.
const precision = 192

// ln2 to 100 digits.
const ln2Digits = "0.6931471805599453094172321214581765680755001343602552541206800094933936219696947156058633269964186875"

// twoPi to 70 digits.
const twoPiDigits = "6.283185307179586476925286766559005768394338798750211641949889184615632"

func real(x int64) *big.Float { return new(big.Float).SetPrec(precision).SetInt64(x) }

func realRat(x *big.Rat) *big.Float { return new(big.Float).SetPrec(precision).SetRat(x) }

func constant(digits string) *big.Float {
	x, _, err := big.ParseFloat(digits, 10, precision, big.ToNearestEven)
	if err != nil { // our own digits
		panic("privacy: " + err.Error())
	}
	return x
}

// slack is 2^-90: more than any error of the functions below where their results are small
// numbers.
func slack() *big.Float { return new(big.Float).SetMantExp(real(1), -90) }

func zero() *big.Float { return new(big.Float).SetPrec(precision) }

func tiny(term *big.Float) bool { return term.Sign() == 0 || term.MantExp(nil) < -precision-16 }

// ln gives the natural logarithm of x above 0.
func ln(x *big.Float) *big.Float {
	m := zero()
	e := x.MantExp(m) // x = m 2^e, m from 1/2 to 1
	if m.Cmp(big.NewFloat(0.7071)) < 0 {
		m.Mul(m, real(2))
		e--
	}
	// ln m = 2 artanh z, z = (m-1)/(m+1), below 0.18 either way.
	z := zero().Quo(zero().Sub(m, real(1)), zero().Add(m, real(1)))
	square, power, sum := zero().Mul(z, z), zero().Set(z), zero()
	for k := int64(1); !tiny(power); k += 2 {
		sum.Add(sum, zero().Quo(power, real(k)))
		power.Mul(power, square)
	}
	sum.Mul(sum, real(2))
	return sum.Add(sum, zero().Mul(constant(ln2Digits), real(int64(e))))
}

// exp gives e^x; below -10^6 that of -10^6, which is more.
func exp(x *big.Float) *big.Float {
	if x.Cmp(real(-1e6)) < 0 {
		x = real(-1e6)
	}
	quotient, _ := zero().Quo(x, constant(ln2Digits)).Int64()
	r := zero().Sub(x, zero().Mul(constant(ln2Digits), real(quotient)))
	const halvings = 8
	if r.Sign() != 0 {
		r.SetMantExp(r, -halvings)
	}
	sum, term := real(1), real(1)
	for k := int64(1); ; k++ {
		term.Mul(term, r)
		term.Quo(term, real(k))
		if tiny(term) {
			break
		}
		sum.Add(sum, term)
	}
	for range halvings {
		sum.Mul(sum, sum)
	}
	return sum.SetMantExp(sum, int(quotient))
}

// floor and ceil give whole numbers on the safe side of x.
func floor(x *big.Float) *big.Int {
	return floorExact(zero().Sub(x, margin(x)))
}

func ceil(x *big.Float) *big.Int {
	up := floorExact(zero().Neg(zero().Add(x, margin(x))))
	return up.Neg(up)
}

func margin(x *big.Float) *big.Float {
	m := zero().Abs(x)
	return m.Mul(m.Add(m, real(1)), slack())
}

func floorExact(x *big.Float) *big.Int {
	n, accuracy := x.Int(nil)  // towards zero
	if accuracy == big.Above { // x was negative and not whole
		n.Sub(n, big.NewInt(1))
	}
	return n
}
