package appraise_test

import (
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
)

// TestSeenEndorsements: what goes back behind what is remembered is refused, also where a policy
// accepts whatever fails; without a memory nothing is said.
func TestSeenEndorsements(t *testing.T) {
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	crl := func(line string, day int) lineage.Version {
		return endorse.NewVersion(endorse.X509CRL, "the CRL of "+line, endorse.Dates{Issued: now.AddDate(0, 0, day)}, nil, []byte(line))
	}
	policy, err := appraise.Parse("p", []byte("id: p\nversion: 1\nplatforms:\n  snp:\n    insecure_accept: [snp.tcb, endorsements.rollback]\n"))
	if err != nil {
		t.Log("a policy that accepts it is refused already:", err)
	}
	seen := lineage.Seen{crl("a", 0).Of: crl("a", -2)}
	for name, c := range map[string]struct {
		seen lineage.Seen
		used []lineage.Version
		want string // of the check: pass, fail, none
		told int
	}{
		"no memory":                      {nil, []lineage.Version{crl("a", -3)}, "none", 1},
		"an empty memory":                {lineage.Seen{}, []lineage.Version{crl("a", -3)}, "pass", 1},
		"nothing used":                   {seen, nil, "none", 0},
		"the same":                       {seen, []lineage.Version{crl("a", -2)}, "pass", 1},
		"a newer one":                    {seen, []lineage.Version{crl("a", -1)}, "pass", 1},
		"an older one":                   {seen, []lineage.Version{crl("a", -3)}, "fail", 1},
		"an older one beside a newer":    {seen, []lineage.Version{crl("a", -3), crl("a", -1)}, "pass", 1},
		"an older one beside another":    {seen, []lineage.Version{crl("b", -1), crl("a", -3)}, "fail", 2},
		"one of the future is not used":  {seen, []lineage.Version{crl("b", 1)}, "none", 0},
		"an older one and of the future": {seen, []lineage.Version{crl("a", 1), crl("a", -3)}, "fail", 1},
	} {
		for _, p := range []*appraise.Policy{nil, policy} {
			f := attest.Finding{Facts: attest.Facts{Platform: "snp", Class: agreement.Confidential}, Checks: []verdict.Check{{ID: "snp.signature", OK: true, Expected: "a", Got: "a"}}, Endorsements: c.used}
			r := appraise.Demand{Policy: p, Seen: c.seen, Now: now, Freshness: appraise.Freshness{InsecureAnyNonce: true}}.Judge(f)
			got := "none"
			for _, check := range r.Checks {
				if check.ID != "endorsements.rollback" {
					continue
				}
				if got = "fail"; check.OK {
					got = "pass"
				}
			}
			if got != c.want || (got == "fail") != (r.Verdict == attest.Contraindicated) || len(r.Endorsements) != c.told {
				t.Errorf("%s, with a policy %v: %s, %s, told %v", name, p != nil, got, r.Verdict, r.Endorsements)
			}
		}
	}
}
