package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"strongroom.dev/internal/pgtest"
)

// TestSources runs the scenarios of data that is read from where it is kept; $DB is a
// database, and the AWS_ variables lead to a storage with s3://shop/visits.csv, wrong.csv and
// visits.txt.
func TestSources(t *testing.T) {
	database := pgtest.Start(t)
	pgtest.Exec(t, database, `CREATE TABLE visits AS SELECT n AS person, 'ward ' || n % 30 AS ward, (n % 100)::numeric(18,2) AS score FROM generate_series(1::bigint, 5000) n;
		CREATE TABLE wrong AS SELECT n AS person, 'a'::text AS ward, n / 8.0 AS score FROM generate_series(1::bigint, 5000) n;
		CREATE TABLE none AS SELECT * FROM visits WHERE false`)
	objects := map[string]string{"/shop/visits.csv": "person,ward,score\n1,a,1.50\n2,,\n", "/shop/wrong.csv": "person,ward,score\n1,a,1.505\n", "/shop/visits.txt": "only text"}
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if data, found := objects[r.URL.Path]; found && strings.Contains(r.Header.Get("Authorization"), "Credential=reader/") {
			io.WriteString(w, data)
			return
		}
		http.Error(w, "<Error><Code>NoSuchKey</Code></Error>", http.StatusNotFound)
	}))
	t.Cleanup(storage.Close)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/sources",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("STRONGROOM_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("DB", database)
			e.Setenv("AWS_ENDPOINT_URL", storage.URL)
			e.Setenv("AWS_ACCESS_KEY_ID", "reader")
			e.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"fails": scriptFails, "json": scriptJSON},
	})
}
