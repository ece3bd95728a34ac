package ear

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Profile is the EAT profile of EAR tokens.
const Profile = "tag:ietf.org,2026:rats/ear#05"

// Statement is what a token is to say. Results are of one attester: of its main platform first,
// then of what is attached to it (GPUs), all of which must stand.
type Statement struct {
	Results []appraise.Result
	// Evidence is the digest of the evidence shown ([attest.Evidence.Digest]). The evidence itself
	// is in no token: it names machines, and is larger than headers may be.
	Evidence wire.Digest
	// InitData and ReportData are the evidence's own, in bytes; they become hex.
	InitData, ReportData []byte
	// Freshness says whose the nonce is, and Nonce what it is: what the evidence binds for a
	// challenge of the service, or what the relying party chose.
	Freshness Freshness
	Nonce     []byte
	Audience  string
	// Confirmation is the attester's key; no shape but a sealed one does without.
	Confirmation Confirmation
	// Verifier names the build of the program that judged.
	Verifier string
	// Extra are claims of the shape's own, by name. They can't take the place of any other.
	Extra map[string]any
}

// Freshness says who vouches that evidence was made for the asking.
type Freshness string

// The kinds of freshness. With ByService the service made the challenge, minutes before.
// With ByRelyingParty the relying party's own nonce is in the evidence: only whoever knows that
// nonce can tell that the evidence is not an old one.
const (
	ByService      Freshness = "service"
	ByRelyingParty Freshness = "relying-party"
)

// check refuses statements that no token may be made of.
func (s Statement) check(shape Shape) error {
	if err := shape.known(); err != nil {
		return err
	}
	const fix = "a defect in the issuer: report it"
	switch {
	case len(s.Results) == 0:
		return verdict.Misuse("token.result", "a result", "none", fix)
	case s.Audience == "" || len(s.Audience) > maxAudience || verdict.Printable(s.Audience) != s.Audience:
		return verdict.Misuse("token.audience", fmt.Sprintf("whom the token is for, at most %d bytes", maxAudience), orNone(s.Audience), "name one audience")
	case s.Evidence.IsZero():
		return verdict.Misuse("token.evidence", "the digest of the evidence", "none", fix)
	case s.Freshness != ByService && s.Freshness != ByRelyingParty:
		return verdict.Misuse("token.freshness", "who vouches for freshness", orNone(string(s.Freshness)), fix)
	case s.Freshness != ByService && shape.Bearer:
		return verdict.Refuse("token.freshness", "evidence for a challenge of this service", "another's nonce, which clouds and vaults don't look at", "ask for a challenge first")
	case s.Confirmation.IsZero() && !shape.Bearer:
		return unbound("none")
	}
	for _, r := range s.Results {
		if err := r.Err(); err != nil {
			return err
		}
	}
	return nil
}

// standing is the worst of all results, and never better than their vectors.
func (s Statement) standing() attest.Standing {
	worst := attest.Affirming
	for _, r := range s.Results {
		if status(r) == attest.Warning {
			worst = attest.Warning
		}
	}
	return worst
}

// status is a result's verdict, at most as good as the worst entry of its vector.
func status(r appraise.Result) attest.Standing {
	v := VectorOf(r)
	worst := max(v.InstanceIdentity, v.Configuration, v.Executables, v.Hardware, v.RuntimeOpaque)
	switch {
	case worst >= 96 || r.Verdict == attest.Contraindicated:
		return attest.Contraindicated
	case worst >= 32 || r.Verdict == attest.Warning:
		return attest.Warning
	}
	return r.Verdict
}

// Subject names who a token speaks of, for clouds whose rules look at nothing else: the policy
// that judged, the platform, and its class.
func Subject(r appraise.Result) string {
	policy := "none"
	if r.Policy != nil {
		policy = string(r.Policy.ID)
	}
	return fmt.Sprintf("policy:%s:platform:%s:class:%s", policy, r.Platform, r.Class)
}

// claims gives the whole claim set. iss, aud and times are numbers of seconds, as RFC 7519 says.
func (s Statement) claims(shape Shape, base string, now time.Time) (map[string]any, error) {
	c := maps.Clone(s.Extra)
	if c == nil {
		c = map[string]any{}
	}
	own := s.common(shape, base, now)
	maps.Copy(own, s.flat())
	if err := measurementClaims(own, s.Results[0]); err != nil {
		return nil, err
	}
	if shape.Name == EAR().Name {
		maps.Copy(own, s.ear())
	}
	for name := range own {
		if _, taken := c[name]; taken {
			return nil, fmt.Errorf("ear: claim %q is not one that a shape may set", name)
		}
	}
	maps.Copy(c, own)
	return c, nil
}

func (s Statement) common(shape Shape, base string, now time.Time) map[string]any {
	c := map[string]any{
		"iss": shape.Issuer(base), "aud": s.Audience, "sub": Subject(s.Results[0]),
		"strongroom_freshness": string(s.Freshness), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(Lifetime).Unix(),
	}
	if !s.Confirmation.IsZero() {
		c["cnf"] = s.Confirmation
	}
	if len(s.Nonce) > 0 {
		c["eat_nonce"] = base64.StdEncoding.EncodeToString(s.Nonce)
	}
	return c
}

// flat are claims of one level with names of our own, which rules of vaults and clouds compare.
func (s Statement) flat() map[string]any {
	r := s.Results[0]
	c := map[string]any{
		"strongroom_verdict": string(s.standing()), "strongroom_platform": r.Platform, "strongroom_class": string(r.Class),
		"strongroom_excludes": list(r.Excludes), "strongroom_trusts": list(r.Trusts),
		"strongroom_evidence": s.Evidence.String(), "strongroom_judged_at": r.At.Time().Unix(),
	}
	if p := r.Policy; p != nil {
		c["strongroom_policy"], c["strongroom_policy_version"], c["strongroom_policy_digest"] = string(p.ID), p.Version, p.Digest.String()
	}
	if used := r.Reference; used != nil {
		c["strongroom_reference"], c["strongroom_reference_version"] = string(used.Product), used.Version
		c["strongroom_reference_security_version"], c["strongroom_reference_digest"] = used.SecurityVersion, used.Digest.String()
	}
	if r.Class == agreement.Software {
		c["strongroom_insecure"] = true
	}
	for name, text := range map[string]string{"machine": r.Machine, "generation": r.Generation, "root": r.Root, "init_data": hex.EncodeToString(s.InitData), "report_data": hex.EncodeToString(s.ReportData)} {
		if text != "" {
			c["strongroom_"+name] = text
		}
	}
	return c
}

// measurementClaims adds what was measured. Names that become one claim's are refused: some are of
// the attester's choosing, and a value of its own must not stand where another's is looked for.
func measurementClaims(c map[string]any, r appraise.Result) error {
	of := map[string]string{}
	for _, name := range measured(r) {
		claim := "strongroom_measurement_" + plainName(name)
		if other, taken := of[claim]; taken {
			return verdict.Refuse("token.measurements", "measurements whose names differ in letters and digits", fmt.Sprintf("%s and %s, both the claim %s", verdict.Short(other), verdict.Short(name), verdict.Short(claim)),
				"have the attester name them otherwise, or ask for the result without a token")
		}
		of[claim], c[claim] = name, r.Measurements[name]
	}
	return nil
}

func list(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}

// measured lists the measurements that a token carries: all if they are few, else those that
// the policy asked for.
func measured(r appraise.Result) []string {
	names := slices.Sorted(maps.Keys(r.Measurements))
	if len(names) <= maxMeasurements {
		return names
	}
	return slices.DeleteFunc(names, func(n string) bool { return !passed(r, "policy.measurement."+n) })
}

// plainName makes a claim's name of a measurement's: what is not a letter or digit becomes _.
func plainName(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '_'
	}, strings.ToLower(name))
}

// ear are the claims of draft-ietf-rats-ear-05, and beside them those that its deployed
// predecessors read, under their older names.
func (s Statement) ear() map[string]any {
	submods := map[string]any{}
	for _, r := range s.Results {
		label := r.Platform
		for n := 2; submods[label] != nil; n++ {
			label = fmt.Sprintf("%s-%d", r.Platform, n)
		}
		submods[label] = submodule(r, s.Nonce)
		names, of := parts(r)
		for _, part := range names {
			submods[label+"/"+part] = submodule(of[part], nil)
		}
	}
	id := map[string]any{"developer": "https://strongroom.dev", "build": cmp.Or(s.Verifier, "unknown")}
	standing := string(s.standing())
	return map[string]any{"eat_profile": Profile, "submods": submods, "ear_status": standing, "ear.status": standing, "ear_verifier_id": id, "ear.verifier-id": id}
}

func submodule(r appraise.Result, nonce []byte) map[string]any {
	vector, standing := VectorOf(r), string(status(r))
	m := map[string]any{"ear_status": standing, "ear.status": standing, "ear_trustworthiness_vector": vector, "ear.trustworthiness-vector": vector}
	if p := r.Policy; p != nil {
		id := policyURI(*p)
		m["ear_appraisal_policy_ids"], m["ear.appraisal-policy-id"] = []string{id}, id
	}
	if len(nonce) > 0 {
		m["eat_nonce"] = base64.StdEncoding.EncodeToString(nonce)
	}
	return m
}

// policyURI names a policy for good: id, version and digest.
func policyURI(p appraise.PolicyName) string {
	return fmt.Sprintf("strongroom:policy/%s/%d/%s", p.ID, p.Version, p.Digest)
}
