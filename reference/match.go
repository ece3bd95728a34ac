package reference

import (
	"cmp"
	"fmt"
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
	var best *Group
	groups, fewest, most := 0, 0, 0
	for i := range s.values.Groups {
		g := &s.values.Groups[i]
		if g.Platform != f.Platform {
			continue
		}
		groups++
		// Differences are counted first and told of one group only: there may be a thousand.
		of, differ := 0, 0
		g.compare(f, func(_, _, _ string, ok bool) {
			if of++; !ok {
				differ++
			}
		})
		if best == nil || differ < fewest || differ == fewest && differ > 0 && of > most {
			best, fewest, most = g, differ, of
		}
	}
	if best == nil {
		return Match{}
	}
	m := Match{Group: best.Name, Groups: groups, OK: fewest == 0, Of: most}
	best.compare(f, func(what, expected, got string, ok bool) {
		if !ok {
			m.Differences = append(m.Differences, Difference{what, expected, got})
		}
	})
	slices.SortStableFunc(m.Differences, func(a, b Difference) int { return cmp.Compare(a.What, b.What) })
	return m
}

// compare tells of everything that the group asks for, in no order, whether it is so.
func (g *Group) compare(f Found, tell func(what, expected, got string, ok bool)) {
	for register, value := range g.Measurements {
		got, found := f.Measurements[register]
		if !found {
			got = "no such register"
		}
		tell(register, value, got, found && got == value)
	}
	if g.Exact {
		for register, value := range f.Measurements {
			if _, named := g.Measurements[register]; !named {
				tell(register, "nothing measured", value, false)
			}
		}
	}
	for _, register := range f.Registers {
		if _, named := g.Measurements[register]; !named {
			tell(register, "a value of the group's", "the group names none", false)
		}
	}
	for path, text := range g.Claims {
		got, found := f.claim(path)
		said := fmt.Sprint(got)
		tell(path, quoted(text), verdict.Short(said), found && said == text)
	}
	for path, least := range g.Minimum {
		got, _ := f.claim(path)
		n, number := got.(int64)
		tell(path, fmt.Sprintf("at least %d", least), verdict.Short(fmt.Sprint(got)), number && n >= least)
	}
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
