// Package transit is an HTTP endpoint inside a room for keys that a container uses and never
// sees. It is shaped like the transit secrets engine of HashiCorp Vault (and OpenBao), mounted
// at "transit", so that their clients work unchanged (spec/container.md, section 4.3).
//
// It promises that a key's bytes never leave it, but for what the use "derive" gives away by
// its nature; that a use which the agreement does not name is refused; and that every request
// is bounded before it is read. It authenticates nobody: only the container reaches it, so any
// token is accepted and none is looked at.
package transit

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// Key is a key and what it may be used for.
type Key struct {
	Key *keys.WorkloadKey
	// Uses are of: Sign, Encrypt, Derive.
	Uses []wire.ID
}

// The uses of keys.
const (
	Sign    wire.ID = "sign"    // signatures and HMACs, and checking them
	Encrypt wire.ID = "encrypt" // and decrypt
	Derive  wire.ID = "derive"  // key material handed to the container
)

// Endpoint answers requests. The zero Endpoint has no keys.
type Endpoint struct {
	Keys map[wire.ID]Key
}

func (k Key) may(use wire.ID) bool { return k.Key != nil && slices.Contains(k.Uses, use) }

// maxConnections bounds what the container can make the agent hold: a connection costs at
// most a few times MaxBody.
const maxConnections = 64

// Serve answers the connections that accept gives until it fails or ctx ends. A container
// that opens more than there may be waits for its own earlier ones.
func (e Endpoint) Serve(ctx context.Context, accept func(context.Context) (io.ReadWriteCloser, error)) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, maxConnections)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		conn, err := accept(ctx)
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer func() { <-slots }()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			e.ServeConn(conn)
		})
	}
}

// ServeConn answers the requests of one connection until it ends or breaks a rule.
func (e Endpoint) ServeConn(conn io.ReadWriter) error {
	r := newRequestReader(conn)
	for {
		req, err := r.next(conn)
		var bad *statusError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &bad):
			return errors.Join(err, writeResponse(conn, failure(bad.status, bad.text), true, false))
		case err != nil:
			return err
		}
		err = writeResponse(conn, e.answer(req), req.close, req.method == "HEAD")
		clear(req.body)
		if err != nil || req.close {
			return err
		}
	}
}
