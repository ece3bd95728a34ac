package guard

import (
	"math/big"
	"slices"
	"strconv"
)

// A formula is arithmetic on aggregates: on numbers that are shown, or as good as shown, since
// whoever reads it could do it. The aggregates in it are outputs that have no column.
type formula struct {
	op    string // + - * / neg round nullif coalesce constant output
	args  []*formula
	value *big.Rat // of a constant
	of    int      // an output's place
	scale int      // digits behind the point
}

// quotientScale is how many digits a quotient has behind the point, unless it is rounded.
const quotientScale = 6

// maxFormula bounds the parts of a formula.
const maxFormula = 64

// hasAggregate reports whether an aggregate stands anywhere in an expression.
func (p *parser) hasAggregate(v any) bool {
	switch t := v.(type) {
	case map[string]any:
		class, _ := class(t)
		if class == "SUBQUERY" || class == "WINDOW" {
			return false
		}
		if class == "FUNCTION" && (isAggregate(object(t).text("function_name")) || p.private && isStatistic(object(t).text("function_name"))) {
			return true
		}
		for _, member := range t {
			if p.hasAggregate(member) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(t, p.hasAggregate)
	}
	return false
}

// formula reads arithmetic on aggregates.
func (p *parser) formula(q *Query, v any, parts *int) (*formula, error) {
	if *parts++; *parts > maxFormula {
		return nil, refuse("query.size", "more than %d parts in one output", maxFormula)
	}
	a, round, err := p.aggregated(v)
	if err != nil {
		return nil, err
	}
	if a != nil {
		return p.leaf(q, v, a, round)
	}
	switch class, _ := class(v); class {
	case "CONSTANT", "PARAMETER", "CAST":
		e, err := p.row(v)
		if err != nil {
			return nil, err
		}
		value, ok := new(big.Rat).SetString(e.text)
		if e.op != "constant" || !e.typ.numeric() || !ok {
			return nil, refuse("query.aggregate", "arithmetic on aggregates%s takes numbers", near(v))
		}
		return &formula{op: "constant", value: value, scale: e.typ.scale}, nil
	case "OPERATOR":
		o, err := members(v, "class", "type", "alias", "query_location", "children")
		if err != nil || o.text("type") != "OPERATOR_COALESCE" {
			return nil, refuse("query.aggregate", "%s of aggregates%s does not pass", o.text("type"), near(v))
		}
		return p.formulas(q, v, "coalesce", o.list("children"), parts)
	case "FUNCTION":
		name, distinct, children, err := p.call(v)
		if err != nil {
			return nil, err
		}
		if name == "-" && len(children) == 1 {
			name = "neg"
		}
		if distinct || !slices.Contains([]string{"+", "-", "*", "/", "neg", "round", "nullif"}, name) {
			return nil, refuse("query.aggregate", "%s%s of aggregates does not pass: + - * / round nullif coalesce do", name, near(v))
		}
		return p.formulas(q, v, name, children, parts)
	}
	return nil, refuse("query.aggregate", "arithmetic on aggregates%s takes aggregates and numbers", near(v))
}

// leaf makes an output without a column of an aggregate, or finds the one there is.
func (p *parser) leaf(q *Query, v any, a *aggregate, round int) (*formula, error) {
	t, err := a.result(v, round)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(q.outputs, func(o output) bool { return o.aggregate != nil && o.aggregate.key() == a.key() && o.round == round })
	if i < 0 {
		i = len(q.outputs)
		q.outputs = append(q.outputs, output{name: "__h" + strconv.Itoa(i), hidden: true, typ: t, group: -1, aggregate: a, round: round})
	}
	return &formula{op: "output", of: i, scale: t.scale}, nil
}

func (p *parser) formulas(q *Query, v any, op string, children []any, parts *int) (*formula, error) {
	f := &formula{op: op}
	most := 2
	if op == "neg" {
		most = 1
	}
	if op == "round" && len(children) == 1 {
		children = append(children, integer(0).tree())
	}
	if len(children) != most {
		return nil, refuse("query.aggregate", "%s%s of %d values", op, near(v), len(children))
	}
	for _, child := range children {
		one, err := p.formula(q, child, parts)
		if err != nil {
			return nil, err
		}
		f.args = append(f.args, one)
		f.scale = max(f.scale, one.scale)
	}
	switch op {
	case "*":
		f.scale = min(f.args[0].scale+f.args[1].scale, 18)
	case "/":
		f.scale = quotientScale
	case "nullif":
		f.scale = f.args[0].scale
	case "round":
		digits := f.args[1]
		if digits.op != "constant" || !digits.value.IsInt() || digits.value.Sign() < 0 || digits.value.Cmp(big.NewRat(18, 1)) > 0 {
			return nil, refuse("query.function", "round%s takes a literal number of digits, 0 to 18", near(v))
		}
		f.scale = int(digits.value.Num().Int64())
	}
	return f, nil
}

// typ gives the type that a formula is shown in.
func (f *formula) typ() typ {
	if f.scale == 0 {
		return typ{"integer", maxDigits, 0}
	}
	return typ{"decimal", maxDigits - f.scale, f.scale}
}

// over gives the value of a formula over a row's values, nil for NULL: of NULL, and of what is
// divided by zero.
func (f *formula) over(values []any) *big.Rat {
	if f.op == "constant" {
		return f.value
	}
	if f.op == "output" {
		n, isNumber := values[f.of].(Number)
		if !isNumber {
			return nil
		}
		return new(big.Rat).SetFrac(n.Unscaled, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n.Scale)), nil))
	}
	x := f.args[0].over(values)
	var y *big.Rat
	if len(f.args) > 1 {
		y = f.args[1].over(values)
	}
	switch {
	case f.op == "coalesce":
		if x == nil {
			return y
		}
		return x
	case x == nil || y == nil && f.op != "neg" && f.op != "nullif":
		return nil
	}
	switch f.op {
	case "+":
		return new(big.Rat).Add(x, y)
	case "-":
		return new(big.Rat).Sub(x, y)
	case "*":
		return new(big.Rat).Mul(x, y)
	case "/":
		if y.Sign() == 0 {
			return nil
		}
		return new(big.Rat).Quo(x, y)
	case "neg":
		return new(big.Rat).Neg(x)
	case "nullif":
		if y != nil && x.Cmp(y) == 0 {
			return nil
		}
		return x
	}
	n := rational(x, f.scale) // round
	return new(big.Rat).SetFrac(n.Unscaled, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(f.scale)), nil))
}

// rational gives a fraction as a number of so many digits, halves away from zero.
func rational(x *big.Rat, scale int) Number {
	return quotient(Number{Unscaled: x.Num()}, x.Denom(), scale)
}

// formulas sets the values of a row's formulas.
func (q *Query) formulas(values []any) {
	for i, o := range q.outputs {
		if o.formula == nil {
			continue
		}
		values[i] = nil
		if x := o.formula.over(values); x != nil {
			values[i] = rational(x, o.typ.scale)
		}
	}
}
