package appraise_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) // constant: the time of every test

// found is a finding without a flaw.
func found() attest.Finding {
	return attest.Finding{
		Facts: attest.Facts{
			Platform: "snp", Class: agreement.Confidential, Root: wire.HashOf([]byte("root")), Machine: "c0ffee", Generation: "Genoa",
			ReportData: append([]byte("0123456789abcdef"), make([]byte, 48)...), Measurements: map[string]string{"measurement": "aa11"},
			Excludes: []string{"the host"}, Trusts: []string{"AMD"},
		},
		Claims: map[string]any{
			"vmpl": 0, "reported_tcb": map[string]any{"microcode": uint8(72), "snp": 9}, "parts": []uint64{6, 1}, "policy_debug_allowed": false,
			"advisories": []string{}, "name": "x",
		},
		Checks: []verdict.Check{{ID: "snp.signature", OK: true}, {ID: "snp.debug", OK: true}},
	}
}

func fresh() appraise.Freshness { return appraise.Freshness{Nonce: []byte("0123456789abcdef")} }

func policy(t testing.TB, text string) *appraise.Policy {
	t.Helper()
	p, err := appraise.Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const head = "id: p\nversion: 1\nplatforms:\n  snp:\n"

// failed gives the ids of failed checks and of warnings.
func failed(r appraise.Result) string {
	var ids []string
	for _, c := range r.Failed() {
		ids = append(ids, c.ID)
		if c.Expected == "" || c.Got == "" || c.Fix == "" {
			return fmt.Sprintf("%s lacks expected, got or fix: %+v", c.ID, c)
		}
	}
	for _, id := range r.Warnings {
		ids = append(ids, "warn "+id)
	}
	return strings.Join(ids, ", ")
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy string
		change func(*attest.Finding, *appraise.Demand)
		want   string
	}{
		{"good, no policy", "", nil, ""},
		{"zero finding", "", func(f *attest.Finding, _ *appraise.Demand) { *f = attest.Finding{} }, "platform, freshness, class"},
		{"failed check of the platform", "", func(f *attest.Finding, _ *appraise.Demand) {
			f.Checks[0] = verdict.Check{ID: "snp.tcb", Expected: "a", Got: "b", Fix: "c"}
		}, "snp.tcb"},
		{"debug that no check noticed", "", func(f *attest.Finding, _ *appraise.Demand) { f.Facts.Debug, f.Checks = true, f.Checks[:1] }, "debug"},
		{"no freshness", "", func(_ *attest.Finding, d *appraise.Demand) { d.Freshness = appraise.Freshness{} }, "freshness"},
		{"any nonce", "", func(_ *attest.Finding, d *appraise.Demand) { d.Freshness = appraise.Freshness{InsecureAnyNonce: true} }, "warn freshness"},
		{"any nonce forgives no wrong one", "", func(_ *attest.Finding, d *appraise.Demand) {
			d.Freshness = appraise.Freshness{Nonce: []byte("another one, long"), InsecureAnyNonce: true}
		}, "freshness"},
		{"nonce is a prefix only", "", func(_ *attest.Finding, d *appraise.Demand) { d.Freshness.Nonce = []byte("0123456789abcde") }, "freshness"},
		{"short nonce", "", func(f *attest.Finding, d *appraise.Demand) {
			f.Facts.ReportData, d.Freshness.Nonce = []byte{0x90, 4, 0, 0}, []byte{0x90, 4}
		}, "warn freshness"},
		{"evidence's own nonce", "", func(f *attest.Finding, d *appraise.Demand) {
			f.Claims["nonce"], f.Facts.ReportData = "30313233343536373839616263646566", nil
		}, ""},
		{"another own nonce", "", func(f *attest.Finding, _ *appraise.Demand) { f.Claims["nonce"], f.Facts.ReportData = "3031", nil }, "freshness"},
		{"report data", "", func(f *attest.Finding, d *appraise.Demand) {
			d.Freshness = appraise.Freshness{ReportData: f.Facts.ReportData}
		}, ""},
		{"other report data", "", func(f *attest.Finding, d *appraise.Demand) { d.Freshness.ReportData = make([]byte, 64) }, "freshness"},
		{"longer report data", "", func(f *attest.Finding, d *appraise.Demand) {
			d.Freshness.ReportData = append(append([]byte{}, f.Facts.ReportData...), 0)
		}, "freshness"},
		{"integrity only", "", func(f *attest.Finding, _ *appraise.Demand) { f.Facts.Class = agreement.IntegrityOnly }, "warn class"},
		{"software", "", func(f *attest.Finding, _ *appraise.Demand) { f.Facts.Class = agreement.Software }, "class"},
		{"software allowed", "", func(f *attest.Finding, d *appraise.Demand) {
			f.Facts.Class, d.InsecureAllowSoftware = agreement.Software, true
		}, "warn class"},
		{"software with a policy that names no root", head + "    machines: {only: [c0ffee]}", func(f *attest.Finding, d *appraise.Demand) {
			f.Facts.Class, d.InsecureAllowSoftware = agreement.Software, true
		}, "class"},
		{"software with its root named", head + "    roots: [\"" + wire.HashOf([]byte("root")).String() + "\"]", func(f *attest.Finding, _ *appraise.Demand) { f.Facts.Class = agreement.Software }, "warn class"},
		{"unknown class", "", func(f *attest.Finding, _ *appraise.Demand) { f.Facts.Class = "secret" }, "class"},
		{"zero policy", "zero", nil, "policy.platform"},
		{"platform not named", "id: p\nversion: 1\nplatforms: {tdx: {}}", nil, "policy.platform"},
		{"platform named", "id: p\nversion: 1\nplatforms: {snp: {}}", nil, ""},
		{"measurement", head + "    measurements: {measurement: [bb, aa11]}", nil, ""},
		{"other measurement", head + "    measurements: {measurement: [bb, aa]}", nil, "policy.measurement.measurement"},
		{"no such register", head + "    measurements: {mrtd: [aa11]}", nil, "policy.measurement.mrtd"},
		{"machine", head + "    machines: {only: [C0FFEE]}", nil, ""},
		{"other machine", head + "    machines: {only: [c0ffe]}", nil, "policy.machine"},
		{"denied machine", head + "    machines: {never: [C0FFEE]}", nil, "policy.machine"},
		{"machine without a name", head + "    machines: {never: [abc]}", func(f *attest.Finding, _ *appraise.Demand) { f.Facts.Machine = "" }, "policy.machine"},
		{"denied generation", head + "    generations: {never: [genoa]}", nil, "policy.generation"},
		{"allowed generation", head + "    generations: {only: [Turin, Genoa]}", nil, ""},
		{"root", head + "    roots: [\"" + wire.HashOf([]byte("other")).String() + "\"]", nil, "policy.root"},
		{"minimum met", head + "    minimum_tcb: {reported_tcb.microcode: 72, \"parts[0]\": 6}", nil, ""},
		{"minimum missed", head + "    minimum_tcb: {reported_tcb.microcode: 73, \"parts[1]\": 2}", nil, "policy.tcb.parts[1], policy.tcb.reported_tcb.microcode"},
		{"minimum of nothing", head + "    minimum_tcb: {reported_tcb.fmc: 0, \"parts[2]\": 0, name: 0}", nil, "policy.tcb.name, policy.tcb.parts[2], policy.tcb.reported_tcb.fmc"},
		{"claims", head + "    claims: {vmpl: \"0\", policy_debug_allowed: \"false\"}", nil, ""},
		{"other claims", head + "    claims: {vmpl: \"1\", what: \"\"}", nil, "policy.claim.vmpl, policy.claim.what"},
		{"no open advisory", head + "    advisories: {only: [INTEL-SA-00615]}", nil, ""},
		{"known advisory", head + "    advisories: {only: [INTEL-SA-00615]}", func(f *attest.Finding, _ *appraise.Demand) {
			f.Claims["advisories"] = []string{"INTEL-SA-00615"}
		}, ""},
		{"other advisory", head + "    advisories: {only: [INTEL-SA-00615]}", func(f *attest.Finding, _ *appraise.Demand) {
			f.Claims["advisories"] = []string{"INTEL-SA-00615", "INTEL-SA-00657"}
		}, "policy.advisory"},
		{"advisory of a part", head + "    advisories: {only: [INTEL-SA-00615]}", func(f *attest.Finding, _ *appraise.Demand) {
			delete(f.Claims, "advisories")
			f.Claims["cpu"] = map[string]any{"claims": map[string]any{"advisories": []string{"INTEL-SA-00837"}}}
		}, "policy.advisory"},
		{"advisories that nobody names", head + "    advisories: {never: [INTEL-SA-00657]}", func(f *attest.Finding, _ *appraise.Demand) { delete(f.Claims, "advisories") }, "policy.advisory"},
		{"pinned root", "", func(f *attest.Finding, _ *appraise.Demand) { f.Facts.Pinned = true }, "warn class"},
		{"pinned root that the policy lists", head + "    roots: [\"" + wire.HashOf([]byte("root")).String() + "\"]", func(f *attest.Finding, _ *appraise.Demand) { f.Facts.Pinned = true }, ""},
		{"denied advisory", head + "    advisories: {never: [INTEL-SA-00657]}", func(f *attest.Finding, _ *appraise.Demand) {
			f.Claims["advisories"] = []string{"INTEL-SA-00657"}
		}, "policy.advisory"},
		{"accepted failure", head + "    insecure_accept: [snp.tcb]", func(f *attest.Finding, _ *appraise.Demand) {
			f.Checks = append(f.Checks, verdict.Check{ID: "snp.tcb", Expected: "a", Got: "b", Fix: "c"})
		}, "warn snp.tcb"},
		{"rule", head + "    {}\nrules: [{id: smt, require: 'claims.vmpl == 0 && measurements.measurement.startsWith(\"aa\") && now > timestamp(\"2026-01-01T00:00:00Z\")'}]", nil, ""},
		{"rule that does not hold", head + "    {}\nrules: [{id: smt, require: 'claims.vmpl == 1'}]", nil, "policy.rule.smt"},
		{"rule that warns", head + "    {}\nrules: [{id: smt, require: 'claims.vmpl == 1', warn: true}]", nil, "warn policy.rule.smt"},
		{"rule of another platform", "id: p\nversion: 1\nplatforms: {snp: {}, tdx: {}}\nrules: [{id: x, platforms: [tdx], require: 'false'}]", nil, ""},
		{"rule about a claim that is not there", head + "    {}\nrules: [{id: x, require: 'claims.nothing != 1'}]", nil, "policy.rule.x"},
		{"rule that gives no boolean after all", head + "    {}\nrules: [{id: x, require: 'claims.name'}]", nil, "policy.rule.x"},
		{"rule that never ends", head + "    {}\nrules: [{id: x, require: '" + strings.Repeat("[1,2,3,4,5,6,7,8,9,0].all(a, ", 6) + "true" + strings.Repeat(")", 6) + "'}]", nil, "policy.rule.x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, d := found(), appraise.Demand{Freshness: fresh(), Now: now}
			switch c.policy {
			case "":
			case "zero":
				d.Policy = &appraise.Policy{}
			default:
				d.Policy = policy(t, c.policy)
			}
			if c.change != nil {
				c.change(&f, &d)
			}
			r := d.Judge(f)
			if got := failed(r); got != c.want {
				t.Errorf("got %q, expected %q", got, c.want)
			}
			standing := attest.Affirming
			if strings.HasPrefix(c.want, "warn ") {
				standing = attest.Warning
			} else if c.want != "" {
				standing = attest.Contraindicated
			}
			if r.Verdict != standing || (r.Err() == nil) != (standing != attest.Contraindicated) || len(r.Checks) == 0 {
				t.Errorf("%s, %v, %d checks", r.Verdict, r.Err(), len(r.Checks))
			}
			if letter := r.Letter(); len(r.Failed()) > 0 && !strings.Contains(letter, "What forbids trust:\n  - "+r.Failed()[0].ID) {
				t.Errorf("the letter does not say so:\n%s", letter)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	many := strings.Repeat("- {id: x, require: 'true'}\n", appraise.MaxRules+1)
	for text, want := range map[string]string{
		"id: p\nversion: 1":                                                                      "p.yaml:1: appraisal.policy: expected platforms: 1 to",
		"id: p\nplatforms: {snp: {}}":                                                            "a version from 1",
		"version: 1\nplatforms: {snp: {}}":                                                       "a name for the policy",
		"id: p\nversion: 1\nplatforms: {SNP: {}}":                                                "the name of a platform",
		head + "    vmpl: 0":                                                                     "p.yaml:5: appraisal.policy: expected one of the members",
		head + "    measurements: {m: []}":                                                       "the values that may be there",
		head + "    measurements: {m: [AA]}":                                                     "lower-case hex",
		head + "    measurements: {m: [abc]}":                                                    "lower-case hex",
		head + "    machines: {only: [a], never: [a]}":                                           "none of them in both",
		head + "    machines: {only: []}":                                                        "would let everything pass",
		head + "    generations: {only: []}":                                                     "would let everything pass",
		head + "    advisories: {only: []}":                                                      "would let everything pass",
		head + "    roots: []":                                                                   "would let everything pass",
		head + "    minimum_tcb: {}":                                                             "would let everything pass",
		head + "    claims: {}":                                                                  "would let everything pass",
		head + "    measurements: {}":                                                            "would let everything pass",
		head + "    registers: []":                                                               "would let everything pass",
		head + "    minimum_tcb: {a: -1}":                                                        "a number from 0",
		head + "    machines: {only: [\"\"]}":                                                    "none of them in both",
		head + "    minimum_tcb: {\"a[x]\": 1}":                                                  "the path of a claim",
		head + "    minimum_tcb: {\"a[1]b\": 1}":                                                 "the path of a claim",
		head + "    claims: {a..b: x}":                                                           "the path of a claim",
		head + "    insecure_accept: [tcb]":                                                      "the id of a platform's check",
		head + "    insecure_accept: [snp.revocation]":                                           "remove it",
		head + "    insecure_accept: [snp.signature]":                                            "remove it",
		head + "    {}\nrules:\n" + many:                                                         "at most 128",
		head + "    {}\nrules: [{id: x, require: 'claims.'}]":                                    "an expression in CEL",
		head + "    {}\nrules: [{id: x, require: '1'}]":                                          "it gives int",
		head + "    {}\nrules: [{id: x, require: 'secret == 1'}]":                                "undeclared reference",
		head + "    {}\nrules: [{require: 'true'}]":                                              "a name of its own",
		head + "    {}\nrules: [{id: x, require: ''}]":                                           "an expression of 1 to",
		head + "    {}\nrules: [{id: x, platforms: [tdx], require: 'true'}]":                     "one of this policy's platforms: snp",
		head + "    {}\nrules: [{id: x, require: 'true'}, {id: x, require: 'true'}]":             "a name of its own",
		head + "    {}\ntests: [{name: t, evidence: e, at: 2026-01-01T00:00:00Z, expect: good}]": "affirming, warning",
		head + "    {}\ntests: [{name: t, evidence: e, expect: affirming}]":                      "the time at which",
		head + "    {}\ntests: [{evidence: e, at: 2026-01-01T00:00:00Z, expect: affirming}]":     "a name",
		head + "    {}\ntests: [{name: t, at: 2026-01-01T00:00:00Z, expect: affirming}]":         "recorded evidence",
		head + "    {}\ntests: [{name: t, evidence: e, at: 2026-01-01T00:00:00Z, expect: warning, nonce: X}]": "lower-case hex",
		"": "an empty file",
	} {
		p, err := appraise.Parse("p.yaml", []byte(text))
		if e := verdict.As(err); err == nil || p != nil || e.Kind != verdict.Usage && e.Kind != verdict.Refused || !strings.Contains(err.Error(), want) || !strings.HasPrefix(e.Where, "p.yaml:") {
			t.Errorf("%q: %v, expected %q", text, err, want)
		}
	}
}

func TestDigestIsOfTheMeaning(t *testing.T) {
	one := policy(t, "id: p\nversion: 1\nplatforms: {snp: {machines: {only: [a]}}}")
	same := policy(t, "# c\nversion: 1\nid: 'p'\nplatforms:\n  snp:\n    machines:\n      only:\n      - a\n")
	other := policy(t, "id: p\nversion: 1\nplatforms: {snp: {machines: {only: [b]}}}")
	if one.Digest() != same.Digest() || one.Digest() == other.Digest() || one.Digest().IsZero() {
		t.Error(one.Digest(), same.Digest(), other.Digest())
	}
}

// TestExplainNamesEveryRequirement compares the explanation with what a finding that has
// nothing right is refused for.
func TestExplainNamesEveryRequirement(t *testing.T) {
	p := policy(t, head+`    measurements: {measurement: [bb]}
    machines: {only: [beef]}
    generations: {never: [genoa]}
    roots: ["`+wire.HashOf([]byte("other")).String()+`"]
    minimum_tcb: {reported_tcb.microcode: 200}
    claims: {vmpl: "3"}
    advisories: {never: [SA-1]}
rules: [{id: smt, expected: no hyper-threads, require: 'false'}]
`)
	f := found()
	f.Claims["advisories"] = []string{"SA-1"}
	got := appraise.Demand{Policy: p, Freshness: fresh(), Now: now}.Judge(f)
	text := p.Explain()
	for _, want := range []string{"measurement is bb", "machine is beef", "generation is not genoa", wire.HashOf([]byte("other")).String(), "reported_tcb.microcode is at least 200", `vmpl is "3"`, "advisory SA-1 is not open on it", "no hyper-threads"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if n := len(got.Failed()); n != 8 {
		t.Errorf("%d refusals, expected 8: %s", n, failed(got))
	}
}

// TestFreshnessShowsWhole: nonces that differ at the end only must not look alike, and common
// slips are named.
func TestFreshnessShowsWhole(t *testing.T) {
	for given, want := range map[string]string{
		"0123456789abcdef\n": "line break", "30313233343536373839616263646566": "itself hex text", "another nonce, quite": "give --nonce",
	} {
		r := appraise.Demand{Freshness: appraise.Freshness{Nonce: []byte(given)}, Now: now}.Judge(found())
		c := r.Failed()[0]
		if c.ID != "freshness" || !strings.Contains(c.Expected, fmt.Sprintf("%x", given)) || !strings.Contains(c.Got, fmt.Sprintf("%x", found().Facts.ReportData)) || !strings.Contains(c.Fix, want) {
			t.Errorf("%q: %+v", given, c)
		}
	}
}

// TestLetterOfWhatCouldNotBeVerified claims nothing of what nobody has verified.
func TestLetterOfWhatCouldNotBeVerified(t *testing.T) {
	f := attest.Finding{Facts: attest.Facts{Platform: "snp", Class: agreement.Confidential, Debug: true}, Checks: []verdict.Check{{ID: "snp.collateral", Expected: "a certificate", Got: "none", Fix: "fetch it"}}}
	letter := appraise.Demand{Freshness: fresh(), Now: now}.Judge(f).Letter()
	if !strings.Contains(letter, "can't tell whether it is genuine") || strings.Contains(letter, "This is evidence of") {
		t.Error(letter)
	}
}

func TestLetterKeepsItsLines(t *testing.T) {
	f := found()
	f.Facts.Machine, f.Checks[0].Got = "x\nYou may trust this.", "y\n\nDone"
	letter := appraise.Demand{Freshness: fresh(), Now: now}.Judge(f).Letter()
	if strings.Contains(letter, "\nYou may trust this.") || strings.Contains(letter, "\nDone") {
		t.Error(letter)
	}
}

func TestLint(t *testing.T) {
	for text, want := range map[string]int{
		"id: p\nversion: 1\nplatforms: {snp: {}}": 3,
		head + "    measurements: {m: [aa]}\n    machines: {only: [a], never: [b]}\n    insecure_accept: [tdx.tcb]\nrules: [{id: x, require: 'true'}]": 7,
		head + "    {}\nrules: [{id: x, expected: e, require: 'measurements.m == \"aa\" && machine == \"1\"'}]":                                        1,
		head + "    measurements: {m: [" + strings.Repeat("0", 64) + "]}\n    machines: {only: [a]}":                                                   2,
		head + "    {}\nrules: [{id: x, expected: e, require: '!(\"m\" in measurements) || measurements.m == \"aa\" || machine == \"1\"'}]":            2,
	} {
		if got := policy(t, text).Lint([]string{"snp", "tdx"}); len(got) != want {
			t.Errorf("%q: %d, expected %d: %v", text, len(got), want, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head + "    measurements: {m: [aa]}\nrules: [{id: x, require: 'claims.vmpl == 0'}]"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if p, err := appraise.Parse("f", data); err == nil {
			_ = p.Explain()
			_ = appraise.Demand{Policy: p, Now: now}.Judge(found()).Letter()
		}
	})
}

func TestFormat(t *testing.T) {
	const text = "id:   p # who\nversion: 1\nplatforms:\n      snp:\n          machines: {only: [ a,b ]}\n"
	once, err := appraise.Format("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	const want = "id: p # who\nversion: 1\nplatforms:\n  snp:\n    machines: {only: [a, b]}\n"
	if string(once) != want {
		t.Errorf("%s", once)
	}
	if twice, err := appraise.Format("p.yaml", once); err != nil || string(twice) != want {
		t.Errorf("%v: %s", err, twice)
	}
	if policy(t, text).Digest() != policy(t, want).Digest() {
		t.Error("another policy")
	}
	if _, err := appraise.Format("p.yaml", []byte("id: p")); err == nil {
		t.Error("formatted what is no policy")
	}
}
