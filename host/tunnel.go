package host

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"strongroom.dev/ingress"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Tunnel takes the requests by which clients reach rooms' ports over plain HTTP
// (spec/ingress.md, section 5), and brings each to its room and the answer back: bytes that
// mean nothing here. dial opens a new stream to a port's room; its error, a
// [verdict.Error], is the client's to see.
func Tunnel(dial func(ctx context.Context, port wire.ID) (io.ReadWriteCloser, error)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+ingress.TunnelPath+"{port}", func(w http.ResponseWriter, r *http.Request) {
		answer, err := relayTunnel(w, r, dial)
		if err != nil {
			e := verdict.As(err)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(tunnelStatus(e.Kind))
			w.Write(verdict.Encode(e))
			return
		}
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Cache-Control", "no-store")
		w.Write(answer)
	})
	return mux
}

func tunnelStatus(k verdict.Kind) int {
	switch k {
	case verdict.Usage:
		return http.StatusBadRequest
	case verdict.Refused:
		return http.StatusForbidden
	}
	return http.StatusBadGateway
}

func relayTunnel(w http.ResponseWriter, r *http.Request, dial func(context.Context, wire.ID) (io.ReadWriteCloser, error)) ([]byte, error) {
	name := wire.ID(r.PathValue("port"))
	if !name.Valid() {
		return nil, verdict.Misuse("ingress.port", "the name of a port", verdict.Short(string(name)), "name a port that the agreement names")
	}
	request, err := io.ReadAll(http.MaxBytesReader(w, r.Body, ingress.MaxTunnelMessage))
	if err != nil {
		return nil, verdict.Misuse("tunnel.form", fmt.Sprintf("a request of at most %d bytes", ingress.MaxTunnelMessage), verdict.Short(err.Error()), "client and host must be of one version")
	}
	stream, err := dial(r.Context(), name)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	stop := context.AfterFunc(r.Context(), func() { stream.Close() }) // a client that went away waits for nothing
	defer stop()
	return ingress.Relay(stream, request)
}

// door is where connections that speak HTTP to a published port come in: a listener for the
// tunnel's server.
type door struct {
	address net.Addr
	conns   chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

// newDoor serves connections that enter until it is closed.
func newDoor(address net.Addr, handler http.Handler) *door {
	d := &door{address: address, conns: make(chan net.Conn), closed: make(chan struct{})}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		_ = s.Serve(d) // ends when the door is closed
		s.Close()
	}()
	return d
}

// enter takes a connection over.
func (d *door) enter(conn net.Conn) {
	select {
	case d.conns <- conn:
	case <-d.closed:
		conn.Close()
	}
}

func (d *door) close() { d.once.Do(func() { close(d.closed) }) }

// Accept, Close and Addr make it a net.Listener.
func (d *door) Accept() (net.Conn, error) {
	select {
	case conn := <-d.conns:
		return conn, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

func (d *door) Close() error   { d.close(); return nil }
func (d *door) Addr() net.Addr { return d.address }

// IsHTTP reports whether a connection to a published port that begins with this byte is HTTP
// and not TLS, whose first byte is 22.
func IsHTTP(first byte) bool { return strings.IndexByte("GHPODCT", first) >= 0 }
