package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

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
		return serveDocument(w, r, cache, d, "application/octet-stream")
	}))
	mux.Handle("POST /{$}", answering(logger, func(w http.ResponseWriter, r *http.Request) error {
		body, err := readBody(w, r, maxStatusRequest)
		if err != nil {
			return err
		}
		d, err := fetch.ParseStatus(body)
		if err != nil {
			return err
		}
		return serveDocument(w, r, cache, d, "application/ocsp-response")
	}))
	return mux
}

// maxStatusRequest is the most bytes of an OCSP request: ours have 150.
const maxStatusRequest = 4096

func serveDocument(w http.ResponseWriter, r *http.Request, cache *fetch.Cache, d fetch.Document, contentType string) error {
	a, err := cache.Get(r.Context(), d)
	if err != nil {
		return endorsementError(w, err)
	}
	if name := d.ChainHeader(); name != "" && a.Chain != "" {
		// As Intel encodes it: some of its clients don't read "+" as a space.
		w.Header().Set(name, strings.ReplaceAll(url.QueryEscape(a.Chain), "+", "%20"))
	}
	writeBody(w, http.StatusOK, contentType, a.Body)
	return nil
}

// endorsementError gives the status that clients of the vendors' services know.
func endorsementError(w http.ResponseWriter, err error) error {
	if wait, ok := fetch.Wait(err); ok {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(wait.Seconds()))))
		return withStatus{http.StatusServiceUnavailable, err}
	}
	switch e := verdict.As(err); {
	case errors.Is(err, context.Canceled):
		return err
	case e.Kind == verdict.Refused:
		return withStatus{http.StatusNotFound, err}
	case e.Check == "endorsements.fetch" || e.Check == "endorsements.form":
		// It names the vendor and what is wrong there: whoever asks can mend it only then.
		err = openly{err}
	}
	return withStatus{http.StatusBadGateway, err}
}
