package endorse_test

import (
	"slices"
	"testing"

	"strongroom.dev/endorse"
)

// TestPins: what nobody signs is never an attester's to give.
func TestPins(t *testing.T) {
	unsigned := []endorse.Kind{endorse.ContainerPolicy, endorse.PublicKey, endorse.X509Request}
	for _, k := range endorse.Kinds() {
		if k.Pins() != slices.Contains(unsigned, k) {
			t.Errorf("%s pins: %v", k, k.Pins())
		}
	}
}
