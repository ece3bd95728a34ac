package agreement

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/privacy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// validateRules checks the rules of an input against its schema and the agreement.
func (a Agreement) validateRules(p place, in Input) error {
	if !in.Format.Columns() {
		if in.Rules != nil {
			return p.bad("no rules for format "+string(in.Format)+", which no query reads", "some", "remove them")
		}
		return nil
	}
	if a.Excluded(in.Name) {
		if in.Rules != nil {
			return p.bad("no rules for a list of units to leave out, which no query reads", "some", "remove them")
		}
		return nil
	}
	if in.Rules == nil {
		return p.bad("rules: what queries may make of the rows", "nothing", "`strongroom agreement init` writes them; spec/agreement.md, section 3.1, explains each")
	}
	r := *in.Rules
	groups := int64(MaxGroup)
	if r.Answers == Rows {
		groups = 1
	}
	return first(
		oneOf(p.dot("answers"), r.Answers, Groups, Rows),
		p.dot("min_group").integer(r.MinGroup, 1, groups),
		p.dot("round_to").integer(r.RoundTo, 1, MaxGroup),
		p.dot("max_rows").integer(r.MaxRows, 1, MaxRows),
		p.dot("max_columns").integer(r.MaxColumns, 1, MaxOutputColumns),
		a.partyRefs(p.dot("receivers"), r.Receivers),
		validateRoles(p.dot("roles"), r.Roles),
		p.dot("columns").count(len(r.Columns), 0, len(in.Schema)),
		each(p.dot("columns"), r.Columns, in.validateColumnRule),
		unique(p.dot("columns"), r.Columns, "name", func(c ColumnRule) string { return c.Name }),
		oneOf(p.dot("partners"), r.Partners, Fixed, Any),
		oneOf(p.dot("differences"), r.Differences, Audited, Unaudited),
		r.validateRows(p),
		a.validateExclusions(p.dot("exclusions"), in),
		r.validatePrivacy(p.dot("privacy")),
	)
}

func validateRoles(p place, roles []wire.ID) error {
	return first(
		each(p, roles, func(p place, role wire.ID) error { return oneOf(p, role, Filter, Group, Aggregate) }),
		unique(p, roles, "", self[wire.ID]),
	)
}

// validateRows refuses rules about groups where single rows leave: nobody is counted there.
func (r Rules) validateRows(p place) error {
	if r.Answers != Rows {
		return nil
	}
	switch {
	case r.RoundTo != 1:
		return p.dot("round_to").bad("1, since rows leave as they are", strconv.FormatInt(r.RoundTo, 10), "")
	case r.Differences != Unaudited:
		return p.dot("differences").bad("unaudited, since rows leave as they are", string(r.Differences), "")
	case r.Privacy != nil:
		return p.dot("privacy").bad("none, since rows leave as they are", "some", "say answers: groups")
	}
	return nil
}

func (in Input) validateColumnRule(p place, c ColumnRule) error {
	column, found := find(in.Schema, func(s Column) bool { return s.Name == c.Name })
	if !found {
		return p.dot("name").bad("a column of the schema", quoted(c.Name), "name one of: "+names(in.Schema, func(s Column) string { return s.Name }))
	}
	if err := validateRoles(p.dot("roles"), c.Roles); err != nil {
		return err
	}
	if len(c.Roles) > 0 && (column.Unit || c.Key != "") {
		return p.dot("roles").bad("none for what identifies people", names(c.Roles, self[wire.ID]), "the unit is counted, a key is joined by; nothing else is done with either")
	}
	if c.Key != "" {
		if err := first(p.dot("key").id(c.Key), joinable(p.dot("key"), column)); err != nil {
			return err
		}
	}
	if c.Form != "" {
		if err := oneOf(p.dot("form"), c.Form, Email, Phone); err != nil {
			return err
		}
		if c.Key == "" || column.Type != "text" {
			return p.dot("form").bad("no form but for a key of type text", string(c.Form), "remove it")
		}
	}
	return c.validateClamp(p, column)
}

func joinable(p place, column Column) error {
	if column.Type != "integer" && column.Type != "text" {
		return p.bad("a key of type integer or text", column.Type, "")
	}
	return nil
}

// validateClamp checks the bounds of a column's values.
func (c ColumnRule) validateClamp(p place, column Column) error {
	if c.Min == "" && c.Max == "" {
		return nil
	}
	if column.Type != "integer" && column.Type != "decimal" || !c.May(Aggregate) {
		return p.dot("min").bad("no min and max but for numbers that are aggregated", quoted(c.Min+c.Max), "remove them")
	}
	return Parameter{Name: column.Name, Type: column.Type, Scale: column.Scale, Min: c.Min, Max: c.Max}.validateBounds(p)
}

// validateExclusions checks that units are left out by the same owner's list of such units.
func (a Agreement) validateExclusions(p place, in Input) error {
	name := in.Rules.Exclusions
	if name == "" {
		return nil
	}
	list, found := a.InputByName(name)
	if !found || list.Owner != in.Owner || list.Name == in.Name || !list.Format.Columns() {
		return p.bad("another input of "+string(in.Owner)+" with columns", quoted(string(name)), "declare an input with the one column that names the units to leave out")
	}
	unit := func(in Input) string {
		column, _ := find(in.Schema, func(c Column) bool { return c.Unit })
		return column.Type
	}
	if len(list.Schema) != 1 || unit(list) != unit(in) {
		return p.bad("an input whose one column is a unit of type "+unit(in), fmt.Sprintf("%q with %d columns", name, len(list.Schema)), "give it the unit alone")
	}
	if slices.ContainsFunc(a.Tables, func(t Table) bool { return slices.Contains(t.Inputs, name) }) {
		return p.bad("a list that no table holds", quoted(string(name)), "who objected is not for queries")
	}
	return nil
}

// Digits after the point of a budget's decimals.
const (
	EpsilonScale = 6
	DeltaScale   = 18
)

// validatePrivacy checks a budget's form.
func (r Rules) validatePrivacy(p place) error {
	q := r.Privacy
	if q == nil {
		return nil
	}
	if err := first(
		p.dot("epsilon").budget(q.Epsilon, EpsilonScale, MaxEpsilon),
		p.dot("run").budget(q.Run, EpsilonScale, MaxEpsilon),
		oneOf(p.dot("mechanism"), q.Mechanism, privacy.Laplace, privacy.Gaussian),
		p.dot("max_groups").integer(q.MaxGroups, 1, MaxGroup),
		p.dot("max_rows").integer(q.MaxRows, 1, MaxGroup),
	); err != nil {
		return err
	}
	total, _ := decimal(q.Epsilon, EpsilonScale)
	run, _ := decimal(q.Run, EpsilonScale)
	if run > total {
		return p.dot("run").bad("at most epsilon, "+q.Epsilon, q.Run, "")
	}
	if q.Mechanism == privacy.Laplace && q.Delta == "0" {
		return nil
	}
	if err := p.dot("delta").budget(q.Delta, DeltaScale, 0); err != nil {
		return err
	}
	if _, err := q.Cost(q.Run); err != nil {
		return p.dot("run").bad("an epsilon that buys something", q.Run+": "+verdict.As(err).Got, "ask for a larger epsilon or delta")
	}
	return nil
}

// budget checks a decimal above zero in canonical text: no more digits than needed. most is
// in whole units; 0: below one.
func (p place) budget(text string, scale int, most int64) error {
	n, canonical := decimal(text, scale)
	one := int64(1)
	for range scale {
		one *= 10
	}
	limit := one - 1
	if most > 0 {
		limit = most * one
	}
	if !canonical || n < 1 || n > limit {
		bound := "below 1"
		if most > 0 {
			bound = fmt.Sprintf("of at most %d", most)
		}
		return p.bad(fmt.Sprintf("a decimal above 0 and %s with at most %d digits after the point and no zeros at its end, in quotation marks", bound, scale), quoted(text), "")
	}
	return nil
}

// decimal reads a decimal that is not negative, as a number of its last digit; canonical
// reports whether it is in its one form. It has at most 18 digits.
func decimal(text string, scale int) (n int64, canonical bool) {
	whole, fraction, point := strings.Cut(text, ".")
	switch {
	case len(text) > 20 || whole == "" || strings.Trim(whole+fraction, "0123456789") != "":
		return 0, false
	case len(whole) > 1 && whole[0] == '0', point && (fraction == "" || fraction[len(fraction)-1] == '0'), len(fraction) > scale:
		return 0, false
	}
	n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", scale-len(fraction)), 10, 64)
	return n, err == nil
}

// validateAnswers checks that a query's output keeps to the rules of everything it reads.
func (a Agreement) validateAnswers(p place, w Work, out Output) error {
	inputs := a.InputsOf(w)
	for _, in := range inputs {
		for _, id := range out.Receivers {
			if in.Rules != nil && !slices.Contains(in.Rules.Receivers, id) {
				return p.dot("output").refuse("agreement.receivers", "an output for those who may receive something made of "+string(in.Name)+": "+names(in.Rules.Receivers, self[wire.ID]),
					string(id), "list the party in rules.receivers of that input, or take it off the output")
			}
		}
	}
	if err := a.validateAudit(p, w); err != nil {
		return err
	}
	private := a.Private(w)
	if len(private) == 0 {
		if w.Epsilon != "" {
			return p.dot("epsilon").bad("nothing, since no input of the work is under differential privacy", quoted(w.Epsilon), "remove it")
		}
		return nil
	}
	if w.AdHoc {
		if w.Epsilon != "" {
			return p.dot("epsilon").bad("nothing, since each request says what it spends", quoted(w.Epsilon), "remove it")
		}
		return nil
	}
	if err := p.dot("epsilon").budget(w.Epsilon, EpsilonScale, MaxEpsilon); err != nil {
		return err
	}
	return a.affordable(p.dot("epsilon"), w, w.Epsilon)
}

// affordable checks what a run spends against the rules of every input it reads.
func (a Agreement) affordable(p place, w Work, epsilon string) error {
	n, _ := decimal(epsilon, EpsilonScale)
	for _, in := range a.Private(w) {
		if most, _ := decimal(in.Rules.Privacy.Run, EpsilonScale); n > most {
			return p.refuse(p.check, "at most "+in.Rules.Privacy.Run+", what one run may spend of "+string(in.Name), epsilon, "ask for less: answers get more noise")
		}
	}
	return nil
}
