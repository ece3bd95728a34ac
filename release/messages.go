// Package release carries keys from a broker to a room (spec/release.md): the messages both
// sides exchange, the challenge that makes them fresh, and the sealing of a file key to the
// one room, run, input and lease it was granted for (R11 to R14).
//
// A key can be sealed only under a grant that [policy.Decide] made and that was redeemed;
// what it is addressed to comes from the grant alone. A room opens only an answer to what it
// asked. The package refuses messages of another version, over their limits, or signed by
// anyone else; it records nothing and spends nothing: that is the broker's.
package release

import (
	"encoding/json"

	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/wire"
)

// Version is the protocol version. Peers of another version are refused.
const Version = "strongroom/release/v1"

// ChallengeRequest asks a broker for a challenge.
type ChallengeRequest struct {
	Version string         `json:"version"`
	Purpose attest.Purpose `json:"purpose"`
	// Agreement lets a broker that does not know it refuse at once; the challenge serves for
	// no other.
	Agreement wire.Digest `json:"agreement"`
	// Nonce is the room's own, random: the answer repeats it, so that nobody can serve an old
	// time or an old checkpoint as the latest.
	Nonce wire.Hash `json:"nonce"`
}

// Challenge is a broker's answer: what the evidence must bind, and where its log stands. It
// is a document of type ChallengeType signed by the broker's release key.
type Challenge struct {
	Version string         `json:"version"`
	Broker  wire.ID        `json:"broker"` // the broker's party name
	Purpose attest.Purpose `json:"purpose"`
	// Agreement and Nonce repeat the request's.
	Agreement wire.Digest `json:"agreement"`
	Nonce     wire.Hash   `json:"nonce"`
	// Token is the stateless challenge (R11): whoever holds it can check nothing and forge
	// nothing; the broker recognises its own.
	Token wire.Bytes `json:"token"`
	// TimeMS is the broker's time, Unix milliseconds.
	TimeMS int64 `json:"time_ms"`
	// Checkpoint is the latest signed checkpoint of the broker's log (R15).
	Checkpoint string `json:"checkpoint"`
	// Seen says for each other log what size this broker last accepted, so that the room can
	// bring a consistency proof.
	Seen []SeenLog `json:"seen"`
}

// SeenLog is the tree size last accepted of one log.
type SeenLog struct {
	Origin string `json:"origin"`
	Size   int64  `json:"size"`
}

// PeerCheckpoint carries another broker's checkpoint to a broker, with the proof that it
// extends what that broker saw last (R15).
type PeerCheckpoint struct {
	Checkpoint string      `json:"checkpoint"`
	From       int64       `json:"from"`
	Proof      []wire.Hash `json:"proof"`
}

// ConsistencyRequest asks a broker to prove that its log of size To extends that of size From.
type ConsistencyRequest struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// ConsistencyAnswer is the proof, as tlog gives it.
type ConsistencyAnswer struct {
	Proof []wire.Hash `json:"proof"`
}

// RoomKeys are the keys a room made for itself; its evidence binds them.
type RoomKeys struct {
	Signing keys.PublicKey     `json:"signing"`
	HPKE    keys.HPKEPublicKey `json:"hpke"`
}

// InputRequest asks for the key of one input. Header is the age header, never the payload.
type InputRequest struct {
	Input     wire.ID         `json:"input"`
	Statement json.RawMessage `json:"statement"` // signed dataset statement
	Header    wire.Bytes      `json:"header"`
}

// Request is what a room sends to be given keys. It is signed by the room's signing key
// (document type RequestType), so that nothing in it can be exchanged on the way.
type Request struct {
	Version   string            `json:"version"`
	Broker    wire.ID           `json:"broker"`
	Challenge wire.Bytes        `json:"challenge"`
	ReleaseID string            `json:"release_id"` // 32 hex digits chosen by the room; a retry repeats it (R11)
	Evidence  attest.Evidence   `json:"evidence"`
	Room      RoomKeys          `json:"room"`
	Agreement json.RawMessage   `json:"agreement"` // signed document
	Parties   []json.RawMessage `json:"parties"`   // signed descriptors the agreement names
	Run       json.RawMessage   `json:"run"`       // signed document
	Inputs    []InputRequest    `json:"inputs"`    // this broker's inputs only; none for a keeper's
	Peers     []PeerCheckpoint  `json:"peers"`
}

// The document types of signed messages.
const (
	RequestType     = "strongroom/release-request/v1"
	GrantType       = "strongroom/release-grant/v1"
	ChallengeType   = "strongroom/challenge/v1"
	LiveRequestType = "strongroom/live-request/v1"
	LiveType        = "strongroom/live/v1"
	SeenType        = "strongroom/seen/v1"
)

// Granted is the body of a broker's grant, a document of type GrantType signed by its
// release key.
type Granted struct {
	Version   string      `json:"version"`
	Broker    wire.ID     `json:"broker"`
	ReleaseID string      `json:"release_id"`
	Request   wire.Digest `json:"request"` // digest of the signed request
	TimeMS    int64       `json:"time_ms"`
	LeaseMS   int64       `json:"lease_ms"` // from TimeMS
	Releases  []SealedKey `json:"releases"` // in the order asked for
	// Secret is the broker's secret for the run, sealed alone, where the request named no input:
	// a keeper's broker takes part in a run without releasing a key. Absent otherwise.
	Secret wire.Bytes `json:"secret,omitempty"`
	// Spending is what the run spends under differential privacy and what the owner's books say,
	// sealed ([SealSpendings]). Absent where none is.
	Spending wire.Bytes     `json:"spending,omitempty"`
	Receipt  ledger.Receipt `json:"receipt"` // of the grant's entry in the broker's own log
}

// SealedKey is one file key, sealed to the room's HPKE key with the info of R12. The
// plaintext is a [KeyMaterial].
type SealedKey struct {
	Input  wire.ID    `json:"input"`
	Header wire.Hash  `json:"header"`
	Sealed wire.Bytes `json:"sealed"`
}

// LiveRequest is what a room asks every owner's broker while it runs and before an output
// leaves (R13). It is a document of type LiveRequestType signed by the room's signing key.
type LiveRequest struct {
	Version   string      `json:"version"`
	Broker    wire.ID     `json:"broker"`
	Agreement wire.Digest `json:"agreement"`
	Run       wire.Digest `json:"run"`
	RunID     string      `json:"run_id"`
	ReleaseID string      `json:"release_id"`
	// Counter is above that of every live request the room has made of this broker, so that
	// nobody can keep a lease alive with an old one; the first is at least 1.
	Counter int64 `json:"counter"`
	// AfterMS is the time in the last answer the room has of this broker, grant or live. A host
	// that hoards requests gets no further with them than the room itself: a lease from there.
	AfterMS int64     `json:"after_ms"`
	Nonce   wire.Hash `json:"nonce"`
	// Commitment is to the plaintext of the output; zero while the run goes on (R14).
	Commitment *wire.Digest `json:"commitment,omitempty"`
	// Shown is what the answer shows of the broker's audited inputs, sealed by [SealShown]; with a
	// commitment, if there are any.
	Shown wire.Bytes `json:"shown,omitempty"`
}

// Live is the broker's word that the run may go on, a document of type LiveType signed by
// its release key.
type Live struct {
	Version    string       `json:"version"`
	Broker     wire.ID      `json:"broker"`
	Run        wire.Digest  `json:"run"`
	Nonce      wire.Hash    `json:"nonce"`
	Commitment *wire.Digest `json:"commitment,omitempty"`
	TimeMS     int64        `json:"time_ms"`
	LeaseEndMS int64        `json:"lease_end_ms"`
	// Receipt is of the output's entry in the broker's own log; only with a commitment.
	Receipt *ledger.Receipt `json:"receipt,omitempty"`
}
