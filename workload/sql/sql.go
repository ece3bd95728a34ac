// Package sql is what an agent and its SQL engine say to each other: the job, the
// progress and the answer, and the agent's side of the conversation.
//
// The engine (cmd/strongroom-sql) is a sandboxed child that holds no key and may have been
// taken over by hostile data. So the package promises that what [Run] returns has the
// shape, the types and the size the job allows, whatever the child sent, and it refuses
// every other answer. It links no engine and starts no process. The format is
// spec/sql.md, section 7.
package sql

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Job is one query to answer.
type Job struct {
	// CheckOnly asks for the check alone: inputs have no descriptors, nothing is read, and
	// the answer has no rows. It is how a query is checked before any key is asked for.
	CheckOnly bool    `json:"check_only"`
	Inputs    []Input `json:"inputs"`
	Tables    []Table `json:"tables"`
	// Query is the agreed text; Parameters has exactly one value for each parameter the
	// agreement declares.
	Query      string      `json:"query"`
	Parameters []Parameter `json:"parameters"`
	// MaxRows and MaxColumns bound the result.
	MaxRows    int64 `json:"max_rows"`
	MaxColumns int64 `json:"max_columns"`
	// Salt keys the hashes of identifiers that have a form: 64 hex digits of the run's own.
	Salt string `json:"salt"`
	// Noise is what the noise of inputs under differential privacy derives from: 64 hex digits of
	// the run's own. Epsilon is what the run spends of each; empty where none is.
	Noise   string `json:"noise"`
	Epsilon string `json:"epsilon"`
	// MaxBytes bounds the text of all cells together, counting one byte more for each cell.
	MaxBytes int64 `json:"max_bytes"`
	// Memory is what the engine may use beside the inputs, in bytes; at least 64 MiB.
	Memory  int64 `json:"memory"`
	Threads int64 `json:"threads"`
}

// Input is one plaintext the child has open.
type Input struct {
	Name  wire.ID `json:"name"`
	Owner wire.ID `json:"owner"`
	// FD is the child's number of a sealed memory file with the plaintext; 0 with CheckOnly.
	FD     int                `json:"fd"`
	Format agreement.Format   `json:"format"`
	Schema []agreement.Column `json:"schema"`
	// UniqueUnit is what the dataset statement declares: no two rows share a unit. It is
	// checked at load, and then rows are counted instead of distinct units.
	UniqueUnit bool `json:"unique_unit"`
	// Pinned: the agreement names the very version of the dataset.
	Pinned bool `json:"pinned"`
	// Rules are the agreed ones of the input; a list of exclusions has none.
	Rules agreement.Rules `json:"rules,omitzero"`
	// Asked is what was asked of this version of the dataset before, oldest first, where answers
	// are held against earlier ones.
	Asked []Asked `json:"asked"`
}

// Table is what a query reads: the rows of its inputs together. All have the same schema.
type Table struct {
	Name   string    `json:"name"`
	Inputs []wire.ID `json:"inputs"`
}

// Parameter is a parameter's declared type and its value in canonical text.
type Parameter struct {
	Name  string `json:"name"`
	Type  string `json:"type"`  // integer, decimal, choice, boolean
	Scale int64  `json:"scale"` // 0 except for decimal
	Value string `json:"value"`
}

// Parameters gives the values of a signed run for the parameters its work declares, in the
// declared order. A value that is missing or left over is an error: it is the caller's task
// to have checked types and bounds (agreement.CanonicalParameter).
func Parameters(declared []agreement.Parameter, values map[string]string) ([]Parameter, error) {
	out := make([]Parameter, 0, len(declared))
	for _, p := range declared {
		value, found := values[p.Name]
		if !found {
			return nil, verdict.Misuse("job.parameters", "a value for "+p.Name, "none", "pass --param "+p.Name+"=VALUE")
		}
		out = append(out, Parameter{Name: p.Name, Type: p.Type, Scale: p.Scale, Value: value})
	}
	if len(values) != len(declared) {
		return nil, verdict.Misuse("job.parameters", fmt.Sprintf("%d parameters", len(declared)), fmt.Sprint(len(values)), "pass only declared parameters")
	}
	return out, nil
}

// Progress says how far a job is. It goes to the agent and no further: it depends on data.
type Progress struct {
	Phase Phase `json:"phase"`
	// Done of Total steps of the phase are finished.
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// Result is the answer to a job, with everything withheld already taken out.
type Result struct {
	Columns []Column
	// Rows are in canonical order: the same job over the same data gives the same rows. A
	// cell is canonical text (spec/sql.md, section 5), or nil for NULL.
	Rows [][]*string
	// Withheld counts, for each owner of the job's inputs in the order of their first input,
	// the rows left out because they show too few of that owner's units. It depends on data:
	// each owner may learn its own number, nobody else any.
	Withheld []Withheld
	// Plan is the hash of the checked, bound, unoptimised plan. It does not depend on data.
	Plan wire.Hash
	// SQL is the query as it ran, with the counting added. It does not depend on data.
	SQL string
	// Shown are the groups that are shown of each audited input that the query reads, in the
	// order of the inputs. It depends on data, and is for the input's owner.
	Shown []Shown
}

// Column is one column of a result.
type Column struct {
	Name  string `json:"name"`
	Type  string `json:"type"`  // integer, decimal, double, text, boolean, date
	Scale int64  `json:"scale"` // digits after the point of a decimal, 0 to 38
}

// Withheld is how many rows were left out for one owner's sake.
type Withheld struct {
	Owner wire.ID `json:"owner"`
	Rows  int64   `json:"rows"`
}

// Asked is an earlier query whose answer an owner let out.
type Asked struct {
	Query      string      `json:"query"`
	Parameters []Parameter `json:"parameters"`
	Tables     []Table     `json:"tables"`
	// Shown are the groups of the input that were shown, as in [Shown].
	Shown []byte `json:"shown"`
}

// Shown says which groups of a query's answer are shown of an input: their hashes, ascending.
type Shown struct {
	Input  wire.ID `json:"input"`
	Groups []byte  `json:"groups"`
}

// groupHash is the size of a shown group's hash, bytes.
const groupHash = 8

// ShownGroup gives the hash of a group's key.
func ShownGroup(key string) []byte {
	h := wire.SHA256("strongroom/sql/group/v1", []byte(key))
	return h[:groupHash]
}

// ContainsGroup reports whether a group is among those shown.
func ContainsGroup(shown []byte, key string) bool {
	hash := ShownGroup(key)
	for i := 0; i+groupHash <= len(shown); i += groupHash {
		if bytes.Equal(shown[i:i+groupHash], hash) {
			return true
		}
	}
	return false
}

// Phase is a part of the work on a job.
type Phase string

// The phases, in order. Failures of Check never depend on data; those of Load and Run do.
const (
	Check Phase = "check"
	Load  Phase = "load"
	Query Phase = "run"
)

// Failure says why a job has no result. Phase and Code have no data in them, though that a
// load or a run failed depends on data; Detail may quote data and is for the owner of
// Input. Where Input is empty it is for all owners of the job's inputs and quotes none.
type Failure struct {
	Phase Phase `json:"phase"`
	// Code is lower case with dots: "query.function", "input.value", "output.rows".
	Code   string  `json:"code"`
	Input  wire.ID `json:"input,omitempty"`
	Detail string  `json:"detail"`
}

// Error gives phase and code only, so that no log gets the detail.
func (f *Failure) Error() string { return "sql: " + string(f.Phase) + ": " + f.Code }

// Refusal gives a failed check as the refusal to show to the person who asked. For the
// other phases, which depend on data, it holds the code alone.
func (f *Failure) Refusal() *verdict.Error {
	if f.Phase != Check {
		return verdict.Refuse("sql."+string(f.Phase), "a result", f.Code, "the data's owners find the reason in their part of the record")
	}
	return verdict.Refuse("sql."+f.Code, "a query within the rules of spec/sql.md", f.Detail, "change the query; an agreed one changes with a new version of the agreement")
}

// Owners gives the owners of the job's inputs, each once, in the order of the inputs.
func (j *Job) Owners() []wire.ID {
	var out []wire.ID
	for _, in := range j.Inputs {
		if !slices.Contains(out, in.Owner) {
			out = append(out, in.Owner)
		}
	}
	return out
}

// May reports whether the rules of all inputs of a table let a column be used in a role: the
// strictest applies.
func (j *Job) May(t *Table, column string, role wire.ID) bool {
	for _, name := range t.Inputs {
		in := j.InputByName(name)
		if !(agreement.Input{Schema: in.Schema, Rules: &in.Rules}).ColumnRule(column).May(role) {
			return false
		}
	}
	return len(t.Inputs) > 0
}

// Key gives the kind of identifier that a column of a table holds, "" for none: that which
// the rules of all its inputs give it.
func (j *Job) Key(t *Table, column string) (kind wire.ID) {
	for i, name := range t.Inputs {
		in := j.InputByName(name)
		key := (agreement.Input{Schema: in.Schema, Rules: &in.Rules}).ColumnRule(column).Key
		if i > 0 && key != kind {
			return ""
		}
		kind = key
	}
	return kind
}

// Bounds gives the narrowest bounds that the rules of a table's inputs clamp a number to, as
// canonical text; bounded tells whether there are any. It is an error if no value is in all.
func (j *Job) Bounds(t *Table, column string) (low, high string, bounded bool, err error) {
	for _, name := range t.Inputs {
		in := j.InputByName(name)
		rule := (agreement.Input{Schema: in.Schema, Rules: &in.Rules}).ColumnRule(column)
		if rule.Min == "" {
			continue
		}
		if !bounded || compareDecimals(rule.Min, low) > 0 {
			low = rule.Min
		}
		if !bounded || compareDecimals(rule.Max, high) < 0 {
			high = rule.Max
		}
		bounded = true
	}
	if bounded && compareDecimals(low, high) > 0 {
		return "", "", false, fmt.Errorf("no value is within the bounds of all inputs of table %s", t.Name)
	}
	return low, high, bounded, nil
}

// compareDecimals compares the canonical texts of two numbers of one scale.
func compareDecimals(a, b string) int {
	x, _ := new(big.Int).SetString(strings.Replace(a, ".", "", 1), 10)
	y, _ := new(big.Int).SetString(strings.Replace(b, ".", "", 1), 10)
	if x == nil || y == nil {
		return 0 // a valid job has no such bounds
	}
	return x.Cmp(y)
}

// IsList reports whether an input only names units that others leave out; it has no rules.
func (j *Job) IsList(name wire.ID) bool {
	return slices.ContainsFunc(j.Inputs, func(in Input) bool { return in.Rules.Exclusions == name })
}

// Visible gives the columns of a table that queries over rows see: those that the rules of
// all its inputs name for something.
func (j *Job) Visible(t *Table) (columns []agreement.Column) {
	for _, c := range j.InputByName(t.Inputs[0]).Schema {
		used := j.Key(t, c.Name) != "" || c.Unit
		for _, role := range []wire.ID{agreement.Filter, agreement.Group, agreement.Aggregate} {
			used = used || j.May(t, c.Name, role)
		}
		if used {
			columns = append(columns, c)
		}
	}
	return columns
}

// InputByName finds an input, or gives nil.
func (j *Job) InputByName(name wire.ID) *Input {
	for i := range j.Inputs {
		if j.Inputs[i].Name == name {
			return &j.Inputs[i]
		}
	}
	return nil
}

// TableByName finds a table, or gives nil.
func (j *Job) TableByName(name string) *Table {
	for i := range j.Tables {
		if j.Tables[i].Name == name {
			return &j.Tables[i]
		}
	}
	return nil
}
