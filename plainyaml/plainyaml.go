// Package plainyaml reads YAML that has one reading. YAML is only for writing (protocol rule
// R2): what is signed or judged is what the structs hold afterwards, never the text.
//
// The schema, which is the struct read into, gives every scalar its type, so that "no" is a
// text where a text belongs and an error where a boolean does. The package refuses anchors,
// aliases, merge keys, tags, directives, several documents, unknown members, members written
// twice and characters that nobody sees, and says in which line.
package plainyaml

import (
	"errors"
	"reflect"
	"strconv"
	"strings"

	"strongroom.dev/verdict"
)

// Format says what is read, for errors.
type Format struct {
	// Check is the id of the check that errors name, such as "agreement.draft".
	Check string
	// What is expected, as in "an agreement", and Start how to get a file to start from.
	What, Start string
}

// Document is what was read, and where.
type Document struct {
	*source
	lines map[string]int
}

// Read reads data into v, a pointer to a struct or a slice whose members carry json tags.
// Members may be text, integers (int64), booleans, times and digests (encoding.TextUnmarshaler),
// structs, lists, and maps by text. Lists and maps that are left out are empty, not nil.
// at is the path that errors start with, "" for most; file is the name that errors show, as
// "file:line". Errors are *verdict.Error of kind Usage.
func (f Format) Read(file string, data []byte, at string, v any) (*Document, error) {
	s, err := newSource(f, file, data)
	if err != nil {
		return nil, err
	}
	root, err := s.document()
	if err != nil {
		return nil, err
	}
	d := decoder{source: s, lines: make(map[string]int)}
	if err := d.value(root, at, reflect.ValueOf(v).Elem()); err != nil {
		return nil, err
	}
	fill(reflect.ValueOf(v).Elem())
	return &Document{s, d.lines}, nil
}

// Has reports whether a member was written, by its path: "works[0].name".
func (d *Document) Has(path string) bool { return d.lines[path] > 0 }

// Line gives the line of a member, 0 if it was not written.
func (d *Document) Line(path string) int { return d.lines[path] }

// Locate turns the member that validation names into a line of the file. A member that is
// not in the file is reported where it should be.
func (d *Document) Locate(err error) error {
	var e *verdict.Error
	if !errors.As(err, &e) {
		return err
	}
	located := *e
	path, missing := e.Where, ""
	line, given := d.lines[path]
	for !given && path != "" {
		split := strings.LastIndexAny(path, ".[")
		if split < 0 {
			split = 0
		}
		if path[split] != '[' {
			missing = strings.TrimPrefix(path[split:], ".")
		}
		path = path[:split]
		line, given = d.lines[path]
	}
	if line < 1 {
		line = 1
	}
	located.Where = d.source.file + ":" + strconv.Itoa(line)
	if missing != "" {
		located.Expected, located.Got = missing+": "+e.Expected, "no such member"
	}
	return &located
}
