package ear_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/agreement"
	"strongroom.dev/appraise"
	"strongroom.dev/ear"
	"strongroom.dev/verdict"
)

func TestVector(t *testing.T) {
	ok := func(id string) verdict.Check { return verdict.Check{ID: id, OK: true} }
	no := func(id string) verdict.Check { return verdict.Check{ID: id} }
	for _, c := range []struct {
		what   string
		result appraise.Result
		want   ear.Vector
	}{
		{"nothing was checked", appraise.Result{}, ear.Vector{}},
		{"all that a policy can ask", result(), ear.Vector{InstanceIdentity: 2, Configuration: 2, Executables: 3, Hardware: 2, RuntimeOpaque: 2}},
		{"no policy", appraise.Result{Class: agreement.Confidential, Checks: []verdict.Check{ok("snp.chain"), ok("snp.chip_id"), ok("snp.debug"), ok("snp.vmpl"), ok("freshness")}},
			ear.Vector{Configuration: 3, Hardware: 2, RuntimeOpaque: 2}},
		{"out of date", appraise.Result{Checks: []verdict.Check{ok("tdx.chain"), no("tdx.tcb"), ok("tdx.signature")}}, ear.Vector{Hardware: 96}},
		{"hardening needed", appraise.Result{Checks: []verdict.Check{ok("sgx.tcb.platform")}, Warnings: []string{"sgx.tcb.platform"}}, ear.Vector{Hardware: 32}},
		{"a failure outweighs a later warning", appraise.Result{Checks: []verdict.Check{no("snp.tcb"), ok("snp.revocation")}, Warnings: []string{"snp.revocation"}}, ear.Vector{Hardware: 96}},
		{"debug", appraise.Result{Class: agreement.Confidential, Checks: []verdict.Check{no("snp.debug")}}, ear.Vector{RuntimeOpaque: 96}},
		{"debug, found by appraisal", appraise.Result{Class: agreement.Confidential, Checks: []verdict.Check{no("debug")}}, ear.Vector{RuntimeOpaque: 96}},
		{"another image", appraise.Result{Checks: []verdict.Check{no("policy.measurement.mrtd")}}, ear.Vector{Executables: 96}},
		{"a group of reference values", appraise.Result{Checks: []verdict.Check{ok("policy.reference.signatures"), ok("policy.reference.group")}}, ear.Vector{Executables: 3}},
		{"reference values that are old", appraise.Result{Checks: []verdict.Check{no("policy.reference.dates")}}, ear.Vector{Executables: 96}},
		{"another machine", appraise.Result{Checks: []verdict.Check{no("policy.machine"), ok("snp.chip_id")}}, ear.Vector{InstanceIdentity: 97}},
		{"a rule", appraise.Result{Checks: []verdict.Check{no("policy.rule.a")}}, ear.Vector{Configuration: 96}},
		{"a check that the table does not know", appraise.Result{Checks: []verdict.Check{no("new.thing")}}, ear.Vector{Configuration: 96}},
		{"a platform that hides no memory", appraise.Result{Class: agreement.IntegrityOnly, Checks: []verdict.Check{ok("tpm.debug")}}, ear.Vector{}},
		{"a part of a composite", appraise.Result{Checks: []verdict.Check{ok("cpu.snp.chain"), no("device0.nvidia.rim"), ok("device0.nvidia.chain"), ok("composite.binding")}}, ear.Vector{Executables: 96, Hardware: 2}},
		{"a platform that is called like a part", appraise.Result{Checks: []verdict.Check{no("cpu.chain"), no("devices.a.b")}}, ear.Vector{Configuration: 96, Hardware: 96}},
		{"about the asking, not the attester", appraise.Result{Checks: []verdict.Check{no("freshness"), no("class"), no("nvidia.nonce")}}, ear.Vector{}},
	} {
		if diff := cmp.Diff(c.want, ear.VectorOf(c.result)); diff != "" {
			t.Errorf("%s: %s", c.what, diff)
		}
	}
}
