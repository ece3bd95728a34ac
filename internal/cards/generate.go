package cards

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"strongroom.dev/agreement"
)

// generator makes one sample. It draws in a fixed order, with integers alone, so that every
// machine gets the same bytes.
type generator struct {
	Config
	random *rand.ChaCha8
	truth  Truth
	offer  map[int]string // of a member
}

// People are numbers: those from 0 to Shared are customers and members, then come the other
// customers, then the other members.

func newGenerator(c Config) *generator {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], c.Seed)
	return &generator{Config: c, random: rand.NewChaCha8(sha256.Sum256(seed[:])), offer: map[int]string{}, truth: Truth{
		Customers: c.Customers, Members: c.Members, Shared: c.Shared, Branches: map[string]int{}, Stores: map[string]int{}, Heavy: []string{}, Objected: []string{},
	}}
}

// below gives a number from 0 to n-1. That it is a hair from uniform nobody will notice.
func (g *generator) below(n int) int { return int(g.random.Uint64() % uint64(n)) }

// pick gives one of some texts.
func (g *generator) pick(texts ...string) string { return texts[g.below(len(texts))] }

// one reports true once in n times.
func (g *generator) one(n int) bool { return g.below(n) == 0 }

// member gives the number of the i-th member.
func (g *generator) member(i int) int {
	if i < g.Shared {
		return i
	}
	return i - g.Shared + g.Customers
}

// email gives a person's address: as the bank writes it.
func email(person int) string {
	first := []string{"ada", "ben", "chloe", "dev", "ella", "finn", "grace", "hugo", "ines", "jon", "kira", "leo", "mona"}
	last := []string{"adler", "brook", "castro", "dahl", "evans", "frost", "gray", "hill", "ito", "jones", "klein"}
	return fmt.Sprintf("%s.%s%d@mail.example", first[person%len(first)], last[person/len(first)%len(last)], person)
}

// asWritten gives an address as people type it at a counter.
func (g *generator) asWritten(person int) string {
	switch address := email(person); g.below(8) {
	case 0:
		return strings.ToUpper(address[:1]) + address[1:]
	case 1:
		return address + " "
	case 2:
		return strings.ToUpper(address)
	default:
		return address
	}
}

// cents writes an amount of money.
func cents(n int) string { return fmt.Sprintf("%d.%02d", n/100, n%100) }

// day gives a day of the first half of 2026, n days in.
func day(n int) string { return time.Date(2026, 1, 1+n, 0, 0, 0, 0, time.UTC).Format(time.DateOnly) }

const days = 181 // the days of the first half of 2026

// offersFrom is the day of the campaign's first offer, as a number.
const offersFrom = 59

// table collects rows of CSV.
type table struct {
	out  bytes.Buffer
	rows []string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, strings.Join(cells, ",")+"\n") }

// file ends a table: its rows in an order that tells nothing.
func (g *generator) file(t *table, owner, dataset string, unique bool, columns ...agreement.Column) File {
	var names []string
	for _, c := range columns {
		names = append(names, c.Name)
	}
	t.out.WriteString(strings.Join(names, ",") + "\n")
	for i := len(t.rows) - 1; i > 0; i-- {
		j := g.below(i + 1)
		t.rows[i], t.rows[j] = t.rows[j], t.rows[i]
	}
	for _, row := range t.rows {
		t.out.WriteString(row)
	}
	return File{Owner: owner, Dataset: dataset, Columns: columns, UniqueUnit: unique, Rows: len(t.rows), Data: t.out.Bytes()}
}

// small gives the index, 0 to 2, of the small group that the i-th of those who are put into
// small groups is in: the first k-1, the next k, the next k+1; -1 for all others.
func (g *generator) small(i int) int {
	k := g.MinGroup
	switch {
	case i < k-1:
		return 0
	case i < 2*k-1:
		return 1
	case i < 3*k:
		return 2
	}
	return -1
}

// smallNames are what the groups around the minimum group are called.
func smallNames(kind string) [3]string {
	return [3]string{kind + "-one-too-few", kind + "-just-enough", kind + "-one-more"}
}

// heavy is how many customers outspend all others.
const heavy = 3

// isHeavy: the last of the shared people, who are in no small group.
func (g *generator) isHeavy(person int) bool { return person < g.Shared && person >= g.Shared-heavy }

func (g *generator) customers() File {
	t := &table{}
	names := smallNames("branch")
	for person := range g.Customers {
		branch := g.pick("centre", "centre", "harbour", "hill", "lakeside")
		// The customers of the small branches need not be members of the grocer's: the last ones.
		if i := g.small(g.Customers - 1 - person); i >= 0 {
			branch = names[i]
		}
		g.truth.Branches[branch]++
		if g.isHeavy(person) {
			g.truth.Heavy = append(g.truth.Heavy, email(person))
		}
		income := cents(120000 + 100*g.below(4000) + g.below(60)*g.below(60)*100)
		if g.isHeavy(person) {
			income = cents(9_000_000 + 100*g.below(100000))
		} else if g.one(12) {
			income = "" // not known
		}
		region := g.pick("north", "south", "east", "west")
		if g.one(15) {
			region = ""
		}
		t.add(email(person), g.pick("standard", "standard", "standard", "gold", "gold", "student"), region, branch,
			fmt.Sprint(18+g.below(70)), income, g.pick("true", "true", "true", "false"), day(-30*g.below(120)))
	}
	return g.file(t, "bank", "customers", true, unit(), text("segment"), text("region"), text("branch"),
		agreement.Column{Name: "age", Type: "integer"}, money("income"), agreement.Column{Name: "active", Type: "boolean"}, agreement.Column{Name: "since", Type: "date"})
}

func (g *generator) payments() File {
	g.campaign()
	t := &table{}
	for person := range g.Customers {
		n := 2 + g.below(12)
		if g.isHeavy(person) {
			n = 60
		}
		card := fmt.Sprintf("4000%012d", 7919*person+g.below(7919))
		for range n {
			category := g.pick("groceries", "groceries", "groceries", "fuel", "travel", "dining", "online", "health")
			on := g.below(days)
			t.add(email(person), day(on), category, cents(g.amount(person, category, on)), g.pick("true", "false", "false"), card)
			if g.one(40) { // a row that stands twice
				t.rows = append(t.rows, t.rows[len(t.rows)-1])
			}
		}
	}
	return g.file(t, "bank", "payments", false, unit(), agreement.Column{Name: "day", Type: "date"}, text("category"), money("amount"),
		agreement.Column{Name: "online", Type: "boolean"}, text("card"))
}

// amount gives a payment in cents. Offers work: who got cash back spends more on groceries
// afterwards.
func (g *generator) amount(person int, category string, on int) int {
	base := map[string]int{"groceries": 4200, "fuel": 5500, "travel": 24000, "dining": 3100, "online": 3900, "health": 2700}[category]
	n := base/4 + g.below(base) + g.below(base/2+1)
	if g.isHeavy(person) {
		return 40*n + 900_000
	}
	if category == "groceries" && on > offersFrom {
		switch g.offer[person] {
		case "cashback-5":
			n += n / 8
		case "cashback-10":
			n += n / 4
		}
	}
	return n
}

// objections lists customers who want to be left out, in their own way of writing; one of them
// is no customer at all.
func (g *generator) objections() File {
	t := &table{}
	for i := range 6 {
		person := i * (g.Customers - 1) / 8
		if i == 5 {
			person = g.Customers + g.Members // nobody's number
		} else {
			g.truth.Objected = append(g.truth.Objected, email(person))
		}
		t.add(g.asWritten(person))
	}
	return g.file(t, "bank", "objections", true, unit())
}

// campaign decides who gets which offer.
func (g *generator) campaign() {
	for i := range g.Members {
		g.offer[g.member(i)] = g.pick("none", "cashback-5", "cashback-10", "points")
	}
}

func (g *generator) offers() File {
	t := &table{}
	for i := range g.Members {
		person := g.member(i)
		shown, redeemed := "", "false"
		if g.offer[person] != "none" {
			shown, redeemed = day(offersFrom+g.below(14)), g.pick("true", "false", "false")
		}
		t.add(g.asWritten(person), g.offer[person], shown, redeemed, g.pick("basic", "basic", "plus"), fmt.Sprint(g.below(40)*25))
	}
	return g.file(t, "grocer", "offers", true, unit(), text("offer"), agreement.Column{Name: "shown", Type: "date"},
		agreement.Column{Name: "redeemed", Type: "boolean"}, text("tier"), agreement.Column{Name: "points", Type: "integer"})
}

func (g *generator) visits() File {
	t := &table{}
	names := smallNames("store")
	in := map[string]map[int]bool{}
	visit := func(person int, store string) {
		items := 1 + g.below(20)
		if in[store] == nil {
			in[store] = map[int]bool{}
		}
		if person < g.Shared {
			in[store][person] = true
		}
		department := g.pick("fresh", "fresh", "dairy", "bakery", "household", "")
		t.add(g.asWritten(person), day(g.below(days)), store, department, fmt.Sprint(items), cents(items*(120+g.below(500))), g.pick("true", "false", "false"))
		if g.one(30) {
			t.rows = append(t.rows, t.rows[len(t.rows)-1])
		}
	}
	for i := range g.Members {
		person := g.member(i)
		for range g.below(9) {
			visit(person, g.pick("market-street", "market-street", "ring-road", "station", "west-gate"))
		}
		// The small stores have shared people alone, each at least once.
		if at := g.small(i); at >= 0 {
			for range 1 + g.below(3) {
				visit(person, names[at])
			}
		}
	}
	for store, people := range in {
		g.truth.Stores[store] = len(people)
	}
	return g.file(t, "grocer", "visits", false, unit(), agreement.Column{Name: "day", Type: "date"}, text("store"), text("department"),
		agreement.Column{Name: "items", Type: "integer"}, money("paid"), agreement.Column{Name: "coupon", Type: "boolean"})
}
