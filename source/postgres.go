// Package source reads an owner's rows from where they are kept, as they are sealed. It
// promises that a value comes exactly as it is there or not at all: nothing is rounded or
// converted, and a source is never written to.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/pgaddress"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/sql/rows"
)

// Postgres says which rows of a PostgreSQL database to read. The zero value is refused.
type Postgres struct {
	// Address is a URL such as postgres://reader@db.example.org/shop?sslmode=verify-full, without
	// a password. What it leaves out comes from PostgreSQL's own variables and files.
	Address string
	// Table, schema.table or table, is read whole; or Query's answer is. One of them is given.
	Table, Query string
	// Format is how the rows are written: CSV or NDJSON.
	Format agreement.Format
	// Columns are the rows' columns: a query's must have these names in this order.
	Columns []agreement.Column
	// InsecureConnection allows connections to other machines on which somebody on the way can be
	// the database, and read the rows.
	InsecureConnection bool
}

// IsPostgres reports whether a name is the address of a PostgreSQL database.
func IsPostgres(name string) bool {
	return strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://")
}

const postgresExample = "a URL such as postgres://reader@db.example.org/shop?sslmode=verify-full"

// Check refuses what can't be read, before anything is asked.
func (p Postgres) Check() error {
	if err := pgaddress.Check(p.Address, "postgres", postgresExample, p.InsecureConnection); err != nil {
		return err
	}
	switch {
	case (p.Table == "") == (p.Query == ""):
		return verdict.Misuse("postgres", "one of --table and --query", "none or both", "name a table, or write the query that gives the columns")
	case p.Format != agreement.CSV && p.Format != agreement.NDJSON:
		return verdict.Misuse("--format", "csv or ndjson", string(p.Format), "rows of a database are sealed in one of these")
	}
	return nil
}

// Open asks for the rows, in one transaction that may not write, and gives them as they come;
// ctx is for the reading too. Closing ends the query. Errors of reading are *rows.Error where a value is
// not one of its column's type.
func (p Postgres) Open(ctx context.Context) (io.ReadCloser, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	cfg, err := pgconn.ParseConfig(p.Address)
	if err != nil {
		return nil, unreachable(err)
	}
	for name, value := range map[string]string{"application_name": "strongroom", "default_transaction_read_only": "on", "client_encoding": "UTF8", "DateStyle": "ISO, YMD"} {
		cfg.RuntimeParams[name] = value
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, unreachable(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{cancel: cancel, done: make(chan struct{})}
	// The extended protocol takes one statement only.
	result := conn.ExecParams(ctx, p.statement(), nil, nil, nil, []int16{pgtype.TextFormatCode})
	if err = p.sameColumns(result.FieldDescriptions()); err != nil {
		// Without columns the statement failed, and says why.
		if _, failure := result.Close(); failure != nil {
			err = refused(failure)
		}
		cancel()
		return nil, errors.Join(err, conn.Close(context.Background()))
	}
	var dst *io.PipeWriter
	s.PipeReader, dst = io.Pipe()
	go func() {
		defer close(s.done)
		dst.CloseWithError(p.copy(dst, result))
		conn.Close(context.Background())
		cancel()
	}()
	return s, nil
}

// stream is rows on their way.
type stream struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

// Close ends the query and waits for the connection's end.
func (s *stream) Close() error {
	s.cancel()
	err := s.PipeReader.Close()
	<-s.done
	return err
}

// statement gives the one statement to run: a table's columns by name.
func (p Postgres) statement() string {
	if p.Query != "" {
		return p.Query
	}
	quote := func(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
	var columns []string
	for _, c := range p.Columns {
		columns = append(columns, quote(c.Name))
	}
	var table []string
	for part := range strings.SplitSeq(p.Table, ".") {
		table = append(table, quote(part))
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + strings.Join(table, ".")
}

// sameColumns compares the answer's columns with the schema.
func (p Postgres) sameColumns(fields []pgconn.FieldDescription) error {
	wrong := func(expected, got string) error {
		return verdict.Misuse("postgres.columns", expected, got, "have --query name, order and cast its columns as the schema does: SELECT id::bigint AS patient, ...")
	}
	if len(fields) != len(p.Columns) {
		return wrong(fmt.Sprintf("%d columns", len(p.Columns)), fmt.Sprint(len(fields)))
	}
	for i, c := range p.Columns {
		if fields[i].Name != c.Name {
			return wrong(fmt.Sprintf("column %d named %s", i+1, c.Name), verdict.Short(fields[i].Name))
		}
		if !holds(c, fields[i].DataTypeOID) {
			return wrong(fmt.Sprintf("column %s of type %s", c.Name, accepted(c)), typeName(fields[i].DataTypeOID))
		}
	}
	return nil
}

// holds reports whether a declared column takes values of a type of PostgreSQL's as they are.
// Whether a numeric has too many digits is looked at value by value.
func holds(c agreement.Column, oid uint32) bool {
	switch c.Type {
	case "integer":
		return oid == pgtype.Int2OID || oid == pgtype.Int4OID || oid == pgtype.Int8OID
	case "decimal":
		return oid == pgtype.NumericOID
	case "boolean":
		return oid == pgtype.BoolOID
	case "date":
		return oid == pgtype.DateOID
	}
	return oid == pgtype.TextOID || oid == pgtype.VarcharOID
}

func accepted(c agreement.Column) string {
	switch c.Type {
	case "integer":
		return "smallint, integer or bigint"
	case "decimal":
		return fmt.Sprintf("numeric(18,%d)", c.Scale)
	case "text":
		return "text or varchar"
	}
	return c.Type
}

func typeName(oid uint32) string {
	if t, found := pgtype.NewMap().TypeForOID(oid); found {
		return t.Name
	}
	return fmt.Sprintf("a type of the database's own (%d)", oid)
}

// copy writes the rows as they come.
func (p Postgres) copy(dst io.Writer, result *pgconn.ResultReader) error {
	w, err := rows.NewWriter(dst, p.Format, p.Columns)
	if err != nil {
		return err
	}
	row := make([][]byte, len(p.Columns))
	for result.NextRow() {
		for i, v := range result.Values() {
			row[i] = v
			if v != nil && p.Columns[i].Type == "boolean" {
				row[i] = []byte(map[string]string{"t": "true", "f": "false"}[string(v)])
			}
		}
		if err := w.Write(row); err != nil {
			return err // closing the connection ends the query
		}
	}
	if _, err := result.Close(); err != nil {
		return refused(err)
	}
	return w.Flush()
}

func unreachable(err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "postgres", Expected: "a PostgreSQL database that answers", Got: verdict.Short(err.Error()),
		Fix: "check the address, the password file and that the database runs", Err: err}
}

// refused says what the database says of a query, or that it went away.
func refused(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return &verdict.Error{Kind: verdict.Usage, Check: "postgres.query", Expected: "a query that the database answers", Got: verdict.Short(e.Message), Fix: "correct the table or query, or ask for the right to read it", Err: err}
	}
	return unreachable(err)
}
