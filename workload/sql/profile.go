package sql

import (
	"fmt"

	"strongroom.dev/agreement"
)

// ProfileJob asks what the rows of one input are like. It is asked on the machine of the
// input's owner, outside a room.
type ProfileJob struct {
	// Input may have rules, those it is to come under; without answers it has none.
	Input Input `json:"input"`
}

// Profile is what an owner learns of its own rows before it seals them. It is made of them,
// and for nobody else.
type Profile struct {
	Rows  int64 `json:"rows"`
	Units int64 `json:"units"`
	// MostRows is how many rows the unit with the most has.
	MostRows int64 `json:"most_rows_of_a_unit"`
	// Duplicates counts rows that are alike an earlier one in every column.
	Duplicates int64           `json:"duplicate_rows"`
	Columns    []ProfileColumn `json:"columns"`
}

// ProfileColumn is what one column's values are like.
type ProfileColumn struct {
	agreement.Column
	Nulls int64 `json:"nulls"`
	// Distinct counts different values, NULL not among them.
	Distinct int64 `json:"distinct"`
	// Min and Max are the smallest and largest value as canonical text; empty if there is none.
	// Texts are compared by their bytes, and cut after 256 characters.
	Min string `json:"min"`
	Max string `json:"max"`
	// Empty counts empty texts, Padded texts with white space at an end, and Cases how many
	// different texts are another but for case and such white space.
	Empty  int64 `json:"empty"`
	Padded int64 `json:"padded"`
	Cases  int64 `json:"cases"`
	// Small counts values, of a column that may be grouped by, with fewer units than the rules'
	// minimum group; Formless identifiers without the form that the rules give them; Clamped
	// values outside the rules' bounds. They are 0 without such rules.
	Small    int64 `json:"small_groups"`
	Formless int64 `json:"formless"`
	Clamped  int64 `json:"clamped"`
}

// Validate reports the first thing that is wrong with a job's form.
func (j *ProfileJob) Validate() error {
	return j.Input.validate(false, j.Input.Rules.Answers == "")
}

// ParseProfileJob reads a valid job from JSON.
func ParseProfileJob(data []byte) (ProfileJob, error) {
	var job ProfileJob
	if len(data) > maxJob {
		return job, fmt.Errorf("%d bytes, at most %d", len(data), maxJob)
	}
	if err := decode(data, &job); err != nil {
		return ProfileJob{}, err
	}
	return job, job.Validate()
}

// Findings says of rows, in sentences, what their owner may want to mend or know first; unique
// is whether the statement will say that no two rows share a unit, minimum the least group.
func (p *Profile) Findings(unique bool, minimum int64) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if p.Rows == 0 {
		say("there are no rows")
		return out
	}
	if p.Units == p.Rows && !unique {
		say("no two rows share a unit: --unique-unit lets rooms count rows, which is faster")
	}
	if p.Duplicates > 0 {
		say("%d rows are alike an earlier one in every column", p.Duplicates)
	}
	if p.Units < minimum {
		say("only %d units: every group is smaller than the minimum of %d", p.Units, minimum)
	}
	for _, c := range p.Columns {
		c.findings(p.Rows, minimum, func(format string, args ...any) { say("column "+c.Name+": "+format, args...) })
	}
	return out
}

func (c *ProfileColumn) findings(rows, minimum int64, say func(string, ...any)) {
	for _, f := range []struct {
		is   bool
		text string
		args []any
	}{
		{c.Nulls == rows, "no row has a value", nil},
		{c.Distinct == 1 && c.Nulls == 0 && rows > 1, "all rows have the same value", nil},
		{c.Empty > 0, "%d texts are empty, which is not NULL", []any{c.Empty}},
		{c.Padded > 0, "%d texts begin or end with white space: they are other values than those without", []any{c.Padded}},
		{c.Cases > 0, "%d of %d different texts are another one but for case and white space at an end", []any{c.Cases, c.Distinct}},
		{c.Formless > 0, "%d identifiers have not the agreed form and will be NULL", []any{c.Formless}},
		{c.Formless > 0 && c.Unit, "it is the unit: rooms refuse the input", nil},
		{c.Small > 0, "%d of %d values have fewer than %d units: as groups of their own they would be withheld", []any{c.Small, c.Distinct, minimum}},
		{c.Clamped > 0, "%d values are outside the agreed bounds and will be clamped when aggregated", []any{c.Clamped}},
	} {
		if f.is {
			say(f.text, f.args...)
		}
	}
}
