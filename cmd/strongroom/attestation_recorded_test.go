package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"strongroom.dev/attest/azure"
	"strongroom.dev/dcap"
	"strongroom.dev/ear"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/server"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
)

// Recorded evidence of machines on Azure, and what verifies it.
const (
	azureDir     = "azure/confidential-containers+trustee/deps/verifier/test_data/"
	amdLists     = "snp/openpcc+openpcc/attestation/attest/testdata/sev_certificates.txt"
	teepotDir    = "tdx/matter-labs+teepot/crates/intel-dcap-api/tests/test_data/"
	phalaDir     = "tdx/Phala-Network+dcap-qvl/sample/"
	vaultForAll  = "https://vault.example.org"
	acceptOldTDX = "    insecure_accept: [tdx.tcb, tdx.tcb.platform, tdx.tcb.module]\n"
)

func intelOf2025() []string {
	return []string{teepotDir + "tdx_tcb_info_00806F050000.json", teepotDir + "tdx_qe_identity.json", teepotDir + "tdx_tcb_eval_nums.json", teepotDir + "pck_crl_platform.json", phalaDir + "tdx_quote_collateral.json"}
}

// azureMachine is recorded evidence of a machine, taken apart as clients do.
type azureMachine struct {
	hcl     *azure.Report
	tdQuote []byte
	vcek    []byte // PEM
	quote   tpm2.Quote
	nonce   []byte
}

func recordedMachine(t *testing.T, file string) azureMachine {
	t.Helper()
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(evidencetest.Read(t, file), &doc); err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		var b tpm2.AnyBytes
		if err := json.Unmarshal(doc[name], &b); err != nil {
			t.Fatal(name, err)
		}
		return b
	}
	var m azureMachine
	var err error
	if m.hcl, err = azure.ParseReport(read("hcl_report")); err != nil {
		t.Fatal(err)
	}
	if m.quote, err = tpm2.ParseJSON(doc["tpm_quote"]); err != nil {
		t.Fatal(err)
	}
	a, err := tpm2.ParseAttest(m.quote.Message)
	if err != nil {
		t.Fatal(err)
	}
	if m.nonce = a.Extra; m.hcl.SNP == nil {
		m.tdQuote = read("td_quote")
		return m
	}
	m.vcek = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: read("vcek")})
	return m
}

func (m azureMachine) proof(t *testing.T) []byte {
	t.Helper()
	if m.tdQuote != nil {
		return m.tdQuote
	}
	data, err := json.Marshal(map[string]any{"SnpReport": base64.RawURLEncoding.EncodeToString(m.hcl.SNP), "VcekCertChain": m.vcek})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// httpService is a service at the time of recorded evidence, over HTTP.
func httpService(t *testing.T, at, policy string, endorsements ...string) func(path string, body any) (int, []byte) {
	t.Helper()
	gates := []verifier.Gate{{Shape: ear.MAA(), Audience: vaultForAll, Policy: "recorded"}, {Shape: ear.ITA(), Audience: vaultForAll, Policy: "recorded"}}
	s := recordedService(t, at, policy, gates, endorsements...)
	h := httptest.NewServer(server.NewAttestation(s, server.AttestationLimits{}, nil).Handler())
	t.Cleanup(h.Close)
	return func(path string, body any) (int, []byte) {
		t.Helper()
		var resp *http.Response
		var err error
		if body == nil {
			resp, err = http.Get(h.URL + path)
		} else {
			data, _ := json.Marshal(body)
			resp, err = http.Post(h.URL+path, "application/json", bytes.NewReader(data))
		}
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, data
	}
}

// refusedAs demands an error of a status about a check.
func refusedAs(t *testing.T, what string, status int, body []byte, want int, check string) {
	t.Helper()
	if e := verdict.Decode(body); status != want || e.Check != check || e.Fix == "" {
		t.Errorf("%s: status %d, %.300s; expected %d about %s", what, status, body, want, check)
	}
}

// TestAttestationOfRecordedGuest sends the parts of genuine machines as their clients do, over
// HTTP. They verify, up to the one part that was not recorded: the key that the token is
// encrypted to.
func TestAttestationOfRecordedGuest(t *testing.T) {
	for what, c := range map[string]struct {
		file, kind, at string
		with           []string
	}{
		"SEV-SNP": {azureDir + "az-snp-vtpm/evidence-v2.json", "SevSnp", "2025-06-01T00:00:00Z", []string{amdLists}},
		"TDX":     {azureDir + "az-tdx-vtpm/evidence-v0.json", "Tdx", "2025-06-20T00:00:00Z", intelOf2025()},
	} {
		m := recordedMachine(t, c.file)
		call := httpService(t, c.at, "platforms:\n  azure: {}\n", c.with...)
		ask := func(status int, check string, change func(info, tpm, held map[string]any)) {
			t.Helper()
			pcrs := []map[string]any{}
			for i, value := range m.quote.Banks[0].Values {
				pcrs = append(pcrs, map[string]any{"Index": i, "Digest": value})
			}
			tpm := map[string]any{"PCRs": pcrs, "PcrQuote": m.quote.Message, "PcrSignature": m.quote.Signature, "EncKeyPub": []byte{0}}
			held := map[string]any{"Proof": m.proof(t), "RunTimeData": m.hcl.Runtime}
			info := map[string]any{"AttestationProtocolVersion": "2.0", "ClientPayload": map[string]any{"nonce": m.nonce}, "TpmInfo": tpm,
				"IsolationInfo": map[string]any{"Type": c.kind, "Evidence": held}}
			if change != nil {
				change(info, tpm, held)
			}
			data, err := json.Marshal(info)
			if err != nil {
				t.Fatal(err)
			}
			got, body := call("/attest/AzureGuest?api-version=2020-10-01", map[string]any{"AttestationInfo": base64.RawURLEncoding.EncodeToString(data)})
			refusedAs(t, what, got, body, status, check)
		}
		ask(422, "azure.quote", func(_, tpm, _ map[string]any) { tpm["PcrSignature"] = make([]byte, 256) })
		ask(422, "azure.binding", func(_, _, held map[string]any) {
			held["RunTimeData"] = append(bytes.Clone(m.hcl.Runtime[:len(m.hcl.Runtime)-1]), ' ', '}')
		})
		ask(422, "azure.event_log", func(info, _, _ map[string]any) { info["TcgLogs"] = []byte("no log") })
		ask(400, "maa.request", func(info, _, _ map[string]any) { info["ClientPayload"] = "" })
		ask(422, map[string]string{"SevSnp": "snp.signature", "Tdx": "tdx.signature"}[c.kind], func(_, _, held map[string]any) {
			proof := held["Proof"].([]byte)
			if c.kind == "Tdx" {
				proof = bytes.Clone(proof)
				proof[48+140] ^= 1 // MRTD
				held["Proof"] = proof
				return
			}
			other := m
			other.hcl = &azure.Report{SNP: bytes.Clone(m.hcl.SNP)}
			other.hcl.SNP[0x90] ^= 1 // measurement
			held["Proof"] = other.proof(t)
		})
		ask(422, "azure.encryption_key", nil)
	}
}

// TestAttestationOfRecordedMachines has the service answer for genuine machines as Microsoft's
// service does, over HTTP: the runtime data holds a key, and the hardware's report is about it.
func TestAttestationOfRecordedMachines(t *testing.T) {
	for what, c := range map[string]struct {
		file, operation, member, at, policy string
		with                                []string
	}{
		"SEV-SNP": {azureDir + "az-snp-vtpm/evidence-v2.json", "SevSnpVm", "report", "2025-06-01T00:00:00Z", "platforms:\n  snp:\n    measurements:\n      measurement: ['%']\n", []string{amdLists}},
		"TDX":     {azureDir + "az-tdx-vtpm/evidence-v0.json", "TdxVm", "quote", "2025-06-20T00:00:00Z", "platforms:\n  tdx:\n" + acceptOldTDX + "    measurements:\n      mrtd: ['%']\n", intelOf2025()},
	} {
		m := recordedMachine(t, c.file)
		claim, measurement := "tdx_mrtd", ""
		if m.tdQuote != nil {
			q, err := dcap.ParseQuote(m.tdQuote)
			if err != nil {
				t.Fatal(err)
			}
			measurement = hex.EncodeToString(q.TD.MRTD[:])
		} else {
			claim, measurement = "x-ms-sevsnpvm-launchmeasurement", hex.EncodeToString(m.hcl.SNP[0x90:0xc0])
		}
		call := httpService(t, c.at, strings.Replace(c.policy, "%", measurement, 1), c.with...)
		body := map[string]any{c.member: base64.RawURLEncoding.EncodeToString(m.proof(t)), "runtimeData": map[string]any{"data": base64.RawURLEncoding.EncodeToString(m.hcl.Runtime), "dataType": "JSON"}}
		status, answer := call("/attest/"+c.operation+"?api-version=2023-04-01-preview", body)
		var got struct{ Token string }
		if err := json.Unmarshal(answer, &got); status != 200 || err != nil {
			t.Errorf("%s: %d %.400s", what, status, answer)
			continue
		}
		var claims map[string]any
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(got.Token, ".")[1])
		if err != nil || json.Unmarshal(payload, &claims) != nil {
			t.Fatal(err)
		}
		if claims[claim] != measurement || claims["x-ms-runtime"].(map[string]any)["vm-configuration"] == nil || len(got.Token) > ear.MaxToken {
			t.Errorf("%s: %v", what, claims)
		}
		body["runtimeData"] = map[string]any{"data": base64.RawURLEncoding.EncodeToString([]byte(runtimeOfAnother)), "dataType": "JSON"}
		status, answer = call("/attest/"+c.operation+"?api-version=2023-04-01-preview", body)
		refusedAs(t, what+" for another key", status, answer, 403, "freshness")
	}
}

const runtimeOfAnother = `{"keys":[{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

// TestAttestationOfRecordedQuotes sends genuine evidence of every kind in Intel's shape, over
// HTTP. It verifies, and is refused for the one thing that recorded evidence can't have: it does
// not answer a nonce of today.
func TestAttestationOfRecordedQuotes(t *testing.T) {
	const (
		snpDir  = "snp/confidential-containers+trustee/deps/verifier/test_data/snp/"
		samples = "sgx/Azure-Samples+microsoft-azure-attestation/sgx.attest.sample.oe.sdk/validatequotes.net/samples/"
	)
	var enclave struct{ Quote string }
	if err := json.Unmarshal(evidencetest.Read(t, samples+"post.attest.body.json"), &enclave); err != nil {
		t.Fatal(err)
	}
	sgx, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(enclave.Quote, "="))
	if err != nil {
		t.Fatal(err)
	}
	tdx := recordedMachine(t, azureDir+"az-tdx-vtpm/evidence-v0.json")
	for what, c := range map[string]struct {
		evidence             []byte
		in, member, platform string
		at, accept           string
		alter                int // a byte of what is signed
		with                 []string
	}{
		"TDX": {evidencetest.Read(t, phalaDir+"tdx_quote"), "tdx", "quote", "tdx", "2025-07-01T00:00:00Z", " {}\n", 100, []string{phalaDir + "tdx_quote_collateral.json"}},
		"SGX": {sgx[16:], "", "quote", "sgx", "2025-06-20T00:00:00Z", "\n    insecure_accept: [sgx.tcb, sgx.tcb.qe, sgx.tcb.platform]\n", 120, // behind Open Enclave's header
			[]string{teepotDir + "sgx_tcb_info_00906ED50000.json", teepotDir + "sgx_qe_identity.json", teepotDir + "sgx_tcb_eval_nums.json", teepotDir + "pck_crl_processor.json", phalaDir + "tdx_quote_collateral.json"}},
		"SEV-SNP": {evidencetest.Read(t, snpDir+"test-report.bin"), "sevsnp", "report", "snp", "2025-06-01T00:00:00Z", " {}\n", 0x90, []string{snpDir + "test-vcek.der", amdLists}},
	} {
		call := httpService(t, c.at, "platforms:\n  "+c.platform+":"+c.accept, c.with...)
		ask := func(path string, evidence []byte, runtime, user []byte, status int, check string) {
			t.Helper()
			var nonce verifier.ITANonce
			got, body := call("/appraisal/v2/nonce", nil)
			if err := json.Unmarshal(body, &nonce); got != 200 || err != nil {
				t.Fatal(got, err)
			}
			inner := map[string]any{c.member: evidence, "verifier_nonce": nonce, "runtime_data": runtime}
			if user != nil {
				inner["user_data"] = user
			}
			request := inner
			if c.in != "" {
				request = map[string]any{c.in: inner}
			}
			got, body = call(path, request)
			refusedAs(t, what, got, body, status, check)
		}
		altered := bytes.Clone(c.evidence)
		altered[c.alter] ^= 1
		ask("/ita/appraisal/v2/attest", altered, []byte(runtimeOfAnother), nil, 422, c.platform+".signature")
		ask("/ita/appraisal/v2/attest", c.evidence, []byte(runtimeOfAnother), nil, 403, "freshness")
		status, check := 403, "freshness"
		if c.platform == "sgx" {
			status, check = 400, "ita.request"
		}
		ask("/appraisal/v2/attest/azure", c.evidence, tdx.hcl.Runtime, []byte(runtimeOfAnother), status, check)
	}
}
