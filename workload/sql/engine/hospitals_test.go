package engine_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/ledger"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

const hospitals = "../../../examples/hospitals"

// study reads the example's agreement with its blanks filled in.
func study(t *testing.T) agreement.Agreement {
	t.Helper()
	_, witness, err := ledger.GenerateKey("witness.example")
	if err != nil {
		t.Fatal(err)
	}
	digest := "sha384:" + strings.Repeat("ab", 48)
	text := strings.NewReplacer("<from>", "2026-01-01T00:00:00Z", "<until>", "2027-01-01T00:00:00Z",
		"<alpha>", digest, "<beta>", strings.ReplaceAll(digest, "ab", "cd"), "<researcher>", strings.ReplaceAll(digest, "ab", "ef"),
		"<root>", "sha256:"+strings.Repeat("ab", 32), "<agent>", strings.Repeat("ab", 48), "<helper>", strings.Repeat("cd", 48),
		"<ledger>", witness).Replace(string(read(t, filepath.Join(hospitals, "agreement.yaml"))))
	a, err := draft.Parse("agreement.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ask runs one work of the study over the given files.
func ask(t *testing.T, a agreement.Agreement, work, alpha string, values map[string]string) sql.Result {
	t.Helper()
	w := a.Work[indexOfWork(t, a, work)]
	parameters, err := sql.Parameters(w.Parameters, values)
	if err != nil {
		t.Fatal(err)
	}
	out := a.Outputs[0]
	job := sql.Job{Query: w.Query, Parameters: parameters, Tables: []sql.Table{{Name: a.Tables[0].Name, Inputs: a.Tables[0].Inputs}},
		MaxRows: out.MaxRows, MaxColumns: 100, MaxBytes: out.MaxBytes, Memory: 256 << 20, Threads: 2}
	for i, file := range []string{alpha, "beta.csv"} {
		in := a.Inputs[i]
		job.Inputs = append(job.Inputs, sql.Input{Name: in.Name, Owner: in.Owner, Format: in.Format, Schema: in.Schema, UniqueUnit: true, Rules: *in.Rules,
			FD: fdOf(t, read(t, filepath.Join(hospitals, file)))})
	}
	result, err := engine.Execute(context.Background(), job, silent)
	if err != nil {
		t.Fatal(err, failureOf(t, err).Detail)
	}
	return result
}

func indexOfWork(t *testing.T, a agreement.Agreement, name string) int {
	t.Helper()
	for i, w := range a.Work {
		if string(w.Name) == name {
			return i
		}
	}
	t.Fatalf("no work %s", name)
	return 0
}

func table(r sql.Result) (out []string) {
	for _, row := range r.Rows {
		var cells []string
		for _, c := range row {
			if c == nil {
				cells = append(cells, "NULL")
			} else {
				cells = append(cells, *c)
			}
		}
		out = append(out, strings.Join(cells, "|"))
	}
	return out
}

func TestHospitals(t *testing.T) {
	a := study(t)
	none := []sql.Withheld{{Owner: "alpha"}, {Owner: "beta"}}
	for _, test := range []struct {
		name, work, parameter, value string
		rows                         []string
		withheld                     []sql.Withheld
	}{
		{"all means", "means-by-diagnosis", "min_area", "0.0", []string{"benign|357|12.15|17.91|0.0461", "malignant|212|17.46|21.60|0.1608"}, none},
		// 3 benign patients of alpha's and 7 of beta's are that large: ten together, but too few of each.
		{"few benign", "means-by-diagnosis", "min_area", "700.0", []string{"malignant|161|18.69|21.73|0.1707"}, []sql.Withheld{{Owner: "alpha", Rows: 1}, {Owner: "beta", Rows: 1}}},
		{"sizes", "sizes", "threshold", "13.0", []string{"benign|small|244|473.2", "benign|large|113|744.1", "malignant|large|200|1467.2"}, []sql.Withheld{{Owner: "alpha"}, {Owner: "beta", Rows: 1}}},
		{"share", "malignant-share", "concavity", "0.05", []string{"under 20|157|0.433", "20 to 23|93|0.774"}, []sql.Withheld{{Owner: "alpha", Rows: 1}, {Owner: "beta", Rows: 1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ask(t, a, test.work, "alpha.csv", map[string]string{test.parameter: test.value})
			if diff := cmp.Diff(test.rows, table(got)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.withheld, got.Withheld); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A hospital that pads a group with people it made up doesn't lift the other's few over the
// minimum: beta has one benign patient with an area of 900 or more, alpha none but the
// twenty it invented.
func TestPaddingExposesNobody(t *testing.T) {
	a := study(t)
	got := ask(t, a, "means-by-diagnosis", "alpha-padded.csv", map[string]string{"min_area": "900.0"})
	for _, row := range table(got) {
		if strings.HasPrefix(row, "benign") {
			t.Errorf("beta's one patient shows in %q", row)
		}
	}
	if diff := cmp.Diff([]sql.Withheld{{Owner: "alpha"}, {Owner: "beta", Rows: 1}}, got.Withheld); diff != "" {
		t.Error(diff)
	}
}
