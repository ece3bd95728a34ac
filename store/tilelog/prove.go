package tilelog

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// entry gives an entry's bytes, a copy.
func (t *tree) entry(index int64) ([]byte, error) {
	if index < 0 || index >= t.size() {
		return nil, noEntry(index, t.size())
	}
	if index >= t.base {
		return append([]byte{}, t.tail[index-t.base]...), nil
	}
	data, err := readBounded(t.dir, tilePath(entriesLevel, index/tileWidth, tileWidth), maxBundle)
	if err != nil {
		return nil, damaged(t.dir, err)
	}
	entries, err := parseBundle(data, tileWidth)
	if err != nil {
		return nil, damaged(t.dir, err)
	}
	return append([]byte{}, entries[index%tileWidth]...), nil
}

func noEntry(index, size int64) error {
	return verdict.Misuse("ledger.index", fmt.Sprintf("an entry from 0, below the size of %d", size), fmt.Sprint(index), "ask for an entry that is there")
}

// receipt proves an entry under a checkpoint of this log.
func (t *tree) receipt(index int64, checkpoint, verifier string) (ledger.Receipt, error) {
	c, err := ledger.OpenCheckpoint(checkpoint, verifier)
	if err != nil {
		return ledger.Receipt{}, err
	}
	if err := t.extends(c); err != nil {
		return ledger.Receipt{}, err
	}
	if index < 0 || index >= c.Size {
		return ledger.Receipt{}, noEntry(index, c.Size)
	}
	entry, err := t.entry(index)
	if err != nil {
		return ledger.Receipt{}, err
	}
	proof, err := tlog.ProveRecord(c.Size, index, t)
	if err == nil {
		err = tlog.CheckRecord(proof, c.Size, tlog.Hash(c.Root), index, tlog.Hash(ledger.LeafHash(entry)))
	}
	if err != nil {
		return ledger.Receipt{}, damaged(t.dir, err)
	}
	return ledger.Receipt{Entry: entry, Index: index, Proof: hashes(proof), Checkpoint: checkpoint}, nil
}

func (t *tree) consistency(from, to int64) ([]wire.Hash, error) {
	if from < 0 || from > to || to > t.size() {
		return nil, verdict.Misuse("ledger.sizes", fmt.Sprintf("0 <= from <= to <= %d, the log's size", t.size()), fmt.Sprintf("from %d to %d", from, to), "ask for sizes the log has had")
	}
	if from == 0 || from == to {
		return []wire.Hash{}, nil
	}
	proof, err := tlog.ProveTree(to, from, t)
	if err != nil {
		return nil, damaged(t.dir, err)
	}
	return hashes(proof), nil
}

func hashes(in []tlog.Hash) []wire.Hash {
	out := make([]wire.Hash, len(in))
	for i, h := range in {
		out[i] = wire.Hash(h)
	}
	return out
}

// Snapshot is a log as it stands on disk, up to the checkpoint it published last. It needs
// no key that signs and no lock: a writer at work is at most a second ahead of it.
type Snapshot struct {
	tree     tree
	verifier string
	last     ledger.Checkpoint
}

// Read takes a snapshot of the log in dir, whose verifier key the caller brings. It checks
// the journal and the right edge of the tree, not every tile: see [Fsck].
func Read(dir, verifier string) (*Snapshot, error) {
	if !Exists(dir) {
		return nil, verdict.Misuse("ledger.open", "a log in "+dir, "no journal there", "name the directory of a log")
	}
	s, err := load(dir)
	if err != nil {
		return nil, err
	}
	if err := sameKey(dir, s.header.verifier, verifier); err != nil {
		return nil, err
	}
	if s.published == "" {
		return nil, damaged(dir, errors.New("no checkpoint there"))
	}
	if err := s.checkPublished(verifier); err != nil {
		return nil, err
	}
	last, err := ledger.OpenCheckpoint(s.published, verifier)
	return &Snapshot{s.tree, verifier, last}, err
}

// ReadDurable is [Read] for whoever has the log's signing key: up to the last entry that is
// durable, under the checkpoint that opening the log would sign. It writes nothing.
func ReadDurable(dir string, signer *ledger.Signer) (*Snapshot, error) {
	s, err := Read(dir, signer.Verifier())
	if err != nil {
		return nil, err
	}
	root, err := s.tree.root(s.tree.size())
	if err != nil {
		return nil, damaged(dir, err)
	}
	note, err := signer.SignCheckpoint(s.tree.size(), root)
	if err == nil {
		s.last, err = ledger.OpenCheckpoint(note, signer.Verifier())
	}
	return s, err
}

// Checkpoint gives the checkpoint that the snapshot is under.
func (s *Snapshot) Checkpoint() ledger.Checkpoint { return s.last }

// Entry gives the bytes of an entry under the checkpoint.
func (s *Snapshot) Entry(index int64) ([]byte, error) {
	if index >= s.last.Size {
		return nil, noEntry(index, s.last.Size)
	}
	return s.tree.entry(index)
}

// Receipt proves an entry under the checkpoint.
func (s *Snapshot) Receipt(index int64) (ledger.Receipt, error) {
	return s.tree.receipt(index, s.last.Note, s.verifier)
}

// Consistency proves that the first to entries extend the first from ones.
func (s *Snapshot) Consistency(from, to int64) ([]wire.Hash, error) {
	return s.tree.consistency(from, to)
}
