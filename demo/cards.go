package demo

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	cardoffers "strongroom.dev/examples/card-offers"
	"strongroom.dev/internal/cards"
)

// market is the world of a bank and a grocer, whose data an agency asks about.
type market struct {
	*study
	sample     *cards.Sample
	statements map[string]string // digests of what was published, by dataset
	answers    int               // results that the agency got
}

// The folders of the market beside those of every study.
const (
	bank   = "bank"
	grocer = "grocer"
	agency = "agency"
)

// offersFile is the signed agreement.
const offersFile = "offers.json"

// Cards tells the story of a clean room: a bank and a grocer let an agency ask about their
// customers together, in queries that nobody has to approve, under rules that every answer
// keeps; and what queries, parties and hosts that cheat get. The report is complete up to the
// point where an error stopped it.
func Cards(ctx context.Context, c Config) (*Report, error) {
	w, err := newWorld(c)
	if err != nil {
		return nil, err
	}
	defer w.close()
	m := &market{statements: map[string]string{}, study: newStudy(w, [3]player{
		{bank, "savings-bank", "The Savings Bank"}, {grocer, "corner-grocer", "The Corner Grocer"}, {agency, "agency", "Agency for Numbers"},
	})}
	m.tell("INSECURE: this demo's rooms run on the dev platform. Whoever runs this machine can read them;")
	m.tell("everything else is real. Everybody in the data is made up. The world is made in %s", m.Dir)
	return m.report, m.tellAll(ctx, m.report, []chapter{
		{"parties", m.makeParties}, {"ledger", m.startLedger}, {"platform", m.measure}, {"data", m.sealSample}, {"agreement", m.agreeOffers},
		{"brokers", m.startBrokers}, {"host", m.startHost}, {"objection", m.object}, {"named", m.askNamed}, {"ad-hoc", m.askFreely}, {"private", m.askPrivately},
		{"proof", m.prove}, {"attacks", m.attacks}, {"redo", m.leave},
	})
}

// sealSample makes the data and has each side seal its own, before anything is agreed.
func (m *market) sealSample(ctx context.Context) error {
	m.chapter("Bank and grocer seal their data first: the agreement will name these very versions")
	var err error
	if m.sample, err = cards.Generate(cards.Default()); err != nil {
		return err
	}
	if _, err := m.do(ctx, "sample", "cards", "--out", m.path("cards")); err != nil {
		return err
	}
	if err := os.MkdirAll(m.path(hostHome, "data"), 0o700); err != nil {
		return err
	}
	for _, f := range m.sample.Files {
		digest, err := m.publishFile(ctx, m.do, f.Owner, f.Dataset, m.path("cards", f.Path()), m.path(hostHome, "data"))
		if err != nil {
			return err
		}
		m.statements[f.Dataset] = digest
	}
	m.tell("  %d customers, %d members; %d are both, and neither side learns which", m.sample.Truth.Customers, m.sample.Truth.Members, m.sample.Truth.Shared)
	return nil
}

// publishFile seals a file as the next version of a dataset, from an owner's folder into a
// directory, and gives its statement's digest.
func (m *market) publishFile(ctx context.Context, show shown, folder, dataset, file, dir string) (string, error) {
	f := m.sample.File(dataset)
	args := m.as(folder, "dataset", "publish", file, "--dataset", dataset, "--schema-file", m.path("cards", f.SchemaPath()), "--out", dir)
	if f.UniqueUnit {
		args = append(args, "--unique-unit")
	}
	out, err := show(ctx, args...)
	if err != nil {
		return "", err
	}
	var published struct{ Digest string }
	return published.Digest, json.Unmarshal(out, &published)
}

// agreeOffers writes, explains, signs and activates the agreement.
func (m *market) agreeOffers(ctx context.Context) error {
	m.chapter("They agree on rules, not on every query: who counts, what may be grouped by, who is left out")
	if err := m.fill("offers.yaml", cardoffers.Agreement, time.Now().AddDate(1, 0, 0), m.versions()); err != nil {
		return err
	}
	m.tell("  offers.yaml is the example's agreement.yaml with the fingerprints, versions and measurements from above.")
	if _, err := m.do(ctx, m.as(bank, "agreement", "check", m.path("offers.yaml"))...); err != nil {
		return err
	}
	out, err := m.do(ctx, m.as(bank, "agreement", "explain", m.path("offers.yaml"))...)
	if err != nil {
		return err
	}
	var explained struct{ Text string }
	if err := json.Unmarshal(out, &explained); err != nil {
		return err
	}
	m.tellStart(explained.Text, 12)
	m.tell("  | ... and so on, in offers.explained.txt")
	if err := os.WriteFile(m.path("offers.explained.txt"), []byte(explained.Text), 0o644); err != nil {
		return err
	}
	_, err = m.agree(ctx, m.do, "offers.yaml")
	return err
}

// versions fills the blanks for what was published.
func (m *market) versions() (pairs []string) {
	for dataset, digest := range m.statements {
		pairs = append(pairs, "<"+dataset+">", digest)
	}
	return pairs
}

// askNamed asks the question that the agreement names.
func (m *market) askNamed(ctx context.Context) error {
	m.chapter("The agency asks what was agreed by name: do the offers change what members pay by card?")
	_, err := m.ask(ctx, m.do, "offer-effect", "--work", "offer-effect", "--param", "category=groceries")
	return err
}

// freely are questions that nobody approved: the rules alone decide.
func freely() []struct{ name, about, query string } {
	return []struct{ name, about, query string }{
		{"everybody", "How many customers are there? The bank has 1500; 6 of them have objected.", "SELECT count(*) AS customers FROM customers"},
		{"reach", "How many of each segment's customers are members of the grocer's?",
			"SELECT c.segment, count(*) AS customers, count(o.email) AS members, round(avg(c.income), 0) AS income FROM customers c LEFT JOIN offers o ON c.email = o.email GROUP BY c.segment ORDER BY members DESC"},
		{"stores", "Which stores do the bank's customers go to? Three have 8, 10 and 11 of them: that with too few does not show.",
			"SELECT v.store, count(DISTINCT c.email) AS customers FROM customers c JOIN visits v ON c.email = v.email GROUP BY v.store ORDER BY customers DESC, store"},
		{"months", "What is spent on groceries, month by month?",
			"SELECT month(day) AS m, count(DISTINCT email) AS customers, round(avg(amount), 2) AS mean FROM payments WHERE category = 'groceries' GROUP BY 1 ORDER BY 1"},
	}
}

// askFreely asks ad-hoc questions.
func (m *market) askFreely(ctx context.Context) error {
	m.chapter("It goes on with questions of its own. Nobody reads them first: the room holds them to the rules")
	for _, q := range freely() {
		m.tell("  %s", q.about)
		if _, err := m.do(ctx, m.as(agency, "sql", "check", "--agreement", m.path(offersFile), "--query", q.query)...); err != nil {
			return err
		}
		if _, err := m.ask(ctx, m.do, q.name, "--work", "ask", "--query", q.query); err != nil {
			return err
		}
	}
	return nil
}

// ask runs a question, opens the answer and notes it under a name.
func (m *market) ask(ctx context.Context, show shown, name string, what ...string) (string, error) {
	return m.askUnder(ctx, show, offersFile, name, what...)
}

// askUnder is ask under another agreement.
func (m *market) askUnder(ctx context.Context, show shown, file, name string, what ...string) (string, error) {
	r, text, err := m.answer(ctx, show, file, results, what...)
	if err != nil {
		return "", err
	}
	m.answers++
	m.report.Results[name] = map[string]any{"run_id": r.RunID, "asked": what, "csv": text, "class": r.Results[0].Class}
	for line := range strings.Lines(text) {
		m.tell("  | %s", strings.TrimRight(line, "\n"))
	}
	return text, nil
}

// answer runs a question into a folder and gives the opened answer.
func (m *market) answer(ctx context.Context, show shown, file, dir string, what ...string) (r ran, text string, err error) {
	args := append(m.as(agency, "run", m.path(file)), what...)
	out, err := show(ctx, append(args, "--host", m.hostURL, "--out", m.path(dir))...)
	if err != nil {
		return r, "", err
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, "", err
	}
	if len(r.Results) == 0 {
		return r, "", broken("demo.run", "a result", "none")
	}
	text, err = m.read(ctx, show, r.Results[0].File)
	return r, text, err
}

// object has one more customer object before anything is asked: nobody signs anything.
func (m *market) object(ctx context.Context) error {
	m.chapter("A customer objects. The bank seals its list anew: every run from now on is without her")
	list := m.path("cards", m.sample.File("objections").Path())
	data, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	who, _, _ := strings.Cut(strings.Split(string(m.sample.File("customers").Data), "\n")[1], ",")
	if err := os.WriteFile(list, append(data, []byte(strings.ToUpper(who)+"\n")...), 0o600); err != nil {
		return err
	}
	_, err = m.publishFile(ctx, m.do, bank, "objections", list, m.path(hostHome, "data"))
	return err
}

// prove has a stranger check every answer, and says what each party could see.
func (m *market) prove(ctx context.Context) error {
	if err := m.proveAll(ctx, m.answers); err != nil {
		return err
	}
	m.chapter("Who saw what")
	m.tell("  Bank     its own rows; what was asked, by whom, when; how many rows of answers its people kept back.")
	m.tell("  Grocer   the same, the other way round. Neither learns who is the other's customer too.")
	m.tell("  Agency   the tables above: no row, no address, no cell with 1 to 9 people of either side.")
	m.tell("  Ledger   that runs took place under which agreement. Nothing about the data, and not the queries.")
	m.tell("  Host     sealed files and their sizes, when rooms ran. On dev, INSECURE, also the room's memory if it looks.")
	return nil
}

// leave says how to go on by hand.
func (m *market) leave(context.Context) error {
	m.chapter("To do it again by hand")
	m.tell("  This world stays. Its servers have stopped; start them again with:")
	m.tell("  $ cd '%s' && PATH='%s':$PATH", quoteInside(m.Dir), quoteInside(filepath.Dir(m.Command)))
	for _, srv := range []*server{m.ledger, m.brokers[bank], m.brokers[grocer], m.host} {
		m.showCommand(append(append([]string{}, srv.args...), "&"))
	}
	m.tell("  and ask whatever the rules let pass:")
	m.showCommand(m.as(agency, "run", m.path(offersFile), "--work", "ask", "--query", "SELECT tier, count(*) AS members FROM offers GROUP BY tier", "--host", m.hostURL, "--out", "mine"))
	m.tell("  $ strongroom --home agency open mine/*.age && cat mine/*.csv")
	return nil
}
