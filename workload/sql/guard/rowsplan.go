package guard

import (
	"fmt"
	"slices"
	"strings"
)

// rowOperators are the operators of a bound plan that pass where rows may leave.
const rowOperators = "LOGICAL_GET LOGICAL_PROJECTION LOGICAL_FILTER LOGICAL_AGGREGATE_AND_GROUP_BY LOGICAL_COMPARISON_JOIN LOGICAL_ANY_JOIN LOGICAL_DELIM_JOIN LOGICAL_DELIM_GET " +
	"LOGICAL_CROSS_PRODUCT LOGICAL_UNION LOGICAL_EXCEPT LOGICAL_INTERSECT LOGICAL_DISTINCT LOGICAL_ORDER_BY LOGICAL_LIMIT LOGICAL_WINDOW LOGICAL_DUMMY_SCAN " +
	"LOGICAL_MATERIALIZED_CTE LOGICAL_CTE_REF LOGICAL_DEPENDENT_JOIN"

// rowExpressions are its expressions.
const rowExpressions = "BOUND_REF BOUND_CONSTANT BOUND_CAST BOUND_COMPARISON BOUND_BETWEEN BOUND_CONJUNCTION BOUND_CASE BOUND_OPERATOR BOUND_FUNCTION BOUND_AGGREGATE BOUND_WINDOW"

// bindersOwn are functions that DuckDB's binder adds where a subquery gives one value: the
// first row's, and an error if there is a second.
const bindersOwn = "first error"

// rows checks a bound plan of a query over rows: it reads the agreed inputs and nothing else,
// and whatever it computes is on the lists.
func (w *planWalk) rows(v any) error {
	switch t := v.(type) {
	case []any:
		for _, element := range t {
			if err := w.rows(element); err != nil {
				return err
			}
		}
	case map[string]any:
		if done, err := w.rowNode(t); done || err != nil {
			return err
		}
		for _, member := range t {
			if err := w.rows(member); err != nil {
				return err
			}
		}
	}
	return nil
}

// rowNode checks one node; done tells that nothing below it is left to check.
func (w *planWalk) rowNode(t map[string]any) (done bool, err error) {
	o := object(t)
	if kind := o.text("type"); strings.HasPrefix(kind, "LOGICAL_") {
		if !slices.Contains(strings.Fields(rowOperators), kind) {
			return false, fmt.Errorf("operator %.60q does not pass", kind)
		}
		if kind == "LOGICAL_GET" {
			_, err := w.get(t)
			return true, err
		}
	}
	class := o.text("expression_class")
	if class == "" {
		return false, nil
	}
	if !slices.Contains(strings.Fields(rowExpressions), class) {
		return false, fmt.Errorf("expression %.60q does not pass", class)
	}
	if t["return_type"] != nil {
		if err := rowType(t["return_type"]); err != nil {
			return false, err
		}
	}
	name := o.text("name")
	switch class {
	case "BOUND_FUNCTION", "BOUND_AGGREGATE":
		if !overRows(name) && !(w.private && name == "hash") && !slices.Contains(strings.Fields(bindersOwn), name) {
			return false, fmt.Errorf("function %.60q does not pass", name)
		}
	}
	if class == "BOUND_AGGREGATE" || class == "BOUND_WINDOW" {
		return false, inOneOrder(o)
	}
	return false, nil
}

// inOneOrder refuses sums and means of floating point: they depend on the order of rows.
func inOneOrder(o object) error {
	if !slices.Contains([]string{"sum", "avg"}, o.text("name")) {
		return nil
	}
	for _, v := range o.list("arguments") {
		t, _ := v.(map[string]any)
		if id := object(t).text("id"); id == "DOUBLE" || id == "FLOAT" {
			return fmt.Errorf("%s of floating point, which depends on the order of rows: cast to a decimal first", o.text("name"))
		}
	}
	return nil
}

func rowType(v any) error {
	t, _ := v.(map[string]any)
	if id := object(t).text("id"); !slices.Contains(strings.Fields(rowTypes), id) {
		return fmt.Errorf("type %.60q does not pass", id)
	}
	return nil
}
