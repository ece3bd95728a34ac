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
		{"two ledger views, shown to the shared ledger", e.forkToWitness, []string{"ledger.fork"}},
		{"two ledger views, shown to another broker", e.forkToBroker, []string{"peers.checkpoints"}},
		{"ledger rolled back", e.rollBack, []string{"broker.locked"}},
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

// currentInput is what a room asks a hospital's broker for.
func (e *enemy) currentInput(folder string) (release.InputRequest, error) {
	sealed, statement, err := e.current(folder)
	if err != nil {
		return release.InputRequest{}, err
	}
	return inputRequest(wire.ID(folder)+"-patients", sealed, statement)
}

// checkpointOf asks a broker for the latest checkpoint of its log.
func (e *enemy) checkpointOf(ctx context.Context, folder string) (ledger.Checkpoint, error) {
	p := e.party(folder)
	note, err := client.NewBroker("http://"+p.Broker.Address, nil).Checkpoint(ctx)
	if err != nil {
		return ledger.Checkpoint{}, err
	}
	return ledger.OpenCheckpoint(note, p.Broker.LogKey)
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

// fork makes a checkpoint of Alpha's log, at a size, with another history, signed with Alpha's
// own log key: Alpha itself is the attacker.
func (e *enemy) fork(size int64) (string, error) {
	h, err := home.Open(e.path(alpha))
	if err != nil {
		return "", err
	}
	secret, err := h.LogKey()
	if err != nil {
		return "", err
	}
	signer, err := ledger.ParseSigner(secret)
	if err != nil {
		return "", err
	}
	return signer.SignCheckpoint(size, wire.HashOf([]byte("another history")))
}

// forkToWitness shows the shared ledger another history of a size that it has cosigned.
func (e *enemy) forkToWitness(ctx context.Context) (string, error, error) {
	key := e.party(alpha).Broker.LogKey
	l := &client.Ledger{URL: e.ledgerURL, Key: e.ledgerKey, LogKey: key}
	last, err := l.Witnessed(ctx, key)
	if err != nil {
		return "", nil, err
	}
	forged, err := e.fork(last.Size)
	if err != nil {
		return "", nil, err
	}
	_, refusal := l.Cosign(ctx, last.Origin, last.Size, nil, forged)
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
	honest, err := e.checkpointOf(ctx, alpha)
	if err != nil {
		return "", nil, err
	}
	forged, err := e.fork(honest.Size)
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
	input, err := e.currentInput(beta)
	if err != nil {
		return "", nil, err
	}
	return "broker of beta-hospital", x.ask(ctx, e.party(beta), []release.InputRequest{input}), nil
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
	_, refusal := e.run(ctx, e.quiet, "study-2.json", questions[1], "rolled-back")
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
	return "broker of alpha-hospital", refusal, nil
}
