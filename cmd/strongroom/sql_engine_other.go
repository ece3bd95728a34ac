//go:build !linux

package main

import (
	"context"

	"strongroom.dev/verdict"
	"strongroom.dev/workload/sql"
)

// runEngine: the SQL engine is a Linux program.
func runEngine(context.Context, string, sql.Job, [][]byte) (sql.Result, error) {
	return sql.Result{}, verdict.Misuse("sql.preview", "Linux, on which the SQL engine runs", "another system", "ask on a Linux machine")
}
