package server

import "time"

// Posted is for tests.
var Posted = posted

// Routes lists every operation, as "METHOD /path".
func (a *Attestation) Routes() (all []string) {
	for _, r := range append(a.publicRoutes(), a.adminRoutes()...) {
		all = append(all, r.method+" "+r.path)
	}
	return all
}

// ClientLimits are for tests of their own.
type ClientLimits = clientLimits

// NewClientLimits, TakeAt, PrefixOf and Known are for tests.
var (
	NewClientLimits = newClientLimits
	PrefixOf        = prefixOf
)

// TakeAt takes one request at a time.
func (l *clientLimits) TakeAt(remote string, weight int, now time.Time) time.Duration {
	return l.takeAt(prefixOf(remote), weight, now)
}

// Known gives how many addresses are remembered.
func (l *clientLimits) Known() int { return len(l.clients) }
