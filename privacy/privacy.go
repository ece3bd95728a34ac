// Package privacy adds noise to numbers about groups of people, so that no answer, and not
// all answers together, tell much of any one of them; and it keeps the books of how much
// (spec/privacy.md).
//
// It has three parts. [Budget] and [Cost] are the books: what may be spent, what a run costs,
// what is left; every conversion is rounded against whoever spends. [Query] and [Plan] turn
// the cost of one run into noise for each of its numbers and a threshold below which groups
// don't show, and say beforehand how far answers will be off. [Plan.Release] makes an answer
// of a group's exact numbers.
//
// Samplers work on whole numbers and fractions only, and their random bits derive from a
// secret of the run: the same run gives the same answer.
//
// The package sees sums, never rows. It relies on its caller for two things, without which
// nothing here is true: values are clamped to their bounds before they are summed, and of each
// unit only so many rows and groups are taken as the query says. Where it can tell that they
// were not, it refuses.
package privacy

import (
	"math/big"
	"slices"
	"strconv"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Limits of a query.
const (
	MaxBound      = 1_000_000 // groups and rows of a unit, minimum groups, weights' sum
	MaxOutputs    = 256
	MaxInputs     = 64
	MaxCandidates = 4_096 // of a quantile
	// MaxDigits is how many digits a value's bounds have.
	MaxDigits = 38
)

// Kind is what an output is of a group's rows.
type Kind string

// The kinds of outputs.
const (
	Units    Kind = "units"    // how many units
	Rows     Kind = "rows"     // how many rows, or how many with a value
	Sum      Kind = "sum"      // of values
	Mean     Kind = "mean"     // of values
	Variance Kind = "variance" // of values, that of the group itself: divided by their number
	Quantile Kind = "quantile" // of values
)

// Output is one number of every group.
type Output struct {
	// Column is its name in the result.
	Column string
	Kind   Kind
	// Table is whose units a Units output counts.
	Table wire.ID
	// Min and Max are what values are clamped to, in the last place of their type: for all but
	// Units and Rows.
	Min, Max *big.Int
	// Weight is its part of the cost beside the other outputs'; 0 stands for 1.
	Weight int64
	// Of and In say which quantile: Of/In of the values are smaller. The median is 1/2.
	Of, In int64
	// Candidates is how many values a quantile may have: evenly from Min to Max, 2 or more.
	Candidates int64
}

// Input is the data of one owner, of whose units none is told of.
type Input struct {
	Name wire.ID
	// Table holds its rows. Rows of one table are of one input each; rows of several tables
	// were joined.
	Table wire.ID
	// A unit is in at most MaxGroups groups, with at most MaxRows rows in each.
	MaxGroups, MaxRows int64
	// Stability is how many of the rows taken can change for each row of a unit's that comes or
	// goes: 1 where this input's rows are limited last, more where another table's are after it,
	// since a row that comes then drives others out.
	Stability int64
	// MinGroup is the fewest units of the input in a group that shows.
	MinGroup int64
	// Cost is what the run spends of the input.
	Cost Cost
}

// Query is what a run asks of inputs under differential privacy.
type Query struct {
	Mechanism wire.ID
	// Known says that the groups are those of the query's own text, and all of them show,
	// empty ones too. Otherwise the data chose them, and small ones are hidden.
	Known   bool
	Inputs  []Input
	Outputs []Output
}

// validate checks every number of a query before anything is computed of it.
func (q Query) validate() error {
	switch {
	case q.Mechanism != Laplace && q.Mechanism != Gaussian:
		return q.bad("mechanism", "laplace or gaussian", string(q.Mechanism))
	case len(q.Inputs) < 1 || len(q.Inputs) > MaxInputs:
		return q.bad("inputs", "from 1 to 64", strconv.Itoa(len(q.Inputs)))
	case len(q.Outputs) < 1 || len(q.Outputs) > MaxOutputs:
		return q.bad("outputs", "from 1 to 256", strconv.Itoa(len(q.Outputs)))
	}
	for i, in := range q.Inputs {
		if slices.ContainsFunc(q.Inputs[:i], func(other Input) bool { return other.Name == in.Name }) {
			return q.bad("inputs", "each input once", string(in.Name)+" twice")
		}
		if err := q.validateInput(in); err != nil {
			return err
		}
	}
	for i, out := range q.Outputs {
		if slices.ContainsFunc(q.Outputs[:i], func(other Output) bool { return other.Column == out.Column }) {
			return q.bad("outputs", "each column once", verdict.Short(out.Column)+" twice")
		}
		if err := q.validateOutput(out); err != nil {
			return err
		}
	}
	return nil
}

func (q Query) validateInput(in Input) error {
	where := "inputs." + string(in.Name)
	if !in.Name.Valid() || !in.Table.Valid() {
		return q.bad("inputs", "inputs and tables with names", verdict.Short(string(in.Name)+" "+string(in.Table)))
	}
	for _, bound := range []struct {
		name string
		n    int64
	}{{"max_groups", in.MaxGroups}, {"max_rows", in.MaxRows}, {"stability", in.Stability}, {"min_group", in.MinGroup}} {
		if bound.n < 1 || bound.n > MaxBound {
			return q.bad(where+"."+bound.name, "from 1 to 1000000", strconv.FormatInt(bound.n, 10))
		}
	}
	if err := in.Cost.Validate(); err != nil {
		return err
	}
	if in.Cost.Rho == 0 || q.Mechanism == Laplace && in.Cost.Epsilon == 0 {
		return q.bad(where+".cost", "a cost of "+string(q.Mechanism)+" noise", in.Cost.String())
	}
	if !q.Known && in.Cost.Delta == 0 {
		return verdict.Refuse("privacy.delta", "a delta above 0: groups that the data chose would tell of units that are alone in one", "0", "ask for groups of the query's own, or have the owner grant a delta")
	}
	return nil
}

func (q Query) validateOutput(out Output) error {
	where := "outputs." + verdict.Short(out.Column)
	values := out.Kind != Units && out.Kind != Rows
	switch {
	case out.Column == "" || len(out.Column) > 63:
		return q.bad("outputs", "columns with names of at most 63 bytes", verdict.Short(out.Column))
	case !slices.Contains([]Kind{Units, Rows, Sum, Mean, Variance, Quantile}, out.Kind):
		return q.bad(where, "a kind of output", verdict.Short(string(out.Kind)))
	case out.Weight < 0 || out.Weight > MaxBound/MaxOutputs:
		return q.bad(where+".weight", "from 1 to 3906, or none", strconv.FormatInt(out.Weight, 10))
	case out.Kind == Units && !slices.ContainsFunc(q.Inputs, func(in Input) bool { return in.Table == out.Table }):
		return q.bad(where+".table", "a table of the inputs", verdict.Short(string(out.Table)))
	case values && !inRange(out.Min, out.Max):
		return q.bad(where, "bounds of at most 38 digits, the lower first", "none or others")
	case out.Kind == Quantile && (out.In < 2 || out.In > 1000 || out.Of < 1 || out.Of >= out.In):
		return q.bad(where, "a quantile between 0 and 1 in thousandths or larger parts", strconv.FormatInt(out.Of, 10)+"/"+strconv.FormatInt(out.In, 10))
	case out.Kind == Quantile && (out.Candidates < 2 || out.Candidates > MaxCandidates):
		return q.bad(where+".candidates", "from 2 to 4096", strconv.FormatInt(out.Candidates, 10))
	}
	return nil
}

func inRange(low, high *big.Int) bool {
	if low == nil || high == nil || low.Cmp(high) > 0 {
		return false
	}
	most := new(big.Int).Exp(big.NewInt(10), big.NewInt(MaxDigits), nil)
	return low.CmpAbs(most) < 0 && high.CmpAbs(most) < 0
}

func (q Query) bad(where, expected, got string) error {
	return &verdict.Error{Kind: verdict.Usage, Check: "privacy.query", Expected: expected, Got: got, Where: where}
}
