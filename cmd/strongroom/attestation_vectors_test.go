package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/ear"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/store/attestation"
	"strongroom.dev/verdict"
	"strongroom.dev/verifier"
	"strongroom.dev/wire"
)

// recordedService is a service at the time of recorded evidence, over the table of this build.
func recordedService(t *testing.T, at, policy string, gates []verifier.Gate, endorsements ...string) *verifier.Service {
	t.Helper()
	set := evidencetest.Set(t, endorsements...)
	now, err := time.Parse(time.RFC3339, at)
	if err != nil {
		t.Fatal(err)
	}
	store, err := attestation.Open(filepath.Join(t.TempDir(), "state.db"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	s, err := verifier.Open(context.Background(), verifier.Config{Base: "https://attest.example.org", Store: store, Table: examiners, Endorsements: set, Gates: gates,
		EAR: ear.ES384, Rotation: ear.Usual(), Build: "test", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddPolicy(context.Background(), "recorded", []byte("id: recorded\nversion: 1\n"+policy)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Activate(context.Background(), "recorded", 1); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAttestationOfRecordedRequest answers the very request that was sent to Microsoft Azure
// Attestation in 2020, and says of the enclave what that service's own token said.
func TestAttestationOfRecordedRequest(t *testing.T) {
	const (
		samples = "sgx/Azure-Samples+microsoft-azure-attestation/sgx.attest.sample.oe.sdk/validatequotes.net/samples/"
		teepot  = "tdx/matter-labs+teepot/crates/intel-dcap-api/tests/test_data/"
		policy  = "platforms:\n  sgx:\n    measurements:\n      mrenclave: ['90a328210154d861be7fc85a904e99fba713b05029321a470f62ea8495ec7d90']\n"
		accept  = "    insecure_accept: [sgx.tcb, sgx.tcb.qe, sgx.tcb.platform]\n"
	)
	files := []string{teepot + "sgx_tcb_info_00906ED50000.json", teepot + "sgx_qe_identity.json", teepot + "sgx_tcb_eval_nums.json", teepot + "pck_crl_processor.json",
		"tdx/Phala-Network+dcap-qvl/sample/tdx_quote_collateral.json"}
	body := evidencetest.Read(t, samples+"post.attest.body.json")
	gate := []verifier.Gate{{Shape: ear.MAA(), Audience: "https://vault.example.org", Policy: "recorded"}}
	const at = "2025-06-20T00:00:00Z"

	_, err := recordedService(t, at, policy, gate, files...).MAA(context.Background(), "SgxEnclave", "2018-09-01-preview", body)
	if e := verdict.As(err); err == nil || e.Check != "sgx.tcb.qe" || e.Kind != verdict.Refused {
		t.Errorf("an enclave on a platform of 2020, by collateral of 2025: %v", err)
	}
	s := recordedService(t, at, policy+accept, gate, files...)
	answer, err := s.MAA(context.Background(), "SgxEnclave", "2018-09-01-preview", body)
	if err != nil {
		t.Fatal(err)
	}
	theirs := evidencetest.Read(t, samples+"post.attest.response.jwt.body.json")
	_, theirs, _ = bytes.Cut(theirs, []byte("}\n")) // the token's header stands before its claims
	want, got := map[string]any{}, map[string]any{}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(answer.Token, ".")[1])
	if err := errors.Join(err, json.Unmarshal(theirs, &want), json.Unmarshal(payload, &got)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"is-debuggable", "product-id", "sgx-mrenclave", "sgx-mrsigner", "svn", "tee"} {
		if got[name] != want[name] || want[name] == nil {
			t.Errorf("%s: %v, and Microsoft's token says %v", name, got[name], want[name])
		}
	}
	if held, _ := want["maa-ehd"].(string); !strings.HasPrefix(held, got["maa-ehd"].(string)[:400]) {
		t.Errorf("held data %v", got["maa-ehd"])
	}
	if got["cnf"].(map[string]any)["jwk"].(map[string]any)["kty"] != "RSA" || got["strongroom_verdict"] != "warning" {
		t.Errorf("%v", got)
	}
	altered := bytes.Replace(body, []byte(`"EnclaveHeldData": "L`), []byte(`"EnclaveHeldData": "M`), 1)
	if _, err := s.MAA(context.Background(), "SgxEnclave", "2018-09-01-preview", altered); err == nil {
		t.Error("a token for other data than the enclave holds")
	}
}

// TestAttestationOfRecordedEvidence has the service judge genuine evidence of every kind that is
// here, as it is, and give the result.
func TestAttestationOfRecordedEvidence(t *testing.T) {
	const (
		snpDir = "snp/confidential-containers+trustee/deps/verifier/test_data/snp/"
		phala  = "tdx/Phala-Network+dcap-qvl/sample/"
		lists  = "snp/openpcc+openpcc/attestation/attest/testdata/sev_certificates.txt"
	)
	for _, c := range []struct {
		evidence, at, platform string
		with                   []string
		verdict                attest.Standing
		hardware               int
	}{
		{snpDir + "test-report.bin", "2025-06-01T00:00:00Z", "snp", []string{snpDir + "test-vcek.der", lists}, attest.Warning, 32},
		{snpDir + "test-report.bin", "2028-06-01T00:00:00Z", "snp", []string{snpDir + "test-vcek.der", lists}, attest.Contraindicated, 96},
		{phala + "tdx_quote", "2025-07-01T00:00:00Z", "tdx", []string{phala + "tdx_quote_collateral.json"}, attest.Affirming, 2},
		{phala + "tdx_quote", "2025-08-01T00:00:00Z", "tdx", []string{phala + "tdx_quote_collateral.json"}, attest.Contraindicated, 96},
	} {
		evidence := evidencetest.Find(t, c.evidence)
		if evidence == nil {
			t.Logf("%s is not here", c.evidence)
			continue
		}
		s := recordedService(t, c.at, "platforms:\n  "+c.platform+": {}\n", nil, c.with...)
		at, _ := time.Parse(time.RFC3339, c.at)
		when := wire.At(at)
		tried, err := s.Try(context.Background(), "recorded", verifier.Trial{Version: 1, Evidence: []verifier.Recorded{{Evidence: evidence, At: &when}}})
		if err != nil || tried.Results[0].Verdict != string(c.verdict) || tried.Results[0].Platform != c.platform {
			t.Errorf("%s: %+v %v", c.evidence, tried, err)
		}
		answer, err := s.Attest(context.Background(), verifier.Request{Evidence: evidence, ReportData: []byte("not what it says"), Policy: "recorded"})
		if err != nil || answer.Result.Verdict != attest.Contraindicated || answer.Vector.Hardware != c.hardware {
			t.Errorf("%s: %v %+v %v", c.evidence, answer.Result.Verdict, answer.Vector, err)
		}
	}
}
