package dev_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var now = time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)

func key(t *testing.T, a keys.Algorithm) *keys.SigningKey {
	t.Helper()
	k, err := keys.GenerateSigningKey(a)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func measured() dev.Measurement {
	return dev.Measurement{Agent: wire.DigestOf([]byte("agent")), Helpers: map[string]wire.Digest{"strongroom-sql": wire.DigestOf([]byte("sql"))}}
}

func TestSignAndVerify(t *testing.T) {
	for _, a := range []keys.Algorithm{keys.Ed25519, keys.ECDSAP256, keys.Ed25519MLDSA} {
		root := key(t, a)
		report := [64]byte{1, 2, 3}
		init := attest.InitData([]byte("{}"))
		e, err := dev.Sign(root, measured(), init, report)
		if err != nil {
			t.Fatal(err)
		}
		f, err := dev.New().Verify(e.Evidence, now)
		if err != nil {
			t.Fatal(err)
		}
		if f.Platform != "dev" || f.Class != agreement.Software || f.Root != root.Public().ID() || f.Machine != "" || f.Debug ||
			!bytes.Equal(f.ReportData, report[:]) || !bytes.Equal(f.InitData, init[:]) {
			t.Errorf("%s: facts %+v", a, f)
		}
		if len(f.Measurements) != 2 || len(f.Measurements["agent"]) != 96 || f.Measurements["helper/strongroom-sql"] != measured().Named()["helper/strongroom-sql"] {
			t.Errorf("%s: measurements %v", a, f.Measurements)
		}
		if len(f.Excludes) != 0 || len(f.Trusts) != 1 || !strings.Contains(f.Checks[0].Got, "INSECURE: software platform") {
			t.Errorf("%s: not labelled insecure: %+v", a, f)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	root, init := key(t, keys.Ed25519), attest.InitData([]byte("{}"))
	many := map[string]wire.Digest{}
	for i := range dev.MaxHelpers + 1 {
		many["h"+string(rune('a'+i))] = wire.DigestOf(nil)
	}
	for name, m := range map[string]dev.Measurement{
		"no agent":     {},
		"zero helper":  {Agent: init, Helpers: map[string]wire.Digest{"sql": {}}},
		"helper name":  {Agent: init, Helpers: map[string]wire.Digest{"../sql": init}},
		"many helpers": {Agent: init, Helpers: many},
	} {
		if _, err := dev.Sign(root, m, init, [64]byte{1}); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if _, err := dev.Sign(root, measured(), wire.Digest{}, [64]byte{1}); err == nil {
		t.Error("signed without init data")
	}
	if _, err := dev.Sign(root, dev.Measurement{Agent: init}, init, [64]byte{1}); err != nil {
		t.Errorf("an agent without helpers: %v", err)
	}
}

// edit changes members of the evidence's body and signs it again with root, or keeps the old
// signature if root is nil.
func edit(t *testing.T, evidence []byte, root *keys.SigningKey, change func(body map[string]any)) []byte {
	t.Helper()
	doc, err := keys.ParseDocument(evidence, dev.Type, nil)
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(doc.Body, &body); err != nil {
		t.Fatal(err)
	}
	change(body)
	if doc.Body, err = wire.Marshal(body); err != nil {
		t.Fatal(err)
	}
	if root != nil {
		doc.Signatures = nil
		if err := doc.Sign(root); err != nil {
			t.Fatal(err)
		}
	}
	out, err := doc.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestVerifyRefuses(t *testing.T) {
	root, other := key(t, keys.Ed25519), key(t, keys.Ed25519)
	e, err := dev.Sign(root, measured(), attest.InitData([]byte("{}")), [64]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	const form, signature = "evidence.dev.form", "evidence.dev.signature"
	set := func(member string, value any) func(map[string]any) {
		return func(b map[string]any) { b[member] = value }
	}
	twice, _ := keys.ParseDocument(e.Evidence, dev.Type, nil)
	if err := twice.Sign(other); err != nil {
		t.Fatal(err)
	}
	both, _ := twice.Encode()
	twice.Signatures = []keys.Signature{}
	none, _ := twice.Encode()
	another, _ := keys.NewDocument("strongroom/other/v1", struct{}{})
	otherType, _ := another.Encode()

	for name, test := range map[string]struct {
		evidence []byte
		check    string
	}{
		"empty":                    {nil, form},
		"not JSON":                 {[]byte("evidence"), form},
		"too long":                 {append(bytes.Clone(e.Evidence), bytes.Repeat([]byte("\n"), dev.MaxEvidence)...), form},
		"trailing bytes":           {append(bytes.Clone(e.Evidence), '{', '}'), form},
		"other type":               {otherType, form},
		"two signatures":           {both, form},
		"no signature":             {none, form},
		"unknown member":           {edit(t, e.Evidence, root, set("debug", true)), form},
		"not marked insecure":      {edit(t, e.Evidence, root, set("insecure", false)), form},
		"member missing":           {edit(t, e.Evidence, root, func(b map[string]any) { delete(b, "helpers") }), form},
		"report of 32 bytes":       {edit(t, e.Evidence, root, set("report_data", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")), form},
		"helper outside its place": {edit(t, e.Evidence, root, set("helpers", map[string]any{"a/b": wire.DigestOf(nil).String()})), form},
		"zero agent":               {edit(t, e.Evidence, root, set("agent", wire.Digest{}.String())), form},
		"agent altered":            {edit(t, e.Evidence, nil, set("agent", wire.DigestOf([]byte("evil")).String())), signature},
		"init data altered":        {edit(t, e.Evidence, nil, set("init_data", wire.DigestOf(nil).String())), signature},
		"helpers altered":          {edit(t, e.Evidence, nil, set("helpers", map[string]any{})), signature},
		"root exchanged":           {edit(t, e.Evidence, nil, set("root", other.Public().String())), signature},
		"signed by another":        {edit(t, e.Evidence, other, func(map[string]any) {}), signature},
	} {
		_, err := dev.New().Verify(test.evidence, now)
		if got := verdict.As(err); err == nil || got.Check != test.check || got.Kind != verdict.Invalid {
			t.Errorf("%s: got %v, want %s", name, err, test.check)
		}
	}
}

func FuzzVerify(f *testing.F) {
	root, err := keys.ParseSigningKey("STRONGROOM-SIGNING-KEY-1:ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	if err != nil {
		f.Fatal(err)
	}
	e, err := dev.Sign(root, measured(), attest.InitData([]byte("{}")), [64]byte{1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(e.Evidence))
	f.Add([]byte(`{"body":{},"signatures":[],"type":"strongroom/dev-evidence/v1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := dev.New().Verify(data, now)
		if err != nil {
			return
		}
		if facts.Root.IsZero() || facts.Class != agreement.Software || len(facts.ReportData) != 64 || len(facts.InitData) != 48 || facts.Measurements["agent"] == "" {
			t.Errorf("facts without substance: %+v", facts)
		}
	})
}
