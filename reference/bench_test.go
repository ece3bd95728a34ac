package reference_test

import (
	"fmt"
	"testing"

	"strongroom.dev/reference"
	"strongroom.dev/wire"
)

func BenchmarkVerify(b *testing.B) {
	data, line := must(good().Encode()), testLine()
	for b.Loop() {
		if _, err := reference.Verify(data, line, reference.Name{}, now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLargest is of as many groups as there may be, each of a TPM's registers.
func BenchmarkLargest(b *testing.B) {
	v := testValues()
	v.Groups = nil
	for i := range reference.MaxGroups {
		g := reference.Group{Name: wire.ID(fmt.Sprintf("g%d", i)), Platform: "tpm", Measurements: map[string]string{}}
		for j := range 24 {
			g.Measurements[fmt.Sprintf("pcr%d", j)] = fmt.Sprintf("%064x", i*24+j+1)
		}
		v.Groups = append(v.Groups, g)
	}
	data := []byte(text(logged(signed(v, "one", "two"), testLog)))
	set := must(reference.Verify(data, testLine(), reference.Name{}, now))
	line := testLine()
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if _, err := reference.Verify(data, line, reference.Name{}, now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("match", func(b *testing.B) {
		for b.Loop() {
			set.Match(reference.Found{Platform: "tpm", Measurements: map[string]string{"pcr0": "aa"}})
		}
	})
}
