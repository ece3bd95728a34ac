package agreement

import "strongroom.dev/wire"

// Explain says in plain sentences what an agreement means.
func Explain(a *SignedAgreement, parties []*SignedParty, labels map[wire.ID]string) string {
	return a.Title
}

// Diff says what changed between two agreements.
func Diff(old, new *SignedAgreement) string { return "" }
