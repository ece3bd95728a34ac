package container

import (
	"context"
	"errors"
	"io"
	"time"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/container/egress"
	"strongroom.dev/workload/container/transit"
)

// Bounds of connections to one far end: a container that opens more waits for its own.
const (
	maxOutward = 64
	// dialing is how long a host may take to find a far end, and that to prove itself.
	dialing = 30 * time.Second
)

// relay carries the connections that the container makes to one far end.
func (r *Running) relay(ctx context.Context, e place) {
	slots := make(chan struct{}, maxOutward)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		inner, err := r.cell.Accept(ctx, e.address)
		if err != nil {
			return // the cell is gone
		}
		r.work.Go(func() {
			defer func() { <-slots }()
			defer inner.Close()
			if err := r.carry(ctx, e, inner); err != nil && ctx.Err() == nil {
				r.machine.Event(EventEgress, string(e.Name)+": "+verdict.Short(verdict.As(err).Error()))
			}
		})
	}
}

// carry carries one connection. What the container sends waits until the far end has proven
// who it is. How a connection ends after that is the container's own business.
func (r *Running) carry(ctx context.Context, e place, inner Stream) error {
	if r.machine.Egress == nil {
		return verdict.Refuse("egress.none", "a way out", "none on this machine", "run it where the host offers egress")
	}
	raw, err := r.machine.Egress(ctx, e.Name)
	if err != nil {
		return err
	}
	defer raw.Close()
	// The raw stream is what ends everything at once: closing TLS says goodbye first, which a
	// host may keep waiting.
	stop := context.AfterFunc(ctx, func() { inner.Close(); raw.Close() })
	defer stop()
	outer, err := r.protect(ctx, e, raw)
	if err != nil {
		return err
	}
	egress.Splice(inner, outer)
	return nil
}

// protect gives the connection to a far end that has proven its identity.
func (r *Running) protect(ctx context.Context, e place, raw Stream) (Stream, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialing, errors.New("the far end did not prove itself in time"))
	defer cancel()
	if e.Room == "" {
		return egress.Client(ctx, raw, egress.Identity{Host: e.Host, Authorities: e.Authorities, Keys: e.Keys}, r.machine.Now())
	}
	if r.machine.Mesh == nil {
		return nil, verdict.Refuse("egress.room", "a machine that reaches other rooms", "none", "run it where rooms reach each other")
	}
	return r.machine.Mesh(ctx, e.Egress, raw)
}

// transit serves the endpoint for keys.
func (r *Running) transit(ctx context.Context) {
	endpoint := transit.Endpoint{Keys: map[wire.ID]transit.Key{}}
	for name, key := range r.plan.keys {
		endpoint.Keys[name] = transit.Key{Key: key, Uses: r.plan.uses[name]}
	}
	endpoint.Serve(ctx, func(ctx context.Context) (io.ReadWriteCloser, error) {
		return r.cell.Accept(ctx, r.plan.transit)
	})
}
