package guard_test

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"strongroom.dev/workload/sql/guard"
)

// sets makes vectors of sets of atoms.
func sets(list ...[]int) (out []guard.Vector) {
	for _, set := range list {
		v := guard.Vector{}
		for _, atom := range set {
			v[atom]++
		}
		out = append(out, v)
	}
	return out
}

// atoms makes atoms of so many people each, no two of whom are the same.
func atoms(units []int64) (out []guard.Atom) {
	next := uint64(1)
	for _, n := range units {
		a := guard.Atom{Units: n}
		for range n {
			a.People = append(a.People, next)
			next++
		}
		out = append(out, a)
	}
	return out
}

func TestAuditor(t *testing.T) {
	for name, test := range map[string]struct {
		units []int64
		asked [][]int
		want  []bool
	}{
		"a large group":              {[]int64{10, 10}, [][]int{{0}, {1}, {0, 1}}, []bool{true, true, true}},
		"few alone":                  {[]int64{10, 2}, [][]int{{1}}, []bool{false}},
		"all, then all but few":      {[]int64{10, 2}, [][]int{{0, 1}, {0}}, []bool{true, false}},
		"all but few, then all":      {[]int64{10, 2}, [][]int{{0}, {0, 1}}, []bool{true, false}},
		"the same again":             {[]int64{10, 2}, [][]int{{0, 1}, {0, 1}}, []bool{true, true}},
		"a chain":                    {[]int64{10, 10, 10, 1}, [][]int{{0, 1}, {1, 2}, {0, 2, 3}, {0, 1, 2}}, []bool{true, true, true, false}},
		"the general tracker":        {[]int64{1, 9, 8, 7}, [][]int{{0, 1, 2}, {0, 3}, {0, 1, 2, 3}}, []bool{true, true, false}},
		"two groups of few together": {[]int64{10, 3, 3}, [][]int{{0}, {0, 1, 2}}, []bool{true, true}},
		"and then one of them":       {[]int64{10, 3, 3}, [][]int{{0}, {0, 1, 2}, {0, 1}}, []bool{true, true, false}},
		"a table of two by two":      {[]int64{6, 4, 6, 4}, [][]int{{0, 1}, {2, 3}, {0, 2}, {1, 3}, {1}, {0}}, []bool{true, true, true, true, false, false}},
		"three pairs of few":         {[]int64{3, 3, 3, 20}, [][]int{{0, 1}, {1, 2}, {0, 2}}, []bool{true, true, false}},
		"four pairs of few":          {[]int64{3, 3, 3, 3, 3}, [][]int{{0, 1}, {1, 2}, {2, 3}, {3, 4}}, []bool{true, true, true, false}},
		"nothing":                    {[]int64{10}, [][]int{{}}, []bool{true}},
	} {
		a := guard.NewAuditor(atoms(test.units), 5)
		for i, set := range test.asked {
			if got := a.Show(sets(set)); got != test.want[i] {
				t.Errorf("%s: question %d: %v", name, i+1, got)
			}
		}
	}
}

// What is refused leaves no trace, and what is shown together is judged together.
func TestAuditorRefusesWhole(t *testing.T) {
	a := guard.NewAuditor(atoms([]int64{10, 10, 2}), 5)
	if a.Show(sets([]int{0, 2}, []int{0})) {
		t.Error("a difference of two was shown")
	}
	if !a.Show(sets([]int{0, 2})) || a.Show(sets([]int{0})) {
		t.Error("a refused pair was remembered, or a shown one forgotten")
	}
	if !a.Show(sets([]int{0, 1, 2}, []int{1})) {
		t.Error("what tells nothing new was refused")
	}
}

// Whatever is asked: exact arithmetic over the rationals finds no combination of what was shown
// that speaks of fewer than five people.
func TestAuditorAgainstRationals(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 400 {
		n := 2 + r.IntN(6)
		units := make([]int64, n)
		few := make([]bool, n)
		for i := range units {
			units[i] = int64(1 + r.IntN(9))
			few[i] = units[i] < 5
		}
		a := guard.NewAuditor(atoms(units), 5)
		var shown [][]int64
		for range 10 {
			row := make([]int64, n)
			v := guard.Vector{}
			for i := range row {
				row[i] = int64(r.IntN(3))
				if row[i] > 0 {
					v[i] = uint64(row[i])
				}
			}
			with := append(append([][]int64{}, shown...), row)
			got := a.Show([]guard.Vector{v})
			if got && speaksOfFew(with, units) {
				t.Fatalf("units %v, shown %v, asked %v: shown", units, shown, row)
			}
			// What has a part of its own in large atoms, or nothing new, is never refused.
			if harmless := rank(with, nil) == rank(shown, nil) || rank(with, few) > rank(shown, few); harmless && !got {
				t.Fatalf("units %v, shown %v, asked %v: refused", units, shown, row)
			}
			if got {
				shown = with
			}
		}
	}
}

// speaksOfFew looks at every set of atoms of fewer than five people: a combination is zero
// outside it if leaving it out lowers the rank.
func speaksOfFew(rows [][]int64, units []int64) bool {
	all := rank(rows, nil)
	for set := range 1 << len(units) {
		people, without := int64(0), make([]bool, len(units))
		for i, n := range units {
			if set>>i&1 == 1 {
				people, without[i] = people+n, true
			}
		}
		if people > 0 && people < 5 && rank(rows, without) < all {
			return true
		}
	}
	return false
}

// rank gives the rank of rows over the columns that are not left out.
func rank(rows [][]int64, without []bool) int {
	var m [][]*big.Rat
	for _, row := range rows {
		var out []*big.Rat
		for i, v := range row {
			if without == nil || !without[i] {
				out = append(out, new(big.Rat).SetInt64(v))
			}
		}
		m = append(m, out)
	}
	n := 0
	for column := 0; len(m) > 0 && column < len(m[0]); column++ {
		at := -1
		for i := n; i < len(m); i++ {
			if m[i][column].Sign() != 0 {
				at = i
			}
		}
		if at < 0 {
			continue
		}
		m[n], m[at] = m[at], m[n]
		for i := n + 1; i < len(m); i++ {
			factor := new(big.Rat).Quo(m[i][column], m[n][column])
			for j := range m[i] {
				m[i][j] = new(big.Rat).Sub(m[i][j], new(big.Rat).Mul(factor, m[n][j]))
			}
		}
		n++
	}
	return n
}
