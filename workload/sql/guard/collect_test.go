package guard_test

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/guard"
)

func num(unscaled int64, scale int) guard.Number {
	return guard.Number{Unscaled: big.NewInt(unscaled), Scale: scale}
}

// query gives a query of the fixtures. Rows of allowed-by-ward are: ward, then alpha's rows,
// beta's people, all rows, the sum, the count of scores, the two owners' people with a score
// other than 0, and those without one.
func query(t testing.TB, name string, j *sql.Job) *guard.Query {
	t.Helper()
	q, err := guard.Check(fixtures(t, name+".json")[name].Tree, j)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func byWard(ward any, alpha, beta, rows, sum, count, alphaKnown, betaKnown int64) []any {
	return []any{ward, num(alpha, 0), num(beta, 0), num(rows, 0), num(sum, 2), num(count, 0), num(alphaKnown, 0), num(betaKnown, 0), num(alpha-alphaKnown, 0), num(beta-betaKnown, 0)}
}

func lines(c *guard.Collector) (out []string) {
	rows, err := c.Rows()
	if err != nil {
		return []string{err.Error()}
	}
	for _, row := range rows {
		var cells []string
		for _, cell := range row {
			if cell == nil {
				cells = append(cells, "NULL")
			} else {
				cells = append(cells, *cell)
			}
		}
		out = append(out, strings.Join(cells, "|"))
	}
	return out
}

func TestWithheld(t *testing.T) {
	for name, test := range map[string]struct {
		row         []any
		shown       bool
		alpha, beta int64
	}{
		"enough of both":            {byWard("a", 5, 5, 10, 100, 10, 5, 5), true, 0, 0},
		"one owner alone":           {byWard("a", 0, 5, 5, 100, 5, 0, 5), true, 0, 0},
		"few of beta":               {byWard("a", 500, 4, 504, 100, 504, 500, 4), false, 0, 1},
		"few of alpha":              {byWard("a", 1, 500, 501, 100, 501, 1, 500), false, 1, 0},
		"few of both":               {byWard("a", 4, 4, 8, 100, 8, 4, 4), false, 1, 1},
		"few with a value":          {byWard("a", 50, 50, 100, 100, 49, 45, 4), false, 0, 1},
		"few without a value":       {byWard("a", 50, 50, 100, 100, 93, 45, 48), false, 0, 1},
		"enough without a value":    {byWard("a", 50, 50, 100, 100, 90, 45, 45), true, 0, 0},
		"nobody with a value":       {byWard("a", 50, 50, 100, 0, 50, 0, 50), false, 1, 0},
		"nobody at all":             {byWard("a", 0, 0, 0, 0, 0, 0, 0), false, 0, 0},
		"exactly one":               {byWard("a", 1, 0, 1, 100, 1, 1, 0), false, 1, 0},
		"few and few with a value":  {byWard("a", 4, 5, 9, 100, 8, 3, 5), false, 1, 0},
		"a huge count is no few":    {slices.Replace(byWard("a", 5, 5, 10, 100, 10, 5, 5), 2, 3, any(guard.Number{Unscaled: new(big.Int).Lsh(big.NewInt(1), 100)})), true, 0, 0},
		"the text of the row's own": {byWard(nil, 5, 5, 10, 100, 10, 5, 5), true, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t)
			c := query(t, "allowed-by-ward", j).Collect(j)
			if err := c.Add(test.row); err != nil {
				t.Fatal(err)
			}
			if got := len(lines(c)) == 1; got != test.shown {
				t.Errorf("shown: %v", got)
			}
			if diff := cmp.Diff([]sql.Withheld{{Owner: "alpha", Rows: test.alpha}, {Owner: "beta", Rows: test.beta}}, c.Withheld()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever the counts: a shown row never has an owner with people in it but fewer than k
// with a value, or with 1 to k-1 without; a withheld one always has; and the withheld of an
// owner depend on its own counts only.
func TestWithheldProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	j := job(t)
	for range 3000 {
		k := r.Int64N(8) + 1
		for i := range j.Inputs {
			j.Inputs[i].Rules.MinGroup = k
		}
		q := query(t, "allowed-by-ward", j)
		j.MaxRows = 1 << 20
		c := q.Collect(j)
		a, b := r.Int64N(12), r.Int64N(12)
		ak, bk := r.Int64N(a+1), r.Int64N(b+1)
		if err := c.Add(byWard("a", a, b, a+b, 100, max(ak+bk, 1), ak, bk)); err != nil {
			t.Fatal(err)
		}
		few := func(n int64) bool { return n > 0 && n < k }
		none := func(n, of int64) bool { return n == 0 && of > 0 && k > 1 }
		fewA, fewB := few(a) || few(ak) || few(a-ak) || none(ak, a), few(b) || few(bk) || few(b-bk) || none(bk, b)
		if shown := len(lines(c)) == 1; shown != (!fewA && !fewB && a+b > 0) {
			t.Fatalf("minimum %d, counts %d %d, known %d %d: shown %v", k, a, b, ak, bk, shown)
		}
		w := c.Withheld()
		if (w[0].Rows == 1) != fewA || (w[1].Rows == 1) != fewB {
			t.Fatalf("minimum %d, counts %d %d, known %d %d: withheld %v", k, a, b, ak, bk, w)
		}
	}
}

// Rows come in any order and leave in one.
func TestCanonicalOrder(t *testing.T) {
	j := job(t)
	q := query(t, "allowed-order", j) // ORDER BY s DESC, ward NULLS FIRST; groups ward, smoker
	row := func(ward, smoker any, sum int64) []any {
		return []any{ward, smoker, num(9, 0), num(9, 0), num(sum, 0), num(9, 0), num(9, 0), num(0, 0), num(0, 0), num(0, 0), num(0, 0), num(9, 0), num(9, 0)}
	}
	rows := [][]any{row("a", true, 5), row("a", false, 5), row("a", nil, 5), row("b", true, 5), row(nil, true, 5), row("B", true, 5), row("z", true, 10), row("y", true, -1)}
	want := []string{"z|true|10", "NULL|true|5", "B|true|5", "a|false|5", "a|true|5", "a|NULL|5", "b|true|5", "y|true|-1"}
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		r.Shuffle(len(rows), func(i, k int) { rows[i], rows[k] = rows[k], rows[i] })
		c := q.Collect(j)
		for _, row := range rows {
			if err := c.Add(slices.Clone(row)); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, lines(c)); diff != "" {
			t.Fatal(diff)
		}
	}
}

// Means are rounded once, halves away from zero.
func TestMeans(t *testing.T) {
	for _, test := range []struct {
		sum, count int64
		want       string
	}{
		{100, 3, "0.333333"}, {200, 3, "0.666667"}, {-200, 3, "-0.666667"}, {0, 7, "0.000000"}, {1, 20000, "0.000001"}, {-1, 20000, "-0.000001"},
		{1, 20001, "0.000000"}, {-1, 20001, "0.000000"}, {123456, 1, "1234.560000"}, {9223372036854775807, 2, "46116860184273879.035000"},
	} {
		j := job(t)
		c := query(t, "allowed-by-ward", j).Collect(j)
		if err := c.Add(byWard("a", 9, 9, 18, test.sum, test.count, 9, 9)); err != nil {
			t.Fatal(err)
		}
		if got := lines(c)[0]; !strings.HasSuffix(got, "|"+test.want) {
			t.Errorf("%d/%d: got %s, want %s", test.sum, test.count, got, test.want)
		}
		mean := new(big.Rat).SetFrac64(test.sum, test.count*100).FloatString(6) // halves away from zero
		if want := strings.Replace(mean, "-0.000000", "0.000000", 1); want != test.want {
			t.Errorf("%d/%d: big.Rat says %s", test.sum, test.count, want)
		}
	}
}

// What the engine can't have counted is a failure, never a row.
func TestRowsThatCantBe(t *testing.T) {
	good := byWard("a", 9, 9, 18, 100, 18, 9, 9)
	for name, change := range map[string]func(row []any) []any{
		"a value less":    func(r []any) []any { return r[:len(r)-1] },
		"a value more":    func(r []any) []any { return append(r, num(1, 0)) },
		"none":            func([]any) []any { return nil },
		"NULL as a count": func(r []any) []any { r[1] = nil; return r },
		"text as a count": func(r []any) []any { r[2] = "9"; return r },
		"negative count":  func(r []any) []any { r[2] = num(-9, 0); return r },
		"broken count":    func(r []any) []any { r[2] = num(90, 1); return r },
		"mean of nothing": func(r []any) []any { r[5] = num(0, 0); return r },
		"sum as text":     func(r []any) []any { r[4] = "1"; return r },
		"float":           func(r []any) []any { r[0] = 1.5; return r },
		"bytes":           func(r []any) []any { r[0] = []byte("a"); return r },
		"year 10000":      func(r []any) []any { r[0] = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC); return r },
		"year 0":          func(r []any) []any { r[0] = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC); return r },
	} {
		j := job(t)
		c := query(t, "allowed-by-ward", j).Collect(j)
		err := c.Add(change(slices.Clone(good)))
		var f *sql.Failure
		if !errors.As(err, &f) || f.Phase != sql.Query {
			t.Errorf("%s: %v", name, err)
		}
		if got := lines(c); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestCollectorLimits(t *testing.T) {
	for code, change := range map[string]func(*sql.Job) string{
		"output.rows":  func(j *sql.Job) string { j.MaxRows = 2; return "w" },
		"output.bytes": func(j *sql.Job) string { j.MaxBytes = 60; return "w" },
	} {
		j := job(t)
		ward := change(j)
		c := query(t, "allowed-by-ward", j).Collect(j)
		var err error
		for i := 0; err == nil && i < 10; i++ {
			err = c.Add(byWard(fmt.Sprint(ward, i), 9, 9, 18, 100, 18, 9, 9))
		}
		var f *sql.Failure
		if !errors.As(err, &f) || f.Code != code {
			t.Errorf("got %v, want %s", err, code)
		}
	}
	j := job(t)
	j.MaxBytes = 1 << 30
	err := query(t, "allowed-by-ward", j).Collect(j).Add(byWard(strings.Repeat("x", sql.MaxRow+1), 9, 9, 18, 100, 18, 9, 9))
	if err == nil {
		t.Error("a row of any length passed")
	}
	// What is withheld counts towards no limit: it never leaves.
	j.MaxRows = 1
	c := query(t, "allowed-by-ward", j).Collect(j)
	for range 100 {
		if err := c.Add(byWard("a", 1, 1, 2, 100, 2, 1, 1)); err != nil {
			t.Fatal(err)
		}
	}
}
