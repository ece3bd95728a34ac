package broker

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/privacy"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

// budgetRecord is what the officers let be spent of a dataset under differential privacy.
type budgetRecord struct {
	Budget privacy.Budget `json:"budget"`
	// Unconfirmed is set when the log was restored since: what was spent in the part that was lost
	// is not known, and nothing more is until officers say how much may be.
	Unconfirmed bool  `json:"unconfirmed,omitempty"`
	TimeMS      int64 `json:"time_ms"` // of the last change
}

// spentKey is where the state keeps what was spent of a dataset: by all, or under the versions
// of one agreement. "/" stands in no id.
func spentKey(dataset, agreement wire.ID) string {
	if agreement == "" {
		return string(dataset)
	}
	return string(dataset) + "/" + string(agreement)
}

func loadSpent(tx Tx, key string) (privacy.Cost, error) {
	spent, err := load[privacy.Cost](tx, tableSpent, key)
	if err != nil || spent == nil {
		return privacy.Cost{}, err
	}
	return *spent, nil
}

// account reads a dataset's books, as far as they are of concern to an agreement.
func account(tx Tx, dataset, agreement wire.ID) (a policy.Account, err error) {
	budget, err := load[budgetRecord](tx, tableBudgets, string(dataset))
	if err != nil {
		return a, err
	}
	if budget != nil {
		a.Budget, a.Unconfirmed = &budget.Budget, budget.Unconfirmed
	}
	if a.Spent, err = loadSpent(tx, spentKey(dataset, "")); err != nil {
		return a, err
	}
	a.Agreed, err = loadSpent(tx, spentKey(dataset, agreement))
	return a, err
}

// spendFacts is the public part of an entry of kind spend: what was spent after a run, of each
// dataset once. It stands in the broker's own log, which nobody else reads, right after the
// entry of the grant; the salt keeps whoever holds the grant's receipt, and so this entry's
// hash, from guessing what is in it.
type spendFacts struct {
	ReleaseID string      `json:"release_id"`
	ID        wire.ID     `json:"id"` // of the agreement
	Spent     []spentFact `json:"spent"`
	Salt      string      `json:"salt"`
}

type spentFact struct {
	Dataset wire.ID `json:"dataset"`
	// All is what is spent of the dataset, Agreement what under the versions of this agreement.
	All       privacy.Cost `json:"all"`
	Agreement privacy.Cost `json:"agreement"`
}

// spendBudgets takes what a grant spends out of the budgets, and makes the record of it. The
// books stand as the policy saw them, in this very transaction: anything else is a defect, and
// spends nothing.
func spendBudgets(tx Tx, r *request, t policy.Terms, now time.Time) error {
	if len(t.Spendings) == 0 {
		return nil
	}
	id := r.agreement.ID
	salt := keys.RandomID()
	facts := spendFacts{ReleaseID: t.ReleaseID, ID: id, Salt: hex.EncodeToString(salt[:])}
	for _, s := range t.Spendings {
		stands, err := account(tx, s.Of, id)
		if err != nil {
			return err
		}
		if stands.Spent != s.Dataset.Before || stands.Agreed != s.Agreement.Before {
			return broken("to spend what was decided on", fmt.Errorf("the books of %s moved on", s.Of))
		}
		if err := errors.Join(save(tx, tableSpent, spentKey(s.Of, ""), s.Dataset.After), save(tx, tableSpent, spentKey(s.Of, id), s.Agreement.After)); err != nil {
			return err
		}
		facts.Spent = slices.DeleteFunc(facts.Spent, func(f spentFact) bool { return f.Dataset == s.Of })
		facts.Spent = append(facts.Spent, spentFact{s.Of, s.Dataset.After, s.Agreement.After})
	}
	public, err := json.Marshal(facts)
	if err != nil {
		return err
	}
	e := ledger.Entry{Kind: "spend", TimeMS: now.UnixMilli(), Agreement: &t.Agreement, Run: &t.Run, RunID: t.RunID, Public: public}
	d := Decision{Subject: "budgets spent by run " + t.RunID, Agreement: t.Agreement.String(), RunID: t.RunID, ReleaseID: t.ReleaseID, Spendings: t.Spendings}
	about := []string{t.RunID, t.ReleaseID}
	for _, f := range facts.Spent {
		about = append(about, string(f.Dataset))
	}
	_, err = record(tx, e, d, about...)
	return err
}

// sealSpendings seals what was recorded of a run's spending to its room, which has the owner
// learn it, and nobody else.
func (b *Broker) sealSpendings(redeemed policy.Redeemed, runID string) ([]byte, error) {
	var run *runRecord
	err := b.cfg.State.View(func(tx Tx) (err error) {
		run, err = load[runRecord](tx, tableRuns, runID)
		return err
	})
	if err != nil || run == nil {
		return nil, broken("to find the record of run "+runID, err)
	}
	return release.SealSpendings(redeemed, run.Spendings)
}

// costs gives what the grant's public record says of what is spent.
func costs(t policy.Terms) (list []release.SpentInput) {
	for _, s := range t.Spendings {
		list = append(list, release.SpentInput{Input: s.Input, Cost: s.Cost})
	}
	return list
}

// replayCosts adds what a grant spent that the state did not know of.
func replayCosts(tx Tx, e ledger.Entry, f release.GrantFacts) error {
	if len(f.Costs) == 0 {
		return nil
	}
	known, err := load[agreementRecord](tx, tableAgreements, e.Agreement.String())
	if err != nil {
		return err
	}
	for _, c := range f.Costs {
		at := slices.IndexFunc(f.Inputs, func(in release.GrantedInput) bool { return in.Input == c.Input })
		if at < 0 {
			return fmt.Errorf("a cost of input %.70q, which was not granted", string(c.Input))
		}
		books := []string{spentKey(f.Inputs[at].Dataset, "")}
		if known != nil {
			books = append(books, spentKey(f.Inputs[at].Dataset, known.ID))
		}
		for _, key := range books {
			spent, err := loadSpent(tx, key)
			if err != nil {
				return err
			}
			if spent, err = spent.Plus(c.Cost); err != nil {
				return err
			}
			if err := save(tx, tableSpent, key, spent); err != nil {
				return err
			}
		}
	}
	return nil
}

// replaySpend takes what a log that is believed again says was spent in all: it may be more
// than its grants add up to, if an earlier log was lost.
func replaySpend(tx Tx, e ledger.Entry) error {
	var f spendFacts
	if err := wire.Unmarshal(e.Public, &f); err != nil {
		return err
	}
	for _, s := range f.Spent {
		if err := errors.Join(atLeast(tx, spentKey(s.Dataset, ""), s.All), atLeast(tx, spentKey(s.Dataset, f.ID), s.Agreement)); err != nil {
			return err
		}
	}
	return nil
}

// atLeast raises what is spent to what something else knows, number by number: each is what
// some runs spent, so all spent no less.
func atLeast(tx Tx, key string, c privacy.Cost) error {
	spent, err := loadSpent(tx, key)
	if err != nil {
		return err
	}
	most := privacy.Cost{Rho: max(spent.Rho, c.Rho), Delta: max(spent.Delta, c.Delta)}
	if spent.Pure() && c.Pure() {
		most.Epsilon = max(spent.Epsilon, c.Epsilon)
	}
	if err := most.Validate(); err != nil || most == spent {
		return err
	}
	return save(tx, tableSpent, key, most)
}

// unconfirmBudgets locks every budget until officers set it again.
func unconfirmBudgets(tx Tx, nowMS int64) (n int, err error) {
	return n, eachBudget(tx, func(dataset wire.ID, r *budgetRecord) error {
		n++
		r.Unconfirmed, r.TimeMS = true, nowMS
		return save(tx, tableBudgets, string(dataset), r)
	})
}

// eachBudget does something for every budget; it may write.
func eachBudget(tx Tx, do func(wire.ID, *budgetRecord) error) error {
	var datasets []wire.ID
	if err := tx.Scan(tableBudgets, "", "", func(key string, _ []byte) bool {
		datasets = append(datasets, wire.ID(key))
		return true
	}); err != nil {
		return err
	}
	for _, dataset := range datasets {
		r, err := load[budgetRecord](tx, tableBudgets, string(dataset))
		if err == nil && r == nil {
			err = errors.New("a budget that is not there")
		}
		if err == nil {
			err = do(dataset, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// BudgetStatus is the books of one dataset under differential privacy.
type BudgetStatus struct {
	Dataset wire.ID `json:"dataset"`
	// Budget is what may be spent in all; absent if none was set, though something was spent.
	Budget *privacy.Budget `json:"budget,omitempty"`
	// Unconfirmed is set if the log was restored since it was set: nothing is released until it
	// is set again.
	Unconfirmed bool         `json:"unconfirmed"`
	Spent       privacy.Cost `json:"spent"`
	// Left and Told are nil without a budget. Told is what all answers so far tell of any unit at
	// most, as an epsilon at the budget's delta.
	Left *privacy.Cost    `json:"left,omitempty"`
	Told *privacy.Epsilon `json:"told,omitempty"`
	// SinceMS is when the budget was last changed, 0 if there is none.
	SinceMS    int64             `json:"since_ms"`
	Agreements []AgreementBudget `json:"agreements"`
}

// AgreementBudget is what was spent of a dataset under the versions of one agreement.
type AgreementBudget struct {
	ID    wire.ID      `json:"id"`
	Spent privacy.Cost `json:"spent"`
	// Budget, Left and Told are of the version that is activated; nil if none is, or if it does
	// not have the dataset under differential privacy.
	Budget *privacy.Budget  `json:"budget,omitempty"`
	Left   *privacy.Cost    `json:"left,omitempty"`
	Told   *privacy.Epsilon `json:"told,omitempty"`
}

// budgetStanding gives what is left and told of a budget. Books that hold something they can't add
// up have nothing left, and tell nothing that could be said.
func budgetStanding(b *privacy.Budget, spent privacy.Cost) (left *privacy.Cost, told *privacy.Epsilon) {
	if b == nil {
		return nil, nil
	}
	rest, err := b.Left(spent)
	if err != nil || b.Mechanism == privacy.Laplace && !spent.Pure() {
		return &privacy.Cost{}, nil
	}
	if e, err := b.Told(spent); err == nil {
		told = &e
	}
	return &rest, told
}

// budgetStatus lists the books of all datasets that have any.
func (b *Broker) budgetStatus(tx Tx) ([]BudgetStatus, error) {
	list := []BudgetStatus{}
	of := func(dataset wire.ID) *BudgetStatus {
		at := slices.IndexFunc(list, func(s BudgetStatus) bool { return s.Dataset == dataset })
		if at < 0 {
			at, list = len(list), append(list, BudgetStatus{Dataset: dataset, Agreements: []AgreementBudget{}})
		}
		return &list[at]
	}
	err := eachBudget(tx, func(dataset wire.ID, r *budgetRecord) error {
		s := of(dataset)
		s.Budget, s.Unconfirmed, s.SinceMS = &r.Budget, r.Unconfirmed, r.TimeMS
		return nil
	})
	var bad error
	err = errors.Join(err, tx.Scan(tableSpent, "", "", func(key string, _ []byte) bool {
		spent, err := loadSpent(tx, key)
		if bad = err; err != nil {
			return false
		}
		dataset, id, under := strings.Cut(key, "/")
		if s := of(wire.ID(dataset)); under {
			s.Agreements = append(s.Agreements, AgreementBudget{ID: wire.ID(id), Spent: spent})
		} else {
			s.Spent = spent
		}
		return true
	}))
	if err := errors.Join(err, bad); err != nil {
		return nil, err
	}
	for i := range list {
		s := &list[i]
		s.Left, s.Told = budgetStanding(s.Budget, s.Spent)
		for j := range s.Agreements {
			a := &s.Agreements[j]
			if a.Budget, err = b.agreedBudget(tx, a.ID, s.Dataset); err != nil {
				return nil, err
			}
			a.Left, a.Told = budgetStanding(a.Budget, a.Spent)
		}
	}
	slices.SortFunc(list, func(a, z BudgetStatus) int { return strings.Compare(string(a.Dataset), string(z.Dataset)) })
	return list, nil
}

// agreedBudget gives the budget of a dataset in the activated version of an agreement; nil if
// there is none.
func (b *Broker) agreedBudget(tx Tx, id, dataset wire.ID) (*privacy.Budget, error) {
	highest, err := load[idRecord](tx, tableIDs, string(id))
	if err != nil || highest == nil {
		return nil, err
	}
	known, err := load[agreementRecord](tx, tableAgreements, highest.Digest.String())
	if err != nil || known == nil || known.Standing != activated {
		return nil, err
	}
	parsed, err := b.parsed.get(highest.Digest, *known)
	if err != nil {
		return nil, err
	}
	for _, in := range parsed.agreement.Inputs {
		party, _ := parsed.agreement.PartyByID(in.Owner)
		if in.Dataset == dataset && b.own[party.Descriptor] && in.Rules != nil && in.Rules.Privacy != nil {
			budget, err := in.Rules.Privacy.Budget()
			return &budget, err
		}
	}
	return nil, nil
}
