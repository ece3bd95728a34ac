package engine_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

func profileJob(t *testing.T, format agreement.Format, data string) sql.ProfileJob {
	return sql.ProfileJob{Input: sql.Input{Name: "rows", Owner: "owner", FD: fdOf(t, []byte(data)), Format: format, Schema: small}}
}

func profiled(t *testing.T, job sql.ProfileJob) sql.Profile {
	t.Helper()
	if err := job.Validate(); err != nil {
		t.Fatal(err)
	}
	p, err := engine.Profile(context.Background(), job, 256<<20, 2)
	if err != nil {
		t.Fatal(err, failureOf(t, err).Detail)
	}
	return p
}

func TestProfile(t *testing.T) {
	data := smallHeader + "1,a,-1.50,true,2026-01-31\n2,A,2.00,true,0001-01-01\n3, a,3.00,true,\n3,\"\",,true,9999-12-31\n-4,b,,true,\n-4,b,,true,\n"
	rules := testrules.Groups(2, "lab")
	rules.Columns = []agreement.ColumnRule{{Name: "score", Roles: []wire.ID{"aggregate"}, Min: "0.00", Max: "2.50"}}
	job := profileJob(t, agreement.CSV, data)
	job.Input.Rules = *rules
	got := profiled(t, job)
	want := sql.Profile{Rows: 6, Units: 4, MostRows: 2, Duplicates: 1, Columns: []sql.ProfileColumn{
		{Column: small[0], Distinct: 4, Min: "-4", Max: "3"},
		{Column: small[1], Distinct: 5, Max: "b", Empty: 1, Padded: 1, Cases: 2, Small: 5},
		{Column: small[2], Nulls: 3, Distinct: 3, Min: "-1.50", Max: "3.00", Clamped: 2},
		{Column: small[3], Distinct: 1, Min: "true", Max: "true"},
		{Column: small[4], Nulls: 3, Distinct: 3, Min: "0001-01-01", Max: "9999-12-31", Small: 3},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	findings := []string{"1 rows are alike an earlier one in every column", "column ward: 1 texts are empty, which is not NULL",
		"column ward: 1 texts begin or end with white space: they are other values than those without",
		"column ward: 2 of 5 different texts are another one but for case and white space at an end",
		"column ward: 5 of 5 values have fewer than 2 units: as groups of their own they would be withheld",
		"column score: 2 values are outside the agreed bounds and will be clamped when aggregated", "column smoker: all rows have the same value",
		"column seen: 3 of 3 values have fewer than 2 units: as groups of their own they would be withheld"}
	if diff := cmp.Diff(findings, got.Findings(false, 2)); diff != "" {
		t.Error(diff)
	}
}

// Without rules, in every format, and without rows.
func TestProfilePlain(t *testing.T) {
	ndjson := `{"person":1,"ward":"a","score":1.5,"smoker":true,"seen":"2026-01-31"}` + "\n" + `{"person":2,"ward":null,"score":null,"smoker":false,"seen":null}` + "\n"
	csv := smallHeader + "1,a,1.5,true,2026-01-31\n2,,,false,\n"
	want := profiled(t, profileJob(t, agreement.CSV, csv))
	for format, data := range map[agreement.Format]string{agreement.NDJSON: ndjson, agreement.Arrow: string(arrowFile(t, ndjson)), agreement.Parquet: string(parquet(t, strings.Replace(goodParquet, "2026-01-01", "2026-01-31", 1)+" UNION ALL SELECT 2, NULL, NULL, false, NULL"))} {
		if diff := cmp.Diff(want, profiled(t, profileJob(t, format, data))); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
	}
	if diff := cmp.Diff([]string{"no two rows share a unit: --unique-unit lets rooms count rows, which is faster"}, want.Findings(false, 0)); diff != "" || len(want.Findings(true, 0)) != 0 {
		t.Error(diff)
	}
	none := profiled(t, profileJob(t, agreement.CSV, smallHeader))
	if diff := cmp.Diff([]string{"there are no rows"}, none.Findings(false, 10)); diff != "" || none.Rows != 0 || len(none.Columns) != 5 {
		t.Error(diff)
	}
}

// What a room would refuse has no profile.
func TestProfileRefuses(t *testing.T) {
	for name, data := range map[string]string{"value": smallHeader + "1,a,1.505,true,\n", "unit": smallHeader + ",a,1,true,\n", "header": "ward\n"} {
		_, err := engine.Profile(context.Background(), profileJob(t, agreement.CSV, data), 256<<20, 1)
		if failureOf(t, err).Phase != sql.Load {
			t.Errorf("%s: %v", name, err)
		}
	}
	job := profileJob(t, agreement.CSV, "x")
	job.Input.FD = 0
	if job.Validate() == nil {
		t.Error("no descriptor, and valid")
	}
}

// Identifiers are tried in the form that rooms bring them into.
func TestProfileForms(t *testing.T) {
	job := sql.ProfileJob{Input: sql.Input{Name: "rows", Owner: "owner", FD: fdOf(t, []byte("mail,tel,spent\nann@example.org,12,1\nBob@example.org , 030 111222,2\nnobody,,3\n")), Format: agreement.CSV, Schema: mailSchema}}
	rules := testrules.Groups(1, "lab")
	rules.Columns = []agreement.ColumnRule{{Name: "mail", Roles: []wire.ID{}, Key: "mail", Form: agreement.Email}, {Name: "tel", Roles: []wire.ID{}, Key: "tel", Form: agreement.Phone}}
	job.Input.Rules = *rules
	got := profiled(t, job)
	if got.Columns[0].Formless != 1 || got.Columns[1].Formless != 1 {
		t.Errorf("%+v", got.Columns)
	}
}
