package proof_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/release"
	"strongroom.dev/seal"
	"strongroom.dev/wire"
)

// world holds what one proven run is made of. A test changes a member before the bundle is
// made, and everything after it is signed anew: the mutations of an insider.
type world struct {
	t                     *testing.T
	root                  *keys.SigningKey
	measured              dev.Measurement
	parties               map[wire.ID]*member
	agreement             *agreement.SignedAgreement
	run                   *agreement.SignedRun
	statements            []*agreement.SignedDataset
	roomSigning           *keys.SigningKey
	roomHPKE              *keys.HPKEPrivateKey
	witness               *ledger.Signer
	purpose               attest.Purpose
	result                proof.Result
	record                proof.Record
	liveCommitment        wire.Digest
	grantFacts            func(*release.GrantFacts)
	grantKind, outputKind wire.ID
	resultSigner          *keys.SigningKey
	outputFacts           func(*release.OutputFacts)
	cosign                bool
	logs                  map[string][][]byte // entries by log key
	fork                  func(log *ledger.Signer)
	evidence              func(owner wire.ID, report [64]byte) attest.Evidence // of another platform than dev
	end, now              time.Time
}

// member is a party with its private keys.
type member struct {
	signing, release *keys.SigningKey
	log              *ledger.Signer
	party            *agreement.SignedParty
}

var start = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func signingKey(t *testing.T) *keys.SigningKey {
	t.Helper()
	k, err := keys.GenerateSigningKey(keys.Ed25519)
	return must(t, k, err)
}

func logKey(t *testing.T, origin string) *ledger.Signer {
	t.Helper()
	secret, _, err := ledger.GenerateKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ledger.ParseSigner(secret)
	return must(t, s, err)
}

func recipient(t *testing.T) string {
	t.Helper()
	id, err := seal.GenerateClassicIdentity(seal.Result)
	return must(t, id, err).Recipient().String()
}

func newMember(t *testing.T, name wire.ID, owner bool) *member {
	t.Helper()
	m := &member{signing: signingKey(t), release: signingKey(t), log: logKey(t, string(name)+".example/log")}
	d := agreement.Descriptor{Name: name, Title: string(name), Version: 1, Threshold: 1, Results: []string{recipient(t)},
		Keys: []agreement.PartyKey{{Public: m.signing.Public(), NotBefore: wire.At(start.AddDate(-1, 0, 0)), NotAfter: wire.At(start.AddDate(1, 0, 0))}}}
	if owner {
		d.Broker = &agreement.BrokerInfo{Address: "127.0.0.1:7443", Operator: "in house", ReleaseKey: m.release.Public(), LogKey: m.log.Verifier(), Data: []string{recipient(t)}}
	}
	p, err := agreement.NewParty(d)
	m.party = must(t, p, err)
	if err := m.party.Document.Sign(m.signing); err != nil {
		t.Fatal(err)
	}
	return m
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, root: signingKey(t), roomSigning: signingKey(t), witness: logKey(t, "witness.example/ledger"), purpose: attest.ForRelease,
		measured: dev.Measurement{Agent: wire.DigestOf([]byte("agent")), Helpers: map[string]wire.Digest{"sql": wire.DigestOf([]byte("sql"))}},
		parties:  map[wire.ID]*member{}, grantKind: "grant", outputKind: "output", cosign: true, end: start, now: start.Add(time.Hour)}
	hpke, err := keys.GenerateHPKEKey()
	w.roomHPKE = must(t, hpke, err)
	w.resultSigner = w.roomSigning
	for _, name := range []wire.ID{"alpha", "beta", "researcher"} {
		w.parties[name] = newMember(t, name, name != "researcher")
	}
	w.agree(func(*agreement.Agreement) {})
	return w
}

func schema() []agreement.Column {
	return []agreement.Column{{Name: "patient", Type: "integer", Unit: true}, {Name: "diagnosis", Type: "text"}}
}

// agree makes and signs the agreement, the statements and the request.
func (w *world) agree(change func(*agreement.Agreement)) {
	w.t.Helper()
	root := w.root.Public().ID()
	input := func(owner wire.ID) agreement.Input {
		return agreement.Input{Name: owner + "-patients", Owner: owner, Dataset: "wdbc", Format: agreement.CSV, Schema: schema(), RunsPerDay: 20, Rules: testrules.Groups(10, "researcher")}
	}
	a := agreement.Agreement{
		ID: "study", Version: 1, Title: "Study", Purpose: "Count.", LegalBasis: "Consent.", Retention: "None.", Contact: "study@alpha.example",
		Valid:      agreement.Validity{From: wire.At(start.AddDate(0, -1, 0)), Until: wire.At(start.AddDate(0, 6, 0))},
		Protection: agreement.Software, LeaseMS: 3000,
		Platforms: []agreement.Platform{{Kind: dev.Name, Root: &root, Machines: []string{}, Releases: []agreement.ReleaseLine{}, MayLack: []wire.ID{},
			Images: []agreement.Image{{Name: "room", Measurements: w.measured.Named()}}}},
		Inputs: []agreement.Input{input("alpha"), input("beta")},
		Tables: []agreement.Table{{Name: "patients", Inputs: []wire.ID{"alpha-patients", "beta-patients"}}},
		Work: []agreement.Work{{Name: "count", Kind: "sql", Description: "Count", Query: "SELECT diagnosis, count(*) AS n FROM patients GROUP BY diagnosis",
			Tables: []string{"patients"}, Parameters: []agreement.Parameter{}, MayRun: []wire.ID{"researcher"}, Output: "counts"}},
		Outputs: []agreement.Output{{Name: "counts", Receivers: []wire.ID{"researcher"}, Format: "csv", MaxRows: 100, MaxBytes: 65536}},
		Ledgers: agreement.Ledgers{Witnesses: []agreement.Witness{{Name: "witness", Key: w.witness.Verifier()}}, Quorum: 1},
	}
	for _, name := range []wire.ID{"alpha", "beta", "researcher"} {
		a.Parties = append(a.Parties, agreement.Party{ID: name, Descriptor: w.parties[name].party.Digest()})
	}
	change(&a)
	signed, err := agreement.NewAgreement(a)
	w.agreement = must(w.t, signed, err)
	for _, m := range w.parties {
		w.sign(w.agreement.Document, m.signing)
	}
	w.request(func(*agreement.Run) {})
}

func (w *world) sign(d *keys.Document, k *keys.SigningKey) {
	w.t.Helper()
	if err := d.Sign(k); err != nil {
		w.t.Fatal(err)
	}
}

// request makes and signs the statements, the run request and what the room says of it.
func (w *world) request(change func(*agreement.Run)) {
	w.t.Helper()
	w.statements = nil
	r := agreement.Run{Agreement: w.agreement.Digest(), RunID: "000102030405060708090a0b0c0d0e0f", Requester: "researcher", Work: "count",
		Parameters: map[string]string{}, Expires: wire.At(start.Add(time.Hour))}
	for _, in := range w.agreement.Inputs {
		d, err := agreement.NewDataset(agreement.Dataset{Owner: in.Owner, Dataset: in.Dataset, Version: 1, Header: wire.HashOf([]byte(in.Name)), Root: wire.HashOf([]byte("root")),
			Size: 5000, Recipients: 1, Format: in.Format, Schema: agreement.SchemaDigest(in.Schema), Created: wire.At(start.Add(-time.Hour))})
		must(w.t, d, err)
		w.sign(d.Document, w.parties[in.Owner].signing)
		w.statements = append(w.statements, d)
		r.Datasets = append(r.Datasets, agreement.RunDataset{Input: in.Name, Statement: d.Digest()})
	}
	change(&r)
	run, err := agreement.NewRun(r)
	w.run = must(w.t, run, err)
	w.sign(w.run.Document, w.parties["researcher"].signing)
	w.conclude()
}

// conclude fills the room's own statements.
func (w *world) conclude() {
	w.liveCommitment = wire.DigestOf([]byte("plaintext"))
	w.result = proof.Result{Agreement: w.agreement.Digest(), Run: w.run.Digest(), RunID: w.run.RunID, Output: "counts", Receiver: "researcher",
		File: wire.HashOf([]byte("sealed")), Size: 6, Commitment: w.liveCommitment}
	w.record = proof.Record{Agreement: w.agreement.Digest(), Run: w.run.Digest(), RunID: w.run.RunID, Room: w.roomSigning.Public(), Class: agreement.Software,
		Evidence: []wire.Digest{}, Datasets: w.run.Datasets, Commitment: w.liveCommitment, Sealed: []proof.SealedPart{}}
}

// receipt logs one entry in a log of at most two.
func (w *world) receipt(log *ledger.Signer, e ledger.Entry) ledger.Receipt {
	w.t.Helper()
	data, err := e.Encode()
	must(w.t, data, err)
	entries := append(w.logs[log.Verifier()], data)
	w.logs[log.Verifier()] = entries
	root, proof := ledger.LeafHash(data), []wire.Hash{}
	if len(entries) == 2 {
		first := ledger.LeafHash(entries[0])
		root, proof = wire.HashOf(slices.Concat([]byte{1}, first[:], root[:])), []wire.Hash{first}
	}
	note, err := log.SignCheckpoint(int64(len(entries)), root)
	must(w.t, note, err)
	if w.cosign {
		c, err := ledger.OpenCheckpoint(note, log.Verifier())
		must(w.t, c, err)
		line, err := w.witness.Cosign(c, start)
		must(w.t, line, err)
		note, err = ledger.AddSignatures(note, line)
		must(w.t, note, err)
	}
	return ledger.Receipt{Entry: data, Index: int64(len(entries)) - 1, Proof: proof, Checkpoint: note}
}

// consistency proves that a log of two entries extends that of one.
func (w *world) consistency(log *ledger.Signer) []wire.Hash {
	entries := w.logs[log.Verifier()]
	if len(entries) != 2 {
		return []wire.Hash{}
	}
	return []wire.Hash{ledger.LeafHash(entries[1])}
}

func (w *world) marshal(v any) json.RawMessage {
	w.t.Helper()
	data, err := wire.Marshal(v)
	return must(w.t, data, err)
}

func (w *world) document(docType string, body any, signer *keys.SigningKey) *keys.Document {
	w.t.Helper()
	d, err := keys.NewDocument(docType, body)
	must(w.t, d, err)
	w.sign(d, signer)
	return d
}

// bundle makes the proof.
func (w *world) bundle() *proof.Bundle {
	w.t.Helper()
	w.logs = map[string][][]byte{}
	b := &proof.Bundle{Type: proof.BundleType, Agreement: w.marshal(w.agreement.Document), Run: w.marshal(w.run.Document),
		Room: release.RoomKeys{Signing: w.roomSigning.Public(), HPKE: w.roomHPKE.Public()}}
	for _, p := range w.agreement.Parties {
		b.Parties = append(b.Parties, w.marshal(w.parties[p.ID].party.Document))
	}
	for _, d := range w.statements {
		b.Statements = append(b.Statements, w.marshal(d.Document))
	}
	for _, owner := range []wire.ID{"alpha", "beta"} {
		b.Releases = append(b.Releases, w.release(owner))
		if w.fork != nil {
			w.fork(w.parties[owner].log)
		}
		b.Lives = append(b.Lives, w.live(owner))
		b.Consistency = append(b.Consistency, w.consistency(w.parties[owner].log))
	}
	result := w.document(proof.ResultType, w.result, w.resultSigner)
	b.Result = w.marshal(result)
	record := w.record
	if record.Results == nil {
		record.Results = []wire.Digest{result.Digest()}
	}
	run := w.run.Digest()
	b.Records = []ledger.Receipt{w.receipt(w.witness, ledger.Entry{Kind: "run", TimeMS: w.end.UnixMilli(), Run: &run, RunID: w.run.RunID,
		Public: w.marshal(w.document(proof.RecordType, record, w.roomSigning))})}
	return b
}

func (w *world) release(owner wire.ID) proof.Release {
	w.t.Helper()
	token := []byte("challenge of " + string(owner))
	binding := attest.Binding{Purpose: w.purpose, Nonce: attest.NonceOf(token), Signing: w.roomSigning.Public(), HPKE: w.roomHPKE.Public(),
		Agreement: w.agreement.Digest(), Run: w.run.Digest()}
	evidence, err := dev.Sign(w.root, w.measured, attest.InitData(w.agreement.Canonical()), binding.ReportData())
	must(w.t, evidence, err)
	if w.evidence != nil {
		evidence = w.evidence(owner, binding.ReportData())
	}
	facts := release.GrantFacts{ReleaseID: "00000000000000000000000000000001", Request: wire.DigestOf([]byte("request")), Evidence: evidence.Digest(),
		Room: w.roomSigning.Public().ID(), Class: agreement.Software, LeaseMS: 3000, Inputs: []release.GrantedInput{}}
	for i, in := range w.agreement.Inputs {
		if in.Owner == owner && i < len(w.statements) {
			d := w.statements[i]
			facts.Inputs = append(facts.Inputs, release.GrantedInput{Input: in.Name, Dataset: in.Dataset, Statement: d.Digest(), Header: d.Header})
		}
	}
	if w.grantFacts != nil {
		w.grantFacts(&facts)
	}
	run := w.run.Digest()
	m := w.parties[owner]
	receipt := w.receipt(m.log, ledger.Entry{Kind: w.grantKind, TimeMS: start.UnixMilli(), Run: &run, RunID: w.run.RunID, Public: w.marshal(facts)})
	grant := release.Granted{Version: release.Version, Broker: owner, ReleaseID: facts.ReleaseID, Request: facts.Request, TimeMS: start.UnixMilli(), LeaseMS: 3000,
		Releases: []release.SealedKey{}, Receipt: receipt}
	return proof.Release{Broker: owner, Challenge: token, Evidence: evidence, Grant: w.marshal(w.document(release.GrantType, grant, m.release))}
}

func (w *world) live(owner wire.ID) json.RawMessage {
	w.t.Helper()
	m, run := w.parties[owner], w.run.Digest()
	facts := release.OutputFacts{ReleaseID: "00000000000000000000000000000001", Commitment: w.liveCommitment}
	if w.outputFacts != nil {
		w.outputFacts(&facts)
	}
	receipt := w.receipt(m.log, ledger.Entry{Kind: w.outputKind, TimeMS: w.end.UnixMilli(), Run: &run, RunID: w.run.RunID, Public: w.marshal(facts)})
	live := release.Live{Version: release.Version, Broker: owner, Run: run, Nonce: wire.HashOf([]byte("nonce")), Commitment: &w.liveCommitment,
		TimeMS: w.end.UnixMilli(), LeaseEndMS: w.end.UnixMilli() + 3000, Receipt: &receipt}
	return w.marshal(w.document(release.LiveType, live, m.release))
}

// trust is that of a stranger: pinned descriptors, the root and the witness by name.
func (w *world) trust() proof.Trust {
	t := proof.Trust{Parties: map[wire.Digest]string{}, Platforms: []attest.Platform{dev.New()}, Roots: []wire.Hash{w.root.Public().ID()},
		Ledgers: []ledger.Witness{{Name: "witness", Key: w.witness.Verifier()}}}
	for name, m := range w.parties {
		t.Parties[m.party.Digest()] = string(name)
	}
	return t
}
