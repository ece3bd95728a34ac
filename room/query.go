package room

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"slices"

	"strongroom.dev/agreement"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// query is work of kind sql, done by the engine in a sandbox of its own.
type query struct {
	*run
	engine *os.File
	job    sql.Job
}

// engineName is the helper that runs work of kind sql.
const engineName = "strongroom-sql"

// check has the engine check the query against the agreed schemas, in its sandbox and
// without data, so that a query outside the rules costs nobody a run.
func (q *query) check(ctx context.Context) error {
	for _, h := range q.start.Helpers {
		if h.Name != engineName {
			continue
		}
		var err error
		if q.engine, err = q.Input(h.FD); err != nil {
			return verdict.Misuse("room.helper", "the program "+engineName, err.Error(), "hand over the helper programs")
		}
	}
	if q.engine == nil {
		return verdict.Misuse("room.helper", "the program "+engineName, "none", "hand over the helper programs")
	}
	if err := q.makeJob(); err != nil {
		return err
	}
	check := q.job
	check.CheckOnly = true
	check.Inputs = slices.Clone(check.Inputs)
	for i := range check.Inputs {
		check.Inputs[i].FD = 0
	}
	checked, said, err := q.Engine(ctx, q.engine, check, nil)
	if err != nil {
		return explain(ctx, err, said)
	}
	// What ran is told with the result, whether or not it gave an answer.
	q.plan = &checked.Plan
	return nil
}

// makeJob says what the engine is to do; descriptors are those the inputs will have.
func (q *query) makeJob() error {
	parameters, err := sql.Parameters(q.work.Parameters, q.request.Parameters)
	if err != nil {
		return err
	}
	q.job = sql.Job{Query: q.request.QueryOf(q.work), Parameters: parameters, MaxRows: q.agreement.RowsOf(q.work), MaxColumns: agreement.MaxOutputColumns, MaxBytes: q.output.MaxBytes, Salt: sql.NoSalt, Noise: sql.NoSalt, Epsilon: q.request.EpsilonOf(q.work),
		Memory: q.EngineMemory, Threads: q.EngineThreads}
	for i, in := range q.inputs {
		rules := agreement.Rules{} // of a list of exclusions
		if in.agreed.Rules != nil {
			rules = *in.agreed.Rules
			q.job.MaxColumns = min(q.job.MaxColumns, rules.MaxColumns)
		}
		q.job.Inputs = append(q.job.Inputs, sql.Input{Name: in.agreed.Name, Owner: in.agreed.Owner, FD: q.FirstFile + i, Format: in.agreed.Format,
			Schema: in.agreed.Schema, UniqueUnit: in.statement.UniqueUnit, Pinned: in.agreed.Statement != nil, Rules: rules})
	}
	for _, name := range q.work.Tables {
		t, _ := q.agreement.TableByName(name)
		q.job.Tables = append(q.job.Tables, sql.Table{Name: t.Name, Inputs: t.Inputs})
	}
	return nil
}

// do runs the query and applies the output's rules.
func (q *query) do(ctx context.Context) (outcome, error) {
	began := q.Elapsed()
	files := make([]*os.File, len(q.inputs))
	for i, in := range q.inputs {
		files[i] = in.plain
	}
	q.asks()
	salt := release.IdentifierSalt(q.seed, q.request.Digest())
	noise := release.NoiseSeed(q.seed, q.request.Digest())
	q.job.Salt, q.job.Noise = hex.EncodeToString(salt[:]), hex.EncodeToString(noise[:])
	timed, stop := q.timed(ctx)
	defer stop()
	result, said, err := q.Engine(timed, q.engine, q.job, files)
	q.timings.WorkMS = (q.Elapsed() - began).Milliseconds()
	q.forget() // from here on the room waits for others: the inputs are not to wait with it
	if ctx.Err() != nil {
		return outcome{}, context.Cause(ctx)
	}
	var o outcome
	if err != nil && timed.Err() != nil { // a failure of the work like another: what took long may be data
		o.code, result, err = codeTime, sql.Result{}, nil
	} else {
		o.said = said
	}
	if err != nil {
		result = sql.Result{}
		o.failed(err)
	}
	o.plan, o.text, o.withheld = result.Plan, result.SQL, map[wire.ID]int64{}
	for _, w := range result.Withheld {
		o.withheld[w.Owner] = w.Rows
	}
	if o.code == "" {
		o.apply(q.run, result)
	}
	if o.code == "" {
		o.remembered(q.run, result)
	}
	return o, nil
}

// failed finds the code of an engine's failure.
func (o *outcome) failed(err error) {
	if errors.As(err, &o.failure) {
		o.code = map[sql.Phase]string{sql.Load: codeLoad, sql.Query: codeWork}[o.failure.Phase]
		if o.failure.Code == codeRows || o.failure.Code == codeBytes {
			o.code = o.failure.Code
		}
	}
	if o.code == "" {
		o.code = codeEngine
	}
}

// apply formats the answer and holds it to the output's maxima.
func (o *outcome) apply(r *run, result sql.Result) {
	if int64(len(result.Rows)) > r.output.MaxRows {
		o.code = codeRows
		return
	}
	o.body = format(r.output.Format, result)
	if int64(len(o.body)) > r.output.MaxBytes {
		o.code, o.body = codeBytes, nil
	}
}

// explain gives the reason of a failed check of the query: it depends on no data.
func explain(ctx context.Context, err error, said string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var failure *sql.Failure
	if errors.As(err, &failure) {
		return failure.Refusal()
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "room.engine", Expected: "an answer of the SQL engine to the check of the query",
		Got: verdict.Short(err.Error() + " " + said), Fix: "see that strongroom-sql is of this version", Err: err}
}
