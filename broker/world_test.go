package broker_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/broker"
	"strongroom.dev/client"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/release/file"
	"strongroom.dev/seal"
	"strongroom.dev/store/state"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var ctx = context.Background()

// start is when every test begins.
var start = time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)

// world is two hospitals and a researcher. Alpha's broker is the one under test; of beta
// there is its log.
type world struct {
	t           testing.TB
	dir         string
	clock       atomic.Int64 // Unix ms
	signing     map[wire.ID]*keys.SigningKey
	descriptors map[wire.ID]*agreement.SignedParty
	keys        *file.Store // alpha's
	root        *keys.SigningKey
	image       dev.Measurement
	betaLog     *tilelog.Log
	betaNotes   map[int64]string // beta's checkpoint of each size it had
	betaRelease *keys.SigningKey
	header      []byte
	fileKey     []byte
	statements  map[wire.ID]*agreement.SignedDataset // by owner
	agreement   agreement.Agreement
	// more is what else the rooms of TestKill ask.
	more func(*errand) func(*client.Broker) error
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), signing: map[wire.ID]*keys.SigningKey{}, descriptors: map[wire.ID]*agreement.SignedParty{},
		root: signingKey(t), betaNotes: map[int64]string{}, statements: map[wire.ID]*agreement.SignedDataset{}}
	w.clock.Store(start.UnixMilli())
	w.image = dev.Measurement{Agent: wire.DigestOf([]byte("agent")), Helpers: map[string]wire.Digest{"strongroom-sql": wire.DigestOf([]byte("sql"))}}
	for _, id := range []wire.ID{"alpha", "beta", "study"} {
		w.makeParty(id)
	}
	w.sealData()
	w.agreement = w.draft()
	return w
}

func (w *world) now() time.Time { return time.UnixMilli(w.clock.Load()) }

func (w *world) pass(d time.Duration) { w.clock.Add(d.Milliseconds()) }

func signingKey(t testing.TB) *keys.SigningKey {
	t.Helper()
	k, err := keys.GenerateSigningKey(keys.Ed25519)
	must(t, err)
	return k
}

// makeParty makes keys and a descriptor; alpha's keys go to files, beta gets a log.
func (w *world) makeParty(id wire.ID) {
	identity, err := seal.GenerateIdentity(seal.Data)
	must(w.t, err)
	result, err := seal.GenerateIdentity(seal.Result)
	must(w.t, err)
	logSecret, logKey, err := ledger.GenerateKey("broker.example/" + string(id))
	must(w.t, err)
	w.signing[id] = signingKey(w.t)
	releaseKey := signingKey(w.t)
	if id == "alpha" {
		w.keys = w.writeKeys(identity, releaseKey, logSecret)
	}
	if id == "beta" {
		w.betaRelease = releaseKey
		signer, err := ledger.ParseSigner(logSecret)
		must(w.t, err)
		must(w.t, tilelog.Create(filepath.Join(w.dir, "beta"), signer))
		w.betaLog, err = tilelog.Open(filepath.Join(w.dir, "beta"), signer)
		must(w.t, err)
		w.t.Cleanup(func() { w.betaLog.Close() })
		w.betaGrows(3)
	}
	d := agreement.Descriptor{
		Name: id + "-org", Title: "Organisation", Domain: string(id) + ".example", Version: 1, Threshold: 1,
		Keys:    []agreement.PartyKey{{Public: w.signing[id].Public(), NotBefore: wire.At(start.Add(-time.Hour)), NotAfter: wire.At(start.Add(9000 * time.Hour))}},
		Results: []string{result.Recipient().String()},
	}
	if id != "study" {
		d.Broker = &agreement.BrokerInfo{Address: "127.0.0.1:1", Operator: "in house", ReleaseKey: releaseKey.Public(), LogKey: logKey, Data: []string{identity.Recipient().String()}}
	}
	p, err := agreement.NewParty(d)
	must(w.t, err)
	must(w.t, p.Document.Sign(w.signing[id]))
	w.descriptors[id] = p
}

func (w *world) betaGrows(n int) {
	for range n {
		_, err := w.betaLog.Append(ctx, [][]byte{[]byte("an entry of beta's")})
		must(w.t, err)
		w.betaNotes[w.betaLog.Size()] = w.betaLog.Checkpoint()
	}
}

func (w *world) writeKeys(id *seal.Identity, releaseKey *keys.SigningKey, logSecret string) *file.Store {
	dir := filepath.Join(w.dir, "keys")
	must(w.t, os.Mkdir(dir, 0o700))
	identity, err := id.MarshalSecret()
	must(w.t, err)
	signing, err := releaseKey.MarshalSecret()
	must(w.t, err)
	for name, text := range map[string]string{"data.key": identity, "release.key": signing, "log.key": logSecret,
		"broker.secret": hex.EncodeToString(keys.GenerateSecret().MarshalSecret())} {
		must(w.t, os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600))
	}
	store, err := file.Open(dir)
	must(w.t, err)
	return store
}

// sealData seals a file to alpha's broker, and states it and a file of beta's.
func (w *world) sealData() {
	recipient, err := seal.ParseRecipient(w.descriptors["alpha"].Broker.Data[0])
	must(w.t, err)
	var sealed bytes.Buffer
	_, err = seal.Seal(&sealed, bytes.NewReader([]byte("patient,radius\n1,2.000\n")), []seal.Recipient{recipient}, seal.Options{})
	must(w.t, err)
	w.header, err = seal.ReadHeader(bytes.NewReader(sealed.Bytes()))
	must(w.t, err)
	key, err := w.keys.Unwrap(w.header)
	must(w.t, err)
	w.fileKey, err = key.MarshalSecret()
	must(w.t, err)
	w.statements["alpha"] = w.state("alpha", "patients", 1, nil, w.header)
	w.statements["beta"] = w.state("beta", "patients", 1, nil, []byte("a header of beta's"))
}

func schema() []agreement.Column {
	return []agreement.Column{{Name: "patient", Type: "integer", Unit: true}, {Name: "radius", Type: "decimal", Scale: 3}}
}

func (w *world) state(owner, dataset wire.ID, version int64, supersedes *wire.Digest, header []byte) *agreement.SignedDataset {
	w.t.Helper()
	s, err := agreement.NewDataset(agreement.Dataset{Owner: owner + "-org", Dataset: dataset, Version: version, Supersedes: supersedes, Header: wire.HashOf(header),
		Root: wire.HashOf([]byte("root")), Size: 1000, Recipients: 1, Format: agreement.CSV, Schema: agreement.SchemaDigest(schema()), Created: wire.At(w.now())})
	must(w.t, err)
	must(w.t, s.Document.Sign(w.signing[owner]))
	return s
}

func (w *world) draft() agreement.Agreement {
	root := w.root.Public().ID()
	a := agreement.Agreement{
		ID: "breast-study", Version: 1, Title: "Study", Purpose: "research", LegalBasis: "consent", Retention: "none", Contact: "a@alpha.example",
		Valid:      agreement.Validity{From: wire.At(start.Add(-time.Hour)), Until: wire.At(start.Add(1000 * time.Hour))},
		Protection: agreement.Software,
		Platforms: []agreement.Platform{{Kind: "dev", Root: &root, Machines: []string{}, Releases: []agreement.ReleaseLine{}, MayLack: []wire.ID{},
			Images: []agreement.Image{{Name: "room", Measurements: w.image.Named()}}}},
		Inputs: []agreement.Input{},
		Tables: []agreement.Table{{Name: "patients", Inputs: []wire.ID{"alpha-rows", "beta-rows"}}},
		Work: []agreement.Work{{Name: "mean-radius", Kind: "sql", Description: "mean", Query: "SELECT avg(radius) FROM patients WHERE radius > $least", Tables: []string{"patients"},
			Parameters: []agreement.Parameter{{Name: "least", Type: "integer", Min: "0", Max: "9", Values: []string{}}}, MayRun: []wire.ID{"study"}, Output: "answer"}},
		Outputs: []agreement.Output{{Name: "answer", Receivers: []wire.ID{"study"}, Format: "csv", MaxRows: 100, MaxBytes: 10000}},
		Ledgers: agreement.Ledgers{Witnesses: []agreement.Witness{}},
		LeaseMS: 3000,
	}
	for _, owner := range []wire.ID{"alpha", "beta"} {
		a.Inputs = append(a.Inputs, agreement.Input{Name: owner + "-rows", Owner: owner, Dataset: "patients", Format: agreement.CSV, RunsPerDay: 3, Schema: schema(), Rules: testrules.Groups(10, "study")})
	}
	for _, id := range []wire.ID{"alpha", "beta", "study"} {
		a.Parties = append(a.Parties, agreement.Party{ID: id, Descriptor: w.descriptors[id].Digest()})
	}
	return a
}

// agree has the parties sign the world's agreement as it is.
func (w *world) agree(signers ...wire.ID) *agreement.SignedAgreement {
	w.t.Helper()
	signed, err := agreement.NewAgreement(w.agreement)
	must(w.t, err)
	if len(signers) == 0 {
		signers = []wire.ID{"alpha", "beta", "study"}
	}
	for _, id := range signers {
		must(w.t, signed.Document.Sign(w.signing[id]))
	}
	return signed
}

func (w *world) parties() (list []json.RawMessage) {
	for _, id := range []wire.ID{"alpha", "beta", "study"} {
		list = append(list, encoded(w.t, w.descriptors[id].Document))
	}
	return list
}

func encoded(t testing.TB, d *keys.Document) json.RawMessage {
	t.Helper()
	data, err := d.Encode()
	must(t, err)
	return bytes.TrimRight(data, "\n")
}

func (w *world) activation(a *agreement.SignedAgreement) broker.Activation {
	return broker.Activation{Agreement: encoded(w.t, a.Document), Parties: w.parties()}
}

func (w *world) publication() broker.Publication {
	return broker.Publication{Statement: encoded(w.t, w.statements["alpha"].Document), Header: w.header, Admit: broker.Admission{Activated: true}}
}

// house is where alpha's broker lives: what survives it.
type house struct {
	w     *world
	state broker.State
	log   broker.Log
	cfg   broker.Config
	close func()
	// broker and agreement are those of ready.
	broker    *broker.Broker
	agreement *agreement.SignedAgreement
}

// newHouse opens alpha's house on disk, in the world's directory.
func (w *world) newHouse() *house {
	w.t.Helper()
	dir := filepath.Join(w.dir, "alpha")
	if !tilelog.Exists(dir) {
		must(w.t, tilelog.Create(dir, w.keys.LogKey()))
	}
	log, err := tilelog.Open(dir, w.keys.LogKey())
	must(w.t, err)
	s, err := state.Open(filepath.Join(w.dir, "state.db"), time.Second)
	must(w.t, err)
	h := &house{w: w, state: s, log: log, close: func() { log.Close(); s.Close() }}
	h.cfg = w.config(s, log)
	w.t.Cleanup(h.close)
	return h
}

func (w *world) config(s broker.State, log broker.Log) broker.Config {
	return broker.Config{Own: []*agreement.SignedParty{w.descriptors["alpha"]}, State: s, Log: log, Keys: w.keys,
		Platforms: []attest.Platform{dev.New()}, Now: w.now, InsecureAllowSoftware: true,
		PeerAt: func(string) broker.Peer { return w.peer("") }}
}

// open starts the broker.
func (h *house) open() *broker.Broker {
	h.w.t.Helper()
	b, err := broker.Open(ctx, h.cfg)
	must(h.w.t, err)
	return b
}

// ready starts the broker with the data published and the agreement activated.
func (h *house) ready() (*broker.Broker, *agreement.SignedAgreement) {
	h.w.t.Helper()
	b, a := h.open(), h.w.agree()
	_, err := b.Publish(ctx, h.w.publication())
	must(h.w.t, err)
	_, err = b.Activate(ctx, h.w.activation(a))
	must(h.w.t, err)
	h.broker, h.agreement = b, a
	return b, a
}

// room is what asks alpha's broker for keys.
type room struct {
	w         *world
	signing   *keys.SigningKey
	hpke      *keys.HPKEPrivateKey
	agreement *agreement.SignedAgreement
	run       *agreement.SignedRun
	challenge release.Challenge
	releaseID string
	// change is applied to the request before it is signed.
	change func(*release.Request)
	asked  *release.SignedRequest
	// counter and lastLive are those of the last live request.
	counter  int64
	lastLive []byte
	heardMS  int64 // time in the last answer
	held     [][]byte
	shows    []byte // groups of alpha's rows, with a commitment
}

func (w *world) newRoom(a *agreement.SignedAgreement, run *agreement.SignedRun) *room {
	w.t.Helper()
	hpke, err := keys.GenerateHPKEKey()
	must(w.t, err)
	return &room{w: w, signing: signingKey(w.t), hpke: hpke, agreement: a, run: run, releaseID: randomID(), shows: bytes.Repeat([]byte{7}, release.GroupSize)}
}

func randomID() string { id := keys.RandomID(); return hex.EncodeToString(id[:]) }

// newRun has the researcher sign a run.
func (w *world) newRun(a *agreement.SignedAgreement) *agreement.SignedRun {
	w.t.Helper()
	r := agreement.Run{Agreement: a.Digest(), RunID: randomID(), Requester: "study", Work: "mean-radius", Parameters: map[string]string{"least": "3"}, Expires: wire.At(w.now().Add(time.Hour))}
	for _, in := range a.Inputs {
		r.Datasets = append(r.Datasets, agreement.RunDataset{Input: in.Name, Statement: w.statements[in.Owner].Digest()})
	}
	if a.Work[0].Container != nil {
		r.Parameters = map[string]string{}
	}
	run, err := agreement.NewRun(r)
	must(w.t, err)
	must(w.t, run.Document.Sign(w.signing["study"]))
	return run
}

// getChallenge asks for a challenge.
func (r *room) getChallenge(b *broker.Broker) error {
	asked := release.ChallengeRequest{Version: release.Version, Purpose: attest.ForRelease, Agreement: r.agreement.Digest(), Nonce: wire.HashOf([]byte(randomID()))}
	data, err := release.NewChallengeRequest(asked)
	must(r.w.t, err)
	answer, err := b.Challenge(ctx, data)
	if err != nil {
		return err
	}
	r.challenge, err = release.VerifyChallenge(answer, r.w.descriptors["alpha"].Broker.ReleaseKey, "alpha-org", asked)
	return err
}

// request builds the signed request for the challenge the room has.
func (r *room) request() []byte {
	w := r.w
	w.t.Helper()
	binding := attest.Binding{Purpose: attest.ForRelease, Nonce: attest.NonceOf(r.challenge.Token), Signing: r.signing.Public(), HPKE: r.hpke.Public(), Agreement: r.agreement.Digest(), Run: r.run.Digest()}
	evidence, err := dev.Sign(w.root, w.image, attest.InitData(r.agreement.Canonical()), binding.ReportData())
	must(w.t, err)
	req := release.Request{
		Broker: "alpha-org", Challenge: r.challenge.Token, ReleaseID: r.releaseID, Evidence: evidence, Room: release.RoomKeys{Signing: r.signing.Public(), HPKE: r.hpke.Public()},
		Agreement: encoded(w.t, r.agreement.Document), Parties: w.parties(), Run: encoded(w.t, r.run.Document),
		Inputs: []release.InputRequest{{Input: "alpha-rows", Statement: encoded(w.t, w.statements["alpha"].Document), Header: w.header}},
		Peers:  []release.PeerCheckpoint{r.peer()},
	}
	if r.change != nil {
		r.change(&req)
	}
	data, asked, err := release.NewRequest(r.signing, req)
	must(w.t, err)
	r.asked = asked
	return data
}

// peer brings beta's checkpoint, with a proof from what alpha's broker has seen.
func (r *room) peer() release.PeerCheckpoint {
	from := int64(0)
	for _, s := range r.challenge.Seen {
		if s.Origin == r.w.betaLog.Origin() {
			from = s.Size
		}
	}
	proof, err := r.w.betaLog.Consistency(from, r.w.betaLog.Size())
	must(r.w.t, err)
	return release.PeerCheckpoint{Checkpoint: r.w.betaLog.Checkpoint(), From: from, Proof: proof}
}

// ask gets a challenge and then the keys.
func (r *room) ask(b *broker.Broker) ([]byte, error) {
	r.w.t.Helper()
	if err := r.getChallenge(b); err != nil {
		return nil, err
	}
	return b.Release(ctx, r.request())
}

// open verifies a grant as a room does, and that it carries the file's key.
func (r *room) open(answer []byte) (release.Granted, error) {
	asked := release.Asked{Request: r.asked, Challenge: r.challenge, Agreement: r.agreement.Digest(), Run: r.run.Digest(), MaxLeaseMS: r.agreement.LeaseMS}
	d := r.w.descriptors["alpha"].Broker
	g, err := release.VerifyGrant(answer, d.ReleaseKey, asked)
	if err != nil {
		return g, err
	}
	r.heardMS = g.TimeMS
	materials, err := g.Open(r.hpke, asked)
	if err != nil {
		return g, err
	}
	if key := materials[0].FileKey(); !bytes.Equal(key[:], r.w.fileKey) {
		return g, fmt.Errorf("another file key")
	}
	witnesses := []ledger.Witness{}
	for _, w := range r.agreement.Ledgers.Witnesses {
		witnesses = append(witnesses, ledger.Witness{Name: w.Name, Key: w.Key})
	}
	entry, _, err := g.Receipt.Verify(d.LogKey, witnesses, int(r.agreement.Ledgers.Quorum))
	if err != nil {
		return g, err
	}
	facts, err := release.ParseGrantFacts(entry.Public)
	if err != nil {
		return g, err
	}
	if entry.Kind != "grant" || entry.RunID != r.run.RunID || facts.ReleaseID != r.releaseID || facts.Request != r.asked.Digest() {
		return g, fmt.Errorf("the receipt is of another grant")
	}
	return g, nil
}

// liveRequest makes the question whether the run may go on.
func (r *room) liveRequest(commitment *wire.Digest) ([]byte, release.LiveRequest) {
	r.counter++
	if r.heardMS == 0 {
		r.heardMS = r.w.now().UnixMilli()
	}
	asked := release.LiveRequest{Version: release.Version, Broker: "alpha-org", Agreement: r.agreement.Digest(), Run: r.run.Digest(), RunID: r.run.RunID,
		ReleaseID: r.releaseID, Counter: r.counter, AfterMS: r.heardMS, Nonce: wire.HashOf([]byte(randomID())), Commitment: commitment}
	if commitment != nil {
		r.sealShown(&asked)
	}
	data, err := release.NewLiveRequest(r.signing, asked)
	must(r.w.t, err)
	return data, asked
}

// live asks whether the run may go on.
func (r *room) live(b *broker.Broker, commitment *wire.Digest) (release.Live, error) {
	data, asked := r.liveRequest(commitment)
	r.lastLive = data
	answer, err := b.Live(ctx, data)
	if err != nil {
		return release.Live{}, err
	}
	l, err := release.VerifyLive(answer, r.w.descriptors["alpha"].Broker.ReleaseKey, asked, r.agreement.LeaseMS)
	r.heardMS = max(r.heardMS, l.TimeMS)
	return l, err
}

// granted asks and demands a good answer.
func (r *room) granted(b *broker.Broker) []byte {
	r.w.t.Helper()
	answer, err := r.ask(b)
	must(r.w.t, err)
	_, err = r.open(answer)
	must(r.w.t, err)
	return answer
}

// refusedBy demands a refusal by the named check.
func refusedBy(t testing.TB, err error, check string) *verdict.Error {
	t.Helper()
	var e *verdict.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, expected a refusal by %s", err, check)
	}
	if e.Check != check {
		t.Fatalf("refused by %s, expected %s: %v", e.Check, check, err)
	}
	return e
}
