package guard

import (
	"fmt"
	"slices"
	"strconv"

	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// Names inside the rewritten query. A name of the agreement never starts with "_".
const (
	// OwnerColumn is the column of a table that holds its rows' owner: the owner's place
	// among the table's owners, from 0.
	OwnerColumn = "__owner"
	rowsAlias   = "__t"
)

// owner is one owner of the table's rows, with how its units are counted: by rows where it
// brings a single input whose units are unique, else distinct.
type owner struct {
	id   wire.ID
	rows bool
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

// check is one set of people that a row shows something of: for each owner of the table,
// the primitive that counts that owner's units in it. A row is withheld if one of these
// counts is neither 0 nor at least the minimum group.
type check []int

// rewrite plans the rewritten query: what its aggregates are, and which of them count whom.
func (q *Query) rewrite(job *sql.Job) error {
	for _, id := range TableOwners(job, q.table) {
		var inputs []*sql.Input
		for _, name := range q.table.Inputs {
			if in := job.InputByName(name); in.Owner == id {
				inputs = append(inputs, in)
			}
		}
		q.owners = append(q.owners, owner{id, len(inputs) == 1 && inputs[0].UniqueUnit})
	}
	q.count(nil, nil) // the row's own people come first
	for i := range q.outputs {
		if q.outputs[i].aggregate != nil {
			q.compute(&q.outputs[i])
		}
	}
	if len(q.primitives) > maxPrimitives {
		return refuse("query.size", "%d counts for %d owners, at most %d: select fewer aggregates", len(q.primitives), len(q.owners), maxPrimitives)
	}
	return nil
}

// compute plans an output's aggregate, and the counting of the people in it: those whose
// value is not NULL, and, for a CASE, those on each of its branches.
func (q *Query) compute(o *output) {
	a := o.aggregate
	switch {
	case a.arg == nil:
		o.value = q.primitive(primitive{function: "count_star"})
		return
	case a.function == "avg":
		o.value = q.primitive(primitive{function: "sum", arg: a.arg})
		o.count = q.primitive(primitive{function: "count", arg: a.arg})
	default:
		o.value = q.primitive(primitive{function: a.function, distinct: a.distinct, arg: a.arg})
	}
	if a.unit {
		return // every row has a unit, so the row's own people are those counted
	}
	if nullable(a.arg) {
		q.count(a.arg, nil)
	}
	if a.arg.op == "case" {
		for branch, value := range caseValues(a.arg) {
			q.count(nil, onBranch(a.arg, branch))
			// Of the people on a branch, those without a value add nothing: count the others.
			if value.op != "constant" && nullable(value) {
				q.count(value, onBranch(a.arg, branch))
			}
		}
	}
}

// onBranch is the condition that a row takes the branch of a CASE, counted from 0.
func onBranch(e *expr, branch int) *expr {
	which := &expr{op: "case", typ: typ{"integer", 3, 0}}
	for i := 0; i+1 < len(e.args); i += 2 {
		which.args = append(which.args, e.args[i], integer(i/2))
	}
	which.args = append(which.args, integer(len(e.args)/2))
	return &expr{op: "=", args: []*expr{which, integer(branch)}, typ: typ{kind: "boolean"}}
}

func integer(n int) *expr {
	return &expr{op: "constant", text: strconv.Itoa(n), typ: numberType(strconv.Itoa(n))}
}

// count adds the check that counts each owner's units among the rows where value (unless
// nil) is not NULL and condition (unless nil) holds.
func (q *Query) count(value, condition *expr) {
	var c check
	for i, o := range q.owners {
		where := condition
		if len(q.owners) > 1 {
			where = and(&expr{op: "=", args: []*expr{{op: "column", name: OwnerColumn}, integer(i)}, typ: typ{kind: "boolean"}}, where)
		}
		switch {
		case o.rows && value == nil:
			c = append(c, q.primitive(primitive{function: "count_star", where: where}))
		case o.rows:
			c = append(c, q.primitive(primitive{function: "count", arg: value, where: where}))
		default:
			if value != nil {
				where = and(where, &expr{op: "is not null", args: []*expr{value}, typ: typ{kind: "boolean"}})
			}
			c = append(c, q.primitive(primitive{function: "count", distinct: true, arg: q.unit(), where: where}))
		}
	}
	if !slices.ContainsFunc(q.checks, func(have check) bool { return slices.Equal(have, c) }) {
		q.checks = append(q.checks, c)
	}
}

func and(a, b *expr) *expr {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return &expr{op: "and", args: []*expr{a, b}, typ: typ{kind: "boolean"}}
}

func (q *Query) unit() *expr {
	for _, c := range q.schema {
		if c.Unit {
			return &expr{op: "column", name: c.Name, typ: columnType(c)}
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
