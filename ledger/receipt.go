package ledger

import "strongroom.dev/wire"

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
