// Package cards makes data to try clean rooms on: a bank's customers and their card payments,
// a grocer's loyalty scheme and its campaign, with an overlap and groups whose sizes are known.
//
// The same [Config] gives the same bytes, everywhere and always. Everybody in it is made up.
// What a rule should bite on is there on purpose: groups of one person less than a minimum
// group, of exactly as many and of one more; a few people who outspend all others; NULLs;
// rows that stand twice; identifiers that the two sides write in different ways.
package cards

import (
	"fmt"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
)

// Config says how much data there is. The zero Config is refused; start from [Default].
type Config struct {
	// Seed picks the people and what they do.
	Seed uint64
	// Customers has the bank, Members the grocer, and Shared people are both.
	Customers, Members, Shared int
	// MinGroup is the minimum group that the small branches and stores lie around.
	MinGroup int
}

// Default is data that the example's rules are written for.
func Default() Config {
	return Config{Seed: 1, Customers: 1500, Members: 1200, Shared: 800, MinGroup: 10}
}

// The most of each: what loads in a moment is enough to try rules on.
const (
	maxPeople = 1_000_000
	maxGroup  = 1000
)

// minShared is how many shared people there must be for the small groups: the stores around the
// minimum group have 3k of them, and somebody should be left over.
func (c Config) minShared() int { return 4 * c.MinGroup }

// Validate refuses configurations for which the promises of the data can't be kept.
func (c Config) Validate() error {
	switch {
	case c.MinGroup < 2 || c.MinGroup > maxGroup:
		return bad("a minimum group of 2 to 1000", c.MinGroup)
	case c.Customers < 1 || c.Customers > maxPeople:
		return bad("1 to 1,000,000 customers", c.Customers)
	case c.Members < 1 || c.Members > maxPeople:
		return bad("1 to 1,000,000 members", c.Members)
	case c.Shared < c.minShared() || c.Shared > min(c.Customers, c.Members):
		return bad(fmt.Sprintf("%d to %d people who are both: four times the minimum group, and no more than there are on either side", c.minShared(), min(c.Customers, c.Members)), c.Shared)
	}
	return nil
}

func bad(expected string, got int) error {
	return verdict.Misuse("cards.config", expected, fmt.Sprint(got), "strongroom sample cards --help says what goes together")
}

// File is one dataset.
type File struct {
	// Owner is bank or grocer, Dataset the name in the example's agreement.
	Owner, Dataset string
	Columns        []agreement.Column
	// UniqueUnit: no two rows are about the same person.
	UniqueUnit bool
	Rows       int
	// Data is CSV as spec/sql.md, section 2, wants it.
	Data []byte
}

// Path is where the file lies in a sample's folder.
func (f File) Path() string { return f.Owner + "/" + f.Dataset + ".csv" }

// SchemaPath is where the file's columns lie.
func (f File) SchemaPath() string { return f.Owner + "/" + f.Dataset + ".yaml" }

// Schema gives the columns as `dataset publish --schema-file` reads them.
func (f File) Schema() []byte {
	var b strings.Builder
	for _, c := range f.Columns {
		fmt.Fprintf(&b, "- {name: %s, type: %s", c.Name, c.Type)
		if c.Scale > 0 {
			fmt.Fprintf(&b, ", scale: %d", c.Scale)
		}
		if c.Unit {
			b.WriteString(", unit: true")
		}
		b.WriteString("}\n")
	}
	return []byte(b.String())
}

// Truth is what is known about the data, and a room must not tell.
type Truth struct {
	// Customers, Members and Shared are how many people there are on each side and on both.
	Customers int `json:"customers"`
	Members   int `json:"members"`
	Shared    int `json:"shared"`
	// Branches has how many customers each branch has, Stores how many shared people were in each
	// store: the three small ones have one less than the minimum group, as many, and one more.
	Branches map[string]int `json:"branches"`
	Stores   map[string]int `json:"stores"`
	// Heavy are the customers who outspend all others.
	Heavy []string `json:"heavy"`
	// Objected are customers who want to be left out of everything.
	Objected []string `json:"objected"`
}

// Sample is all of it.
type Sample struct {
	Files []File
	Truth Truth
}

// File finds a dataset, or gives nil.
func (s *Sample) File(dataset string) *File {
	for i := range s.Files {
		if s.Files[i].Dataset == dataset {
			return &s.Files[i]
		}
	}
	return nil
}

// Generate makes the data.
func Generate(c Config) (*Sample, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	g := newGenerator(c)
	s := &Sample{Files: []File{g.customers(), g.payments(), g.objections(), g.offers(), g.visits()}}
	s.Truth = g.truth
	return s, nil
}

// unit is the column that says whom a row is about.
func unit() agreement.Column { return agreement.Column{Name: "email", Type: "text", Unit: true} }

func text(name string) agreement.Column { return agreement.Column{Name: name, Type: "text"} }

func money(name string) agreement.Column {
	return agreement.Column{Name: name, Type: "decimal", Scale: 2}
}
