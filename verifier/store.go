package verifier

import (
	"context"
	"errors"
)

// Table names one of the store's tables.
type Table string

// The tables.
const (
	// TablePolicy holds the texts of policies, by ID/VERSION/DIGEST (16 digits; the policy's).
	TablePolicy Table = "policy"
	// TableHead holds which version of a policy is in force and which text each is, by its id.
	TableHead Table = "head"
	// TableSecret holds keys: of each shape's tokens, and of challenges.
	TableSecret Table = "secret"
	// TableRedeemed holds redeemed challenges for a while after they expire, by that time (16 hex
	// digits) and id.
	TableRedeemed Table = "redeemed"
	// TableSeen holds the set of reference values of each product that was used last, by product:
	// older ones are refused from then on.
	TableSeen Table = "seen"
	// TableEndorsed holds the newest version of each endorsement of the service's own that was used,
	// by line: older ones are refused from then on.
	TableEndorsed Table = "endorsed"
)

// Tables lists every table.
func Tables() []Table {
	return []Table{TablePolicy, TableHead, TableSecret, TableRedeemed, TableSeen, TableEndorsed}
}

// ErrChanged is what [Store.Swap] gives when the value is not what the caller thought.
var ErrChanged = errors.New("the value has changed")

// Entry is a key with its value.
type Entry struct {
	Key   string
	Value []byte
}

// Store keeps what has to outlive the process, and what instances share. What Swap and
// DeleteBelow did is durable when they return. Values given out are the caller's.
type Store interface {
	// Get gives a value, nil if there is none.
	Get(ctx context.Context, t Table, key string) ([]byte, error)
	// List gives all entries whose keys start with a prefix, by key.
	List(ctx context.Context, t Table, prefix string) ([]Entry, error)
	// Swap puts a value in the place of another, whatever other instances do meanwhile. With old
	// nil there must be none. If the value is not old, nothing changes and the error is ErrChanged.
	Swap(ctx context.Context, t Table, key string, old, value []byte) error
	// DeleteBelow deletes all entries whose keys are less than one.
	DeleteBelow(ctx context.Context, t Table, key string) error
}
