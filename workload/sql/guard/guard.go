// Package guard decides what a query may ask and what of its answer may be shown
// (spec/sql.md). It is pure: it sees DuckDB's own parse tree and bound plan as JSON, and
// the rows the engine counted.
//
// Three steps, each on the outcome of the one before: [Check] reads the parse tree of the
// agreed query against a short list of what is allowed and gives a [Query]; the parse tree
// of [Query.Rewritten] counts, for every row, each owner's units, and [Query.CheckPlan]
// holds DuckDB's bound plan of it to the tables and columns agreed; a [Collector] takes
// the rows, withholds what shows too few units of an owner (R18), and puts the rest into
// canonical text and order.
//
// It promises that every column, function, operator and clause it lets pass is on a list in
// this package, that no expression it lets pass can fail on a row, and that the unit column
// is only ever counted. It refuses whatever it does not know.
package guard

import (
	"fmt"
	"slices"

	"strongroom.dev/workload/sql"
)

// Query is a query that passed [Check]. Only Check makes one; the zero Query has no
// outputs and lets no plan pass.
type Query struct {
	scans   []scan
	joins   []join // scans[i+1] is joined by joins[i]
	sources []source
	where   *expr
	groups  []*expr
	outputs []output
	order   []orderKey
	having  []having
	limit   int64 // rows shown at most; 0 is all
	roundTo int64 // counts are shown as multiples of it
	// primitives are the aggregates the rewritten query computes behind the groups.
	primitives []primitive
	checks     []check
	// prefix stands before the names of tables, for queries of this package's own.
	prefix string
	// private is what the query has besides where its inputs are under differential privacy; from
	// is then what its sums are taken from.
	private *private
	limited tree
	// free is the query where rows may leave; then nothing else is set but scans.
	free *free
}

// output is one column of the result.
type output struct {
	name string
	typ  typ
	// group is the group expression it shows, or -1 for an aggregate.
	group int
	// The aggregate, and the primitives it is made of: its value, and for a mean the count.
	aggregate    *aggregate
	value, count int
	// formula is arithmetic on other outputs, instead of an aggregate; hidden outputs are those
	// that stand in formulas alone.
	formula *formula
	hidden  bool
	// round is how many digits after the point are shown, or -1 for the type's own.
	round int
}

// orderKey is one ORDER BY item: an output by its index.
type orderKey struct {
	output                 int
	descending, nullsFirst bool
}

// aggregate is an aggregate call of the agreed query.
type aggregate struct {
	function string // count, sum, avg; of private inputs var_pop and quantile
	of, in   int64  // of a quantile: the value that of/in of all are below
	distinct bool
	// arg is nil for count(*) and for the count of a constant.
	arg *expr
	// unit: arg is the unit column, which stands nowhere else.
	unit bool
}

// refuse makes a failed check. Nothing in it depends on data.
func refuse(code, format string, args ...any) error {
	return &sql.Failure{Phase: sql.Check, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Columns gives the result's columns.
func (q *Query) Columns() []sql.Column {
	if q.free != nil {
		return q.free.columns
	}
	var out []sql.Column
	for _, o := range q.outputs {
		if !o.hidden {
			out = append(out, sql.Column{Name: o.name, Type: o.typ.kind, Scale: int64(o.typ.scale)})
		}
	}
	return out
}

// Tables gives the tables the query reads, each once; of the zero Query, none.
func (q *Query) Tables() (tables []sql.Table) {
	for _, s := range q.scans {
		if !slices.ContainsFunc(tables, func(t sql.Table) bool { return t.Name == s.table.Name }) {
			tables = append(tables, *s.table)
		}
	}
	return tables
}
