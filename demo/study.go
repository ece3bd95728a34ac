package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest/dev"
	"strongroom.dev/examples/hospitals"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// player is who takes part in a study, by the folder of its home.
type player struct{ folder, name, title string }

// study is a world of two parties that bring data and one that asks: who takes part, where they
// listen, and what they agreed.
type study struct {
	*world
	report *Report
	cast   [3]player // the owners, then who asks

	brokers   map[string]*server // by party folder
	addresses map[string]string
	ledger    *server
	ledgerKey string
	ledgerURL string
	origin    string
	host      *server
	hostURL   string
	root      *keys.SigningKey // the development root: on dev, whoever hosts holds it
	measured  dev.Measurement
	parties   []*agreement.SignedParty
}

// The folders of the world, one for each who takes part.
const (
	alpha      = "alpha"
	beta       = "beta"
	researcher = "researcher"
	hostHome   = "host"
	ledgerDir  = "ledger"
	results    = "results"
)

// hospitalCast is the cast of the hospitals' study.
func hospitalCast() [3]player {
	return [3]player{{alpha, "alpha-hospital", "Alpha Hospital"}, {beta, "beta-hospital", "Beta Hospital"}, {researcher, "researcher", "Institute of Research"}}
}

// newStudy is a study before anybody is known.
func newStudy(w *world, cast [3]player) *study {
	return &study{world: w, cast: cast, brokers: map[string]*server{}, addresses: map[string]string{}, report: newReport()}
}

// owners are the folders of who brings data, asker that of who asks.
func (s *study) owners() []string    { return []string{s.cast[0].folder, s.cast[1].folder} }
func (s *study) asker() string       { return s.cast[2].folder }
func (s *study) everybody() []string { return append(s.owners(), s.asker()) }

// as gives a call by the party of a folder.
func (s *study) as(folder string, args ...string) []string {
	return append([]string{"--home", s.path(folder)}, args...)
}

// makeParties makes three parties that pin each other's descriptors.
func (s *study) makeParties(ctx context.Context) error {
	s.chapter("Three parties make themselves known and check each other's fingerprints")
	for _, p := range s.cast {
		args := s.as(p.folder, "party", "init", "--name", p.name, "--title", p.title, "--domain", p.name+".example")
		if p.folder == s.asker() {
			args = append(args, "--no-data")
		} else {
			address, err := freePort()
			if err != nil {
				return err
			}
			s.addresses[p.folder] = address
			args = append(args, "--broker-address", address, "--operator", p.title+", in house")
		}
		if _, err := s.do(ctx, args...); err != nil {
			return err
		}
		if _, err := s.do(ctx, s.as(p.folder, "party", "show", "--out", s.path(p.folder+".party.json"))...); err != nil {
			return err
		}
	}
	return s.exchange(ctx)
}

func (s *study) exchange(ctx context.Context) error {
	all := s.everybody()
	for _, reader := range all {
		for _, other := range all {
			if reader == other {
				continue
			}
			if _, err := s.do(ctx, s.as(reader, "party", "add", s.path(other+".party.json"), "--checked", "fingerprint read out on the telephone")...); err != nil {
				return err
			}
		}
	}
	for _, folder := range all {
		data, err := os.ReadFile(s.path(folder + ".party.json"))
		if err != nil {
			return err
		}
		p, err := agreement.ParseParty(data)
		if err != nil {
			return err
		}
		s.parties = append(s.parties, p)
	}
	return nil
}

// party gives a party's descriptor by folder.
func (s *study) party(folder string) *agreement.SignedParty {
	return s.parties[slices.Index(s.everybody(), folder)]
}

// startLedger starts the shared ledger.
func (s *study) startLedger(ctx context.Context) error {
	s.chapter("A shared ledger witnesses what the brokers record")
	address, err := freePort()
	if err != nil {
		return err
	}
	args := []string{"ledger", "serve", "--dir", s.path(ledgerDir), "--listen", address, "--origin", "ledger.example"}
	for _, folder := range s.owners() {
		args = append(args, "--witness", s.party(folder).Broker.LogKey)
	}
	if s.ledger, err = s.serve(ctx, ledgerDir, args...); err != nil {
		return err
	}
	key, _ := s.ledger.ready["key"].(string)
	if key == "" {
		return broken("demo.ledger", "the ledger's key in its ready line", fmt.Sprint(s.ledger.ready))
	}
	s.ledgerKey, s.ledgerURL, s.origin = key, "http://"+address, "ledger.example"
	return nil
}

// measure prepares the host: its development root and what its room image measures.
func (s *study) measure(ctx context.Context) error {
	s.chapter("The host says what its rooms measure. Its platform is dev: INSECURE, it keeps nobody on this machine out")
	return s.measureAs(ctx, hostHome)
}

// measureAs makes a folder's owner a host of dev rooms.
func (s *study) measureAs(ctx context.Context, folder string) error {
	if _, err := s.do(ctx, s.as(folder, "host", "root")...); err != nil {
		return err
	}
	var err error
	if s.measured, err = s.measureImage(ctx); err != nil {
		return err
	}
	h, err := home.Open(s.path(folder))
	if err != nil {
		return err
	}
	s.root, err = h.DevRoot(false)
	return err
}

// measureImage asks the command what the room image measures.
func (w *world) measureImage(ctx context.Context) (m dev.Measurement, err error) {
	out, err := w.do(ctx, "image", "measure", "--platform", "dev")
	if err != nil {
		return m, err
	}
	var image struct{ Values map[string]string }
	if err := json.Unmarshal(out, &image); err != nil {
		return m, err
	}
	return measurement(image.Values)
}

func measurement(values map[string]string) (m dev.Measurement, err error) {
	m.Helpers = map[string]wire.Digest{}
	for name, hex := range values {
		d, err := wire.ParseDigest("sha384:" + hex)
		if err != nil {
			return m, err
		}
		if helper, found := strings.CutPrefix(name, "helper/"); found {
			m.Helpers[helper] = d
		} else {
			m.Agent = d
		}
	}
	return m, nil
}

// edit is a change to the text of an agreement.
type edit struct{ old, new string }

// writeAgreement writes an agreement.yaml like that of the example, filled in and changed.
func (s *study) writeAgreement(file string, until time.Time, edits ...edit) error {
	text, err := hospitals.Files.ReadFile("agreement.yaml")
	if err != nil {
		return err
	}
	return s.fill(file, string(text), until, nil, edits...)
}

// fill writes an agreement with its blanks filled in with what the world has, and more, and
// changed.
func (s *study) fill(file, text string, until time.Time, more []string, edits ...edit) error {
	values := s.measured.Named()
	pairs := append([]string{
		"<from>", wire.At(time.Now().Add(-time.Minute)).String(), "<until>", wire.At(until).String(),
		"<root>", s.root.Public().ID().String(), "<agent>", values["agent"], "<helper>", values["helper/strongroom-sql"], "<ledger>", s.ledgerKey,
	}, more...)
	for _, folder := range s.everybody() {
		pairs = append(pairs, "<"+folder+">", s.party(folder).Digest().String())
	}
	filled := strings.NewReplacer(pairs...).Replace(text)
	for _, e := range edits {
		if !strings.Contains(filled, e.old) {
			return broken("demo.agreement", "the text "+e.old+" in the example's agreement", "another")
		}
		filled = strings.ReplaceAll(filled, e.old, e.new)
	}
	return os.WriteFile(s.path(file), []byte(filled), 0o644)
}

// agree has all three sign an agreement and both owners activate it. show is how it is
// told: do or quiet.
func (s *study) agree(ctx context.Context, show func(context.Context, ...string) ([]byte, error), yaml string) (string, error) {
	signed := strings.TrimSuffix(yaml, ".yaml") + ".json"
	first, second := s.cast[0].folder, s.cast[1].folder
	steps := [][]string{
		s.as(first, "agreement", "sign", s.path(yaml), "--out", s.path(signed), "--yes"),
		s.as(second, "agreement", "sign", s.path(signed), "--yes"),
		s.as(s.asker(), "agreement", "sign", s.path(signed), "--yes"),
		s.as(first, "agreement", "activate", s.path(signed)),
		s.as(second, "agreement", "activate", s.path(signed)),
	}
	for _, args := range steps {
		if _, err := show(ctx, args...); err != nil {
			return "", err
		}
	}
	return signed, nil
}

// sealData seals each hospital's patients and brings the sealed files to the host.
func (s *study) sealData(ctx context.Context) error {
	s.chapter("Each hospital seals its patients, in its own house. The host gets the sealed files")
	if err := os.MkdirAll(s.path(hostHome, "data"), 0o700); err != nil {
		return err
	}
	s.tell("  The patients are in alpha/alpha.csv and beta/beta.csv, in the clear, each at home.")
	for _, folder := range []string{alpha, beta} {
		if err := s.publish(ctx, s.do, folder, folder+".csv", s.path(hostHome, "data")); err != nil {
			return err
		}
	}
	return nil
}

// publish seals an example file as the next version of a hospital's dataset.
func (s *study) publish(ctx context.Context, show func(context.Context, ...string) ([]byte, error), folder, file, dir string) error {
	data, err := hospitals.Files.ReadFile(file)
	if err != nil {
		return err
	}
	plain := s.path(folder, file)
	if err := os.WriteFile(plain, data, 0o600); err != nil {
		return err
	}
	_, err = show(ctx, s.as(folder, "dataset", "publish", plain, "--dataset", "tumours", "--schema", s.path("study.json"), "--out", dir)...)
	return err
}

// startBrokers starts both owners' brokers.
func (s *study) startBrokers(ctx context.Context) error {
	s.chapter("Each owner of data runs its own broker, which alone can release its key")
	for i, folder := range s.owners() {
		other := s.owners()[1-i]
		origin, err := originOf(s.party(other))
		if err != nil {
			return err
		}
		b, err := s.serve(ctx, folder+"-broker", s.as(folder, "broker", "serve", "--listen", s.addresses[folder], "--insecure-allow-software",
			"--witness", s.ledgerURL+"="+s.ledgerKey, "--peer", origin+"=http://"+s.addresses[other])...)
		if err != nil {
			return err
		}
		s.brokers[folder] = b
	}
	return nil
}

func originOf(p *agreement.SignedParty) (string, error) {
	origin, _, found := strings.Cut(p.Broker.LogKey, "+")
	if !found {
		return "", broken("demo.party", "a log key with its origin", p.Broker.LogKey)
	}
	return origin, nil
}

// startHost starts the host.
func (s *study) startHost(ctx context.Context) error {
	s.chapter("The host serves rooms")
	address, err := freePort()
	if err != nil {
		return err
	}
	s.hostURL = "http://" + address
	s.host, err = s.serve(ctx, hostHome+"-serve", s.as(hostHome, "host", "serve", "--listen", address, "--data", s.path(hostHome, "data"), "--ledger", s.origin+"="+s.ledgerURL)...)
	return err
}

func broken(check, expected, got string) error {
	return &verdict.Error{Kind: verdict.Broken, Check: check, Expected: expected, Got: got, Fix: "this is a defect: please report it"}
}
