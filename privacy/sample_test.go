package privacy_test

import (
	"bytes"
	"math"
	"math/big"
	"slices"
	"testing"

	"strongroom.dev/privacy"
)

var seed = [32]byte{1, 2, 3}

func stream(name string) *privacy.Stream { return privacy.NewStream(seed, name, nil, "test") }

// fits compares how often each number was drawn with how often it should be: the chi-squared
// statistic, numbers that are rare put together, as standard deviations of its normal
// approximation (Wilson and Hilferty). Streams are fixed, so a test that passes once always
// does.
func fits(t *testing.T, name string, draws int, draw func() int, chance func(int) float64) {
	t.Helper()
	seen := map[int]int{}
	for range draws {
		seen[draw()]++
	}
	least, most := math.MaxInt, math.MinInt
	for x := range seen {
		least, most = min(least, x), max(most, x)
	}
	statistic, cells, rest, restSeen, covered := 0.0, 0, 0.0, 0, 0.0
	for x := least; x <= most; x++ {
		want := chance(x) * float64(draws)
		covered += chance(x)
		if rest, restSeen = rest+want, restSeen+seen[x]; rest >= 10 {
			statistic += (float64(restSeen) - rest) * (float64(restSeen) - rest) / rest
			cells, rest, restSeen = cells+1, 0, 0
		}
	}
	if out := (1 - covered) * float64(draws); out > 40 {
		t.Errorf("%s: %.0f draws should lie outside %d to %d, and none does", name, out, least, most)
	}
	if cells < 2 {
		if float64(seen[0]) < float64(draws)*chance(0)-20 {
			t.Errorf("%s: too few are 0", name)
		}
		return
	}
	k := float64(cells - 1)
	if z := (math.Cbrt(statistic/k) - (1 - 2/(9*k))) / math.Sqrt(2/(9*k)); z > 3.5 || z < -4 {
		t.Errorf("%s: chi-squared %.1f over %d cells, %.1f deviations off", name, statistic, cells, z)
	}
}

func draws() int {
	if testing.Short() {
		return 5_000
	}
	return 30_000
}

func TestLaplaceIsExact(t *testing.T) {
	for _, b := range []*big.Rat{big.NewRat(1, 20), big.NewRat(1, 3), big.NewRat(1, 1), big.NewRat(7, 3), big.NewRat(40, 1), big.NewRat(1e15, 3e14)} {
		f, _ := b.Float64()
		q := math.Exp(-1 / f)
		s := stream("laplace " + b.String())
		fits(t, "scale "+b.String(), draws(), func() int { return int(s.Laplace(b).Int64()) }, func(x int) float64 {
			return (1 - q) / (1 + q) * math.Pow(q, math.Abs(float64(x)))
		})
	}
}

func TestGaussianIsExact(t *testing.T) {
	for _, v := range []*big.Rat{big.NewRat(1, 50), big.NewRat(1, 3), big.NewRat(1, 1), big.NewRat(5, 2), big.NewRat(400, 3), big.NewRat(1e15, 1e13)} {
		f, _ := v.Float64()
		all := 0.0
		for x := -2000; x <= 2000; x++ {
			all += math.Exp(-float64(x) * float64(x) / (2 * f))
		}
		s := stream("gaussian " + v.String())
		fits(t, "variance "+v.String(), draws(), func() int { return int(s.Gaussian(v).Int64()) }, func(x int) float64 {
			return math.Exp(-float64(x)*float64(x)/(2*f)) / all
		})
	}
}

// TestLargeNoise: beyond 64 bits the numbers are the same distributions, seen in eighths of
// their scale.
func TestLargeNoise(t *testing.T) {
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(40), nil)
	b := new(big.Rat).SetFrac(new(big.Int).Mul(unit, big.NewInt(8)), big.NewInt(7))
	s := stream("large")
	bucket := func(x *big.Int) int {
		q, _ := new(big.Int).DivMod(x, unit, new(big.Int))
		return int(q.Int64())
	}
	f := 8.0 / 7
	fits(t, "large laplace", draws(), func() int { return bucket(s.Laplace(b)) }, func(x int) float64 {
		cdf := func(y float64) float64 {
			if y < 0 {
				return math.Exp(y/f) / 2
			}
			return 1 - math.Exp(-y/f)/2
		}
		return cdf(float64(x+1)) - cdf(float64(x))
	})
	v := new(big.Rat).Mul(b, b)
	fits(t, "large gaussian", draws(), func() int { return bucket(s.Gaussian(v)) }, func(x int) float64 {
		cdf := func(y float64) float64 { return math.Erfc(-y/f/math.Sqrt2) / 2 }
		return cdf(float64(x+1)) - cdf(float64(x))
	})
}

func TestDecay(t *testing.T) {
	for _, c := range [][2]int64{{0, 1}, {1, 1}, {1, 1000}, {999, 1000}, {3, 2}, {7, 1}, {1, 1 << 50}, {1<<50 - 1, 1 << 50}} {
		s := stream("decay")
		want := math.Exp(-float64(c[0]) / float64(c[1]))
		fits(t, "decay", draws(), func() int {
			if s.Decay(big.NewInt(c[0]), big.NewInt(c[1])) {
				return 1
			}
			return 0
		}, func(x int) float64 { return map[int]float64{0: 1 - want, 1: want}[x] })
	}
	if stream("never").Decay(new(big.Int).Lsh(big.NewInt(1), 100), big.NewInt(1)) {
		t.Error("e^(-2^100) happened")
	}
}

func TestBelow(t *testing.T) {
	for _, n := range []int64{1, 2, 3, 7, 256, 257} {
		s := stream("below")
		fits(t, "below", draws(), func() int { return int(s.Below(big.NewInt(n)).Int64()) }, func(x int) float64 { return 1 / float64(n) })
	}
	huge := new(big.Int).Lsh(big.NewInt(3), 200)
	s := stream("huge")
	fits(t, "below 3*2^200", draws(), func() int { return int(new(big.Int).Rsh(s.Below(huge), 200).Int64()) }, func(int) float64 { return 1.0 / 3 })
	power := new(big.Int).Lsh(big.NewInt(1), 64)
	fits(t, "below 2^64", draws(), func() int { return int(new(big.Int).Rsh(s.Below(power), 60).Int64()) }, func(int) float64 { return 1.0 / 16 })
}

func TestChooseIsExact(t *testing.T) {
	for name, scores := range map[string][]int64{"flat": {5, 5, 5}, "steep": {9, 0, 3, 1, 40}, "one": {7}} {
		rate, all := big.NewRat(2, 5), 0.0
		var list []*big.Int
		for _, s := range scores {
			list = append(list, big.NewInt(s))
			all += math.Exp(-0.4 * float64(s))
		}
		s := stream("choose " + name)
		fits(t, name, draws(), func() int { return s.Choose(list, rate) }, func(x int) float64 { return math.Exp(-0.4*float64(scores[x])) / all })
	}
}

// TestStreams: the same names give the same bits, other names others, however they are cut.
func TestStreams(t *testing.T) {
	read := func(s *privacy.Stream, sizes ...int) (all []byte) {
		for _, n := range sizes {
			p := make([]byte, n)
			s.Read(p)
			all = append(all, p...)
		}
		return all
	}
	want := read(privacy.NewStream(seed, "a", []byte("b"), "c"), 100)
	if !bytes.Equal(want, read(privacy.NewStream(seed, "a", []byte("b"), "c"), 1, 31, 0, 33, 35)) {
		t.Error("bits depend on how they are read")
	}
	others := []*privacy.Stream{
		privacy.NewStream([32]byte{9}, "a", []byte("b"), "c"), privacy.NewStream(seed, "ab", nil, "c"), privacy.NewStream(seed, "", []byte("ab"), "c"),
		privacy.NewStream(seed, "a", []byte("bc"), ""), privacy.NewStream(seed, "a", []byte("b"), "d"),
	}
	seen := [][]byte{want}
	for i, s := range others {
		got := read(s, 100)
		if slices.ContainsFunc(seen, func(b []byte) bool { return bytes.Equal(b[:8], got[:8]) }) {
			t.Errorf("stream %d is another's", i)
		}
		seen = append(seen, got)
	}
}

func TestCellKeys(t *testing.T) {
	text := func(s string) *string { return &s }
	keys := [][]*string{{}, {nil}, {text("")}, {text("a")}, {text("a"), nil}, {nil, text("a")}, {text("a"), text("")}, {text("\x00")}, {text("ab")}, {text("a"), text("b")}}
	seen := map[string]int{}
	for i, k := range keys {
		if j, found := seen[string(privacy.CellKey(k))]; found {
			t.Errorf("groups %d and %d have one key", i, j)
		}
		seen[string(privacy.CellKey(k))] = i
	}
}
