package agreement

import "strongroom.dev/wire"

// Run is the body of a run request (R9, spec/run.md), signed by a party that may run the
// work. Nothing in it comes from a host.
type Run struct {
	Agreement wire.Digest `json:"agreement"`
	// RunID is 32 lower-case hex digits, fresh for every request.
	RunID      string            `json:"run_id"`
	Requester  wire.ID           `json:"requester"` // party id
	Work       wire.ID           `json:"work"`
	Parameters map[string]string `json:"parameters"` // canonical text of each value
	Datasets   []RunDataset      `json:"datasets"`   // one for each input the work reads, in the agreement's order
	Expires    wire.Time         `json:"expires"`
	// RoomNonce and Counter bind a request to one serving room; absent for one-shot rooms.
	RoomNonce *wire.Hash `json:"room_nonce,omitempty"`
	Counter   int64      `json:"counter,omitempty"`
}

// RunDataset names the dataset version a run reads for one input.
type RunDataset struct {
	Input     wire.ID     `json:"input"`
	Statement wire.Digest `json:"statement"`
}
