package room_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/room"
	"strongroom.dev/sandbox"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

func TestRunEndsInAProvenResult(t *testing.T) {
	w := newWorld(t, nil)
	request := w.request(nil)
	if err := w.run(request); err != nil {
		t.Fatal(err)
	}
	want := []room.Step{room.Started, room.Verified, room.Challenged, room.Released, room.Opened, room.Computed, room.Allowed, room.Recorded}
	if !slices.Equal(w.steps, want) || w.last.Event != room.Done {
		t.Errorf("steps %v, last %v", w.steps, w.last)
	}
	head, body := w.opened(request)
	if head.Status != room.OK || body != "mean,n\n12.500,3\n,3\n" {
		t.Errorf("%v %q", head, body)
	}
	alpha, size := w.details("alpha")
	beta, other := w.details("beta")
	if alpha.Withheld != 1 || beta.Withheld != 0 || alpha.Status != room.OK || size != other {
		t.Errorf("alpha %+v (%d bytes), beta %+v (%d bytes)", alpha, size, beta, other)
	}
}

// refusal runs one attempt and gives the check that stopped it. Nothing may leave.
func refusal(t *testing.T, w *world, c room.Config, s room.Start) *verdict.Error {
	t.Helper()
	err := room.Run(t.Context(), c, s)
	if err == nil {
		t.Fatal("the run was not refused")
	}
	if len(w.files) != 0 {
		t.Errorf("files left: %d", len(w.files))
	}
	e := verdict.As(err)
	if told := verdict.Decode(w.last.Error); w.last.Event != room.Stopped || told.Check != e.Check {
		t.Errorf("the host was told %v of %v", w.last.Event, told)
	}
	return e
}

// What can be found out without a broker is found before any is asked.
func TestRefusedBeforeAnybodyIsAsked(t *testing.T) {
	w := newWorld(t, nil)
	good := w.request(nil)
	other := newWorld(t, nil)
	flip := func(list []room.StartInput) []room.StartInput {
		return []room.StartInput{{Input: list[0].Input, Statement: list[1].Statement, FD: list[1].FD}, {Input: list[1].Input, Statement: list[0].Statement, FD: list[0].FD}}
	}
	for _, c := range []struct {
		name, check string
		config      func(*room.Config)
		start       func(*room.Start)
	}{
		{"agreement lacks a signature", "agreement.signatures", nil, func(s *room.Start) {
			doc, err := keys.ParseDocument(s.Agreement, agreement.AgreementType, nil)
			must(t, err)
			doc.Signatures = doc.Signatures[:2]
			s.Agreement = document(t, doc)
		}},
		{"agreement of another world", "run.agreement", nil, func(s *room.Start) {
			s.Agreement, s.Parties = document(t, other.agreement.Document), other.descriptors()
		}},
		{"descriptor missing", "agreement.parties", nil, func(s *room.Start) { s.Parties = s.Parties[1:] }},
		{"parameter changed after signing", "run.signatures", nil, func(s *room.Start) {
			s.Run = bytes.Replace(s.Run, []byte(`"least":"3"`), []byte(`"least":"4"`), 1)
		}},
		{"parameter out of bounds", "run.parameters", nil, func(s *room.Start) {
			s.Run = document(t, w.request(func(r *agreement.Run) { r.Parameters["least"] = "10" }).Document)
		}},
		{"request expired", "run.expiry", nil, func(s *room.Start) {
			s.Run = document(t, w.request(func(r *agreement.Run) { r.Expires = wire.At(time.Now().Add(-time.Minute)) }).Document)
		}},
		{"requester may not run", "run.may-run", nil, func(s *room.Start) {
			s.Run = document(t, w.request(func(r *agreement.Run) { r.Requester = "alpha" }).Document)
		}},
		{"platform not agreed", "room.platform", func(c *room.Config) { c.Device = &fakeDevice{w: w, platform: "snp"} }, nil},
		{"layer missing", "room.sandbox", func(c *room.Config) { c.Lacks = []sandbox.Lack{{Layer: sandbox.Landlock, Reason: "too old"}} }, nil},
		{"input missing", "room.inputs", nil, func(s *room.Start) { s.Inputs = s.Inputs[:1] }},
		{"inputs in another order", "room.inputs", nil, func(s *room.Start) { s.Inputs[0], s.Inputs[1] = s.Inputs[1], s.Inputs[0] }},
		{"another owner's file under an agreed name", "input.version", nil, func(s *room.Start) { s.Inputs = flip(s.Inputs) }},
		{"another owner's file with the right statement", "input.header", nil, func(s *room.Start) { s.Inputs[0].FD, s.Inputs[1].FD = s.Inputs[1].FD, s.Inputs[0].FD }},
		{"statement signed by another", "dataset.signatures", nil, func(s *room.Start) {
			doc, err := keys.ParseDocument(s.Inputs[0].Statement, agreement.DatasetType, nil)
			must(t, err)
			doc.Signatures = []keys.Signature{}
			must(t, doc.Sign(w.parties["study"].signing))
			s.Inputs[0].Statement = document(t, doc)
		}},
		{"no engine", "room.helper", nil, func(s *room.Start) { s.Helpers = nil }},
		{"query against the rules", "sql.query.function", func(c *room.Config) {
			c.Engine = func(context.Context, *os.File, sql.Job, []*os.File) (sql.Result, string, error) {
				return sql.Result{}, "", &sql.Failure{Phase: sql.Check, Code: "query.function", Detail: "read_csv"}
			}
		}, nil},
		{"engine that breaks", "room.engine", func(c *room.Config) {
			c.Engine = func(context.Context, *os.File, sql.Job, []*os.File) (sql.Result, string, error) {
				return sql.Result{}, "killed", errors.New("no answer")
			}
		}, nil},
		{"file cut short", "input.size", nil, func(*room.Start) {
			w.parties["alpha"].sealed = w.parties["alpha"].sealed[:len(w.parties["alpha"].sealed)-1]
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.calls, w.files = nil, map[string][]byte{}
			config, start := w.config(), w.start(good)
			if c.config != nil {
				c.config(&config)
			}
			if c.start != nil {
				c.start(&start)
			}
			if e := refusal(t, w, config, start); e.Check != c.check {
				t.Errorf("refused by %v, expected %s", e, c.check)
			}
			if len(w.calls) != 0 {
				t.Errorf("somebody was asked: %v", w.calls)
			}
		})
	}
}

func TestZeroConfigRefuses(t *testing.T) {
	if err := room.Run(t.Context(), room.Config{}, room.Start{}); verdict.As(err).Check != "room.config" {
		t.Errorf("got %v", err)
	}
}

func TestMissingLayerThatIsAgreed(t *testing.T) {
	w := newWorld(t, func(a *agreement.Agreement) { a.Platforms[0].MayLack = []wire.ID{"landlock"} })
	c := w.config()
	c.Lacks = []sandbox.Lack{{Layer: sandbox.Landlock, Reason: "too old"}}
	if err := room.Run(t.Context(), c, w.start(w.request(nil))); err != nil {
		t.Error(err)
	}
}

// The host's clock decides nothing: set back, it makes an expired agreement pass the first
// look, and the brokers' time still ends the run before any key is asked for.
func TestClockOfTheHostDecidesNothing(t *testing.T) {
	w := newWorld(t, func(a *agreement.Agreement) { a.Valid.Until = wire.At(time.Now().Add(time.Minute)) })
	w.skew = time.Hour
	c := w.config()
	c.HostClock = func() time.Time { return time.Now() }
	if e := refusal(t, w, c, w.start(w.request(nil))); e.Check != "agreement.validity" {
		t.Errorf("refused by %v", e)
	}
	for _, call := range w.calls {
		if strings.HasSuffix(call, release.PathRelease) {
			t.Error("keys were asked for")
		}
	}
}

// A host that alters what passes between room and brokers.
func TestHostileRelay(t *testing.T) {
	type relay = func(ctx context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error)
	on := func(want string, do func(body []byte, next func([]byte) ([]byte, error)) ([]byte, error)) relay {
		return func(_ context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			if stream+path == want {
				return do(body, next)
			}
			return next(body)
		}
	}
	for _, c := range []struct {
		name, check string
		relay       func(w *world) relay
	}{
		{"challenge of another broker", "message.signature", func(w *world) relay {
			return on("broker/alpha-org"+release.PathChallenge, func(body []byte, _ func([]byte) ([]byte, error)) ([]byte, error) {
				return w.relay(t.Context(), "broker/beta-org", release.PathChallenge, body)
			})
		}},
		{"old challenge", "challenge.answer", func(w *world) relay {
			var old []byte // of a run before
			w.ask = on("broker/alpha-org"+release.PathChallenge, func(body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				data, err := next(body)
				old = data
				return data, err
			})
			must(t, w.run(w.request(nil)))
			w.files = map[string][]byte{}
			return on("broker/alpha-org"+release.PathChallenge, func([]byte, func([]byte) ([]byte, error)) ([]byte, error) { return old, nil })
		}},
		{"room key swapped in the request", "message.signature", func(*world) relay {
			return on("broker/alpha-org"+release.PathRelease, func(body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				stranger := newSigningKey(t)
				doc, err := keys.ParseDocument(body, release.RequestType, nil)
				must(t, err)
				doc.Signatures[0].Key = stranger.Public().ID()
				return next(document(t, doc))
			})
		}},
		{"grants of two brokers exchanged", "message.signature", func(w *world) relay {
			var mu sync.Mutex
			got := map[string][]byte{}
			var both sync.WaitGroup
			both.Add(2)
			return func(_ context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				if path != release.PathRelease {
					return next(body)
				}
				data, err := next(body)
				must(t, err)
				mu.Lock()
				got[stream] = data
				mu.Unlock()
				both.Done()
				both.Wait()
				mu.Lock()
				defer mu.Unlock()
				for other, data := range got {
					if other != stream {
						return data, nil
					}
				}
				return data, nil
			}
		}},
		{"refusal made up by the host", "made.up", func(*world) relay {
			return on("broker/beta-org"+release.PathRelease, func([]byte, func([]byte) ([]byte, error)) ([]byte, error) {
				return nil, verdict.Refuse("made.up", "a", "b", "c")
			})
		}},
		{"proof that the logs are one log altered", "peers.checkpoints", func(w *world) relay {
			must(t, w.run(w.request(nil)))
			w.files = map[string][]byte{}
			return func(_ context.Context, _, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				data, err := next(body)
				if path == release.PathConsistency {
					var answer release.ConsistencyAnswer
					must(t, wire.Unmarshal(data, &answer))
					answer.Proof = append(answer.Proof, wire.Hash{1})
					return wire.Marshal(answer)
				}
				return data, err
			}
		}},
		{"output answer of another nonce", "lease.refused", func(*world) relay {
			var first []byte
			return on("broker/alpha-org"+release.PathLive, func(body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				if first == nil {
					data, err := next(body)
					first = data
					return bytes.Replace(data, []byte(`"time_ms":1`), []byte(`"time_ms":2`), 1), err
				}
				return first, nil
			})
		}},
		{"ledger that says nothing", "ledger.quorum", func(*world) relay {
			return on("ledger/shared"+ledger.PathEntries, func([]byte, func([]byte) ([]byte, error)) ([]byte, error) { return nil, errors.New("cut") })
		}},
		{"ledger that records something else", "ledger.quorum", func(w *world) relay {
			return on("ledger/shared"+ledger.PathEntries, func(body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				return next(bytes.Replace(body, []byte(`"kind":"run"`), []byte(`"kind":"fun"`), 1))
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.ask = c.relay(w)
			if e := refusal(t, w, w.config(), w.start(w.request(nil))); e.Check != c.check {
				t.Errorf("refused by %v, expected %s", e, c.check)
			}
		})
	}
}

func TestRequestRunsOnce(t *testing.T) {
	w := newWorld(t, nil)
	request := w.request(nil)
	must(t, w.run(request))
	w.files = map[string][]byte{}
	if e := refusal(t, w, w.config(), w.start(request)); e.Kind != verdict.Refused || !strings.HasPrefix(e.Check, "run.") {
		t.Errorf("refused by %v", e)
	}
}

func TestAlteredFile(t *testing.T) {
	for _, c := range []struct {
		owner     wire.ID
		explained bool // before anything was decrypted, the reason is told in full
	}{{"alpha", true}, {"beta", false}} {
		w := newWorld(t, nil)
		s := w.parties[c.owner].sealed
		s[len(s)-1] ^= 1
		e := refusal(t, w, w.config(), w.start(w.request(nil)))
		if e.Check != "input.file" || strings.Contains(e.Error(), string(c.owner)) != c.explained {
			t.Errorf("%s: refused by %v", c.owner, e)
		}
	}
}

// hold is an engine that works until its context ends.
func hold(started chan<- bool) func(context.Context, sql.Job, map[wire.ID]string) (sql.Result, string, error) {
	return func(ctx context.Context, _ sql.Job, _ map[wire.ID]string) (sql.Result, string, error) {
		started <- true
		<-ctx.Done()
		return sql.Result{}, "", ctx.Err()
	}
}

func TestLeaseIsKeptWhileWorkGoesOn(t *testing.T) {
	w := newWorld(t, func(a *agreement.Agreement) { a.LeaseMS = 2000 })
	w.engine = func(ctx context.Context, _ sql.Job, _ map[wire.ID]string) (sql.Result, string, error) {
		select {
		case <-ctx.Done():
		case <-time.After(4 * time.Second):
		}
		return answer(), "", ctx.Err()
	}
	if err := w.run(w.request(nil)); err != nil {
		t.Error(err)
	}
}

// The host cuts the network while the work goes on: the lease lapses and nothing leaves.
func TestLeaseLapses(t *testing.T) {
	w := newWorld(t, func(a *agreement.Agreement) { a.LeaseMS = 600 })
	started := make(chan bool, 1)
	w.engine = hold(started)
	var cut atomic.Bool
	w.ask = func(_ context.Context, _, _ string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if cut.Load() {
			return nil, errors.New("no network")
		}
		return next(body)
	}
	go func() { <-started; cut.Store(true) }()
	began := time.Now()
	e := refusal(t, w, w.config(), w.start(w.request(nil)))
	if e.Check != "lease.lapsed" || time.Since(began) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(began), e)
	}
}

// An owner switches off while the work goes on.
func TestOwnerSaysNo(t *testing.T) {
	w := newWorld(t, func(a *agreement.Agreement) { a.LeaseMS = 600 })
	started := make(chan bool, 1)
	w.engine = hold(started)
	go func() {
		<-started
		w.parties["beta"].broker.Retire(context.Background(), w.agreement.Digest())
	}()
	if e := refusal(t, w, w.config(), w.start(w.request(nil))); e.Check != "lease.refused" {
		t.Errorf("refused by %v", e)
	}
}

// Lives that the host recorded earlier keep no lease alive.
func TestReplayedLivesKeepNothing(t *testing.T) {
	w := newWorld(t, func(a *agreement.Agreement) { a.LeaseMS = 600 })
	w.engine = hold(make(chan bool, 1))
	var mu sync.Mutex
	old := map[string][]byte{}
	w.ask = func(_ context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		if path == release.PathLive && old[stream] != nil {
			return old[stream], nil
		}
		data, err := next(body)
		if path == release.PathLive {
			old[stream] = data
		}
		return data, err
	}
	if e := refusal(t, w, w.config(), w.start(w.request(nil))); e.Check != "lease.refused" && e.Check != "lease.lapsed" {
		t.Errorf("refused by %v", e)
	}
}

// A live request whose answer is lost, or that the host exchanges for an older one, is made
// again with a higher counter.
func TestLostLives(t *testing.T) {
	w := newWorld(t, nil)
	w.engine = func(context.Context, sql.Job, map[wire.ID]string) (sql.Result, string, error) {
		return answer(), "", nil
	}
	var mu sync.Mutex
	asked := map[string][][]byte{}
	w.ask = func(_ context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if path != release.PathLive {
			return next(body)
		}
		mu.Lock()
		asked[stream] = append(asked[stream], body)
		all := asked[stream]
		mu.Unlock()
		switch len(all) {
		case 1:
			next(body) //nolint:errcheck // whatever it says is lost
			return nil, errors.New("cut off")
		case 2:
			return next(all[0])
		}
		return next(body)
	}
	must(t, w.run(w.request(nil)))
	for stream, all := range asked {
		last := int64(0)
		for _, body := range all {
			r, err := release.ParseLiveRequest(body)
			must(t, err)
			if r.Counter <= last {
				t.Errorf("%s: counter %d after %d", stream, r.Counter, last)
			}
			last = r.Counter
		}
		if len(all) < 3 {
			t.Errorf("%s was asked %d times", stream, len(all))
		}
	}
}

// A failure that depends on data gives a result of the same shape and size, one code, and
// its reason to the owner it concerns alone.
func TestFailureInside(t *testing.T) {
	const secret = "patient 4711"
	sizes := map[int]bool{}
	for _, c := range []struct {
		name, code string
		engine     func() (sql.Result, string, error)
		alpha      bool // learns the reason
		beta       bool
	}{
		{"answer", "", func() (sql.Result, string, error) { return answer(), "", nil }, false, false},
		{"bad value", "work.load", func() (sql.Result, string, error) {
			return sql.Result{}, "", &sql.Failure{Phase: sql.Load, Code: "input.value", Input: "alpha-rows", Detail: secret}
		}, true, false},
		{"failed query", "work.run", func() (sql.Result, string, error) {
			return sql.Result{}, "", &sql.Failure{Phase: sql.Query, Code: "engine", Detail: secret}
		}, true, true},
		{"crash", "work.engine", func() (sql.Result, string, error) { return sql.Result{}, secret, errors.New("gone: " + secret) }, false, false},
		{"too many rows", "output.rows", func() (sql.Result, string, error) {
			r := answer()
			for range 100 {
				r.Rows = append(r.Rows, r.Rows[0])
			}
			return r, "", nil
		}, false, false},
		{"too many bytes", "output.bytes", func() (sql.Result, string, error) {
			long := strings.Repeat("x", 6000)
			return sql.Result{Columns: []sql.Column{{Name: "t", Type: "text"}}, Rows: [][]*string{{&long}, {&long}}}, "", nil
		}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.engine = func(context.Context, sql.Job, map[wire.ID]string) (sql.Result, string, error) { return c.engine() }
			request := w.request(nil)
			must(t, w.run(request))
			head, body := w.opened(request)
			if (head.Code == "run.failed") != (c.code != "") || c.code != "" && (head.Status != room.Failed || body != "" || head.Failure() == nil) {
				t.Errorf("result %v %q", head, body)
			}
			for id, learns := range map[wire.ID]bool{"alpha": c.alpha, "beta": c.beta} {
				d, _ := w.details(id)
				if d.Code != c.code || strings.Contains(d.Reason, secret) != learns {
					t.Errorf("%s: %+v", id, d)
				}
			}
			for name, data := range w.files {
				if bytes.Contains(data, []byte(secret)) {
					t.Errorf("the secret is in %s", name)
				}
				if strings.HasSuffix(name, ".age") {
					sizes[len(data)] = true
				}
			}
		})
	}
	if len(sizes) != 1 {
		t.Errorf("results of %d sizes tell failures from answers", len(sizes))
	}
}

// Work starts only after every byte was checked, on what the owners sealed.
func TestEngineSeesWhatWasSealed(t *testing.T) {
	w := newWorld(t, nil)
	var saw map[wire.ID]string
	w.engine = func(_ context.Context, job sql.Job, plain map[wire.ID]string) (sql.Result, string, error) {
		saw = plain
		if job.Inputs[0].Rules.MinGroup != 10 || job.Parameters[0].Value != "3" || job.Inputs[1].FD != 17 || job.Query != w.agreement.Work[0].Query {
			t.Errorf("job %+v", job)
		}
		return answer(), "", nil
	}
	must(t, w.run(w.request(nil)))
	want := map[wire.ID]string{"alpha-rows": "patient,radius\n1,2.000\nalpha\n", "beta-rows": "patient,radius\n1,2.000\nbeta \n"}
	if diff := cmp.Diff(want, saw); diff != "" {
		t.Error(diff)
	}
}

// A time bucket holds back all that is told of the work's end; whose identifiers are hashed
// differs from run to run.
func TestTimeBucket(t *testing.T) {
	w := newWorld(t, func(a *agreement.Agreement) { a.Outputs[0].TimeBucketMS = 700 })
	var began time.Time
	salts := map[string]bool{}
	w.engine = func(_ context.Context, job sql.Job, _ map[wire.ID]string) (sql.Result, string, error) {
		began = time.Now()
		salts[job.Salt] = true
		return answer(), "", nil
	}
	for range 2 {
		must(t, w.run(w.request(nil)))
		if took := time.Since(began); took < 650*time.Millisecond {
			t.Errorf("the result left after %s", took)
		}
	}
	if len(salts) != 2 || salts[sql.NoSalt] || salts[""] {
		t.Errorf("salts %v", salts)
	}
}

// The evidence that a room shows is for its own keys and this run: anybody may verify it.
func TestShownEvidenceVerifies(t *testing.T) {
	w := newWorld(t, nil)
	request := w.request(nil)
	must(t, w.run(request))
	if len(w.shown) != 2 {
		t.Fatalf("%d pieces of evidence", len(w.shown))
	}
	for _, s := range w.shown {
		_, err := attest.Verify(s.Evidence, []attest.Platform{dev.New()}, attest.Expectation{AgreementBody: w.agreement.Canonical(), Now: time.Now(),
			Binding: attest.Binding{Purpose: attest.ForRelease, Nonce: attest.NonceOf(s.Challenge), Signing: s.Room.Signing, HPKE: s.Room.HPKE, Agreement: w.agreement.Digest(), Run: request.Digest()}})
		if err != nil {
			t.Error(err)
		}
	}
}
