package appraise

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"strongroom.dev/plainyaml"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Document is a policy as people write it (spec/appraisal.md). Use [Parse], which checks it.
type Document struct {
	ID      wire.ID `json:"id"`
	Version int64   `json:"version"`
	Title   string  `json:"title"`
	// Platforms are those that may pass. Evidence of any other is refused.
	Platforms map[string]Requirements `json:"platforms"`
	Rules     []Rule                  `json:"rules"`
	Tests     []Test                  `json:"tests"`
}

// Requirements are what a platform's finding must fulfil beyond the platform's own checks.
type Requirements struct {
	// Measurements, by register, list the values of which one must be there, in lower-case hex.
	Measurements map[string][]string `json:"measurements"`
	// Registers are those that evidence must have, and, with Reference, that the group of reference
	// values it matches must name.
	Registers []string `json:"registers,omitempty"`
	// Reference takes measurements from signed sets. Beside Measurements, both must hold.
	Reference *Reference `json:"reference,omitempty"`
	// Machines are chip ids, PPIDs, EK digests, as claims print them. With Only, no other passes.
	Machines Choice `json:"machines"`
	// Generations are makes of hardware: product (SNP), FMSPC (TDX, SGX), architecture (NVIDIA).
	Generations Choice `json:"generations"`
	// Roots are fingerprints of the roots that evidence may lead to. Software platforms have no
	// root that everybody knows, so they need one here.
	Roots []wire.Hash `json:"roots"`
	// MinimumTCB gives the least number for claims by path, as in reported_tcb.microcode or
	// tdx_components[0].
	MinimumTCB map[string]int64 `json:"minimum_tcb"`
	// Claims gives the text that claims must have, by path.
	Claims map[string]string `json:"claims"`
	// Advisories are vendors' advisories that the platform is known to be open to. With Only, any
	// other is refused.
	Advisories Choice `json:"advisories"`
	// InsecureAccept lists failed checks of the platform, by id, that are to be warnings.
	InsecureAccept []string `json:"insecure_accept"`
}

// Choice is an allow-list and a deny-list. An empty Only allows all that Never does not name.
type Choice struct {
	Only  []string `json:"only"`
	Never []string `json:"never"`
}

// Rule is an expression in CEL that must be true.
type Rule struct {
	ID wire.ID `json:"id"`
	// Platforms that the rule is for; all if there are none.
	Platforms []string `json:"platforms"`
	Require   string   `json:"require"`
	// Warn makes a rule that does not hold a warning.
	Warn     bool   `json:"warn"`
	Expected string `json:"expected"`
	Fix      string `json:"fix"`
}

// Test is recorded evidence with what the policy must say of it. Paths are relative to the
// policy's file; whoever runs the tests reads them.
type Test struct {
	Name         string    `json:"name"`
	Evidence     string    `json:"evidence"`
	At           wire.Time `json:"at"`
	Endorsements []string  `json:"endorsements"`
	// Reference are sets of reference values.
	Reference []string `json:"reference,omitempty"`
	// ReportData and Nonce are hex, as Freshness has them. Recorded evidence is as fresh as
	// the test says: with neither, freshness is left out.
	ReportData string `json:"report_data"`
	Nonce      string `json:"nonce"`
	// Expect is affirming, warning or contraindicated, and Failing the checks that must fail.
	Expect  string   `json:"expect"`
	Failing []string `json:"failing"`
}

// Policy is a policy whose every part has been checked. The zero Policy refuses everything.
type Policy struct {
	Document
	digest wire.Digest
	rules  []program
}

func format() plainyaml.Format {
	return plainyaml.Format{Check: "appraisal.policy", What: "an appraisal policy", Start: "docs/verifying.md shows one to start from"}
}

// Parse reads a policy from YAML and checks it, its expressions included. Errors are of kind
// Usage, with file and line; Refused for a policy that nobody may have, such as one that
// accepts revoked certificates.
func Parse(file string, data []byte) (*Policy, error) {
	var p Policy
	d, err := format().Read(file, data, "", &p.Document)
	if err != nil {
		return nil, err
	}
	if err := p.checkGiven(d.Has); err != nil {
		return nil, d.Locate(err)
	}
	if err := p.check(); err != nil {
		return nil, d.Locate(err)
	}
	canonical, err := wire.Marshal(p.Document)
	if err != nil {
		return nil, d.Locate(p.bad("", "text that can be signed", verdict.Short(err.Error()), ""))
	}
	p.digest = wire.SHA384("strongroom/appraisal/v1", canonical)
	return &p, nil
}

// Digest names what the policy says, whatever its layout.
func (p *Policy) Digest() wire.Digest { return p.digest }

func (p *Policy) bad(where, expected, got, fix string) *verdict.Error {
	return &verdict.Error{Kind: verdict.Usage, Check: "appraisal.policy", Where: where, Expected: expected, Got: got, Fix: fix}
}

func (p *Policy) check() error {
	switch {
	case p.ID == "":
		return p.bad("id", "a name for the policy", "none", "")
	case p.Version < 1:
		return p.bad("version", "a version from 1", fmt.Sprint(p.Version), "")
	case len(p.Platforms) == 0 || len(p.Platforms) > MaxPlatforms:
		return p.bad("platforms", fmt.Sprintf("1 to %d platforms", MaxPlatforms), fmt.Sprint(len(p.Platforms)), "name every platform that may pass")
	case len(p.Rules) > MaxRules:
		return p.bad("rules", fmt.Sprintf("at most %d", MaxRules), fmt.Sprint(len(p.Rules)), "")
	case len(p.Tests) > MaxTests:
		return p.bad("tests", fmt.Sprintf("at most %d", MaxTests), fmt.Sprint(len(p.Tests)), "")
	}
	for _, name := range slices.Sorted(maps.Keys(p.Platforms)) {
		if !wire.ID(name).Valid() {
			return p.bad("platforms", "the name of a platform", verdict.Short(name), "")
		}
		if err := p.checkRequirements("platforms."+name, p.Platforms[name]); err != nil {
			return err
		}
	}
	if err := p.checkTests(); err != nil {
		return err
	}
	return p.compile()
}

func (p *Policy) checkRequirements(at string, r Requirements) error {
	for register, values := range r.Measurements {
		if len(values) == 0 || len(values) > MaxValues {
			return p.bad(at+".measurements."+register, "the values that may be there", fmt.Sprint(len(values)), "leave the register out if any value will do")
		}
		for i, v := range values {
			if !lowerHex(v) {
				return p.bad(fmt.Sprintf("%s.measurements.%s[%d]", at, register, i), "lower-case hex", verdict.Short(v), "")
			}
		}
	}
	if err := p.checkReference(at, r); err != nil {
		return err
	}
	for name, c := range map[string]Choice{"machines": r.Machines, "generations": r.Generations, "advisories": r.Advisories} {
		if len(c.Only) > MaxValues || len(c.Never) > MaxValues {
			return p.bad(at+"."+name, fmt.Sprintf("at most %d values", MaxValues), "more", "")
		}
		for _, v := range c.Only {
			if v == "" || slices.Contains(c.Never, v) {
				return p.bad(at+"."+name, "values, none of them in both lists", verdict.Short(v), "")
			}
		}
	}
	for path, least := range r.MinimumTCB {
		if _, err := parsePath(path); err != nil {
			return p.bad(at+".minimum_tcb", "the path of a claim", verdict.Short(path), "")
		}
		if least < 0 {
			return p.bad(at+".minimum_tcb."+path, "a number from 0", fmt.Sprint(least), "every claim is above that: give the least that may pass")
		}
	}
	for path := range r.Claims {
		if _, err := parsePath(path); err != nil {
			return p.bad(at+".claims", "the path of a claim", verdict.Short(path), "")
		}
	}
	for i, id := range r.InsecureAccept {
		if err := p.checkAccepted(fmt.Sprintf("%s.insecure_accept[%d]", at, i), id); err != nil {
			return err
		}
	}
	return nil
}

// checkGiven refuses requirements that are written and require nothing: whoever writes an
// allow-list without values may well mean that nobody passes, and it would let everybody pass.
func (p *Policy) checkGiven(given func(path string) bool) error {
	for _, name := range slices.Sorted(maps.Keys(p.Platforms)) {
		r := p.Platforms[name]
		for _, m := range []struct {
			name string
			size int
		}{
			{"measurements", len(r.Measurements)}, {"registers", len(r.Registers)}, {"machines.only", len(r.Machines.Only)}, {"generations.only", len(r.Generations.Only)},
			{"advisories.only", len(r.Advisories.Only)}, {"roots", len(r.Roots)}, {"minimum_tcb", len(r.MinimumTCB)}, {"claims", len(r.Claims)},
		} {
			if at := "platforms." + name + "." + m.name; m.size == 0 && given(at) {
				return p.bad(at, "what may pass, at least one", "none, which would let everything pass", "say what may pass, or leave the member out; a rule, require: \"false\", refuses all")
			}
		}
	}
	return nil
}

// checkAccepted refuses policies under which evidence would prove nothing at all. The check's
// own name is what stands last: parts of a composite have theirs before it.
func (p *Policy) checkAccepted(at, id string) error {
	parts := strings.Split(id, ".")
	if len(parts) < 2 || slices.Contains(parts, "") {
		return p.bad(at, "the id of a platform's check, such as tdx.tcb", verdict.Short(id), "")
	}
	if slices.ContainsFunc(parts, essential) {
		e := p.bad(at, "a check that can be done without", id, "remove it: without this check the evidence proves nothing")
		e.Kind = verdict.Refused
		return e
	}
	return nil
}

// essential reports whether a check with this name says that evidence is anybody's in
// particular: who signed it, for whom, and whether that signer is still to be believed.
func essential(name string) bool {
	return slices.Contains([]string{
		"form", "signature", "chain", "root", "key", "identity", "activation", "binding", "qe_binding", "fwid", "revocation", "revoked",
	}, name)
}

func (p *Policy) checkTests() error {
	for i, t := range p.Tests {
		at := fmt.Sprintf("tests[%d]", i)
		switch {
		case t.Name == "":
			return p.bad(at+".name", "a name", "none", "")
		case t.Evidence == "":
			return p.bad(at+".evidence", "the path of recorded evidence", "none", "")
		case t.At.IsZero():
			return p.bad(at+".at", "the time at which the evidence is judged", "none", "")
		case !slices.Contains([]string{"affirming", "warning", "contraindicated", "invalid"}, t.Expect):
			return p.bad(at+".expect", "affirming, warning, contraindicated or invalid", verdict.Short(t.Expect), "")
		case !lowerHex(t.ReportData) || !lowerHex(t.Nonce):
			return p.bad(at, "report_data and nonce in lower-case hex", "other text", "")
		}
	}
	return nil
}

// lowerHex reports whether s is bytes in lower-case hex; "" is.
func lowerHex(s string) bool {
	return len(s)%2 == 0 && strings.Trim(s, "0123456789abcdef") == ""
}
