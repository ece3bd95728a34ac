package demo

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	cardoffers "strongroom.dev/examples/card-offers"
)

// privateFile is the signed agreement under differential privacy.
const privateFile = "private.json"

// privateQuery joins both sides' people.
const privateQuery = "SELECT c.segment, count(DISTINCT c.email) AS customers, avg(c.income) AS income FROM customers c JOIN offers o ON c.email = o.email GROUP BY c.segment"

// agreePrivately writes the agreement under another id, with privacy in the rules of every input,
// and has it signed and activated.
func (m *market) agreePrivately(ctx context.Context, id string) error {
	const rule = "min_group: 10\n      privacy: {epsilon: \"2\", delta: \"0.000001\", run: \"1\", mechanism: laplace, max_groups: 1, max_rows: 1}"
	err := m.fill(id+".yaml", cardoffers.Agreement, time.Now().AddDate(1, 0, 0), m.versions(),
		edit{"id: card-offers\n", "id: " + id + "\n"}, edit{"min_group: 10", rule},
		edit{"    tables: [offers, payments]\n", "    tables: [offers, payments]\n    epsilon: \"0.5\"\n"},
		edit{"    tables: [customers, visits]\n", "    tables: [customers, visits]\n    epsilon: \"0.5\"\n"},
		edit{"    tables: [customers, payments, offers, visits]\n", "    tables: [customers, offers]\n"})
	if err == nil {
		_, err = m.agree(ctx, m.quiet, id+".yaml")
	}
	return err
}

// askPrivately asks under differential privacy until the budget is used up.
func (m *market) askPrivately(ctx context.Context) error {
	m.chapter("Under differential privacy noise hides each person, and each side's broker keeps a budget of what all answers tell")
	if err := m.agreePrivately(ctx, strings.TrimSuffix(privateFile, ".json")); err != nil {
		return err
	}
	m.tell("  private.yaml has the same inputs, with privacy in their rules; all have signed it.")
	for folder, dataset := range map[string]string{bank: "customers", grocer: "offers"} {
		if _, err := m.do(ctx, m.as(folder, "broker", "budget", "set", dataset, "--epsilon", "1", "--delta", "0.000001", "--mechanism", "laplace")...); err != nil {
			return err
		}
	}
	if err := m.private(ctx, "private", "0.6"); err != nil {
		return err
	}
	m.tell("  The same again has other noise, and spends again:")
	if err := m.private(ctx, "private-again", "0.4"); err != nil {
		return err
	}
	out, err := m.do(ctx, m.as(bank, "broker", "budget", "customers")...)
	if err == nil {
		m.report.Results["budget"] = json.RawMessage(out)
	}
	return err
}

// private asks the one private question for an epsilon.
func (m *market) private(ctx context.Context, name, epsilon string) error {
	_, err := m.askUnder(ctx, m.do, privateFile, name, "--work", "ask", "--epsilon", epsilon, "--query", privateQuery)
	return err
}

// inBudgets are attacks on a budget that is used up.
func (s *swindler) inBudgets() []attempt {
	spent := func(file string) func(context.Context) (string, error, error) {
		return func(ctx context.Context) (string, error, error) {
			if file != privateFile {
				if err := s.agreePrivately(ctx, strings.TrimSuffix(file, ".json")); err != nil {
					return "", nil, err
				}
			}
			return s.byCommand(ctx, "broker, which the room asked", s.as(agency, "run", s.path(file), "--work", "ask", "--epsilon", "0.1", "--query", privateQuery,
				"--host", s.hostURL, "--out", s.path("stolen"))...)
		}
	}
	return []attempt{
		{"a question after the budget is used up", spent(privateFile), []string{"budget.epsilon"}},
		{"the same under a twin of the agreement", spent("twin.json"), []string{"budget.epsilon"}},
	}
}
