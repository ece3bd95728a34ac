package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"strongroom.dev/client"
	"strongroom.dev/host"
	"strongroom.dev/release"
	"strongroom.dev/seal"
	"strongroom.dev/verdict"
)

// onResults are attacks on what goes out.
func (e *enemy) onResults() []attempt {
	return []attempt{
		{"result forged", e.forge, []string{"result.file"}},
		{"an old result served as new", e.serveOldResult, []string{"result.run"}},
		{"result opened by the wrong party", func(ctx context.Context) (string, error, error) {
			return e.byCommand(ctx, "strongroom open, Alpha's", e.as(alpha, "open", e.last.Results[0].File, "--out", e.path("stolen.csv"))...)
		}, []string{"sealed.recipient", "open.recipient", "result.receiver"}},
	}
}

// forge seals numbers of the host's own to the researcher, under a genuine proof.
func (e *enemy) forge(ctx context.Context) (string, error, error) {
	genuine := strings.TrimSuffix(e.last.Results[0].File, ".age")
	dir := e.path("forged")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	proofFile, err := os.ReadFile(genuine + ".proof")
	if err != nil {
		return "", nil, err
	}
	recipient, err := seal.ParseRecipient(e.party(researcher).Results[0])
	if err != nil {
		return "", nil, err
	}
	var sealed bytes.Buffer
	if _, err := seal.Seal(&sealed, strings.NewReader("diagnosis,patients\nmalignant,0\n"), []seal.Recipient{recipient}, seal.Options{}); err != nil {
		return "", nil, err
	}
	base := filepath.Join(dir, filepath.Base(genuine))
	if err := errors.Join(os.WriteFile(base+".age", sealed.Bytes(), 0o600), os.WriteFile(base+".proof", proofFile, 0o600)); err != nil {
		return "", nil, err
	}
	return e.byCommand(ctx, "strongroom open, the researcher's", e.as(researcher, "open", base+".age", "--out", e.path("forged.csv"))...)
}

// serveOldResult is a host that runs nothing and answers a new request with the files of an
// old run.
func (e *enemy) serveOldResult(ctx context.Context) (string, error, error) {
	address, stop, err := e.lyingHost()
	if err != nil {
		return "", nil, err
	}
	defer stop()
	honest := e.hostURL
	e.hostURL = "http://" + address
	defer func() { e.hostURL = honest }()
	_, err = e.run(ctx, e.quiet, "study.json", questions[1], "served")
	if err != nil && verdict.As(err).Kind == verdict.Broken {
		return "", nil, err
	}
	return "strongroom run, the researcher's", err, nil
}

// lyingHost relays to the honest host, but says of every new room that it is the old one.
func (e *enemy) lyingHost() (address string, stop func(), err error) {
	target, err := url.Parse(e.hostURL)
	if err != nil {
		return "", nil, err
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == host.PathRooms {
			old := e.seen
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(old)
			return
		}
		proxy.ServeHTTP(w, r)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener)
	return listener.Addr().String(), func() { server.Close() }, nil
}

func (s *study) hostClient() client.Host { return client.Host{URL: s.hostURL} }

// onTiming is the attack on an owner who changes its mind.
func (e *enemy) onTiming() []attempt {
	return []attempt{{"owner switches off mid-run while the host cuts the network", e.switchOff, []string{"lease.lapsed", "lease.refused"}}}
}

// switchOff has Alpha retire the agreement the moment its key has left, and the host cut
// every wire, so that the room can't hear of it.
func (e *enemy) switchOff(ctx context.Context) (string, error, error) {
	run, err := e.request(e.switched, questions[1], nil)
	if err != nil {
		return "", nil, err
	}
	job, err := e.job(e.switched, run, e.path(hostHome, "data"))
	if err != nil {
		return "", nil, err
	}
	var released int
	var retired error
	c := e.config()
	c.Relay = func(ctx context.Context, _, path string, body []byte, next host.Next) (int, []byte) {
		if path == release.PathLive {
			<-ctx.Done() // cut: the room waits for an answer that never comes
			return 502, nil
		}
		status, answer := next(body)
		if path == release.PathRelease && status == 200 {
			if released++; released == 2 {
				_, retired = e.quiet(ctx, e.as(alpha, "agreement", "retire", "switched-study", "--yes")...)
			}
		}
		return status, answer
	}
	refusal := e.room(ctx, job, c)
	if retired != nil {
		return "", nil, fmt.Errorf("retiring mid-run: %w", retired)
	}
	if released < 2 {
		return "", nil, fmt.Errorf("only %d of 2 keys were released: %w", released, refusal)
	}
	return "room, when the lease lapsed", refusal, nil
}
