package test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// swindles are what must have been tried in a clean room, and been refused.
var swindles = []string{
	"a query for the rows themselves",
	"a query with a row for each person",
	"a query about one person, by address",
	"a query about all but one person",
	"a query for the largest value",
	"a query that reads the list of who objected",
	"a query that reads a file of the room's",
	"a query that finds people by their income",
	"a query for the numbers of cards",
	"a query that joins by what is no identifier",
	"a query that fails on one person's row",
	"two statements in one",
	"a group of one person less than the minimum",
	"a condition that only few people meet",
	"the difference of two answers, each of enough people",
	"query changed by the host",
	"agreed query changed by the host",
	"a party that may not ask asks",
	"an answer opened by the wrong party",
	"the list of who objected left as it was",
	"the grocer choosing whom the bank's people are grouped with",
	"a question after the budget is used up",
	"the same under a twin of the agreement",
}

// TestCardsDemo tells the demo of the clean room as a user would, looks for people outside their
// owner's folder, and types what the demo prints at its end.
func TestCardsDemo(t *testing.T) {
	bin := programs(t)
	dir := t.TempDir()
	report, story, err := tell(t, bin, dir, "cards")
	if err != nil {
		t.Errorf("the demo failed: %v\n%s", err, story)
	}
	refused(t, swindles, report)
	if t.Failed() {
		return
	}
	stores := report.Results["stores"].(map[string]any)["csv"].(string)
	if strings.Contains(stores, "too-few") || !strings.Contains(stores, "store-just-enough,10\n") {
		t.Errorf("stores of too few, or none of just enough:\n%s", stores)
	}
	if len(report.Receipts) != len(report.Results)-1 { // the bank's books are no answer
		t.Errorf("%d receipts for %d results", len(report.Receipts), len(report.Results)-1)
	}
	world := filepath.Join(dir, "strongroom-demo-cards")
	for _, part := range []string{"host", "ledger", "results", "agency", "stolen"} {
		noAddress(t, filepath.Join(world, part))
	}
	typeLines(t, dir, story)
	if got := onlyCSV(t, filepath.Join(world, "mine")); !strings.HasPrefix(got, "tier,members\n") {
		t.Errorf("a question in the world that stayed gives %q", got)
	}
	t.Logf("seconds: %v", report.Seconds)
}

// noAddress looks for anybody's address.
func noAddress(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(bytes.ToLower(data), []byte("@mail.example")) {
			t.Errorf("an address stands in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
