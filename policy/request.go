package policy

import (
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/wire"
)

// Request is everything a decision rests on, as plain data. What came from the room is
// parsed but not believed; what came from the broker's books was read in one transaction.
// The zero Request is refused, and so is any with a part missing.
type Request struct {
	Now time.Time
	// Broker is who decides, Floor what it accepts at most, whatever was agreed.
	Broker Broker
	Floor  Floor
	// ReleaseID and Digest name the signed request; Room is the keys in it, one of which signed it.
	ReleaseID string
	Digest    wire.Digest
	Room      Room
	Challenge Challenge
	Agreement *agreement.SignedAgreement
	Parties   []*agreement.SignedParty
	Run       *agreement.SignedRun
	// Claims are what the evidence in the request proved; zero if it proved nothing.
	Claims attest.Claims
	// EvidenceError says why there are no claims.
	EvidenceError error
	// Inputs are those asked for.
	Inputs []Input
	// Peers says of each other owner's broker whether its checkpoint was accepted (R15).
	Peers []Peer
	Books Books
}

// Broker says who decides.
type Broker struct {
	Name wire.ID
	// Descriptors are the digests of every version of the party's own descriptor that this
	// broker answers for.
	Descriptors []wire.Digest
}

// Challenge is what the broker reads out of the challenge a request carries (see
// release.RecogniseChallenge). The zero Challenge is refused.
type Challenge struct {
	// Recognised is set if the broker's own secret made it.
	Recognised bool
	ID         string    // 32 hex digits; redeemed once
	Nonce      wire.Hash // what evidence binds for it
	Purpose    attest.Purpose
	Agreement  wire.Digest
	Expires    time.Time
}

// Input is one input asked for.
type Input struct {
	Name      wire.ID
	Statement *agreement.SignedDataset
	Header    Header
}

// Header is what is known of an age header without a key.
type Header struct {
	// Sound is set if it parses, is small enough and holds no passphrase stanza (R8).
	Sound   bool
	Why     string // if not Sound
	Hash    wire.Hash
	Stanzas int64
}

// Peer is another owner's broker in this run.
type Peer struct {
	Party wire.ID // id in the agreement
	// Accepted is set if the checkpoint is signed by its log and extends what was seen before.
	Accepted bool
	Why      string // if not Accepted
}

// Books are what the broker's state says. Read is set by whoever filled them in: books
// nobody opened are refused, since an empty page in them often means "not yet spent".
type Books struct {
	Read bool
	// Unlocked is set unless the broker's log is behind what it has seen, or not known to be
	// abreast of it (R3, R15).
	Unlocked   bool
	LockedWhy  string
	Activation Activation
	Revoked    []wire.Digest // descriptors
	// RedeemedBy is the release id that redeemed the challenge; "" if none has.
	RedeemedBy string
	// Headers says under which own dataset each header asked about is catalogued.
	Headers map[wire.Hash]wire.ID
	// Datasets holds the own datasets asked about, by id.
	Datasets map[wire.ID]Dataset
	// Histories holds what was asked of each own dataset version asked for, by statement.
	Histories map[wire.Digest]History
	// References is the newest set known of each release line of the agreement, by LineDigest.
	References map[wire.Digest]Newest
	// Earlier is the record of this run id or of this release id, whichever there is.
	Earlier *Earlier
}

// Activation is what the agreement is to this broker (R3).
type Activation struct {
	State ActivationState
	// By is the version that retired it; Why adds words where the state alone says too little.
	By  int64
	Why string
}

// ActivationState is "" for a digest the broker's officers never activated.
type ActivationState string

// The states. Retired is for good.
const (
	Active  ActivationState = "active"
	Retired ActivationState = "retired"
)

// Dataset is one own dataset in the catalogue.
type Dataset struct {
	Current wire.Digest // statement that its owner marked current
	// AdmitsActivated is set if every activated agreement that names the dataset may have it;
	// otherwise only those in Admits.
	AdmitsActivated bool
	Admits          []wire.Digest
	// Runs is how many runs read it in the last 24 hours, this one not counted (R14).
	Runs int64
	// Account is its books under differential privacy; read where an input of an activated
	// agreement is.
	Account Account
}

// Earlier is a release recorded before.
type Earlier struct {
	ReleaseID string
	Request   wire.Digest // digest of the signed request
	Run       wire.Digest
}
