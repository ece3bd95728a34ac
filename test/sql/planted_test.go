package sql_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

// The oracle: rows of 80 people, of whom nobody may see one. Every person has texts of its own
// in some columns; and one of them, the marked one, is alone in having amounts, which queries may
// only aggregate. Whatever passes the guard,
//
//   - no text of one person comes out, and
//   - the answer is the same whatever the marked person's amounts are.
//
// The second follows from spec/sql.md, section 4: for what is summed only values other than 0
// count as values, and one person is too few.

// plantedText is in every text that one person alone has.
const plantedText = "planted"

// planted are the files of such rows, by dataset.
func planted(t testing.TB, amount string) map[string]int {
	t.Helper()
	rows := map[string]*strings.Builder{
		"customers": {}, "payments": {}, "offers": {}, "visits": {},
	}
	for name, header := range map[string]string{
		"customers": "email,segment,region,branch,age,income,active,since", "payments": "email,day,category,amount,online,card",
		"offers": "email,offer,shown,redeemed,tier,points", "visits": "email,day,store,department,items,paid,coupon",
	} {
		fmt.Fprintln(rows[name], header)
	}
	for i := range 80 {
		who := fmt.Sprintf("p%d@mail.example", i)
		money, whole := "0.00", "0"
		switch {
		case i == 0:
			money, whole = amount+".37", amount
		case i%3 == 0:
			money, whole = "", ""
		}
		half := []string{"gold", "standard"}[i%2]
		fmt.Fprintf(rows["customers"], "%s,%s,north,%s-%d,%d,%s,%t,20%02d-01-01\n", who, half, plantedText, i, 20+i%60, money, i%4 < 2, 10+i%2)
		for j := range 2 {
			fmt.Fprintf(rows["payments"], "%s,2026-0%d-01,%s,%s,%t,%s-%d\n", who, 1+j, []string{"fuel", "groceries"}[j], money, i%2 == 0, plantedText, i)
			fmt.Fprintf(rows["visits"], "%s,2026-0%d-02,station,%s-%d,%s,%s,%t\n", who, 1+j, plantedText, i, whole, money, i%2 == 1)
		}
		fmt.Fprintf(rows["offers"], "%s,%s,2026-03-01,%t,%s-%d,%s\n", who, []string{"none", "points"}[i%2], i%2 == 0, plantedText, i, whole)
	}
	out := map[string]int{}
	for name, b := range rows {
		fd, err := sealed([]byte(b.String()))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = fd
	}
	return out
}

// oracle asks queries of rows with planted values.
type oracle struct {
	agreement agreement.Agreement
	one, two  map[string]int
	passed    int // the check
	shown     int // rows
}

func newOracle(t testing.TB) *oracle {
	return &oracle{agreement: agreed(t, false), one: planted(t, "48271936"), two: planted(t, "7")}
}

// ask runs a query that passes, and fails if it tells of one person.
func (o *oracle) ask(t *testing.T, query string) {
	job := jobOf(o.agreement, query)
	for i := range job.Inputs {
		r := &job.Inputs[i].Rules
		r.Columns = slices.Clone(r.Columns)
		for j := range r.Columns {
			r.Columns[j].Min, r.Columns[j].Max = "", ""
		}
		for _, amounts := range []string{"income", "amount", "paid", "items", "points"} {
			r.Columns = slices.DeleteFunc(r.Columns, func(c agreement.ColumnRule) bool { return c.Name == amounts })
			if slices.ContainsFunc(job.Inputs[i].Schema, func(c agreement.Column) bool { return c.Name == amounts }) {
				r.Columns = append(r.Columns, agreement.ColumnRule{Name: amounts, Roles: []wire.ID{agreement.Aggregate}})
			}
		}
	}
	if _, err := engine.Execute(context.Background(), job, silent); err != nil {
		if f := new(sql.Failure); !errors.As(err, &f) || f.Phase != sql.Check {
			t.Fatalf("not a refusal: %v\n%s", err, query)
		}
		return
	}
	o.passed++
	first, ok := o.run(t, query, job, o.one)
	second, both := o.run(t, query, job, o.two)
	if ok != both {
		t.Fatalf("whether there is an answer tells one person's amounts\n%s", query)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Fatalf("the answer tells one person's amounts: %s\n%s", diff, query)
	}
	if len(first) > 0 {
		o.shown++
	}
	for _, row := range first {
		if strings.Contains(strings.ToLower(row), plantedText) && !strings.Contains(strings.ToLower(query), plantedText) {
			t.Fatalf("one person's text comes out: %s\n%s", row, query)
		}
	}
}

// run gives the rows shown. A run that ends without an answer says so to whoever asks; why goes to
// the owners.
func (o *oracle) run(t *testing.T, query string, job sql.Job, files map[string]int) (rows []string, ok bool) {
	got, err := engine.Execute(context.Background(), overData(t, job, o.agreement, files), silent)
	if err != nil {
		if f := new(sql.Failure); !errors.As(err, &f) || f.Code == "internal" {
			t.Fatalf("%v\n%s", err, query)
		}
		return nil, false
	}
	for _, row := range got.Rows {
		rows = append(rows, text(row))
	}
	return rows, true
}

// maker makes queries of the kind that passes, out of parts that each pass somewhere.
type maker struct{ r *rand.Rand }

func (m maker) one(of ...string) string { return of[m.r.IntN(len(of))] }

// The tables with their groups and amounts, as the example's agreement has them.
const (
	groupsOf  = "customers:c.segment c.region c.branch c.active c.age year(c.since) floor(c.age*0.1)|payments:p.category p.online p.day month(p.day)|offers:o.offer o.tier o.redeemed o.shown upper(o.tier)|visits:v.store v.department v.coupon v.day coalesce(v.department,'none')"
	amountsOf = "customers:c.income|payments:p.amount|offers:o.points|visits:v.paid v.items"
)

func listOf(lists, table string) []string {
	for _, list := range strings.Split(lists, "|") {
		if rest, found := strings.CutPrefix(list, table+":"); found {
			return strings.Fields(rest)
		}
	}
	return nil
}

// condition is about a column that may be in conditions.
func (m maker) condition(groups []string) string {
	g := m.one(groups...)
	return m.one(g+" IS NOT NULL", g+" IS NULL", "NOT "+g+" IS NULL", "c.age > 30", "c.age BETWEEN 25 AND 50", "c.segment = 'gold'", "o.redeemed", "NOT v.coupon",
		"p.category IN ('fuel', 'dining')", "v.department LIKE '%1%'", "c.branch LIKE 'planted-1%'", "o.tier <> 'x'", "p.day >= '2026-02-01'", "(c.active OR c.age < 30)")
}

// aggregate is of amounts, plain, in multiples, or in a CASE.
func (m maker) aggregate(amounts []string, when string) string {
	a := m.one(amounts...)
	if m.r.IntN(2) == 0 {
		return "count(CASE WHEN " + when + " THEN 1 END)"
	}
	value := m.one(a, a, "2 * "+a, a+" + 1", "-"+a, a+" * 3 - 4", "5 - "+a, "0 * "+a)
	if m.r.IntN(3) == 0 {
		value = "CASE WHEN " + when + " THEN " + value + m.one("", " ELSE 0", " ELSE 1", " ELSE "+a) + " END"
	}
	return m.one("sum", "avg", "count") + "(" + value + ")"
}

func (m maker) query() string {
	tables := []string{"customers", "payments", "offers", "visits"}
	m.r.Shuffle(len(tables), func(i, j int) { tables[i], tables[j] = tables[j], tables[i] })
	tables = tables[:1+m.r.IntN(2)]
	from, groups, amounts := "", []string{}, []string{}
	for i, t := range tables {
		if i > 0 {
			from += m.one(" JOIN ", " LEFT JOIN ")
		}
		from += t + " " + t[:1]
		if i > 0 {
			from += " ON " + tables[0][:1] + ".email = " + t[:1] + ".email"
		}
		groups, amounts = append(groups, listOf(groupsOf, t)...), append(amounts, listOf(amountsOf, t)...)
	}
	items, by := []string{}, ""
	if m.r.IntN(4) > 0 {
		items, by = append(items, m.one(groups...)+" AS g"), " GROUP BY 1"
	}
	when := m.condition(groups)
	for i := range m.r.IntN(4) {
		items = append(items, fmt.Sprintf("%s AS a%d", m.aggregate(amounts, when), i))
	}
	items = append(items, m.one("count(*)", "count(DISTINCT "+tables[0][:1]+".email)")+" AS n")
	where := ""
	if m.r.IntN(2) == 0 {
		where = " WHERE " + m.condition(groups)
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM " + from + where + by
}

// Queries of the corpus, and made ones, never tell of one person.
func TestPlanted(t *testing.T) {
	o, m := newOracle(t), maker{rand.New(rand.NewPCG(11, 12))}
	for i, c := range corpus(t, "legitimate") {
		if i%8 == 0 && !c.Rows {
			o.ask(t, c.Query)
		}
	}
	legitimate := o.passed
	for range 90 {
		o.ask(t, m.query())
	}
	if legitimate < 10 || o.passed < legitimate+30 || o.shown < 12 {
		t.Errorf("%d queries and %d made ones passed, %d had rows: the oracle saw too few", legitimate, o.passed-legitimate, o.shown)
	}
	t.Logf("%d queries and %d made ones passed, %d had rows", legitimate, o.passed-legitimate, o.shown)
}

func FuzzPlanted(f *testing.F) {
	for _, folder := range []string{"legitimate", "attacks"} {
		for i, c := range corpus(f, folder) {
			if i%12 == 0 && !c.Rows {
				f.Add(c.Query)
			}
		}
	}
	o := newOracle(f)
	f.Fuzz(func(t *testing.T, query string) {
		if len(query) == 0 || len(query) > 4096 {
			return
		}
		o.ask(t, query)
	})
}
