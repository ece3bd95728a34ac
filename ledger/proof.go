package ledger

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// LeafHash is the hash by which an entry stands in the tree (RFC 6962, section 2.1).
func LeafHash(entry []byte) wire.Hash { return wire.Hash(tlog.RecordHash(entry)) }

// emptyRoot is the root of a tree without entries: the SHA-256 of nothing.
func emptyRoot() wire.Hash { return wire.HashOf(nil) }

func tlogHashes(hashes []wire.Hash) []tlog.Hash {
	out := make([]tlog.Hash, len(hashes))
	for i, h := range hashes {
		out[i] = tlog.Hash(h)
	}
	return out
}

// checkInclusion checks that the tree of c has the entry at the index.
func checkInclusion(proof []wire.Hash, c Checkpoint, index int64, entry []byte) error {
	if index < 0 || index >= c.Size || len(proof) > MaxProof {
		return fmt.Errorf("index %d and a proof of %d hashes for %d entries", index, len(proof), c.Size)
	}
	return tlog.CheckRecord(tlogHashes(proof), c.Size, tlog.Hash(c.Root), index, tlog.RecordHash(entry))
}

// CheckConsistency checks that new extends old: the same log, no smaller, and with old's
// entries as its first ones (RFC 6962, section 2.1.2). The proof is empty if old has no
// entries or the sizes are equal. The signatures of both are the caller's to check first.
//
// The error is a [verdict.Error]: Refused where new is smaller than old (check
// "ledger.rollback"), Invalid where the two can't be states of one log ("ledger.fork") or
// the proof shows nothing ("ledger.consistency").
func CheckConsistency(proof []wire.Hash, old, new Checkpoint) error {
	switch {
	case old.Origin != new.Origin:
		return verdict.NotGenuine("ledger.consistency", "a checkpoint of "+old.Origin, "one of "+new.Origin, "compare checkpoints of one log")
	case old.Size < 0 || new.Size > MaxSize || len(proof) > MaxProof:
		return verdict.NotGenuine("ledger.consistency", "sizes and a proof within the limits", fmt.Sprintf("sizes %d and %d, %d hashes", old.Size, new.Size, len(proof)), "ask for a new proof")
	case new.Size < old.Size:
		return verdict.Refuse("ledger.rollback", fmt.Sprintf("%s with at least %d entries, as seen before", old.Origin, old.Size), fmt.Sprintf("%d entries", new.Size),
			"the log was set back, or something old is shown: ask its owner, who can confirm a restored log")
	case new.Size == old.Size && new.Root != old.Root:
		return verdict.NotGenuine("ledger.fork", fmt.Sprintf("%s with root %s at %d entries, as seen before", old.Origin, old.Root.Short(), old.Size), "root "+new.Root.Short(),
			"the log shows two histories: keep both checkpoints as evidence and ask its owner")
	case old.Size == 0 || new.Size == old.Size:
		if len(proof) != 0 {
			return verdict.NotGenuine("ledger.consistency", "an empty proof", fmt.Sprintf("%d hashes", len(proof)), "ask for a new proof")
		}
		return nil
	}
	if err := tlog.CheckTree(tlogHashes(proof), new.Size, tlog.Hash(new.Root), old.Size, tlog.Hash(old.Root)); err != nil {
		return &verdict.Error{Kind: verdict.Invalid, Check: "ledger.consistency", Err: err,
			Expected: fmt.Sprintf("proof that %s of %d entries extends the %d seen before", old.Origin, new.Size, old.Size), Got: verdict.Short(err.Error()),
			Fix: "the log may show two histories: keep both checkpoints as evidence and ask its owner"}
	}
	return nil
}
