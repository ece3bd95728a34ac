package ingress

import (
	"slices"
	"sync"

	"strongroom.dev/verdict"
)

// places are those of connections. Strangers, whom no rule has admitted yet, have some of them
// and no more, so that they never keep out those that were admitted; and a stranger that comes
// when all of these are taken gets that of the one who came first: who holds places by
// being slow holds none against others.
type places struct {
	mu        sync.Mutex // owns what follows, and every place
	admitted  int
	strangers []*place // whoever came first stands first
}

// place is one connection's, or that of a session of the tunnel until it is admitted.
type place struct {
	of    *places
	shut  func() // ends whoever has it
	state placeState
}

type placeState int

const (
	strange placeState = iota
	known
	left
	taken // by another stranger
)

// enter gives a stranger a place. shut is called if another needs it.
func (p *places) enter(shut func()) (*place, error) {
	one, first := &place{of: p, shut: shut}, (*place)(nil)
	p.mu.Lock()
	free := min(maxStrangers, MaxConnections-p.admitted)
	if free > 0 {
		if len(p.strangers) >= free {
			first = p.strangers[0]
			first.move(taken)
		}
		p.strangers = append(p.strangers, one)
	}
	p.mu.Unlock()
	if free <= 0 {
		return nil, busy("connections")
	}
	if first != nil {
		first.shut()
	}
	return one, nil
}

// move is called with the mutex held.
func (p *place) move(to placeState) {
	switch p.state {
	case strange:
		i := slices.Index(p.of.strangers, p)
		p.of.strangers = slices.Delete(p.of.strangers, i, i+1)
	case known:
		p.of.admitted--
	}
	if p.state = to; to == known {
		p.of.admitted++
	}
}

// admit makes a stranger's place one that nobody takes. It reports whether it still was there.
func (p *place) admit() bool {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if p.state == strange {
		p.move(known)
	}
	return p.state == known
}

// leave frees the place, and may be called again. It reports whether nobody took it before.
func (p *place) leave() bool {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if p.state == strange || p.state == known {
		p.move(left)
	}
	return p.state == left
}

// explain says of what broke because the place was taken that this is why.
func (p *place) explain(err error) error {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if err != nil && p.state == taken {
		return busy("connections that are not admitted yet")
	}
	return err
}

func busy(what string) error {
	return &verdict.Error{Kind: verdict.Broken, Check: "ingress.busy", Expected: "room for another connection", Got: "too many " + what, Fix: "try again in a moment"}
}
