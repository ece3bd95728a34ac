package dev

// Limits, checked before the signature.
const (
	// MaxEvidence is the most bytes of dev evidence: with a post-quantum key pair and all
	// helpers it is below 16 KiB.
	MaxEvidence = 64 << 10
	// MaxHelpers is the most helper programs beside the agent.
	MaxHelpers = 16
)
