package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

// asker asks one owner's rows question after question, as a room after the other would.
type asker struct {
	t     *testing.T
	job   func(query string) sql.Job
	asked []sql.Asked
}

// people20 are 20 people: 10 women and 10 men, ages 30 to 49; one woman is of 49 years.
func people20() string {
	data := smallHeader
	for i := range 20 {
		data += fmt.Sprintf("%d,%s,%d.00,%v,2026-01-%02d\n", i, []string{"women", "men"}[i%2], 30+i, i < 12, 1+i)
	}
	return data
}

func newAsker(t *testing.T, rule string) *asker {
	return &asker{t: t, job: func(query string) sql.Job {
		job := oneInput(t, agreement.CSV, []byte(people20()), true, query)
		job.Inputs[0].Rules.MinGroup = 5
		job.Inputs[0].Rules.Differences = wire.ID(rule)
		return job
	}}
}

// ask gives the rows that are shown, and remembers them as the owner's broker does.
func (a *asker) ask(query string) []string {
	a.t.Helper()
	job := a.job(query)
	if job.Inputs[0].Rules.Differences == agreement.Audited {
		job.Inputs[0].Asked = a.asked
	}
	got, err := engine.Execute(context.Background(), job, silent)
	if err != nil {
		a.t.Fatalf("%s: %v %s", query, err, failureOf(a.t, err).Detail)
	}
	if len(got.Shown) > 0 {
		a.asked = append(a.asked, sql.Asked{Query: query, Parameters: job.Parameters, Tables: job.Tables, Shown: got.Shown[0].Groups})
	}
	return table(got)
}

// Trackers: sequences of questions, each about enough people, of which the last tells of one or
// few when it is added to and subtracted from those before. Plain thresholds answer them all.
var trackers = map[string][]string{
	"everybody, then all but one":   {"SELECT count(*) AS n, sum(score) AS s FROM people", "SELECT sum(score) AS s FROM people WHERE score < 49"},
	"all but one, then everybody":   {"SELECT sum(score) AS s FROM people WHERE score < 49", "SELECT sum(score) AS s FROM people"},
	"two ranges that differ in two": {"SELECT sum(score) AS s FROM people WHERE score >= 35", "SELECT sum(score) AS s FROM people WHERE score >= 37"},
	"the individual tracker":        {"SELECT count(*) AS n FROM people WHERE ward = 'women'", "SELECT count(*) AS n FROM people WHERE ward = 'women' AND NOT (score > 47)"},
	"the general tracker":           {"SELECT count(*) AS n FROM people", "SELECT count(*) AS n FROM people WHERE score > 48 OR smoker", "SELECT count(*) AS n FROM people WHERE score > 48 OR NOT smoker"},
	"a group that was withheld":     {"SELECT ward, CASE WHEN score > 46 THEN 'old' ELSE 'young' END AS age, count(*) AS n FROM people GROUP BY ward, age", "SELECT ward, count(*) AS n FROM people GROUP BY ward"},
	"by branches of a CASE":         {"SELECT count(*) AS n FROM people WHERE ward = 'women'", "SELECT sum(CASE WHEN ward = 'women' THEN score ELSE 0 END) AS s FROM people WHERE score < 47"},
	"three steps":                   {"SELECT count(*) AS n FROM people WHERE score < 40", "SELECT count(*) AS n FROM people WHERE score >= 40 AND score < 48", "SELECT sum(score) AS s FROM people"},
	"by rows of many dates":         {"SELECT count(*) AS n FROM people WHERE seen < DATE '2026-01-11'", "SELECT count(*) AS n FROM people WHERE seen < DATE '2026-01-13'"},
}

func TestTrackers(t *testing.T) {
	for name, questions := range trackers {
		plain, audited := newAsker(t, "unaudited"), newAsker(t, "audited")
		for i, query := range questions {
			last := i == len(questions)-1
			if rows := plain.ask(query); len(rows) == 0 {
				t.Errorf("%s: plain thresholds withhold question %d", name, i+1)
			}
			rows := audited.ask(query)
			if last && len(rows) > 0 && name != "a group that was withheld" {
				t.Errorf("%s: the last question was answered: %v", name, rows)
			}
			if !last && len(rows) == 0 {
				t.Errorf("%s: question %d was not answered", name, i+1)
			}
		}
	}
}

// What tells nothing of few is answered, however often and in whatever order.
func TestAuditAnswersTheHarmless(t *testing.T) {
	a := newAsker(t, "audited")
	for _, query := range []string{
		"SELECT ward, count(*) AS n FROM people GROUP BY ward",
		"SELECT count(*) AS n FROM people",
		"SELECT count(*) AS n, sum(score) AS s, avg(score) AS m FROM people",
		"SELECT ward, sum(score) AS s FROM people GROUP BY ward ORDER BY s DESC",
		"SELECT sum(score) AS s FROM people WHERE ward = 'men'",
		"SELECT smoker, count(*) AS n FROM people GROUP BY smoker",
		"SELECT ward, sum(CASE WHEN smoker THEN 1 ELSE 0 END) AS n FROM people WHERE score < 40 GROUP BY ward",
	} {
		if rows := a.ask(query); len(rows) == 0 && !strings.Contains(query, "CASE") {
			t.Errorf("%s was not answered", query)
		}
	}
}

// Whatever is asked: no combination of what was shown speaks of few people. The oracle knows of
// each question only whom it counted.
func TestAuditAgainstEverySum(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 6 {
		a := newAsker(t, "audited")
		var shown [][]bool // whom each answer counted
		for range 6 {
			low, high := 30+r.IntN(10), 40+r.IntN(11)
			var in []bool
			for i := range 20 {
				in = append(in, 30+i >= low && 30+i < high)
			}
			if rows := a.ask(fmt.Sprintf("SELECT count(*) AS n FROM people WHERE score >= %d AND score < %d", low, high)); len(rows) == 1 {
				shown = append(shown, in)
			}
		}
		for x := range shown { // every difference of two
			for y := range shown {
				n, both := 0, 0
				for i := range 20 {
					if shown[x][i] != shown[y][i] {
						n++
					}
					if shown[x][i] && !shown[y][i] {
						both++
					}
				}
				if n > 0 && n < 5 || both > 0 && both == n && n < 5 {
					t.Fatalf("two answers differ in %d people", n)
				}
			}
		}
	}
}

// Each side of a join is held against what was asked of it alone.
func TestAuditOfJoins(t *testing.T) {
	cards, shop := cardsAndVisits()
	ask := func(query string, asked ...sql.Asked) sql.Result {
		job := joined(t, cards, shop, query)
		for i := range job.Inputs {
			job.Inputs[i].Rules.Differences = agreement.Audited
		}
		job.Inputs[0].Asked = asked
		got, err := engine.Execute(context.Background(), job, silent)
		if err != nil {
			t.Fatal(err, failureOf(t, err).Detail)
		}
		return got
	}
	all := ask("SELECT count(*) AS n, sum(spent) AS s FROM cards")
	if len(table(all)) != 1 || len(all.Shown) != 1 {
		t.Fatal(table(all), all.Shown)
	}
	tables := joined(t, cards, shop, "").Tables
	first := sql.Asked{Query: "SELECT count(*) AS n, sum(spent) AS s FROM cards", Tables: tables, Shown: all.Shown[0].Groups}
	// 4 of the 8 with a card have been there: what both tell is about 4, which is enough.
	if rows := table(ask("SELECT sum(spent) AS s FROM cards JOIN visits ON person = customer", first)); len(rows) != 1 {
		t.Errorf("a join of enough people was not answered: %v", rows)
	}
	// All but two of those with a card: the difference is two.
	if rows := table(ask("SELECT sum(b.spent) AS s FROM cards JOIN cards b USING (person) WHERE b.spent < 7", first)); len(rows) != 0 {
		t.Errorf("a difference of two was answered: %v", rows)
	}
}

// Where differences are audited, a row may hold several conditions: what they tell together is
// held against the audit like everything else.
func TestSeveralConditions(t *testing.T) {
	a := newAsker(t, "audited")
	got := a.ask("SELECT sum(CASE WHEN ward = 'women' THEN 1 ELSE 0 END) AS women, sum(CASE WHEN smoker THEN score ELSE 0 END) AS s, round(100.0 * count(CASE WHEN smoker THEN 1 END) / count(*), 1) AS share FROM people")
	if len(got) != 1 || got[0] != "10|426.00|60.0" {
		t.Errorf("a funnel: %v", got)
	}
	if got := newAsker(t, "audited").ask("SELECT sum(CASE WHEN score < 48 THEN 1 ELSE 0 END) AS a, sum(CASE WHEN score < 40 THEN 1 ELSE 0 END) AS b, count(*) AS n FROM people"); len(got) != 0 {
		t.Errorf("all but two people and everybody in one row: %v", got)
	}
	if got := newAsker(t, "audited").ask("SELECT sum(CASE WHEN score < 40 THEN 1 ELSE 0 END) AS a, sum(CASE WHEN score < 42 THEN 1 ELSE 0 END) AS b FROM people"); len(got) != 0 {
		t.Errorf("two conditions that differ in two people: %v", got)
	}
	job := oneInput(t, agreement.CSV, []byte(people20()), true, "SELECT sum(CASE WHEN score < 40 THEN 1 ELSE 0 END) AS a, sum(CASE WHEN score < 42 THEN 1 ELSE 0 END) AS b FROM people")
	job.Inputs[0].Rules.Differences = agreement.Unaudited
	if _, err := engine.Execute(context.Background(), job, silent); err == nil || failureOf(t, err).Code != "query.aggregate" {
		t.Errorf("two conditions that nobody audits: %v", err)
	}
}

// zeros are 20 people of whom three have a score of 0.00, and one besides 12 with none at all.
func zeros() string {
	data := smallHeader
	for i := range 20 {
		score := fmt.Sprintf("%d.00", 30+i)
		if i < 3 {
			score = "0.00"
		}
		data += fmt.Sprintf("%d,%s,%s,%v,2026-01-%02d\n", i, []string{"women", "men"}[i%2], score, i < 12, 1+i)
	}
	return data
}

// How many zeros there are in a column with digits behind the point its sum does not tell; but
// two sums that differ in one value that is not 0 tell that.
func TestAuditOfZeros(t *testing.T) {
	a := &asker{t: t, job: func(query string) sql.Job {
		job := oneInput(t, agreement.CSV, []byte(zeros()), true, query)
		job.Inputs[0].Rules.MinGroup, job.Inputs[0].Rules.Differences = 5, agreement.Audited
		return job
	}}
	if rows := a.ask("SELECT count(*) AS n, sum(score) AS s, avg(score) AS m FROM people"); len(rows) != 1 {
		t.Error("a sum with three zeros in it was not answered")
	}
	if rows := a.ask("SELECT sum(score) AS s FROM people WHERE score < 49"); len(rows) != 0 {
		t.Errorf("all but one: %v", rows)
	}
	if rows := a.ask("SELECT sum(score) AS s FROM people WHERE score > 34 OR score < 1"); len(rows) != 0 {
		t.Errorf("all but two with a value: %v", rows)
	}
}
