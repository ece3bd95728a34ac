package broker

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"

	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Status is what a broker says of itself to its owner.
type Status struct {
	Public
	Descriptor wire.Digest `json:"descriptor"`
	// KeyStore says where the private keys are: whoever controls this process, or the store,
	// can read the owner's data (R25).
	KeyStore   string            `json:"key_store"`
	Lock       *Lock             `json:"lock,omitempty"`
	Checkpoint string            `json:"checkpoint"` // of the log, signed
	Queued     int64             `json:"queued"`     // records not in the log yet
	Recorded   map[string]int64  `json:"recorded"`   // entries ever recorded, by kind
	SinceStart Counts            `json:"since_start"`
	Agreements []AgreementStatus `json:"agreements"`
	Datasets   []DatasetStatus   `json:"datasets"`
	Volumes    []VolumeStatus    `json:"volumes"`
	Budgets    []BudgetStatus    `json:"budgets"`
	Denied     []DenialStatus    `json:"denied"`
	References []ReferenceStatus `json:"references"`
	Witnesses  []string          `json:"witnesses"` // origins of the shared ledgers it was told of
	Troubles   []string          `json:"troubles"`  // with witnesses, when they were last to sign
	Seen       []release.SeenLog `json:"seen"`      // other owners' logs
	// NamesAuthority is the authority outside that certifies rooms' names; absent if the broker
	// does so itself.
	NamesAuthority string `json:"names_authority,omitempty"`
	// Endorsements are nil if the broker has none: then no hardware that needs them gets keys.
	Endorsements *Endorsements `json:"endorsements,omitempty"`
}

// Endorsements are what vendors sign about their hardware, as a broker last read them.
type Endorsements struct {
	Items  int   `json:"items"`
	ReadMS int64 `json:"read_ms"`
	// FirstMS is when the first of those that are issued anew from time to time ends, or of the
	// bundles that they are in, and First its name; 0 and "" if none ends.
	FirstMS int64  `json:"first_ms"`
	First   string `json:"first"`
	// Trouble says why they could not be read since; "" if they could.
	Trouble string `json:"trouble"`
}

// Public is what a broker tells anyone.
type Public struct {
	Party    wire.ID `json:"party"`
	Protocol string  `json:"protocol"`
	// Operator says who runs the broker, and where, in the words of the descriptor (R25).
	Operator string `json:"operator"`
	// InsecureSoftware is set if it may release to rooms that keep nobody out of their memory.
	InsecureSoftware bool   `json:"insecure_software"`
	Serving          bool   `json:"serving"`
	Log              string `json:"log"`  // origin
	Size             int64  `json:"size"` // of the log
	TimeMS           int64  `json:"time_ms"`
}

// Counts are numbers since the start. Unlogged are refusals that were only counted.
type Counts struct {
	Challenges  int64 `json:"challenges"`
	Activations int64 `json:"activations"` // questions about keys of TPMs, two for each key
	Lives       int64 `json:"lives"`
	Malformed   int64 `json:"malformed"`
	Refused     int64 `json:"refused"`
	Unlogged    int64 `json:"unlogged"`
}

// AgreementStatus is one agreement this broker knows of.
type AgreementStatus struct {
	ID       wire.ID `json:"id"`
	Version  int64   `json:"version"`
	Digest   string  `json:"digest"`
	Standing string  `json:"standing"` // activated, retired, or unconfirmed after a rollback
	SinceMS  int64   `json:"since_ms"`
}

// DatasetStatus is the current version of one dataset and how many runs read it in the last
// 24 hours.
type DatasetStatus struct {
	Dataset   wire.ID     `json:"dataset"`
	Version   int64       `json:"version"`
	Statement wire.Digest `json:"statement"`
	Admit     Admission   `json:"admit"`
	Runs      int64       `json:"runs"`
}

// Public gives what anyone may know.
func (b *Broker) Public() Public {
	return Public{Party: b.name, Protocol: release.Version, Operator: b.current.Broker.Operator, InsecureSoftware: b.cfg.InsecureAllowSoftware,
		Serving: b.lock.Load() == nil, Log: b.origin, Size: b.cfg.Log.Size(), TimeMS: b.now().UnixMilli()}
}

// Status gives everything; it works on a locked broker too.
func (b *Broker) Status(context.Context) (Status, error) {
	s := Status{Public: b.Public(), Descriptor: b.current.Digest(), KeyStore: b.cfg.Keys.Kind(), Lock: b.lock.Load(), Checkpoint: b.cfg.Log.Checkpoint(),
		Recorded: map[string]int64{}, Agreements: []AgreementStatus{}, Datasets: []DatasetStatus{}, Volumes: []VolumeStatus{}, Budgets: []BudgetStatus{}, Denied: []DenialStatus{}, References: []ReferenceStatus{}, Witnesses: []string{}, Troubles: []string{}, Seen: []release.SeenLog{},
		SinceStart: Counts{b.counters.challenges.Load(), b.counters.activations.Load(), b.counters.lives.Load(), b.counters.malformed.Load(), b.counters.refused.Load(), b.counters.unlogged.Load()}}
	for key := range b.cfg.Witnesses {
		s.Witnesses = append(s.Witnesses, originOf(key))
	}
	sort.Strings(s.Witnesses)
	if list := b.troubles.Load(); list != nil {
		s.Troubles = *list
	}
	if b.cfg.Names != nil {
		s.NamesAuthority = b.cfg.Names.Name()
	}
	if b.cfg.Endorsements != nil {
		e := b.cfg.Endorsements()
		s.Endorsements = &e
	}
	err := b.eachAgreement(func(r agreementRecord, digest string) {
		s.Agreements = append(s.Agreements, AgreementStatus{r.ID, r.Version, digest, string(r.Standing), r.TimeMS})
	})
	if err != nil {
		return s, broken("to read the broker's state", err)
	}
	sort.Slice(s.Agreements, func(i, j int) bool {
		a, z := s.Agreements[i], s.Agreements[j]
		return a.ID < z.ID || a.ID == z.ID && a.Version < z.Version
	})
	if err := b.cfg.State.View(func(tx Tx) error { return b.fillStatus(tx, &s) }); err != nil {
		return s, broken("to read the broker's state", err)
	}
	return s, nil
}

func (b *Broker) fillStatus(tx Tx, s *Status) error {
	s.Queued = 0
	var bad, err error
	if s.Denied, err = readDenied(tx); err != nil {
		return err
	}
	if s.References, err = b.referenceStatus(tx); err != nil {
		return err
	}
	if s.Volumes, err = b.volumeStatus(tx); err != nil {
		return err
	}
	if s.Budgets, err = b.budgetStatus(tx); err != nil {
		return err
	}
	err = errors.Join(
		tx.Scan(tableQueue, "", "", func(string, []byte) bool { s.Queued++; return true }),
		tx.Scan(tableMeta, metaCount, metaCount+"~", func(key string, value []byte) bool {
			n, err := strconv.ParseInt(string(value), 10, 64)
			s.Recorded[key[len(metaCount):]] = n
			bad = errors.Join(bad, err)
			return true
		}),
		tx.Scan(tableSeen, "", "", func(key string, _ []byte) bool {
			record, err := load[seenRecord](tx, tableSeen, key)
			if bad = errors.Join(bad, err); err == nil {
				s.Seen = append(s.Seen, release.SeenLog{Origin: record.Origin, Size: record.Size})
			}
			return true
		}),
		tx.Scan(tableDatasets, "", "", func(key string, _ []byte) bool {
			d, err := load[datasetRecord](tx, tableDatasets, key)
			if err == nil {
				var runs int64
				runs, err = countRuns(tx, wire.ID(key), "", b.now())
				s.Datasets = append(s.Datasets, DatasetStatus{wire.ID(key), d.Version, d.Statement, d.Admit.whole(), runs})
			}
			bad = errors.Join(bad, err)
			return true
		}),
	)
	return errors.Join(err, bad)
}

// Why gives every decision about a run id, a release id or an agreement digest, in order,
// each with all its clauses.
func (b *Broker) Why(_ context.Context, id string) ([]Decision, error) {
	list := []Decision{}
	err := b.cfg.State.View(func(tx Tx) error {
		var bad error
		checks, size := 0, 0
		err := tx.Scan(tableSubjects, id+"/", id+"0", func(key string, _ []byte) bool { // "0" follows "/"
			d, err := load[Decision](tx, tableDecisions, key[len(id)+1:])
			if err == nil && d == nil {
				err = fmt.Errorf("decision %s is not there", key)
			}
			if err != nil {
				bad = err
				return false
			}
			list = append(list, *d)
			checks += len(d.Checks)
			size += len(tx.Get(tableDecisions, key[len(id)+1:]))
			return len(list) < maxWhy && checks < maxWhyChecks && size < maxWhyBytes
		})
		return errors.Join(err, bad)
	})
	if err != nil {
		return nil, broken("to read the broker's state", err)
	}
	if len(list) == 0 {
		return nil, verdict.Misuse("broker.why", "a run id, release id or agreement this broker has decided about", verdict.Short(id),
			"copy the id as `strongroom run` printed it; a room refused before it named its run, as under a retired agreement, stands under the agreement's digest; requests that were malformed or too many are only counted: strongroom broker status")
	}
	return list, nil
}

// Consistency proves that this broker's log of size To extends that of size From. It works on
// a locked broker too: it says nothing that the log's own signature does not cover.
func (b *Broker) Consistency(_ context.Context, asked release.ConsistencyRequest) (release.ConsistencyAnswer, error) {
	if size := b.cfg.Log.Size(); asked.From < 0 || asked.From > asked.To || asked.To > size {
		return release.ConsistencyAnswer{}, verdict.Misuse("consistency", fmt.Sprintf("sizes from 0 to %d, the smaller first", size), fmt.Sprintf("%d and %d", asked.From, asked.To), "ask about checkpoints this broker has signed")
	}
	proof, err := b.consistency(asked.From, asked.To)
	if err != nil {
		return release.ConsistencyAnswer{}, broken("to prove consistency", err)
	}
	return release.ConsistencyAnswer{Proof: proof}, nil
}

// Checkpoint gives the latest signed checkpoint of this broker's log.
func (b *Broker) Checkpoint() string { return b.cfg.Log.Checkpoint() }

// Seen answers what this broker last accepted of a log, signed. It works on a locked broker
// too, so that two brokers can wake each other.
func (b *Broker) Seen(_ context.Context, data []byte) ([]byte, error) {
	asked, err := release.ParseSeenRequest(data)
	if err != nil {
		return nil, err
	}
	var held *seenRecord
	err = b.cfg.State.View(func(tx Tx) (err error) {
		held, err = load[seenRecord](tx, tableSeen, asked.Log)
		return err
	})
	if err != nil {
		return nil, broken("to read the broker's state", err)
	}
	checkpoint := ""
	if held != nil {
		checkpoint = held.Checkpoint
	}
	return release.NewSeen(b.cfg.Keys.ReleaseKey(), b.name, asked, checkpoint)
}
