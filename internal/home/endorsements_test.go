package home_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"strongroom.dev/endorse"
	"strongroom.dev/internal/home"
	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
)

// crl is a version of one issuer's list, of a day.
func crl(issuer string, day int) lineage.Version {
	return endorse.NewVersion(endorse.X509CRL, "the CRL of "+issuer, endorse.Dates{Issued: time.Date(2026, 11, day, 0, 0, 0, 0, time.UTC)}, nil, []byte(issuer))
}

func newHome(t *testing.T) *home.Home {
	t.Helper()
	h, err := home.Create(t.TempDir() + "/h")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// seen gives the day of what is remembered of an issuer, 0 if nothing is.
func seen(t *testing.T, h *home.Home, issuer string) int {
	t.Helper()
	all, err := h.SeenEndorsements()
	if err != nil {
		t.Fatal(err)
	}
	v, found := all[crl(issuer, 1).Of]
	if !found {
		return 0
	}
	return v.Issued.Time().Day()
}

func TestEndorsementsNeverGoBack(t *testing.T) {
	h := newHome(t)
	if all, err := h.SeenEndorsements(); err != nil || all == nil || len(all) != 0 {
		t.Fatal(all, err)
	}
	for i, c := range []struct {
		used []lineage.Version
		ok   bool
		a, b int // remembered
	}{
		{nil, true, 0, 0},
		{[]lineage.Version{crl("a", 5)}, true, 5, 0},
		{[]lineage.Version{crl("a", 5), crl("b", 3)}, true, 5, 3},
		{[]lineage.Version{crl("a", 4)}, false, 5, 3},
		{[]lineage.Version{crl("b", 9), crl("a", 4)}, false, 5, 3}, // all or nothing
		{[]lineage.Version{crl("a", 4), crl("a", 6)}, true, 6, 3},  // the newest of what was used
		{[]lineage.Version{crl("b", 4), crl("a", 6)}, true, 6, 4},
	} {
		err := h.SawEndorsements(c.used)
		if (err == nil) != c.ok || err != nil && verdict.As(err).Check != "endorsements.rollback" {
			t.Errorf("%d: %v", i, err)
		}
		if a, b := seen(t, h, "a"), seen(t, h, "b"); a != c.a || b != c.b {
			t.Errorf("%d: remembered %d and %d, expected %d and %d", i, a, b, c.a, c.b)
		}
	}
}

// TestEndorsementsAtOnce: of many programs at once the one with the newest wins.
func TestEndorsementsAtOnce(t *testing.T) {
	h := newHome(t)
	var all sync.WaitGroup
	for day := 1; day <= 20; day++ {
		all.Go(func() {
			if err := h.SawEndorsements([]lineage.Version{crl("a", day)}); err != nil && verdict.As(err).Check != "endorsements.rollback" {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if day := seen(t, h, "a"); day != 20 {
		t.Errorf("day %d is remembered", day)
	}
}

// TestEndorsementsFail: a memory that can't be read is no empty one; one that can't be written says
// so, and what was remembered of others meanwhile stays true.
func TestEndorsementsFail(t *testing.T) {
	h := newHome(t)
	if err := h.SawEndorsements([]lineage.Version{crl("a", 5)}); err != nil {
		t.Fatal(err)
	}
	file := h.Path("endorsements", "seen", string(crl("a", 5).Of)+".json")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range []string{"", "{}", string(whole[:len(whole)/2]), string(whole) + string(whole)} {
		if err := os.WriteFile(file, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := h.SeenEndorsements(); err == nil || verdict.As(err).Check != "home.file" {
			t.Errorf("%q reads as %v, %v", damaged, all, err)
		}
		if err := h.SawEndorsements([]lineage.Version{crl("a", 6)}); err == nil || verdict.As(err).Check != "home.file" {
			t.Errorf("%q is written over: %v", damaged, err)
		}
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	// What failed to be remembered of b is what fails; that of c, if it came first, was genuine.
	if err := os.MkdirAll(filepath.Join(h.Path("endorsements", "seen", string(crl("b", 5).Of)+".json"), "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := h.SawEndorsements([]lineage.Version{crl("b", 5), crl("c", 5)}); err == nil {
		t.Error("nothing was said")
	}
	if seen(t, h, "a") != 5 {
		t.Error("what was remembered is lost")
	}
	if err := h.SawEndorsements([]lineage.Version{crl("c", 5)}); err != nil || seen(t, h, "c") != 5 {
		t.Error(err)
	}
}
