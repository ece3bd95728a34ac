package main

import (
	"errors"
	"fmt"
	"io"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/sql/rows"
)

// checkRows looks at every byte of a CSV, NDJSON or Arrow file before it is sealed, with the
// code that rooms check it with: a wrong value would make every run fail, after it was
// counted, and tell nobody but the owner. A file without rows a room would load, and show
// nothing.
func checkRows(src io.Reader, path string, format agreement.Format, columns []agreement.Column, unique bool) error {
	n, err := rows.Check(src, format, columns, unique)
	var wrong *rows.Error
	switch {
	case errors.As(err, &wrong):
		return wrongRow(path, wrong)
	case err != nil:
		return fileError(path, "a "+string(format)+" file", err)
	case n == 0:
		return wrongRow(path, &rows.Error{Expected: "at least one row", Got: "none", Fix: "name the right file"})
	}
	return nil
}

func wrongRow(path string, wrong *rows.Error) error {
	expected := wrong.Expected
	if wrong.Column != "" {
		expected = "column " + wrong.Column + ": " + expected
	}
	e := verdict.Misuse("dataset.rows", expected, verdict.Printable(wrong.Got), wrong.Fix)
	e.Where = path
	if wrong.Line > 0 {
		e.Where = fmt.Sprintf("%s:%d", path, wrong.Line)
	} else if wrong.Row > 0 {
		e.Where = fmt.Sprintf("%s: row %d", path, wrong.Row)
	}
	return e
}
