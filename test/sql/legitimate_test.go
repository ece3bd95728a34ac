package sql_test

import (
	"context"
	databasesql "database/sql"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/cards"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

const (
	fewestLegitimate     = 80
	fewestLegitimateRows = 20
)

// Every legitimate query passes as agreed. Where no rule bites its answer is plain DuckDB's,
// all of it; under the agreed minimum group it is a part of that, and what is withheld leaves
// nothing that plain DuckDB does not say.
func TestLegitimate(t *testing.T) {
	groups, rows := 0, 0
	data, err := files()
	if err != nil {
		t.Fatal(err)
	}
	written, normal := plainDuckDB(t, data, "email"), plainDuckDB(t, data, "lower(trim(email))")
	for _, c := range corpus(t, "legitimate") {
		a, db := agreed(t, c.Rows), normal
		if c.Rows {
			rows++
			db = written
		} else {
			groups++
		}
		if rule, detail := refusal(t, jobOf(a, c.Query)); rule != "" {
			t.Errorf("%s is refused by %s: %s\n%s", c.where, rule, detail, c.Query)
			continue
		}
		want := db.ask(t, c)
		if len(want) == 0 {
			t.Errorf("%s: plain DuckDB has no rows for it: %s", c.where, c.Query)
		}
		job := overData(t, jobOf(a, c.Query), a, data)
		unbound(&job)
		if !c.Rows {
			agreed := execute(t, c, job)
			within(t, c, agreed, want)
		}
		for i := range job.Inputs {
			job.Inputs[i].Rules.MinGroup = 1
		}
		job.MaxRows, job.MaxBytes = agreement.MaxRows, agreement.MaxOutput
		equal(t, c, execute(t, c, job), want)
	}
	if groups < fewestLegitimate || rows < fewestLegitimateRows {
		t.Errorf("%d queries of groups and %d of rows, at least %d and %d expected", groups, rows, fewestLegitimate, fewestLegitimateRows)
	}
	t.Logf("%d queries of groups, %d of rows", groups, rows)
}

// unbound takes the rules that change values off a job, and, where rows leave, the forms: then
// identifiers leave as their hashes.
func unbound(job *sql.Job) {
	for i := range job.Inputs {
		r := &job.Inputs[i].Rules
		r.Columns = slices.Clone(r.Columns)
		for j := range r.Columns {
			r.Columns[j].Min, r.Columns[j].Max = "", ""
			if r.Answers == agreement.Rows {
				r.Columns[j].Form = ""
			}
		}
	}
}

func execute(t *testing.T, c testCase, job sql.Job) sql.Result {
	t.Helper()
	got, err := engine.Execute(context.Background(), job, silent)
	if err != nil {
		t.Fatalf("%s: %v\n%s", c.where, err, c.Query)
	}
	return got
}

// equal compares rows as sets: the order of an answer is the room's own (spec/sql.md, section 5).
func equal(t *testing.T, c testCase, got sql.Result, want [][]any) {
	t.Helper()
	if len(got.Rows) != len(want) {
		t.Errorf("%s: %d rows, plain DuckDB has %d: %s", c.where, len(got.Rows), len(want), c.Query)
		return
	}
	if odd := unmatched(got, want); odd != "" {
		t.Errorf("%s: plain DuckDB does not have the row %s: %s", c.where, odd, c.Query)
	}
}

// within holds an answer from which rows may be withheld to plain DuckDB's. With LIMIT, rows
// that were withheld make room for others.
func within(t *testing.T, c testCase, got sql.Result, want [][]any) {
	t.Helper()
	switch {
	case c.Few && len(got.Rows) > 0:
		t.Errorf("%s: %d rows are shown, all are of few: %s", c.where, len(got.Rows), c.Query)
	case !c.Few && len(got.Rows) == 0:
		t.Errorf("%s: nothing is shown under the agreed minimum group (then it says \"few\": true): %s", c.where, c.Query)
	case strings.Contains(c.Query, "LIMIT"):
		return
	}
	if odd := unmatched(got, want); odd != "" {
		t.Errorf("%s, as agreed: plain DuckDB does not have the row %s: %s", c.where, odd, c.Query)
	}
}

// unmatched gives the first row that want does not have, each of whose rows counts once.
func unmatched(got sql.Result, want [][]any) string {
	left := slices.Clone(want)
	for _, row := range got.Rows {
		i := slices.IndexFunc(left, func(plain []any) bool { return sameRow(got.Columns, row, plain) })
		if i < 0 {
			return text(row)
		}
		left = slices.Delete(left, i, i+1)
	}
	return ""
}

func text(row []*string) string {
	cells := make([]string, len(row))
	for i, c := range row {
		if cells[i] = "NULL"; c != nil {
			cells[i] = *c
		}
	}
	return strings.Join(cells, "|")
}

func sameRow(columns []sql.Column, row []*string, plain []any) bool {
	if len(row) != len(plain) || len(row) != len(columns) {
		return false
	}
	for i := range row {
		if !same(columns[i], row[i], plain[i]) {
			return false
		}
	}
	return true
}

// same compares a cell with plain DuckDB's value. DuckDB's means are floating point: one that
// is rounded may lie a last digit off the exact one.
func same(column sql.Column, cell *string, plain any) bool {
	if cell == nil || plain == nil {
		return cell == nil && plain == nil
	}
	switch v := plain.(type) {
	case string:
		return *cell == v
	case bool:
		return *cell == fmt.Sprint(v)
	case time.Time:
		return *cell == v.Format(time.DateOnly)
	}
	got, ok := new(big.Rat).SetString(*cell)
	want, exact := number(plain)
	if !ok || want == nil {
		return false
	}
	difference := new(big.Rat).Sub(got, want)
	slack := new(big.Rat)
	if !exact {
		slack.Abs(want).Mul(slack, big.NewRat(1, 1_000_000_000))
		if column.Type == "decimal" || column.Type == "integer" {
			unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(column.Scale), nil)
			slack.Add(slack, new(big.Rat).SetFrac(big.NewInt(1), unit))
		}
	}
	return difference.Abs(difference).Cmp(slack) <= 0
}

// number gives a value of the driver's as a number, nil if it is none.
func number(v any) (n *big.Rat, exact bool) {
	switch t := v.(type) {
	case *big.Int:
		return new(big.Rat).SetInt(t), true
	case float64:
		return new(big.Rat).SetFloat64(t), false
	case duckdb.Decimal:
		unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Scale)), nil)
		return new(big.Rat).SetFrac(t.Value, unit), true
	case int64, int32, int16, int8, uint64, uint32, uint16, uint8:
		n, _ := new(big.Rat).SetString(fmt.Sprint(t))
		return n, true
	}
	return nil, false
}

// plain is a DuckDB of its own over the same files, with nothing of the room's.
type plain struct{ db *databasesql.DB }

func plainDuckDB(t *testing.T, files map[string]int, email string) plain {
	t.Helper()
	db, err := databasesql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := cards.Generate(small())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range s.Files {
		var columns []string
		for _, c := range f.Columns {
			kind := map[string]string{"integer": "BIGINT", "decimal": fmt.Sprintf("DECIMAL(18,%d)", c.Scale), "text": "VARCHAR", "boolean": "BOOLEAN", "date": "DATE"}[c.Type]
			columns = append(columns, fmt.Sprintf("'%s': '%s'", c.Name, kind))
		}
		if _, err := db.Exec(fmt.Sprintf("CREATE TABLE %s AS SELECT * REPLACE (%s AS email) FROM read_csv('/proc/self/fd/%d', header = true, columns = {%s})",
			f.Dataset, email, files[f.Dataset], strings.Join(columns, ", "))); err != nil {
			t.Fatal(f.Dataset, err)
		}
	}
	return plain{db}
}

func (p plain) ask(t *testing.T, c testCase) (out [][]any) {
	t.Helper()
	query := c.Query
	if c.Rows {
		query = strings.ReplaceAll(query, "CAST(", "TRY_CAST(") // spec/sql.md, section 3.1
	}
	rows, err := p.db.Query(query)
	if err != nil {
		t.Fatalf("%s: plain DuckDB: %v\n%s", c.where, err, c.Query)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		out = append(out, values)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}
