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
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/plainyaml"
	"strongroom.dev/verdict"
)

func format() plainyaml.Format {
	return plainyaml.Format{Check: "agreement.draft", What: "an agreement", Start: "`strongroom agreement init` writes one to start from"}
}

// Parse reads an agreement from YAML and validates it. Omitted lists are empty, an omitted
// protection is confidential, and what the rules of an input leave out is what protects its
// people most; nothing else is filled in. What [Template] left to be
// written is an error. file is the name that errors show, as "file:line". Errors are of kind
// Usage, or Refused where the agreement says something that no agreement may.
func Parse(file string, data []byte) (agreement.Agreement, error) {
	var a agreement.Agreement
	d, err := format().Read(file, data, "", &a)
	if err != nil {
		return agreement.Agreement{}, err
	}
	if !d.Has("protection") {
		a.Protection = agreement.Confidential
	}
	fillRules(a.Inputs)
	if left := unwritten(a); len(left) > 0 {
		return agreement.Agreement{}, allOf(d, left)
	}
	if err := a.Validate(); err != nil {
		return agreement.Agreement{}, d.Locate(err)
	}
	return a, nil
}

// fillRules completes rules: what is left to write are the minimum group, who receives, and
// what columns may be used for.
func fillRules(inputs []agreement.Input) {
	for _, in := range inputs {
		r := in.Rules
		if r == nil {
			continue
		}
		r.Answers = cmp.Or(r.Answers, agreement.Groups)
		r.RoundTo = cmp.Or(r.RoundTo, 1)
		r.MaxRows = cmp.Or(r.MaxRows, 1000)
		r.MaxColumns = cmp.Or(r.MaxColumns, 100)
		r.Partners = cmp.Or(r.Partners, agreement.Fixed)
		r.Differences = cmp.Or(r.Differences, agreement.Audited)
	}
}

// Locate gives an error about a member, such as "work[0].query", the line of a draft that
// [Parse] has read, as "file:line".
func Locate(file string, data []byte, err error) error {
	var a agreement.Agreement
	d, rerr := format().Read(file, data, "", &a)
	if rerr != nil {
		return err
	}
	return d.Locate(err)
}

// allOf makes one error of all that is left to be written: the first, and where the others are.
func allOf(d *plainyaml.Document, left []*verdict.Error) error {
	one := *verdict.As(d.Locate(left[0]))
	var lines []string
	for _, e := range left[1:] {
		where := verdict.As(d.Locate(e)).Where
		lines = append(lines, where[strings.LastIndexByte(where, ':')+1:])
	}
	if len(lines) > 0 {
		one.Got += ", and more in lines " + strings.Join(lines, ", ")
	}
	return &one
}

// unwritten looks for texts that still hold a template's placeholder: those are true
// sentences to nobody, and would be signed.
func unwritten(a agreement.Agreement) (left []*verdict.Error) {
	texts := [][2]string{{"title", a.Title}, {"purpose", a.Purpose}, {"legal_basis", a.LegalBasis}, {"retention", a.Retention}, {"contact", a.Contact}}
	for i, w := range a.Work {
		texts = append(texts, [2]string{fmt.Sprintf("work[%d].description", i), w.Description})
	}
	for i, p := range a.Platforms {
		for j, image := range p.Images {
			for _, name := range slices.Sorted(maps.Keys(image.Measurements)) {
				texts = append(texts, [2]string{fmt.Sprintf("platforms[%d].images[%d].measurements.%s", i, j, name), image.Measurements[name]})
			}
		}
	}
	for _, t := range texts {
		if text := strings.TrimSpace(t[1]); strings.HasPrefix(text, "<") && strings.HasSuffix(text, ">") {
			left = append(left, &verdict.Error{Kind: verdict.Usage, Check: "agreement.placeholder", Where: t[0], Expected: "words of your own", Got: verdict.Short(text),
				Fix: "replace it, brackets and all: everybody who signs reads it"})
		}
	}
	return left
}

// ParseColumns reads a list of columns as [Parse] reads one in an agreement, and validates it.
func ParseColumns(file string, data []byte) ([]agreement.Column, error) {
	var columns []agreement.Column
	d, err := format().Read(file, data, "schema", &columns)
	if err != nil {
		return nil, err
	}
	if err := agreement.ValidateSchema(columns); err != nil {
		return nil, d.Locate(err)
	}
	return columns, nil
}
