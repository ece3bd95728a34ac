package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strongroom.dev/client"
	"strongroom.dev/ledger"
	"strongroom.dev/server"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

func signer(t testing.TB, origin string) *ledger.Signer {
	t.Helper()
	secret, _, err := ledger.GenerateKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ledger.ParseSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shared is a shared ledger that runs.
type shared struct {
	dir     string
	signer  *ledger.Signer
	log     *tilelog.Log
	witness *server.Witness
	http    *httptest.Server
	client  *client.Ledger
	now     atomic.Int64 // Unix seconds
}

func (s *shared) time() time.Time { return time.Unix(s.now.Load(), 0) }

// startShared starts a shared ledger that cosigns the logs with those keys.
func startShared(t testing.TB, firstKey bool, keys ...string) *shared {
	t.Helper()
	s := &shared{dir: t.TempDir(), signer: signer(t, "ledger.example")}
	s.now.Store(1795500000)
	var err error
	dir := filepath.Join(s.dir, "log")
	if err := tilelog.Create(dir, s.signer); err != nil {
		t.Fatal(err)
	}
	if s.log, err = tilelog.Open(dir, s.signer); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.log.Close() })
	s.witness = s.openWitness(t, firstKey, keys...)
	s.http = httptest.NewServer(server.Ledger{Log: s.log, Witness: s.witness, Key: s.signer.Verifier(), PerSecond: 5, Burst: 10, Now: s.time}.Handler())
	t.Cleanup(s.http.Close)
	s.client = client.NewLedger(s.http.URL, s.signer.Verifier(), s.http.Client())
	return s
}

func (s *shared) openWitness(t testing.TB, firstKey bool, keys ...string) *server.Witness {
	t.Helper()
	w, err := server.OpenWitness(filepath.Join(s.dir, "witness"), s.signer, keys, firstKey, s.time)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// other is a log that is witnessed.
type other struct {
	*tilelog.Log
	signer *ledger.Signer
}

func startOther(t testing.TB, s *ledger.Signer, content string, entries int) *other {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	if err := tilelog.Create(dir, s); err != nil {
		t.Fatal(err)
	}
	l, err := tilelog.Open(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	o := &other{l, s}
	o.grow(t, content, entries)
	return o
}

func (o *other) grow(t testing.TB, content string, entries int) {
	t.Helper()
	for i := range entries {
		if _, err := o.Append(context.Background(), [][]byte{fmt.Appendf(nil, "%s %d", content, i)}); err != nil {
			t.Fatal(err)
		}
	}
}

func (o *other) ask(t testing.TB, old int64) ledger.AddCheckpoint {
	t.Helper()
	proof := []wire.Hash{}
	if old <= o.Size() {
		var err error
		if proof, err = o.Consistency(old, o.Size()); err != nil {
			t.Fatal(err)
		}
	}
	return ledger.AddCheckpoint{Old: old, Proof: proof, Checkpoint: o.Checkpoint()}
}

func wantError(t *testing.T, err error, kind verdict.Kind, check string, status int) {
	t.Helper()
	var e *verdict.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Check != check {
		t.Fatalf("got %v, expected %s of kind %q", err, check, kind)
	}
	if got := client.Status(err); got != status {
		t.Fatalf("HTTP status %d, expected %d: %v", got, status, err)
	}
}

func (s *shared) cosign(o *other, a ledger.AddCheckpoint) error {
	_, err := s.client.AddCheckpoint(context.Background(), a.Old, a.Proof, a.Checkpoint)
	return err
}

func TestWitnessRefuses(t *testing.T) {
	alpha := signer(t, "log.example/alpha")
	s := startShared(t, false, alpha.Verifier())
	o := startOther(t, alpha, "alpha", 6)
	if err := s.cosign(o, o.ask(t, 0)); err != nil {
		t.Fatal(err)
	}
	kept := files(t, filepath.Join(s.dir, "witness"))
	fork := startOther(t, alpha, "another history", 6)
	stranger := startOther(t, signer(t, "log.example/alpha"), "alpha", 9)
	unknown := startOther(t, signer(t, "log.example/beta"), "beta", 1)
	small := startOther(t, alpha, "alpha", 3)
	o.grow(t, "more", 4)
	forkGrown := startOther(t, alpha, "another history", 12)
	broken := o.ask(t, 6)
	broken.Proof[0][0] ^= 1
	for name, c := range map[string]struct {
		log    *other
		ask    ledger.AddCheckpoint
		kind   verdict.Kind
		check  string
		status int
	}{
		"fork of the same size":  {fork, fork.ask(t, 6), verdict.Invalid, "ledger.fork", 409},
		"fork that grew":         {forkGrown, forkGrown.ask(t, 6), verdict.Invalid, "ledger.consistency", 422},
		"rollback":               {small, small.ask(t, 3), verdict.Refused, "ledger.rollback", 409},
		"rollback from 0":        {small, small.ask(t, 0), verdict.Refused, "ledger.rollback", 409},
		"old size that is not":   {o, o.ask(t, 5), verdict.Refused, "witness.old", 409},
		"first again":            {o, o.ask(t, 0), verdict.Refused, "witness.old", 409},
		"old size above":         {o, o.ask(t, 99), verdict.Usage, "witness.old", 400},
		"negative old size":      {o, ledger.AddCheckpoint{Old: -1, Checkpoint: o.Checkpoint()}, verdict.Usage, "witness.old", 400},
		"broken proof":           {o, broken, verdict.Invalid, "ledger.consistency", 422},
		"no proof":               {o, ledger.AddCheckpoint{Old: 6, Checkpoint: o.Checkpoint()}, verdict.Invalid, "ledger.consistency", 422},
		"another key, same name": {stranger, stranger.ask(t, 6), verdict.Invalid, "ledger.checkpoint", 403},
		"a log nobody named":     {unknown, unknown.ask(t, 0), verdict.Refused, "witness.unknown", 404},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.cosign(c.log, c.ask)
			wantError(t, err, c.kind, c.check, c.status)
			var conflict *client.Conflict
			if errors.As(err, &conflict) != (c.status == 409) {
				t.Fatalf("conflict: %v", err)
			}
			if conflict != nil {
				if latest, err := ledger.OpenCheckpoint(conflict.Latest, alpha.Verifier()); err != nil || latest.Size != 6 {
					t.Errorf("latest checkpoint in the answer: %+v, %v", latest, err)
				}
			}
		})
	}
	if now := files(t, filepath.Join(s.dir, "witness")); now != kept {
		t.Errorf("refusals changed the witness's files:\n%s\n%s", kept, now)
	}
	if err := s.cosign(o, o.ask(t, 6)); err != nil {
		t.Errorf("after all that, the honest checkpoint: %v", err)
	}
}

// files gives the content of a directory, for comparing.
func files(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		data, err := os.ReadFile(filepath.Join(dir, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s: %s\n", n.Name(), data)
	}
	return out.String()
}

func TestWitnessCosigns(t *testing.T) {
	alpha := signer(t, "log.example/alpha")
	s := startShared(t, false, alpha.Verifier())
	o := startOther(t, alpha, "alpha", 0)
	ctx := context.Background()
	if note, err := s.client.Latest(ctx, o.Origin()); err != nil || note != "" {
		t.Fatalf("before anything: %q, %v", note, err)
	}
	old := int64(0)
	for _, n := range []int{0, 1, 6, 0, 300} {
		o.grow(t, fmt.Sprint("batch ", n), n)
		s.now.Add(60)
		ask := o.ask(t, old)
		cosigned, err := s.client.Cosign(ctx, o.Origin(), ask.Old, ask.Proof, ask.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ledger.OpenCheckpoint(cosigned, alpha.Verifier())
		if err != nil {
			t.Fatal(err)
		}
		have, err := ledger.Cosignatures(c, []ledger.Witness{{Name: "shared", Key: s.signer.Verifier()}})
		if err != nil || len(have) != 1 || !have[0].Time.Equal(s.time()) {
			t.Fatalf("%v %v", have, err)
		}
		old = o.Size()
		note, err := s.client.Latest(ctx, o.Origin())
		if err != nil {
			t.Fatal(err)
		}
		if latest, err := ledger.OpenCheckpoint(note, alpha.Verifier()); err != nil || latest.Size != old {
			t.Fatalf("latest %+v, %v", latest, err)
		}
		if seen, err := s.client.Witnessed(ctx, alpha.Verifier()); err != nil || seen.Size != old {
			t.Fatalf("witnessed %+v, %v", seen, err)
		}
	}
	// What it knows outlives it, and a key it knows can't be replaced.
	again := s.openWitness(t, false)
	fork := startOther(t, alpha, "another history", 307)
	if _, err := again.Add(fork.ask(t, 307)); verdict.As(err).Check != "ledger.fork" {
		t.Errorf("after a restart, a fork: %v", err)
	}
	_, err := server.OpenWitness(filepath.Join(s.dir, "witness"), s.signer, []string{signer(t, "log.example/alpha").Verifier()}, false, s.time)
	wantError(t, err, verdict.Refused, "witness.key", 0)
	_, err = server.OpenWitness(filepath.Join(s.dir, "witness"), s.signer, []string{"nonsense"}, false, s.time)
	wantError(t, err, verdict.Usage, "witness.key", 0)
}

func TestWitnessRefusesDamagedState(t *testing.T) {
	alpha := signer(t, "log.example/alpha")
	s := startShared(t, false, alpha.Verifier())
	o := startOther(t, alpha, "alpha", 3)
	if _, err := s.witness.Add(o.ask(t, 0)); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(s.dir, "witness", "*.json"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%v %v", names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() error{
		"empty": func() error { return os.WriteFile(names[0], nil, 0o600) },
		"cut":   func() error { return os.WriteFile(names[0], data[:len(data)-9], 0o600) },
		"size changed": func() error {
			return os.WriteFile(names[0], bytes.Replace(data, []byte(`\n3\n`), []byte(`\n2\n`), 1), 0o600)
		},
		"another name": func() error {
			if err := os.WriteFile(names[0], data, 0o600); err != nil {
				return err
			}
			return os.Rename(names[0], filepath.Join(s.dir, "witness", strings.Repeat("0", 64)+".json"))
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		_, err := server.OpenWitness(filepath.Join(s.dir, "witness"), s.signer, nil, false, s.time)
		var e *verdict.Error
		if !errors.As(err, &e) || e.Check != "witness.state" {
			t.Errorf("%s: %v", name, err)
		}
		os.Remove(filepath.Join(s.dir, "witness", strings.Repeat("0", 64)+".json"))
	}
}

func TestWitnessOfAnybody(t *testing.T) {
	s := startShared(t, true)
	alpha := signer(t, "log.example/alpha")
	o := startOther(t, alpha, "alpha", 2)
	wantError(t, s.cosign(o, o.ask(t, 0)), verdict.Refused, "witness.unknown", 404) // the key did not come along
	s.client.LogKey = signer(t, "log.example/beta").Verifier()
	wantError(t, s.cosign(o, o.ask(t, 0)), verdict.Refused, "witness.unknown", 404)
	s.client.LogKey = signer(t, "log.example/alpha").Verifier() // not the one that signed
	wantError(t, s.cosign(o, o.ask(t, 0)), verdict.Invalid, "ledger.checkpoint", 403)
	s.client.LogKey = alpha.Verifier()
	if err := s.cosign(o, o.ask(t, 0)); err != nil {
		t.Fatal(err)
	}
	// The name is taken for good: a second key under it would let the log fork.
	mallory := startOther(t, signer(t, "log.example/alpha"), "mallory", 5)
	s.client.LogKey = mallory.signer.Verifier()
	wantError(t, s.cosign(mallory, mallory.ask(t, 2)), verdict.Invalid, "ledger.checkpoint", 403)
}

// TestWitnessRace shows many forks at once: exactly one of them is cosigned.
func TestWitnessRace(t *testing.T) {
	alpha := signer(t, "log.example/alpha")
	s := startShared(t, false, alpha.Verifier())
	var wg sync.WaitGroup
	var signed atomic.Int32
	start := make(chan struct{})
	for i := range 100 {
		note, err := alpha.SignCheckpoint(4, wire.HashOf(fmt.Append(nil, i)))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			<-start
			if _, err := s.witness.Add(ledger.AddCheckpoint{Proof: []wire.Hash{}, Checkpoint: note}); err == nil {
				signed.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	if signed.Load() != 1 {
		t.Fatalf("%d histories were cosigned, expected 1", signed.Load())
	}
}

func TestAnswersAreBoundToTheQuestion(t *testing.T) {
	alpha := signer(t, "log.example/alpha")
	s := startShared(t, false, alpha.Verifier())
	o := startOther(t, alpha, "alpha", 3)
	if err := s.cosign(o, o.ask(t, 0)); err != nil {
		t.Fatal(err)
	}
	// Somebody on the way repeats the answer of before.
	var recorded []byte
	replay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if recorded == nil {
			resp, err := http.Post(s.http.URL+r.URL.Path, "application/json", r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			recorded, _ = io.ReadAll(resp.Body)
		}
		w.Write(recorded)
	}))
	defer replay.Close()
	l := client.NewLedger(replay.URL, s.signer.Verifier(), nil)
	if _, err := l.Latest(context.Background(), o.Origin()); err != nil {
		t.Fatal(err)
	}
	_, err := l.Latest(context.Background(), o.Origin())
	wantError(t, err, verdict.Invalid, "ledger.witnessed", 0)
	// Or puts another checkpoint beside a genuine statement.
	first := o.Checkpoint()
	o.grow(t, "more", 1)
	if err := s.cosign(o, o.ask(t, 3)); err != nil {
		t.Fatal(err)
	}
	swap := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Post(s.http.URL+r.URL.Path, "application/json", r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		var a ledger.WitnessedAnswer
		body, _ := io.ReadAll(resp.Body)
		if err := wire.Unmarshal(body, &a); err != nil {
			t.Error(err)
		}
		a.Checkpoint = first
		body, _ = wire.Marshal(a)
		w.Write(body)
	}))
	defer swap.Close()
	_, err = client.NewLedger(swap.URL, s.signer.Verifier(), nil).Latest(context.Background(), o.Origin())
	wantError(t, err, verdict.Invalid, "ledger.witnessed", 0)
	_, err = s.witness.Answer(ledger.WitnessedRequest{Origin: o.Origin()})
	wantError(t, err, verdict.Usage, "witness.nonce", 0)
}

// TestPublicFormats speaks C2SP tlog-tiles and tlog-witness, as other people's tools do.
func TestPublicFormats(t *testing.T) {
	alpha := signer(t, "log.example/alpha")
	s := startShared(t, false, alpha.Verifier())
	if _, err := s.client.Submit(context.Background(), record(t, nil)); err != nil {
		t.Fatal(err)
	}
	o := startOther(t, alpha, "alpha", 5)
	fork := startOther(t, alpha, "another history", 5)
	unknown := startOther(t, signer(t, "log.example/beta"), "beta", 1)
	stranger := startOther(t, signer(t, "log.example/alpha"), "alpha", 5)
	wrong := o.ask(t, 0)
	wrong.Old, wrong.Proof = 5, []wire.Hash{{1}}
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		contentType, starts      string
	}{
		{"checkpoint", "GET", "/checkpoint", "", 200, "text/plain; charset=utf-8", "ledger.example\n1\n"},
		{"tile", "GET", "/tile/0/000.p/1", "", 200, "application/octet-stream", ""},
		{"bundle", "GET", "/tile/entries/000.p/1", "", 200, "application/octet-stream", ""},
		{"tile not there", "GET", "/tile/0/000.p/2", "", 404, "application/json", ""},
		{"full tile not there", "GET", "/tile/0/000", "", 404, "application/json", ""},
		{"no tile", "GET", "/tile/0/0", "", 404, "application/json", ""},
		{"method", "POST", "/checkpoint", "", 405, "text/plain; charset=utf-8", ""},
		{"elsewhere", "GET", "/log.key", "", 404, "text/plain; charset=utf-8", ""},
		{"malformed", "POST", "/add-checkpoint", "nonsense", 400, "application/json", ""},
		{"unknown log", "POST", "/add-checkpoint", unknown.ask(t, 0).Text(), 404, "application/json", ""},
		{"unknown key", "POST", "/add-checkpoint", stranger.ask(t, 0).Text(), 403, "application/json", ""},
		{"first", "POST", "/add-checkpoint", o.ask(t, 0).Text(), 200, "text/plain; charset=utf-8", "— ledger.example "},
		{"again from 0", "POST", "/add-checkpoint", o.ask(t, 0).Text(), 409, "text/x.tlog.size", "5\n"},
		{"same", "POST", "/add-checkpoint", o.ask(t, 5).Text(), 200, "text/plain; charset=utf-8", "— ledger.example "},
		{"fork", "POST", "/add-checkpoint", fork.ask(t, 5).Text(), 409, "text/x.tlog.size", "5\n"},
		{"proof for nothing", "POST", "/add-checkpoint", wrong.Text(), 422, "application/json", ""},
		{"old above size", "POST", "/add-checkpoint", strings.Replace(o.ask(t, 5).Text(), "old 5", "old 6", 1), 400, "application/json", ""},
		{"number", "GET", "/v1/receipt?index=01", "", 400, "application/json", ""},
		{"no number", "GET", "/v1/consistency?from=1", "", 400, "application/json", ""},
		{"witnessed", "GET", "/v1/witnessed?origin=log.example/alpha", "", 200, "text/plain; charset=utf-8", "log.example/alpha\n5\n"},
		{"not witnessed", "GET", "/v1/witnessed?origin=x", "", 404, "application/json", ""},
		{"unknown member", "POST", "/v1/witnessed", `{"origin":"x","nonce":"sha256:` + strings.Repeat("11", 32) + `","more":1}`, 400, "application/json", ""},
		{"twice", "POST", "/v1/witnessed", `{"origin":"x","origin":"x","nonce":"sha256:` + strings.Repeat("11", 32) + `"}`, 400, "application/json", ""},
		{"too large", "POST", "/v1/add-checkpoint", strings.Repeat(" ", ledger.MaxRequest+1), 400, "application/json", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequest(c.method, s.http.URL+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != c.contentType || !strings.HasPrefix(string(body), c.starts) {
				t.Errorf("%d %s %q, expected %d %s %q", resp.StatusCode, resp.Header.Get("Content-Type"), body, c.status, c.contentType, c.starts)
			}
			if resp.StatusCode != 405 && resp.Header.Get("Content-Type") == "application/json" && resp.StatusCode != 200 && verdict.Decode(body).Check == "response" {
				t.Errorf("not an error document: %q", body)
			}
		})
	}
}

// TestBrokenLog: what goes wrong inside is not told to callers.
func TestBrokenLog(t *testing.T) {
	s := startShared(t, false)
	s.log.Close()
	_, err := s.client.Submit(context.Background(), record(t, nil))
	wantError(t, err, verdict.Broken, "ledger.open", 500)
	if strings.Contains(err.Error(), s.dir) {
		t.Errorf("the answer names the server's files: %v", err)
	}
}
