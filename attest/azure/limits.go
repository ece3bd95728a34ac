package azure

import "strongroom.dev/attest"

// Limits, checked while parsing.
const (
	// MaxEvidence is the most bytes of evidence, in any form: JSON with arrays of numbers is
	// below 64 KiB, with an event log below 300 KiB.
	MaxEvidence = attest.MaxEvidence
	// MaxReport is the most bytes of an HCL report: those seen have 2,600 with their padding.
	MaxReport = 32 << 10
	// MaxQuote is the most bytes of a TD quote.
	MaxQuote = 64 << 10
	// MaxCertificates is the most certificates in evidence: of the chip, and of AMD's above it.
	MaxCertificates = 8
	// maxKeys is the most keys in runtime data: there are two.
	maxKeys = 16
	// maxMembers is the most members of the machine's configuration that become claims.
	maxMembers = 64
)
