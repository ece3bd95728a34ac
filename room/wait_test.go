package room_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/room"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
	"strongroom.dev/workload/sql"
)

// unwitnessed is a broker's answer while its agreement's shared ledgers can't be reached.
func unwitnessed() error {
	return verdict.Refuse("release.witnesses", "cosignatures of 1 of the agreement's 1 shared ledgers", "0 (shared: did not sign)", "see that the broker reaches them")
}

// A ledger that is away for a while costs nobody a run, whichever call it is missed at; the
// host hears once whom the room waits for.
func TestLedgerThatComesBack(t *testing.T) {
	for _, c := range []struct {
		name, stream, path, waits string
		err                       error
	}{
		{"at the release", "broker/beta-org", release.PathRelease, "ledgers of broker/beta-org", unwitnessed()},
		{"at the last word", "broker/beta-org", release.PathLive, "ledgers of broker/beta-org", unwitnessed()},
		{"for the record", "ledger/shared", ledger.PathEntries, "ledger/shared", errors.New("connection refused")},
		{"a broker, at the release", "broker/alpha-org", release.PathRelease, "broker/alpha-org", errors.New("connection refused")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(a *agreement.Agreement) { a.LeaseMS = 2500 })
			w.engine = func(context.Context, sql.Job, map[wire.ID]string) (sql.Result, string, error) {
				time.Sleep(300 * time.Millisecond) // longer than it takes to notice a lease that lapsed
				return answer(), "", nil
			}
			back := time.Now()
			var once sync.Once
			w.ask = func(_ context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				if stream != c.stream || path != c.path {
					return next(body)
				}
				// Longer than a lease: the other owner's must be kept meanwhile.
				once.Do(func() { back = time.Now().Add(3500 * time.Millisecond) })
				if time.Now().Before(back) && !(path == release.PathLive && !commits(t, body)) {
					return nil, c.err
				}
				return next(body)
			}
			config := w.config()
			config.Patience = 20 * time.Second
			var waited []string
			config.Tell = func(e room.Event) error {
				if e.Event == room.Waiting {
					waited = append(waited, e.For)
				}
				return w.tell(e)
			}
			request := w.request(nil)
			must(t, room.Run(t.Context(), config, w.start(request)))
			if head, _ := w.opened(request); head.Status != room.OK {
				t.Errorf("result %v", head)
			}
			if len(waited) != 1 || waited[0] != c.waits {
				t.Errorf("waited for %q, expected %q", waited, c.waits)
			}
		})
	}
}

func commits(t *testing.T, body []byte) bool {
	r, err := release.ParseLiveRequest(body)
	must(t, err)
	return r.Commitment != nil
}

// A ledger that never comes back ends the run as broken: nobody said no.
func TestLedgerThatStaysAway(t *testing.T) {
	for name, c := range map[string]struct {
		stream, path string
		err          error
	}{
		"release": {"broker/alpha-org", release.PathRelease, unwitnessed()},
		"output":  {"broker/alpha-org", release.PathLive, unwitnessed()},
		"record":  {"ledger/shared", ledger.PathEntries, errors.New("connection refused")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.ask = func(_ context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				if stream == c.stream && path == c.path {
					return nil, c.err
				}
				return next(body)
			}
			e := refusal(t, w, w.config(), w.start(w.request(nil)))
			if e.Check != "ledger.quorum" || e.Kind != verdict.Broken || !strings.Contains(e.Fix, "shared ledgers") {
				t.Errorf("kind %d: %v", e.Kind, e)
			}
		})
	}
}

// Enough ledgers are enough: one that is away delays nothing.
func TestOneLedgerOfTwoAway(t *testing.T) {
	_, other, err := ledger.GenerateKey("ledger.example/away")
	must(t, err)
	w := newWorld(t, func(a *agreement.Agreement) {
		a.Ledgers.Witnesses = append([]agreement.Witness{{Name: "away", Key: other}}, a.Ledgers.Witnesses...)
	})
	config := w.config()
	config.Patience = time.Minute
	began := time.Now()
	must(t, room.Run(t.Context(), config, w.start(w.request(nil))))
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Another run shows a broker a newer checkpoint of its peer after it set its challenge: the
// room asks once more, from a fresh one.
func TestPeersMoveMeanwhile(t *testing.T) {
	w := newWorld(t, nil)
	var passed atomic.Bool
	w.ask = func(ctx context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if stream == "broker/beta-org" && path == release.PathRelease && !passed.Swap(true) {
			must(t, w.run(w.request(nil)))
		}
		return next(body)
	}
	request := w.request(nil)
	must(t, w.run(request))
	if head, _ := w.opened(request); head.Status != room.OK {
		t.Errorf("result %v", head)
	}
}

// It does so once: a broker that goes on saying so is believed.
func TestPeersMoveForEver(t *testing.T) {
	w := newWorld(t, nil)
	asked := 0
	w.ask = func(_ context.Context, stream, path string, body []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if stream == "broker/beta-org" && path == release.PathRelease {
			asked++
			return nil, verdict.Refuse("peers.checkpoints", "the other owners' logs to stand still", "they moved on", "ask again")
		}
		return next(body)
	}
	if e := refusal(t, w, w.config(), w.start(w.request(nil))); e.Check != "peers.checkpoints" || e.Kind != verdict.Refused || asked != 2 {
		t.Errorf("asked %d times: %v", asked, e)
	}
}

// Work that never ends fails like any other, while brokers renew its leases for as long as
// they are asked; its owners learn the reason.
func TestWorkIsBounded(t *testing.T) {
	w := newWorld(t, nil)
	w.engine = hold(make(chan bool, 1))
	config := w.config()
	config.Longest = 300 * time.Millisecond
	request := w.request(nil)
	must(t, room.Run(t.Context(), config, w.start(request)))
	if head, body := w.opened(request); head.Status != room.Failed || head.Code != "run.failed" || body != "" {
		t.Errorf("result %v %q", head, body)
	}
	if d, _ := w.details("alpha"); d.Code != "work.time" || d.Withheld != 0 {
		t.Errorf("owner learns %+v", d)
	}
}

// What bounds a run can't be left away or stretched.
func TestBoundsAreRequired(t *testing.T) {
	w := newWorld(t, nil)
	for name, change := range map[string]func(*room.Config){
		"no patience":   func(c *room.Config) { c.Patience = 0 },
		"much patience": func(c *room.Config) { c.Patience = room.MaxPatience + 1 },
		"no end":        func(c *room.Config) { c.Longest = 0 },
		"late end":      func(c *room.Config) { c.Longest = room.MaxWork + 1 },
	} {
		config := w.config()
		change(&config)
		if e := verdict.As(room.Run(t.Context(), config, w.start(w.request(nil)))); e.Check != "room.config" {
			t.Errorf("%s: %v", name, e)
		}
	}
}
