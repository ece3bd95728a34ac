package reference

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Found is what evidence shows.
type Found struct {
	Platform     wire.ID
	Measurements map[string]string
	// Claim gives the claim at a path: a number as int64; false if there is none. A nil Claim
	// has no claims.
	Claim func(path string) (any, bool)
	// Registers are those that the relying party wants named by the group: a group that leaves
	// one out says nothing about it, and does not match.
	Registers []string
}

// Difference is one thing that is not as a group says.
type Difference struct {
	// What is the register, or the path of the claim.
	What     string `json:"what"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
}

// Match is the answer of a set to what was found.
type Match struct {
	OK bool
	// Group is the group that matches, or the nearest one; "" if the set has none for the
	// platform.
	Group wire.ID
	// Groups is how many groups the set has for the platform.
	Groups int
	// Of is how many things the group asks for, and Differences those that are not so; none if
	// OK.
	Of          int
	Differences []Difference
}

// Match compares what was found with every group of its platform. If none matches, it tells of
// the one with the fewest differences; of several such, the one that asks for most.
func (s *Set) Match(f Found) Match {
	best := Match{}
	for _, g := range s.Groups(f.Platform) {
		m := g.compare(f)
		groups := best.Groups + 1
		switch {
		case best.OK:
		case best.Group == "", m.OK, len(m.Differences) < len(best.Differences), len(m.Differences) == len(best.Differences) && m.Of > best.Of:
			best = m
		}
		best.Groups = groups
	}
	return best
}

func (g Group) compare(f Found) Match {
	m := Match{Group: g.Name}
	want := func(what, expected, got string, ok bool) {
		if m.Of++; !ok {
			m.Differences = append(m.Differences, Difference{what, expected, got})
		}
	}
	for _, register := range slices.Sorted(maps.Keys(g.Measurements)) {
		got, found := f.Measurements[register]
		if !found {
			got = "no such register"
		}
		want(register, g.Measurements[register], got, found && got == g.Measurements[register])
	}
	for _, register := range f.Registers {
		if _, named := g.Measurements[register]; !named {
			want(register, "a value of the group's", "the group names none", false)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(g.Claims)) {
		got, found := f.claim(path)
		text := fmt.Sprint(got)
		want(path, quoted(g.Claims[path]), verdict.Short(text), found && text == g.Claims[path])
	}
	for _, path := range slices.Sorted(maps.Keys(g.Minimum)) {
		got, _ := f.claim(path)
		n, number := got.(int64)
		want(path, fmt.Sprintf("at least %d", g.Minimum[path]), verdict.Short(fmt.Sprint(got)), number && n >= g.Minimum[path])
	}
	m.OK = len(m.Differences) == 0
	return m
}

func (f Found) claim(path string) (any, bool) {
	if f.Claim != nil {
		if v, found := f.Claim(path); found {
			return v, true
		}
	}
	return "no such claim", false
}

// String tells the match in a sentence: what differs, in the nearest group.
func (m Match) String() string {
	switch {
	case m.Group == "":
		return "the set has no group for this platform"
	case m.OK:
		return "group " + string(m.Group)
	}
	var parts []string
	for i, d := range m.Differences {
		if i == maxShown {
			parts = append(parts, "and more")
			break
		}
		parts = append(parts, fmt.Sprintf("%s is %s, expected %s", d.What, d.Got, d.Expected))
	}
	return fmt.Sprintf("none; nearest is group %s, with %d of %d different: %s", m.Group, len(m.Differences), m.Of, strings.Join(parts, "; "))
}
