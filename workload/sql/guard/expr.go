package guard

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// expr is an expression over one row, of a kind this package lets pass.
//
//	column                     name, of the scan from
//	clamp                      a column, and two constants that bound its value
//	constant                   text: the value's canonical text
//	= <> < > <= >=             2 arguments
//	is [not] distinct from     2
//	~~ !~~                     a text, and a constant as its pattern
//	between                    3
//	in, not in                 1, then constants
//	and, or                    2 or more
//	not, is null, is not null  1
//	+ - *                      2, or 1 for a negation
//	case                       condition, value, condition, value, ..., else
//	coalesce                   2 or more
//	floor ceil round abs lower upper year quarter month    1; round has digits as well
type expr struct {
	op     string
	from   int
	name   string
	text   string
	digits int
	args   []*expr
	typ    typ
}

// key tells expressions apart: two with the same key have the same value on every row.
func (e *expr) key() string {
	var b strings.Builder
	e.writeKey(&b)
	return b.String()
}

func (e *expr) writeKey(b *strings.Builder) {
	fmt.Fprintf(b, "(%s %d %q %q %q %d", e.op, e.from, e.name, e.typ.kind, e.text, e.digits)
	for _, a := range e.args {
		a.writeKey(b)
	}
	b.WriteByte(')')
}

// hasColumn reports whether an expression reads the row at all.
func (e *expr) hasColumn() bool {
	return e.op == "column" || slices.ContainsFunc(e.args, (*expr).hasColumn)
}

// columns adds the columns an expression reads to out, clamped as they are there, each as
// often as it stands there.
func (e *expr) columns(out []*expr) []*expr {
	if e.op == "column" || e.op == "clamp" {
		return append(out, e)
	}
	for _, a := range e.args {
		out = a.columns(out)
	}
	return out
}

// parser reads the parse tree of one query.
type parser struct {
	job   *sql.Job
	scans []scan
	joins []join
	// conditions are those of ON besides keys.
	conditions []*expr
	nodes      int
	// role is what the columns of the expression being read are used for; "" for nothing.
	role wire.ID
	// private: the inputs are under differential privacy.
	private bool
}

// as reads an expression whose columns are used in a role.
func (p *parser) as(role wire.ID, read func(any) (*expr, error), v any) (*expr, error) {
	outer := p.role
	p.role = role
	defer func() { p.role = outer }()
	return read(v)
}

// The functions of one row that pass, with their names in the agreed query.
const rowFunctions = "abs ceil ceiling floor lower month quarter round upper year"

// row reads an expression over one row.
func (p *parser) row(v any) (*expr, error) {
	if p.nodes++; p.nodes > maxNodes {
		return nil, refuse("query.size", "more than %d expressions", maxNodes)
	}
	class, kind := class(v)
	switch class {
	case "COLUMN_REF":
		return p.column(v)
	case "CONSTANT":
		return p.constant(v)
	case "PARAMETER":
		return p.parameter(v)
	case "CAST":
		return p.cast(v)
	case "COMPARISON":
		return p.comparison(v)
	case "BETWEEN":
		return p.between(v)
	case "CONJUNCTION":
		return p.conjunction(v)
	case "OPERATOR":
		return p.operator(v)
	case "CASE":
		return p.caseOf(v)
	case "FUNCTION":
		return p.function(v)
	case "STAR":
		return nil, refuse("query.expression", "*%s does not pass: rows of single people never leave; select aggregates, and what they are grouped by", near(v))
	}
	return nil, refuse("query.expression", "%s%s is not among the expressions that pass", words(class, kind), near(v))
}

// words makes DuckDB's names readable.
func words(class, kind string) string {
	if class == "" {
		return "something without a class"
	}
	return strings.ToLower(strings.ReplaceAll(class, "_", " ")) + " (" + kind + ")"
}

// near says where a node stands.
func near(v any) string {
	if at := location(v); at >= 0 {
		return fmt.Sprintf(" at byte %d", at+1)
	}
	return ""
}

// shape wraps an error about a node's members: DuckDB wrote a form this package doesn't know.
func shape(v any, err error) error {
	class, kind := class(v)
	return refuse("query.expression", "%s%s: %v", words(class, kind), near(v), err)
}

// isColumn reports whether a bare name is a column of a table in FROM.
func (p *parser) isColumn(name string) bool {
	return slices.ContainsFunc(p.scans, func(s scan) bool { _, found := s.column(strings.ToLower(name)); return found })
}

// place resolves a column reference to a scan and its column.
func (p *parser) place(v any) (int, agreement.Column, error) {
	o, err := members(v, "class", "type", "alias", "query_location", "column_names")
	if err != nil {
		return 0, agreement.Column{}, shape(v, err)
	}
	var parts []string
	for _, n := range o.list("column_names") {
		s, _ := n.(string)
		parts = append(parts, strings.ToLower(s))
	}
	at, column := -1, agreement.Column{}
	for i, s := range p.scans {
		if len(parts) != 1 && !(len(parts) == 2 && parts[0] == s.alias) {
			continue
		}
		c, found := s.column(parts[len(parts)-1])
		if found && at >= 0 {
			return 0, agreement.Column{}, refuse("query.column", "%.100q%s is a column of %s and of %s: say which", c.Name, near(v), p.scans[at].alias, s.alias)
		}
		if found {
			at, column = i, c
		}
	}
	if at < 0 {
		return 0, agreement.Column{}, refuse("query.column", "%.100q%s is not a column of %s", strings.Join(parts, "."), near(v), p.tables())
	}
	return at, column, nil
}

// tables names what is in FROM.
func (p *parser) tables() string {
	var names []string
	for _, s := range p.scans {
		names = append(names, s.table.Name)
	}
	if len(names) == 1 {
		return "table " + names[0]
	}
	return "the tables " + strings.Join(names, ", ")
}

func (p *parser) column(v any) (*expr, error) {
	at, c, err := p.place(v)
	if err != nil {
		return nil, err
	}
	if c.Unit {
		return nil, refuse("query.unit", "%s%s says whom a row is about: it may only be counted, as count(%s) or count(DISTINCT %s)", c.Name, near(v), c.Name, c.Name)
	}
	if !p.job.May(p.scans[at].table, c.Name, p.role) {
		return nil, refuse("query.role", "%s%s may not be used %s: the rules of its inputs don't let it", c.Name, near(v), roleWords(p.role))
	}
	if p.role == agreement.Aggregate {
		return p.clamped(at, c, v)
	}
	return p.reference(at, c), nil
}

// clamped makes an expression of a column whose values are aggregated, within the narrowest
// bounds that the rules of the table's inputs set.
func (p *parser) clamped(at int, c agreement.Column, v any) (*expr, error) {
	e := p.reference(at, c)
	low, high, bounded, err := p.job.Bounds(p.scans[at].table, c.Name)
	if err != nil {
		return nil, refuse("query.bounds", "%s%s: %v", c.Name, near(v), err)
	}
	if !bounded {
		return e, nil
	}
	least := &expr{op: "constant", text: low, typ: numberType(low)}
	most := &expr{op: "constant", text: high, typ: numberType(high)}
	return &expr{op: "clamp", from: at, name: c.Name, args: []*expr{e, least, most}, typ: e.typ}, nil
}

func roleWords(role wire.ID) string {
	switch role {
	case agreement.Filter:
		return "in a condition"
	case agreement.Group:
		return "as a group, whose values are shown"
	case agreement.Aggregate:
		return "in an aggregate"
	}
	return "here"
}

func (p *parser) constant(v any) (*expr, error) {
	o, err := members(v, "class", "type", "alias", "query_location", "value")
	if err != nil {
		return nil, shape(v, err)
	}
	value, _ := o["value"].(map[string]any)
	typed, err := members(value["type"], "id", "type_info")
	if err != nil {
		return nil, shape(v, err)
	}
	if value["is_null"] == true && typed.text("id") == "NULL" && len(value) == 2 {
		return &expr{op: "constant", typ: typ{kind: "null"}}, nil
	}
	if _, err := members(map[string]any(value), "type", "is_null", "value"); err != nil {
		return nil, shape(v, err)
	}
	e, err := constantOf(typed, value["value"])
	if err != nil || value["is_null"] != false {
		return nil, refuse("query.expression", "the literal%s is of a kind that does not pass: integers and decimals have at most %d digits, no exponent", near(v), maxLiteral)
	}
	return e, nil
}

func constantOf(typed object, value any) (*expr, error) {
	switch id := typed.text("id"); {
	case id == "VARCHAR" && typed["type_info"] == nil:
		if s, ok := value.(string); ok {
			return &expr{op: "constant", text: s, typ: typ{kind: "text"}}, nil
		}
	case (id == "INTEGER" || id == "BIGINT") && typed["type_info"] == nil:
		return number(value, 0)
	case id == "BOOLEAN" && typed["type_info"] == nil: // of IS TRUE
		if b, ok := value.(bool); ok {
			return &expr{op: "constant", text: strconv.FormatBool(b), typ: typ{kind: "boolean"}}, nil
		}
	case id == "DECIMAL":
		info, err := members(typed["type_info"], "type", "alias", "extension_info", "width", "scale")
		if err != nil {
			return nil, err
		}
		scale, err := strconv.Atoi(fmt.Sprint(info["scale"]))
		if err != nil || scale < 0 || scale > maxLiteral {
			return nil, fmt.Errorf("scale")
		}
		return number(value, scale)
	}
	return nil, fmt.Errorf("unknown literal")
}

func number(value any, scale int) (*expr, error) {
	n, ok := value.(json.Number)
	if !ok {
		return nil, fmt.Errorf("no number")
	}
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		return nil, err
	}
	text := decimalText(strconv.FormatInt(i, 10), scale)
	if len(strings.TrimLeft(string(n), "-")) > maxLiteral {
		return nil, fmt.Errorf("too many digits")
	}
	return &expr{op: "constant", text: text, typ: numberType(text)}, nil
}

func (p *parser) parameter(v any) (*expr, error) {
	o, err := members(v, "class", "type", "alias", "query_location", "identifier")
	if err != nil {
		return nil, shape(v, err)
	}
	for _, d := range p.job.Parameters {
		if d.Name != o.text("identifier") {
			continue
		}
		e := &expr{op: "constant", text: d.Value, typ: typ{kind: d.Type}}
		if d.Type == "choice" {
			e.typ.kind = "text"
		} else if e.typ.numeric() {
			e.typ = numberType(d.Value)
		}
		return e, nil
	}
	return nil, refuse("query.parameter", "$%.70s is not a declared parameter", o.text("identifier"))
}

// cast lets pass what DuckDB makes of true, false, DATE '2026-11-24' and IS TRUE: casts of
// such texts, and of a value to the type it has.
func (p *parser) cast(v any) (*expr, error) {
	o, err := members(v, "class", "type", "alias", "query_location", "child", "cast_type", "try_cast")
	if err != nil {
		return nil, shape(v, err)
	}
	to, err := members(o["cast_type"], "id", "type_info")
	if err != nil {
		return nil, shape(v, err)
	}
	child, err := p.row(o["child"])
	if err != nil {
		return nil, err
	}
	if o["try_cast"] == false && to["type_info"] == nil && child.has(to.text("id")) {
		return child, nil
	}
	if child.op == "constant" && child.typ.kind == "text" && o["try_cast"] == false && to["type_info"] == nil {
		switch boolean := map[string]string{"t": "true", "f": "false", "true": "true", "false": "false"}[child.text]; {
		case to.text("id") == "BOOLEAN" && boolean != "":
			return &expr{op: "constant", text: boolean, typ: typ{kind: "boolean"}}, nil
		case to.text("id") == "DATE" && isDate(child.text):
			return &expr{op: "constant", text: child.text, typ: typ{kind: "date"}}, nil
		}
	}
	return nil, refuse("query.cast", "the cast%s does not pass: columns and parameters have their declared types, and only DATE 'YYYY-MM-DD' is a cast that can't fail: leave it out, integers and decimals mix", near(v))
}

// has reports whether an expression has a type of DuckDB's already.
func (e *expr) has(id string) bool {
	switch e.typ.kind {
	case "boolean", "date":
		return id == strings.ToUpper(e.typ.kind)
	case "text":
		return id == "VARCHAR"
	case "integer":
		return id == "BIGINT" && (e.op == "column" || e.op == "constant")
	}
	return false
}

func isDate(text string) bool {
	t, err := time.Parse(time.DateOnly, text)
	return err == nil && t.Format(time.DateOnly) == text && t.Year() >= 1
}
