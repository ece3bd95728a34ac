package rows_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/workload/sql/rows"
)

// all is a schema with every type.
var all = []agreement.Column{
	{Name: "person", Type: "integer", Unit: true}, {Name: "ward", Type: "text"}, {Name: "score", Type: "decimal", Scale: 2},
	{Name: "smoker", Type: "boolean"}, {Name: "seen", Type: "date"},
}

// shown reads a file and writes its rows as lines of text.
func shown(data []byte, format agreement.Format) (lines []string, err error) {
	_, err = rows.Scan(bytes.NewReader(data), format, all, func(row []rows.Value) error {
		var line []string
		for i, v := range row {
			switch {
			case v.Null:
				line = append(line, "NULL")
			case all[i].Type == "text":
				line = append(line, fmt.Sprintf("%q", v.Text))
			default:
				line = append(line, fmt.Sprint(v.Int))
			}
		}
		lines = append(lines, strings.Join(line, "|"))
		return nil
	})
	return lines, err
}

func TestNDJSON(t *testing.T) {
	data := `{"person":1,"ward":"plain","score":1.5,"smoker":true,"seen":"1970-01-02"}
{ "seen" : null , "smoker":null,"score":null,"ward":null,"person" : -9223372036854775808 }` + "\r\n" +
		`{"person":9223372036854775807,"ward":"","score":-0.25,"smoker":false,"seen":"0001-01-01"}
{"person":-0,"ward":"\"\\\/\b\f\n\r\t\u00fc\ud834\udd1eü☃𝄞","score":9999999999999999.99,"smoker":false,"seen":"9999-12-31"}`
	want := []string{`1|"plain"|150|1|1`, `-9223372036854775808|NULL|NULL|NULL|NULL`, `9223372036854775807|""|-25|0|-719162`,
		`0|"\"\\/\b\f\n\r\tü𝄞ü☃𝄞"|999999999999999999|0|2932896`}
	for _, end := range []string{"", "\n"} {
		got, err := shown([]byte(data+end), agreement.NDJSON)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if got, err := shown(nil, agreement.NDJSON); err != nil || len(got) != 0 {
		t.Errorf("no rows: %v, %v", got, err)
	}
}

func TestHostileNDJSON(t *testing.T) {
	const good = `{"person":1,"ward":"a","score":1.50,"smoker":true,"seen":"2026-01-31"}`
	with := func(old, new string) string { return good + "\n" + strings.Replace(good, old, new, 1) + "\n" }
	for name, test := range map[string]struct{ data, want string }{
		"empty line":             {good + "\n\n" + good, "line 2: the end of the line; expected one JSON object a line"},
		"array":                  {"[" + good + "]", "one JSON object a line"},
		"two on a line":          {good + good, `expected the end of the line behind the object`},
		"comma behind":           {good + ",\n", `expected the end of the line behind the object`},
		"cut off":                {good[:30], "line 1"},
		"byte order mark":        {"\ufeff" + good, "byte order mark"},
		"Latin-1":                {with("a", "M\xfcller"), "line 2: other bytes"},
		"comment":                {"// rows\n" + good, "one JSON object"},
		"column missing":         {with(`"ward":"a",`, ""), "line 2, column ward: none; expected a member for every column"},
		"column twice":           {with(`"ward":"a",`, `"ward":"a","ward":"a",`), "column ward: a second one"},
		"column unknown":         {with(`"ward":"a",`, `"ward":"a","more":1,`), `another: "more"`},
		"other case":             {with(`"ward"`, `"Ward"`), `another: "Ward"`},
		"no unit":                {with(`"person":1`, `"person":null`), "line 2, column person: none"},
		"integer as text":        {with(`"person":1`, `"person":"1"`), "column person"},
		"integer with point":     {with(`"person":1`, `"person":1.0`), `column person: "1.0"`},
		"integer with exponent":  {with(`"person":1`, `"person":1e2`), `"1e2"`},
		"integer too large":      {with(`"person":1`, `"person":9223372036854775808`), "9223372036854775808"},
		"integer plus":           {with(`"person":1`, `"person":+1`), `"+1"`},
		"integer leading zero":   {with(`"person":1`, `"person":01`), `"01"`},
		"integer of an object":   {with(`"person":1`, `"person":{"a":1}`), "column person"},
		"decimal too fine":       {with("1.50", "1.505"), `column score: "1.505"`},
		"decimal too large":      {with("1.50", "12345678901234567"), "12345678901234567"},
		"decimal not number":     {with("1.50", "NaN"), "NaN"},
		"decimal exponent":       {with("1.50", "1.5e1"), "1.5e1"},
		"decimal no digits":      {with("1.50", "1."), `"1."`},
		"boolean as number":      {with("true", "1"), `column smoker: "1"`},
		"boolean as text":        {with("true", `"true"`), "column smoker"},
		"boolean in capitals":    {with("true", "True"), "True"},
		"date that isn't":        {with("2026-01-31", "2026-02-30"), "2026-02-30"},
		"date of year 0":         {with("2026-01-31", "0000-01-31"), "0000-01-31"},
		"date with time":         {with("2026-01-31", "2026-01-31T00:00:00Z"), "T00"},
		"date as number":         {with(`"2026-01-31"`, "20260131"), "column seen"},
		"text as number":         {with(`"a"`, "1"), "column ward"},
		"text as list":           {with(`"a"`, `["a"]`), "column ward"},
		"no value":               {with(`"a"`, ""), "column ward"},
		"null misspelt":          {with(`"a"`, "nul"), "column ward"},
		"null with more":         {with(`"a"`, "nullx"), "a comma or the end"},
		"NUL escaped":            {with(`"a"`, `"\u0000"`), "a NUL character"},
		"NUL":                    {with(`"a"`, "\"\x00\""), "column ward"},
		"tab in a string":        {with(`"a"`, "\"\t\""), "control characters"},
		"surrogate alone":        {with(`"a"`, `"\ud834"`), "escapes"},
		"surrogate with another": {with(`"a"`, `"\ud834\u0041"`), "escapes"},
		"surrogates swapped":     {with(`"a"`, `"\udd1e\ud834"`), "escapes"},
		"escape unknown":         {with(`"a"`, `"\x41"`), "escapes"},
		"escape cut":             {with(`"a"`, `"\u00"`), "escapes"},
		"escape signed":          {with(`"a"`, `"\u+041"`), "escapes"},
		"quote escaped":          {with(`"a"`, `"a\"`), "line 2"},
		"single quotes":          {with(`"a"`, `'a'`), "column ward"},
		"line too long":          {good + "\n" + strings.Repeat(" ", rows.MaxRow) + good, "line 2: more; expected a line of at most"},
		"text too long":          {with(`"a"`, `"`+strings.Repeat("x", rows.MaxRow)+`"`), "line 2: more; expected a line of at most"},
	} {
		_, err := rows.Check(strings.NewReader(test.data), agreement.NDJSON, all, false)
		var wrong *rows.Error
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), test.want) || wrong.Fix == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	n, err := rows.Check(strings.NewReader(good+"\n"+good), agreement.NDJSON, all, true)
	if n != 1 || err == nil || err.Error() != "line 2, column person: that of line 1; expected a unit that no other row has (--unique-unit)" {
		t.Errorf("a unit twice: %d rows, %v", n, err)
	}
}

// What keeps a file from being read is not held against its owner.
func TestNDJSONNotRead(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, before := range []string{"", `{"person"`} {
		_, err := rows.Check(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(before+"x"))), agreement.NDJSON, all, false)
		if before != "" && !errors.Is(err, iotest.ErrTimeout) {
			t.Errorf("%q: %v", before, err)
		}
	}
	if _, err := rows.Check(iotest.ErrReader(broken), agreement.NDJSON, all, false); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// FuzzNDJSON looks for lines that pass and that the standard library refuses or reads as
// others.
func FuzzNDJSON(f *testing.F) {
	for _, seed := range []string{"{\"person\":\"a\"}\n", "{\"person\":\"\\ud834\\udd1e\"}\r\n{\"person\":\"\"}", "{ \"\\u0070erson\" : \"\\n\" }", "{}", "\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got []string
		n, err := rows.Scan(bytes.NewReader(data), agreement.NDJSON, oneText, func(row []rows.Value) error {
			got = append(got, string(row[0].Text))
			return nil
		})
		again, slow := rows.Check(iotest.OneByteReader(bytes.NewReader(data)), agreement.NDJSON, oneText, false)
		if n != again || (err == nil) != (slow == nil) {
			t.Errorf("%d rows, %v; byte by byte %d rows, %v", n, err, again, slow)
		}
		var wrong *rows.Error
		if err != nil && (!errors.As(err, &wrong) || wrong.Line < 1 || wrong.Expected == "" || wrong.Got == "" || wrong.Fix == "") {
			t.Errorf("%#v", err)
		}
		lines := strings.Split(string(data), "\n")
		for i, text := range got {
			var row map[string]string
			if err := json.Unmarshal([]byte(lines[i]), &row); err != nil || row["person"] != text {
				t.Errorf("%q is read as %q; %v", lines[i], text, err)
			}
		}
	})
}
