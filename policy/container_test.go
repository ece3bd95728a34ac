package policy_test

import (
	"slices"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/policy"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// kept makes the world's work a container that beta brings a secret to and alpha only keeps.
func kept(w *world) {
	a := &w.agreement
	a.Inputs = []agreement.Input{{Name: "beta-secret", Owner: "beta", Dataset: "secret", Format: agreement.Opaque, Schema: []agreement.Column{}, RunsPerDay: 3}}
	a.Tables, a.Outputs = []agreement.Table{}, []agreement.Output{}
	a.Work = []agreement.Work{{Name: "mean-radius", Kind: "container", Description: "a service", Tables: []string{}, Parameters: []agreement.Parameter{},
		MayRun: []wire.ID{"study"}, Keepers: []wire.ID{"alpha"}, Container: &agreement.Container{
			Image: agreement.ContainerImage{Reference: "web", Manifest: wire.HashOf([]byte("m")), Disk: agreement.VerityDisk{Blocks: 1, Root: wire.HashOf([]byte("r"))}},
			Argv:  []string{"/bin/web"}, User: agreement.User{Groups: []int64{}}, Directory: "/",
			Environment: []agreement.Environment{{Name: "SECRET", Kind: agreement.FromFile, Input: "beta-secret"}, {Name: "MODE", Kind: agreement.Pattern, Pattern: "fast|slow", Required: true}},
			Mounts:      []agreement.Mount{}, Capabilities: []string{}, Seccomp: agreement.Seccomp{Profile: "default", Deny: []string{}},
			Ports: []agreement.Port{}, Egress: []agreement.Egress{}, Logs: agreement.Logs{Receivers: []wire.ID{}}, Restart: agreement.Restart{Policy: "never"},
			Limits: agreement.Limits{Memory: 64 << 20, Processes: 8, Files: 64},
		}}}
	w.statements = map[wire.ID]*agreement.SignedDataset{"beta-secret": w.state(a.Inputs[0], 1)}
	w.run.Parameters, w.run.Environment = map[string]string{}, map[string]string{"MODE": "slow"}
	w.run.Datasets = []agreement.RunDataset{{Input: "beta-secret", Statement: w.statements["beta-secret"].Digest()}}
	w.noInputs = true
}

func TestDecideForAKeeper(t *testing.T) {
	w := newWorld(t)
	kept(w)
	g, checks, err := policy.Decide(w.build())
	if !slices.ContainsFunc(checks, func(c verdict.Check) bool { return c.ID == "run.environment" && c.Got == `MODE="slow"` }) {
		t.Error("what the requester chose is not shown")
	}
	if err != nil || len(g.Terms().Inputs) != 0 || !g.Granted() {
		t.Fatalf("%v, %+v", err, g.Terms())
	}
	for name, test := range map[string]struct {
		change func(*world)
		check  string
	}{
		"no keeper":     {func(w *world) { w.agreement.Work[0].Keepers = []wire.ID{"beta"} }, "inputs.complete"},
		"not activated": {func(w *world) { w.change = func(r *policy.Request) { r.Books.Activation = policy.Activation{} } }, "agreement.activated"},
		"a second run": {func(w *world) {
			w.change = func(r *policy.Request) {
				r.Books.Earlier = &policy.Earlier{ReleaseID: "other", Run: wire.DigestOf([]byte("x"))}
			}
		}, "run.once"},
		"another's input": {func(w *world) {
			w.change = func(r *policy.Request) {
				s := w.statements["beta-secret"]
				r.Inputs = []policy.Input{{Name: "beta-secret", Statement: s, Header: policy.Header{Sound: true, Hash: s.Header, Stanzas: 1}}}
			}
		}, "inputs.complete"},
		"environment unknown":    {func(w *world) { w.run.Environment["LD_PRELOAD"] = "/tmp/x.so" }, "run.environment"},
		"environment mismatched": {func(w *world) { w.run.Environment["MODE"] = "slower" }, "run.environment"},
		"environment missing":    {func(w *world) { w.run.Environment = nil }, "run.environment"},
		"peer silent":            {func(w *world) { w.change = func(r *policy.Request) { r.Peers = nil } }, "peers.checkpoints"},
	} {
		w := newWorld(t)
		kept(w)
		test.change(w)
		if g, _, err := policy.Decide(w.build()); err == nil || verdict.As(err).Check != test.check || g.Granted() {
			t.Errorf("%s: %v", name, err)
		}
	}
}
