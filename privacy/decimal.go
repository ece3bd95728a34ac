package privacy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Epsilon is a privacy loss in millionths.
type Epsilon int64

// Rho is a loss of zero-concentrated differential privacy in units of 10^-12.
type Rho int64

// Delta is a probability in units of 10^-18; always below 1.
type Delta int64

// Digits after the point of the texts.
const (
	EpsilonScale = 6
	RhoScale     = 12
	DeltaScale   = 18
)

// One of each.
const (
	OneEpsilon Epsilon = 1e6
	OneRho     Rho     = 1e12
	oneDelta   int64   = 1e18 // no Delta itself
)

// MaxEpsilon bounds the epsilon of a budget: beyond it, it protects nobody.
const MaxEpsilon = 100 * OneEpsilon

// maxSpent bounds the epsilons of all that was ever spent of something.
const maxSpent = 1_000_000_000 * OneEpsilon

// ParseEpsilon reads the text of an epsilon: at most 10^9. What may be spent has a lower limit,
// [MaxEpsilon], which [Budget.Validate] checks.
func ParseEpsilon(text string) (Epsilon, error) {
	n, err := parse(text, EpsilonScale, int64(maxSpent))
	return Epsilon(n), err
}

// ParseRho reads the text of a rho.
func ParseRho(text string) (Rho, error) {
	n, err := parse(text, RhoScale, math.MaxInt64)
	return Rho(n), err
}

// ParseDelta reads the text of a delta: below 1.
func ParseDelta(text string) (Delta, error) {
	n, err := parse(text, DeltaScale, oneDelta-1)
	return Delta(n), err
}

func (e Epsilon) String() string { return format(int64(e), EpsilonScale) }
func (r Rho) String() string     { return format(int64(r), RhoScale) }
func (d Delta) String() string   { return format(int64(d), DeltaScale) }

// MarshalText writes the one text of a number that is not negative.
func (e Epsilon) MarshalText() ([]byte, error) { return marshal(int64(e), EpsilonScale) }

// MarshalText writes the one text of a number that is not negative.
func (r Rho) MarshalText() ([]byte, error) { return marshal(int64(r), RhoScale) }

// MarshalText writes the one text of a number that is not negative.
func (d Delta) MarshalText() ([]byte, error) { return marshal(int64(d), DeltaScale) }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (e *Epsilon) UnmarshalText(text []byte) (err error) {
	*e, err = ParseEpsilon(string(text))
	return err
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (r *Rho) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRho(string(text))
	return err
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (d *Delta) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDelta(string(text))
	return err
}

// parse reads a decimal in its one form (spec/privacy.md, section 2): digits without needless
// zeros at either end, as a number of its last place.
func parse(text string, scale int, most int64) (int64, error) {
	bad := func() (int64, error) {
		return 0, fmt.Errorf("not a decimal from 0 to %s with at most %d digits after the point and no needless zeros: %.40q", format(most, scale), scale, text)
	}
	whole, fraction, point := strings.Cut(text, ".")
	switch {
	case len(text) > 40 || whole == "" || strings.Trim(whole+fraction, "0123456789") != "":
		return bad()
	case len(whole) > 1 && whole[0] == '0', point && (fraction == "" || fraction[len(fraction)-1] == '0'), len(fraction) > scale:
		return bad()
	}
	n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", scale-len(fraction)), 10, 64)
	if err != nil || n > most {
		return bad()
	}
	return n, nil
}

func format(n int64, scale int) string {
	if n < 0 { // never valid; for errors
		return "-" + strings.TrimPrefix(format(-(n+1), scale), "-") + "…"
	}
	digits := strconv.FormatInt(n, 10)
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale+1-len(digits)) + digits
	}
	whole, fraction := digits[:len(digits)-scale], strings.TrimRight(digits[len(digits)-scale:], "0")
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}

func marshal(n int64, scale int) ([]byte, error) {
	if n < 0 {
		return nil, fmt.Errorf("a negative number has no text here")
	}
	return []byte(format(n, scale)), nil
}
