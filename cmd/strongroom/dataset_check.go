package main

import (
	"errors"
	"fmt"
	"io"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/workload/sql"
)

// checkCSV looks at every byte of a CSV file before it is sealed, with the code that rooms
// check it with: a wrong value would make every run fail, after it was counted, and tell
// nobody but the owner. A file without rows a room would load, and show nothing.
func checkCSV(src io.Reader, path string, columns []agreement.Column, unique bool) error {
	rows, err := sql.CheckCSV(src, columns, unique)
	var wrong *sql.CSVError
	switch {
	case errors.As(err, &wrong):
		return wrongCSV(path, wrong)
	case err != nil:
		return fileError(path, "a CSV file", err)
	case rows == 0:
		return wrongCSV(path, &sql.CSVError{Expected: "at least one row", Got: "only the names of columns", Fix: "name the right file"})
	}
	return nil
}

func wrongCSV(path string, wrong *sql.CSVError) error {
	expected := wrong.Expected
	if wrong.Column != "" {
		expected = "column " + wrong.Column + ": " + expected
	}
	e := verdict.Misuse("dataset.rows", expected, verdict.Printable(wrong.Got), wrong.Fix)
	e.Where = path
	if wrong.Line > 0 {
		e.Where = fmt.Sprintf("%s:%d", path, wrong.Line)
	}
	return e
}
