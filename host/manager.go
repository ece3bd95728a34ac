package host

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Manager keeps the rooms of a host that serves others. Its methods may be called from any
// goroutine.
type Manager struct {
	config Config
	data   string // data directory
	most   int    // rooms at once
	now    func() time.Time

	mu       sync.Mutex
	rooms    map[string]*entry
	starting int  // rooms on their way, which a machine needs seconds for
	closed   bool // no room starts any more
	wait     sync.WaitGroup
}

// entry is a room and what is known of it.
type entry struct {
	room    *Room
	info    Info
	started time.Time
}

// Info is what a host says of a room.
type Info struct {
	ID        string      `json:"id"`
	Agreement wire.Digest `json:"agreement"`
	Title     string      `json:"title"`
	RunID     string      `json:"run_id"`
	Requester wire.ID     `json:"requester"`
	Work      wire.ID     `json:"work"`
	Started   wire.Time   `json:"started"`
	Platform  wire.ID     `json:"platform"`
	// State is "running", "done", "stopped", or "lost" where the host was restarted meanwhile.
	State string    `json:"state"`
	Step  room.Step `json:"step"`
	Files []string  `json:"files"`
	// Ports are the addresses at which a container's ports are reached.
	Ports map[wire.ID]string `json:"ports,omitempty"`
	// Error says why a room stopped, in one line.
	Error string `json:"error"`
	// Shown is the room's evidence for each broker, for anyone to verify.
	Shown []room.Shown `json:"shown"`
	// Lost says that it was running when the host was restarted.
	Lost bool `json:"-"`
}

// maxKept is how many ended rooms a manager remembers.
const maxKept = 256

// NewManager makes a manager that takes sealed files from a data directory and runs at most
// so many rooms at once.
func NewManager(c Config, data string, most int, now func() time.Time) (*Manager, error) {
	if data == "" || most < 1 || now == nil {
		return nil, verdict.Misuse("host.config", "a data directory and at least one room", "less", "give --data and --rooms")
	}
	if _, err := List(data); err != nil {
		return nil, err
	}
	m := &Manager{config: c, data: data, most: most, now: now, rooms: map[string]*entry{}}
	for _, e := range c.kept() {
		m.rooms[e.info.ID] = e
	}
	m.forget()
	return m, nil
}

// Datasets gives the sealed files the host has.
func (m *Manager) Datasets() ([]Sealed, error) { return List(m.data) }

// Start starts a room for a job whose inputs are found in the data directory. It looks at
// the signatures first, those of the inputs' owners under agreement and statements included,
// so that strangers can't fill the machine with rooms for agreements among themselves; the
// room does not believe it.
func (m *Manager) Start(ctx context.Context, job Job) (Info, error) {
	a, run, parties, err := m.check(job)
	if err != nil {
		return Info{}, err
	}
	if job.Inputs, err = Find(m.data, run.Run); err != nil {
		return Info{}, err
	}
	if err := m.checkInputs(job.Inputs, a, run.Run, parties); err != nil {
		return Info{}, err
	}
	if err := m.config.Containers.fill(&job, a, run.Work); err != nil {
		return Info{}, err
	}
	if err := CheckSpace(m.config.Dir, ResultSize(a.Agreement, run.Work)); err != nil {
		return Info{}, err
	}
	random := keys.RandomID()
	id := hex.EncodeToString(random[:4])
	now := m.now()
	info := Info{ID: id, Agreement: a.Digest(), Title: verdict.Printable(a.Title), RunID: run.RunID, Requester: run.Requester, Work: run.Work, Started: wire.At(now), Platform: m.config.platform()}
	if err := m.reserve(); err != nil {
		return Info{}, err
	}
	defer m.wait.Done()
	e, err := m.begin(ctx, job, info, now)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.starting--
	if err != nil {
		return Info{}, err
	}
	if m.closed {
		e.room.cancel()
	}
	m.forget()
	m.rooms[id] = e
	return e.describe(), nil
}

// reserve makes room for one more, which may take seconds to start: nobody waits for that.
func (m *Manager) reserve() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return &verdict.Error{Kind: verdict.Broken, Check: "host.rooms", Expected: "a host that serves", Got: "it is stopping"}
	}
	if n := m.running() + m.starting; n >= m.most {
		return &verdict.Error{Kind: verdict.Refused, Check: "host.rooms", Expected: fmt.Sprintf("fewer than %d rooms", m.most), Got: fmt.Sprint(n), Fix: "wait for one to end, or start the host with more --rooms"}
	}
	m.starting++
	m.wait.Add(1)
	return nil
}

// begin starts a room and keeps a record of it.
func (m *Manager) begin(ctx context.Context, job Job, info Info, now time.Time) (*entry, error) {
	if m.config.Dir == "" {
		return nil, verdict.Misuse("host.config", "a folder", "none", "a defect in the caller: report it")
	}
	info.State = "running"
	dir := filepath.Join(m.config.Dir, info.ID)
	if err := keep(dir, info, nil); err != nil {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "host.rooms", Expected: "a place for what the room lets out", Got: "it can't be written", Fix: "ask the host's operator", Err: err}
	}
	r, err := Start(ctx, m.config, info.ID, job)
	if err != nil {
		_ = os.RemoveAll(dir) // nothing of worth is in it
		return nil, err
	}
	e := &entry{r, info, now}
	m.wait.Go(func() {
		<-r.Done()
		if err := e.keepEnd(); err != nil && m.config.Log != nil {
			fmt.Fprintf(m.config.Log, "room %s: its record: %v\n", info.ID, err)
		}
	})
	return e, nil
}

func (m *Manager) check(job Job) (*agreement.SignedAgreement, *agreement.SignedRun, []*agreement.SignedParty, error) {
	a, err := agreement.ParseAgreement(job.Agreement)
	if err != nil {
		return nil, nil, nil, err
	}
	if serves := m.config.Agreements; len(serves) > 0 && !slices.Contains(serves, a.Digest()) {
		return nil, nil, nil, verdict.Refuse("host.agreement", "an agreement that this host serves", a.Digest().String(), "ask its operator to name it with --agreement")
	}
	var parties []*agreement.SignedParty
	for _, raw := range job.Parties {
		p, err := agreement.ParseParty(raw)
		if err != nil {
			return nil, nil, nil, err
		}
		parties = append(parties, p)
	}
	if err := a.Verify(parties, m.now()); err != nil {
		return nil, nil, nil, err
	}
	if m.config.Suits != nil {
		if err := m.config.Suits(a.Agreement); err != nil {
			return nil, nil, nil, err
		}
	}
	run, err := agreement.ParseRun(job.Run)
	if err != nil {
		return nil, nil, nil, err
	}
	requester := descriptorOf(a, parties, run.Requester)
	if requester == nil {
		return nil, nil, nil, verdict.Refuse("run.may-run", "a party of the agreement", string(run.Requester), "ask as one of its parties")
	}
	return a, run, parties, run.Verify(a, requester, m.now())
}

// checkInputs demands that the owner of each input, who has signed the agreement, signed the
// statement that the host holds.
func (m *Manager) checkInputs(inputs []Input, a *agreement.SignedAgreement, run agreement.Run, parties []*agreement.SignedParty) error {
	if work, _ := a.WorkByName(run.Work); len(inputs) == 0 && work.Container == nil {
		return verdict.Refuse("host.data", "a run over sealed files of this host", "a run over none", "ask for work that reads data")
	}
	for _, in := range inputs {
		agreed, _ := a.InputByName(in.Name)
		d, err := agreement.ParseDataset(in.Statement)
		if err != nil {
			return err
		}
		if err := d.Verify(descriptorOf(a, parties, agreed.Owner), m.now()); err != nil {
			return err
		}
	}
	return nil
}

// descriptorOf gives a party of an agreement, nil if it is none.
func descriptorOf(a *agreement.SignedAgreement, parties []*agreement.SignedParty, id wire.ID) *agreement.SignedParty {
	party, found := a.PartyByID(id)
	for _, p := range parties {
		if found && p.Digest() == party.Descriptor {
			return p
		}
	}
	return nil
}

// running counts the rooms that go on. The caller holds the lock.
func (m *Manager) running() int {
	n := 0
	for _, e := range m.rooms {
		if !e.ended() {
			n++
		}
	}
	return n
}

// forget drops the oldest ended rooms over the limit. The caller holds the lock.
func (m *Manager) forget() {
	var ended []*entry
	for _, e := range m.rooms {
		if e.ended() {
			ended = append(ended, e)
		}
	}
	slices.SortFunc(ended, func(a, b *entry) int { return a.started.Compare(b.started) })
	for len(ended) > maxKept {
		delete(m.rooms, ended[0].info.ID)
		ended = ended[1:]
	}
}

func (e *entry) ended() bool {
	select {
	case <-e.room.Done():
		return true
	default:
		return false
	}
}

// Get gives a room and what is known of it.
func (m *Manager) Get(id string) (*Room, Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, found := m.rooms[id]
	if !found {
		return nil, Info{}, verdict.Misuse("room.id", "a room of this host", verdict.Short(id), "strongroom room list shows them")
	}
	return e.room, e.describe(), nil
}

// All gives what is known of every room, the oldest first.
func (m *Manager) All() []Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Info, 0, len(m.rooms))
	for _, e := range m.rooms {
		all = append(all, e.describe())
	}
	slices.SortFunc(all, func(a, b Info) int {
		return cmp.Or(a.Started.Time().Compare(b.Started.Time()), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// Close stops every room and waits for them.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	for _, e := range m.rooms {
		e.room.cancel()
	}
	m.mu.Unlock()
	m.wait.Wait()
}

// describe gives the state of a room now.
func (e *entry) describe() Info {
	info := e.info
	info.State, info.Files, info.Shown = "running", []string{}, []room.Shown{}
	ended := e.ended()
	e.room.mu.Lock()
	defer e.room.mu.Unlock()
	for _, ev := range e.room.events {
		if ev.Step != "" {
			info.Step = ev.Step
		}
		if ev.Shown != nil {
			info.Shown = append(info.Shown, *ev.Shown)
		}
	}
	info.Files = append(info.Files, e.room.files...)
	if !ended {
		info.Ports = e.room.Ports()
	}
	if ended {
		info.State = "done"
		if e.room.err != nil {
			info.State, info.Error = "stopped", verdict.Printable(e.room.err.Error())
		}
		if e.info.Lost {
			info.State = "lost"
		}
	}
	return info
}
