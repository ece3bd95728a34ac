package acme

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// wellKnown is where an authority looks (RFC 8555, section 8.3).
const wellKnown = "/.well-known/acme-challenge/"

// Files shows proofs of kind http-01. It is an [http.Handler] for port 80 of the names, or for
// what is there to pass requests on to. It answers nothing else.
// The zero Files is ready.
type Files struct {
	mu    sync.Mutex // owns what follows
	shown map[string]string
}

// Kind implements [Prover].
func (*Files) Kind() Kind { return HTTP }

// Show implements [Prover].
func (f *Files) Show(_ context.Context, p Proof) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.shown) >= maxShown {
		return fmt.Errorf("%d proofs are shown already", len(f.shown))
	}
	if f.shown == nil {
		f.shown = make(map[string]string)
	}
	f.shown[p.Token] = p.Value
	return nil
}

// Hide implements [Prover].
func (f *Files) Hide(_ context.Context, p Proof) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.shown, p.Token)
	return nil
}

// ServeHTTP gives what is shown.
func (f *Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, found := strings.CutPrefix(r.URL.Path, wellKnown)
	f.mu.Lock()
	value := f.shown[token]
	f.mu.Unlock()
	if !found || value == "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "nothing here", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream") // section 8.3
	_, _ = io.WriteString(w, value)
}
