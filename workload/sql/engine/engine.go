// Package engine answers queries with DuckDB. It runs in strongroom-sql, a process of its
// own without keys, network or files, since DuckDB itself has no boundary against the text
// and data it is given.
//
// It promises that nothing runs that package guard has not passed, twice: against empty
// tables, before any input is touched, and again against the loaded ones, on the same
// connection that then runs it; that the database can reach nothing outside itself but the
// inputs; and that the same job over the same data gives the same bytes, whatever the
// number of threads. It refuses inputs that do not hold what their schema says.
package engine

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/guard"
)

// checkMemory is what the check against empty tables may use, in bytes.
const checkMemory = 256 << 20

// Execute answers a valid job. Descriptors of its inputs are opened as /proc/self/fd/N.
// progress must not be nil. An error is a *sql.Failure, or, if DuckDB itself could not be
// started, any other.
func Execute(ctx context.Context, job sql.Job, progress func(sql.Progress)) (sql.Result, error) {
	progress(sql.Progress{Phase: sql.Check, Done: 0, Total: 1})
	c, err := check(ctx, &job)
	if err != nil {
		return sql.Result{}, failed(sql.Check, "", err)
	}
	result := sql.Result{Columns: c.query.Columns(), Plan: c.plan, SQL: c.text}
	progress(sql.Progress{Phase: sql.Check, Done: 1, Total: 1})
	collector := c.query.Collect(&job)
	if !job.CheckOnly {
		if collector, result.Shown, err = answer(ctx, &job, c, progress); err != nil {
			return sql.Result{}, err
		}
		if result.Rows, err = collector.Rows(); err != nil {
			return sql.Result{}, err
		}
	}
	result.Withheld = collector.Withheld()
	return result, nil
}

// checked is a query that passed, as it will run.
type checked struct {
	query *guard.Query
	text  string
	plan  wire.Hash
}

// check passes the query through the guard and binds it against empty tables of the
// agreed schemas, so that neither the decision nor the plan's hash depends on data.
func check(ctx context.Context, job *sql.Job) (*checked, error) {
	d, err := open(ctx, checkMemory, 1, nil)
	if err != nil {
		return nil, err
	}
	defer d.close()
	if strings.ContainsRune(job.Query, 0) {
		return nil, &sql.Failure{Phase: sql.Check, Code: "query.syntax", Detail: "the query has a NUL byte"}
	}
	tree, err := d.tree(ctx, job.Query)
	if err != nil {
		return nil, err
	}
	c := &checked{}
	if c.query, err = guard.Check([]byte(tree), job); err != nil {
		return nil, err
	}
	if c.text, err = d.rewritten(ctx, c.query); err != nil {
		return nil, err
	}
	var sources []guard.Source
	for _, table := range c.query.Tables() {
		source := guard.Source{Table: table.Name, Columns: job.InputByName(table.Inputs[0]).Schema, Owner: true, Keys: keysOf(job, &table)}
		columns := ident(guard.OwnerColumn) + " UTINYINT, " + declarations(source.Columns)
		if c.query.Rowwise() {
			source.Columns, source.Owner = job.Visible(&table), false
			columns = declarations(source.Columns)
		}
		if err := d.exec(ctx, "CREATE TABLE "+ident(table.Name)+" ("+columns+")"); err != nil {
			return nil, err
		}
		sources = append(sources, source)
	}
	plan, err := d.plan(ctx, c.text)
	if err != nil {
		return nil, err
	}
	if c.plan, err = c.query.CheckPlan([]byte(plan), sources); err != nil {
		return nil, err
	}
	// What fails on no rows at all, such as a literal out of range, fails here.
	return c, d.describe(ctx, c)
}

// describe runs a query on no rows, and tells one over rows what its columns are.
func (d *database) describe(ctx context.Context, c *checked) error {
	rows, err := d.conn.QueryContext(ctx, c.text)
	if err != nil {
		return err
	}
	defer rows.Close()
	kinds, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	if err := rows.Err(); err != nil || !c.query.Rowwise() {
		return err
	}
	var names, types []string
	for _, k := range kinds {
		names, types = append(names, k.Name()), append(types, k.DatabaseTypeName())
	}
	return c.query.Bind(names, types)
}

// rewritten gives the text of the rewritten query, having made sure that DuckDB reads the
// text as the tree it was made from.
func (d *database) rewritten(ctx context.Context, q *guard.Query) (string, error) {
	tree, err := q.Rewritten()
	if err != nil {
		return "", err
	}
	text, err := d.text(ctx, tree)
	if err != nil {
		return "", err
	}
	if len(text) > sql.MaxSQL {
		return "", &sql.Failure{Phase: sql.Check, Code: "query.size", Detail: fmt.Sprintf("the rewritten query has %d bytes, at most %d", len(text), sql.MaxSQL)}
	}
	again, err := d.tree(ctx, text)
	if err != nil {
		return "", err
	}
	return text, q.Same([]byte(again))
}

// answer answers the query. Where DuckDB fails on inputs that passed, a file may have lied
// about its values: then it is asked again, believing none.
func answer(ctx context.Context, job *sql.Job, c *checked, progress func(sql.Progress)) (*guard.Collector, []sql.Shown, error) {
	collector, shown, err := attempt(ctx, job, c, progress, packing)
	var f *sql.Failure
	if errors.As(err, &f) && f.Phase == sql.Query && f.Code == "engine" {
		collector, shown, err = attempt(ctx, job, c, progress, packing, statistics)
	}
	return collector, shown, err
}

// attempt loads the inputs of the query's tables, checks the plan again where it will run,
// runs it, and collects its rows.
func attempt(ctx context.Context, job *sql.Job, c *checked, progress func(sql.Progress), disabled ...string) (*guard.Collector, []sql.Shown, error) {
	inputs := audited(job, c.query)
	files := filesOf(job, tablesOf(job, c.query, inputs))
	d, err := openWithout(ctx, job.Memory, job.Threads, files, disabled...)
	if err != nil {
		return nil, nil, failed(sql.Load, "", err)
	}
	defer d.close()
	sources, err := d.load(ctx, job, c.query.Rowwise(), tablesOf(job, c.query, inputs), len(inputs) > 0, progress)
	if err != nil {
		return nil, nil, failed(sql.Load, "", err)
	}
	if err := d.recheck(ctx, c, sources); err != nil {
		return nil, nil, failed(sql.Query, "", err)
	}
	progress(sql.Progress{Phase: sql.Query, Done: 0, Total: 1})
	collector := c.query.Collect(job)
	if len(inputs) > 0 {
		collector.Hold()
	}
	if err := d.run(ctx, c, collector); err != nil {
		return nil, nil, failed(sql.Query, "", err)
	}
	var shown []sql.Shown
	if len(inputs) > 0 {
		if shown, err = d.hold(ctx, job, c, inputs, collector); err != nil {
			return nil, nil, failed(sql.Query, "", err)
		}
	}
	progress(sql.Progress{Phase: sql.Query, Done: 1, Total: 1})
	return collector, shown, nil
}

// tablesOf gives the tables that a query reads, and those that it is held against by an audit
// of the inputs.
func tablesOf(job *sql.Job, q *guard.Query, inputs []*sql.Input) []sql.Table {
	tables := q.Tables()
	for _, in := range inputs {
		for _, asked := range in.Asked {
			for _, t := range asked.Tables {
				if !slices.ContainsFunc(tables, func(other sql.Table) bool { return other.Name == t.Name }) {
					tables = append(tables, t)
				}
			}
		}
	}
	return tables
}

// filesOf gives the files that loading the tables reads, lists of exclusions among them.
func filesOf(job *sql.Job, tables []sql.Table) (files []string) {
	add := func(in *sql.Input) {
		if in != nil && !slices.Contains(files, path(in)) {
			files = append(files, path(in))
		}
	}
	for _, table := range tables {
		for _, name := range table.Inputs {
			in := job.InputByName(name)
			add(in)
			add(job.InputByName(in.Rules.Exclusions))
		}
	}
	return files
}

func path(in *sql.Input) string { return fmt.Sprintf("/proc/self/fd/%d", in.FD) }

// recheck holds the plan over the loaded inputs to what was checked.
func (d *database) recheck(ctx context.Context, c *checked, sources []guard.Source) error {
	plan, err := d.plan(ctx, c.text)
	if err != nil {
		return err
	}
	if _, err := c.query.CheckPlan([]byte(plan), sources); err != nil {
		return &sql.Failure{Phase: sql.Query, Code: "engine", Detail: "the plan over the inputs is not the one checked"}
	}
	return nil
}

func (d *database) run(ctx context.Context, c *checked, collector *guard.Collector) error {
	rows, err := d.conn.QueryContext(ctx, c.text)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	raw := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range raw {
		into[i] = &raw[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		values := make([]any, len(raw))
		for i, v := range raw {
			if values[i], err = value(v); err != nil {
				return err
			}
		}
		if err := collector.Add(values); err != nil {
			return err
		}
	}
	return rows.Err()
}

// value turns a value of the driver's into one of the collector's.
func value(v any) (any, error) {
	switch t := v.(type) {
	case nil, bool, string, time.Time:
		return t, nil
	case int64:
		return guard.Number{Unscaled: big.NewInt(t)}, nil
	case int32:
		return guard.Number{Unscaled: big.NewInt(int64(t))}, nil
	case int16:
		return guard.Number{Unscaled: big.NewInt(int64(t))}, nil
	case int8:
		return guard.Number{Unscaled: big.NewInt(int64(t))}, nil
	case uint64:
		return guard.Number{Unscaled: new(big.Int).SetUint64(t)}, nil
	case uint32:
		return guard.Number{Unscaled: big.NewInt(int64(t))}, nil
	case uint16:
		return guard.Number{Unscaled: big.NewInt(int64(t))}, nil
	case uint8:
		return guard.Number{Unscaled: big.NewInt(int64(t))}, nil
	case float64:
		return t, nil
	case *big.Int:
		return guard.Number{Unscaled: t}, nil
	case duckdb.Decimal:
		return guard.Number{Unscaled: t.Value, Scale: int(t.Scale)}, nil
	}
	return nil, fmt.Errorf("a value of type %T", v)
}

// keysOf gives the columns of a table that hold identifiers.
func keysOf(job *sql.Job, table *sql.Table) (keys []string) {
	for _, c := range job.InputByName(table.Inputs[0]).Schema {
		if job.Key(table, c.Name) != "" {
			keys = append(keys, c.Name)
		}
	}
	return keys
}

// declarations gives the columns of a CREATE TABLE.
func declarations(schema []agreement.Column) string {
	var out []string
	for _, c := range schema {
		out = append(out, ident(c.Name)+" "+typeName(c))
	}
	return strings.Join(out, ", ")
}

// typeName gives DuckDB's type for a declared column.
func typeName(c agreement.Column) string {
	switch c.Type {
	case "integer":
		return "BIGINT"
	case "decimal":
		return fmt.Sprintf("DECIMAL(18,%d)", c.Scale)
	case "text":
		return "VARCHAR"
	}
	return strings.ToUpper(c.Type)
}

// failed makes a failure out of an error that isn't one.
func failed(phase sql.Phase, input wire.ID, err error) error {
	var f *sql.Failure
	if errors.As(err, &f) {
		return f
	}
	code := "engine"
	var e *duckdb.Error
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		code = "canceled"
	case errors.As(err, &e) && e.Type == duckdb.ErrorTypeOutOfMemory:
		code = "memory"
	case phase == sql.Load && input != "":
		code = "input.value"
	}
	f = &sql.Failure{Phase: phase, Code: code, Input: input, Detail: err.Error()}
	if phase == sql.Load && input != "" {
		f.Detail = loadDetail(code, err)
	}
	if phase != sql.Check && input == "" {
		f.Detail = "" // DuckDB quotes values, and without an input all owners would read them
	}
	return f
}

// loadDetail says in our words why an input could not be loaded: DuckDB's name paths of this
// process and advise settings that nobody here can make.
func loadDetail(code string, err error) string {
	switch code {
	case "memory":
		return "the rows take more memory than the room's engine has"
	case "canceled":
		return "the run ended before the rows were loaded"
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "No magic bytes"), strings.Contains(text, "too small to be a Parquet"):
		return "the bytes at its start or end are not those of a Parquet file: it may be cut off, or of another format"
	case strings.Contains(text, "read_csv"):
		return "the engine can't read it as the agreed columns"
	}
	return "it can't be read as a Parquet file: it is damaged, or its maker wrote it in a way that DuckDB does not read"
}

func failureDetail(err error) string {
	var f *sql.Failure
	if errors.As(err, &f) {
		return f.Detail
	}
	return err.Error()
}
