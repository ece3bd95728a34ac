package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/client"
	"strongroom.dev/host"
	"strongroom.dev/internal/home"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// onLedgers are attacks on the records.
func (e *enemy) onLedgers() []attempt {
	return []attempt{
		{"two ledger views, shown to the shared ledger", e.forkToWitness, []string{"ledger.consistency", "witness.consistency", "ledger.fork", "witness.fork", "witness.rollback"}},
		{"two ledger views, shown to another broker", e.forkToBroker, []string{"peers.checkpoints"}},
		{"ledger rolled back", e.rollBack, []string{"broker.unlocked"}},
	}
}

// current gives the sealed file and statement that the host has of a hospital's latest
// version.
func (e *enemy) current(folder string) (sealed, statement string, err error) {
	list, err := host.List(e.path(hostHome, "data"))
	if err != nil {
		return "", "", err
	}
	best := int64(0)
	for _, s := range list {
		if s.Dataset.Owner == e.party(folder).Name && s.Dataset.Version > best {
			best, sealed = s.Dataset.Version, s.Path
		}
	}
	if best == 0 {
		return "", "", fmt.Errorf("no sealed file of %s", folder)
	}
	return sealed, strings.TrimSuffix(sealed, ".age") + ".statement.json", nil
}

// checkpointOf asks a broker for the latest checkpoint of its log.
func (e *enemy) checkpointOf(ctx context.Context, folder string) (ledger.Checkpoint, error) {
	p := e.party(folder)
	note, err := get(ctx, "http://"+p.Broker.Address+release.PathCheckpoint)
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	return ledger.OpenCheckpoint(string(note), p.Broker.LogKey)
}

// bringPeers gives an intruder the other broker's checkpoint, with its proof, as a room
// would bring it.
func (e *enemy) bringPeers(ctx context.Context, x *intruder, folder string) error {
	other := map[string]string{alpha: beta, beta: alpha}[folder]
	peer, err := e.peerCheckpoint(ctx, x.agreement, folder, other)
	if err != nil {
		return err
	}
	before := x.change
	x.change = func(r *release.Request) {
		r.Peers = []release.PeerCheckpoint{peer}
		if before != nil {
			before(r)
		}
	}
	return nil
}

// peerCheckpoint is what a room brings a broker about another owner's log.
func (e *enemy) peerCheckpoint(ctx context.Context, a *agreement.SignedAgreement, folder, other string) (peer release.PeerCheckpoint, err error) {
	latest, err := e.checkpointOf(ctx, other)
	if err != nil {
		return peer, err
	}
	peer = release.PeerCheckpoint{Checkpoint: latest.Note, Proof: []wire.Hash{}}
	seen, err := e.seenSize(ctx, a, folder, latest.Origin)
	if err != nil || seen == 0 || seen == latest.Size {
		peer.From = seen
		return peer, err
	}
	body, err := wire.Marshal(release.ConsistencyRequest{From: seen, To: latest.Size})
	if err != nil {
		return peer, err
	}
	answer, err := post(ctx, e.party(other), release.PathConsistency, body)
	if err != nil {
		return peer, err
	}
	var proof release.ConsistencyAnswer
	err = wire.Unmarshal(answer, &proof)
	peer.From, peer.Proof = seen, proof.Proof
	return peer, err
}

// fork makes a checkpoint of the size of Alpha's log with another history, signed with
// Alpha's own log key: Alpha itself is the attacker.
func (e *enemy) fork(ctx context.Context) (honest ledger.Checkpoint, forged string, err error) {
	if honest, err = e.checkpointOf(ctx, alpha); err != nil {
		return honest, "", err
	}
	h, err := home.Open(e.path(alpha))
	if err != nil {
		return honest, "", err
	}
	secret, err := h.LogKey()
	if err != nil {
		return honest, "", err
	}
	signer, err := ledger.ParseSigner(secret)
	if err != nil {
		return honest, "", err
	}
	forged, err = signer.SignCheckpoint(honest.Size, wire.HashOf([]byte("another history")))
	return honest, forged, err
}

// forkToWitness shows the shared ledger the other history.
func (e *enemy) forkToWitness(ctx context.Context) (string, error, error) {
	honest, forged, err := e.fork(ctx)
	if err != nil {
		return "", nil, err
	}
	l := &client.Ledger{URL: e.ledgerURL, Key: e.ledgerKey}
	_, refusal := l.Cosign(ctx, honest.Origin, honest.Size, nil, forged)
	return "shared ledger", refusal, nil
}

// forkToBroker shows Beta's broker the other history in a request that is otherwise as it
// should be.
func (e *enemy) forkToBroker(ctx context.Context) (string, error, error) {
	a, err := e.readAgreement("study-2.json")
	if err != nil {
		return "", nil, err
	}
	// An honest run first, so that Beta has seen Alpha's log at its present size.
	if _, err := e.run(ctx, e.quiet, "study-2.json", questions[1], "before-fork"); err != nil {
		return "", nil, err
	}
	_, forged, err := e.fork(ctx)
	if err != nil {
		return "", nil, err
	}
	run, err := e.request(a, questions[1], nil)
	if err != nil {
		return "", nil, err
	}
	x, err := newIntruder(e.root, e.measured, a, e.parties, run)
	if err != nil {
		return "", nil, err
	}
	peer, err := e.peerCheckpoint(ctx, a, beta, alpha)
	if err != nil {
		return "", nil, err
	}
	peer.Checkpoint = forged
	x.change = func(r *release.Request) { r.Peers = []release.PeerCheckpoint{peer} }
	sealed, statement, err := e.current(beta)
	if err != nil {
		return "", nil, err
	}
	input, err := inputRequest("beta-patients", sealed, statement)
	if err != nil {
		return "", nil, err
	}
	return "broker beta-hospital", x.ask(ctx, e.party(beta), []release.InputRequest{input}), nil
}

// rollBack puts an older copy of Alpha's whole broker back, as a restored backup would, so
// that its counts and records would be those of before.
func (e *enemy) rollBack(ctx context.Context) (string, error, error) {
	today, restored := e.path(alpha, "broker"), e.path(alpha, "broker-today")
	err := e.restart(ctx, e.brokers[alpha], func() error {
		if err := os.Rename(today, restored); err != nil {
			return err
		}
		return copyTree(filepath.Join(e.old, "alpha-broker"), today)
	})
	if err != nil {
		return "", nil, fmt.Errorf("restarting Alpha's broker with its old copy: %w", err)
	}
	_, refusal := e.run(ctx, e.quiet, "study.json", questions[1], "rolled-back")
	// Alpha's people put things right again, so that the world can be used afterwards.
	err = e.restart(ctx, e.brokers[alpha], func() error {
		if err := os.RemoveAll(today); err != nil {
			return err
		}
		return os.Rename(restored, today)
	})
	if err != nil {
		return "", nil, fmt.Errorf("restarting Alpha's broker as it was: %w", err)
	}
	if _, err := e.run(ctx, e.quiet, "study-2.json", questions[1], "after"); err != nil {
		return "", nil, fmt.Errorf("running again once all is right: %w", err)
	}
	if refusal != nil && verdict.As(refusal).Kind == verdict.Broken {
		return "", nil, refusal
	}
	return "broker alpha-hospital", refusal, nil
}
