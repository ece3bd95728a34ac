package guard

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/agreement"
)

func (p *parser) rows(list []any) ([]*expr, error) {
	out := make([]*expr, 0, len(list))
	for _, v := range list {
		e, err := p.row(v)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// boolean reads an expression that is true, false or NULL.
func (p *parser) boolean(v any) (*expr, error) {
	e, err := p.row(v)
	if err == nil && e.typ.kind != "boolean" {
		err = refuse("query.type", "a condition%s is of type %s, not boolean", near(v), e.typ)
	}
	return e, err
}

func (p *parser) comparison(v any) (*expr, error) {
	o, err := members(v, "class", "type", "alias", "query_location", "left", "right")
	if err != nil {
		return nil, shape(v, err)
	}
	op := comparisonOf(o.text("type"))
	switch o.text("type") {
	case "COMPARE_DISTINCT_FROM":
		op = "is distinct from"
	case "COMPARE_NOT_DISTINCT_FROM":
		op = "is not distinct from"
	}
	if op == "" {
		return nil, shape(v, errUnknown)
	}
	args, err := p.rows([]any{o["left"], o["right"]})
	if err != nil {
		return nil, err
	}
	return p.compare(v, op, args)
}

// comparisonOf gives the sign of a comparison that passes, else "".
func comparisonOf(kind string) string {
	return map[string]string{
		"COMPARE_EQUAL": "=", "COMPARE_NOTEQUAL": "<>", "COMPARE_LESSTHAN": "<", "COMPARE_GREATERTHAN": ">",
		"COMPARE_LESSTHANOREQUALTO": "<=", "COMPARE_GREATERTHANOREQUALTO": ">=",
	}[kind]
}

// compare makes an expression out of things that are compared with each other.
func (p *parser) compare(v any, op string, args []*expr) (*expr, error) {
	dates(args)
	all := args[0].typ
	for _, a := range args {
		var ok bool
		if all, ok = unify(all, a.typ); !ok || a.typ.kind == "null" {
			return nil, refuse("query.type", "a comparison%s of type %s with type %s%s", near(v), args[0].typ, a.typ, mendOf(args[0].typ, a.typ))
		}
	}
	return &expr{op: op, args: args, typ: typ{kind: "boolean"}}, nil
}

// dates reads texts that are compared with a date as the dates they are.
func dates(args []*expr) {
	if !slices.ContainsFunc(args, func(a *expr) bool { return a.typ.kind == "date" }) {
		return
	}
	for _, a := range args {
		if a.op == "constant" && a.typ.kind == "text" && isDate(a.text) {
			a.typ.kind = "date"
		}
	}
}

// mendOf says how to mend a comparison of two types.
func mendOf(a, b typ) string {
	switch {
	case a.kind == "null" || b.kind == "null":
		return ": nothing is equal to NULL, ask IS NULL"
	case a.kind == "date" || b.kind == "date":
		return ": write a date as DATE '2026-11-24'"
	case a.kind == "boolean" || b.kind == "boolean":
		return ": write true or false"
	}
	return ""
}

func (p *parser) between(v any) (*expr, error) {
	o, err := members(v, "class", "type", "alias", "query_location", "input", "lower", "upper")
	if err != nil {
		return nil, shape(v, err)
	}
	if o.text("type") != "COMPARE_BETWEEN" {
		return nil, shape(v, errUnknown)
	}
	args, err := p.rows([]any{o["input"], o["lower"], o["upper"]})
	if err != nil {
		return nil, err
	}
	return p.compare(v, "between", args)
}

func (p *parser) conjunction(v any) (*expr, error) {
	o, err := members(v, "class", "type", "alias", "query_location", "children")
	if err != nil {
		return nil, shape(v, err)
	}
	op := map[string]string{"CONJUNCTION_AND": "and", "CONJUNCTION_OR": "or"}[o.text("type")]
	if op == "" || len(o.list("children")) < 2 {
		return nil, shape(v, errUnknown)
	}
	e := &expr{op: op, typ: typ{kind: "boolean"}}
	for _, child := range o.list("children") {
		c, err := p.boolean(child)
		if err != nil {
			return nil, err
		}
		e.args = append(e.args, c)
	}
	return e, nil
}

func (p *parser) operator(v any) (*expr, error) {
	o, err := members(v, "class", "type", "alias", "query_location", "children")
	if err != nil {
		return nil, shape(v, err)
	}
	args, err := p.rows(o.list("children"))
	if err != nil {
		return nil, err
	}
	switch kind := o.text("type"); {
	case (kind == "COMPARE_IN" || kind == "COMPARE_NOT_IN") && len(args) >= 2:
		return p.in(v, kind, args)
	case kind == "OPERATOR_NOT" && len(args) == 1 && args[0].typ.kind == "boolean":
		return &expr{op: "not", args: args, typ: typ{kind: "boolean"}}, nil
	case kind == "OPERATOR_IS_NULL" && len(args) == 1:
		return &expr{op: "is null", args: args, typ: typ{kind: "boolean"}}, nil
	case kind == "OPERATOR_IS_NOT_NULL" && len(args) == 1:
		return &expr{op: "is not null", args: args, typ: typ{kind: "boolean"}}, nil
	case kind == "OPERATOR_COALESCE" && len(args) >= 2:
		return p.choice(v, "coalesce", args, args)
	}
	return nil, shape(v, errUnknown)
}

func (p *parser) in(v any, kind string, args []*expr) (*expr, error) {
	for _, a := range args[1:] {
		if a.op != "constant" {
			return nil, refuse("query.expression", "IN%s takes literals and parameters only", near(v))
		}
	}
	return p.compare(v, map[string]string{"COMPARE_IN": "in", "COMPARE_NOT_IN": "not in"}[kind], args)
}

// choice makes an expression whose value is one of values.
func (p *parser) choice(v any, op string, args, values []*expr) (*expr, error) {
	all := typ{kind: "null"}
	for _, value := range values {
		var ok bool
		if all, ok = unify(all, value.typ); !ok {
			return nil, refuse("query.type", "%s%s has values of types %s and %s", strings.ToUpper(op), near(v), values[0].typ, value.typ)
		}
	}
	if all.kind == "null" {
		return nil, refuse("query.type", "%s%s is always NULL", strings.ToUpper(op), near(v))
	}
	return &expr{op: op, args: args, typ: all}, nil
}

func (p *parser) caseOf(v any) (*expr, error) {
	o, err := members(v, "class", "type", "alias", "query_location", "case_checks", "else_expr")
	if err != nil {
		return nil, shape(v, err)
	}
	var args, values []*expr
	for _, check := range o.list("case_checks") {
		c, err := members(check, "when_expr", "then_expr")
		if err != nil {
			return nil, shape(v, err)
		}
		when, err := p.as(agreement.Filter, p.boolean, c["when_expr"])
		if err != nil {
			return nil, err
		}
		then, err := p.row(c["then_expr"])
		if err != nil {
			return nil, err
		}
		args, values = append(args, when, then), append(values, then)
	}
	otherwise, err := p.row(o["else_expr"])
	if err != nil {
		return nil, err
	}
	return p.choice(v, "case", append(args, otherwise), append(values, otherwise))
}

// call checks a function call's frame and gives its name and arguments: no schema, FILTER,
// ORDER BY or state.
func (p *parser) call(v any) (name string, distinct bool, args []any, err error) {
	o, err := members(v, "class", "type", "alias", "query_location", "function_name", "schema", "children", "filter",
		"order_bys", "distinct", "is_operator", "export_state", "catalog")
	if err != nil {
		return "", false, nil, shape(v, err)
	}
	name = strings.ToLower(o.text("function_name"))
	// Forms such as EXTRACT and lists are given the schema by DuckDB's parser.
	if o["schema"] != "" && (o["schema"] != "main" || isAggregate(name)) {
		return "", false, nil, shape(v, errors.New("a function of a schema"))
	}
	if err := o.want("type", "FUNCTION", "catalog", "", "export_state", false); err != nil {
		return "", false, nil, shape(v, err)
	}
	if name == "mean" {
		name = "avg"
	}
	if o["filter"] != nil {
		return "", false, nil, refuse("query.clause", "FILTER%s does not pass: put the condition into WHERE, or into a CASE that is aggregated, as in count(CASE WHEN ... THEN 1 END)", near(v))
	}
	orders, err := members(o["order_bys"], "type", "orders")
	if err != nil || !orders.isEmptyList("orders") {
		return "", false, nil, refuse("query.clause", "ORDER BY inside an aggregate%s does not pass", near(v))
	}
	return name, o["distinct"] == true, o.list("children"), nil
}

func (p *parser) function(v any) (*expr, error) {
	name, distinct, children, err := p.call(v)
	if err != nil {
		return nil, err
	}
	switch {
	case isAggregate(name):
		return nil, refuse("query.aggregate", "%s%s stands where only a single row's values may: aggregates stand alone in SELECT, factors inside them", name, near(v))
	case (name == "~~" || name == "!~~") && !distinct:
		return p.like(v, name, children)
	case name == "date_part" && !distinct:
		return p.datePart(v, children)
	}
	operator := slices.Contains([]string{"+", "-", "*"}, name)
	if distinct || !operator && !slices.Contains(strings.Fields(rowFunctions), name) {
		return nil, refuse("query.function", "%.60s%s is not among the functions that pass: + - * LIKE %s coalesce count sum avg%s", name, near(v), rowFunctions, instead(name))
	}
	args, err := p.rows(children)
	if err != nil {
		return nil, err
	}
	if operator {
		return p.arithmetic(v, name, args)
	}
	return p.rowFunction(v, name, args)
}

// instead says how to ask, for functions often wanted, what passes.
func instead(name string) string {
	switch name {
	case "/", "//", "%":
		return "; multiply by a decimal, as in floor(age * 0.1), and take avg for a sum by a count"
	case "min", "max", "median", "mode", "any_value", "first", "last", "arg_min", "arg_max", "quantile", "quantile_cont", "quantile_disc":
		return "; it shows a single person's value: group by ranges with CASE and count"
	case "stddev", "stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop":
		return "; group by ranges with CASE and count"
	case "count_if", "countif":
		return "; use count(CASE WHEN ... THEN 1 END)"
	case "date_trunc":
		return "; group by year(x), month(x)"
	case "~~*", "!~~*", "starts_with", "prefix", "contains", "ends_with", "suffix", "regexp_matches":
		return "; use LIKE, on lower(x) to ignore case"
	}
	return ""
}

// like reads LIKE and NOT LIKE with a pattern that is no column's. It can't fail: DuckDB's
// has no escapes.
func (p *parser) like(v any, op string, children []any) (*expr, error) {
	args, err := p.rows(children)
	if err != nil {
		return nil, err
	}
	if len(args) != 2 || args[0].typ.kind != "text" || args[1].typ.kind != "text" || args[1].op != "constant" {
		return nil, refuse("query.type", "LIKE%s takes a text and a pattern that is a literal or a parameter", near(v))
	}
	if !cheap(args[1].text) {
		return nil, refuse("query.pattern", "LIKE%s passes with a text, text%%, %%text or %%text%%, or with _ but without %%", near(v))
	}
	return &expr{op: op, args: args, typ: typ{kind: "boolean"}}, nil
}

// cheap reports whether a pattern is matched in time that grows with the text's length and
// no faster. DuckDB tries every way to share a text among several % between which something
// stands: one person's long text could then decide whether a run ends in time.
func cheap(pattern string) bool {
	if !strings.Contains(pattern, "%") {
		return true
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(pattern, "%"), "%")
	return !strings.ContainsAny(inner, "%_")
}

// datePart reads extract(year FROM x), and quarter and month, as the functions of those names.
func (p *parser) datePart(v any, children []any) (*expr, error) {
	args, err := p.rows(children)
	if err != nil {
		return nil, err
	}
	if len(args) != 2 || args[0].op != "constant" || !slices.Contains([]string{"year", "quarter", "month"}, strings.ToLower(args[0].text)) {
		return nil, refuse("query.function", "a part of a date%s that is not its year, quarter or month", near(v))
	}
	return p.rowFunction(v, strings.ToLower(args[0].text), args[1:])
}

func (p *parser) arithmetic(v any, op string, args []*expr) (*expr, error) {
	if len(args) < 1 || len(args) > 2 || len(args) == 1 && op != "-" {
		return nil, shape(v, errUnknown)
	}
	t, ok := arithmetic(op, args[0].typ, args[len(args)-1].typ)
	if len(args) == 1 {
		t, ok = args[0].typ, args[0].typ.numeric()
	}
	if !ok {
		return nil, refuse("query.type", "%s%s needs numbers, and a result of at most %d digits whatever the columns hold", op, near(v), maxDigits)
	}
	return &expr{op: op, args: args, typ: t}, nil
}

func (p *parser) rowFunction(v any, name string, args []*expr) (*expr, error) {
	digits := 0
	if name == "round" && len(args) == 2 && args[1].op == "constant" && args[1].typ.kind == "integer" {
		digits, _ = strconv.Atoi(args[1].text)
		args = args[:1]
	}
	if len(args) != 1 || digits < 0 {
		return nil, refuse("query.function", "%s%s with these arguments does not pass", name, near(v))
	}
	arg := args[0]
	out := &expr{op: name, args: args, digits: digits, typ: arg.typ}
	ok := false
	switch name {
	case "abs":
		ok = arg.typ.numeric()
	case "ceil", "ceiling", "floor", "round":
		if name == "ceiling" {
			out.op = "ceil"
		}
		ok = arg.typ.kind == "decimal" && digits < arg.typ.scale
		out.typ = typ{"decimal", arg.typ.whole + 1, digits}
		if digits == 0 {
			out.typ.kind = "integer"
		}
	case "lower", "upper":
		ok = arg.typ.kind == "text"
	case "month", "quarter", "year":
		ok = arg.typ.kind == "date"
		out.typ = typ{"integer", 7, 0}
	}
	if !ok {
		return nil, refuse("query.type", "%s%s of type %s", name, near(v), arg.typ)
	}
	return out, nil
}
