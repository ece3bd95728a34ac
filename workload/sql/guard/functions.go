package guard

import (
	_ "embed"
	"strings"
)

// functionList classifies every function of DuckDB 1.5.5, a line each: kind, name, class. A
// function that is not on it never passes. The classes:
//
//	groups     in queries about groups, under rules of its own (see parser), and over rows
//	rows       where rows may leave: a value that depends on its arguments alone
//	order      its value depends on the order of rows
//	volatile   it gives another value each time
//	session    of the connection and its settings
//	catalogue  of what the database holds
//	file       of files
//	cost       its time or memory grows beyond its arguments
//	types      of types that no column here has
//	internal   of DuckDB's own
//
//go:embed functions.txt
var functionList string

// classOf gives the class of a function of one of the kinds, "" for one that is unknown. Of
// one name in several kinds every one must be in the same class or none counts.
func classOf(name string, kinds ...string) (class string) {
	for line := range strings.Lines(functionList) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[1] != name {
			continue
		}
		for _, kind := range kinds {
			if kind != fields[0] {
				continue
			}
			if class != "" && class != fields[2] {
				return ""
			}
			class = fields[2]
		}
	}
	return class
}

// overRows reports whether a function passes where rows may leave.
func overRows(name string) bool {
	class := classOf(name, "scalar", "aggregate", "macro")
	return class == "groups" || class == "rows"
}
