package server_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom.dev/endorse/fetch"
	"strongroom.dev/server"
	"strongroom.dev/verdict"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestEndorsementsReason: who fetches through a cache learns what is wrong with the vendor, and
// nothing of the cache's own machine.
func TestEndorsementsReason(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	document := fetch.Document{Vendor: fetch.Intel, Path: "/sgx/certification/v4/pckcrl?ca=platform&encoding=der"}
	answers := func(status int) roundTrip {
		return func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}, nil
		}
	}
	fails := func(err error) roundTrip {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	for _, c := range []struct {
		name   string
		vendor roundTrip
		spoil  bool // whether the cache's directory can't be read
		kind   verdict.Kind
		want   string
	}{
		{"no name", fails(&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "pcs.example", Server: "10.9.8.7:53", IsNotFound: true}}), false, verdict.Broken, "status 502, which says: pcs.example: its name does not resolve"},
		{"no answer", fails(&net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 9, 8, 7), Port: 443}, Err: errors.New("connection refused")}), false, verdict.Broken, "which says: pcs.example: dial: connection refused"},
		{"its error", answers(500), false, verdict.Broken, "which says: pcs.example: status 500"},
		{"nothing", answers(200), false, verdict.Broken, "which says: an answer that is no such endorsement"},
		{"not there", answers(404), false, verdict.Refused, "status 404 from pcs.example: it has no such document"},
		{"cache", answers(200), true, verdict.Broken, "which says: an error inside the server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			cache, err := fetch.Open(fetch.Config{Dir: filepath.Join(dir, "cache"), Vendors: fetch.Vendors{Intel: "https://pcs.example", Client: &http.Client{Transport: c.vendor}}, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			if c.spoil {
				if err := errors.Join(os.Remove(filepath.Join(dir, "cache")), os.WriteFile(filepath.Join(dir, "cache"), nil, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			mirror := httptest.NewServer(server.Endorsements(cache, nil))
			defer mirror.Close()
			_, err = fetch.Vendors{Intel: mirror.URL}.Get(context.Background(), document, now)
			if err == nil || verdict.As(err).Kind != c.kind || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, expected %s with %q", err, c.kind, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "10.9.8.7") || strings.Contains(err.Error(), dir)) {
				t.Errorf("it tells too much: %v", err)
			}
		})
	}
}
