// Package sql holds queries that rooms must refuse, and queries that they must answer as plain
// DuckDB does: README.md says how to add one. The tests run both through the engine itself.
package sql
