// Package sgx verifies evidence of Intel SGX: a quote of version 3, 4 or 5 for an enclave, raw
// or in the forms that Trustee, Open Enclave, Azure and other tools wrap it in (see
// [dcap.Open]).
//
// It promises what package dcap promises of quotes, and adds nothing of its own but names:
// init data is CONFIGID, the machine is its PPID.
package sgx

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
const Name wire.ID = "sgx"

// Verifier verifies SGX quotes with Intel's collateral. The zero Verifier has none, so that
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

// Detect reports whether data looks like an SGX quote, in any form that Examine takes.
func Detect(data []byte) bool {
	tee, ok := dcap.Detect(data)
	return ok && tee == dcap.SGX
}

// Platform gives the platform for the table handed to [attest.Verify].
func (v Verifier) Platform() attest.Platform {
	return attest.Platform{Name: Name, Verify: attest.Strict(v.Examine)}
}

// Examine says everything there is to say about evidence at a time. It gives an error only
// for what is not a genuine SGX quote.
func (v Verifier) Examine(evidence []byte, now time.Time) (attest.Finding, error) {
	r, err := v.dcap.Examine(evidence, dcap.SGX, now)
	if err != nil {
		return attest.Finding{}, err
	}
	e := r.Quote.Enclave
	return attest.Finding{
		Facts: attest.Facts{
			Platform:   Name,
			Class:      agreement.Confidential,
			Root:       r.Root,
			Machine:    hex.EncodeToString(r.PCK.PPID[:]),
			Generation: hex.EncodeToString(r.PCK.FMSPC[:]),
			TCB:        r.TCB,
			ReportData: e.ReportData[:],
			InitData:   initData(e.ConfigID),
			Measurements: map[string]string{
				"mrenclave": hex.EncodeToString(e.MRENCLAVE[:]),
				"mrsigner":  hex.EncodeToString(e.MRSIGNER[:]),
			},
			Debug:    e.Debug(),
			Excludes: []string{"host administrator", "cloud operator", "operating system"},
			Trusts:   []string{"Intel: CPU, microcode and quoting enclave", "whoever can touch the memory bus"},
		},
		Claims:       r.Claims,
		Checks:       r.Checks,
		Warnings:     r.Warnings,
		Endorsements: r.Endorsements,
	}, nil
}

// initData gives the 48 bytes that init data has, if CONFIGID's other 16 are zero. Else it
// gives all 64, which no init data equals: nothing is truncated (R10).
func initData(id [64]byte) []byte {
	if [16]byte(id[48:]) == [16]byte{} {
		return id[:48]
	}
	return id[:]
}
