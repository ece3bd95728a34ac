package server

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"strongroom.dev/verifier"
)

// metrics count requests and their times, for Prometheus (text format 0.0.4). They are a dozen
// counters and one histogram: the usual client library would bring a registry, global state and
// protocol buffers along for that.
type metrics struct {
	mu     sync.Mutex
	routes map[string]*routeMetrics
}

type routeMetrics struct {
	status  map[int]uint64
	buckets []uint64 // as in bounds, and one beyond
	seconds float64
}

// bounds are the upper bounds of the histogram in seconds.
func bounds() []float64 {
	return []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5}
}

func newMetrics() *metrics { return &metrics{routes: make(map[string]*routeMetrics)} }

// noted is a response whose status is remembered.
type noted struct {
	http.ResponseWriter
	status int
}

func (n *noted) WriteHeader(status int) { n.status = status; n.ResponseWriter.WriteHeader(status) }

// measured counts a route's requests under its pattern, never under what was asked for.
func (m *metrics) measured(pattern string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, n := time.Now(), &noted{w, http.StatusOK}
		next.ServeHTTP(n, r)
		m.note(pattern, n.status, time.Since(began).Seconds())
	})
}

func (m *metrics) note(pattern string, status int, seconds float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.routes[pattern]
	if r == nil {
		r = &routeMetrics{status: make(map[int]uint64), buckets: make([]uint64, len(bounds())+1)}
		m.routes[pattern] = r
	}
	r.status[status]++
	r.seconds += seconds
	at, _ := slices.BinarySearch(bounds(), seconds)
	r.buckets[at]++
}

// text writes everything.
func (m *metrics) text(s verifier.Stats) []byte {
	var b bytes.Buffer
	head := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	head("strongroom_attestation_challenges_total", "counter", "Challenges and nonces issued.")
	fmt.Fprintf(&b, "strongroom_attestation_challenges_total %d\n", s.Challenges)
	head("strongroom_attestation_verdicts_total", "counter", "Evidence judged, by platform and verdict.")
	for _, c := range s.Verdicts {
		fmt.Fprintf(&b, "strongroom_attestation_verdicts_total{platform=%q,verdict=%q} %d\n", string(c.What.Platform), c.What.Verdict, c.N)
	}
	head("strongroom_attestation_tokens_total", "counter", "Tokens issued, by shape.")
	for _, c := range s.Tokens {
		fmt.Fprintf(&b, "strongroom_attestation_tokens_total{shape=%q} %d\n", c.What, c.N)
	}
	head("strongroom_attestation_key_expiry_timestamp_seconds", "gauge", "When the newest key of a shape stops signing, in seconds since 1970.")
	for _, c := range s.KeyExpiry {
		fmt.Fprintf(&b, "strongroom_attestation_key_expiry_timestamp_seconds{shape=%q} %d\n", c.What, c.N)
	}
	for _, g := range []struct {
		name, help string
		left       *time.Duration
	}{
		{"strongroom_attestation_endorsements_left_seconds", "Time until the endorsement that ends first has ended; negative after that.", s.EndorsementsLeft},
		{"strongroom_attestation_references_left_seconds", "Time until the first product's newest set of reference values has expired; negative after that.", s.ReferencesLeft},
	} {
		if g.left != nil { // nothing at hand ends: no number would be true
			head(g.name, "gauge", g.help)
			fmt.Fprintf(&b, "%s %d\n", g.name, int64(g.left.Seconds()))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	head("strongroom_http_requests_total", "counter", "Requests, by route and status.")
	for _, pattern := range slices.Sorted(maps.Keys(m.routes)) {
		for _, status := range slices.Sorted(maps.Keys(m.routes[pattern].status)) {
			fmt.Fprintf(&b, "strongroom_http_requests_total{route=%q,status=\"%d\"} %d\n", pattern, status, m.routes[pattern].status[status])
		}
	}
	head("strongroom_http_request_seconds", "histogram", "Time from the header of a request to the end of its answer.")
	for _, pattern := range slices.Sorted(maps.Keys(m.routes)) {
		m.routes[pattern].histogram(&b, pattern)
	}
	return b.Bytes()
}

func (r *routeMetrics) histogram(b *bytes.Buffer, pattern string) {
	var sum uint64
	for i, n := range r.buckets {
		bound := "+Inf"
		if i < len(bounds()) {
			bound = strconv.FormatFloat(bounds()[i], 'g', -1, 64)
		}
		sum += n
		fmt.Fprintf(b, "strongroom_http_request_seconds_bucket{route=%q,le=%q} %d\n", pattern, bound, sum)
	}
	fmt.Fprintf(b, "strongroom_http_request_seconds_sum{route=%q} %g\nstrongroom_http_request_seconds_count{route=%q} %d\n", pattern, r.seconds, pattern, sum)
}
