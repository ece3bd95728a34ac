package privacy_test

import (
	"testing"

	"strongroom.dev/privacy"
	"strongroom.dev/wire"
)

// BenchmarkRelease is one group with a number of each kind: about 100 microseconds.
func BenchmarkRelease(b *testing.B) {
	for _, mechanism := range []wire.ID{privacy.Laplace, privacy.Gaussian} {
		b.Run(string(mechanism), func(b *testing.B) {
			q := one(mechanism, pure, false, everything(0, 100)...)
			p, err := q.Plan()
			if err != nil {
				b.Fatal(err)
			}
			cell := people(q, 500)
			for i := range b.N {
				if _, err := p.Release(numbered(i), cell); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRun is what a broker computes for each run: some milliseconds.
func BenchmarkRun(b *testing.B) {
	budget := privacy.Budget{Epsilon: 4e6, Delta: 1e12, Mechanism: privacy.Gaussian}
	for range b.N {
		if _, err := budget.Run(5e5); err != nil {
			b.Fatal(err)
		}
	}
}
