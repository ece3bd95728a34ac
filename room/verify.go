package room

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/device"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/release"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// run is one run and all that it holds.
type run struct {
	Config
	cancel     context.CancelCauseFunc
	background sync.WaitGroup // what keeps the leases
	clock      clock
	leases     leases

	start     Start
	agreement *agreement.SignedAgreement
	parties   []*agreement.SignedParty
	request   *agreement.SignedRun
	work      agreement.Work
	output    agreement.Output
	inputs    []*input
	owners    []*owner
	task      task
	machine   device.Introduction

	signing *keys.SigningKey
	hpke    *keys.HPKEPrivateKey
	seed    *keys.Secret

	until   time.Duration // when the keys may be used no longer, by Elapsed
	opened  bool          // an input has been decrypted: from here on, codes only
	timings timings
	// plan is the hash of the checked plan of a query, nil for other work.
	plan *wire.Hash
}

// input is data that the work reads.
type input struct {
	agreed    agreement.Input
	statement *agreement.SignedDataset
	file      *os.File // sealed
	header    []byte
	key       *seal.FileKey
	plain     *os.File // memory only
	asked     []sql.Asked
}

// owner is a party whose data the work reads, and what its broker said.
type owner struct {
	id     wire.ID // in the agreement
	party  *agreement.SignedParty
	inputs []*input

	challenge  release.Challenge
	checkpoint ledger.Checkpoint // of its log: with the challenge, then with the grant
	latest     ledger.Checkpoint // the newest that this room has seen, and shown to its peers
	record     []byte            // its broker's word about the key that signs evidence; empty where none is needed
	evidence   attest.Evidence
	asked      release.Asked
	releaseID  string
	lives      atomic.Int64 // counter of the last live request made
	answered   atomic.Int64 // time in the latest answer: its grant's, then that of a live
	granted    release.Granted
	spendings  []policy.Spending // of its budgets, for it alone
	grant      []byte            // signed document
	live       []byte            // signed document: the last word, about the output
	extends    []wire.Hash       // proof that the log of the last word extends that of the grant
	audit      audit
}

// stream is how the host is asked for the owner's broker: by the name in its descriptor.
func (o *owner) stream() string { return "broker/" + string(o.party.Name) }

// heard keeps the time in an answer, the latest of two that were under way at once.
func (o *owner) heard(timeMS int64) {
	for last := o.answered.Load(); timeMS > last && !o.answered.CompareAndSwap(last, timeMS); last = o.answered.Load() {
	}
}

// run goes through the stages; each needs the ones before.
func (r *run) run(ctx context.Context, start Start) error {
	r.start = start
	began := r.Elapsed()
	if err := r.makeKeys(); err != nil {
		return err
	}
	if err := r.step(Started); err != nil {
		return err
	}
	for _, stage := range []struct {
		do   func(context.Context) error
		done Step
		took *int64
	}{
		{r.verify, Verified, &r.timings.VerifyMS},
		{r.challenge, Challenged, &r.timings.KeysMS},
		{r.getKeys, Released, &r.timings.KeysMS},
		{r.open, Opened, &r.timings.OpenMS},
	} {
		err := stage.do(ctx)
		if err == nil {
			err = r.step(stage.done)
		}
		if err != nil {
			return err
		}
		now := r.Elapsed()
		*stage.took += (now - began).Milliseconds()
		began = now
	}
	return r.finish(ctx)
}

func (r *run) step(s Step) error { return r.Tell(Event{Event: Progress, Step: s}) }

func (r *run) makeKeys() (err error) {
	if r.signing, err = keys.GenerateSigningKey(keys.Ed25519); err != nil {
		return err
	}
	r.hpke, err = keys.GenerateHPKEKey()
	return err
}

// verify checks everything that can be checked without a broker, by the host's clock, which
// can only make it refuse; judge repeats what depends on time by the brokers' clock.
func (r *run) verify(ctx context.Context) error {
	for _, check := range []func() error{r.readDocuments, func() error { return r.judge(r.HostClock()) }, func() error { return r.meet(ctx) }, r.checkWork, r.readInputs} {
		if err := check(); err != nil {
			return err
		}
	}
	return r.task.check(ctx)
}

func (r *run) readDocuments() (err error) {
	if r.agreement, err = agreement.ParseAgreement(r.start.Agreement); err != nil {
		return err
	}
	if len(r.start.Parties) > agreement.MaxParties {
		return verdict.Misuse("room.parties", fmt.Sprintf("at most %d parties", agreement.MaxParties), fmt.Sprint(len(r.start.Parties)), "send the agreement's parties only")
	}
	for _, raw := range r.start.Parties {
		p, err := agreement.ParseParty(raw)
		if err != nil {
			return err
		}
		r.parties = append(r.parties, p)
	}
	r.request, err = agreement.ParseRun(r.start.Run)
	return err
}

// judge checks signatures and validity at one moment.
func (r *run) judge(now time.Time) error {
	if err := r.agreement.Verify(r.parties, now); err != nil {
		return err
	}
	requester := r.party(r.request.Requester)
	if requester == nil {
		return verdict.Refuse("run.requester", "a party of the agreement", verdict.Short(string(r.request.Requester)), "a party that may run the work must sign the request")
	}
	return r.request.Verify(r.agreement, requester, now)
}

// party finds a party's descriptor by its name in the agreement.
func (r *run) party(id wire.ID) *agreement.SignedParty {
	p, found := r.agreement.PartyByID(id)
	if !found {
		return nil
	}
	for _, signed := range r.parties {
		if signed.Digest() == p.Descriptor {
			return signed
		}
	}
	return nil
}

// meet tells the evidence device which agreement this is, and learns what kind of machine
// it is.
func (r *run) meet(ctx context.Context) (err error) {
	body := r.agreement.Canonical()
	if r.machine, err = r.Device.Begin(ctx, attest.InitData(body), attest.ShortInitData(body)); err != nil {
		return fmt.Errorf("evidence device: %w", err)
	}
	return r.checkPlatform()
}

// checkPlatform asks whether the agreement accepts this kind of machine, with what its
// kernel denies. Whether it is one, evidence shows to the brokers.
func (r *run) checkPlatform() error {
	i := slices.IndexFunc(r.agreement.Platforms, func(p agreement.Platform) bool { return p.Kind == r.machine.Platform })
	if i < 0 {
		return verdict.Refuse("room.platform", "a platform that the agreement accepts", string(r.machine.Platform), "start the room on another kind of machine")
	}
	for _, lack := range r.Lacks {
		if err := r.mayLack(lack); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) checkWork() error {
	r.work, _ = r.agreement.WorkByName(r.request.Work) // Verify has found it
	r.output, _ = r.agreement.OutputByName(r.work.Output)
	if r.task = r.taskOf(r.work); r.task == nil {
		return verdict.Refuse("room.work", "work of kind sql or container", string(r.work.Kind), "this agent runs no other kind")
	}
	for _, id := range r.agreement.OwnersOf(r.work) {
		party := r.party(id)
		if party == nil || party.Broker == nil {
			return verdict.Refuse("room.broker", "a broker of "+string(id), "none in its descriptor", "an owner of data needs a broker: agree on a descriptor that names one")
		}
		r.owners = append(r.owners, &owner{id: id, party: party})
	}
	for _, id := range r.output.Receivers {
		if _, err := recipients(r.party(id)); err != nil {
			return err
		}
	}
	if _, err := r.detailSize(); err != nil {
		return err
	}
	return nil
}

// recipients parses what results for a party are sealed to.
func recipients(p *agreement.SignedParty) ([]seal.Recipient, error) {
	if p == nil || len(p.Results) == 0 {
		return nil, verdict.Refuse("room.receiver", "result recipients of every receiver", "none", "agree on a descriptor that names them")
	}
	return parseRecipients(p.Results)
}

func parseRecipients(texts []string) ([]seal.Recipient, error) {
	out := make([]seal.Recipient, 0, len(texts))
	for _, text := range texts {
		recipient, err := seal.ParseRecipient(text)
		if err != nil {
			return nil, err
		}
		out = append(out, recipient)
	}
	return out, nil
}

// readInputs matches the files that the host handed over with the request's datasets.
func (r *run) readInputs() error {
	inputs := r.agreement.InputsOf(r.work)
	if len(r.start.Inputs) != len(inputs) || len(r.request.Datasets) != len(inputs) {
		return verdict.Misuse("room.inputs", fmt.Sprintf("the files of %d inputs", len(inputs)), fmt.Sprint(len(r.start.Inputs)), "hand over the sealed file of each input, and no other")
	}
	for i, agreed := range inputs {
		in := &input{agreed: agreed}
		r.inputs = append(r.inputs, in)
		if err := r.readInput(in, r.start.Inputs[i], r.request.Datasets[i]); err != nil {
			return err
		}
		o := r.owner(agreed.Owner)
		o.inputs = append(o.inputs, in)
	}
	return nil
}

func (r *run) owner(id wire.ID) *owner {
	for _, o := range r.owners {
		if o.id == id {
			return o
		}
	}
	return nil // OwnersOf names the owner of every input
}

// readInput checks one input before anything is decrypted: the owner's signed statement is
// the one the request names and fits the agreement, and the file's header and size are those
// of the statement. The file's every byte is checked as it is decrypted.
func (r *run) readInput(in *input, from StartInput, want agreement.RunDataset) (err error) {
	name := string(in.agreed.Name)
	if from.Input != in.agreed.Name || want.Input != in.agreed.Name {
		return verdict.Misuse("room.inputs", "the file of input "+name, verdict.Short(string(from.Input)), "hand the files over in the agreement's order")
	}
	if in.statement, err = agreement.ParseDataset(from.Statement); err != nil {
		return err
	}
	if in.statement.Digest() != want.Statement {
		return verdict.Refuse("input.version", "the dataset version the request names, "+want.Statement.Short(), in.statement.Digest().Short(), "serve the version that was asked for")
	}
	if err := in.statement.Verify(r.party(in.agreed.Owner), r.HostClock()); err != nil {
		return err
	}
	if err := fits(in.statement.Dataset, in.agreed, r.party(in.agreed.Owner).Name); err != nil {
		return err
	}
	if p := in.agreed.Statement; p != nil && *p != want.Statement {
		return verdict.Refuse("input.version", "the dataset version the agreement pins, "+p.Short(), want.Statement.Short(), "sign a request for that version")
	}
	if in.file, err = r.Input(from.FD); err != nil {
		return verdict.Misuse("room.inputs", "an open file for input "+name, err.Error(), "hand over the sealed file")
	}
	return in.checkFile()
}

// fits checks that a statement is about what the agreement calls by that input's name.
func fits(d agreement.Dataset, in agreement.Input, owner wire.ID) error {
	for _, c := range []struct {
		what      string
		want, got any
	}{
		{"owner", owner, d.Owner}, {"dataset", in.Dataset, d.Dataset}, {"format", in.Format, d.Format},
		{"schema", agreement.SchemaDigest(in.Schema), d.Schema},
	} {
		if c.want != c.got {
			return verdict.Refuse("input."+c.what, fmt.Sprintf("%s %v, as agreed for input %s", c.what, c.want, in.Name), fmt.Sprint(c.got), "serve a version of the agreed dataset")
		}
	}
	return nil
}

// size gives the size of the sealed file. In a virtual machine it lies on a disk, which ends
// with a sector and not with the file: if its last byte is there, it has the statement's size,
// and what is behind it is never read.
func (in *input) size() (int64, error) {
	info, err := in.file.Stat()
	if err != nil {
		return 0, err
	}
	if mode := info.Mode(); mode.IsRegular() {
		return info.Size(), nil
	} else if mode&fs.ModeDevice == 0 || mode&fs.ModeCharDevice != 0 {
		return 0, fs.ErrInvalid
	}
	if _, err := in.file.ReadAt(make([]byte, 1), in.statement.Size-1); err != nil {
		return 0, err
	}
	return in.statement.Size, nil
}

func (in *input) checkFile() error {
	name, want := string(in.agreed.Name), in.statement.Dataset
	size, err := in.size()
	if err != nil || size < want.Size {
		return verdict.Refuse("input.size", fmt.Sprintf("a file of %d bytes for input %s", want.Size, name), fmt.Sprint(size), "the file was cut short: get it from its owner again")
	}
	if size != want.Size {
		return verdict.Refuse("input.size", fmt.Sprintf("a file of %d bytes for input %s", want.Size, name), fmt.Sprint(size), "something was added to the file: get it from its owner again")
	}
	if in.header, err = seal.ReadHeader(in.sealed()); err != nil {
		return err
	}
	if got := wire.HashOf(in.header); got != want.Header {
		return verdict.Refuse("input.header", "header "+want.Header.Short()+" of input "+name, got.Short(), "this is another file: serve the one its owner signed")
	}
	stanzas, err := seal.CountStanzas(in.header)
	if err != nil {
		return err
	}
	if int64(stanzas) != want.Recipients {
		return verdict.Refuse("input.recipients", fmt.Sprintf("%d recipients of input %s", want.Recipients, name), fmt.Sprint(stanzas), "serve the file its owner signed")
	}
	return nil
}
