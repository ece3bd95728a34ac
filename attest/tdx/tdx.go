// Package tdx verifies evidence of Intel TDX: a quote of version 4 or 5 for a trust domain,
// raw or in the forms that Trustee, Azure and other tools wrap it in (see [dcap.Open]).
//
// It promises what package dcap promises of quotes, and that an event log beside the quote
// leads to the quoted RTMRs, or fails a check. All else it adds are names: init data is
// MRCONFIGID, the machine is its PPID.
package tdx

import (
	"encoding/hex"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/dcap"
	"strongroom.dev/endorse"
	"strongroom.dev/wire"
)

// Name is the platform's name in evidence and agreements.
const Name wire.ID = "tdx"

// Verifier verifies TDX quotes with Intel's collateral. The zero Verifier has none, so that
// every finding has a failed check.
type Verifier struct{ dcap *dcap.Verifier }

// New makes a verifier, checking the collateral once.
func New(set endorse.Set) Verifier { return NewWithFloor(set, 0) }

// NewWithFloor makes a verifier that also refuses collateral with a tcbEvaluationDataNumber
// below the floor: signed, in date, but of an older TCB recovery than the relying party knows.
func NewWithFloor(set endorse.Set, floor int) Verifier {
	c := dcap.CollateralOf(set)
	c.LeastEvaluation = floor
	return Verifier{dcap.New(c)}
}

// With makes a verifier of one of package dcap, which knows whom to trust and what for. Platforms
// of Intel's can share one.
func With(v *dcap.Verifier) Verifier { return Verifier{v} }

// Detect reports whether data looks like a TDX quote, in any form that Examine takes.
func Detect(data []byte) bool {
	tee, ok := dcap.Detect(data)
	return ok && tee == dcap.TDX
}

// Platform gives the platform for the table handed to [attest.Verify].
func (v Verifier) Platform() attest.Platform {
	return attest.Platform{Name: Name, Verify: attest.Strict(v.Examine)}
}

// Examine says everything there is to say about evidence at a time. It gives an error only
// for what is not a genuine TDX quote.
func (v Verifier) Examine(evidence []byte, now time.Time) (attest.Finding, error) {
	r, err := v.dcap.Examine(evidence, dcap.TDX, now)
	if err != nil {
		return attest.Finding{}, err
	}
	td := r.Quote.TD
	measurements := td.Measurements()
	delete(measurements, "mrconfigid") // the init data: agreements can't hold a hash of themselves
	f := attest.Finding{
		Facts: attest.Facts{
			Platform:     Name,
			Class:        agreement.Confidential,
			Root:         r.Root,
			Machine:      hex.EncodeToString(r.PCK.PPID[:]),
			Generation:   hex.EncodeToString(r.PCK.FMSPC[:]),
			TCB:          r.TCB,
			ReportData:   td.ReportData[:],
			InitData:     td.MRCONFIGID[:],
			Measurements: measurements,
			Debug:        td.Debug(),
			Excludes:     []string{"host administrator", "cloud operator"},
			Trusts:       []string{"Intel: CPU, microcode, TDX module and quoting enclave", "whoever can touch the memory bus"},
		},
		Claims:       r.Claims,
		Checks:       r.Checks,
		Warnings:     r.Warnings,
		Endorsements: r.Endorsements,
	}
	if len(r.EventLog) > 0 {
		if err := replay(&f, r.EventLog, td.RTMR); err != nil {
			return attest.Finding{}, err
		}
	}
	return f, nil
}
