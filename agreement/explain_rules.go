package agreement

import (
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/wire"
)

// query says which query a work runs, and what whoever asks may choose.
func (e *explainer) query(w Work) {
	if w.AdHoc {
		e.more("WHOEVER ASKS WRITES THE QUERY. Nobody reads it before it runs: the rules of the data above decide alone which pass, and every owner finds it in its broker's log.")
	} else {
		e.parameters(w)
		e.more("The query, exactly as it will run inside the rules above:")
		e.verbatim(w.Query)
	}
	if w.Epsilon != "" {
		e.more("Each run spends epsilon %s of every input under differential privacy.", w.Epsilon)
	}
}

// rules says what queries may make of an input's rows.
func (e *explainer) rules(in Input) {
	if e.a.Excluded(in.Name) {
		e.more("No query reads it: it lists people whose rows are left out of every run. When the list changes, answers before and after differ by these people; min_delta says by how many at least.")
	}
	if in.MinDelta > 0 {
		e.more("Versions that runs read differ in at least %s, or not at all.", plural(in.MinDelta, "person"))
	}
	r := in.Rules
	if r == nil {
		return
	}
	if r.Answers == Rows {
		e.more("SINGLE ROWS MAY LEAVE AS THEY ARE: %s receive anything that a query selects of it.", e.names(r.Receivers, "and"))
	} else {
		e.more("Only numbers about groups leave, for %s. %s", e.names(r.Receivers, "and"), e.smallest(in.Owner, *r))
	}
	e.more("A result has at most %s and %s.", plural(r.MaxRows, "row"), plural(r.MaxColumns, "column"))
	e.uses(in)
	if r.Partners == Any {
		e.more("IT MAY BE JOINED WITH ROWS THAT OTHERS CHOOSE LATER: whoever brings them decides, after %s signed, which of these people a group has.", e.does(in.Owner, "its owner", "you"))
	}
	e.before(in.Owner, *r)
	if r.Exclusions != "" {
		e.more("People listed in %q are left out of every run.", r.Exclusions)
	}
	e.privacy(in)
}

func (e *explainer) smallest(owner wire.ID, r Rules) string {
	text := fmt.Sprintf("Nothing is shown of fewer than %d of %s people: each owner's people are counted apart, so that rows of others can't pad a group.", r.MinGroup, e.does(owner, "its", "your"))
	if r.MinGroup == 1 {
		text = "THERE IS NO MINIMUM GROUP: an answer can be about a single person."
	}
	if r.RoundTo > 1 {
		text += fmt.Sprintf(" Counts are rounded to multiples of %d.", r.RoundTo)
	}
	return text
}

// uses says what each column may be used for.
func (e *explainer) uses(in Input) {
	by := map[string][]string{}
	var order []string
	for _, c := range in.Schema {
		use := usesOf(c, in.ColumnRule(c.Name))
		if by[use] == nil {
			order = append(order, use)
		}
		by[use] = append(by[use], c.Name)
	}
	for _, use := range order {
		e.sub("%s: %s.", use, strings.Join(by[use], ", "))
	}
}

func usesOf(c Column, rule ColumnRule) string {
	var out []string
	for _, role := range []struct {
		role wire.ID
		text string
	}{{Filter, "in conditions"}, {Group, "grouped by, its values then shown"}, {Aggregate, "counted, summed and averaged"}} {
		if rule.May(role.role) {
			out = append(out, role.text)
		}
	}
	if c.Unit {
		out = append(out, "counted, never shown")
	}
	if rule.Key != "" {
		joined := fmt.Sprintf("joined with others' columns of kind %q, never shown", rule.Key)
		if rule.Form != "" {
			joined += fmt.Sprintf(", as keyed hashes of the form %q", rule.Form)
		}
		out = append(out, joined)
	}
	if rule.Min != "" {
		out = append(out, "after clamping to "+rule.Min+" to "+rule.Max)
	}
	if len(out) == 0 {
		return "Never used"
	}
	return capital(strings.Join(out, "; "))
}

// before says what is done against answers that tell of few people together.
func (e *explainer) before(owner wire.ID, r Rules) {
	switch {
	case r.Answers == Rows:
	case r.Differences == Audited:
		e.more("A row of an answer is withheld if with all that was shown of this version before, added and subtracted, it would tell of fewer people than the minimum group. %s remembers %s of a version at most; then a new one is needed.",
			capital(e.of(owner, "broker")), plural(MaxQuestions, "question"))
	case r.Privacy == nil && r.MinGroup > 1:
		e.more("ANSWERS ARE NOT HELD AGAINST EARLIER ONES: two of them may differ in one person.")
	}
}

func (e *explainer) privacy(in Input) {
	q := in.Rules.Privacy
	if q == nil {
		return
	}
	e.more("Differential privacy (%s): under this agreement at most epsilon %s at delta %s in all, at most %s a run, spent at %s; a person counts in at most %s of a result, with %s in each.",
		q.Mechanism, q.Epsilon, q.Delta, q.Run, e.of(in.Owner, "broker"), plural(q.MaxGroups, "row"), plural(q.MaxRows, "row"))
}

// inputsOfOwner gives the inputs of a work that an owner brings and queries read.
func (a Agreement) inputsOfOwner(w Work, owner wire.ID) []Input {
	return slices.DeleteFunc(a.InputsOf(w), func(in Input) bool { return in.Owner != owner || in.Rules == nil })
}

// differing says what somebody learns who asks twice.
func (e *explainer) differing(w Work, owner wire.ID) string {
	askers := others(w.MayRun, owner)
	switch {
	case len(askers) == 0:
		return fmt.Sprintf("Only %s %s when and with which parameters.", e.name(owner), e.does(owner, "itself decides", "yourself decide"))
	case w.AdHoc:
		return fmt.Sprintf("%s can ask anything that the rules let pass, %s in 24 hours at most.", e.names(askers, "or"), plural(e.runsFor(w, owner), "run"))
	case len(w.Parameters) == 0:
		return "It has no parameters: asking again gives the same answer, until the data changes."
	}
	return fmt.Sprintf("%s can ask with other parameters (%s possible), %s in 24 hours at most.", e.names(askers, "or"), combinations(w.Parameters), plural(e.runsFor(w, owner), "run"))
}

// protected says what keeps single people of an owner out of the answers.
func (e *explainer) protected(w Work, owner wire.ID) string {
	var out []string
	add := func(text string) {
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	for _, in := range e.a.inputsOfOwner(w, owner) {
		r := in.Rules
		switch {
		case r.Answers == Rows:
			add("ROWS LEAVE AS THEY ARE.")
		case r.Privacy != nil:
			add("What all answers together tell of any one person is bounded by the budget of differential privacy.")
		case r.MinGroup == 1:
			add("THERE IS NO MINIMUM GROUP: an answer can be about a single person.")
		case r.Differences == Unaudited:
			add("One answer subtracted from another can give a single person away: the minimum group does not prevent it, and nothing else here does.")
		}
		if r.Answers == Groups && r.Privacy == nil && in.MinDelta < 2 && in.Statement == nil {
			add("When a new dataset version differs from the last by one person, the answers before and after differ by that person: nothing here limits this (min_delta).")
		}
	}
	if len(out) == 0 {
		return "Answers of few people, alone or by differences, are withheld or refused."
	}
	return strings.Join(out, " ")
}
