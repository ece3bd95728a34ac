package policy

import (
	"fmt"

	"strongroom.dev/agreement"
	"strongroom.dev/privacy"
	"strongroom.dev/wire"
)

// Account is the books of one own dataset under differential privacy (spec/privacy.md, section
// 7). The zero Account has no budget, and allows nothing.
type Account struct {
	// Budget is what may be spent of the dataset in all, under whatever agreement; nil if its
	// owner's officers set none.
	Budget *privacy.Budget
	// Unconfirmed is set if the broker's log was restored since they set it: what was spent in
	// the part that was lost is not known.
	Unconfirmed bool
	// Spent is what all runs spent of the dataset, Agreed those under any version of the agreement.
	Spent, Agreed privacy.Cost
}

// Spending is what a run spends of one input under differential privacy, in the dataset's
// books and in those of the agreement. Only the input's owner learns Dataset and Agreement.
type Spending struct {
	Input wire.ID      `json:"input"`
	Of    wire.ID      `json:"of"` // dataset
	Cost  privacy.Cost `json:"cost"`
	// Dataset is what is spent of the dataset under all agreements, Agreement what under all
	// versions of this one.
	Dataset   Balance `json:"dataset"`
	Agreement Balance `json:"agreement"`
}

// Balance is a budget, and what is spent of it before and after a run.
type Balance struct {
	Budget privacy.Budget `json:"budget"`
	Before privacy.Cost   `json:"before"`
	After  privacy.Cost   `json:"after"`
}

const budgetClause = "budget.epsilon"

// checkBudgets looks at what the run spends of inputs under differential privacy (R14). What it
// finds is told to the room, and so to its host: it holds what the run costs, which the
// agreement and the request say, and never what was spent before or is left.
func (d *decision) checkBudgets() {
	accounts := map[wire.ID]Account{}
	for _, in := range d.Inputs {
		agreed, _ := d.Agreement.InputByName(in.Name)
		if agreed.Rules == nil || agreed.Rules.Privacy == nil {
			continue
		}
		dataset := in.Statement.Dataset.Dataset
		account, read := accounts[dataset]
		if !read {
			account = d.Books.Datasets[dataset].Account
		}
		if spends, ok := d.checkBudget(in.Name, dataset, *agreed.Rules.Privacy, account); ok {
			account.Spent, account.Agreed = spends.Dataset.After, spends.Agreement.After
			accounts[dataset] = account
			d.spendings = append(d.spendings, spends)
		}
	}
}

// checkBudget judges one input against both its budgets, the dataset's and the agreement's.
func (d *decision) checkBudget(input, dataset wire.ID, p agreement.Privacy, account Account) (s Spending, ok bool) {
	expected := fmt.Sprintf("input %s: a cost that the budgets of agreement %s and of dataset %s have left", input, d.Agreement.ID, dataset)
	refuse := func(got, fix string) (Spending, bool) {
		d.need(false, budgetClause, expected, got, fix)
		return Spending{}, false
	}
	if d.retry {
		d.need(true, budgetClause, expected, "the same request again, which spends nothing", "")
		return Spending{}, false
	}
	if d.Books.Activation.State != Active {
		return refuse("books that are not opened for an agreement that is not activated", "have the owner run `strongroom agreement activate`")
	}
	set := fmt.Sprintf("`strongroom broker budget set %s`", dataset)
	switch {
	case account.Budget == nil:
		return refuse("no budget of "+string(dataset)+": its owner set none", "have the owner's officers run "+set)
	case account.Unconfirmed:
		return refuse("a budget of "+string(dataset)+" from before its broker's log was restored", "have the owner's officers find out what was spent since, and run "+set)
	}
	agreed, err := p.Budget()
	if err != nil {
		return refuse(err.Error(), "make a new version of the agreement")
	}
	cost, err := p.Cost(d.Run.EpsilonOf(d.work))
	if err != nil {
		return refuse("a run that costs nothing known: "+err.Error(), "ask for an epsilon above 0 that the agreement allows")
	}
	s = Spending{Input: input, Of: dataset, Cost: cost, Dataset: Balance{Budget: *account.Budget, Before: account.Spent}, Agreement: Balance{Budget: agreed, Before: account.Agreed}}
	if s.Agreement.After, err = agreed.Spend(account.Agreed, cost); err != nil {
		return refuse(cost.String()+", more than the agreement's budget has left", "ask for less, or agree on a version with a larger budget")
	}
	if account.Budget.Mechanism == privacy.Laplace && !cost.Pure() {
		return refuse(cost.String()+", in books of "+string(dataset)+" that add up epsilons", "agree on mechanism laplace, or have the owner's officers run "+set+" --mechanism gaussian")
	}
	if s.Dataset.After, err = account.Budget.Spend(account.Spent, cost); err != nil {
		return refuse(cost.String()+", more than the budget of "+string(dataset)+" has left", "ask for less, or have the owner's officers decide on `strongroom broker budget refill "+string(dataset)+"`")
	}
	d.need(true, budgetClause, expected, cost.String(), "")
	return s, true
}
