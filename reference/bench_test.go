package reference_test

import (
	"testing"

	"strongroom.dev/reference"
)

func BenchmarkVerify(b *testing.B) {
	data, line := must(good().Encode()), testLine()
	for b.Loop() {
		if _, err := reference.Verify(data, line, reference.Name{}, now); err != nil {
			b.Fatal(err)
		}
	}
}
