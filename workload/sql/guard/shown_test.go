package guard_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/workload/sql/guard"
)

// A row of allowed-limit and allowed-having: ward, alpha's rows, beta's people, all rows.
func counted(ward any, alpha, beta int64) []any {
	return []any{ward, num(alpha, 0), num(beta, 0), num(alpha+beta, 0)}
}

func shownOf(t *testing.T, c *guard.Collector, rows ...[]any) []string {
	t.Helper()
	for _, row := range rows {
		if err := c.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	return lines(c)
}

// LIMIT takes the first of the rows that are shown: a withheld one has no place among them.
func TestLimit(t *testing.T) {
	j := job(t)
	c := query(t, "allowed-limit", j).Collect(j) // ORDER BY n DESC LIMIT 2
	got := shownOf(t, c, counted("a", 900, 4), counted("b", 5, 5), counted("c", 6, 6), counted("d", 7, 7), counted("e", 999, 1))
	if diff := cmp.Diff([]string{"d|14", "c|12"}, got); diff != "" {
		t.Error(diff)
	}
	if w := c.Withheld(); w[1].Rows != 2 {
		t.Errorf("withheld %v", w)
	}
}

// The first of many rows are found in any order, although few are kept, and what is behind
// them neither is too many nor too long.
func TestLimitOfMany(t *testing.T) {
	j := job(t)
	j.MaxRows, j.MaxBytes = 2, 40
	q := query(t, "allowed-limit", j)
	var rows [][]any
	for i := range int64(5000) {
		rows = append(rows, counted(fmt.Sprintf("ward %05d", i), 100+i, 100))
	}
	for seed := range uint64(5) {
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(rows), func(i, k int) { rows[i], rows[k] = rows[k], rows[i] })
		if diff := cmp.Diff([]string{"ward 04999|5199", "ward 04998|5198"}, shownOf(t, q.Collect(j), rows...)); diff != "" {
			t.Fatal(diff)
		}
	}
	j.MaxBytes = 20
	if got := shownOf(t, q.Collect(j), rows...); len(got) != 1 || got[0] != "sql: run: output.bytes" {
		t.Errorf("too long, and shown: %v", got)
	}
}

// HAVING chooses among the rows that are shown, and those alone: whatever it asks for, a
// withheld row stays withheld, and its owner is told.
func TestHaving(t *testing.T) {
	j := job(t)
	c := query(t, "allowed-having", j).Collect(j) // n from 45 to 1000, not 30, below 110.5
	got := shownOf(t, c, counted("below", 40, 4), counted("under", 39, 5), counted("low", 40, 5), counted("high", 100, 10), counted("over", 100, 11), counted("few", 60, 4))
	if diff := cmp.Diff([]string{"high|110", "low|45"}, got); diff != "" {
		t.Error(diff)
	}
	if w := c.Withheld(); w[0].Rows != 0 || w[1].Rows != 2 {
		t.Errorf("withheld %v", w)
	}
	// What HAVING leaves out is never too much.
	j.MaxRows = 1
	c = query(t, "allowed-having", j).Collect(j)
	if diff := cmp.Diff([]string{"low|45"}, shownOf(t, c, counted("under", 39, 5), counted("low", 40, 5), counted("over", 100, 11))); diff != "" {
		t.Error(diff)
	}
}
