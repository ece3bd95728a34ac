package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

// database is one locked-down in-memory DuckDB with the one connection it is used through.
type database struct {
	db   *sql.DB
	conn *sql.Conn
}

// open starts an in-memory database that may read exactly the files named, and nothing
// else outside itself, for good: the configuration is locked before any input is touched.
func open(ctx context.Context, memory, threads int64, files []string) (*database, error) {
	return openWithout(ctx, memory, threads, files, packing)
}

// A Parquet file says what its smallest and largest values are, and may lie. Packing groups
// into as few bits as that takes would make other values of those outside, so it is off. To
// use it at all is worth half of some queries' time, and where it is wrong, DuckDB fails.
const (
	packing    = "compressed_materialization"
	statistics = "statistics_propagation"
)

// openWithout is open without some of DuckDB's optimizers.
func openWithout(ctx context.Context, memory, threads int64, files []string, disabled ...string) (*database, error) {
	// Given at the start, these two keep DuckDB from asking the machine how large it is (in
	// /proc and /sys, which a sandbox may show but not let it read).
	connector, err := duckdb.NewConnector(fmt.Sprintf("?threads=%d&memory_limit=%dB", threads, memory), nil)
	if err != nil {
		return nil, err
	}
	d := &database{db: sql.OpenDB(connector)}
	if d.conn, err = d.db.Conn(ctx); err != nil {
		return nil, errors.Join(err, d.db.Close())
	}
	for _, setting := range settings(files, disabled) {
		if err := d.exec(ctx, setting); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", setting, err), d.close())
		}
	}
	return d, nil
}

// settings lists the locks in the order in which each still can be set. Spilling is off: a
// spill file would hold plaintext.
func settings(files, disabled []string) []string {
	var quoted []string
	for _, f := range files {
		quoted = append(quoted, quote(f))
	}
	return []string{
		"SET temp_directory = ''",
		"SET autoinstall_known_extensions = false",
		"SET autoload_known_extensions = false",
		"SET allow_community_extensions = false",
		"SET allow_unsigned_extensions = false",
		"SET allow_persistent_secrets = false",
		"SET preserve_insertion_order = false",
		"SET disabled_optimizers = '" + strings.Join(disabled, ",") + "'",
		"SET allowed_paths = [" + strings.Join(quoted, ", ") + "]",
		"SET enable_external_access = false",
		"SET lock_configuration = true",
	}
}

func (d *database) close() error { return errors.Join(d.conn.Close(), d.db.Close()) }

func (d *database) exec(ctx context.Context, statement string) error {
	_, err := d.conn.ExecContext(ctx, statement)
	return err
}

// one runs a query whose answer is one row of one text.
func (d *database) one(ctx context.Context, query string, args ...any) (string, error) {
	var out string
	err := d.conn.QueryRowContext(ctx, query, args...).Scan(&out)
	return out, err
}

// tree gives DuckDB's parse tree of a query as JSON; text that is no SELECT gives a tree
// with an error in it.
func (d *database) tree(ctx context.Context, query string) (string, error) {
	return d.one(ctx, "SELECT CAST(json_serialize_sql(CAST(? AS VARCHAR)) AS VARCHAR)", query)
}

// text gives the query of a parse tree.
func (d *database) text(ctx context.Context, tree []byte) (string, error) {
	return d.one(ctx, "SELECT json_deserialize_sql(CAST(? AS JSON))", string(tree))
}

// plan gives the bound plan of a query as JSON. It is the unoptimised one, since the
// optimised one depends on the data; skip_default would hide columns.
func (d *database) plan(ctx context.Context, query string) (string, error) {
	return d.one(ctx, "SELECT CAST(json_serialize_plan(CAST(? AS VARCHAR), optimize := false) AS VARCHAR)", query)
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// ident quotes a name.
func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
