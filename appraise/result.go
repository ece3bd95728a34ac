package appraise

import (
	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Result is an attestation result: what was found, judged (spec/appraisal.md).
type Result struct {
	Verdict attest.Standing `json:"verdict"`
	// Platform is its name, "" if the form of the evidence is not known.
	Platform string `json:"platform"`
	// Class, Excludes and Trusts say what the platform protects against at all (R4).
	Class    agreement.Class `json:"class,omitempty"`
	Excludes []string        `json:"excludes,omitempty"`
	Trusts   []string        `json:"trusts,omitempty"`
	// Machine, Generation and Root are as in [attest.Facts].
	Machine    string `json:"machine,omitempty"`
	Generation string `json:"generation,omitempty"`
	Root       string `json:"root,omitempty"`
	// Measurements and Claims are what signatures cover; empty if nothing verifies.
	Measurements map[string]string `json:"measurements,omitempty"`
	Claims       map[string]any    `json:"claims"`
	// Checks are all that were made, the platform's first. Never empty.
	Checks []verdict.Check `json:"checks"`
	// Warnings are ids of checks that a careful reader looks at.
	Warnings []string `json:"warnings,omitempty"`
	// Policy names the policy that judged; nil if it was none but the platform's own checks.
	Policy *PolicyName `json:"policy,omitempty"`
	// Reference names the set of reference values that was judged by; nil if the policy asks for
	// none, or none verified.
	Reference *ReferenceUsed `json:"reference,omitempty"`
	// Endorsements are the dated ones that the checks relied on, each signed by whom it should be.
	Endorsements []lineage.Version `json:"endorsements,omitempty"`
	// At is the time at which certificates and collateral were looked at.
	At wire.Time `json:"at"`
}

// PolicyName says which policy judged.
type PolicyName struct {
	ID      wire.ID     `json:"id"`
	Version int64       `json:"version"`
	Digest  wire.Digest `json:"digest"`
}

// Failed gives the checks that failed.
func (r Result) Failed() []verdict.Check {
	var failed []verdict.Check
	for _, c := range r.Checks {
		if !c.OK {
			failed = append(failed, c)
		}
	}
	return failed
}

// Err gives the refusal for a result that is not to be trusted: its first failed check, with
// all checks beside it.
func (r Result) Err() error {
	if r.Verdict == attest.Affirming || r.Verdict == attest.Warning {
		return nil
	}
	if failed := r.Failed(); len(failed) > 0 {
		return verdict.FromCheck(verdict.Refused, failed[0], r.Checks)
	}
	return verdict.Refuse("appraisal", "checks that were made and passed", "none", "a defect: report it")
}

// Invalid gives the result for what is not genuine evidence at all: err is what a platform's
// Examine said.
func Invalid(platform string, err error, at wire.Time) Result {
	e := verdict.As(err)
	checks := e.Checks
	if len(checks) == 0 {
		checks = []verdict.Check{{ID: e.Check, Expected: e.Expected, Got: e.Got, Fix: e.Fix}}
	}
	return Result{Verdict: attest.Contraindicated, Platform: platform, Claims: map[string]any{}, Checks: checks, At: at}
}
