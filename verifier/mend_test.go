package verifier_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"strongroom.dev/attest"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// TestMendsAreForCallers: who asks over HTTP is told what to send, never about flags of a program,
// and sees both values whole.
func TestMendsAreForCallers(t *testing.T) {
	w := newWorld(t, func(c *verifier.Config) { gates(c) })
	w.inForce(rooms)
	other := bytes.Repeat([]byte{0xab}, 64)
	for what, c := range map[string]struct {
		change func(r *verifier.Request, a attester)
		want   string
	}{
		"another challenge": {func(r *verifier.Request, a attester) { r.Evidence = a.evidence("snp", []byte("other"), false).bytes() }, "spec/ear.md, section 4"},
		"another nonce":     {func(r *verifier.Request, _ attester) { r.Challenge, r.Nonce = nil, other }, "member nonce"},
		"another report data": {func(r *verifier.Request, _ attester) {
			r.Challenge, r.Key, r.Audience, r.ReportData = nil, nil, "", other
		}, "report_data"},
		"no evidence":      {func(r *verifier.Request, _ attester) { r.Evidence = nil }, "base64"},
		"unknown evidence": {func(r *verifier.Request, _ attester) { r.Evidence = []byte("hello") }, "base64"},
		"unknown platform": {func(r *verifier.Request, _ attester) {
			r.Evidence = must(wire.Marshal(attest.Evidence{Platform: "other", Evidence: []byte("x")}))
		}, "base64"},
		"a flag in a platform's mend": {func(r *verifier.Request, a attester) {
			f := a.evidence("snp", r.Challenge, false)
			f.Failed, f.Fix = "snp.collateral", "give it with --endorsements"
			r.Evidence = f.bytes()
		}, "among the service's endorsements"},
	} {
		r, a := good(w)
		c.change(&r, a)
		answer, err := w.Attest(context.Background(), r)
		if err == nil {
			err = answer.Result.Err()
		}
		e := verdict.As(err)
		if !strings.Contains(e.Fix, c.want) || strings.Contains(e.Fix, "--") {
			t.Errorf("%s: %q, expected it to speak of %q, and of no flags", what, e.Fix, c.want)
		}
		for _, x := range e.Checks {
			if strings.Contains(x.Fix, "--") {
				t.Errorf("%s: %s: %q", what, x.ID, x.Fix)
			}
		}
		var told tale
		if e.Check == "freshness" && (json.Unmarshal(r.Evidence, &told) != nil || !strings.Contains(e.Got, hex.EncodeToString(told.ReportData)) || len(e.Expected) < 128) {
			t.Errorf("%s: %q, got %q, expected both whole", what, e.Expected, e.Got)
		}
	}
	r, _ := good(w)
	tried := must(w.Try(context.Background(), "rooms", verifier.Trial{Version: 1, Evidence: []verifier.Recorded{{Evidence: r.Evidence, Nonce: other}}}))
	if failed := tried.Results[0].Failed; len(failed) != 1 || !strings.Contains(failed[0].Fix, "leave both away") {
		t.Errorf("a trial: %+v", failed)
	}
}
