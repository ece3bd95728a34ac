package privacy_test

import (
	"math"
	"math/big"
	"testing"

	"strongroom.dev/privacy"
)

func close(a, b *big.Float, bits int) bool {
	d := new(big.Float).Sub(a, b)
	if d.Sign() == 0 {
		return true
	}
	scale := new(big.Float).Abs(b)
	scale.Add(scale, big.NewFloat(1))
	return d.Quo(d, scale).MantExp(nil) < -bits
}

func TestReals(t *testing.T) {
	for _, x := range []float64{1e-30, 1e-18, 0.001, 0.3, 0.5, 0.7071, 0.70711, 1, 1.5, 2, 3, 10, 1e6, 1e18, 1e300} {
		f := new(big.Float).SetPrec(192).SetFloat64(x)
		l := privacy.Ln(f)
		if got, _ := l.Float64(); math.Abs(got-math.Log(x)) > 1e-14*(1+math.Abs(got)) {
			t.Errorf("ln %g = %g", x, got)
		}
		back := privacy.Exp(l)
		if !close(back.Quo(back, f), big.NewFloat(1), 150) {
			t.Errorf("e^ln %g is off by %v", x, back)
		}
	}
	for _, x := range []float64{-1000, -50, -1, -0.1, 0, 1e-9, 0.1, 1, 20} {
		if got, _ := privacy.Exp(big.NewFloat(x)).Float64(); math.Abs(got-math.Exp(x)) > 1e-13*math.Exp(x) {
			t.Errorf("e^%g = %g", x, got)
		}
	}
	if !close(privacy.Ln(big.NewFloat(2)), privacy.LN2(), 180) {
		t.Error("ln 2 is not the constant's")
	}
	// e^(-10^9) is taken as e^(-10^6): more, and above 0.
	if got := privacy.Exp(big.NewFloat(-1e9)); got.Sign() <= 0 {
		t.Errorf("e^(-10^9) = %v", got)
	}
}

// TestPi holds the constant against Machin's formula.
func TestPi(t *testing.T) {
	arctan := func(n int64) *big.Float { // of 1/n
		sum, power := new(big.Float).SetPrec(256), new(big.Float).SetPrec(256).SetInt64(1)
		power.Quo(power, big.NewFloat(float64(n)))
		for k := int64(0); k < 120; k++ {
			term := new(big.Float).SetPrec(256).Quo(power, new(big.Float).SetInt64(2*k+1))
			if k%2 == 1 {
				term.Neg(term)
			}
			sum.Add(sum, term)
			power.Quo(power, new(big.Float).SetInt64(n*n))
		}
		return sum
	}
	pi := new(big.Float).SetPrec(256).Mul(arctan(5), big.NewFloat(4))
	pi.Sub(pi, arctan(239))
	if pi.Mul(pi, big.NewFloat(8)); !close(privacy.TwoPi(), pi, 185) {
		t.Errorf("2 pi: %v, expected %v", privacy.TwoPi(), pi)
	}
}

func TestRounding(t *testing.T) {
	for _, c := range []struct {
		x           float64
		floor, ceil int64
	}{{0.5, 0, 1}, {-0.5, -1, 0}, {2.999, 2, 3}, {-2.001, -3, -2}, {3, 2, 4}, {0, -1, 1}, {1e15 + 0.5, 1e15, 1e15 + 1}} {
		x := big.NewFloat(c.x)
		if f, u := privacy.Floor(x).Int64(), privacy.Ceil(x).Int64(); f != c.floor || u != c.ceil {
			t.Errorf("%g lies from %d to %d, expected %d to %d: whole numbers are moved too, since they may be inexact", c.x, f, u, c.floor, c.ceil)
		}
	}
}

// cks is the bound of Canonne, Kamath and Steinke, corollary 13, searched another way: delta
// for an epsilon, the order found by the derivative's sign.
func cks(rho, epsilon float64) float64 {
	low, high := 1.0, (epsilon+1)/(2*rho)+2
	for range 200 {
		alpha := (low + high) / 2
		if (2*alpha-1)*rho-epsilon+math.Log1p(-1/alpha) < 0 {
			low = alpha
		} else {
			high = alpha
		}
	}
	alpha := (low + high) / 2
	return math.Exp((alpha-1)*(alpha*rho-epsilon)+alpha*math.Log1p(-1/alpha)) / (alpha - 1)
}

func delta(t *testing.T, text string) privacy.Delta {
	t.Helper()
	d, err := privacy.ParseDelta(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEpsilonOfRho(t *testing.T) {
	for _, d := range []string{"0.5", "0.01", "0.000001", "0.000000000000000001"} {
		for _, rho := range []privacy.Rho{1000, 1e6, 1e9, 1e10, 1e11, 1e12, 10e12, 1000e12} {
			delta := delta(t, d)
			got, err := privacy.EpsilonOf(rho, delta)
			if err != nil {
				t.Fatal(err)
			}
			r, e, want := float64(rho)/1e12, float64(got)/1e6, float64(delta)/1e18
			if e > r+2*math.Sqrt(r*math.Log(1/want))+1e-6 {
				t.Errorf("rho %s at delta %s: %s is worse than the plain bound", rho, d, got)
			}
			if got == 0 {
				continue
			}
			if have := cks(r, e); have > want*(1+1e-6) {
				t.Errorf("rho %s, epsilon %s: delta %g is above %g", rho, got, have, want)
			}
			if less := cks(r, e-1.5e-6-1e-5*e); e > 2e-5 && less < want {
				t.Errorf("rho %s at delta %s: epsilon %s is not the least: at less, delta is %g", rho, d, got, less)
			}
		}
	}
}

// TestGaussianLoss sums the exact loss of a discrete Gaussian: the bound must lie above it.
func TestGaussianLoss(t *testing.T) {
	for _, rho := range []privacy.Rho{1e9, 1e11, 1e12, 5e12} {
		variance := 1 / (2 * float64(rho) / 1e12)
		most := int(40*math.Sqrt(variance)) + 40
		weight := func(x int) float64 { return math.Exp(-float64(x) * float64(x) / (2 * variance)) }
		all := 0.0
		for x := -most; x <= most; x++ {
			all += weight(x)
		}
		for _, d := range []string{"0.1", "0.0001", "0.000000001"} {
			delta := delta(t, d)
			epsilon, err := privacy.EpsilonOf(rho, delta)
			if err != nil {
				t.Fatal(err)
			}
			exact := 0.0
			for x := -most; x <= most; x++ {
				exact += max(0, weight(x)-math.Exp(float64(epsilon)/1e6)*weight(x-1)) / all
			}
			if exact > float64(delta)/1e18 {
				t.Errorf("rho %s: epsilon %s has delta %g, above %s", rho, epsilon, exact, d)
			}
		}
	}
}

func TestRhoOfEpsilon(t *testing.T) {
	last := privacy.Rho(-1)
	for _, e := range []privacy.Epsilon{1, 100, 1000, 1e4, 1e5, 1e6, 3e6, 1e7, 1e8} {
		d := delta(t, "0.000001")
		rho, err := privacy.RhoOf(e, d)
		if err != nil {
			t.Fatal(err)
		}
		back, err := privacy.EpsilonOf(rho, d)
		if err != nil || back > e {
			t.Errorf("epsilon %s gives rho %s, which has epsilon %s, %v", e, rho, back, err)
		}
		if more, err := privacy.EpsilonOf(rho+rho/1000+2, d); err != nil || more < e {
			t.Errorf("epsilon %s: rho %s is not the most, %v", e, rho, err)
		}
		if rho < last {
			t.Errorf("epsilon %s has a smaller rho than a smaller one", e)
		}
		last = rho
	}
	if rho, err := privacy.RhoOf(1, 1); err != nil || rho != 0 {
		t.Errorf("an epsilon too small for anything: rho %s, %v", rho, err)
	}
}

func TestConversionsRefused(t *testing.T) {
	for name, f := range map[string]func() error{
		"delta 0":          func() error { _, err := privacy.EpsilonOf(1, 0); return err },
		"delta 1":          func() error { _, err := privacy.EpsilonOf(1, 1e18); return err },
		"rho below 0":      func() error { _, err := privacy.EpsilonOf(-1, 1); return err },
		"rho huge":         func() error { _, err := privacy.EpsilonOf(math.MaxInt64, 1); return err },
		"epsilon 0":        func() error { _, err := privacy.RhoOf(0, 1); return err },
		"epsilon huge":     func() error { _, err := privacy.RhoOf(privacy.MaxEpsilon+1, 1); return err },
		"delta 0, epsilon": func() error { _, err := privacy.RhoOf(1e6, 0); return err },
	} {
		if f() == nil {
			t.Errorf("%s passed", name)
		}
	}
}

func TestRhoOfPure(t *testing.T) {
	for e, want := range map[privacy.Epsilon]privacy.Rho{-1: 0, 0: 0, 1: 1, 2: 2, 3: 5, 1000: 500_000, 1e5: 4_995_837_496, 1e6: 462_117_157_261, privacy.MaxEpsilon: 100e12} {
		if got := privacy.RhoOfPure(e); got != want {
			t.Errorf("epsilon %s costs rho %s, expected %s", e, got, want)
		}
	}
}

// TestPureLoss holds what pure epsilon costs against the mechanism that loses most: one bit,
// told rightly with e^epsilon to 1. Of no order may its divergence be above rho alpha, and of
// orders near 1 it has to reach it.
func TestPureLoss(t *testing.T) {
	for _, e := range []privacy.Epsilon{1e4, 1e5, 1e6, 3e6, 1e7, 5e7} {
		rho, epsilon := float64(privacy.RhoOfPure(e))/1e12, float64(e)/1e6
		for _, minus := range []float64{1e-3, 0.1, 1, 5, 100} {
			alpha := 1 + minus
			// ln(e^(alpha epsilon)/(1+e^epsilon) + e^(epsilon-alpha epsilon)/(1+e^epsilon))
			loss := (alpha*epsilon - math.Log1p(math.Exp(epsilon)) + math.Log1p(math.Exp((1-2*alpha)*epsilon))) / minus
			if loss > rho*alpha*(1+1e-9)+1e-12 {
				t.Errorf("epsilon %s: at order %g the loss is %g, above %g", e, alpha, loss, rho*alpha)
			}
			if minus < 0.01 && loss < rho*0.999 {
				t.Errorf("epsilon %s: at order %g the loss is %g, far below %g", e, alpha, loss, rho*alpha)
			}
		}
	}
}
