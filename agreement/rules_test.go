package agreement_test

import (
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/wire"
)

// ruleForms are rules that are not well formed.
func ruleForms() []agreementCase {
	type A = agreement.Agreement
	at := func(name, comment string, change func(*agreement.Rules), where string) agreementCase {
		return agreementCase{"rules-" + name, comment, func(a *A) { change(a.Inputs[0].Rules) }, "inputs[0].rules" + where}
	}
	column := func(name, comment string, c agreement.ColumnRule, where string) agreementCase {
		return at("column-"+name, comment, func(r *agreement.Rules) { r.Columns = []agreement.ColumnRule{c} }, ".columns[0]"+where)
	}
	return []agreementCase{
		{"rules-none", "Without rules nothing may be made of an input.", func(a *A) { a.Inputs[0].Rules = nil }, "inputs[0].rules"},
		at("answers", "Groups or rows.", func(r *agreement.Rules) { r.Answers = "everything" }, ".answers"),
		at("group-0", "The zero minimum group is none.", func(r *agreement.Rules) { r.MinGroup = 0 }, ".min_group"),
		at("group-many", "A larger group withholds everything.", func(r *agreement.Rules) { r.MinGroup = agreement.MaxGroup + 1 }, ".min_group"),
		at("round-0", "Nothing is a multiple of zero.", func(r *agreement.Rules) { r.RoundTo = 0 }, ".round_to"),
		at("rows-0", "A result has rows.", func(r *agreement.Rules) { r.MaxRows = 0 }, ".max_rows"),
		at("columns-257", "A result has at most 256 columns.", func(r *agreement.Rules) { r.MaxColumns = 257 }, ".max_columns"),
		at("nobody", "Somebody receives what is made of it.", func(r *agreement.Rules) { r.Receivers = []wire.ID{} }, ".receivers"),
		at("stranger", "Only parties receive.", func(r *agreement.Rules) { r.Receivers = []wire.ID{"researcher", "press"} }, ".receivers[1]"),
		at("role", "A role that doesn't exist.", func(r *agreement.Rules) { r.Roles = []wire.ID{"join"} }, ".roles[0]"),
		at("role-twice", "A role is listed once.", func(r *agreement.Rules) { r.Roles = []wire.ID{"filter", "filter"} }, ".roles[1]"),
		at("partners", "Fixed or any.", func(r *agreement.Rules) { r.Partners = "some" }, ".partners"),
		at("differences", "Audited or not.", func(r *agreement.Rules) { r.Differences = "perhaps" }, ".differences"),
		column("unknown", "A column that doesn't exist.", agreement.ColumnRule{Name: "name", Roles: []wire.ID{}}, ".name"),
		column("unit-role", "The unit is counted, nothing else.", agreement.ColumnRule{Name: "patient", Roles: []wire.ID{"filter"}}, ".roles"),
		column("key-role", "A key is joined, nothing else.", agreement.ColumnRule{Name: "diagnosis", Roles: []wire.ID{"group"}, Key: "card"}, ".roles"),
		column("key-decimal", "A decimal identifies nobody.", agreement.ColumnRule{Name: "mean_radius", Roles: []wire.ID{}, Key: "card"}, ".key"),
		column("form-alone", "A form is a key's.", agreement.ColumnRule{Name: "diagnosis", Roles: []wire.ID{}, Form: "email"}, ".form"),
		column("form", "A form that doesn't exist.", agreement.ColumnRule{Name: "diagnosis", Roles: []wire.ID{}, Key: "mail", Form: "lower"}, ".form"),
		column("clamp-text", "Texts have no bounds.", agreement.ColumnRule{Name: "diagnosis", Roles: []wire.ID{"aggregate"}, Min: "0", Max: "1"}, ".min"),
		column("clamp-half", "Bounds are two.", agreement.ColumnRule{Name: "mean_radius", Roles: []wire.ID{"aggregate"}, Min: "0.0000"}, ".max"),
		column("clamp-reversed", "Bounds in the wrong order.", agreement.ColumnRule{Name: "mean_radius", Roles: []wire.ID{"aggregate"}, Min: "1.0000", Max: "0.0000"}, ".max"),
		column("clamp-form", "Bounds are in canonical text.", agreement.ColumnRule{Name: "mean_radius", Roles: []wire.ID{"aggregate"}, Min: "0", Max: "1.0000"}, ".min"),
		{"rules-exclusions-unknown", "A list that doesn't exist.", func(a *A) { a.Inputs[0].Rules.Exclusions = "objections" }, "inputs[0].rules.exclusions"},
		{"rules-exclusions-itself", "An input is no list of its own.", func(a *A) { a.Inputs[0].Rules.Exclusions = "alpha-patients" }, "inputs[0].rules"},
		{"rules-exclusions-of-others", "Only an owner says whom it leaves out.", func(a *A) { objections(a, "beta") }, "inputs[0].rules.exclusions"},
		{"rules-exclusions-columns", "A list names units and nothing else.", func(a *A) { objections(a, "alpha").Schema = schema() }, "inputs[0].rules.exclusions"},
		{"rules-exclusions-type", "Units are compared with their like.", func(a *A) { objections(a, "alpha").Schema[0].Type = "text" }, "inputs[0].rules.exclusions"},
		{"rules-exclusions-in-table", "Who objected is not for queries.", func(a *A) {
			objections(a, "alpha")
			a.Tables[0].Inputs = append(a.Tables[0].Inputs, "objections")
		}, "inputs[0].rules.exclusions"},
		{"rules-exclusions-rules", "A list has no rules.", func(a *A) { l := objections(a, "alpha"); l.Rules = a.Inputs[1].Rules }, "inputs[2].rules"},
		{"epsilon-no-privacy", "Nothing is spent where nothing is private.", func(a *A) { a.Work[0].Epsilon = "1" }, "work[0].epsilon"},
	}
}

// objections adds a list of whom alpha's patients leave out.
func objections(a *agreement.Agreement, owner wire.ID) *agreement.Input {
	a.Inputs[0].Rules.Exclusions = "objections"
	a.Inputs = append(a.Inputs, agreement.Input{Name: "objections", Owner: owner, Dataset: "objections", Format: agreement.CSV, Schema: schema()[:1:1], RunsPerDay: 20})
	a.Inputs[2].Schema = []agreement.Column{schema()[0]}
	return &a.Inputs[2]
}

// A list of exclusions is read by every run of what leaves its units out.
func TestExclusionsAreRead(t *testing.T) {
	a := newWorld().study
	objections(&a, "alpha")
	if err := a.Validate(); err != nil {
		t.Fatal(err)
	}
	var names []wire.ID
	for _, in := range a.InputsOf(a.Work[0]) {
		names = append(names, in.Name)
	}
	if len(names) != 3 || names[2] != "objections" || !a.Excluded("objections") || a.Excluded("alpha-patients") {
		t.Errorf("the work reads %v", names)
	}
}

// A column has the roles that name it, else those of every column; the unit none.
func TestColumnRule(t *testing.T) {
	in := newWorld().study.Inputs[0]
	in.Rules.Columns = []agreement.ColumnRule{{Name: "diagnosis", Roles: []wire.ID{agreement.Group}}}
	for column, want := range map[string][3]bool{
		"patient": {}, "diagnosis": {false, true, false}, "mean_radius": {true, true, true}, "unknown": {},
	} {
		rule := in.ColumnRule(column)
		if got := [3]bool{rule.May(agreement.Filter), rule.May(agreement.Group), rule.May(agreement.Aggregate)}; got != want {
			t.Errorf("%s: %v, not %v", column, got, want)
		}
	}
	in.Rules = nil
	if in.ColumnRule("mean_radius").May(agreement.Filter) {
		t.Error("without rules a column has a role")
	}
}
