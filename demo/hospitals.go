package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Hospitals tells the story of two hospitals and a researcher: one agreed study, three
// questions over both hospitals' patients, and every attempt to cheat refused. The report is
// complete up to the point where an error stopped it.
func Hospitals(ctx context.Context, c Config) (*Report, error) {
	w, err := newWorld(c)
	if err != nil {
		return nil, err
	}
	defer w.close()
	s := newStudy(w, hospitalCast())
	s.tell("INSECURE: this demo's rooms run on the dev platform. Whoever runs this machine can read them;")
	s.tell("everything else is real. The world is made in %s", s.Dir)
	return s.report, s.tellAll(ctx, s.report, []chapter{
		{"parties", s.makeParties}, {"ledger", s.startLedger}, {"platform", s.measure}, {"agreement", s.agreeStudy}, {"data", s.sealData},
		{"brokers", s.startBrokers}, {"host", s.startHost}, {"runs", s.ask}, {"proof", s.prove}, {"attacks", s.attacks}, {"redo", s.leave},
	})
}

// agreeStudy writes, explains, signs and activates the study.
func (s *study) agreeStudy(ctx context.Context) error {
	s.chapter("They agree: one page of YAML, read as plain sentences, signed by all, activated by each owner")
	if err := s.writeAgreement("study.yaml", time.Now().AddDate(1, 0, 0)); err != nil {
		return err
	}
	s.tell("  study.yaml is the example's agreement.yaml with the fingerprints, measurements and keys from above.")
	if _, err := s.do(ctx, s.as(alpha, "agreement", "check", s.path("study.yaml"))...); err != nil {
		return err
	}
	out, err := s.do(ctx, s.as(alpha, "agreement", "explain", s.path("study.yaml"))...)
	if err != nil {
		return err
	}
	var explained struct{ Text string }
	if json.Unmarshal(out, &explained) == nil {
		s.tellStart(explained.Text, 24)
		if err := os.WriteFile(s.path("study.explained.txt"), []byte(explained.Text), 0o644); err != nil {
			return err
		}
		s.tell("  | ... and so on, in study.explained.txt")
	}
	_, err = s.agree(ctx, s.do, "study.yaml")
	return err
}

// question is one run of the story.
type question struct{ work, param string }

var questions = [3]question{
	{"means-by-diagnosis", "min_area=500"},
	{"sizes", "threshold=15.0"},
	{"malignant-share", "concavity=0.05"},
}

// ran is what `run` printed.
type ran struct {
	RunID   string `json:"run_id"`
	Room    string `json:"room"`
	Results []struct{ Output, Receiver, File, Proof, Class string }
}

// ask has the researcher ask the three questions.
func (s *study) ask(ctx context.Context) error {
	s.chapter("The researcher asks three questions over both hospitals' patients")
	for _, q := range questions {
		r, err := s.run(ctx, s.do, "study.json", q, results)
		if err != nil {
			return err
		}
		text, err := s.read(ctx, s.do, r.Results[0].File)
		if err != nil {
			return err
		}
		s.report.Results[q.work] = map[string]any{"run_id": r.RunID, "parameter": q.param, "csv": text, "class": r.Results[0].Class}
		for line := range strings.Lines(text) {
			s.tell("  | %s", strings.TrimRight(line, "\n"))
		}
	}
	return nil
}

// run asks one question and gives what `run` said.
func (s *study) run(ctx context.Context, show func(context.Context, ...string) ([]byte, error), agreement string, q question, out string, more ...string) (r ran, err error) {
	args := s.as(s.asker(), "run", s.path(agreement), "--work", q.work, "--param", q.param, "--host", s.hostURL, "--out", s.path(out))
	data, err := show(ctx, append(args, more...)...)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, err
	}
	if len(r.Results) == 0 {
		return r, broken("demo.run", "a result", "none")
	}
	return r, nil
}

// read opens a result as its receiver and gives its text.
func (s *study) read(ctx context.Context, show func(context.Context, ...string) ([]byte, error), file string) (string, error) {
	plain := strings.TrimSuffix(file, ".age") + ".csv"
	if _, err := show(ctx, s.as(s.asker(), "open", file, "--out", plain)...); err != nil {
		return "", err
	}
	data, err := os.ReadFile(plain)
	return string(data), err
}

// prove has a stranger check every result offline, with roots of its own, and says what each
// party could and could not see.
func (s *study) prove(ctx context.Context) error {
	if err := s.proveAll(ctx, len(questions)); err != nil {
		return err
	}
	s.chapter("Who saw what")
	s.tell("  Alpha Hospital  its own patients; who asked for which run, when; whether its key was used. No row of Beta's, no result.")
	s.tell("  Beta Hospital   the same, the other way round.")
	s.tell("  Researcher      the three tables above: no row, no cell with 1 to 9 patients of either hospital.")
	s.tell("  Ledger          that a run took place under which agreement. Nothing about the data.")
	s.tell("  Host            sealed files and their sizes, when rooms ran. On dev, INSECURE, also the room's memory if it looks.")
	return nil
}

// proveAll has a stranger check every result there is, offline.
func (s *study) proveAll(ctx context.Context, count int) error {
	s.chapter("A stranger checks the proofs, offline, with the fingerprints it was given itself")
	proofs, err := filepath.Glob(s.path(results, "*.proof"))
	if err != nil {
		return err
	}
	for _, file := range proofs {
		args := s.as("stranger", "receipt", "verify", file, "--file", strings.TrimSuffix(file, ".proof")+".age", "--root", s.root.Public().ID().String(), "--ledger", s.ledgerKey)
		for _, folder := range s.everybody() {
			args = append(args, "--party", s.path(folder+".party.json"))
		}
		out, err := s.do(ctx, args...)
		if err != nil {
			return err
		}
		s.report.Receipts = append(s.report.Receipts, json.RawMessage(out))
		var proven struct {
			Verdict, Class string
			Checks         []struct{ ID string }
		}
		if err := json.Unmarshal(out, &proven); err != nil {
			return err
		}
		s.tell("  %s: %s, class %s, %d checks", filepath.Base(file), proven.Verdict, proven.Class, len(proven.Checks))
	}
	if len(proofs) != count {
		return broken("demo.proof", fmt.Sprintf("%d proofs", count), fmt.Sprint(len(proofs)))
	}
	return nil
}

// leave says how to go on by hand.
func (s *study) leave(context.Context) error {
	s.chapter("To do it again by hand")
	if err := s.writeByHand(); err != nil {
		return err
	}
	s.tell("  Every line from the first key to the last proof stands in by-hand.sh. Type them, or run them all:")
	s.tell("  $ cd '%s' && PATH='%s':$PATH", quoteInside(s.Dir), quoteInside(filepath.Dir(s.Command)))
	s.tell("  $ bash by-hand.sh by-hand")
	s.tell("  This world stays too. Its servers have stopped; start them again with:")
	for _, srv := range []*server{s.ledger, s.brokers[alpha], s.brokers[beta], s.host} {
		s.showCommand(append(append([]string{}, srv.args...), "&"))
	}
	s.tell("  and ask anything that version 2 of the agreement allows; version 1 was superseded in an attack:")
	s.showCommand(s.as(researcher, "run", "study-2.json", "--work", "sizes", "--param", "threshold=12.5", "--host", s.hostURL, "--out", "mine"))
	s.tell("  $ strongroom --home researcher open mine/*.age && cat mine/*.csv")
	return nil
}
