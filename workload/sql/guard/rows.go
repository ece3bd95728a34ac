package guard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/workload/sql"
)

// Where the rules of every input a query reads let rows leave, any SELECT over the agreed
// tables passes that gives the same answer each time: this file walks its parse tree, and
// rowsplan.go its bound plan. Nobody is counted.

// shapes are the nodes of a parse tree that pass, each with exactly these members: by class
// for expressions, else by type.
func shapes() map[string]string {
	return map[string]string{
		"SELECT_NODE":        "type modifiers cte_map select_list from_table where_clause group_expressions group_sets aggregate_handling having sample qualify",
		"SET_OPERATION_NODE": "type modifiers cte_map setop_type left right setop_all",
		"BASE_TABLE":         "type alias sample query_location schema_name table_name column_name_alias catalog_name at_clause",
		"JOIN":               "type alias sample query_location left right condition join_type ref_type using_columns delim_flipped duplicate_eliminated_columns",
		"SUBQUERY":           "type alias sample query_location subquery column_name_alias",
		"EMPTY":              "type alias sample query_location",
		"ORDER_MODIFIER":     "type orders",
		"LIMIT_MODIFIER":     "type limit offset",
		"DISTINCT_MODIFIER":  "type distinct_on_targets",
		"ORDER_DEFAULT":      "type null_order expression",
		"ASCENDING":          "type null_order expression",
		"DESCENDING":         "type null_order expression",
		"DECIMAL_TYPE_INFO":  "type alias extension_info width scale",

		"class BETWEEN":     "class type alias query_location input lower upper",
		"class CASE":        "class type alias query_location case_checks else_expr",
		"class CAST":        "class type alias query_location child cast_type try_cast",
		"class COLUMN_REF":  "class type alias query_location column_names",
		"class COMPARISON":  "class type alias query_location left right",
		"class CONJUNCTION": "class type alias query_location children",
		"class CONSTANT":    "class type alias query_location value",
		"class FUNCTION":    "class type alias query_location function_name schema children filter order_bys distinct is_operator export_state catalog",
		"class OPERATOR":    "class type alias query_location children",
		"class PARAMETER":   "class type alias query_location identifier",
		"class STAR":        "class type alias query_location relation_name exclude_list replace_list columns expr qualified_exclude_list rename_list",
		"class SUBQUERY":    "class type alias query_location subquery_type subquery child comparison_type",
		"class WINDOW": "class type alias query_location function_name schema catalog children partitions orders start end start_expr end_expr offset_expr " +
			"default_expr ignore_nulls filter_expr exclude_clause distinct arg_orders",
	}
}

// plainMembers are those of nodes without class and type: each set of members that passes.
func plainMembers() []string {
	return []string{"node named_param_map", "map", "key value", "aliases query materialized key_targets", "when_expr then_expr", "id type_info", "type is_null value", "type is_null"}
}

// rowTypes are the types that an expression may be cast to or have.
const rowTypes = "BOOLEAN TINYINT SMALLINT INTEGER BIGINT HUGEINT UTINYINT USMALLINT UINTEGER UBIGINT DECIMAL DOUBLE VARCHAR DATE NULL"

// free is a query over rows.
type free struct {
	node    object // the checked tree, ready to run
	outputs int
	columns []sql.Column // once it is bound
}

// rowWalk checks a parse tree.
type rowWalk struct {
	parser *parser
	shapes map[string]string
	ctes   map[string]bool
	nodes  int
}

// checkRows reads the node of the query's one statement.
func (p *parser) checkRows(node any) (*Query, error) {
	w := &rowWalk{parser: p, shapes: shapes(), ctes: map[string]bool{}}
	if err := w.names(node); err != nil {
		return nil, err
	}
	checked, err := w.walk(node, true)
	if err != nil {
		return nil, err
	}
	f := &free{}
	f.node, _ = checked.(map[string]any)
	if f.outputs, err = w.outputs(f.node); err != nil {
		return nil, err
	}
	if int64(f.outputs) > p.job.MaxColumns {
		return nil, refuse("query.size", "%d outputs, at most %d", f.outputs, p.job.MaxColumns)
	}
	if err := p.partners(); err != nil {
		return nil, err
	}
	return &Query{scans: p.scans, free: f}, f.order()
}

// names collects the names that WITH gives; none may hide a table.
func (w *rowWalk) names(v any) error {
	switch t := v.(type) {
	case map[string]any:
		if key, isText := t["key"].(string); isText && t["value"] != nil {
			name := strings.ToLower(key)
			if w.parser.job.TableByName(name) != nil {
				return refuse("query.table", "WITH %.70q hides the table of that name: choose another", name)
			}
			w.ctes[name] = true
		}
		for _, member := range t {
			if err := w.names(member); err != nil {
				return err
			}
		}
	case []any:
		for _, element := range t {
			if err := w.names(element); err != nil {
				return err
			}
		}
	}
	return nil
}

// walk checks a node and what is below it, and gives it as it runs: parameters are values
// there, and casts give NULL where they fail. top is the outermost SELECT.
func (w *rowWalk) walk(v any, top bool) (any, error) {
	switch t := v.(type) {
	case []any:
		out := make([]any, len(t))
		for i, element := range t {
			var err error
			if out[i], err = w.walk(element, false); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		if w.nodes++; w.nodes > maxNodes {
			return nil, refuse("query.size", "more than %d nodes", maxNodes)
		}
		if err := w.shape(t); err != nil {
			return nil, err
		}
		if err := w.node(t, top); err != nil {
			return nil, err
		}
		return w.below(t)
	}
	return v, nil
}

func (w *rowWalk) below(t map[string]any) (any, error) {
	if class, _ := class(t); class == "PARAMETER" {
		e, err := w.parser.parameter(t)
		if err != nil {
			return nil, err
		}
		return named(e.tree(), object(t).text("alias")), nil
	}
	out := make(map[string]any, len(t))
	for name, member := range t {
		var err error
		if out[name], err = w.walk(member, false); err != nil {
			return nil, err
		}
	}
	if class, _ := class(t); class == "CAST" {
		out["try_cast"] = true
	}
	return out, nil
}

// shape checks that a node has exactly the members of its kind.
func (w *rowWalk) shape(t map[string]any) error {
	class, kind := class(t)
	key := kind
	if class != "" {
		key = "class " + class
	}
	if want, found := w.shapes[key]; found {
		if _, err := members(t, strings.Fields(want)...); err != nil {
			return refuse("query.expression", "%s%s: %v", words(class, kind), near(t), err)
		}
		return nil
	}
	if class == "" && !slices.ContainsFunc(plainMembers(), func(list string) bool { _, err := members(t, strings.Fields(list)...); return err == nil }) {
		return refuse("query.clause", "%.60s does not pass", strings.ToLower(strings.ReplaceAll(kind, "_", " ")))
	}
	if class != "" {
		return refuse("query.expression", "%s%s is not among the expressions that pass", words(class, kind), near(t))
	}
	return nil
}

// node checks what the kind of a node asks for besides.
func (w *rowWalk) node(t map[string]any, top bool) error {
	o := object(t)
	class, kind := class(t)
	if id, isType := t["id"].(string); isType && t["type_info"] == nil || isType && id == "DECIMAL" {
		if !slices.Contains(strings.Fields(rowTypes), id) {
			return refuse("query.cast", "type %.60s does not pass", id)
		}
	} else if isType {
		return refuse("query.cast", "type %.60s does not pass", id)
	}
	switch {
	case class == "FUNCTION":
		return w.function(t)
	case class == "WINDOW":
		return w.window(t)
	case class == "COLUMN_REF":
		if parts := o.list("column_names"); len(parts) == 0 || strings.EqualFold(asText(parts[len(parts)-1]), "rowid") {
			return refuse("query.column", "rowid%s tells of a place in a file, not of the data", near(t))
		}
	case class == "STAR":
		if err := o.want("columns", false, "expr", nil); err != nil || !o.isEmptyList("replace_list") || !o.isEmptyList("rename_list") {
			return refuse("query.expression", "*%s passes plain, with EXCLUDE at most", near(t))
		}
	case class == "OPERATOR":
		passes := []string{"OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE", "OPERATOR_NULLIF", "COMPARE_IN", "COMPARE_NOT_IN"}
		if !slices.Contains(passes, kind) {
			return refuse("query.expression", "%s%s is not among the operators that pass", words(class, kind), near(t))
		}
	case kind == "BASE_TABLE":
		return w.table(t)
	case kind == "JOIN":
		if !slices.Contains([]string{"REGULAR", "CROSS", "NATURAL"}, o.text("ref_type")) || !slices.Contains([]string{"INNER", "LEFT", "RIGHT", "OUTER", "FULL", "SEMI", "ANTI"}, o.text("join_type")) {
			return refuse("query.join", "%.20s %.20s join%s does not pass: it depends on the order of rows", strings.ToLower(o.text("ref_type")), strings.ToLower(o.text("join_type")), near(t))
		}
	case kind == "SELECT_NODE" || kind == "SET_OPERATION_NODE":
		return w.selects(t, top)
	case kind == "DISTINCT_MODIFIER" && !o.isEmptyList("distinct_on_targets"):
		return refuse("query.clause", "DISTINCT ON does not pass: which row it keeps depends on their order")
	}
	if t["sample"] != nil || t["at_clause"] != nil {
		return refuse("query.clause", "SAMPLE and AT do not pass")
	}
	return nil
}

// selects checks a SELECT: no sample, and no LIMIT but on the outermost, whose rows are in
// one order.
func (w *rowWalk) selects(t map[string]any, top bool) error {
	if t["sample"] != nil {
		return refuse("query.clause", "SAMPLE does not pass")
	}
	for _, m := range object(t).list("modifiers") {
		if _, kind := class(m); kind == "LIMIT_MODIFIER" && !top {
			return refuse("query.clause", "LIMIT passes on the outermost SELECT alone: within, which rows it keeps could depend on their order")
		}
	}
	return nil
}

// table resolves a table of the agreement, or a name of WITH.
func (w *rowWalk) table(t map[string]any) error {
	o := object(t)
	name := strings.ToLower(o.text("table_name"))
	if err := o.want("schema_name", "", "catalog_name", ""); err != nil {
		return refuse("query.table", "FROM%s takes a table's name and an alias, nothing more", near(t))
	}
	if w.ctes[name] {
		return nil
	}
	table := w.parser.job.TableByName(name)
	if table == nil {
		return refuse("query.table", "%.70q is not a table of this work", name)
	}
	if !slices.ContainsFunc(w.parser.scans, func(s scan) bool { return s.table.Name == name }) {
		w.parser.scans = append(w.parser.scans, scan{table: table, alias: name, schema: w.parser.job.InputByName(table.Inputs[0]).Schema})
	}
	return nil
}

func (w *rowWalk) function(t map[string]any) error {
	o := object(t)
	name := strings.ToLower(o.text("function_name"))
	// Forms such as EXTRACT and SUBSTRING ... FROM are given the schema by DuckDB's parser.
	if o["schema"] != "main" && o["schema"] != "" || o["catalog"] != "" || o["export_state"] != false {
		return refuse("query.function", "%.60s%s of a schema does not pass", name, near(t))
	}
	if !overRows(name) {
		return refuse("query.function", "%.60s%s does not pass: %s", name, near(t), whyNot(classOf(name, "scalar", "aggregate", "macro", "table")))
	}
	if orders, err := members(o["order_bys"], "type", "orders"); err != nil || !orders.isEmptyList("orders") {
		return refuse("query.clause", "ORDER BY inside an aggregate%s does not pass", near(t))
	}
	return nil
}

func whyNot(class string) string {
	switch class {
	case "order":
		return "its value depends on the order of rows"
	case "volatile":
		return "it gives another value each time"
	case "session", "catalogue":
		return "it tells of the database, not of the agreed data"
	case "file":
		return "it reads files"
	case "cost":
		return "what it takes is not bounded by its arguments"
	case "types":
		return "no column has its types"
	}
	return "it is not among the functions that pass"
}

// window checks a window function: of those whose value does not depend on the order of
// rows with equal keys, over the default frame.
func (w *rowWalk) window(t map[string]any) error {
	o := object(t)
	name := strings.ToLower(o.text("function_name"))
	passes := []string{"rank", "rank_dense", "dense_rank", "percent_rank", "cume_dist", "count", "count_star", "sum", "avg", "mean", "min", "max"}
	if !slices.Contains(passes, name) {
		return refuse("query.function", "window function %.60s%s does not pass: of those whose value does not depend on the order of rows, these do: %s", name, near(t), strings.Join(passes, " "))
	}
	if err := o.want("schema", "", "catalog", "", "start", "UNBOUNDED_PRECEDING", "end", "CURRENT_ROW_RANGE", "start_expr", nil, "end_expr", nil,
		"offset_expr", nil, "default_expr", nil, "ignore_nulls", false, "exclude_clause", "NO_OTHER"); err != nil || !o.isEmptyList("arg_orders") {
		return refuse("query.clause", "the window%s passes with PARTITION BY and ORDER BY alone", near(t))
	}
	return nil
}

// outputs counts the outputs of the outermost SELECT, which names each.
func (w *rowWalk) outputs(node object) (int, error) {
	if node.text("type") == "SET_OPERATION_NODE" {
		left, _ := node["left"].(map[string]any)
		return w.outputs(left)
	}
	list := node.list("select_list")
	for _, v := range list {
		if class, _ := class(v); class == "STAR" {
			return 0, refuse("query.output", "*%s on the outermost SELECT: name the columns that leave", near(v))
		}
	}
	if len(list) == 0 {
		return 0, refuse("query.output", "nothing is selected")
	}
	return len(list), nil
}

// order completes ORDER BY of the outermost SELECT by all outputs, so that the same rows are
// always in the same order, and LIMIT always keeps the same.
func (f *free) order() error {
	var orders, out []any
	var limit any
	for _, m := range f.node.list("modifiers") {
		switch _, kind := class(m); kind {
		case "ORDER_MODIFIER":
			o, _ := m.(map[string]any)
			orders = append(orders, object(o).list("orders")...)
		case "LIMIT_MODIFIER":
			limit = m
		default:
			out = append(out, m)
		}
	}
	for i := range f.outputs {
		orders = append(orders, tree{"type": "ORDER_DEFAULT", "null_order": "ORDER_DEFAULT", "expression": integer(i + 1).tree()})
	}
	out = append(out, tree{"type": "ORDER_MODIFIER", "orders": orders})
	if limit != nil {
		out = append(out, limit)
	}
	f.node["modifiers"] = out
	return nil
}

// Rowwise reports whether the query shows rows; then [Query.Bind] says what they hold.
func (q *Query) Rowwise() bool { return q.free != nil }

// Bind sets the columns of a query over rows as DuckDB names and types them.
func (q *Query) Bind(names, types []string) error {
	if q.free == nil || len(names) != q.free.outputs || len(types) != len(names) {
		return fmt.Errorf("%d columns, %d types", len(names), len(types))
	}
	seen := map[string]bool{}
	q.free.columns = nil
	for i, name := range names {
		if !sql.ValidName(name) {
			name = plainName(name)
		}
		if !sql.ValidName(name) || seen[name] {
			return refuse("query.output", "%.70q is not a name for an output, or stands twice: give it one with AS, of a-z, 0-9 and _", name)
		}
		seen[name] = true
		c, err := columnOf(name, types[i])
		if err != nil {
			return err
		}
		q.free.columns = append(q.free.columns, c)
	}
	return nil
}

// plainName makes a name of the text of an expression that has none: sum_x of sum(x).
func plainName(text string) string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	name := strings.Join(words, "_")
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		name = "c_" + name
	}
	return name[:min(len(name), 63)]
}

// columnOf gives the column of a result for one of DuckDB's types.
func columnOf(name, kind string) (sql.Column, error) {
	switch {
	case kind == "VARCHAR":
		return sql.Column{Name: name, Type: "text"}, nil
	case kind == "BOOLEAN" || kind == "DATE" || kind == "DOUBLE":
		return sql.Column{Name: name, Type: strings.ToLower(kind)}, nil
	case integerDigits(kind) > 0 || kind == "UBIGINT":
		return sql.Column{Name: name, Type: "integer"}, nil
	case strings.HasPrefix(kind, "DECIMAL("):
		_, scale, _ := strings.Cut(strings.TrimSuffix(kind, ")"), ",")
		n, err := strconv.ParseInt(scale, 10, 64)
		if err == nil && n == 0 {
			return sql.Column{Name: name, Type: "integer"}, nil
		}
		return sql.Column{Name: name, Type: "decimal", Scale: n}, err
	}
	return sql.Column{}, refuse("query.type", "output %s is of type %.60s, which no result holds", name, kind)
}

// tree gives the parse tree that runs.
func (f *free) tree() tree {
	return tree{"error": false, "statements": []any{tree{"node": map[string]any(f.node), "named_param_map": []any{}}}}
}
