package agreement

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Validate checks everything about an agreement that needs no other document: form, names,
// references, bounds, and that one protection class holds. Error.Where is the member.
func (a Agreement) Validate() error {
	p := place{check: "agreement.form"}
	if err := a.validateCounts(p); err != nil {
		return err // before anything that compares lists with each other
	}
	return first(
		a.validateHead(p),
		a.validateParties(p.dot("parties")),
		a.validatePlatforms(p),
		a.validateInputs(p.dot("inputs")),
		a.validateTables(p.dot("tables")),
		a.validateOutputs(p.dot("outputs")),
		a.validateWork(p.dot("work")),
		a.validateUse(p),
		a.Ledgers.validate(p.dot("ledgers")),
		p.dot("lease_ms").integer(a.LeaseMS, MinLeaseMS, MaxLeaseMS),
	)
}

func (a Agreement) validateCounts(p place) error {
	least := 0 // containers may do without
	if slices.ContainsFunc(a.Work, func(w Work) bool { return w.Kind != kindContainer }) {
		least = 1
	}
	return first(
		p.dot("parties").count(len(a.Parties), 1, MaxParties),
		p.dot("platforms").count(len(a.Platforms), 1, MaxPlatforms),
		p.dot("inputs").count(len(a.Inputs), least, MaxInputs),
		p.dot("tables").count(len(a.Tables), least, MaxInputs),
		p.dot("work").count(len(a.Work), 1, MaxWork),
		p.dot("outputs").count(len(a.Outputs), least, MaxWork),
		p.dot("ledgers").dot("witnesses").count(len(a.Ledgers.Witnesses), 0, MaxWitnesses),
	)
}

func (a Agreement) validateHead(p place) error {
	return first(
		p.dot("id").id(a.ID),
		p.lineage(a.Version, "supersedes", a.Supersedes),
		p.dot("title").line(a.Title, MaxLine),
		p.dot("purpose").text(a.Purpose, MaxText),
		p.dot("legal_basis").text(a.LegalBasis, MaxText),
		p.dot("retention").text(a.Retention, MaxText),
		p.dot("contact").text(a.Contact, MaxText),
		p.dot("valid").period(a.Valid.From, a.Valid.Until, "from", "until"),
	)
}

func (a Agreement) validateParties(p place) error {
	return first(
		each(p, a.Parties, func(p place, party Party) error {
			if party.Descriptor.IsZero() {
				return p.dot("descriptor").bad("the digest of a party descriptor", "nothing", "`strongroom party list` prints it")
			}
			return p.dot("id").id(party.ID)
		}),
		unique(p, a.Parties, "id", func(party Party) string { return string(party.ID) }),
		unique(p, a.Parties, "descriptor", func(party Party) string { return party.Descriptor.String() }),
	)
}

// partyRefs checks a list of party ids.
func (a Agreement) partyRefs(p place, ids []wire.ID) error {
	return first(
		p.count(len(ids), 1, MaxParties),
		each(p, ids, a.partyRef),
		unique(p, ids, "", self[wire.ID]),
	)
}

func (a Agreement) partyRef(p place, id wire.ID) error {
	if _, found := a.PartyByID(id); !found {
		return p.bad("a party of this agreement", quoted(string(id)), "name one of: "+names(a.Parties, func(p Party) string { return string(p.ID) }))
	}
	return nil
}

// names lists what could have been meant, for a fix.
func names[T any](list []T, name func(T) string) string {
	const most = 12
	out := make([]string, 0, most)
	for _, v := range list[:min(len(list), most)] {
		out = append(out, name(v))
	}
	if len(list) > most {
		out = append(out, "...")
	}
	if len(out) == 0 {
		return "none is declared"
	}
	return strings.Join(out, ", ")
}

func (a Agreement) validateInputs(p place) error {
	return first(
		each(p, a.Inputs, func(p place, in Input) error {
			return first(a.partyRef(p.dot("owner"), in.Owner), in.validate(p), a.validateRules(p.dot("rules"), in))
		}),
		unique(p, a.Inputs, "name", func(in Input) string { return string(in.Name) }),
		unique(p, a.Inputs, "dataset", func(in Input) string { return string(in.Owner) + "/" + string(in.Dataset) }),
	)
}

func (in Input) validate(p place) error {
	if in.Statement != nil && in.Statement.IsZero() {
		return p.dot("statement").bad("the digest of a dataset statement", "zero", "leave the member out to use the current version")
	}
	if in.MinDelta != 0 {
		if err := p.dot("min_delta").integer(in.MinDelta, 0, MaxGroup); err != nil {
			return err
		}
		return p.dot("min_delta").refuse("agreement.enforced", "0", strconv.FormatInt(in.MinDelta, 10),
			"differences between dataset versions are not enforced yet; leave the member out")
	}
	return first(
		p.dot("name").id(in.Name),
		p.dot("dataset").id(in.Dataset),
		oneOf(p.dot("format"), in.Format, CSV, Parquet, NDJSON, Arrow, Opaque, Disk),
		in.validateSchema(p.dot("schema")),
		p.dot("runs_per_day").integer(in.RunsPerDay, 1, MaxRuns),
	)
}

// Columns tells whether inputs of this format have columns, and so may stand in tables.
func (f Format) Columns() bool {
	return f == CSV || f == Parquet || f == NDJSON || f == Arrow
}

func (in Input) validateSchema(p place) error {
	if in.Format.Columns() {
		return validateSchema(p, in.Schema)
	}
	return p.count(len(in.Schema), 0, 0)
}

func validateSchema(p place, schema []Column) error {
	if err := first(
		p.count(len(schema), 1, MaxColumns),
		each(p, schema, func(p place, c Column) error { return c.validate(p) }),
		unique(p, schema, "name", func(c Column) string { return c.Name }),
	); err != nil {
		return err
	}
	units := 0
	for i, c := range schema {
		if c.Unit {
			units++
		}
		if units > 1 {
			return p.at(i).dot("unit").bad("one column with unit: true", "a second", "choose the one that says whom a row is about")
		}
	}
	if units == 0 {
		return p.bad("one column with unit: true", "none", "mark the column that says whom a row is about, so that people can be counted")
	}
	return nil
}

func (c Column) validate(p place) error {
	if err := first(
		p.dot("name").column(c.Name),
		oneOf(p.dot("type"), c.Type, "integer", "decimal", "text", "boolean", "date"),
	); err != nil {
		return err
	}
	if c.Unit && c.Type != "integer" && c.Type != "text" {
		return p.dot("unit").bad("a unit column of type integer or text", c.Type, "people are told apart by a number or a text")
	}
	most := int64(0)
	if c.Type == "decimal" {
		most = MaxScale
	}
	return p.dot("scale").integer(c.Scale, 0, most)
}

// enginePrefixes start names that the SQL engine keeps for tables of its own.
func reservedTable(name string) bool {
	for _, prefix := range []string{"duckdb_", "pragma_", "sqlite_", "pg_", "information_schema"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func (a Agreement) validateTables(p place) error {
	return first(
		each(p, a.Tables, a.validateTable),
		unique(p, a.Tables, "name", func(t Table) string { return t.Name }),
	)
}

func (a Agreement) validateTable(p place, t Table) error {
	if err := first(
		p.dot("name").column(t.Name),
		p.dot("inputs").count(len(t.Inputs), 1, MaxInputs),
		each(p.dot("inputs"), t.Inputs, a.inputRef),
		unique(p.dot("inputs"), t.Inputs, "", self[wire.ID]),
	); err != nil {
		return err
	}
	if reservedTable(t.Name) {
		return p.dot("name").bad("a name that the SQL engine does not use itself", quoted(t.Name), "choose another")
	}
	one, _ := a.InputByName(t.Inputs[0])
	for i, name := range t.Inputs {
		in, _ := a.InputByName(name)
		if !in.Format.Columns() {
			return p.dot("inputs").at(i).bad("an input with columns", fmt.Sprintf("%q of format %s", name, in.Format), "only csv, parquet, ndjson and arrow stand in tables")
		}
		if !slices.Equal(in.Schema, one.Schema) {
			return p.dot("inputs").at(i).bad("inputs of one schema", fmt.Sprintf("%q, whose columns are not those of %q", name, one.Name),
				"give both the same columns, or put them in tables of their own")
		}
	}
	return nil
}

func (a Agreement) inputRef(p place, name wire.ID) error {
	if _, found := a.InputByName(name); !found {
		return p.bad("an input of this agreement", quoted(string(name)), "name one of: "+names(a.Inputs, func(in Input) string { return string(in.Name) }))
	}
	return nil
}

func (a Agreement) validateOutputs(p place) error {
	return first(
		each(p, a.Outputs, func(p place, out Output) error {
			return first(a.partyRefs(p.dot("receivers"), out.Receivers), out.validate(p))
		}),
		unique(p, a.Outputs, "name", func(out Output) string { return string(out.Name) }),
	)
}

func (out Output) validate(p place) error {
	rows := int64(MaxRows)
	if out.Format == formatFile {
		rows = 1 // nobody counts in it
	}
	return first(
		p.dot("name").id(out.Name),
		oneOf(p.dot("format"), out.Format, "csv", "json", formatFile),
		p.dot("max_rows").integer(out.MaxRows, 1, rows),
		p.dot("max_bytes").integer(out.MaxBytes, 1, MaxOutput),
		p.dot("time_bucket_ms").integer(out.TimeBucketMS, 0, MaxTimeBucketMS),
	)
}

func (a Agreement) validateWork(p place) error {
	return first(
		each(p, a.Work, a.validateOneWork),
		unique(p, a.Work, "name", func(w Work) string { return string(w.Name) }),
	)
}

func (a Agreement) validateOneWork(p place, w Work) error {
	if err := first(
		p.dot("name").id(w.Name),
		oneOf(p.dot("kind"), w.Kind, kindSQL, kindContainer),
		p.dot("description").text(w.Description, MaxText),
	); err != nil {
		return err
	}
	check := a.sqlWork
	if w.Kind == kindContainer {
		check = a.containerWork
	}
	return first(check(p, w), a.partyRefs(p.dot("may_run"), w.MayRun))
}

// sqlWork checks what work of kind sql has besides what all work has.
func (a Agreement) sqlWork(p place, w Work) error {
	if w.Container != nil {
		return p.dot("container").bad("nothing for work of kind sql", "a container", "remove it, or say kind: container")
	}
	if err := first(
		p.dot("keepers").count(len(w.Keepers), 0, 0),
		w.validateQuery(p),
		p.dot("tables").count(len(w.Tables), 1, MaxInputs),
		each(p.dot("tables"), w.Tables, a.tableRef),
		unique(p.dot("tables"), w.Tables, "", self[string]),
		p.dot("parameters").count(len(w.Parameters), 0, MaxParameters),
		each(p.dot("parameters"), w.Parameters, func(p place, param Parameter) error { return param.validate(p) }),
		unique(p.dot("parameters"), w.Parameters, "name", func(param Parameter) string { return param.Name }),
	); err != nil {
		return err
	}
	out, found := a.OutputByName(w.Output)
	if !found {
		return a.noOutput(p, w)
	}
	if out.Format == formatFile {
		return p.dot("output").bad("an output of format csv or json", quoted(string(out.Format)), "a query's result is a table")
	}
	if err := a.validateAnswers(p, w, out); err != nil {
		return err
	}
	for i, param := range w.Parameters {
		if !mentions(w.Query, param.Name) {
			return p.dot("parameters").at(i).dot("name").bad("a parameter that the query uses", "no $"+param.Name+" in it", "use it or remove it")
		}
	}
	return nil
}

// validateQuery checks that the query stands in the agreement, or comes with each request.
func (w Work) validateQuery(p place) error {
	if !w.AdHoc {
		return p.dot("query").text(w.Query, MaxQuery)
	}
	if w.Query != "" {
		return p.dot("query").bad("no query, since each request brings its own", "one", "remove it, or remove ad_hoc")
	}
	return p.dot("parameters").count(len(w.Parameters), 0, 0)
}

func (a Agreement) tableRef(p place, name string) error {
	if !slices.ContainsFunc(a.Tables, func(t Table) bool { return t.Name == name }) {
		return p.bad("a table of this agreement", quoted(name), "name one of: "+names(a.Tables, func(t Table) string { return t.Name }))
	}
	return nil
}

// mentions reports whether $name stands in the query. It finds forgotten and misspelt
// parameters early; which parameters a query really has, only the SQL engine says.
func mentions(query, name string) bool {
	for {
		_, rest, found := strings.Cut(query, "$"+name)
		if !found {
			return false
		}
		if rest == "" || !columnName("x"+rest[:1]) {
			return true
		}
		query = rest
	}
}

// validateUse refuses what is declared and never used: most often a misspelt reference.
func (a Agreement) validateUse(p place) error {
	inputs, inWork, outputs := map[wire.ID]bool{}, map[string]bool{}, map[wire.ID]bool{}
	for _, t := range a.Tables {
		for _, in := range t.Inputs {
			inputs[in] = true // a table that nothing reads is refused by itself
		}
	}
	for _, w := range a.Work {
		outputs[w.Output] = true
		for _, t := range w.Tables {
			inWork[t] = true
		}
		for _, in := range a.InputsOf(w) {
			inputs[in.Name] = true
		}
	}
	return first(
		each(p.dot("inputs"), a.Inputs, func(p place, in Input) error {
			return p.used(inputs[in.Name], "an input that a table or container holds")
		}),
		each(p.dot("tables"), a.Tables, func(p place, t Table) error { return p.used(inWork[t.Name], "a table that some work reads") }),
		each(p.dot("outputs"), a.Outputs, func(p place, o Output) error { return p.used(outputs[o.Name], "an output that some work has") }),
	)
}

func (p place) used(used bool, expected string) error {
	if used {
		return nil
	}
	return p.dot("name").bad(expected, "one that nothing uses", "use it or remove it")
}

func (l Ledgers) validate(p place) error {
	least := int64(0)
	if len(l.Witnesses) > 0 {
		least = 1
	}
	return first(
		each(p.dot("witnesses"), l.Witnesses, func(p place, w Witness) error {
			return first(p.dot("name").id(w.Name), p.dot("key").noteKey(w.Key))
		}),
		unique(p.dot("witnesses"), l.Witnesses, "name", func(w Witness) string { return string(w.Name) }),
		unique(p.dot("witnesses"), l.Witnesses, "key", func(w Witness) string { return w.Key }),
		p.dot("quorum").integer(l.Quorum, least, int64(len(l.Witnesses))),
	)
}

// refused makes the refusal of a rule that concerns no single member.
func refused(check, expected, got, fix string) error {
	return verdict.Refuse(check, expected, got, fix)
}
