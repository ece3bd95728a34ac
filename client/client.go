// Package client speaks to ledgers, brokers and hosts over HTTP, and checks what they say
// before it returns it, with keys its caller brought.
//
// It follows no redirects, reads no more than a bound, and turns a server's refusal back
// into the [verdict.Error] it was. What it can't check it does not return as checked: the
// server's word alone is never enough.
package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// timeout bounds one exchange, if the caller's context does not.
const timeout = 60 * time.Second

// New gives an HTTP client with our bounds: no redirects, no proxy from the environment,
// 60 seconds for an exchange, 10 to connect.
func New() *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return newClient(dialer.DialContext)
}

// NewUnix gives an HTTP client that speaks to a Unix socket whatever the URL's host.
func NewUnix(path string) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return newClient(func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) })
}

func newClient(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dial,
			MaxResponseHeaderBytes: 16 << 10,
			MaxIdleConnsPerHost:    8,
			IdleConnTimeout:        60 * time.Second,
			TLSHandshakeTimeout:    10 * time.Second,
		},
	}
}

// endpoint is one server: where it is and how to reach it.
type endpoint struct {
	url  string       // scheme, host and prefix, without a slash at the end
	http *http.Client // nil: one made for the exchange
}

// post sends in as JSON and reads the answer into the struct out points to.
func (e endpoint) post(ctx context.Context, path string, in, out any, limit int64) error {
	body, err := wire.Marshal(in)
	if err != nil {
		return err
	}
	data, err := e.do(ctx, http.MethodPost, path, "application/json", body, limit)
	if err != nil {
		return err
	}
	return e.decode(path, data, out)
}

// get reads a JSON answer into the struct out points to.
func (e endpoint) get(ctx context.Context, path string, out any, limit int64) error {
	data, err := e.do(ctx, http.MethodGet, path, "", nil, limit)
	if err != nil {
		return err
	}
	return e.decode(path, data, out)
}

func (e endpoint) decode(path string, data []byte, out any) error {
	canonical, err := wire.Canonical(data)
	if err == nil {
		err = wire.UnmarshalCanonical(canonical, out)
	}
	if err != nil {
		return &verdict.Error{Kind: verdict.Broken, Check: "answer", Expected: "an answer of " + e.url + path + " as specified", Got: verdict.Short(err.Error()),
			Fix: "check the address and the version of the server", Err: err}
	}
	return nil
}

// do makes one exchange and gives the body of the answer, at most limit bytes. An answer
// other than 200 is the server's error.
func (e endpoint) do(ctx context.Context, method, path, contentType string, body []byte, limit int64) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(e.url, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, verdict.Misuse("address", "a URL like http://host:port", verdict.Short(e.url), "correct the address")
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	client := e.http
	if client == nil {
		client = New()
		defer client.CloseIdleConnections()
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, e.unreachable(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, e.unreachable(err)
	}
	if int64(len(data)) > limit {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "answer", Expected: fmt.Sprintf("at most %d bytes from %s", limit, e.url), Got: "more", Fix: "check the address"}
	}
	if response.StatusCode != http.StatusOK {
		return nil, statusError{response.StatusCode, data}.verdict(e.url)
	}
	return data, nil
}

func (e endpoint) unreachable(err error) error {
	got := err
	var around *url.Error // says once more what was asked for
	if errors.As(err, &around) {
		got = around.Err
	}
	return &verdict.Error{Kind: verdict.Broken, Check: "reachable", Expected: "an answer from " + e.url, Got: verdict.Short(got.Error()),
		Fix: "check that the server runs and that the address is right", Err: err}
}

// Status gives the HTTP status behind an error of this package, 0 if there was none.
func Status(err error) int {
	var s statusError
	if errors.As(err, &s) {
		return s.status
	}
	return 0
}

// statusError is an answer other than 200.
type statusError struct {
	status int
	body   []byte
}

func (s statusError) Error() string { return fmt.Sprintf("HTTP status %d", s.status) }

// verdict gives the error the server sent, with its kind.
func (s statusError) verdict(url string) error {
	e := verdict.Decode(s.body)
	if e.Check == "response" { // no error document: a proxy, another program
		e.Expected, e.Got = "an answer of "+url, fmt.Sprintf("HTTP status %d: %s", s.status, verdict.Short(string(s.body)))
		e.Fix = "check the address"
	}
	e.Err = s
	return e
}
