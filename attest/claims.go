package attest

import (
	"maps"
	"slices"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Claims are what [Verify] found proven. Only Verify makes them; the zero Claims prove
// nothing, and everything they say of themselves is empty, which no rule accepts.
type Claims struct{ c *claims }

type claims struct {
	facts    Facts
	binding  Binding
	evidence wire.Digest
	checks   []verdict.Check
}

// get gives the claims, or empty ones.
func (c Claims) get() claims {
	if c.c == nil {
		return claims{}
	}
	return *c.c
}

// Proven reports whether these are claims at all, and not the zero value.
func (c Claims) Proven() bool { return c.c != nil }

// Platform gives the name of the platform that made the evidence.
func (c Claims) Platform() wire.ID { return c.get().facts.Platform }

// Class gives the protection class of the platform.
func (c Claims) Class() agreement.Class { return c.get().facts.Class }

// Root gives the fingerprint of the root that the evidence leads to.
func (c Claims) Root() wire.Hash { return c.get().facts.Root }

// Machine names the machine as its platform prints it; "" if the evidence names none.
func (c Claims) Machine() string { return c.get().facts.Machine }

// Measurements gives a copy of the measurements by name, in lower-case hex.
func (c Claims) Measurements() map[string]string { return maps.Clone(c.get().facts.Measurements) }

// Binding gives what the evidence was made for: purpose, nonce, room keys, agreement, run.
func (c Claims) Binding() Binding { return c.get().binding }

// EvidenceDigest names the evidence that proved this.
func (c Claims) EvidenceDigest() wire.Digest { return c.get().evidence }

// Checks gives every check that was made, the platform's own first. All passed.
func (c Claims) Checks() []verdict.Check { return slices.Clone(c.get().checks) }

// Facts gives a copy of what the platform's verifier found, for records and screens.
func (c Claims) Facts() Facts { return c.get().facts.clone() }

func (f Facts) clone() Facts {
	f.ReportData, f.InitData = slices.Clone(f.ReportData), slices.Clone(f.InitData)
	f.Measurements, f.TCB = maps.Clone(f.Measurements), maps.Clone(f.TCB)
	f.Excludes, f.Trusts = slices.Clone(f.Excludes), slices.Clone(f.Trusts)
	f.Checks = slices.Clone(f.Checks)
	return f
}
