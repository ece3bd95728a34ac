package policy_test

import (
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/seal"
	"strongroom.dev/wire"
)

var now = time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)

// world is two hospitals and a researcher, with everything that a request to the broker of
// hospital alpha is made of. Tests change a part and build.
type world struct {
	t           *testing.T
	root        *keys.SigningKey
	party       map[wire.ID]*keys.SigningKey
	descriptors map[wire.ID]*agreement.SignedParty
	agreement   agreement.Agreement
	signers     []wire.ID // who signs the agreement
	statements  map[wire.ID]*agreement.SignedDataset
	run         agreement.Run
	runSigner   *keys.SigningKey
	room        *keys.SigningKey
	hpke        *keys.HPKEPrivateKey
	measurement dev.Measurement
	purpose     attest.Purpose
	nonce       wire.Hash
	// body replaces the agreement's body that the room was started with.
	body []byte
	// noInputs is set where the party whose broker decides has none in the run.
	noInputs bool
	// change is applied to the finished request.
	change func(*policy.Request)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, root: signingKey(t), room: signingKey(t), party: map[wire.ID]*keys.SigningKey{}, descriptors: map[wire.ID]*agreement.SignedParty{},
		statements: map[wire.ID]*agreement.SignedDataset{}, purpose: attest.ForRelease, nonce: attest.NonceOf([]byte("token")), signers: []wire.ID{"alpha", "beta", "study"}}
	var err error
	if w.hpke, err = keys.GenerateHPKEKey(); err != nil {
		t.Fatal(err)
	}
	w.measurement = dev.Measurement{Agent: wire.DigestOf([]byte("agent")), Helpers: map[string]wire.Digest{"strongroom-sql": wire.DigestOf([]byte("sql"))}}
	for _, id := range w.signers {
		w.party[id] = signingKey(t)
		w.descriptors[id] = w.describe(id)
	}
	w.runSigner = w.party["study"]
	w.agreement = w.agree()
	for i, in := range w.agreement.Inputs {
		w.statements[in.Name] = w.state(in, int64(i+1))
		w.run.Datasets = append(w.run.Datasets, agreement.RunDataset{Input: in.Name, Statement: w.statements[in.Name].Digest()})
	}
	w.run.RunID, w.run.Requester, w.run.Work = "00112233445566778899aabbccddeeff", "study", "mean-radius"
	w.run.Parameters = map[string]string{"least": "3"}
	w.run.Expires = wire.At(now.Add(time.Hour))
	return w
}

func signingKey(t *testing.T) *keys.SigningKey {
	t.Helper()
	k, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) describe(id wire.ID) *agreement.SignedParty {
	identity, err := seal.GenerateIdentity(seal.Data)
	w.must(err)
	result, err := seal.GenerateIdentity("result")
	w.must(err)
	_, logKey, err := ledger.GenerateKey("log.example/" + string(id))
	w.must(err)
	d := agreement.Descriptor{
		Name: id + "-hospital", Title: "Hospital", Domain: string(id) + ".example", Version: 1, Threshold: 1,
		Keys:    []agreement.PartyKey{{Public: w.party[id].Public(), NotBefore: wire.At(now.Add(-time.Hour)), NotAfter: wire.At(now.Add(9000 * time.Hour))}},
		Broker:  &agreement.BrokerInfo{Address: "127.0.0.1:1", Operator: "in house", ReleaseKey: signingKey(w.t).Public(), LogKey: logKey, Data: []string{identity.Recipient().String()}},
		Results: []string{result.Recipient().String()},
	}
	p, err := agreement.NewParty(d)
	w.must(err)
	w.must(p.Document.Sign(w.party[id]))
	return p
}

func (w *world) agree() agreement.Agreement {
	root := w.root.Public().ID()
	input := func(name, owner, dataset wire.ID) agreement.Input {
		return agreement.Input{Name: name, Owner: owner, Dataset: dataset, Format: agreement.CSV, RunsPerDay: 3, Rules: testrules.Groups(10, "study"),
			Schema: []agreement.Column{{Name: "patient", Type: "integer", Unit: true}, {Name: "radius", Type: "decimal", Scale: 3}}}
	}
	a := agreement.Agreement{
		ID: "breast-study", Version: 1, Title: "Study", Purpose: "research", LegalBasis: "consent", Retention: "none", Contact: "a@alpha.example",
		Valid:      agreement.Validity{From: wire.At(now.Add(-time.Hour)), Until: wire.At(now.Add(1000 * time.Hour))},
		Protection: agreement.Software,
		Platforms: []agreement.Platform{{Kind: "dev", Root: &root, Machines: []string{}, Releases: []agreement.ReleaseLine{}, MayLack: []wire.ID{},
			Images: []agreement.Image{{Name: "room", Measurements: w.measurement.Named()}}}},
		Inputs: []agreement.Input{input("alpha-rows", "alpha", "patients"), input("beta-rows", "beta", "patients"), input("alpha-more", "alpha", "more")},
		Tables: []agreement.Table{{Name: "patients", Inputs: []wire.ID{"alpha-rows", "beta-rows", "alpha-more"}}},
		Work: []agreement.Work{{Name: "mean-radius", Kind: "sql", Description: "mean", Query: "SELECT avg(radius) FROM patients WHERE radius > $least", Tables: []string{"patients"},
			Parameters: []agreement.Parameter{{Name: "least", Type: "integer", Min: "0", Max: "9", Values: []string{}}}, MayRun: []wire.ID{"study"}, Output: "answer"}},
		Outputs: []agreement.Output{{Name: "answer", Receivers: []wire.ID{"study"}, Format: "csv", MaxRows: 100, MaxBytes: 10000}},
		Ledgers: agreement.Ledgers{Witnesses: []agreement.Witness{}},
		LeaseMS: 3000,
	}
	for _, id := range w.signers {
		a.Parties = append(a.Parties, agreement.Party{ID: id, Descriptor: w.descriptors[id].Digest()})
	}
	return a
}

func (w *world) state(in agreement.Input, recipients int64) *agreement.SignedDataset {
	s, err := agreement.NewDataset(agreement.Dataset{Owner: in.Owner + "-hospital", Dataset: in.Dataset, Version: 1, Header: wire.HashOf([]byte(in.Name)), Root: wire.HashOf([]byte("root")),
		Size: 1000, Recipients: recipients, Format: in.Format, Schema: agreement.SchemaDigest(in.Schema), Created: wire.At(now)})
	w.must(err)
	w.must(s.Document.Sign(w.party[in.Owner]))
	return s
}

// build signs everything and gives the request to alpha's broker.
func (w *world) build() policy.Request {
	w.t.Helper()
	doc, err := keys.NewDocument(agreement.AgreementType, w.agreement)
	w.must(err)
	signed := &agreement.SignedAgreement{Agreement: w.agreement, Document: doc}
	var parties []*agreement.SignedParty
	for _, id := range []wire.ID{"alpha", "beta", "study"} {
		parties = append(parties, w.descriptors[id])
	}
	for _, id := range w.signers {
		w.must(doc.Sign(w.party[id]))
	}
	if w.run.Agreement.IsZero() {
		w.run.Agreement = signed.Digest()
	}
	run, err := agreement.NewRun(w.run)
	w.must(err)
	w.must(run.Document.Sign(w.runSigner))
	if w.body == nil {
		w.body = signed.Canonical()
	}
	r := policy.Request{
		Now: now, Broker: policy.Broker{Name: "alpha-hospital", Descriptors: []wire.Digest{w.descriptors["alpha"].Digest()}},
		Floor:     policy.Floor{InsecureAllowSoftware: true},
		ReleaseID: "ffeeddccbbaa99887766554433221100", Digest: wire.DigestOf([]byte("request")),
		Room:      policy.Room{Signing: w.room.Public(), HPKE: w.hpke.Public()},
		Challenge: policy.Challenge{Recognised: true, ID: "0123456789abcdef0123456789abcdef", Nonce: w.nonce, Purpose: attest.ForRelease, Agreement: signed.Digest(), Expires: now.Add(time.Minute)},
		Agreement: signed, Parties: parties, Run: run,
		Claims: w.prove(run.Digest(), wire.SHA384(agreement.AgreementType, w.body)),
		Peers:  []policy.Peer{{Party: "beta", Accepted: true}},
		Books:  policy.Books{Read: true, Unlocked: true, Activation: policy.Activation{State: policy.Active}, Headers: map[wire.Hash]wire.ID{}, Datasets: map[wire.ID]policy.Dataset{}, Histories: map[wire.Digest]policy.History{}},
	}
	own := []wire.ID{"alpha-rows", "alpha-more"}
	if w.noInputs {
		own = nil
	}
	for _, name := range own {
		s := w.statements[name]
		r.Inputs = append(r.Inputs, policy.Input{Name: name, Statement: s, Header: policy.Header{Sound: true, Hash: s.Header, Stanzas: s.Recipients}})
		r.Books.Headers[s.Header] = s.Dataset.Dataset
		r.Books.Histories[s.Digest()] = policy.History{}
		r.Books.Datasets[s.Dataset.Dataset] = policy.Dataset{Current: s.Digest(), AdmitsActivated: true}
	}
	if w.change != nil {
		w.change(&r)
	}
	return r
}

// prove makes dev evidence and has it verified as a broker would.
func (w *world) prove(run, digest wire.Digest) attest.Claims {
	w.t.Helper()
	b := attest.Binding{Purpose: w.purpose, Nonce: attest.NonceOf([]byte("token")), Signing: w.room.Public(), HPKE: w.hpke.Public(), Agreement: digest, Run: run}
	e, err := dev.Sign(w.root, w.measurement, attest.InitData(w.body), b.ReportData())
	w.must(err)
	c, err := attest.Verify(e, []attest.Platform{dev.New()}, attest.Expectation{Binding: b, AgreementBody: w.body, Now: now})
	w.must(err)
	return c
}
