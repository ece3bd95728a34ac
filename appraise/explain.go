package appraise

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Explain says in plain sentences what the policy asks for. The checks of a [Result] name the
// same requirements, since both are made from the policy's members.
func (p *Policy) Explain() string {
	var l letter
	l.line("Policy %s, version %d%s.", p.ID, p.Version, unless(p.Title, ": "))
	l.line("Evidence passes only if its platform finds nothing against it, it answers a nonce or report data of the verifier's, and:")
	names := slices.Sorted(maps.Keys(p.Platforms))
	l.line("  - it is of platform %s; every other is refused", strings.Join(names, " or "))
	for _, name := range names {
		l.line("On %s:", name)
		n := l.Len()
		p.Platforms[name].explain(&l)
		for _, r := range p.rules {
			if len(r.Platforms) == 0 || slices.Contains(r.Platforms, name) {
				l.line("  - rule %s: %s", r.ID, r.says())
			}
		}
		if l.Len() == n {
			l.line("  - nothing more: any genuine machine of this kind passes, whatever runs on it")
		}
	}
	return l.String()
}

func (r program) says() string {
	text := r.Expected
	if text == "" {
		text = r.Require
	}
	if r.Warn {
		text += " (a warning if not)"
	}
	return text
}

func (r Requirements) explain(l *letter) {
	for _, register := range slices.Sorted(maps.Keys(r.Measurements)) {
		l.line("  - %s is %s", register, strings.Join(r.Measurements[register], " or "))
	}
	if len(r.Registers) > 0 {
		l.line("  - it measures %s", strings.Join(r.Registers, ", "))
	}
	if r.Reference != nil {
		r.Reference.explain(l)
	}
	r.Machines.explain(l, "machine")
	r.Generations.explain(l, "generation")
	for _, root := range r.Roots {
		l.line("  - it leads to the root %s (or another one listed)", root)
	}
	for _, path := range slices.Sorted(maps.Keys(r.MinimumTCB)) {
		l.line("  - %s is at least %d", path, r.MinimumTCB[path])
	}
	for _, path := range slices.Sorted(maps.Keys(r.Claims)) {
		l.line("  - %s is %q", path, r.Claims[path])
	}
	if len(r.Advisories.Only) > 0 {
		l.line("  - no advisory is open on it but %s", strings.Join(r.Advisories.Only, " or "))
	}
	if len(r.Advisories.Never) > 0 {
		l.line("  - advisory %s is not open on it", strings.Join(r.Advisories.Never, ", nor "))
	}
	for _, id := range r.InsecureAccept {
		l.line("  - INSECURE: it may fail the check %s, which becomes a warning", id)
	}
}

func (c Choice) explain(l *letter, what string) {
	if len(c.Only) > 0 {
		l.line("  - its %s is %s", what, strings.Join(c.Only, " or "))
	}
	if len(c.Never) > 0 {
		l.line("  - its %s is not %s", what, strings.Join(c.Never, ", nor "))
	}
}

// Advice is something about a policy that its author should look at.
type Advice struct {
	Where string `json:"where"`
	Says  string `json:"says"`
}

// Lint looks for what is allowed but seldom meant. known are the platforms that there are.
func (p *Policy) Lint(known []string) []Advice {
	advice := []Advice{}
	add := func(where, says string, args ...any) {
		advice = append(advice, Advice{where, fmt.Sprintf(says, args...)})
	}
	for _, name := range slices.Sorted(maps.Keys(p.Platforms)) {
		r, at := p.Platforms[name], "platforms."+name
		if !slices.Contains(known, name) {
			add(at, "no platform that this build knows; it knows %s", strings.Join(known, ", "))
		}
		r.lintReference(at, add)
		if len(r.Measurements) == 0 && r.Reference == nil && !p.ruleMentions(name, "measurements") {
			add(at, "no measurements: any code on any genuine machine of this kind passes")
		}
		if len(r.Machines.Only) == 0 && !p.ruleMentions(name, "machine") {
			add(at, "no list of machines: any genuine machine of this kind passes, one in an attacker's hands included")
		}
		if len(r.Machines.Only) > 0 && len(r.Machines.Never) > 0 {
			add(at+".machines", "never has no effect beside only")
		}
		for _, register := range slices.Sorted(maps.Keys(r.Measurements)) {
			for _, v := range r.Measurements[register] {
				if strings.Trim(v, "0") == "" {
					add(at+".measurements."+register, "zero, which no evidence has as a measurement: nothing passes; ask for the register's claim, or for reference values whose groups are exact")
				}
				if !slices.Contains([]int{40, 64, 96, 128}, len(v)) {
					add(at+".measurements."+register, "a value of %d digits: hashes have 40, 64, 96 or 128", len(v))
				}
			}
		}
		for _, id := range r.InsecureAccept {
			add(at+".insecure_accept", "accepts evidence that fails %s", id)
			if !strings.HasPrefix(id, name+".") {
				add(at+".insecure_accept", "%s is no check of %s", id, name)
			}
		}
	}
	for i, r := range p.Rules {
		if strings.TrimSpace(r.Require) == "true" {
			add(fmt.Sprintf("rules[%d]", i), "always holds")
		}
		if asksAbsent(r.Require) {
			add(fmt.Sprintf("rules[%d]", i), "asks whether a register is among the measurements: one that nothing was measured into never is, and an attester may keep others out; name the values it may have")
		}
		if r.Expected == "" {
			add(fmt.Sprintf("rules[%d]", i), "says no expected: refusals will show the bare expression")
		}
	}
	if len(p.Tests) == 0 {
		add("tests", "none: record evidence that must pass and evidence that must not, and list both")
	}
	return advice
}

// asksAbsent reports whether an expression asks for the presence of a measurement, which can
// make it hold for code that measured nothing.
func asksAbsent(require string) bool {
	text := strings.ReplaceAll(require, " ", "")
	return strings.Contains(text, "inmeasurements") || strings.Contains(text, "has(measurements")
}

func (p *Policy) ruleMentions(platform, word string) bool {
	return slices.ContainsFunc(p.Rules, func(r Rule) bool {
		return strings.Contains(r.Require, word) && (len(r.Platforms) == 0 || slices.Contains(r.Platforms, platform))
	})
}
