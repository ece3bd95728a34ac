package reference

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Type is the document type of reference values.
const Type = "strongroom/reference-values/v1"

// Values are reference values as they are signed.
type Values struct {
	// Product is what the values are of.
	Product wire.ID `json:"product"`
	// Version, from 1, is higher in every set of a product than in the one before it.
	Version int64 `json:"version"`
	// SecurityVersion, from 1, is raised when what came before must not be used any more.
	SecurityVersion int64 `json:"security_version"`
	// Created and Expires bound when the set may be used, at most MaxLife apart.
	Created wire.Time `json:"created"`
	Expires wire.Time `json:"expires"`
	// Groups are alternatives: evidence must match one of them, as a whole.
	Groups []Group `json:"groups"`
}

// Group is what one image measures on one platform.
type Group struct {
	Name     wire.ID `json:"name"`
	Platform wire.ID `json:"platform"`
	// Measurements by register, lower-case hex. All of them must be so.
	Measurements map[string]string `json:"measurements"`
	// Exact says that nothing else may be measured: a register that the group does not name must
	// be one that nothing was measured into. Otherwise it may hold anything.
	Exact bool `json:"exact,omitempty"`
	// Claims gives the text that claims must have, by path, as appraisal policies write it.
	Claims map[string]string `json:"claims,omitempty"`
	// Minimum gives the least number for claims, by path.
	Minimum map[string]int64 `json:"minimum,omitempty"`
}

// Document gives the values as a document to be signed. The error is a [verdict.Error] of
// kind Usage.
func (v Values) Document() (*keys.Document, error) {
	if err := v.Check(); err != nil {
		return nil, err
	}
	doc, err := keys.NewDocument(Type, v)
	if err != nil {
		return nil, malformed("", "values that can be signed", verdict.Short(err.Error()), "shorten or split them")
	}
	return doc, nil
}

func malformed(where, expected, got, fix string) error {
	if fix == "" {
		fix = "correct it"
	}
	return &verdict.Error{Kind: verdict.Usage, Check: "reference.form", Where: where, Expected: expected, Got: got, Fix: fix}
}

// Check looks at everything about the values that no signature shows.
func (v Values) Check() error {
	life := v.Expires.Time().Sub(v.Created.Time())
	switch {
	case !v.Product.Valid():
		return malformed("product", "a name of 1 to 63 of a-z, 0-9 and -, starting with a letter", quoted(string(v.Product)), "")
	case v.Version < 1:
		return malformed("version", "a version from 1", fmt.Sprint(v.Version), "")
	case v.SecurityVersion < 1:
		return malformed("security_version", "a security version from 1", fmt.Sprint(v.SecurityVersion), "")
	case v.Created.IsZero() || v.Expires.IsZero():
		return malformed("expires", "dates", "none", "")
	case life <= 0 || life > MaxLife:
		return malformed("expires", fmt.Sprintf("a time after %s, by at most %d days", v.Created, MaxLife/(24*time.Hour)), v.Expires.String(), "")
	}
	return CheckGroups(v.Groups)
}

// CheckGroups checks the form of groups, as [Values.Check] does. The error is a [verdict.Error] of
// kind Usage.
func CheckGroups(groups []Group) error {
	if len(groups) == 0 || len(groups) > MaxGroups {
		return malformed("groups", fmt.Sprintf("1 to %d groups", MaxGroups), fmt.Sprint(len(groups)), "")
	}
	named := make(map[string]int, len(groups))
	same := make(map[string]int, len(groups))
	for i, g := range groups {
		at := fmt.Sprintf("groups[%d]", i)
		if err := g.check(at); err != nil {
			return err
		}
		name := string(g.Platform) + " " + string(g.Name)
		if j, twice := named[name]; twice {
			return malformed(at+".name", "a name of its own on "+string(g.Platform), fmt.Sprintf("%s, as in groups[%d]", g.Name, j), "")
		}
		named[name] = i
		values := fmt.Sprint(g.Platform, g.Measurements, g.Claims, g.Minimum)
		if j, twice := same[values]; twice {
			return malformed(at, "values of its own", fmt.Sprintf("those of groups[%d]", j), "remove one of the two")
		}
		same[values] = i
	}
	return nil
}

func (g Group) check(at string) error {
	switch {
	case !g.Name.Valid():
		return malformed(at+".name", "a name of 1 to 63 of a-z, 0-9 and -, starting with a letter", quoted(string(g.Name)), "")
	case !g.Platform.Valid():
		return malformed(at+".platform", "the name of a platform", quoted(string(g.Platform)), "")
	case len(g.Measurements) == 0 || len(g.Measurements) > MaxRegisters:
		return malformed(at+".measurements", fmt.Sprintf("1 to %d registers", MaxRegisters), fmt.Sprint(len(g.Measurements)), "")
	case len(g.Claims)+len(g.Minimum) > MaxRegisters:
		return malformed(at+".claims", fmt.Sprintf("at most %d claims, minimum included", MaxRegisters), fmt.Sprint(len(g.Claims)+len(g.Minimum)), "")
	}
	for _, register := range slices.Sorted(maps.Keys(g.Measurements)) {
		value := g.Measurements[register]
		if !IsRegister(register) {
			return malformed(at+".measurements", "registers named with 1 to 63 of a-z, 0-9, and - . _ /", quoted(register), "")
		}
		if !lowerHex(value) {
			return malformed(at+".measurements."+register, fmt.Sprintf("1 to %d bytes in lower-case hex", MaxValue), quoted(value), "")
		}
		if strings.Trim(value, "0") == "" {
			return malformed(at+".measurements."+register, "a measurement", "zeros, which no evidence has as a measurement", "leave the register out and say exact: true, so that nothing may be measured into it")
		}
	}
	for path, text := range g.Claims {
		if _, both := g.Minimum[path]; both || !line(path) || path == "" || !line(text) {
			return malformed(at+".claims", fmt.Sprintf("paths and texts of at most %d bytes, none of them in minimum too", MaxText), quoted(path), "")
		}
	}
	for path, least := range g.Minimum {
		if !line(path) || path == "" || least < 0 || least > wire.MaxInteger {
			return malformed(at+".minimum", "paths of claims, with numbers from 0", quoted(path), "")
		}
	}
	return nil
}

// IsRegister reports whether a text is a register's name (spec/reference-values.md, section 1).
func IsRegister(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-._/") == ""
}

func lowerHex(s string) bool {
	return s != "" && len(s)%2 == 0 && len(s) <= 2*MaxValue && strings.Trim(s, "0123456789abcdef") == ""
}

// line reports whether s is a short text that fits on a line as it is.
func line(s string) bool {
	return len(s) <= MaxText && utf8.ValidString(s) && verdict.Printable(s) == s
}

func quoted(s string) string {
	if s == "" {
		return "nothing"
	}
	return fmt.Sprintf("%q", verdict.Short(s))
}
