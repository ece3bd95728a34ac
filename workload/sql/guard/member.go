package guard

import (
	"encoding/json"

	"strongroom.dev/agreement"
	"strongroom.dev/workload/sql"
)

// Names of what an audit reads: a view for every table, whose rows have besides its columns the
// place of their input in the job and their own in it.
const (
	RowsPrefix  = "__rows_"
	InputColumn = "__input"
	RowColumn   = "__row"
)

// Scans gives the places in FROM at which the query reads an input.
func (q *Query) Scans(job *sql.Job, input string) (places []int) {
	for i, s := range q.scans {
		for _, name := range s.table.Inputs {
			if string(name) == input {
				places = append(places, i)
			}
		}
	}
	return places
}

// Groups is how many expressions the query groups by, Sets how many sets of people a row shows
// something of: its own, and those whose values it aggregates apart.
func (q *Query) Groups() int { return len(q.groups) }

// Sets: see [Query.Groups].
func (q *Query) Sets() int { return len(q.sets()) }

// Apart names, for each set, the column by whose sum alone it is shown, "" for those whose
// number is: of a column with digits behind the point the sum does not tell how many are not 0.
func (q *Query) Apart() (columns []string) {
	for _, c := range q.sets() {
		columns = append(columns, c.apart)
	}
	return columns
}

// sets gives the sets that something is shown of. Those that lack a value are a difference of
// others, but where the others are apart.
func (q *Query) sets() (sets []check) {
	for i, c := range q.checks {
		if i == 0 || c.some && c.unless == nil || c.lacks {
			sets = append(sets, c)
		}
	}
	return sets
}

// Membership gives the parse tree of a query that says of each row of an input, at one place in
// FROM, how often it counts: a row's place (__g0), the groups (__g1, ...), and the count in each
// set (__v0, ...). at is the input's place in the job.
func (q *Query) Membership(scan, at int) ([]byte, error) {
	m := *q
	m.prefix = RowsPrefix
	m.where = and(q.where, boolean("=", &expr{op: "column", from: scan, name: InputColumn, typ: typ{"integer", 3, 0}}, integer(at)))
	m.groups = append([]*expr{{op: "column", from: scan, name: RowColumn, typ: typ{"integer", 19, 0}}}, q.groups...)
	m.primitives = nil
	for _, c := range q.sets() {
		m.primitives = append(m.primitives, primitive{function: "count_star", where: c.condition})
	}
	return json.Marshal(m.tree())
}

// Permissive gives rules under which what was once asked can be read again: it was allowed then.
func Permissive(r agreement.Rules) agreement.Rules {
	r.Roles = append(r.Roles[:0:0], agreement.Filter, agreement.Group, agreement.Aggregate)
	columns := r.Columns
	r.Columns = nil
	for _, c := range columns {
		if c.Key != "" {
			r.Columns = append(r.Columns, agreement.ColumnRule{Name: c.Name, Roles: c.Roles, Key: c.Key, Form: c.Form})
		}
	}
	r.Partners, r.MaxRows, r.MaxColumns = agreement.Any, agreement.MaxRows, agreement.MaxOutputColumns
	return r
}
