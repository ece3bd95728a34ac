package verifier_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom.dev/ear"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

func version(n int, rest string) string {
	return fmt.Sprintf("id: rooms\nversion: %d\nplatforms:\n  snp: %s\n", n, rest)
}

func TestPolicies(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	_, err := w.AddPolicy(ctx, "other", []byte(version(1, "{}")))
	fails(t, "under another id", err, verdict.Usage, "appraisal.policy")
	_, err = w.AddPolicy(ctx, "rooms", []byte("id: rooms\n"))
	fails(t, "incomplete", err, verdict.Usage, "appraisal.policy")
	_, err = w.AddPolicy(ctx, "rooms", nil)
	fails(t, "none", err, verdict.Usage, "appraisal.policy")
	_, err = w.Activate(ctx, "rooms", 1)
	fails(t, "one that isn't there", err, verdict.Refused, "appraisal.version")
	_, err = w.Retire(ctx, "rooms")
	fails(t, "one that isn't there", err, verdict.Refused, "appraisal.policies")
	_, err = w.Versions(ctx, "rooms")
	fails(t, "versions of none", err, verdict.Refused, "appraisal.policies")

	added, err := w.AddPolicy(ctx, "rooms", []byte(version(2, "{}")))
	if err != nil || added.Active != 0 || added.Highest != 2 || len(added.Advice) == 0 {
		t.Fatalf("%+v: %v", added, err)
	}
	r, _ := good(w)
	_, err = w.Attest(ctx, r)
	fails(t, "a draft is not in force", err, verdict.Refused, "appraisal.policies")
	for _, n := range []int{1, 2} {
		_, err = w.AddPolicy(ctx, "rooms", []byte(version(n, "{}")))
		fails(t, "an older version, or the same", err, verdict.Refused, "appraisal.version")
	}
	if _, err := w.Activate(ctx, "rooms", 2); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Attest(ctx, r); err != nil {
		t.Error(err)
	}
	must(w.AddPolicy(ctx, "rooms", []byte(version(3, "{machines: {only: [beef]}}"))))
	if _, err := w.Attest(ctx, r); err != nil {
		t.Errorf("a draft judges: %v", err)
	}
	must(w.Activate(ctx, "rooms", 3))
	_, err = w.Attest(ctx, r)
	fails(t, "the new version", err, verdict.Refused, "policy.machine")
	must(w.Activate(ctx, "rooms", 2)) // a step back is an officer's right
	if _, err := w.Attest(ctx, r); err != nil {
		t.Error(err)
	}
	must(w.Retire(ctx, "rooms"))
	_, err = w.Attest(ctx, r)
	fails(t, "retired", err, verdict.Refused, "appraisal.policies")

	openAgain(t, w)
	list := must(w.Policies(ctx))
	versions := must(w.Versions(ctx, "rooms"))
	if len(list) != 1 || list[0].Active != 0 || list[0].Highest != 3 || len(versions) != 2 || versions[0].Version != 2 || versions[1].Text != version(3, "{machines: {only: [beef]}}") {
		t.Errorf("%+v %+v", list, versions)
	}
	if v := must(w.Policy(ctx, "rooms", 2)); v.Digest.IsZero() || v.Active {
		t.Errorf("%+v", v)
	}
}

// TestInstances has two services over one store: what one changes the other follows.
func TestInstances(t *testing.T) {
	w := newWorld(t, nil)
	other := must(verifier.Open(context.Background(), w.cfg))
	ctx := context.Background()
	w.inForce(version(1, "{}"))
	r, _ := good(w)
	answer, err := other.Attest(ctx, r)
	if err != nil {
		t.Fatalf("one instance's challenge, another's judgement: %v", err)
	}
	if _, err := w.verify(answer.Token, ear.EAR(), vault); err != nil {
		t.Errorf("one instance's token, another's key set: %v", err)
	}
	must(w.Retire(ctx, "rooms"))
	w.now = w.now.Add(2 * time.Second)
	_, err = other.Attest(ctx, r)
	fails(t, "retired by the other", err, verdict.Refused, "appraisal.policies")

	var added sync.WaitGroup
	won := make(chan int64, 8)
	for range 4 {
		for _, s := range []*verifier.Service{w.Service, other} {
			added.Go(func() {
				if p, err := s.AddPolicy(ctx, "rooms", []byte(version(2, "{}"))); err == nil {
					won <- p.Highest
				}
			})
		}
	}
	added.Wait()
	if close(won); len(won) != 1 {
		t.Errorf("%d of them added the same version", len(won))
	}
}

// TestKeysRotate: over a year of upkeep, a token made at any time verifies by the key set of
// that time, and by that of two days before.
func TestKeysRotate(t *testing.T) {
	w := newWorld(t, nil)
	w.inForce(version(1, "{}"))
	ctx := context.Background()
	var sets [][]byte
	for day := range 120 {
		if err := w.Upkeep(ctx); err != nil {
			t.Fatal(err)
		}
		if day%40 == 0 {
			openAgain(t, w)
		}
		sets = append(sets, must(w.KeySet(ear.EAR())))
		r, _ := good(w)
		token := must(w.Attest(ctx, r)).Token
		for _, set := range sets[max(0, len(sets)-2):] {
			x := ear.Expect{Shape: ear.EAR(), Base: base, Audience: vault, Keys: must(ear.ParseKeySet(set)), Now: w.now}
			if _, err := ear.Verify(token, x); err != nil {
				t.Fatalf("day %d: %v", day, err)
			}
		}
		w.now = w.now.AddDate(0, 0, 1)
	}
	if string(sets[0]) == string(sets[len(sets)-1]) {
		t.Error("the keys never change")
	}
	w.now = w.now.AddDate(1, 0, 0)
	fails(t, "a service without upkeep", w.Ready(ctx), verdict.Broken, "attestation.keys")
}

func TestReady(t *testing.T) {
	w := newWorld(t, func(c *verifier.Config) { c.Policy = "rooms" })
	ctx := context.Background()
	fails(t, "without its policy", w.Ready(ctx), verdict.Refused, "appraisal.policies")
	w.inForce(version(1, "{}"))
	if err := w.Ready(ctx); err != nil {
		t.Error(err)
	}
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Minute)
	if w.Ready(ctx) == nil {
		t.Error("ready without a store")
	}
	_, err := w.KeySet(ear.MAA())
	fails(t, "a shape that is off", err, verdict.Refused, "attestation.audience")
	_, err = w.Discovery(ear.Federation())
	fails(t, "a shape that is off", err, verdict.Refused, "attestation.audience")
}

func TestTry(t *testing.T) {
	w := newWorld(t, nil)
	ctx := context.Background()
	evidence := func(failed string) []byte {
		return tale{Told: "snp", ReportData: make([]byte, 64), Failed: failed}.bytes()
	}
	recorded := []verifier.Recorded{{Evidence: evidence("")}, {Evidence: evidence("snp.tcb")}, {Evidence: tale{Told: "snp", Forged: true}.bytes()},
		{Evidence: evidence(""), Nonce: []byte("a nonce that it never answered..")}}
	draft := version(1, "{insecure_accept: [snp.tcb]}")
	got, err := w.Try(ctx, "rooms", verifier.Trial{Text: draft, Evidence: recorded})
	if err != nil || got.Active != nil || verdicts(got) != "affirming/ warning/ invalid/ contraindicated/" {
		t.Errorf("%s: %v", verdicts(got), err)
	}
	if len(must(w.Policies(ctx))) != 0 {
		t.Error("trying a draft keeps it")
	}
	w.inForce(version(1, "{}"))
	got, err = w.Try(ctx, "rooms", verifier.Trial{Text: strings.Replace(draft, "1", "2", 1), Evidence: recorded})
	if err != nil || verdicts(got) != "affirming/affirming warning/contraindicated invalid/invalid contraindicated/contraindicated" || got.Admitted != 1 || got.Refused != 0 ||
		strings.Join(got.Results[1].Mended, ",") != "snp.tcb" {
		t.Errorf("%+v: %v", got, err)
	}
	must(w.AddPolicy(ctx, "rooms", []byte(version(3, "{machines: {never: [c0ffee]}}"))))
	got, err = w.Try(ctx, "rooms", verifier.Trial{Version: 3, Evidence: recorded})
	if err != nil || got.Refused != 1 || got.Results[0].Failed[0].ID != "policy.machine" || got.Policy.Version != 3 || got.Active.Version != 1 {
		t.Errorf("%+v: %v", got, err)
	}
	old := wire.At(w.now.AddDate(-1, 0, 0))
	if got := must(w.Try(ctx, "rooms", verifier.Trial{Version: 3, Evidence: []verifier.Recorded{{Evidence: evidence(""), At: &old}}})); len(got.Results) != 1 {
		t.Errorf("%+v", got)
	}
	for what, trial := range map[string]verifier.Trial{
		"nothing to try it on": {Version: 3}, "too much": {Version: 3, Evidence: make([]verifier.Recorded, 65)},
		"nothing to try": {Evidence: recorded}, "both": {Version: 3, Text: draft, Evidence: recorded},
	} {
		_, err := w.Try(ctx, "rooms", trial)
		fails(t, what, err, verdict.Usage, "appraisal.trial")
	}
	_, err = w.Try(ctx, "rooms", verifier.Trial{Version: 9, Evidence: recorded})
	fails(t, "no such version", err, verdict.Refused, "appraisal.version")
	_, err = w.Try(ctx, "other", verifier.Trial{Text: draft, Evidence: recorded})
	fails(t, "under another id", err, verdict.Usage, "appraisal.policy")
}

func verdicts(t verifier.Tried) string {
	var all []string
	for _, r := range t.Results {
		all = append(all, r.Verdict+"/"+r.Today)
	}
	return strings.Join(all, " ")
}

func TestStats(t *testing.T) {
	w := newWorld(t, nil)
	w.inForce(rooms)
	ctx := context.Background()
	r, _ := good(w)
	must(w.Attest(ctx, r))
	r.Evidence = tale{Told: "tdx", Forged: true}.bytes()
	_, err := w.Attest(ctx, r)
	fails(t, "forged", err, verdict.Invalid, "tdx.signature")
	st := w.Stats()
	want := []verifier.Count[verifier.Verdicts]{{What: verifier.Verdicts{Platform: "snp", Verdict: "affirming"}, N: 1}, {What: verifier.Verdicts{Platform: "tdx", Verdict: "invalid"}, N: 1}}
	if fmt.Sprint(st.Verdicts) != fmt.Sprint(want) || st.Challenges != 1 || fmt.Sprint(st.Tokens) != "[{ear 1}]" || len(st.KeyExpiry) != 1 {
		t.Errorf("%+v", st)
	}
}
