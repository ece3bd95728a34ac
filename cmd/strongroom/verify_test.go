package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/internal/evidencetest"
)

// scriptJudged runs verify for machines: one result on standard output whatever comes of it.
func scriptJudged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: judged CODE CHECK COMMAND ARGS...")
	}
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitCode(ts, append(args[2:], "--output", "json")); got != code {
		ts.Fatalf("exit code %d, expected %d; it said: %s", got, code, ts.ReadFile("stderr"))
	}
	var r appraise.Result
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &r))
	for _, c := range r.Failed() {
		if c.ID == args[1] && c.Expected != "" && c.Got != "" && c.Fix != "" {
			return
		}
	}
	ts.Fatalf("no failed check %s: %+v", args[1], r.Checks)
}

func TestVerifyVectors(t *testing.T) {
	dir := evidencetest.Dir(t)
	const (
		milan    = "snp/confidential-containers+trustee/deps/verifier/test_data/snp/test-report.bin"
		phala    = "tdx/Phala-Network+dcap-qvl/sample/"
		nsm      = "nitro/Dstack-TEE+dstack/dstack/nsm-qvl/tests/nitro_attestation.bin"
		nsmDebug = "nitro/Dstack-TEE+dstack/dstack/dstack-attest/tests/nitro_attestation_dbg.bin"
		arm      = "arm-synthetic/confidential-containers+trustee/deps/verifier/test_data/cca/misc/"
		realm    = "57e979ae2618de0c1ab73144c440d741cf9236dc9d52ed190053382a4d190252f9f0370403c35dcb155fb4362d73c66d5b0494bf939315d3dc52b8cdc8b85a96"
		device   = "dice/chipsalliance+caliptra-sw/test/tests/caliptra_integration_tests/smoke_testdata/"
		asked    = "9a9d48e7f6799642d3d1b34e1e5e1742d4bb02dd6ddd551862c1211d35c304f9eca3efdbb481601c163cf52493d6e44aed55d51ec39b7e518fadb92c2b523f20"
	)
	for _, c := range []struct {
		name    string
		args    []string
		code    int
		verdict attest.Standing
		failed  string // a check that must be among the failed ones
	}{
		{"SNP, any nonce", []string{milan, "--at", "2026-01-01", "--endorsements", "snp", "--insecure-any-nonce"}, 0, attest.Warning, ""},
		{"SNP without freshness", []string{milan, "--at", "2026-01-01", "--endorsements", "snp"}, 3, attest.Contraindicated, "freshness"},
		{"SNP without endorsements", []string{milan, "--at", "2026-01-01", "--insecure-any-nonce"}, 3, attest.Contraindicated, "snp.collateral"},
		{"SNP after its CRL", []string{milan, "--at", "2028-01-01", "--endorsements", "snp", "--insecure-any-nonce"}, 3, attest.Contraindicated, "snp.collateral"},
		{"TDX", []string{phala + "tdx_quote", "--at", "2025-07-01T00:00:00Z", "--endorsements", phala + "tdx_quote_collateral.json", "--report-data", asked}, 0, attest.Affirming, ""},
		{"TDX, part of the report data", []string{phala + "tdx_quote", "--at", "2025-07-01T00:00:00Z", "--endorsements", phala + "tdx_quote_collateral.json", "--report-data", asked[:64]}, 3, attest.Contraindicated, "freshness"},
		{"TDX with old collateral", []string{phala + "tdx_quote", "--at", "2025-08-01T00:00:00Z", "--endorsements", phala + "tdx_quote_collateral.json", "--report-data", asked}, 3, attest.Contraindicated, "tdx.collateral_dates"},
		{"Nitro", []string{nsm, "--at", "2025-12-25T13:20:00Z", "--report-data", strings.Repeat("00", 64)}, 0, attest.Warning, ""},
		{"Nitro, a day later", []string{nsm, "--at", "2025-12-26T13:20:00Z", "--insecure-any-nonce"}, 3, attest.Contraindicated, "nitro.dates"},
		{"Nitro, debug", []string{nsmDebug, "--at", "2025-12-25T09:00:00Z", "--insecure-any-nonce"}, 3, attest.Contraindicated, "nitro.debug"},
		{"CCA", []string{arm + "cca-example-token.cbor", "--endorsements", arm + "cpak-pub.json", "--report-data", realm}, 0, attest.Warning, ""},
		{"DICE, ECC", []string{device + "fmc_alias_cert_ecc.der", "--endorsements", "dice", "--insecure-any-nonce"}, 0, attest.Warning, ""},
		{"DICE, ML-DSA", []string{device + "fmc_alias_cert_mldsa.der", "--endorsements", "dice", "--insecure-any-nonce"}, 0, attest.Warning, ""},
		{"DICE without freshness", []string{device + "fmc_alias_cert_mldsa.der", "--endorsements", "dice"}, 3, attest.Contraindicated, "freshness"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(dir)
			var out, errs bytes.Buffer
			a := &app{in: bytes.NewReader(nil), out: &out, err: &errs, now: time.Now}
			if code := a.run(append([]string{"verify", "--output", "json"}, c.args...)); code != c.code {
				t.Fatalf("exit code %d, expected %d: %s", code, c.code, errs.String())
			}
			var r appraise.Result
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			found := c.failed == ""
			for _, f := range r.Failed() {
				found = found || f.ID == c.failed
			}
			if r.Verdict != c.verdict || !found || len(r.Claims) == 0 && c.failed != "snp.collateral" {
				t.Errorf("%s, failed %v", r.Verdict, r.Failed())
			}
		})
	}
}

// TestVerifySeveral gives a list with one result a file, and the worst exit code.
func TestVerifySeveral(t *testing.T) {
	t.Chdir(evidencetest.Dir(t))
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	a := &app{in: bytes.NewReader(nil), out: &out, err: &errs, now: time.Now}
	if code := a.run([]string{"verify", "--output", "json", "tdx/Phala-Network+dcap-qvl/sample/tdx_quote", junk}); code != 4 {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
	var all []appraise.Result
	if err := json.Unmarshal(out.Bytes(), &all); err != nil || len(all) != 2 || all[0].Platform != "tdx" || all[1].Platform != "" || all[1].Checks[0].ID != "evidence.form" {
		t.Errorf("%v: %s", err, out.String())
	}
}
