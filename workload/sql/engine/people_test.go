package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

var personal = []agreement.Column{{Name: "person", Type: "integer", Unit: true}, {Name: "ward", Type: "text"},
	{Name: "x", Type: "integer"}, {Name: "flag", Type: "integer"}}

// Each of these once told of one person in thirty, with a minimum group of ten.
func TestOnePersonStaysHidden(t *testing.T) {
	for name, test := range map[string]struct {
		query, refused string
		row            func(i int) string // of person i of 30; person 7 is the target
	}{
		"a branch and NULL": {"SELECT sum(CASE WHEN ward = 'a' THEN x ELSE 0 END) AS s, count(*) AS n FROM people", "",
			func(i int) string { return choose(i == 7, "a,424242,0", choose(i < 15, "a,,0", "b,5,0")) }},
		"a product": {"SELECT sum(x * flag) AS s FROM people", "query.aggregate", nil},
		"a square":  {"SELECT sum(x * x) AS s FROM people", "query.aggregate", nil},
		"a flag": {"SELECT sum(flag) AS s, count(*) AS n FROM people", "",
			func(i int) string { return choose(i == 7, "a,1,1", "a,1,0") }},
		"a flag that one lacks": {"SELECT avg(flag) AS s, count(*) AS n FROM people", "",
			func(i int) string { return choose(i == 7, "a,1,0", "a,1,1") }},
		"a flag that nobody lacks": {"SELECT avg(flag) AS s, count(*) AS n FROM people", "",
			func(i int) string { return "a,1,1" }},
		"one less a flag": {"SELECT sum(1 - flag) AS s FROM people", "",
			func(i int) string { return choose(i == 7, "a,1,0", "a,1,1") }},
		"a flag on a branch": {"SELECT sum(CASE WHEN ward = 'a' THEN flag ELSE 0 END) AS s, count(*) AS n FROM people", "",
			func(i int) string { return choose(i == 7, "a,1,0", choose(i < 15, "a,1,1", "b,1,1")) }},
		"few on a branch": {"SELECT count(*) AS n, sum(CASE WHEN x = 37 AND flag = 1 THEN 1 ELSE 0 END) AS s FROM people", "",
			func(i int) string { return choose(i == 7, "a,37,1", "a,50,0") }},
		"nobody on a branch": {"SELECT count(*) AS n, sum(CASE WHEN x = 37 AND flag = 1 THEN 1 ELSE 0 END) AS s FROM people", "",
			func(i int) string { return choose(i == 7, "a,37,0", "a,50,0") }},
		"the ones without a value": {"SELECT count(*) AS n, count(x) AS c FROM people", "",
			func(i int) string { return choose(i == 7, "a,,0", "a,1,0") }},
		"a CASE without a value's branch": {"SELECT sum(CASE WHEN ward = 'a' THEN x ELSE 0 END) AS a, sum(x) AS s FROM people", "",
			func(i int) string { return choose(i == 7, "b,424242,0", choose(i < 15, "a,1,0", "b,,0")) }},
		"two CASEs":             {"SELECT sum(CASE WHEN ward = 'a' THEN x ELSE 0 END) AS a, sum(CASE WHEN ward = 'a' AND flag = 0 THEN x ELSE 0 END) AS b FROM people", "query.aggregate", nil},
		"two columns, one NULL": {"SELECT sum(x + flag) AS a, sum(x) AS b, sum(flag) AS c FROM people", "query.aggregate", nil},
		"a value of one's own": {"SELECT count(DISTINCT flag) AS d, count(*) AS n FROM people", "query.aggregate",
			func(i int) string { return choose(i == 7, "a,1,1", "a,1,0") }},
		"a value met by a constant": {"SELECT count(DISTINCT CASE WHEN ward = 'a' THEN x ELSE 37 END) AS d, count(DISTINCT CASE WHEN ward = 'a' THEN x END) AS e FROM people", "query.aggregate",
			func(i int) string { return choose(i == 7, "a,37,0", choose(i < 15, "a,5,0", "b,5,0")) }},
		"an overflow": {"SELECT sum(x * 1000000000) AS s FROM people", "query.overflow", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := "person,ward,x,flag\n"
			for i := range 30 {
				if test.row != nil {
					data += fmt.Sprintf("%d,%s\n", i, test.row(i))
				}
			}
			for n := range 4 {
				unique, audited := n%2 == 0, n/2 == 0
				if audited && name == "two CASEs" {
					continue // there the audit looks at what they tell together
				}
				job := oneInput(t, agreement.CSV, []byte(data), unique, test.query)
				job.Inputs[0].Schema, job.Inputs[0].Rules.MinGroup = personal, 10
				if !audited {
					job.Inputs[0].Rules.Differences = agreement.Unaudited
				}
				got, err := engine.Execute(context.Background(), job, silent)
				if test.refused != "" {
					if f := failureOf(t, err); f.Phase != sql.Check || f.Code != test.refused {
						t.Errorf("%s %s", f.Phase, f.Code)
					}
				} else if err != nil || len(got.Rows) != 0 || got.Withheld[0].Rows != 1 {
					t.Errorf("%v: %v, withheld %v", err, table(got), got.Withheld)
				}
			}
		})
	}
}

func choose(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// What is enough on every side is still shown.
func TestEnoughOnEveryBranch(t *testing.T) {
	data := "person,ward,x,flag\n"
	for i := range 40 {
		data += fmt.Sprintf("%d,%s,%d,%d\n", i, choose(i < 20, "a", "b"), i+1, i%2)
	}
	job := oneInput(t, agreement.CSV, []byte(data), true, "SELECT count(*) AS n, sum(flag) AS f, sum(CASE WHEN ward = 'a' THEN 2 * x + 1 ELSE 0 END) AS s, avg(CASE WHEN ward = 'a' THEN 1 END) AS o FROM people")
	job.Inputs[0].Schema, job.Inputs[0].Rules.MinGroup = personal, 10
	got, err := engine.Execute(context.Background(), job, silent)
	if err != nil || strings.Join(table(got), "\n") != "40|20|440|1.0000" {
		t.Errorf("%v: %v, withheld %v", err, table(got), got.Withheld)
	}
}

// A broken value in a column the query does not read is found at load, as its owner's.
func TestBrokenParquetValueIsItsOwners(t *testing.T) {
	good := parquet(t, "SELECT CAST(i AS BIGINT) AS person, 'SECRETDIAG' || chr(200) || 'x' AS ward, CAST(1.5 AS DECIMAL(9,2)) AS score, true AS smoker, DATE '2026-01-01' AS seen FROM range(50) t(i)")
	bad := bytes.ReplaceAll(good, []byte("SECRETDIAG\xc3\x88x"), []byte("SECRETDIAG\xff\xfex"))
	if bytes.Equal(good, bad) {
		t.Fatal("nothing to break")
	}
	for _, query := range []string{everything, "SELECT count(*) AS n FROM people"} {
		job := oneInput(t, agreement.Parquet, good, false, query)
		other := job.Inputs[0]
		other.Name, other.Owner, other.FD = "more", "beta", fdOf(t, bad)
		job.Inputs, job.Tables[0].Inputs = append(job.Inputs, other), []wire.ID{"rows", "more"}
		_, err := engine.Execute(context.Background(), job, silent)
		if f := failureOf(t, err); f.Phase != sql.Load || f.Code != "input.value" || f.Input != "more" {
			t.Errorf("%s of %q in %s: %s", f.Code, f.Input, f.Phase, f.Detail)
		}
	}
}

func TestDatesWithoutCanonicalText(t *testing.T) {
	for _, date := range []string{"infinity", "-infinity", "10000-01-01", "0001-12-31 (BC)"} {
		data := parquet(t, strings.Replace(goodParquet, "DATE '2026-01-01'", "DATE '"+date+"'", 1))
		_, err := engine.Execute(context.Background(), oneInput(t, agreement.Parquet, data, true, "SELECT ward, count(*) AS n FROM people GROUP BY ward"), silent)
		if f := failureOf(t, err); f.Phase != sql.Load || f.Code != "input.value" || f.Input != "rows" {
			t.Errorf("%s: %s %s of %q", date, f.Phase, f.Code, f.Input)
		}
	}
	for _, date := range []string{"0001-01-01", "9999-12-31"} {
		data := parquet(t, strings.Replace(goodParquet, "DATE '2026-01-01'", "DATE '"+date+"'", 1))
		if _, err := engine.Execute(context.Background(), oneInput(t, agreement.Parquet, data, true, everything), silent); err != nil {
			t.Errorf("%s: %s", date, failureOf(t, err).Detail)
		}
	}
	_, err := engine.Execute(context.Background(), oneInput(t, agreement.CSV, []byte(smallHeader+"1,a,1,true,0000-01-01\n"), true, everything), silent)
	if f := failureOf(t, err); f.Code != "input.value" || f.Input != "rows" {
		t.Errorf("year 0: %s", f.Code)
	}
}

// A failure that is nobody's alone goes to all owners, so it has no words of DuckDB's.
func TestNoDetailWithoutInput(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	_, err := engine.Execute(ctx, fullJob(t), func(p sql.Progress) {
		if p.Phase == sql.Query {
			cancel()
		}
	})
	if f := failureOf(t, err); f.Phase != sql.Query || f.Input != "" || f.Detail != "" {
		t.Errorf("%s %s of %q: %q", f.Phase, f.Code, f.Input, f.Detail)
	}
}

func TestNULInQuery(t *testing.T) {
	job := baseJob(t)
	job.Query = "SELECT count(*) AS n FROM people\x00 WHERE smoker"
	_, err := engine.Execute(context.Background(), job, silent)
	if f := failureOf(t, err); f.Phase != sql.Check || f.Code != "query.syntax" {
		t.Errorf("%s %s", f.Phase, f.Code)
	}
}
