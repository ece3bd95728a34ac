package agreement

import (
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// The types of signed documents of this package.
const (
	PartyType     = "strongroom/party/v1"
	AgreementType = "strongroom/agreement/v1"
	DatasetType   = "strongroom/dataset/v1"
	RunType       = "strongroom/run/v1"
)

// Descriptor says who a party is (spec/party.md). A descriptor is signed by its own keys,
// at least Threshold of them valid at the time, and, if it follows another, by the
// threshold of that one too. Agreements name parties by descriptor digest.
type Descriptor struct {
	Name   wire.ID `json:"name"`
	Title  string  `json:"title"`  // for people: "Alpha Hospital"
	Domain string  `json:"domain"` // a DNS name the party is known by; a hint, proves nothing
	// Version starts at 1 and rises by one; Previous is the digest of the version before.
	Version   int64        `json:"version"`
	Previous  *wire.Digest `json:"previous,omitempty"`
	Keys      []PartyKey   `json:"keys"`
	Threshold int64        `json:"threshold"`
	// Broker is absent for a party that owns no data.
	Broker *BrokerInfo `json:"broker,omitempty"`
	// Results are age recipients that results for this party are sealed to.
	Results []string `json:"results"`
}

// PartyKey is one signing key of a party and when it counts.
type PartyKey struct {
	Public    keys.PublicKey `json:"public"`
	NotBefore wire.Time      `json:"not_before"`
	NotAfter  wire.Time      `json:"not_after"`
}

// BrokerInfo says how a party's broker is recognised. Address is a hint, trusted for nothing.
type BrokerInfo struct {
	Address    string         `json:"address"`     // host:port
	Operator   string         `json:"operator"`    // who runs it and where: "in house", "cloud X" (R25)
	ReleaseKey keys.PublicKey `json:"release_key"` // signs releases, challenges' answers, leases
	LogKey     string         `json:"log_key"`     // note verifier key of the broker's own log
	Data       []string       `json:"data"`        // age recipients of the broker: what `seal` seals to
}
