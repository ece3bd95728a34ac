package server_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/broker"
	"strongroom.dev/client"
	"strongroom.dev/internal/world"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/server"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func brokerWorld(t *testing.T) (*world.World, *broker.Broker) {
	t.Helper()
	w, err := world.New(t.Context(), world.Config{Dir: t.TempDir(), MinGroup: 10, MaxRows: 100, MaxBytes: 10_000, LeaseMS: 3000,
		Image:  dev.Measurement{Agent: wire.DigestOf([]byte("agent")), Helpers: map[string]wire.Digest{}},
		Owners: []world.Owner{{ID: "alpha", Plain: strings.NewReader("patient,radius\n1,2\n"), Format: agreement.CSV}},
		Schema: []agreement.Column{{Name: "patient", Type: "integer", Unit: true}, {Name: "radius", Type: "integer"}},
		Work:   []agreement.Work{{Name: "count", Kind: "sql", Description: "how many", Query: "SELECT count(*) AS n FROM rows", Parameters: []agreement.Parameter{}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w, w.Brokers["alpha"]
}

func TestBroker(t *testing.T) {
	w, b := brokerWorld(t)
	s := httptest.NewServer(server.Broker(b, nil))
	t.Cleanup(s.Close)
	c := client.NewBroker(s.URL, s.Client())
	t.Run("challenges", func(t *testing.T) {
		asked := release.ChallengeRequest{Purpose: attest.ForRelease, Agreement: w.Agreement.Digest(), Nonce: wire.HashOf([]byte("n"))}
		message, err := release.NewChallengeRequest(asked)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.Challenge(t.Context(), message)
		if err != nil || !bytes.Contains(answer, []byte(release.ChallengeType)) {
			t.Errorf("%.100q %v", answer, err)
		}
		asked.Agreement = wire.DigestOf([]byte("unknown"))
		if message, err = release.NewChallengeRequest(asked); err != nil {
			t.Fatal(err)
		}
		_, err = c.Challenge(t.Context(), message)
		refusedWith(t, err, "agreement.activated", http.StatusForbidden)
	})
	t.Run("refuses what is malformed", func(t *testing.T) {
		_, err := c.Release(t.Context(), []byte("{}"))
		refusedWith(t, err, "message.form", http.StatusBadRequest)
		_, err = c.Live(t.Context(), bytes.Repeat([]byte("x"), release.MaxLive+1))
		refusedWith(t, err, "request", http.StatusBadRequest)
		_, err = c.Consistency(t.Context(), 5, 1)
		refusedWith(t, err, "consistency", http.StatusBadRequest)
	})
	t.Run("shows its log", func(t *testing.T) {
		status, err := c.Status(t.Context())
		if err != nil || status.Size != b.Public().Size || !status.Serving {
			t.Fatalf("%+v %v", status, err)
		}
		note, err := c.Checkpoint(t.Context())
		if err != nil || note != b.Checkpoint() {
			t.Errorf("checkpoint %q %v", note, err)
		}
		proof, err := c.Consistency(t.Context(), 1, status.Size)
		now, rerr := ledger.ReadCheckpoint(note)
		if err != nil || rerr != nil || now.Size != status.Size || len(proof) == 0 {
			t.Errorf("proof %v of %+v, %v %v", proof, now, err, rerr)
		}
		asked := release.SeenRequest{Version: release.Version, Log: "a log it never saw", Nonce: wire.HashOf([]byte("nonce"))}
		question, err := release.NewSeenRequest(asked)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.Seen(t.Context(), question)
		if err != nil {
			t.Fatal(err)
		}
		if seen, err := release.VerifySeen(answer, releaseKeyOf(t, w), b.Name(), asked); err != nil || seen.Checkpoint != "" {
			t.Errorf("seen %+v %v", seen, err)
		}
	})
	t.Run("keeps officers' paths off", func(t *testing.T) {
		answer, err := s.Client().Post(s.URL+broker.PathConfirm, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusNotFound {
			t.Errorf("status %d", answer.StatusCode)
		}
	})
}

// releaseKeyOf gives the release key of alpha's broker.
func releaseKeyOf(t *testing.T, w *world.World) keys.PublicKey {
	t.Helper()
	job, _, err := w.Job("count", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := agreement.ParseParty(job.Parties[0])
	if err != nil {
		t.Fatal(err)
	}
	return p.Broker.ReleaseKey
}

func refusedWith(t *testing.T, err error, check string, status int) {
	t.Helper()
	if err == nil || verdict.As(err).Check != check || client.Status(err) != status {
		t.Errorf("got %v, status %d; expected %s, %d", err, client.Status(err), check, status)
	}
}

// TestBrokerBusy holds as many places as there are.
func TestBrokerBusy(t *testing.T) {
	inside, release := make(chan bool, 100), make(chan bool)
	h := server.Posted(make(chan struct{}, 2), nil, 10, func(context.Context, []byte) ([]byte, error) {
		inside <- true
		<-release
		return []byte("done"), nil
	})
	post := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}")))
		return w
	}
	var held sync.WaitGroup
	for range 2 {
		held.Go(func() { post() })
	}
	<-inside
	<-inside
	w := post()
	if e := verdict.Decode(w.Body.Bytes()); w.Code != http.StatusServiceUnavailable || e.Check != "broker.busy" || w.Header().Get("Retry-After") == "" {
		t.Errorf("status %d, %v", w.Code, e)
	}
	close(release)
	held.Wait()
	if w := post(); w.Code != http.StatusOK {
		t.Errorf("afterwards: status %d", w.Code)
	}
}

// TestBrokerSlowBodies sends many bodies that never end: they take nobody's place.
func TestBrokerSlowBodies(t *testing.T) {
	_, b := brokerWorld(t)
	inside, release := make(chan bool, 200), make(chan bool)
	h := server.Broker(b, nil)
	var slow sync.WaitGroup
	for range 200 {
		slow.Go(func() {
			r := httptest.NewRequest(http.MethodPost, "/v1/live", &slowBody{inside, release})
			h.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	for range 200 {
		<-inside
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/live", strings.NewReader("{}")))
	if w.Code != http.StatusBadRequest {
		t.Errorf("status %d", w.Code)
	}
	close(release)
	slow.Wait()
}

// slowBody is a body that comes only when it may.
type slowBody struct {
	inside  chan<- bool
	release <-chan bool
}

func (s *slowBody) Read([]byte) (int, error) {
	s.inside <- true
	<-s.release
	return 0, context.Canceled
}

func TestBrokerAdmin(t *testing.T) {
	w, b := brokerWorld(t)
	socket := filepath.Join(t.TempDir(), "s")
	serveUnix(t, socket, server.BrokerAdmin(b, nil))
	c := client.NewBrokerAdmin(socket)
	status, err := c.Status(t.Context())
	if err != nil || len(status.Agreements) != 1 || status.Recorded["publish"] != 1 || status.KeyStore == "" {
		t.Fatalf("%+v %v", status, err)
	}
	why, err := c.Why(t.Context(), w.Agreement.Digest().String())
	if err != nil || len(why) != 1 || why[0].Kind != "activate" {
		t.Errorf("%+v %v", why, err)
	}
	_, err = c.Activate(t.Context(), broker.Activation{Agreement: []byte(`{}`)})
	refusedWith(t, err, "agreement.form", http.StatusBadRequest)
	_, err = c.Publish(t.Context(), broker.Publication{Statement: []byte(`{}`), Admit: broker.Admission{Activated: true}})
	refusedWith(t, err, "dataset.form", http.StatusBadRequest)
	_, err = c.Confirm(t.Context(), broker.Confirmation{})
	refusedWith(t, err, "broker.locked", http.StatusForbidden)
	_, err = c.Retire(t.Context(), wire.DigestOf([]byte("unknown")))
	refusedWith(t, err, "agreement.activated", http.StatusForbidden)
	if ev, err := c.Revoke(t.Context(), wire.DigestOf([]byte("somebody"))); err != nil || ev.Kind != "revoke" {
		t.Errorf("%+v %v", ev, err)
	}
	if ev, err := c.Retire(t.Context(), w.Agreement.Digest()); err != nil || ev.Kind != "retire" {
		t.Errorf("%+v %v", ev, err)
	}
}

func serveUnix(t *testing.T, path string, h http.Handler) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s.Listener = listener
	s.Start()
	t.Cleanup(s.Close)
}
