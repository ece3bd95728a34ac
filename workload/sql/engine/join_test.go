package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

var (
	cardSchema = []agreement.Column{{Name: "person", Type: "integer", Unit: true}, {Name: "segment", Type: "text"}, {Name: "spent", Type: "decimal", Scale: 2}}
	shopSchema = []agreement.Column{{Name: "customer", Type: "integer", Unit: true}, {Name: "store", Type: "text"}, {Name: "paid", Type: "decimal", Scale: 2}}
)

// joined makes a job over a bank's and a shop's rows, both of people by the same key.
func joined(t testing.TB, cards, shop, query string) sql.Job {
	rules := func(unit string) agreement.Rules {
		r := *testrules.Groups(3, "lab")
		r.Columns = []agreement.ColumnRule{{Name: unit, Roles: []wire.ID{}, Key: "person"}}
		return r
	}
	input := func(name, owner wire.ID, data string, schema []agreement.Column) sql.Input {
		return sql.Input{Name: name, Owner: owner, FD: fdOf(t, []byte(data)), Format: agreement.CSV, Schema: schema, Pinned: true, Rules: rules(schema[0].Name)}
	}
	return sql.Job{
		Inputs: []sql.Input{input("cards", "bank", cards, cardSchema), input("shop", "grocer", shop, shopSchema)},
		Tables: []sql.Table{{Name: "cards", Inputs: []wire.ID{"cards"}}, {Name: "visits", Inputs: []wire.ID{"shop"}}}, Query: query,
		MaxRows: 100, MaxColumns: 100, MaxBytes: 1 << 20, Memory: 256 << 20, Threads: 2, Salt: sql.NoSalt, Noise: sql.NoSalt,
	}
}

// cardsAndVisits gives the cards of people 1 to 8, and visits of people 5 to 12: those above 8 have no
// card, and person 5 has been there twice.
func cardsAndVisits() (cards, shop string) {
	cards, shop = "person,segment,spent\n", "customer,store,paid\n"
	for i := 1; i <= 8; i++ {
		cards += fmt.Sprintf("%d,%s,%d.50\n", i, []string{"gold", "plain"}[i%2], i)
	}
	for i := 5; i <= 12; i++ {
		shop += fmt.Sprintf("%d,north,%d.00\n", i, 10*i)
	}
	return cards, shop + "5,north,1.00\n"
}

func TestJoins(t *testing.T) {
	cards, shop := cardsAndVisits()
	for name, test := range map[string]struct {
		query string
		want  []string
	}{
		"on":                        {"SELECT count(*) AS n, count(DISTINCT c.person) AS people, sum(paid) AS paid FROM cards c JOIN visits v ON c.person = v.customer", []string{"5|4|261.00"}},
		"on, reversed":              {"SELECT count(*) AS n, sum(spent) AS s FROM cards c JOIN visits v ON v.customer = c.person", []string{"5|33.50"}},
		"left":                      {"SELECT count(*) AS n, count(DISTINCT c.person) AS people, count(DISTINCT v.customer) AS met FROM cards c LEFT JOIN visits v ON c.person = v.customer", []string{"9|8|4"}},
		"left, of the other's side": {"SELECT count(DISTINCT customer) AS met FROM cards c LEFT JOIN visits v ON c.person = v.customer WHERE segment = 'gold'", nil}, // gold: 2 4 6 8; met: 6 8, too few
		"too few of a group":        {"SELECT segment, count(*) AS n FROM cards JOIN visits ON person = customer GROUP BY segment", nil},
		"grouped by the other":      {"SELECT store, count(*) AS n FROM cards JOIN visits ON person = customer GROUP BY store", []string{"north|5"}},
		"of one side alone":         {"SELECT segment, count(*) AS n FROM cards GROUP BY segment", []string{"gold|4", "plain|4"}},
		"with itself":               {"SELECT count(*) AS n FROM cards a JOIN cards b USING (person)", []string{"8"}},
		"three":                     {"SELECT count(*) AS n, sum(a.spent) AS s FROM cards a JOIN visits ON customer = a.person JOIN cards b ON b.person = a.person", []string{"5|33.50"}},
		"with more in ON":           {"SELECT count(*) AS n FROM cards JOIN visits ON person = customer AND paid >= 60 AND spent < paid", []string{"3"}},
		"with a condition":          {"SELECT count(*) AS n FROM cards JOIN visits ON person = customer WHERE paid >= 60 AND spent < 100", []string{"3"}},
	} {
		got, err := engine.Execute(context.Background(), joined(t, cards, shop, test.query), silent)
		if err != nil {
			t.Errorf("%s: %v %s", name, err, failureOf(t, err).Detail)
			continue
		}
		if diff := cmp.Diff(test.want, table(got)); diff != "" {
			t.Errorf("%s: %s\n%s", name, got.SQL, diff)
		}
	}
}

func TestRefusedJoins(t *testing.T) {
	cards, shop := cardsAndVisits()
	for query, code := range map[string]string{
		"SELECT count(*) AS n FROM cards JOIN visits ON segment = store":                                               "query.join",
		"SELECT count(*) AS n FROM cards JOIN visits ON person = customer OR true":                                     "query.unit",
		"SELECT count(*) AS n FROM cards JOIN visits ON person <> customer":                                            "query.unit",
		"SELECT count(*) AS n FROM cards JOIN visits ON person = person":                                               "query.unit",
		"SELECT count(*) AS n FROM cards JOIN visits ON person = customer + 0":                                         "query.unit",
		"SELECT count(*) AS n FROM cards LEFT JOIN visits ON person = customer AND paid > 1":                           "query.join",
		"SELECT count(*) AS n FROM cards JOIN visits ON true":                                                          "query.join",
		"SELECT count(*) AS n FROM cards RIGHT JOIN visits ON person = customer":                                       "query.join",
		"SELECT count(*) AS n FROM cards FULL JOIN visits ON person = customer":                                        "query.join",
		"SELECT count(*) AS n FROM cards NATURAL JOIN cards b":                                                         "query.join",
		"SELECT count(*) AS n FROM cards CROSS JOIN visits":                                                            "query.join",
		"SELECT count(*) AS n FROM cards SEMI JOIN visits ON person = customer":                                        "query.join",
		"SELECT count(*) AS n FROM cards ANTI JOIN visits ON person = customer":                                        "query.join",
		"SELECT count(*) AS n FROM cards ASOF JOIN visits ON person >= customer":                                       "query.join",
		"SELECT count(*) AS n FROM cards JOIN (visits JOIN cards c ON c.person = customer) ON customer = cards.person": "query.join",
		"SELECT count(*) AS n FROM cards JOIN (SELECT * FROM visits) v ON person = customer":                           "query.join",
		"SELECT count(*) AS n FROM cards JOIN cards ON cards.person = cards.person":                                    "query.table",
		"SELECT sum(spent) AS s FROM cards a JOIN cards b USING (person)":                                              "query.column",
		"SELECT sum(a.spent * paid) AS s FROM cards a JOIN visits ON person = customer":                                "query.aggregate",
		"SELECT sum(a.spent + b.spent) AS s FROM cards a JOIN cards b USING (person)":                                  "query.aggregate",
		"SELECT person, count(*) AS n FROM cards JOIN visits ON person = customer GROUP BY person":                     "query.unit",
		"SELECT count(*) AS n FROM cards JOIN visits ON person = customer WHERE customer = 5":                          "query.unit",
		"SELECT count(*) AS n FROM cards JOIN visits USING (person)":                                                   "query.column",
	} {
		job := joined(t, cards, shop, query)
		_, err := engine.Execute(context.Background(), job, silent)
		if err == nil {
			t.Errorf("%s passed", query)
		} else if f := failureOf(t, err); f.Code != code || f.Phase != sql.Check {
			t.Errorf("%s: %s %s: %s; want %s", query, f.Phase, f.Code, f.Detail, code)
		}
	}
}

// Rows of others join an owner's only in a version that was fixed before it signed (R18).
func TestPartnersAreFixed(t *testing.T) {
	cards, shop := cardsAndVisits()
	const query = "SELECT count(*) AS n FROM cards JOIN visits ON person = customer"
	job := joined(t, cards, shop, query)
	job.Inputs[1].Pinned = false
	_, err := engine.Execute(context.Background(), job, silent)
	if err == nil || failureOf(t, err).Code != "query.partner" {
		t.Errorf("rows that their owner may choose joined: %v", err)
	}
	job = joined(t, cards, shop, query)
	job.Inputs[1].Pinned, job.Inputs[0].Rules.Partners = false, agreement.Any
	if _, err := engine.Execute(context.Background(), job, silent); err != nil {
		t.Errorf("an owner that lets anybody join: %v", err)
	}
	job = joined(t, cards, shop, "SELECT count(*) AS n FROM cards")
	job.Inputs[1].Pinned = false
	if _, err := engine.Execute(context.Background(), job, silent); err != nil {
		t.Errorf("rows of one owner alone: %v", err)
	}
}

// Whatever the rows: a group is shown exactly if it has none or enough of each side's people.
func TestJoinedPeopleAreCounted(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 25 {
		cards, shop := "person,segment,spent\n", "customer,store,paid\n"
		segment := map[int]string{}
		for i := range 12 {
			segment[i] = []string{"a", "b"}[r.IntN(2)]
			cards += fmt.Sprintf("%d,%s,1.00\n", i, segment[i])
		}
		type group struct {
			people map[int]bool
			rows   int
		}
		groups := map[string]*group{}
		for range r.IntN(25) {
			who, store := r.IntN(20), []string{"x", "y"}[r.IntN(2)]
			shop += fmt.Sprintf("%d,%s,1.00\n", who, store)
			if who >= 12 {
				continue
			}
			name := segment[who] + "|" + store
			if groups[name] == nil {
				groups[name] = &group{people: map[int]bool{}}
			}
			groups[name].people[who], groups[name].rows = true, groups[name].rows+1
		}
		var want []string
		for name, g := range groups {
			if len(g.people) >= 3 {
				want = append(want, fmt.Sprintf("%s|%d", name, g.rows))
			}
		}
		slices.Sort(want)
		got, err := engine.Execute(context.Background(), joined(t, cards, shop, "SELECT segment, store, count(*) AS n FROM cards JOIN visits ON person = customer GROUP BY segment, store"), silent)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(table(got), "\n")); diff != "" {
			t.Fatal(diff)
		}
	}
}
