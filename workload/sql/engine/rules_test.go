package engine_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

// Values are clamped before they are aggregated, and nowhere else.
func TestClamps(t *testing.T) {
	data := smallHeader + "1,a,-5.00,true,\n2,a,3.00,true,\n3,a,1000.00,true,\n4,a,,true,\n"
	clamped := func(query string) sql.Job {
		job := oneInput(t, agreement.CSV, []byte(data), true, query)
		job.Inputs[0].Rules.Columns = []agreement.ColumnRule{{Name: "score", Roles: []wire.ID{"filter", "group", "aggregate"}, Min: "0.00", Max: "10.00"}}
		return job
	}
	for query, want := range map[string]string{
		"SELECT sum(score) AS s, count(score) AS n, avg(score) AS m FROM people":             "13.00|3|4.333333",
		"SELECT sum(2 * score + 1) AS s FROM people":                                         "29.00",
		"SELECT sum(CASE WHEN score > 100 THEN score ELSE 0 END) AS s FROM people":           "10.00",
		"SELECT sum(score) AS s FROM people WHERE score < 100":                               "3.00",
		"SELECT score, sum(score) AS s FROM people WHERE score > 100 GROUP BY score":         "1000.00|10.00",
		"SELECT count(CASE WHEN smoker THEN score END) AS n FROM people WHERE score IS NULL": "0",
	} {
		got, err := engine.Execute(context.Background(), clamped(query), silent)
		if err != nil {
			t.Errorf("%s: %v %s", query, err, failureOf(t, err).Detail)
			continue
		}
		if diff := cmp.Diff([]string{want}, table(got)); diff != "" {
			t.Errorf("%s: %s\n%s", query, got.SQL, diff)
		}
	}
}

// Counts are shown as multiples, halves up, and HAVING sees them so.
func TestRoundedCounts(t *testing.T) {
	data := smallHeader
	for _, row := range []string{"1,a", "2,a", "3,b", "4,b", "5,b", "6,c", "7,c", "8,c", "9,c", "10,c", "11,c", "12,c", "13,c"} {
		data += row + ",1.00,true,\n"
	}
	job := oneInput(t, agreement.CSV, []byte(data), true, "SELECT ward, count(*) AS n, sum(score) AS s, avg(score) AS m FROM people GROUP BY ward HAVING n > 0 ORDER BY ward")
	job.Inputs[0].Rules.RoundTo = 5
	got, err := engine.Execute(context.Background(), job, silent)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b|5|3.00|1.000000", "c|10|8.00|1.000000"}, table(got)); diff != "" {
		t.Error(diff)
	}
}

// A column is used in the roles that its rules name, and in no other.
func TestRoles(t *testing.T) {
	data := []byte(smallHeader + "1,a,1.00,true,2026-01-01\n")
	for query, role := range map[string]wire.ID{
		"SELECT count(*) AS n FROM people WHERE score > 0":                                    "filter",
		"SELECT sum(CASE WHEN score > 0 THEN 1 ELSE 0 END) AS n FROM people":                  "filter",
		"SELECT count(*) AS n FROM people GROUP BY CASE WHEN score > 0 THEN 'a' ELSE 'b' END": "filter",
		"SELECT score, count(*) AS n FROM people GROUP BY score":                              "group",
		"SELECT floor(score) AS f, count(*) AS n FROM people GROUP BY 1":                      "group",
		"SELECT sum(score) AS s FROM people":                                                  "aggregate",
		"SELECT count(score) AS s FROM people":                                                "aggregate",
		"SELECT avg(CASE WHEN smoker THEN score END) AS s FROM people":                        "aggregate",
	} {
		for _, given := range []wire.ID{"filter", "group", "aggregate"} {
			job := oneInput(t, agreement.CSV, data, true, query)
			job.Inputs[0].Rules.Columns = []agreement.ColumnRule{{Name: "score", Roles: []wire.ID{given}}}
			_, err := engine.Execute(context.Background(), job, silent)
			if given == role && err != nil {
				t.Errorf("%s with role %s: %v %s", query, given, err, failureOf(t, err).Detail)
			}
			if given != role && (err == nil || failureOf(t, err).Code != "query.role") {
				t.Errorf("%s with role %s: %v", query, given, err)
			}
		}
	}
}

var mailSchema = []agreement.Column{{Name: "mail", Type: "text", Unit: true}, {Name: "tel", Type: "text"}, {Name: "spent", Type: "integer"}}

// mails makes a job over two owners' rows that name people by mail address and telephone, as
// each of them happens to write it, and a list of those who objected.
func mails(t *testing.T, query, list string) sql.Job {
	job := joined(t, "mail,tel,spent\n Ann@Example.org ,+49 (30) 1,1\nbob@example.org,0049 30 2345678,2\nCAT@example.org,030-111222,3\nnobody,123,4\n",
		"mail,tel,spent\nann@example.org,0,10\nBOB@EXAMPLE.ORG,+49302345678,20\ncat@example.org ,030 111 222,30\n", query)
	for i := range job.Inputs {
		in := &job.Inputs[i]
		in.Schema, in.Rules.MinGroup, in.Rules.Exclusions = mailSchema, 1, ""
		in.Rules.Columns = []agreement.ColumnRule{{Name: "mail", Roles: []wire.ID{}, Key: "mail", Form: agreement.Email}, {Name: "tel", Roles: []wire.ID{}, Key: "tel", Form: agreement.Phone}}
	}
	job.Salt = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	// The bank's fourth row names nobody: a row must have a unit.
	job.Inputs[0].Rules.Columns[0].Form = agreement.Email
	if list != "" {
		job.Inputs = append(job.Inputs, sql.Input{Name: "objected", Owner: "bank", FD: fdOf(t, []byte(list)), Format: agreement.CSV, Schema: mailSchema[:1]})
		job.Inputs[0].Rules.Exclusions = "objected"
	}
	return job
}

// Identifiers meet in one form, whoever wrote them; who has none of the form is nobody.
func TestFormsOfIdentifiers(t *testing.T) {
	const byMail = "SELECT count(*) AS n, sum(a.spent) AS s FROM cards a JOIN visits b ON a.mail = b.mail"
	_, err := engine.Execute(context.Background(), mails(t, byMail, ""), silent)
	if err == nil || failureOf(t, err).Code != "input.unit" || failureOf(t, err).Input != "cards" {
		t.Fatalf("a row without a person passed: %v", err)
	}
	for query, want := range map[string]string{
		byMail: "3|6",
		"SELECT count(*) AS n, sum(a.spent) AS s FROM cards a JOIN visits b ON a.tel = b.tel": "2|5",
	} {
		job := mails(t, query, "")
		job.Inputs[0].FD = fdOf(t, []byte("mail,tel,spent\n Ann@Example.org ,+49 (30) 1,1\nbob@example.org,0049 30 2345678,2\nCAT@example.org,030-111222,3\n"))
		got, err := engine.Execute(context.Background(), job, silent)
		if err != nil {
			t.Fatal(err, failureOf(t, err).Detail)
		}
		if diff := cmp.Diff([]string{want}, table(got)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

// Whoever objected is in no answer, and a list that can't be applied lets nothing run.
func TestExclusions(t *testing.T) {
	const query = "SELECT count(*) AS n, sum(spent) AS s FROM cards"
	rows := []byte("mail,tel,spent\nann@example.org,1,1\nbob@example.org,2,2\nann@example.org,3,4\n")
	for list, want := range map[string][]string{
		"mail\n":                                   {"3|7"},
		"mail\nANN@example.org\n":                  {"1|2"},
		"mail\nnone@example.org\n":                 {"3|7"},
		"mail\nann@example.org\nbob@example.org\n": nil,
	} {
		job := mails(t, query, list)
		job.Inputs[0].FD = fdOf(t, rows)
		got, err := engine.Execute(context.Background(), job, silent)
		if err != nil {
			t.Fatal(err, failureOf(t, err).Detail)
		}
		if diff := cmp.Diff(want, table(got)); diff != "" {
			t.Errorf("%q: %s", list, diff)
		}
	}
	for _, list := range []string{"mail\nAnn\n", "mail\n\"\"\n", "name\nann@example.org\n"} {
		job := mails(t, query, list)
		job.Inputs[0].FD = fdOf(t, rows)
		if _, err := engine.Execute(context.Background(), job, silent); err == nil || failureOf(t, err).Input != "objected" {
			t.Errorf("%q: %v", list, err)
		}
	}
	// Parquet stays a file no longer, and rows that may leave are left out as well.
	job := mails(t, "SELECT spent FROM cards", "mail\nann@example.org\n")
	job.Inputs[0].FD = fdOf(t, rows)
	for i := range job.Inputs[:2] {
		job.Inputs[i].Rules.Answers = agreement.Rows
	}
	got, err := engine.Execute(context.Background(), job, silent)
	if err != nil {
		t.Fatal(err, failureOf(t, err).Detail)
	}
	if diff := cmp.Diff([]string{"2"}, table(got)); diff != "" {
		t.Error(diff)
	}
}

// Arithmetic on aggregates is done on what is shown of them, exactly, and rounded once.
func TestFormulas(t *testing.T) {
	data := smallHeader + "1,a,1.50,true,\n2,a,2.00,false,\n3,a,,true,\n4,b,3.00,true,\n5,b,4.00,true,\n"
	for query, want := range map[string][]string{
		"SELECT ward, sum(score) / count(*) AS r FROM people GROUP BY ward":                                        {"a|1.166667", "b|3.500000"},
		"SELECT ward, round(100.0 * count(score) / count(*), 1) AS share FROM people GROUP BY ward ORDER BY share": {"a|66.7", "b|100.0"},
		"SELECT sum(score) - 2 * count(*) AS d, -avg(score) AS m FROM people":                                      {"0.50|-2.625000"},
		"SELECT count(*) / nullif(count(*) - 5, 0) AS r FROM people":                                               {"NULL"},
		"SELECT coalesce(sum(score), 0) AS s, count(*) + 1 AS n FROM people WHERE ward = 'a' AND score > 1":        {"3.50|3"},
		"SELECT ward, count(*) * 2 AS Twice FROM people GROUP BY ward HAVING twice > 4":                            {"a|6"},
		"SELECT ward, round(avg(score)) AS m, sum(score) / 0 AS never FROM people GROUP BY ward LIMIT 1":           {"a|2|NULL"},
	} {
		got, err := engine.Execute(context.Background(), oneInput(t, agreement.CSV, []byte(data), true, query), silent)
		if err != nil {
			t.Errorf("%s: %v %s", query, err, failureOf(t, err).Detail)
			continue
		}
		if diff := cmp.Diff(want, table(got)); diff != "" {
			t.Errorf("%s: %s\n%s", query, got.SQL, diff)
		}
	}
	for query, code := range map[string]string{
		"SELECT sum(score) + score AS s FROM people":                         "query.aggregate",
		"SELECT sum(score) > 2 AS s FROM people":                             "query.aggregate",
		"SELECT sqrt(sum(score)) AS s FROM people":                           "query.aggregate",
		"SELECT sum(score) || 'x' AS s FROM people":                          "query.aggregate",
		"SELECT sum(score) / (SELECT count(*) FROM people) AS s FROM people": "query.aggregate",
		"SELECT round(sum(score), 30) AS s FROM people":                      "query.function",
	} {
		if _, err := engine.Execute(context.Background(), oneInput(t, agreement.CSV, []byte(data), true, query), silent); err == nil || failureOf(t, err).Code != code {
			t.Errorf("%s: %v", query, err)
		}
	}
}
