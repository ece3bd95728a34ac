package room

import (
	"context"
	"fmt"
	"io"
	"os"

	"strongroom.dev/agreement"
	"strongroom.dev/release"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container"
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
		if err := r.openSpending(o); err != nil {
			return err
		}
		secret := materials[0].RunSecret()
		for i, m := range materials {
			if len(o.inputs) == 0 {
				break // a keeper's: it has no data here
			}
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

// task is the agreed work of one kind.
type task interface {
	// check looks whether the work can be done as agreed, before it costs anybody anything.
	check(ctx context.Context) error
	// do does it on the opened inputs. Only the end of the run itself, such as a lapsed lease, is
	// an error: a failure of the work is an outcome like another.
	do(ctx context.Context) (outcome, error)
}

// taskOf gives the task of a work, nil if this room can't do such.
func (r *run) taskOf(w agreement.Work) task {
	switch {
	case w.Kind == "sql":
		return &query{run: r}
	case w.Kind == "container" && w.Container != nil && r.Containers != nil:
		return &service{run: r, agreed: *w.Container, disks: map[string]*os.File{}}
	}
	return nil
}

// outcome is how the work ended: a plaintext to let out, of the same shape whether it is an
// answer or the code of a failure.
type outcome struct {
	code string // empty: an answer
	body []byte
	// failure and said are why there is none: for the data's owners.
	failure *sql.Failure
	said    string
	// withheld, plan and text say of a query what was left out, and how it ran.
	withheld map[wire.ID]int64
	// shown are the groups that are shown of each audited input.
	shown map[wire.ID][]byte
	plan  wire.Hash
	text  string
	// volumes is how those of a container were.
	volumes []container.VolumeState
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
