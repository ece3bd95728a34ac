package server

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// clientLimits bound how often one address may ask. Addresses of version 6 count by their /64,
// which is what one subscriber has.
type clientLimits struct {
	perSecond int

	mu      sync.Mutex
	clients map[netip.Prefix]*allowance
	swept   time.Time
}

// allowance is how much an address may still ask for, and when that was true.
type allowance struct {
	left float64
	at   time.Time
}

const (
	// maxClients is the most addresses remembered: some megabytes. Beyond it, those that have asked
	// for little are forgotten; if none has, so is everybody.
	maxClients = 1 << 16
	// burst is how many seconds' worth an address may ask for at once.
	burst = 10
	// weightUnit is how many bytes of a body count as one more request: reading a megabyte that is
	// made for it takes some 50 ms.
	weightUnit = 64 << 10
)

func newClientLimits(perSecond int) *clientLimits {
	return &clientLimits{perSecond: perSecond, clients: make(map[netip.Prefix]*allowance)}
}

// take lets a request through that counts as so many, or says how long to wait.
func (l *clientLimits) take(remote string, weight int) time.Duration {
	if l.perSecond <= 0 || weight <= 0 {
		return 0
	}
	return l.takeAt(prefixOf(remote), weight, time.Now())
}

func (l *clientLimits) takeAt(from netip.Prefix, weight int, now time.Time) time.Duration {
	most := float64(burst * l.perSecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.clients[from]
	if c == nil {
		l.sweep(now)
		c = &allowance{most, now}
		l.clients[from] = c
	}
	if passed := now.Sub(c.at).Seconds(); passed > 0 {
		c.left, c.at = min(c.left+passed*float64(l.perSecond), most), now
	}
	need := min(float64(weight), max(most-1, 1)) // beside the request itself; what can't be had would never come
	if c.left < need {
		return time.Duration((need - c.left) / float64(l.perSecond) * float64(time.Second))
	}
	c.left -= need
	return 0
}

// sweep forgets addresses whose allowance is full again: once in a while, and when there are too
// many.
func (l *clientLimits) sweep(now time.Time) {
	if len(l.clients) < maxClients && now.Sub(l.swept) < burst*time.Second {
		return
	}
	l.swept = now
	for from, c := range l.clients {
		if now.Sub(c.at) >= burst*time.Second {
			delete(l.clients, from)
		}
	}
	if len(l.clients) >= maxClients {
		clear(l.clients)
	}
}

// prefixOf gives what an address counts as. Requests without one, as over a Unix socket, count
// as one.
func prefixOf(remote string) netip.Prefix {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 64
	if addr = addr.Unmap(); addr.Is4() {
		bits = 32
	}
	p, err := addr.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
