package volume

import (
	"context"
	"path/filepath"
	"time"

	"strongroom.dev/wire"
)

const (
	// moment is how long a keeper lets who asks for a root wait: the room must be able to have
	// the key taken away before a root of much content is there.
	moment = 100 * time.Millisecond
	// haltTime is how long a keeper waits for a root to be given up before it takes the key
	// away, which makes the rest unreadable anyway.
	haltTime = time.Second
)

// rooting is a root that is being computed.
type rooting struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when what follows is set
	root   wire.Hash
	err    error
}

// root writes the content out and gives its root, or More if that takes longer than a moment.
func (h *held) root(bytes int64) (Answer, error) {
	if h.rooting == nil {
		ctx, cancel := context.WithCancel(context.Background())
		r := &rooting{cancel: cancel, done: make(chan struct{})}
		h.rooting = r
		go func() {
			defer close(r.done)
			defer cancel()
			if r.err = h.sync(); r.err == nil {
				// More than a file system of these bytes can hold, whose device may be a little larger.
				r.root, r.err = RootOf(ctx, filepath.Join(h.dir, content), 2*bytes)
			}
		}()
	}
	r := h.rooting
	select {
	case <-r.done:
	case <-time.After(moment):
		return Answer{More: true}, nil
	}
	h.rooting = nil
	if r.err != nil {
		return Answer{}, r.err
	}
	return Answer{Root: &r.root}, nil
}

// halt gives up a root that is being computed.
func (h *held) halt() {
	if h.rooting == nil {
		return
	}
	h.rooting.cancel()
	select {
	case <-h.rooting.done:
	case <-time.After(haltTime):
	}
	h.rooting = nil
}
