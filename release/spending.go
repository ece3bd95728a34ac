package release

import (
	"bytes"
	"fmt"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/policy"
	"strongroom.dev/privacy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// SpentInput is what a run spends of one input under differential privacy: no more than the
// agreement and the request say.
type SpentInput struct {
	Input wire.ID      `json:"input"`
	Cost  privacy.Cost `json:"cost"`
}

// CostsOf gives what a run spends of an owner's inputs under differential privacy, in the
// agreement's order: both are believed, and the owner is a party's id.
func CostsOf(a agreement.Agreement, r agreement.Run, owner wire.ID) (list []SpentInput, err error) {
	work, _ := a.WorkByName(r.Work)
	for _, in := range a.Private(work) {
		if in.Owner != owner {
			continue
		}
		cost, err := in.Rules.Privacy.Cost(r.EpsilonOf(work))
		if err != nil {
			return nil, err
		}
		list = append(list, SpentInput{in.Name, cost})
	}
	return list, nil
}

// spendingSize is that of what a grant says of one input's budgets, padded: its length tells
// nothing. Costs and budgets have at most 100 bytes each, ids 63.
const spendingSize = 1024

// maxSpending is that of all inputs, sealed.
const maxSpending = agreement.MaxInputs*spendingSize + 1120 + 16

// spendings is the plaintext.
type spendings struct {
	Spendings []policy.Spending `json:"spendings"`
}

// spendingInfo is the HPKE info: the address of the grant, of no input.
func (a Address) spendingInfo() []byte {
	a.Input, a.Header = "", wire.Hash{}
	return wire.Tuple("strongroom/release-spending/v1", a.Info())
}

// SealSpendings seals what the run spends, and what the owner's books say before and after, to
// the granted room: the room hands it on to nobody but that owner (spec/release.md, section
// 6.2). nil if list is empty.
func SealSpendings(r policy.Redeemed, list []policy.Spending) ([]byte, error) {
	terms, ok := r.Terms()
	if !ok {
		return nil, verdict.Refuse("grant", "a redeemed grant", "none", "redeem a grant first")
	}
	if len(list) == 0 {
		return nil, nil
	}
	plain, err := plainSpendings(list)
	if err != nil {
		return nil, err
	}
	return terms.Room.HPKE.Seal(addressOf(terms).spendingInfo(), plain)
}

func plainSpendings(list []policy.Spending) ([]byte, error) {
	plain, err := wire.Marshal(spendings{list})
	if err != nil {
		return nil, err
	}
	if len(plain) > len(list)*spendingSize {
		return nil, fmt.Errorf("%d bytes about %d budgets", len(plain), len(list))
	}
	return append(plain, bytes.Repeat([]byte(" "), len(list)*spendingSize-len(plain))...), nil
}

// OpenSpendings opens what a verified grant says of the budgets of the inputs asked for, which
// must be just those that spend, at their cost (check "grant.spending").
func (g Granted) OpenSpendings(room *keys.HPKEPrivateKey, asked Asked, spent []SpentInput) ([]policy.Spending, error) {
	bad := func(got string) ([]policy.Spending, error) {
		return nil, verdict.NotGenuine("grant.spending", fmt.Sprintf("the budgets of %d inputs, sealed for this room and run, at the costs agreed", len(spent)), got,
			"the broker does not follow the agreement, or has another version of this program: tell its owner")
	}
	if len(spent) == 0 {
		if len(g.Spending) != 0 {
			return bad("budgets of inputs that have none")
		}
		return nil, nil
	}
	a := Address{Broker: asked.Request.Broker, Nonce: attest.NonceOf(asked.Request.Challenge), Evidence: asked.Request.Evidence.Digest(), Agreement: asked.Agreement, Run: asked.Run,
		ReleaseID: asked.Request.ReleaseID, LeaseMS: g.LeaseMS}
	plain, err := room.Open(a.spendingInfo(), g.Spending)
	if err != nil || len(plain) != len(spent)*spendingSize {
		return bad("something that does not open, or of another size")
	}
	var said spendings
	if err := wire.Unmarshal(bytes.TrimRight(plain, " "), &said); err != nil || len(said.Spendings) != len(spent) {
		return bad("something else")
	}
	for i, s := range said.Spendings {
		if s.Input != spent[i].Input || s.Cost != spent[i].Cost {
			return bad(fmt.Sprintf("input %s at a cost of %s", s.Input, s.Cost))
		}
	}
	return said.Spendings, nil
}
