package verifier_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"strongroom.dev/ear"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
)

func itaAsked(n verifier.ITANonce, held string) []byte {
	return append(append(bytes.Clone(n.Value), n.Issued...), held...)
}

// itaCase is a request as it is made up: tests change it before it is sent.
type itaCase struct {
	nonce          verifier.ITANonce
	request, inner map[string]any
	evidence       tale
	member         string // of the evidence
}

// itaAsk sends evidence of a platform, in a member or at the top, with change made before.
func itaAsk(w *world, platform, in string, change func(c *itaCase)) (verifier.ITAAnswer, error) {
	n := must(w.ITANonce())
	c := &itaCase{nonce: n, inner: map[string]any{"verifier_nonce": n, "runtime_data": []byte(runtimeData)}, member: "quote"}
	long, short := sha512.Sum512(itaAsked(n, runtimeData)), sha256.Sum256(itaAsked(n, runtimeData))
	c.evidence = bound(platform, "", func(t *tale) { t.ReportData = long[:] })
	switch platform {
	case "sgx":
		c.evidence.ReportData = append(short[:], make([]byte, 32)...)
	case "snp":
		c.member = "report"
	}
	if c.request = c.inner; in != "" {
		c.request = map[string]any{in: c.inner}
	}
	if change != nil {
		change(c)
	}
	if c.inner[c.member] == nil && c.member != "" {
		c.inner[c.member] = c.evidence.bytes()
	}
	return w.ITA(context.Background(), false, must(json.Marshal(c.request)))
}

func TestITARefuses(t *testing.T) {
	w := newWorld(t, gates)
	w.inForce(rooms)
	const usage, refused, invalid = verdict.Usage, verdict.Refused, verdict.Invalid
	for what, c := range map[string]struct {
		platform, in string
		change       func(c *itaCase)
		kind         verdict.Kind
		check        string
	}{
		"another nonce": {"tdx", "", func(c *itaCase) { c.inner["verifier_nonce"] = must(w.ITANonce()) }, refused, "freshness"},
		"no nonce":      {"tdx", "", func(c *itaCase) { delete(c.inner, "verifier_nonce") }, usage, "ita.request"},
		"a nonce that was altered": {"tdx", "", func(c *itaCase) {
			n := must(w.ITANonce())
			n.Value[0] ^= 1
			c.inner["verifier_nonce"] = n
		}, invalid, "challenge.known"},
		"an iat of its own": {"tdx", "", func(c *itaCase) {
			n := must(w.ITANonce())
			n.Issued = []byte("1")
			c.inner["verifier_nonce"] = n
		}, invalid, "challenge.known"},
		"a challenge as nonce": {"tdx", "", func(c *itaCase) {
			ch := must(w.Challenge(verifier.ChallengeRequest{Audience: vault})).Challenge
			c.inner["verifier_nonce"] = verifier.ITANonce{Value: ch[32:], Issued: []byte("1"), Signature: ch[:32]}
		}, invalid, "challenge.known"},
		"two kinds of data":       {"tdx", "", func(c *itaCase) { c.inner["user_data"] = []byte("x") }, usage, "ita.request"},
		"no key":                  {"tdx", "", func(c *itaCase) { delete(c.inner, "runtime_data") }, usage, "token.key-binding"},
		"a key in broken DER":     {"tdx", "", func(c *itaCase) { c.inner["runtime_data"] = []byte{0x30, 1, 2} }, usage, "token.key-binding"},
		"an event log":            {"tdx", "", func(c *itaCase) { c.inner["event_log"] = []byte("x") }, usage, "ita.request"},
		"another algorithm":       {"tdx", "", func(c *itaCase) { c.request["token_signing_alg"] = "RS256" }, usage, "ita.request"},
		"another policy":          {"tdx", "", func(c *itaCase) { c.request["policy_ids"] = []string{"00000000-0000-0000-0000-000000000000"} }, usage, "ita.request"},
		"another attester":        {"tdx", "", func(c *itaCase) { c.request["nvgpu"] = map[string]any{} }, usage, "ita.request"},
		"two attesters":           {"tdx", "tdx", func(c *itaCase) { c.request["sevsnp"] = map[string]any{} }, usage, "ita.request"},
		"one inside, one beside":  {"tdx", "tdx", func(c *itaCase) { c.request["report"] = []byte("x") }, usage, "ita.request"},
		"no evidence":             {"tdx", "", func(c *itaCase) { c.member = "" }, usage, "ita.request"},
		"quote and report":        {"tdx", "", func(c *itaCase) { c.inner["report"] = []byte("x") }, usage, "ita.request"},
		"a report of TDX":         {"tdx", "tdx", func(c *itaCase) { c.member = "report" }, usage, "ita.request"},
		"a quote of SEV-SNP":      {"snp", "sevsnp", func(c *itaCase) { c.member = "quote" }, usage, "ita.request"},
		"a quote in broken text":  {"tdx", "", func(c *itaCase) { c.inner["quote"] = "AA=A" }, usage, "ita.request"},
		"forged":                  {"tdx", "", func(c *itaCase) { c.evidence.Forged = true }, invalid, "tdx.signature"},
		"forged, of SGX":          {"sgx", "", func(c *itaCase) { c.evidence.Forged = true }, invalid, "sgx.signature"},
		"forged, of SEV-SNP":      {"snp", "sevsnp", func(c *itaCase) { c.evidence.Forged = true }, invalid, "snp.signature"},
		"an enclave as a domain":  {"sgx", "tdx", nil, invalid, "tdx.signature"},
		"a domain as SEV-SNP":     {"tdx", "sevsnp", func(c *itaCase) { c.member = "report" }, invalid, "snp.signature"},
		"another nonce, of SGX":   {"sgx", "", func(c *itaCase) { c.inner["verifier_nonce"] = must(w.ITANonce()) }, refused, "freshness"},
		"report data goes on":     {"sgx", "", func(c *itaCase) { c.evidence.ReportData[40] = 1 }, refused, "freshness"},
		"SGX with the long hash":  {"sgx", "", func(c *itaCase) { h := sha512.Sum512(itaAsked(c.nonce, runtimeData)); c.evidence.ReportData = h[:] }, refused, "freshness"},
		"TDX with the short hash": {"tdx", "", func(c *itaCase) { h := sha256.Sum256(itaAsked(c.nonce, runtimeData)); c.evidence.ReportData = h[:] }, refused, "freshness"},
		"other data, of SEV-SNP":  {"snp", "sevsnp", func(c *itaCase) { c.inner["runtime_data"] = []byte(strings.Replace(runtimeData, `"n"}`, `"m"}`, 1)) }, refused, "freshness"},
		"a failed check, of SGX":  {"sgx", "", func(c *itaCase) { c.evidence.Failed = "sgx.debug" }, refused, "sgx.debug"},
	} {
		_, err := itaAsk(w, c.platform, c.in, c.change)
		fails(t, what, err, c.kind, c.check)
	}
	_, err := newWorld(t, nil).ITANonce()
	fails(t, "a service that gates nothing", err, refused, "attestation.audience")
	_, err = w.RevocationList(ear.MAA(), "00")
	fails(t, "a list of a shape without", err, refused, "attestation.crl")
}

func TestITA(t *testing.T) {
	w := newWorld(t, gates)
	w.inForce(rooms)
	for _, c := range []struct {
		platform, in string
		claims       map[string]any
	}{
		{"tdx", "", map[string]any{"attester_type": "TDX", "tdx_mrtd": "bb", "attester_tcb_status": "UpToDate"}},
		{"tdx", "tdx", map[string]any{"attester_type": "TDX", "tdx_mrtd": "bb"}},
		{"sgx", "", map[string]any{"attester_type": "SGX", "sgx_mrenclave": "cc", "sgx_is_debuggable": false, "attester_tcb_status": "UpToDate"}},
		{"snp", "sevsnp", map[string]any{"attester_type": "AMD SEV-SNP", "sevsnp_launchmeasurement": "aa11", "sevsnp_microcode_svn": 72.0, "sevsnp_is_debuggable": false, "sevsnp_vmpl": 0.0}},
		{"snp", "", map[string]any{"attester_type": "AMD SEV-SNP", "sevsnp_hostdata": "0707"}},
	} {
		answer, err := itaAsk(w, c.platform, c.in, func(i *itaCase) {
			i.request["policy_ids"], i.request["token_signing_alg"], i.request["policy_must_match"] = []string{verifier.PolicyUUID("rooms")}, "PS384", true
		})
		if err != nil {
			t.Errorf("%s in %q: %v", c.platform, c.in, err)
			continue
		}
		if _, err := w.verify(answer.Token, ear.ITA(), vault); err != nil {
			t.Error(err)
		}
		all := payloadOf(t, answer.Token)
		inner := all
		if c.in != "" {
			inner = all[c.in].(map[string]any)
		}
		for name, want := range c.claims {
			if inner[name] != want {
				t.Errorf("%s in %q: %s is %v, expected %v", c.platform, c.in, name, inner[name], want)
			}
		}
		if inner["attester_held_data"] != base64.StdEncoding.EncodeToString([]byte(runtimeData)) || all["ver"] != "2.0.0" || all["strongroom_platform"] != c.platform {
			t.Errorf("%v", all)
		}
	}
	// What Intel's command line binds: a key as it is in certificates, and base64 of either alphabet.
	public, _, _ := ed25519.GenerateKey(nil)
	der := must(x509.MarshalPKIXPublicKey(public))
	answer, err := itaAsk(w, "tdx", "", func(c *itaCase) {
		hash := sha512.Sum512(itaAsked(c.nonce, string(der)))
		c.evidence.ReportData = hash[:]
		delete(c.inner, "runtime_data")
		c.inner["user_data"], c.inner["quote"] = base64.URLEncoding.EncodeToString(der), base64.RawURLEncoding.EncodeToString(c.evidence.bytes())
	})
	if err != nil {
		t.Fatal(err)
	}
	if jwk := payloadOf(t, answer.Token)["cnf"].(map[string]any)["jwk"].(map[string]any); jwk["x"] != url64(public) {
		t.Errorf("%v", jwk)
	}
}

// TestITAOnAzure: there the hardware report is about the paravisor's runtime data, and that about
// nonce and data.
func TestITAOnAzure(t *testing.T) {
	w := newWorld(t, gates)
	w.inForce(rooms)
	g := newGuest(t)
	runtime := func(userData string) string {
		return `{"keys":[{"kid":"HCLAkPub","kty":"RSA","key_ops":["sign"],"e":"AQAB","n":"` + url64(g.ak.N.Bytes()) + `"}],"vm-configuration":{"secure-boot":true},"user-data":"` + userData + `"}`
	}
	ask := func(platform, in string, change func(inner map[string]any, e *tale)) (verifier.ITAAnswer, error) {
		n := must(w.ITANonce())
		hash := sha512.Sum512(itaAsked(n, runtimeData))
		held := runtime(strings.ToUpper(hex.EncodeToString(hash[:])))
		e := bound(platform, held, nil)
		inner := map[string]any{"verifier_nonce": n, "runtime_data": []byte(held), "user_data": []byte(runtimeData)}
		if change != nil {
			change(inner, &e)
		}
		inner[map[string]string{"tdx": "quote", "sgx": "quote", "snp": "report"}[platform]] = e.bytes()
		request := inner
		if in != "" {
			request = map[string]any{in: inner}
		}
		return w.ITA(context.Background(), true, must(json.Marshal(request)))
	}
	const usage, refused = verdict.Usage, verdict.Refused
	other := runtime(strings.Repeat("00", 64))
	for what, c := range map[string]struct {
		platform string
		change   func(inner map[string]any, e *tale)
		kind     verdict.Kind
		check    string
	}{
		"no runtime data":     {"tdx", func(i map[string]any, _ *tale) { delete(i, "runtime_data") }, usage, "ita.request"},
		"no key":              {"tdx", func(i map[string]any, _ *tale) { delete(i, "user_data") }, usage, "token.key-binding"},
		"no runtime data but": {"tdx", func(i map[string]any, _ *tale) { i["runtime_data"] = []byte(runtimeData) }, usage, "ita.request"},
		"other user data": {"tdx", func(i map[string]any, _ *tale) {
			i["user_data"] = []byte(strings.Replace(runtimeData, `"n"}`, `"m"}`, 1))
		}, refused, "freshness"},
		"another nonce":                  {"snp", func(i map[string]any, _ *tale) { i["verifier_nonce"] = must(w.ITANonce()) }, refused, "freshness"},
		"an older report":                {"tdx", func(i map[string]any, e *tale) { i["runtime_data"], *e = []byte(other), bound("tdx", other, nil) }, refused, "freshness"},
		"runtime data of another report": {"tdx", func(_ map[string]any, e *tale) { *e = bound("tdx", other, nil) }, refused, "freshness"},
		"an enclave":                     {"sgx", nil, usage, "ita.request"},
	} {
		_, err := ask(c.platform, "", c.change)
		fails(t, what, err, c.kind, c.check)
	}
	for platform, in := range map[string]string{"tdx": "", "snp": "sevsnp"} {
		answer, err := ask(platform, in, nil)
		if err != nil {
			t.Errorf("%s: %v", platform, err)
			continue
		}
		c := payloadOf(t, answer.Token)
		if in != "" {
			c = c[in].(map[string]any)
		}
		if c["attester_runtime_data"].(map[string]any)["vm-configuration"] == nil || c["attester_held_data"] != base64.StdEncoding.EncodeToString([]byte(runtimeData)) {
			t.Errorf("%s: %v", platform, c)
		}
	}
}
