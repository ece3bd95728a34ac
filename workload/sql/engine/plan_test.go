package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/guard"
)

func vectorJob(t *testing.T) sql.Job {
	t.Helper()
	data, err := os.ReadFile("../../../spec/vectors/sql/job.json")
	if err != nil {
		t.Fatal(err)
	}
	job, err := sql.ParseJob(data)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// Should the check of the parse tree ever let something pass, the check of the bound plan
// still refuses it: here it gets plans that no parse tree of ours gives.
func TestPlansThatNeverPass(t *testing.T) {
	ctx := context.Background()
	job := vectorJob(t)
	job.Inputs[0].UniqueUnit, job.Tables[0].Inputs = true, job.Tables[0].Inputs[:1]
	job.Query = "SELECT ward, count(*) AS n FROM people GROUP BY ward"
	d, err := open(ctx, 128<<20, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	schema := job.Inputs[0].Schema
	for _, table := range []string{"people", "secrets"} {
		if err := d.exec(ctx, "CREATE TABLE "+table+" (__owner UTINYINT, "+declarations(schema)+")"); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.exec(ctx, "CREATE MACRO leak(x) AS (SELECT any_value(ward) FROM secrets WHERE age = x)"); err != nil {
		t.Fatal(err)
	}
	tree, err := d.tree(ctx, job.Query)
	if err != nil {
		t.Fatal(err)
	}
	q, err := guard.Check([]byte(tree), &job)
	if err != nil {
		t.Fatal(err)
	}
	source := guard.Source{Table: "people", Columns: schema, Owner: true}
	verdictOn := func(query string, sources ...guard.Source) error {
		plan, err := d.plan(ctx, query)
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if strings.HasPrefix(plan, `{"error":true`) {
			t.Fatalf("%s: %s", query, plan)
		}
		_, err = q.CheckPlan([]byte(plan), sources)
		return err
	}
	good := "SELECT ward, count(*) FROM people GROUP BY ward"
	if err := verdictOn(good, source); err != nil {
		t.Fatal(failureDetail(err))
	}
	fewer := source
	fewer.Columns = schema[:3]
	for name, sources := range map[string][]guard.Source{"no source": nil, "other table": {{Table: "secrets", Columns: schema, Owner: true}}, "fewer columns": {fewer},
		"no owner": {{Table: "people", Columns: schema}}, "a file": {{File: "people", Columns: schema, Owner: true}}} {
		if verdictOn(good, sources...) == nil {
			t.Errorf("%s passed", name)
		}
	}
	for _, query := range []string{
		"SELECT ward, count(*) FROM people WHERE person = 7 GROUP BY ward",
		"SELECT ward, count(*) FROM people WHERE __owner = 0 GROUP BY ward",
		"SELECT ward, count(*) FILTER (WHERE person = 7) FROM people GROUP BY ward",
		"SELECT ward, count(person + 1) FROM people GROUP BY ward",
		"SELECT ward, count(CASE WHEN person = 7 THEN 1 END) FROM people GROUP BY ward",
		"SELECT ward, max(age) FROM people GROUP BY ward",
		"SELECT ward, count(DISTINCT age) FROM people GROUP BY ward",
		"SELECT ward, count(age) FROM people GROUP BY ward",
		"SELECT ward, count(*) FILTER (WHERE smoker) FROM people GROUP BY ward",
		"SELECT ward, CAST(sum(person) AS BIGINT) FROM people GROUP BY ward",
		"SELECT ward, any_value(person) FROM people GROUP BY ward",
		"SELECT any_value(ward), count(*) FROM people GROUP BY person",
		"SELECT ward, person FROM people",
		"SELECT ward, count(*) OVER () FROM people",
		"SELECT ward, age FROM people GROUP BY ward, age",
		"SELECT CAST(person AS VARCHAR), count(*) FROM people GROUP BY 1",
		"SELECT ward, count(*) FROM people GROUP BY ward HAVING count(*) = 1",
		"SELECT ward, count(*) FROM people GROUP BY ward LIMIT 1",
		"SELECT ward, count(*) FROM people GROUP BY ward ORDER BY 2",
		"SELECT DISTINCT ward, count(*) FROM people GROUP BY ward",
		"SELECT ward, count(*) FROM people GROUP BY ROLLUP (ward)",
		"SELECT ward, count(*) FROM people GROUP BY ward UNION ALL SELECT ward, age FROM secrets",
		"SELECT ward, count(*) FROM secrets GROUP BY ward",
		"SELECT p.ward, count(*) FROM people p, secrets s GROUP BY p.ward",
		"SELECT p.ward, count(*) FROM people p JOIN secrets s USING (age) GROUP BY p.ward",
		"SELECT ward, count(*) FROM people WHERE age IN (SELECT age FROM secrets) GROUP BY ward",
		"SELECT leak(age), count(*) FROM people GROUP BY 1",
		"SELECT ward, count(*) FROM query('SELECT ward FROM secrets') GROUP BY ward",
		"SELECT ward, count(*) FROM (SELECT * FROM people USING SAMPLE 10 ROWS) GROUP BY ward",
		"SELECT ward, count(*) FROM (SELECT ward FROM people GROUP BY ward, age) GROUP BY ward",
		"SELECT 'x' || range, count(*) FROM range(3) GROUP BY 1",
		"SELECT table_name, count(*) FROM duckdb_tables() GROUP BY 1",
		"SELECT ward, count(*) FROM people WHERE CAST(ward AS INTEGER) = 1 GROUP BY ward",
		"SELECT ward, count(*) FROM people WHERE TRY_CAST(ward AS INTEGER) = 1 GROUP BY ward",
		"SELECT ward, count(*) FROM people WHERE CAST(score AS DECIMAL(3,2)) = 1 GROUP BY ward",
		"SELECT ward, count(*) FROM people WHERE age + 1 > 5 GROUP BY ward",
		"SELECT ward, count(*) FROM people WHERE score + 1.5 > 5 GROUP BY ward",
		"SELECT ward, count(*) FROM people WHERE age / 2 > 5 GROUP BY ward",
		"SELECT ward, count(*) FROM people WHERE regexp_matches(ward, 'a') GROUP BY ward",
		"SELECT ward, count(*) FROM people WHERE ward LIKE ward GROUP BY ward",
		"SELECT ward, count(*) FROM people WHERE ward ILIKE 'a' GROUP BY ward",
		"SELECT ward, count(*) FROM people WHERE date_part('day', seen) = 1 GROUP BY ward",
		"SELECT ward, count(*) FROM people WHERE error(ward) IS NULL GROUP BY ward",
		"SELECT ward, count(*) FROM people WHERE random() < 0.5 GROUP BY ward",
		"SELECT ward, count(*) FROM people WHERE rowid = 1 GROUP BY ward",
		"SELECT ward, count(*) FILTER (WHERE rowid = 1) FROM people GROUP BY ward",
		"SELECT ward, count(rowid) FROM people GROUP BY ward",
		"SELECT ward, sum(rowid) FROM people GROUP BY ward",
		"SELECT ward, count(DISTINCT rowid) FROM people GROUP BY ward",
		"SELECT rowid, count(*) FROM people GROUP BY rowid",
		"SELECT count(*), count(*) FROM people GROUP BY ward",
		"SELECT ward, count(*), 1 FROM people GROUP BY ward",
		"SELECT ward, count(*) + 1 FROM people GROUP BY ward",
		"SELECT seen, count(*) FROM people GROUP BY seen",
	} {
		if err := verdictOn(query, source); err == nil {
			t.Errorf("%s passed", query)
		}
	}
}

var write = flag.Bool("trees", false, "write what DuckDB gives for some vectors into the guard's testdata")

// fixture is what the guard sees of a query: DuckDB's own words, for tests without DuckDB.
type fixture struct {
	Query string          `json:"query"`
	Tree  json.RawMessage `json:"tree"`
	// Again and Plan are those of the rewritten query; absent where the query is refused.
	Again json.RawMessage `json:"again,omitempty"`
	Plan  json.RawMessage `json:"plan,omitempty"`
}

// The guard's fixtures are what this DuckDB gives: another version's may differ, and then
// the guard has to be looked at again.
func TestTrees(t *testing.T) {
	ctx := context.Background()
	for _, name := range []string{
		"allowed-count", "allowed-by-ward", "allowed-parameters", "allowed-share", "allowed-conditions", "allowed-functions", "allowed-order",
		"allowed-having", "allowed-limit", "allowed-like", "allowed-is-true", "allowed-quarter",
		"refused-plain-rows", "refused-case-unit", "refused-window", "refused-having", "refused-join", "refused-subquery-where",
		"refused-two-statements", "refused-nonsense", "refused-lambda", "refused-cast", "refused-limit", "refused-grouping-sets",
	} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile("../../../spec/vectors/sql/" + name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var v struct {
				Query   string `json:"query"`
				Refused string `json:"refused"`
			}
			if err := json.Unmarshal(data, &v); err != nil {
				t.Fatal(err)
			}
			job := vectorJob(t)
			job.Query = v.Query
			f := fixture{Query: v.Query}
			d, err := open(ctx, 128<<20, 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer d.close()
			tree, err := d.tree(ctx, v.Query)
			if err != nil {
				t.Fatal(err)
			}
			f.Tree = json.RawMessage(tree)
			if v.Refused == "" {
				f.Again, f.Plan = rewrittenOf(t, d, tree, &job)
			}
			got, err := json.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("../guard/testdata", name+".json")
			if *write {
				if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || !bytes.Equal(bytes.TrimSpace(want), got) {
				t.Errorf("DuckDB's words for %s have changed (go test -run Trees -trees writes them): %v", name, err)
			}
		})
	}
}

func rewrittenOf(t *testing.T, d *database, tree string, job *sql.Job) (again, plan json.RawMessage) {
	t.Helper()
	ctx := context.Background()
	q, err := guard.Check([]byte(tree), job)
	if err != nil {
		t.Fatal(err)
	}
	text, err := d.rewritten(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.tree(ctx, text)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.exec(ctx, "CREATE TABLE people (__owner UTINYINT, "+declarations(job.Inputs[0].Schema)+")"); err != nil {
		t.Fatal(err)
	}
	p, err := d.plan(ctx, text)
	if err != nil {
		t.Fatal(err)
	}
	return json.RawMessage(a), json.RawMessage(p)
}
