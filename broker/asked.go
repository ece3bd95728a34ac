package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/policy"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// questionRecord is a question whose answer was let out, under the statement of a dataset
// version that it reads.
type questionRecord struct {
	Question agreement.Question `json:"question"`
	// Shown are the hashes of the groups that were shown of the version, at their padded size.
	Shown  []byte `json:"shown"`
	Size   int64  `json:"size"`
	RunID  string `json:"run_id"`
	TimeMS int64  `json:"time_ms"`
}

func (q *questionRecord) nothing() bool { return len(release.TrimShown(q.Shown)) == 0 }

// auditRecord is what an audited run asks, and which questions its answer is held against.
type auditRecord struct {
	Question agreement.Question    `json:"question"`
	Rows     int64                 `json:"rows"` // that the result has at most
	Inputs   []policy.AuditedInput `json:"inputs"`
	// Seal is the room's key for what only it may read.
	Seal keys.HPKEPublicKey `json:"seal"`
}

// auditOf gives what to remember of a run whose answers are held against earlier ones, nil of
// every other.
func auditOf(r *request, t policy.Terms) *auditRecord {
	if len(t.Audited) == 0 {
		return nil
	}
	w, _ := r.agreement.WorkByName(r.run.Work)
	return &auditRecord{Question: r.agreement.QuestionOf(r.run.Run), Rows: r.agreement.RowsOf(w), Inputs: t.Audited, Seal: t.Room.HPKE}
}

func questionKey(statement wire.Digest, n int) string { return fmt.Sprintf("%s/%06d", statement, n) }

// questions reads what was asked of a dataset version, oldest first.
func questions(tx Tx, statement wire.Digest) (list []questionRecord, err error) {
	var bad error
	err = tx.Scan(tableQuestions, statement.String()+"/", statement.String()+"0", func(_ string, value []byte) bool { // "0" follows "/"
		var q questionRecord
		bad = json.Unmarshal(value, &q)
		list = append(list, q)
		return bad == nil
	})
	return list, errors.Join(err, bad)
}

// readHistories reads what was asked of the dataset versions that a request is about. Of those
// that a broker had when its log was set back more may have been asked than it knows.
func readHistories(tx Tx, r *request, books *policy.Books) error {
	lostBefore, err := number(tx, metaNotBefore)
	if err != nil {
		return err
	}
	books.Histories = map[wire.Digest]policy.History{}
	for _, in := range r.inputs {
		list, err := questions(tx, in.Statement.Digest())
		if err != nil {
			return err
		}
		d, err := load[datasetRecord](tx, tableDatasets, string(in.Statement.Dataset.Dataset))
		if err != nil {
			return err
		}
		h := policy.History{Lost: in.Statement.Created.Time().Unix() < lostBefore/1000 || d != nil && d.Forgotten && d.Statement == in.Statement.Digest()}
		for _, q := range list {
			h.Questions = append(h.Questions, policy.Asked{Question: q.Question, Size: q.Size, Nothing: q.nothing()})
		}
		books.Histories[in.Statement.Digest()] = h
	}
	return nil
}

// Asked tells a room what was asked before of the dataset versions that its answer is to be held
// against, and gives it a key for what it shows (spec/release.md, section 11). How many questions
// these are was settled with the grant, so that asking again changes nothing.
func (b *Broker) Asked(ctx context.Context, data []byte) ([]byte, error) {
	asked, err := release.ParseAskedRequest(data)
	if err != nil {
		b.counters.malformed.Add(1)
		return nil, err
	}
	if err := b.serving(); err != nil {
		return nil, err
	}
	if err := b.signedByRoom(ofRun{asked.Broker, asked.Agreement, asked.Run, asked.RunID, asked.ReleaseID}, asked); err != nil {
		return nil, err
	}
	answer, err := b.tellAsked(asked.AskedRequest, b.now())
	if err != nil {
		b.refused(ctx, refusal{agreement: asked.Agreement, run: &asked.Run, runID: asked.RunID, releaseID: asked.ReleaseID,
			subject: "what was asked before run " + asked.RunID + "?"}, err)
		return nil, err
	}
	return release.NewAskedAnswer(b.cfg.Keys.ReleaseKey(), asked.AskedRequest, answer)
}

func (b *Broker) tellAsked(asked release.AskedRequest, now time.Time) (answer release.AskedAnswer, err error) {
	var run *runRecord
	var histories []release.History
	err = b.cfg.State.View(func(tx Tx) (err error) {
		if _, run, err = b.goesOn(tx, asked.Agreement, asked.RunID, now.UnixMilli()); err != nil {
			return err
		}
		if run.Audit == nil {
			return verdict.Refuse("asked.inputs", "a run of which this broker keeps what is shown", "one of others", "ask the brokers of audited inputs")
		}
		for _, in := range run.Audit.Inputs {
			h, err := historyOf(tx, in)
			if err != nil {
				return err
			}
			histories = append(histories, h)
		}
		return nil
	})
	if err != nil {
		return answer, err
	}
	for i, in := range run.Audit.Inputs {
		sealed, err := release.SealHistory(run.Audit.Seal, asked, in.Input, in.Statement, histories[i])
		if err != nil {
			return answer, err
		}
		answer.Histories = append(answer.Histories, sealed)
	}
	key, err := release.ShownKey(b.cfg.Keys.Secret(), asked.ReleaseID)
	if err != nil {
		return answer, err
	}
	answer.Key = key.Public()
	return answer, nil
}

func historyOf(tx Tx, in policy.AuditedInput) (h release.History, err error) {
	list, err := questions(tx, in.Statement)
	if err != nil {
		return h, err
	}
	if len(list) < in.Before {
		return h, broken("to find the questions that a run was granted with", nil)
	}
	for _, q := range list[:in.Before] {
		h.Questions = append(h.Questions, release.AskedQuestion{Question: q.Question, Shown: q.Shown})
	}
	return h, nil
}

// openShown reads what a room says its answer shows, one for each audited input.
func (b *Broker) openShown(run *runRecord, asked release.LiveRequest) (shown [][]byte, err error) {
	if run.Audit == nil {
		if len(asked.Shown) > 0 {
			return nil, verdict.Refuse("live.shown", "nothing of what is shown, since no answer of this party's data is held against it", fmt.Sprintf("%d bytes", len(asked.Shown)), "run a room of this version")
		}
		return nil, nil
	}
	key, err := release.ShownKey(b.cfg.Keys.Secret(), asked.ReleaseID)
	if err != nil {
		return nil, err
	}
	size := int(run.Audit.Rows) * release.GroupSize
	all, err := release.OpenShown(key, asked, size*len(run.Audit.Inputs))
	if err != nil {
		return nil, err
	}
	for i := range run.Audit.Inputs {
		shown = append(shown, all[i*size:(i+1)*size])
	}
	return shown, nil
}

// remember adds the run's question to those of the dataset versions it reads, unless it stands
// there. If others were answered meanwhile, this answer was not held against theirs.
func remember(tx Tx, run *runRecord, runID string, shown [][]byte, nowMS int64) error {
	if run.Audit == nil {
		return nil
	}
	q := run.Audit.Question
	for i, in := range run.Audit.Inputs {
		if !q.Reads(in.Statement) {
			continue
		}
		list, err := questions(tx, in.Statement)
		if err != nil {
			return err
		}
		if len(list) > in.Before {
			if next := list[in.Before]; !next.Question.Same(q) || !subset(shown[i], next.Shown) {
				return verdict.Refuse("differences.overtaken", fmt.Sprintf("an answer held against all %d questions so far", len(list)), fmt.Sprintf("one held against %d: another run was quicker", in.Before),
					"sign a new run request")
			}
			continue
		}
		record := questionRecord{Question: q, Shown: shown[i], Size: q.Size(run.Audit.Rows), RunID: runID, TimeMS: nowMS}
		if err := insert(tx, tableQuestions, questionKey(in.Statement, len(list)), record); err != nil {
			return err
		}
	}
	return nil
}

// subset reports whether all groups of one list are in another.
func subset(groups, of []byte) bool {
	groups, of = release.TrimShown(groups), release.TrimShown(of)
	for len(groups) > 0 && len(of) > 0 {
		switch c := bytes.Compare(groups[:release.GroupSize], of[:release.GroupSize]); {
		case c < 0:
			return false
		case c == 0:
			groups = groups[release.GroupSize:]
		}
		of = of[release.GroupSize:]
	}
	return len(groups) == 0
}

// forget marks every current dataset version as one of which more may have been asked than is
// known: the log was set back, and the state perhaps with it.
func forget(tx Tx) error {
	var datasets []string
	if err := tx.Scan(tableDatasets, "", "", func(key string, _ []byte) bool {
		datasets = append(datasets, key)
		return true
	}); err != nil {
		return err
	}
	for _, id := range datasets {
		d, err := load[datasetRecord](tx, tableDatasets, id)
		if err != nil || d == nil {
			return broken("to read dataset "+id, err)
		}
		d.Forgotten = true
		if err := save(tx, tableDatasets, id, d); err != nil {
			return err
		}
	}
	return nil
}
