package agreement_test

import (
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
)

// TestPartySigned: a document is a party's if its threshold of valid keys signed it, and
// nobody else.
func TestPartySigned(t *testing.T) {
	d := researcher()
	d.Keys, d.Threshold = []agreement.PartyKey{partyKey("one"), partyKey("two"), partyKey("three")}, 2
	d.Keys[2].NotAfter = moment("2026-02-01T00:00:00Z")
	p := signedParty(d, "one", "two")
	for name, test := range map[string]struct {
		signers []string
		at      time.Time
		check   string
	}{
		"two":                   {[]string{"one", "two"}, now, ""},
		"one":                   {[]string{"one"}, now, "it"},
		"one that is over":      {[]string{"one", "three"}, now, "it"},
		"none":                  {nil, now, "it"},
		"a stranger beside":     {[]string{"one", "two", "alpha"}, now, "it"},
		"at another time":       {[]string{"one", "two"}, now.AddDate(5, 0, 0), "it"},
		"as it was at its time": {[]string{"one", "three"}, moment("2026-01-15T00:00:00Z").Time(), ""},
	} {
		doc := must(keys.NewDocument("strongroom/test/v1", map[string]any{"a": 1}))
		for _, s := range test.signers {
			if err := doc.Sign(key(s)); err != nil {
				t.Fatal(err)
			}
		}
		err := p.Signed("it", doc, test.at)
		if test.check == "" != (err == nil) || err != nil && verdict.As(err).Check != test.check {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRoomURI(t *testing.T) {
	const want = "spiffe://010000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000/work/web"
	if got := agreement.RoomURI([48]byte{1}, "web"); got != want {
		t.Errorf("%s", got)
	}
}
