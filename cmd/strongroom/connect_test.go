package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/host"
	"strongroom.dev/internal/ingresstest"
	"strongroom.dev/keys"
	"strongroom.dev/wire"
)

// reached is a web server in a room, as `connect` finds it.
type reached struct {
	*ingresstest.World
	room    *ingresstest.Room
	dir     string
	address string
	args    []string // that pin the agreement
}

func newReached(t *testing.T, allow agreement.Allow) *reached {
	t.Helper()
	w, err := ingresstest.New(ingresstest.Config{Ports: []agreement.Port{ingresstest.Port("web", allow)}})
	if err != nil {
		t.Fatal(err)
	}
	r := &reached{World: w, dir: t.TempDir()}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "inside") }))
	t.Cleanup(web.Close)
	if r.room, err = w.Room(func(ctx context.Context, _ wire.ID) (io.ReadWriteCloser, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", web.Listener.Addr().String())
	}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.room.Close)
	if r.address, err = r.room.Listen(t.Context(), "web", nil); err != nil {
		t.Fatal(err)
	}
	r.args = []string{"--home", filepath.Join(r.dir, "none"), "--agreement", r.write(t, "service.json", w.Agreement.Document), "--port", "web", "--insecure-allow-software"}
	for _, p := range w.Parties {
		r.args = append(r.args, "--party", r.write(t, string(p.Name)+".json", p.Document))
	}
	return r
}

func (r *reached) write(t *testing.T, name string, doc *keys.Document) string {
	t.Helper()
	data, err := doc.Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// key writes a signing key of a party.
func (r *reached) key(t *testing.T, party wire.ID, n int) string {
	t.Helper()
	text, err := r.Keys[party][n].MarshalSecret()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.dir, fmt.Sprintf("%s-%d.key", party, n))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// connect calls the verb, and gives what it wrote.
func (r *reached) connect(in io.Reader, args ...string) (code int, out, said string) {
	var o, e bytes.Buffer
	a := &app{in: in, out: &o, err: &e, now: time.Now}
	code = a.run(append(append([]string{"connect"}, r.args...), args...))
	return code, o.String(), e.String()
}

func TestConnectCheck(t *testing.T) {
	r := newReached(t, agreement.Allow{Parties: []wire.ID{"alpha", "beta"}})
	two := []string{"--as", "beta", "--signing-key", r.key(t, "beta", 0)}
	if code, out, said := r.connect(nil, r.address, "--check", "--as", "alpha", "--signing-key", r.key(t, "alpha", 0)); code != 0 || said != "" {
		t.Fatalf("%d %s %s", code, out, said)
	} else {
		for _, want := range []string{"by evidence, not by a certificate", "INSECURE", "class software", "agreement  service version 1", "run        " + r.room.Run.String()} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
	}
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"nobody":          {[]string{r.address, "--check"}, 3, "party alpha (--as alpha)"},
		"one key of two":  {append([]string{r.address, "--check"}, two...), 3, "ingress.party"},
		"both keys":       {append([]string{r.address, "--check", "--signing-key", r.key(t, "beta", 2)}, two...), 0, ""},
		"no party of it":  {[]string{r.address, "--check", "--as", "gamma"}, 2, "--as"},
		"another port":    {[]string{r.address, "--check", "--port", "other"}, 2, "client.port"},
		"another run":     {[]string{r.address, "--check", "--run", wire.DigestOf(nil).String()}, 3, "relying.run"},
		"nothing to do":   {[]string{r.address}, 2, "--listen"},
		"two things":      {[]string{r.address, "--check", "--stdio"}, 2, "one of"},
		"nowhere":         {[]string{"--check"}, 2, "--via"},
		"long age":        {[]string{r.address, "--check", "--age", "25h"}, 2, "relying.config"},
		"nobody listens":  {[]string{"127.0.0.1:1", "--check"}, 1, "reachable"},
		"software by job": {[]string{r.address, "--check", "--insecure-allow-software=false"}, 3, "relying.software"},
	} {
		code, _, said := r.connect(nil, test.args...)
		if code != test.code || !strings.Contains(said, test.says) {
			t.Errorf("%s: %d %s", name, code, said)
		}
	}
	pinless := *r
	pinless.args = []string{"--home", filepath.Join(r.dir, "none"), "--port", "web"}
	if code, _, said := pinless.connect(nil, r.address, "--check"); code != 2 || !strings.Contains(said, "no room is accepted") {
		t.Errorf("a client that pins nothing: %d %s", code, said)
	}
	code, out, _ := r.connect(nil, r.address, "--check", "--output", "json", "--as", "alpha", "--signing-key", r.key(t, "alpha", 0))
	var view connectedView
	if err := json.Unmarshal([]byte(out), &view); code != 0 || err != nil || view.Verdict != "accepted" || !view.Room.Insecure || view.Room.Platform != "dev" {
		t.Errorf("%d %v %s", code, err, out)
	}
}

func TestConnectStdio(t *testing.T) {
	r := newReached(t, agreement.Allow{Anyone: true})
	code, out, said := r.connect(strings.NewReader("GET / HTTP/1.0\r\n\r\n"), r.address, "--stdio")
	if code != 0 || !strings.HasPrefix(out, "HTTP/1.0 200 OK") || !strings.HasSuffix(out, "inside") || !strings.Contains(said, "INSECURE") {
		t.Errorf("%d %q %q", code, out, said)
	}
}

// TestConnectWaits: a container that does not listen yet is waited for, bounded, and one that
// starts again later is reached again.
func TestConnectWaits(t *testing.T) {
	r := newReached(t, agreement.Allow{Anyone: true})
	var up atomic.Int32
	dial := func(ctx context.Context, port wire.ID) (io.ReadWriteCloser, error) {
		if up.Add(1) < 3 {
			return nil, io.ErrUnexpectedEOF
		}
		return ingresstest.Echo(ctx, port)
	}
	room, err := r.World.Room(dial, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(room.Close)
	address, err := room.Listen(t.Context(), "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	if code, out, said := r.connect(strings.NewReader("hello"), address, "--stdio"); code != 0 || out != "hello" || strings.Count(said, "does not listen at port web yet") != 1 {
		t.Errorf("%d %q %s", code, out, said)
	}
	for _, wait := range []string{"0s", "50ms"} {
		up.Store(-1000)
		began := time.Now()
		if code, _, said := r.connect(nil, address, "--check", "--wait", wait); code != 1 || !strings.Contains(said, "ingress.container") || time.Since(began) > 5*time.Second {
			t.Errorf("--wait %s: %d after %v, %s", wait, code, time.Since(began), said)
		}
	}
	if code, _, said := r.connect(nil, address, "--check", "--wait", "1h"); code != 2 || !strings.Contains(said, "--wait") {
		t.Errorf("an hour: %d %s", code, said)
	}
	up.Store(10)
	proxy, _ := r.proxied(t, address)
	for range 2 { // the container ends, and comes again, while the proxy goes on
		up.Store(0)
		conn, err := net.Dial("tcp", proxy)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "hello")
		conn.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(conn); string(got) != "hello" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		conn.Close()
	}
}

// TestConnectShouts: a port for everybody, and names, are no secrets to who connects.
func TestConnectShouts(t *testing.T) {
	r := newReached(t, agreement.Allow{Anyone: true})
	code, out, _ := r.connect(nil, r.address, "--check")
	if code != 0 || !strings.Contains(out, "ANYONE CAN CONNECT TO PORT web") {
		t.Errorf("%d %s", code, out)
	}
	var view connectedView
	code, out, _ = r.connect(nil, r.address, "--check", "--output", "json")
	if err := json.Unmarshal([]byte(out), &view); code != 0 || err != nil || !view.Anyone || view.Room.Key != r.room.Signing.Public().ID() {
		t.Errorf("%d %v %s", code, err, out)
	}
	closed := newReached(t, agreement.Allow{Parties: []wire.ID{"alpha"}})
	code, out, _ = closed.connect(nil, closed.address, "--check", "--as", "alpha", "--signing-key", closed.key(t, "alpha", 0))
	if code != 0 || strings.Contains(out, "ANYONE") {
		t.Errorf("%d %s", code, out)
	}
}

// lines gives what was written so far, to several goroutines.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *lines) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// wait waits until something is written.
func (l *lines) wait(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for range 500 {
		if m := re.FindStringSubmatch(l.String()); m != nil {
			return m
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s is not in\n%s", pattern, l.String())
	return nil
}

// proxied starts a proxy, and gives its address and what it says.
func (r *reached) proxied(t *testing.T, args ...string) (address string, said *lines) {
	t.Helper()
	var out lines
	said = &lines{}
	a := &app{out: &out, err: said, now: time.Now}
	cmd := a.connectCommand()
	ctx, cancel := context.WithCancel(t.Context())
	a.homeDir = filepath.Join(r.dir, "none")
	cmd.SetArgs(append(append(args, "--listen", "127.0.0.1:0"), r.args[2:]...))
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return out.wait(t, `Listening on (127\.0\.0\.1:\d+)`)[1], said
}

func TestConnectProxy(t *testing.T) {
	r := newReached(t, agreement.Allow{Anyone: true})
	address, said := r.proxied(t, r.address)
	get := func() string {
		web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := web.Get("http://" + address + "/")
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return err.Error()
		}
		return string(body)
	}
	for range 3 {
		if got := get(); got != "inside" {
			t.Fatalf("%s; it says %s", got, said)
		}
	}
	if said.String() != "" {
		t.Errorf("nothing is new, and it says %s", said)
	}
	if code, _, said := r.connect(nil, r.address, "--listen", "0.0.0.0:0"); code != 3 || !strings.Contains(said, "--insecure-share") {
		t.Errorf("an address that others reach: %d %s", code, said)
	}
}

func TestConnectVia(t *testing.T) {
	r := newReached(t, agreement.Allow{Anyone: true})
	behind := httptest.NewServer(host.Tunnel(func(ctx context.Context, port wire.ID) (io.ReadWriteCloser, error) {
		ours, theirs := net.Pipe()
		go r.room.Serve(context.WithoutCancel(ctx), port, theirs)
		return ours, nil
	}))
	t.Cleanup(behind.Close)
	if code, out, said := r.connect(strings.NewReader("GET / HTTP/1.0\r\n\r\n"), "--via", behind.URL, "--stdio"); code != 0 || !strings.HasSuffix(out, "inside") {
		t.Errorf("%d %q %q", code, out, said)
	}
}
