package attest

import (
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Expectation is what a relying party demands of evidence. The zero Expectation refuses.
type Expectation struct {
	// Binding is what the report data must hold, exactly.
	Binding Binding
	// AgreementBody is the canonical bytes of the agreement: what the init data must hold. Its
	// digest must be Binding.Agreement.
	AgreementBody []byte
	// Now is the time at which certificates and collateral must be valid.
	Now time.Time
	// Trust is whom the agreement makes evidence rest on; it may be zero.
	Trust Trust
}

// Verify checks evidence with the one platform in the table that it names, then that its
// report data, its init data and its debug bits are as the relying party demands. It is the
// only maker of [Claims].
//
// Every error is a [*verdict.Error]: of kind Invalid for evidence that is not genuine or is
// about something else, of kind Usage for an incomplete expectation or table.
func Verify(e Evidence, platforms []Platform, want Expectation) (Claims, error) {
	if err := want.complete(); err != nil {
		return Claims{}, err
	}
	platform, err := pick(e, platforms)
	if err != nil {
		return Claims{}, err
	}
	verify := platform.Verify
	if platform.Under != nil {
		verify = platform.Under(want.trust()).Verify
	}
	facts, err := verify(e.Evidence, want.Now)
	if err != nil {
		return Claims{}, platformError(platform.Name, err)
	}
	facts = facts.clone()
	checks := append(facts.Checks, // clone's own array
		checkFacts(platform.Name, facts),
		checkDebug(facts),
		checkReportData(facts.ReportData, want.Binding),
		checkInitData(facts.InitData, want.AgreementBody),
	)
	for _, c := range checks {
		if !c.OK {
			return Claims{}, verdict.FromCheck(verdict.Invalid, c, checks)
		}
	}
	return Claims{&claims{facts: facts, binding: want.Binding, evidence: e.Digest(), checks: checks}}, nil
}

func (x Expectation) complete() error {
	const fix = "a defect in the relying party: report it"
	if err := x.Binding.complete(); err != nil {
		return verdict.Misuse("evidence.expectation", "a complete binding", err.Error(), fix)
	}
	if x.Now.IsZero() {
		return verdict.Misuse("evidence.expectation", "the time", "none", fix)
	}
	digest := wire.SHA384(agreement.AgreementType, x.AgreementBody)
	if len(x.AgreementBody) == 0 || digest != x.Binding.Agreement {
		return verdict.Misuse("evidence.expectation", "the body of agreement "+x.Binding.Agreement.Short(), "body with digest "+digest.Short(), fix)
	}
	return nil
}

// trust gives whom the evidence may rest on. Evidence for ingress is of a room whose work has
// started, and platforms that measure that must say so; other evidence is from before.
func (x Expectation) trust() Trust {
	t := x.Trust
	t.Started = nil
	if x.Binding.Purpose == ForIngress {
		t.Started = &x.Binding.Run
	}
	return t
}

// pick finds the platform that the evidence names. A table that lists one twice is refused,
// since which of them answered would be chance.
func pick(e Evidence, platforms []Platform) (Platform, error) {
	var found []Platform
	var names []string
	for _, p := range platforms {
		names = append(names, string(p.Name))
		if p.Name == e.Platform && p.Name.Valid() && p.Verify != nil {
			found = append(found, p)
		}
	}
	if len(found) > 1 {
		return Platform{}, verdict.Misuse("evidence.platform", "each platform once in the table", fmt.Sprintf("%q %d times", e.Platform, len(found)), "a defect in the relying party: report it")
	}
	if len(found) == 0 {
		return Platform{}, verdict.NotGenuine("evidence.platform", "one of: "+strings.Join(names, ", "), verdict.Short(fmt.Sprintf("%q", string(e.Platform))),
			"use a machine of a platform this program verifies")
	}
	if n := len(e.Evidence); n == 0 || n > MaxEvidence {
		return Platform{}, verdict.NotGenuine("evidence.size", fmt.Sprintf("1 to %d bytes", MaxEvidence), fmt.Sprintf("%d bytes", n), "send the evidence as the platform gives it")
	}
	return found[0], nil
}

// platformError keeps a platform's own explanation. Evidence that its platform does not
// vouch for is not genuine, whatever kind of error that verifier chose.
func platformError(name wire.ID, err error) error {
	var e *verdict.Error
	if errors.As(err, &e) {
		own := *e
		own.Kind = verdict.Invalid
		return &own
	}
	return &verdict.Error{Kind: verdict.Invalid, Check: "evidence." + string(name), Expected: "genuine evidence", Got: verdict.Short(err.Error()),
		Fix: "start the room again and take fresh evidence", Err: err}
}

// checkFacts refuses what a platform's verifier must never return, so that a defect there
// can't become a claim.
func checkFacts(name wire.ID, f Facts) verdict.Check {
	c := verdict.Check{ID: "evidence.facts", Expected: "platform, class, root and measurements", Got: "all present"}
	switch {
	case f.Platform != name:
		c.Got = fmt.Sprintf("facts of platform %q from %q", f.Platform, name)
	case f.Class != agreement.Confidential && f.Class != agreement.IntegrityOnly && f.Class != agreement.Software:
		c.Got = fmt.Sprintf("class %q", string(f.Class))
	case f.Root.IsZero():
		c.Got = "no root"
	case len(f.Measurements) == 0 || len(f.Measurements) > MaxMeasurements:
		c.Got = fmt.Sprintf("%d measurements", len(f.Measurements))
	default:
		if bad := badMeasurement(f.Measurements); bad != "" {
			c.Got = bad
			break
		}
		if id := failedCheck(f.Checks); id != "" {
			c.Got = "failed check " + id
			break
		}
		c.OK = true
	}
	if !c.OK {
		c.Fix = "a defect in the verifier of this platform: report it"
	}
	return c
}

func badMeasurement(m map[string]string) string {
	for name, value := range m {
		raw, err := hex.DecodeString(value)
		if err != nil || len(raw) == 0 || strings.ToLower(value) != value {
			return "measurement " + verdict.Short(name) + " is not lower-case hex"
		}
	}
	return ""
}

func failedCheck(checks []verdict.Check) string {
	for _, c := range checks {
		if !c.OK {
			return c.ID
		}
	}
	return ""
}

func checkDebug(f Facts) verdict.Check {
	c := verdict.Check{ID: "evidence.debug", OK: !f.Debug, Expected: "nobody can look inside", Got: "debugging is off"}
	if f.Debug {
		c.Got, c.Fix = "debugging is on", "start the room without debugging"
	}
	return c
}

func checkReportData(got []byte, want Binding) verdict.Check {
	c := verdict.Check{ID: "evidence.binding", Expected: bindingText(want), Got: "the same"}
	if want.matches(got) {
		c.OK = true
		return c
	}
	c.Got, c.Fix = "something else", "take fresh evidence for this very challenge, room and run"
	switch {
	case len(got) != 64 && len(got) != 32:
		c.Got = fmt.Sprintf("report data of %d bytes", len(got))
		c.Fix = "report data must be 64 or 32 bytes: use a room image of this version"
	case zero(got):
		c.Got = "empty report data"
	default:
		for _, p := range purposes() {
			other := want
			other.Purpose = p
			if other.matches(got) {
				c.Got = "evidence for the purpose " + string(p)
				c.Fix = "evidence for one purpose is refused for every other: ask for evidence with purpose " + string(want.Purpose)
			}
		}
	}
	return c
}

func bindingText(b Binding) string {
	request := b.Run.Short() // the digest of a run is its signed request's: its id is another thing
	if b.Run.IsZero() {
		request = "none"
	}
	return fmt.Sprintf("evidence for purpose %s, nonce %s, room key %s, agreement %s, request %s", b.Purpose, b.Nonce.Short(), b.Signing.ID().Short(), b.Agreement.Short(), request)
}

func (b Binding) matches(got []byte) bool {
	long, short := b.ReportData(), b.ShortReportData()
	switch len(got) {
	case len(long):
		return subtle.ConstantTimeCompare(got, long[:]) == 1
	case len(short):
		return subtle.ConstantTimeCompare(got, short[:]) == 1
	}
	return false
}

func checkInitData(got, body []byte) verdict.Check {
	long, short := InitData(body), ShortInitData(body)
	c := verdict.Check{ID: "evidence.init-data", Expected: "the agreement " + wire.SHA384(agreement.AgreementType, body).Short() + " bound at launch", Got: "another agreement",
		Fix: "start the room with this agreement"}
	switch {
	case len(got) != len(long) && len(got) != len(short):
		c.Got = fmt.Sprintf("init data of %d bytes", len(got))
	case zero(got):
		c.Got = "no agreement (init data is zero)"
	case subtle.ConstantTimeCompare(got, long[:]) == 1, subtle.ConstantTimeCompare(got, short[:]) == 1:
		c.OK, c.Got, c.Fix = true, "the same", ""
	}
	return c
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
