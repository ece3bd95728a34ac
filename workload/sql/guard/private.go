package guard

import (
	"math/big"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/privacy"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// private is a query whose inputs are under differential privacy. Its rewritten query takes of
// every unit only so many groups and rows in each, and then sums; [privacy.Plan] adds the noise.
type private struct {
	plan *privacy.Plan
	// groups and args are what is taken of each row, as columns of the limited rows.
	groups, args []*expr
	outputs      []noisy
	// units are the primitives that count each input's units, in the plan's order.
	units []int
	salt  string
}

// noisy is an output with the primitives that it is made of; -1 is none.
type noisy struct {
	output              int // of the query
	count, sum, squares int
	below, above        []int
	scale               int // digits behind the point of the plan's last place
}

// candidates is how many values a quantile may have.
const candidates = 65

// isPrivate reports whether the query's inputs are under differential privacy: all, or none.
func (p *parser) isPrivate() (bool, error) {
	private, plain := wire.ID(""), wire.ID("")
	for _, s := range p.scans {
		for _, name := range s.table.Inputs {
			if p.job.InputByName(name).Rules.Privacy != nil {
				private = name
			} else {
				plain = name
			}
		}
	}
	if private != "" && plain != "" {
		return false, refuse("query.privacy", "%s is under differential privacy and %s is not: an exact threshold on one would tell of the other", private, plain)
	}
	return private != "", nil
}

// privatize plans the noise, and rewrites the query so that its exact numbers are within what
// the noise hides.
func (q *Query) privatize(job *sql.Job) error {
	if err := q.byUnits(); err != nil {
		return err
	}
	v := &private{salt: job.Salt}
	ask := privacy.Query{Known: len(q.groups) == 0}
	for i, s := range q.scans {
		inputs, err := q.limits(job, i, s)
		if err != nil {
			return err
		}
		for _, in := range inputs {
			ask.Mechanism = in.mechanism
			ask.Inputs = append(ask.Inputs, in.Input)
		}
	}
	for _, in := range ask.Inputs {
		if job.InputByName(in.Name).Rules.Privacy.Mechanism != ask.Mechanism {
			return refuse("query.privacy", "inputs of different mechanisms are not asked together")
		}
	}
	for _, s := range q.sources {
		p := primitive{function: "count", distinct: true, arg: limited("u", s.scan, typ{})}
		if !s.alone {
			p.where = boolean("=", limited("o", s.scan, typ{"integer", 3, 0}), integer(s.place))
		}
		v.units = append(v.units, q.primitive(p))
	}
	for i := range q.outputs {
		if q.outputs[i].aggregate == nil {
			continue
		}
		out, err := v.output(q, i)
		if err != nil {
			return err
		}
		ask.Outputs = append(ask.Outputs, out)
	}
	if len(ask.Outputs) == 0 {
		return refuse("query.privacy", "a query that counts nothing: select a count, a sum or a mean")
	}
	var err error
	if v.plan, err = ask.Plan(); err != nil {
		return refuse("query.privacy", "%v", err)
	}
	for i, g := range q.groups {
		v.groups = append(v.groups, limited("g", i, g.typ))
	}
	q.private = v
	return nil
}

// input is one input of a private query.
type input struct {
	privacy.Input
	mechanism wire.ID
}

// limits gives the inputs of a scan with their bounds. Rows of several tables are joined by
// their units, so that a unit's coming or going changes rows of that unit alone. Units of
// several owners in another table have parts of their own: stability counts them, and the rows
// of a LEFT JOIN that lose their partner and stay.
func (q *Query) limits(job *sql.Job, i int, s scan) (inputs []input, err error) {
	stability := int64(1)
	for k, other := range q.scans {
		if k != i {
			stability *= int64(len(TableOwners(job, other.table)))
		}
	}
	if s.nullable {
		stability *= 2
	}
	owners := map[wire.ID]bool{}
	for _, name := range s.table.Inputs {
		in := job.InputByName(name)
		p := in.Rules.Privacy
		if owners[in.Owner] {
			return nil, refuse("query.privacy", "two inputs of %s in table %s: under differential privacy an owner brings one", in.Owner, s.table.Name)
		}
		owners[in.Owner] = true
		for k, before := range q.scans {
			if k < i && slices.Contains(before.table.Inputs, name) {
				return nil, refuse("query.privacy", "%s twice in FROM: under differential privacy rows are not joined with themselves", name)
			}
		}
		epsilon := job.Epsilon
		if epsilon == "" && job.CheckOnly {
			epsilon = p.Run
		}
		cost, err := p.Cost(epsilon)
		if err != nil {
			return nil, refuse("query.privacy", "%v", err)
		}
		groups, rows := q.most(job, in)
		inputs = append(inputs, input{privacy.Input{Name: name, Table: wire.ID("t" + strconv.Itoa(i)), MaxGroups: groups, MaxRows: rows,
			Stability: stability, MinGroup: in.Rules.MinGroup, Cost: cost}, p.Mechanism})
	}
	return inputs, nil
}

// most gives in how many groups a unit of an input counts, and with how many rows in each: where
// tables are joined, what the strictest of all inputs says.
func (q *Query) most(job *sql.Job, in *sql.Input) (groups, rows int64) {
	groups, rows = in.Rules.Privacy.MaxGroups, in.Rules.Privacy.MaxRows
	if len(q.scans) == 1 {
		return groups, rows
	}
	for _, s := range q.scans {
		for _, name := range s.table.Inputs {
			p := job.InputByName(name).Rules.Privacy
			groups, rows = min(groups, p.MaxGroups), min(rows, p.MaxRows)
		}
	}
	return groups, rows
}

// byUnits refuses joins of private tables by anything but their units.
func (q *Query) byUnits() error {
	for i, j := range q.joins {
		unit := q.unit(i + 1)
		if !slices.ContainsFunc(j.pairs, func(p pair) bool {
			return p.joined.name == unit.name && p.before.name == q.unit(p.before.from).name && !q.scans[p.before.from].nullable
		}) {
			return refuse("query.privacy", "%s is not joined by its units with those of a table before: under differential privacy no other join bounds what one person changes", q.scans[i+1].alias)
		}
	}
	return nil
}

// limited makes an expression of a column of the limited rows: o for an owner, u for a unit, g
// for a group, a for an argument.
func limited(kind string, i int, t typ) *expr {
	return &expr{op: "column", name: "__" + kind + strconv.Itoa(i), typ: t}
}

// argument gives the column of an expression that an output is made of.
func (v *private) argument(e *expr) *expr {
	i := slices.IndexFunc(v.args, func(have *expr) bool { return have.key() == e.key() })
	if i < 0 {
		v.args = append(v.args, e)
		i = len(v.args) - 1
	}
	return limited("a", i, e.typ)
}

// output plans one output and the primitives that it is made of.
func (v *private) output(q *Query, i int) (privacy.Output, error) {
	o := q.outputs[i]
	a := o.aggregate
	out := privacy.Output{Column: o.name}
	n := noisy{output: i, count: -1, sum: -1, squares: -1}
	if a.unit {
		unit := limited("u", a.arg.from, typ{})
		out.Kind, out.Table = privacy.Rows, ""
		if a.distinct {
			out.Kind, out.Table = privacy.Units, wire.ID("t"+strconv.Itoa(a.arg.from))
		}
		n.count = q.primitive(primitive{function: "count", distinct: a.distinct, arg: unit})
		v.outputs = append(v.outputs, n)
		return out, nil
	}
	if a.arg == nil {
		out.Kind, n.count = privacy.Rows, q.primitive(primitive{function: "count_star"})
		v.outputs = append(v.outputs, n)
		return out, nil
	}
	arg := v.argument(a.arg)
	n.count, n.scale = q.primitive(primitive{function: "count", arg: arg}), a.arg.typ.scale
	if a.function == "count" {
		out.Kind, n.scale = privacy.Rows, 0
		v.outputs = append(v.outputs, n)
		return out, nil
	}
	var ok bool
	if out.Min, out.Max, ok = bounds(a.arg, a.arg.typ.scale); !ok {
		return out, refuse("query.bounds", "%s aggregates values without bounds: under differential privacy the rules of a column give it min and max", o.name)
	}
	switch a.function {
	case "sum":
		out.Kind = privacy.Sum
	case "avg":
		out.Kind = privacy.Mean
	case "var_pop":
		out.Kind = privacy.Variance
		if err := n.square(q, arg, out, o.name); err != nil {
			return out, err
		}
	case "quantile":
		out.Kind, out.Of, out.In, out.Candidates = privacy.Quantile, a.of, a.in, candidates
		for _, point := range out.Points() {
			c := lastPlaces(point, a.arg.typ.scale)
			n.below = append(n.below, q.primitive(primitive{function: "count", arg: arg, where: boolean("<", arg, c)}))
			n.above = append(n.above, q.primitive(primitive{function: "count", arg: arg, where: boolean(">", arg, c)}))
		}
	}
	if out.Kind != privacy.Quantile {
		n.sum = q.primitive(primitive{function: "sum", arg: arg})
	}
	v.outputs = append(v.outputs, n)
	return out, nil
}

// square plans the sum of squares of a variance.
func (n *noisy) square(q *Query, arg *expr, out privacy.Output, name string) error {
	most := max(len(new(big.Int).Abs(out.Min).String()), len(new(big.Int).Abs(out.Max).String()))
	if 2*most > maxSummed {
		return refuse("query.overflow", "%s of values of up to %d digits, whose squares can't be added without overflow: narrow the column's bounds", name, most)
	}
	whole := arg.typ.whole + arg.typ.scale
	square := &expr{op: "*", args: []*expr{arg, arg}, typ: typ{"decimal", min(maxDigits, 2*whole) - 2*arg.typ.scale, 2 * arg.typ.scale}}
	n.squares = q.primitive(primitive{function: "sum", arg: square})
	return nil
}

// lastPlaces makes a constant of a whole number of last places.
func lastPlaces(n *big.Int, scale int) *expr {
	text := decimalText(n.String(), scale)
	return &expr{op: "constant", text: text, typ: numberType(text)}
}

// bounds gives what an expression's values lie between, in the last place of a scale; ok tells
// whether there are bounds.
func bounds(e *expr, scale int) (low, high *big.Int, ok bool) {
	switch e.op {
	case "constant":
		if !e.typ.numeric() {
			return nil, nil, false
		}
		n := unscaled(e.text, e.typ.scale, scale)
		return n, n, true
	case "clamp":
		return unscaled(e.args[1].text, e.args[1].typ.scale, scale), unscaled(e.args[2].text, e.args[2].typ.scale, scale), true
	case "case":
		for _, value := range caseValues(e) {
			if value.op == "constant" && value.typ.kind == "null" {
				continue
			}
			l, h, bounded := bounds(value, scale)
			if !bounded {
				return nil, nil, false
			}
			if low == nil || l.Cmp(low) < 0 {
				low = l
			}
			if high == nil || h.Cmp(high) > 0 {
				high = h
			}
		}
		return low, high, low != nil
	case "+", "-", "*":
		return arithmeticBounds(e, scale)
	}
	return nil, nil, false
}

func arithmeticBounds(e *expr, scale int) (low, high *big.Int, ok bool) {
	// Products keep all their digits: each side in its own scale, the result brought to ours.
	sides := make([][2]*big.Int, len(e.args))
	own := scale
	for i, a := range e.args {
		if e.op == "*" {
			own = a.typ.scale
		}
		l, h, bounded := bounds(a, own)
		if !bounded {
			return nil, nil, false
		}
		sides[i] = [2]*big.Int{l, h}
	}
	if len(sides) == 1 { // a negation
		return new(big.Int).Neg(sides[0][1]), new(big.Int).Neg(sides[0][0]), true
	}
	var all []*big.Int
	for _, x := range sides[0] {
		for _, y := range sides[1] {
			switch e.op {
			case "+":
				all = append(all, new(big.Int).Add(x, y))
			case "-":
				all = append(all, new(big.Int).Sub(x, y))
			case "*":
				n := new(big.Int).Mul(x, y)
				all = append(all, rescaled(n, e.args[0].typ.scale+e.args[1].typ.scale, scale))
			}
		}
	}
	return slices.MinFunc(all, (*big.Int).Cmp), slices.MaxFunc(all, (*big.Int).Cmp), true
}

// unscaled reads a number's canonical text in the last place of a scale that is not smaller.
func unscaled(text string, has, scale int) *big.Int {
	n, _ := new(big.Int).SetString(strings.Replace(text, ".", "", 1), 10)
	if n == nil {
		n = new(big.Int)
	}
	return rescaled(n, has, scale)
}

func rescaled(n *big.Int, has, scale int) *big.Int {
	return new(big.Int).Mul(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(0, scale-has))), nil))
}

// values gives the exact numbers of a row as the plan takes them.
func (v *private) values(aggregates []any) (units []int64, values []privacy.Value, err error) {
	count := func(i int) (n int64) {
		var c Number
		if err == nil {
			if c, err = countOf(aggregates[i]); err == nil && !c.Unscaled.IsInt64() {
				err = fail("engine", "a count that is none")
			}
		}
		if err == nil {
			n = c.Unscaled.Int64()
		}
		return n
	}
	sum := func(i, scale int) *big.Int {
		n, isNumber := aggregates[i].(Number)
		if !isNumber { // the sum of nothing
			return new(big.Int)
		}
		return rescaled(n.Unscaled, n.Scale, scale)
	}
	for _, i := range v.units {
		units = append(units, count(i))
	}
	for _, o := range v.outputs {
		value := privacy.Value{Count: count(o.count)}
		if o.sum >= 0 {
			value.Sum = sum(o.sum, o.scale)
		}
		if o.squares >= 0 {
			value.Squares = sum(o.squares, 2*o.scale)
		}
		for i := range o.below {
			value.Below, value.Above = append(value.Below, count(o.below[i])), append(value.Above, count(o.above[i]))
		}
		values = append(values, value)
	}
	return units, values, err
}

// addPrivate takes one row of exact numbers, and keeps what noise leaves of it.
func (c *Collector) addPrivate(groups, aggregates []any) error {
	q := c.q
	units, values, err := q.private.values(aggregates)
	if err != nil {
		return err
	}
	var key []*string
	for _, g := range groups {
		text, err := render(g)
		if err != nil {
			return err
		}
		key = append(key, text)
	}
	answer, err := q.private.plan.Release(c.noise, privacy.Cell{Key: privacy.CellKey(key), Units: units, Values: values})
	if err != nil {
		return fail("engine", "numbers that the bounds of the query leave of no data")
	}
	if answer == nil {
		return nil // it does not show, and nobody learns that it is there
	}
	r := row{groups: groups, values: make([]any, len(q.outputs))}
	for i, o := range q.outputs {
		if o.group >= 0 {
			r.values[i] = groups[o.group]
		}
	}
	for i, n := range q.private.outputs {
		r.values[n.output] = n.shown(answer[i], q.outputs[n.output])
	}
	if err := r.finish(q); err != nil {
		return err
	}
	return c.chosen(r)
}

// shown gives a noisy number as its output's type has it, rounded once.
func (n noisy) shown(x *big.Rat, o output) Number {
	scale := n.scale
	if n.squares >= 0 {
		scale *= 2
	}
	place := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)
	return quotient(Number{Unscaled: x.Num()}, place.Mul(place, x.Denom()), o.typ.scale)
}

// Expect says how far the answers of a private query will be off for groups of so many rows,
// and which groups don't show; nothing of the data. Another query has no noise.
func (q *Query) Expect(rows int64) ([]privacy.Expected, []privacy.Hidden) {
	if q.private == nil {
		return nil, nil
	}
	return q.private.plan.Expect(rows), q.private.plan.Hides()
}

// limit is how many groups or rows units have, as an expression: one for all, or by owner.
func (v *private) limit(q *Query, job *sql.Job, of func(groups, rows int64) int64) *expr {
	s := q.scans[0]
	owners := TableOwners(job, s.table)
	var args []*expr
	for place, id := range owners {
		for _, name := range s.table.Inputs {
			if in := job.InputByName(name); in.Owner == id {
				args = append(args, boolean("=", limited("o", 0, typ{"integer", 3, 0}), integer(place)), integer(int(of(q.most(job, in)))))
			}
		}
	}
	if len(owners) == 1 || len(q.scans) > 1 {
		return args[1]
	}
	return &expr{op: "case", args: append(args, integer(0)), typ: typ{"integer", 7, 0}}
}
