package room

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// each does something for every item at once, and gives the first error in their order that
// is not merely a consequence of another's.
func each[T any](ctx context.Context, items []T, do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(items))
	var all sync.WaitGroup
	for i, item := range items {
		all.Go(func() {
			if errs[i] = do(ctx, item); errs[i] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	first := errors.Join(errs...)
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return first
}

// ask makes a call that may be repeated: what was refused, or is not genuine, is not asked
// again; what did not get through is, a few times.
func (r *run) ask(ctx context.Context, stream, path string, body []byte, limit int) ([]byte, error) {
	wait := 50 * time.Millisecond
	for try := 1; ; try++ {
		answer, err := r.Ask(ctx, stream, path, body, limit)
		if err == nil || !passing(err) || try == maxTries || ctx.Err() != nil {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
		}
		wait *= 2
	}
}

// passing reports whether an error says nothing about the question: it did not get through,
// whoever was asked has too much to do, or a later question of ours overtook it.
func passing(err error) bool {
	e := verdict.As(err)
	return e.Kind == verdict.Broken || e.Check == "broker.busy" || e.Check == "ledger.rate" || e.Check == "live.counter"
}

// challenge asks every owner's broker for a challenge, judges everything again by the
// brokers' time, and has them vouch for the machine's key where nobody else does.
func (r *run) challenge(ctx context.Context) error {
	if err := each(ctx, r.owners, r.challengeOf); err != nil {
		return err
	}
	now := r.clock.now()
	if err := r.judge(now); err != nil {
		return err
	}
	for _, in := range r.inputs {
		if err := in.statement.Verify(r.party(in.agreed.Owner), now); err != nil {
			return err
		}
	}
	return r.activate(ctx)
}

func (r *run) challengeOf(ctx context.Context, o *owner) (err error) {
	o.challenge, o.checkpoint, err = r.askChallenge(ctx, o)
	o.latest = o.checkpoint
	return err
}

// askChallenge gets a challenge with the checkpoint in it.
func (r *run) askChallenge(ctx context.Context, o *owner) (c release.Challenge, head ledger.Checkpoint, err error) {
	asked := release.ChallengeRequest{Version: release.Version, Purpose: attest.ForRelease, Agreement: r.agreement.Digest(), Nonce: newNonce()}
	message, err := release.NewChallengeRequest(asked)
	if err != nil {
		return c, head, err
	}
	answer, err := r.ask(ctx, o.stream(), release.PathChallenge, message, release.MaxSmall)
	if err != nil {
		return c, head, fmt.Errorf("broker of %s: %w", o.id, err)
	}
	broker := o.party.Broker
	if c, err = release.VerifyChallenge(answer, broker.ReleaseKey, o.party.Name, asked); err != nil {
		return c, head, fmt.Errorf("broker of %s: %w", o.id, err)
	}
	if head, err = ledger.OpenCheckpoint(c.Checkpoint, broker.LogKey); err != nil {
		return c, head, fmt.Errorf("broker of %s: %w", o.id, err)
	}
	r.clock.heard(c.TimeMS)
	return c, head, nil
}

// look brings the newest checkpoint of an owner's log, which must extend what is known of it.
func (r *run) look(ctx context.Context, o *owner) error {
	_, head, err := r.askChallenge(ctx, o)
	if err != nil {
		return err
	}
	if _, err := r.extension(ctx, o, o.latest, head); err != nil {
		return err
	}
	o.latest = head
	return nil
}

func newNonce() wire.Hash {
	a, b := keys.RandomID(), keys.RandomID()
	return wire.Hash(slices.Concat(a[:], b[:]))
}

// getKeys shows each broker evidence for its own challenge and the other brokers'
// checkpoints, and opens the keys that all of them give (R12: no work without all).
func (r *run) getKeys(ctx context.Context) error {
	peers := map[wire.ID][]release.PeerCheckpoint{}
	for _, o := range r.owners { // one after the other: each may make another answer anew
		list, err := r.peersOf(ctx, o)
		if err != nil {
			return err
		}
		peers[o.id] = list
	}
	r.background.Go(func() { r.leases.watch(ctx, func(err error) { r.cancel(err) }) })
	overtaken := make([]bool, len(r.owners))
	err := each(ctx, r.owners, func(one context.Context, o *owner) error {
		err := r.keysOf(one, ctx, o, peers[o.id])
		if err != nil && verdict.As(err).Check == peersMoved {
			overtaken[slices.Index(r.owners, o)], err = true, nil
		}
		return err
	})
	for i, o := range r.owners {
		if err == nil && overtaken[i] {
			err = r.anew(ctx, o)
		}
	}
	if err != nil {
		return err
	}
	r.until = r.Elapsed() + r.Longest
	if err := r.openKeys(); err != nil {
		return err
	}
	return r.learn(ctx)
}

// peersMoved is the check of a broker that has seen other checkpoints of its peers than it was
// shown: another run may have been quicker.
const peersMoved = "peers.checkpoints"

// anew asks a broker once more from a fresh challenge, which says what it has seen by now.
// Nothing was decided on the first request, and the other owners' grants stand.
func (r *run) anew(ctx context.Context, o *owner) error {
	if err := r.challengeOf(ctx, o); err != nil {
		return err
	}
	list, err := r.peersOf(ctx, o)
	if err != nil {
		return err
	}
	return r.keysOf(ctx, ctx, o, list)
}

// keysOf gets an owner's keys, and keeps their lease, as long as the run goes on, from the
// moment they are there: others may take their time.
func (r *run) keysOf(ctx, running context.Context, o *owner, peers []release.PeerCheckpoint) error {
	if err := r.releaseOf(ctx, o, peers); err != nil {
		return fmt.Errorf("broker of %s: %w", o.id, err)
	}
	r.background.Go(func() { r.renew(running, o) })
	return nil
}

// peersOf collects the other brokers' checkpoints for o, each with the proof that it extends
// what o saw last (R15).
func (r *run) peersOf(ctx context.Context, o *owner) ([]release.PeerCheckpoint, error) {
	list := []release.PeerCheckpoint{}
	for _, p := range r.owners {
		if p == o || p.party.Broker.LogKey == o.party.Broker.LogKey {
			continue
		}
		peer, err := r.peerFor(ctx, o, p)
		if err != nil {
			return nil, fmt.Errorf("log of %s, for the broker of %s: %w", p.id, o.id, err)
		}
		list = append(list, peer)
	}
	return list, nil
}

func (r *run) peerFor(ctx context.Context, o, p *owner) (release.PeerCheckpoint, error) {
	from := int64(0)
	for _, s := range o.challenge.Seen {
		if s.Origin == p.latest.Origin {
			from = s.Size
		}
	}
	// Another run may have shown o a newer checkpoint than p's challenge holds.
	for try := 0; p.latest.Size < from && try < 3; try++ {
		if err := r.look(ctx, p); err != nil {
			return release.PeerCheckpoint{}, err
		}
	}
	peer := release.PeerCheckpoint{Checkpoint: p.latest.Note, From: from, Proof: []wire.Hash{}}
	if from > p.latest.Size {
		return peer, verdict.NotGenuine("ledger.rollback", fmt.Sprintf("a log of at least %d entries, as its peer has seen", from), fmt.Sprint(p.latest.Size),
			"the log was set back: its owner's officers must look into it")
	}
	if from == 0 || from == p.latest.Size {
		return peer, nil
	}
	proof, err := r.consistency(ctx, p, from, p.latest.Size)
	peer.Proof = proof
	return peer, err
}

func (r *run) consistency(ctx context.Context, p *owner, from, to int64) ([]wire.Hash, error) {
	message, err := wire.Marshal(release.ConsistencyRequest{From: from, To: to})
	if err != nil {
		return nil, err
	}
	data, err := r.ask(ctx, p.stream(), release.PathConsistency, message, release.MaxSmall)
	if err != nil {
		return nil, err
	}
	var answer release.ConsistencyAnswer
	if err := wire.Unmarshal(data, &answer); err != nil {
		return nil, err
	}
	if answer.Proof == nil {
		answer.Proof = []wire.Hash{}
	}
	return answer.Proof, nil
}

func (r *run) releaseOf(ctx context.Context, o *owner, peers []release.PeerCheckpoint) error {
	binding := attest.Binding{Purpose: attest.ForRelease, Nonce: attest.NonceOf(o.challenge.Token), Signing: r.signing.Public(), HPKE: r.hpke.Public(),
		Agreement: r.agreement.Digest(), Run: r.request.Digest()}
	var err error
	if o.evidence, err = r.Device.Attest(ctx, binding.ReportData(), o.record); err != nil {
		return fmt.Errorf("evidence device: %w", err)
	}
	if err := r.show(o); err != nil {
		return err
	}
	id := keys.RandomID()
	o.releaseID = hex.EncodeToString(id[:])
	message, signed, err := release.NewRequest(r.signing, release.Request{Broker: o.party.Name, Challenge: o.challenge.Token, ReleaseID: o.releaseID,
		Evidence: o.evidence, Room: r.keys(), Agreement: r.start.Agreement, Parties: r.start.Parties, Run: r.start.Run, Inputs: r.requests(o), Peers: peers})
	if err != nil {
		return err
	}
	o.asked = release.Asked{Request: signed, Challenge: o.challenge, Agreement: r.agreement.Digest(), Run: r.request.Digest(), MaxLeaseMS: r.agreement.LeaseMS}
	sent := r.Elapsed()
	if o.grant, err = r.insist(ctx, o.stream(), release.PathRelease, message, release.MaxGrant); err != nil {
		return err
	}
	if o.granted, err = release.VerifyGrant(o.grant, o.party.Broker.ReleaseKey, o.asked); err != nil {
		return err
	}
	r.clock.heard(o.granted.TimeMS)
	o.heard(o.granted.TimeMS)
	if err := r.begin(ctx, o, sent); err != nil {
		return err
	}
	return r.checkGrantReceipt(ctx, o)
}

// begin starts the lease of a grant that was first asked for at sent. Where that is long ago
// the grant may be too, since a host can hold answers back: the broker's word to a fresh nonce
// starts the lease then.
func (r *run) begin(ctx context.Context, o *owner, sent time.Duration) error {
	lease := time.Duration(o.granted.LeaseMS) * time.Millisecond
	if r.Elapsed()-sent < lease/2 {
		r.leases.extend(o.id, sent, lease)
		return nil
	}
	for w := r.waiter(); ; {
		_, _, err := r.liveOf(ctx, o, nil, nil)
		if err == nil || !passing(err) || !w.again(ctx, o.stream()) {
			return err
		}
	}
}

func (r *run) keys() release.RoomKeys {
	return release.RoomKeys{Signing: r.signing.Public(), HPKE: r.hpke.Public()}
}

func (r *run) show(o *owner) error {
	return r.Tell(Event{Event: Evidence, Shown: &Shown{Broker: o.party.Name, Challenge: o.challenge.Token, Evidence: o.evidence, Room: r.keys(),
		Agreement: r.agreement.Digest(), Run: r.request.Digest()}})
}

func (r *run) requests(o *owner) []release.InputRequest {
	var list []release.InputRequest
	for _, in := range o.inputs {
		for _, from := range r.start.Inputs {
			if from.Input == in.agreed.Name {
				list = append(list, release.InputRequest{Input: from.Input, Statement: from.Statement, Header: in.header})
			}
		}
	}
	return list
}

// checkGrantReceipt demands that the grant stands in the broker's own log, seen by the
// agreed witnesses, and that this log is the one whose checkpoint came with the challenge.
func (r *run) checkGrantReceipt(ctx context.Context, o *owner) error {
	entry, now, err := o.granted.Receipt.Verify(o.party.Broker.LogKey, r.witnesses(), int(r.agreement.Ledgers.Quorum))
	if err != nil {
		return err
	}
	facts, err := release.ParseGrantFacts(entry.Public)
	run := r.request.Digest()
	if err != nil || entry.Kind != "grant" || entry.Run == nil || *entry.Run != run || entry.RunID != r.request.RunID ||
		facts.Evidence != o.evidence.Digest() || facts.Room != r.signing.Public().ID() || facts.ReleaseID != o.releaseID {
		return verdict.NotGenuine("grant.receipt", "a receipt of this very grant", "an entry of kind "+verdict.Short(string(entry.Kind))+" about something else",
			"the broker records something else than it grants: tell its owner")
	}
	if _, err := r.extension(ctx, o, o.latest, now); err != nil {
		return err
	}
	o.checkpoint, o.latest = now, now // what the broker's last word must extend
	return nil
}

// extension compares two checkpoints of a broker's log, the later one last, and gives the
// proof that the log only grew between them.
func (r *run) extension(ctx context.Context, o *owner, before, now ledger.Checkpoint) ([]wire.Hash, error) {
	proof := []wire.Hash{}
	if before.Size > 0 && before.Size < now.Size {
		var err error
		if proof, err = r.consistency(ctx, o, before.Size, now.Size); err != nil {
			return nil, err
		}
	}
	return proof, ledger.CheckConsistency(proof, before, now)
}

func (r *run) witnesses() []ledger.Witness {
	var list []ledger.Witness
	for _, w := range r.agreement.Ledgers.Witnesses {
		list = append(list, ledger.Witness{Name: w.Name, Key: w.Key})
	}
	return list
}

// renew keeps asking an owner's broker whether the run may go on, at a third of the lease,
// until ctx ends. A no ends the run; silence does when the lease lapses.
func (r *run) renew(ctx context.Context, o *owner) {
	lease := time.Duration(r.agreement.LeaseMS) * time.Millisecond
	wait := lease / 3
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		_, _, err := r.liveOf(ctx, o, nil, nil)
		switch {
		case err == nil:
			wait = lease / 3
		case ctx.Err() != nil:
			return
		case passing(err):
			wait = lease / 20 // it did not get through
		default:
			r.cancel(saidNo(err))
			return
		}
	}
}

// saidNo is the error of a run that a broker let go on no longer.
func saidNo(err error) error {
	return &verdict.Error{Kind: verdict.Refused, Check: codeRefused, Expected: codes[codeRefused][0], Got: verdict.Short(err.Error()), Fix: codes[codeRefused][1], Err: err}
}

// liveOf asks an owner's broker whether the run may go on, or, with a commitment, whether
// this output, which shows these groups, may leave, and extends the lease by its answer.
func (r *run) liveOf(ctx context.Context, o *owner, commitment *wire.Digest, shown []byte) (release.Live, []byte, error) {
	asked := release.LiveRequest{Version: release.Version, Broker: o.party.Name, Agreement: r.agreement.Digest(), Run: r.request.Digest(), RunID: r.request.RunID,
		ReleaseID: o.releaseID, Counter: o.lives.Add(1), AfterMS: o.answered.Load(), Nonce: newNonce(), Commitment: commitment}
	if len(shown) > 0 {
		if err := release.SealShown(o.audit.key, &asked, shown); err != nil {
			return release.Live{}, nil, err
		}
	}
	message, err := release.NewLiveRequest(r.signing, asked)
	if err != nil {
		return release.Live{}, nil, err
	}
	sent := r.Elapsed()
	try := time.Minute
	if commitment == nil { // must not outlast the lease that it is to extend
		try = time.Duration(r.agreement.LeaseMS) * time.Millisecond / 2
	}
	one, cancel := context.WithTimeout(ctx, try)
	defer cancel()
	data, err := r.Ask(one, o.stream(), release.PathLive, message, release.MaxSmall)
	if err != nil {
		return release.Live{}, nil, err
	}
	live, err := release.VerifyLive(data, o.party.Broker.ReleaseKey, asked, r.agreement.LeaseMS)
	if err != nil {
		return release.Live{}, nil, err
	}
	r.clock.heard(live.TimeMS)
	o.heard(live.TimeMS)
	r.leases.extend(o.id, sent, time.Duration(live.LeaseEndMS-live.TimeMS)*time.Millisecond)
	return live, data, nil
}
