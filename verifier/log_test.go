package verifier_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"testing"

	"strongroom.dev/ear"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// TestDecisionLog: one line for each judged request, of ids alone.
func TestDecisionLog(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(c *verifier.Config) {
		gates(c)
		c.Logger = slog.New(slog.NewJSONHandler(&log, nil))
	})
	w.inForce(rooms)
	type line struct {
		Msg, Audience, Platform, Verdict, Policy, Check, Token string
		Version                                                int64
	}
	for _, c := range []struct {
		what   string
		change func(r *verifier.Request, a attester)
		want   line
	}{
		{"good", func(*verifier.Request, attester) {}, line{Audience: vault, Platform: "snp", Verdict: "affirming", Policy: "rooms", Token: "ear", Version: 1}},
		{"without a token", func(r *verifier.Request, _ attester) { r.Audience, r.Challenge, r.Nonce = "", nil, make([]byte, 32) }, line{Platform: "snp", Verdict: "contraindicated", Policy: "rooms", Check: "freshness", Version: 1}},
		{"forged", func(r *verifier.Request, a attester) {
			f := a.evidence("snp", r.Challenge, false)
			f.Forged = true
			r.Evidence = f.bytes()
		}, line{Audience: vault, Platform: "snp", Verdict: "invalid", Policy: "rooms", Check: "snp.signature", Version: 1}},
		{"of no kind", func(r *verifier.Request, _ attester) { r.Evidence = []byte("hello") }, line{Audience: vault, Verdict: "invalid", Policy: "rooms", Check: "evidence.form", Version: 1}},
		{"not judged", func(r *verifier.Request, _ attester) { r.Endorsements = []wire.Bytes{[]byte("x")} }, line{}},
		{"not even asked", func(r *verifier.Request, _ attester) { r.Challenge[3] ^= 1 }, line{}},
	} {
		r, a := good(w)
		c.change(&r, a)
		log.Reset()
		w.Attest(context.Background(), r)
		var got line
		if log.Len() > 0 {
			if err := json.Unmarshal(log.Bytes(), &got); err != nil {
				t.Fatalf("%s: %v: %s", c.what, err, log.String())
			}
		}
		if c.want.Verdict != "" {
			c.want.Msg = "evidence judged"
		}
		if got != c.want {
			t.Errorf("%s: %+v, expected %+v", c.what, got, c.want)
		}
		for _, secret := range [][]byte{r.Evidence, r.Challenge, r.Nonce} {
			if len(secret) > 8 && (bytes.Contains(log.Bytes(), []byte(base64.StdEncoding.EncodeToString(secret))) || bytes.Contains(log.Bytes(), []byte(hex.EncodeToString(secret)))) {
				t.Errorf("%s: the log holds what was sent: %s", c.what, log.String())
			}
		}
	}
	if ids, err := w.Lacking(context.Background()); err != nil || len(ids) != 0 {
		t.Errorf("%v lack: %v", ids, err)
	}
	bare := newWorld(t, func(c *verifier.Config) {
		c.Policy, c.Gates = "rooms", []verifier.Gate{{Shape: ear.Federation(), Audience: vault, Policy: "others"}, {Shape: ear.Federation(), Audience: "b", Policy: "others"}}
	})
	if ids, err := bare.Lacking(context.Background()); err != nil || len(ids) != 2 || ids[0] != "rooms" || ids[1] != "others" {
		t.Errorf("%v lack: %v", ids, err)
	}
}
