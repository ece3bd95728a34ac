package guard

import (
	"strconv"

	"strongroom.dev/workload/sql"
)

// The rewritten query of private inputs: the rows with what is taken of them, then those that
// units keep, then the sums over what is left.

// limitedRows gives what the sums are taken from.
func (q *Query) limitedRows(job *sql.Job) tree {
	v := q.private
	var names []string
	var list []any
	add := func(name string, t tree) {
		names, list = append(names, name), append(list, named(t, name))
	}
	for i := range q.scans {
		add("__o"+strconv.Itoa(i), ownerOf(i).tree())
		add("__u"+strconv.Itoa(i), q.unit(i).tree())
	}
	for i, g := range q.groups {
		add("__g"+strconv.Itoa(i), g.tree())
	}
	for i, a := range v.args {
		add("__a"+strconv.Itoa(i), a.tree())
	}
	var where any
	if q.where != nil {
		where = q.where.tree()
	}
	return q.limitUnits(job, names, subquery(selectNode(list, q.from(), where)))
}

// limitUnits keeps of every unit's rows those that count: so many groups, and so many rows in
// each, chosen by hashes of their contents, so that the unit's own rows alone decide. Joined
// tables have the same units; those of several owners are told apart.
func (q *Query) limitUnits(job *sql.Job, names []string, from tree) tree {
	v := q.private
	var unit []any
	for i := range q.scans {
		unit = append(unit, limited("o", i, typ{}).tree())
	}
	unit = append(unit, limited("u", 0, typ{}).tree())
	var groups, all []any
	for i := range q.groups {
		groups = append(groups, limited("g", i, typ{}).tree())
	}
	var list, kept []any
	for _, name := range names {
		column := &expr{op: "column", name: name}
		all = append(all, column.tree())
		list, kept = append(list, named(column.tree(), name)), append(kept, named(column.tree(), name))
	}
	text := func(s string) tree { return (&expr{op: "constant", text: s, typ: typ{kind: "text"}}).tree() }
	rowOrder := append([]any{call("hash", false, append([]any{text(v.salt)}, all...)...)}, all...)
	groupOrder := append([]any{call("hash", false, append([]any{text(v.salt)}, groups...)...)}, groups...)
	list = append(list,
		named(window("row_number", "WINDOW_ROW_NUMBER", append(append([]any{}, unit...), groups...), rowOrder), "__n"),
		named(window("dense_rank", "WINDOW_RANK_DENSE", unit, groupOrder), "__k"))
	rows := v.limit(q, job, func(_, rows int64) int64 { return rows })
	most := v.limit(q, job, func(groups, _ int64) int64 { return groups })
	within := boolean("and", boolean("<=", &expr{op: "column", name: "__n"}, rows), boolean("<=", &expr{op: "column", name: "__k"}, most))
	return subquery(selectNode(kept, subquery(selectNode(list, from, nil)), within.tree()))
}

// selectNode makes a plain SELECT.
func selectNode(list []any, from tree, where any) tree {
	return tree{"type": "SELECT_NODE", "modifiers": []any{}, "cte_map": tree{"map": []any{}}, "select_list": list, "from_table": from, "where_clause": where,
		"group_expressions": []any{}, "group_sets": []any{}, "aggregate_handling": "STANDARD_HANDLING", "having": nil, "sample": nil, "qualify": nil}
}

// subquery makes a SELECT a table that is called as the first scan.
func subquery(node tree) tree {
	return tree{"type": "SUBQUERY", "alias": rowsAlias(0), "sample": nil, "query_location": 0, "subquery": tree{"node": node, "named_param_map": []any{}}, "column_name_alias": []any{}}
}

func window(name, kind string, partitions, order []any) tree {
	var orders []any
	for _, o := range order {
		orders = append(orders, tree{"type": "ORDER_DEFAULT", "null_order": "ORDER_DEFAULT", "expression": o})
	}
	return of("WINDOW", kind, "function_name", name, "schema", "", "catalog", "", "children", []any{}, "partitions", orEmpty(partitions), "orders", orEmpty(orders),
		"start", "UNBOUNDED_PRECEDING", "end", "CURRENT_ROW_RANGE", "start_expr", nil, "end_expr", nil, "offset_expr", nil, "default_expr", nil,
		"ignore_nulls", false, "filter_expr", nil, "exclude_clause", "NO_OTHER", "distinct", false, "arg_orders", []any{})
}
