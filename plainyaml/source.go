package plainyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"strongroom.dev/verdict"
)

// source is the text of a file and its lines, for looking at what YAML makes invisible.
type source struct {
	Format
	file  string
	text  string
	lines []string
}

func newSource(f Format, file string, data []byte) (*source, error) {
	s := &source{Format: f, file: file}
	if len(data) > MaxFile {
		return nil, s.bad(1, fmt.Sprintf("at most %d bytes", MaxFile), fmt.Sprintf("%d", len(data)), "")
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
	return &verdict.Error{Kind: verdict.Usage, Check: s.Check, Where: s.file + ":" + strconv.Itoa(line), Expected: expected, Got: got, Fix: fix}
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
		return nil, s.bad(1, s.What, "an empty file", s.Start)
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
		return s.bad(1, s.What, "an empty file", s.Start)
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
