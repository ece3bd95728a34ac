package broker

import (
	"context"
	"encoding/json"
	"fmt"

	"strongroom.dev/ledger"
	"strongroom.dev/privacy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// BudgetAct is the officers' word on how much may be spent of a dataset under differential
// privacy, under all agreements together. What was spent is never forgotten.
type BudgetAct struct {
	Dataset wire.ID `json:"dataset"`
	// Budget is what may be spent in all from now on; of a Refill what may be spent besides.
	Budget Amount `json:"budget"`
	Refill bool   `json:"refill"`
	// Reason is one line, and needed where more may be spent than before.
	Reason string `json:"reason"`
}

// Amount is a budget, or what is added to one: then a number may be 0, and the mechanism, which
// stays, be left out.
type Amount struct {
	Epsilon   privacy.Epsilon `json:"epsilon"`
	Delta     privacy.Delta   `json:"delta"`
	Mechanism wire.ID         `json:"mechanism,omitempty"`
}

// budgetFacts is the public part of an entry of kind budget: what may be spent in all.
type budgetFacts struct {
	Dataset wire.ID        `json:"dataset"`
	Budget  privacy.Budget `json:"budget"`
	Refill  bool           `json:"refill"`
	Reason  string         `json:"reason"`
}

// SetBudget sets what may be spent of a dataset, or adds to it (R14): an act of the officers, on
// record. Until they set one, nothing of the dataset is released for work under differential
// privacy.
func (b *Broker) SetBudget(ctx context.Context, act BudgetAct) (Event, error) {
	if err := b.serving(); err != nil {
		return Event{}, err
	}
	if err := checkReason(act.Reason); err != nil {
		return Event{}, err
	}
	ev := Event{Kind: "budget", TimeMS: b.now().UnixMilli()}
	err := b.cfg.State.Update(func(tx Tx) error {
		ev.Number, ev.Notes = 0, []string{}
		next, same, err := act.next(tx)
		if err != nil {
			return err
		}
		if ev.Notes, err = budgetNotes(tx, act.Dataset, next); err != nil {
			return err
		}
		ev.Done = fmt.Sprintf("epsilon %s, delta %s may be spent of dataset %s in all, in books of mechanism %s", next.Epsilon, next.Delta, act.Dataset, next.Mechanism)
		if same {
			ev.Number = -1
			return nil
		}
		if err := save(tx, tableBudgets, string(act.Dataset), budgetRecord{Budget: next, TimeMS: ev.TimeMS}); err != nil {
			return err
		}
		public, err := json.Marshal(budgetFacts{act.Dataset, next, act.Refill, act.Reason})
		if err != nil {
			return err
		}
		subject := ev.Done
		if act.Reason != "" {
			subject += " (" + act.Reason + ")"
		}
		p, err := record(tx, ledger.Entry{Kind: ev.Kind, TimeMS: ev.TimeMS, Public: public}, Decision{Subject: subject}, string(act.Dataset))
		ev.Number = p.Number
		return err
	})
	return b.eventDone(ctx, ev, err)
}

// next gives the budget after the act. same says that it changes nothing.
func (act BudgetAct) next(tx Tx) (next privacy.Budget, same bool, err error) {
	if !act.Dataset.Valid() || tx.Get(tableDatasets, string(act.Dataset)) == nil {
		return next, false, verdict.Refuse("budget.dataset", "a dataset that was published to this broker", verdict.Short(string(act.Dataset)), "strongroom broker status lists the datasets; publish it first")
	}
	before, err := load[budgetRecord](tx, tableBudgets, string(act.Dataset))
	if err != nil {
		return next, false, err
	}
	next = privacy.Budget(act.Budget)
	if act.Refill {
		if next, err = act.refilled(before); err != nil {
			return next, false, err
		}
	}
	if _, err := next.Limit(); err != nil {
		return next, false, err
	}
	spent, err := loadSpent(tx, spentKey(act.Dataset, ""))
	if err != nil {
		return next, false, err
	}
	if next.Mechanism == privacy.Laplace && !spent.Pure() {
		return next, false, verdict.Refuse("budget.mechanism", "mechanism gaussian, whose books hold what was spent of "+string(act.Dataset)+" so far", "laplace, whose books add up epsilons", "set --mechanism gaussian")
	}
	if before != nil && !before.Unconfirmed && before.Budget == next {
		return next, true, nil
	}
	if more := before != nil && (before.Unconfirmed || next.Epsilon > before.Budget.Epsilon || next.Delta > before.Budget.Delta || next.Mechanism != before.Budget.Mechanism); more && act.Reason == "" {
		return next, false, verdict.Misuse("--reason", "why, in one line, since more may be spent than before", "nothing", "say why: it stands in the log")
	}
	return next, false, nil
}

// refilled adds to a budget that stands.
func (act BudgetAct) refilled(before *budgetRecord) (privacy.Budget, error) {
	if before == nil || before.Unconfirmed {
		return privacy.Budget{}, verdict.Refuse("budget.refill", "a budget of "+verdict.Short(string(act.Dataset))+" that stands", "none", "set one: strongroom broker budget set")
	}
	add, next := act.Budget, before.Budget
	if add.Mechanism != "" && add.Mechanism != next.Mechanism {
		return next, verdict.Refuse("budget.mechanism", "no mechanism, or "+string(next.Mechanism), string(add.Mechanism), "a refill leaves the mechanism: strongroom broker budget set changes it")
	}
	if add.Epsilon < 0 || add.Delta < 0 || add.Epsilon == 0 && add.Delta == 0 {
		return next, verdict.Misuse("--epsilon", "how much more, above 0", "nothing", "a refill adds to what may be spent in all")
	}
	next.Epsilon += add.Epsilon
	next.Delta += add.Delta
	return next, next.Validate()
}

// budgetNotes says what an officer should know of the books.
func budgetNotes(tx Tx, dataset wire.ID, next privacy.Budget) ([]string, error) {
	before, err := account(tx, dataset, "")
	if err != nil {
		return nil, err
	}
	notes := []string{}
	if before.Spent != (privacy.Cost{}) {
		left, told := budgetStanding(&next, before.Spent)
		notes = append(notes, fmt.Sprintf("spent so far: %s; left: %s", before.Spent, left))
		if told != nil {
			notes = append(notes, fmt.Sprintf("all answers so far tell of a unit at most epsilon %s, but for probability %s", told, next.Delta))
		}
	}
	if before.Unconfirmed {
		notes = append(notes, "what was spent in the part of the log that was lost is not among it: a lower budget makes up for it")
	}
	return notes, nil
}

// replayBudget takes a budget from a log that is believed again; it counts when officers set
// it anew. unknown says that the state never had the entry.
func replayBudget(tx Tx, e ledger.Entry, unknown bool) error {
	var f budgetFacts
	if err := wire.Unmarshal(e.Public, &f); err != nil {
		return err
	}
	if !unknown && tx.Get(tableBudgets, string(f.Dataset)) != nil {
		return nil
	}
	return save(tx, tableBudgets, string(f.Dataset), budgetRecord{Budget: f.Budget, Unconfirmed: true, TimeMS: e.TimeMS})
}
