package rows_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"strongroom.dev/agreement"
	"strongroom.dev/workload/sql/rows"
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
		n, err := rows.Check(strings.NewReader(data), agreement.CSV, oneText, true)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want || want == "" && n != 3 {
			t.Errorf("%q: %d rows, %s", data, n, got)
		}
	}
}

// What keeps a file from being read is not held against its owner.
func TestCSVNotRead(t *testing.T) {
	for _, before := range []string{"", "per", "person\n", "person\na", "person\n\"a\n"} {
		broken := errors.New("disk on fire")
		_, err := rows.Check(io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken)), agreement.CSV, oneText, true)
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
		n, err := rows.Check(bytes.NewReader(data), agreement.CSV, oneText, true)
		again, slow := rows.Check(iotest.OneByteReader(bytes.NewReader(data)), agreement.CSV, oneText, true)
		if n != again || (err == nil) != (slow == nil) {
			t.Errorf("%d rows, %v; byte by byte %d rows, %v", n, err, again, slow)
		}
		var wrong *rows.Error
		if err != nil && (!errors.As(err, &wrong) || wrong.Line < 1 || wrong.Expected == "" || wrong.Got == "" || wrong.Fix == "") {
			t.Errorf("%#v", err)
		}
	})
}
