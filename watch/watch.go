package watch

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"strongroom.dev/appraise"
	"strongroom.dev/attest"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Config is what a watcher is made of.
type Config struct {
	Fleet Fleet
	// Path is the file of the state.
	Path string
	// Judge judges evidence that must answer the nonce.
	Judge func(t Target, evidence, nonce []byte, now time.Time) appraise.Result
	// Webhook is told changes, Heartbeat that a round is over; "" for neither. Both are POSTed JSON.
	Webhook, Heartbeat string
	Client             *http.Client
	// Nonce gives 32 fresh random bytes.
	Nonce  func() [32]byte
	Now    func() time.Time
	Logger *slog.Logger
}

// Watcher watches one fleet; one at a time per state file.
type Watcher struct {
	cfg   Config
	state State
}

// New makes a watcher that goes on where the state file leaves off.
func New(cfg Config) (*Watcher, error) {
	if cfg.Judge == nil || cfg.Nonce == nil || cfg.Now == nil || cfg.Path == "" || cfg.Logger == nil {
		return nil, verdict.Misuse("watch.config", "a judge, nonces, a clock, a file and a logger", "less", "a defect: report it")
	}
	if err := cfg.Fleet.check(); err != nil {
		return nil, err
	}
	if cfg.Client == nil {
		// A target that sends the watcher elsewhere would have it attest somebody else.
		cfg.Client = &http.Client{Timeout: Patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	s, err := Load(cfg.Path)
	if err != nil {
		return nil, err
	}
	s.Every = cfg.Fleet.EverySeconds
	maps.DeleteFunc(s.Targets, func(name string, _ Seen) bool { return !cfg.Fleet.has(name) })
	maps.DeleteFunc(s.History, func(name string, _ []Change) bool { return !cfg.Fleet.has(name) })
	return &Watcher{cfg, s}, nil
}

func (f Fleet) has(name string) bool {
	return slices.ContainsFunc(f.Targets, func(t Target) bool { return string(t.Name) == name })
}

// State gives what is known now. It is not to be called while a round is under way.
func (w *Watcher) State() State { return w.state }

// Run makes a round now and then one every Fleet.Every, until ctx ends; told is called after
// each. An error is about the state file only: without it changes could be lost.
func (w *Watcher) Run(ctx context.Context, told func(State)) error {
	tick := time.NewTicker(w.cfg.Fleet.Every())
	defer tick.Stop()
	for {
		if err := w.Round(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		told(w.state)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Round asks every target once. A round that ctx cuts short changes nothing.
func (w *Watcher) Round(ctx context.Context) error {
	found := make([]Seen, len(w.cfg.Fleet.Targets))
	places := make(chan struct{}, AtOnce)
	var group sync.WaitGroup
	for i, t := range w.cfg.Fleet.Targets {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			found[i] = w.look(ctx, t)
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return nil
	}
	for i, t := range w.cfg.Fleet.Targets {
		w.state.take(t.Name, found[i])
	}
	w.state.Round = wire.At(w.cfg.Now())
	// Changes are on disk before anybody is told, so that none is lost.
	if err := w.state.save(w.cfg.Path); err != nil {
		return err
	}
	if w.tell(ctx) {
		if err := w.state.save(w.cfg.Path); err != nil {
			return err
		}
	}
	w.beat(ctx)
	return nil
}

// look asks one target and judges its answer.
func (w *Watcher) look(ctx context.Context, t Target) Seen {
	nonce := w.cfg.Nonce()
	evidence, err := w.ask(ctx, t, nonce)
	now := w.cfg.Now()
	if err != nil {
		return Seen{Standing: Unreachable, Says: verdict.Short(err.Error()), At: wire.At(now)}
	}
	r := w.cfg.Judge(t, evidence, nonce[:], now)
	s := Seen{Standing: Bad, At: wire.At(now), Machine: r.Machine, Measured: measured(r.Measurements)}
	switch r.Verdict {
	case attest.Affirming:
		s.Standing = Good
	case attest.Warning:
		s.Standing, s.Says = Warned, strings.Join(r.Warnings, ", ")
	default:
		if err := r.Err(); err != nil {
			s.Says = verdict.Short(err.Error())
		}
	}
	return s
}

// measured names a set of measurements.
func measured(m map[string]string) string {
	if len(m) == 0 {
		return ""
	}
	var fields [][]byte
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fields = append(fields, []byte(name), []byte(m[name]))
	}
	return wire.SHA256("strongroom/watch/v1", fields...).Short()
}

func (w *Watcher) ask(ctx context.Context, t Target, nonce [32]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.ReplaceAll(t.URL, "{nonce}", hex.EncodeToString(nonce[:])), nil)
	if err != nil {
		return nil, err
	}
	resp, err := w.cfg.Client.Do(req)
	if err != nil {
		return nil, withoutAddress(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, fmt.Errorf("status %d: it sends elsewhere, which is not followed", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	return io.ReadAll(io.LimitReader(resp.Body, attest.MaxEvidence+1))
}

// withoutAddress leaves the address out, which holds the nonce and changes every time.
func withoutAddress(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// tell hands pending changes to the webhook, oldest first, and reports whether it took any.
// Those that it does not take are tried again after the next round.
func (w *Watcher) tell(ctx context.Context) (took bool) {
	for len(w.state.Pending) > 0 {
		if w.cfg.Webhook != "" {
			if err := w.post(ctx, w.cfg.Webhook, w.state.Pending[0]); err != nil {
				w.cfg.Logger.Warn("the webhook did not take a change; it is told again after the next round", "pending", len(w.state.Pending), "err", withoutAddress(err).Error())
				return took
			}
		}
		c := w.state.Pending[0]
		w.cfg.Logger.Info("changed", "target", string(c.Target), "was", string(c.Was), "is", string(c.Is), "says", c.Says)
		w.state.Pending, took = w.state.Pending[1:], true
	}
	return took
}

// beat tells that a round is over. Whoever gets it notices when it no longer comes.
func (w *Watcher) beat(ctx context.Context) {
	if w.cfg.Heartbeat == "" {
		return
	}
	good := 0
	for _, s := range w.state.Targets {
		if s.passes() {
			good++
		}
	}
	body := map[string]any{"round": w.state.Round, "targets": len(w.state.Targets), "good": good, "next_within_seconds": 2*w.state.Every + int64(Patience.Seconds())}
	if err := w.post(ctx, w.cfg.Heartbeat, body); err != nil {
		w.cfg.Logger.Warn("the heartbeat was not taken", "err", withoutAddress(err).Error())
	}
}

func (w *Watcher) post(ctx context.Context, address string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.cfg.Client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
