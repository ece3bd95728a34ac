package tilelog

import (
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Origin gives the log's name.
func (l *Log) Origin() string { return l.signer.Origin() }

// Checkpoint gives the latest signed checkpoint. Every entry under it is durable.
func (l *Log) Checkpoint() string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.checkpoint
}

// Size gives the number of entries.
func (l *Log) Size() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tree.size()
}

// Entry gives the bytes of an entry. They belong to the caller.
func (l *Log) Entry(index int64) ([]byte, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tree.entry(index)
}

// Receipt gives the proof that the entry at the index is in the log, under the latest
// checkpoint. It has been checked: a damaged tile gives an error, never a false receipt.
func (l *Log) Receipt(index int64) (ledger.Receipt, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tree.receipt(index, l.checkpoint, l.signer.Verifier())
}

// ReceiptUnder is [Log.Receipt] under a checkpoint of this log that the caller brings, such
// as one that witnesses have cosigned.
func (l *Log) ReceiptUnder(index int64, checkpoint string) (ledger.Receipt, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tree.receipt(index, checkpoint, l.signer.Verifier())
}

// Consistency gives the proof that the log's first to entries extend its first from entries;
// see [ledger.CheckConsistency].
func (l *Log) Consistency(from, to int64) ([]wire.Hash, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tree.consistency(from, to)
}

// Extends demands that the log has the entries under a checkpoint of this log as its first
// ones; the caller has checked the checkpoint's signature. The errors are those of
// [ledger.CheckConsistency].
func (l *Log) Extends(c ledger.Checkpoint) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if c.Origin != l.signer.Origin() {
		return verdict.NotGenuine("ledger.consistency", "a checkpoint of "+l.signer.Origin(), "one of "+c.Origin, "compare checkpoints of one log")
	}
	return l.tree.extends(c)
}

// Tile gives the bytes of the hash tile number n of a level, of 1 to 256 hashes, as far as
// the log has come (C2SP tlog-tiles).
func (l *Log) Tile(level int, n int64, width int) ([]byte, error) {
	if level < 0 || level > maxLevel {
		return nil, noTile(tilePath(max(level, 0), max(n, 0), width))
	}
	return l.publicTile(level, n, width)
}

// Bundle gives the bytes of the entry bundle number n, of 1 to 256 entries, as far as the
// log has come (C2SP tlog-tiles).
func (l *Log) Bundle(n int64, width int) ([]byte, error) {
	return l.publicTile(entriesLevel, n, width)
}

func (l *Log) publicTile(level int, n int64, width int) ([]byte, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	count := l.tree.size() >> (tileHeight * max(level, 0))
	if n < 0 || n > count/tileWidth || width < 1 || width > tileWidth || n*tileWidth+int64(width) > count {
		return nil, noTile(tilePath(level, max(n, 0), width))
	}
	data, err := l.tree.tile(level, n, width)
	if err != nil {
		return nil, damaged(l.dir, err)
	}
	return data, nil
}

func noTile(path string) error {
	return verdict.Misuse("ledger.tile", "a tile the log has", verdict.Short(path), "ask for tiles of the checkpoint's size")
}
