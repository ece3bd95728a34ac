package demo

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// enemy is what the attacks work with: a host of its own that does what it is told, the
// development root that any host of dev holds, and what it saw of honest runs.
type enemy struct {
	*study
	programs *host.Programs
	study1   *agreement.SignedAgreement
	seen     host.Info            // an honest room, as its host saw it
	seenRun  *agreement.SignedRun // and the request it served
	last     ran                  // the honest run's results
	short    *agreement.SignedAgreement
	switched *agreement.SignedAgreement
	old      string // folder of older copies
	expired  time.Time
}

// attacks tries everything; none may succeed.
func (s *study) attacks(ctx context.Context) error {
	s.chapter("Now everyone cheats. Each attack is tried for real, one after the other")
	e := &enemy{study: s}
	if err := e.prepare(ctx); err != nil {
		return fmt.Errorf("preparing the attacks: %w", err)
	}
	defer e.programs.Close()
	var all []attempt
	all = append(all, e.onRequests()...)
	all = append(all, e.onEvidence()...)
	all = append(all, e.onData()...)
	all = append(all, e.onResults()...)
	all = append(all, e.onTiming()...)
	all = append(all, e.onAgreements()...)
	all = append(all, e.onLedgers()...)
	if err := s.attack(ctx, s.report, all); err != nil {
		return err
	}
	return s.report.Err()
}

// prepare makes the further agreements that attacks need, an honest run whose traces a host
// keeps, and older copies of what will be rolled back.
func (e *enemy) prepare(ctx context.Context) error {
	var err error
	if e.programs, err = e.loadPrograms("strongroom-agent"); err != nil {
		return err
	}
	if e.study1, err = e.readAgreement("study.json"); err != nil {
		return err
	}
	e.expired = time.Now().Add(4 * time.Second)
	if e.short, err = e.extraAgreement(ctx, "short-study", e.expired); err != nil {
		return err
	}
	if e.switched, err = e.extraAgreement(ctx, "switched-study", time.Now().AddDate(1, 0, 0)); err != nil {
		return err
	}
	e.old = e.path("old")
	if err := copyTree(e.path(alpha, "broker"), filepath.Join(e.old, "alpha-broker")); err != nil {
		return err
	}
	if err := copyTree(e.path(hostHome, "data"), filepath.Join(e.old, "data")); err != nil {
		return err
	}
	return e.watchHonestRun(ctx)
}

// extraAgreement is the study under another id.
func (e *enemy) extraAgreement(ctx context.Context, id string, until time.Time) (*agreement.SignedAgreement, error) {
	if err := e.writeAgreement(id+".yaml", until, edit{"id: tumour-study", "id: " + id}); err != nil {
		return nil, err
	}
	file, err := e.agree(ctx, e.quiet, id+".yaml")
	if err != nil {
		return nil, err
	}
	return e.readAgreement(file)
}

func (e *enemy) readAgreement(file string) (*agreement.SignedAgreement, error) {
	data, err := os.ReadFile(e.path(file))
	if err != nil {
		return nil, err
	}
	return agreement.ParseAgreement(data)
}

// loadPrograms loads the room image from the folder of the command, with another agent if
// an attack brings one.
func (w *world) loadPrograms(agent string) (*host.Programs, error) {
	if !filepath.IsAbs(agent) {
		agent = w.bin(agent)
	}
	return host.Load(agent, map[wire.ID]string{"strongroom-sql": w.bin("strongroom-sql")})
}

// watchHonestRun has the researcher run once more, and keeps what its host saw.
func (e *enemy) watchHonestRun(ctx context.Context) error {
	request := e.path("request.json")
	var err error
	if e.last, err = e.run(ctx, e.quiet, "study.json", questions[1], "watched", "--save-request", request); err != nil {
		return err
	}
	data, err := os.ReadFile(request)
	if err != nil {
		return err
	}
	if e.seenRun, err = agreement.ParseRun(data); err != nil {
		return err
	}
	e.seen, err = e.hostClient().Room(ctx, e.last.Room)
	if err == nil && len(e.seen.Shown) < 2 {
		err = broken("demo.evidence", "the evidence of a room for two brokers", fmt.Sprint(len(e.seen.Shown)))
	}
	return err
}

// request signs a run request as who asks, honestly.
func (e *enemy) request(a *agreement.SignedAgreement, q question, change func(*agreement.Run)) (*agreement.SignedRun, error) {
	name, value, _ := strings.Cut(q.param, "=")
	work, _ := a.WorkByName(wire.ID(q.work))
	canonical, err := agreement.CanonicalParameter(work.Parameters[0], value)
	if err != nil {
		return nil, err
	}
	return e.requestOf(a, work, agreement.Run{Parameters: map[string]string{name: canonical}}, change)
}

// requestOf completes a request for a work, changes it, and signs it as who asks.
func (e *enemy) requestOf(a *agreement.SignedAgreement, work agreement.Work, body agreement.Run, change func(*agreement.Run)) (*agreement.SignedRun, error) {
	sealed, err := host.List(e.path(hostHome, "data"))
	if err != nil {
		return nil, err
	}
	datasets, err := host.Latest(sealed, a, e.parties, work)
	if err != nil {
		return nil, err
	}
	id := keys.RandomID()
	body.Agreement, body.RunID, body.Requester, body.Work = a.Digest(), hex.EncodeToString(id[:]), wire.ID(e.asker()), work.Name
	body.Datasets, body.Expires = datasets, wire.At(time.Now().Add(time.Hour))
	if change != nil {
		change(&body)
	}
	return e.signRun(body)
}

func (e *enemy) signRun(body agreement.Run) (*agreement.SignedRun, error) {
	run, err := agreement.NewRun(body)
	if err != nil {
		return nil, err
	}
	key, err := e.signingKey(e.asker())
	if err != nil {
		return nil, err
	}
	return run, run.Document.Sign(key)
}

func (e *enemy) signingKey(folder string) (*keys.SigningKey, error) {
	h, err := home.Open(e.path(folder))
	if err != nil {
		return nil, err
	}
	return h.SigningKey()
}

// job gives a run to a host, with the sealed files that it names.
func (e *enemy) job(a *agreement.SignedAgreement, run *agreement.SignedRun, dir string) (job host.Job, err error) {
	if job.Agreement, err = a.Document.Encode(); err != nil {
		return job, err
	}
	if job.Run, err = run.Document.Encode(); err != nil {
		return job, err
	}
	for _, p := range e.parties {
		doc, err := p.Document.Encode()
		if err != nil {
			return job, err
		}
		job.Parties = append(job.Parties, doc)
	}
	job.Inputs, err = host.Find(dir, run.Run)
	return job, err
}

// honestJob is a fresh run of the second question, for an attack to spoil.
func (e *enemy) honestJob() (host.Job, *agreement.SignedRun, error) {
	run, err := e.request(e.study1, questions[1], nil)
	if err != nil {
		return host.Job{}, nil, err
	}
	job, err := e.job(e.study1, run, e.path(hostHome, "data"))
	return job, run, err
}

// config is the enemy's host before it does any evil.
func (e *enemy) config() host.Config {
	return host.Config{Programs: e.programs, Root: e.root, Dir: e.path("enemy"), Ledgers: map[string]string{e.origin: e.ledgerURL}}
}

// room starts a room on the enemy's own host and gives the reason if no result came.
func (e *enemy) room(ctx context.Context, job host.Job, c host.Config) error {
	id := keys.RandomID()
	r, err := host.Start(ctx, c, hex.EncodeToString(id[:4]), job)
	if err != nil {
		return err
	}
	return r.Wait(ctx)
}

// byRoom says who refused what a room was asked for: the room passes on what brokers say.
func byRoom(refusal error) string {
	if refusal == nil {
		return "nobody"
	}
	if who, found := strings.CutPrefix(verdict.As(refusal).Where, "broker of "); found {
		return "broker of " + who + ", which the room asked"
	}
	return "room"
}

// inRoom is an attack that spoils a job or its host.
func (e *enemy) inRoom(name string, wants []string, change func(job *host.Job, c *host.Config) error) attempt {
	return attempt{name, func(ctx context.Context) (string, error, error) {
		job, _, err := e.honestJob()
		if err != nil {
			return "", nil, err
		}
		c := e.config()
		if err := change(&job, &c); err != nil {
			return "", nil, err
		}
		refusal := e.room(ctx, job, c)
		return byRoom(refusal), refusal, nil
	}, wants}
}

// copyTree copies plain files and folders.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case !d.Type().IsRegular(): // a broker's socket
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
}
