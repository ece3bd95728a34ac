package sql_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

func itoa(i int) string { return strconv.Itoa(i) }

func silent(sql.Progress) {}

// refusal runs a job's check and gives the rule that refuses it, "" for none.
func refusal(t testing.TB, job sql.Job) (rule, detail string) {
	t.Helper()
	_, err := engine.Execute(context.Background(), job, silent)
	if err == nil {
		return "", ""
	}
	var f *sql.Failure
	if !errors.As(err, &f) {
		t.Fatalf("not a refusal: %v", err)
	}
	if f.Phase != sql.Check {
		t.Errorf("refused in phase %s, where data is read already", f.Phase)
	}
	return f.Code, f.Detail
}

// fewestAttacks is how many there must be: a file that is not read would go unnoticed.
const fewestAttacks = 200

// Every attack is refused, without data, for the rule that its line states.
func TestAttacks(t *testing.T) {
	all := corpus(t, "attacks")
	if len(all) < fewestAttacks {
		t.Errorf("%d attacks, at least %d expected", len(all), fewestAttacks)
	}
	groups, rows := agreed(t, false), agreed(t, true)
	rules := map[string]int{}
	for _, c := range all {
		a := groups
		if c.Rows {
			a = rows
		}
		rule, detail := refusal(t, jobOf(a, c.Query))
		switch {
		case c.Rule == "":
			t.Errorf("%s states no rule; it is refused by %s: %s", c.where, rule, detail)
		case rule == "":
			t.Errorf("%s PASSES: %s\n%s", c.where, c.About, c.Query)
		case rule != c.Rule:
			t.Errorf("%s: refused by %s (%s), not by %s: %s", c.where, rule, detail, c.Rule, c.Query)
		case detail == "":
			t.Errorf("%s: refused by %s without a reason", c.where, rule)
		}
		rules[rule]++
	}
	t.Logf("%d attacks by rule: %v", len(all), rules)
}
