package endorse_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"strongroom.dev/endorse"
	"strongroom.dev/internal/evidencetest"
)

// found counts items by kind.
func found(items []endorse.Item) map[endorse.Kind]int {
	n := map[endorse.Kind]int{}
	for _, it := range items {
		n[it.Kind]++
	}
	return n
}

type counts = map[endorse.Kind]int

// TestFiles looks at files of vendors and tools, and makes a set of whatever is recognised
// in every file there is.
func TestFiles(t *testing.T) {
	want := map[string]counts{
		"arm-synthetic/confidential-containers+trustee/deps/verifier/test_data/cca/misc/cpak-pub.json":                            {endorse.PublicKey: 1},
		"dice/chipsalliance+caliptra-sw/test/tests/caliptra_integration_tests/smoke_testdata/idevid_csr_ecc.der":                  {endorse.X509Request: 1},
		"dice/chipsalliance+caliptra-sw/test/tests/caliptra_integration_tests/smoke_testdata/idevid_csr_mldsa.der":                {endorse.X509Request: 1},
		"snp/openpcc+openpcc/attestation/attest/testdata/sev_certificates.txt":                                                    {endorse.X509Certificate: 5, endorse.X509CRL: 2},
		"snp/google+go-sev-guest/verify/trust/ask_ark_milan.pem":                                                                  {endorse.X509Certificate: 2},
		"snp/virtee+sev/tests/certs_data/vcek_turin.der":                                                                          {endorse.X509Certificate: 1},
		"snp/microsoft+confidential-sidecar-containers/pkg/attest/test_data/uvm_host_amd_certificate.json":                        {endorse.X509Certificate: 3},
		"snp/microsoft+confidential-sidecar-containers/pkg/attest/test_data/uvm_security_policy.base64":                           {endorse.ContainerPolicy: 1},
		"snp/microsoft+confidential-sidecar-containers/pkg/attest/test_data/body.uvm_reference_info.bin":                          {endorse.COSESign1: 1},
		"tdx/Phala-Network+dcap-qvl/sample/tdx_quote_collateral.json":                                                             {endorse.IntelTCBInfo: 1, endorse.IntelQEIdentity: 1, endorse.X509Certificate: 6, endorse.X509CRL: 2},
		"tdx/confidential-dot-ai+attestation-rs/crates/attestation/test_data/collateral/pck_crl_platform.der":                     {endorse.X509CRL: 1},
		"tdx/matter-labs+teepot/crates/intel-dcap-api/tests/test_data/sgx_tcb_eval_nums.json":                                     {endorse.IntelTCBEvaluation: 1, endorse.X509Certificate: 2},
		"tdx/matter-labs+teepot/crates/intel-dcap-api/tests/test_data/tdx_tcb_info.json":                                          {endorse.IntelTCBInfo: 1, endorse.X509Certificate: 2},
		"tdx/matter-labs+teepot/crates/intel-dcap-api/tests/test_data/pck_crl_processor_der.json":                                 {endorse.X509CRL: 1, endorse.X509Certificate: 2},
		"tdx/google+go-tdx-guest/testing/testdata/sample_qeIdentity_response":                                                     {endorse.IntelQEIdentity: 1},
		"tdx/matter-labs+teepot/crates/intel-dcap-api/tests/test_data/fmspcs.json":                                                {},
		"nvidia/google+go-nvattest-tools/testing/testdata/rim/success_valid_rim.xml":                                              {endorse.NVIDIARIM: 1},
		"nvidia/google+go-nvattest-tools/testing/testdata/ocsp/test_gpu_certificate_l2_base64encoded_ocsp_response.dat":           {endorse.OCSPResponse: 1},
		"nvidia/NVIDIA+attestation-sdk/nv-attestation-sdk-cpp/unit-tests/testdata/hopperCertChain.txt":                            {endorse.X509Certificate: 5},
		"azure/openpcc+openpcc/attestation/attest/testdata/azure_ak_certificates.txt":                                             {endorse.X509Certificate: 2},
		"azure/kinvolk+azure-cvm-tooling/az-cvm-vtpm/test/akpub.pem":                                                              {endorse.PublicKey: 1},
		"dice/chipsalliance+caliptra-sw/test/tests/caliptra_integration_tests/smoke_testdata/ldevid_cert_mldsa.der":               {endorse.X509Certificate: 1},
		"tpm/google+go-eventlog/testdata/eventlogs/ccel/cos-113-intel-tdx.bin":                                                    {},
		"snp/confidential-containers+trustee/deps/verifier/test_data/snp/test-report.bin":                                         {},
		"snp/microsoft+confidential-sidecar-containers/pkg/attest/test_data/snp_report.bin":                                       {},
		"sgx/Azure-Samples+microsoft-azure-attestation/sgx.attest.sample.oe.sdk/validatequotes.net/samples/eus2.signing.cert.cer": {endorse.X509Certificate: 1},
		"tdx/oasisprotocol+oasis-core/go/common/sgx/pcs/testdata/tcb_info_v3_tdx_fmspc_C0806F000000.json":                         {endorse.IntelTCBInfo: 1},
	}
	seen := 0
	evidencetest.Walk(t, func(name string, data []byte) {
		items := endorse.Parse(filepath.Base(name), data)
		if _, err := endorse.NewSet(items...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if expected, listed := want[name]; listed {
			seen++
			if got := found(items); !maps.Equal(got, expected) {
				t.Errorf("%s: found %v, expected %v", name, got, expected)
			}
		}
	})
	if seen != len(want) && evidencetest.Required() {
		t.Errorf("%d of %d files are there", seen, len(want))
	}
}

func inPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// guidTable makes a certificate table of one entry.
func guidTable(guid string, data []byte) []byte {
	b := must(hex.DecodeString(guid))
	b = binary.LittleEndian.AppendUint32(b, 48)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return append(append(b, make([]byte, 24)...), data...)
}

// TestForms takes our own endorsements through the forms that tools wrap them in.
func TestForms(t *testing.T) {
	cert, crl := testCertificate(), testCRL()
	one, none := counts{endorse.X509Certificate: 1}, counts{}
	both := counts{endorse.X509Certificate: 1, endorse.X509CRL: 1}
	std, raw := base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString
	tcb := `{"tcbInfo":{"id":"SGX","deep":[{"a":1.5}]},"signature":"00ff"}`
	qe := `{ "enclaveIdentity" : {"id":"QE"} , "signature" : "00ff" }`
	const vcek, asUEFI, cloud = "63da758de6644564adc5f4b93be8accd", "8d75da6364e66445adc5f4b93be8accd", "ecae0c0f950243b1afa20ae2e0d565b6"
	js := func(v any) []byte { return must(json.Marshal(v)) }
	for name, c := range map[string]struct {
		data []byte
		want counts
	}{
		"nothing":                     {nil, none},
		"DER":                         {cert, one},
		"DER, padded":                 {append(bytes.Clone(cert), make([]byte, 99)...), one},
		"DER, rubbish behind":         {append(bytes.Clone(cert), 'x'), one},
		"two in DER":                  {append(bytes.Clone(cert), crl...), both},
		"PEM":                         {inPEM("CERTIFICATE", cert), one},
		"PEM among words":             {[]byte("subject=x\n" + string(inPEM("CERTIFICATE", cert)) + "\nmore\n" + string(inPEM("X509 CRL", crl))), both},
		"PEM of a secret":             {inPEM("PRIVATE KEY", cert), none},
		"PEM with rubbish":            {inPEM("CERTIFICATE", []byte("rubbish")), none},
		"PEM, percent-encoded":        {[]byte(url.PathEscape(string(inPEM("CERTIFICATE", cert)))), one},
		"hex":                         {[]byte(hex.EncodeToString(cert)), one},
		"hex with 0x, upper":          {[]byte("0x" + strings.ToUpper(hex.EncodeToString(cert)) + "\n"), one},
		"base64":                      {[]byte(std(cert)), one},
		"base64url":                   {[]byte(raw(cert)), one},
		"base64 of PEM":               {[]byte(std(inPEM("CERTIFICATE", cert))), one},
		"base64 over lines":           {[]byte(strings.ReplaceAll(string(inPEM("X", cert)), "-----", "")[len("BEGIN X\n") : len(inPEM("X", cert))-30]), none}, // with rubbish in it
		"table":                       {guidTable(vcek, cert), one},
		"table of PEM":                {guidTable(vcek, inPEM("CERTIFICATE", cert)), one},
		"table with swapped GUID":     {guidTable(asUEFI, cert), one},
		"table of a cloud":            {guidTable(cloud, cert), none},
		"table beyond its end":        {guidTable(vcek, cert)[:200], none},
		"JSON of Azure's":             {js(map[string]any{"vcekCert": string(inPEM("CERTIFICATE", cert)), "tcbm": "DB18000000000004"}), one},
		"JSON with DER in base64":     {js(map[string]any{"a": []any{map[string]any{"b": std(cert)}}, "crl": hex.EncodeToString(crl)}), both},
		"JSON in base64 in JSON":      {js(map[string]any{"a": raw(js(map[string]any{"b": raw(cert)}))}), one},
		"JSON, cut short":             {js(map[string]any{"b": raw(cert)})[:100], none},
		"TCB info":                    {[]byte(tcb), counts{endorse.IntelTCBInfo: 1}},
		"TCB info, unsigned":          {[]byte(`{"tcbInfo":{"id":"SGX"}}`), none},
		"QE identity, spaced":         {[]byte("\n" + qe + "\n"), counts{endorse.IntelQEIdentity: 1}},
		"evaluation numbers":          {[]byte(`{"tcbEvaluationDataNumbers":{},"signature":"00"}`), counts{endorse.IntelTCBEvaluation: 1}},
		"responses as text":           {js(map[string]any{"tcb_info_json": tcb, "qe": qe}), counts{endorse.IntelTCBInfo: 1, endorse.IntelQEIdentity: 1}},
		"responses inside":            {[]byte(`{"x":[` + tcb + `,` + qe + `]}`), counts{endorse.IntelTCBInfo: 1, endorse.IntelQEIdentity: 1}},
		"parted responses":            {js(map[string]any{"tcb_info": `{"id":"SGX"}`, "tcb_info_signature": "00ff", "qe_identity": `{"id":"QE"}`, "qe_identity_signature": "ff"}), counts{endorse.IntelTCBInfo: 1, endorse.IntelQEIdentity: 1}},
		"parted, signature not hex":   {js(map[string]any{"tcb_info": `{"id":"SGX"}`, "tcb_info_signature": `","x":"`}), none},
		"parted, text not JSON":       {js(map[string]any{"tcb_info": `{"id":`, "tcb_info_signature": "00"}), none},
		"RIM":                         {[]byte(`<?xml version="1.0"?><SoftwareIdentity/>`), counts{endorse.NVIDIARIM: 1}},
		"RIM in a service's response": {js(map[string]any{"id": "x", "rim": std([]byte(`<SoftwareIdentity name="something long enough to be decoded, as it always is"/>`))}), counts{endorse.NVIDIARIM: 1}},
		"other XML":                   {[]byte(`<html><body>no</body></html>`), none},
		"policy":                      {[]byte("package policy\n\napi_svn := \"0.10.0\"\n"), counts{endorse.ContainerPolicy: 1}},
		"COSE_Sign1":                  {append([]byte{0xd2, 0x84, 0x43, 0xa1, 1, 0x26, 0xa0, 0x58, 60}, make([]byte, 90)...), counts{endorse.COSESign1: 1}},
		"base64 with spare bits":      {[]byte(spareBits(cert)), none},
		"more than a file may have":   {make([]byte, endorse.MaxFile+1), none},
		"words":                       {[]byte("This is not an endorsement at all, though it is long enough to be taken for encoded bytes."), none},
	} {
		items := endorse.Parse("file", c.data)
		if got := found(items); !maps.Equal(got, c.want) {
			t.Errorf("%s: found %v, expected %v", name, got, c.want)
		}
		if _, err := endorse.NewSet(items...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// spareBits sets bits that base64 leaves unused.
func spareBits(data []byte) string {
	for len(data)%3 != 1 {
		data = data[:len(data)-1]
	}
	s := base64.RawStdEncoding.EncodeToString(data)
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return s[:len(s)-1] + string(digits[strings.IndexByte(digits, s[len(s)-1])|1])
}

// TestExactBytes checks that signed JSON and hashed policies are kept byte for byte.
func TestExactBytes(t *testing.T) {
	const inner = "{\"signature\":\"00\" ,\n\"tcbInfo\":{\"b\":1,\"a\":\"\\u0041\"}}"
	for _, it := range endorse.Parse("x", []byte(" [ "+inner+" ] ")) {
		if string(it.Data) != inner {
			t.Errorf("kept %q", it.Data)
		}
	}
	const policy = "\n\tpackage policy\n\n"
	items := endorse.Parse("x", []byte(policy))
	if len(items) != 1 || string(items[0].Data) != policy {
		t.Errorf("kept %v", items)
	}
	text := `{"id":"SGX", "x":1}`
	items = endorse.Parse("x", must(json.Marshal(map[string]any{"tcb_info": text, "tcb_info_signature": "0f"})))
	if len(items) != 1 || string(items[0].Data) != `{"tcbInfo":`+text+`,"signature":"0f"}` {
		t.Errorf("kept %v", items)
	}
}

// TestNames checks what items are called.
func TestNames(t *testing.T) {
	twice := append(inPEM("CERTIFICATE", testCertificate()), inPEM("X509 CRL", testCRL())...)
	items := endorse.Parse("chain.pem", twice)
	if items[0].Name != "chain.pem" || items[1].Name != "chain.pem#2" {
		t.Errorf("%q, %q", items[0].Name, items[1].Name)
	}
	items = endorse.Parse(strings.Repeat("é", 200), twice)
	if len(items[0].Name) > endorse.MaxName || len(items[1].Name) > endorse.MaxName {
		t.Error("a long name is kept")
	}
}

// TestAllocations bounds what hostile files may cost.
func TestAllocations(t *testing.T) {
	for name, data := range map[string][]byte{
		"numbers": []byte("[" + strings.Repeat("1,", 500_000) + "1]"),
		"maps":    []byte("[" + strings.Repeat("{},", 300_000) + "{}]"),
		"members": []byte("{" + strings.Repeat(`"a":1,`, 150_000) + `"a":1}`),
		"strings": []byte("[" + strings.Repeat(`"x",`, 200_000) + `"x"]`),
		"deep":    []byte(strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000)),
		"nested":  []byte(nested(900_000)),
		"pem":     bytes.Repeat([]byte("-----BEGIN X-----\nAAAA\n-----END X-----\n"), 25_000),
		"der":     bytes.Repeat([]byte{0x30, 0x03, 2, 1, 0}, 200_000),
		"table":   append(guidTable("63da758de6644564adc5f4b93be8accd", nil)[:24], make([]byte, 1_000_000)...),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		items := endorse.Parse("x", data)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; len(items) != 0 || n > 48*uint64(len(data)) {
			t.Errorf("%s: %d items, %d bytes for %d of input", name, len(items), n, len(data))
		}
	}
}

// nested wraps bytes in base64 again and again, up to about n bytes.
func nested(n int) string {
	s := "x"
	for len(s)*4/3+4 < n {
		s = base64.StdEncoding.EncodeToString([]byte(s))
	}
	return s
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"tcbInfo":{},"signature":"00"}`))
	f.Add([]byte(`{"tcb_info":"{}","tcb_info_signature":"00","x":["\u0041",null,{}]}`))
	f.Add([]byte("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"))
	f.Add([]byte{0x30, 0x03, 0x0a, 1, 0})
	f.Add(guidTable("63da758de6644564adc5f4b93be8accd", []byte{0x30, 0}))
	f.Add([]byte("package policy"))
	f.Fuzz(func(t *testing.T, data []byte) {
		items := endorse.Parse("x", data)
		if _, err := endorse.NewSet(items...); err != nil {
			t.Error(err)
		}
		for _, it := range items {
			if again := endorse.Parse("x", it.Data); it.Kind != endorse.PublicKey && (len(again) == 0 || again[0].Kind != it.Kind) {
				t.Errorf("%s is not recognised again", it.Kind)
			}
		}
	})
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"body":{"created":"2026-11-20T12:00:00Z","expires":"2026-12-20T12:00:00Z","items":[]},"signatures":[],"type":"strongroom/endorsements/v1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := endorse.Open(data, nil, moment("2026-11-24T00:00:00Z").Time()); err == nil {
			t.Error("opened by a reader that trusts nobody")
		}
	})
}
