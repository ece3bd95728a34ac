package guard

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"strongroom.dev/agreement"
)

// Aggregates that pass. Minimum, maximum, quantiles, first and the like show a single
// person's value; deviations come out of floating point.
func isAggregate(name string) bool {
	return slices.Contains([]string{"count", "count_star", "sum", "avg"}, name)
}

// isStatistic names what passes under differential privacy alone.
func isStatistic(name string) bool {
	return slices.Contains([]string{"var_pop", "median", "quantile_cont"}, name)
}

// asText gives a JSON string or number as text, else "".
func asText(v any) string {
	switch t := v.(type) {
	case string:
		return t
	case json.Number:
		return string(t)
	}
	return ""
}

// aggregated reads v as an aggregate, or as round(aggregate, digits); nil if it is neither.
// round is -1 for an aggregate as it is.
func (p *parser) aggregated(v any) (a *aggregate, round int, err error) {
	if class, _ := class(v); class != "FUNCTION" {
		return nil, -1, nil
	}
	name, distinct, children, err := p.call(v)
	if err != nil {
		return nil, -1, err
	}
	if isAggregate(name) {
		a, err := p.aggregate(v, name, distinct, children)
		return a, -1, err
	}
	if p.private && isStatistic(name) && !distinct {
		a, err := p.statistic(v, name, children)
		return a, -1, err
	}
	if name != "round" || len(children) < 1 || len(children) > 2 {
		return nil, -1, nil
	}
	inner, already, err := p.aggregated(children[0])
	if inner == nil || err != nil || already >= 0 {
		return nil, -1, err
	}
	digits := 0
	if len(children) == 2 {
		e, err := p.as(agreement.Aggregate, p.row, children[1])
		if err != nil {
			return nil, -1, err
		}
		if digits, err = strconv.Atoi(e.text); err != nil || e.op != "constant" || digits < 0 {
			return nil, -1, refuse("query.function", "round%s takes a literal number of digits", near(v))
		}
	}
	return inner, digits, nil
}

func (p *parser) aggregate(v any, name string, distinct bool, children []any) (*aggregate, error) {
	if name == "count_star" && len(children) == 0 && !distinct {
		return &aggregate{function: "count"}, nil
	}
	if len(children) != 1 || name == "count_star" || distinct && name != "count" {
		return nil, refuse("query.aggregate", "%s%s in this form does not pass", name, near(v))
	}
	a := &aggregate{function: name, distinct: distinct}
	if class, _ := class(children[0]); class == "COLUMN_REF" && name == "count" {
		if at, c, err := p.place(children[0]); err == nil && c.Unit {
			a.unit, a.arg = true, p.reference(at, c)
			return a, nil
		}
	}
	arg, err := p.as(agreement.Aggregate, p.row, children[0])
	if err != nil {
		return nil, err
	}
	// How many values differ tells of a single person with one of its own, and, beside a CASE
	// that puts a constant next to the values, whether anybody has just that value.
	if distinct {
		return nil, refuse("query.aggregate", "count(DISTINCT ...)%s of anything but the unit column tells whether a single person has a value of its own: GROUP BY it, and every value of enough people is a row", near(v))
	}
	if arg.op == "constant" && arg.typ.kind != "null" && name == "count" {
		return a, nil
	}
	if !plain(arg) || !arg.hasColumn() {
		return nil, refuse("query.aggregate", "the argument of %s%s: a column, a multiple of one column with + - * of numbers (at most %d terms), or one CASE whose values are such or numbers; NULL is left out by itself, so it takes no coalesce", name, near(v), maxArgument)
	}
	if name != "count" && !arg.typ.numeric() {
		return nil, refuse("query.type", "%s%s of type %s", name, near(v), arg.typ)
	}
	if (name == "sum" || name == "avg") && arg.typ.whole+arg.typ.scale > maxSummed {
		return nil, refuse("query.overflow", "%s%s of values of up to %d digits, at most %d can be added without overflow", name, near(v), arg.typ.whole+arg.typ.scale, maxSummed)
	}
	a.arg = arg
	return a, nil
}

// statistic reads what passes under differential privacy alone: a variance, a median, another
// quantile.
func (p *parser) statistic(v any, name string, children []any) (*aggregate, error) {
	of, in := int64(1), int64(2)
	if name == "quantile_cont" && len(children) == 2 {
		e, err := p.row(children[1])
		if err != nil {
			return nil, err
		}
		n := unscaled(e.text, e.typ.scale, 3)
		if e.op != "constant" || e.typ.kind != "decimal" || e.typ.scale > 3 || n.Int64() < 1 || n.Int64() > 999 {
			return nil, refuse("query.function", "quantile_cont%s takes a literal between 0 and 1 with at most three digits", near(v))
		}
		of, in = n.Int64(), 1000
		children = children[:1]
	}
	a, err := p.aggregate(v, "avg", false, children)
	if err != nil {
		return nil, err
	}
	if a.arg == nil {
		return nil, refuse("query.aggregate", "%s%s of nothing", name, near(v))
	}
	a.function = "quantile"
	if name == "var_pop" {
		a.function = name
	} else {
		a.of, a.in = of, in
	}
	return a, nil
}

// plain reports whether an argument has a form whose people can be counted: a value that
// every row with its one column has in the same way, or a CASE, whose branches are counted
// one by one. Functions with steps (floor, abs, coalesce) would be conditions that nobody
// counts, and so would products of columns (of a value with a flag) and sums of two (of
// which either may be NULL).
func plain(e *expr) bool {
	if e.op != "case" {
		return linear(e)
	}
	return !slices.ContainsFunc(caseValues(e), func(v *expr) bool { return !linear(v) })
}

// linear reports whether e is + - * over numbers and at most one column, without products
// of the column with itself.
func linear(e *expr) bool {
	n := 0
	columns := e.columns(nil)
	return terms(e, &n) && !slices.ContainsFunc(columns, func(c *expr) bool { return c.name != columns[0].name || c.from != columns[0].from })
}

func terms(e *expr, n *int) bool {
	if e.op == "clamp" {
		e = e.args[0]
	}
	if *n++; *n > maxArgument || !slices.Contains([]string{"column", "constant", "+", "-", "*"}, e.op) {
		return false
	}
	// Times a column of zeros and ones is a condition that nobody counts.
	if e.op == "*" && e.args[0].hasColumn() && e.args[1].hasColumn() {
		return false
	}
	return !slices.ContainsFunc(e.args, func(a *expr) bool { return !terms(a, n) })
}

// caseValues gives the values of a CASE, the one behind ELSE last.
func caseValues(e *expr) []*expr {
	var out []*expr
	for i := 1; i < len(e.args); i += 2 {
		out = append(out, e.args[i])
	}
	return append(out, e.args[len(e.args)-1])
}

// result gives the type an aggregate is shown in. Counts are integers; a sum has its
// argument's scale; a mean has more.
func (a *aggregate) result(v any, round int) (typ, error) {
	t := typ{"integer", 19, 0}
	switch a.function {
	case "sum":
		t = typ{a.arg.typ.kind, maxDigits - a.arg.typ.scale, a.arg.typ.scale}
	case "avg":
		t = typ{"decimal", maxDigits - a.arg.typ.scale, meanScale(a.arg.typ.scale)}
	case "var_pop":
		t = typ{"decimal", maxDigits - a.arg.typ.scale, meanScale(2 * a.arg.typ.scale)}
	case "quantile":
		t = a.arg.typ
	}
	if round < 0 {
		return t, nil
	}
	if round >= t.scale {
		return typ{}, refuse("query.function", "round%s to %d digits of a value that has %d", near(v), round, t.scale)
	}
	t.scale = round
	if round == 0 {
		t.kind = "integer"
	}
	return t, nil
}

func (a *aggregate) key() string {
	if a == nil {
		return ""
	}
	arg := ""
	if a.arg != nil {
		arg = a.arg.key()
	}
	return fmt.Sprintf("%s %d/%d %v %v %s", a.function, a.of, a.in, a.distinct, a.unit, arg)
}
