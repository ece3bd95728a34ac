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
	"fmt"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/plainyaml"
	"strongroom.dev/verdict"
)

func format() plainyaml.Format {
	return plainyaml.Format{Check: "agreement.draft", What: "an agreement", Start: "`strongroom agreement init` writes one to start from"}
}

// Parse reads an agreement from YAML and validates it. Omitted lists are empty, and an
// omitted protection is confidential; nothing else is filled in. What [Template] left to be
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
	if err := first(unwritten(a), a.Validate); err != nil {
		return agreement.Agreement{}, d.Locate(err)
	}
	return a, nil
}

func first(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// unwritten looks for texts that still hold a template's placeholder: those are true
// sentences to nobody, and would be signed.
func unwritten(a agreement.Agreement) func() error {
	return func() error {
		texts := [][2]string{{"title", a.Title}, {"purpose", a.Purpose}, {"legal_basis", a.LegalBasis}, {"retention", a.Retention}, {"contact", a.Contact}}
		for i, w := range a.Work {
			texts = append(texts, [2]string{fmt.Sprintf("work[%d].description", i), w.Description})
		}
		for _, t := range texts {
			if text := strings.TrimSpace(t[1]); strings.HasPrefix(text, "<") && strings.HasSuffix(text, ">") {
				return &verdict.Error{Kind: verdict.Usage, Check: "agreement.placeholder", Where: t[0], Expected: "words of your own", Got: verdict.Short(text),
					Fix: "replace it, brackets and all: everybody who signs reads it"}
			}
		}
		return nil
	}
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
