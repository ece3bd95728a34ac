package guard

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// Rewritten gives the parse tree of the query that runs, as json_deserialize_sql takes it:
// the group expressions, then the aggregates, from the table with its [OwnerColumn].
func (q *Query) Rewritten() ([]byte, error) { return json.Marshal(q.tree()) }

// Same reports whether tree, what json_serialize_sql gives for the text that was made from
// [Query.Rewritten], says the same, so that the text that runs is the query that was
// checked.
func (q *Query) Same(tree []byte) error {
	mine, err := q.Rewritten()
	if err != nil {
		return err
	}
	a, err := decode(mine, maxTree*4)
	if err != nil {
		return refuse("query.size", "the rewritten query: %v", err)
	}
	b, err := decode(tree, maxTree*4)
	if err != nil {
		return refuse("query.size", "the rewritten query: %v", err)
	}
	if !reflect.DeepEqual(withoutLocations(a), withoutLocations(b)) {
		return refuse("query.rewrite", "DuckDB reads the rewritten query in another way than it was written")
	}
	return nil
}

// withoutLocations takes the positions out of a tree, in place.
func withoutLocations(v any) any {
	switch t := v.(type) {
	case map[string]any:
		delete(t, "query_location")
		for _, member := range t {
			withoutLocations(member)
		}
	case []any:
		for _, element := range t {
			withoutLocations(element)
		}
	}
	return v
}

type tree = map[string]any

func (q *Query) tree() tree {
	if q.free != nil {
		return q.free.tree()
	}
	var list, groups []any
	set := []any{}
	expressions := q.groups
	if q.private != nil {
		expressions = q.private.groups
	}
	for i, g := range expressions {
		list = append(list, named(g.tree(), "__g"+strconv.Itoa(i)))
		groups = append(groups, integer(i+1).tree())
		set = append(set, i)
	}
	for i, p := range q.primitives {
		list = append(list, named(p.tree(), "__v"+strconv.Itoa(i)))
	}
	sets := []any{}
	if len(groups) > 0 {
		sets = append(sets, set)
	}
	var where any
	from := q.limited
	if q.private == nil {
		from = q.from()
		if q.where != nil {
			where = q.where.tree()
		}
	}
	node := tree{
		"type": "SELECT_NODE", "modifiers": []any{}, "cte_map": tree{"map": []any{}}, "select_list": list,
		"from_table":   from,
		"where_clause": where, "group_expressions": orEmpty(groups), "group_sets": sets,
		"aggregate_handling": "STANDARD_HANDLING", "having": nil, "sample": nil, "qualify": nil,
	}
	return tree{"error": false, "statements": []any{tree{"node": node, "named_param_map": []any{}}}}
}

// from gives the tables and how they are joined.
func (q *Query) from() tree {
	var out tree
	for i, s := range q.scans {
		table := tree{"type": "BASE_TABLE", "alias": rowsAlias(i), "sample": nil, "query_location": 0, "schema_name": "",
			"table_name": q.prefix + s.table.Name, "column_name_alias": []any{}, "catalog_name": "", "at_clause": nil}
		if i == 0 {
			out = table
			continue
		}
		kind := map[bool]string{false: "INNER", true: "LEFT"}[q.joins[i-1].left]
		out = tree{"type": "JOIN", "alias": "", "sample": nil, "query_location": 0, "left": out, "right": table, "condition": q.joins[i-1].tree(),
			"join_type": kind, "ref_type": "REGULAR", "using_columns": []any{}, "delim_flipped": false, "duplicate_eliminated_columns": []any{}}
	}
	return out
}

func (j join) tree() tree {
	var all *expr
	for _, p := range j.pairs {
		all = and(all, boolean("=", p.before, p.joined))
	}
	return all.tree()
}

func orEmpty(list []any) []any {
	if list == nil {
		return []any{}
	}
	return list
}

func named(t tree, alias string) tree {
	t["alias"] = alias
	return t
}

// of makes an expression's tree.
func of(class, kind string, pairs ...any) tree {
	t := tree{"class": class, "type": kind, "alias": "", "query_location": 0}
	for i := 0; i < len(pairs); i += 2 {
		t[pairs[i].(string)] = pairs[i+1]
	}
	return t
}

func call(name string, operator bool, args ...any) tree {
	return of("FUNCTION", "FUNCTION", "function_name", name, "schema", "", "catalog", "", "children", orEmpty(args), "filter", nil,
		"order_bys", tree{"type": "ORDER_MODIFIER", "orders": []any{}}, "distinct", false, "is_operator", operator, "export_state", false)
}

func (p primitive) tree() tree {
	var args []any
	if p.arg != nil {
		args = append(args, p.arg.tree())
	}
	t := call(p.function, false, args...)
	t["distinct"] = p.distinct
	if p.where != nil {
		t["filter"] = p.where.tree()
	}
	return t
}

func trees(list []*expr) []any {
	out := []any{}
	for _, e := range list {
		out = append(out, e.tree())
	}
	return out
}

func (e *expr) tree() tree {
	comparisons := map[string]string{
		"=": "EQUAL", "<>": "NOTEQUAL", "<": "LESSTHAN", ">": "GREATERTHAN", "<=": "LESSTHANOREQUALTO", ">=": "GREATERTHANOREQUALTO",
		"is distinct from": "DISTINCT_FROM", "is not distinct from": "NOT_DISTINCT_FROM",
	}
	operators := map[string]string{
		"in": "COMPARE_IN", "not in": "COMPARE_NOT_IN", "not": "OPERATOR_NOT", "is null": "OPERATOR_IS_NULL",
		"is not null": "OPERATOR_IS_NOT_NULL", "coalesce": "OPERATOR_COALESCE",
	}
	switch {
	case e.op == "column":
		return of("COLUMN_REF", "COLUMN_REF", "column_names", []any{rowsAlias(e.from), e.name})
	case e.op == "clamp":
		return e.clampTree()
	case e.op == "constant":
		return e.constantTree()
	case comparisons[e.op] != "":
		return of("COMPARISON", "COMPARE_"+comparisons[e.op], "left", e.args[0].tree(), "right", e.args[1].tree())
	case e.op == "between":
		return of("BETWEEN", "COMPARE_BETWEEN", "input", e.args[0].tree(), "lower", e.args[1].tree(), "upper", e.args[2].tree())
	case e.op == "and" || e.op == "or":
		return of("CONJUNCTION", "CONJUNCTION_"+strings.ToUpper(e.op), "children", flat(e.op, e))
	case operators[e.op] != "":
		return of("OPERATOR", operators[e.op], "children", trees(e.args))
	case e.op == "case":
		return e.caseTree()
	case e.op == "+" || e.op == "-" || e.op == "*":
		return call(e.op, true, e.operands()...)
	case e.op == "~~" || e.op == "!~~":
		return call(e.op, true, trees(e.args)...)
	case e.op == "round":
		return call(e.op, false, e.args[0].tree(), integer(e.digits).tree())
	case e.op == "abs":
		return call(e.op, false, e.args[0].exact())
	}
	return call(e.op, false, trees(e.args)...)
}

// flat gives the arguments of nested conjunctions of one kind in one list, as DuckDB's
// parser does.
func flat(op string, e *expr) []any {
	var out []any
	for _, a := range e.args {
		if a.op == op {
			out = append(out, flat(op, a)...)
		} else {
			out = append(out, a.tree())
		}
	}
	return out
}

// clampTree gives a bounded column: NULL stays NULL.
func (e *expr) clampTree() tree {
	value, least, most := e.args[0], e.args[1], e.args[2]
	clamp := &expr{op: "case", args: []*expr{boolean("<", value, least), least, boolean(">", value, most), most, value}, typ: e.typ}
	return clamp.caseTree()
}

func (e *expr) caseTree() tree {
	var checks []any
	for i := 0; i+1 < len(e.args); i += 2 {
		checks = append(checks, tree{"when_expr": e.args[i].tree(), "then_expr": e.args[i+1].tree()})
	}
	return of("CASE", "CASE_EXPR", "case_checks", checks, "else_expr", e.args[len(e.args)-1].tree())
}

// wide is the narrowest decimal of DuckDB's that is held in 128 bits.
const wide = 19

// operands gives the arguments of arithmetic. DuckDB keeps the result of two decimals of
// 64 bits in 64 bits, at the price of a check that fails on a row; where the result may
// need more, the first operand is widened, so that the result is.
func (e *expr) operands() []any {
	var args []any
	narrow := true
	for _, a := range e.args {
		args = append(args, a.exact())
		narrow = narrow && max(a.typ.whole+a.typ.scale, 1) < wide
	}
	if len(args) == 2 && narrow && e.typ.whole+e.typ.scale >= wide {
		scale := e.args[0].typ.scale
		args[0] = cast(args[0].(tree), decimalID(typ{"decimal", wide - scale, scale}))
	}
	return args
}

// exact gives a number as a decimal wide enough for it, so that arithmetic on it is
// decimal arithmetic, which widens, and never that of 32 or 64 bits, which fails.
func (e *expr) exact() tree {
	if e.typ.kind == "decimal" || e.op == "+" || e.op == "-" || e.op == "*" {
		return e.tree()
	}
	return cast(e.tree(), decimalID(e.typ))
}

func cast(child tree, to tree) tree {
	return of("CAST", "OPERATOR_CAST", "child", child, "cast_type", to, "try_cast", false)
}

func decimalID(t typ) tree {
	return tree{"id": "DECIMAL", "type_info": tree{"type": "DECIMAL_TYPE_INFO", "alias": "", "extension_info": nil,
		"width": max(t.whole+t.scale, 1), "scale": t.scale}}
}

func (e *expr) constantTree() tree {
	value := func(id string, v any) tree {
		return of("CONSTANT", "VALUE_CONSTANT", "value", tree{"type": tree{"id": id, "type_info": nil}, "is_null": false, "value": v})
	}
	plain := func(id string) tree { return tree{"id": id, "type_info": nil} }
	switch e.typ.kind {
	case "null":
		return of("CONSTANT", "VALUE_CONSTANT", "value", tree{"type": plain("NULL"), "is_null": true})
	case "integer":
		if _, err := strconv.ParseInt(e.text, 10, 32); err == nil {
			return value("INTEGER", json.Number(e.text))
		}
		return value("BIGINT", json.Number(e.text))
	case "decimal":
		return cast(value("VARCHAR", e.text), decimalID(e.typ))
	case "boolean":
		return cast(value("VARCHAR", e.text[:1]), plain("BOOLEAN"))
	case "date":
		return cast(value("VARCHAR", e.text), plain("DATE"))
	}
	return value("VARCHAR", e.text)
}

// decimalText puts a point before the last scale digits of a whole number's text.
func decimalText(unscaled string, scale int) string {
	if scale == 0 {
		return unscaled
	}
	sign := ""
	if s, negative := strings.CutPrefix(unscaled, "-"); negative {
		sign, unscaled = "-", s
	}
	if missing := scale + 1 - len(unscaled); missing > 0 {
		unscaled = strings.Repeat("0", missing) + unscaled
	}
	return sign + unscaled[:len(unscaled)-scale] + "." + unscaled[len(unscaled)-scale:]
}
