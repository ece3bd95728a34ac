package host_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"strongroom.dev/channel"
	"strongroom.dev/host"
	"strongroom.dev/ingress"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// TestTunnelRelays: the host carries bytes, of bounded size, to the port that they are for,
// and knows nothing else.
func TestTunnelRelays(t *testing.T) {
	relayed := func(answer []byte) (*httptest.Server, chan []byte) {
		got := make(chan []byte, 1)
		s := httptest.NewServer(host.Tunnel(func(_ context.Context, port wire.ID) (io.ReadWriteCloser, error) {
			if port == "closed" {
				return nil, verdict.Refuse("ingress.port", "a port that is published", "another", "name one")
			}
			if port == "gone" {
				return nil, errors.New("the room is gone")
			}
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				preface := make([]byte, 21)
				if _, err := io.ReadFull(theirs, preface); err != nil || string(preface) != "strongroom/tunnel/v1\n" {
					t.Errorf("%q, %v", preface, err)
				}
				request, err := channel.ReadMessage(theirs, ingress.MaxTunnelMessage)
				if err != nil {
					t.Error(err)
				}
				got <- request
				channel.WriteMessage(theirs, answer)
			}()
			return ours, nil
		}))
		t.Cleanup(s.Close)
		return s, got
	}
	s, got := relayed([]byte("answer \x00\xff"))
	post := func(path string, body []byte) (int, []byte) {
		answer, err := http.Post(s.URL+path, "application/octet-stream", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		data, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, data
	}
	if status, body := post(ingress.TunnelPath+"web", []byte("re\x00quest")); status != 200 || string(body) != "answer \x00\xff" || string(<-got) != "re\x00quest" {
		t.Errorf("%d %q", status, body)
	}
	for name, test := range map[string]struct {
		path   string
		body   []byte
		status int
		check  string
	}{
		"no port":     {ingress.TunnelPath + "We%20b", nil, 400, "ingress.port"},
		"too long":    {ingress.TunnelPath + "web", make([]byte, ingress.MaxTunnelMessage+1), 400, "tunnel.form"},
		"refused":     {ingress.TunnelPath + "closed", nil, 403, "ingress.port"},
		"a dead room": {ingress.TunnelPath + "gone", nil, 502, "internal"},
	} {
		status, body := post(test.path, test.body)
		if status != test.status || verdict.Decode(body).Check != test.check {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, _ := post("/elsewhere", nil); status != 404 {
		t.Errorf("elsewhere: %d", status)
	}
	if answer, err := http.Get(s.URL + ingress.TunnelPath + "web"); err != nil || answer.StatusCode != 405 {
		t.Errorf("GET: %v, %v", answer, err)
	}
}
