package room

import (
	"context"
	"fmt"
	"slices"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// audit is what one owner's broker said of earlier answers about its data.
type audit struct {
	inputs []agreement.Input
	key    keys.HPKEPublicKey // for what is shown
}

// learn asks the brokers of audited inputs what was asked of these dataset versions before.
func (r *run) learn(ctx context.Context) error {
	if err := each(ctx, r.owners, r.learnFrom); err != nil {
		return err
	}
	return r.comparable()
}

func (r *run) learnFrom(ctx context.Context, o *owner) error {
	o.audit.inputs = r.agreement.AuditedOf(r.work, o.id)
	if len(o.audit.inputs) == 0 {
		return nil
	}
	asked := release.AskedRequest{Version: release.Version, Broker: o.party.Name, Agreement: r.agreement.Digest(), Run: r.request.Digest(), RunID: r.request.RunID,
		ReleaseID: o.releaseID, Nonce: newNonce()}
	message, err := release.NewAskedRequest(r.signing, asked)
	if err != nil {
		return err
	}
	data, err := r.insist(ctx, o.stream(), release.PathAsked, message, release.MaxAsked)
	if err != nil && verdict.As(err).Kind == verdict.Refused { // as to a live request: the run is over
		return &verdict.Error{Kind: verdict.Refused, Check: codeRefused, Expected: codes[codeRefused][0], Got: verdict.Short(fmt.Sprintf("broker of %s: %v", o.id, err)), Fix: codes[codeRefused][1], Err: err}
	}
	if err != nil {
		return fmt.Errorf("broker of %s: %w", o.id, err)
	}
	names := make([]wire.ID, len(o.audit.inputs))
	for i, in := range o.audit.inputs {
		names[i] = in.Name
	}
	answer, err := release.VerifyAskedAnswer(data, o.party.Broker.ReleaseKey, asked, names)
	if err != nil {
		return fmt.Errorf("broker of %s: %w", o.id, err)
	}
	o.audit.key = answer.Key
	for _, sealed := range answer.Histories {
		if err := r.take(o, asked, sealed); err != nil {
			return fmt.Errorf("broker of %s: %w", o.id, err)
		}
	}
	return nil
}

// take reads the history of one input's dataset version.
func (r *run) take(o *owner, asked release.AskedRequest, sealed release.SealedHistory) error {
	in := o.inputs[slices.IndexFunc(o.inputs, func(in *input) bool { return in.agreed.Name == sealed.Input })]
	h, err := release.OpenHistory(r.hpke, asked, in.statement.Digest(), sealed)
	if err != nil {
		return err
	}
	for i, q := range h.Questions {
		earlier, err := r.earlier(q, in)
		if err != nil {
			return fmt.Errorf("input %s, question %d before: %w", in.agreed.Name, i+1, err)
		}
		in.asked = append(in.asked, earlier)
	}
	return nil
}

// earlier says an earlier question in the names that inputs have in this run.
func (r *run) earlier(q release.AskedQuestion, of *input) (sql.Asked, error) {
	asked := sql.Asked{Query: q.Question.Query, Parameters: []sql.Parameter{}, Tables: []sql.Table{}, Shown: slices.Clone(release.TrimShown(q.Shown))}
	for _, p := range q.Question.Parameters {
		asked.Parameters = append(asked.Parameters, sql.Parameter(p))
	}
	for _, t := range q.Question.Tables {
		table := sql.Table{Name: t.Name}
		if now, found := r.agreement.TableByName(t.Name); found && !q.Question.Joins() && slices.Contains(r.work.Tables, t.Name) && slices.Contains(now.Inputs, of.agreed.Name) {
			// Its own rows count the same beside whatever others.
			asked.Tables = append(asked.Tables, sql.Table(now))
			continue
		}
		for _, rows := range t.Inputs {
			i := slices.IndexFunc(r.inputs, func(in *input) bool { return r.request.RowsOf(in.agreed).Same(rows) })
			if i < 0 && !q.Question.Joins() {
				continue
			}
			if i < 0 {
				return asked, verdict.Refuse("differences.known", "questions about dataset versions of this run", "one about "+rows.Statement.Short(), "publish a new version of the dataset")
			}
			table.Inputs = append(table.Inputs, r.inputs[i].agreed.Name)
		}
		asked.Tables = append(asked.Tables, table)
	}
	return asked, nil
}

// maxHistories bounds what was asked of all inputs together, in bytes of queries, parameters
// and groups: the engine is told of all of it at once.
const maxHistories = 4 << 20

// comparable checks that all earlier questions can be asked beside each other: what they call a
// table is one table.
func (r *run) comparable() error {
	tables := map[string][]wire.ID{}
	for _, t := range r.agreement.Tables {
		if slices.Contains(r.work.Tables, t.Name) {
			tables[t.Name] = t.Inputs
		}
	}
	size := 0
	for _, in := range r.inputs {
		for _, q := range in.asked {
			size += len(q.Query) + len(q.Shown)*4/3
			for _, p := range q.Parameters {
				size += len(p.Value)
			}
			for _, t := range q.Tables {
				if there, found := tables[t.Name]; found && !slices.Equal(there, t.Inputs) {
					return verdict.Refuse("differences.known", "one table "+t.Name+" in all questions so far", "two that hold other inputs", "publish a new version of the dataset")
				}
				tables[t.Name] = t.Inputs
			}
		}
	}
	if size > maxHistories {
		return verdict.Refuse("differences.known", fmt.Sprintf("at most %d bytes of questions so far", maxHistories), fmt.Sprint(size), "publish a new version of the dataset of which most was asked")
	}
	return nil
}

// asks tells the job what was asked of its inputs before.
func (q *query) asks() {
	for i, in := range q.inputs {
		q.job.Inputs[i].Asked = in.asked
	}
}

// remembered checks that what an answer shows has room in what brokers are told of it.
func (o *outcome) remembered(r *run, result sql.Result) {
	question := r.agreement.QuestionOf(r.request.Run)
	most := int(r.agreement.RowsOf(r.work)) * release.GroupSize
	o.shown = map[wire.ID][]byte{}
	for _, s := range result.Shown {
		o.shown[s.Input] = s.Groups
		in := r.inputs[slices.IndexFunc(r.inputs, func(in *input) bool { return in.agreed.Name == s.Input })]
		switch {
		case len(s.Groups) > most:
			o.code = codeRows
		case !question.Reads(in.statement.Digest()):
			o.code = codeEngine // brokers think that it reads other inputs
		}
	}
	if o.code != "" {
		o.shown, o.body = nil, nil
	}
}

// shownTo gives what the answer shows of an owner's audited inputs, at its one size.
func (r *run) shownTo(o *owner, shown map[wire.ID][]byte) (all []byte, err error) {
	for _, in := range o.audit.inputs {
		padded, err := release.PadShown(shown[in.Name], r.agreement.RowsOf(r.work))
		if err != nil {
			return nil, err
		}
		all = append(all, padded...)
	}
	return all, nil
}
