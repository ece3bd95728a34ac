// Package attest turns Evidence into Claims (RFC 9334). A platform package under attest/
// checks one kind of evidence up to its root and returns plain [Facts]; [Verify], handed
// the table of platforms and what the relying party expects, is the only maker of [Claims].
//
// Claims say what was proven. The package refuses evidence whose report data or init data
// is not exactly what the verifier expects; it reads no clock and fetches nothing.
package attest

import (
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Evidence is what an attester shows: the platform that made it and the platform's bytes.
type Evidence struct {
	Platform wire.ID    `json:"platform"`
	Evidence wire.Bytes `json:"evidence"`
}

// Digest names the evidence, for records and for HPKE info (R12).
func (e Evidence) Digest() wire.Digest {
	return wire.SHA384("strongroom/evidence/v1", []byte(e.Platform), e.Evidence)
}

// Facts are what a platform's evidence says once its signatures are checked up to Root.
// They become Claims only in [Verify].
type Facts struct {
	Platform wire.ID
	Class    agreement.Class
	// Root is the fingerprint of the root that the evidence leads to.
	Root wire.Hash
	// Pinned is set if the root is a bare key that the relying party gave, which says of itself
	// neither whose it is nor what for.
	Pinned bool
	// Machine identifies the machine, as the platform prints it; "" if it has no identity.
	Machine string
	// Generation names the make of the hardware, as its vendor does: a product name (SNP), an
	// FMSPC (TDX, SGX), an architecture (NVIDIA); "" if there is none.
	Generation string
	// TCB are numbers that say how new the firmware below is, by name, for owners who demand a
	// least one (R5): see [TCBNames]. nil where the platform has none.
	TCB map[string]int64
	// ReportData is 64 bytes, or 32 where the platform has no more room (R10).
	ReportData []byte
	// InitData is 32 or 48 bytes (R10).
	InitData []byte
	// Measurements by name, lower-case hex.
	Measurements map[string]string
	// Debug is set if anything on the platform lets somebody look inside.
	Debug bool
	// Excludes and Trusts say in words whom the platform keeps out of memory, and whom it
	// makes the relying party trust (R4).
	Excludes, Trusts []string
	// Checks are the platform's own checks, all passed.
	Checks []verdict.Check
}

// Platform verifies one kind of evidence. Verify checks everything that depends only on the
// evidence itself and the time: form, signatures, chain, debug bits.
type Platform struct {
	Name   wire.ID
	Verify func(evidence []byte, now time.Time) (Facts, error)
	// Under gives the same platform for a relying party whose agreement says whom else to
	// trust; nil where that makes no difference.
	Under func(Trust) Platform
}

// Purpose says what evidence was made for. Evidence for one purpose is refused for others.
type Purpose string

// The purposes (R10).
const (
	ForRelease Purpose = "release"
	ForIngress Purpose = "ingress"
	ForJoin    Purpose = "join"
	ForDevice  Purpose = "device"
)
