package broker_test

import (
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkRelease measures from the request with its evidence to the sealed key, on the
// disk that the temporary directory is on.
func BenchmarkRelease(b *testing.B) {
	for _, rooms := range []int{1, 8} {
		b.Run(map[int]string{1: "one room", 8: "eight rooms"}[rooms], func(b *testing.B) {
			w := newWorld(b)
			w.agreement.Inputs[0].RunsPerDay = 1_000_000
			br, a := w.newHouse().ready()
			requests := make([][]byte, b.N)
			for i := range requests {
				r := w.newRoom(a, w.newRun(a))
				must(b, r.getChallenge(br))
				requests[i] = r.request()
			}
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range rooms {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						if _, err := br.Release(ctx, requests[i]); err != nil {
							b.Error(err)
						}
					}
				}()
			}
			wg.Wait()
		})
	}
}
