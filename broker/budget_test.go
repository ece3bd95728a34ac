package broker_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/privacy"
	"strongroom.dev/release"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// private puts alpha's rows under differential privacy: under the agreement at most epsilon in
// all, run of it by each run.
func (w *world) private(mechanism wire.ID, epsilon, run string) *world {
	rules := *w.agreement.Inputs[0].Rules
	rules.Privacy = &agreement.Privacy{Epsilon: epsilon, Delta: "0.000001", Run: run, Mechanism: mechanism, MaxGroups: 1, MaxRows: 10}
	w.agreement.Inputs[0].Rules = &rules
	w.agreement.Inputs[0].RunsPerDay = 100000
	w.agreement.Work[0].Epsilon = run
	return w
}

func budgetOf(mechanism wire.ID, epsilon, delta string) privacy.Budget {
	return privacy.Budget{Epsilon: must1(privacy.ParseEpsilon(epsilon)), Delta: must1(privacy.ParseDelta(delta)), Mechanism: mechanism}
}

// setBudget lets so much be spent of the patients.
func setBudget(t testing.TB, b *broker.Broker, budget privacy.Budget) broker.Event {
	t.Helper()
	ev, err := b.SetBudget(ctx, broker.BudgetAct{Dataset: "patients", Budget: broker.Amount(budget), Reason: "decided"})
	must(t, err)
	return ev
}

// books gives those of the patients, as a broker tells them.
func books(t testing.TB, b *broker.Broker) broker.BudgetStatus {
	t.Helper()
	s := must1(b.Status(ctx))
	if len(s.Budgets) != 1 || s.Budgets[0].Dataset != "patients" {
		t.Fatalf("books %+v", s.Budgets)
	}
	return s.Budgets[0]
}

// TestBudgetFailsClosed: until officers set a budget nothing is released, and what an answer
// says of it holds nothing that was spent or is left.
func TestBudgetFailsClosed(t *testing.T) {
	w := newWorld(t).private(privacy.Laplace, "1", "0.3")
	b, a := w.newHouse().ready()
	_, err := w.newRoom(a, w.newRun(a)).ask(b)
	if e := refusedBy(t, err, "budget.epsilon"); !strings.Contains(e.Got, "no budget") || !strings.Contains(e.Fix, "broker budget set patients") {
		t.Errorf("%v, mend %s", e, e.Fix)
	}
	setBudget(t, b, budgetOf(privacy.Laplace, "0.7", "0.00001"))
	for range 2 {
		w.newRoom(a, w.newRun(a)).granted(b)
	}
	_, err = w.newRoom(a, w.newRun(a)).ask(b)
	e := refusedBy(t, err, "budget.epsilon")
	if !strings.Contains(e.Expected, "patients") || !strings.Contains(e.Got, "epsilon 0.3") || !strings.Contains(e.Fix, "budget refill patients") {
		t.Errorf("%v, mend %s", e, e.Fix)
	}
	for _, c := range e.Checks {
		if strings.Contains(c.Expected+c.Got+c.Fix, "0.6") || strings.Contains(c.Expected+c.Got+c.Fix, "0.1") {
			t.Errorf("the room's host learns what was spent, or is left: %+v", c)
		}
	}
	if s := books(t, b); s.Spent.Epsilon.String() != "0.6" || s.Left.Epsilon.String() != "0.1" || s.Told.String() != "0.6" ||
		len(s.Agreements) != 1 || s.Agreements[0].Spent != s.Spent || s.Agreements[0].Left.Epsilon.String() != "0.4" {
		t.Errorf("books %+v", s)
	}
}

// TestBudgetSpentOnce: the same request again counts once; another room of the same run is
// refused and spends nothing.
func TestBudgetSpentOnce(t *testing.T) {
	w := newWorld(t).private(privacy.Gaussian, "1", "0.5")
	h := w.newHouse()
	b, a := h.ready()
	setBudget(t, b, budgetOf(privacy.Gaussian, "2", "0.00001"))
	r := w.newRoom(a, w.newRun(a))
	answer := r.granted(b)
	once := books(t, b).Spent
	if once.Rho == 0 || once.Epsilon != 0 {
		t.Fatalf("spent %s", once)
	}
	for _, b := range []*broker.Broker{b, h.open()} {
		if again := must1(b.Release(ctx, r.request())); string(again) != string(answer) {
			t.Error("another answer")
		}
	}
	_, err := w.newRoom(a, r.run).ask(b)
	refusedBy(t, err, "run.once")
	if s := books(t, b); s.Spent != once {
		t.Errorf("spent %s, first %s", s.Spent, once)
	}
}

// TestSpending: the room learns of its owner's books what they say before and after, the log
// of the broker too, and the grant's record only what the agreement says anyway.
func TestSpending(t *testing.T) {
	w := newWorld(t).private(privacy.Laplace, "1", "0.25")
	h := w.newHouse()
	b, a := h.ready()
	setBudget(t, b, budgetOf(privacy.Gaussian, "3", "0.00001"))
	w.newRoom(a, w.newRun(a)).granted(b)
	r := w.newRoom(a, w.newRun(a))
	g := must1(r.open(r.granted(b)))
	cost := must1(w.agreement.Inputs[0].Rules.Privacy.Cost("0.25"))
	asked := release.Asked{Request: r.asked, Challenge: r.challenge, Agreement: a.Digest(), Run: r.run.Digest(), MaxLeaseMS: a.LeaseMS}
	spent := []release.SpentInput{{Input: "alpha-rows", Cost: cost}}
	list := must1(g.OpenSpendings(r.hpke, asked, spent))
	twice := must1(cost.Plus(cost))
	want := policy.Spending{Input: "alpha-rows", Of: "patients", Cost: cost,
		Dataset:   policy.Balance{Budget: budgetOf(privacy.Gaussian, "3", "0.00001"), Before: cost, After: twice},
		Agreement: policy.Balance{Budget: budgetOf(privacy.Laplace, "1", "0.000001"), Before: cost, After: twice}}
	if len(list) != 1 || list[0] != want {
		t.Errorf("the room learns %+v", list)
	}
	for name, wrong := range map[string][]release.SpentInput{"none": nil, "another cost": {{Input: "alpha-rows", Cost: twice}}, "another input": {{Input: "beta-rows", Cost: cost}}, "one more": append(spent, spent[0])} {
		if _, err := g.OpenSpendings(r.hpke, asked, wrong); verdict.As(err).Check != "grant.spending" {
			t.Errorf("%s: %v", name, err)
		}
	}
	entry := must1(ledger.ParseEntry(must1(h.log.Entry(g.Receipt.Index))))
	if facts := must1(release.ParseGrantFacts(entry.Public)); !slices.Equal(facts.Costs, spent) {
		t.Errorf("the grant's record: %s", entry.Public)
	}
	next := must1(ledger.ParseEntry(must1(h.log.Entry(g.Receipt.Index + 1))))
	if next.Kind != "spend" || next.RunID != r.run.RunID || !strings.Contains(string(next.Public), `"epsilon":"0.5"`) || !strings.Contains(string(next.Public), `"salt":"`) {
		t.Errorf("after the grant comes %s %s", next.Kind, next.Public)
	}
	if list := must1(b.Why(ctx, r.run.RunID)); !slices.ContainsFunc(list, func(d broker.Decision) bool { return len(d.Spendings) == 1 && d.Spendings[0] == want }) {
		t.Errorf("why says %+v", list)
	}
}

// TestTwinAgreements: agreements of other ids and versions, and new versions of the data, spend
// of one and the same budget; each id of its own besides.
func TestTwinAgreements(t *testing.T) {
	w := newWorld(t).private(privacy.Laplace, "0.5", "0.25")
	b, a := w.newHouse().ready()
	setBudget(t, b, budgetOf(privacy.Laplace, "0.8", "0.00001"))
	for range 2 {
		w.newRoom(a, w.newRun(a)).granted(b)
	}
	_, err := w.newRoom(a, w.newRun(a)).ask(b)
	if e := refusedBy(t, err, "budget.epsilon"); !strings.Contains(e.Got, "agreement's budget") {
		t.Errorf("%v", e)
	}
	// A new version of the agreement goes on where the one before was.
	before := a.Digest()
	w.agreement.Version, w.agreement.Supersedes = 2, &before
	second := w.agree()
	must1(b.Activate(ctx, w.activation(second)))
	_, err = w.newRoom(second, w.newRun(second)).ask(b)
	refusedBy(t, err, "budget.epsilon")
	// A twin has a budget of its own, and takes from the dataset's.
	w.agreement.ID, w.agreement.Version, w.agreement.Supersedes = "twin-study", 1, nil
	twin := w.agree()
	must1(b.Activate(ctx, w.activation(twin)))
	w.newRoom(twin, w.newRun(twin)).granted(b)
	_, err = w.newRoom(twin, w.newRun(twin)).ask(b)
	if e := refusedBy(t, err, "budget.epsilon"); !strings.Contains(e.Got, "budget of patients") {
		t.Errorf("%v", e)
	}
	// Nor does the same data, sealed again, have a new one.
	first := w.statements["alpha"].Digest()
	w.header = w.sealAgain()
	w.fileKey = must1(must1(w.keys.Unwrap(w.header)).MarshalSecret())
	w.statements["alpha"] = w.state("alpha", "patients", 2, &first, w.header)
	must1(b.Publish(ctx, w.publication()))
	_, err = w.newRoom(twin, w.newRun(twin)).ask(b)
	refusedBy(t, err, "budget.epsilon")
	if s := books(t, b); s.Spent.Epsilon.String() != "0.75" || len(s.Agreements) != 2 {
		t.Errorf("books %+v", s)
	}
	if ev := must1(b.SetBudget(ctx, broker.BudgetAct{Dataset: "patients", Budget: broker.Amount{Epsilon: 200_000}, Refill: true, Reason: "a new year"})); !strings.Contains(ev.Done, "epsilon 1,") {
		t.Errorf("refilled: %s", ev.Done)
	}
	w.newRoom(twin, w.newRun(twin)).granted(b)
	if s := books(t, b); s.Spent.Epsilon.String() != "1" {
		t.Errorf("a refill forgot what was spent: %+v", s)
	}
}

// TestMechanisms: books that add up epsilons take nothing else.
func TestMechanisms(t *testing.T) {
	w := newWorld(t).private(privacy.Gaussian, "1", "0.25")
	b, a := w.newHouse().ready()
	setBudget(t, b, budgetOf(privacy.Laplace, "1", "0.00001"))
	_, err := w.newRoom(a, w.newRun(a)).ask(b)
	if e := refusedBy(t, err, "budget.epsilon"); !strings.Contains(e.Got, "add up epsilons") {
		t.Errorf("%v", e)
	}
	setBudget(t, b, budgetOf(privacy.Gaussian, "1", "0.00001"))
	w.newRoom(a, w.newRun(a)).granted(b)
	_, err = b.SetBudget(ctx, broker.BudgetAct{Dataset: "patients", Budget: broker.Amount(budgetOf(privacy.Laplace, "50", "0.00001")), Reason: "x"})
	refusedBy(t, err, "budget.mechanism")
}

// TestNeverMoreThanTheBudget: fifty runs at once, each sent twice, under two agreements, while
// officers change the budget; whatever the order, what is spent is what was granted, and within
// every budget that stood.
func TestNeverMoreThanTheBudget(t *testing.T) {
	for _, mechanism := range []wire.ID{privacy.Laplace, privacy.Gaussian} {
		t.Run(string(mechanism), func(t *testing.T) {
			w := newWorld(t).private(mechanism, "1", "0.05")
			b, a := w.newHouse().ready()
			w.agreement.ID = "twin-study"
			twin := w.agree()
			must1(b.Activate(ctx, w.activation(twin)))
			budget := budgetOf(mechanism, "0.6", "0.00001")
			setBudget(t, b, budget)
			const n = 50
			var mu sync.Mutex
			granted := map[string]bool{}
			var wg sync.WaitGroup
			for i := range n {
				of := []*agreement.SignedAgreement{a, twin}[i%2]
				r := w.newRoom(of, w.newRun(of))
				must(t, r.getChallenge(b))
				data := r.request()
				for range 2 {
					wg.Add(1)
					go func() {
						defer wg.Done()
						_, err := b.Release(ctx, data)
						mu.Lock()
						defer mu.Unlock()
						if err == nil {
							granted[r.run.RunID] = true
						} else if check := verdict.As(err).Check; check != "budget.epsilon" {
							t.Errorf("refused by %s: %v", check, err)
						}
					}()
				}
			}
			for _, to := range []string{"0.3", "0.6", "0.45", "0.6"} {
				_, err := b.SetBudget(ctx, broker.BudgetAct{Dataset: "patients", Budget: broker.Amount(budgetOf(mechanism, to, "0.00001")), Reason: "why not"})
				must(t, err)
			}
			wg.Wait()
			for err := error(nil); err == nil; { // officers may have kept back what is left by now
				r := w.newRoom(a, w.newRun(a))
				if _, err = r.ask(b); err == nil {
					granted[r.run.RunID] = true
				}
			}
			one := must1(w.agreement.Inputs[0].Rules.Privacy.Cost("0.05"))
			sum := privacy.Cost{}
			for range granted {
				sum = must1(sum.Plus(one))
			}
			s := books(t, b)
			limit := must1(budget.Limit())
			if s.Spent != sum || len(granted) == 0 || s.Spent.Rho > limit.Rho || mechanism == privacy.Laplace && s.Spent.Epsilon > limit.Epsilon || s.Spent.Delta > limit.Delta {
				t.Errorf("%d runs granted, %s spent, limit %s", len(granted), s.Spent, limit)
			}
			if budget.CanSpend(s.Spent, one) {
				t.Errorf("%d runs granted, though there is room for more: %s", len(granted), s.Left)
			}
		})
	}
}

// TestTwoInstances: instances of one broker that share a state and a log spend of one budget.
func TestTwoInstances(t *testing.T) {
	w := newWorld(t).private(privacy.Laplace, "1", "0.25")
	h := w.newHouse()
	one, a := h.ready()
	setBudget(t, one, budgetOf(privacy.Laplace, "0.75", "0.00001"))
	two := h.open()
	for _, b := range []*broker.Broker{one, two, one} {
		w.newRoom(a, w.newRun(a)).granted(b)
	}
	for _, b := range []*broker.Broker{one, two} {
		_, err := w.newRoom(a, w.newRun(a)).ask(b)
		refusedBy(t, err, "budget.epsilon")
	}
}

// TestBudgetAfterRollback: whatever is set back, nothing is released until officers set the
// budget again, and what anything still knows to be spent stays spent.
func TestBudgetAfterRollback(t *testing.T) {
	for _, c := range []struct {
		name       string
		log, state bool
		spent      string // known afterwards
	}{
		{"log set back, state knows", true, false, "0.5"}, {"state set back, log knows", false, true, "0.5"}, {"both set back, a peer knows", true, true, "0.25"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t).private(privacy.Laplace, "5", "0.25")
			h := w.newHouse()
			b, a := h.ready()
			setBudget(t, b, budgetOf(privacy.Laplace, "1", "0.00001"))
			w.newRoom(a, w.newRun(a)).granted(b)
			copied, h := h.keep(t)
			b = h.open()
			spent := w.newRoom(a, w.newRun(a))
			spent.granted(b)
			h.cfg.Peers = map[string]broker.Peer{"broker.example/beta": w.peer(h.log.Checkpoint())}
			h = h.setBack(t, copied, c.log, c.state)
			b = h.open()
			if s := must1(b.Status(ctx)); s.Serving || s.Lock.Kind != broker.LockBehind {
				t.Fatalf("lock %+v", s.Lock)
			}
			_, err := b.SetBudget(ctx, broker.BudgetAct{Dataset: "patients", Budget: broker.Amount(budgetOf(privacy.Laplace, "9", "0.1")), Reason: "x"})
			refusedBy(t, err, "broker.locked")
			w.pass(time.Second)
			ev := must1(confirm(b))
			if !slices.ContainsFunc(ev.Notes, func(n string) bool { return strings.Contains(n, "1 privacy budget(s) must be set again") }) {
				t.Errorf("notes %q", ev.Notes)
			}
			h.cfg.Peers = nil
			must1(b.Activate(ctx, w.activation(a)))
			_, err = w.newRoom(a, w.newRun(a)).ask(b)
			if e := refusedBy(t, err, "budget.epsilon"); !strings.Contains(e.Got, "restored") {
				t.Errorf("%v", e)
			}
			_, err = b.SetBudget(ctx, broker.BudgetAct{Dataset: "patients", Budget: broker.Amount{Epsilon: 1}, Refill: true, Reason: "x"})
			refusedBy(t, err, "budget.refill")
			_, err = b.SetBudget(ctx, broker.BudgetAct{Dataset: "patients", Budget: broker.Amount(budgetOf(privacy.Laplace, "0.6", "0.00001"))})
			refusedBy(t, err, "--reason")
			if s := books(t, b); !s.Unconfirmed || s.Spent.Epsilon.String() != c.spent || s.Agreements[0].Spent != s.Spent {
				t.Errorf("books %+v", s)
			}
			notes := setBudget(t, b, budgetOf(privacy.Laplace, "0.6", "0.00001")).Notes
			if !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, "lost") }) {
				t.Errorf("notes %q", notes)
			}
			left := must1(b.Status(ctx)).Budgets[0].Left
			_, err = w.newRoom(a, w.newRun(a)).ask(b)
			if (left.Epsilon >= 250_000) != (err == nil) {
				t.Errorf("left %s: %v", left, err)
			}
		})
	}
}

// TestBudgetFromTheLog: a log alone gives the books back, also what was spent in an earlier log
// that was lost.
func TestBudgetFromTheLog(t *testing.T) {
	w := newWorld(t).private(privacy.Laplace, "5", "0.25")
	h := w.newHouse()
	b, a := h.ready()
	setBudget(t, b, budgetOf(privacy.Laplace, "2", "0.00001"))
	copied, h := h.keep(t)
	b = h.open()
	for range 2 { // which the log will not know of
		w.newRoom(a, w.newRun(a)).granted(b)
	}
	h = h.setBack(t, copied, true, false)
	b = h.open()
	must1(confirm(b))
	w.pass(time.Second)
	must1(b.Activate(ctx, w.activation(a)))
	setBudget(t, b, budgetOf(privacy.Laplace, "2", "0.00001"))
	w.newRoom(a, w.newRun(a)).granted(b)
	want := books(t, b)
	for i := range 2 { // read once, and once more on top of it
		h.close()
		if i == 0 {
			must(t, os.Remove(filepath.Join(w.dir, "state.db")))
		}
		h = w.newHouse()
		if i == 1 { // the lock of a log that moved on without its state
			must1(0, h.state.Update(func(tx broker.Tx) error { return tx.Put("meta", "next", []byte("1")) }))
		}
		b = h.open()
		must1(confirm(b))
		got := books(t, b)
		if got.Spent != want.Spent || got.Spent.Epsilon.String() != "0.75" || got.Agreements[0].Spent != want.Agreements[0].Spent || !got.Unconfirmed || *got.Budget != *want.Budget {
			t.Errorf("%d: books %+v, before %+v", i, got, want)
		}
	}
}

// TestBudgetLogCutShort: a grant's own entry is enough to know what it spent.
func TestBudgetLogCutShort(t *testing.T) {
	w := newWorld(t).private(privacy.Laplace, "5", "0.25")
	h := w.newHouse()
	b, a := h.ready()
	setBudget(t, b, budgetOf(privacy.Laplace, "2", "0.00001"))
	g := must1(w.newRoom(a, w.newRun(a)).grantedBy(b))
	var entries [][]byte
	for i := range g.Receipt.Index + 1 {
		entries = append(entries, must1(h.log.Entry(i)))
	}
	h.close()
	must(t, os.Remove(filepath.Join(w.dir, "state.db")))
	must(t, os.RemoveAll(filepath.Join(w.dir, "alpha")))
	must(t, tilelog.Create(filepath.Join(w.dir, "alpha"), w.keys.LogKey()))
	h = w.newHouse()
	must1(h.log.Append(ctx, entries))
	b = h.open()
	must1(confirm(b))
	if s := books(t, b); s.Spent.Epsilon.String() != "0.25" || len(s.Agreements) != 1 || s.Agreements[0].Spent != s.Spent || s.Budget == nil || !s.Unconfirmed {
		t.Errorf("books %+v", s)
	}
}

func (r *room) grantedBy(b *broker.Broker) (release.Granted, error) { return r.open(r.granted(b)) }

func TestBudgetActRefused(t *testing.T) {
	w := newWorld(t)
	h := w.newHouse()
	b, _ := h.ready()
	good := budgetOf(privacy.Laplace, "1", "0.00001")
	setBudget(t, b, good)
	size := h.log.Size()
	for name, c := range map[string]struct {
		act   broker.BudgetAct
		check string
	}{
		"another dataset":      {broker.BudgetAct{Dataset: "others", Budget: broker.Amount(good)}, "budget.dataset"},
		"no dataset":           {broker.BudgetAct{Budget: broker.Amount(good)}, "budget.dataset"},
		"no budget":            {broker.BudgetAct{Dataset: "patients"}, "privacy.number"},
		"no mechanism":         {broker.BudgetAct{Dataset: "patients", Budget: broker.Amount{Epsilon: 1}}, "privacy.number"},
		"epsilon of 101":       {broker.BudgetAct{Dataset: "patients", Budget: broker.Amount(budgetOf(privacy.Laplace, "101", "0")), Reason: "x"}, "privacy.number"},
		"gaussian, no delta":   {broker.BudgetAct{Dataset: "patients", Budget: broker.Amount(budgetOf(privacy.Gaussian, "1", "0")), Reason: "x"}, "privacy.number"},
		"raised without words": {broker.BudgetAct{Dataset: "patients", Budget: broker.Amount(budgetOf(privacy.Laplace, "1.000001", "0.00001"))}, "--reason"},
		"more delta":           {broker.BudgetAct{Dataset: "patients", Budget: broker.Amount(budgetOf(privacy.Laplace, "0.5", "0.00002"))}, "--reason"},
		"other books":          {broker.BudgetAct{Dataset: "patients", Budget: broker.Amount(budgetOf(privacy.Gaussian, "1", "0.00001"))}, "--reason"},
		"two lines":            {broker.BudgetAct{Dataset: "patients", Budget: broker.Amount(good), Reason: "two\nlines"}, "--reason"},
		"refilled by nothing":  {broker.BudgetAct{Dataset: "patients", Refill: true, Reason: "x"}, "--epsilon"},
		"refilled, no reason":  {broker.BudgetAct{Dataset: "patients", Budget: broker.Amount{Epsilon: 1}, Refill: true}, "--reason"},
		"refilled, gaussian":   {broker.BudgetAct{Dataset: "patients", Budget: broker.Amount{Epsilon: 1, Mechanism: privacy.Gaussian}, Refill: true, Reason: "x"}, "budget.mechanism"},
		"refilled beyond":      {broker.BudgetAct{Dataset: "patients", Budget: broker.Amount(budgetOf(privacy.Laplace, "100", "0")), Refill: true, Reason: "x"}, "privacy.number"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			_, err := b.SetBudget(ctx, c.act)
			refusedBy(t, err, c.check)
		})
	}
	if ev := setBudget(t, b, good); ev.Number != -1 {
		t.Error("the same budget again made a record")
	}
	if h.log.Size() != size {
		t.Error("what was refused stands in the log")
	}
	if s := books(t, b); *s.Budget != good {
		t.Errorf("books %+v", s)
	}
}

// TestBudgetWrites: whichever durable write fails, before or after it took effect, the same
// request again spends once.
func TestBudgetWrites(t *testing.T) {
	w := newWorld(t).private(privacy.Laplace, "9", "0.25")
	h := w.newHouse()
	faulty := &failing{State: h.state}
	h.cfg.State = faulty
	b, a := h.ready()
	setBudget(t, b, budgetOf(privacy.Laplace, "9", "0.00001"))
	runs := int64(0)
	for after := range 12 {
		r := w.newRoom(a, w.newRun(a))
		must(t, r.getChallenge(b))
		data := r.request()
		faulty.in = after/2 + 1
		faulty.stands = after%2 == 1
		_, err := b.Release(ctx, data)
		faulty.in = 0
		if err != nil {
			must1(b.Release(ctx, data))
		}
		runs++
		if s := books(t, b); s.Spent.Epsilon != privacy.Epsilon(250_000*runs) {
			t.Fatalf("failure %d: %d runs spent %s", after, runs, s.Spent)
		}
	}
}

// failing is a state one of whose next updates fails, without effect or though it stands.
type failing struct {
	broker.State
	in     int
	stands bool
}

var errWrite = errors.New("disk on fire")

func (f *failing) Update(do func(broker.Tx) error) error {
	if f.in--; f.in != 0 {
		return f.State.Update(do)
	}
	if f.stands {
		must1(0, f.State.Update(do))
	}
	return errWrite
}

// TestBudgetKilled kills a broker again and again while rooms spend of a budget.
func TestBudgetKilled(t *testing.T) {
	w := newWorld(t).private(privacy.Laplace, "100", "0.001")
	h := w.newHouse()
	b := h.open()
	must1(b.Publish(ctx, w.publication()))
	setBudget(t, b, budgetOf(privacy.Laplace, "100", "0.00001"))
	h.close()
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	all := w.liveThrough(t, rounds)
	h, b = w.checkAfterDeaths(t, all)
	runs := int64(len(logOf(t, h.log).grants))
	if s := books(t, b); s.Spent.Epsilon != privacy.Epsilon(1000*runs) || s.Agreements[0].Spent != s.Spent {
		t.Errorf("%d runs, %s spent", runs, s.Spent)
	}
	said := map[string]int{}
	for i := range h.log.Size() {
		if e := must1(ledger.ParseEntry(must1(h.log.Entry(i)))); e.Kind == "spend" {
			said[e.RunID]++
		}
	}
	if int64(len(said)) != runs || slices.Max(append(values(said), 1)) != 1 {
		t.Errorf("%d runs, records of spending of %d: %v", runs, len(said), said)
	}
}

func values(m map[string]int) (list []int) {
	for _, n := range m {
		list = append(list, n)
	}
	return list
}

// TestBudgetsOfStrangers: who brings an agreement that nobody activated learns nothing of books.
func TestBudgetsOfStrangers(t *testing.T) {
	w := newWorld(t).private(privacy.Laplace, "1", "0.25")
	b, a := w.newHouse().ready()
	said := map[string]bool{}
	for _, budget := range []string{"0.1", "1"} {
		w.agreement.Title = "Stranger " + budget
		stranger := w.agree()
		setBudget(t, b, budgetOf(privacy.Laplace, budget, "0.00001"))
		r := w.newRoom(a, w.newRun(a))
		must(t, r.getChallenge(b))
		r.agreement, r.run = stranger, w.newRun(stranger)
		_, err := b.Release(ctx, r.request())
		e := refusedBy(t, err, "agreement.activated")
		for _, c := range e.Checks {
			if c.ID == "budget.epsilon" {
				said[fmt.Sprint(c.OK, c.Got, c.Fix)] = true
			}
		}
	}
	if len(said) != 1 {
		t.Errorf("the clause tells budgets apart: %v", said)
	}
}

// budget does what histories say of budgets.
func (h *history) budget(verb string, args []string) string {
	if verb == "private" {
		h.world.private(privacy.Laplace, args[0], args[1])
		return "ok"
	}
	act := broker.BudgetAct{Dataset: "patients", Budget: broker.Amount(budgetOf(privacy.Laplace, args[0], "0.00001")), Reason: args[1]}
	if verb == "refill" {
		act.Budget, act.Refill, act.Reason = broker.Amount{Epsilon: act.Budget.Epsilon}, true, "more"
	}
	return event(h.broker.SetBudget(ctx, act))
}
