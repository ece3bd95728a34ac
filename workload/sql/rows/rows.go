// Package rows reads the rows of inputs: CSV, NDJSON and Arrow files (spec/sql.md, section 2).
//
// It promises that a file that is not wholly of its form, with every value of its column's
// declared type, is refused, and that no value is rounded, trimmed or guessed. Owners check
// their files with it before they are sealed, and rooms load with it, so that both judge
// alike. It reads what it is given once, from start to end, and keeps no more of it than a
// row, or of Arrow a batch. Parquet is read by the engine alone.
package rows

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"strongroom.dev/agreement"
)

// MaxRow bounds a row of a CSV or NDJSON file, in bytes, its line end included, and the
// texts of a row of an Arrow file: half of what DuckDB's reader takes.
const MaxRow = 1 << 20

// Error says what of spec/sql.md, section 2, a file breaks. It may quote the file: it is for
// the file's owner.
type Error struct {
	Code string // input.header, input.columns, input.value or input.unit
	// Line of the file, from 1, where the row begins; 0 is the file as a whole.
	Line int
	// Row of an Arrow file, which has no lines, from 1.
	Row    int
	Column string // "" is the row as a whole
	// Expected, Got and Fix as in a verdict.
	Expected, Got, Fix string
}

// Error gives place, finding and expectation.
func (e *Error) Error() string {
	where := e.Place()
	if e.Column != "" {
		if where != "" {
			where += ", "
		}
		where += "column " + e.Column
	}
	if where != "" {
		where += ": "
	}
	return where + e.Got + "; expected " + e.Expected
}

// Place gives the line or row, "" for none.
func (e *Error) Place() string {
	switch {
	case e.Line > 0:
		return fmt.Sprintf("line %d", e.Line)
	case e.Row > 0:
		return fmt.Sprintf("row %d", e.Row)
	}
	return ""
}

// Value is one value of a row.
type Value struct {
	Null bool
	// Int is an integer; a decimal as a number of units of its last digit; a date as days since
	// 1970-01-01; or 1 for true.
	Int int64
	// Text is a text, as long as the row is.
	Text []byte
}

// Reads reports whether Scan reads a format.
func Reads(format agreement.Format) bool {
	return format == agreement.CSV || format == agreement.NDJSON || format == agreement.Arrow
}

// Scan reads a file to its end, checks every byte of it, and passes each row on; columns and
// values are in the order of the schema. Where a row has no unit it stops. It gives the number
// of rows; its errors are of type *Error, or those of src and each.
func Scan(src io.Reader, format agreement.Format, columns []agreement.Column, each func(row []Value) error) (n int, err error) {
	return scan(src, format, columns, func(_ int, row []Value) error { return each(row) })
}

// Check reads a file to its end: what passes here, a room loads, and what doesn't, it refuses.
// With unique it also keeps every unit in memory to find one that comes twice. It gives the
// number of rows; its errors are as Scan's.
func Check(src io.Reader, format agreement.Format, columns []agreement.Column, unique bool) (n int, err error) {
	if !unique {
		return Scan(src, format, columns, func([]Value) error { return nil })
	}
	return scan(src, format, columns, (&units{format: format, columns: columns, seen: map[string]int{}}).add)
}

// sink takes rows; at is the line or, of Arrow, the row.
type sink func(at int, row []Value) error

func scan(src io.Reader, format agreement.Format, columns []agreement.Column, each sink) (n int, err error) {
	unit := slices.IndexFunc(columns, func(c agreement.Column) bool { return c.Unit })
	counted := func(at int, row []Value) error {
		if unit >= 0 && row[unit].Null {
			return place(format, at, &Error{Code: "input.unit", Column: columns[unit].Name, Expected: "a value: every row says whom it is about", Got: "none", Fix: "give it one, or leave the row out"})
		}
		if err := each(at, row); err != nil {
			return err
		}
		n++
		return nil
	}
	switch format {
	case agreement.CSV:
		err = scanCSV(src, columns, counted)
	case agreement.NDJSON:
		err = scanJSON(src, columns, counted)
	case agreement.Arrow:
		err = scanArrow(src, columns, counted)
	default:
		err = fmt.Errorf("rows: format %.20q", string(format))
	}
	return n, err
}

// place says where a row is that an error is about.
func place(format agreement.Format, at int, e *Error) *Error {
	if format == agreement.Arrow {
		e.Row = at
	} else {
		e.Line = at
	}
	return e
}

// units finds units that come twice.
type units struct {
	format  agreement.Format
	columns []agreement.Column
	seen    map[string]int // where each was seen
}

func (u *units) add(at int, row []Value) error {
	for i, c := range u.columns {
		if !c.Unit {
			continue
		}
		unit := string(row[i].Text)
		if c.Type == "integer" {
			unit = strconv.FormatInt(row[i].Int, 10)
		}
		if before, twice := u.seen[unit]; twice {
			first := place(u.format, before, &Error{}).Place()
			return place(u.format, at, &Error{Code: "input.unit", Column: c.Name, Expected: "a unit that no other row has (--unique-unit)",
				Got: "that of " + first, Fix: "leave --unique-unit out, or correct the file"})
		}
		u.seen[unit] = at
	}
	return nil
}

func names(columns []agreement.Column) (out []string) {
	for _, c := range columns {
		out = append(out, c.Name)
	}
	return out
}

// parse reads a value from the one form that its type has as text, if it is in its range.
func parse(c agreement.Column, text []byte) (v Value, isOf bool) {
	switch c.Type {
	case "integer":
		if !plainInteger(bytes.TrimPrefix(text, []byte{'-'}), 19) {
			return v, false
		}
		n, err := strconv.ParseInt(string(text), 10, 64)
		return Value{Int: n}, err == nil
	case "decimal":
		return parseDecimal(c, text)
	case "boolean":
		if string(text) == "true" {
			return Value{Int: 1}, true
		}
		return v, string(text) == "false"
	case "date":
		if len(text) != len(time.DateOnly) || string(text[:4]) == "0000" {
			return v, false
		}
		day, err := time.Parse(time.DateOnly, string(text))
		return Value{Int: day.Unix() / secondsADay}, err == nil
	}
	return Value{Text: text}, true
}

const secondsADay = 24 * 60 * 60

func parseDecimal(c agreement.Column, text []byte) (v Value, isOf bool) {
	digits, negative := bytes.CutPrefix(text, []byte{'-'})
	whole, part, point := bytes.Cut(digits, []byte{'.'})
	if point && (len(part) == 0 || int64(len(part)) > c.Scale || !bytesDigits(part)) {
		return v, false
	}
	if !plainInteger(whole, 18) || whole[0] != '0' && int64(len(whole))+c.Scale > 18 {
		return v, false
	}
	for _, b := range whole {
		v.Int = 10*v.Int + int64(b-'0')
	}
	for i := range int(c.Scale) {
		v.Int *= 10
		if i < len(part) {
			v.Int += int64(part[i] - '0')
		}
	}
	if negative {
		v.Int = -v.Int
	}
	return v, true
}

// plainInteger reports digits without leading zeros.
func plainInteger(text []byte, most int) bool {
	return len(text) > 0 && len(text) <= most && bytesDigits(text) && (text[0] != '0' || len(text) == 1)
}

func bytesDigits(text []byte) bool {
	for _, b := range text {
		if b < '0' || b > '9' {
			return false
		}
	}
	return true
}

func typeText(c agreement.Column) string {
	switch c.Type {
	case "integer":
		return "an integer of 64 bits like -12, with no blank, plus or leading zero"
	case "decimal":
		return fmt.Sprintf("a decimal like -1.5 of at most 18 digits, %d of them for behind the point", c.Scale)
	case "boolean":
		return "true or false"
	case "date":
		return "a day that exists, like 2026-11-24, of the years 0001 to 9999"
	}
	return "a text"
}

// quoted shows a piece of a file in one short line.
func quoted(text []byte) string {
	const most = 100
	if len(text) > most {
		return strconv.Quote(string(text[:most])) + "…"
	}
	return strconv.Quote(string(text))
}
