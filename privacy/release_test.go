package privacy_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"strongroom.dev/privacy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func numbered(i int) (s [32]byte) {
	s[31] = 1
	binary.BigEndian.PutUint64(s[:], uint64(i))
	return s
}

// one is a query over one input, every unit once in one group.
func one(mechanism wire.ID, cost privacy.Cost, known bool, outputs ...privacy.Output) privacy.Query {
	return privacy.Query{Mechanism: mechanism, Known: known, Inputs: []privacy.Input{input("x", "a", 1, 1, cost)}, Outputs: outputs}
}

func planned(t *testing.T, q privacy.Query) *privacy.Plan {
	t.Helper()
	p, err := q.Plan()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// people makes a group of rows with values from low on, each once or more.
func people(q privacy.Query, n int) privacy.Cell {
	r := rand.New(rand.NewPCG(3, 4))
	var rows []row
	for i := range n {
		rows = append(rows, row{0, []int64{int64(i + 1)}, r.Int64N(101)})
	}
	return cellOf(q, rows, 0, 0, 0)
}

func TestReleaseRefused(t *testing.T) {
	q := one(privacy.Laplace, pure, false, everything(0, 100)...)
	p := planned(t, q)
	if answer, err := p.Release(seed, people(q, 200)); err != nil || len(answer) != len(q.Outputs) {
		t.Fatalf("%v, %v", answer, err)
	}
	if _, err := p.Release([32]byte{}, people(q, 200)); err == nil {
		t.Error("no seed: an answer")
	}
	for name, change := range map[string]func(*privacy.Cell){
		"zero":                    func(c *privacy.Cell) { *c = privacy.Cell{} },
		"no units":                func(c *privacy.Cell) { c.Units = nil },
		"units below 0":           func(c *privacy.Cell) { c.Units[0] = -1 },
		"a value too few":         func(c *privacy.Cell) { c.Values = c.Values[1:] },
		"other units":             func(c *privacy.Cell) { c.Values[0].Count-- },
		"more rows than allowed":  func(c *privacy.Cell) { c.Values[1].Count = 201 },
		"rows below 0":            func(c *privacy.Cell) { c.Values[1].Count = -1 },
		"no sum":                  func(c *privacy.Cell) { c.Values[2].Sum = nil },
		"a sum not clamped":       func(c *privacy.Cell) { c.Values[2].Sum = big.NewInt(20_001) },
		"a sum below":             func(c *privacy.Cell) { c.Values[3].Sum = big.NewInt(-1) },
		"no squares":              func(c *privacy.Cell) { c.Values[4].Squares = nil },
		"squares not clamped":     func(c *privacy.Cell) { c.Values[4].Squares = big.NewInt(20_000_000) },
		"squares below 0":         func(c *privacy.Cell) { c.Values[4].Squares = big.NewInt(-1_000_000) },
		"a rank too few":          func(c *privacy.Cell) { c.Values[5].Below = c.Values[5].Below[1:] },
		"ranks falling":           func(c *privacy.Cell) { c.Values[5].Below[1] = 200 },
		"ranks below 0":           func(c *privacy.Cell) { c.Values[5].Above[1] = -1 },
		"ranks of too many":       func(c *privacy.Cell) { c.Values[5].Above[0] = 201 },
		"values below the lowest": func(c *privacy.Cell) { c.Values[5].Below[0] = 1 },
		"values above the most":   func(c *privacy.Cell) { c.Values[5].Above[8] = 1 },
	} {
		cell := people(q, 200)
		change(&cell)
		answer, err := p.Release(seed, cell)
		var refusal *verdict.Error
		if !errors.As(err, &refusal) || answer != nil {
			t.Errorf("%s: %v, %v", name, answer, err)
		}
	}
}

func texts(answer []*big.Rat) string { return fmt.Sprint(answer) }

// TestOneAnswer: a group's numbers depend on the run and the group alone, not on which groups
// came before.
func TestOneAnswer(t *testing.T) {
	for _, mechanism := range []wire.ID{privacy.Laplace, privacy.Gaussian} {
		q := one(mechanism, pure, false, everything(0, 100)...)
		cells := []privacy.Cell{people(q, 200), people(q, 300), people(q, 400)}
		answers := map[string]string{}
		for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}} {
			p := planned(t, q)
			for _, i := range order {
				cells[i].Key = []byte{byte(i)}
				answer, err := p.Release(seed, cells[i])
				if err != nil || answer == nil {
					t.Fatalf("%v, %v", answer, err)
				}
				if before, found := answers[string(cells[i].Key)]; found && before != texts(answer) {
					t.Errorf("%s: group %d: %s, then %s", mechanism, i, before, texts(answer))
				}
				answers[string(cells[i].Key)] = texts(answer)
			}
		}
		p, cell := planned(t, q), cells[0]
		if again, _ := p.Release(numbered(7), cell); texts(again) == answers[string(cell.Key)] {
			t.Errorf("%s: another run gives the same noise", mechanism)
		}
		cell.Key = []byte("other")
		if again, _ := p.Release(seed, cell); texts(again) == answers["\x00"] {
			t.Errorf("%s: another group has the same noise", mechanism)
		}
	}
}

// TestSmallGroups: a group below the minimum never shows, one at it hardly ever, a large one
// always.
func TestSmallGroups(t *testing.T) {
	for _, mechanism := range []wire.ID{privacy.Laplace, privacy.Gaussian} {
		q := one(mechanism, privacy.Cost{Epsilon: 1e6, Rho: 5e11, Delta: 1e12}, false, privacy.Output{Column: "people", Kind: privacy.Units, Table: "a"})
		q.Inputs[0].MinGroup = 10
		p := planned(t, q)
		shown := func(units int64) (n int) {
			for i := range 300 {
				answer, err := p.Release(numbered(i), privacy.Cell{Units: []int64{units}, Values: []privacy.Value{{Count: units}}})
				if err != nil {
					t.Fatal(err)
				}
				if answer != nil {
					n++
					if got, _ := answer[0].Float64(); got < float64(p.Hides()[0].Least) {
						t.Errorf("%s: %g shows, below %d", mechanism, got, p.Hides()[0].Least)
					}
				}
			}
			return n
		}
		least, smallest := p.Hides()[0].Least, math.Inf(1)
		for i := range 300 {
			if answer, _ := p.Release(numbered(i), privacy.Cell{Units: []int64{least}, Values: []privacy.Value{{Count: least}}}); answer != nil {
				got, _ := answer[0].Float64()
				smallest = min(smallest, got)
			}
		}
		if smallest != float64(least) {
			t.Errorf("%s: the smallest group of 300 that shows has %g, expected the threshold itself, %d", mechanism, smallest, least)
		}
		sure := p.Hides()[0].Sure
		if never, hardly, mostly := shown(9), shown(10), shown(sure); never != 0 || hardly != 0 || mostly < 280 {
			t.Errorf("%s: groups of 9, 10 and %d show %d, %d and %d times of 300", mechanism, sure, never, hardly, mostly)
		}
	}
	// A single unit below the minimum never shows, whatever the noise: the minimum is exact.
	q := one(privacy.Laplace, privacy.Cost{Epsilon: 1000, Rho: 1e6, Delta: 9e17}, false, privacy.Output{Column: "people", Kind: privacy.Units, Table: "a"})
	p := planned(t, q)
	for i := range 300 {
		if answer, _ := p.Release(numbered(i), privacy.Cell{Units: []int64{2}, Values: []privacy.Value{{Count: 2}}}); answer != nil {
			t.Fatalf("a group of 2 shows with a minimum of 3: %v", answer)
		}
	}
}

// TestRightOnAverage: answers lie around the true numbers, as far off as was said.
func TestRightOnAverage(t *testing.T) {
	const runs, n = 1000, 2000
	for _, mechanism := range []wire.ID{privacy.Laplace, privacy.Gaussian} {
		q := one(mechanism, privacy.Cost{Epsilon: 4e6, Rho: 8e12, Delta: 1e12}, true, everything(0, 100)...)
		q.Outputs[5].Candidates, q.Outputs[6].Candidates = 101, 101
		p := planned(t, q)
		cell := people(q, n)
		total, _ := cell.Values[2].Sum.Float64()
		squares, _ := cell.Values[4].Squares.Float64()
		variance := squares/n - total/n*total/n
		want := []float64{n, n, total, total / n, variance}
		sums, off := make([]float64, 7), make([]float64, 7)
		expected := p.Expect(n)
		for i := range runs {
			answer, err := p.Release(numbered(10_000+i), cell)
			if err != nil {
				t.Fatal(err)
			}
			for j, x := range answer {
				f, _ := x.Float64()
				if j < 5 {
					sums[j] += f - want[j]
					if math.Abs(f-want[j]) > expected[j].Within {
						off[j]++
					}
				} else if below, above := cell.Values[j].Below[int(f)], cell.Values[j].Above[int(f)]; !near(below, n-above, []float64{0.5, 0.9}[j-5]*n, expected[j].Within) {
					off[j]++
				}
			}
		}
		for j, e := range expected {
			if j < 5 && math.Abs(sums[j]/runs) > 4*e.Deviation/math.Sqrt(runs) {
				t.Errorf("%s: %s is off by %g on average, its deviation is %g", mechanism, e.Column, sums[j]/runs, e.Deviation)
			}
			if off[j] > runs/20*1.4 {
				t.Errorf("%s: %s is further off than %g in %g of %d runs", mechanism, e.Column, e.Within, off[j], runs)
			}
			if j < 3 && e.Within > 5 && off[j] < runs/20*0.6 {
				t.Errorf("%s: %s is further off than %g in %g of %d runs only", mechanism, e.Column, e.Within, off[j], runs)
			}
		}
	}
}

func near(low, high int64, rank, within float64) bool {
	return float64(low) <= rank+within && float64(high) >= rank-within
}

// TestWithinBounds: with hardly any epsilon means and variances are still what values within
// the bounds can have, and so are quantiles.
func TestWithinBounds(t *testing.T) {
	outputs := everything(-5, 17)[3:]
	for _, mechanism := range []wire.ID{privacy.Laplace, privacy.Gaussian} {
		q := one(mechanism, privacy.Cost{Epsilon: 1000, Rho: 1e6, Delta: 1e12}, true, outputs...)
		p := planned(t, q)
		for i := range 100 {
			for _, n := range []int{0, 1, 5} {
				answer, err := p.Release(numbered(i), people(q, n))
				if err != nil {
					t.Fatal(err)
				}
				for j, x := range answer {
					low, high := big.NewRat(-5, 1), big.NewRat(17, 1)
					if outputs[j].Kind == privacy.Variance {
						low, high = new(big.Rat), big.NewRat(121, 1)
					}
					if x.Cmp(low) < 0 || x.Cmp(high) > 0 {
						t.Errorf("%s: %s is %s", mechanism, outputs[j].Column, x)
					}
				}
			}
		}
	}
}

// TestNothingToHide: a column of one possible value is told as it is.
func TestNothingToHide(t *testing.T) {
	q := one(privacy.Gaussian, rho, true, everything(7, 7)[2:6]...)
	p := planned(t, q)
	answer, err := p.Release(seed, people(q, 50))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "7/1", "0/1", "7/1"} {
		if want != "" && answer[i].String() != want {
			t.Errorf("%s is %s", q.Outputs[i].Column, answer[i])
		}
	}
}

func TestPoints(t *testing.T) {
	o := privacy.Output{Min: big.NewInt(-3), Max: big.NewInt(7), Candidates: 4}
	if got := fmt.Sprint(o.Points()); got != "[-3 0 3 7]" {
		t.Errorf("points %s", got)
	}
}

// TestExpectMean holds what is said of a mean against its formula: half the sum's noise, and
// half the width for each row that the count is off.
func TestExpectMean(t *testing.T) {
	p := planned(t, one(privacy.Gaussian, rho, true, everything(-5, 17)[3]))
	variance := func(i int) float64 {
		v, _ := p.Noises(0)[i].Scale().Float64()
		return v
	}
	want := math.Sqrt(variance(1)/4+11*11*variance(0)) / 1000
	if got := p.Expect(1000)[0]; math.Abs(got.Deviation-want) > 1e-9*want || math.Abs(got.Within-1.96*want) > 1e-9*want {
		t.Errorf("a mean of 1000 rows is off by %g, and 95 of 100 by %g: expected %g", got.Deviation, got.Within, want)
	}
}

// TestExpect: more epsilon or larger groups are never worse.
func TestExpect(t *testing.T) {
	for _, mechanism := range []wire.ID{privacy.Laplace, privacy.Gaussian} {
		last := []privacy.Expected(nil)
		for _, e := range []privacy.Epsilon{1, 1000, 1e5, 1e6, 1e7, 1e8} {
			cost := privacy.Cost{Epsilon: e, Rho: privacy.RhoOfPure(e), Delta: 1e12}
			now := planned(t, one(mechanism, cost, true, everything(-5, 17)...)).Expect(1000)
			for i := range last {
				if now[i].Deviation > last[i].Deviation || now[i].Within > last[i].Within || math.IsNaN(now[i].Within) {
					t.Errorf("%s, epsilon %s: %v after %v", mechanism, e, now[i], last[i])
				}
			}
			last = now
		}
	}
}
