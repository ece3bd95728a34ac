package dcap_test

import (
	"testing"

	"strongroom.dev/dcap"
	"strongroom.dev/lineage"
)

// TestEndorsements: TCB information, identity and both CRLs are told, of lines that stay the same when
// Intel issues them anew.
func TestEndorsements(t *testing.T) {
	kinds := map[string]bool{}
	lines := map[lineage.Line]lineage.Version{}
	for i, change := range []func(*world){func(*world) {}, func(w *world) {
		w.info["tcbEvaluationDataNumber"] = w.info["tcbEvaluationDataNumber"].(int) + 1
		w.crlIssued = w.crlIssued.Add(3600e9)
	}} {
		w := newWorld(t)
		change(w)
		r, err := w.verifier().Examine(w.quote(), dcap.TDX, now)
		if err != nil || len(r.Endorsements) != 4 {
			t.Fatalf("%v, %v", r.Endorsements, err)
		}
		for _, v := range r.Endorsements {
			old, known := lines[v.Of]
			if known != (i == 1) || v.Digest.IsZero() {
				t.Errorf("%d: %+v", i, v)
			}
			if newer := old.Follows(v) != nil; i == 1 && newer != (v.Name != "the identity of Intel's enclave TD_QE") {
				t.Errorf("%v after %v", v, old)
			}
			lines[v.Of], kinds[v.Name] = v, true
		}
	}
	for _, name := range []string{"the TCB information for TDX, FMSPC 90C06F000000", "the identity of Intel's enclave TD_QE", "the CRL of Intel SGX Root CA", "the CRL of Intel SGX PCK Platform CA"} {
		if !kinds[name] {
			t.Errorf("no %q in %v", name, kinds)
		}
	}
}
