package evidencetest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/endorse"
	"strongroom.dev/verdict"
)

// Judge sums up an examination in a line: the standing, failed checks with a minus before each
// and warnings; or the kind and check of the error.
func Judge(f attest.Finding, err error) string {
	var e *verdict.Error
	if errors.As(err, &e) {
		return e.Kind.String() + " " + e.Check
	}
	if err != nil {
		return err.Error()
	}
	words := []string{string(f.Standing())}
	for _, id := range failed(f) {
		words = append(words, "-"+id)
	}
	return strings.Join(append(words, f.Warnings...), " ")
}

// Failed lists the ids of the checks that failed, in order, with a space between them.
func Failed(f attest.Finding) string { return strings.Join(failed(f), " ") }

func failed(f attest.Finding) []string {
	var ids []string
	for _, c := range f.Checks {
		if !c.OK {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// Time reads a day or a time of RFC 3339. It panics at anything else: tests write them down.
func Time(text string) time.Time {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at
		}
	}
	panic("no time: " + text)
}

// Case is recorded evidence with what must come of it.
type Case struct {
	What, File string
	// Trim are bytes to cut off the file's end.
	Trim int
	// With are files and folders of endorsements, as [Set] takes them.
	With []string
	// At is when, as [Time] takes it.
	At string
	// Standing is the finding's; "" for whatever Failed makes of it.
	Standing attest.Standing
	// Status is the finding's claim tcb_status, "" if it has none; compared where Standing is.
	Status string
	// Failed are the ids of the failed checks, in order, with a space between them.
	Failed string
	// Err is the id of the check that says why it is not genuine, of kind Invalid.
	Err string
	// Withheld evidence is named by its makers but held back from this project, or some of its
	// endorsements are: it is tested where it is. What verifies it was never seen here, so that
	// more than Failed may fail.
	Withheld bool
}

// Platform is a verifier of one platform, as the packages below attest have them.
type Platform interface {
	Examine(evidence []byte, now time.Time) (attest.Finding, error)
	Platform() attest.Platform
}

// here reports whether all files of the case are there.
func (c Case) here(t testing.TB) bool {
	t.Helper()
	dir, err := Folder()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{c.File}, c.With...) {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return false
		}
	}
	return true
}

// Evidence gives the case's evidence. The test ends if it is missing: skipped where it is
// withheld, else as Read says.
func (c Case) Evidence(t testing.TB) []byte {
	t.Helper()
	if c.Withheld && !c.here(t) {
		t.Skip("held back from this project: tested where it is there")
	}
	data := Read(t, c.File)
	return data[:len(data)-c.Trim]
}

// Try examines the evidence of every case in a test of its own, and prints what comes of it.
// More looks at genuine evidence beyond that; nil for nothing more.
func Try[P Platform](t *testing.T, cases []Case, verifier func(endorse.Set) P, more func(*testing.T, Case, attest.Finding)) {
	for _, c := range cases {
		t.Run(c.What, func(t *testing.T) {
			evidence := c.Evidence(t)
			v := verifier(Set(t, c.With...))
			f, err := v.Examine(evidence, Time(c.At))
			_, strict := v.Platform().Verify(evidence, Time(c.At))
			good := c.Failed == "" && c.Err == ""
			if strict == nil && !good || strict != nil && good && !c.Withheld {
				t.Errorf("as a platform: %v", strict)
			}
			if c.Err != "" {
				if got, want := Judge(f, err), verdict.Invalid.String()+" "+c.Err; got != want {
					t.Fatalf("%s (%v), expected %s", got, err, want)
				}
				t.Logf("refused: %v", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c.compare(t, f)
			if more != nil {
				more(t, c, f)
			}
		})
	}
}

func (c Case) compare(t *testing.T, f attest.Finding) {
	t.Helper()
	t.Logf("%s at %s, class %s, root %s, machine %.16s, generation %s", f.Standing(), c.At, f.Facts.Class, f.Facts.Root.Short(), f.Facts.Machine, f.Facts.Generation)
	for _, check := range f.Checks {
		t.Logf("  %v %s: %s", check.OK, check.ID, check.Got)
	}
	ids, expected := failed(f), strings.Fields(c.Failed)
	if c.Withheld {
		ids = slices.DeleteFunc(ids, func(id string) bool { return !slices.Contains(expected, id) })
	}
	if !slices.Equal(ids, expected) {
		t.Errorf("failed %v, expected %v", ids, expected)
	}
	if status, _ := f.Claims["tcb_status"].(string); c.Standing != "" && (f.Standing() != c.Standing || status != c.Status) {
		t.Errorf("%s, status %q; expected %s, %q", f.Standing(), status, c.Standing, c.Status)
	}
}
