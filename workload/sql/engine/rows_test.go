package engine_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/internal/tpch"
	"strongroom.dev/wire"
	work "strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

// rowRules let rows leave.
func rowRules() agreement.Rules {
	r := *testrules.Groups(1, "lab")
	r.Answers, r.Partners = agreement.Rows, agreement.Any
	return r
}

// tpchJob makes a job over the eight tables, whose rows may leave.
func tpchJob(t testing.TB, tables []tpch.Table, query string) work.Job {
	t.Helper()
	job := work.Job{Query: query, MaxRows: 100_000, MaxColumns: 100, MaxBytes: 64 << 20, Memory: 1 << 30, Threads: 2, Salt: work.NoSalt, Noise: work.NoSalt}
	for _, table := range tables {
		data, err := os.ReadFile(table.File)
		if err != nil {
			t.Fatal(err)
		}
		name := wire.ID(table.Name)
		job.Inputs = append(job.Inputs, work.Input{Name: name, Owner: "shop", FD: fdOf(t, data), Format: agreement.Parquet, Schema: table.Schema, Pinned: true, Rules: rowRules()})
		job.Tables = append(job.Tables, work.Table{Name: table.Name, Inputs: []wire.ID{name}})
	}
	return job
}

// plain answers a query by DuckDB alone.
func plain(t testing.TB, tables []tpch.Table, query string) (rows []string) {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, table := range tables {
		if _, err := db.Exec("CREATE VIEW " + table.Name + " AS SELECT * FROM read_parquet('" + table.File + "')"); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	names, _ := answer.Columns()
	for answer.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := answer.Scan(into...); err != nil {
			t.Fatal(err)
		}
		var cells []string
		for _, v := range values {
			cells = append(cells, shown(v))
		}
		rows = append(rows, strings.Join(cells, "|"))
	}
	return rows
}

func shown(v any) string {
	switch t := v.(type) {
	case nil:
		return "NULL"
	case duckdb.Decimal:
		whole := new(big.Rat).SetFrac(t.Value, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Scale)), nil))
		return whole.FloatString(int(t.Scale))
	case float64:
		return work.DoubleText(t)
	case time.Time:
		return t.Format(time.DateOnly)
	}
	return fmt.Sprint(v)
}

// The 22 queries of TPC-H pass where rows may leave, and give what DuckDB alone gives.
func TestTPCH(t *testing.T) {
	dir := t.TempDir()
	tables, err := tpch.Generate(dir, 0.01)
	if err != nil {
		t.Fatal(err)
	}
	queries, err := tpch.Queries(dir)
	if err != nil || len(queries) != 22 {
		t.Fatal(len(queries), err)
	}
	for i, query := range queries {
		got, err := engine.Execute(context.Background(), tpchJob(t, tables, query), silent)
		if err != nil {
			t.Errorf("query %d: %v %s", i+1, err, failureOf(t, err).Detail)
			continue
		}
		want, have := plain(t, tables, query), table(got)
		slices.Sort(want)
		slices.Sort(have)
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("query %d: %s", i+1, diff)
		}
	}
}

const rowsCSV = smallHeader + "1,a,1.50,true,2026-01-31\n2,b,,false,2026-02-28\n3,,3.00,,\n4,a,2.00,true,2025-12-31\n"

// rowJob makes a job over one small input whose rows may leave.
func rowJob(t testing.TB, query string) work.Job {
	job := oneInput(t, agreement.CSV, []byte(rowsCSV), true, query)
	job.Inputs[0].Rules = rowRules()
	return job
}

func TestRows(t *testing.T) {
	for query, want := range map[string][]string{
		"SELECT person, ward FROM people WHERE score > 1 ORDER BY ward DESC":                                                                                                {"1|a", "4|a", "3|NULL"},
		"SELECT person FROM people ORDER BY ward LIMIT 2":                                                                                                                   {"1", "4"},
		"SELECT ward, max(score) AS m FROM people GROUP BY ALL":                                                                                                             {"a|2.00", "b|NULL", "NULL|3.00"},
		"SELECT upper(ward) AS w, score / 2 AS half FROM people":                                                                                                            {"A|0.75", "A|1", "B|NULL", "NULL|1.5"},
		"SELECT a.person AS one, b.person AS other FROM people a, people b WHERE a.ward = b.ward AND a.person < b.person":                                                   {"1|4"},
		"WITH w AS (SELECT ward, count(*) AS n FROM people GROUP BY ward) SELECT n, count(*) AS wards FROM w GROUP BY n":                                                    {"1|2", "2|1"},
		"SELECT person, rank() OVER (PARTITION BY ward ORDER BY score) AS r FROM people WHERE ward = 'a'":                                                                   {"1|1", "4|2"},
		"SELECT person FROM people WHERE EXISTS (SELECT 1 FROM people o WHERE o.ward = people.ward AND o.person <> people.person)":                                          {"1", "4"},
		"SELECT person AS p FROM people UNION SELECT 1 AS p":                                                                                                                {"1", "2", "3", "4"},
		"SELECT CAST(ward AS INTEGER) AS n FROM people WHERE person = 1":                                                                                                    {"NULL"},
		"SELECT count(*) AS n, sum(score) AS s, avg(score) AS m, median(score) AS d FROM people":                                                                            {"4|6.50|2.1666666666666665|2.00"},
		"SELECT score / 0 AS x, ln(score - 1.5) AS y FROM people WHERE person = 1":                                                                                          nil,
		"SELECT CASE WHEN smoker THEN 'yes' ELSE 'no' END AS s, string_split_count AS n FROM (SELECT smoker, length(ward) AS string_split_count FROM people) q WHERE n = 1": {"no|1", "yes|1", "yes|1"},
	} {
		got, err := engine.Execute(context.Background(), rowJob(t, query), silent)
		if err != nil {
			if want != nil {
				t.Errorf("%s: %v %s", query, err, failureOf(t, err).Detail)
			}
			continue
		}
		if diff := cmp.Diff(want, table(got)); want != nil && diff != "" {
			t.Errorf("%s: %s\n%s", query, got.SQL, diff)
		}
	}
}

func TestRefusedRows(t *testing.T) {
	for query, code := range map[string]string{
		"SELECT * FROM people":                                                              "query.output",
		"SELECT person FROM people; SELECT 1":                                               "query.statement",
		"SELECT person, person FROM people":                                                 "query.output",
		"SELECT random() AS r FROM people":                                                  "query.function",
		"SELECT now() AS r FROM people":                                                     "query.function",
		"SELECT first(ward) AS r FROM people":                                               "query.function",
		"SELECT any_value(ward) AS r FROM people":                                           "query.function",
		"SELECT string_agg(ward) AS r FROM people":                                          "query.function",
		"SELECT stddev(score) AS r FROM people":                                             "query.function",
		"SELECT error(ward) AS r FROM people":                                               "query.function",
		"SELECT getvariable('x') AS r FROM people":                                          "query.function",
		"SELECT current_setting('threads') AS r FROM people":                                "query.function",
		"SELECT list(ward) AS r FROM people":                                                "query.function",
		"SELECT sum(score / 3) AS r FROM people":                                            "query.plan",
		"SELECT row_number() OVER () AS r FROM people":                                      "query.function",
		"SELECT lag(ward) OVER (ORDER BY person) AS r FROM people":                          "query.function",
		"SELECT sum(score) OVER (ORDER BY person ROWS 1 PRECEDING) AS r FROM people":        "query.clause",
		"SELECT person FROM (SELECT person FROM people LIMIT 1) x":                          "query.clause",
		"SELECT DISTINCT ON (ward) person FROM people":                                      "query.clause",
		"SELECT person FROM people USING SAMPLE 1":                                          "query.clause",
		"SELECT table_name AS t FROM duckdb_tables()":                                       "query.clause",
		"SELECT table_name AS t FROM information_schema.tables":                             "query.table",
		"SELECT a AS a FROM read_csv('/etc/passwd')":                                        "query.clause",
		"SELECT a AS a FROM '/etc/passwd'":                                                  "query.table",
		"SELECT a AS a FROM query('SELECT 1 AS a')":                                         "query.clause",
		"SELECT a AS a FROM query_table('people')":                                          "query.clause",
		"SELECT a AS a FROM range(10) t(a)":                                                 "query.clause",
		"SELECT a AS a FROM (VALUES (1)) t(a)":                                              "query.clause",
		"WITH people AS (SELECT 1 AS person) SELECT person FROM people":                     "query.table",
		"WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT n FROM r": "query.clause",
		"SELECT rowid AS r FROM people":                                                     "query.column",
		"SELECT [ward] AS r FROM people":                                                    "query.function",
		"SELECT {'a': ward} AS r FROM people":                                               "query.function",
		"SELECT CAST(ward AS BLOB) AS r FROM people":                                        "query.cast",
		"SELECT CAST(seen AS TIMESTAMP) AS r FROM people":                                   "query.cast",
		"SELECT COLUMNS('p.*') FROM people":                                                 "query.expression",
		"PIVOT people ON ward USING sum(score)":                                             "query.syntax",
		"SELECT person FROM people ORDER BY random()":                                       "query.function",
		"COPY people TO '/tmp/x'":                                                           "query.syntax",
		"SELECT $who AS w FROM people":                                                      "query.parameter",
		"SELECT a.person AS p FROM people a POSITIONAL JOIN people b":                       "query.join",
		"SELECT person FROM people WHERE ward LIKE '%' || repeat(ward, 1000) || '%'":        "query.function",
	} {
		_, err := engine.Execute(context.Background(), rowJob(t, query), silent)
		if err == nil {
			t.Errorf("%s passed", query)
		} else if f := failureOf(t, err); f.Code != code || f.Phase != work.Check {
			t.Errorf("%s: %s %s: %s; want %s", query, f.Phase, f.Code, f.Detail, code)
		}
	}
}

// A column that the rules name for nothing does not exist; one input that keeps its rows keeps all.
func TestRowsKeepRules(t *testing.T) {
	job := rowJob(t, "SELECT ward FROM people")
	job.Inputs[0].Rules.Columns = []agreement.ColumnRule{{Name: "ward", Roles: []wire.ID{}}}
	if _, err := engine.Execute(context.Background(), job, silent); err == nil {
		t.Error("a column without roles was shown")
	}
	job.Query = "SELECT count(*) AS n FROM people"
	if _, err := engine.Execute(context.Background(), job, silent); err != nil {
		t.Error(err)
	}
	job = rowJob(t, "SELECT person FROM people")
	other := job.Inputs[0]
	other.Name, other.Rules.Answers, other.FD = "other", agreement.Groups, fdOf(t, []byte(rowsCSV))
	job.Inputs, job.Tables[0].Inputs = append(job.Inputs, other), append(job.Tables[0].Inputs, "other")
	if _, err := engine.Execute(context.Background(), job, silent); err == nil || failureOf(t, err).Code != "query.unit" {
		t.Errorf("rows left although one input keeps its own: %v", err)
	}
}

// The same rows give the same bytes, whatever the order in which they come.
func TestRowsInOneOrder(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(strings.TrimPrefix(rowsCSV, smallHeader), "\n"), "\n")
	var first []string
	for range 4 {
		lines = append(lines[1:], lines[0])
		job := oneInput(t, agreement.CSV, []byte(smallHeader+strings.Join(lines, "\n")+"\n"), true, "SELECT smoker, person FROM people ORDER BY smoker LIMIT 3")
		job.Inputs[0].Rules = rowRules()
		got, err := engine.Execute(context.Background(), job, silent)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = table(got)
		}
		if diff := cmp.Diff(first, table(got)); diff != "" {
			t.Error(diff)
		}
	}
}
