package room

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"strongroom.dev/release"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// timings are how long the stages took. They depend on data, so only its owners learn them.
type timings struct {
	VerifyMS int64 `json:"verify_ms"`
	KeysMS   int64 `json:"keys_ms"`
	OpenMS   int64 `json:"open_ms"`
	WorkMS   int64 `json:"work_ms"`
}

// sealed reads the input's file from its start to the size that was signed.
func (in *input) sealed() io.Reader {
	return io.NewSectionReader(in.file, 0, in.statement.Size)
}

// openKeys opens every key of every grant, and mixes the run's seed from what each owner
// contributed (R14).
func (r *run) openKeys() error {
	var parts []release.Contribution
	for _, o := range r.owners {
		materials, err := o.granted.Open(r.hpke, o.asked)
		if err != nil {
			return err
		}
		defer func() {
			for _, m := range materials {
				m.Wipe()
			}
		}()
		secret := materials[0].RunSecret()
		for i, m := range materials {
			if m.RunSecret() != secret {
				return verdict.NotGenuine("grant.secret", "one secret of "+string(o.id)+" for the run", "two", "the broker does not follow the protocol: tell its owner")
			}
			fileKey := m.FileKey()
			if o.inputs[i].key, err = seal.NewFileKey(fileKey[:]); err != nil {
				return err
			}
			clear(fileKey[:])
		}
		parts = append(parts, release.Contribution{Owner: o.id, Secret: secret})
	}
	var err error
	r.seed, err = release.RunSeed(r.request.Digest(), parts)
	return err
}

// open decrypts every input into memory, checking header, size and root on the very bytes
// it decrypts. Nothing reads the plaintext before all of that has passed.
func (r *run) open(ctx context.Context) error {
	// From here on there is plaintext: no more evidence, and not another word.
	if err := r.Device.Separate(ctx, r.request.Digest()); err != nil {
		return fmt.Errorf("evidence device: %w", err)
	}
	if err := r.Silence(); err != nil {
		return err
	}
	ctx, stop := r.timed(ctx)
	defer stop()
	for _, in := range r.inputs {
		if err := r.openInput(ctx, in); err != nil {
			if ctx.Err() != nil {
				return err
			}
			e := *verdict.As(err)
			if e.Kind != verdict.Broken { // what is wrong with a file depends on its ciphertext alone
				e.Got, e.Check = e.Check+": "+e.Got, codeInput
				e.Where = "input " + string(in.agreed.Name)
			}
			return &e
		}
		r.opened = true
	}
	return nil
}

func (r *run) openInput(ctx context.Context, in *input) (err error) {
	if in.plain, err = r.Memory(string(in.agreed.Name)); err != nil {
		return fmt.Errorf("memory for input %s: %w", in.agreed.Name, err)
	}
	d := in.statement.Dataset
	_, err = seal.OpenVerified(in.plain, in.sealed(), in.key, seal.Expectation{Header: d.Header, Root: d.Root, Size: d.Size, Recipients: d.Recipients},
		seal.Options{Progress: func(int64) error { return context.Cause(ctx) }})
	in.key.Wipe()
	in.file.Close()
	if err != nil {
		return err
	}
	return r.Seal(in.plain)
}

// timed bounds what is done with the keys: brokers renew leases for as long as they are asked.
func (r *run) timed(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, r.until-r.Elapsed(), &verdict.Error{Kind: verdict.Refused, Check: codeTime, Expected: codes[codeTime][0],
		Got: "a run that goes on", Fix: codes[codeTime][1]})
}

// outcome is how the work ended: a plaintext to let out, of the same shape whether it is an
// answer or the code of a failure.
type outcome struct {
	code     string // empty: an answer
	result   sql.Result
	failure  *sql.Failure
	said     string
	body     []byte
	withheld map[wire.ID]int64
}

// compute runs the work and applies the output's rules. Only the end of the run itself, such
// as a lapsed lease, is an error: a failure of the work is an outcome like another.
func (r *run) compute(ctx context.Context) (outcome, error) {
	began := r.Elapsed()
	files := make([]*os.File, len(r.inputs))
	for i, in := range r.inputs {
		files[i] = in.plain
	}
	var o outcome
	var err error
	timed, stop := r.timed(ctx)
	defer stop()
	o.result, o.said, err = r.Engine(timed, r.engine, r.job, files)
	r.timings.WorkMS = (r.Elapsed() - began).Milliseconds()
	r.forget() // from here on the room waits for others: the inputs are not to wait with it
	if ctx.Err() != nil {
		return o, context.Cause(ctx)
	}
	if err != nil && timed.Err() != nil { // a failure of the work like another: what took long may be data
		o.code, o.result, o.said, err = codeTime, sql.Result{}, "", nil
	}
	if err != nil {
		o.code, o.result = codeEngine, sql.Result{}
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
	o.withheld = map[wire.ID]int64{}
	for _, w := range o.result.Withheld {
		o.withheld[w.Owner] = w.Rows
	}
	if o.code == "" {
		o.apply(r)
	}
	return o, nil
}

// apply formats the answer and holds it to the output's maxima.
func (o *outcome) apply(r *run) {
	if int64(len(o.result.Rows)) > r.output.MaxRows {
		o.code = codeRows
		return
	}
	o.body = format(r.output.Format, o.result)
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

// wipe lets go of everything secret. Memory files vanish with their last descriptor, and the
// kernel clears a page before anybody else gets it.
func (r *run) wipe() {
	r.forget()
	for _, in := range r.inputs {
		if in.file != nil {
			in.file.Close()
		}
	}
	r.seed, r.hpke, r.signing = nil, nil, nil
}

// forget lets go of the inputs' keys and plaintext.
func (r *run) forget() {
	for _, in := range r.inputs {
		in.key.Wipe()
		if in.plain != nil {
			in.plain.Close()
		}
	}
}
