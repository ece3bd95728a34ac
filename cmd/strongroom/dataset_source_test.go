package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"strongroom.dev/internal/pgtest"
)

// TestSources runs the scenarios of data that is read from where it is kept; $DB is a
// database.
func TestSources(t *testing.T) {
	database := pgtest.Start(t)
	pgtest.Exec(t, database, `CREATE TABLE visits AS SELECT n AS person, 'ward ' || n % 30 AS ward, (n % 100)::numeric(18,2) AS score FROM generate_series(1::bigint, 5000) n;
		CREATE TABLE wrong AS SELECT n AS person, 'a'::text AS ward, n / 8.0 AS score FROM generate_series(1::bigint, 5000) n;
		CREATE TABLE none AS SELECT * FROM visits WHERE false`)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/sources",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("STRONGROOM_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("DB", database)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"fails": scriptFails, "json": scriptJSON},
	})
}
