package policy_test

import (
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/policy"
	"strongroom.dev/privacy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// private puts an input of alpha's under differential privacy.
func (w *world) private(input int, mechanism wire.ID, epsilon string) {
	rules := *w.agreement.Inputs[input].Rules
	rules.Privacy = &agreement.Privacy{Epsilon: epsilon, Delta: "0.00001", Run: "0.5", Mechanism: mechanism, MaxGroups: 1, MaxRows: 1}
	w.agreement.Inputs[input].Rules = &rules
	w.agreement.Work[0].Epsilon = "0.5"
}

// epsilons is a cost of so many millionths.
func epsilons(n privacy.Epsilon) privacy.Cost {
	return privacy.Cost{Epsilon: n, Rho: privacy.RhoOfPure(n)}
}

// books puts an account on one of alpha's datasets.
func books(dataset wire.ID, a policy.Account) func(*policy.Request) {
	return func(r *policy.Request) {
		d := r.Books.Datasets[dataset]
		d.Account = a
		r.Books.Datasets[dataset] = d
	}
}

func TestBudgets(t *testing.T) {
	budget := &privacy.Budget{Epsilon: 1_000_000, Delta: 1e14, Mechanism: privacy.Laplace}
	rho := &privacy.Budget{Epsilon: 1_000_000, Delta: 1e14, Mechanism: privacy.Gaussian}
	for name, c := range map[string]struct {
		mechanism, epsilon string
		account            policy.Account
		got                string // "": granted
	}{
		"none set":                  {"laplace", "1", policy.Account{}, "no budget"},
		"spent by others":           {"laplace", "1", policy.Account{Budget: budget, Spent: epsilons(500_001)}, "budget of patients has left"},
		"just enough left":          {"laplace", "1", policy.Account{Budget: budget, Spent: epsilons(500_000)}, ""},
		"spent by this agreement":   {"laplace", "0.6", policy.Account{Budget: budget, Spent: epsilons(100_001), Agreed: epsilons(100_001)}, "agreement's budget has left"},
		"just enough agreed":        {"laplace", "0.6", policy.Account{Budget: budget, Spent: epsilons(100_000), Agreed: epsilons(100_000)}, ""},
		"a log that was restored":   {"laplace", "1", policy.Account{Budget: budget, Unconfirmed: true}, "restored"},
		"delta spent":               {"laplace", "1", policy.Account{Budget: budget, Spent: privacy.Cost{Epsilon: 1, Rho: 1, Delta: 1e14}}, "has left"},
		"gaussian in laplace books": {"gaussian", "1", policy.Account{Budget: budget}, "add up epsilons"},
		"gaussian":                  {"gaussian", "1", policy.Account{Budget: rho}, ""},
		"gaussian spent":            {"gaussian", "1", policy.Account{Budget: rho, Spent: privacy.Cost{Rho: 1e12}}, "has left"},
		"laplace in gaussian books": {"laplace", "1", policy.Account{Budget: &privacy.Budget{Epsilon: 5_000_000, Delta: 1e14, Mechanism: privacy.Gaussian}}, ""},
		"books that hold gaussian":  {"laplace", "1", policy.Account{Budget: budget, Spent: privacy.Cost{Rho: 1}}, "has left"},
		"books out of range":        {"laplace", "1", policy.Account{Budget: budget, Spent: privacy.Cost{Epsilon: -1e15}}, "has left"},
		"a budget of nothing":       {"laplace", "1", policy.Account{Budget: &privacy.Budget{}}, "has left"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			w := newWorld(t)
			w.private(0, wire.ID(c.mechanism), c.epsilon)
			w.change = books("patients", c.account)
			g, _, err := policy.Decide(w.build())
			if c.got == "" {
				must(t, err)
				s := g.Terms().Spendings
				if len(s) != 1 || s[0].Input != "alpha-rows" || s[0].Of != "patients" || s[0].Dataset.Before != c.account.Spent || s[0].Agreement.Before != c.account.Agreed ||
					!c.account.Budget.CanSpend(c.account.Spent, s[0].Cost) || s[0].Dataset.After == s[0].Dataset.Before || s[0].Agreement.After == s[0].Agreement.Before {
					t.Errorf("spends %+v", s)
				}
				return
			}
			e := verdict.As(err)
			if e.Check != "budget.epsilon" || e.Kind != verdict.Refused || !strings.Contains(e.Got, c.got) || e.Fix == "" || g.Granted() {
				t.Errorf("got %v, mend %s", e, e.Fix)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestBudgetsOfOneDataset: two inputs of one dataset spend of one budget, one after the other.
func TestBudgetsOfOneDataset(t *testing.T) {
	for epsilon, granted := range map[privacy.Epsilon]bool{1_000_000: true, 999_999: false} {
		w := newWorld(t)
		w.private(0, privacy.Laplace, "50")
		w.private(2, privacy.Laplace, "50")
		w.agreement.Inputs[2].Dataset = "patients"
		w.statements["alpha-more"] = w.state(w.agreement.Inputs[2], 1)
		for i := range w.run.Datasets {
			if w.run.Datasets[i].Input == "alpha-more" {
				w.run.Datasets[i].Statement = w.statements["alpha-more"].Digest()
			}
		}
		w.change = books("patients", policy.Account{Budget: &privacy.Budget{Epsilon: epsilon, Delta: 1e14, Mechanism: privacy.Laplace}})
		_, checks, _ := policy.Decide(w.build())
		passed := []bool{}
		for _, c := range checks {
			if c.ID == "budget.epsilon" {
				passed = append(passed, c.OK)
			}
		}
		if len(passed) != 2 || !passed[0] || passed[1] != granted {
			t.Errorf("a budget of %s: %v", epsilon, passed)
		}
	}
}

// TestBudgetOfARetry: the same request again is let through whatever the books say by now, and
// spends nothing.
func TestBudgetOfARetry(t *testing.T) {
	w := newWorld(t)
	w.private(0, privacy.Laplace, "1")
	w.change = func(r *policy.Request) {
		r.Books.Earlier = &policy.Earlier{ReleaseID: r.ReleaseID, Request: r.Digest, Run: r.Run.Digest()}
		r.Books.RedeemedBy = r.ReleaseID
	}
	g, _, err := policy.Decide(w.build())
	must(t, err)
	if terms := g.Terms(); !terms.Retry || len(terms.Spendings) != 0 {
		t.Errorf("%+v", terms)
	}
}

// TestBudgetNotActivated: books are not looked at for who has no authority.
func TestBudgetNotActivated(t *testing.T) {
	w := newWorld(t)
	w.private(0, privacy.Laplace, "1")
	w.change = func(r *policy.Request) {
		books("patients", policy.Account{Budget: &privacy.Budget{Epsilon: 1e6, Delta: 1e14, Mechanism: privacy.Laplace}})(r)
		r.Books.Activation = policy.Activation{}
	}
	_, checks, err := policy.Decide(w.build())
	if e := verdict.As(err); e.Check != "agreement.activated" {
		t.Errorf("%v", e)
	}
	for _, c := range checks {
		if c.ID == "budget.epsilon" && c.OK {
			t.Error("a stranger's agreement has a budget")
		}
	}
}
