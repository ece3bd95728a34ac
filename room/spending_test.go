package room_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/policy"
	"strongroom.dev/privacy"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// newPrivate is a world in which alpha's rows are under differential privacy.
func newPrivate(t *testing.T) *world {
	w := newWorld(t, func(a *agreement.Agreement) {
		rules := *a.Inputs[0].Rules
		rules.Privacy = &agreement.Privacy{Epsilon: "1", Delta: "0.000001", Run: "0.25", Mechanism: privacy.Laplace, MaxGroups: 1, MaxRows: 1}
		a.Inputs[0].Rules = &rules
		a.Work[0].Epsilon = "0.25"
	})
	_, err := w.parties["alpha"].broker.SetBudget(t.Context(), broker.BudgetAct{Dataset: "patients", Budget: broker.Amount{Epsilon: 600_000, Delta: 1e13, Mechanism: privacy.Laplace}})
	must(t, err)
	return w
}

// TestBudgetsAreToldToTheirOwner: each run costs, its owner's part of the record tells the
// budget before and after, and nobody else's does, nor anything that the host relays.
func TestBudgetsAreToldToTheirOwner(t *testing.T) {
	w := newPrivate(t)
	relayed := []string{}
	var mu sync.Mutex // owns relayed
	w.ask = func(_ context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		answer, err := next(body)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			relayed = append(relayed, verdict.As(err).Error())
		}
		relayed = append(relayed, string(answer))
		return answer, err
	}
	cost := privacy.Cost{}
	for range 2 {
		request := w.request(nil)
		must(t, w.run(request))
		w.opened(request) // the proof holds
		before := cost
		one, err := w.agreement.Inputs[0].Rules.Privacy.Cost("0.25")
		must(t, err)
		cost, err = cost.Plus(one)
		must(t, err)
		alpha, size := w.details("alpha")
		beta, other := w.details("beta")
		if len(alpha.Budgets) != 1 || alpha.Budgets[0].Input != "alpha-rows" || alpha.Budgets[0].Dataset.Before != before || alpha.Budgets[0].Dataset.After != cost || alpha.Budgets[0].Agreement.After != cost {
			t.Errorf("alpha learns %+v", alpha.Budgets)
		}
		if len(beta.Budgets) != 0 || size != other {
			t.Errorf("beta learns %+v, %d bytes beside %d", beta.Budgets, other, size)
		}
	}
	if err := w.run(w.request(nil)); verdict.As(err).Check != "budget.epsilon" {
		t.Errorf("the third run: %v", err)
	}
	for _, text := range relayed {
		if strings.Contains(text, `"0.5"`) || strings.Contains(text, "0.1 ") || strings.Contains(text, `"0.6"`) {
			t.Errorf("the host reads what was spent, or is left: %s", text)
		}
	}
}

// TestDetailOfBudgets: the part has one size, whatever is in it.
func TestDetailOfBudgets(t *testing.T) {
	most := privacy.Cost{Epsilon: 1e15 - 1, Rho: 9e18, Delta: 1e18 - 1}
	balance := policy.Balance{Budget: privacy.Budget{Epsilon: privacy.MaxEpsilon - 1, Delta: 1e18 - 1, Mechanism: privacy.Gaussian}, Before: most, After: most}
	var many []policy.Spending
	for range 64 {
		many = append(many, policy.Spending{Input: wire.ID(strings.Repeat("i", 63)), Of: wire.ID(strings.Repeat("d", 63)), Cost: most, Dataset: balance, Agreement: balance})
	}
	part, n, err := room.DetailOfBudgets(many, 8<<10)
	if err != nil || len(part) != 8<<10 || n < 6 {
		t.Errorf("%d bytes, %d budgets, %v", len(part), n, err)
	}
}
