package broker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"strongroom.dev/keys"
	"strongroom.dev/policy"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Keys in the meta table.
const (
	metaNext       = "next"       // the number the next entry gets, decimal
	metaEpoch      = "epoch"      // how often a rollback was confirmed, decimal
	metaCheckpoint = "checkpoint" // the last signed checkpoint of the own log
	metaLock       = "lock"       // Lock, while its officers have not confirmed
	metaCount      = "count/"     // and an entry's kind: how many were recorded, decimal
	metaNotBefore  = "not-before" // challenges issued before this are refused, Unix ms, decimal
)

// releaseRecord says what a release id was used for.
type releaseRecord struct {
	// Request is the digest of the signed request, and so names the room's key too.
	Request wire.Digest `json:"request"`
	RunID   string      `json:"run_id"`
	Place   placed      `json:"place"`
}

// placed is where a record stands: its number, which is its index in the log, and the hash
// of the bytes that must be found there.
type placed struct {
	Number int64     `json:"number"`
	Entry  wire.Hash `json:"entry"`
}

// runRecord is what was spent for a run id and how far it got.
type runRecord struct {
	Agreement wire.Digest `json:"agreement"`
	Run       wire.Digest `json:"run"`
	ReleaseID string      `json:"release_id"`
	// Work and Inputs are what the run is of and was given, where it is a container's: whose volumes
	// and names it may ask about.
	Work   wire.ID                `json:"work,omitempty"`
	Inputs []release.GrantedInput `json:"inputs,omitempty"`
	// Audit is what the run asks, where its answer is held against earlier ones; absent after a
	// rollback.
	Audit *auditRecord `json:"audit,omitempty"`
	// Fenced is the run that took over a volume that this one still held; it ends this one.
	Fenced string `json:"fenced,omitempty"`
	// Spendings are what the run spent under differential privacy; absent if nothing.
	Spendings []policy.Spending `json:"spendings,omitempty"`
	// Room is the room's signing key; absent after a rollback, which no run survives.
	Room *keys.PublicKey `json:"room,omitempty"`
	// Where the room runs, for denials that come later; absent after a rollback.
	Where *policy.Where `json:"where,omitempty"`
	// Listed is the set that accepted its image; absent if the agreement pins it.
	Listed  *policy.Listed `json:"listed,omitempty"`
	LeaseMS int64          `json:"lease_ms"`
	// LeaseEndMS is zero until the keys have left.
	LeaseEndMS int64 `json:"lease_end_ms"`
	// LiveCounter is that of the last live request that was answered with yes. It is kept here,
	// not in memory: across a restart a lease lives on, and so must the refusal of old requests.
	LiveCounter int64 `json:"live_counter"`
	// Commitment is the one answer of the run; Output is where it is recorded.
	Commitment *wire.Digest `json:"commitment,omitempty"`
	Output     *placed      `json:"output,omitempty"`
}

// standing is what an agreement is to this broker.
type standing string

const (
	activated standing = "activated"
	retired   standing = "retired" // for good
	// unconfirmed: activated before a rollback; its officers have to activate it again.
	unconfirmed standing = "unconfirmed"
)

type agreementRecord struct {
	ID       wire.ID           `json:"id"`
	Version  int64             `json:"version"`
	Standing standing          `json:"standing"`
	TimeMS   int64             `json:"time_ms"` // of the last change
	Document json.RawMessage   `json:"document,omitempty"`
	Parties  []json.RawMessage `json:"parties,omitempty"`
}

// idRecord is the highest version ever activated of an agreement id.
type idRecord struct {
	Version int64       `json:"version"`
	Digest  wire.Digest `json:"digest"`
}

// datasetRecord is the version of a dataset that its owner marked current.
type datasetRecord struct {
	Version   int64       `json:"version"`
	Statement wire.Digest `json:"statement"`
	Header    wire.Hash   `json:"header"`
	Admit     Admission   `json:"admit"`
	// Forgotten is set if more may have been asked of the version than is known, since the log was
	// set back.
	Forgotten bool `json:"forgotten,omitempty"`
}

// headerRecord says under which dataset a header is catalogued.
type headerRecord struct {
	Dataset wire.ID `json:"dataset"`
	Version int64   `json:"version"`
}

// seenRecord is the last checkpoint accepted of somebody else's log.
type seenRecord struct {
	Origin     string `json:"origin"`
	Size       int64  `json:"size"`
	Checkpoint string `json:"checkpoint"`
}

// Decision is one thing the broker decided, as `why` explains it.
type Decision struct {
	Number  int64   `json:"number"` // of its entry in the log
	Kind    wire.ID `json:"kind"`   // of the entry: grant, refusal, output, activate, ...
	TimeMS  int64   `json:"time_ms"`
	Subject string  `json:"subject"` // what it is about, for people
	// Agreement, RunID and ReleaseID are empty where there is none.
	Agreement string `json:"agreement,omitempty"`
	RunID     string `json:"run_id,omitempty"`
	ReleaseID string `json:"release_id,omitempty"`
	// Refusal is the refusal's one line; empty if the answer was yes.
	Refusal string          `json:"refusal,omitempty"`
	Checks  []verdict.Check `json:"checks,omitempty"`
	// Spendings are what a run spent under differential privacy, of an entry of kind spend.
	Spendings []policy.Spending `json:"spendings,omitempty"`
}

// load reads a record; nil if there is none. A record that can't be read is an error, never
// an absence: absence often means "not yet spent".
func load[T any](tx Tx, t Table, key string) (*T, error) {
	data := tx.Get(t, key)
	if data == nil {
		return nil, nil
	}
	record := new(T)
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(record); err != nil {
		return nil, fmt.Errorf("record %s/%s in the broker's state: %w", t, key, err)
	}
	return record, nil
}

func save(tx Tx, t Table, key string, record any) error {
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return tx.Put(t, key, data)
}

// insert is save under the unique constraint.
func insert(tx Tx, t Table, key string, record any) error {
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return tx.Insert(t, key, data)
}

// number reads a decimal of the meta table, zero if it isn't there.
func number(tx Tx, key string) (int64, error) {
	data := tx.Get(tableMeta, key)
	if data == nil {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("record meta/%s in the broker's state is not a number: %.40q", key, data)
	}
	return n, nil
}

func putNumber(tx Tx, key string, n int64) error {
	return tx.Put(tableMeta, key, strconv.AppendInt(nil, n, 10))
}

func addNumber(tx Tx, key string, n int64) error {
	had, err := number(tx, key)
	if err != nil {
		return err
	}
	return putNumber(tx, key, had+n)
}

// Keys sort as the numbers in them do.
func entryKey(n int64) string           { return fmt.Sprintf("%016x", n) }
func decisionKey(epoch, n int64) string { return fmt.Sprintf("%06x%016x", epoch, n) }
func countKey(dataset wire.ID, timeMS int64, runID string) string {
	return fmt.Sprintf("%s/%016x/%s", dataset, max(timeMS, 0), runID)
}
