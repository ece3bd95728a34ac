package sql

import (
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
)

// Validate reports the first thing that is wrong with a job's form.
func (j *Job) Validate() error {
	if err := j.validateLimits(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range j.Inputs {
		in := &j.Inputs[i]
		if err := in.validate(j.CheckOnly, j.IsList(in.Name)); err != nil {
			return fmt.Errorf("input %.70q: %w", string(in.Name), err)
		}
		if seen[string(in.Name)] {
			return fmt.Errorf("input %q stands twice", in.Name)
		}
		seen[string(in.Name)] = true
	}
	if err := j.validateExclusions(); err != nil {
		return err
	}
	seen = map[string]bool{}
	for _, t := range j.Tables {
		if err := j.validateTable(t); err != nil {
			return fmt.Errorf("table %.70q: %w", t.Name, err)
		}
		if seen[t.Name] {
			return fmt.Errorf("table %q stands twice", t.Name)
		}
		seen[t.Name] = true
	}
	if err := j.validateAskedTables(); err != nil {
		return err
	}
	return j.validateParameters()
}

// validateAskedTables checks that earlier queries read inputs of the job, and what is called as
// a table of the job is the same.
func (j *Job) validateAskedTables() error {
	for _, in := range j.Inputs {
		for _, asked := range in.Asked {
			for _, t := range asked.Tables {
				if err := j.validateTable(t); err != nil {
					return fmt.Errorf("table %.70q of an earlier query: %w", t.Name, err)
				}
				if now := j.TableByName(t.Name); now != nil && !slices.Equal(now.Inputs, t.Inputs) {
					return fmt.Errorf("table %.70q of an earlier query holds other inputs", t.Name)
				}
			}
		}
	}
	return nil
}

func (j *Job) validateLimits() error {
	for _, l := range []struct {
		name           string
		value, min, to int64
	}{
		{"inputs", int64(len(j.Inputs)), 1, agreement.MaxInputs},
		{"tables", int64(len(j.Tables)), 1, agreement.MaxInputs},
		{"bytes of query", int64(len(j.Query)), 1, agreement.MaxQuery},
		{"parameters", int64(len(j.Parameters)), 0, agreement.MaxParameters},
		{"maximum of columns", j.MaxColumns, 1, agreement.MaxOutputColumns},
		{"maximum of rows", j.MaxRows, 1, maxRows},
		{"maximum of bytes", j.MaxBytes, 1, maxBytes},
		{"bytes of memory", j.Memory, minMemory, maxMemory},
		{"threads", j.Threads, 1, maxThreads},
	} {
		if l.value < l.min || l.value > l.to {
			return fmt.Errorf("%s: %d, not %d to %d", l.name, l.value, l.min, l.to)
		}
	}
	return nil
}

// validate checks an input; a list of exclusions has no rules.
func (in *Input) validate(checkOnly, list bool) error {
	if !in.Name.Valid() || !in.Owner.Valid() {
		return fmt.Errorf("name or owner %.70q is not well formed", string(in.Owner))
	}
	if !in.Format.Columns() {
		return fmt.Errorf("format %.20q", string(in.Format))
	}
	if checkOnly != (in.FD == 0) || in.FD != 0 && (in.FD < minFD || in.FD > maxFD) {
		return fmt.Errorf("descriptor %d", in.FD)
	}
	if list {
		return validateSchema(in.Schema)
	}
	if in.Rules.Answers != agreement.Groups && in.Rules.Answers != agreement.Rows || in.Rules.MinGroup < 1 {
		return fmt.Errorf("rules: answers %.20q, minimum group %d", string(in.Rules.Answers), in.Rules.MinGroup)
	}
	if err := validateSchema(in.Schema); err != nil {
		return err
	}
	if in.Rules.RoundTo < 1 || in.Rules.RoundTo > agreement.MaxGroup {
		return fmt.Errorf("rules: counts rounded to %d", in.Rules.RoundTo)
	}
	if err := in.validateAsked(); err != nil {
		return err
	}
	return in.validateBounds()
}

// validateAsked bounds what was asked before. Its queries were read when they were asked.
func (in *Input) validateAsked() error {
	if len(in.Asked) > MaxAsked || len(in.Asked) > 0 && in.Rules.Differences != agreement.Audited {
		return fmt.Errorf("%d earlier queries", len(in.Asked))
	}
	for _, asked := range in.Asked {
		if len(asked.Query) == 0 || len(asked.Query) > agreement.MaxQuery || len(asked.Shown)%groupHash != 0 || len(asked.Shown) > maxHeldGroups*groupHash {
			return fmt.Errorf("an earlier query of %d bytes, %d shown", len(asked.Query), len(asked.Shown))
		}
	}
	return nil
}

// validateBounds checks that what clamps a column is canonical text of its type.
func (in *Input) validateBounds() error {
	for _, rule := range in.Rules.Columns {
		if rule.Min == "" && rule.Max == "" {
			continue
		}
		i := slices.IndexFunc(in.Schema, func(c agreement.Column) bool { return c.Name == rule.Name })
		if i < 0 {
			return fmt.Errorf("bounds of column %.70q, which is not there", rule.Name)
		}
		kind := Column{Name: rule.Name, Type: in.Schema[i].Type, Scale: in.Schema[i].Scale}
		if kind.Type != "integer" && kind.Type != "decimal" || !canonical(kind, rule.Min) || !canonical(kind, rule.Max) {
			return fmt.Errorf("bounds of column %s are not canonical text of its type", rule.Name)
		}
	}
	return nil
}

// validateExclusions checks that lists are other inputs of one column, in no table, and that
// there is a salt.
func (j *Job) validateExclusions() error {
	for _, key := range []string{j.Salt, j.Noise} {
		if len(key) != 64 || strings.Trim(key, "0123456789abcdef") != "" {
			return fmt.Errorf("a salt or noise of %d characters, not 64 hex digits", len(key))
		}
	}
	for _, in := range j.Inputs {
		name := in.Rules.Exclusions
		if name == "" {
			continue
		}
		list := j.InputByName(name)
		if list == nil || name == in.Name || len(list.Schema) != 1 || list.Rules.Exclusions != "" ||
			slices.ContainsFunc(j.Tables, func(t Table) bool { return slices.Contains(t.Inputs, name) }) {
			return fmt.Errorf("input %.70q is no list of what %s leaves out", string(name), in.Name)
		}
	}
	return nil
}

func validateSchema(columns []agreement.Column) error {
	if len(columns) == 0 || len(columns) > agreement.MaxColumns {
		return fmt.Errorf("%d columns, not 1 to %d", len(columns), agreement.MaxColumns)
	}
	seen, units := map[string]bool{}, 0
	for _, c := range columns {
		if !ValidName(c.Name) || seen[c.Name] {
			return fmt.Errorf("column %.70q is not well formed or stands twice", c.Name)
		}
		seen[c.Name] = true
		if c.Unit {
			units++
		}
		if !slices.Contains([]string{"integer", "decimal", "text", "boolean", "date"}, c.Type) {
			return fmt.Errorf("column %s: type %.20q", c.Name, c.Type)
		}
		if c.Scale < 0 || c.Scale > 18 || c.Type != "decimal" && c.Scale != 0 {
			return fmt.Errorf("column %s: scale %d", c.Name, c.Scale)
		}
	}
	if units != 1 {
		return fmt.Errorf("%d unit columns, not one", units)
	}
	return nil
}

func (j *Job) validateTable(t Table) error {
	if !ValidName(t.Name) {
		return fmt.Errorf("not a column-style name")
	}
	if len(t.Inputs) == 0 {
		return fmt.Errorf("no inputs")
	}
	var first *Input
	seen := map[wire.ID]bool{}
	for _, name := range t.Inputs {
		in := j.InputByName(name)
		if in == nil || seen[name] {
			return fmt.Errorf("input %.70q is unknown or stands twice", string(name))
		}
		seen[name] = true
		if first == nil {
			first = in
		}
		if !slices.Equal(first.Schema, in.Schema) {
			return fmt.Errorf("inputs %s and %s have different schemas", first.Name, in.Name)
		}
	}
	return nil
}

func (j *Job) validateParameters() error {
	seen := map[string]bool{}
	for _, p := range j.Parameters {
		if !ValidName(p.Name) || seen[p.Name] {
			return fmt.Errorf("parameter %.70q is not well formed or stands twice", p.Name)
		}
		seen[p.Name] = true
		kind := Column{Name: p.Name, Type: p.Type, Scale: p.Scale}
		if p.Type == "choice" {
			kind.Type = "text"
		} else if p.Type != "integer" && p.Type != "decimal" && p.Type != "boolean" {
			return fmt.Errorf("parameter %s: type %.20q", p.Name, p.Type)
		}
		if p.Scale < 0 || p.Scale > 18 || p.Type != "decimal" && p.Scale != 0 {
			return fmt.Errorf("parameter %s: scale %d", p.Name, p.Scale)
		}
		if len(p.Value) > agreement.MaxText || !canonical(kind, p.Value) || digits(strings.TrimLeft(p.Value, "-0.")) > 18 && kind.Type != "text" {
			return fmt.Errorf("parameter %s: %.40q is not the canonical text of its type, at most 18 digits", p.Name, p.Value)
		}
	}
	return nil
}

// ValidName reports whether s may name a table, column or parameter: [a-z][a-z0-9_]{0,62}.
func ValidName(s string) bool {
	if len(s) < 1 || len(s) > 63 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}
