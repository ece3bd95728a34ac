package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/composite"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/wire"
)

// TestEndorsementsNeeded lists, without asking anybody, what evidence needs that holds a report or
// quote inside, and what verify needs of kinds that nothing can be fetched for.
func TestEndorsementsNeeded(t *testing.T) {
	const trustee = "azure/confidential-containers+trustee/deps/verifier/test_data/"
	write := func(name string, e attest.Evidence) string {
		t.Helper()
		data, err := wire.Marshal(e)
		if err == nil {
			err = os.WriteFile(name, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	snp := evidencetest.Read(t, "snp/confidential-containers+trustee/deps/verifier/test_data/snp/test-report.bin")
	devices := evidencetest.Read(t, "nvidia/NVIDIA+attestation-sdk/common-test-data/serialized_test_evidence/hopper_evidence.json")
	dir := evidencetest.Dir(t)
	t.Chdir(t.TempDir())
	body := composite.Body{Nonce: make([]byte, 32), Bound: make([]byte, 64), CPU: attest.Evidence{Platform: "snp", Evidence: snp}, Devices: []attest.Evidence{{Platform: "nvidia", Evidence: devices}}}
	whole, err := body.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file string
		args []string
		code int
		want []string
	}{
		{trustee + "az-snp-vtpm/evidence-v2.json", nil, 0, []string{"https://kdsintf.amd.com/vcek/v1/Milan/crl", "https://kdsintf.amd.com/vcek/v1/Milan/2e0e62a0"}},
		{trustee + "az-tdx-vtpm/evidence-v0.json", nil, 0, []string{"https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=00806f050000", "/IntelSGXRootCA.der"}},
		{"azure/kinvolk+azure-cvm-tooling/az-cvm-vtpm/test/hcl-report-snp.bin", []string{"--product", "milan"}, 0, []string{"https://kdsintf.amd.com/vcek/v1/Milan/crl"}},
		{"azure/kinvolk+azure-cvm-tooling/az-cvm-vtpm/test/hcl-report-snp.bin", nil, 3, []string{"endorsements.product", "--product"}},
		{"azure/kinvolk+azure-cvm-tooling/az-cvm-vtpm/test/hcl-report-tdx.bin", nil, 2, []string{"evidence.td_quote"}},
		{"nitro/Dstack-TEE+dstack/dstack/nsm-qvl/tests/nitro_attestation.bin", nil, 2, []string{"evidence.platform", "nitro", "fetch does not know", "carries all"}},
		{trustee + "az-snp-vtpm/tpm-quote-v1.json", nil, 2, []string{"evidence.platform", "tpm", "CRLs"}},
		{write("whole.json", whole), []string{"--product", "Milan"}, 0, []string{"https://kdsintf.amd.com/vcek/v1/Milan/crl", "https://rim.attestation.nvidia.com/v1/rim/NV_GPU_"}},
		{write("wrapped.json", attest.Evidence{Platform: "snp", Evidence: snp}), []string{"--product", "Milan"}, 0, []string{"https://kdsintf.amd.com/vcek/v1/Milan/crl"}},
	} {
		file := c.file
		if strings.Contains(file, "/") {
			file = filepath.Join(dir, file)
		}
		var out, errs bytes.Buffer
		a := &app{in: bytes.NewReader(nil), out: &out, err: &errs, now: time.Now}
		code := a.run(append([]string{"endorsements", "fetch", file, "-o", "dir", "--dry-run"}, c.args...))
		text := out.String() + errs.String()
		for _, want := range c.want {
			if code != c.code || !strings.Contains(text, want) {
				t.Errorf("%s: exit code %d, expected %d with %q: %s", c.file, code, c.code, want, text)
			}
		}
	}
}

// TestEndorsementsPlan: a dry run gives whole addresses, those of mirrors too, and an error names
// every file that needs something.
func TestEndorsementsPlan(t *testing.T) {
	data := evidencetest.Read(t, "snp/confidential-containers+trustee/deps/verifier/test_data/snp/test-report.bin")
	t.Chdir(t.TempDir())
	for name, data := range map[string][]byte{"a.bin": data, "b.bin": data, "junk": []byte("no evidence")} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"a.bin", "junk", "b.bin"}, 3, []string{"a.bin, b.bin: endorsements.product", "; junk: evidence.form: "}},
		{[]string{"junk", "a.bin"}, 4, []string{"junk: evidence.form", "; a.bin: endorsements.product: "}},
		{[]string{"a.bin", "b.bin", "--product", "MILAN"}, 0, []string{"&ucodeSPL=", "https://kdsintf.amd.com/vcek/v1/Milan/crl"}},
		{[]string{"a.bin", "--product", "milan", "--output", "json", "--amd", "http://mirror.example:7700/"}, 0, []string{`"url": "http://mirror.example:7700/vcek/v1/Milan/crl"`, `"path": "/vcek/v1/Milan/crl"`}},
	} {
		var out, errs bytes.Buffer
		a := &app{in: bytes.NewReader(nil), out: &out, err: &errs, now: time.Now}
		code := a.run(append([]string{"endorsements", "fetch", "-o", "dir", "--dry-run"}, c.args...))
		text := out.String() + errs.String()
		for _, want := range c.want {
			if code != c.code || !strings.Contains(text, want) || strings.Contains(text, "\u2026") {
				t.Errorf("%v: exit code %d, expected %d with %q: %s", c.args, code, c.code, want, text)
			}
		}
	}
}
