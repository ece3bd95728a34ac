package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"strongroom.dev/broker"
	"strongroom.dev/policy"
	"strongroom.dev/privacy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func (a *app) brokerBudget() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "budget [DATASET]",
		Short: "Say, or set, how much may be told of the people in a dataset",
		Long: `Work under differential privacy spends a budget of each dataset: epsilon, and the probability
delta that it doesn't hold. Your broker keeps the books of it over all agreements, versions of
the data, runs and rooms, and gives nothing back. Until you set a budget, nothing of a dataset
is released for such work. Each agreement has a budget of its own besides.

Without more, this shows the books: what may be spent in all, what was spent and is left, and
what all answers so far tell of any one person at most.`,
		Example: "  strongroom broker budget\n  strongroom broker budget purchases --output json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.showBudgets(cmd.Context(), args)
		},
	}
	cmd.AddCommand(a.brokerBudgetSet(), a.brokerBudgetRefill())
	return cmd
}

// budgetFlags are the numbers of a budget.
type budgetFlags struct{ epsilon, delta, mechanism, reason string }

// budget reads them; what is not given is 0 or "".
func (f budgetFlags) budget() (b privacy.Budget, err error) {
	b.Mechanism = wire.ID(f.mechanism)
	if f.epsilon != "" {
		if b.Epsilon, err = privacy.ParseEpsilon(f.epsilon); err != nil {
			return b, verdict.Misuse("--epsilon", "a decimal such as 1 or 0.25, with at most 6 digits after the point", verdict.Short(f.epsilon), "correct it")
		}
	}
	if f.delta != "" {
		if b.Delta, err = privacy.ParseDelta(f.delta); err != nil {
			return b, verdict.Misuse("--delta", "a decimal below 1 such as 0.000001, with at most 18 digits after the point", verdict.Short(f.delta), "correct it")
		}
	}
	return b, nil
}

func (a *app) brokerBudgetSet() *cobra.Command {
	var flags budgetFlags
	cmd := &cobra.Command{
		Use:   "set DATASET --epsilon E --delta D --mechanism laplace|gaussian",
		Short: "Set what may be spent of a dataset in all",
		Long: `Sets the most that everything ever told of the dataset may come to; what was spent so far is
part of it. Small is safe: with an epsilon of 1, no answer is much less likely without any one
person. delta should be far below one in the number of people.

Books of laplace add up epsilons, and take runs of laplace noise only. Books of gaussian take
both and let many small runs spend far less than the sum of their epsilons; half of delta
pays for that. To let more be spent than before you must say why, on record; and after your
broker's log was restored you must set it again, less what may have been spent in what was lost.`,
		Example: "  strongroom broker budget set purchases --epsilon 3 --delta 0.000001 --mechanism gaussian",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case flags.epsilon == "":
				return verdict.Misuse("--epsilon", "what may be spent in all, such as 3", "nothing", "add --epsilon E")
			case flags.delta == "":
				return verdict.Misuse("--delta", "the probability that the promise fails, such as 0.000001, or 0 with laplace", "nothing", "add --delta D")
			case flags.mechanism == "":
				return verdict.Misuse("--mechanism", "laplace or gaussian", "nothing", "add --mechanism laplace, if every agreement uses laplace noise; else gaussian")
			}
			return a.budgetAct(cmd.Context(), args[0], flags, false)
		},
	}
	cmd.Flags().StringVar(&flags.epsilon, "epsilon", "", "`E`, above 0 and at most 100")
	cmd.Flags().StringVar(&flags.delta, "delta", "", "`D`, below 1")
	cmd.Flags().StringVar(&flags.mechanism, "mechanism", "", "laplace or gaussian: how the books are kept")
	cmd.Flags().StringVar(&flags.reason, "reason", "", "`WHY`, in a line, for the record")
	return cmd
}

func (a *app) brokerBudgetRefill() *cobra.Command {
	var flags budgetFlags
	cmd := &cobra.Command{
		Use:   "refill DATASET --epsilon E [--delta D] --reason WHY",
		Short: "Let more be spent of a dataset than before",
		Long: `Adds to what may be spent in all. Nothing is forgotten: what was told of people stays told, and
the books go on to say how much that is.`,
		Example: "  strongroom broker budget refill purchases --epsilon 1 --reason 'board of 3 May: one more year'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.budgetAct(cmd.Context(), args[0], flags, true)
		},
	}
	cmd.Flags().StringVar(&flags.epsilon, "epsilon", "", "`E` more")
	cmd.Flags().StringVar(&flags.delta, "delta", "", "`D` more")
	cmd.Flags().StringVar(&flags.reason, "reason", "", "`WHY`, in a line, for the record")
	return cmd
}

func (a *app) budgetAct(ctx context.Context, dataset string, flags budgetFlags, refill bool) error {
	budget, err := flags.budget()
	if err != nil {
		return err
	}
	admin, err := a.existingBroker(ctx)
	if err != nil {
		return err
	}
	defer admin.Close()
	ev, err := admin.SetBudget(ctx, broker.BudgetAct{Dataset: wire.ID(dataset), Budget: broker.Amount(budget), Refill: refill, Reason: flags.reason})
	if err != nil {
		return err
	}
	return a.printEvent(ev)
}

func (a *app) showBudgets(ctx context.Context, args []string) error {
	_, view, _, err := a.lookAtBroker(ctx)
	if err != nil {
		return err
	}
	defer view.Close()
	s, err := view.Status(ctx)
	if err != nil {
		return err
	}
	list := s.Budgets
	if len(args) > 0 {
		list = slices.DeleteFunc(list, func(b broker.BudgetStatus) bool { return string(b.Dataset) != args[0] })
		if len(list) == 0 {
			return noBudget(args[0], s)
		}
	}
	return a.print(map[string]any{"budgets": list}, func(w io.Writer) {
		if len(list) == 0 {
			fmt.Fprintln(w, "No budget is set: nothing is released for work under differential privacy.")
		}
		for _, b := range list {
			budgetText(w, b)
		}
	})
}

// noBudget says why there are no books of a dataset.
func noBudget(dataset string, s broker.Status) error {
	if !slices.ContainsFunc(s.Datasets, func(d broker.DatasetStatus) bool { return string(d.Dataset) == dataset }) {
		return verdict.Refuse("budget.dataset", "a dataset that was published to this broker", verdict.Short(dataset), "strongroom broker status lists the datasets")
	}
	return verdict.Refuse("budget.epsilon", "a budget of "+dataset, "none", "nothing of it is released for work under differential privacy until you set one: strongroom broker budget set "+dataset)
}

// budgetText shows the books of one dataset.
func budgetText(w io.Writer, b broker.BudgetStatus) {
	fmt.Fprintf(w, "Dataset %s\n", b.Dataset)
	switch {
	case b.Budget == nil:
		fmt.Fprintln(w, "  budget      NONE: nothing is released for work under differential privacy")
	case b.Unconfirmed:
		fmt.Fprintf(w, "  budget      LOCKED: your broker's log was restored, and what was spent in the lost part is not known.\n              Set it again: strongroom broker budget set %s\n", b.Dataset)
	}
	if b.Budget != nil {
		fmt.Fprintf(w, "  in all      epsilon %s, delta %s (%s), since %s\n", b.Budget.Epsilon, b.Budget.Delta, b.Budget.Mechanism, since(b.SinceMS))
	}
	fmt.Fprintf(w, "  spent       %s\n", b.Spent)
	if b.Left != nil {
		fmt.Fprintf(w, "  left        %s\n", b.Left)
	}
	if b.Told != nil {
		fmt.Fprintf(w, "  told        at most epsilon %s of any one person, but for probability %s\n", b.Told, b.Budget.Delta)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, g := range b.Agreements {
		if i == 0 {
			fmt.Fprintln(t, "  AGREEMENT\tIN ALL\tSPENT\tLEFT\tTOLD")
		}
		all, left, told := "-", "-", "-"
		if g.Budget != nil {
			all = fmt.Sprintf("epsilon %s, delta %s (%s)", g.Budget.Epsilon, g.Budget.Delta, g.Budget.Mechanism)
		}
		if g.Left != nil {
			left = g.Left.String()
		}
		if g.Told != nil {
			told = "epsilon " + g.Told.String()
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", g.ID, all, g.Spent, left, told)
	}
	t.Flush()
}

// inAll and left say in a word how a budget stands.
func inAll(b broker.BudgetStatus) string {
	switch {
	case b.Budget == nil:
		return "NONE"
	case b.Unconfirmed:
		return "LOCKED, to be set again"
	}
	return fmt.Sprintf("epsilon %s, delta %s (%s)", b.Budget.Epsilon, b.Budget.Delta, b.Budget.Mechanism)
}

func left(b broker.BudgetStatus) string {
	if b.Left == nil || b.Unconfirmed {
		return "-"
	}
	return b.Left.String()
}

// spendingText says what a run spent of one input's budgets.
func spendingText(w io.Writer, s policy.Spending) {
	fmt.Fprintf(w, "  budget    input %s cost %s\n", s.Input, s.Cost)
	for _, b := range []struct {
		of string
		policy.Balance
	}{{"dataset " + string(s.Of), s.Dataset}, {"the agreement", s.Agreement}} {
		fmt.Fprintf(w, "            of %s: epsilon %s, delta %s (%s) in all; spent %s before, %s after\n", b.of, b.Budget.Epsilon, b.Budget.Delta, b.Budget.Mechanism, b.Before, b.After)
	}
}
