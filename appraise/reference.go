package appraise

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"strongroom.dev/keys"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Reference says whose signed reference values are good measurements (protocol rule R5,
// spec/reference-values.md). The sets themselves are given beside the policy ([References]).
type Reference struct {
	Product wire.ID `json:"product"`
	// Keys are release keys in their text form, of which Threshold must have signed.
	Keys      []string `json:"keys"`
	Threshold int64    `json:"threshold"`
	// LeastSecurityVersion, from 1, is the owner's own floor.
	LeastSecurityVersion int64 `json:"least_security_version"`
	// Log is the verifier key of the log that must have recorded the set.
	Log string `json:"log,omitempty"`
	// InsecureUnlogged does without one.
	InsecureUnlogged bool `json:"insecure_unlogged,omitempty"`
}

// References are the sets of reference values that a verifier has at hand. The zero References
// have none, and a policy that asks for one refuses.
type References struct {
	// Sets are files as they were found: nothing in them is believed yet.
	Sets [][]byte
	// Seen is the set of each product that was used last; a product that is not in it was never
	// seen. With nil the verifier has no memory, so that an older set is not noticed: a warning.
	Seen map[wire.ID]reference.Name
	// ready is what [Policy.References] found out for one policy, by platform.
	policy *Policy
	ready  map[wire.ID]offered
}

// ReferenceUsed says which set of reference values was judged by.
type ReferenceUsed struct {
	reference.Name
	Expires wire.Time `json:"expires"`
	// Group is the group that matched, "" if none did.
	Group wire.ID `json:"group,omitempty"`
}

// line gives the release line; the error is of its members.
func (r Reference) line() (reference.Line, error) {
	l := reference.Line{Product: r.Product, LeastSecurityVersion: r.LeastSecurityVersion, Log: r.Log, InsecureUnlogged: r.InsecureUnlogged}
	// A threshold that does not fit is above the number of keys in any case.
	l.Threshold = int(min(max(r.Threshold, 0), reference.MaxKeys+1))
	if len(r.Keys) <= reference.MaxKeys {
		for i, text := range r.Keys {
			k, err := keys.ParsePublicKey(text)
			if err != nil {
				return l, &verdict.Error{Kind: verdict.Usage, Where: fmt.Sprintf("keys[%d]", i), Expected: "a public key as keygen prints it", Got: verdict.Short(err.Error()), Fix: "ask the release keys' holders for their public halves"}
			}
			l.Keys = append(l.Keys, k)
		}
	}
	return l, l.Check()
}

func (p *Policy) checkReference(at string, r Requirements) error {
	if len(r.Registers) > reference.MaxRegisters {
		return p.bad(at+".registers", fmt.Sprintf("at most %d registers", reference.MaxRegisters), fmt.Sprint(len(r.Registers)), "")
	}
	for i, register := range r.Registers {
		if register == "" || slices.Contains(r.Registers[:i], register) {
			return p.bad(fmt.Sprintf("%s.registers[%d]", at, i), "registers, each once", verdict.Short(register), "")
		}
	}
	if r.Reference == nil {
		return nil
	}
	if _, err := r.Reference.line(); err != nil {
		e := verdict.As(err)
		return p.bad(strings.TrimSuffix(at+".reference."+e.Where, "."), e.Expected, e.Got, e.Fix)
	}
	return nil
}

// registers demands that the evidence measures what the policy wants measured.
func (j *judgement) registers(r Requirements) {
	for _, register := range r.Registers {
		got, found := j.finding.Facts.Measurements[register]
		if !found {
			got = "no such register"
		}
		j.expect("policy.register."+register, "the register "+register+" in the evidence", verdict.Short(got), found, "use a machine and image that measure into it, or change the policy")
	}
}

// reference takes what is good from the newest set that verifies.
func (j *judgement) reference(r Requirements) {
	if r.Reference == nil {
		return
	}
	set, err := j.set(*r.Reference)
	if err != nil {
		e := verdict.As(err)
		j.take(e.Checks, nil)
		if len(e.Checks) == 0 {
			j.fail("policy."+e.Check, e.Expected, e.Got, e.Fix)
		}
		return
	}
	checks, warnings := set.Checks()
	j.take(checks, warnings)
	m := set.Match(reference.Found{
		Platform: j.finding.Facts.Platform, Measurements: j.finding.Facts.Measurements, Registers: r.Registers,
		Claim: func(path string) (any, bool) { return lookup(j.claims, path) },
	})
	j.used = &ReferenceUsed{Name: set.Name(), Expires: set.Expires()}
	if m.OK {
		j.used.Group = m.Group
	}
	expected := fmt.Sprintf("a group of version %d of %s, as a whole (%d for this platform)", set.Name().Version, set.Name().Product, m.Groups)
	j.expect("policy.reference.group", expected, m.String(), m.OK, "run an image whose values are in the set, or get the set that has this one's")
}

// take adds the checks that were made on a set.
func (j *judgement) take(checks []verdict.Check, warnings []string) {
	for _, c := range checks {
		if c.OK && c.ID == "reference.rollback" && j.demand.References.Seen == nil {
			c.Got += "; what was used before is not remembered here"
			warnings = append(warnings, c.ID)
		}
		warned := slices.Contains(warnings, c.ID)
		c.ID = "policy." + c.ID
		j.checks = append(j.checks, c)
		if warned {
			j.warnings = append(j.warnings, c.ID)
		}
	}
}

// set gives the newest set that is good by the release line. If none is, the error is the
// newest one's.
func (j *judgement) set(r Reference) (*reference.Set, error) {
	refs := j.demand.References
	offered, ready := refs.ready[j.finding.Facts.Platform]
	if !ready || refs.policy != j.demand.Policy {
		line, err := r.line()
		if err != nil {
			return nil, err // Parse has looked, and the zero Policy names no platform
		}
		offered = offer(line, refs.Sets)
	}
	var first error
	for _, o := range offered.sets {
		err := o.err
		if err == nil {
			var set *reference.Set
			if set, err = o.candidate.At(refs.Seen[r.Product], j.demand.Now); err == nil {
				return set, nil
			}
		}
		first = cmp.Or(first, err)
	}
	return nil, cmp.Or(first, offered.none)
}

// offered are the sets of a release line's product, the highest version first, each with what
// can be said of it at any time; none is the error if there are none.
type offered struct {
	sets []offeredSet
	none error
}

type offeredSet struct {
	version   int64
	candidate *reference.Candidate
	err       error
}

func offer(line reference.Line, sets [][]byte) offered {
	var out offered
	got := fmt.Sprintf("none among the %d given", len(sets))
	damaged := ""
	for _, data := range sets {
		p, err := reference.Parse(data)
		switch {
		case err != nil:
			damaged = "; one of them is none: " + verdict.As(err).Got
		case p.Values.Product == line.Product:
			c, err := reference.Accept(data, line)
			out.sets = append(out.sets, offeredSet{p.Values.Version, c, err})
		}
	}
	slices.SortStableFunc(out.sets, func(a, b offeredSet) int { return cmp.Compare(b.version, a.version) })
	out.none = verdict.Refuse("reference.product", "a set of reference values of "+string(line.Product), got+damaged, "give it with --reference")
	return out
}

// References checks sets once, for whoever judges by the policy many times: signatures, logs
// and floors, on every platform that asks for them. The result never changes; Seen is set on
// a copy. Judging by another policy takes Sets as they are.
func (p *Policy) References(sets [][]byte) References {
	r := References{Sets: sets, policy: p, ready: make(map[wire.ID]offered)}
	for name, requirements := range p.Platforms {
		if requirements.Reference == nil {
			continue
		}
		if line, err := requirements.Reference.line(); err == nil { // Parse has looked
			r.ready[wire.ID(name)] = offer(line, sets)
		}
	}
	return r
}

// explain says what the reference values must be.
func (r Reference) explain(l *letter) {
	l.line("  - its measurements are one group, as a whole, of the reference values of %s: signed by %d of %d release keys, of security version %d or later, within their dates (180 days at most), and never older than what was used before",
		r.Product, r.Threshold, len(r.Keys), r.LeastSecurityVersion)
	for _, text := range r.Keys {
		if k, err := keys.ParsePublicKey(text); err == nil {
			l.line("    release key %s: whoever holds %d of these decides which code is good", k.ID().Short(), r.Threshold)
		}
	}
	if r.InsecureUnlogged {
		l.line("    INSECURE: no log need have recorded them; a set may be made for you alone")
		return
	}
	l.line("    recorded by the log %s", r.Log)
}

// lintReference looks at what is seldom meant.
func (r Requirements) lintReference(at string, add func(where, says string, args ...any)) {
	if r.Reference == nil {
		return
	}
	at += ".reference"
	if r.Reference.Threshold == 1 {
		add(at+".threshold", "one release key alone decides which code is good")
	}
	if r.Reference.InsecureUnlogged {
		add(at+".insecure_unlogged", "accepts a set that no log has recorded")
	}
	if len(r.Registers) == 0 {
		add(at, "no registers beside it: a group may leave out a register, and anything passes there")
	}
}

// Lines gives the release lines that the policy takes reference values by, sorted by platform.
func (p *Policy) Lines() []reference.Line {
	var lines []reference.Line
	for _, name := range slices.Sorted(maps.Keys(p.Platforms)) {
		if r := p.Platforms[name].Reference; r != nil {
			line, err := r.line()
			if err == nil { // Parse has looked
				lines = append(lines, line)
			}
		}
	}
	return lines
}
