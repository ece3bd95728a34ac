// Package postgres keeps the state of attestation services in a PostgreSQL database that several
// instances share. It promises what [verifier.Store] asks for: each change compares and swaps in
// one statement, so that of many instances that change the same one wins.
//
// The database holds the keys that sign tokens, in clear: whoever can read the table can sign.
// It refuses passwords in the address, where others see them (PGPASSFILE and ~/.pgpass are the
// places), and a table of another layout.
package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"strongroom.dev/internal/pgaddress"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
)

// layout names the table's and records' format. A table of another layout is not used.
const layout = "strongroom/attestation-state/v2"

const (
	// maxConnections is the most connections of one instance: what it asks takes a millisecond.
	maxConnections = 8
	// patience is how long a statement may take, and how long connecting may.
	patience = 5 * time.Second
)

// Store is the state of attestation services. It is safe for concurrent use.
type Store struct{ pool *pgxpool.Pool }

var _ verifier.Store = (*Store)(nil)

// Config says where the state is. The zero Config is refused.
type Config struct {
	// Address is a URL such as postgres://strongroom@db.example.org/attestation?sslmode=verify-full,
	// without a password. What it leaves out comes from PostgreSQL's own variables and files.
	Address string
	// InsecureConnection allows connections to other machines on which somebody on the way can be
	// the database: read the keys that sign tokens, and say which policies are in force.
	InsecureConnection bool
}

const example = "a URL such as postgres://strongroom@db.example.org/attestation?sslmode=verify-full"

// Check refuses addresses that can't be used, and unless told otherwise those of other machines
// whose certificate would not be checked (sslmode is prefer if it is not given).
func (c Config) Check() error {
	_, err := c.parse()
	return err
}

func (c Config) parse() (*pgxpool.Config, error) {
	if err := pgaddress.Check(c.Address, "--database", example, c.InsecureConnection); err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(c.Address)
	if err != nil {
		return nil, verdict.Misuse("--database", example, "something else", "correct it")
	}
	return cfg, nil
}

// Open connects, and makes the table if it isn't there.
func Open(ctx context.Context, c Config) (*Store, error) {
	cfg, err := c.parse()
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = maxConnections
	cfg.ConnConfig.ConnectTimeout = patience
	cfg.ConnConfig.RuntimeParams["statement_timeout"] = fmt.Sprint(patience.Milliseconds())
	cfg.ConnConfig.RuntimeParams["application_name"] = "strongroom attestation"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, unreachable(err)
	}
	s := &Store{pool}
	if err := s.prepare(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

// unreachable hides nothing but the driver's own words, which name hosts and users.
func unreachable(err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "attestation.database", Expected: "a PostgreSQL database that answers", Got: verdict.Short(err.Error()),
		Fix: "check the address, the password file and that the database runs", Err: err}
}

// prepare makes the table once, whoever comes first, and checks the layout. Keys compare byte by
// byte, whatever the database's language.
func (s *Store) prepare(ctx context.Context) error {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return unreachable(err)
	}
	defer tx.Rollback(ctx)
	for _, statement := range []string{
		`SELECT pg_advisory_xact_lock(hashtext('strongroom attestation'))`,
		`CREATE TABLE IF NOT EXISTS strongroom_attestation (
			part text NOT NULL, key text COLLATE "C" NOT NULL, value bytea NOT NULL, PRIMARY KEY (part, key))`,
	} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return unreachable(err)
		}
	}
	if _, err := tx.Exec(ctx, `INSERT INTO strongroom_attestation VALUES ('layout', 'name', $1) ON CONFLICT DO NOTHING`, []byte(layout)); err != nil {
		return unreachable(err)
	}
	var got []byte
	if err := tx.QueryRow(ctx, `SELECT value FROM strongroom_attestation WHERE part = 'layout' AND key = 'name'`).Scan(&got); err != nil {
		return unreachable(err)
	}
	if string(got) != layout {
		return &verdict.Error{Kind: verdict.Broken, Check: "attestation.state", Expected: "a state of layout " + layout, Got: verdict.Short(string(got)), Fix: "use the version of strongroom that wrote it"}
	}
	if err := tx.Commit(ctx); err != nil {
		return unreachable(err)
	}
	return nil
}

// Close closes the connections.
func (s *Store) Close() error { s.pool.Close(); return nil }

// Get gives a value.
func (s *Store) Get(ctx context.Context, t verifier.Table, key string) ([]byte, error) {
	entries, err := s.query(ctx, `SELECT key, value FROM strongroom_attestation WHERE part = $1 AND key = $2`, string(t), key)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	return entries[0].Value, nil
}

// List gives the entries whose keys start with a prefix, by key.
func (s *Store) List(ctx context.Context, t verifier.Table, prefix string) ([]verifier.Entry, error) {
	return s.query(ctx, `SELECT key, value FROM strongroom_attestation WHERE part = $1 AND starts_with(key, $2) ORDER BY key`, string(t), prefix)
}

func (s *Store) query(ctx context.Context, statement string, args ...any) (all []verifier.Entry, err error) {
	rows, err := s.pool.Query(ctx, statement, args...)
	if err != nil {
		return nil, unreachable(err)
	}
	defer rows.Close()
	for rows.Next() {
		var e verifier.Entry
		if err := rows.Scan(&e.Key, &e.Value); err != nil {
			return nil, unreachable(err)
		}
		all = append(all, e)
	}
	if err := rows.Err(); err != nil {
		return nil, unreachable(err)
	}
	return all, nil
}

// Swap replaces a value, if it is what the caller thinks.
func (s *Store) Swap(ctx context.Context, t verifier.Table, key string, old, value []byte) error {
	if key == "" || len(value) == 0 {
		return fmt.Errorf("an empty key or value for table %s", t)
	}
	statement, args := `INSERT INTO strongroom_attestation VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, []any{string(t), key, value}
	if old != nil {
		statement, args = `UPDATE strongroom_attestation SET value = $3 WHERE part = $1 AND key = $2 AND value = $4`, append(args, old)
	}
	done, err := s.pool.Exec(ctx, statement, args...)
	if err != nil {
		return unreachable(err)
	}
	if done.RowsAffected() != 1 {
		return verifier.ErrChanged
	}
	return nil
}

// DeleteBelow deletes the entries whose keys are less than one.
func (s *Store) DeleteBelow(ctx context.Context, t verifier.Table, key string) error {
	if _, err := s.pool.Exec(ctx, `DELETE FROM strongroom_attestation WHERE part = $1 AND key < $2`, string(t), key); err != nil {
		return unreachable(err)
	}
	return nil
}
