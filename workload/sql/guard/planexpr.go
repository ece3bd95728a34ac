package guard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// duckType is a type of DuckDB's in a bound plan.
type duckType struct {
	id           string
	width, scale int // of DECIMAL
}

func (t duckType) String() string { return t.id }

// The widths of DuckDB's integers, in decimal digits.
func integerDigits(id string) int {
	return map[string]int{"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19, "HUGEINT": 39,
		"UTINYINT": 3, "USMALLINT": 5, "UINTEGER": 10}[id]
}

// shows reports whether values of the type are those that a query's type speaks of.
func (t duckType) shows(want typ) bool {
	switch want.kind {
	case "integer", "decimal":
		return t.id == "DECIMAL" && t.scale == want.scale || integerDigits(t.id) > 0 && want.scale == 0
	case "text":
		return t.id == "VARCHAR"
	case "boolean":
		return t.id == "BOOLEAN"
	case "date":
		return t.id == "DATE"
	}
	return false
}

// typeOf reads a type; any that no column, count or sum has does not pass.
func typeOf(v any) (duckType, error) {
	o, err := members(v, "id", "type_info")
	if err != nil {
		return duckType{}, err
	}
	id := o.text("id")
	if id == "DECIMAL" {
		info, err := members(o["type_info"], "type", "alias", "extension_info", "width", "scale")
		if err != nil {
			return duckType{}, err
		}
		width, err1 := strconv.Atoi(asText(info["width"]))
		scale, err2 := strconv.Atoi(asText(info["scale"]))
		if err1 != nil || err2 != nil || width > maxDigits || scale < 0 || scale > width || info["alias"] != "" || info["extension_info"] != nil {
			return duckType{}, fmt.Errorf("a decimal of a kind that does not pass")
		}
		return duckType{id, width, scale}, nil
	}
	if o["type_info"] != nil || integerDigits(id) == 0 && !slices.Contains([]string{"VARCHAR", "BOOLEAN", "DATE", "NULL"}, id) {
		return duckType{}, fmt.Errorf("type %.60q does not pass", id)
	}
	return duckType{id: id}, nil
}

// widens reports whether a cast succeeds for every value.
func widens(from, to duckType) bool {
	whole := func(t duckType) int { return max(t.width-t.scale, integerDigits(t.id)) }
	number := func(t duckType) bool { return whole(t)+t.scale > 0 }
	switch {
	case from == to:
		return true
	case number(from) && number(to):
		return whole(to) >= whole(from) && to.scale >= from.scale
	}
	return false
}

// planExpr checks an expression of a bound plan over columns with the given marks, and
// gives its own mark and type. The unit and keys pass through a reference or a cast only.
func planExpr(v any, below []mark) (mark, duckType, error) {
	raw, _ := v.(map[string]any)
	switch class := object(raw).text("expression_class"); class {
	case "BOUND_REF":
		return planRef(v, below)
	case "BOUND_CONSTANT":
		return planConstant(v)
	case "BOUND_CAST":
		return planCast(v, below)
	case "BOUND_FUNCTION":
		return planFunction(v, below)
	case "BOUND_OPERATOR":
		return planOperator(v, below)
	case "BOUND_CASE":
		return planCase(v, below)
	case "BOUND_COMPARISON":
		o, err := members(v, "expression_class", "type", "alias", "query_location", "left", "right")
		if err != nil {
			return 0, duckType{}, err
		}
		return planArgs([]any{o["left"], o["right"]}, below, duckType{id: "BOOLEAN"})
	case "BOUND_BETWEEN":
		o, err := members(v, "expression_class", "type", "alias", "query_location", "input", "lower", "upper", "lower_inclusive", "upper_inclusive")
		if err != nil {
			return 0, duckType{}, err
		}
		return planArgs([]any{o["input"], o["lower"], o["upper"]}, below, duckType{id: "BOOLEAN"})
	case "BOUND_CONJUNCTION":
		o, err := members(v, "expression_class", "type", "alias", "query_location", "children")
		if err != nil {
			return 0, duckType{}, err
		}
		return planArgs(o.list("children"), below, duckType{id: "BOOLEAN"})
	default:
		return 0, duckType{}, fmt.Errorf("expression %.60q does not pass", class)
	}
}

// planArgs checks the arguments of an expression that gives t; none may be the unit.
func planArgs(args []any, below []mark, t duckType) (mark, duckType, error) {
	var all mark
	for _, a := range args {
		m, _, err := planExpr(a, below)
		if err != nil {
			return 0, duckType{}, err
		}
		all |= m
	}
	if all&(unitMark|keyMark) != 0 {
		return 0, duckType{}, fmt.Errorf("the unit or a key of a row in an expression")
	}
	return all, t, nil
}

func planRef(v any, below []mark) (mark, duckType, error) {
	o, err := members(v, "expression_class", "type", "alias", "query_location", "return_type", "index")
	if err != nil {
		return 0, duckType{}, err
	}
	i, err := strconv.Atoi(asText(o["index"]))
	if err != nil || i < 0 || i >= len(below) {
		return 0, duckType{}, fmt.Errorf("a reference to column %.30s of %d", asText(o["index"]), len(below))
	}
	t, err := typeOf(o["return_type"])
	return below[i], t, err
}

func planConstant(v any) (mark, duckType, error) {
	o, err := members(v, "expression_class", "type", "alias", "query_location", "value")
	if err != nil {
		return 0, duckType{}, err
	}
	value, _ := o["value"].(map[string]any)
	t, err := typeOf(value["type"])
	return 0, t, err
}

func planCast(v any, below []mark) (mark, duckType, error) {
	o, err := members(v, "expression_class", "type", "alias", "query_location", "child", "return_type", "try_cast")
	if err != nil {
		return 0, duckType{}, err
	}
	m, from, err := planExpr(o["child"], below)
	if err != nil {
		return 0, duckType{}, err
	}
	to, err := typeOf(o["return_type"])
	if err != nil {
		return 0, duckType{}, err
	}
	// A cast of a constant either always succeeds or always fails, whatever the data.
	if o["try_cast"] != false || !widens(from, to) && !isConstant(o["child"]) {
		return 0, duckType{}, fmt.Errorf("a cast from %s to %s, which can fail", from, to)
	}
	return m, to, nil
}

func isConstant(v any) bool {
	o, _ := v.(map[string]any)
	return o["expression_class"] == "BOUND_CONSTANT" || o["expression_class"] == "BOUND_CAST" && isConstant(o["child"])
}

func planFunction(v any, below []mark) (mark, duckType, error) {
	raw, _ := v.(map[string]any)
	names := []string{"expression_class", "type", "alias", "query_location", "return_type", "children", "name", "arguments",
		"original_arguments", "catalog_name", "schema_name", "has_serialize", "is_operator"}
	if _, found := raw["function_data"]; found {
		names = append(names, "function_data")
	}
	o, err := members(v, names...)
	if err != nil {
		return 0, duckType{}, err
	}
	t, err := typeOf(o["return_type"])
	if err != nil {
		return 0, duckType{}, err
	}
	switch name := o.text("name"); {
	case (name == "+" || name == "-" || name == "*") && t.id == "DECIMAL":
		// DuckDB says itself whether it found the result wide enough for every value.
		if data, _ := raw["function_data"].(map[string]any); data != nil && data["check_overflow"] != false {
			return 0, duckType{}, fmt.Errorf("%s that can overflow", name)
		}
	case slices.Contains(strings.Fields(rowFunctions), name):
	case (name == "~~" || name == "!~~") && t.id == "BOOLEAN" && len(o.list("children")) == 2 && isConstant(o.list("children")[1]):
	default:
		return 0, duckType{}, fmt.Errorf("function %.60q of type %s does not pass", name, t)
	}
	return planArgs(o.list("children"), below, t)
}

func planOperator(v any, below []mark) (mark, duckType, error) {
	o, err := members(v, "expression_class", "type", "alias", "query_location", "return_type", "children")
	if err != nil {
		return 0, duckType{}, err
	}
	passes := []string{"OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE", "COMPARE_IN", "COMPARE_NOT_IN"}
	if !slices.Contains(passes, o.text("type")) {
		return 0, duckType{}, fmt.Errorf("operator %.60q does not pass", o.text("type"))
	}
	t, err := typeOf(o["return_type"])
	if err != nil {
		return 0, duckType{}, err
	}
	return planArgs(o.list("children"), below, t)
}

func planCase(v any, below []mark) (mark, duckType, error) {
	o, err := members(v, "expression_class", "type", "alias", "query_location", "return_type", "case_checks", "else_expr")
	if err != nil {
		return 0, duckType{}, err
	}
	t, err := typeOf(o["return_type"])
	if err != nil {
		return 0, duckType{}, err
	}
	args := []any{o["else_expr"]}
	for _, check := range o.list("case_checks") {
		c, err := members(check, "when_expr", "then_expr")
		if err != nil {
			return 0, duckType{}, err
		}
		args = append(args, c["when_expr"], c["then_expr"])
	}
	return planArgs(args, below, t)
}
