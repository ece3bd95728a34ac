package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/guard"
)

// prepare brings an input's identifiers into their agreed form and leaves out the units that
// its list of exclusions names: what queries read is a table without them. An input that asks
// for neither stays where it is.
func (d *database) prepare(ctx context.Context, job *sql.Job, in *sql.Input, source guard.Source, from string) (guard.Source, string, error) {
	columns, formed := formed(job, in)
	list := job.InputByName(in.Rules.Exclusions)
	if !formed && list == nil {
		return source, from, nil
	}
	// Every input has a number of its own, its place in the job.
	at := slices.IndexFunc(job.Inputs, func(other sql.Input) bool { return other.Name == in.Name })
	name := "__ready" + strconv.Itoa(at)
	selected := "SELECT " + columns + " FROM " + from
	if list != nil {
		excluded, err := d.excluded(ctx, job, in, list)
		if err != nil {
			return guard.Source{}, "", err
		}
		unit := ident(unitOf(in.Schema))
		selected = "SELECT r.* FROM (" + selected + ") r ANTI JOIN " + excluded + " x ON r." + unit + " = x.unit"
	}
	return guard.Source{Table: name, Columns: in.Schema}, ident(name), d.exec(ctx, "CREATE TABLE "+ident(name)+" AS "+selected)
}

// excluded loads the units that a list names, in the form that the input's have.
func (d *database) excluded(ctx context.Context, job *sql.Job, in, list *sql.Input) (string, error) {
	of := slices.IndexFunc(job.Inputs, func(other sql.Input) bool { return other.Name == in.Name })
	// Several inputs may name one list: each loads it under a number of its own, past the inputs'.
	_, from, err := d.loadInput(ctx, len(job.Inputs)+of, list)
	if err == nil {
		err = d.checkUnit(ctx, list, from)
	}
	if err != nil {
		return "", failed(sql.Load, list.Name, err)
	}
	value := ident(unitOf(list.Schema))
	if form := formOf(in, unitOf(in.Schema)); form != "" {
		value = normalised(form, value, job.Salt)
	}
	table := ident("__excluded" + strconv.Itoa(of))
	if err := d.exec(ctx, "CREATE TABLE "+table+" AS SELECT "+value+" AS unit FROM "+from); err != nil {
		return "", err
	}
	// Who objected is left out or nothing runs: a value that is no identifier would match nobody.
	var wrong int64
	if err := d.conn.QueryRowContext(ctx, "SELECT count(*) FROM "+table+" WHERE unit IS NULL").Scan(&wrong); err != nil {
		return "", err
	}
	if wrong > 0 {
		return "", &sql.Failure{Phase: sql.Load, Code: "input.value", Input: list.Name, Detail: fmt.Sprintf("%d of the units to leave out have not the form of identifier that %s has", wrong, in.Name)}
	}
	return table, nil
}

// formed selects an input's columns, identifiers in their form; any tells whether there are
// such.
func formed(job *sql.Job, in *sql.Input) (columns string, any bool) {
	var out []string
	for _, c := range in.Schema {
		value := ident(c.Name)
		if form := formOf(in, c.Name); form != "" {
			any, value = true, normalised(form, value, job.Salt)
		}
		out = append(out, fmt.Sprintf("CAST(%s AS %s) AS %s", value, typeName(c), ident(c.Name)))
	}
	return strings.Join(out, ", "), any
}

func formOf(in *sql.Input, column string) string {
	return string((agreement.Input{Schema: in.Schema, Rules: &in.Rules}).ColumnRule(column).Form)
}

// normalised gives the keyed hash of an identifier in its one form (spec/sql.md, section 2.1),
// NULL for what is none.
func normalised(form, value, salt string) string {
	text, pattern := "lower(trim("+value+", ' \t\r\n'))", `[^@\s]+@[^@\s]+`
	if form == string(agreement.Phone) {
		text, pattern = "regexp_replace(regexp_replace("+value+", '[^0-9+]', '', 'g'), '^00', '+')", `\+?[0-9]{6,15}`
	}
	return fmt.Sprintf("CASE WHEN regexp_full_match(%[1]s, %[2]s) THEN sha256(%[3]s || %[1]s) END", text, quote(pattern), quote(salt))
}

func unitOf(schema []agreement.Column) string {
	i := slices.IndexFunc(schema, func(c agreement.Column) bool { return c.Unit })
	return schema[i].Name // a valid job has one in every schema
}
