package guard

import (
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// scan is one table in FROM. A table may stand there several times.
type scan struct {
	table  *sql.Table
	alias  string // what qualifies its columns: its alias, or else its name
	schema []agreement.Column
	// nullable: it is on the right of a LEFT JOIN, so that a row may have none of it.
	nullable bool
}

func (s scan) column(name string) (agreement.Column, bool) {
	i := slices.IndexFunc(s.schema, func(c agreement.Column) bool { return c.Name == name })
	if i < 0 {
		return agreement.Column{}, false
	}
	return s.schema[i], true
}

// join attaches a scan to those before it, where the keys of every pair are the same.
type join struct {
	left  bool // LEFT JOIN; else INNER JOIN
	pairs []pair
}

// pair is two keys: one of a scan before, one of the scan that is joined.
type pair struct{ before, joined *expr }

// from reads FROM: a table, or tables joined by keys, from left to right.
func (p *parser) from(v any) error {
	_, kind := class(v)
	switch kind {
	case "BASE_TABLE":
		return p.scan(v)
	case "JOIN":
		return p.join(v)
	case "EMPTY":
		return refuse("query.table", "the query reads no table: name one of the agreement's in FROM")
	}
	return refuse("query.table", "FROM%s is %.60s: tables of the agreement pass, alone or joined by keys; a table holds the rows of all its inputs together", near(v), strings.ToLower(strings.ReplaceAll(kind, "_", " ")))
}

// scan reads one agreed table.
func (p *parser) scan(v any) error {
	o, err := members(v, "type", "alias", "sample", "query_location", "schema_name", "table_name", "column_name_alias", "catalog_name", "at_clause")
	if err != nil {
		return refuse("query.table", "%v", err)
	}
	if err := o.want("sample", nil, "schema_name", "", "catalog_name", "", "at_clause", nil); err != nil || !o.isEmptyList("column_name_alias") {
		return refuse("query.table", "FROM%s takes a table's name and an alias, nothing more", near(v))
	}
	name := strings.ToLower(o.text("table_name"))
	s := scan{table: p.job.TableByName(name), alias: name}
	if s.table == nil {
		return refuse("query.table", "%.70q is not a table of this work", name)
	}
	if alias := o.text("alias"); alias != "" {
		s.alias = strings.ToLower(alias)
	}
	if slices.ContainsFunc(p.scans, func(other scan) bool { return other.alias == s.alias }) {
		return refuse("query.table", "two tables in FROM are called %.70q: give one an alias", s.alias)
	}
	if len(p.scans) == maxScans {
		return refuse("query.size", "more than %d tables in FROM", maxScans)
	}
	s.schema = p.job.InputByName(s.table.Inputs[0]).Schema
	p.scans = append(p.scans, s)
	return nil
}

// join reads one JOIN of what is before it with a table, by USING or ON.
func (p *parser) join(v any) error {
	o, err := members(v, "type", "alias", "sample", "query_location", "left", "right", "condition", "join_type", "ref_type", "using_columns",
		"delim_flipped", "duplicate_eliminated_columns")
	if err != nil {
		return refuse("query.join", "%v", err)
	}
	if err := o.want("alias", "", "sample", nil, "delim_flipped", false); err != nil || !o.isEmptyList("duplicate_eliminated_columns") {
		return refuse("query.join", "the join%s has a form that does not pass", near(v))
	}
	if o["ref_type"] == "CROSS" {
		return refuse("query.join", "tables%s without a join condition: write JOIN ... ON, with keys of one kind on both sides", near(v))
	}
	left := o["join_type"] == "LEFT"
	if o["ref_type"] != "REGULAR" || !left && o["join_type"] != "INNER" {
		return refuse("query.join", "%.20s %.20s join%s does not pass: JOIN and LEFT JOIN do", strings.ToLower(o.text("ref_type")), strings.ToLower(o.text("join_type")), near(v))
	}
	if err := p.from(o["left"]); err != nil {
		return err
	}
	if _, kind := class(o["right"]); kind != "BASE_TABLE" {
		return refuse("query.join", "what is joined%s is not a table: join one after the other", near(o["right"]))
	}
	if err := p.scan(o["right"]); err != nil {
		return err
	}
	p.scans[len(p.scans)-1].nullable = left
	j := join{left: left}
	if using := o.list("using_columns"); len(using) > 0 && o["condition"] == nil {
		j.pairs, err = p.using(v, using)
	} else {
		j.pairs, err = p.on(v, o["condition"], left)
	}
	if err == nil && len(j.pairs) == 0 {
		err = refuse("query.join", "ON%s compares no keys of one kind with =", near(v))
	}
	p.joins = append(p.joins, j)
	return err
}

// using gives the pairs of USING: of every name, the one key that it has before.
func (p *parser) using(v any, names []any) (pairs []pair, err error) {
	last := len(p.scans) - 1
	for _, n := range names {
		name := strings.ToLower(asText(n))
		at := -1
		for i, s := range p.scans[:last] {
			if _, found := s.column(name); found && at >= 0 {
				return nil, refuse("query.join", "%.70q of USING%s is a column of two tables before: write ON", name, near(v))
			} else if found {
				at = i
			}
		}
		if at < 0 {
			return nil, refuse("query.column", "%.70q of USING%s is not a column of a table before", name, near(v))
		}
		one, err := p.keys(v, at, name, last, name)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, one)
	}
	return pairs, nil
}

// on gives the pairs of ON: comparisons of keys with =, joined by AND. What else stands there is
// a condition like those of WHERE; on a LEFT JOIN it would mean something else.
func (p *parser) on(v, condition any, left bool) ([]pair, error) {
	switch class, kind := class(condition); {
	case class == "CONJUNCTION" && kind == "CONJUNCTION_AND":
		o, err := members(condition, "class", "type", "alias", "query_location", "children")
		if err != nil {
			return nil, shape(condition, err)
		}
		var pairs []pair
		for _, child := range o.list("children") {
			more, err := p.on(v, child, left)
			if err != nil {
				return nil, err
			}
			pairs = append(pairs, more...)
		}
		return pairs, nil
	case class == "COMPARISON" && kind == "COMPARE_EQUAL":
		o, err := members(condition, "class", "type", "alias", "query_location", "left", "right")
		if err != nil {
			return nil, shape(condition, err)
		}
		a, one, errA := p.place(o["left"])
		b, other, errB := p.place(o["right"])
		last := len(p.scans) - 1
		if a == last {
			a, one, b, other = b, other, a, one
		}
		if errA == nil && errB == nil && b == last && a != last && p.isKey(a, one) && p.isKey(b, other) {
			both, err := p.keys(condition, a, one.Name, b, other.Name)
			return []pair{both}, err
		}
	}
	if left {
		return nil, refuse("query.join", "ON%s of a LEFT JOIN takes keys of one kind with =, joined by AND; other conditions belong into WHERE", near(v))
	}
	e, err := p.as(agreement.Filter, p.boolean, condition)
	p.conditions = append(p.conditions, e)
	return nil, err
}

func (p *parser) isKey(at int, c agreement.Column) bool {
	return p.job.Key(p.scans[at].table, c.Name) != ""
}

// keys makes a pair of two columns that are keys of one kind.
func (p *parser) keys(v any, before int, left string, joined int, right string) (pair, error) {
	a, _ := p.scans[before].column(left)
	b, found := p.scans[joined].column(right)
	if !found {
		return pair{}, refuse("query.column", "%.70q%s is not a column of table %s", right, near(v), p.scans[joined].table.Name)
	}
	kind, other := p.job.Key(p.scans[before].table, left), p.job.Key(p.scans[joined].table, right)
	if kind == "" || kind != other || a.Type != b.Type {
		return pair{}, refuse("query.join", "%s.%s%s is %s and %s.%s %s: only keys of one kind are joined", p.scans[before].alias, left, near(v), keyWords(kind), p.scans[joined].alias, right, keyWords(other))
	}
	return pair{p.reference(before, a), p.reference(joined, b)}, nil
}

func keyWords(kind wire.ID) string {
	if kind == "" {
		return "no key"
	}
	return "a key of kind " + string(kind)
}

// reference makes an expression of a column.
func (p *parser) reference(scan int, c agreement.Column) *expr {
	return &expr{op: "column", from: scan, name: c.Name, typ: columnType(c)}
}

// roundTo gives what counts are rounded to: the coarsest that an input asks for.
func (p *parser) roundTo() int64 {
	n := int64(1)
	for _, s := range p.scans {
		for _, name := range s.table.Inputs {
			n = max(n, p.job.InputByName(name).Rules.RoundTo)
		}
	}
	return n
}

// partners refuses joins with rows that somebody may choose after the owner of others has
// signed (R18).
func (p *parser) partners() error {
	for i, s := range p.scans {
		for _, name := range s.table.Inputs {
			in := p.job.InputByName(name)
			if in.Rules.Partners == agreement.Any {
				continue
			}
			for k, other := range p.scans {
				if k == i {
					continue
				}
				for _, partner := range other.table.Inputs {
					if o := p.job.InputByName(partner); o.Owner != in.Owner && !o.Pinned {
						return refuse("query.partner", "%s may be joined only with data that was fixed before its owner signed, and the agreement pins no version of %s: add statement: to that input", in.Name, o.Name)
					}
				}
			}
		}
	}
	return nil
}
