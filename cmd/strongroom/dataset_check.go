package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
)

// csvCheck looks at every value of a CSV file before it is sealed, as rooms will: a wrong
// one would make every run fail, after it was counted, and tell nobody but the owner.
type csvCheck struct {
	path    string
	columns []agreement.Column
	forms   []*regexp.Regexp
	units   map[string]int // unit -> line it was seen on; nil unless units must be unique
	rows    int
}

func newCSVCheck(path string, columns []agreement.Column, unique bool) *csvCheck {
	c := &csvCheck{path: path, columns: columns}
	for _, column := range columns {
		c.forms = append(c.forms, regexp.MustCompile("^(?:"+csvForm(column)+")$"))
	}
	if unique {
		c.units = map[string]int{}
	}
	return c
}

// csvForm is the form of a field (spec/sql.md, section on inputs).
func csvForm(c agreement.Column) string {
	switch c.Type {
	case "integer":
		return `-?(0|[1-9][0-9]{0,18})`
	case "decimal":
		if c.Scale == 0 {
			return `-?(0|[1-9][0-9]{0,17})`
		}
		return fmt.Sprintf(`-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,%d})?`, c.Scale)
	case "boolean":
		return `true|false`
	case "date":
		return `[0-9]{4}-[0-9]{2}-[0-9]{2}`
	}
	return `(?s).*`
}

// run reads the file to its end.
func (c *csvCheck) run(src io.Reader) error {
	r := csv.NewReader(src)
	r.ReuseRecord = true
	r.FieldsPerRecord = len(c.columns)
	names, err := r.Read()
	if err != nil && !errors.Is(err, csv.ErrFieldCount) {
		return c.wrong(1, "CSV with a first line of column names", err.Error(), "add the line")
	}
	if err := c.header(names); err != nil {
		return err
	}
	for {
		record, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			var parse *csv.ParseError
			line := 0
			if errors.As(err, &parse) {
				line, err = parse.Line, parse.Err
			}
			return c.wrong(line, fmt.Sprintf("%d fields of well-formed CSV", len(c.columns)), err.Error(), "correct the line")
		}
		line, _ := r.FieldPos(0)
		if err := c.record(line, record); err != nil {
			return err
		}
		c.rows++
	}
	if c.rows == 0 {
		return c.wrong(0, "at least one row", "only the names of columns", "name the right file")
	}
	return nil
}

// header demands the agreed names in the agreed order: swapped columns would be read as each
// other.
func (c *csvCheck) header(names []string) error {
	if len(names) > 0 && strings.HasPrefix(names[0], "\ufeff") {
		return c.wrong(1, "text without a byte order mark", "one", `save the file as "UTF-8" without it`)
	}
	want := make([]string, len(c.columns))
	for i, column := range c.columns {
		want[i] = column.Name
	}
	if got := strings.Join(names, ","); got != strings.Join(want, ",") {
		return c.wrong(1, "the columns "+verdict.Short(strings.Join(want, ",")), verdict.Short(got), "name and order the columns as the agreement does")
	}
	return nil
}

func (c *csvCheck) record(line int, record []string) error {
	for i, column := range c.columns {
		if err := c.value(line, column, c.forms[i], record[i]); err != nil {
			return err
		}
	}
	return nil
}

// value checks one field. An empty one is no value, which only a unit must have.
func (c *csvCheck) value(line int, column agreement.Column, form *regexp.Regexp, text string) error {
	if text == "" {
		if column.Unit {
			return c.wrong(line, "a value in unit column "+column.Name, "none", "every row must say whom it is about")
		}
		return nil
	}
	if !form.MatchString(text) || !inRange(column, text) {
		return c.wrong(line, fmt.Sprintf("column %s: %s", column.Name, typeText(column)), verdict.Short(text), "correct the value")
	}
	if !column.Unit || c.units == nil {
		return nil
	}
	if before, twice := c.units[text]; twice {
		return c.wrong(line, "a "+column.Name+" that no other row has (--unique-unit)", fmt.Sprintf("that of line %d", before), "leave --unique-unit out, or correct the file")
	}
	c.units[strings.Clone(text)] = line
	return nil
}

// inRange checks what the form can't: 64 bits, 18 digits, days that exist.
func inRange(c agreement.Column, text string) bool {
	switch c.Type {
	case "integer":
		_, err := strconv.ParseInt(text, 10, 64)
		return err == nil
	case "decimal":
		whole, _, _ := strings.Cut(strings.TrimPrefix(text, "-"), ".")
		return whole == "0" || len(whole)+int(c.Scale) <= 18
	case "date":
		_, err := time.Parse(time.DateOnly, text)
		return err == nil
	}
	return true
}

func typeText(c agreement.Column) string {
	switch c.Type {
	case "decimal":
		return fmt.Sprintf("a decimal with at most %d digits after the point", c.Scale)
	case "boolean":
		return "true or false"
	case "date":
		return "a date like 2026-11-24"
	}
	return c.Type
}

func (c *csvCheck) wrong(line int, expected, got, fix string) error {
	e := verdict.Misuse("dataset.rows", expected, got, fix)
	e.Where = c.path
	if line > 0 {
		e.Where = fmt.Sprintf("%s:%d", c.path, line)
	}
	return e
}
