package attest

import (
	"time"

	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
)

// Standing is how good evidence looks before a relying party's own expectations come in
// (AR4SI's tiers, draft-ietf-rats-ar4si).
type Standing string

// The standings, best first.
const (
	Affirming       Standing = "affirming"
	Warning         Standing = "warning"
	Contraindicated Standing = "contraindicated"
)

// Finding is everything a platform can say about evidence whose signatures and chain are
// genuine: facts, claims, and every check it made, failed ones included. It is for showing
// and for appraisal; only a finding without a failed check gives [Claims] a way through
// [Platform].
type Finding struct {
	Facts Facts
	// Claims are what the signatures cover, by name: strings, integers, booleans, lists and
	// maps of them. Byte strings are lower-case hex.
	Claims map[string]any
	// Checks are all that were made, in order. A failed one forbids trust: debug, a TCB that is
	// out of date, collateral that is missing or expired.
	Checks []verdict.Check
	// Warnings are ids of passed checks that a careful reader should look at, such as a
	// platform whose configuration or software hardening matters.
	Warnings []string
	// Endorsements are the versions of dated endorsements that the checks relied on, whatever their
	// dates: each signed by whom it should be, wherever it came from.
	Endorsements []lineage.Version
}

// Standing sums the checks up. A finding without checks is contraindicated.
func (f Finding) Standing() Standing {
	if len(f.Checks) == 0 {
		return Contraindicated
	}
	for _, c := range f.Checks {
		if !c.OK {
			return Contraindicated
		}
	}
	if len(f.Warnings) > 0 {
		return Warning
	}
	return Affirming
}

// Strict turns an examination into what a [Platform] needs: facts only if no check failed.
func Strict(examine func(evidence []byte, now time.Time) (Finding, error)) func([]byte, time.Time) (Facts, error) {
	return func(evidence []byte, now time.Time) (Facts, error) {
		f, err := examine(evidence, now)
		if err != nil {
			return Facts{}, err
		}
		for _, c := range f.Checks {
			if !c.OK {
				return Facts{}, verdict.FromCheck(verdict.Refused, c, f.Checks)
			}
		}
		f.Facts.Checks = f.Checks
		return f.Facts, nil
	}
}
