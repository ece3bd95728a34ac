package tpm

import (
	"time"

	"strongroom.dev/attest"
)

// Limits, checked while parsing.
const (
	// MaxEvidence is the most bytes of evidence, in any form.
	MaxEvidence = attest.MaxEvidence
	// MaxCertificates is the most certificates in evidence: the longest chains of TPM makers
	// have four, beside those of two keys.
	MaxCertificates = 10
	// MaxActivationLife is the longest that an activation may be relied on.
	MaxActivationLife = 400 * 24 * time.Hour
	// maxActivation is the most bytes of an activation record: an EK certificate and its chain.
	maxActivation = 64 << 10
	// maxPath is the most certificates from key to root.
	maxPath = 6
	// maxTries is the most signatures checked while looking for a path of certificates.
	maxTries = 24
	// maxPins is the most pinned keys that a quote without a key is tried with.
	maxPins = 64
	// maxFields is the most fields of a protocol buffer message.
	maxFields = 64
)
