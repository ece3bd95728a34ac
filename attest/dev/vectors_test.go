package dev_test

import (
	"bytes"
	"crypto/hpke"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/keys"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

var update = flag.Bool("update", false, "write the vectors anew")

const vectors = "../../spec/vectors/evidence"

// vector is one case of spec/evidence.md: evidence, what its verifier expects, and what must
// come of it.
type vector struct {
	What string `json:"what"`
	// Expect is "pass" or the id of the check that fails.
	Expect   string          `json:"expect"`
	Now      wire.Time       `json:"now"`
	Evidence attest.Evidence `json:"evidence"`
	// Token is the challenge token, whose hash is the nonce.
	Token     wire.Bytes         `json:"token"`
	Purpose   attest.Purpose     `json:"purpose"`
	Signing   keys.PublicKey     `json:"signing"`
	HPKE      keys.HPKEPublicKey `json:"hpke"`
	Agreement wire.Digest        `json:"agreement"`
	Run       wire.Digest        `json:"run"`
	// Body is the agreement's canonical body.
	Body string `json:"body"`
	// What the fields above hash to, and what the evidence says; only where it passes.
	ReportData      string            `json:"report_data,omitempty"`
	ShortReportData string            `json:"short_report_data,omitempty"`
	InitData        string            `json:"init_data,omitempty"`
	ShortInitData   string            `json:"short_init_data,omitempty"`
	Root            *wire.Hash        `json:"root,omitempty"`
	Measurements    map[string]string `json:"measurements,omitempty"`
}

func (v vector) expectation() attest.Expectation {
	return attest.Expectation{AgreementBody: []byte(v.Body), Now: v.Now.Time(),
		Binding: attest.Binding{Purpose: v.Purpose, Nonce: attest.NonceOf(v.Token), Signing: v.Signing, HPKE: v.HPKE, Agreement: v.Agreement, Run: v.Run}}
}

func fixedKey(t *testing.T, seed byte) *keys.SigningKey {
	t.Helper()
	k, err := keys.ParseSigningKey("STRONGROOM-SIGNING-KEY-1:ed25519:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func fixedHPKE(t *testing.T, seed byte) (k keys.HPKEPublicKey) {
	t.Helper()
	private, err := hpke.MLKEM768X25519().NewPrivateKey(bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.UnmarshalText([]byte("x-wing:" + base64.StdEncoding.EncodeToString(private.PublicKey().Bytes()))); err != nil {
		t.Fatal(err)
	}
	return k
}

func good(t *testing.T) vector {
	t.Helper()
	body := `{"an":"agreement"}`
	v := vector{What: "genuine evidence for a release", Expect: "pass", Now: wire.At(now), Token: []byte("token"), Purpose: attest.ForRelease, Signing: fixedKey(t, 1).Public(), HPKE: fixedHPKE(t, 2),
		Agreement: wire.SHA384(agreement.AgreementType, []byte(body)), Run: wire.DigestOf([]byte("run")), Body: body}
	return v.sign(t, attest.InitData([]byte(body)), v.expectation().Binding.ReportData())
}

func (v vector) sign(t *testing.T, init wire.Digest, report [64]byte) vector {
	t.Helper()
	e, err := dev.Sign(fixedKey(t, 3), measured(), init, report)
	if err != nil {
		t.Fatal(err)
	}
	v.Evidence = e
	return v
}

// cases makes every vector, by file name.
func cases(t *testing.T) map[string]vector {
	base := good(t)
	init, report := attest.InitData([]byte(base.Body)), base.expectation().Binding.ReportData()
	all := map[string]vector{}
	add := func(name, what, expect string, v vector) {
		v.What, v.Expect = what, expect
		all[name] = v
	}
	bound := func(change func(*attest.Binding)) vector {
		b := base.expectation().Binding
		change(&b)
		return base.sign(t, init, b.ReportData())
	}
	edited := func(resign bool, change func(map[string]any)) vector {
		v := base
		var root *keys.SigningKey
		if resign {
			root = fixedKey(t, 3)
		}
		v.Evidence.Evidence = edit(t, v.Evidence.Evidence, root, change)
		return v
	}
	add("good", base.What, "pass", base)
	serving := base
	serving.Purpose, serving.Run = attest.ForIngress, wire.Digest{}
	serving = serving.sign(t, init, serving.expectation().Binding.ReportData())
	add("good-serving", "evidence of a room that serves many runs: the run is zero", "pass", serving)

	add("purpose-ingress", "genuine evidence made for another purpose", "evidence.binding", bound(func(b *attest.Binding) { b.Purpose = attest.ForIngress }))
	add("nonce-replayed", "genuine evidence for an older challenge", "evidence.binding", bound(func(b *attest.Binding) { b.Nonce = attest.NonceOf([]byte("older")) }))
	add("signing-key-swapped", "the room signing key is not the one bound", "evidence.binding", bound(func(b *attest.Binding) { b.Signing = fixedKey(t, 9).Public() }))
	add("hpke-key-swapped", "the room HPKE key is not the one bound", "evidence.binding", bound(func(b *attest.Binding) { b.HPKE = fixedHPKE(t, 9) }))
	add("run-other", "evidence for another run", "evidence.binding", bound(func(b *attest.Binding) { b.Run = wire.DigestOf([]byte("other")) }))
	add("agreement-other-in-report", "report data for another agreement, init data for this one", "evidence.binding", bound(func(b *attest.Binding) { b.Agreement = wire.DigestOf([]byte("other")) }))
	add("report-data-zero", "report data of 64 zero bytes", "evidence.binding", base.sign(t, init, [64]byte{}))
	short := base.expectation().Binding.ShortReportData()
	padded := [64]byte{}
	copy(padded[:], short[:])
	add("report-data-short-padded", "short report data padded to 64 bytes", "evidence.binding", base.sign(t, init, padded))
	add("init-data-other", "the room was started with another agreement", "evidence.init-data", base.sign(t, attest.InitData([]byte("{}")), report))
	add("init-data-digest", "init data is the agreement's digest instead of its own hash", "evidence.init-data", base.sign(t, base.Agreement, report))
	shortInit, paddedInit := attest.ShortInitData([]byte(base.Body)), wire.Digest{}
	copy(paddedInit[:], shortInit[:])
	add("init-data-short-padded", "short init data padded to 48 bytes", "evidence.init-data", base.sign(t, paddedInit, report))

	set := func(member string, value any) func(map[string]any) {
		return func(b map[string]any) { b[member] = value }
	}
	add("init-data-zero", "init data of zeros means nothing, never 'unset'", "evidence.init-data", edited(true, set("init_data", wire.Digest{}.String())))
	add("agent-altered", "the measurement was changed after signing", "evidence.dev.signature", edited(false, set("agent", wire.DigestOf([]byte("evil")).String())))
	add("helper-removed", "a helper was taken out after signing", "evidence.dev.signature", edited(false, set("helpers", map[string]any{})))
	add("root-exchanged", "another key claims to be the root", "evidence.dev.signature", edited(false, set("root", fixedKey(t, 9).Public().String())))
	add("member-unknown", "a member this version does not have", "evidence.dev.form", edited(true, set("debug", false)))
	add("member-missing", "no list of helpers", "evidence.dev.form", edited(true, func(b map[string]any) { delete(b, "helpers") }))
	add("not-insecure", "dev evidence that does not say it is insecure", "evidence.dev.form", edited(true, set("insecure", false)))
	add("report-data-32", "report data of 32 bytes", "evidence.dev.form", edited(true, set("report_data", base64.StdEncoding.EncodeToString(short[:]))))
	add("agent-zero", "no measurement of the agent", "evidence.dev.form", edited(true, set("agent", wire.Digest{}.String())))
	add("helper-path", "a helper whose name is a path", "evidence.dev.form", edited(true, set("helpers", map[string]any{"../sql": wire.DigestOf(nil).String()})))
	trailing := base
	trailing.Evidence.Evidence = append(bytes.Clone(base.Evidence.Evidence), " {}"...)
	add("trailing-bytes", "bytes after the evidence", "evidence.dev.form", trailing)
	other := base
	other.Evidence.Platform = "sample"
	add("platform-unknown", "a platform that is not in the verifier's table", "evidence.platform", other)
	empty := base
	empty.Evidence.Evidence = nil
	add("empty", "no evidence", "evidence.size", empty)
	return all
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	files, err := filepath.Glob(vectors + "/*.json")
	if err != nil || len(files) != len(cases(t)) {
		t.Fatalf("%d vectors, expected %d: run the test with -update (%v)", len(files), len(cases(t)), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v vector
			if err := json.Unmarshal(data, &v); err != nil {
				t.Fatal(err)
			}
			c, err := attest.Verify(v.Evidence, []attest.Platform{dev.New()}, v.expectation())
			if v.Expect != "pass" {
				if e := verdict.As(err); err == nil || e.Check != v.Expect || e.Kind != verdict.Invalid || c.Proven() {
					t.Errorf("got %v, want %s", err, v.Expect)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := v
			got.describe(c)
			if got.ReportData != v.ReportData || got.ShortReportData != v.ShortReportData || got.InitData != v.InitData || got.ShortInitData != v.ShortInitData ||
				*got.Root != *v.Root || len(got.Measurements) != len(v.Measurements) || got.Measurements["agent"] != v.Measurements["agent"] {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// describe fills in what a passing case comes to.
func (v *vector) describe(c attest.Claims) {
	b := v.expectation().Binding
	long, short, init, shortInit, root := b.ReportData(), b.ShortReportData(), attest.InitData([]byte(v.Body)), attest.ShortInitData([]byte(v.Body)), c.Root()
	v.ReportData, v.ShortReportData, v.InitData, v.ShortInitData = hex.EncodeToString(long[:]), hex.EncodeToString(short[:]), hex.EncodeToString(init[:]), hex.EncodeToString(shortInit[:])
	v.Root, v.Measurements = &root, c.Measurements()
}

func writeVectors(t *testing.T) {
	if err := os.MkdirAll(vectors, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, v := range cases(t) {
		if v.Expect == "pass" {
			c, err := attest.Verify(v.Evidence, []attest.Platform{dev.New()}, v.expectation())
			if err != nil {
				t.Fatal(err)
			}
			v.describe(c)
		}
		data, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(vectors, name+".json"), append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
