package cards_test

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/internal/cards"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func sample(t *testing.T, c cards.Config) *cards.Sample {
	t.Helper()
	s, err := cards.Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRefusedConfigs(t *testing.T) {
	for name, change := range map[string]func(*cards.Config){
		"zero":                   func(c *cards.Config) { *c = cards.Config{} },
		"a minimum of one":       func(c *cards.Config) { c.MinGroup = 1 },
		"too large a minimum":    func(c *cards.Config) { c.MinGroup = 1001 },
		"nobody is both":         func(c *cards.Config) { c.Shared = 0 },
		"too few for the groups": func(c *cards.Config) { c.Shared = 39 },
		"more shared than there": func(c *cards.Config) { c.Shared = c.Members + 1 },
		"too many":               func(c *cards.Config) { c.Customers = 1_000_001 },
		"no members":             func(c *cards.Config) { c.Members = 0 },
	} {
		c := cards.Default()
		change(&c)
		if _, err := cards.Generate(c); err == nil || verdict.As(err).Kind != verdict.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The same seed gives the same bytes on every machine; another one others.
func TestSameBytes(t *testing.T) {
	var all []byte
	for _, f := range sample(t, cards.Default()).Files {
		all = append(all, f.Data...)
	}
	const want = "sha256:42276e49e44af907e7912d798a06ad896deb50ea3d0db8845da4e130bc6904c2"
	if got := wire.SHA256("test", all).String(); got != want {
		t.Errorf("%s, not %s: who wrote down a figure of the sample finds another", got, want)
	}
	c := cards.Default()
	c.Seed = 2
	if other := sample(t, c).Files[0].Data; bytes.Equal(other, sample(t, cards.Default()).Files[0].Data) {
		t.Error("another seed gives the same customers")
	}
}

// Every file has the columns that stand beside it; that rooms load it, test/sql sees.
func TestFilesAreInputs(t *testing.T) {
	small := cards.Config{Seed: 3, Customers: 8, Members: 8, Shared: 8, MinGroup: 2}
	for _, c := range []cards.Config{cards.Default(), small} {
		for _, f := range sample(t, c).Files {
			records, err := csv.NewReader(bytes.NewReader(f.Data)).ReadAll()
			if err != nil || len(records) != f.Rows+1 || len(records[0]) != len(f.Columns) {
				t.Errorf("%s: %d rows of %d: %v", f.Path(), len(records)-1, f.Rows, err)
			}
			columns, err := draft.ParseColumns(f.SchemaPath(), f.Schema())
			if err != nil || agreement.SchemaDigest(columns) != agreement.SchemaDigest(f.Columns) {
				t.Errorf("%s: %v", f.SchemaPath(), err)
			}
		}
	}
}

// people gives the distinct people of a column's values, by value.
func people(t *testing.T, f *cards.File, column string) map[string]map[string]bool {
	t.Helper()
	records, err := csv.NewReader(bytes.NewReader(f.Data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for i, c := range f.Columns {
		if c.Name == column {
			at = i
		}
	}
	out := map[string]map[string]bool{}
	for _, r := range records[1:] {
		if out[r[at]] == nil {
			out[r[at]] = map[string]bool{}
		}
		out[r[at]][strings.ToLower(strings.TrimSpace(r[0]))] = true
	}
	return out
}

// What is said to be true of the data is.
func TestTruth(t *testing.T) {
	for _, k := range []int{2, 10, 25} {
		c := cards.Default()
		c.MinGroup = k
		s := sample(t, c)
		branches := people(t, s.File("customers"), "branch")
		stores := people(t, s.File("visits"), "store")
		customers := people(t, s.File("customers"), "email")
		for i, name := range []string{"one-too-few", "just-enough", "one-more"} {
			if got := len(branches["branch-"+name]); got != k-1+i || got != s.Truth.Branches["branch-"+name] {
				t.Errorf("%d people are customers of branch-%s at %d", got, name, k)
			}
			shared := 0
			for p := range stores["store-"+name] {
				if customers[p] != nil {
					shared++
				}
			}
			if shared != k-1+i || shared != len(stores["store-"+name]) || shared != s.Truth.Stores["store-"+name] {
				t.Errorf("%d people were in store-%s at %d", shared, name, k)
			}
		}
		members := people(t, s.File("offers"), "email")
		both := 0
		for raw := range members {
			if customers[strings.ToLower(strings.TrimSpace(raw))] != nil {
				both++
			}
		}
		if len(customers) != c.Customers || len(members) != c.Members || both != c.Shared {
			t.Errorf("%d customers, %d members, %d both", len(customers), len(members), both)
		}
		if len(s.Truth.Heavy) != 3 || len(s.Truth.Objected) != 5 {
			t.Errorf("heavy %v, objected %v", s.Truth.Heavy, s.Truth.Objected)
		}
		for _, p := range s.Truth.Objected {
			if customers[p] == nil {
				t.Errorf("%s objected and is no customer", p)
			}
		}
	}
}
