package composite_test

import (
	"testing"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/composite"
	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
	"strongroom.dev/wire"
)

// TestEndorsements: those of all parts are told.
func TestEndorsements(t *testing.T) {
	relying := func(name wire.ID) attest.Examiner {
		x := pretended(name)
		return attest.Examiner{Name: name, Examine: func(evidence []byte, now time.Time) (attest.Finding, error) {
			f, err := x.Examine(evidence, now)
			f.Endorsements = []lineage.Version{endorse.NewVersion(endorse.X509CRL, string(name), endorse.Dates{Issued: now}, evidence)}
			return f, err
		}}
	}
	v := composite.Verifier{CPUs: []attest.Examiner{relying("cpu")}, Devices: []attest.Examiner{relying("gpu")}}
	e, err := made(t, change{}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	f, err := v.Examine(e.Evidence, now)
	if err != nil || len(f.Endorsements) != 3 || f.Endorsements[0].Name != "cpu" || f.Endorsements[1].Name != "gpu" || f.Endorsements[2].Digest == f.Endorsements[1].Digest {
		t.Errorf("%v, %v", f.Endorsements, err)
	}
}
