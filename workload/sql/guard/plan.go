package guard

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
)

// Source is a place a bound plan may read rows from: a table of the engine's, or a file.
type Source struct {
	// Table is a table's name; File a Parquet file's path. One of them is set.
	Table, File string
	// Columns are those the source has, in order. Owner: an [OwnerColumn] stands before them.
	Columns []agreement.Column
	Owner   bool
	// Keys are the columns that hold identifiers, which are compared with other keys and nothing
	// else.
	Keys []string
}

// PlanDomain is the domain string of a plan's hash (spec/sql.md, section 6).
const PlanDomain = "strongroom/sql/plan/v1"

// CheckPlan holds DuckDB's bound, unoptimised plan of the rewritten query, as
// json_serialize_plan gives it, to the sources allowed: it reads nothing else, has no
// operator, function, cast or type that is not on a list here, and uses the unit column
// for nothing but counting. It gives the plan's hash, which does not depend on data if the
// sources don't.
func (q *Query) CheckPlan(plan []byte, sources []Source) (wire.Hash, error) {
	v, err := decode(plan, maxPlan)
	if err != nil {
		return wire.Hash{}, refuse("query.plan", "the bound plan: %v", err)
	}
	if document, _ := v.(map[string]any); document["error"] != false {
		message, _ := document["error_message"].(string)
		return wire.Hash{}, refuse("query.plan", "DuckDB can't bind the rewritten query: %.300s", message)
	}
	o, err := members(v, "error", "plans")
	if err == nil && len(o.list("plans")) != 1 {
		err = fmt.Errorf("%d plans", len(o.list("plans")))
	}
	if err == nil {
		w := planWalk{sources: sources}
		w.private = q.private != nil
		if q.free != nil || w.private {
			err = w.rows(o.list("plans")[0])
		} else {
			err = w.root(q, o.list("plans")[0])
		}
	}
	if err != nil {
		return wire.Hash{}, refuse("query.plan", "the bound plan: %v", err)
	}
	plain, err := json.Marshal(withoutLocations(v))
	if err != nil {
		return wire.Hash{}, err
	}
	return wire.SHA256(PlanDomain, plain), nil
}

// mark says what a column of a plan holds, or descends from.
type mark uint8

const (
	unitMark  mark = 1 << iota // whom a row is about
	ownerMark                  // the owner of a row
	rowMark                    // the place of a row, which nothing may use
	keyMark                    // an identifier
)

type planWalk struct {
	sources    []Source
	aggregates int
	outputs    []duckType // of the aggregate operator: groups, then aggregates
	calls      []string   // its aggregates, as signature writes them
	joins      int
	private    bool
}

// root checks the whole plan: a projection of the one aggregation, column by column.
func (w *planWalk) root(q *Query, v any) error {
	marks, err := w.operator(v)
	if err != nil {
		return err
	}
	if want := len(q.groups) + len(q.primitives); w.aggregates != 1 || len(marks) != want || len(w.outputs) != want {
		return fmt.Errorf("%d columns of %d aggregations, not %d of one", len(marks), w.aggregates, want)
	}
	top, err := members(v, "type", "children", "table_index", "expressions")
	if err != nil {
		return err
	}
	if _, kind := class(top.list("children")[0]); kind != "LOGICAL_AGGREGATE_AND_GROUP_BY" || len(w.calls) != len(q.primitives) {
		return fmt.Errorf("%.60q above the aggregation, or other aggregates in it", kind)
	}
	for i, e := range top.list("expressions") {
		ref, err := members(e, "expression_class", "type", "alias", "query_location", "return_type", "index")
		if err != nil || ref.want("expression_class", "BOUND_REF", "index", json.Number(strconv.Itoa(i))) != nil {
			return fmt.Errorf("column %d of the result is not column %d of the aggregation", i, i)
		}
	}
	if w.joins != len(q.joins) {
		return fmt.Errorf("%d joins, not %d", w.joins, len(q.joins))
	}
	for i, g := range q.groups {
		if !w.outputs[i].shows(g.typ) {
			return fmt.Errorf("group %d is %s, not %s", i, w.outputs[i], g.typ)
		}
	}
	for i, p := range q.primitives {
		t := typ{"integer", 0, 0}
		if p.function == "sum" {
			t = p.arg.typ
		}
		want := signature(p.function, p.distinct, p.where != nil)
		if got := w.outputs[len(q.groups)+i]; !got.shows(t) || w.calls[i] != want {
			return fmt.Errorf("aggregate %d is %s of type %s, not %s of type %s", i, w.calls[i], got, want, t)
		}
	}
	return nil
}

// operator checks a plan operator and what is below it, and gives the marks of its columns.
func (w *planWalk) operator(v any) ([]mark, error) {
	o, _ := v.(map[string]any)
	kind := object(o).text("type")
	if kind == "LOGICAL_GET" {
		return w.get(v)
	}
	var below [][]mark
	for _, child := range object(o).list("children") {
		marks, err := w.operator(child)
		if err != nil {
			return nil, err
		}
		below = append(below, marks)
	}
	if kind == "LOGICAL_UNION" {
		return w.union(v, below)
	}
	if kind == "LOGICAL_COMPARISON_JOIN" && len(below) == 2 {
		return w.join(v, below[0], below[1])
	}
	if len(below) != 1 {
		return nil, fmt.Errorf("operator %.60q over %d inputs", kind, len(below))
	}
	switch kind {
	case "LOGICAL_PROJECTION":
		return w.projection(v, below[0])
	case "LOGICAL_FILTER":
		return w.filter(v, below[0])
	case "LOGICAL_AGGREGATE_AND_GROUP_BY":
		return w.aggregation(v, below[0])
	}
	return nil, fmt.Errorf("operator %.60q does not pass", kind)
}

func (w *planWalk) projection(v any, below []mark) ([]mark, error) {
	o, err := members(v, "type", "children", "table_index", "expressions")
	if err != nil {
		return nil, err
	}
	var out []mark
	for _, e := range o.list("expressions") {
		m, _, err := planExpr(e, below)
		if err != nil {
			return nil, err
		}
		if alias, _ := e.(map[string]any)["alias"].(string); alias == OwnerColumn {
			m |= ownerMark
		}
		out = append(out, m)
	}
	return out, nil
}

func (w *planWalk) filter(v any, below []mark) ([]mark, error) {
	o, err := members(v, "type", "children", "expressions", "projection_map")
	if err != nil {
		return nil, err
	}
	if !o.isEmptyList("projection_map") {
		return nil, fmt.Errorf("a filter that reorders columns")
	}
	for _, e := range o.list("expressions") {
		if m, _, err := planExpr(e, below); err != nil || m != 0 {
			return nil, orElse(err, "a filter on the unit or owner of a row")
		}
	}
	return below, nil
}

func orElse(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return fmt.Errorf(format, args...)
}

// union checks the rows of several inputs put together.
func (w *planWalk) union(v any, below [][]mark) ([]mark, error) {
	o, err := members(v, "type", "children", "table_index", "column_count", "setop_all", "allow_out_of_order")
	if err != nil {
		return nil, err
	}
	if o["setop_all"] != true || len(below) < 2 {
		return nil, fmt.Errorf("a union that drops rows")
	}
	out := slices.Clone(below[0])
	for _, marks := range below[1:] {
		if len(marks) != len(out) {
			return nil, fmt.Errorf("a union of different columns")
		}
		for i := range out {
			out[i] |= marks[i]
		}
	}
	return out, nil
}

// join checks a join of two inputs: by equal keys, all columns of both kept in order.
func (w *planWalk) join(v any, left, right []mark) ([]mark, error) {
	o, err := members(v, "type", "children", "join_type", "mark_index", "mark_types", "left_projection_map", "right_projection_map", "conditions",
		"duplicate_eliminated_columns", "delim_flipped", "predicate")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"mark_types", "left_projection_map", "right_projection_map", "duplicate_eliminated_columns"} {
		if !o.isEmptyList(name) {
			return nil, fmt.Errorf("a join with %s", name)
		}
	}
	if err := o.want("delim_flipped", false, "predicate", nil); err != nil {
		return nil, err
	}
	if kind := o["join_type"]; kind != "INNER" && kind != "LEFT" {
		return nil, fmt.Errorf("a join of type %.20v", kind)
	}
	if w.joins++; len(o.list("conditions")) == 0 {
		return nil, fmt.Errorf("a join without a condition")
	}
	for _, c := range o.list("conditions") {
		condition, err := members(c, "left", "right", "comparison")
		if err != nil {
			return nil, err
		}
		if condition["comparison"] != "COMPARE_EQUAL" {
			return nil, fmt.Errorf("a join by %.40v", condition["comparison"])
		}
		for _, side := range []struct {
			e     any
			below []mark
		}{{condition["left"], left}, {condition["right"], right}} {
			m, _, err := planRef(side.e, side.below)
			if err != nil || m&keyMark == 0 || m&(ownerMark|rowMark) != 0 {
				return nil, orElse(err, "a join by something that is no key")
			}
		}
	}
	return append(slices.Clone(left), right...), nil
}

func (w *planWalk) aggregation(v any, below []mark) ([]mark, error) {
	o, err := members(v, "type", "children", "expressions", "group_index", "aggregate_index", "groupings_index", "groups",
		"grouping_sets", "grouping_functions", "distinct_validity")
	if err != nil {
		return nil, err
	}
	if w.aggregates++; !plainSets(o.list("grouping_sets"), len(o.list("groups"))) || !o.isEmptyList("grouping_functions") {
		return nil, fmt.Errorf("several grouping sets")
	}
	for _, e := range o.list("groups") {
		m, t, err := planExpr(e, below)
		if err != nil || m != 0 {
			return nil, orElse(err, "grouped by the unit or owner of a row")
		}
		w.outputs = append(w.outputs, t)
	}
	for _, e := range o.list("expressions") {
		t, call, err := planAggregate(e, below)
		if err != nil {
			return nil, err
		}
		w.outputs, w.calls = append(w.outputs, t), append(w.calls, call)
	}
	return make([]mark, len(w.outputs)), nil
}

// planAggregate checks one aggregate. Only here may the unit stand, bare in a count, and
// the owner, in the condition of what is counted.
func planAggregate(v any, below []mark) (t duckType, call string, err error) {
	o, err := members(v, "expression_class", "type", "alias", "query_location", "return_type", "children", "name", "arguments",
		"original_arguments", "catalog_name", "schema_name", "has_serialize", "aggregate_type", "filter", "order_bys")
	if err != nil {
		return duckType{}, "", err
	}
	name, children := o.text("name"), o.list("children")
	if err := o.want("expression_class", "BOUND_AGGREGATE", "type", "BOUND_AGGREGATE"); err != nil {
		return duckType{}, "", err
	}
	if !slices.Contains([]string{"count_star", "count", "sum"}, name) || o["order_bys"] != nil || len(children) > 1 {
		return duckType{}, "", fmt.Errorf("aggregate %.60q does not pass", name)
	}
	for _, e := range children {
		m, _, err := planExpr(e, below)
		if err != nil {
			return duckType{}, "", err
		}
		bare, _ := e.(map[string]any)
		if m != 0 && (m&^keyMark != unitMark || name != "count" || bare["expression_class"] != "BOUND_REF") {
			return duckType{}, "", fmt.Errorf("%s of the unit or owner of a row", name)
		}
		if o["aggregate_type"] == "DISTINCT" && m&^keyMark != unitMark {
			return duckType{}, "", fmt.Errorf("%s of different values that are no units", name)
		}
	}
	if o["filter"] != nil {
		if m, _, err := planExpr(o["filter"], below); err != nil || m&^ownerMark != 0 {
			return duckType{}, "", orElse(err, "a condition on the unit or place of a row")
		}
	}
	t, err = typeOf(o["return_type"])
	return t, signature(name, o["aggregate_type"] == "DISTINCT", o["filter"] != nil), err
}

// signature says which aggregate a call is, but for its argument and condition.
func signature(function string, distinct, conditional bool) string {
	return fmt.Sprintf("%s (distinct %v, conditional %v)", function, distinct, conditional)
}

// get checks that rows come from an allowed source, and all its columns are known.
func (w *planWalk) get(v any) ([]mark, error) {
	o, err := members(v, "type", "children", "table_index", "returned_types", "names", "projection_ids", "table_filters", "name",
		"arguments", "original_arguments", "catalog_name", "schema_name", "has_serialize", "function_data", "projected_input",
		"column_indexes", "extra_info", "ordinality_idx", "row_group_order_options")
	if err != nil {
		return nil, err
	}
	if !o.isEmptyList("children") || !o.isEmptyList("projection_ids") || !o.isEmptyList("projected_input") {
		return nil, fmt.Errorf("a scan with inputs")
	}
	source, err := w.source(o)
	if err != nil {
		return nil, err
	}
	var names []string
	var marks []mark
	if source.Owner {
		names, marks = []string{OwnerColumn}, []mark{ownerMark}
	}
	for _, c := range source.Columns {
		m := mark(0)
		if c.Unit {
			m = unitMark
		}
		if slices.Contains(source.Keys, c.Name) {
			m |= keyMark
		}
		names, marks = append(names, c.Name), append(marks, m)
	}
	if !slices.EqualFunc(names, o.list("names"), func(want string, got any) bool { return got == want }) {
		return nil, fmt.Errorf("a scan of other columns than agreed")
	}
	return scanned(o.list("column_indexes"), marks)
}

// scanned gives the marks of the columns a scan reads, in its order.
func scanned(indexes []any, marks []mark) ([]mark, error) {
	var out []mark
	for _, v := range indexes {
		o, err := members(v, "index", "child_indexes", "index_type", "type", "field", "has_index")
		if err != nil {
			return nil, err
		}
		switch i, err := strconv.Atoi(asText(o["index"])); {
		case o["has_index"] != true || !o.isEmptyList("child_indexes") || o["index_type"] != "FULL_READ":
			return nil, fmt.Errorf("a scan of parts of columns")
		case asText(o["index"]) == emptyColumn:
			out = append(out, 0)
		case asText(o["index"]) == rowColumn:
			out = append(out, rowMark)
		case err != nil || i >= len(marks):
			return nil, fmt.Errorf("a scan of column %.30s of %d", asText(o["index"]), len(marks))
		default:
			out = append(out, marks[i])
		}
	}
	return out, nil
}

// Where only rows are counted, DuckDB still has a scan give one column: of a file one
// without contents, of a table the rows' places. These are their indexes.
const (
	emptyColumn = "18446744073709551614"
	rowColumn   = "18446744073709551615"
)

// source finds the source a scan reads.
func (w *planWalk) source(o object) (*Source, error) {
	data, _ := o["function_data"].(map[string]any)
	for i := range w.sources {
		s := &w.sources[i]
		switch {
		case o["name"] == "seq_scan" && s.Table != "" && object(data).want("table", s.Table, "schema", "main", "catalog", "memory", "is_index_scan", false) == nil:
			return s, nil
		case o["name"] == "read_parquet" && s.File != "":
			files := object(data).list("files")
			if len(files) == 1 && files[0] == s.File {
				return s, plainParquet(data)
			}
		}
	}
	return nil, fmt.Errorf("a scan (%.60v) of something that is not an agreed input", o["name"])
}

// plainParquet checks that a scan of a file adds no columns of DuckDB's own.
func plainParquet(data object) error {
	options, _ := data["parquet_options"].(map[string]any)
	if err := object(options).want("binary_as_string", false, "file_row_number", false, "encryption_config", nil); err != nil {
		return err
	}
	file, _ := options["file_options"].(map[string]any)
	return object(file).want("filename", false, "hive_partitioning", false, "union_by_name", false)
}
