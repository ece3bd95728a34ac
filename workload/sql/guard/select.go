package guard

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/workload/sql"
)

var errUnknown = errors.New("a form that does not pass")

// Check reads tree, what DuckDB's json_serialize_sql gives for the job's query, and says
// whether the query may run. The error is a *sql.Failure of phase check. The job must be
// valid.
func Check(tree []byte, job *sql.Job) (*Query, error) {
	node, err := statement(tree)
	if err != nil {
		return nil, err
	}
	p := &parser{job: job}
	if rowsMayLeave(job) {
		return p.checkRows(node)
	}
	body, err := p.clauses(node)
	if err != nil {
		return nil, err
	}
	if err := p.from(body["from_table"]); err != nil {
		return nil, err
	}
	var err2 error
	if p.private, err2 = p.isPrivate(); err2 != nil {
		return nil, err2
	}
	// Noise hides whoever chose the rows that are joined.
	if !p.private {
		if err := p.partners(); err != nil {
			return nil, err
		}
	}
	q := &Query{scans: p.scans, joins: p.joins, roundTo: p.roundTo()}
	for _, condition := range p.conditions {
		q.where = and(q.where, condition)
	}
	if body["where_clause"] != nil {
		where, err := p.as(agreement.Filter, p.boolean, body["where_clause"])
		if err != nil {
			return nil, err
		}
		q.where = and(q.where, where)
	}
	if err := p.groups(q, body); err != nil {
		return nil, err
	}
	if err := p.selects(q, body.list("select_list")); err != nil {
		return nil, err
	}
	if err := p.orders(q, body.list("modifiers")); err != nil {
		return nil, err
	}
	if err := p.havings(q, body["having"]); err != nil {
		return nil, err
	}
	if err := q.rewrite(job, p.private); err != nil {
		return nil, err
	}
	return q, nil
}

// rowsMayLeave reports whether the rules of every input of the job let rows leave: the
// strictest applies.
func rowsMayLeave(job *sql.Job) bool {
	return !slices.ContainsFunc(job.Inputs, func(in sql.Input) bool { return !job.IsList(in.Name) && in.Rules.Answers != agreement.Rows })
}

// statement gives the node of the one statement in tree.
func statement(tree []byte) (any, error) {
	v, err := decode(tree, maxTree)
	if err != nil {
		return nil, refuse("query.size", "the query's parse tree: %v", err)
	}
	document, _ := v.(map[string]any)
	if document["error"] != false {
		message, _ := document["error_message"].(string)
		return nil, refuse("query.syntax", "DuckDB does not read this as one SELECT: %.300s", message)
	}
	o, err := members(v, "error", "statements")
	if err != nil {
		return nil, refuse("query.statement", "%v", err)
	}
	if n := len(o.list("statements")); n != 1 {
		return nil, refuse("query.statement", "%d statements, not one", n)
	}
	s, err := members(o.list("statements")[0], "node", "named_param_map")
	if err != nil {
		return nil, refuse("query.statement", "%v", err)
	}
	return s["node"], nil
}

// clauses refuses every clause but SELECT, FROM, WHERE, GROUP BY, HAVING, ORDER BY and LIMIT.
func (p *parser) clauses(node any) (object, error) {
	if _, kind := class(node); kind != "SELECT_NODE" {
		return nil, refuse("query.clause", "%.60s: only a plain SELECT passes; a table already holds the rows of all its inputs, so that owners need no UNION", strings.ToLower(strings.ReplaceAll(kind, "_", " ")))
	}
	body, err := members(node, "type", "modifiers", "cte_map", "select_list", "from_table", "where_clause", "group_expressions",
		"group_sets", "aggregate_handling", "having", "sample", "qualify")
	if err != nil {
		return nil, refuse("query.clause", "%v", err)
	}
	ctes, err := members(body["cte_map"], "map")
	if err != nil || !ctes.isEmptyList("map") {
		return nil, refuse("query.clause", "WITH does not pass: select from the table itself, with the conditions in WHERE and CASE")
	}
	for _, name := range []string{"sample", "qualify"} {
		if body[name] != nil {
			return nil, refuse("query.clause", "%s does not pass", strings.ToUpper(name))
		}
	}
	if body["aggregate_handling"] != "STANDARD_HANDLING" {
		return nil, refuse("query.clause", "GROUP BY ALL does not pass: name what to group by")
	}
	return body, nil
}

// groups reads GROUP BY: expressions, or positions and names of what is selected.
func (p *parser) groups(q *Query, body object) error {
	list := body.list("group_expressions")
	if !plainSets(body.list("group_sets"), len(list)) {
		return refuse("query.clause", "ROLLUP, CUBE and GROUPING SETS do not pass")
	}
	for _, v := range list {
		e, err := p.as(agreement.Group, p.row, p.selected(v, body.list("select_list")))
		if err != nil {
			return err
		}
		if !e.hasColumn() {
			return refuse("query.group", "GROUP BY%s a constant", near(v))
		}
		if slices.ContainsFunc(q.groups, func(g *expr) bool { return g.key() == e.key() }) {
			return refuse("query.group", "GROUP BY%s the same twice", near(v))
		}
		q.groups = append(q.groups, e)
	}
	return nil
}

// plainSets reports whether GROUP BY has one grouping set, of all its expressions in order.
func plainSets(sets []any, n int) bool {
	if n == 0 || len(sets) != 1 {
		return n == 0 && len(sets) == 0
	}
	set, _ := sets[0].([]any)
	for i, member := range set {
		if asText(member) != strconv.Itoa(i) {
			return false
		}
	}
	return len(set) == n
}

// selected gives the select item that v names by position, or by alias where v is no
// column of the table; else v.
func (p *parser) selected(v any, list []any) any {
	class, _ := class(v)
	switch class {
	case "CONSTANT":
		if e, err := p.constant(v); err == nil && e.typ.kind == "integer" {
			if i, _ := strconv.Atoi(e.text); i >= 1 && i <= len(list) {
				return list[i-1]
			}
		}
	case "COLUMN_REF":
		name := bareName(v)
		if name == "" || p.isColumn(name) {
			break
		}
		for _, item := range list {
			if o, _ := item.(map[string]any); o != nil && strings.EqualFold(object(o).text("alias"), name) {
				return item
			}
		}
	}
	return v
}

// bareName gives the name of a column reference without a table, else "".
func bareName(v any) string {
	o, err := members(v, "class", "type", "alias", "query_location", "column_names")
	if err != nil || len(o.list("column_names")) != 1 {
		return ""
	}
	return asText(o.list("column_names")[0])
}

// selects reads what is selected: aggregates, and group expressions.
func (p *parser) selects(q *Query, list []any) error {
	if len(list) == 0 {
		return refuse("query.output", "nothing is selected")
	}
	if int64(len(list)) > p.job.MaxColumns {
		return refuse("query.size", "%d outputs, at most %d", len(list), p.job.MaxColumns)
	}
	names := map[string]bool{}
	for _, v := range list {
		o, err := p.item(q, v)
		if err != nil {
			return err
		}
		if o.name == "" {
			return refuse("query.output", "the output%s has no name: give it one with AS", near(v))
		}
		if !sql.ValidName(o.name) || names[o.name] {
			return refuse("query.output", "%.70q%s is not a name for an output, or stands twice: give it one with AS, of a-z, 0-9 and _", o.name, near(v))
		}
		names[o.name] = true
		q.outputs = append(q.outputs, o)
	}
	return nil
}

// item reads one select item.
func (p *parser) item(q *Query, v any) (output, error) {
	o, _ := v.(map[string]any)
	out := output{name: strings.ToLower(object(o).text("alias")), group: -1, round: -1}
	var err error
	if out.aggregate, out.round, err = p.aggregated(v); err != nil {
		return output{}, err
	}
	if out.aggregate != nil {
		out.typ, err = out.aggregate.result(v, out.round)
		return out, err
	}
	if p.hasAggregate(v) {
		parts := 0
		if out.formula, err = p.formula(q, v, &parts); err != nil {
			return output{}, err
		}
		out.typ = out.formula.typ()
		return out, nil
	}
	e, err := p.as(agreement.Group, p.row, v)
	if err != nil {
		return output{}, err
	}
	out.typ = e.typ
	out.group = slices.IndexFunc(q.groups, func(g *expr) bool { return g.key() == e.key() })
	if out.group < 0 {
		return output{}, refuse("query.output", "a value%s that is neither grouped by nor aggregated: rows of single people never leave; put it into GROUP BY", near(v))
	}
	if out.name == "" {
		out.name = e.name
	}
	return out, nil
}

// orders reads ORDER BY and LIMIT, the modifiers that pass.
func (p *parser) orders(q *Query, modifiers []any) error {
	for _, m := range modifiers {
		_, kind := class(m)
		if kind == "LIMIT_MODIFIER" && q.limit == 0 {
			if err := p.limits(q, m); err != nil {
				return err
			}
			continue
		}
		o, err := members(m, "type", "orders")
		if err != nil || kind != "ORDER_MODIFIER" || len(q.order) > 0 {
			return refuse("query.clause", "%.60s does not pass", strings.ReplaceAll(strings.TrimSuffix(kind, "_MODIFIER"), "_", " "))
		}
		for _, v := range o.list("orders") {
			if err := p.orderBy(q, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *parser) orderBy(q *Query, v any) error {
	o, err := members(v, "type", "null_order", "expression")
	if err != nil {
		return refuse("query.order", "%v", err)
	}
	key := orderKey{output: p.outputOf(q, o["expression"])}
	if key.output < 0 {
		return refuse("query.order", "ORDER BY%s something that is not an output", near(o["expression"]))
	}
	switch o.text("type") {
	case "DESCENDING":
		key.descending = true
	case "ASCENDING", "ORDER_DEFAULT":
	default:
		return refuse("query.order", "direction %.60q", o.text("type"))
	}
	switch o.text("null_order") {
	case "NULLS FIRST":
		key.nullsFirst = true
	case "NULLS LAST", "ORDER_DEFAULT":
	default:
		return refuse("query.order", "order of NULL %.60q", o.text("null_order"))
	}
	q.order = append(q.order, key)
	return nil
}

// outputOf finds the output an ORDER BY item means, by position, name or expression; -1 if
// there is none.
func (p *parser) outputOf(q *Query, v any) int {
	switch class, _ := class(v); class {
	case "CONSTANT":
		if e, err := p.constant(v); err == nil && e.typ.kind == "integer" {
			if i, _ := strconv.Atoi(e.text); i >= 1 && i <= len(q.outputs) {
				return i - 1
			}
		}
		return -1
	case "COLUMN_REF":
		if name := bareName(v); name != "" {
			i := slices.IndexFunc(q.outputs, func(out output) bool { return strings.EqualFold(out.name, name) })
			if i >= 0 {
				return i
			}
		}
	}
	if p.hasAggregate(v) {
		if a, _, err := p.aggregated(v); err != nil || a == nil {
			return -1 // arithmetic is named by its output
		}
	}
	item, err := p.item(q, v)
	if err != nil {
		return -1
	}
	return slices.IndexFunc(q.outputs, func(out output) bool {
		return out.formula == nil && out.group == item.group && out.round == item.round && out.aggregate.key() == item.aggregate.key()
	})
}
