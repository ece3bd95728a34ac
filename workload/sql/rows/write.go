package rows

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"strongroom.dev/agreement"
)

// Writer writes rows as a CSV or NDJSON file that Scan reads as the same rows.
type Writer struct {
	dst     *bufio.Writer
	format  agreement.Format
	columns []agreement.Column
	rows    int
	line    []byte
}

// NewWriter starts a file; another format is an error.
func NewWriter(dst io.Writer, format agreement.Format, columns []agreement.Column) (*Writer, error) {
	w := &Writer{dst: bufio.NewWriterSize(dst, 64<<10), format: format, columns: columns}
	if format == agreement.NDJSON {
		return w, nil
	}
	if format != agreement.CSV {
		return nil, fmt.Errorf("rows: rows are not written as %.20q", string(format))
	}
	_, err := w.dst.WriteString(strings.Join(names(columns), ",") + "\n")
	return w, err
}

// Write writes a row of values as text in the forms that CSV has (spec/sql.md, section 2), nil
// for NULL. A value of another form is an *Error.
func (w *Writer) Write(fields [][]byte) error {
	w.rows++
	w.line = w.line[:0]
	for i, c := range w.columns {
		if err := w.check(c, fields[i]); err != nil {
			return err
		}
		if w.format == agreement.CSV {
			w.csv(i, c, fields[i])
		} else {
			w.json(i, c, fields[i])
		}
	}
	if w.format == agreement.NDJSON {
		w.line = append(w.line, '}')
	}
	w.line = append(w.line, '\n')
	if len(w.line) > MaxRow {
		return w.wrong("", fmt.Sprintf("a row of at most %d bytes", MaxRow), "more")
	}
	_, err := w.dst.Write(w.line)
	return err
}

// Flush writes what is left.
func (w *Writer) Flush() error { return w.dst.Flush() }

func (w *Writer) wrong(column, expected, got string) error {
	return &Error{Code: "input.value", Row: w.rows, Column: column, Expected: expected, Got: got, Fix: "correct the value, or have the query convert it"}
}

func (w *Writer) check(c agreement.Column, field []byte) error {
	if field == nil {
		return nil // a unit that is missing is found by whoever reads the file
	}
	if _, isOf := parse(c, field); !isOf {
		return w.wrong(c.Name, typeText(c), quoted(field))
	}
	if c.Type == "text" && (!utf8.Valid(field) || bytes.IndexByte(field, 0) >= 0) {
		return w.wrong(c.Name, "text in UTF-8 without NUL", quoted(field))
	}
	if w.format == agreement.CSV && bytes.IndexByte(field, '\r') >= 0 {
		return w.wrong(c.Name, "text without a carriage return, or --format ndjson", quoted(field))
	}
	return nil
}

func (w *Writer) csv(i int, c agreement.Column, field []byte) {
	if i > 0 {
		w.line = append(w.line, ',')
	}
	if c.Type != "text" || field == nil {
		w.line = append(w.line, field...)
		return
	}
	w.line = append(w.line, '"')
	w.line = append(w.line, bytes.ReplaceAll(field, []byte{'"'}, []byte(`""`))...)
	w.line = append(w.line, '"')
}

func (w *Writer) json(i int, c agreement.Column, field []byte) {
	w.line = append(w.line, "{,"[min(i, 1)])
	w.line = append(w.line, `"`+c.Name+`":`...)
	switch {
	case field == nil:
		w.line = append(w.line, "null"...)
	case c.Type != "text" && c.Type != "date":
		w.line = append(w.line, field...)
	default:
		w.line = append(w.line, '"')
		for _, b := range field {
			switch {
			case b == '"' || b == '\\':
				w.line = append(w.line, '\\', b)
			case b < ' ':
				w.line = fmt.Appendf(w.line, `\u%04x`, b)
			default:
				w.line = append(w.line, b)
			}
		}
		w.line = append(w.line, '"')
	}
}
