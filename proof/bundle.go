// Package proof checks, offline and with the verifier's own roots, that a result came out of
// the room that was agreed on: the agreement with every signature, the request, the room's
// evidence, every owner's release and last word, the result's own statement, and the
// receipts of the ledgers (R17; spec/proof.md).
//
// [Verify] is the only maker of [Proven]. It takes keys and roots from its [Trust], never
// from the bundle, and the zero Trust refuses everything. It reads no clock, no file and no
// network; it opens nothing.
package proof

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// The document types this package reads.
const (
	BundleType = "strongroom/proof/v1"
	ResultType = "strongroom/result/v1"
	RecordType = "strongroom/record/v1"
)

// Bundle is a proof file: everything a stranger needs to check one result, besides the
// sealed file itself and whom to trust. Members hold signed documents as they were signed.
type Bundle struct {
	Type       string            `json:"type"` // BundleType
	Agreement  json.RawMessage   `json:"agreement"`
	Parties    []json.RawMessage `json:"parties"`
	Run        json.RawMessage   `json:"run"`
	Statements []json.RawMessage `json:"statements"` // dataset statements, one for each dataset of the run, in its order
	Room       release.RoomKeys  `json:"room"`
	Releases   []Release         `json:"releases"` // one for each owner
	Lives      []json.RawMessage `json:"lives"`    // the last word of each owner's broker, with the commitment
	// Consistency proves, for each owner, that the log its broker's last word stands in
	// extends the log its grant stands in; empty where the two have the same size.
	Consistency [][]wire.Hash    `json:"consistency"`
	Result      json.RawMessage  `json:"result"`  // signed by the room
	Records     []ledger.Receipt `json:"records"` // the run's record in shared ledgers
}

// Release is what one broker gave: the challenge it set, the evidence that answered, and its
// signed grant. The keys in the grant are sealed to a room that is gone.
type Release struct {
	Broker    wire.ID         `json:"broker"` // party name
	Challenge wire.Bytes      `json:"challenge"`
	Evidence  attest.Evidence `json:"evidence"`
	Grant     json.RawMessage `json:"grant"`
}

// Result is the room's statement about one sealed result (R17), a document of type
// ResultType signed by the room's signing key.
type Result struct {
	Agreement wire.Digest `json:"agreement"`
	Run       wire.Digest `json:"run"`
	RunID     string      `json:"run_id"`
	Output    wire.ID     `json:"output"`
	Receiver  wire.ID     `json:"receiver"` // party id in the agreement
	File      wire.Hash   `json:"file"`     // SHA-256 of the sealed file
	Size      int64       `json:"size"`     // of the sealed file, bytes
	// Commitment is to the plaintext, the one every owner's broker accepted (R14).
	Commitment wire.Digest `json:"commitment"`
	// Plan is the hash of the plan of the query that ran (spec/sql.md, section 6), which anybody
	// can make again from agreement and request; absent for other work.
	Plan *wire.Hash `json:"plan,omitempty"`
}

// Record is the public part of a run's record, a document of type RecordType signed by the
// room's signing key; it is the Public member of a ledger entry of kind "run". It has the
// same shape whatever the data (R19).
type Record struct {
	Agreement  wire.Digest            `json:"agreement"`
	Run        wire.Digest            `json:"run"`
	RunID      string                 `json:"run_id"`
	Room       keys.PublicKey         `json:"room"`
	Class      agreement.Class        `json:"class"`
	Evidence   []wire.Digest          `json:"evidence"` // one for each owner, in the agreement's order
	Datasets   []agreement.RunDataset `json:"datasets"`
	Commitment wire.Digest            `json:"commitment"`
	Results    []wire.Digest          `json:"results"` // digests of the result statements
	Sealed     []SealedPart           `json:"sealed"`  // digests of the owners' sealed parts
}

// SealedPart names an owner's sealed part of the record without showing it.
type SealedPart struct {
	Party wire.ID   `json:"party"`
	Hash  wire.Hash `json:"hash"`
}

// ParseBundle reads a proof file. It checks form and limits only.
func ParseBundle(data []byte) (*Bundle, error) {
	canonical, err := wire.Canonical(bytes.TrimRight(data, "\n"))
	if err != nil {
		return nil, malformed(err)
	}
	var shape struct {
		Type *string `json:"type"`
	}
	switch err := json.Unmarshal(canonical, &shape); {
	case err != nil || shape.Type == nil:
		return nil, malformed(errors.New("no object with a type"))
	case *shape.Type != BundleType: // before its members, which of another type tell nothing
		return nil, malformed(fmt.Errorf("type %.60q", *shape.Type))
	}
	b := new(Bundle)
	if err := wire.Unmarshal(canonical, b); err != nil {
		return nil, malformed(err)
	}
	for _, n := range []int{len(b.Parties), len(b.Statements), len(b.Releases), len(b.Lives), len(b.Consistency), len(b.Records)} {
		if n > maxMembers {
			return nil, malformed(fmt.Errorf("a list of %d members, at most %d", n, maxMembers))
		}
	}
	return b, nil
}

// Encode gives the bundle as a file.
func (b *Bundle) Encode() ([]byte, error) {
	out, err := wire.Marshal(b)
	return append(out, '\n'), err
}

// maxMembers bounds each list of a bundle: as many inputs as an agreement may have.
const maxMembers = agreement.MaxInputs

func malformed(err error) error {
	return &verdict.Error{Kind: verdict.Invalid, Check: "proof.form", Expected: "a proof file of type " + BundleType,
		Got: verdict.Short(err.Error()), Fix: "ask whoever gave you the result for its .proof file", Err: err}
}
