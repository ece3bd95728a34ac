package azure_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/attest/azure"
	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/tpm2"
)

func TestAssembleRefuses(t *testing.T) {
	quote, report := evidencetest.Read(t, tdx+"td-quote.bin"), make([]byte, 1184)
	for what, c := range map[string]struct {
		snp, td, runtime []byte
		why              string
	}{
		"nothing":          {nil, nil, []byte("{}"), "one of the two"},
		"both":             {report, quote, []byte("{}"), "one of the two"},
		"a short report":   {report[1:], nil, []byte("{}"), "1183 bytes"},
		"half a quote":     {nil, quote[:500], []byte("{}"), ""},
		"an enclave's":     {nil, evidencetest.Read(t, "sgx/confidential-containers+trustee/deps/verifier/test_data/occlum_quote.dat"), []byte("{}"), "enclave"},
		"an endless quote": {nil, make([]byte, azure.MaxQuote+1), []byte("{}"), "at most"},
		"endless data":     {report, nil, make([]byte, azure.MaxReport), "at most"},
	} {
		if b, err := azure.Assemble(c.snp, c.td, c.runtime); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %d bytes, %v", what, len(b), err)
		}
	}
}

// TestAssemble: what is put together again from a genuine report's parts says what the report
// says, and other runtime data is found out.
func TestAssemble(t *testing.T) {
	for what, c := range map[string]struct {
		evidence, at string
		with         []string
	}{
		"SEV-SNP": {snp + "evidence-v2.json", "2025-06-01", []string{lists}},
		"TDX":     {tdx + "evidence-v0.json", "2025-06-20", may2025()},
	} {
		var doc map[string]json.RawMessage
		var report, quote tpm2.AnyBytes
		if err := json.Unmarshal(evidencetest.Read(t, c.evidence), &doc); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(doc["hcl_report"], &report); err != nil {
			t.Fatal(err)
		}
		if doc["td_quote"] != nil {
			if err := json.Unmarshal(doc["td_quote"], &quote); err != nil {
				t.Fatal(err)
			}
		}
		parts, err := azure.ParseReport(report)
		if err != nil {
			t.Fatal(err)
		}
		v := azure.New(evidencetest.Set(t, c.with...))
		examine := func(report []byte) (string, map[string]any) {
			doc["hcl_report"], _ = json.Marshal(report)
			data, _ := json.Marshal(doc)
			f, err := v.Examine(data, evidencetest.Time(c.at))
			return evidencetest.Judge(f, err), f.Claims
		}
		again, err := azure.Assemble(parts.SNP, quote, parts.Runtime)
		if err != nil {
			t.Fatal(err)
		}
		want, claims := examine(report)
		got, others := examine(again)
		delete(claims, "hcl_version")
		delete(others, "hcl_version")
		if diff := cmp.Diff(claims, others); got != want || diff != "" || len(claims) == 0 {
			t.Errorf("%s: %s, and of the original %s; claims: %s", what, got, want, diff)
		}
		other := append(bytes.Clone(parts.Runtime[:len(parts.Runtime)-1]), ' ', '}')
		if again, err = azure.Assemble(parts.SNP, quote, other); err != nil {
			t.Fatal(err)
		}
		if got, _ := examine(again); got != "invalid evidence azure.binding" {
			t.Errorf("%s with other runtime data: %s", what, got)
		}
	}
}
