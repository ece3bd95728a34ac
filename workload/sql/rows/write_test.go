package rows_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"strongroom.dev/agreement"
	"strongroom.dev/workload/sql/rows"
)

func text(s ...string) (out [][]byte) {
	for _, s := range s {
		if s == "NULL" {
			out = append(out, nil)
		} else {
			out = append(out, []byte(s))
		}
	}
	return out
}

// What is written is read as the same rows.
func TestWriter(t *testing.T) {
	want := []string{`1|"a"|150|1|1`, `2|NULL|NULL|NULL|NULL`, `-3|""|-25|0|-719162`, "4|\"\\\"q\\\", ü☃\\n\\t\\\\\"|0|1|2932896"}
	for _, format := range []agreement.Format{agreement.CSV, agreement.NDJSON} {
		var out bytes.Buffer
		w, err := rows.NewWriter(&out, format, all)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range [][][]byte{text("1", "a", "1.5", "true", "1970-01-02"), text("2", "NULL", "NULL", "NULL", "NULL"), text("-3", "", "-0.25", "false", "0001-01-01"), text("4", "\"q\", ü☃\n\t\\", "0.00", "true", "9999-12-31")} {
			if err := w.Write(row); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		got, err := shown(out.Bytes(), format)
		if err != nil {
			t.Fatal(err, out.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
	}
	if _, err := rows.NewWriter(nil, agreement.Parquet, all); err == nil {
		t.Error("Parquet is written")
	}
}

func TestWriterRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		row    [][]byte
		format agreement.Format
		want   string
	}{
		"integer":         {text("1.0", "a", "1", "true", "2026-01-01"), agreement.CSV, "column person"},
		"decimal":         {text("1", "a", "1.505", "true", "2026-01-01"), agreement.CSV, "column score"},
		"boolean":         {text("1", "a", "1", "t", "2026-01-01"), agreement.NDJSON, "column smoker"},
		"date":            {text("1", "a", "1", "true", "infinity"), agreement.NDJSON, "column seen"},
		"NUL":             {text("1", "a\x00", "1", "true", "2026-01-01"), agreement.NDJSON, "column ward"},
		"UTF-8":           {text("1", "a\xff", "1", "true", "2026-01-01"), agreement.CSV, "column ward"},
		"carriage return": {text("1", "a\r", "1", "true", "2026-01-01"), agreement.CSV, "ndjson"},
		"long":            {text("1", strings.Repeat("x", rows.MaxRow), "1", "true", "2026-01-01"), agreement.CSV, "at most"},
	} {
		var out bytes.Buffer
		w, err := rows.NewWriter(&out, test.format, all)
		if err != nil {
			t.Fatal(err)
		}
		err = w.Write(test.row)
		var wrong *rows.Error
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), test.want) || wrong.Row != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
