package engine

import (
	"context"
	"fmt"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/workload/sql"
)

// Profile loads an input as a room does, with some bytes of memory, and says what its rows are
// like. An error is as Execute's.
func Profile(ctx context.Context, job sql.ProfileJob, memory, threads int64) (sql.Profile, error) {
	in := &job.Input
	d, err := open(ctx, memory, threads, []string{path(in)})
	if err != nil {
		return sql.Profile{}, err
	}
	defer d.close()
	_, from, err := d.loadInput(ctx, 0, in)
	if err == nil {
		err = d.checkUnit(ctx, in, from)
	}
	if err != nil {
		return sql.Profile{}, failed(sql.Load, in.Name, err)
	}
	p, err := d.profile(ctx, in, from)
	if err != nil {
		return sql.Profile{}, failed(sql.Load, in.Name, err)
	}
	return p, nil
}

func (d *database) profile(ctx context.Context, in *sql.Input, from string) (p sql.Profile, err error) {
	unit := ident(unitOf(in.Schema))
	err = d.numbers(ctx, "SELECT coalesce(sum(n), 0), count(*), coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM "+from+" GROUP BY "+unit+")", &p.Rows, &p.Units, &p.MostRows)
	if err != nil {
		return p, err
	}
	var columns []string
	for _, c := range in.Schema {
		columns = append(columns, ident(c.Name))
	}
	if err = d.numbers(ctx, "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM "+from+" GROUP BY "+strings.Join(columns, ", ")+")", &p.Duplicates); err != nil {
		return p, err
	}
	for _, c := range in.Schema {
		column, err := d.profileColumn(ctx, in, c, from)
		if err != nil {
			return p, err
		}
		p.Columns = append(p.Columns, column)
	}
	return p, nil
}

// numbers scans whole numbers of any width of DuckDB's.
func (d *database) numbers(ctx context.Context, query string, into ...*int64) error {
	raw := make([]any, len(into))
	for i := range raw {
		raw[i] = new(any)
	}
	if err := d.conn.QueryRowContext(ctx, query).Scan(raw...); err != nil {
		return err
	}
	for i, r := range raw {
		if _, err := fmt.Sscan(fmt.Sprint(*r.(*any)), into[i]); err != nil {
			return err
		}
	}
	return nil
}

// profileColumn looks at one column.
func (d *database) profileColumn(ctx context.Context, in *sql.Input, c agreement.Column, from string) (p sql.ProfileColumn, err error) {
	p.Column = c
	name := ident(c.Name)
	x := "CAST(" + name + " AS " + typeName(c) + ")"
	bare := "lower(trim(" + name + ", ' \t\r\n'))"
	count := func(condition string) string { return "count(*) FILTER (" + condition + ")" }
	selected := []string{count(name + " IS NULL"), "count(DISTINCT " + name + ")"}
	into := []*int64{&p.Nulls, &p.Distinct}
	if c.Type == "text" {
		selected = append(selected, count(name+" = ''"), count(name+" <> trim("+name+", ' \t\r\n')"), "count(DISTINCT "+name+") - count(DISTINCT "+bare+")")
		into = append(into, &p.Empty, &p.Padded, &p.Cases)
	}
	rule := (agreement.Input{Schema: in.Schema, Rules: &in.Rules}).ColumnRule(c.Name)
	if rule.Form != "" {
		selected = append(selected, count(name+" IS NOT NULL AND "+normalised(string(rule.Form), name, sql.NoSalt)+" IS NULL"))
		into = append(into, &p.Formless)
	}
	if rule.Min != "" {
		selected = append(selected, count(fmt.Sprintf("%s NOT BETWEEN CAST(%s AS %s) AND CAST(%s AS %[3]s)", x, quote(rule.Min), typeName(c), quote(rule.Max))))
		into = append(into, &p.Clamped)
	}
	if err := d.numbers(ctx, "SELECT "+strings.Join(selected, ", ")+" FROM "+from, into...); err != nil {
		return p, err
	}
	if err := d.conn.QueryRowContext(ctx, "SELECT coalesce(left(CAST(min("+x+") AS VARCHAR), 256), ''), coalesce(left(CAST(max("+x+") AS VARCHAR), 256), '') FROM "+from).Scan(&p.Min, &p.Max); err != nil {
		return p, err
	}
	if in.Rules.MinGroup > 1 && rule.May(agreement.Group) && !c.Unit {
		units := "count(DISTINCT " + ident(unitOf(in.Schema)) + ")"
		err = d.numbers(ctx, fmt.Sprintf("SELECT count(*) FROM (SELECT 1 FROM %s WHERE %s IS NOT NULL GROUP BY %[2]s HAVING %s < %d)", from, name, units, in.Rules.MinGroup), &p.Small)
	}
	return p, err
}
