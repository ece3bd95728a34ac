package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"

	"strongroom.dev/endorse/fetch"
	"strongroom.dev/verdict"
)

// Endorsements serves vendors' documents from a cache, under the paths and with the headers
// of the vendors' own services, so that what was made for those works with it.
func Endorsements(cache *fetch.Cache, logger *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
	})
	mux.Handle("GET /", answering(logger, func(w http.ResponseWriter, r *http.Request) error {
		d, err := fetch.Parse(r.URL.Path, r.URL.RawQuery)
		if err != nil {
			return withStatus{http.StatusNotFound, err}
		}
		a, err := cache.Get(r.Context(), d)
		if err != nil {
			return endorsementError(w, err)
		}
		if name := d.ChainHeader(); name != "" && a.Chain != "" {
			w.Header().Set(name, url.QueryEscape(a.Chain))
		}
		writeBody(w, http.StatusOK, "application/octet-stream", a.Body)
		return nil
	}))
	return mux
}

// endorsementError gives the status that clients of the vendors' services know.
func endorsementError(w http.ResponseWriter, err error) error {
	if wait, ok := fetch.Wait(err); ok {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(wait.Seconds()))))
		return withStatus{http.StatusServiceUnavailable, err}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case verdict.As(err).Kind == verdict.Refused:
		return withStatus{http.StatusNotFound, err}
	}
	return withStatus{http.StatusBadGateway, err}
}
