package engine_test

import (
	"context"
	"encoding/csv"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

// person is a row of alpha.csv or beta.csv, as the oracle reads it.
type person struct {
	owner, unit, ward string
	score             *big.Rat
}

func people(t *testing.T) (out []person) {
	t.Helper()
	for _, owner := range []string{"alpha", "beta"} {
		records, err := csv.NewReader(strings.NewReader(string(read(t, vectors+"/"+owner+".csv")))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records[1:] {
			p := person{owner: owner, unit: r[0], ward: r[1]}
			if r[2] != "" {
				p.score, _ = new(big.Rat).SetString(r[2])
			}
			out = append(out, p)
		}
	}
	return out
}

// few gives the owners with rows in a set, but fewer than k units.
func few(rows []person, k int) (out []string) {
	for _, owner := range []string{"alpha", "beta"} {
		units := map[string]bool{}
		for _, p := range rows {
			if p.owner == owner {
				units[p.unit] = true
			}
		}
		if len(units) > 0 && len(units) < k {
			out = append(out, owner)
		}
	}
	return out
}

// An oracle that shares nothing with the engine gives the same rows for every minimum group.
func TestAgainstOracle(t *testing.T) {
	rows := people(t)
	wards := map[string][]person{}
	for _, p := range rows {
		wards[p.ward] = append(wards[p.ward], p)
	}
	for k := 1; k <= 40; k += 3 {
		var want []string
		withheld := map[string]int64{}
		for ward, in := range wards {
			known := slices.DeleteFunc(slices.Clone(in), func(p person) bool { return p.score == nil })
			unknown := slices.DeleteFunc(slices.Clone(in), func(p person) bool { return p.score != nil })
			nonzero := slices.DeleteFunc(slices.Clone(known), func(p person) bool { return p.score.Sign() == 0 })
			kept := map[string]bool{}
			for _, owner := range slices.Concat(few(in, k), few(nonzero, k), few(unknown, k)) {
				kept[owner] = true
			}
			for _, owner := range []string{"alpha", "beta"} { // nobody is as few
				of := func(p person) bool { return p.owner == owner }
				if k > 1 && slices.ContainsFunc(in, of) && !slices.ContainsFunc(nonzero, of) {
					kept[owner] = true
				}
			}
			for owner := range kept {
				withheld[owner]++
			}
			if len(kept) > 0 {
				continue
			}
			sum := new(big.Rat)
			for _, p := range known {
				sum.Add(sum, p.score)
			}
			mean := new(big.Rat).Quo(sum, big.NewRat(int64(len(known)), 1))
			if ward == "" {
				ward = "NULL"
			}
			want = append(want, fmt.Sprintf("%s|%d|%d|%s|%s", ward, len(in), len(known), sum.FloatString(2), mean.FloatString(6)))
		}
		slices.SortFunc(want, func(a, b string) int {
			if null := strings.HasPrefix(a, "NULL"); null != strings.HasPrefix(b, "NULL") {
				return map[bool]int{true: 1, false: -1}[null]
			}
			return strings.Compare(a, b)
		})
		job := fullJob(t)
		atLeast(&job, int64(k))
		job.Query = "SELECT ward, count(*) AS n, count(score) AS known, sum(score) AS total, avg(score) AS mean FROM people GROUP BY ward"
		got, err := engine.Execute(context.Background(), job, silent)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, table(got)); diff != "" {
			t.Errorf("minimum group %d: %s", k, diff)
		}
		if diff := cmp.Diff([]sql.Withheld{{Owner: "alpha", Rows: withheld["alpha"]}, {Owner: "beta", Rows: withheld["beta"]}}, got.Withheld); diff != "" {
			t.Errorf("minimum group %d: %s", k, diff)
		}
	}
}

// However many threads count, a run gives the same bytes: R14's rerun.
func TestSameBytesOnAnyThreads(t *testing.T) {
	data := parquet(t, "SELECT CAST(i AS BIGINT) AS person, 'ward' || (hash(i) % 30) AS ward, CAST((hash(i + 1) % 10000000) / 100 - 50000 AS DECIMAL(18,2)) AS score, "+
		"hash(i + 2) % 3 = 0 AS smoker, DATE '2026-01-01' + CAST(hash(i + 3) % 7 AS INTEGER) AS seen FROM range(260000) t(i)")
	query := "SELECT ward, smoker, count(*) AS n, sum(score * 7) AS s, avg(score) AS m, count(seen) AS d, avg(CASE WHEN score > 0 THEN score ELSE 0 END) AS c FROM people GROUP BY ward, smoker ORDER BY d"
	var first []string
	for i := range 50 {
		job := oneInput(t, agreement.Parquet, data, i%10 != 0, query)
		job.Threads = int64(1 + i%4)
		atLeast(&job, 10)
		got, err := engine.Execute(context.Background(), job, silent)
		if err != nil {
			t.Fatal(err, failureOf(t, err).Detail)
		}
		if rows := table(got); first == nil {
			first = rows
		} else if diff := cmp.Diff(first, rows); diff != "" {
			t.Fatalf("run %d with %d threads: %s", i, job.Threads, diff)
		}
	}
	if len(first) != 60 {
		t.Errorf("%d rows", len(first))
	}
}

// An owner whose rows come in two inputs may bring one unit twice, so that its units are
// counted distinct, however unique each input is.
func TestTwoInputsOfOneOwner(t *testing.T) {
	same := smallHeader + "1,a,1,true,2026-01-01\n2,a,1,true,2026-01-01\n3,a,1,true,2026-01-01\n"
	for minimum, want := range map[int64]int{3: 1, 4: 0} {
		job := oneInput(t, agreement.CSV, []byte(same), true, "SELECT ward, count(*) AS n FROM people GROUP BY ward")
		again := job.Inputs[0]
		again.Name, again.FD = "more", fdOf(t, []byte(same))
		job.Inputs = append(job.Inputs, again)
		job.Tables[0].Inputs = []wire.ID{"rows", "more"}
		atLeast(&job, minimum)
		got, err := engine.Execute(context.Background(), job, silent)
		if err != nil || len(got.Rows) != want {
			t.Errorf("minimum %d: %v, %v", minimum, table(got), err)
		}
	}
}

// Sums and means are exact where floating point and 64 bits are not.
func TestExactNumbers(t *testing.T) {
	data := smallHeader + "1,a,9999999999999999.99,true,2026-01-01\n2,a,9999999999999999.99,true,2026-01-01\n3,a,0.01,true,2026-01-01\n9223372036854775807,b,-0.01,false,2026-01-01\n9223372036854775806,b,-0.02,false,2026-01-01\n"
	job := oneInput(t, agreement.CSV, []byte(data), true, "SELECT ward, sum(score) AS s, avg(score) AS m, round(avg(score), 2) AS r, sum(score * 100000000) AS q FROM people GROUP BY ward")
	got, err := engine.Execute(context.Background(), job, silent)
	if err != nil {
		t.Fatal(err, failureOf(t, err).Detail)
	}
	want := []string{
		"a|19999999999999999.99|6666666666666666.663333|6666666666666666.66|1999999999999999999000000.00",
		"b|-0.03|-0.015000|-0.02|-3000000.00",
	}
	if diff := cmp.Diff(want, table(got)); diff != "" {
		t.Error(diff)
	}
}

// Of the people on a branch of a CASE only those with a value add to the sum: they are the
// ones that must be many.
func TestBranchWithFewValues(t *testing.T) {
	data := smallHeader
	for i := range 24 {
		ward, score := "a", ""
		if i == 0 {
			score = "42.42"
		}
		if i >= 12 {
			ward, score = "b", "1.00"
		}
		data += fmt.Sprintf("%d,%s,%s,true,2026-01-01\n", i+1, ward, score)
	}
	job := oneInput(t, agreement.CSV, []byte(data), true, "SELECT sum(CASE WHEN ward = 'a' THEN score ELSE 0 END) AS s, count(*) AS n FROM people")
	atLeast(&job, 10)
	got, err := engine.Execute(context.Background(), job, silent)
	if err != nil || len(got.Rows) != 0 {
		t.Errorf("one person's value came out: %v, %v", table(got), err)
	}
}
