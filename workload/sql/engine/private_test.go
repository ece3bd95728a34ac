package engine_test

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/privacy"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

// privateRules put an input under differential privacy with its score within 0 and 100.
func privateRules(job *sql.Job, epsilon string, groups, rows int64, mechanism wire.ID) {
	for i := range job.Inputs {
		in := &job.Inputs[i]
		in.Rules.MinGroup = 1
		in.Rules.Privacy = &agreement.Privacy{Epsilon: "100", Delta: "0.00001", Run: "100", Mechanism: mechanism, MaxGroups: groups, MaxRows: rows}
		for _, c := range in.Schema {
			if c.Type == "decimal" {
				in.Rules.Columns = append(in.Rules.Columns, agreement.ColumnRule{Name: c.Name, Roles: []wire.ID{"filter", "aggregate"}, Min: "0.00", Max: "100.00"})
			}
		}
	}
	job.Epsilon = epsilon
	job.Noise = strings.Repeat("5a", 32)
}

// crowd is so many people of each of three wards, each with two rows, and one person alone.
func crowd(n int) []byte {
	var b strings.Builder
	b.WriteString(smallHeader)
	for i := range n {
		for range 2 {
			fmt.Fprintf(&b, "%d,%s,%d.00,%v,2026-01-31\n", i, []string{"a", "b", "c"}[i%3], i%100, i%2 == 0)
		}
	}
	b.WriteString("1000000,alone,50.00,true,2026-01-31\n")
	return []byte(b.String())
}

func private(t *testing.T, query, epsilon string, mechanism wire.ID) sql.Result {
	t.Helper()
	job := oneInput(t, agreement.CSV, crowd(3000), false, query)
	privateRules(&job, epsilon, 1, 2, mechanism)
	got, err := engine.Execute(context.Background(), job, silent)
	if err != nil {
		t.Fatalf("%s: %v %s", query, err, failureOf(t, err).Detail)
	}
	return got
}

// near reads a cell and holds it to a value, within a distance.
func near(t *testing.T, cell string, want, within float64) {
	t.Helper()
	got, err := strconv.ParseFloat(cell, 64)
	if err != nil || math.Abs(got-want) > within {
		t.Errorf("%s, want %g within %g (%v)", cell, want, within, err)
	}
}

// With a large epsilon answers are near the truth; with a small one they are off by about what
// is said beforehand. A group of one person never shows.
func TestPrivateAnswers(t *testing.T) {
	const query = "SELECT ward, count(*) AS n, count(DISTINCT person) AS people, sum(score) AS s, avg(score) AS m, var_pop(score) AS v, median(score) AS d FROM people GROUP BY ward ORDER BY ward"
	for _, mechanism := range []wire.ID{privacy.Laplace, privacy.Gaussian} {
		got := private(t, query, "50", mechanism)
		if len(got.Rows) != 3 {
			t.Fatalf("%s: %v", mechanism, table(got))
		}
		for _, row := range got.Rows {
			near(t, *row[1], 2000, 30)
			near(t, *row[2], 1000, 20)
			near(t, *row[3], 99000, 3000)
			near(t, *row[4], 49.5, 2)
			near(t, *row[5], 833, 60)
			near(t, *row[6], 50, 4)
		}
	}
	one, again := private(t, query, "1", privacy.Gaussian), private(t, query, "1", privacy.Gaussian)
	if fmt.Sprint(table(one)) != fmt.Sprint(table(again)) {
		t.Error("the same run gave two answers")
	}
	if total := private(t, "SELECT count(*) AS n FROM people", "1", privacy.Laplace); table(total)[0] == "6001" {
		t.Error("no noise")
	}
	if rows := table(private(t, "SELECT count(*) AS n FROM people WHERE score > 1000", "1", privacy.Laplace)); len(rows) != 1 {
		t.Errorf("that nobody was counted showed: %v", rows)
	}
}

// A unit counts in so many groups, with so many rows, whatever it brings; others' stay.
func TestPrivateLimits(t *testing.T) {
	var b strings.Builder
	b.WriteString(smallHeader)
	for i := range 500 {
		fmt.Fprintf(&b, "%d,w%d,1.00,true,2026-01-31\n", i, i%5)
	}
	for i := range 5000 { // one person in every ward, a thousand times
		fmt.Fprintf(&b, "9999,w%d,100.00,true,2026-01-31\n", i%5)
	}
	job := oneInput(t, agreement.CSV, []byte(b.String()), false, "SELECT ward, count(*) AS n, sum(score) AS s FROM people GROUP BY ward ORDER BY ward")
	privateRules(&job, "100", 1, 2, privacy.Laplace)
	got, err := engine.Execute(context.Background(), job, silent)
	if err != nil {
		t.Fatal(err, failureOf(t, err).Detail)
	}
	total := 0.0
	for _, row := range got.Rows {
		n, _ := strconv.ParseFloat(*row[1], 64)
		total += n
		near(t, *row[1], 101, 6)
	}
	if len(got.Rows) != 5 || math.Abs(total-502) > 10 {
		t.Errorf("%v: the loud one counts %g times", table(got), total-500)
	}
}

// Units of both sides of a join are limited, and rows without a partner are kept.
func TestPrivateJoins(t *testing.T) {
	cards, shop := "person,segment,spent\n", "customer,store,paid\n"
	for i := range 900 {
		cards += fmt.Sprintf("%d,%s,10.00\n", i, []string{"gold", "plain"}[i%2])
		if i%3 != 0 {
			shop += fmt.Sprintf("%d,north,20.00\n%d,south,20.00\n", i, i)
		}
	}
	for query, want := range map[string]float64{
		"SELECT count(DISTINCT person) AS n FROM cards JOIN visits ON person = customer":        600,
		"SELECT count(*) AS n FROM cards LEFT JOIN visits ON person = customer":                 1500,
		"SELECT sum(paid) AS s FROM cards JOIN visits ON person = customer":                     24000,
		"SELECT count(customer) AS n FROM cards LEFT JOIN visits ON person = customer":          1200,
		"SELECT count(DISTINCT customer) AS n FROM cards LEFT JOIN visits ON person = customer": 600,
	} {
		job := joined(t, cards, shop, query)
		privateRules(&job, "100", 1, 2, privacy.Laplace)
		for i := range job.Inputs {
			job.Inputs[i].Pinned = false // noise hides whoever chose the rows
		}
		got, err := engine.Execute(context.Background(), job, silent)
		if err != nil {
			t.Fatalf("%s: %v %s", query, err, failureOf(t, err).Detail)
		}
		near(t, *got.Rows[0][0], want, want/10)
	}
}

func TestPrivateRefusals(t *testing.T) {
	for query, code := range map[string]string{
		"SELECT sum(age) AS s FROM (SELECT 1) x":                                            "query.table",
		"SELECT ward FROM people GROUP BY ward":                                             "query.privacy",
		"SELECT var_samp(score) AS v FROM people":                                           "query.function",
		"SELECT max(score) AS m FROM people":                                                "query.function",
		"SELECT quantile_cont(score, 1.5) AS q FROM people":                                 "query.function",
		"SELECT median(person) AS m FROM people":                                            "query.unit",
		"SELECT avg(CASE WHEN smoker THEN 1 END) AS m, sum(score * score) AS s FROM people": "query.aggregate",
	} {
		job := oneInput(t, agreement.CSV, crowd(10), false, query)
		privateRules(&job, "1", 1, 2, privacy.Laplace)
		if _, err := engine.Execute(context.Background(), job, silent); err == nil || failureOf(t, err).Code != code {
			t.Errorf("%s: %v", query, err)
		}
	}
	for name, change := range map[string]func(*sql.Job){
		"values without bounds":     func(j *sql.Job) { j.Inputs[0].Rules.Columns = nil },
		"no epsilon":                func(j *sql.Job) { j.Epsilon = "" },
		"an epsilon without effect": func(j *sql.Job) { j.Epsilon = "0" },
		"more than the budget":      func(j *sql.Job) { j.Epsilon = "101" },
		"one input that is exact": func(j *sql.Job) {
			exact := j.Inputs[0]
			exact.Name, exact.Owner, exact.Rules.Privacy, exact.FD = "exact", "beta", nil, fdOf(t, crowd(10))
			j.Inputs, j.Tables[0].Inputs = append(j.Inputs, exact), append(j.Tables[0].Inputs, "exact")
		},
		"two inputs of one owner": func(j *sql.Job) {
			twin := j.Inputs[0]
			twin.Name, twin.FD = "twin", fdOf(t, crowd(10))
			j.Inputs, j.Tables[0].Inputs = append(j.Inputs, twin), append(j.Tables[0].Inputs, "twin")
		},
	} {
		job := oneInput(t, agreement.CSV, crowd(10), false, "SELECT sum(score) AS s FROM people")
		privateRules(&job, "1", 1, 2, privacy.Laplace)
		change(&job)
		if _, err := engine.Execute(context.Background(), job, silent); err == nil || failureOf(t, err).Phase != sql.Check {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// One person more or less changes the exact numbers behind the noise by no more than the plan
// reckons with: whatever the person's rows are, and whatever the others' are.
func TestPrivateSensitivity(t *testing.T) {
	// A noise of nearly nothing shows the exact numbers: epsilon 100 over one output.
	sum := func(extra string) float64 {
		job := oneInput(t, agreement.CSV, append(crowd(300), extra...), false, "SELECT sum(score) AS s FROM people")
		privateRules(&job, "100", 1, 2, privacy.Laplace)
		got, err := engine.Execute(context.Background(), job, silent)
		if err != nil {
			t.Fatal(err, failureOf(t, err).Detail)
		}
		v, err := strconv.ParseFloat(*got.Rows[0][0], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	base := sum("")
	for _, extra := range []string{
		"77777,a,100.00,true,2026-01-31\n",
		strings.Repeat("77777,a,100.00,true,2026-01-31\n", 50),
		strings.Repeat("77777,a,99999.00,true,2026-01-31\n77777,b,-5.00,false,2026-02-28\n", 50),
	} {
		if moved := math.Abs(sum(extra) - base); moved > 2*100+60 {
			t.Errorf("one person moved the sum by %g", moved)
		}
	}
}

// Joins by anything but units are refused: nothing would bound what one person changes.
func TestPrivateJoinsAreByUnits(t *testing.T) {
	cards, shop := cardsAndVisits()
	job := joined(t, cards, shop, "SELECT count(*) AS n FROM cards JOIN visits ON segment = store")
	privateRules(&job, "1", 1, 2, privacy.Laplace)
	for i := range job.Inputs {
		rules := &job.Inputs[i].Rules
		rules.Columns = append(rules.Columns, agreement.ColumnRule{Name: []string{"segment", "store"}[i], Roles: []wire.ID{}, Key: "place"})
	}
	if _, err := engine.Execute(context.Background(), job, silent); err == nil || failureOf(t, err).Code != "query.privacy" {
		t.Errorf("a join by places: %v", err)
	}
}

// With everybody's rows in both tables or one person's taken out of either, the exact numbers
// behind the noise differ by what the bounds allow, whatever rows the others have.
func TestPrivateJoinSensitivity(t *testing.T) {
	total := func(query, cards, shop string) float64 {
		job := joined(t, cards, shop, query)
		privateRules(&job, "100", 1, 2, privacy.Laplace)
		got, err := engine.Execute(context.Background(), job, silent)
		if err != nil {
			t.Fatal(err, failureOf(t, err).Detail)
		}
		v, err := strconv.ParseFloat(*got.Rows[0][0], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	cards, shop := "person,segment,spent\n", "customer,store,paid\n"
	for i := range 300 {
		cards += fmt.Sprintf("%d,gold,10.00\n", i)
		shop += fmt.Sprintf("%d,north,20.00\n", i)
	}
	for _, query := range []string{"SELECT count(*) AS n FROM cards JOIN visits ON person = customer", "SELECT count(*) AS n FROM cards LEFT JOIN visits ON person = customer"} {
		base := total(query, cards, shop)
		for _, extra := range [][2]string{
			{strings.Repeat("900,gold,1.00\n", 40), strings.Repeat("900,south,1.00\n", 40)},
			{strings.Repeat("5,plain,1.00\n", 40), ""},
			{"", strings.Repeat("5,south,1.00\n", 40)},
		} {
			if moved := math.Abs(total(query, cards+extra[0], shop+extra[1]) - base); moved > 2+4 {
				t.Errorf("%s: one person moved the count by %g", query, moved)
			}
		}
	}
}
