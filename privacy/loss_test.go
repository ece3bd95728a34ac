package privacy_test

import (
	"math/big"
	"math/rand/v2"
	"strconv"
	"testing"

	"strongroom.dev/privacy"
	"strongroom.dev/wire"
)

// row is one row that a query reads: of a unit of one input of each table.
type row struct {
	group int
	units []int64 // of each input, 0: none
	value int64
}

// data makes rows that keep to the bounds of every input.
func data(r *rand.Rand, q privacy.Query) (rows []row) {
	type unit struct {
		input int
		id    int64
	}
	inGroup := map[unit]map[int]int64{}
	tables := map[wire.ID][]int{}
	for i, in := range q.Inputs {
		tables[in.Table] = append(tables[in.Table], i)
	}
	for range 400 {
		n := row{group: r.IntN(6), units: make([]int64, len(q.Inputs)), value: -20 + r.Int64N(51)}
		fits := true
		for _, inputs := range tables {
			i := inputs[r.IntN(len(inputs))]
			n.units[i] = 1 + r.Int64N(12)
			groups := inGroup[unit{i, n.units[i]}]
			if groups[n.group] >= q.Inputs[i].MaxRows || groups[n.group] == 0 && int64(len(groups)) >= q.Inputs[i].MaxGroups {
				fits = false
			}
		}
		if !fits {
			continue
		}
		for i, id := range n.units {
			if id != 0 {
				u := unit{i, id}
				if inGroup[u] == nil {
					inGroup[u] = map[int]int64{}
				}
				inGroup[u][n.group]++
			}
		}
		rows = append(rows, n)
	}
	return rows
}

// cellOf computes the exact numbers of a group, rows of one unit left out.
func cellOf(q privacy.Query, rows []row, group, input int, without int64) privacy.Cell {
	c := privacy.Cell{Key: []byte(strconv.Itoa(group)), Units: make([]int64, len(q.Inputs))}
	seen := make([]map[int64]bool, len(q.Inputs))
	for i := range seen {
		seen[i] = map[int64]bool{}
	}
	var values []int64
	for _, r := range rows {
		if r.group != group || r.units[input] == without && without != 0 {
			continue
		}
		for i, id := range r.units {
			if id != 0 {
				seen[i][id] = true
			}
		}
		values = append(values, r.value)
	}
	for i := range seen {
		c.Units[i] = int64(len(seen[i]))
	}
	for _, out := range q.Outputs {
		c.Values = append(c.Values, valueOf(q, out, c.Units, values))
	}
	return c
}

func valueOf(q privacy.Query, out privacy.Output, units, values []int64) (v privacy.Value) {
	switch out.Kind {
	case privacy.Units:
		for i, in := range q.Inputs {
			if in.Table == out.Table {
				v.Count += units[i]
			}
		}
		return v
	case privacy.Rows:
		return privacy.Value{Count: int64(len(values))}
	}
	low, high := out.Min.Int64(), out.Max.Int64()
	v.Sum, v.Squares, v.Count = new(big.Int), new(big.Int), int64(len(values))
	points := []*big.Int{}
	if out.Kind == privacy.Quantile {
		points = out.Points()
		v.Below, v.Above = make([]int64, len(points)), make([]int64, len(points))
	}
	for _, x := range values {
		b := big.NewInt(min(max(x, low), high))
		v.Sum.Add(v.Sum, b)
		v.Squares.Add(v.Squares, new(big.Int).Mul(b, b))
		for i, p := range points {
			switch b.Cmp(p) {
			case -1:
				v.Below[i]++
			case 1:
				v.Above[i]++
			}
		}
	}
	return v
}

// lossOf gives what two groups' numbers tell apart at most: epsilon under Laplace, rho under
// Gaussian.
func lossOf(q privacy.Query, p *privacy.Plan, a, b privacy.Cell) *big.Rat {
	loss := new(big.Rat)
	add := func(change *big.Int, n privacy.Noise) {
		if change.Sign() == 0 {
			return
		}
		x := new(big.Rat).SetInt(change.Abs(change))
		if q.Mechanism == privacy.Gaussian {
			x.Mul(x, x)
			x.Quo(x, big.NewRat(2, 1))
		}
		loss.Add(loss, x.Quo(x, n.Scale()))
	}
	for i, out := range q.Outputs {
		before, after := p.Exact(i, a.Values[i]), p.Exact(i, b.Values[i])
		if out.Kind == privacy.Quantile {
			most := new(big.Int)
			for j := range before {
				if d := new(big.Int).Sub(before[j], after[j]); d.CmpAbs(most) > 0 {
					most.Abs(d)
				}
			}
			x := new(big.Rat).Mul(new(big.Rat).SetInt(most.Lsh(most, 1)), p.Rate(i))
			if q.Mechanism == privacy.Gaussian {
				x.Mul(x, x)
				x.Quo(x, big.NewRat(8, 1))
			}
			loss.Add(loss, x)
			continue
		}
		for j, n := range p.Noises(i) {
			if !p.Shared(i) {
				add(new(big.Int).Sub(before[j], after[j]), n)
			}
		}
	}
	for i := range q.Inputs {
		if !q.Known {
			add(big.NewInt(a.Units[i]-b.Units[i]), p.SelectNoise(i))
		}
	}
	return loss
}

func input(name, table wire.ID, groups, rows int64, cost privacy.Cost) privacy.Input {
	return privacy.Input{Name: name, Table: table, MaxGroups: groups, MaxRows: rows, Stability: 1, MinGroup: 3, Cost: cost}
}

func everything(low, high int64) []privacy.Output {
	l, h := big.NewInt(low), big.NewInt(high)
	return []privacy.Output{
		{Column: "people", Kind: privacy.Units, Table: "a"},
		{Column: "n", Kind: privacy.Rows, Weight: 3},
		{Column: "total", Kind: privacy.Sum, Min: l, Max: h},
		{Column: "mean", Kind: privacy.Mean, Min: l, Max: h, Weight: 2},
		{Column: "variance", Kind: privacy.Variance, Min: l, Max: h},
		{Column: "median", Kind: privacy.Quantile, Min: l, Max: h, Of: 1, In: 2, Candidates: 9},
		{Column: "p90", Kind: privacy.Quantile, Min: l, Max: h, Of: 9, In: 10, Candidates: 5},
	}
}

// low is a quantile near 0, whose sensitivity comes from the values above it.
func low() []privacy.Output {
	return []privacy.Output{{Column: "p10", Kind: privacy.Quantile, Min: big.NewInt(-5), Max: big.NewInt(17), Of: 1, In: 10, Candidates: 9}}
}

var (
	pure = privacy.Cost{Epsilon: 2e6, Rho: 2e12, Delta: 1e12}
	more = privacy.Cost{Epsilon: 3e6, Rho: 45e11, Delta: 1e14}
	rho  = privacy.Cost{Rho: 1e11, Delta: 1e12}
)

// queries are of every shape: one owner, several in one table, joined, both.
func queries() map[string]privacy.Query {
	all := map[string]privacy.Query{}
	for mechanism, costs := range map[wire.ID][2]privacy.Cost{privacy.Laplace: {pure, more}, privacy.Gaussian: {rho, {Rho: 3e11, Delta: 2e12}}} {
		for name, inputs := range map[string][]privacy.Input{
			"one":      {input("x", "a", 3, 2, costs[0])},
			"two":      {input("x", "a", 2, 4, costs[0]), input("y", "a", 4, 1, costs[1])},
			"joined":   {input("x", "a", 2, 3, costs[0]), input("y", "b", 3, 5, costs[1])},
			"both":     {input("x", "a", 2, 3, costs[1]), input("y", "a", 1, 6, costs[0]), input("z", "b", 4, 3, costs[1])},
			"one once": {input("x", "a", 1, 1, costs[0])},
		} {
			for i, outputs := range [][]privacy.Output{everything(-5, 17), everything(-5, 17)[2:], everything(0, 0)[:4], everything(-9, -2)[1:6], low()} {
				q := privacy.Query{Mechanism: mechanism, Inputs: inputs, Outputs: outputs}
				label := name + " " + string(mechanism) + " " + strconv.Itoa(i)
				all[label] = q
				q.Known = true
				all[label+" known"] = q
			}
		}
	}
	return all
}

// TestLoss takes each unit out of random rows, and sums what all numbers of all groups
// together tell of it: never more than the run spends of its input.
func TestLoss(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, q := range queries() {
		p, err := q.Plan()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rows := data(r, q)
		worst := 0.0
		for i, in := range q.Inputs {
			limit := big.NewRat(int64(in.Cost.Epsilon), int64(privacy.OneEpsilon))
			if q.Mechanism == privacy.Gaussian {
				limit = big.NewRat(int64(in.Cost.Rho), int64(privacy.OneRho))
			}
			for id := int64(1); id <= 12; id++ {
				loss := new(big.Rat)
				for group := range 6 {
					loss.Add(loss, lossOf(q, p, cellOf(q, rows, group, i, 0), cellOf(q, rows, group, i, id)))
				}
				if loss.Cmp(limit) > 0 {
					t.Errorf("%s: unit %d of %s loses %s of %s", name, id, in.Name, loss.FloatString(9), limit.FloatString(9))
				}
				used, _ := loss.Quo(loss, limit).Float64()
				worst = max(worst, used)
			}
		}
		if worst == 0 {
			t.Errorf("%s: no unit loses anything: the test sees nothing", name)
		}
	}
}

// TestLossIsTight: a unit that is in as many groups and rows as it may loses all that the run
// spends, so no noise is wasted.
func TestLossIsTight(t *testing.T) {
	for _, mechanism := range []wire.ID{privacy.Laplace, privacy.Gaussian} {
		q := privacy.Query{Mechanism: mechanism, Known: true, Inputs: []privacy.Input{input("x", "a", 3, 2, pure)}, Outputs: everything(-5, 17)[:3]}
		p, err := q.Plan()
		if err != nil {
			t.Fatal(err)
		}
		var rows []row
		for group := range 3 {
			rows = append(rows, row{group, []int64{1}, 17}, row{group, []int64{1}, 17})
		}
		loss := new(big.Rat)
		for group := range 3 {
			loss.Add(loss, lossOf(q, p, cellOf(q, rows, group, 0, 0), cellOf(q, rows, group, 0, 1)))
		}
		if loss.Cmp(big.NewRat(2, 1)) != 0 {
			t.Errorf("%s: a unit everywhere loses %s of 2", mechanism, loss.FloatString(9))
		}
	}
}
