package ledger

import (
	"fmt"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Receipt proves that an entry stands in a log: the entry's bytes, its index, the hashes of
// its inclusion proof, and the signed checkpoint the proof leads to, with the cosignatures
// of witnesses where there are any (spec/ledger.md, section 6).
type Receipt struct {
	Entry wire.Bytes  `json:"entry"`
	Index int64       `json:"index"`
	Proof []wire.Hash `json:"proof"`
	// Checkpoint is the whole signed note, its signature lines included.
	Checkpoint string `json:"checkpoint"`
}

// Verify checks a receipt with the verifier's own keys: the log's signature over the
// checkpoint, the entry's place in the tree, cosignatures by at least quorum of the
// witnesses (0 demands none), and the entry's form. What the entry says is for the caller to
// judge. The error is a [verdict.Error]: Invalid, or Usage where a key or the quorum makes
// no sense.
func (r Receipt) Verify(logKey string, witnesses []Witness, quorum int) (Entry, Checkpoint, error) {
	c, err := r.check(logKey, witnesses, quorum)
	if err != nil {
		return Entry{}, Checkpoint{}, err
	}
	entry, err := ParseEntry(r.Entry)
	if err != nil {
		return Entry{}, Checkpoint{}, &verdict.Error{Kind: verdict.Invalid, Check: "ledger.entry", Expected: "a well-formed entry",
			Got: verdict.Short(err.Error()), Fix: "the log holds something that is no record of ours", Err: err}
	}
	return entry, c, nil
}

// check is Verify for an entry of any form.
func (r Receipt) check(logKey string, witnesses []Witness, quorum int) (Checkpoint, error) {
	if len(r.Entry) > MaxEntry || len(r.Proof) > MaxProof {
		return Checkpoint{}, verdict.NotGenuine("ledger.receipt", fmt.Sprintf("an entry of at most %d bytes, a proof of at most %d hashes", MaxEntry, MaxProof),
			fmt.Sprintf("%d bytes, %d hashes", len(r.Entry), len(r.Proof)), "ask for a new receipt")
	}
	verifiers, err := parseWitnesses(witnesses)
	if err != nil {
		return Checkpoint{}, err
	}
	c, by, err := openCheckpoint(r.Checkpoint, logKey, verifiers)
	if err != nil {
		return Checkpoint{}, err
	}
	if err := checkInclusion(r.Proof, c, r.Index, r.Entry); err != nil {
		return Checkpoint{}, &verdict.Error{Kind: verdict.Invalid, Check: "ledger.inclusion", Err: err,
			Expected: fmt.Sprintf("proof that the entry is number %d of the %d in %s", r.Index, c.Size, c.Origin), Got: verdict.Short(err.Error()),
			Fix: "the entry is not in that log: do not rely on it"}
	}
	return c, checkQuorum(c.Origin, matchCosignatures(by, witnesses, verifiers), witnesses, quorum)
}
