package client_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/client"
	"strongroom.dev/host"
	"strongroom.dev/internal/ingresstest"
	"strongroom.dev/keys"
	"strongroom.dev/relying"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// service is a room whose container is a web server, and how it is reached.
type service struct {
	*ingresstest.World
	room     *ingresstest.Room
	address  string
	accepted atomic.Int64 // connections that reached the container
}

func serveWeb(ctx context.Context, handler http.Handler, allow agreement.Allow) *service {
	s := &service{World: must(ingresstest.New(ingresstest.Config{Ports: []agreement.Port{ingresstest.Port("web", allow)}}))}
	web := httptest.NewServer(handler)
	context.AfterFunc(ctx, web.Close)
	s.room = must(s.Room(func(ctx context.Context, _ wire.ID) (io.ReadWriteCloser, error) {
		s.accepted.Add(1)
		return (&net.Dialer{}).DialContext(ctx, "tcp", web.Listener.Addr().String())
	}, nil))
	context.AfterFunc(ctx, s.room.Close)
	s.address = must(s.room.Listen(ctx, "web", nil))
	return s
}

func (s *service) judge() *relying.Client {
	return must(relying.New(relying.Config{Agreement: s.Agreement, Parties: s.Parties, Platforms: []attest.Platform{dev.New()}, InsecureAllowSoftware: true, Age: time.Minute, Now: time.Now}))
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello from %s", r.Host) })

// A web server in a room, reached by Go's own HTTP client.
func ExampleNewRoom() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := serveWeb(ctx, hello, agreement.Allow{Anyone: true}) // elsewhere: a host's published port

	// What the client pins: an agreement, and who its parties are.
	judge, err := relying.New(relying.Config{
		Agreement: s.Agreement, Parties: s.Parties,
		Platforms:             []attest.Platform{dev.New()}, // and those of hardware, with their makers' endorsements
		InsecureAllowSoftware: true,                         // dev machines keep nobody out: for trying things out
		Age:                   time.Hour, Now: time.Now,
	})
	if err != nil {
		panic(err)
	}
	room, err := client.NewRoom(client.RoomConfig{Address: s.address, Port: "web", Judge: judge})
	if err != nil {
		panic(err)
	}
	answer, err := room.Client().Get("http://web.example/")
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
	// Output: hello from web.example
}

// Whatever takes a net.Dialer's DialContext reaches a room instead: drivers of databases, gRPC,
// a protocol of one's own.
func ExampleRoom_DialContext() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := serveWeb(ctx, hello, agreement.Allow{Anyone: true})
	room, err := client.NewRoom(client.RoomConfig{Address: s.address, Port: "web", Judge: s.judge()})
	if err != nil {
		panic(err)
	}
	dial := (&net.Dialer{}).DialContext // what a driver would use by itself
	dial = room.DialContext             // and what it uses instead: no address decides anything
	conn, err := dial(ctx, "tcp", "db.example:5432")
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		panic(err)
	}
	fmt.Println(strings.TrimSpace(line))
	// Output: HTTP/1.0 200 OK
}

func TestRoomHTTP(t *testing.T) {
	s := serveWeb(t.Context(), hello, agreement.Allow{Parties: []wire.ID{"alpha"}})
	room := must(client.NewRoom(client.RoomConfig{Address: s.address, Port: "web", Judge: s.judge(), Party: "alpha", Signers: []keys.Signer{s.Keys["alpha"][0]}}))
	web := room.Client()
	for _, target := range []string{"http://one/", "https://two/", "http://one/again", "https://two/again"} {
		answer, err := web.Get(target)
		if err != nil {
			t.Fatal(err)
		}
		if body := string(must(io.ReadAll(answer.Body))); !strings.HasPrefix(body, "hello from ") {
			t.Errorf("%s: %q", target, body)
		}
		answer.Body.Close()
	}
	if n := s.accepted.Load(); n != 2 {
		t.Errorf("%d connections for four requests to two names", n)
	}
	_, found, err := room.Connect(t.Context())
	if err != nil || found.Platform != "dev" || !found.Insecure {
		t.Errorf("%+v, %v", found, err)
	}
	stranger := must(client.NewRoom(client.RoomConfig{Address: s.address, Port: "web", Judge: s.judge()}))
	if _, err := stranger.Client().Get("http://one/"); verdict.As(err).Check != "ingress.admission" {
		t.Errorf("got %v", err)
	}
}

// TestRoomRefuses: nothing is sent where no room was accepted.
func TestRoomRefuses(t *testing.T) {
	s := serveWeb(t.Context(), hello, agreement.Allow{Anyone: true})
	for name, test := range map[string]struct {
		c     client.RoomConfig
		check string
	}{
		"the zero config": {client.RoomConfig{}, "client.room"},
		"no judge":        {client.RoomConfig{Address: s.address, Port: "web"}, "client.room"},
		"no address":      {client.RoomConfig{Port: "web", Judge: s.judge()}, "client.room"},
		"both ways":       {client.RoomConfig{Address: s.address, Via: "http://x", Port: "web", Judge: s.judge()}, "client.room"},
		"another port":    {client.RoomConfig{Address: s.address, Port: "admin", Judge: s.judge()}, "client.port"},
		"another work":    {client.RoomConfig{Address: s.address, Port: "web", Work: "other", Judge: s.judge()}, "client.port"},
	} {
		if _, err := client.NewRoom(test.c); verdict.As(err).Check != test.check {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A server with a certificate for the name is no room.
	var got atomic.Int64
	plain := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got.Add(1) }))
	defer plain.Close()
	room := must(client.NewRoom(client.RoomConfig{Address: plain.Listener.Addr().String(), Port: "web", Judge: s.judge()}))
	if _, err := room.Client().Post("http://web/", "text/plain", strings.NewReader("a secret")); verdict.As(err).Check != "ingress.protocol" || got.Load() != 0 {
		t.Errorf("got %v", err)
	}
	// Another agreement's room.
	other := serveWeb(t.Context(), hello, agreement.Allow{Anyone: true})
	room = must(client.NewRoom(client.RoomConfig{Address: other.address, Port: "web", Judge: s.judge()}))
	if _, err := room.Client().Get("http://web/"); verdict.As(err).Check != "relying.agreement" || other.accepted.Load() != 0 {
		t.Errorf("got %v", err)
	}
}

// TestRoomVia reaches a room through a proxy that ends TLS, and the host behind it.
func TestRoomVia(t *testing.T) {
	s := serveWeb(t.Context(), hello, agreement.Allow{Parties: []wire.ID{"alpha"}})
	behind := httptest.NewServer(host.Tunnel(func(ctx context.Context, port wire.ID) (io.ReadWriteCloser, error) {
		ours, theirs := net.Pipe()
		go s.room.Serve(context.WithoutCancel(ctx), port, theirs)
		return ours, nil
	}))
	defer behind.Close()
	var mu sync.Mutex
	var seen strings.Builder
	proxy := httptest.NewTLSServer(spy(&mu, &seen, httputil.NewSingleHostReverseProxy(must(url.Parse(behind.URL)))))
	defer proxy.Close()
	room := must(client.NewRoom(client.RoomConfig{Via: proxy.URL, HTTP: proxy.Client(), Port: "web", Judge: s.judge(), Party: "alpha", Signers: []keys.Signer{s.Keys["alpha"][0]}}))
	web := room.Client()
	defer web.CloseIdleConnections() // or its poll goes on
	answer, err := web.Get("http://web.example/planted-4711")
	if err != nil {
		t.Fatal(err)
	}
	if body := string(must(io.ReadAll(answer.Body))); body != "hello from web.example" {
		t.Errorf("%q", body)
	}
	mu.Lock()
	passed := seen.String()
	mu.Unlock()
	if passed == "" || strings.Contains(passed, "planted-4711") || strings.Contains(passed, "hello from") {
		t.Error("the proxy sees what passes, or nothing passes it")
	}
	wrong := must(client.NewRoom(client.RoomConfig{Via: proxy.URL + "/nowhere", HTTP: proxy.Client(), Port: "web", Judge: s.judge()}))
	if _, err := wrong.Client().Get("http://web/"); err == nil {
		t.Error("a URL that has no tunnel")
	}
}

// spy notes what passes a proxy.
func spy(mu *sync.Mutex, seen *strings.Builder, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := must(io.ReadAll(r.Body))
		note := func(b []byte) { mu.Lock(); seen.Write(b); mu.Unlock() }
		note(body)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		recorder := httptest.NewRecorder()
		next.ServeHTTP(recorder, r)
		note(recorder.Body.Bytes())
		w.WriteHeader(recorder.Code)
		w.Write(recorder.Body.Bytes())
	})
}

// TestRoomNewConnection prints what a new attested connection costs beside a plain one.
func TestRoomNewConnection(t *testing.T) {
	s := serveWeb(t.Context(), hello, agreement.Allow{Anyone: true})
	room := must(client.NewRoom(client.RoomConfig{Address: s.address, Port: "web", Judge: s.judge()}))
	ask := func(conn net.Conn, err error) time.Duration {
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		began := time.Now()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: web\r\n\r\n")
		must(http.ReadResponse(bufio.NewReader(conn), nil))
		return time.Since(began)
	}
	const n = 50
	measure := func(dial func() (net.Conn, error)) time.Duration {
		ask(dial())
		began := time.Now()
		for range n {
			ask(dial())
		}
		return time.Since(began) / n
	}
	attested := measure(func() (net.Conn, error) { return room.DialContext(t.Context(), "", "") })
	plain := measure(func() (net.Conn, error) {
		return tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true})
	})
	t.Logf("a new connection and a request: attested with a cached appraisal %v, plain TLS 1.3 %v", attested, plain)
}
