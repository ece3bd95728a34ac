package engine

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// What DuckDB still could do after the locks is what the guard must refuse; what it can't
// do any more is here.
func TestLockedDown(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	allowed, other := filepath.Join(dir, "allowed.csv"), filepath.Join(dir, "other.csv")
	for _, f := range []string{allowed, other} {
		if err := os.WriteFile(f, []byte("a\n1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := open(ctx, 128<<20, 2, []string{allowed})
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if _, err := d.one(ctx, "SELECT CAST(a AS VARCHAR) FROM read_csv("+quote(allowed)+")"); err != nil {
		t.Errorf("an input can't be read: %v", err)
	}
	for _, statement := range []string{
		"SELECT * FROM read_csv(" + quote(other) + ")",
		"SELECT * FROM read_text('/etc/passwd')",
		"SELECT * FROM read_blob('/proc/self/environ')",
		"SELECT * FROM glob('/*')",
		"SELECT * FROM sniff_csv(" + quote(other) + ")",
		"SELECT * FROM '" + other + "'",
		"SELECT * FROM read_csv(" + quote(allowed+"/../other.csv") + ")",
		"SELECT * FROM read_parquet('https://example.com/x.parquet')",
		"COPY (SELECT 1) TO " + quote(filepath.Join(dir, "out.csv")),
		"EXPORT DATABASE " + quote(dir),
		"ATTACH " + quote(filepath.Join(dir, "db")),
		"INSTALL httpfs", "LOAD httpfs", "INSTALL x FROM community",
		"SET enable_external_access = true",
		"SET allowed_paths = ['/etc/passwd']",
		"SET allowed_directories = ['/']",
		"SET temp_directory = '/tmp'",
		"SET memory_limit = '1 TB'",
		"SET threads = 64",
		"SET lock_configuration = false",
		"RESET lock_configuration",
		"PRAGMA enable_external_access = true",
		"CREATE PERSISTENT SECRET s (TYPE http)",
	} {
		if err := d.exec(ctx, statement); err == nil {
			t.Errorf("%s passed", statement)
		}
	}
	if got, err := d.one(ctx, "SELECT current_setting('temp_directory') || current_setting('enable_external_access')"); err != nil || got != "false" {
		t.Errorf("settings %q, %v", got, err)
	}
}
