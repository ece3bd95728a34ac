package azure_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"strongroom.dev/attest/azure"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/measure"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// evidence brings Trustee's evidence into this program's own form.
func evidence(t testing.TB, name string) azure.Evidence {
	t.Helper()
	var raw struct {
		HCLReport tpm2.AnyBytes   `json:"hcl_report"`
		TPMQuote  json.RawMessage `json:"tpm_quote"`
		VCEK      string          `json:"vcek"`
		TDQuote   tpm2.AnyBytes   `json:"td_quote"`
		Evidence  json.RawMessage `json:"evidence"`
	}
	data := evidencetest.Read(t, name)
	for range 2 { // attestation-rs wraps it
		if err := json.Unmarshal(data, &raw); err != nil {
			t.Fatal(err)
		}
		data = raw.Evidence
		if data == nil {
			break
		}
	}
	q, err := tpm2.ParseJSON(raw.TPMQuote)
	if err != nil {
		t.Fatal(err)
	}
	e := azure.Evidence{HCLReport: wire.Bytes(raw.HCLReport), TDQuote: wire.Bytes(raw.TDQuote), Quotes: []tpm2.Document{q.Document()}}
	if raw.VCEK != "" {
		quoted, err := json.Marshal(raw.VCEK)
		if err != nil {
			t.Fatal(err)
		}
		var der tpm2.AnyBytes
		if err := der.UnmarshalJSON(quoted); err != nil {
			t.Fatal(err)
		}
		e.Certificates = []wire.Bytes{wire.Bytes(der)}
	}
	return e
}

func encode(t testing.TB, e azure.Evidence) []byte {
	t.Helper()
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// put writes a number of 32 bits into an HCL report.
func put(e *azure.Evidence, at int, value uint32) {
	binary.LittleEndian.PutUint32(e.HCLReport[at:], value)
}

// add adds to numbers of an HCL report.
func add(e *azure.Evidence, n uint32, at ...int) {
	for _, a := range at {
		put(e, a, binary.LittleEndian.Uint32(e.HCLReport[a:])+n)
	}
}

// rewrite replaces text in the runtime data by text of the same length.
func rewrite(t *testing.T, e *azure.Evidence, old, new string) {
	t.Helper()
	if len(old) != len(new) || bytes.Count(e.HCLReport, []byte(old)) != 1 {
		t.Fatalf("%q is %d times in the runtime data", old, bytes.Count(e.HCLReport, []byte(old)))
	}
	e.HCLReport = bytes.Replace(e.HCLReport, []byte(old), []byte(new), 1)
}

// rule is one rule: a change to genuine evidence, and what must come of it.
type rule struct {
	name   string
	tdx    bool
	change func(*testing.T, *azure.Evidence)
	err    string // id of the check, for what is not genuine
	failed string // ids of failed checks, beside those of the unaltered evidence
}

func reportRules() []rule {
	set := func(at int, value uint32) func(*testing.T, *azure.Evidence) {
		return func(_ *testing.T, e *azure.Evidence) { put(e, at, value) }
	}
	return []rule{
		{name: "good", change: func(*testing.T, *azure.Evidence) {}},
		{name: "good, TDX", tdx: true, change: func(*testing.T, *azure.Evidence) {}},
		{name: "HCL signature", err: "azure.hcl_report", change: set(0, 0x42434448)},
		{name: "HCL header of version 3", err: "azure.hcl_report", change: set(4, 3)},
		{name: "HCL header of version 0", err: "azure.hcl_report", change: set(4, 0)},
		{name: "HCL request of another type", err: "azure.hcl_report", change: set(12, 1)},
		{name: "HCL report that failed", err: "azure.hcl_report", change: set(16, 1)},
		{name: "HCL reserved bytes", err: "azure.hcl_report", change: set(28, 1)},
		{name: "HCL version not 1", err: "azure.hcl_report", change: set(1220, 2)},
		{name: "HCL hash type not SHA-256", err: "azure.hcl_report", change: set(1228, 2)},
		{name: "HCL report type for TDX", err: "azure.binding", change: set(1224, 4)},
		{name: "HCL report type for VBS", err: "azure.hcl_report", change: set(1224, 1)},
		{name: "HCL report type for SNP over a TDREPORT", tdx: true, err: "azure.hardware", change: set(1224, 2)},
		{name: "variable data size includes padding", err: "azure.runtime_data", change: func(_ *testing.T, e *azure.Evidence) { add(e, 4, 8, 1216, 1232) }},
		{name: "variable data a byte short", err: "azure.hcl_report", change: func(_ *testing.T, e *azure.Evidence) { add(e, ^uint32(0), 8, 1216, 1232) }},
		{name: "sizes that don't agree", err: "azure.hcl_report", change: func(_ *testing.T, e *azure.Evidence) { add(e, 1, 1216) }},
		{name: "report size alone", err: "azure.hcl_report", change: func(_ *testing.T, e *azure.Evidence) { add(e, 1, 8) }},
		{name: "variable data beyond the end", err: "azure.hcl_report", change: func(_ *testing.T, e *azure.Evidence) { add(e, 1<<31, 8, 1216, 1232) }},
		{name: "sizes that wrap around", err: "azure.hcl_report", change: func(_ *testing.T, e *azure.Evidence) {
			put(e, 1232, ^uint32(0)-19)
			put(e, 1216, 0)
			put(e, 8, 1216)
		}},
		{name: "cut short", err: "azure.hcl_report", change: func(_ *testing.T, e *azure.Evidence) { e.HCLReport = e.HCLReport[:1235] }},
		{name: "cut within the runtime data", err: "azure.hcl_report", change: func(_ *testing.T, e *azure.Evidence) { e.HCLReport = e.HCLReport[:1300] }},
		{name: "no padding", change: func(_ *testing.T, e *azure.Evidence) { e.HCLReport = bytes.TrimRight(e.HCLReport, "\x00") }},
		{name: "padding that is not zero", err: "azure.hcl_report", change: func(_ *testing.T, e *azure.Evidence) { e.HCLReport[len(e.HCLReport)-1] = 1 }},
		{name: "too long", err: "azure.hcl_report", change: func(_ *testing.T, e *azure.Evidence) {
			e.HCLReport = append(e.HCLReport, make([]byte, azure.MaxReport)...)
		}},
		{name: "report data with more than the hash", tdx: true, err: "azure.binding", change: func(_ *testing.T, e *azure.Evidence) { e.HCLReport[32+128+40] = 1 }},
		{name: "bytes behind a TDREPORT", tdx: true, err: "azure.hcl_report", change: func(_ *testing.T, e *azure.Evidence) { e.HCLReport[1215] = 1 }},
		{name: "configuration altered", err: "azure.binding", change: func(t *testing.T, e *azure.Evidence) { rewrite(t, e, `"secure-boot":true`, `"secure-boot":null`) }},
		{name: "key name altered", err: "azure.runtime_data", change: func(t *testing.T, e *azure.Evidence) { rewrite(t, e, "HCLAkPub", "HCLApPub") }},
		{name: "two attestation keys", err: "azure.runtime_data", change: func(t *testing.T, e *azure.Evidence) { rewrite(t, e, "HCLEkPub", "HCLAkPub") }},
		{name: "attestation key with exponent 3", err: "azure.runtime_data", change: func(t *testing.T, e *azure.Evidence) {
			e.HCLReport = bytes.Replace(e.HCLReport, []byte(`"e":"AQAB"`), []byte(`"e":"AAAD"`), 1)
		}},
		{name: "duplicate member in the runtime data", err: "azure.runtime_data", change: func(t *testing.T, e *azure.Evidence) { rewrite(t, e, `"tpm-enabled"`, `"Secure-boot"`) }},
	}
}

func partRules() []rule {
	other := func(t *testing.T) azure.Evidence { return evidence(t, snp+"evidence-v1.json") }
	return []rule{
		{name: "HCL report of another machine", err: "azure.quote", change: func(t *testing.T, e *azure.Evidence) {
			o := other(t)
			e.HCLReport, e.Certificates = o.HCLReport, o.Certificates
		}},
		{name: "quote of another machine", err: "azure.quote", change: func(t *testing.T, e *azure.Evidence) { e.Quotes = other(t).Quotes }},
		{name: "hardware report of another machine in it", err: "azure.binding", change: func(t *testing.T, e *azure.Evidence) {
			o := evidence(t, rsSNP+"evidence-v1.json")
			copy(e.HCLReport[32:1216], o.HCLReport[32:1216])
			e.Certificates = o.Certificates
		}},
		{name: "quote by a key of the owner's", err: "azure.quote", change: ownerKey},
		{name: "quoted PCRs altered", err: "azure.quote", change: func(_ *testing.T, e *azure.Evidence) { e.Quotes[0].Banks["sha256"]["7"] = make([]byte, 32) }},
		{name: "values of 23 PCRs", err: "azure.quote", change: func(_ *testing.T, e *azure.Evidence) { delete(e.Quotes[0].Banks["sha256"], "23") }},
		{name: "register outside the bank", err: "azure.form", change: func(_ *testing.T, e *azure.Evidence) { e.Quotes[0].Banks["sha256"]["24"] = make([]byte, 32) }},
		{name: "another bank", err: "azure.quote", change: func(_ *testing.T, e *azure.Evidence) {
			e.Quotes[0].Banks["sha384"] = e.Quotes[0].Banks["sha256"]
			delete(e.Quotes[0].Banks, "sha256")
		}},
		{name: "CPU without vTPM", err: "azure.form", change: func(_ *testing.T, e *azure.Evidence) { e.Quotes = nil }},
		{name: "chip certificate of another machine", err: "snp.tcb", change: func(t *testing.T, e *azure.Evidence) {
			e.Certificates = evidence(t, rsSNP+"evidence-v1.json").Certificates
		}},
		{name: "chip certificate altered", err: "snp.chain", change: func(_ *testing.T, e *azure.Evidence) {
			e.Certificates[0] = bytes.Clone(e.Certificates[0])
			e.Certificates[0][len(e.Certificates[0])-9] ^= 1
		}},
		{name: "chip certificate that is none", err: "azure.form", change: func(_ *testing.T, e *azure.Evidence) { e.Certificates[0] = e.Certificates[0][:40] }},
		{name: "no chip certificate", failed: "snp.collateral", change: func(_ *testing.T, e *azure.Evidence) { e.Certificates = nil }},
		{name: "too many certificates", err: "azure.form", change: func(_ *testing.T, e *azure.Evidence) {
			for range azure.MaxCertificates {
				e.Certificates = append(e.Certificates, e.Certificates[0])
			}
		}},
		{name: "SNP report with a TD quote", err: "azure.hardware", change: func(t *testing.T, e *azure.Evidence) { e.TDQuote = evidence(t, rsTDX+"evidence-v1.json").TDQuote }},
		{name: "TD quote of another machine", tdx: true, err: "azure.hardware", change: func(t *testing.T, e *azure.Evidence) {
			e.TDQuote = evidencetest.Read(t, phala+"tdx_quote")
		}},
		{name: "TDREPORT with other measurements", tdx: true, err: "azure.hardware", change: func(_ *testing.T, e *azure.Evidence) { e.HCLReport[32+720] ^= 1 }},
		{name: "TDREPORT with other attributes", tdx: true, err: "azure.hardware", change: func(_ *testing.T, e *azure.Evidence) { e.HCLReport[32+512] ^= 1 }},
		{name: "TDREPORT of another module", tdx: true, err: "azure.hardware", change: func(_ *testing.T, e *azure.Evidence) { e.HCLReport[32+280] ^= 1 }},
		{name: "TDREPORT of another type", tdx: true, err: "azure.hardware", change: func(_ *testing.T, e *azure.Evidence) { e.HCLReport[32] = 0 }},
		{name: "TD quote altered", tdx: true, err: "tdx.signature", change: func(_ *testing.T, e *azure.Evidence) { e.TDQuote[48+520] ^= 1 }},
		{name: "TD quote too long", tdx: true, err: "azure.hardware", change: func(_ *testing.T, e *azure.Evidence) { e.TDQuote = append(e.TDQuote, make([]byte, azure.MaxQuote)...) }},
		{name: "no TD quote", tdx: true, failed: "azure.hardware", change: func(_ *testing.T, e *azure.Evidence) { e.TDQuote = nil }},
		{name: "init data that the PCR does not hold", err: "azure.init_data", change: func(_ *testing.T, e *azure.Evidence) { e.InitData = measure.SHA256.Sum(nil) }},
		{name: "event log of another machine", failed: "azure.event_log", change: func(t *testing.T, e *azure.Evidence) {
			e.EventLog = evidencetest.Read(t, "tpm/google+go-eventlog/testdata/eventlogs/tpm/cos-93-amd-sev.bin")
		}},
		{name: "event log that is none", err: "azure.event_log", change: func(_ *testing.T, e *azure.Evidence) { e.EventLog = []byte("boot") }},
	}
}

// ownerKey has the quote made by a key that is not the virtual TPM's own.
func ownerKey(t *testing.T, e *azure.Evidence) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if e.Quotes[0].Signature, err = key.Sign(rand.Reader, measure.SHA256.Sum(e.Quotes[0].Message), crypto.SHA256); err != nil {
		t.Fatal(err)
	}
}

// base is genuine evidence, what verifies it, its time, and the checks it fails as it is.
func base(t testing.TB, tdx bool) (azure.Evidence, azure.Verifier, string, string) {
	t.Helper()
	if tdx {
		return evidence(t, rsTDX+"evidence-v1.json"), azure.New(evidencetest.Set(t, may2025()...)), "2025-06-20", "tdx.tcb.platform tdx.tcb.module tdx.tcb"
	}
	return evidence(t, snp+"evidence-v2.json"), azure.New(evidencetest.Set(t, lists)), "2025-06-01", ""
}

// TestRules goes through every rule.
func TestRules(t *testing.T) {
	for _, r := range append(reportRules(), partRules()...) {
		t.Run(r.name, func(t *testing.T) {
			e, v, day, failing := base(t, r.tdx)
			r.change(t, &e)
			f, err := v.Examine(encode(t, e), evidencetest.Time(day))
			if r.err != "" {
				if err == nil || verdict.As(err).Check != r.err || verdict.As(err).Kind != verdict.Invalid {
					t.Errorf("%v (failed %s), expected %s", err, evidencetest.Failed(f), r.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.failed == "" && evidencetest.Failed(f) != failing || !strings.Contains(evidencetest.Failed(f), r.failed) {
				t.Errorf("failed %q, expected %q beside %q", evidencetest.Failed(f), r.failed, failing)
			}
			if _, err := v.Platform().Verify(encode(t, e), evidencetest.Time(day)); (err == nil) != (evidencetest.Failed(f) == "") {
				t.Errorf("as a platform: %v", err)
			}
		})
	}
}

// TestJSONRefused refuses JSON that could be read in two ways, or as two kinds of evidence.
func TestJSONRefused(t *testing.T) {
	data := string(evidencetest.Read(t, snp+"evidence-v2.json"))
	open := strings.Index(data, "{") + 1
	first := func(member string) string { return data[:open] + member + "," + data[open:] }
	wrapped := string(evidencetest.Read(t, rsSNP+"evidence-v1.json"))
	v := azure.New(evidencetest.Set(t, lists))
	for name, text := range map[string]string{"as it is": data, "an unknown member": first(`"test_purpose":true`)} {
		if f, err := v.Examine([]byte(text), evidencetest.Time("2025-06-01")); err != nil || evidencetest.Failed(f) != "" {
			t.Fatalf("%s: %v %s", name, err, evidencetest.Failed(f))
		}
	}
	if f, err := v.Examine([]byte(strings.Replace(data, `"vcek"`, `"certificate"`, 1)), evidencetest.Time("2025-06-01")); err != nil || evidencetest.Failed(f) != "snp.collateral" {
		t.Errorf("without the chip's certificate: %v %s", err, evidencetest.Failed(f))
	}
	for name, text := range map[string]string{
		"duplicate member":             first(`"version":2`),
		"duplicate in capitals":        first(`"VCEK":"00"`),
		"null member":                  first(`"td_quote":null`),
		"a TD quote as well":           first(`"td_quote":"0000"`),
		"an older report as well":      first(`"report":"0000"`),
		"an older quote as well":       first(`"quote":{}`),
		"text behind it":               data + "{}",
		"null for the report":          strings.Replace(data, `"hcl_report": "`, `"hcl_report": null, "x": "`, 1),
		"object as array":              "[" + data + "]",
		"another type":                 first(`"type":"strongroom/azure-evidence/v2"`),
		"platform unknown":             strings.Replace(wrapped, `"az-snp"`, `"az-cca"`, 1),
		"TDX named SNP":                strings.Replace(string(evidencetest.Read(t, rsTDX+"evidence-v1.json")), `"az-tdx"`, `"az-snp"`, 1),
		"platform of another hardware": strings.Replace(wrapped, `"az-snp"`, `"az-tdx"`, 1),
		"nothing":                      "",
		"an empty object":              "{}",
		"over the size allowed":        data + strings.Repeat(" ", azure.MaxEvidence),
	} {
		if text == data || text == wrapped {
			t.Errorf("%s: nothing was altered", name)
		}
		if _, err := v.Examine([]byte(text), evidencetest.Time("2025-06-01")); err == nil || !strings.HasPrefix(verdict.As(err).Check, "azure.") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForms reads the HCL report in every spelling.
func TestForms(t *testing.T) {
	report := evidencetest.Read(t, snp+"hcl-report.bin")
	v := azure.New(evidencetest.Set(t, snp+"vcek.pem", lists))
	for name, data := range map[string][]byte{
		"raw": report, "PEM": pem.EncodeToMemory(&pem.Block{Type: "REPORT", Bytes: report}),
		"base64": []byte(encodeText(t, report)),
	} {
		if f, err := v.Examine(data, evidencetest.Time("2025-06-01")); err != nil || evidencetest.Failed(f) != "" || len(f.Facts.ReportData) != 0 || !azure.Detect(data) {
			t.Errorf("%s: %v %s", name, err, evidencetest.Failed(f))
		}
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "HCL REPORT", Bytes: evidencetest.Read(t, tdx+"hcl-report.bin")}), pem.EncodeToMemory(&pem.Block{Type: "QUOTE", Bytes: evidencetest.Read(t, tdx+"td-quote.bin")})...)
	if f, err := azure.New(evidencetest.Set(t, may2025()...)).Examine(both, evidencetest.Time("2025-06-20")); err != nil || evidencetest.Failed(f) != "tdx.tcb.platform tdx.tcb.module tdx.tcb" || !azure.Detect(both) {
		t.Errorf("report and TD quote in PEM: %v %s", err, evidencetest.Failed(f))
	}
	for name, data := range map[string][]byte{"two reports": append(pem.EncodeToMemory(&pem.Block{Type: "REPORT", Bytes: report}), pem.EncodeToMemory(&pem.Block{Type: "REPORT", Bytes: report})...), "PEM of something else": pem.EncodeToMemory(&pem.Block{Type: "REPORT", Bytes: []byte("{}")}), "text": []byte("HCL"), "nothing": nil} {
		if _, err := v.Examine(data, evidencetest.Time("2025-06-01")); err == nil || azure.Detect(data) {
			t.Errorf("%s: taken for evidence", name)
		}
	}
}

func encodeText(t *testing.T, b []byte) string {
	t.Helper()
	text, err := wire.Bytes(b).MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
