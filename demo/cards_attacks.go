package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// attacks has everybody cheat: the agency in its queries, the grocer with its data, the host
// with what was signed.
func (m *market) attacks(ctx context.Context) error {
	m.chapter("Now everyone cheats. Each attack is tried for real, one after the other")
	e := &enemy{study: m.study}
	var err error
	if e.programs, err = e.loadPrograms("strongroom-agent"); err != nil {
		return fmt.Errorf("preparing the attacks: %w", err)
	}
	defer e.programs.Close()
	if e.study1, err = e.readAgreement(offersFile); err != nil {
		return err
	}
	s := &swindler{market: m, enemy: e}
	if err := m.attack(ctx, m.report, slices.Concat(s.inQueries(), s.beside(), s.inBudgets())); err != nil {
		return err
	}
	return m.report.Err()
}

// swindler is what the attacks on a clean room work with.
type swindler struct {
	*market
	enemy *enemy
}

// asked is an attack by a query that no honest tool would send: it is signed and given to a room
// as it is.
func (s *swindler) asked(name, rule, query string) attempt {
	return attempt{name, func(ctx context.Context) (string, error, error) {
		job, err := s.job(query)
		if err != nil {
			return "", nil, err
		}
		refusal := s.enemy.room(ctx, job, s.enemy.config())
		return byRoom(refusal), refusal, nil
	}, []string{"sql." + rule}}
}

// checked is an attack by a query that the agency's own tool refuses already.
func (s *swindler) checked(name, rule, query string) attempt {
	return attempt{name, func(ctx context.Context) (string, error, error) {
		return s.byCommand(ctx, "strongroom run, before anything is sent", s.as(agency, "run", s.path(offersFile), "--work", "ask", "--query", query,
			"--host", s.hostURL, "--out", s.path("stolen"))...)
	}, []string{"sql." + rule}}
}

// request is a signed request for a query, changed before it is signed.
func (s *swindler) request(query string, change func(*agreement.Run)) (*agreement.SignedRun, error) {
	work, _ := s.enemy.study1.WorkByName("ask")
	return s.enemy.requestOf(s.enemy.study1, work, agreement.Run{Parameters: map[string]string{}, Query: query}, change)
}

// job is a run of a query for a room.
func (s *swindler) job(query string) (host.Job, error) {
	run, err := s.request(query, nil)
	if err != nil {
		return host.Job{}, err
	}
	return s.enemy.job(s.enemy.study1, run, s.path(hostHome, "data"))
}

// inQueries are attacks of whoever asks.
func (s *swindler) inQueries() []attempt {
	heavy := s.sample.Truth.Heavy[0]
	return []attempt{
		s.asked("a query for the rows themselves", "query.expression", "SELECT * FROM customers"),
		s.asked("a query with a row for each person", "query.unit", "SELECT email, sum(amount) AS paid FROM payments GROUP BY email"),
		s.asked("a query about one person, by address", "query.unit", "SELECT sum(amount) AS paid FROM payments WHERE email = '"+heavy+"'"),
		s.asked("a query about all but one person", "query.unit", "SELECT sum(amount) AS paid FROM payments WHERE email <> '"+heavy+"'"),
		s.asked("a query for the largest value", "query.function", "SELECT max(income) AS income FROM customers"),
		s.asked("a query that reads the list of who objected", "query.table", `SELECT count(*) AS n FROM "bank-objections"`),
		s.asked("a query that reads a file of the room's", "query.table", "SELECT count(*) AS n FROM read_text('/proc/self/environ')"),
		s.checked("a query that finds people by their income", "query.role", "SELECT count(*) AS n FROM customers WHERE income > 90000"),
		s.checked("a query for the numbers of cards", "query.role", "SELECT card, count(*) AS n FROM payments GROUP BY card"),
		s.checked("a query that joins by what is no identifier", "query.join", "SELECT count(*) AS n FROM customers c JOIN visits v ON c.branch = v.store"),
		s.checked("a query that fails on one person's row", "query.cast", "SELECT count(*) AS n FROM customers WHERE CAST(branch AS INTEGER) > 0"),
		s.checked("two statements in one", "query.statement", "SELECT count(*) AS n FROM customers; SELECT count(*) AS n FROM visits"),
		{"a group of one person less than the minimum", s.smallGroup, []string{"output.min-group"}},
		{"a condition that only few people meet", s.fewPeople, []string{"output.min-group"}},
		{"the difference of two answers, each of enough people", s.difference, []string{"output.min-group"}},
	}
}

// beside are attacks beside the queries.
func (s *swindler) beside() []attempt {
	return []attempt{
		{"query changed by the host", s.changeQuery, []string{"run.signatures"}},
		{"agreed query changed by the host", s.changeAgreed, []string{"agreement.signatures"}},
		{"a party that may not ask asks", s.bankAsks, []string{"run.may-run"}},
		{"an answer opened by the wrong party", s.wrongParty, []string{"sealed.recipient", "open.recipient", "result.receiver"}},
		{"the list of who objected left as it was", s.oldList, []string{"input.current"}},
		{"the grocer choosing whom the bank's people are grouped with", s.otherVersion, []string{"run.datasets"}},
	}
}

// smallGroup asks for stores: one has too few of the bank's customers.
func (s *swindler) smallGroup(ctx context.Context) (string, error, error) {
	return s.withheld(ctx, "store-one-too-few", "SELECT v.store, count(DISTINCT c.email) AS n FROM customers c JOIN visits v ON c.email = v.email GROUP BY v.store")
}

// fewPeople asks about a branch with too few customers, as a sum over all.
func (s *swindler) fewPeople(ctx context.Context) (string, error, error) {
	return s.withheld(ctx, "", "SELECT sum(CASE WHEN branch = 'branch-one-too-few' THEN income ELSE 0 END) AS n FROM customers")
}

// difference asks again what was answered, less a branch with too few customers: of that branch
// the difference would tell.
func (s *swindler) difference(ctx context.Context) (string, error, error) {
	return s.withheld(ctx, "", "SELECT count(*) AS n FROM customers WHERE branch <> 'branch-one-too-few'")
}

// withheld asks what must not show: a row with the text, or any row.
func (s *swindler) withheld(ctx context.Context, text, query string) (string, error, error) {
	_, answer, err := s.answer(ctx, s.quiet, offersFile, "stolen", "--work", "ask", "--query", query)
	if err != nil {
		if verdict.As(err).Kind == verdict.Broken {
			return "", nil, err
		}
		return "", nil, fmt.Errorf("the query itself was refused: %w", err)
	}
	_, rows, _ := strings.Cut(answer, "\n")
	if text == "" && rows != "" || text != "" && strings.Contains(rows, text) {
		return "nobody", nil, nil
	}
	return "room", verdict.Refuse("output.min-group", "at least 10 people of each side in whatever shows", "fewer: it was withheld", "no mend: this is the rule"), nil
}

// changeQuery has the host put another query into a signed request.
func (s *swindler) changeQuery(ctx context.Context) (string, error, error) {
	job, err := s.job("SELECT tier, count(*) AS n FROM offers GROUP BY tier")
	if err != nil {
		return "", nil, err
	}
	if err := replace(&job.Run, "GROUP BY tier", "GROUP BY offer"); err != nil {
		return "", nil, err
	}
	refusal := s.enemy.room(ctx, job, s.enemy.config())
	return byRoom(refusal), refusal, nil
}

// changeAgreed has the host lower the minimum group.
func (s *swindler) changeAgreed(ctx context.Context) (string, error, error) {
	job, err := s.job("SELECT tier, count(*) AS n FROM offers GROUP BY tier")
	if err != nil {
		return "", nil, err
	}
	if err := replace(&job.Agreement, `"min_group":10`, `"min_group":2`); err != nil {
		return "", nil, err
	}
	refusal := s.enemy.room(ctx, job, s.enemy.config())
	return byRoom(refusal), refusal, nil
}

// bankAsks has the bank ask in the agency's place.
func (s *swindler) bankAsks(ctx context.Context) (string, error, error) {
	return s.byCommand(ctx, "strongroom run, the bank's", s.as(bank, "run", s.path(offersFile), "--work", "ask", "--query", "SELECT tier, count(*) AS n FROM offers GROUP BY tier",
		"--host", s.hostURL, "--out", s.path("stolen"))...)
}

// otherVersion has the grocer make offers with tiers of its choice, after the bank has signed,
// and the agency ask over them. It does so in a copy of its home: its own broker is not asked.
func (s *swindler) otherVersion(ctx context.Context) (string, error, error) {
	text := strings.ReplaceAll(string(s.sample.File("offers").Data), ",plus,", ",chosen,")
	file, dir := s.path(grocer, "chosen.csv"), s.path("chosen")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	for from, to := range map[string]string{s.path(grocer): s.path("grocer-twin"), s.path(hostHome, "data"): dir} {
		if err := copyTree(from, to); err != nil {
			return "", nil, err
		}
	}
	digest, err := s.publishFile(ctx, s.quiet, "grocer-twin", "offers", file, dir)
	if err != nil {
		return "", nil, err
	}
	return s.over(ctx, dir, "grocer-offers", digest, "SELECT o.tier, count(*) AS n FROM offers o JOIN customers c ON o.email = c.email GROUP BY o.tier")
}

// oldList has the host serve the list as it was before the customer objected.
func (s *swindler) oldList(ctx context.Context) (string, error, error) {
	return s.over(ctx, s.path(hostHome, "data"), "bank-objections", s.statements["objections"], "SELECT count(*) AS n FROM customers")
}

// over asks over a version of an input, from a directory, that is not the agreed or current one.
func (s *swindler) over(ctx context.Context, dir string, input wire.ID, digest, query string) (string, error, error) {
	version, err := wire.ParseDigest(digest)
	if err != nil {
		return "", nil, err
	}
	run, err := s.request(query, func(r *agreement.Run) {
		for i := range r.Datasets {
			if r.Datasets[i].Input == input {
				r.Datasets[i].Statement = version
			}
		}
	})
	if err != nil {
		return "", nil, err
	}
	job, err := s.enemy.job(s.enemy.study1, run, dir)
	if err != nil {
		return "", nil, err
	}
	refusal := s.enemy.room(ctx, job, s.enemy.config())
	return byRoom(refusal), refusal, nil
}

// wrongParty has the bank open what was sealed to the agency.
func (s *swindler) wrongParty(ctx context.Context) (string, error, error) {
	files, err := filepath.Glob(s.path(results, "*.age"))
	if err != nil || len(files) == 0 {
		return "", nil, fmt.Errorf("%d answers: %w", len(files), err)
	}
	return s.byCommand(ctx, "strongroom open, the bank's", s.as(bank, "open", files[0], "--out", s.path("stolen.csv"))...)
}
