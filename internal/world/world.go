// Package world makes a whole world in one process for tests and measurements: owners with
// real brokers and a shared ledger over loopback HTTP, a researcher, and an agreement they
// have all signed. Nothing in it is faked: rooms and results go through the code that users
// run. It is for no other use, and keeps nothing.
package world

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/attest/tpm"
	"strongroom.dev/broker"
	"strongroom.dev/client"
	"strongroom.dev/endorse"
	"strongroom.dev/host"
	"strongroom.dev/internal/testrules"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/proof"
	"strongroom.dev/release/file"
	"strongroom.dev/room"
	"strongroom.dev/seal"
	"strongroom.dev/server"
	"strongroom.dev/store/state"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/wire"
)

// Owner is one owner and its data: the plaintext of one input.
type Owner struct {
	ID     wire.ID
	Plain  io.Reader
	Format agreement.Format
	// UniqueUnit declares that no two rows are about one unit.
	UniqueUnit bool
}

// Config says what the world is about. Dir, Owners, Schema and Work are required, and so is Image
// where rooms on dev are agreed.
type Config struct {
	Dir   string
	Image dev.Measurement
	// Hardware is what of class confidential is agreed, and Platforms the table that its evidence
	// is judged with. Without Hardware rooms of class software are agreed, on dev.
	Hardware  []agreement.Platform
	Platforms []attest.Platform
	// Machines, where set, are the rooms that are agreed instead, of class software too.
	Machines *Machines
	Owners   []Owner
	Schema   []agreement.Column // of every owner's data
	Table    string             // what queries call all owners' rows; "" is "rows"
	// Work gets its table, its output and who may run it from the world.
	Work     []agreement.Work
	MinGroup int64
	MaxRows  int64
	MaxBytes int64
	LeaseMS  int64
	MayLack  []wire.ID
}

// World is the world. Close ends its servers.
type World struct {
	Config
	Root      *keys.SigningKey // development root
	Agreement *agreement.SignedAgreement
	Host      host.Config // all but Programs
	Brokers   map[wire.ID]*broker.Broker

	people  []*person // owners, then the researcher
	ledger  *ledger.Signer
	records *tilelog.Log // the shared ledger's
	closers []func()
}

// person is a party and its keys.
type person struct {
	id        wire.ID
	signing   *keys.SigningKey
	signed    *agreement.SignedParty
	result    *seal.Identity
	data      *seal.Identity // nil for the researcher
	statement *agreement.SignedDataset
	path      string // of its sealed file
	server    *httptest.Server
}

// researcher is the party that may run the work and receives results.
const researcher wire.ID = "researcher"

// New makes a world in an empty directory.
func New(ctx context.Context, c Config) (*World, error) {
	if c.Table == "" {
		c.Table = "rows"
	}
	switch {
	case c.Platforms != nil:
	case c.Machines != nil:
		c.Platforms = []attest.Platform{tpm.New(endorse.Set{}).Platform()}
	default:
		c.Platforms = []attest.Platform{dev.New()}
	}
	w := &World{Config: c, Brokers: map[wire.ID]*broker.Broker{}}
	if err := w.build(ctx); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Close ends every server.
func (w *World) Close() {
	for i := len(w.closers) - 1; i >= 0; i-- {
		w.closers[i]()
	}
	w.closers = nil
}

func (w *World) closing(f func()) { w.closers = append(w.closers, f) }

func (w *World) build(ctx context.Context) (err error) {
	if w.Root, err = keys.GenerateSigningKey(keys.Ed25519); err != nil {
		return err
	}
	for _, o := range w.Owners {
		if err := w.makeOwner(o); err != nil {
			return fmt.Errorf("owner %s: %w", o.ID, err)
		}
	}
	url, err := w.serveLedger()
	if err != nil {
		return err
	}
	w.Host = host.Config{Root: w.Root, Dir: filepath.Join(w.Dir, "rooms"), Ledgers: map[string]string{w.ledger.Origin(): url}}
	if w.Machines != nil {
		w.Host.Root = nil
	}
	if err := w.makePerson(&person{id: researcher}, nil); err != nil {
		return err
	}
	if err := w.agree(); err != nil {
		return err
	}
	for _, p := range w.people[:len(w.Owners)] {
		if err := w.serveBroker(ctx, p, url); err != nil {
			return fmt.Errorf("broker of %s: %w", p.id, err)
		}
	}
	return nil
}

func (w *World) serveLedger() (string, error) {
	secret, key, err := ledger.GenerateKey("ledger.example")
	if err != nil {
		return "", err
	}
	if w.ledger, err = ledger.ParseSigner(secret); err != nil {
		return "", err
	}
	log, err := w.openLog("ledger", w.ledger)
	if err != nil {
		return "", err
	}
	w.records = log
	var logs []string
	for _, p := range w.people {
		logs = append(logs, p.signed.Broker.LogKey)
	}
	witness, err := server.OpenWitness(filepath.Join(w.Dir, "witness"), w.ledger, logs, false, time.Now)
	if err != nil {
		return "", err
	}
	s := httptest.NewServer(server.Ledger{Log: log, Witness: witness, Key: key, PerSecond: 1000, Burst: 1000, Now: time.Now}.Handler())
	w.closing(s.Close)
	return s.URL, nil
}

func (w *World) openLog(name string, signer *ledger.Signer) (*tilelog.Log, error) {
	dir := filepath.Join(w.Dir, name)
	if err := tilelog.Create(dir, signer); err != nil {
		return nil, err
	}
	log, err := tilelog.Open(dir, signer)
	if err == nil {
		w.closing(func() { log.Close() })
	}
	return log, err
}

// makeOwner makes an owner whose broker listens already, seals its data and states it.
func (w *World) makeOwner(o Owner) error {
	p := &person{id: o.ID, server: httptest.NewUnstartedServer(nil), path: filepath.Join(w.Dir, string(o.ID)+".age")}
	w.closing(func() { p.server.Close() })
	data, err := seal.GenerateIdentity(seal.Data)
	if err != nil {
		return err
	}
	releaseKey, err := keys.GenerateSigningKey(keys.Ed25519)
	if err != nil {
		return err
	}
	secret, logKey, err := ledger.GenerateKey("broker.example/" + string(o.ID))
	if err != nil {
		return err
	}
	p.data = data
	if err := w.writeKeys(p, data, releaseKey, secret); err != nil {
		return err
	}
	info := &agreement.BrokerInfo{Address: p.server.Listener.Addr().String(), Operator: "in house", ReleaseKey: releaseKey.Public(), LogKey: logKey, Data: []string{data.Recipient().String()}}
	if err := w.makePerson(p, info); err != nil {
		return err
	}
	return w.sealData(p, o, data.Recipient())
}

func (w *World) writeKeys(p *person, data *seal.Identity, releaseKey *keys.SigningKey, logSecret string) error {
	dir := filepath.Join(w.Dir, string(p.id)+"-keys")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	identity, err := data.MarshalSecret()
	if err != nil {
		return err
	}
	signing, err := releaseKey.MarshalSecret()
	if err != nil {
		return err
	}
	secret := hex.EncodeToString(keys.GenerateSecret().MarshalSecret())
	for name, text := range map[string]string{"data.key": identity, "release.key": signing, "log.key": logSecret, "broker.secret": secret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) makePerson(p *person, info *agreement.BrokerInfo) (err error) {
	w.people = append(w.people, p)
	if p.signing, err = keys.GenerateSigningKey(keys.Ed25519); err != nil {
		return err
	}
	if p.result, err = seal.GenerateIdentity(seal.Result); err != nil {
		return err
	}
	now := time.Now()
	p.signed, err = agreement.NewParty(agreement.Descriptor{Name: p.id, Title: string(p.id), Domain: string(p.id) + ".example", Version: 1, Threshold: 1, Broker: info,
		Keys:    []agreement.PartyKey{{Public: p.signing.Public(), NotBefore: wire.At(now.Add(-time.Hour)), NotAfter: wire.At(now.AddDate(1, 0, 0))}},
		Results: []string{p.result.Recipient().String()}})
	if err != nil {
		return err
	}
	return p.signed.Document.Sign(p.signing)
}

func (w *World) sealData(p *person, o Owner, to seal.Recipient) error {
	f, err := os.Create(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum, err := seal.Seal(f, o.Plain, []seal.Recipient{to}, seal.Options{Root: true})
	if err != nil {
		return err
	}
	d := agreement.Dataset{Owner: p.id, Dataset: "rows", Version: 1, Header: sum.HeaderHash, Root: sum.Root, Size: sum.Size,
		Recipients: int64(sum.Recipients), Format: o.Format, Schema: agreement.SchemaDigest(w.Schema), UniqueUnit: o.UniqueUnit, Created: wire.At(time.Now())}
	if before := p.statement; before != nil {
		digest := before.Digest()
		d.Version, d.Supersedes = before.Version+1, &digest
	}
	if p.statement, err = agreement.NewDataset(d); err != nil {
		return err
	}
	return p.statement.Document.Sign(p.signing)
}

// agree drafts the agreement and has everybody sign it.
func (w *World) agree() (err error) {
	root, now := w.Root.Public().ID(), time.Now()
	a := agreement.Agreement{ID: "world", Version: 1, Title: "World", Purpose: "measuring", LegalBasis: "none", Retention: "none", Contact: "nobody",
		Valid:      agreement.Validity{From: wire.At(now.Add(-time.Hour)), Until: wire.At(now.Add(100 * time.Hour))},
		Protection: agreement.Software,
		Platforms: []agreement.Platform{{Kind: dev.Name, Root: &root, Machines: []string{}, Releases: []agreement.ReleaseLine{}, MayLack: append([]wire.ID{}, w.MayLack...),
			Images: []agreement.Image{{Name: "room", Measurements: w.Image.Named()}}}},
		Tables:  []agreement.Table{{Name: w.Table}},
		Outputs: []agreement.Output{{Name: "answer", Receivers: []wire.ID{researcher}, Format: "csv", MaxRows: w.MaxRows, MaxBytes: w.MaxBytes}},
		Ledgers: agreement.Ledgers{Witnesses: []agreement.Witness{{Name: "shared", Key: w.ledger.Verifier()}}, Quorum: 1},
		LeaseMS: w.LeaseMS}
	switch {
	case w.Hardware != nil:
		a.Protection, a.Platforms = agreement.Confidential, w.Hardware
	case w.Machines != nil:
		a.Platforms = []agreement.Platform{w.Machines.platform()}
	}
	for i, o := range w.Owners {
		name := o.ID + "-rows"
		a.Inputs = append(a.Inputs, agreement.Input{Name: name, Owner: o.ID, Dataset: "rows", Format: o.Format, RunsPerDay: 1000, Schema: w.Schema, Rules: testrules.Groups(w.MinGroup, researcher)})
		a.Tables[0].Inputs = append(a.Tables[0].Inputs, name)
		a.Parties = append(a.Parties, agreement.Party{ID: o.ID, Descriptor: w.people[i].signed.Digest()})
	}
	a.Parties = append(a.Parties, agreement.Party{ID: researcher, Descriptor: w.people[len(w.Owners)].signed.Digest()})
	for _, work := range w.Work {
		work.Tables, work.MayRun, work.Output = []string{w.Table}, []wire.ID{researcher}, "answer"
		a.Work = append(a.Work, work)
	}
	if w.Agreement, err = agreement.NewAgreement(a); err != nil {
		return err
	}
	for _, p := range w.people {
		if err := w.Agreement.Document.Sign(p.signing); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) serveBroker(ctx context.Context, p *person, ledgerURL string) error {
	store, err := file.Open(filepath.Join(w.Dir, string(p.id)+"-keys"))
	if err != nil {
		return err
	}
	db, err := state.Open(filepath.Join(w.Dir, string(p.id)+".db"), time.Second)
	if err != nil {
		return err
	}
	w.closing(func() { db.Close() })
	log, err := w.openLog(string(p.id)+"-log", store.LogKey())
	if err != nil {
		return err
	}
	b, err := broker.Open(ctx, broker.Config{Own: []*agreement.SignedParty{p.signed}, State: db, Log: log, Keys: store, Platforms: w.Platforms, Now: time.Now,
		InsecureAllowSoftware: w.Hardware == nil, Witnesses: map[string]broker.Witness{w.ledger.Verifier(): &client.Ledger{URL: ledgerURL, Key: w.ledger.Verifier(), LogKey: store.LogKey().Verifier()}}})
	if err != nil {
		return err
	}
	w.Brokers[p.id] = b
	p.server.Config.Handler = server.Broker(b, nil)
	p.server.Start()
	if !b.Public().Serving {
		s, err := b.Status(ctx)
		if err != nil {
			return err
		}
		if _, err := b.Confirm(ctx, s.Lock.Confirmation()); err != nil {
			return err
		}
	}
	return w.publish(ctx, p, b)
}

func (w *World) publish(ctx context.Context, p *person, b *broker.Broker) error {
	f, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	header, err := seal.ReadHeader(f)
	if err != nil {
		return err
	}
	statement, err := document(p.statement.Document)
	if err != nil {
		return err
	}
	if _, err := b.Publish(ctx, broker.Publication{Statement: statement, Header: header, Admit: broker.Admission{Activated: true}}); err != nil {
		return err
	}
	job, err := w.papers()
	if err != nil {
		return err
	}
	_, err = b.Activate(ctx, broker.Activation{Agreement: job.Agreement, Parties: job.Parties})
	return err
}

func document(d *keys.Document) (json.RawMessage, error) {
	data, err := d.Encode()
	return bytes.TrimRight(data, "\n"), err
}

// papers gives a job without a run.
func (w *World) papers() (job host.Job, err error) {
	if job.Agreement, err = document(w.Agreement.Document); err != nil {
		return job, err
	}
	for _, p := range w.people {
		doc, err := document(p.signed.Document)
		if err != nil {
			return job, err
		}
		job.Parties = append(job.Parties, doc)
	}
	return job, nil
}

// Job has the researcher sign a request for one of the works.
func (w *World) Job(work wire.ID, parameters map[string]string) (host.Job, *agreement.SignedRun, error) {
	job, err := w.papers()
	if err != nil {
		return job, nil, err
	}
	id := keys.RandomID()
	r := agreement.Run{Agreement: w.Agreement.Digest(), RunID: hex.EncodeToString(id[:]), Requester: researcher, Work: work, Parameters: parameters, Expires: wire.At(time.Now().Add(time.Hour))}
	for i, o := range w.Owners {
		p := w.people[i]
		statement, err := document(p.statement.Document)
		if err != nil {
			return job, nil, err
		}
		r.Datasets = append(r.Datasets, agreement.RunDataset{Input: o.ID + "-rows", Statement: p.statement.Digest()})
		job.Inputs = append(job.Inputs, host.Input{Name: o.ID + "-rows", Statement: statement, Path: p.path})
	}
	run, err := agreement.NewRun(r)
	if err != nil {
		return job, nil, err
	}
	if err := run.Document.Sign(w.people[len(w.Owners)].signing); err != nil {
		return job, nil, err
	}
	job.Run, err = document(run.Document)
	return job, run, err
}

// Open proves and opens the result of a run that a room left in a folder.
func (w *World) Open(dir string, run *agreement.SignedRun) (room.Head, string, error) {
	base := filepath.Join(dir, strings.Join([]string{"answer", string(researcher), run.RunID[:8]}, "-"))
	data, err := os.ReadFile(base + ".proof")
	if err != nil {
		return room.Head{}, "", err
	}
	bundle, err := proof.ParseBundle(data)
	if err != nil {
		return room.Head{}, "", err
	}
	proven, err := proof.Verify(bundle, w.trust(), time.Now())
	if err != nil {
		return room.Head{}, "", err
	}
	sealed, err := os.ReadFile(base + ".age")
	if err != nil {
		return room.Head{}, "", err
	}
	if err := proven.CheckFile(wire.HashOf(sealed), int64(len(sealed))); err != nil {
		return room.Head{}, "", err
	}
	var plain, body bytes.Buffer
	if _, err := seal.Open(&plain, bytes.NewReader(sealed), []*seal.Identity{w.people[len(w.Owners)].result}, seal.Options{}); err != nil {
		return room.Head{}, "", err
	}
	r := proven.Result
	head, err := room.ReadResult(&body, &plain, room.Committed{Agreement: r.Agreement, Run: r.Run, RunID: r.RunID, Output: r.Output, Commitment: r.Commitment})
	return head, body.String(), err
}

// Detail opens what the last run's record tells an owner alone.
func (w *World) Detail(owner wire.ID) (d room.Detail, err error) {
	data, err := w.records.Entry(w.records.Size() - 1)
	if err != nil {
		return d, err
	}
	entry, err := ledger.ParseEntry(data)
	if err != nil {
		return d, err
	}
	for i, part := range entry.Sealed {
		if part.Party != owner {
			continue
		}
		var plain bytes.Buffer
		if _, err := seal.Open(&plain, bytes.NewReader(part.Sealed), []*seal.Identity{w.people[i].data}, seal.Options{}); err != nil {
			return d, err
		}
		return d, json.Unmarshal(plain.Bytes(), &d)
	}
	return d, fmt.Errorf("no part for %s in the record", owner)
}

func (w *World) trust() proof.Trust {
	parties := map[wire.Digest]string{}
	for _, p := range w.people {
		parties[p.signed.Digest()] = string(p.id)
	}
	return proof.Trust{Parties: parties, Agreements: []wire.Digest{w.Agreement.Digest()}, Platforms: w.Platforms}
}

// Client is an HTTP client for the world's hosts to relay with.
func (w *World) Client() *http.Client { return client.New() }
