package agreement

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/wire"
)

// Question is what a run asks of data, so that it can be asked again of the same rows in a run
// that calls its inputs otherwise.
type Question struct {
	// Agreement is under whose rules it was asked: others may show other groups of it.
	Agreement wire.Digest `json:"agreement"`
	Query     string      `json:"query"`
	// Parameters are in the order of their declaration, Tables in that of the work.
	Parameters []QuestionValue `json:"parameters"`
	Tables     []QuestionTable `json:"tables"`
}

// QuestionValue is the value of a parameter, in canonical text, with its declared type.
type QuestionValue struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Scale int64  `json:"scale"`
	Value string `json:"value"`
}

// QuestionTable is a table by the dataset versions whose rows it holds.
type QuestionTable struct {
	Name   string         `json:"name"`
	Inputs []QuestionRows `json:"inputs"`
}

// QuestionRows are the rows of a dataset version, without those of the units in a list.
type QuestionRows struct {
	Statement  wire.Digest  `json:"statement"`
	Exclusions *wire.Digest `json:"exclusions,omitempty"`
}

// Same reports whether both are the same rows.
func (r QuestionRows) Same(other QuestionRows) bool {
	return r.Statement == other.Statement && (r.Exclusions == nil) == (other.Exclusions == nil) &&
		(r.Exclusions == nil || *r.Exclusions == *other.Exclusions)
}

// QuestionOf gives what a run asks. A table that the query's text does not name is no part of
// it. What is missing in a run that was not verified is missing here.
func (a *SignedAgreement) QuestionOf(r Run) Question {
	w, _ := a.WorkByName(r.Work)
	q := Question{Agreement: a.Digest(), Query: r.QueryOf(w), Parameters: []QuestionValue{}, Tables: []QuestionTable{}}
	for _, p := range w.Parameters {
		q.Parameters = append(q.Parameters, QuestionValue{p.Name, p.Type, p.Scale, r.Parameters[p.Name]})
	}
	text := strings.ToLower(q.Query)
	for _, name := range w.Tables {
		if !strings.Contains(text, name) { // names are lower case; to the engine case is all the same
			continue
		}
		t, _ := a.TableByName(name)
		rows := []QuestionRows{}
		for _, input := range t.Inputs {
			in, _ := a.InputByName(input)
			rows = append(rows, r.RowsOf(in))
		}
		q.Tables = append(q.Tables, QuestionTable{name, rows})
	}
	return q
}

// RowsOf says which rows of an input a run reads.
func (r Run) RowsOf(in Input) QuestionRows {
	named := func(name wire.ID) (digest wire.Digest) {
		set, _ := find(r.Datasets, func(d RunDataset) bool { return d.Input == name })
		return set.Statement
	}
	rows := QuestionRows{Statement: named(in.Name)}
	if in.Rules != nil && in.Rules.Exclusions != "" {
		list := named(in.Rules.Exclusions)
		rows.Exclusions = &list
	}
	return rows
}

// Reads reports whether a question is about a dataset version.
func (q Question) Reads(statement wire.Digest) bool {
	return slices.ContainsFunc(q.Tables, func(t QuestionTable) bool {
		return slices.ContainsFunc(t.Inputs, func(r QuestionRows) bool { return r.Statement == statement })
	})
}

// Joins reports whether rows of other inputs may decide how an input's rows count in it. They do
// not where it reads one table and its text has no JOIN.
func (q Question) Joins() bool {
	return len(q.Tables) > 1 || strings.Contains(strings.ToLower(q.Query), "join")
}

// Same reports whether both ask the same of the same rows.
func (q Question) Same(other Question) bool {
	return q.Agreement == other.Agreement && q.Query == other.Query && slices.Equal(q.Parameters, other.Parameters) &&
		slices.EqualFunc(q.Tables, other.Tables, QuestionTable.Same)
}

// Same reports whether both are of one name and hold the same rows.
func (t QuestionTable) Same(other QuestionTable) bool {
	return t.Name == other.Name && slices.EqualFunc(t.Inputs, other.Inputs, QuestionRows.Same)
}

// Size is what a question counts in a history, in bytes: its canonical form, and for each group
// that an answer may show eleven, of its hash in base64.
func (q Question) Size(groups int64) int64 {
	data, err := wire.Marshal(q)
	if err != nil { // what has no canonical form fits nowhere
		return MaxHistory + 1
	}
	return int64(len(data)) + 11*groups
}

// Audited gives the inputs of a work whose answers are held against earlier ones.
func (a Agreement) Audited(w Work) []Input {
	if w.Kind != kindSQL {
		return nil
	}
	return slices.DeleteFunc(a.InputsOf(w), func(in Input) bool {
		return in.Rules == nil || in.Rules.Differences != Audited || in.Rules.Privacy != nil || a.Excluded(in.Name)
	})
}

// AuditedOf gives those of one owner.
func (a Agreement) AuditedOf(w Work, owner wire.ID) []Input {
	return slices.DeleteFunc(a.Audited(w), func(in Input) bool { return in.Owner != owner })
}

// RowsOf is the most rows that a result of a work has: its output's, or fewer by the rules of
// what it reads.
func (a Agreement) RowsOf(w Work) int64 {
	out, _ := a.OutputByName(w.Output)
	most := out.MaxRows
	for _, in := range a.InputsOf(w) {
		if in.Rules != nil {
			most = min(most, in.Rules.MaxRows)
		}
	}
	return most
}

// validateAudit bounds what brokers remember of the answers of a work.
func (a Agreement) validateAudit(p place, w Work) error {
	audited := a.Audited(w)
	if len(audited) == 0 {
		return nil
	}
	if rows := a.RowsOf(w); rows > MaxAuditedRows {
		return p.dot("output").bad(fmt.Sprintf("at most %d rows, since the answers of input %s are audited", MaxAuditedRows, audited[0].Name), strconv.FormatInt(rows, 10),
			"lower max_rows of the output, or of the input's rules")
	}
	for _, in := range audited {
		if n := len(a.AuditedOf(w, in.Owner)); n > MaxAudited {
			return p.dot("tables").bad(fmt.Sprintf("at most %d audited inputs of %s", MaxAudited, in.Owner), strconv.Itoa(n), "divide the work")
		}
	}
	return nil
}
