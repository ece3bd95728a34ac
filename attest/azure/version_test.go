package azure_test

import (
	"slices"
	"testing"

	"strongroom.dev/internal/evidencetest"
	"strongroom.dev/lineage"
)

// TestEndorsements: what the hardware's report was judged by is told.
func TestEndorsements(t *testing.T) {
	for tdx, want := range map[bool][]string{
		false: {"the CRL of ARK-Milan"},
		true:  {"Intel's evaluation numbers for TDX", "the CRL of Intel SGX PCK Platform CA", "the CRL of Intel SGX Root CA", "the TCB information for TDX, FMSPC 00806F050000", "the identity of Intel's enclave TD_QE"},
	} {
		e, v, day, _ := base(t, tdx)
		f, err := v.Examine(encode(t, e), evidencetest.Time(day))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range lineage.Newest(f.Endorsements) {
			got = append(got, v.Name)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	}
}
