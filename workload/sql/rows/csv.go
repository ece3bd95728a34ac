package rows

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"strongroom.dev/agreement"
)

// scanCSV reads a CSV file.
func scanCSV(src io.Reader, columns []agreement.Column, each sink) error {
	c := &csvReader{src: bufio.NewReaderSize(src, MaxRow+1), columns: columns, row: make([]Value, len(columns)), each: each}
	if err := c.header(); err != nil {
		return err
	}
	for {
		row, err := c.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = c.check(row)
		}
		if err != nil {
			return err
		}
	}
}

// csvReader is a walk through one file.
type csvReader struct {
	src     *bufio.Reader
	columns []agreement.Column
	end     string // the file's line end
	at      int    // the line that the row begins on
	lines   int    // lines read
	long    []byte // a row of several lines
	fields  []byte // the row's quoted fields without their doubled quotes
	row     []Value
	each    sink
}

func (c *csvReader) wrong(code, column, expected, got, fix string) *Error {
	return &Error{Code: code, Line: c.at, Column: column, Expected: expected, Got: got, Fix: fix}
}

func (c *csvReader) malformed(expected, got string) *Error {
	return c.wrong("input.value", "", expected, got, "correct the line")
}

// line reads to the next line feed.
func (c *csvReader) line() ([]byte, error) {
	line, err := readLine(c.src)
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, c.tooLong()
	}
	if err == nil {
		c.lines++
	}
	return line, err
}

// readLine reads to the next line feed; the last line may have none. io.EOF is before a byte.
func readLine(src *bufio.Reader) ([]byte, error) {
	line, err := src.ReadSlice('\n')
	if err == io.EOF && len(line) > 0 {
		err = nil
	}
	return line, err
}

func (c *csvReader) tooLong() error {
	return c.malformed(fmt.Sprintf("a row of at most %d bytes", MaxRow), "more, or a quote that is never closed")
}

// header demands the agreed names in the agreed order: swapped columns would be read as each
// other.
func (c *csvReader) header() error {
	c.at = 1
	line, err := c.line()
	var wrong *Error
	if errors.As(err, &wrong) || err == io.EOF {
		line, err = nil, nil
	}
	if err != nil {
		return err
	}
	want := strings.Join(names(c.columns), ",")
	text := strings.TrimSuffix(string(line), "\n")
	c.end = "\n"
	if before, found := strings.CutSuffix(text, "\r"); found {
		text, c.end = before, "\r\n"
	}
	if strings.HasPrefix(text, "\ufeff") {
		return c.wrong("input.header", "", "a first line of column names without a byte order mark", "one", `save the file as "UTF-8" without it`)
	}
	if text != want {
		return c.wrong("input.header", "", fmt.Sprintf("the columns %.300s as the first line, without quotes and spaces", want), quoted([]byte(text)), "name and order the columns as the agreement does")
	}
	return nil
}

// next gives the next row without its line end.
func (c *csvReader) next() ([]byte, error) {
	c.at = c.lines + 1
	row, err := c.line()
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(row, '"') >= 0 && c.opens(row) {
		if row, err = c.whole(row); err != nil {
			return nil, err
		}
	}
	if len(row) > MaxRow {
		return nil, c.tooLong()
	}
	return c.trim(row)
}

// opens reports whether a quoted field of a line is still open at its end. Quotes in wrong
// places open nothing, so that an error is told of the line that has it.
func (c *csvReader) opens(line []byte) bool {
	for i := 0; i < len(line); {
		if line[i] != '"' {
			comma := bytes.IndexByte(line[i:], ',')
			if comma < 0 {
				return false
			}
			i += comma + 1
			continue
		}
		n := closing(line[i+1:])
		if n < 0 {
			return true
		}
		if i += n + 2; i < len(line) && line[i] != ',' {
			return false
		}
		i++
	}
	return false
}

// closing finds the quote that closes a field; doubled ones don't.
func closing(text []byte) int {
	for i := 0; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		if i+1 == len(text) || text[i+1] != '"' {
			return i
		}
		i++
	}
	return -1
}

// whole reads on to the line that closes the quote which is open, by the parity of quotes.
func (c *csvReader) whole(first []byte) ([]byte, error) {
	c.long = append(c.long[:0], first...)
	for {
		line, err := c.line()
		if err == io.EOF {
			return nil, c.malformed("a quote that is closed", "the end of the file")
		}
		if err != nil {
			return nil, err
		}
		if c.long = append(c.long, line...); len(c.long) > MaxRow {
			return nil, c.tooLong()
		}
		if bytes.Count(line, []byte{'"'})%2 == 1 {
			return c.long, nil
		}
	}
}

// trim takes the line end off, which has to be the one of the first line.
func (c *csvReader) trim(row []byte) ([]byte, error) {
	body, ended := bytes.CutSuffix(row, []byte{'\n'})
	body, carriage := bytes.CutSuffix(body, []byte{'\r'})
	if len(body) == 0 {
		return nil, c.malformed("a row", "an empty line")
	}
	if carriage && !ended {
		return nil, c.malformed("a line end", "CR alone")
	}
	if ended && carriage != (c.end == "\r\n") {
		return nil, c.malformed("the line end of the first line, "+endName(c.end == "\r\n"), endName(carriage))
	}
	if !utf8.Valid(body) {
		return nil, c.malformed("text in UTF-8", "other bytes: "+quoted(invalid(body)))
	}
	if bytes.IndexByte(body, 0) >= 0 {
		return nil, c.malformed("text", "a NUL byte")
	}
	return body, nil
}

func endName(carriage bool) string {
	if carriage {
		return "CR LF"
	}
	return "LF"
}

// invalid gives the first bytes that are not UTF-8 with a little of what is around them.
func invalid(text []byte) []byte {
	at := 0
	for at < len(text) {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return text[max(0, at-10):min(len(text), at+10)]
}

// check looks at a row's fields.
func (c *csvReader) check(row []byte) error {
	c.fields = c.fields[:0]
	for i, column := range c.columns {
		text, isQuoted, rest, more, err := c.cut(row)
		if err != nil {
			return err
		}
		if last := i == len(c.columns)-1; more == last {
			return c.malformed(fmt.Sprintf("%d fields", len(c.columns)), fieldCount(i, more))
		}
		if c.row[i], err = c.value(column, text, isQuoted); err != nil {
			return err
		}
		row = rest
	}
	return c.each(c.at, c.row)
}

func fieldCount(i int, more bool) string {
	if more {
		return "more"
	}
	return strconv.Itoa(i + 1)
}

// cut takes the first field off a row; more says whether a comma stood behind it.
func (c *csvReader) cut(row []byte) (text []byte, isQuoted bool, rest []byte, more bool, err error) {
	if len(row) == 0 || row[0] != '"' {
		text, rest, more = bytes.Cut(row, []byte{','})
		if i := bytes.IndexAny(text, "\"\r"); i >= 0 {
			what := "a quote inside a field that does not begin with one"
			if text[i] == '\r' {
				what = "a carriage return"
			}
			return nil, false, nil, false, c.malformed("fields as in RFC 4180", what)
		}
		return text, false, rest, more, nil
	}
	n := closing(row[1:])
	if n < 0 {
		return nil, false, nil, false, c.malformed("a quote that is closed", "the end of the line")
	}
	text, rest = row[1:1+n], row[n+2:]
	if bytes.IndexByte(text, '"') >= 0 {
		at := len(c.fields)
		c.fields = append(c.fields, bytes.ReplaceAll(text, []byte(`""`), []byte{'"'})...)
		text = c.fields[at:]
	}
	if c.end == "\r\n" && loose(text) || c.end == "\n" && bytes.IndexByte(text, '\r') >= 0 {
		return nil, false, nil, false, c.malformed("the line end of the first line, "+endName(c.end == "\r\n")+", also between quotes", "another")
	}
	if len(rest) == 0 {
		return text, true, nil, false, nil
	}
	if rest[0] != ',' {
		return nil, false, nil, false, c.malformed("a comma behind a closing quote", quoted(rest))
	}
	return text, true, rest[1:], true, nil
}

// loose reports a line feed or carriage return that is not part of CR LF.
func loose(text []byte) bool {
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
		return false
	}
	left := bytes.ReplaceAll(text, []byte("\r\n"), nil)
	return bytes.IndexByte(left, '\n') >= 0 || bytes.IndexByte(left, '\r') >= 0
}

// value reads one field. An empty one without quotes is no value.
func (c *csvReader) value(column agreement.Column, text []byte, isQuoted bool) (Value, error) {
	if len(text) == 0 && !isQuoted {
		return Value{Null: true}, nil
	}
	v, isOf := parse(column, text)
	if !isOf {
		return v, c.wrong("input.value", column.Name, typeText(column), quoted(text), "correct the value")
	}
	return v, nil
}
