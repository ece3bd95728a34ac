package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"strongroom.dev/agreement"
	"strongroom.dev/ledger"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Publication is a dataset version that its owner marks current: the signed statement, the
// age header of the sealed file, and which agreements may have its key (R8).
type Publication struct {
	Statement json.RawMessage `json:"statement"`
	Header    wire.Bytes      `json:"header"`
	Admit     Admission       `json:"admit"`
}

// Admission says which agreements may have a dataset's key: either every activated one that
// names it, or those listed, once they are activated. The zero Admission admits none and is
// no publication.
type Admission struct {
	Activated  bool          `json:"activated"`
	Agreements []wire.Digest `json:"agreements"`
}

// String says it in words.
func (a Admission) String() string {
	switch n := len(a.Agreements); {
	case a.Activated:
		return "every activated agreement that names it"
	case n == 1:
		return "agreement " + a.Agreements[0].Short() + " alone"
	default:
		return fmt.Sprintf("%d agreements listed", n)
	}
}

// check demands one of the two.
func (a Admission) check() error {
	if a.Activated == (len(a.Agreements) == 0) {
		return nil
	}
	got := "neither"
	if a.Activated {
		got = "both"
	}
	return verdict.Misuse("dataset.admit", "either every activated agreement, or a list of agreements", got, "say which agreements may have the key")
}

// whole gives an admission whose list is never nil, for documents.
func (a Admission) whole() Admission {
	return Admission{a.Activated, append([]wire.Digest{}, a.Agreements...)}
}

func (a Admission) same(b Admission) bool {
	return a.Activated == b.Activated && slices.Equal(a.Agreements, b.Agreements)
}

// publishFacts is the public part of an entry of kind publish.
type publishFacts struct {
	Dataset   wire.ID     `json:"dataset"`
	Version   int64       `json:"version"`
	Statement wire.Digest `json:"statement"`
	Header    wire.Hash   `json:"header"`
	Admit     Admission   `json:"admit"`
}

// Publish puts a dataset version into the catalogue and makes it the current one: the only
// version whose key is released from here on (R7). Versions rise by one, each superseding
// the one before, and a header belongs to one dataset for good. Publishing the current
// version again may only change which agreements are admitted.
func (b *Broker) Publish(ctx context.Context, pub Publication) (Event, error) {
	if err := b.serving(); err != nil {
		return Event{}, err
	}
	d, err := b.checkPublication(pub)
	if err != nil {
		return Event{}, err
	}
	facts := publishFacts{d.Dataset.Dataset, d.Version, d.Digest(), d.Header, pub.Admit.whole()}
	public, err := json.Marshal(facts)
	if err != nil {
		return Event{}, err
	}
	ev := Event{Kind: "publish", TimeMS: b.now().UnixMilli(), Notes: []string{},
		Done: fmt.Sprintf("dataset %s version %d (%s) is current, for %s", facts.Dataset, facts.Version, facts.Statement.Short(), facts.Admit)}
	err = b.cfg.State.Update(func(tx Tx) error {
		same, err := catalogue(tx, facts, d.Supersedes)
		if err != nil {
			return err
		}
		if same {
			ev.Number = -1
			return nil
		}
		p, err := record(tx, ledger.Entry{Kind: ev.Kind, TimeMS: ev.TimeMS, Public: public}, Decision{Subject: ev.Done}, string(facts.Dataset), facts.Statement.String())
		ev.Number = p.Number
		return err
	})
	return b.eventDone(ctx, ev, err)
}

// checkPublication checks that the statement is the owner's and about this header, and that
// this broker can open the header at all.
func (b *Broker) checkPublication(pub Publication) (*agreement.SignedDataset, error) {
	if err := pub.Admit.check(); err != nil {
		return nil, err
	}
	d, err := agreement.ParseDataset(pub.Statement)
	if err != nil {
		return nil, err
	}
	if d.Owner != b.name {
		return nil, verdict.Refuse("dataset.owner", "a dataset of "+string(b.name), "one of "+string(d.Owner), "publish it to its owner's broker")
	}
	if err := d.Verify(b.current, b.now()); err != nil {
		return nil, err
	}
	if err := checkHeader(d, pub.Header); err != nil {
		return nil, err
	}
	key, err := b.cfg.Keys.Unwrap(pub.Header)
	if err != nil {
		return nil, err
	}
	key.Wipe()
	return d, nil
}

// checkHeader checks that a header is the one a statement speaks of.
func checkHeader(d *agreement.SignedDataset, header []byte) error {
	if len(header) > seal.MaxHeader {
		return verdict.Refuse("dataset.header", fmt.Sprintf("a header of at most %d bytes", seal.MaxHeader), fmt.Sprintf("%d bytes", len(header)), "seal to fewer recipients")
	}
	if got := wire.HashOf(header); got != d.Header {
		return verdict.Refuse("dataset.header", "the header "+d.Header.Short()+" of the statement", got.Short(), "give the sealed file that the statement is about")
	}
	stanzas, err := seal.CountStanzas(header)
	if err != nil {
		return err
	}
	if int64(stanzas) != d.Recipients {
		return verdict.Refuse("dataset.recipients", fmt.Sprintf("%d recipients, as the statement says", d.Recipients), fmt.Sprint(stanzas), "make the statement of the file as it was sealed")
	}
	return nil
}

// catalogue makes a version current. same says that nothing changed.
func catalogue(tx Tx, f publishFacts, supersedes *wire.Digest) (same bool, err error) {
	current, err := load[datasetRecord](tx, tableDatasets, string(f.Dataset))
	if err != nil {
		return false, err
	}
	next := datasetRecord{Version: f.Version, Statement: f.Statement, Header: f.Header, Admit: f.Admit}
	if current != nil && current.Statement == f.Statement {
		next.Forgotten = current.Forgotten
		if current.Admit.same(f.Admit) {
			return true, nil
		}
		return false, save(tx, tableDatasets, string(f.Dataset), next)
	}
	if err := succeeds(f, supersedes, current); err != nil {
		return false, err
	}
	err = insert(tx, tableHeaders, f.Header.String(), headerRecord{f.Dataset, f.Version})
	if err == ErrExists {
		return false, verdict.Refuse("dataset.header", "a sealed file that no other dataset or version has", "header "+f.Header.Short()+", which is in the catalogue already",
			"seal the data again: every version has a key of its own")
	}
	if err != nil {
		return false, err
	}
	return false, save(tx, tableDatasets, string(f.Dataset), next)
}

// succeeds checks that versions rise by one in one chain.
func succeeds(f publishFacts, supersedes *wire.Digest, current *datasetRecord) error {
	const fix = "make the next statement with `strongroom seal --dataset`, which continues from the published version"
	if current == nil {
		if f.Version == 1 {
			return nil
		}
		return verdict.Refuse("dataset.version", fmt.Sprintf("version 1 of %s first", f.Dataset), fmt.Sprintf("version %d", f.Version), "publish the versions in order")
	}
	if f.Version != current.Version+1 {
		return verdict.Refuse("dataset.version", fmt.Sprintf("version %d of %s, after the current one", current.Version+1, f.Dataset), fmt.Sprintf("version %d", f.Version), fix)
	}
	if supersedes == nil || *supersedes != current.Statement {
		return verdict.Refuse("dataset.supersedes", "one that supersedes "+current.Statement.Short(), "another history of "+string(f.Dataset), fix)
	}
	return nil
}
