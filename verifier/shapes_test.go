package verifier_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"testing"

	"strongroom.dev/ear"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
)

func url64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

const runtimeData = `{"keys":[` + theirJWK + `],"nonce":"n"}`

// maaBody makes a request as Microsoft's clients send it.
func maaBody(member string, evidence []byte, change func(map[string]any)) []byte {
	doc := map[string]any{member: url64(evidence), "nonce": "16", "runtimeData": map[string]any{"data": url64([]byte(runtimeData)), "dataType": "JSON"}}
	if change != nil {
		change(doc)
	}
	return must(json.Marshal(doc))
}

func bound(platform, data string, change func(*tale)) tale {
	hash := sha256.Sum256([]byte(data))
	t := tale{Told: platform, ReportData: append(hash[:], make([]byte, 32)...), InitData: bytes.Repeat([]byte{7}, 32), Claims: map[string]any{
		"measurement": "aa11", "host_data": "0707", "vmpl": 0, "policy_debug_allowed": false, "debug": false, "reported_tcb": map[string]any{"snp": 8, "microcode": 72}, "mrtd": "bb", "mrenclave": "cc", "tcb_status": "UpToDate"}}
	if change != nil {
		change(&t)
	}
	return t
}

// wrapped is how Microsoft's clients wrap a SEV-SNP report.
func wrapped(t tale) []byte {
	return must(json.Marshal(map[string]any{"SnpReport": t.bytes(), "VcekCertChain": "x"}))
}

func gates(c *verifier.Config) {
	c.Gates = []verifier.Gate{{Shape: ear.MAA(), Audience: vault, Policy: "rooms"}, {Shape: ear.ITA(), Audience: vault, Policy: "rooms"}}
}

func TestMAA(t *testing.T) {
	w := newWorld(t, gates)
	w.inForce(rooms)
	ctx := context.Background()
	for operation, c := range map[string]struct {
		member   string
		evidence []byte
		claims   map[string]any
	}{
		"SevSnpVm": {"report", wrapped(bound("snp", runtimeData, nil)), map[string]any{"x-ms-attestation-type": "sevsnpvm", "x-ms-sevsnpvm-hostdata": "0707", "x-ms-sevsnpvm-is-debuggable": false,
			"x-ms-sevsnpvm-vmpl": 0.0, "x-ms-sevsnpvm-launchmeasurement": "aa11", "x-ms-sevsnpvm-microcode-svn": 72.0}},
		"TdxVm":       {"quote", bound("tdx", runtimeData, nil).bytes(), map[string]any{"x-ms-attestation-type": "tdxvm", "tdx_mrtd": "bb", "attester_tcb_status": "UpToDate", "dbgstat": "disabled"}},
		"SgxEnclave":  {"quote", bound("sgx", runtimeData, nil).bytes(), map[string]any{"x-ms-attestation-type": "sgx", "x-ms-sgx-mrenclave": "cc", "x-ms-sgx-is-debuggable": false}},
		"OpenEnclave": {"report", bound("sgx", runtimeData, nil).bytes(), map[string]any{"x-ms-sgx-mrenclave": "cc"}},
	} {
		answer, err := w.MAA(ctx, operation, "2022-08-01", maaBody(c.member, c.evidence, nil))
		if err != nil {
			t.Errorf("%s: %v", operation, err)
			continue
		}
		set := must(ear.ParseKeySet(must(w.KeySet(ear.MAA()))))
		_, err = ear.Verify(answer.Token, ear.Expect{Shape: ear.MAA(), Base: base, Audience: vault, Keys: set, Now: w.now})
		fails(t, "by one who chose no nonce", err, verdict.Invalid, "token.nonce")
		if _, err = ear.Verify(answer.Token, ear.Expect{Shape: ear.MAA(), Base: base, Audience: vault, Keys: set, Now: w.now, InsecureAnyNonce: true}); err != nil {
			t.Errorf("%s: %v", operation, err)
		}
		claims := payloadOf(t, answer.Token)
		for name, want := range c.claims {
			if claims[name] != want {
				t.Errorf("%s: %s is %v, expected %v", operation, name, claims[name], want)
			}
		}
		if claims["cnf"].(map[string]any)["kid"] != must(ear.ConfirmJWK([]byte(theirJWK))).ID() || claims["nonce"] != "16" || claims["x-ms-ver"] != "1.0" ||
			claims["x-ms-runtime"].(map[string]any)["nonce"] != "n" || claims["strongroom_policy"] != "rooms" {
			t.Errorf("%s: %v", operation, claims)
		}
	}
	if _, compliant := payloadOf(t, must(w.MAA(ctx, "SevSnpVm", "2022-08-01", maaBody("report", wrapped(bound("snp", runtimeData, nil)), nil))).Token)["x-ms-compliance-status"]; compliant {
		t.Error("compliance without a statement about the firmware")
	}
}

func TestMAARefuses(t *testing.T) {
	w := newWorld(t, gates)
	w.inForce(rooms)
	ctx := context.Background()
	const usage, refused, invalid = verdict.Usage, verdict.Refused, verdict.Invalid
	held := func(text, kind string) func(map[string]any) {
		return func(d map[string]any) {
			d["runtimeData"] = map[string]any{"data": url64([]byte(text)), "dataType": kind}
		}
	}
	initTime := func(text string) func(map[string]any) {
		return func(d map[string]any) {
			d["initTimeData"] = map[string]any{"data": url64([]byte(text)), "dataType": "JSON"}
		}
	}
	for what, c := range map[string]struct {
		evidence tale
		change   func(map[string]any)
		kind     verdict.Kind
		check    string
	}{
		"forged":                  {bound("snp", runtimeData, func(t *tale) { t.Forged = true }), nil, invalid, "snp.signature"},
		"a failed check":          {bound("snp", runtimeData, func(t *tale) { t.Failed = "snp.debug" }), nil, refused, "snp.debug"},
		"other runtime data":      {bound("snp", "other", nil), nil, refused, "freshness"},
		"report data goes on":     {bound("snp", runtimeData, func(t *tale) { t.ReportData[40] = 1 }), nil, refused, "freshness"},
		"other init time data":    {bound("snp", runtimeData, nil), initTime("{}"), invalid, "evidence.init-data"},
		"no runtime data":         {bound("snp", "", nil), func(d map[string]any) { delete(d, "runtimeData") }, usage, "token.key-binding"},
		"no key in it":            {bound("snp", `{"keys":[]}`, nil), held(`{"keys":[]}`, "JSON"), usage, "token.key-binding"},
		"floating point in it":    {bound("snp", `{"a":1.5}`, nil), held(`{"a":1.5}`, "JSON"), usage, "token.key-binding"},
		"no key in binary":        {bound("snp", "abc", nil), held("abc", "Binary"), usage, "token.key-binding"},
		"another type":            {bound("snp", "abc", nil), held("abc", "CBOR"), usage, "maa.request"},
		"a draft policy":          {bound("snp", runtimeData, nil), func(d map[string]any) { d["draftPolicyForAttestation"] = "x" }, usage, "maa.request"},
		"no evidence":             {bound("snp", runtimeData, nil), func(d map[string]any) { delete(d, "report") }, usage, "maa.request"},
		"not base64url":           {bound("snp", runtimeData, nil), func(d map[string]any) { d["report"] = "+/" }, usage, "maa.request"},
		"another platform's":      {bound("tdx", runtimeData, nil), nil, invalid, "snp.signature"},
		"a nonce of another kind": {bound("snp", runtimeData, nil), func(d map[string]any) { d["nonce"] = 16 }, usage, "maa.request"},
	} {
		_, err := w.MAA(ctx, "SevSnpVm", "2022-08-01", maaBody("report", wrapped(c.evidence), c.change))
		fails(t, what, err, c.kind, c.check)
	}
	good := maaBody("report", wrapped(bound("snp", runtimeData, nil)), nil)
	_, err := w.MAA(ctx, "SevSnpVm", "", good)
	fails(t, "no version", err, usage, "maa.api-version")
	_, err = w.MAA(ctx, "Tpm", "2022-08-01", good)
	fails(t, "another operation", err, usage, "maa.operation")
	_, err = w.MAA(ctx, "SevSnpVm", "2022-08-01", []byte(`{"report":"a","report":"b"}`))
	fails(t, "a member twice", err, usage, "maa.request")
	_, err = w.MAA(ctx, "SgxEnclave", "2022-08-01", []byte(`{"quote":"YQ","Quote":"Yg"}`))
	fails(t, "two spellings", err, usage, "maa.request")
	_, err = newWorld(t, nil).MAA(ctx, "SevSnpVm", "2022-08-01", good)
	fails(t, "a service that gates nothing", err, refused, "attestation.audience")

	// Without init data, the policy has to say what runs.
	none := maaBody("report", wrapped(bound("snp", runtimeData, func(t *tale) { t.InitData = make([]byte, 32) })), nil)
	if _, err := w.MAA(ctx, "SevSnpVm", "2022-08-01", none); err != nil {
		t.Errorf("a measurement that the policy names: %v", err)
	}
	loose := newWorld(t, gates)
	loose.inForce("id: rooms\nversion: 1\nplatforms:\n  snp: {}\n")
	_, err = loose.MAA(ctx, "SevSnpVm", "2022-08-01", none)
	fails(t, "neither init data nor measurement", err, refused, "attestation.init-data")

	// Init time data whose hash is the init data passes, and is in the token.
	hash := sha256.Sum256([]byte(`{"a":1}`))
	e := bound("snp", runtimeData, func(t *tale) { t.InitData = hash[:] })
	claims := payloadOf(t, must(w.MAA(ctx, "SevSnpVm", "2022-08-01", maaBody("report", wrapped(e), initTime(`{"a":1}`)))).Token)
	if claims["x-ms-inittime"].(map[string]any)["a"] != 1.0 {
		t.Errorf("%v", claims)
	}
}

func payloadOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := bytes.Split([]byte(token), []byte("."))
	var c map[string]any
	if len(parts) != 3 {
		t.Fatalf("no token: %q", token)
	}
	if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(string(parts[1]))), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// FuzzRequests: whatever is sent, it is an explained error; nobody can make a token of it.
func FuzzRequests(f *testing.F) {
	w := newWorld(f, gates)
	w.inForce(rooms)
	f.Add(maaBody("report", wrapped(bound("snp", "x", nil)), nil))
	f.Add(maaBody("quote", bound("sgx", "x", nil).bytes(), nil))
	f.Add(must(json.Marshal(map[string]any{"quote": []byte("x"), "verifier_nonce": must(w.ITANonce()), "runtime_data": []byte(runtimeData)})))
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx := context.Background()
		for _, operation := range verifier.MAAKinds() {
			if _, err := w.MAA(ctx, operation, "2022-08-01", data); err != nil && verdict.As(err).Check == "internal" {
				t.Errorf("%s: %v", operation, err)
			}
		}
		for _, onAzure := range []bool{false, true} {
			if a, err := w.ITA(ctx, onAzure, data); err == nil || verdict.As(err).Check == "internal" {
				t.Errorf("%v %v", a, err)
			}
		}
	})
}
