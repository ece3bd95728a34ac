package release

import (
	"encoding/json"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/policy"
	"strongroom.dev/wire"
)

// GrantFacts is the public part of a broker's log entry of kind "grant": what was decided,
// for which evidence and room. It says nothing about the data but the versions released.
type GrantFacts struct {
	ReleaseID string          `json:"release_id"`
	Request   wire.Digest     `json:"request"`  // digest of the room's signed request
	Evidence  wire.Digest     `json:"evidence"` // digest of the evidence that answered the challenge
	Room      keys.KeyID      `json:"room"`     // the room's signing key
	Class     agreement.Class `json:"class"`
	LeaseMS   int64           `json:"lease_ms"`
	Inputs    []GrantedInput  `json:"inputs"`
	// Costs are what the run spends of inputs under differential privacy; absent where none is.
	Costs []SpentInput `json:"costs,omitempty"`
	// Reference is the set of reference values that lists the room's image; absent if the
	// agreement pins the image itself.
	Reference *policy.Listed `json:"reference,omitempty"`
}

// GrantedInput is one input whose key a grant releases.
type GrantedInput struct {
	Input     wire.ID     `json:"input"`
	Dataset   wire.ID     `json:"dataset"`
	Statement wire.Digest `json:"statement"`
	Header    wire.Hash   `json:"header"`
}

// OutputFacts is the public part of a broker's log entry of kind "output": the one answer
// that a run may have (R14).
type OutputFacts struct {
	ReleaseID  string      `json:"release_id"`
	Commitment wire.Digest `json:"commitment"`
}

// ParseGrantFacts reads the public part of a "grant" entry.
func ParseGrantFacts(public json.RawMessage) (f GrantFacts, err error) {
	err = wire.Unmarshal(public, &f)
	return f, err
}

// ParseOutputFacts reads the public part of an "output" entry.
func ParseOutputFacts(public json.RawMessage) (f OutputFacts, err error) {
	err = wire.Unmarshal(public, &f)
	return f, err
}
