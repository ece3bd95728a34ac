package appraise

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Freshness is what the verifier knows of why the evidence was made just now, and for what.
// The zero Freshness fails the check: evidence that nobody asked for may be old, or another's.
type Freshness struct {
	// Nonce is the verifier's challenge, as the evidence's own nonce field carries it, or its
	// report data, padded with zeros.
	Nonce []byte
	// ReportData is what the report data must be, padded with zeros.
	ReportData []byte
	// InsecureAnyNonce makes the check a warning, for looking at recorded evidence.
	InsecureAnyNonce bool
}

// Demand is what a relying party asks of evidence.
type Demand struct {
	// Policy judges; without one only the platform's own checks, freshness, and the rule that
	// software protects nothing do.
	Policy    *Policy
	Freshness Freshness
	// References are what a policy may take measurements from.
	References References
	// Seen is what is remembered of endorsements: older ones are refused. Nil for no memory, such
	// as for judging recorded evidence as of its time.
	Seen lineage.Seen
	// InsecureAllowSoftware makes a software platform a warning where no policy names it.
	InsecureAllowSoftware bool
	Now                   time.Time
}

// Judge appraises a finding. It never fails: what can't be judged is contraindicated.
func (d Demand) Judge(f attest.Finding) Result {
	j := judgement{demand: d, finding: f, claims: plainClaims(f.Claims), warnings: slices.Clone(f.Warnings)}
	j.platformChecks()
	used := j.endorsements()
	j.freshness()
	j.class()
	if d.Policy != nil {
		j.policy()
	}
	r := Result{
		Verdict: j.standing(), Platform: string(f.Facts.Platform), Class: f.Facts.Class, Excludes: f.Facts.Excludes, Trusts: f.Facts.Trusts,
		Machine: f.Facts.Machine, Generation: f.Facts.Generation, Measurements: f.Facts.Measurements,
		Claims: j.claims, Checks: j.checks, Warnings: j.warnings, At: wire.At(d.Now), Reference: j.used, Endorsements: used,
	}
	if !f.Facts.Root.IsZero() {
		r.Root = f.Facts.Root.String()
	}
	if p := d.Policy; p != nil {
		r.Policy = &PolicyName{p.ID, p.Version, p.digest}
	}
	return r
}

type judgement struct {
	demand   Demand
	finding  attest.Finding
	claims   map[string]any
	checks   []verdict.Check
	warnings []string
	used     *ReferenceUsed
}

func (j *judgement) standing() attest.Standing {
	return attest.Finding{Checks: j.checks, Warnings: j.warnings}.Standing()
}

func (j *judgement) pass(id, expected, got string) {
	j.checks = append(j.checks, verdict.Check{ID: id, OK: true, Expected: expected, Got: got})
}

func (j *judgement) warn(id, expected, got string) {
	j.pass(id, expected, got)
	j.warnings = append(j.warnings, id)
}

func (j *judgement) fail(id, expected, got, fix string) {
	j.checks = append(j.checks, verdict.Check{ID: id, Expected: expected, Got: got, Fix: fix})
}

// platformChecks takes over the platform's own checks; failed ones that the policy accepts
// become warnings that say so.
func (j *judgement) platformChecks() {
	accepted := j.requirements().InsecureAccept
	for _, c := range j.finding.Checks {
		if !c.OK && slices.Contains(accepted, c.ID) {
			c.OK, c.Got, c.Fix = true, c.Got+" (accepted by the policy's insecure_accept)", ""
			j.warnings = append(j.warnings, c.ID)
		}
		j.checks = append(j.checks, c)
	}
	if len(j.finding.Checks) == 0 {
		j.fail("platform", "checks by the evidence's own platform", "none were made", "a defect: report it")
	}
	if j.finding.Facts.Debug && !slices.ContainsFunc(j.checks, func(c verdict.Check) bool { return !c.OK || strings.HasSuffix(c.ID, ".debug") }) {
		j.fail("debug", "a platform that nobody can look into", "debugging is on", "run it without debugging")
	}
}

// endorsements gives the versions that the platform's checks relied on, and checks that none goes
// back behind what is remembered. No policy can accept that: whoever wants it says as of when.
func (j *judgement) endorsements() []lineage.Version {
	used := lineage.Newest(lineage.Begun(j.finding.Endorsements, j.demand.Now))
	if j.demand.Seen != nil && len(used) > 0 {
		j.checks = append(j.checks, j.demand.Seen.Check(used))
	}
	return used
}

func (j *judgement) requirements() Requirements {
	if j.demand.Policy == nil {
		return Requirements{}
	}
	return j.demand.Policy.Platforms[string(j.finding.Facts.Platform)]
}

const freshFix = "give --nonce or --report-data with what the attester was asked to put in; ask it for new evidence if it differs"

func (j *judgement) freshness() {
	fresh, facts := j.demand.Freshness, j.finding.Facts
	const id = "freshness"
	if len(fresh.Nonce) > 0 {
		own, has := j.claims["nonce"].(string)
		want := hex.EncodeToString(fresh.Nonce)
		switch {
		case len(fresh.Nonce) < leastNonce && (has && own == want || padded(facts.ReportData, fresh.Nonce)):
			j.warn(id, "the verifier's nonce", fmt.Sprintf("it is there, but %d bytes can be guessed or met by chance", len(fresh.Nonce)))
		case has && own == want:
			j.pass(id, "the verifier's nonce", "the evidence's own nonce is it")
		case padded(facts.ReportData, fresh.Nonce):
			j.pass(id, "the verifier's nonce", "the report data is it")
		case has:
			j.fail(id, "nonce "+whole(fresh.Nonce), "nonce "+cmp.Or(own, "of no bytes"), mendFresh(fresh.Nonce))
		default:
			j.fail(id, "nonce "+whole(fresh.Nonce), "report data "+whole(facts.ReportData), mendFresh(fresh.Nonce))
		}
	}
	if len(fresh.ReportData) > 0 {
		if padded(facts.ReportData, fresh.ReportData) {
			j.pass(id, "the report data asked for", "it is that")
		} else {
			j.fail(id, "report data "+whole(fresh.ReportData), "report data "+whole(facts.ReportData), mendFresh(fresh.ReportData))
		}
	}
	if len(fresh.Nonce)+len(fresh.ReportData) > 0 {
		return
	}
	const expected = "a nonce or report data of the verifier's"
	if fresh.InsecureAnyNonce {
		j.warn(id, expected, "none given: this evidence may be old, or made for somebody else (--insecure-any-nonce)")
		return
	}
	j.fail(id, expected, "none given: this evidence may be old, or made for somebody else", freshFix+"; --insecure-any-nonce makes this a warning")
}

// padded reports whether field is want with nothing but zeros behind it.
func padded(field, want []byte) bool {
	return len(want) > 0 && len(field) >= len(want) && bytes.Equal(field[:len(want)], want) && len(bytes.Trim(field[len(want):], "\x00")) == 0
}

// whole shows bytes in hex: two values that differ only at the end must not look alike.
func whole(b []byte) string {
	const most = 64
	switch {
	case len(b) == 0:
		return "of no bytes"
	case len(b) > most:
		return fmt.Sprintf("%x… (%d bytes)", b[:most], len(b))
	}
	return hex.EncodeToString(b)
}

// mendFresh says what may be wrong with a nonce or report data that was given.
func mendFresh(given []byte) string {
	trimmed := bytes.TrimRight(given, "\r\n")
	switch {
	case len(trimmed) < len(given):
		return "what was given ends in a line break: @FILE takes the file's very bytes; " + freshFix
	case len(given)%2 == 0 && len(given) >= 16 && len(bytes.Trim(given, "0123456789abcdefABCDEF")) == 0:
		return "what was given is itself hex text: @FILE takes the file's very bytes, give the digits without @; " + freshFix
	}
	return freshFix
}

// class lets no software platform pass that was not named (design, section 6).
func (j *judgement) class() {
	f := j.finding.Facts
	const id, expected = "class", "a platform that keeps somebody out, or a policy that names this one"
	got := fmt.Sprintf("%s is %s", f.Platform, f.Class)
	named := false
	if p := j.demand.Policy; p != nil {
		_, named = p.Platforms[string(f.Platform)]
	}
	switch {
	case f.Pinned && f.Class == agreement.Confidential && len(j.requirements().Roots) == 0:
		j.warn(id, expected, got+" if the key that was pinned is of such a platform, which nobody but its owner knows: list it as a root in a policy")
	case f.Class == agreement.Confidential:
		j.pass(id, expected, got)
	case f.Class == agreement.IntegrityOnly && !named:
		j.warn(id, expected, got+": it keeps nobody out of memory")
	case f.Class == agreement.IntegrityOnly:
		j.pass(id, expected, got+", which the policy names")
	case f.Class == agreement.Software && named && len(j.requirements().Roots) > 0:
		j.warn(id, expected, got+" and insecure; the policy names it and its root")
	case f.Class == agreement.Software && j.demand.Policy == nil && j.demand.InsecureAllowSoftware:
		j.warn(id, expected, got+" and insecure; allowed all the same")
	case f.Class == agreement.Software:
		j.fail(id, expected, got+": it protects against nobody", "use hardware; or, for development, name the platform and its root in a policy, or give --insecure-allow-software")
	default:
		j.fail(id, expected, "no known class", "a defect: report it")
	}
}

func (j *judgement) policy() {
	f, p := j.finding.Facts, j.demand.Policy
	names := strings.Join(slices.Sorted(maps.Keys(p.Platforms)), ", ")
	expected := "one of this policy's platforms: " + names
	if p.digest.IsZero() {
		expected = "a policy that names platforms"
	}
	if _, named := p.Platforms[string(f.Platform)]; !named {
		j.fail("policy.platform", expected, string(f.Platform), "use one of them, or name this one in the policy")
		return
	}
	j.pass("policy.platform", expected, string(f.Platform))
	r := j.requirements()
	for _, register := range slices.Sorted(maps.Keys(r.Measurements)) {
		j.measurement(register, r.Measurements[register])
	}
	j.registers(r)
	j.reference(r)
	j.choice("machine", []string{f.Machine}, r.Machines)
	j.choice("generation", []string{f.Generation}, r.Generations)
	j.advisories(r.Advisories)
	if len(r.Roots) > 0 {
		j.expect("policy.root", "a root that the policy names", f.Root.String(), slices.Contains(r.Roots, f.Root), "use a machine under one of the named roots, or name this one")
	}
	for _, path := range slices.Sorted(maps.Keys(r.MinimumTCB)) {
		j.minimum(path, r.MinimumTCB[path])
	}
	for _, path := range slices.Sorted(maps.Keys(r.Claims)) {
		got := "no such claim"
		v, found := lookup(j.claims, path)
		if found {
			got = fmt.Sprint(v)
		}
		j.expect("policy.claim."+path, strconv.Quote(r.Claims[path]), verdict.Short(got), found && got == r.Claims[path], "the policy asks for this value")
	}
	for _, rule := range p.rules {
		j.rule(rule)
	}
}

func (j *judgement) expect(id, expected, got string, ok bool, fix string) {
	if ok {
		j.pass(id, expected, got)
		return
	}
	j.fail(id, expected, got, fix)
}

func (j *judgement) measurement(register string, values []string) {
	got, found := j.finding.Facts.Measurements[register]
	if !found {
		got = "no such register"
	}
	expected := values[0]
	if len(values) > 1 {
		expected = fmt.Sprintf("one of %d values, the first %s", len(values), values[0])
	}
	j.expect("policy.measurement."+register, expected, got, found && slices.Contains(values, got), "run the image that the policy names, or name this one")
}

// choice judges one thing that evidence names, or fails to name.
func (j *judgement) choice(what string, got []string, c Choice) {
	if len(c.Only)+len(c.Never) == 0 {
		return
	}
	expected := fmt.Sprintf("a %s that the policy allows", what)
	shown := cmp.Or(strings.Join(got, ", "), "none named")
	ok := true
	for _, v := range got {
		// What names itself by nothing can be on no list, so neither list can vouch for it.
		ok = ok && v != "" && !folded(c.Never, v) && (len(c.Only) == 0 || folded(c.Only, v))
	}
	j.expect("policy."+what, expected, verdict.Short(shown), ok, "use an allowed "+what+", or change the policy")
}

// advisories judges those that are open on any part of the machine. Evidence that names none
// at all, not even an empty list, is not judged clean of them.
func (j *judgement) advisories(c Choice) {
	if len(c.Only)+len(c.Never) == 0 {
		return
	}
	got, named := openAdvisories(j.claims)
	if !named {
		j.fail("policy.advisory", "evidence that says which advisories are open", "none of its claims does", "leave advisories out for this platform, or give the endorsements that name them")
		return
	}
	if len(got) > 0 {
		j.choice("advisory", got, c)
	}
}

// openAdvisories gives all lists named advisories in claims, those of a composite's parts
// too, and whether there was any.
func openAdvisories(claims map[string]any) (open []string, named bool) {
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		switch v := claims[name].(type) {
		case []any:
			if name == "advisories" {
				named = true
				for _, a := range v {
					open = append(open, fmt.Sprint(a))
				}
			}
		case map[string]any:
			more, there := openAdvisories(v)
			open, named = append(open, more...), named || there
		}
	}
	return open, named
}

// folded compares names as vendors print them, in whatever case.
func folded(list []string, v string) bool {
	return slices.ContainsFunc(list, func(x string) bool { return strings.EqualFold(x, v) })
}

func (j *judgement) minimum(path string, least int64) {
	v, found := lookup(j.claims, path)
	n, number := v.(int64)
	id, expected := "policy.tcb."+path, fmt.Sprintf("at least %d", least)
	switch {
	case !found || !number:
		j.fail(id, expected, "no such number in the evidence", "name a component that this platform has")
	case n < least:
		j.fail(id, expected, fmt.Sprintf("%d, which is %d behind", n, least-n), "update the machine's firmware")
	default:
		j.pass(id, expected, strconv.FormatInt(n, 10))
	}
}

func (j *judgement) rule(r program) {
	if len(r.Platforms) > 0 && !slices.Contains(r.Platforms, string(j.finding.Facts.Platform)) {
		return
	}
	c := r.judge(j.finding, j.claims, j.demand.Now)
	if !c.OK && r.Warn {
		j.warn(c.ID, c.Expected, c.Got)
		return
	}
	j.checks = append(j.checks, c)
}
