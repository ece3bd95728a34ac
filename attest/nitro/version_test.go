package nitro_test

import (
	"testing"

	"strongroom.dev/attest/nitro"
	"strongroom.dev/endorse"
)

// TestEndorsements: lists that are current and genuine are told, forged ones are not.
func TestEndorsements(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	region, instance := w.list(0), w.list(2)
	f, err := nitro.NewUnder(w.chain[0], region, other.list(1), instance).Examine(w.document(w.payload()), w.now)
	if err != nil || len(f.Endorsements) != 2 || f.Endorsements[0] != endorse.VersionOfCRL(region) || f.Endorsements[1] != endorse.VersionOfCRL(instance) {
		t.Errorf("%v, %v", f.Endorsements, err)
	}
}
