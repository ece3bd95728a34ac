package room_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/broker"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/release"
	"strongroom.dev/release/file"
	"strongroom.dev/room"
	"strongroom.dev/seal"
	"strongroom.dev/store/state"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// world is two owners with real brokers, a researcher, a shared ledger, and a host whose
// every move a test may change.
type world struct {
	t         testing.TB
	dir       string
	root      *keys.SigningKey
	image     dev.Measurement
	parties   map[wire.ID]*party
	shared    *witness
	agreement *agreement.SignedAgreement
	change    func(*agreement.Agreement) // before it is signed

	// ask, where set, stands between the room and everybody else.
	ask func(ctx context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error)
	// engine answers jobs; plain holds the inputs' plaintext.
	engine func(ctx context.Context, job sql.Job, plain map[wire.ID]string) (sql.Result, string, error)
	skew   time.Duration // of the brokers' clocks
	roots  []wire.Hash   // that a verifier relies on beside the development root

	mu    sync.Mutex
	steps []room.Step
	files map[string][]byte
	shown []room.Shown
	last  room.Event
	calls []string // stream+path of every call
}

type party struct {
	id        wire.ID
	signing   *keys.SigningKey
	signed    *agreement.SignedParty
	data      *seal.Identity
	result    *seal.Identity
	releaseK  *keys.SigningKey
	log       *tilelog.Log
	broker    *broker.Broker
	sealed    []byte
	statement *agreement.SignedDataset
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newSigningKey(t testing.TB) *keys.SigningKey {
	k, err := keys.GenerateSigningKey(keys.Ed25519)
	must(t, err)
	return k
}

func randomID() string { id := keys.RandomID(); return hex.EncodeToString(id[:]) }

func (w *world) now() time.Time { return time.Now().Add(w.skew) }

// newWorld builds the world; change may alter the agreement before it is signed.
func newWorld(t testing.TB, change func(*agreement.Agreement)) *world {
	w := &world{t: t, dir: t.TempDir(), root: newSigningKey(t), parties: map[wire.ID]*party{}, files: map[string][]byte{}, change: change}
	w.image = dev.Measurement{Agent: wire.DigestOf([]byte("agent")), Helpers: map[string]wire.Digest{"strongroom-sql": wire.DigestOf([]byte("sql"))}}
	w.shared = newWitness(t, w, filepath.Join(w.dir, "shared"))
	for _, id := range []wire.ID{"alpha", "beta", "study"} {
		w.makeParty(id)
	}
	w.agree()
	for _, id := range []wire.ID{"alpha", "beta"} {
		w.openBroker(w.parties[id])
	}
	w.engine = func(context.Context, sql.Job, map[wire.ID]string) (sql.Result, string, error) {
		return answer(), "", nil
	}
	return w
}

// answer is what the engine says unless a test says otherwise.
func answer() sql.Result {
	one, two := "12.500", "3"
	return sql.Result{Columns: []sql.Column{{Name: "mean", Type: "decimal", Scale: 3}, {Name: "n", Type: "integer"}}, Rows: [][]*string{{&one, &two}, {nil, &two}},
		Withheld: []sql.Withheld{{Owner: "alpha", Rows: 1}, {Owner: "beta", Rows: 0}}, Plan: wire.HashOf([]byte("plan")), SQL: "SELECT 1"}
}

func (w *world) makeParty(id wire.ID) {
	t := w.t
	p := &party{id: id, signing: newSigningKey(t), releaseK: newSigningKey(t)}
	w.parties[id] = p
	var err error
	p.data, err = seal.GenerateIdentity(seal.Data)
	must(t, err)
	p.result, err = seal.GenerateIdentity(seal.Result)
	must(t, err)
	d := agreement.Descriptor{Name: id + "-org", Title: "Organisation", Domain: string(id) + ".example", Version: 1, Threshold: 1,
		Keys:    []agreement.PartyKey{{Public: p.signing.Public(), NotBefore: wire.At(time.Now().Add(-time.Hour)), NotAfter: wire.At(time.Now().Add(9000 * time.Hour))}},
		Results: []string{p.result.Recipient().String()}}
	if id != "study" {
		secret, logKey, err := ledger.GenerateKey("broker.example/" + string(id))
		must(t, err)
		w.writeKeys(p, secret)
		signer, err := ledger.ParseSigner(secret)
		must(t, err)
		dir := filepath.Join(w.dir, string(id)+"-log")
		must(t, tilelog.Create(dir, signer))
		p.log, err = tilelog.Open(dir, signer)
		must(t, err)
		t.Cleanup(func() { p.log.Close() })
		d.Broker = &agreement.BrokerInfo{Address: "127.0.0.1:1", Operator: "in house", ReleaseKey: p.releaseK.Public(), LogKey: logKey, Data: []string{p.data.Recipient().String()}}
	}
	p.signed, err = agreement.NewParty(d)
	must(t, err)
	must(t, p.signed.Document.Sign(p.signing))
	if id != "study" {
		w.publishable(p, 1, nil, fmt.Sprintf("patient,radius\n1,2.000\n%-5s\n", id))
	}
}

func (w *world) writeKeys(p *party, logSecret string) {
	dir := filepath.Join(w.dir, string(p.id)+"-keys")
	must(w.t, os.Mkdir(dir, 0o700))
	identity, err := p.data.MarshalSecret()
	must(w.t, err)
	signing, err := p.releaseK.MarshalSecret()
	must(w.t, err)
	for name, text := range map[string]string{"data.key": identity, "release.key": signing, "log.key": logSecret, "broker.secret": hex.EncodeToString(keys.GenerateSecret().MarshalSecret())} {
		must(w.t, os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600))
	}
}

// publishable seals a plaintext and states it.
func (w *world) publishable(p *party, version int64, supersedes *wire.Digest, plain string) {
	var sealed bytes.Buffer
	sum, err := seal.Seal(&sealed, bytes.NewReader([]byte(plain)), []seal.Recipient{p.data.Recipient()}, seal.Options{Root: true})
	must(w.t, err)
	p.sealed = sealed.Bytes()
	p.statement, err = agreement.NewDataset(agreement.Dataset{Owner: p.signed.Name, Dataset: "patients", Version: version, Supersedes: supersedes, Header: sum.HeaderHash, Root: sum.Root,
		Size: sum.Size, Recipients: int64(sum.Recipients), Format: agreement.CSV, Schema: agreement.SchemaDigest(schema()), Created: wire.At(time.Now())})
	must(w.t, err)
	must(w.t, p.statement.Document.Sign(p.signing))
}

func schema() []agreement.Column {
	return []agreement.Column{{Name: "patient", Type: "integer", Unit: true}, {Name: "radius", Type: "decimal", Scale: 3}}
}

func (w *world) agree() {
	root := w.root.Public().ID()
	a := agreement.Agreement{ID: "breast-study", Version: 1, Title: "Study", Purpose: "research", LegalBasis: "consent", Retention: "none", Contact: "a@alpha.example",
		Valid:      agreement.Validity{From: wire.At(time.Now().Add(-time.Hour)), Until: wire.At(time.Now().Add(1000 * time.Hour))},
		Protection: agreement.Software,
		Platforms: []agreement.Platform{{Kind: "dev", Root: &root, Machines: []string{}, Releases: []agreement.ReleaseLine{}, MayLack: []wire.ID{},
			Images: []agreement.Image{{Name: "room", Measurements: w.image.Named()}}}},
		Inputs: []agreement.Input{},
		Tables: []agreement.Table{{Name: "patients", Inputs: []wire.ID{"alpha-rows", "beta-rows"}}},
		Work: []agreement.Work{{Name: "mean-radius", Kind: "sql", Description: "mean", Query: "SELECT avg(radius) FROM patients WHERE radius > $least", Tables: []string{"patients"},
			Parameters: []agreement.Parameter{{Name: "least", Type: "integer", Min: "0", Max: "9", Values: []string{}}}, MayRun: []wire.ID{"study"}, Output: "answer"}},
		Outputs: []agreement.Output{{Name: "answer", Receivers: []wire.ID{"study"}, Format: "csv", MaxRows: 100, MaxBytes: 10000}},
		Ledgers: agreement.Ledgers{Witnesses: []agreement.Witness{{Name: "shared", Key: w.shared.key}}, Quorum: 1},
		LeaseMS: 3000}
	for _, id := range []wire.ID{"alpha", "beta"} {
		a.Inputs = append(a.Inputs, agreement.Input{Name: id + "-rows", Owner: id, Dataset: "patients", Format: agreement.CSV, RunsPerDay: 100, Schema: schema(), Rules: testrules.Groups(10, "study")})
	}
	for _, id := range []wire.ID{"alpha", "beta", "study"} {
		a.Parties = append(a.Parties, agreement.Party{ID: id, Descriptor: w.parties[id].signed.Digest()})
	}
	if w.change != nil {
		w.change(&a)
	}
	var err error
	w.agreement, err = agreement.NewAgreement(a)
	must(w.t, err)
	for _, id := range []wire.ID{"alpha", "beta", "study"} {
		must(w.t, w.agreement.Document.Sign(w.parties[id].signing))
	}
}

func (w *world) openBroker(p *party) {
	t := w.t
	store, err := file.Open(filepath.Join(w.dir, string(p.id)+"-keys"))
	must(t, err)
	s, err := state.Open(filepath.Join(w.dir, string(p.id)+".db"), time.Second)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	p.broker, err = broker.Open(t.Context(), broker.Config{Own: []*agreement.SignedParty{p.signed}, State: s, Log: p.log, Keys: store, Platforms: platforms(),
		Now: w.now, InsecureAllowSoftware: true, Witnesses: map[string]broker.Witness{w.shared.key: w.shared}})
	must(t, err)
	if !p.broker.Public().Serving { // a new broker asks nobody
		s, err := p.broker.Status(t.Context())
		must(t, err)
		_, err = p.broker.Confirm(t.Context(), s.Lock.Confirmation())
		must(t, err)
	}
	w.publish(p)
	_, err = p.broker.Activate(t.Context(), broker.Activation{Agreement: document(t, w.agreement.Document), Parties: w.descriptors()})
	must(t, err)
}

func (w *world) publish(p *party) {
	header, err := seal.ReadHeader(bytes.NewReader(p.sealed))
	must(w.t, err)
	_, err = p.broker.Publish(w.t.Context(), broker.Publication{Statement: document(w.t, p.statement.Document), Header: header, Admit: broker.Admission{Activated: true}})
	must(w.t, err)
}

func (w *world) descriptors() (list []json.RawMessage) {
	for _, id := range []wire.ID{"alpha", "beta", "study"} {
		list = append(list, document(w.t, w.parties[id].signed.Document))
	}
	return list
}

func platforms() []attest.Platform {
	return []attest.Platform{dev.New(), tpm.New(endorse.Set{}).Platform()}
}

func document(t testing.TB, d *keys.Document) json.RawMessage {
	t.Helper()
	data, err := d.Encode()
	must(t, err)
	return bytes.TrimRight(data, "\n")
}

// request has the researcher sign a run; change may alter it before.
func (w *world) request(change func(*agreement.Run)) *agreement.SignedRun {
	r := agreement.Run{Agreement: w.agreement.Digest(), RunID: randomID(), Requester: "study", Work: "mean-radius", Parameters: map[string]string{"least": "3"}, Expires: wire.At(time.Now().Add(time.Hour))}
	for _, id := range []wire.ID{"alpha", "beta"} {
		r.Datasets = append(r.Datasets, agreement.RunDataset{Input: id + "-rows", Statement: w.parties[id].statement.Digest()})
	}
	if change != nil {
		change(&r)
	}
	run, err := agreement.NewRun(r)
	must(w.t, err)
	must(w.t, run.Document.Sign(w.parties["study"].signing))
	return run
}

// The descriptors of the start message: numbers that input turns into files.
const (
	engineFD = 5
	alphaFD  = 6
	betaFD   = 7
)

func (w *world) start(run *agreement.SignedRun) room.Start {
	s := room.Start{Format: room.StartFormat, Agreement: document(w.t, w.agreement.Document), Parties: w.descriptors(), Run: document(w.t, run.Document),
		Helpers: []room.StartHelper{{Name: "strongroom-sql", FD: engineFD}}}
	for i, id := range []wire.ID{"alpha", "beta"} {
		s.Inputs = append(s.Inputs, room.StartInput{Input: id + "-rows", Statement: document(w.t, w.parties[id].statement.Document), FD: alphaFD + i})
	}
	return s
}

func (w *world) config() room.Config {
	began := time.Now()
	return room.Config{
		Device: &fakeDevice{w: w, platform: "dev"},
		Ask:    w.asked,
		Tell:   w.tell,
		File: func(name string, data io.Reader, size int64) error {
			content, err := io.ReadAll(data)
			if err != nil || int64(len(content)) != size {
				return fmt.Errorf("%s: %d of %d bytes: %w", name, len(content), size, err)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.files[name] = content
			return nil
		},
		Input:  w.input,
		Memory: func(name string) (*os.File, error) { return os.CreateTemp(w.dir, name) },
		Seal:   func(*os.File) error { return nil },
		Engine: func(ctx context.Context, _ *os.File, job sql.Job, files []*os.File) (sql.Result, string, error) {
			if job.CheckOnly {
				return sql.Result{}, "", nil
			}
			plain := map[wire.ID]string{}
			for i, f := range files {
				data, err := os.ReadFile(f.Name())
				must(w.t, err)
				plain[job.Inputs[i].Name] = string(data)
			}
			return w.engine(ctx, job, plain)
		},
		FirstFile: 16, Silence: func() error { return nil }, Elapsed: func() time.Duration { return time.Since(began) }, HostClock: w.now, Patience: 300 * time.Millisecond, Longest: time.Minute,
		EngineMemory: 64 << 20, EngineThreads: 1,
	}
}

func (w *world) tell(e room.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Step != "" {
		w.steps = append(w.steps, e.Step)
	}
	if e.Shown != nil {
		w.shown = append(w.shown, *e.Shown)
	}
	w.last = e
	return nil
}

func (w *world) input(fd int) (*os.File, error) {
	path := filepath.Join(w.dir, fmt.Sprintf("fd%d", fd))
	data := map[int][]byte{engineFD: []byte("program"), alphaFD: w.parties["alpha"].sealed, betaFD: w.parties["beta"].sealed}[fd]
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return nil, err
	}
	return os.Open(path)
}

// asked plays the host: it relays to brokers and ledgers.
func (w *world) asked(ctx context.Context, stream, path string, body []byte, limit int) ([]byte, error) {
	w.mu.Lock()
	w.calls = append(w.calls, stream+path)
	w.mu.Unlock()
	next := func(body []byte) ([]byte, error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		data, err := w.relay(ctx, stream, path, body)
		if err != nil {
			err = verdict.Decode(verdict.Encode(err)) // as it crosses the wire
		}
		return data, err
	}
	if w.ask != nil {
		return w.ask(ctx, stream, path, body, next)
	}
	return next(body)
}

func (w *world) relay(ctx context.Context, stream, path string, body []byte) ([]byte, error) {
	if stream == "ledger/shared" && path == ledger.PathEntries {
		return w.shared.enter(ctx, body)
	}
	b := map[string]*broker.Broker{"broker/alpha-org": w.parties["alpha"].broker, "broker/beta-org": w.parties["beta"].broker}[stream]
	switch {
	case b == nil:
		return nil, fmt.Errorf("no such stream: %s", stream)
	case path == release.PathChallenge:
		return b.Challenge(ctx, body)
	case path == release.PathActivate:
		return b.ActivateTPM(ctx, body)
	case path == release.PathActivated:
		return b.ActivatedTPM(ctx, body)
	case path == release.PathRelease:
		return b.Release(ctx, body)
	case path == release.PathLive:
		return b.Live(ctx, body)
	case path == release.PathAsked:
		return b.Asked(ctx, body)
	case path == release.PathConsistency:
		var asked release.ConsistencyRequest
		must(w.t, wire.Unmarshal(body, &asked))
		answer, err := b.Consistency(ctx, asked)
		if err != nil {
			return nil, err
		}
		return wire.Marshal(answer)
	}
	return nil, fmt.Errorf("no such path: %s", path)
}

// run starts a room for the request.
func (w *world) run(request *agreement.SignedRun) error {
	return room.Run(w.t.Context(), w.config(), w.start(request))
}

// trust is a verifier that pinned everybody.
func (w *world) trust() proof.Trust {
	parties := map[wire.Digest]string{}
	for _, p := range w.parties {
		parties[p.signed.Digest()] = string(p.id)
	}
	return proof.Trust{Parties: parties, Platforms: platforms(), Roots: append([]wire.Hash{w.root.Public().ID()}, w.roots...),
		Ledgers: []ledger.Witness{{Name: "shared", Key: w.shared.key}}}
}

// opened proves and opens the one result that left.
func (w *world) opened(request *agreement.SignedRun) (room.Head, string) {
	w.t.Helper()
	name := "answer-study-" + request.RunID[:8]
	bundle, err := proof.ParseBundle(w.files[name+".proof"])
	must(w.t, err)
	proven, err := proof.Verify(bundle, w.trust(), w.now())
	must(w.t, err)
	sealed := w.files[name+".age"]
	must(w.t, proven.CheckFile(wire.HashOf(sealed), int64(len(sealed))))
	var plain, body bytes.Buffer
	_, err = seal.Open(&plain, bytes.NewReader(sealed), []*seal.Identity{w.parties["study"].result}, seal.Options{})
	must(w.t, err)
	head, err := room.ReadResult(&body, &plain, room.Committed{Agreement: proven.Result.Agreement, Run: proven.Result.Run, RunID: proven.Result.RunID,
		Output: proven.Result.Output, Commitment: proven.Result.Commitment})
	must(w.t, err)
	return head, body.String()
}

// details opens an owner's part of the run's record in the shared ledger.
func (w *world) details(id wire.ID) (room.Detail, int) {
	w.t.Helper()
	data, err := w.shared.log.Entry(w.shared.log.Size() - 1)
	must(w.t, err)
	entry, err := ledger.ParseEntry(data)
	must(w.t, err)
	for _, part := range entry.Sealed {
		if part.Party != id {
			continue
		}
		var plain bytes.Buffer
		_, err = seal.Open(&plain, bytes.NewReader(part.Sealed), []*seal.Identity{w.parties[id].data}, seal.Options{})
		must(w.t, err)
		var d room.Detail
		must(w.t, json.Unmarshal(plain.Bytes(), &d))
		return d, plain.Len()
	}
	w.t.Fatalf("no part for %s", id)
	return room.Detail{}, 0
}

// witness is a shared ledger: it cosigns brokers' logs and takes records into its own.
type witness struct {
	t      testing.TB
	signer *ledger.Signer
	key    string
	log    *tilelog.Log
	now    func() time.Time
	mu     sync.Mutex
	latest map[string]string
}

func newWitness(t testing.TB, w *world, dir string) *witness {
	secret, key, err := ledger.GenerateKey("ledger.example/shared")
	must(t, err)
	signer, err := ledger.ParseSigner(secret)
	must(t, err)
	must(t, tilelog.Create(dir, signer))
	log, err := tilelog.Open(dir, signer)
	must(t, err)
	t.Cleanup(func() { log.Close() })
	return &witness{t: t, signer: signer, key: key, log: log, now: w.now, latest: map[string]string{}}
}

func (s *witness) AddCheckpoint(_ context.Context, _ int64, _ []wire.Hash, checkpoint string) (string, error) {
	c, err := ledger.ReadCheckpoint(checkpoint)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest[c.Origin] = checkpoint
	return s.signer.Cosign(c, s.now())
}

func (s *witness) Latest(_ context.Context, origin string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest[origin], nil
}

func (s *witness) enter(ctx context.Context, entry []byte) ([]byte, error) {
	index, err := s.log.Append(ctx, [][]byte{entry})
	if err != nil {
		return nil, err
	}
	receipt, err := s.log.Receipt(index)
	if err != nil {
		return nil, err
	}
	return wire.Marshal(receipt)
}
