// Package draft turns the YAML that people write into an agreement. YAML is only for
// writing (protocol rule R2): what is explained, signed and hashed is the canonical JSON of
// the result, never this text.
//
// The package promises that a file has one reading. The schema gives every scalar its type,
// so that "no" is a text where a text belongs and an error where a boolean does. It refuses
// anchors, aliases, merge keys, tags, directives, several documents, unknown members and
// members written twice, and says in which line.
package draft

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
)

const check = "agreement.draft"

// Parse reads an agreement from YAML and validates it. Omitted lists are empty, and an
// omitted protection is confidential; nothing else is filled in. file is the name that
// errors show, as "file:line". Errors are of kind Usage, or Refused where the agreement says
// something that no agreement may.
func Parse(file string, data []byte) (agreement.Agreement, error) {
	var a agreement.Agreement
	s, err := newSource(file, data)
	if err != nil {
		return a, err
	}
	root, err := s.document()
	if err != nil {
		return a, err
	}
	d := decoder{source: s, lines: make(map[string]int)}
	if err := d.agreement(root, &a); err != nil {
		return agreement.Agreement{}, err
	}
	if err := a.Validate(); err != nil {
		return agreement.Agreement{}, d.locate(err)
	}
	return a, nil
}

// ParseColumns reads a list of columns as [Parse] reads one in an agreement, and validates it.
func ParseColumns(file string, data []byte) ([]agreement.Column, error) {
	s, err := newSource(file, data)
	if err != nil {
		return nil, err
	}
	root, err := s.document()
	if err != nil {
		return nil, err
	}
	d := decoder{source: s, lines: make(map[string]int)}
	var columns []agreement.Column
	if err := d.value(root, "schema", reflect.ValueOf(&columns).Elem()); err != nil {
		return nil, err
	}
	if err := agreement.ValidateSchema(columns); err != nil {
		return nil, d.locate(err)
	}
	return columns, nil
}

// source is the text of a file and its lines, for looking at what YAML makes invisible.
type source struct {
	file  string
	text  string
	lines []string
}

func newSource(file string, data []byte) (*source, error) {
	s := &source{file: file}
	if len(data) > MaxDraft {
		return nil, s.bad(1, fmt.Sprintf("at most %d bytes", MaxDraft), fmt.Sprintf("%d", len(data)), "")
	}
	if !utf8.Valid(data) {
		line := 1 + bytes.Count(data[:len(data)-len(bytes.TrimLeftFunc(data, func(r rune) bool { return r != utf8.RuneError }))], []byte("\n"))
		return nil, s.bad(line, "UTF-8 text", "other bytes", "save the file as UTF-8")
	}
	s.text = strings.ReplaceAll(string(data), "\r\n", "\n")
	s.lines = strings.Split(s.text, "\n")
	for i, line := range s.lines {
		// YAML takes some of these for line breaks, people see none of them.
		if plain := strings.ReplaceAll(line, "\t", " "); verdict.Printable(plain) != plain {
			return nil, s.bad(i+1, "no control, direction-changing or invisible characters", verdict.Short(line), "remove them")
		}
	}
	return s, nil
}

func (s *source) bad(line int, expected, got, fix string) *verdict.Error {
	return &verdict.Error{Kind: verdict.Usage, Check: check, Where: s.file + ":" + strconv.Itoa(line), Expected: expected, Got: got, Fix: fix}
}

// document gives the root of the one document in the file.
func (s *source) document() (*yaml.Node, error) {
	for i, line := range s.lines {
		if strings.HasPrefix(line, "%") {
			return nil, s.bad(i+1, "no YAML directive", verdict.Short(line), "remove the line")
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(s.text))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		return nil, s.syntax(err)
	}
	if len(doc.Content) != 1 {
		return nil, s.bad(1, "an agreement", "an empty file", "`strongroom agreement init` writes one to start from")
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		return nil, s.bad(more.Line, "one document", "a second one", "remove the line --- and what follows")
	case !errors.Is(err, io.EOF):
		return nil, s.syntax(err)
	}
	return doc.Content[0], nil
}

// syntax puts the YAML library's words, "yaml: line 3: did not find ...", into ours.
func (s *source) syntax(err error) error {
	if errors.Is(err, io.EOF) {
		return s.bad(1, "an agreement", "an empty file", "`strongroom agreement init` writes one to start from")
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if rest, found := strings.CutPrefix(text, "line "); found {
		number, after, _ := strings.Cut(rest, ": ")
		if n, nerr := strconv.Atoi(number); nerr == nil {
			line, text = n, after
		}
	}
	return s.bad(line, "YAML", text, "check the indentation, and put text that holds \": \" or \" #\" in quotes")
}
