package agreement

import (
	"slices"

	"strongroom.dev/privacy"
	"strongroom.dev/wire"
)

// Rules are what queries may make of an input's rows (R18). Where a query reads several
// inputs, each owner's people are counted under its own rules, and of everything else the
// strictest applies (see [Agreement.RulesOf]).
type Rules struct {
	// Answers is what may leave: [Groups] or [Rows].
	Answers wire.ID `json:"answers"`
	// MinGroup is the fewest of the input's units in a set that anything is shown of: 1 to
	// MaxGroup, and 1 where rows may leave.
	MinGroup int64 `json:"min_group"`
	// RoundTo rounds what is counted to multiples of it, halves up; 1 shows counts as they are.
	RoundTo int64 `json:"round_to"`
	// MaxRows and MaxColumns bound every result made of the input.
	MaxRows    int64 `json:"max_rows"`
	MaxColumns int64 `json:"max_columns"`
	// Receivers are the parties that may receive something made of the input.
	Receivers []wire.ID `json:"receivers"`
	// Roles are what every column but the unit may be used for, unless Columns names it: filter,
	// group, aggregate. None: for nothing.
	Roles   []wire.ID    `json:"roles"`
	Columns []ColumnRule `json:"columns"`
	// Partners says which rows of other owners may be joined with these: [Fixed] or [Any].
	Partners wire.ID `json:"partners"`
	// Differences says whether a query is held against the answers given before: [Audited] or
	// [Unaudited].
	Differences wire.ID `json:"differences"`
	// Exclusions names an input of the same owner whose units are left out of this one.
	Exclusions wire.ID `json:"exclusions,omitempty"`
	// Privacy puts the input under differential privacy; nil: its answers are exact.
	Privacy *Privacy `json:"privacy,omitempty"`
}

// What may leave of an input's rows.
const (
	Groups wire.ID = "groups" // numbers about groups of people
	Rows   wire.ID = "rows"   // anything, also single rows as they are
)

// Whose rows may be joined with an input's (R18).
const (
	// Fixed: only a dataset version that the agreement pins, so that nobody chooses its rows
	// after the owner has signed.
	Fixed wire.ID = "fixed"
	// Any: also versions that their owner makes later.
	Any wire.ID = "any"
)

// Whether a query is held against the answers given before.
const (
	Audited   wire.ID = "audited"
	Unaudited wire.ID = "unaudited"
)

// The roles of a column.
const (
	Filter    wire.ID = "filter"    // in conditions: WHERE, CASE, and of joins
	Group     wire.ID = "group"     // in GROUP BY; its values are then shown
	Aggregate wire.ID = "aggregate" // counted, summed, averaged
)

// ColumnRule is what one column may be used for.
type ColumnRule struct {
	Name  string    `json:"name"`
	Roles []wire.ID `json:"roles"`
	// Key is the kind of identifier the column holds: only columns of one kind are joined, and
	// a column that has one is used for nothing else. The unit may have one.
	Key wire.ID `json:"key,omitempty"`
	// Form brings the identifiers of a key into one form before they are compared: [Email],
	// [Phone], or "" for none. The engine then sees keyed hashes of them only.
	Form wire.ID `json:"form,omitempty"`
	// Min and Max clamp every value before it is aggregated: canonical text of the column's
	// type, both or neither.
	Min string `json:"min,omitempty"`
	Max string `json:"max,omitempty"`
}

// The forms of identifiers (spec/sql.md, section 2.2).
const (
	Email wire.ID = "email"
	Phone wire.ID = "phone"
)

// Privacy is differential privacy for an input's units (spec/privacy.md).
type Privacy struct {
	// Epsilon and Delta are the most that all runs under this agreement may spend, and Run the
	// most epsilon of one run: decimals with at most 6 and 18 digits after the point. The owner's
	// broker keeps the dataset's own budget besides (R14).
	Epsilon string `json:"epsilon"`
	Delta   string `json:"delta"`
	Run     string `json:"run"`
	// Mechanism is privacy.Laplace or privacy.Gaussian.
	Mechanism wire.ID `json:"mechanism"`
	// MaxGroups is in how many rows of a result a unit counts, MaxRows how many of its rows
	// count in each.
	MaxGroups int64 `json:"max_groups"`
	MaxRows   int64 `json:"max_rows"`
}

// Budget gives what all runs under the agreement may spend of the input.
func (p Privacy) Budget() (privacy.Budget, error) {
	epsilon, err := privacy.ParseEpsilon(p.Epsilon)
	if err != nil {
		return privacy.Budget{}, err
	}
	delta, err := privacy.ParseDelta(p.Delta)
	if err != nil {
		return privacy.Budget{}, err
	}
	b := privacy.Budget{Epsilon: epsilon, Delta: delta, Mechanism: p.Mechanism}
	return b, b.Validate()
}

// Cost gives what a run costs that spends so much epsilon: the broker and the room reckon it
// alike.
func (p Privacy) Cost(epsilon string) (privacy.Cost, error) {
	b, err := p.Budget()
	if err != nil {
		return privacy.Cost{}, err
	}
	spends, err := privacy.ParseEpsilon(epsilon)
	if err != nil {
		return privacy.Cost{}, err
	}
	return b.Run(spends)
}

// ColumnRule gives the rule of a column of the input's schema: the one that names it, else
// the roles of every column; the unit has none unless it is named.
func (in Input) ColumnRule(name string) ColumnRule {
	if in.Rules == nil {
		return ColumnRule{Name: name, Roles: []wire.ID{}}
	}
	if rule, found := find(in.Rules.Columns, func(c ColumnRule) bool { return c.Name == name }); found {
		return rule
	}
	column, found := find(in.Schema, func(c Column) bool { return c.Name == name })
	if !found || column.Unit {
		return ColumnRule{Name: name, Roles: []wire.ID{}}
	}
	return ColumnRule{Name: name, Roles: in.Rules.Roles}
}

// May reports whether a column may be used in a role.
func (c ColumnRule) May(role wire.ID) bool { return slices.Contains(c.Roles, role) }

// Excluded reports whether an input only names units that others leave out.
func (a Agreement) Excluded(name wire.ID) bool {
	return slices.ContainsFunc(a.Inputs, func(in Input) bool { return in.Rules != nil && in.Rules.Exclusions == name })
}

// Private gives the inputs of a work that are under differential privacy.
func (a Agreement) Private(w Work) []Input {
	return slices.DeleteFunc(a.InputsOf(w), func(in Input) bool { return in.Rules == nil || in.Rules.Privacy == nil })
}
