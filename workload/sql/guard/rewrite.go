package guard

import (
	"fmt"
	"slices"
	"strconv"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// Names inside the rewritten query. A name of the agreement never starts with "_".
const (
	// OwnerColumn is the column of a table that holds its rows' owner: the owner's place
	// among the table's owners, from 0.
	OwnerColumn = "__owner"
)

// rowsAlias names a scan.
func rowsAlias(scan int) string {
	if scan == 0 {
		return "__t"
	}
	return "__t" + strconv.Itoa(scan)
}

// source is one owner's rows in one scan, with how their units are counted: by rows where
// the query reads nothing else and the owner brings a single input whose units are unique,
// else distinct; minGroup is the largest that its inputs ask for.
type source struct {
	scan     int
	place    int // of the owner among the table's
	alone    bool
	id       wire.ID
	rows     bool
	minGroup int64
}

// TableOwners gives the owners of a table's inputs, each once, in the order of the inputs:
// an owner's place is the value of [OwnerColumn] in its rows.
func TableOwners(job *sql.Job, table *sql.Table) []wire.ID {
	var out []wire.ID
	for _, name := range table.Inputs {
		if id := job.InputByName(name).Owner; !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// primitive is one aggregate of the rewritten query: function(arg) over the rows where the
// condition holds.
type primitive struct {
	function string // count_star, count, sum
	distinct bool
	arg      *expr // nil for count_star
	where    *expr // or nil
}

func (p primitive) key() string {
	key := fmt.Sprintf("%s %v", p.function, p.distinct)
	for _, e := range []*expr{p.arg, p.where} {
		key += "|"
		if e != nil {
			key += e.key()
		}
	}
	return key
}

// check is one set of people that a row shows something of.
type check struct {
	// condition is what makes the set, besides the row's groups; nil for the row's own people.
	condition *expr
	// counts has, for each source, the primitive that counts its units in the set.
	counts []int
	// some: an owner with people in the row must have enough of them in the set as well, so
	// that nobody can't be told from too few. Else the set may also be empty.
	some bool
	// unless has, for each source, the primitive that counts those who make the set one that
	// need not be enough: where there are any, it is not looked at. Nil is nobody.
	unless []int
	// apart names the column whose sum the set is shown by alone: how many are in it is not. lacks
	// is set of those who have no value in such a column.
	apart string
	lacks bool
}

// rewrite plans the rewritten query: what its aggregates are, and which of them count whom.
func (q *Query) rewrite(job *sql.Job, private bool) error {
	for i, s := range q.scans {
		q.sources = append(q.sources, sourcesOf(job, i, s, len(q.scans) == 1)...)
	}
	if private {
		if err := q.privatize(job); err != nil {
			return err
		}
		q.limited = q.limitedRows(job)
		return nil
	}
	q.count(nil, false) // the row's own people come first
	for i := range q.outputs {
		if q.outputs[i].aggregate != nil {
			q.compute(&q.outputs[i])
		}
	}
	if audited(job, q) {
		q.countEach()
	} else if err := q.countParts(); err != nil {
		return err
	}
	if len(q.primitives) > maxPrimitives {
		return refuse("query.size", "%d counts for %d owners' rows, at most %d: select fewer aggregates", len(q.primitives), len(q.sources), maxPrimitives)
	}
	return nil
}

// sourcesOf gives the sources of a scan; only tells that there is no other scan.
func sourcesOf(job *sql.Job, i int, s scan, only bool) (sources []source) {
	owners := TableOwners(job, s.table)
	for place, id := range owners {
		one := source{scan: i, place: place, alone: len(owners) == 1, id: id, rows: only, minGroup: 1}
		inputs := 0
		for _, name := range s.table.Inputs {
			if in := job.InputByName(name); in.Owner == id {
				inputs++
				one.rows = one.rows && inputs == 1 && in.UniqueUnit
				one.minGroup = max(one.minGroup, in.Rules.MinGroup)
			}
		}
		sources = append(sources, one)
	}
	return sources
}

// compute plans an output's aggregate.
func (q *Query) compute(o *output) {
	a := o.aggregate
	switch {
	case a.arg == nil:
		o.value = q.primitive(primitive{function: "count_star"})
	case a.function == "avg":
		o.value = q.primitive(primitive{function: "sum", arg: a.arg})
		o.count = q.primitive(primitive{function: "count", arg: a.arg})
	default:
		o.value = q.primitive(primitive{function: a.function, distinct: a.distinct, arg: a.arg})
	}
}

// countParts plans the counting of the people in the parts of a row that its aggregates
// show, alone or by their differences: every branch of the CASE, if there is one, and in
// each of them, for every column an aggregate takes, those with a value and those without.
func (q *Query) countParts() error {
	branches, columns, summed, err := q.parts()
	if err != nil {
		return err
	}
	if (len(branches)+1)*(4*len(columns)+1)*len(q.sources) > 4*maxPrimitives {
		return refuse("query.size", "%d branches of CASE over %d columns: select fewer", len(branches), len(columns))
	}
	if len(branches) == 0 {
		branches = []*expr{nil}
	}
	matched := q.matched()
	for _, branch := range branches {
		if branch != nil {
			q.count(branch, true)
		}
		for _, column := range matched {
			q.countValues(branch, column, false)
		}
		for _, column := range columns {
			q.countValues(branch, column, summed[column.key()])
		}
	}
	return nil
}

// audited reports whether every input that the query reads is audited: then differences of sets
// are the audit's to look at.
func audited(job *sql.Job, q *Query) bool {
	for _, s := range q.scans {
		for _, name := range s.table.Inputs {
			if job.InputByName(name).Rules.Differences != agreement.Audited {
				return false
			}
		}
	}
	return true
}

// countEach plans the counting of the people in the parts that each aggregate shows by itself:
// on every branch of its CASE, those with a value and those without.
func (q *Query) countEach() {
	for _, column := range q.matched() {
		q.countValues(nil, column, false)
	}
	for _, o := range q.outputs {
		a := o.aggregate
		if a == nil || a.arg == nil || a.unit {
			continue
		}
		values, branches := []*expr{a.arg}, []*expr{nil}
		if a.arg.op == "case" {
			values, branches = caseValues(a.arg), nil
			for i := range values {
				branches = append(branches, onBranch(a.arg, i))
			}
		}
		for i, v := range values {
			if branches[i] != nil {
				q.count(branches[i], true)
			}
			for _, c := range v.columns(nil) {
				q.countValues(branches[i], c, a.function != "count")
			}
		}
	}
}

// countValues adds the checks of those on a branch who have a value in a column, and of those
// who have none; of a sum, values other than 0 count.
func (q *Query) countValues(branch, column *expr, summed bool) {
	with := boolean("is not null", column)
	if summed {
		with = boolean("<>", column, integer(0)) // true of no NULL
	}
	q.count(and(branch, with), true)
	sum := summed && column.typ.scale > 0
	if sum {
		q.checks[len(q.checks)-1].apart = column.name
	}
	q.count(and(branch, boolean("is null", column)), false)
	q.checks[len(q.checks)-1].lacks = sum
	if summed && column.typ.scale == 0 {
		q.countFlag(branch, column)
	}
}

// parts gives the conditions of the branches of the one CASE, none if no aggregate has one;
// the columns that aggregates take; and which of those are summed.
func (q *Query) parts() (branches, columns []*expr, summed map[string]bool, err error) {
	summed = map[string]bool{}
	for _, o := range q.outputs {
		if o.aggregate == nil || o.aggregate.arg == nil || o.aggregate.unit {
			continue // see matched
		}
		values := []*expr{o.aggregate.arg}
		if o.aggregate.arg.op == "case" {
			values = caseValues(o.aggregate.arg)
			var here []*expr
			for i := range values {
				here = append(here, onBranch(o.aggregate.arg, i))
			}
			if branches == nil {
				branches = here
			}
			if !slices.EqualFunc(branches, here, func(a, b *expr) bool { return a.key() == b.key() }) {
				return nil, nil, nil, refuse("query.aggregate", "the CASEs of %s and of an aggregate before it have different conditions: their difference would be people that nobody counts", o.name)
			}
		}
		for _, v := range values {
			for _, c := range v.columns(nil) {
				if !slices.ContainsFunc(columns, func(have *expr) bool { return have.key() == c.key() }) {
					columns = append(columns, c)
				}
				summed[c.key()] = summed[c.key()] || o.aggregate.function != "count"
			}
		}
	}
	return branches, columns, summed, nil
}

// matched gives, for every scan whose units are counted although a row may have none of it,
// the column that tells whether it has: LEFT JOIN then shows how many have a partner. In all
// other scans every row has a unit, so that the row's own people are those counted.
func (q *Query) matched() (columns []*expr) {
	for i, s := range q.scans {
		counted := func(o output) bool { return o.aggregate != nil && o.aggregate.unit && o.aggregate.arg.from == i }
		if s.nullable && slices.ContainsFunc(q.outputs, counted) {
			columns = append(columns, ownerOf(i))
		}
	}
	return columns
}

func ownerOf(scan int) *expr {
	return &expr{op: "column", from: scan, name: OwnerColumn, typ: typ{"integer", 3, 0}}
}

func boolean(op string, args ...*expr) *expr {
	return &expr{op: op, args: args, typ: typ{kind: "boolean"}}
}

// onBranch is the condition that a row takes the branch of a CASE, counted from 0.
func onBranch(e *expr, branch int) *expr {
	which := &expr{op: "case", typ: typ{"integer", 3, 0}}
	for i := 0; i+1 < len(e.args); i += 2 {
		which.args = append(which.args, e.args[i], integer(i/2))
	}
	which.args = append(which.args, integer(len(e.args)/2))
	return boolean("=", which, integer(branch))
}

func integer(n int) *expr {
	return &expr{op: "constant", text: strconv.Itoa(n), typ: numberType(strconv.Itoa(n))}
}

// countFlag adds the check of those with a zero in a column that is summed: where all others
// have a one, the sum counts the zeros as well as the ones.
func (q *Query) countFlag(branch, column *expr) {
	q.count(and(branch, boolean("=", column, integer(0))), true)
	q.checks[len(q.checks)-1].unless = q.counts(and(branch, boolean("not in", column, integer(0), integer(1))), true)
}

// count adds the check that counts each owner's units among the rows where the condition,
// unless nil, holds.
func (q *Query) count(condition *expr, some bool) {
	q.checks = append(q.checks, check{condition: condition, counts: q.counts(condition, false), some: some})
}

// counts gives, for each source, the primitive that counts its units where the condition
// holds, or its rows where it does not matter whose they are.
func (q *Query) counts(condition *expr, rows bool) (out []int) {
	for _, s := range q.sources {
		where := condition
		if !s.alone {
			where = and(boolean("=", ownerOf(s.scan), integer(s.place)), where)
		}
		p := primitive{function: "count_star", where: where}
		if rows && s.alone && q.scans[s.scan].nullable {
			p = primitive{function: "count", arg: q.unit(s.scan), where: where}
		}
		if !s.rows && !rows {
			p = primitive{function: "count", distinct: true, arg: q.unit(s.scan), where: where}
		}
		out = append(out, q.primitive(p))
	}
	return out
}

func and(a, b *expr) *expr {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return boolean("and", a, b)
}

func (q *Query) unit(scan int) *expr {
	for _, c := range q.scans[scan].schema {
		if c.Unit {
			return &expr{op: "column", from: scan, name: c.Name, typ: columnType(c)}
		}
	}
	return nil // a valid job has a unit column in every schema
}

// primitive gives the place of a primitive, adding it if it is new.
func (q *Query) primitive(p primitive) int {
	for i := range q.primitives {
		if q.primitives[i].key() == p.key() {
			return i
		}
	}
	q.primitives = append(q.primitives, p)
	return len(q.primitives) - 1
}
