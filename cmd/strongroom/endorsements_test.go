package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/endorse/fetch"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/server"
)

// collateral is one recorded set of what Intel served for a quote.
type collateral struct {
	PCKChain     string `json:"pck_crl_issuer_chain"`
	RootCRL      string `json:"root_ca_crl"`
	PCKCRL       string `json:"pck_crl"`
	TCBChain     string `json:"tcb_info_issuer_chain"`
	TCBInfo      string `json:"tcb_info"`
	TCBSignature string `json:"tcb_info_signature"`
	QEChain      string `json:"qe_identity_issuer_chain"`
	QEIdentity   string `json:"qe_identity"`
	QESignature  string `json:"qe_identity_signature"`
}

// intel serves recorded collateral as Intel's services do.
func intel(t *testing.T, file string, asked *atomic.Int64) *httptest.Server {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c collateral
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	decode := func(text string) []byte {
		der, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	answer := func(header, chain string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			if header != "" {
				w.Header().Set(header, strings.ReplaceAll(url.QueryEscape(chain), "+", "%20"))
			}
			w.Write(body)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/tdx/certification/v4/tcb", answer("TCB-Info-Issuer-Chain", c.TCBChain, []byte(`{"tcbInfo":`+c.TCBInfo+`,"signature":"`+c.TCBSignature+`"}`)))
	mux.HandleFunc("/tdx/certification/v4/qe/identity", answer("SGX-Enclave-Identity-Issuer-Chain", c.QEChain, []byte(`{"enclaveIdentity":`+c.QEIdentity+`,"signature":"`+c.QESignature+`"}`)))
	mux.HandleFunc("/sgx/certification/v4/pckcrl", answer("SGX-PCK-CRL-Issuer-Chain", c.PCKChain, decode(c.PCKCRL)))
	mux.HandleFunc("/IntelSGXRootCA.der", answer("", "", decode(c.RootCRL)))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// TestEndorsements fetches what a genuine quote needs, through a cache, packs it, and
// verifies the quote with the bundle alone.
func TestEndorsements(t *testing.T) {
	sample := filepath.Join(evidencetest.Dir(t), "tdx", "Phala-Network+dcap-qvl", "sample")
	another := filepath.Join(evidencetest.Dir(t), "tdx/confidential-containers+trustee/deps/verifier/test_data/tdx_quote_4.dat")
	quote, recorded := filepath.Join(sample, "tdx_quote"), filepath.Join(sample, "tdx_quote_collateral.json")
	var asked atomic.Int64
	vendor := intel(t, recorded, &asked)
	t.Chdir(t.TempDir())
	t.Setenv("STRONGROOM_HOME", "home")
	if err := os.Mkdir("home", 0o700); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)
	call := func(code int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		a := &app{in: bytes.NewReader(nil), out: &out, err: &errs, now: func() time.Time { return now }}
		if got := a.run(args); got != code {
			t.Fatalf("%v: exit code %d, expected %d: %s%s", args, got, code, out.String(), errs.String())
		}
		return out.String() + errs.String()
	}

	cache, err := fetch.Open(fetch.Config{Dir: "cache", Vendors: fetch.Vendors{Intel: vendor.URL, IntelCertificates: vendor.URL}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	mirror := httptest.NewServer(server.Endorsements(cache, nil))
	defer mirror.Close()
	for range 2 { // the second time everything is there
		call(0, "endorsements", "fetch", quote, "-o", "dir", "--intel", mirror.URL, "--intel-certificates", mirror.URL)
	}
	call(0, "endorsements", "fetch", quote, "-o", "another", "--intel", mirror.URL, "--intel-certificates", mirror.URL)
	if n := asked.Load(); n != 4 {
		t.Errorf("the vendor was asked %d times", n)
	}
	call(3, "endorsements", "fetch", another, "-o", "dir", "--intel", mirror.URL+"/nowhere")

	call(0, "keygen", "--purpose", "signing", "-o", "packer.key")
	call(0, "keygen", "--purpose", "signing", "-o", "other.key")
	packed := call(0, "endorsements", "pack", "dir", "-o", "b.json", "--key", "packer.key", "--days", "30")
	key := strings.TrimSpace(packed[strings.LastIndex(packed, " ")+1:])
	call(2, "endorsements", "pack", "dir", "-o", "b.json", "--key", "packer.key")
	if text := call(0, "endorsements", "show", "b.json"); !strings.Contains(text, "intel-tcb-info") || !strings.Contains(text, "Intel SGX PCK Platform CA") {
		t.Error(text)
	}
	call(0, "endorsements", "check", "b.json", "--endorsements-key", key)
	call(2, "endorsements", "check", "b.json")
	call(4, "endorsements", "check", "b.json", "--endorsements-key", "other.key")
	call(3, "endorsements", "check", "b.json", "--endorsements-key", key, "--within", "20")
	call(3, "endorsements", "check", "b.json", "--endorsements-key", key, "--at", "2025-08-15")

	var r appraise.Result
	verify := []string{"verify", quote, "--insecure-any-nonce", "--output", "json", "--endorsements"}
	for _, source := range [][]string{{"dir"}, {"b.json", "--endorsements-key", key}} {
		if err := json.Unmarshal([]byte(call(0, append(verify, source...)...)), &r); err != nil || r.Verdict != attest.Warning || len(r.Warnings) != 1 {
			t.Errorf("%v: %s, %v, %v", source, r.Verdict, r.Warnings, err)
		}
	}
	if text := call(2, append(verify, "b.json")...); !strings.Contains(text, "--endorsements-key") {
		t.Error(text)
	}
	call(4, append(verify, "b.json", "--endorsements-key", "other.key")...)

	// Later, what is outdated is not packed.
	now = time.Date(2025, 7, 25, 0, 0, 0, 0, time.UTC)
	call(3, "endorsements", "pack", "dir", "-o", "late.json", "--key", "packer.key")
}

// TestEndorsementsOfDevices finds out what a GPU's evidence needs, without asking anybody.
func TestEndorsementsOfDevices(t *testing.T) {
	evidence := filepath.Join(evidencetest.Dir(t), "nvidia", "NVIDIA+attestation-sdk", "common-test-data", "serialized_test_evidence", "hopper_evidence.json")
	var out, errs bytes.Buffer
	a := &app{in: bytes.NewReader(nil), out: &out, err: &errs, now: time.Now}
	t.Chdir(t.TempDir())
	if code := a.run([]string{"endorsements", "fetch", evidence, "--dry-run"}); code != 0 {
		t.Fatal(errs.String())
	}
	if text := out.String(); strings.Count(text, "https://rim.attestation.nvidia.com/v1/rim/NV_GPU_") != 2 || strings.Count(text, "https://ocsp.ndis.nvidia.com/ asked with /ocsp/") < 2 {
		t.Error(text)
	}
	if files, err := os.ReadDir("."); err != nil || len(files) != 0 {
		t.Error("asking for a plan made files", files, err)
	}
}
