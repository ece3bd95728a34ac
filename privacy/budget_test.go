package privacy_test

import (
	"encoding/json"
	"errors"
	"math"
	"testing"

	"strongroom.dev/privacy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func budget(t *testing.T, epsilon, delta string, mechanism wire.ID) privacy.Budget {
	t.Helper()
	var b privacy.Budget
	if err := json.Unmarshal([]byte(`{"epsilon":"`+epsilon+`","delta":"`+delta+`","mechanism":"`+string(mechanism)+`"}`), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBudgetsRefused(t *testing.T) {
	good := privacy.Budget{Epsilon: 1e6, Delta: 1e9, Mechanism: privacy.Gaussian}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*privacy.Budget){
		"zero":              func(b *privacy.Budget) { *b = privacy.Budget{} },
		"no mechanism":      func(b *privacy.Budget) { b.Mechanism = "" },
		"another mechanism": func(b *privacy.Budget) { b.Mechanism = "staircase" },
		"epsilon 0":         func(b *privacy.Budget) { b.Epsilon = 0 },
		"epsilon below 0":   func(b *privacy.Budget) { b.Epsilon = -1 },
		"epsilon 101":       func(b *privacy.Budget) { b.Epsilon = privacy.MaxEpsilon + 1 },
		"delta 0, gaussian": func(b *privacy.Budget) { b.Delta = 0 },
		"delta 1e-18":       func(b *privacy.Budget) { b.Delta = 1 },
		"delta 1":           func(b *privacy.Budget) { b.Delta = 1e18 },
		"delta below 0":     func(b *privacy.Budget) { b.Delta = -1 },
	} {
		b := good
		change(&b)
		if b.Validate() == nil {
			t.Errorf("%s: valid", name)
		}
		if limit, err := b.Limit(); err == nil {
			t.Errorf("%s: has the limit %s", name, limit)
		}
		if _, err := b.Run(1); err == nil {
			t.Errorf("%s: a run has a cost", name)
		}
		if b.CanSpend(privacy.Cost{}, privacy.Cost{Rho: 1}) {
			t.Errorf("%s: something can be spent", name)
		}
		if _, err := b.Told(privacy.Cost{}); err == nil {
			t.Errorf("%s: tells something", name)
		}
	}
	// An epsilon so small that delta leaves no rho of it is no budget.
	if limit, err := (privacy.Budget{Epsilon: 1, Delta: 2, Mechanism: privacy.Gaussian}).Limit(); err == nil {
		t.Errorf("a budget of nothing has the limit %s", limit)
	}
}

func TestCostsRefused(t *testing.T) {
	for name, c := range map[string]privacy.Cost{
		"epsilon below 0":     {Epsilon: -1, Rho: 1},
		"rho below 0":         {Rho: -1},
		"delta below 0":       {Rho: 1, Delta: -1},
		"delta 1":             {Rho: 1, Delta: 1e18},
		"epsilon without rho": {Epsilon: 1},
		"rho huge":            {Rho: math.MaxInt64},
		"epsilon huge":        {Epsilon: math.MaxInt64, Rho: 1},
	} {
		if c.Validate() == nil {
			t.Errorf("%s: valid", name)
		}
		for _, b := range []privacy.Budget{{Epsilon: 100e6, Delta: 1e17, Mechanism: privacy.Laplace}, {Epsilon: 100e6, Delta: 1e17, Mechanism: privacy.Gaussian}} {
			if b.CanSpend(privacy.Cost{}, c) || b.CanSpend(c, privacy.Cost{Epsilon: 1, Rho: 1}) {
				t.Errorf("%s: %s books take it", name, b.Mechanism)
			}
		}
		if _, err := c.Plus(privacy.Cost{}); err == nil {
			t.Errorf("%s: is added to", name)
		}
	}
	full := privacy.Cost{Rho: 1, Delta: 9e17}
	if sum, err := full.Plus(full); err == nil {
		t.Errorf("deltas of more than 1: %s", sum)
	}
}

func TestSpendRefused(t *testing.T) {
	laplace, gaussian := budget(t, "1", "0.000001", privacy.Laplace), budget(t, "1", "0.000001", privacy.Gaussian)
	run := func(b privacy.Budget, e privacy.Epsilon) privacy.Cost {
		c, err := b.Run(e)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, c := range map[string]struct {
		budget      privacy.Budget
		spent, cost privacy.Cost
	}{
		"nothing":                  {laplace, privacy.Cost{}, privacy.Cost{}},
		"nothing, gaussian":        {gaussian, privacy.Cost{}, privacy.Cost{}},
		"delta alone":              {gaussian, privacy.Cost{}, privacy.Cost{Delta: 1}},
		"gaussian in pure books":   {laplace, privacy.Cost{}, run(gaussian, 1000)},
		"pure books with gaussian": {laplace, privacy.Cost{Rho: 5}, run(laplace, 1)},
		"a millionth too much":     {laplace, run(laplace, 1e6), run(laplace, 1)},
		"rho too much":             {gaussian, run(gaussian, 1e6), privacy.Cost{Rho: 1}},
		"laplace in rho books":     {gaussian, privacy.Cost{}, run(laplace, 1e6)},
		"delta too much":           {laplace, privacy.Cost{Epsilon: 1, Rho: 1, Delta: 1e12}, privacy.Cost{Epsilon: 1, Rho: 1, Delta: 1}},
		"delta too much, gaussian": {gaussian, privacy.Cost{}, privacy.Cost{Rho: 1, Delta: 5e11 + 1}},
	} {
		after, err := c.budget.Spend(c.spent, c.cost)
		var refusal *verdict.Error
		if !errors.As(err, &refusal) {
			t.Errorf("%s: %s was spent, %v", name, after, err)
		}
	}
	for _, e := range []privacy.Epsilon{0, -1, 1e6 + 1} {
		for _, b := range []privacy.Budget{laplace, gaussian} {
			if c, err := b.Run(e); err == nil {
				t.Errorf("%s: a run of epsilon %s costs %s", b.Mechanism, e, c)
			}
		}
	}
}

func TestSpendLaplace(t *testing.T) {
	b := budget(t, "1", "0.000001", privacy.Laplace)
	var spent privacy.Cost
	for i := range 10 {
		cost, err := b.Run(1e5)
		if err != nil || !cost.Pure() || cost.Delta != 1e11 {
			t.Fatalf("a run of 0.1 costs %s, %v", cost, err)
		}
		if spent, err = b.Spend(spent, cost); err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
	}
	if told, err := b.Told(spent); err != nil || told != 1e6 || spent.Delta != 1e12 {
		t.Errorf("ten runs of 0.1 spent %s and tell %s, %v", spent, told, err)
	}
	if left, err := b.Left(spent); err != nil || left != (privacy.Cost{}) {
		t.Errorf("nothing should be left, but %s, %v", left, err)
	}
}

// TestSpendGaussian: rhos add up, so that many small runs cost far less than their epsilons.
func TestSpendGaussian(t *testing.T) {
	b := budget(t, "4", "0.000001", privacy.Gaussian)
	cost, err := b.Run(5e5)
	if err != nil || cost.Pure() {
		t.Fatalf("a run of 0.5 costs %s, %v", cost, err)
	}
	runs, spent := 0, privacy.Cost{}
	for b.CanSpend(spent, cost) {
		if spent, err = b.Spend(spent, cost); err != nil {
			t.Fatal(err)
		}
		runs++
	}
	if runs < 40 || runs > 64 {
		t.Errorf("a budget of 4 pays for %d runs of 0.5", runs)
	}
	if told, err := b.Told(spent); err != nil || told > b.Epsilon || told < b.Epsilon*95/100 {
		t.Errorf("what was spent tells %s, %v", told, err)
	}
	// One run may spend all of it, and not a unit more.
	all, err := b.Run(b.Epsilon)
	if err != nil || !b.CanSpend(privacy.Cost{}, all) || b.CanSpend(privacy.Cost{Rho: 1}, all) {
		t.Errorf("a run of the whole budget costs %s, %v", all, err)
	}
	// Books of gaussian take costs of laplace.
	pure, err := budget(t, "0.5", "0", privacy.Laplace).Run(1e5)
	if err != nil {
		t.Fatal(err)
	}
	mixed, err := b.Spend(cost, pure)
	if err != nil || mixed.Pure() || mixed.Rho != cost.Rho+pure.Rho {
		t.Errorf("laplace in books of gaussian: %s, %v", mixed, err)
	}
	if turned, err := b.Spend(pure, cost); err != nil || turned != mixed {
		t.Errorf("gaussian after laplace: %s, %v, expected %s", turned, err, mixed)
	}
}

func TestCostText(t *testing.T) {
	text, err := json.Marshal(privacy.Cost{Epsilon: 5e5, Rho: 125e9, Delta: 1e12})
	if want := `{"epsilon":"0.5","rho":"0.125","delta":"0.000001"}`; err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
	var back privacy.Cost
	if err := json.Unmarshal(text, &back); err != nil || back != (privacy.Cost{Epsilon: 5e5, Rho: 125e9, Delta: 1e12}) {
		t.Errorf("%s, %v", back, err)
	}
	for _, c := range []privacy.Cost{back, {Rho: 1}} {
		if c.String() == "" {
			t.Error("no words")
		}
	}
}

// FuzzSpend: whatever is spent in whatever order, the limit holds.
func FuzzSpend(f *testing.F) {
	f.Add(int64(1e6), int64(1e12), int64(1e5), int64(2e5), true)
	f.Add(int64(1e6), int64(1e12), int64(1e6), int64(1), false)
	f.Fuzz(func(t *testing.T, epsilon, delta, first, second int64, pure bool) {
		b := privacy.Budget{Epsilon: privacy.Epsilon(epsilon), Delta: privacy.Delta(delta), Mechanism: privacy.Gaussian}
		if pure {
			b.Mechanism = privacy.Laplace
		}
		limit, err := b.Limit()
		if err != nil {
			return
		}
		spent := privacy.Cost{}
		for _, e := range []int64{first, second, first, second} {
			cost, err := b.Run(privacy.Epsilon(e))
			if err != nil {
				continue
			}
			after, err := b.Spend(spent, cost)
			if err != nil {
				continue
			}
			if after.Rho <= spent.Rho {
				t.Fatalf("%s was free", cost)
			}
			spent = after
		}
		if pure && spent.Epsilon > limit.Epsilon || !pure && spent.Rho > limit.Rho || spent.Delta > limit.Delta {
			t.Errorf("%s was spent of %s", spent, limit)
		}
	})
}
