package sql_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"strongroom.dev/agreement"
	"strongroom.dev/workload/sql"
)

var oneText = []agreement.Column{{Name: "person", Type: "text", Unit: true}}

// A file of one column has lines that could be taken for rows without a value.
func TestCSVOfOneColumn(t *testing.T) {
	for data, want := range map[string]string{
		"person\na\n\"\"\nb\n": "",
		"person\na\n\nb\n":     "line 3: an empty line; expected a row",
		"person\n\n":           "line 2: an empty line; expected a row",
		"person\na\na\n":       "line 3, column person: that of line 2; expected a unit that no other row has (--unique-unit)",
		"person\n\"a\nb\"\nb,": "line 4: more; expected 1 fields",
	} {
		rows, err := sql.CheckCSV(strings.NewReader(data), oneText, true)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want || want == "" && rows != 3 {
			t.Errorf("%q: %d rows, %s", data, rows, got)
		}
	}
}

// What keeps a file from being read is not held against its owner.
func TestCSVNotRead(t *testing.T) {
	for _, before := range []string{"", "per", "person\n", "person\na", "person\n\"a\n"} {
		broken := errors.New("disk on fire")
		_, err := sql.CheckCSV(io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken)), oneText, true)
		if !errors.Is(err, broken) {
			t.Errorf("%q: %v", before, err)
		}
	}
}

// FuzzCheckCSV looks for a file whose judgement depends on how it is read, or whose error
// names no place.
func FuzzCheckCSV(f *testing.F) {
	for _, seed := range []string{"person\na\n", "person\r\n\"a\r\nb\"\r\n", "person\n\"\"\"\"\n", "person\n\xff", "\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, err := sql.CheckCSV(bytes.NewReader(data), oneText, true)
		again, slow := sql.CheckCSV(iotest.OneByteReader(bytes.NewReader(data)), oneText, true)
		if rows != again || (err == nil) != (slow == nil) {
			t.Errorf("%d rows, %v; byte by byte %d rows, %v", rows, err, again, slow)
		}
		var wrong *sql.CSVError
		if err != nil && (!errors.As(err, &wrong) || wrong.Line < 1 || wrong.Expected == "" || wrong.Got == "" || wrong.Fix == "") {
			t.Errorf("%#v", err)
		}
	})
}
