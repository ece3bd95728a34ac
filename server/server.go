// Package server holds the HTTP interfaces of the parts that serve: the shared ledger and
// witness, brokers and hosts (spec/ledger.md, spec/broker.md, spec/host.md). Handlers are
// thin: they bound what comes in, hand it to the part that decides, and say what it said.
//
// It refuses bodies over their limit before reading them, members it does not know, and
// documents with two readings. What goes wrong inside is told to the log and not to the
// caller. Nothing here is a secret's only protection: whatever matters in a message is
// signed or sealed end to end, so that plain HTTP is enough.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// How long a peer may take. A peer that needs more is broken or means harm.
const (
	headerTime = 10 * time.Second
	bodyTime   = 60 * time.Second  // 4 MiB at 70 KB/s
	answerTime = 120 * time.Second // includes the work of answering
	idleTime   = 120 * time.Second
	stopTime   = 10 * time.Second // for answers under way when the server is told to stop
	maxHeaders = 16 << 10         // bytes; ours are below 1 KiB
)

// Serve answers requests on the listener until ctx ends, then lets the answers under way
// finish, for at most 10 seconds. A server told to stop returns nil. logger is told what
// net/http has to say; nil means nobody is.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, logger *slog.Logger) error {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	s := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       bodyTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Serve(listener) }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := s.Shutdown(grace); err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

// readBody reads a request's body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			err = fmt.Errorf("more than %d bytes", limit)
		}
		return nil, verdict.Misuse("request", fmt.Sprintf("a body of at most %d bytes", limit), err.Error(), "send a smaller request")
	}
	return data, nil
}

// readJSON reads a request's body, one JSON document of at most limit bytes, into the struct
// v points to. Unknown, missing and repeated members are errors; spacing is free.
func readJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	data, err := readBody(w, r, limit)
	if err != nil {
		return err
	}
	return parseJSON(data, v)
}

func parseJSON(data []byte, v any) error {
	canonical, err := wire.Canonical(data)
	if err == nil {
		err = wire.UnmarshalCanonical(canonical, v)
	}
	if err != nil {
		return verdict.Misuse("request", "a JSON document as the specification shows it", verdict.Short(err.Error()), "correct the request")
	}
	return nil
}

// writeJSON answers with a document. What can't be encoded is a defect and answers 500.
func writeJSON(w http.ResponseWriter, v any) {
	data, err := wire.Marshal(v)
	if err != nil {
		writeError(w, nil, fmt.Errorf("encoding the answer: %w", err))
		return
	}
	writeBody(w, http.StatusOK, "application/json", data)
}

func writeBody(w http.ResponseWriter, status int, contentType string, data []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	w.Write(data) // a peer that has gone needs no answer
}

// withStatus gives an error an HTTP status other than that of its kind.
type withStatus struct {
	status int
	error
}

func (e withStatus) Unwrap() error { return e.error }

// statusOf gives the HTTP status of an error: that of its kind, unless it says otherwise.
func statusOf(err error) int {
	var s withStatus
	if errors.As(err, &s) {
		return s.status
	}
	switch verdict.As(err).Kind {
	case verdict.Usage:
		return http.StatusBadRequest
	case verdict.Refused:
		return http.StatusForbidden
	case verdict.Invalid:
		return http.StatusUnprocessableEntity
	}
	return http.StatusInternalServerError
}

// openly marks a Broken error whose text names nothing but what callers may know.
type openly struct{ error }

func (e openly) Unwrap() error { return e.error }

// writeError answers with an error document (verdict.Encode). The cause of a Broken error
// can name files and peers: it goes to the logger, and the caller learns only the check,
// unless the error is marked [openly].
func writeError(w http.ResponseWriter, logger *slog.Logger, err error) {
	e := verdict.As(err)
	broken := e.Kind != verdict.Usage && e.Kind != verdict.Refused && e.Kind != verdict.Invalid
	if broken && logger != nil {
		logger.Error("request failed", "check", e.Check, "err", err)
	}
	var open openly
	if broken && !errors.As(err, &open) {
		e = &verdict.Error{Kind: verdict.Broken, Check: e.Check, Expected: e.Expected, Got: "an error inside the server", Fix: "try again; the server's own log says what happened"}
	}
	writeBody(w, statusOf(err), "application/json", verdict.Encode(e))
}

// answer is a handler that reads, decides and answers, or gives an error to answer with.
type answer func(w http.ResponseWriter, r *http.Request) error

// answering turns an answer into a handler.
func answering(logger *slog.Logger, f answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			writeError(w, logger, err)
		}
	}
}
