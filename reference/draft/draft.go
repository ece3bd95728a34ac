// Package draft turns what people and tools write of a room image's measurements into
// reference values that can be signed: YAML, JSON and CoRIM (spec/reference-values.md). It is
// nobody's word until release keys give theirs.
package draft

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"strongroom.dev/plainyaml"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Draft is reference values that nobody has signed yet, as people write and tools make them.
type Draft struct {
	Product         wire.ID `json:"product"`
	Version         int64   `json:"version"`
	SecurityVersion int64   `json:"security_version"`
	// Days is how long the set may be used from its signing on, 1 to 180.
	Days int64 `json:"days"`
	// Until ends that earlier, as what the values were taken from says.
	Until  *wire.Time        `json:"until,omitempty"`
	Groups []reference.Group `json:"groups"`
}

func format() plainyaml.Format {
	return plainyaml.Format{Check: "reference.draft", What: "a draft of reference values", Start: "`strongroom reference init` writes one to start from"}
}

// Parse reads a draft from YAML. Errors are of kind Usage, with file and line.
func Parse(file string, data []byte) (Draft, error) {
	var d Draft
	doc, err := format().Read(file, data, "", &d)
	if err != nil {
		return Draft{}, err
	}
	// Any time does for looking at the rest.
	if _, err := d.values(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), true); err != nil {
		e := *verdict.As(err)
		e.Check = "reference.draft"
		return Draft{}, doc.Locate(&e)
	}
	return d, nil
}

// Values gives what is signed at now.
func (d Draft) Values(now time.Time) (reference.Values, error) { return d.values(now, false) }

func (d Draft) values(now time.Time, whenever bool) (reference.Values, error) {
	if most := int64(reference.MaxLife / (24 * time.Hour)); d.Days < 1 || d.Days > most {
		return reference.Values{}, malformed("days", fmt.Sprintf("1 to %d", most), fmt.Sprint(d.Days), "")
	}
	v := reference.Values{Product: d.Product, Version: d.Version, SecurityVersion: d.SecurityVersion, Created: wire.At(now), Groups: d.Groups}
	v.Expires = wire.At(now.Add(time.Duration(d.Days) * 24 * time.Hour))
	if d.Until != nil && !whenever && d.Until.Time().Before(v.Expires.Time()) {
		v.Expires = *d.Until
	}
	return v, v.Check()
}

// groupList is groups as tools write them.
type groupList struct {
	Groups []reference.Group `json:"groups"`
}

// ParseGroups reads groups from JSON, `{"groups":[...]}`, whose members are those of [reference.Group].
// It is nobody's word: what it gives must be signed before it means anything. Errors are of
// kind Usage.
func ParseGroups(data []byte) ([]reference.Group, error) {
	var l groupList
	canonical, err := wire.Canonical(data)
	if err == nil {
		err = wire.UnmarshalCanonical(canonical, &l)
	}
	if err != nil {
		return nil, malformed("", `{"groups":[{"name","platform","measurements"}]}`, verdict.Short(err.Error()), "see spec/reference-values.md")
	}
	return l.Groups, reference.CheckGroups(l.Groups)
}

// YAML lays the draft out for people, with a comment above every member but the plainest.
func (d Draft) YAML() string {
	var b strings.Builder
	fmt.Fprintf(&b, "product: %s\n", d.Product)
	fmt.Fprintf(&b, "version: %d              # higher than that of the set before\n", d.Version)
	fmt.Fprintf(&b, "security_version: %d     # raise it when what came before must not be used any more\n", d.SecurityVersion)
	fmt.Fprintf(&b, "days: %d                # how long it may be used once it is signed, at most 180\n", d.Days)
	if d.Until != nil {
		fmt.Fprintf(&b, "until: %s   # where the values are from says so\n", d.Until)
	}
	b.WriteString("# Evidence must match one group as a whole. Registers that are left out may hold anything,\n# unless the group is exact: then nothing else may be measured.\ngroups:\n")
	for _, g := range d.Groups {
		fmt.Fprintf(&b, "  - name: %s\n    platform: %s\n    measurements:\n", g.Name, g.Platform)
		for _, register := range slices.Sorted(maps.Keys(g.Measurements)) {
			fmt.Fprintf(&b, "      %s: %q\n", register, g.Measurements[register])
		}
		if g.Exact {
			b.WriteString("    exact: true\n")
		}
		members(&b, "claims", g.Claims)
		members(&b, "minimum", g.Minimum)
	}
	return b.String()
}

func members[V any](b *strings.Builder, name string, m map[string]V) {
	if len(m) == 0 {
		return
	}
	fmt.Fprintf(b, "    %s:\n", name)
	for _, path := range slices.Sorted(maps.Keys(m)) {
		switch v := any(m[path]).(type) {
		case string:
			fmt.Fprintf(b, "      %q: %q\n", path, v)
		default:
			fmt.Fprintf(b, "      %q: %d\n", path, v)
		}
	}
}

func malformed(where, expected, got, fix string) error {
	if fix == "" {
		fix = "correct it"
	}
	return &verdict.Error{Kind: verdict.Usage, Check: "reference.form", Where: where, Expected: expected, Got: got, Fix: fix}
}

func quoted(s string) string {
	if s == "" {
		return "nothing"
	}
	return strconv.Quote(verdict.Short(s))
}
