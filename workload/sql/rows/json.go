package rows

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"strongroom.dev/agreement"
)

// scanJSON reads an NDJSON file: an object a line.
func scanJSON(src io.Reader, columns []agreement.Column, each sink) error {
	j := &jsonReader{src: bufio.NewReaderSize(src, MaxRow+1), columns: columns, index: map[string]int{}, row: make([]Value, len(columns)), has: make([]bool, len(columns))}
	for i, c := range columns {
		j.index[c.Name] = i
	}
	for {
		line, err := readLine(j.src)
		if err == io.EOF {
			return nil
		}
		j.at++
		if errors.Is(err, bufio.ErrBufferFull) {
			err = j.malformed(fmt.Sprintf("a line of at most %d bytes", MaxRow), "more")
		}
		if err == nil {
			err = j.object(line)
		}
		if err == nil {
			err = each(j.at, j.row)
		}
		if err != nil {
			return err
		}
	}
}

// jsonReader is a walk through one file.
type jsonReader struct {
	src     *bufio.Reader
	columns []agreement.Column
	index   map[string]int // of columns by name
	at      int            // the line
	rest    []byte         // of the line
	texts   []byte         // the line's texts without their escapes
	row     []Value
	has     []bool // which columns the line has
}

func (j *jsonReader) wrong(column, expected, got, fix string) *Error {
	return &Error{Code: "input.value", Line: j.at, Column: column, Expected: expected, Got: got, Fix: fix}
}

func (j *jsonReader) malformed(expected, got string) *Error {
	return j.wrong("", expected, got, "correct the line")
}

// object reads a line.
func (j *jsonReader) object(line []byte) error {
	switch {
	case len(line) > MaxRow:
		return j.malformed(fmt.Sprintf("a line of at most %d bytes", MaxRow), "more")
	case !utf8.Valid(line):
		return j.malformed("text in UTF-8", "other bytes: "+quoted(invalid(line)))
	case bytes.HasPrefix(line, []byte("\ufeff")):
		return j.malformed("a line without a byte order mark", "one")
	}
	j.rest, j.texts = line, j.texts[:0]
	clear(j.has)
	if !j.take('{') {
		return j.malformed("one JSON object a line", j.found())
	}
	for more := !j.take('}'); more; {
		if err := j.member(); err != nil {
			return err
		}
		if more = j.take(','); !more && !j.take('}') {
			return j.malformed("a comma or the end of the object", j.found())
		}
	}
	if j.blank(); len(j.rest) > 0 {
		return j.malformed("the end of the line behind the object", j.found())
	}
	for i, has := range j.has {
		if !has {
			return j.wrong(j.columns[i].Name, "a member for every column", "none", "write null where there is no value")
		}
	}
	return nil
}

// blank passes over white space.
func (j *jsonReader) blank() {
	j.rest = bytes.TrimLeft(j.rest, " \t\r\n")
}

// take passes over white space and a byte that may stand next.
func (j *jsonReader) take(b byte) bool {
	j.blank()
	if len(j.rest) == 0 || j.rest[0] != b {
		return false
	}
	j.rest = j.rest[1:]
	return true
}

func (j *jsonReader) found() string {
	if len(bytes.TrimSpace(j.rest)) == 0 {
		return "the end of the line"
	}
	return quoted(bytes.TrimSuffix(j.rest, []byte{'\n'}))
}

// member reads a name and its value.
func (j *jsonReader) member() error {
	j.blank()
	name, err := j.text("", "a member's name in quotes")
	if err != nil {
		return err
	}
	i, known := j.index[string(name)]
	if !known {
		return j.wrong("", fmt.Sprintf("members named as the columns: %.300q", names(j.columns)), "another: "+quoted(name), "leave the member out, or name it as the agreement does")
	}
	column := j.columns[i]
	if j.has[i] {
		return j.wrong(column.Name, "every member once", "a second one", "leave one out")
	}
	j.has[i] = true
	if !j.take(':') {
		return j.malformed("a colon behind a member's name", j.found())
	}
	j.blank()
	j.row[i], err = j.value(column)
	return err
}

// value reads a value of a column: a number for an integer or a decimal, a string for a text
// or a date, true or false, or null.
func (j *jsonReader) value(c agreement.Column) (v Value, err error) {
	if c.Type == "text" || c.Type == "date" {
		if j.word("null") {
			return Value{Null: true}, nil
		}
		text, err := j.text(c.Name, typeText(c)+", in quotes")
		if err != nil {
			return v, err
		}
		v, isOf := parse(c, text)
		if !isOf {
			return v, j.wrong(c.Name, typeText(c), quoted(text), "correct the value")
		}
		return v, nil
	}
	n := bytes.IndexAny(j.rest, " \t\r\n,}")
	if n < 0 {
		n = len(j.rest)
	}
	token := j.rest[:n]
	if string(token) == "null" {
		j.rest = j.rest[n:]
		return Value{Null: true}, nil
	}
	v, isOf := parse(c, token)
	if !isOf {
		return v, j.wrong(c.Name, typeText(c)+", without quotes", quoted(token), "correct the value")
	}
	j.rest = j.rest[n:]
	return v, nil
}

// word passes over a word that may stand next.
func (j *jsonReader) word(w string) bool {
	rest, found := bytes.CutPrefix(j.rest, []byte(w))
	if found {
		j.rest = rest
	}
	return found
}

// text reads a string. It stays as long as the line does.
func (j *jsonReader) text(column, expected string) ([]byte, error) {
	if len(j.rest) == 0 || j.rest[0] != '"' {
		return nil, j.wrong(column, expected, j.found(), "correct the value")
	}
	s := j.rest[1:]
	n := bytes.IndexAny(s, "\"\\")
	if n < 0 {
		return nil, j.wrong(column, "a string that ends on its line", "none", "correct the line")
	}
	text := s[:n]
	if s[n] == '"' {
		j.rest = s[n+1:]
	} else {
		at := len(j.texts)
		if err := j.escaped(column, s); err != nil {
			return nil, err
		}
		text = j.texts[at:]
	}
	for _, b := range s[:len(s)-len(j.rest)] {
		if b < ' ' {
			return nil, j.wrong(column, "control characters as escapes like \\u000a", quoted([]byte{b}), "write JSON with a JSON library")
		}
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, j.wrong(column, "text", "a NUL character", "leave it out")
	}
	return text, nil
}

// escaped reads a string with escapes, behind its first quote.
func (j *jsonReader) escaped(column string, s []byte) error {
	for {
		n := bytes.IndexAny(s, "\"\\")
		if n < 0 {
			return j.wrong(column, "a string that ends on its line", "none", "correct the line")
		}
		j.texts = append(j.texts, s[:n]...)
		if s[n] == '"' {
			j.rest = s[n+1:]
			return nil
		}
		r, size := unescape(s[n:])
		if size == 0 {
			return j.wrong(column, "escapes that JSON knows and that are characters", quoted(s[n:min(len(s), n+6)]), "write JSON with a JSON library")
		}
		j.texts = utf8.AppendRune(j.texts, r)
		s = s[n+size:]
	}
}

// unescape reads an escape; size is 0 for none. Half a surrogate pair is none.
func unescape(s []byte) (r rune, size int) {
	const plain, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if len(s) < 2 {
		return 0, 0
	}
	if i := bytes.IndexByte([]byte(plain), s[1]); i >= 0 {
		return rune(meant[i]), 2
	}
	r = codeUnit(s)
	switch {
	case r < 0:
		return 0, 0
	case !utf16.IsSurrogate(r):
		return r, 6
	}
	if r = utf16.DecodeRune(r, codeUnit(s[6:])); r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

// codeUnit reads \uXXXX, -1 for anything else.
func codeUnit(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}
