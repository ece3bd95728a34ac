package guard

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"

	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// Number is an integer, or a decimal as its unscaled value.
type Number struct {
	Unscaled *big.Int
	Scale    int
}

// Collector takes the rows of a rewritten query, one by one and in any order, and keeps
// those that may be shown.
type Collector struct {
	q        *Query
	job      *sql.Job
	rows     []row
	bytes    int64
	withheld map[wire.ID]int64
	// held are rows that wait for an audit; auditing tells that there will be one.
	auditing bool
	held     []row
	noise    [32]byte // of a private query: the run's own
}

// row is a row that is shown: its values, which it is sorted by, and its cells.
type row struct {
	values []any
	groups []any
	cells  []*string
	size   int // of the cells' text
}

// Collect starts collecting the rows of the query for the job it was checked for.
func (q *Query) Collect(job *sql.Job) *Collector {
	c := &Collector{q: q, job: job, withheld: map[wire.ID]int64{}}
	hex.Decode(c.noise[:], []byte(job.Noise)) // a valid job's decodes
	return c
}

// fail makes a failure of the run. Its detail must not depend on data: it goes to all owners.
func fail(code, format string, args ...any) error {
	return &sql.Failure{Phase: sql.Query, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Add takes one row: the groups' values, then the aggregates'. A value is nil, a bool, a
// string, a time.Time (of a date) or a [Number]; Add keeps them. The error is a
// *sql.Failure: more is to be shown than the job allows, or DuckDB gave something that the
// checked plan can't give.
func (c *Collector) Add(values []any) error {
	q := c.q
	if q.free != nil {
		return c.addRow(values)
	}
	if len(values) != len(q.groups)+len(q.primitives) {
		return fail("engine", "a row of %d values", len(values))
	}
	groups, aggregates := values[:len(q.groups)], values[len(q.groups):]
	if q.private != nil {
		return c.addPrivate(groups, aggregates)
	}
	shown, err := c.shown(aggregates)
	if err != nil || !shown {
		return err
	}
	r := row{groups: groups}
	for i := range q.outputs {
		v, err := q.outputs[i].of(groups, aggregates, q.roundTo)
		if err != nil {
			return err
		}
		r.values = append(r.values, v)
	}
	if err := r.finish(q); err != nil {
		return err
	}
	if c.auditing {
		if c.held = append(c.held, r); len(c.held) > maxHeld {
			return fail("output.rows", "more than %d rows before HAVING and LIMIT", maxHeld)
		}
		return nil
	}
	return c.chosen(r)
}

// finish does a row's arithmetic, and renders what is shown of it.
func (r *row) finish(q *Query) error {
	q.formulas(r.values)
	for i, v := range r.values {
		if q.outputs[i].hidden {
			continue
		}
		cell, err := render(v)
		if err != nil {
			return err
		}
		if cell != nil {
			r.size += len(*cell)
		}
		r.cells = append(r.cells, cell)
	}
	return nil
}

// chosen keeps a row that HAVING lets pass.
func (c *Collector) chosen(r row) error {
	for _, h := range c.q.having {
		if !h.holds(r.values) {
			return nil
		}
	}
	return c.keep(r)
}

// maxHeld bounds the rows that wait for an audit.
const maxHeld = 100_000

// Hold makes the collector keep all rows of enough people until [Collector.Audit].
func (c *Collector) Hold() { c.auditing = true }

// Audit lets refused say of every row that is held, in canonical order, by the canonical texts
// of its groups, for whose sake it is not shown; those of nobody's are.
func (c *Collector) Audit(refused func(groups []*string) []wire.ID) error {
	slices.SortFunc(c.held, func(a, b row) int {
		for i := range a.groups {
			if n := compare(a.groups[i], b.groups[i], false, false); n != 0 {
				return n
			}
		}
		return 0
	})
	for _, r := range c.held {
		var key []*string
		for _, v := range r.groups {
			text, err := render(v)
			if err != nil {
				return err
			}
			key = append(key, text)
		}
		owners := refused(key)
		for _, id := range owners {
			c.withheld[id]++
		}
		if len(owners) > 0 {
			continue
		}
		if err := c.chosen(r); err != nil {
			return err
		}
	}
	c.held = nil
	return nil
}

// addRow takes one row of a query over rows, which come in their order.
func (c *Collector) addRow(values []any) error {
	if len(values) != len(c.q.free.columns) {
		return fail("engine", "a row of %d values", len(values))
	}
	var r row
	for i, v := range values {
		if n, ok := v.(Number); ok && int64(n.Scale) != c.q.free.columns[i].Scale {
			return fail("engine", "a number of another scale")
		}
		cell, err := renderDouble(v)
		if err != nil {
			return err
		}
		if cell != nil {
			r.size += len(*cell)
		}
		r.cells = append(r.cells, cell)
	}
	return c.keep(r)
}

// keep adds a row that is shown. What is behind a LIMIT is never too much.
func (c *Collector) keep(r row) error {
	c.bytes += int64(r.size + len(r.cells))
	unlimited := c.q.limit == 0
	if unlimited && len(c.rows) == int(c.job.MaxRows) {
		return fail("output.rows", "more than %d rows", c.job.MaxRows)
	}
	if r.size > sql.MaxRow || unlimited && c.bytes > c.job.MaxBytes {
		return fail("output.bytes", "more than %d bytes, or a row of more than %d", c.job.MaxBytes, sql.MaxRow)
	}
	c.rows = append(c.rows, r)
	if !unlimited && len(c.rows) > 2*int(c.q.limit)+trimAt {
		c.trim()
	}
	return nil
}

// shown applies R18: every owner with people in a row has at least the minimum group there,
// and in each of the row's parts too. A row without any rows behind it, which only a query
// without GROUP BY has, isn't shown either, so that "nobody" can't be told from "too few".
func (c *Collector) shown(aggregates []any) (bool, error) {
	few := map[wire.ID]bool{}
	present := make([]bool, len(c.q.sources))
	for i, check := range c.q.checks {
		for o, primitive := range check.counts {
			n, err := countOf(aggregates[primitive])
			if err != nil {
				return false, err
			}
			if check.unless != nil {
				others, err := countOf(aggregates[check.unless[o]])
				if err != nil {
					return false, err
				}
				if others.Unscaled.Sign() > 0 {
					continue
				}
			}
			none := n.Unscaled.Sign() == 0
			if i == 0 {
				present[o] = !none
			}
			// With a minimum of one nobody is too few, and zero tells nothing.
			source := c.q.sources[o]
			mayBeNone := !check.some || !present[o] || source.minGroup == 1
			if n.Unscaled.Cmp(big.NewInt(source.minGroup)) < 0 && !(none && mayBeNone) {
				few[source.id] = true
			}
		}
	}
	for id := range few {
		c.withheld[id]++
	}
	return slices.Contains(present, true) && len(few) == 0, nil
}

func countOf(v any) (Number, error) {
	n, ok := v.(Number)
	if !ok || n.Scale != 0 || n.Unscaled.Sign() < 0 {
		return Number{}, fail("engine", "a count that is none")
	}
	return n, nil
}

// of gives an output's value in a row.
func (o *output) of(groups, aggregates []any, roundTo int64) (any, error) {
	if o.formula != nil {
		return nil, nil // see formulas
	}
	if o.aggregate == nil {
		return groups[o.group], nil
	}
	value, ok := aggregates[o.value].(Number)
	if !ok {
		if aggregates[o.value] == nil && o.aggregate.function != "count" {
			return nil, nil // the sum or mean of nothing
		}
		return nil, fail("engine", "an aggregate that is no number")
	}
	if o.aggregate.function == "count" && roundTo > 1 {
		return Number{Unscaled: multiple(value.Unscaled, roundTo)}, nil
	}
	divisor := big.NewInt(1)
	if o.aggregate.function == "avg" {
		count, ok := aggregates[o.count].(Number)
		if !ok || count.Unscaled.Sign() <= 0 {
			return nil, fail("engine", "a mean of nothing")
		}
		divisor = count.Unscaled
	}
	return quotient(value, divisor, o.typ.scale), nil
}

// multiple gives the multiple of n that is nearest to a count, the larger of two.
func multiple(count *big.Int, n int64) *big.Int {
	step := big.NewInt(n)
	out := new(big.Int).Add(count, big.NewInt(n/2))
	return out.Mul(out.Quo(out, step), step)
}

// quotient gives value/divisor to scale digits behind the point, halves away from zero,
// rounded once.
func quotient(value Number, divisor *big.Int, scale int) Number {
	ten := big.NewInt(10)
	num, den := new(big.Int).Set(value.Unscaled), new(big.Int).Set(divisor)
	if d := scale - value.Scale; d >= 0 {
		num.Mul(num, new(big.Int).Exp(ten, big.NewInt(int64(d)), nil))
	} else {
		den.Mul(den, new(big.Int).Exp(ten, big.NewInt(int64(-d)), nil))
	}
	// Half away from zero: (2|num| + den) / 2den, with the sign put back.
	sign := num.Sign()
	num.Abs(num)
	num.Add(num.Lsh(num, 1), den)
	num.Quo(num, den.Lsh(den, 1))
	if sign < 0 {
		num.Neg(num)
	}
	return Number{num, scale}
}

// render gives a value's canonical text (spec/sql.md, section 5), nil for NULL.
func render(v any) (*string, error) {
	var text string
	switch t := v.(type) {
	case nil:
		return nil, nil
	case bool:
		text = fmt.Sprint(t)
	case string:
		text = t
	case Number:
		text = decimalText(t.Unscaled.String(), t.Scale)
	case time.Time:
		if t.Year() < 1 || t.Year() > 9999 {
			return nil, fail("output.value", "a date outside the years 1 to 9999")
		}
		text = t.Format(time.DateOnly)
	default:
		return nil, fail("engine", "a value of an unknown kind")
	}
	return &text, nil
}

// renderDouble is render with floating point: what is no number is NULL.
func renderDouble(v any) (*string, error) {
	f, isDouble := v.(float64)
	if !isDouble {
		return render(v)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, nil
	}
	text := sql.DoubleText(f)
	return &text, nil
}

// Withheld gives, for each of the job's owners, how many rows its people kept back.
func (c *Collector) Withheld() []sql.Withheld {
	var out []sql.Withheld
	for _, id := range c.job.Owners() {
		out = append(out, sql.Withheld{Owner: id, Rows: c.withheld[id]})
	}
	return out
}

// compare orders two values of one column: numbers by value, text by its bytes, false
// before true.
func compare(a, b any, descending, nullsFirst bool) int {
	if a == nil || b == nil {
		n := 0
		if a != nil {
			n = -1
		} else if b != nil {
			n = 1
		}
		if nullsFirst {
			n = -n
		}
		return n
	}
	n := 0
	switch x := a.(type) {
	case Number:
		if y, ok := b.(Number); ok {
			n = x.Unscaled.Cmp(y.Unscaled) // one column has one scale
		}
	case string:
		y, _ := b.(string)
		n = strings.Compare(x, y)
	case time.Time:
		y, _ := b.(time.Time)
		n = x.Compare(y)
	case bool:
		y, _ := b.(bool)
		n = cmp.Compare(truth(x), truth(y))
	}
	if descending {
		n = -n
	}
	return n
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
