package privacy_test

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"strongroom.dev/privacy"
	"strongroom.dev/verdict"
)

func TestQueriesRefused(t *testing.T) {
	good := func() privacy.Query {
		return privacy.Query{Mechanism: privacy.Laplace, Inputs: []privacy.Input{input("x", "a", 3, 2, pure)}, Outputs: everything(-5, 17)}
	}
	if _, err := good().Plan(); err != nil {
		t.Fatal(err)
	}
	huge := new(big.Int).Exp(big.NewInt(10), big.NewInt(38), nil)
	for name, change := range map[string]func(*privacy.Query){
		"zero":                func(q *privacy.Query) { *q = privacy.Query{} },
		"mechanism":           func(q *privacy.Query) { q.Mechanism = "none" },
		"no inputs":           func(q *privacy.Query) { q.Inputs = nil },
		"many inputs":         func(q *privacy.Query) { q.Inputs = make([]privacy.Input, privacy.MaxInputs+1) },
		"an input twice":      func(q *privacy.Query) { q.Inputs = append(q.Inputs, q.Inputs[0]) },
		"an input's name":     func(q *privacy.Query) { q.Inputs[0].Name = "X" },
		"an input's table":    func(q *privacy.Query) { q.Inputs[0].Table = "" },
		"max_groups 0":        func(q *privacy.Query) { q.Inputs[0].MaxGroups = 0 },
		"max_groups huge":     func(q *privacy.Query) { q.Inputs[0].MaxGroups = privacy.MaxBound + 1 },
		"max_rows 0":          func(q *privacy.Query) { q.Inputs[0].MaxRows = 0 },
		"max_rows below 0":    func(q *privacy.Query) { q.Inputs[0].MaxRows = -1 },
		"stability 0":         func(q *privacy.Query) { q.Inputs[0].Stability = 0 },
		"min_group 0":         func(q *privacy.Query) { q.Inputs[0].MinGroup = 0 },
		"no cost":             func(q *privacy.Query) { q.Inputs[0].Cost = privacy.Cost{} },
		"a cost of gaussian":  func(q *privacy.Query) { q.Inputs[0].Cost = rho },
		"an impossible cost":  func(q *privacy.Query) { q.Inputs[0].Cost.Rho = 0 },
		"delta 0":             func(q *privacy.Query) { q.Inputs[0].Cost.Delta = 0 },
		"no outputs":          func(q *privacy.Query) { q.Outputs = nil },
		"many outputs":        func(q *privacy.Query) { q.Outputs = make([]privacy.Output, privacy.MaxOutputs+1) },
		"a column twice":      func(q *privacy.Query) { q.Outputs = append(q.Outputs, q.Outputs[1]) },
		"no column":           func(q *privacy.Query) { q.Outputs[1].Column = "" },
		"no kind":             func(q *privacy.Query) { q.Outputs[1].Kind = "" },
		"a weight below 0":    func(q *privacy.Query) { q.Outputs[1].Weight = -1 },
		"a weight huge":       func(q *privacy.Query) { q.Outputs[1].Weight = math.MaxInt64 },
		"units of no table":   func(q *privacy.Query) { q.Outputs[0].Table = "b" },
		"no bounds":           func(q *privacy.Query) { q.Outputs[2].Min = nil },
		"no upper bound":      func(q *privacy.Query) { q.Outputs[3].Max = nil },
		"bounds turned round": func(q *privacy.Query) { q.Outputs[4].Min = big.NewInt(18) },
		"bounds of 39 digits": func(q *privacy.Query) { q.Outputs[2].Max = huge },
		"quantile 0":          func(q *privacy.Query) { q.Outputs[5].Of = 0 },
		"quantile 1":          func(q *privacy.Query) { q.Outputs[5].Of = 2 },
		"quantile of 0":       func(q *privacy.Query) { q.Outputs[5].In = 0 },
		"one candidate":       func(q *privacy.Query) { q.Outputs[5].Candidates = 1 },
		"many candidates":     func(q *privacy.Query) { q.Outputs[5].Candidates = privacy.MaxCandidates + 1 },
		"too little epsilon": func(q *privacy.Query) {
			q.Inputs[0].MaxGroups, q.Inputs[0].Cost = privacy.MaxBound, privacy.Cost{Epsilon: 1, Rho: 1, Delta: 1}
		},
		"too little rho": func(q *privacy.Query) {
			q.Mechanism, q.Inputs[0].MaxGroups, q.Inputs[0].Cost = privacy.Gaussian, privacy.MaxBound, privacy.Cost{Rho: 1, Delta: 1}
			q.Inputs = append(q.Inputs, input("y", "b", 1, privacy.MaxBound, privacy.Cost{Rho: 1, Delta: 1}))
		},
	} {
		q := good()
		change(&q)
		_, err := q.Plan()
		var refusal *verdict.Error
		if !errors.As(err, &refusal) {
			t.Errorf("%s: planned, %v", name, err)
		}
	}
	q := good()
	q.Inputs[0].Cost.Delta, q.Known = 0, true
	if _, err := q.Plan(); err != nil {
		t.Errorf("the query's own groups need no delta: %v", err)
	}
}

func TestNoiseRefused(t *testing.T) {
	for name, f := range map[string]func() (privacy.Noise, error){
		"mechanism":           func() (privacy.Noise, error) { return privacy.NewNoise("", 1, big.NewInt(1), big.NewRat(1, 1)) },
		"groups 0":            func() (privacy.Noise, error) { return privacy.NewNoise("laplace", 0, big.NewInt(1), big.NewRat(1, 1)) },
		"no sensitivity":      func() (privacy.Noise, error) { return privacy.NewNoise("laplace", 1, nil, big.NewRat(1, 1)) },
		"sensitivity below 0": func() (privacy.Noise, error) { return privacy.NewNoise("laplace", 1, big.NewInt(-1), big.NewRat(1, 1)) },
		"sensitivity of 2^400": func() (privacy.Noise, error) {
			return privacy.NewNoise("laplace", 1, new(big.Int).Lsh(big.NewInt(1), 400), big.NewRat(1, 1))
		},
		"share 0":  func() (privacy.Noise, error) { return privacy.NewNoise("gaussian", 1, big.NewInt(1), new(big.Rat)) },
		"no share": func() (privacy.Noise, error) { return privacy.NewNoise("gaussian", 1, big.NewInt(1), nil) },
		"share 0, nothing to do": func() (privacy.Noise, error) {
			return privacy.NewNoise("gaussian", 1, new(big.Int), new(big.Rat))
		},
	} {
		if n, err := f(); err == nil || n.Scale().Sign() != 0 {
			t.Errorf("%s: noise of scale %s, %v", name, n.Scale(), err)
		}
	}
}

func TestNoise(t *testing.T) {
	laplace, err := privacy.NewNoise(privacy.Laplace, 4, big.NewInt(30), big.NewRat(1, 2))
	if err != nil || laplace.Scale().Cmp(big.NewRat(240, 1)) != 0 {
		t.Errorf("scale %s, %v: expected 4*30/(1/2)", laplace.Scale(), err)
	}
	gaussian, err := privacy.NewNoise(privacy.Gaussian, 4, big.NewInt(30), big.NewRat(1, 2))
	if err != nil || gaussian.Scale().Cmp(big.NewRat(3600, 1)) != 0 {
		t.Errorf("variance %s, %v: expected 4*30^2/(2/2)", gaussian.Scale(), err)
	}
	none, err := privacy.NewNoise(privacy.Gaussian, 4, new(big.Int), big.NewRat(1, 2))
	if err != nil || none.Draw(stream("none")).Sign() != 0 {
		t.Errorf("what nobody can change gets noise, %v", err)
	}
	if laplace.Draw(stream("x")).Cmp(laplace.Draw(stream("x"))) != 0 {
		t.Error("one stream gives two numbers")
	}
}

// hidden gives P(X >= t) of a noise exactly, by its weights.
func hidden(n privacy.Noise, gaussian bool, t int64) float64 {
	scale, _ := n.Scale().Float64()
	weight := func(x float64) float64 {
		if gaussian {
			return math.Exp(-x * x / (2 * scale))
		}
		return math.Exp(-math.Abs(x) / scale)
	}
	all, tail := 0.0, 0.0
	for x := int64(-100_000); x <= 100_000; x++ {
		w := weight(float64(x))
		if all += w; x >= t {
			tail += w
		}
	}
	return tail / all
}

// TestThreshold: a group that one unit makes shows with probability delta at most, and with
// hardly less.
func TestThreshold(t *testing.T) {
	for _, c := range []struct {
		mechanism string
		cost      privacy.Cost
		groups    int64
	}{
		{"laplace", privacy.Cost{Epsilon: 1e6, Rho: 5e11, Delta: 1e12}, 1}, {"laplace", privacy.Cost{Epsilon: 1e5, Rho: 5e9, Delta: 1e9}, 7},
		{"laplace", privacy.Cost{Epsilon: 50e6, Rho: 1250e12, Delta: 1e17}, 1}, {"gaussian", privacy.Cost{Rho: 1e11, Delta: 1e12}, 1},
		{"gaussian", privacy.Cost{Rho: 1e9, Delta: 1e9}, 20}, {"gaussian", privacy.Cost{Rho: 100e12, Delta: 1e9}, 1},
	} {
		q := privacy.Query{Mechanism: privacy.Laplace, Inputs: []privacy.Input{input("x", "a", c.groups, 1, c.cost)}, Outputs: everything(0, 1)[:1]}
		if c.mechanism == "gaussian" {
			q.Mechanism = privacy.Gaussian
		}
		p, err := q.Plan()
		if err != nil {
			t.Fatal(err)
		}
		allowed := float64(c.cost.Delta) / 1e18 / float64(c.groups)
		// min_group is 3: a unit that comes makes a group of 3 of one of 2, which never shows.
		at := p.Threshold(0) - 3
		if got := hidden(p.SelectNoise(0), c.mechanism == "gaussian", at); got > allowed {
			t.Errorf("%v: a unit shows with %g, above %g", c, got, allowed)
		}
		if got := hidden(p.SelectNoise(0), c.mechanism == "gaussian", at-1); at > 1 && got < allowed*0.97 {
			t.Errorf("%v: the threshold is too high: at one less a unit shows with %g, below %g", c, got, allowed)
		}
	}
}

// TestJoinedThreshold: a unit of another table that comes may bring several units at once.
func TestJoinedThreshold(t *testing.T) {
	plan := func(table string, rows, stability int64) *privacy.Plan {
		other := input("y", "b", 1, rows, pure)
		other.Stability = stability
		if table == "a" {
			other.Table = "a"
		}
		q := privacy.Query{Mechanism: privacy.Laplace, Inputs: []privacy.Input{input("x", "a", 1, 1, pure), other}, Outputs: []privacy.Output{{Column: "n", Kind: privacy.Rows}}}
		p, err := q.Plan()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	apart, one, many, unstable := plan("a", 50, 1), plan("b", 1, 1), plan("b", 50, 1), plan("b", 50, 2)
	if !(apart.Threshold(0) < one.Threshold(0) && one.Threshold(0) < many.Threshold(0) && many.Threshold(0) < unstable.Threshold(0)) {
		t.Errorf("thresholds %d, %d, %d, %d should rise", apart.Threshold(0), one.Threshold(0), many.Threshold(0), unstable.Threshold(0))
	}
	if b := many.SelectNoise(0).Scale(); b.Cmp(big.NewRat(75, 1)) != 0 {
		t.Errorf("the count's noise has scale %s, expected 50 units at a third of epsilon 2", b)
	}
	if b := unstable.SelectNoise(0).Scale(); b.Cmp(big.NewRat(150, 1)) != 0 {
		t.Errorf("the count's noise has scale %s, expected twice as much where rows drive others out", b)
	}
}
