package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/broker"
	"strongroom.dev/client"
	"strongroom.dev/internal/home"
	"strongroom.dev/release/file"
	"strongroom.dev/store/state"
	"strongroom.dev/store/tilelog"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// brokerAdmin is how an owner commands its broker: over the admin socket while it serves,
// else by opening its state.
type brokerAdmin interface {
	Activate(ctx context.Context, a broker.Activation) (broker.Event, error)
	Retire(ctx context.Context, agreement wire.Digest) (broker.Event, error)
	Revoke(ctx context.Context, descriptor wire.Digest) (broker.Event, error)
	Deny(ctx context.Context, a broker.DenialAct) (broker.Event, error)
	Lift(ctx context.Context, a broker.DenialAct) (broker.Event, error)
	AddReference(ctx context.Context, a broker.ReferenceAct) (broker.Event, error)
	ResetVolume(ctx context.Context, a broker.VolumeAct) (broker.Event, error)
	SetBudget(ctx context.Context, a broker.BudgetAct) (broker.Event, error)
	Publish(ctx context.Context, p broker.Publication) (broker.Event, error)
	Confirm(ctx context.Context, of broker.Confirmation) (broker.Event, error)
	Authority(ctx context.Context) (string, error)
	Why(ctx context.Context, id string) ([]broker.Decision, error)
	Status(ctx context.Context) (broker.Status, error)
	Close() error
}

var _ brokerAdmin = (*openBroker)(nil)
var _ brokerAdmin = (*servingBroker)(nil)

// servingBroker is a broker in another process.
type servingBroker struct {
	*client.BrokerAdmin
	done func()
}

// Close lets go of the socket.
func (s *servingBroker) Close() error { s.done(); return nil }

// brokerAdmin gives the party's own broker, serving or not.
func (a *app) brokerAdmin(ctx context.Context, h *home.Home) (brokerAdmin, error) {
	path, done, err := socketPath(h.BrokerSocket())
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
		return &servingBroker{client.NewBrokerAdmin(path), done}, nil
	}
	done()
	cfg, err := a.restingConfig(h)
	if err != nil {
		return nil, err
	}
	open, err := a.openBroker(ctx, h, cfg)
	if err == nil {
		return open, nil
	}
	if isHeld(err) && awaitSocket(ctx, h.BrokerSocket()) {
		if path, done, err = socketPath(h.BrokerSocket()); err != nil {
			return nil, err
		}
		return &servingBroker{client.NewBrokerAdmin(path), done}, nil
	}
	return nil, stillHeld(err)
}

// restingConfig gives what a broker that is not serving is opened with: whoever may have seen
// more of its log is asked for officers' acts too, lest they be written behind a log that was
// set back.
func (a *app) restingConfig(h *home.Home) (broker.Config, error) {
	known, served, err := readOthers(h)
	if err != nil {
		return broker.Config{}, err
	}
	own, err := h.Descriptor()
	if err != nil {
		return broker.Config{}, err
	}
	info, err := ownBroker(own)
	if err != nil {
		return broker.Config{}, err
	}
	if !served {
		return broker.Config{NeverServed: true}, nil
	}
	return known.config(info.LogKey)
}

// socketPath gives a path by which a Unix socket can be reached, though the kernel takes no
// more than some 100 bytes. done must be called when it is no longer needed.
func socketPath(path string) (short string, done func(), err error) {
	const most = 100
	if len(path) <= most {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return path, func() {}, nil // there is no socket then
	}
	if err != nil {
		return "", nil, err
	}
	short = descriptorPath(dir, filepath.Base(path))
	if short == "" {
		dir.Close()
		return "", nil, verdict.Misuse("--home", "a directory whose path has at most 80 bytes", path, "the broker's admin socket lies in it, and the system takes no longer path: move the directory")
	}
	return short, func() { dir.Close() }, nil
}

// openBroker is a broker in this process, over the party's home.
type openBroker struct {
	*broker.Broker
	log   *tilelog.Log
	state *state.Store
}

// Close lets go of the broker's files.
func (b *openBroker) Close() error { return errors.Join(b.log.Close(), b.state.Close()) }

// openBroker opens the party's broker; cfg says what besides the home's papers it gets.
func (a *app) openBroker(ctx context.Context, h *home.Home, cfg broker.Config) (*openBroker, error) {
	own, err := h.Versions()
	if err != nil {
		return nil, err
	}
	if len(own) == 0 {
		return nil, verdict.Misuse("home.party", "a party at "+h.Dir(), "none", "strongroom party init makes one")
	}
	if _, err := ownBroker(own[len(own)-1]); err != nil {
		return nil, err
	}
	store, err := file.Open(h.Path("keys"))
	if err != nil {
		return nil, err
	}
	b := &openBroker{}
	if b.state, b.log, err = openStores(h, store); err != nil {
		return nil, err
	}
	cfg.Own, cfg.State, cfg.Log, cfg.Keys, cfg.Now = own, b.state, b.log, store, a.now
	if cfg.Platforms == nil { // nobody asks for keys
		cfg.Platforms = platforms()
	}
	if b.Broker, err = broker.Open(ctx, cfg); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// openStores opens the state first: its lock keeps a second broker out.
func openStores(h *home.Home, store *file.Store) (*state.Store, *tilelog.Log, error) {
	if err := os.MkdirAll(h.Path("broker"), 0o700); err != nil {
		return nil, nil, err
	}
	s, err := state.Open(h.BrokerState(), 2*time.Second)
	if err != nil {
		return nil, nil, err
	}
	// A log that went missing is made anew, empty, and found to be behind what the state knows.
	if !tilelog.Exists(h.BrokerLog()) {
		err = tilelog.Create(h.BrokerLog(), store.LogKey())
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	log, err := tilelog.Open(h.BrokerLog(), store.LogKey())
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, log, nil
}

// ownBroker gives the descriptor's part about the broker.
func ownBroker(own *agreement.SignedParty) (*agreement.BrokerInfo, error) {
	if own.Broker == nil {
		return nil, verdict.Refuse("broker.descriptor", "a party with a broker", "one that brings no data", "strongroom party update --data gives it one")
	}
	return own.Broker, nil
}
