package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/guard"
	"strongroom.dev/workload/sql/rows"
)

// load makes the tables out of their inputs' rows, each with its owner's place, and gives the
// sources a plan over them may read. Rows are read into memory, since every value must be
// checked; Parquet is typed and stays where it is. An input that several tables hold is read
// once.
func (d *database) load(ctx context.Context, job *sql.Job, rowwise bool, tables []sql.Table, numbered bool, progress func(sql.Progress)) ([]guard.Source, error) {
	var sources []guard.Source
	loaded := map[wire.ID]string{} // what an input's rows are selected from
	files := map[wire.ID]bool{}    // whether that is its file
	total := int64(0)
	for _, t := range tables {
		total += int64(len(t.Inputs))
	}
	done := int64(0)
	for _, table := range tables {
		owners := guard.TableOwners(job, &table)
		var parts, rows []string
		for _, name := range table.Inputs {
			progress(sql.Progress{Phase: sql.Load, Done: done, Total: total})
			done++
			in := job.InputByName(name)
			if loaded[name] == "" {
				source, from, err := d.loadInput(ctx, slices.IndexFunc(job.Inputs, func(other sql.Input) bool { return other.Name == name }), in)
				if err == nil {
					source, from, err = d.prepare(ctx, job, in, source, from)
				}
				if err == nil {
					err = d.checkUnit(ctx, in, from)
				}
				if err != nil {
					return nil, failed(sql.Load, in.Name, err)
				}
				source.Keys = keysOf(job, &table)
				loaded[name], files[name] = from, source.File != ""
				sources = append(sources, source)
			}
			rows = append(rows, numberedRows(job, in, slices.Index(owners, in.Owner), loaded[name], files[name]))
			if rowwise {
				parts = append(parts, "SELECT "+cast(job.Visible(&table))+" FROM "+loaded[name])
			} else {
				parts = append(parts, fmt.Sprintf("SELECT CAST(%d AS UTINYINT) AS %s, %s FROM %s", slices.Index(owners, in.Owner), ident(guard.OwnerColumn), cast(in.Schema), loaded[name]))
			}
		}
		if err := d.exec(ctx, "CREATE VIEW "+ident(table.Name)+" AS "+strings.Join(parts, " UNION ALL ")); err != nil {
			return nil, err
		}
		if !numbered {
			continue
		}
		if err := d.exec(ctx, "CREATE VIEW "+ident(guard.RowsPrefix+table.Name)+" AS "+strings.Join(rows, " UNION ALL ")); err != nil {
			return nil, err
		}
	}
	progress(sql.Progress{Phase: sql.Load, Done: total, Total: total})
	return sources, nil
}

// numberedRows selects an input's rows as an audit reads them: with their owner's place, the
// input's, and their own.
func numberedRows(job *sql.Job, in *sql.Input, owner int, from string, isFile bool) string {
	row := "rowid"
	if isFile {
		row = "file_row_number"
		from = strings.TrimSuffix(from, ")") + ", file_row_number = true)"
	}
	at := slices.IndexFunc(job.Inputs, func(other sql.Input) bool { return other.Name == in.Name })
	return fmt.Sprintf("SELECT CAST(%d AS UTINYINT) AS %s, CAST(%d AS UTINYINT) AS %s, CAST(%s AS BIGINT) AS %s, %s FROM %s",
		owner, ident(guard.OwnerColumn), at, guard.InputColumn, row, guard.RowColumn, cast(in.Schema), from)
}

// cast selects columns as their declared types.
func cast(schema []agreement.Column) string {
	var columns []string
	for _, c := range schema {
		columns = append(columns, fmt.Sprintf("CAST(%s AS %s) AS %[1]s", ident(c.Name), typeName(c)))
	}
	return strings.Join(columns, ", ")
}

// loadInput checks one input's form; from is what its rows are selected from.
func (d *database) loadInput(ctx context.Context, i int, in *sql.Input) (source guard.Source, from string, err error) {
	if in.Format == agreement.Parquet {
		from = "read_parquet(" + quote(path(in)) + ", hive_partitioning = false)"
		if err = d.checkParquet(ctx, in, from); err == nil {
			err = d.readParquet(ctx, in, from)
		}
		return guard.Source{File: path(in), Columns: in.Schema}, from, err
	}
	name := "__input" + strconv.Itoa(i)
	source, from = guard.Source{Table: name, Columns: in.Schema}, ident(name)
	if in.Format != agreement.CSV {
		return source, from, d.append(ctx, in, name)
	}
	if err := checkCSV(ctx, in); err != nil {
		return guard.Source{}, "", err
	}
	return source, from, d.exec(ctx, "CREATE TABLE "+ident(name)+" AS "+readCSV(in))
}

// checkCSV reads a CSV file through our own rules first: DuckDB's reader passes over empty
// lines, mends quotes and tells of what it can't read in its own words.
func checkCSV(ctx context.Context, in *sql.Input) error {
	f, err := os.Open(path(in))
	if err != nil {
		return err
	}
	defer f.Close()
	// DuckDB compares units, within its memory.
	_, err = rows.Check(reader{ctx, f}, in.Format, in.Schema, false)
	return wrongRow(in, err)
}

// wrongRow makes a failure out of what is wrong with a file.
func wrongRow(in *sql.Input, err error) error {
	var wrong *rows.Error
	if errors.As(err, &wrong) {
		return &sql.Failure{Phase: sql.Load, Code: wrong.Code, Input: in.Name, Detail: wrong.Error()}
	}
	return err
}

// reader reads until its context ends.
type reader struct {
	ctx context.Context
	src io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.src.Read(p)
}

// readCSV selects a CSV file's rows as their declared types. Every field is read as text,
// has to have the one form of its type, and is cast then: DuckDB's own casts would round,
// trim and guess. An empty field is NULL, a quoted empty one an empty text.
func readCSV(in *sql.Input) string {
	var columns, selected []string
	for _, c := range in.Schema {
		columns = append(columns, quote(c.Name)+": 'VARCHAR'")
		name := ident(c.Name)
		if c.Type == "text" {
			selected = append(selected, name)
			continue
		}
		selected = append(selected, fmt.Sprintf("CASE WHEN %[1]s IS NULL THEN NULL WHEN regexp_full_match(%[1]s, %[2]s) THEN CAST(%[1]s AS %[3]s) "+
			"ELSE error('column %[4]s: ' || %[1]s || ' is not %[5]s') END AS %[1]s", name, quote(pattern(c)), typeName(c), c.Name, describe(c)))
	}
	return "SELECT " + strings.Join(selected, ", ") + " FROM read_csv(" + quote(path(in)) + ", columns = {" + strings.Join(columns, ", ") +
		"}, auto_detect = false, header = false, skip = 1, delim = ',', quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false, " +
		fmt.Sprintf("max_line_size = %d, ", 2*rows.MaxRow) + "strict_mode = true, null_padding = false, ignore_errors = false)"
}

// pattern is the form of a field: what DuckDB then casts without changing the value. The
// casts themselves refuse what is out of range.
func pattern(c agreement.Column) string {
	switch c.Type {
	case "integer":
		return "-?(0|[1-9][0-9]{0,18})"
	case "decimal":
		if c.Scale == 0 {
			return "-?(0|[1-9][0-9]{0,17})"
		}
		return fmt.Sprintf(`-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,%d})?`, c.Scale)
	case "boolean":
		return "true|false"
	}
	return "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-[0-9]{2}-[0-9]{2}" // a date
}

func describe(c agreement.Column) string {
	switch c.Type {
	case "integer":
		return "an integer"
	case "decimal":
		return fmt.Sprintf("a decimal of at most %d digits behind the point", c.Scale)
	case "boolean":
		return "true or false"
	}
	return "a date like 2026-11-24, of the years 0001 to 9999"
}

// checkParquet compares a Parquet file's columns with the schema: the same names in the
// same order, each of a type whose every value the declared type holds exactly.
func (d *database) checkParquet(ctx context.Context, in *sql.Input, from string) error {
	rows, err := d.conn.QueryContext(ctx, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM "+from+")")
	if err != nil {
		return err
	}
	defer rows.Close()
	wrong := func(format string, args ...any) error {
		return &sql.Failure{Phase: sql.Load, Code: "input.columns", Input: in.Name, Detail: fmt.Sprintf(format, args...)}
	}
	i := 0
	for ; rows.Next(); i++ {
		var name, kind string
		if err := rows.Scan(&name, &kind); err != nil {
			return err
		}
		if i >= len(in.Schema) || name != in.Schema[i].Name {
			return wrong("column %d is %.100q, not as in the agreed schema", i+1, name)
		}
		if !holds(in.Schema[i], kind) {
			return wrong("column %s is of type %.60s: %s needs %s", name, kind, in.Schema[i].Type, accepted(in.Schema[i]))
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if i != len(in.Schema) {
		return wrong("%d columns, not %d", i, len(in.Schema))
	}
	return nil
}

// readParquet reads every value of a Parquet file once, so that what is broken in it shows
// while it is known whose it is, and refuses dates that have no canonical text.
func (d *database) readParquet(ctx context.Context, in *sql.Input, from string) error {
	var names []string
	outside := "false"
	for _, c := range in.Schema {
		names = append(names, ident(c.Name))
		if c.Type == "date" {
			outside += fmt.Sprintf(" OR coalesce(%[1]s < DATE '0001-01-01' OR %[1]s > DATE '9999-12-31', false)", ident(c.Name))
		}
	}
	// The hash is for reading the values themselves: counts come from a file's statistics.
	var dates int64
	var hash any
	if err := d.conn.QueryRowContext(ctx, "SELECT count(*) FILTER ("+outside+"), bit_xor(hash("+strings.Join(names, ", ")+")) FROM "+from).Scan(&dates, &hash); err != nil {
		return err
	}
	if dates > 0 {
		return &sql.Failure{Phase: sql.Load, Code: "input.value", Input: in.Name, Detail: fmt.Sprintf("%d rows have a date outside the years 0001 to 9999", dates)}
	}
	return nil
}

func accepted(c agreement.Column) string {
	switch c.Type {
	case "integer":
		return "a signed integer of at most 64 bits, or an unsigned one of at most 32"
	case "decimal":
		return fmt.Sprintf("DECIMAL(n,%d) with n at most 18", c.Scale)
	}
	return typeName(c)
}

// holds reports whether a declared column holds every value of a type of DuckDB's.
func holds(c agreement.Column, kind string) bool {
	switch c.Type {
	case "integer":
		return slices.Contains([]string{"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}, kind)
	case "decimal":
		var width, scale int64
		n, err := fmt.Sscanf(kind, "DECIMAL(%d,%d)", &width, &scale)
		return n == 2 && err == nil && width <= 18 && scale == c.Scale
	}
	return kind == typeName(c)
}

// Bounds of a bitmap over an integer unit: as many bits as 16 for each row, and at most
// 2^32 (half a gigabyte), else units are compared by hashing.
const (
	bitsPerRow = 16
	minBits    = 1 << 20
	maxBits    = 1 << 32
)

// checkUnit makes sure that every row names its unit and, where the statement declares it,
// that no two name the same.
func (d *database) checkUnit(ctx context.Context, in *sql.Input, from string) error {
	i := slices.IndexFunc(in.Schema, func(c agreement.Column) bool { return c.Unit })
	unit := ident(in.Schema[i].Name)
	wrong := func(format string, args ...any) error {
		return &sql.Failure{Phase: sql.Load, Code: "input.unit", Input: in.Name, Detail: fmt.Sprintf(format, args...)}
	}
	var rows, named int64
	if err := d.conn.QueryRowContext(ctx, "SELECT count(*), count("+unit+") FROM "+from).Scan(&rows, &named); err != nil {
		return err
	}
	if rows != named {
		return wrong("%d of %d rows have no value in unit column %s", rows-named, rows, in.Schema[i].Name)
	}
	if !in.UniqueUnit || rows == 0 {
		return nil
	}
	distinct, err := d.distinct(ctx, unit, in.Schema[i].Type == "integer", rows, from)
	if err != nil {
		return err
	}
	if distinct != rows {
		return wrong("the statement says that no two rows share a unit, but %d rows have %d different values in %s", rows, distinct, in.Schema[i].Name)
	}
	return nil
}

// distinct counts a unit's values. A bitmap does it for integers that lie close together,
// five to ten times as fast as a hash table.
func (d *database) distinct(ctx context.Context, unit string, isInteger bool, rows int64, from string) (n int64, err error) {
	count := "count(DISTINCT " + unit + ")"
	if isInteger {
		var low, high int64
		if err := d.conn.QueryRowContext(ctx, fmt.Sprintf("SELECT CAST(min(%s) AS BIGINT), CAST(max(%[1]s) AS BIGINT) FROM %s", unit, from)).Scan(&low, &high); err != nil {
			return 0, err
		}
		if span := uint64(high) - uint64(low); span < min(uint64(max(rows*bitsPerRow, minBits)), maxBits) {
			// Literals of the smallest integers can't be written as such, so they stay with hashing.
			if low > -1<<62 {
				count = fmt.Sprintf("bit_count(bitstring_agg(CAST(%s AS BIGINT), %d, %d))", unit, low, high)
			}
		}
	}
	err = d.conn.QueryRowContext(ctx, "SELECT "+count+" FROM "+from).Scan(&n)
	return n, err
}
