package privacy_test

import (
	"math/big"
	"testing"

	"strongroom.dev/privacy"
)

func TestDecimalsRefused(t *testing.T) {
	for _, text := range []string{
		"", ".", "-1", "+1", "1.", ".5", "01", "00", "1.0", "0.10", "1e3", " 1", "1 ", "1_0", "0.0000001", "1000000000.000001", "1000000001",
		"1,5", "0x1", "NaN", "Inf", "１", "1.5.5", "99999999999999999999999999999999999999999999999999", "-0",
	} {
		if e, err := privacy.ParseEpsilon(text); err == nil {
			t.Errorf("epsilon %q was read as %s", text, e)
		}
	}
	for _, text := range []string{"1", "1.5", "0.0000000000000000001", "-0.1"} {
		if d, err := privacy.ParseDelta(text); err == nil {
			t.Errorf("delta %q was read as %s", text, d)
		}
	}
	if r, err := privacy.ParseRho("9223372.036854775808"); err == nil {
		t.Errorf("a rho above 63 bits was read as %s", r)
	}
	if text, err := privacy.Epsilon(-1).MarshalText(); err == nil {
		t.Errorf("a negative epsilon was written as %s", text)
	}
}

func TestDecimals(t *testing.T) {
	for text, want := range map[string]privacy.Epsilon{"0": 0, "1": 1e6, "0.5": 5e5, "0.000001": 1, "100": 1e8, "1000000000": 1e15, "12.34": 12_340_000} {
		if got, err := privacy.ParseEpsilon(text); err != nil || got != want || got.String() != text {
			t.Errorf("epsilon %q: %d, %v, written %q", text, got, err, got)
		}
	}
	if d, err := privacy.ParseDelta("0.000000000000000001"); err != nil || d != 1 {
		t.Errorf("the smallest delta: %d, %v", d, err)
	}
	if d, err := privacy.ParseDelta("0.999999999999999999"); err != nil || d != 1e18-1 {
		t.Errorf("the largest delta: %d, %v", d, err)
	}
	if got := privacy.Epsilon(-5).String(); got[0] != '-' {
		t.Errorf("a negative number is shown as %q", got)
	}
}

// FuzzDecimals holds what is read against fractions: one text for one number.
func FuzzDecimals(f *testing.F) {
	for _, seed := range []string{"0", "1", "0.5", "0.000001", "1.", ".1", "01", "-1", "9223372036854775807", "0.999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		check := func(n int64, err error, written string, scale int64) {
			if err != nil {
				return
			}
			want, ok := new(big.Rat).SetString(text)
			unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(scale), nil)
			if !ok || want.Cmp(new(big.Rat).SetFrac(big.NewInt(n), unit)) != 0 || written != text {
				t.Errorf("%q was read as %d and written as %q", text, n, written)
			}
		}
		e, err := privacy.ParseEpsilon(text)
		check(int64(e), err, e.String(), privacy.EpsilonScale)
		r, err := privacy.ParseRho(text)
		check(int64(r), err, r.String(), privacy.RhoScale)
		d, err := privacy.ParseDelta(text)
		check(int64(d), err, d.String(), privacy.DeltaScale)
	})
}
