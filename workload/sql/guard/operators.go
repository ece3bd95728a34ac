package guard

import (
	"slices"
	"strconv"
	"strings"
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
	op := map[string]string{
		"COMPARE_EQUAL": "=", "COMPARE_NOTEQUAL": "<>", "COMPARE_LESSTHAN": "<", "COMPARE_GREATERTHAN": ">",
		"COMPARE_LESSTHANOREQUALTO": "<=", "COMPARE_GREATERTHANOREQUALTO": ">=",
	}[o.text("type")]
	if op == "" {
		return nil, shape(v, errUnknown)
	}
	args, err := p.rows([]any{o["left"], o["right"]})
	if err != nil {
		return nil, err
	}
	return p.compare(v, op, args)
}

// compare makes an expression out of things that are compared with each other.
func (p *parser) compare(v any, op string, args []*expr) (*expr, error) {
	all := args[0].typ
	for _, a := range args {
		var ok bool
		if all, ok = unify(all, a.typ); !ok || a.typ.kind == "null" {
			return nil, refuse("query.type", "a comparison%s of type %s with type %s", near(v), args[0].typ, a.typ)
		}
	}
	return &expr{op: op, args: args, typ: typ{kind: "boolean"}}, nil
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
		when, err := p.boolean(c["when_expr"])
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
	if err := o.want("type", "FUNCTION", "schema", "", "catalog", "", "export_state", false); err != nil {
		return "", false, nil, shape(v, err)
	}
	if o["filter"] != nil {
		return "", false, nil, refuse("query.clause", "FILTER%s does not pass: put the condition into WHERE, or into a CASE that is aggregated", near(v))
	}
	orders, err := members(o["order_bys"], "type", "orders")
	if err != nil || !orders.isEmptyList("orders") {
		return "", false, nil, refuse("query.clause", "ORDER BY inside an aggregate%s does not pass", near(v))
	}
	return strings.ToLower(o.text("function_name")), o["distinct"] == true, o.list("children"), nil
}

func (p *parser) function(v any) (*expr, error) {
	name, distinct, children, err := p.call(v)
	if err != nil {
		return nil, err
	}
	if isAggregate(name) {
		return nil, refuse("query.aggregate", "%s%s stands where only a single row's values may: aggregates stand alone in SELECT", name, near(v))
	}
	operator := slices.Contains([]string{"+", "-", "*"}, name)
	if distinct || !operator && !slices.Contains(strings.Fields(rowFunctions), name) {
		return nil, refuse("query.function", "%.60s%s is not among the functions that pass: + - * %s coalesce count sum avg", name, near(v), rowFunctions)
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
	case "month", "year":
		ok = arg.typ.kind == "date"
		out.typ = typ{"integer", 7, 0}
	}
	if !ok {
		return nil, refuse("query.type", "%s%s of type %s", name, near(v), arg.typ)
	}
	return out, nil
}
