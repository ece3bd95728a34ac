package engine

import (
	"context"
	"database/sql/driver"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"strongroom.dev/agreement"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/rows"
)

// append reads an input's rows into a table of its own, as package rows gives them.
func (d *database) append(ctx context.Context, in *sql.Input, table string) error {
	if err := d.exec(ctx, "CREATE TABLE "+ident(table)+" ("+declarations(in.Schema)+")"); err != nil {
		return err
	}
	f, err := os.Open(path(in))
	if err != nil {
		return err
	}
	defer f.Close()
	return d.conn.Raw(func(conn any) error {
		a, err := duckdb.NewAppenderFromConn(conn.(driver.Conn), "", table)
		if err != nil {
			return err
		}
		values := make([]driver.Value, len(in.Schema))
		_, err = rows.Scan(reader{ctx, f}, in.Format, in.Schema, func(row []rows.Value) error {
			for i, v := range row {
				values[i] = driverValue(in.Schema[i], v)
			}
			return appended(a.AppendRow(values...))
		})
		// Close writes the rows that are left, and so may fail, also of no memory.
		if closing := appended(a.Close()); err == nil {
			err = closing
		}
		return wrongRow(in, err)
	})
}

// appended tells want of memory from other errors, which the appender gives as text alone.
func appended(err error) error {
	if err != nil && strings.Contains(err.Error(), "could not allocate block") {
		return &duckdb.Error{Type: duckdb.ErrorTypeOutOfMemory, Msg: err.Error()}
	}
	return err
}

// driverValue gives a value as DuckDB's driver takes it.
func driverValue(c agreement.Column, v rows.Value) driver.Value {
	switch {
	case v.Null:
		return nil
	case c.Type == "text":
		return string(v.Text)
	case c.Type == "boolean":
		return v.Int == 1
	case c.Type == "date":
		return time.Unix(v.Int*24*60*60, 0).UTC()
	case c.Type == "decimal":
		return duckdb.Decimal{Width: 18, Scale: uint8(c.Scale), Value: big.NewInt(v.Int)}
	}
	return v.Int
}
