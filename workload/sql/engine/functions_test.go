package engine_test

import (
	"database/sql"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"
)

// Every function of this DuckDB is classified, and nothing else is: a new version does not come
// in without somebody having looked at what it brings.
func TestEveryFunctionIsClassified(t *testing.T) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT DISTINCT CASE function_type WHEN 'table_macro' THEN 'macro' ELSE function_type END, function_name FROM duckdb_functions()")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var have []string
	for rows.Next() {
		var kind, name string
		if err := rows.Scan(&kind, &name); err != nil {
			t.Fatal(err)
		}
		have = append(have, kind+" "+name)
	}
	list, err := os.ReadFile("../guard/functions.txt")
	if err != nil {
		t.Fatal(err)
	}
	classes := strings.Fields("groups rows order volatile session catalogue file cost types internal")
	var listed []string
	for line := range strings.Lines(string(list)) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, class, _ := strings.Cut(rest, " ")
		if !slices.Contains(classes, class) {
			t.Errorf("%s: no class", line)
		}
		listed = append(listed, kind+" "+name)
	}
	slices.Sort(have)
	slices.Sort(listed)
	if fmt.Sprint(listed) != fmt.Sprint(slices.Compact(slices.Clone(listed))) {
		t.Error("a function is listed twice")
	}
	for _, f := range have {
		if !slices.Contains(listed, f) {
			t.Errorf("%s is not classified", f)
		}
	}
	for _, f := range listed {
		if !slices.Contains(have, f) {
			t.Errorf("%s is classified, but DuckDB has none", f)
		}
	}
}
