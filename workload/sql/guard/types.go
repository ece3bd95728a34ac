package guard

import (
	"fmt"
	"strings"

	"strongroom.dev/agreement"
)

// typ is the type of an expression: one of a column's types, or null for the literal. For
// numbers it bounds the value: whole digits before the point, scale behind it. Whatever
// passes [Check] stays within 38 digits for every value its columns can hold, so that no
// arithmetic, comparison or cast in it can fail on a row.
type typ struct {
	kind         string // integer, decimal, text, boolean, date, null
	whole, scale int
}

func (t typ) numeric() bool { return t.kind == "integer" || t.kind == "decimal" }

func (t typ) String() string {
	if t.kind == "decimal" {
		return fmt.Sprintf("decimal with %d digits behind the point", t.scale)
	}
	return t.kind
}

// columnType gives the type of a declared column: 64-bit integers have up to 19 digits,
// decimals 18 in all.
func columnType(c agreement.Column) typ {
	switch c.Type {
	case "integer":
		return typ{"integer", 19, 0}
	case "decimal":
		return typ{"decimal", 18 - int(c.Scale), int(c.Scale)}
	}
	return typ{kind: c.Type}
}

// numberType gives the type of a number's canonical text.
func numberType(text string) typ {
	whole, fraction, pointed := strings.Cut(strings.TrimPrefix(text, "-"), ".")
	if pointed {
		return typ{"decimal", len(whole), len(fraction)}
	}
	return typ{"integer", len(whole), 0}
}

// unify gives the type that holds values of both, as CASE, COALESCE and comparisons need.
func unify(a, b typ) (typ, bool) {
	switch {
	case a.kind == "null":
		return b, true
	case b.kind == "null":
		return a, true
	case a.numeric() && b.numeric():
		out := typ{a.kind, max(a.whole, b.whole), max(a.scale, b.scale)}
		if b.kind == "decimal" {
			out.kind = "decimal"
		}
		return out, out.whole+out.scale <= maxDigits
	}
	return a, a.kind == b.kind
}

// arithmetic gives the type of a sum, difference, product or negation.
func arithmetic(op string, a, b typ) (typ, bool) {
	out := typ{a.kind, max(a.whole, b.whole) + 1, max(a.scale, b.scale)}
	if op == "*" {
		out.whole, out.scale = a.whole+b.whole, a.scale+b.scale
	}
	if b.kind == "decimal" {
		out.kind = "decimal"
	}
	return out, a.numeric() && b.numeric() && out.whole+out.scale <= maxDigits
}

// meanScale gives the digits behind the point of a mean: four more than its argument has,
// but no more than 18 unless the argument has more already.
func meanScale(scale int) int { return max(scale, min(scale+4, 18)) }
