package release_test

import (
	"bytes"
	"strings"
	"testing"

	"strongroom.dev/policy"
	"strongroom.dev/privacy"
	"strongroom.dev/release"
	"strongroom.dev/wire"
)

// TestSpendingsFit: what a grant says of budgets has one size for each input, whatever the
// numbers and names, and fits a grant.
func TestSpendingsFit(t *testing.T) {
	most := privacy.Cost{Epsilon: 1e15 - 1, Rho: 9e18, Delta: 1e18 - 1}
	balance := policy.Balance{Budget: privacy.Budget{Epsilon: privacy.MaxEpsilon - 1, Delta: 1e18 - 1, Mechanism: privacy.Gaussian}, Before: most, After: most}
	long := policy.Spending{Input: wire.ID(strings.Repeat("i", 63)), Of: wire.ID(strings.Repeat("d", 63)), Cost: most, Dataset: balance, Agreement: balance}
	for n, list := range map[int][]policy.Spending{1: {long}, 64: times(64, long)} {
		plain, err := release.PlainSpendings(list)
		if err != nil || len(plain) != n*1024 || len(bytes.TrimRight(plain, " ")) == len(plain) {
			t.Errorf("%d budgets: %d bytes, %v", n, len(plain), err)
		}
	}
	short, err := release.PlainSpendings([]policy.Spending{{Input: "i", Of: "d"}})
	if err != nil || len(short) != 1024 {
		t.Errorf("%d bytes, %v", len(short), err)
	}
}

func times(n int, s policy.Spending) (list []policy.Spending) {
	for range n {
		list = append(list, s)
	}
	return list
}

func TestSealSpendingsNeedsAGrant(t *testing.T) {
	_, err := release.SealSpendings(policy.Redeemed{}, nil)
	refusedBy(t, "the zero grant", err, "grant")
}

// TestSpendingLimit: a grant with more than all inputs' budgets is malformed.
func TestSpendingLimit(t *testing.T) {
	_, asked := conversation(t)
	g := granted(t, asked)
	g.Spending = make([]byte, 64*1024+1137)
	if _, err := release.NewGrant(signingKey(t), g); err == nil {
		t.Error("signed")
	}
}
