// Package broker is a party's own key service: it holds the keys of its owner's data and
// gives them to a room only when evidence, agreement, run and its own books allow it
// (spec/broker.md, spec/release.md).
//
// What it promises: nothing is released unrecorded, no record is lost and nothing is spent
// twice, whatever moment the process is killed at. Each decision is one transaction of the
// [State], in which the challenge, the run and the counts are spent and the record is
// queued under the number it will have in the log; then the [Log] has it durably, then the
// witnesses that the agreement demands have seen it; unwrapping the key is last. A broker
// that finds its log behind what others have seen of it refuses everything until its
// officers confirm.
//
// What it refuses: everything its owner has not activated, every input that is not in its
// owner's catalogue, and every request it can't explain a yes to. It reads no clock but the
// one it is given, opens no file and listens nowhere: see store/state, store/tilelog,
// release/file and server.
package broker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Log is the broker's own append-only log, kept in its owner's house (R15).
type Log interface {
	// Size is the number of entries that are durable.
	Size() int64
	// Checkpoint is the signed checkpoint of that size.
	Checkpoint() string
	// Append adds entries, all or none, and gives the index of the first. They are durable and
	// under a signed checkpoint when it returns nil. After an error they may be or not.
	Append(ctx context.Context, entries [][]byte) (first int64, err error)
	// Entry gives the bytes of one entry.
	Entry(index int64) ([]byte, error)
	// Receipt proves one entry in the tree of the latest checkpoint.
	Receipt(index int64) (ledger.Receipt, error)
	// Consistency proves that the tree of size to extends that of size from.
	Consistency(from, to int64) ([]wire.Hash, error)
}

// Witness is a shared ledger that cosigns this broker's checkpoints.
type Witness interface {
	// AddCheckpoint shows a checkpoint with the proof that it extends the tree of size old,
	// and gives the cosignature lines.
	AddCheckpoint(ctx context.Context, old int64, proof []wire.Hash, checkpoint string) (cosignatures string, err error)
	// Latest gives the last checkpoint it accepted of a log, "" if it never saw one. The answer
	// MUST be known to be the witness's own and fresh; whether the log signed the checkpoint is
	// for the caller to check.
	Latest(ctx context.Context, origin string) (checkpoint string, err error)
}

// Peer is another party's broker.
type Peer interface {
	// Seen puts a question of package release, what it last accepted of a log, and gives the
	// signed answer, unchecked.
	Seen(ctx context.Context, question []byte) (answer []byte, err error)
	// Consistency asks for a proof about the peer's own log.
	Consistency(ctx context.Context, from, to int64) ([]wire.Hash, error)
}

// Keys is a key store: the only holder of the owner's private keys. Private keys never come
// out of it; a file key does, for one grant.
type Keys interface {
	// Kind says in words what the store is and where the private keys are (R25).
	Kind() string
	// ReleaseKey signs grants, challenges and leases.
	ReleaseKey() keys.Signer
	// Secret makes challenge tokens and the run secrets.
	Secret() *keys.Secret
	// Unwrap gives the file key of a sealed file from its age header.
	Unwrap(header []byte) (*seal.FileKey, error)
}

// Config is everything a broker needs. Every member but those said to be optional is
// required; the zero Config is refused.
type Config struct {
	// Own are the owner's descriptors, oldest first; the last is the current one.
	Own   []*agreement.SignedParty
	State State
	Log   Log
	Keys  Keys
	// Platforms is the table of platforms whose evidence can be verified.
	Platforms []attest.Platform
	Now       func() time.Time
	// Endorsements says what Platforms rest on, for [Broker.Status]. Optional.
	Endorsements func() Endorsements
	// InsecureAllowSoftware lets this broker release to rooms of class software, which keep
	// nobody out of their memory, for agreements that accept them too (R4). Optional.
	InsecureAllowSoftware bool
	// Witnesses are the shared ledgers this broker can reach, by note verifier key. Optional;
	// agreements that demand a quorum of others are then refused.
	Witnesses map[string]Witness
	// Peers are where other brokers are, by the verifier key of their log, or by its origin. A
	// peer is asked only if an activated agreement names it as an owner: its descriptor says
	// whose answer counts. Optional.
	Peers map[string]Peer
	// NeverServed says that nobody outside can have seen more of the log than it has: the
	// broker was only ever opened for its officers. Then it needs nobody to ask. Optional.
	NeverServed bool
	// PeerAt reaches a peer at the address its descriptor hints at, for peers that Peers does
	// not name. Optional.
	PeerAt func(address string) Peer
	// Names is an authority outside that certifies rooms' names in the place of this broker's
	// own. Optional; with it NamesPerWeek MUST be above zero.
	Names NamesAuthority
	// NamesPerWeek is how many certificates the authority outside is asked for, for one set of
	// names, in any seven days.
	NamesPerWeek int
	// Tell is called with each grant that leaves and each refusal that is recorded, so that
	// whoever runs the broker sees it live. It MUST not block. Optional.
	Tell func(Told)
}

// Broker is one running key service. It is safe for concurrent use.
type Broker struct {
	cfg     Config
	name    wire.ID
	current *agreement.SignedParty
	own     map[wire.Digest]bool
	logKey  string
	origin  string

	// lock is nil while the broker serves.
	lock atomic.Pointer[Lock]

	// logMu is held while queued entries are brought into the log; see drain.
	logMu sync.Mutex
	// witnessMu is held for one round of cosigning, network included, so that witnesses see
	// checkpoints in rising order; it also guards cosigned.
	witnessMu sync.Mutex
	cosigned  cosigned

	// troubles is what went wrong with witnesses in the latest round of cosigning.
	troubles atomic.Pointer[[]string]

	// reading has a place for each release request that is read; see maxReading.
	reading chan struct{}

	// ordersMu owns orders: what an authority outside is being asked for, by key and names.
	ordersMu sync.Mutex
	orders   map[string]*order

	refusals   bucket // of what a room has signed
	challenges bucket // of challenges
	counters   counters
	parsed     parsedCache
	sets       setCache
}

// Open starts a broker: it compares its log with its own memory, then with what witnesses
// and peers have seen of it, finishes what was recorded but not yet in the log, and serves
// if all of that agrees (R15). A broker that may not serve is opened too, locked: see
// [Broker.Status].
func Open(ctx context.Context, cfg Config) (*Broker, error) {
	b, err := build(cfg)
	if err != nil {
		return nil, err
	}
	return b, b.start(ctx)
}

// Look gives a broker for looking at: [Broker.Status], [Broker.Why] and whatever else only
// reads. It finds out whether it could serve as Open does, and finishes and keeps nothing:
// State and Log need not be able to write.
func Look(ctx context.Context, cfg Config) (*Broker, error) {
	b, err := build(cfg)
	if err != nil {
		return nil, err
	}
	found, err := b.keptLock()
	if err == nil && found == nil {
		found, err = b.examine(ctx)
	}
	b.lock.Store(found)
	return b, err
}

// build gives a broker that has not looked at its log yet.
func build(cfg Config) (*Broker, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, own: make(map[wire.Digest]bool), current: cfg.Own[len(cfg.Own)-1], reading: make(chan struct{}, maxReading), orders: make(map[string]*order)}
	for _, party := range cfg.Own {
		b.own[party.Digest()] = true
	}
	b.name = b.current.Name
	b.logKey = b.current.Broker.LogKey
	b.origin = originOf(b.logKey)
	b.refusals.tokens, b.refusals.burst, b.refusals.every = refusalBurst, refusalBurst, refusalEvery
	b.challenges.tokens, b.challenges.burst, b.challenges.every = challengeBurst, challengeBurst, challengeEvery
	return b, nil
}

func (c Config) validate() error {
	missing := ""
	switch {
	case len(c.Own) == 0:
		missing = "the owner's descriptor"
	case c.State == nil:
		missing = "a state"
	case c.Log == nil:
		missing = "a log"
	case c.Keys == nil:
		missing = "a key store"
	case c.Now == nil:
		missing = "a clock"
	case len(c.Platforms) == 0:
		missing = "a table of platforms"
	case c.Names != nil && c.NamesPerWeek <= 0:
		missing = "a bound of certificates in a week"
	}
	if missing != "" {
		return verdict.Misuse("broker.config", missing, "none", "a defect in the program: report it")
	}
	current := c.Own[len(c.Own)-1]
	if current.Broker == nil {
		return verdict.Refuse("broker.descriptor", "a descriptor that names a broker", "one without, of a party that owns no data",
			"run `strongroom party init` for a party with a broker")
	}
	for _, p := range c.Own {
		if p.Name != current.Name {
			return verdict.Misuse("broker.config", "descriptors of "+string(current.Name), string(p.Name), "give this party's own descriptors only")
		}
	}
	if got, want := c.Keys.ReleaseKey().Public(), current.Broker.ReleaseKey; got != want {
		return verdict.Refuse("broker.release-key", "release key "+want.ID().Short()+", as the descriptor says", "key "+got.ID().Short(),
			"put the right keys/release.key in place, or make a new descriptor")
	}
	return nil
}

// Name gives the name of the party whose broker this is.
func (b *Broker) Name() wire.ID { return b.name }

func (b *Broker) now() time.Time { return b.cfg.Now() }

// originOf gives the origin of a log from its note verifier key, NAME+HASH+KEY.
func originOf(verifierKey string) string {
	origin, _, _ := strings.Cut(verifierKey, "+")
	return origin
}

// broken reports something of ours that should have worked. What a peer is told says no
// more than that; the cause is for the owner.
func broken(doing string, err error) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "broker", Expected: doing, Got: fmt.Sprint(err),
		Fix: "ask again with the same release id; if it stays, its owner should look at `strongroom broker status`", Err: err}
}
