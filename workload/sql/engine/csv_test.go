package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/workload/sql/engine"
	"strongroom.dev/workload/sql/rows"
)

// oddCSV are files behind smallHeader, or with a header of their own, whether a room loads
// each, and the line that is told of.
var oddCSV = []struct {
	name, data string
	rows       int // -1 is refused
	line       int
}{
	{"one row", smallHeader + "1,a,1,true,2026-01-01\n", 1, 0},
	{"no line end", smallHeader + "1,a,1,true,2026-01-01", 1, 0},
	{"no rows", smallHeader, 0, 0},
	{"no rows, no line end", strings.TrimSuffix(smallHeader, "\n"), 0, 0},
	{"CR LF", strings.ReplaceAll(smallHeader+"1,a,1,true,2026-01-01\n2,b,2,false,2026-01-02\n", "\n", "\r\n"), 2, 0},
	{"CR LF, none at the end", strings.ReplaceAll(smallHeader, "\n", "\r\n") + "1,a,1,true,2026-01-01", 1, 0},
	{"one CR LF among LF", smallHeader + "1,a,1,true,2026-01-01\n2,b,2,false,2026-01-02\r\n3,c,3,true,2026-01-03\n", -1, 3},
	{"one LF among CR LF", strings.ReplaceAll(smallHeader+"1,a,1,true,2026-01-01\n", "\n", "\r\n") + "2,b,2,false,2026-01-02\n", -1, 3},
	{"CR LF in the header alone", strings.ReplaceAll(smallHeader, "\n", "\r\n") + "1,a,1,true,2026-01-01\n", -1, 2},
	{"CR at the very end", smallHeader + "1,a,1,true,2026-01-01\r", -1, 2},
	{"CR LF, CR at the very end", strings.ReplaceAll(smallHeader, "\n", "\r\n") + "1,a,1,true,2026-01-01\r", -1, 2},
	{"CR alone", strings.ReplaceAll(smallHeader+"1,a,1,true,2026-01-01\n", "\n", "\r"), -1, 1},
	{"CR inside a field", smallHeader + "1,a\rb,1,true,2026-01-01\n", -1, 2},
	{"CR between quotes", smallHeader + "1,\"a\rb\",1,true,2026-01-01\n", -1, 2},
	{"LF between quotes", smallHeader + "1,\"a\nb\",1,true,2026-01-01\n", 1, 0},
	{"CR LF between quotes", smallHeader + "1,\"a\r\nb\",1,true,2026-01-01\n", -1, 2},
	{"CR LF between quotes of CR LF", strings.ReplaceAll(smallHeader+"1,\"a\nb\",1,true,2026-01-01\n", "\n", "\r\n"), 1, 0},
	{"LF between quotes of CR LF", strings.ReplaceAll(smallHeader, "\n", "\r\n") + "1,\"a\nb\",1,true,2026-01-01\r\n", -1, 2},
	{"empty line between", smallHeader + "1,a,1,true,2026-01-01\n\n2,b,2,false,2026-01-02\n", -1, 3},
	{"empty line at the end", smallHeader + "1,a,1,true,2026-01-01\n\n", -1, 3},
	{"empty line first", "\n" + smallHeader + "1,a,1,true,2026-01-01\n", -1, 1},
	{"empty line behind the header", smallHeader + "\n1,a,1,true,2026-01-01\n", -1, 2},
	{"empty lines of CR LF", strings.ReplaceAll(smallHeader+"\n", "\n", "\r\n"), -1, 2},
	{"line of blanks", smallHeader + "  \n1,a,1,true,2026-01-01\n", -1, 2},
	{"line of commas", smallHeader + ",,,,\n", -1, 2},
	{"comment", smallHeader + "# all of 2026\n1,a,1,true,2026-01-01\n", -1, 2},
	{"Latin-1", smallHeader + "1,a,1,true,2026-01-01\n2,M\xfcller,2,false,2026-01-02\n", -1, 3},
	{"cut in a letter", smallHeader + "1,M\xc3,1,true,2026-01-01\n", -1, 2},
	{"surrogate", smallHeader + "1,\xed\xa0\x80,1,true,2026-01-01\n", -1, 2},
	{"longest form", smallHeader + "1,\xc0\x80,1,true,2026-01-01\n", -1, 2},
	{"letters of all planes", smallHeader + "1,ü☃𝄞\u2028\u00a0\ufeff\U0010ffff,1,true,2026-01-01\n", 1, 0},
	{"UTF-16", "p\x00e\x00r\x00s\x00o\x00n\x00\n", -1, 1},
	{"NUL", smallHeader + "1,a\x00b,1,true,2026-01-01\n", -1, 2},
	{"end of file of old", smallHeader + "1,a,1,true,2026-01-01\n\x1a", -1, 3},
	{"control characters", smallHeader + "1,a\x01\x02\t\v\f\x7fb,1,true,2026-01-01\n", 1, 0},
	{"byte order mark", "\ufeff" + smallHeader + "1,a,1,true,2026-01-01\n", -1, 1},
	{"quoted header", strings.Replace(smallHeader, "ward", `"ward"`, 1) + "1,a,1,true,2026-01-01\n", -1, 1},
	{"blank in the header", strings.Replace(smallHeader, ",ward", ", ward", 1) + "1,a,1,true,2026-01-01\n", -1, 1},
	{"upper case in the header", strings.Replace(smallHeader, "ward", "Ward", 1) + "1,a,1,true,2026-01-01\n", -1, 1},
	{"header twice", smallHeader + smallHeader, -1, 2},
	{"quotes around all", smallHeader + `"1","a","1.5","true","2026-01-01"` + "\n", 1, 0},
	{"blank before a quote", smallHeader + "1, \"a\",1,true,2026-01-01\n", -1, 2},
	{"blank behind a quote", smallHeader + "1,\"a\" ,1,true,2026-01-01\n", -1, 2},
	{"quote inside", smallHeader + "1,5\" pipe,1,true,2026-01-01\n", -1, 2},
	{"quotes inside", smallHeader + "1,a\"b\"c,1,true,2026-01-01\n", -1, 2},
	{"doubled quotes outside", smallHeader + "1,a\"\"b,1,true,2026-01-01\n", -1, 2},
	{"doubled quotes", smallHeader + "1,\"\"\"a\"\"\",1,true,2026-01-01\n", 1, 0},
	{"escape of another kind", smallHeader + "1,\"a\\\"b\",1,true,2026-01-01\n", -1, 2},
	{"backslash", smallHeader + "1,a\\,1,true,2026-01-01\n", 1, 0},
	{"single quotes", smallHeader + "1,'a',1,true,2026-01-01\n", 1, 0},
	{"comma in single quotes", smallHeader + "1,'a,b',1,true,2026-01-01\n", -1, 2},
	{"quote never closed", smallHeader + "1,a,1,true,2026-01-01\n2,\"b,2,false,2026-01-02\n3,c,3,true,2026-01-03\n", -1, 3},
	{"comma at the end", smallHeader + "1,a,1,true,2026-01-01,\n", -1, 2},
	{"field less", smallHeader + "1,a,1,true\n", -1, 2},
	{"last field empty", smallHeader + "1,a,1,true,\n", 1, 0},
	{"empty integer of quotes", smallHeader + "\"\",a,1,true,2026-01-01\n", -1, 2},
	{"empty decimal of quotes", smallHeader + "1,a,\"\",true,2026-01-01\n", -1, 2},
	{"NULL by name", smallHeader + "1,NULL,1,true,2026-01-01\n", 1, 0},
	{"NULL as a number", smallHeader + "1,a,NULL,true,2026-01-01\n", -1, 2},
	{"zero with a sign", smallHeader + "-0,a,-0.0,true,2026-01-01\n", 1, 0},
	{"plus", smallHeader + "+1,a,1,true,2026-01-01\n", -1, 2},
	{"leading zero", smallHeader + "01,a,1,true,2026-01-01\n", -1, 2},
	{"point without digits", smallHeader + "1,a,1.,true,2026-01-01\n", -1, 2},
	{"point first", smallHeader + "1,a,.5,true,2026-01-01\n", -1, 2},
	{"comma as a point", smallHeader + "1,a,\"1,5\",true,2026-01-01\n", -1, 2},
	{"decimal of 18 digits", smallHeader + "1,a,9999999999999999.99,true,2026-01-01\n", 1, 0},
	{"decimal of 17 before the point", smallHeader + "1,a,10000000000000000,true,2026-01-01\n", -1, 2},
	{"year 0", smallHeader + "1,a,1,true,0000-12-31\n", -1, 2},
	{"year 9999", smallHeader + "1,a,1,true,9999-12-31\n", 1, 0},
	{"leap day of 1900", smallHeader + "1,a,1,true,1900-02-29\n", -1, 2},
	{"leap day of 2000", smallHeader + "1,a,1,true,2000-02-29\n", 1, 0},
	{"unit twice", smallHeader + "0,a,1,true,2026-01-01\n1,a,1,true,2026-01-01\n-0,a,1,true,2026-01-01\n", -1, 4},
	{"large row", smallHeader + "1," + strings.Repeat("x", rows.MaxRow-30) + ",1,true,2026-01-01\n", 1, 0},
	{"large row of quotes", smallHeader + "1,\"" + strings.Repeat("\"\"", rows.MaxRow/2-30) + "\",1,true,2026-01-01\n", 1, 0},
	{"row too large", smallHeader + "1," + strings.Repeat("x", rows.MaxRow) + ",1,true,2026-01-01\n", -1, 2},
	{"row of lines too large", smallHeader + "1,\"" + strings.Repeat("x\n", rows.MaxRow/2) + "\",1,true,2026-01-01\n", -1, 2},
}

// What an owner is told when publishing is what rooms do: the same files pass, with the same
// number of rows.
func TestOddCSV(t *testing.T) {
	for _, test := range oddCSV {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			n, err := rows.Check(strings.NewReader(test.data), agreement.CSV, small, true)
			var wrong *rows.Error
			if errors.As(err, &wrong) {
				n = -1
			} else if err != nil {
				t.Fatal(err)
			}
			if n != test.rows || wrong != nil && wrong.Line != test.line {
				t.Errorf("published: %d rows, %v", n, err)
			}
			loaded, detail := loadRows(t, []byte(test.data))
			if loaded != test.rows {
				t.Errorf("a room loads %d rows: %s", loaded, detail)
			}
			if test.line != 0 && test.name != "unit twice" && !strings.HasPrefix(detail, fmt.Sprintf("line %d", test.line)) {
				t.Errorf("the room's failure does not name line %d: %s", test.line, detail)
			}
		})
	}
}

// loadRows gives how many rows a room loads of a file with unique units, -1 if it refuses.
func loadRows(t testing.TB, data []byte) (rows int, detail string) {
	t.Helper()
	got, err := engine.Execute(context.Background(), oneInput(t, agreement.CSV, data, true, "SELECT count(*) AS n FROM people"), silent)
	if err != nil {
		f := failureOf(t, err)
		for _, raw := range []string{"/proc/", "ignore_errors", "Error:", `\n`} {
			if strings.Contains(f.Detail, raw) {
				t.Errorf("DuckDB's words: %s", f.Detail)
			}
		}
		return -1, f.Detail
	}
	if len(got.Rows) == 0 {
		return 0, ""
	}
	_, err = fmt.Sscan(*got.Rows[0][0], &rows)
	if err != nil {
		t.Fatal(err)
	}
	return rows, ""
}

// FuzzCSV looks for a file that passes when published and that a room refuses, or reads as
// other rows.
func FuzzCSV(f *testing.F) {
	for _, test := range oddCSV {
		if len(test.data) < 1000 {
			f.Add([]byte(strings.TrimPrefix(test.data, smallHeader)))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		data = append([]byte(smallHeader), data...)
		n, err := rows.Check(bytes.NewReader(data), agreement.CSV, small, true)
		if err != nil {
			n = -1
		}
		if loaded, detail := loadRows(t, data); loaded != n {
			t.Errorf("published: %d rows, %v; loaded: %d, %s", n, err, loaded, detail)
		}
	})
}
