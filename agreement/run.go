package agreement

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Run is the body of a run request (R9, spec/run.md), signed by a party that may run the
// work. Nothing in it comes from a host.
type Run struct {
	Agreement wire.Digest `json:"agreement"`
	// RunID is 32 lower-case hex digits, fresh for every request.
	RunID      string            `json:"run_id"`
	Requester  wire.ID           `json:"requester"` // party id
	Work       wire.ID           `json:"work"`
	Parameters map[string]string `json:"parameters"` // canonical text of each value
	Datasets   []RunDataset      `json:"datasets"`   // one for each input the work reads, in the agreement's order
	Expires    wire.Time         `json:"expires"`
	// Environment are the requester's values for a container's variables of kind pattern:
	// measured with the request, and shown.
	Environment map[string]string `json:"environment,omitempty"`
	// Query is the text of an ad-hoc work; empty for every other.
	Query string `json:"query,omitempty"`
	// Epsilon is what the run spends where an ad-hoc work reads inputs under differential privacy;
	// empty for every other.
	Epsilon string `json:"epsilon,omitempty"`
	// RoomNonce and Counter bind a request to one serving room; absent for one-shot rooms.
	RoomNonce *wire.Hash `json:"room_nonce,omitempty"`
	Counter   int64      `json:"counter,omitempty"`
}

// QueryOf gives the query that the run of a work asks: the agreed one, or the request's own.
func (r Run) QueryOf(w Work) string {
	if w.AdHoc {
		return r.Query
	}
	return w.Query
}

// EpsilonOf gives what the run of a work spends where an input is under differential privacy:
// as agreed, or as the request says.
func (r Run) EpsilonOf(w Work) string {
	if w.AdHoc {
		return r.Epsilon
	}
	return w.Epsilon
}

// RunDataset names the dataset version a run reads for one input.
type RunDataset struct {
	Input     wire.ID     `json:"input"`
	Statement wire.Digest `json:"statement"`
}

// Validate checks the form of a request; what it asks for is checked against the agreement
// in [SignedRun.Verify].
func (r Run) Validate() error {
	p := place{check: "run.form"}
	if r.Agreement.IsZero() {
		return p.dot("agreement").bad("the digest of an agreement", "zero", "")
	}
	if len(r.RunID) != 32 || !lowerHex(r.RunID) {
		return p.dot("run_id").bad("32 lower-case hex digits", quoted(r.RunID), "")
	}
	if r.Expires.IsZero() {
		return p.dot("expires").bad("a time", "nothing", "")
	}
	if (r.RoomNonce == nil) != (r.Counter == 0) {
		return p.dot("counter").bad("room_nonce and counter together", "one of them", "")
	}
	return first(
		p.dot("requester").id(r.Requester),
		p.dot("work").id(r.Work),
		p.dot("parameters").count(len(r.Parameters), 0, MaxParameters),
		p.dot("datasets").count(len(r.Datasets), 0, MaxInputs),
		each(p.dot("datasets"), r.Datasets, func(p place, d RunDataset) error {
			if d.Statement.IsZero() {
				return p.dot("statement").bad("the digest of a dataset statement", "zero", "")
			}
			return p.dot("input").id(d.Input)
		}),
		p.dot("counter").integer(r.Counter, 0, wire.MaxInteger),
		r.validateEnvironment(p.dot("environment")),
	)
}

func (r Run) validateEnvironment(p place) error {
	if err := p.count(len(r.Environment), 0, MaxVariables); err != nil {
		return err
	}
	for _, name := range sortedNames(r.Environment) {
		if !variableName(name) {
			return p.bad("names of environment variables", quoted(name), "remove it")
		}
		if err := p.dot(name).value(r.Environment[name], MaxValue); err != nil {
			return err
		}
	}
	return nil
}

// SignedRun is a run request with the document it stands in.
type SignedRun struct {
	Run
	Document *keys.Document
}

// NewRun makes an unsigned document of a request.
func NewRun(r Run) (*SignedRun, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	doc, err := create(RunType, "run.form", r)
	if err != nil {
		return nil, err
	}
	return &SignedRun{r, doc}, nil
}

// ParseRun reads a signed request and checks its form; see [SignedRun.Verify] for the rest.
func ParseRun(data []byte) (*SignedRun, error) {
	r := new(SignedRun)
	var err error
	if r.Document, err = parse(data, RunType, "run.form", &r.Run); err != nil {
		return nil, err
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return r, nil
}

// Digest names the request: what evidence binds (R9).
func (r *SignedRun) Digest() wire.Digest { return r.Document.Digest() }

// Verify checks a request against the agreement it is for: it names that agreement; the
// requester is a party that may run the work, and the threshold of its keys valid at now
// has signed, and nobody else; every parameter is there in canonical text and in bounds, and
// no other; the dataset versions are those of the work's inputs, in order; and it expires
// after now, at most [MaxRunAhead] ahead. The agreement is verified apart. Whether the run
// id is fresh is for the brokers to know (R14).
func (r *SignedRun) Verify(a *SignedAgreement, requester *SignedParty, now time.Time) error {
	if err := inOrder(r.Validate, func() error { return same(r.Document, RunType, "run.signatures", r.Run) }); err != nil {
		return err
	}
	if a == nil || a.Document == nil || a.Digest() != r.Agreement {
		return verdict.Refuse("run.agreement", "a request for this agreement", "one for agreement "+r.Agreement.Short(), "sign a new request")
	}
	party, found := a.PartyByID(r.Requester)
	if !found || requester == nil || requester.Document == nil || requester.Digest() != party.Descriptor {
		return verdict.Refuse("run.requester", "the descriptor of a party of the agreement", quoted(string(r.Requester))+" or another descriptor", "")
	}
	w, found := a.WorkByName(r.Work)
	if !found {
		return verdict.Refuse("run.work", "work that the agreement names", quoted(string(r.Work)), "name one of: "+names(a.Work, func(w Work) string { return string(w.Name) }))
	}
	if !slices.Contains(w.MayRun, r.Requester) {
		return verdict.Refuse("run.may-run", "one of: "+names(w.MayRun, self[wire.ID]), quoted(string(r.Requester)), "only a party listed in may_run of "+string(w.Name)+" may ask for it")
	}
	s := requester.signers(string(r.Requester))
	return inOrder(
		func() error { return requester.VerifyOwn(now) },
		func() error { return noStrangers("run.signatures", r.Document, s) },
		func() error { return s.signed("run.signatures", r.Document, now) },
		func() error { return r.verifyParameters(w) },
		func() error { return r.verifyQuery(a, w) },
		func() error { return r.verifyEnvironment(w) },
		func() error { return r.verifyDatasets(a.InputsOf(w)) },
		func() error { return r.verifyTime(now) },
	)
}

func (r *SignedRun) verifyParameters(w Work) error {
	for _, param := range w.Parameters {
		text, given := r.Parameters[param.Name]
		if !given {
			return verdict.Misuse("run.parameters", "a value for "+param.Name, "none", "add --param "+param.Name+"=VALUE")
		}
		canonical, err := CanonicalParameter(param, text)
		if err != nil {
			return err
		}
		if canonical != text {
			return verdict.Misuse("run.parameters", "for "+param.Name+" the canonical text "+strconv.Quote(canonical), quoted(text), "")
		}
	}
	for _, name := range sortedNames(r.Parameters) {
		if _, found := find(w.Parameters, func(p Parameter) bool { return p.Name == name }); !found {
			return verdict.Misuse("run.parameters", "one of: "+names(w.Parameters, func(p Parameter) string { return p.Name }), quoted(name), "remove it")
		}
	}
	return nil
}

// verifyQuery holds the query and the spending that a request brings against what its work
// leaves to it. Whether the rules let the query pass is for the room to say.
func (r *SignedRun) verifyQuery(a *SignedAgreement, w Work) error {
	p := place{check: "run.query"}
	if !w.AdHoc {
		if r.Query != "" || r.Epsilon != "" {
			return verdict.Refuse(p.check, "no query and no epsilon: those of "+string(w.Name)+" were agreed", quoted(r.Query+r.Epsilon), "leave them out, or ask for work with ad_hoc")
		}
		return nil
	}
	if err := p.dot("query").text(r.Query, MaxQuery); err != nil {
		return err
	}
	if len(a.Private(w)) == 0 {
		if r.Epsilon != "" {
			return verdict.Refuse(p.check, "no epsilon, since nothing that "+string(w.Name)+" reads is under differential privacy", quoted(r.Epsilon), "leave it out")
		}
		return nil
	}
	p.check = "run.epsilon"
	if err := p.dot("epsilon").budget(r.Epsilon, EpsilonScale, MaxEpsilon); err != nil {
		return err
	}
	return a.affordable(p, w, r.Epsilon)
}

// verifyEnvironment holds the requester's values against the container's rules; work of
// another kind has none.
func (r *SignedRun) verifyEnvironment(w Work) error {
	const check = "run.environment"
	var rules []Environment
	if w.Container != nil {
		rules = w.Container.Environment
	}
	rules = slices.DeleteFunc(slices.Clone(rules), func(v Environment) bool { return v.Kind != Pattern })
	for _, v := range rules {
		value, given := r.Environment[v.Name]
		if !given && v.Required {
			return verdict.Refuse(check, "a value for "+v.Name, "none", "add --env "+v.Name+"=VALUE")
		}
		if !given {
			continue
		}
		whole, err := v.expression()
		if err != nil || !whole.MatchString(value) {
			return verdict.Refuse(check, "for "+v.Name+" a value that matches "+quoted(v.Pattern), quoted(value), "")
		}
	}
	for _, name := range sortedNames(r.Environment) {
		if _, found := find(rules, func(v Environment) bool { return v.Name == name }); !found {
			return verdict.Refuse(check, "one of: "+names(rules, func(v Environment) string { return v.Name }), quoted(name), "remove it: the agreement leaves the requester no choice of it")
		}
	}
	return nil
}

func (r *SignedRun) verifyDatasets(inputs []Input) error {
	for i, in := range inputs {
		if i >= len(r.Datasets) || r.Datasets[i].Input != in.Name {
			return verdict.Refuse("run.datasets", fmt.Sprintf("a dataset version for input %q in place %d", in.Name, i+1), "none", "sign a new request that names one for every input, in the agreement's order")
		}
		if in.Statement != nil && r.Datasets[i].Statement != *in.Statement {
			return verdict.Refuse("run.datasets", fmt.Sprintf("for input %q the version %s that the agreement pins", in.Name, in.Statement.Short()), r.Datasets[i].Statement.Short(), "sign a request with that version")
		}
	}
	if len(r.Datasets) > len(inputs) {
		return verdict.Refuse("run.datasets", fmt.Sprintf("%d dataset versions", len(inputs)), fmt.Sprintf("%d", len(r.Datasets)), "name only the inputs that the work reads")
	}
	return nil
}

func (r *SignedRun) verifyTime(now time.Time) error {
	switch expires := r.Expires.Time(); {
	case !now.Before(expires):
		return verdict.Refuse("run.expiry", "a time before "+r.Expires.String(), wire.At(now).String(), "the request has expired: sign a new one")
	case expires.After(now.Add(MaxRunAhead)):
		return verdict.Refuse("run.expiry", fmt.Sprintf("an expiry at most %s ahead", MaxRunAhead), r.Expires.String(), "sign one that expires sooner")
	case r.RoomNonce != nil:
		return verdict.Refuse("run.room", "a request for a one-shot room", "one bound to a serving room", "serving rooms are not enforced yet")
	}
	return nil
}
