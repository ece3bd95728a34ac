package engine_test

import (
	"bytes"
	"context"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/duckdb/duckdb-go/v2"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
	"strongroom.dev/workload/sql/engine"
)

// small is a schema with every type.
var small = []agreement.Column{
	{Name: "person", Type: "integer", Unit: true}, {Name: "ward", Type: "text"}, {Name: "score", Type: "decimal", Scale: 2},
	{Name: "smoker", Type: "boolean"}, {Name: "seen", Type: "date"},
}

const smallHeader = "person,ward,score,smoker,seen\n"

// oneInput makes a job over one input.
func oneInput(t testing.TB, format agreement.Format, data []byte, unique bool, query string) sql.Job {
	return sql.Job{
		Inputs: []sql.Input{{Name: "rows", Owner: "alpha", FD: fdOf(t, data), Format: format, Schema: small, UniqueUnit: unique, Rules: *testrules.Groups(1, "lab")}},
		Tables: []sql.Table{{Name: "people", Inputs: []wire.ID{"rows"}}}, Query: query,
		MaxRows: 100, MaxColumns: 100, MaxBytes: 1 << 20, Memory: 256 << 20, Threads: 2, Salt: sql.NoSalt, Noise: sql.NoSalt,
	}
}

// atLeast sets the minimum group of every input.
func atLeast(job *sql.Job, minimum int64) {
	for i := range job.Inputs {
		job.Inputs[i].Rules.MinGroup = minimum
	}
}

const everything = "SELECT ward, smoker, seen, count(*) AS n, sum(score) AS s FROM people GROUP BY ward, smoker, seen"

func TestCSVValues(t *testing.T) {
	data := smallHeader +
		"1,plain,1.5,true,2026-01-31\n" +
		"-2,\"quoted, \"\"text\"\"\",-0.25,false,0001-01-01\n" +
		"3,,,,\n" +
		"4,\"\",12345678901234.56,true,9999-12-31\n" +
		"9223372036854775807,\"two\nlines\",0,false,2024-02-29\n" +
		"-9223372036854775808,ü☃,-0.00,false,2024-02-29\n"
	want := []string{"|true|9999-12-31|1|12345678901234.56", "plain|true|2026-01-31|1|1.50", "quoted, \"text\"|false|0001-01-01|1|-0.25",
		"two\nlines|false|2024-02-29|1|0.00", "ü☃|false|2024-02-29|1|0.00", "NULL|NULL|NULL|1|NULL"}
	for ends, data := range map[string]string{"LF": data, "CRLF": strings.ReplaceAll(strings.Replace(data, "two\nlines", "two lines", 1), "\n", "\r\n"), "none at the end": strings.TrimSuffix(data, "\n")} {
		got, err := engine.Execute(context.Background(), oneInput(t, agreement.CSV, []byte(data), true, everything), silent)
		if err != nil {
			t.Fatal(ends, err, failureOf(t, err).Detail)
		}
		if got := strings.ReplaceAll(strings.Join(table(got), "|"), "two\nlines", "two lines"); got != strings.ReplaceAll(strings.Join(want, "|"), "two\nlines", "two lines") {
			t.Errorf("%s: got %q, want %q", ends, got, want)
		}
	}
}

func TestHostileCSV(t *testing.T) {
	for name, test := range map[string]struct{ data, code, detail string }{
		"empty file":          {"", "input.header", "first line"},
		"other header":        {"person,ward,score,smoker,date\n1,a,1,true,2026-01-01\n", "input.header", "date"},
		"columns swapped":     {"ward,person,score,smoker,seen\n", "input.header", "ward,person"},
		"byte order mark":     {"\ufeff" + smallHeader, "input.header", "byte order mark"},
		"header too long":     {strings.Repeat("x", 1<<20) + "\n", "input.header", "first line"},
		"semicolons":          {strings.ReplaceAll(smallHeader, ",", ";"), "input.header", ";"},
		"integer with point":  {smallHeader + "1.0,a,1,true,2026-01-01\n", "input.value", `line 2, column person: "1.0"`},
		"integer too large":   {smallHeader + "9223372036854775808,a,1,true,2026-01-01\n", "input.value", "9223372036854775808"},
		"integer in blanks":   {smallHeader + " 1,a,1,true,2026-01-01\n", "input.value", "column person"},
		"integer of words":    {smallHeader + "one,a,1,true,2026-01-01\n", "input.value", "one"},
		"integer underscored": {smallHeader + "1_0,a,1,true,2026-01-01\n", "input.value", "1_0"},
		"decimal too fine":    {smallHeader + "1,a,1.234,true,2026-01-01\n", "input.value", `column score: "1.234"`},
		"decimal too large":   {smallHeader + "1,a,12345678901234567,true,2026-01-01\n", "input.value", "12345678901234567"},
		"decimal exponent":    {smallHeader + "1,a,1e3,true,2026-01-01\n", "input.value", "1e3"},
		"decimal not number":  {smallHeader + "1,a,NaN,true,2026-01-01\n", "input.value", "NaN"},
		"boolean as number":   {smallHeader + "1,a,1,1,2026-01-01\n", "input.value", `column smoker: "1"`},
		"boolean upper case":  {smallHeader + "1,a,1,TRUE,2026-01-01\n", "input.value", "TRUE"},
		"date that isn't":     {smallHeader + "1,a,1,true,2026-02-30\n", "input.value", "2026-02-30"},
		"date otherwise":      {smallHeader + "1,a,1,true,01.02.2026\n", "input.value", "01.02.2026"},
		"date with time":      {smallHeader + "1,a,1,true,2026-01-01 00:00:00\n", "input.value", "2026-01-01 00"},
		"infinite date":       {smallHeader + "1,a,1,true,infinity\n", "input.value", "infinity"},
		"field too many":      {smallHeader + "1,a,1,true,2026-01-01,x\n", "input.value", ""},
		"field too few":       {smallHeader + "1,a,1,true\n", "input.value", ""},
		"quote not closed":    {smallHeader + "1,\"a,1,true,2026-01-01\n", "input.value", ""},
		"quote inside":        {smallHeader + "1,a\"b\"c\"x,1,true,2026-01-01\n2,\"a\"b,1,true,2026-01-01\n", "input.value", ""},
		"not UTF-8":           {smallHeader + "1,\xff\xfe,1,true,2026-01-01\n", "input.value", ""},
		"parquet magic":       {"PAR1" + strings.Repeat("\x00", 100) + "PAR1", "input.header", ""},
		"unit missing":        {smallHeader + "1,a,1,true,2026-01-01\n,a,1,true,2026-01-01\n", "input.unit", "line 3, column person: none"},
		"unit twice":          {smallHeader + "1,a,1,true,2026-01-01\n2,a,1,true,2026-01-01\n1,b,1,true,2026-01-01\n", "input.unit", "3 rows have 2"},
		"unit twice, far":     {smallHeader + "1,a,1,true,2026-01-01\n9000000000000000000,a,1,true,2026-01-01\n1,b,1,true,2026-01-01\n", "input.unit", "3 rows have 2"},
		"unit twice, lowest":  {smallHeader + "-9223372036854775808,a,1,true,2026-01-01\n-9223372036854775808,a,1,true,2026-01-01\n", "input.unit", "2 rows have 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := engine.Execute(context.Background(), oneInput(t, agreement.CSV, []byte(test.data), true, everything), silent)
			f := failureOf(t, err)
			if f.Phase != sql.Load || f.Code != test.code || f.Input != "rows" || !strings.Contains(f.Detail, test.detail) {
				t.Errorf("got %s %s of %q: %s", f.Phase, f.Code, f.Input, f.Detail)
			}
			if strings.Contains(err.Error(), "column") {
				t.Errorf("the error itself has the detail: %v", err)
			}
		})
	}
}

// parquet makes a Parquet file out of a SELECT.
func parquet(t testing.TB, query string) []byte {
	t.Helper()
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer connector.Close()
	conn, err := connector.Connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	file := filepath.Join(t.TempDir(), "out.parquet")
	if _, err := conn.(driver.ExecerContext).ExecContext(context.Background(), "COPY ("+query+") TO '"+file+"' (FORMAT parquet)", nil); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const goodParquet = "SELECT CAST(1 AS INTEGER) AS person, 'a' AS ward, CAST(1.5 AS DECIMAL(9,2)) AS score, true AS smoker, DATE '2026-01-01' AS seen"

func TestParquet(t *testing.T) {
	data := parquet(t, goodParquet+" UNION ALL SELECT 2, NULL, 2.25, NULL, NULL")
	got, err := engine.Execute(context.Background(), oneInput(t, agreement.Parquet, data, true, everything), silent)
	if err != nil {
		t.Fatal(err, failureOf(t, err).Detail)
	}
	if got := strings.Join(table(got), "\n"); got != "a|true|2026-01-01|1|1.50\nNULL|NULL|NULL|1|2.25" {
		t.Error(got)
	}
}

func TestHostileParquet(t *testing.T) {
	good := parquet(t, goodParquet)
	footer := append([]byte(nil), good...)
	for i := len(footer) - 200; i < len(footer)-8; i++ {
		footer[i] ^= 0x5a
	}
	for name, test := range map[string]struct {
		data []byte
		code string
	}{
		"empty":          {nil, "input.value"},
		"csv":            {[]byte(smallHeader), "input.value"},
		"cut":            {good[:len(good)/2], "input.value"},
		"footer":         {footer, "input.value"},
		"double":         {parquet(t, strings.Replace(goodParquet, "DECIMAL(9,2)", "DOUBLE", 1)), "input.columns"},
		"other scale":    {parquet(t, strings.Replace(goodParquet, "DECIMAL(9,2)", "DECIMAL(9,3)", 1)), "input.columns"},
		"wide decimal":   {parquet(t, strings.Replace(goodParquet, "DECIMAL(9,2)", "DECIMAL(19,2)", 1)), "input.columns"},
		"unsigned 64":    {parquet(t, strings.Replace(goodParquet, "INTEGER", "UBIGINT", 1)), "input.columns"},
		"text as number": {parquet(t, strings.Replace(goodParquet, "INTEGER", "VARCHAR", 1)), "input.columns"},
		"blob":           {parquet(t, strings.Replace(goodParquet, "'a'", "'a'::BLOB", 1)), "input.columns"},
		"list":           {parquet(t, strings.Replace(goodParquet, "'a'", "['a']", 1)), "input.columns"},
		"timestamp":      {parquet(t, strings.Replace(goodParquet, "DATE", "TIMESTAMP", 1)), "input.columns"},
		"upper case":     {parquet(t, strings.Replace(goodParquet, "AS ward", "AS WARD", 1)), "input.columns"},
		"a column more":  {parquet(t, goodParquet+", 1 AS more"), "input.columns"},
		"a column less":  {parquet(t, strings.Replace(goodParquet, ", DATE '2026-01-01' AS seen", "", 1)), "input.columns"},
		"no unit":        {parquet(t, goodParquet+" UNION ALL SELECT NULL, 'b', 2, true, NULL"), "input.unit"},
		"unit twice":     {parquet(t, goodParquet+" UNION ALL SELECT 1, 'b', 2, true, NULL"), "input.unit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := engine.Execute(context.Background(), oneInput(t, agreement.Parquet, test.data, true, everything), silent)
			if f := failureOf(t, err); f.Phase != sql.Load || f.Code != test.code || f.Input != "rows" {
				t.Errorf("got %s %s of %q: %s", f.Phase, f.Code, f.Input, f.Detail)
			}
		})
	}
}

// A file damaged in its middle gives a failure or an answer, and leaves the process alive.
func TestDamagedParquet(t *testing.T) {
	good := parquet(t, "SELECT CAST(i AS INTEGER) AS person, 'ward' || (i % 50) AS ward, CAST(i % 1000 / 10 AS DECIMAL(9,2)) AS score, i % 2 = 0 AS smoker, DATE '2026-01-01' AS seen FROM range(5000) t(i)")
	for at := 4; at < len(good); at += len(good)/40 + 1 {
		bad := append([]byte(nil), good...)
		bad[at] ^= 0xff
		_, err := engine.Execute(context.Background(), oneInput(t, agreement.Parquet, bad, true, everything), silent)
		if err != nil {
			failureOf(t, err)
		}
	}
}

func TestTextUnit(t *testing.T) {
	schema := []agreement.Column{{Name: "person", Type: "text", Unit: true}, {Name: "age", Type: "integer"}}
	for data, code := range map[string]string{"person,age\na,1\nb,2\n": "", "person,age\na,1\na,2\n": "input.unit", "person,age\na,1\n\"\",2\n": ""} {
		job := oneInput(t, agreement.CSV, []byte(data), true, "SELECT count(*) AS n, sum(age) AS s FROM people")
		job.Inputs[0].Schema = schema
		got, err := engine.Execute(context.Background(), job, silent)
		if code != "" {
			if f := failureOf(t, err); f.Code != code {
				t.Errorf("%q: %s", data, f.Code)
			}
		} else if err != nil || len(got.Rows) != 1 || *got.Rows[0][0] != "2" {
			t.Errorf("%q: %v %v", data, table(got), err)
		}
	}
}

func TestOutputLimits(t *testing.T) {
	var data strings.Builder
	data.WriteString(smallHeader)
	for i := range 50 {
		fmt.Fprintf(&data, "%d,ward%d,1,true,2026-01-01\n", i, i)
	}
	for code, change := range map[string]func(*sql.Job){
		"output.rows":  func(j *sql.Job) { j.MaxRows = 49 },
		"output.bytes": func(j *sql.Job) { j.MaxBytes = 400 },
	} {
		job := oneInput(t, agreement.CSV, []byte(data.String()), true, everything)
		change(&job)
		_, err := engine.Execute(context.Background(), job, silent)
		if f := failureOf(t, err); f.Phase != sql.Query || f.Code != code {
			t.Errorf("got %s %s, want %s", f.Phase, f.Code, code)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	var data strings.Builder
	data.WriteString(smallHeader)
	long := strings.Repeat("x", 1000)
	for i := range 150_000 {
		fmt.Fprintf(&data, "%d,%s%d,1,true,2026-01-01\n", i, long, i)
	}
	job := oneInput(t, agreement.CSV, []byte(data.String()), true, everything)
	job.Memory = 64 << 20
	_, err := engine.Execute(context.Background(), job, silent)
	if f := failureOf(t, err); f.Code != "memory" {
		t.Errorf("got %s %s: %s", f.Phase, f.Code, f.Detail)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := engine.Execute(ctx, fullJob(t), silent)
	if f := failureOf(t, err); f.Code != "canceled" {
		t.Errorf("got %s: %s", f.Code, f.Detail)
	}
}

// What a Parquet file says of its own values is not believed: an owner that lies there
// neither stops the run unnamed nor makes its people others.
func TestLyingStatistics(t *testing.T) {
	good := parquet(t, "SELECT CAST(i AS BIGINT) AS person, 'a' AS ward, CAST(1000003 + i % 5 AS BIGINT) AS x, CAST(0 AS BIGINT) AS flag FROM range(1000) t(i)")
	footer := len(good) - 8 - int(binary.LittleEndian.Uint32(good[len(good)-8:]))
	number := func(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }
	want := "1000003|200 1000004|200 1000005|200 1000006|200 1000007|200"
	for name, lie := range map[string][2][]byte{
		"largest too small": {number(1000007), number(1000004)}, "smallest too large": {number(1000003), number(1000006)}, "largest unit too small": {number(999), number(5)},
	} {
		bad := bytes.Clone(good)
		copy(bad[footer:], bytes.ReplaceAll(good[footer:], lie[0], lie[1]))
		if bytes.Equal(bad, good) {
			t.Fatal(name, ": nothing to lie about")
		}
		for _, unique := range []bool{true, false} {
			job := oneInput(t, agreement.Parquet, bad, unique, "SELECT x, count(*) AS n FROM people GROUP BY x")
			job.Inputs[0].Schema = personal
			got, err := engine.Execute(context.Background(), job, silent)
			if unique && name == "largest unit too small" { // found at load, when units are compared
				if f := failureOf(t, err); f.Phase != sql.Load || f.Code != "input.value" || f.Input != "rows" {
					t.Errorf("%s: %s %s of %q", name, f.Phase, f.Code, f.Input)
				}
				continue
			}
			if err != nil {
				t.Fatal(name, err, failureOf(t, err).Detail)
			}
			if rows := strings.Join(table(got), " "); rows != want {
				t.Errorf("%s: %s", name, rows)
			}
		}
	}
}
