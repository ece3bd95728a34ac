package guard

import (
	"math/big"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/workload/sql"
)

// HAVING and LIMIT choose among the rows that are shown anyway, by what they show: the
// engine never sees them, so they tell nothing of a row that is withheld.

// having is one comparison of an output, as it is shown, with a number.
type having struct {
	output int
	op     string
	bound  Number
}

// havings reads HAVING: comparisons of outputs with numbers, joined by AND.
func (p *parser) havings(q *Query, v any) error {
	if v == nil {
		return nil
	}
	switch class, kind := class(v); {
	case class == "CONJUNCTION" && kind == "CONJUNCTION_AND":
		o, err := members(v, "class", "type", "alias", "query_location", "children")
		if err != nil {
			return shape(v, err)
		}
		for _, child := range o.list("children") {
			if err := p.havings(q, child); err != nil {
				return err
			}
		}
		return nil
	case class == "BETWEEN" && kind == "COMPARE_BETWEEN":
		o, err := members(v, "class", "type", "alias", "query_location", "input", "lower", "upper")
		if err != nil {
			return shape(v, err)
		}
		if err := p.having(q, o["input"], ">=", o["lower"]); err != nil {
			return err
		}
		return p.having(q, o["input"], "<=", o["upper"])
	case class == "COMPARISON" && comparisonOf(kind) != "":
		o, err := members(v, "class", "type", "alias", "query_location", "left", "right")
		if err != nil {
			return shape(v, err)
		}
		return p.having(q, o["left"], comparisonOf(kind), o["right"])
	}
	return refuse("query.clause", "HAVING%s takes comparisons of an output with a number, joined by AND; conditions on single rows belong into WHERE", near(v))
}

func (p *parser) having(q *Query, left any, op string, right any) error {
	if p.isColumn(bareName(left)) {
		return refuse("query.clause", "HAVING%s on a column: put it into WHERE", near(left))
	}
	i := p.outputOf(q, left)
	if i < 0 || q.outputs[i].aggregate == nil && q.outputs[i].formula == nil {
		return refuse("query.clause", "HAVING%s on something that is not an aggregate that is selected: select it, so that its people are counted", near(left))
	}
	e, err := p.row(right)
	if err != nil {
		return err
	}
	if e.op != "constant" || !e.typ.numeric() {
		return refuse("query.clause", "HAVING%s compares with something other than a number or a parameter that is one", near(right))
	}
	unscaled, ok := new(big.Int).SetString(strings.Replace(e.text, ".", "", 1), 10)
	if !ok {
		return shape(right, errUnknown)
	}
	q.having = append(q.having, having{i, op, Number{unscaled, e.typ.scale}})
	return nil
}

// holds reports whether a row's values pass; what is compared with NULL does not.
func (h having) holds(values []any) bool {
	n, ok := values[h.output].(Number)
	if !ok {
		return false
	}
	switch c := compareNumbers(n, h.bound); h.op {
	case "=":
		return c == 0
	case "<>":
		return c != 0
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	}
	return false
}

func compareNumbers(a, b Number) int {
	scale := max(a.Scale, b.Scale)
	return quotient(a, big.NewInt(1), scale).Unscaled.Cmp(quotient(b, big.NewInt(1), scale).Unscaled)
}

// limits reads LIMIT, which may stand behind ORDER BY.
func (p *parser) limits(q *Query, v any) error {
	o, err := members(v, "type", "limit", "offset")
	if err != nil {
		return refuse("query.clause", "LIMIT: %v", err)
	}
	if o["offset"] != nil {
		return refuse("query.clause", "OFFSET does not pass: a result is whole or begins at its first row")
	}
	e, err := p.row(o["limit"])
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(e.text, 10, 64)
	if err != nil || e.op != "constant" || e.typ.kind != "integer" || n < 1 || n > p.job.MaxRows {
		return refuse("query.clause", "LIMIT%s takes a number of rows, from 1 to the output's maximum of %d", near(o["limit"]), p.job.MaxRows)
	}
	q.limit = n
	return nil
}

// trimAt is how many rows more than twice its LIMIT a collector keeps before it drops those
// that can't be shown any more.
const trimAt = 1024

// trim drops the rows behind the LIMIT, so that a query for the first of many keeps few.
func (c *Collector) trim() {
	slices.SortFunc(c.rows, c.q.before)
	c.rows = c.rows[:min(len(c.rows), int(c.q.limit))]
}

// before is the canonical order of rows.
func (q *Query) before(a, b row) int {
	for _, key := range q.order {
		if n := compare(a.values[key.output], b.values[key.output], key.descending, key.nullsFirst); n != 0 {
			return n
		}
	}
	for i := range a.groups {
		if n := compare(a.groups[i], b.groups[i], false, false); n != 0 {
			return n
		}
	}
	return 0
}

// Rows gives what is shown, in canonical order: by ORDER BY, then by every group, ascending,
// NULL last; of a query with LIMIT, the first of it. Rows of a query over rows are in the
// order in which they came. Groups differ, so the order is total.
// The error is a *sql.Failure: with a LIMIT only the rows within count against the job's
// bytes.
func (c *Collector) Rows() ([][]*string, error) {
	if c.q.free == nil {
		slices.SortFunc(c.rows, c.q.before)
	}
	if c.q.limit > 0 {
		c.trim()
	}
	out := make([][]*string, len(c.rows))
	bytes := int64(0)
	for i, r := range c.rows {
		out[i] = r.cells
		bytes += int64(r.size + len(r.cells))
	}
	if bytes > c.job.MaxBytes {
		return nil, fail("output.bytes", "more than %d bytes, or a row of more than %d", c.job.MaxBytes, sql.MaxRow)
	}
	return out, nil
}
