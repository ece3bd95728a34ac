package policy

import (
	"maps"
	"slices"
	"sync/atomic"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Room is the keys of a room, as its evidence binds them.
type Room struct {
	Signing keys.PublicKey
	HPKE    keys.HPKEPublicKey
}

// Terms say what a grant allows: everything a release is recorded by and addressed to.
type Terms struct {
	Broker    wire.ID // name of the party whose broker decides
	ReleaseID string
	Request   wire.Digest // of the signed request
	// ChallengeID is what is redeemed, once; Nonce is what the evidence binds for it.
	ChallengeID string
	Nonce       wire.Hash
	Evidence    wire.Digest
	Class       agreement.Class // of the machine
	Where       Where           // it runs
	// Listed is the set that lists the room's image, nil if the agreement pins it.
	Listed    *Listed
	Agreement wire.Digest
	Run       wire.Digest
	RunID     string
	Room      Room
	Inputs    []GrantedInput // in the order of the agreement
	// Audited are those of them whose answers are held against earlier ones.
	Audited []AuditedInput
	// Spendings are of the inputs under differential privacy, in that order; none for a Retry.
	Spendings []Spending
	LeaseMS   int64
	// Retry is set if this very release was granted before: it spends nothing again.
	Retry bool
}

// GrantedInput is one input whose key may leave.
type GrantedInput struct {
	Input     wire.ID
	Dataset   wire.ID
	Statement wire.Digest
	Header    wire.Hash
}

// Grant is the decision that keys may leave. Only [Decide] makes one; the zero Grant
// allows nothing. Copies are the same grant: it redeems once.
type Grant struct{ g *grant }

type grant struct {
	terms    Terms
	redeemed atomic.Bool
}

// Granted reports whether this is a grant at all, and not the zero value.
func (g Grant) Granted() bool { return g.g != nil }

// Terms gives a copy of what is granted, for the record that must be durable before
// [Grant.Redeem]. The zero Grant has empty terms.
func (g Grant) Terms() Terms {
	if g.g == nil {
		return Terms{}
	}
	return g.g.terms.clone()
}

func (t Terms) clone() Terms {
	t.Inputs = slices.Clone(t.Inputs)
	t.Audited = slices.Clone(t.Audited)
	t.Spendings = slices.Clone(t.Spendings)
	t.Where.Measurements = maps.Clone(t.Where.Measurements)
	if t.Listed != nil {
		listed := *t.Listed
		t.Listed = &listed
	}
	return t
}

// Redeem turns the grant into the permission to seal keys. It succeeds once; the zero Grant
// and a second call are refused.
func (g Grant) Redeem() (Redeemed, error) {
	if g.g == nil {
		return Redeemed{}, verdict.Refuse("grant", "a grant", "none", "ask policy.Decide for one")
	}
	if !g.g.redeemed.CompareAndSwap(false, true) {
		return Redeemed{}, verdict.Refuse("grant", "a grant not yet redeemed", "one redeemed before", "decide again for a retry")
	}
	return Redeemed(g), nil
}

// Redeemed is a grant whose record is durable: keys may be sealed under it. Only
// [Grant.Redeem] makes one; the zero Redeemed allows nothing.
type Redeemed struct{ g *grant }

// Terms gives a copy of what was granted, and whether anything was.
func (r Redeemed) Terms() (Terms, bool) {
	if r.g == nil || !r.g.redeemed.Load() {
		return Terms{}, false
	}
	return r.g.terms.clone(), true
}
