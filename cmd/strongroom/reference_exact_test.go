package main

import (
	"testing"
	"time"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/reference/draft"
)

// TestReferenceOfTrustDomain: a draft of a quote whose RTMR3 is zero asks for one that is.
func TestReferenceOfTrustDomain(t *testing.T) {
	quote := evidencetest.Dir(t) + "/tdx/google+go-tdx-guest/testing/testdata/ccel/cos-113-tdx-quote.dat"
	t.Chdir(t.TempDir())
	r := teller{t, "home", time.Date(2025, 6, 20, 0, 0, 0, 0, time.UTC)}
	d, err := draft.Parse("draft", []byte(r.run(0, "reference", "init", quote, "--product", "room")))
	if err != nil {
		t.Fatal(err)
	}
	g := d.Groups[0]
	if len(g.Measurements) != 4 || g.Measurements["rtmr3"] != "" || len(g.Claims) != 0 || !g.Exact {
		t.Errorf("%+v", g)
	}
}
