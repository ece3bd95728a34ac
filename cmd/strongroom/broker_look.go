package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"time"

	"strongroom.dev/broker"
	"strongroom.dev/client"
	"strongroom.dev/internal/home"
	"strongroom.dev/release/file"
	"strongroom.dev/store/state"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
)

// brokerView is a broker for looking at.
type brokerView interface {
	Why(ctx context.Context, id string) ([]broker.Decision, error)
	Status(ctx context.Context) (broker.Status, error)
	Close() error
}

// lookAtBroker gives the party's own broker for looking at: the serving one, else what it left
// on the disk. It changes nothing.
func (a *app) lookAtBroker(ctx context.Context) (h *home.Home, view brokerView, running bool, err error) {
	h, info, err := a.brokerHome()
	if err != nil {
		return nil, nil, false, err
	}
	path, done, err := socketPath(h.BrokerSocket())
	if err != nil {
		return nil, nil, false, brokerFileError(h, err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
		return h, &servingBroker{client.NewBrokerAdmin(path), done}, true, nil
	}
	done()
	if errors.Is(err, fs.ErrPermission) {
		return nil, nil, false, brokerFileError(h, err)
	}
	view, err = a.restingBroker(ctx, h, info)
	if isHeld(err) && awaitSocket(ctx, h.BrokerSocket()) {
		if path, done, err = socketPath(h.BrokerSocket()); err == nil {
			return h, &servingBroker{client.NewBrokerAdmin(path), done}, true, nil
		}
	}
	return h, view, false, stillHeld(err)
}

// startWait is how long a broker that is starting is waited for: it first asks those who may
// have seen more of its log than it has.
const startWait = 8 * time.Second

// isHeld reports whether another process holds the broker's state: one that serves, starts, or
// does an officer's command.
func isHeld(err error) bool { return errors.Is(err, state.ErrInUse) }

// awaitSocket waits until the broker's admin socket answers.
func awaitSocket(ctx context.Context, path string) bool {
	short, done, err := socketPath(path)
	if err != nil {
		return false
	}
	defer done()
	for end := time.Now().Add(startWait); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		if conn, err := new(net.Dialer).DialContext(ctx, "unix", short); err == nil {
			conn.Close()
			return true
		}
	}
	return false
}

// stillHeld says what to do about a state that another process holds and that nobody answers
// for.
func stillHeld(err error) error {
	if !isHeld(err) {
		return err
	}
	e := *verdict.As(err)
	e.Fix = "a broker that is still starting, or another command, has it: try again in a moment; if it stays so, look for a strongroom broker serve that hangs"
	return &e
}

// restingBroker is a broker that is not serving, read from its files.
type restingBroker struct {
	*broker.Broker
	state *state.Store
}

// Close lets go of the state.
func (b *restingBroker) Close() error { return b.state.Close() }

func (a *app) restingBroker(ctx context.Context, h *home.Home, info *brokerInfo) (brokerView, error) {
	if _, err := os.Stat(h.BrokerState()); err != nil {
		return nil, brokerFileError(h, err)
	}
	cfg, err := a.restingConfig(h)
	if err != nil {
		return nil, brokerFileError(h, err)
	}
	if cfg.Own, err = h.Versions(); err != nil {
		return nil, err
	}
	store, err := file.Open(h.Path("keys"))
	if err != nil {
		return nil, err
	}
	if _, err := os.ReadDir(h.BrokerLog()); errors.Is(err, fs.ErrPermission) {
		return nil, brokerFileError(h, err)
	}
	if !tilelog.Exists(h.BrokerLog()) {
		return nil, &verdict.Error{Kind: verdict.Broken, Check: "broker.log", Expected: "the broker's log", Got: "none", Where: h.BrokerLog(),
			Fix: "restore it; if that can't be, strongroom broker serve begins anew, locked until an officer confirms"}
	}
	snapshot, err := tilelog.ReadDurable(h.BrokerLog(), store.LogKey())
	if err != nil {
		return nil, brokerFileError(h, err)
	}
	b := &restingBroker{}
	if b.state, err = state.OpenReadOnly(h.BrokerState(), 2*time.Second); err != nil {
		return nil, err
	}
	cfg.State, cfg.Log, cfg.Keys, cfg.Platforms, cfg.Now = b.state, readLog{snapshot}, store, platforms(), a.now
	if b.Broker, err = broker.Look(ctx, cfg); err != nil {
		return nil, errors.Join(err, b.state.Close())
	}
	return b, nil
}

// readLog is a log on disk as brokers want it, for reading.
type readLog struct{ *tilelog.Snapshot }

// Size is the number of durable entries.
func (l readLog) Size() int64 { return l.Snapshot.Checkpoint().Size }

// Checkpoint is the signed checkpoint of that size.
func (l readLog) Checkpoint() string { return l.Snapshot.Checkpoint().Note }

// Append refuses.
func (l readLog) Append(context.Context, [][]byte) (int64, error) {
	return 0, verdict.Misuse("broker.log", "a log that is open for writing", "one that is only looked at", "a defect in the program: report it")
}

var _ broker.Log = readLog{}

// brokerFileError says what is wrong with a broker's files, and who may mend it.
func brokerFileError(h *home.Home, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return verdict.Misuse("broker.state", "a broker that has been used", "none so far in "+h.Dir(), "strongroom broker serve starts it; dataset publish and agreement activate use it")
	case errors.Is(err, fs.ErrPermission):
		return &verdict.Error{Kind: verdict.Broken, Check: "broker.state", Expected: "to be let at the broker's files", Got: "permission denied", Where: h.Path("broker"),
			Fix: "run this as the broker's own user: ls -l shows whose files they are", Err: err}
	}
	return fileOrVerdict(h.Path("broker"), "the broker's files", err)
}
