package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// books fills in what the state says about a request, and gives what was last seen of the
// other owners' logs, by log key.
func (b *Broker) books(tx Tx, r *request, now time.Time) (p policy.Request, seen map[string]seenRecord, err error) {
	p = policy.Request{
		Now:       now,
		Broker:    policy.Broker{Name: b.name, Descriptors: b.descriptors()},
		ReleaseID: r.ReleaseID,
		Digest:    r.Digest(),
		Room:      policy.Room{Signing: r.Room.Signing, HPKE: r.Room.HPKE},
		Agreement: r.agreement,
		Parties:   r.parties,
		Run:       r.run,
		Inputs:    r.inputs,
		Books:     policy.Books{Read: true, Unlocked: b.lock.Load() == nil, Headers: map[wire.Hash]wire.ID{}, Datasets: map[wire.ID]policy.Dataset{}},
	}
	if l := b.lock.Load(); l != nil {
		p.Books.LockedWhy = string(l.Kind) + ": " + l.Reason
	}
	for _, party := range r.agreement.Parties {
		if tx.Get(tableRevoked, party.Descriptor.String()) != nil {
			p.Books.Revoked = append(p.Books.Revoked, party.Descriptor)
		}
	}
	if challenge, err := release.RecogniseChallenge(b.cfg.Keys.Secret(), b.name, r.Challenge); err == nil {
		p.Books.RedeemedBy = string(tx.Get(tableChallenges, challenge.ID))
		notBefore, err := number(tx, metaNotBefore)
		if err != nil {
			return p, nil, err
		}
		if p.Books.RedeemedBy == "" && challenge.Expires.UnixMilli()-release.ChallengeLifetimeMS < notBefore {
			p.Books.RedeemedBy = "unknown: it was issued before this broker's log was restored"
		}
	}
	var floorErr error
	p.Floor, floorErr = b.floor(tx)
	seen, err = b.readSeen(tx, r)
	return p, seen, errors.Join(err, floorErr, b.readStanding(tx, r, &p.Books), b.readReferences(tx, r, &p.Books), b.readCatalogue(tx, r, now, &p.Books), readEarlier(tx, r, &p.Books), readHistories(tx, r, &p.Books))
}

func (b *Broker) descriptors() (list []wire.Digest) {
	for _, own := range b.cfg.Own {
		list = append(list, own.Digest())
	}
	return list
}

// readStanding reads what the agreement is to this broker.
func (b *Broker) readStanding(tx Tx, r *request, books *policy.Books) error {
	known, err := load[agreementRecord](tx, tableAgreements, r.agreement.Digest().String())
	if err != nil || known == nil {
		return err
	}
	switch known.Standing {
	case activated:
		books.Activation.State = policy.Active
	case retired:
		books.Activation.State = policy.Retired
		highest, err := load[idRecord](tx, tableIDs, string(known.ID))
		if err != nil {
			return err
		}
		if highest != nil && highest.Version > known.Version {
			books.Activation.By = highest.Version
		}
	case unconfirmed:
		books.Activation.Why = "this broker's log was restored: its officers must activate the agreement again"
	default:
		return fmt.Errorf("agreement %s in the broker's state is %.40q", r.agreement.Digest().Short(), string(known.Standing))
	}
	return nil
}

// readReferences reads what is known of the agreement's release lines for the machine that the
// evidence is of. Strangers' agreements, which have no authority here, have nothing read.
func (b *Broker) readReferences(tx Tx, r *request, books *policy.Books) (err error) {
	if books.Activation.State != policy.Active {
		return nil
	}
	var lines []agreement.ReleaseLine
	for _, p := range r.agreement.Platforms {
		if p.Kind == r.Evidence.Platform {
			lines = append(lines, p.Releases...)
		}
	}
	books.References, err = b.newest(tx, lines)
	return err
}

// readCatalogue reads the headers and datasets a request is about.
func (b *Broker) readCatalogue(tx Tx, r *request, now time.Time, books *policy.Books) error {
	for _, in := range r.inputs {
		h, err := load[headerRecord](tx, tableHeaders, in.Header.Hash.String())
		if err != nil {
			return err
		}
		if h != nil {
			books.Headers[in.Header.Hash] = h.Dataset
		}
		id := in.Statement.Dataset.Dataset
		d, err := load[datasetRecord](tx, tableDatasets, string(id))
		if err != nil {
			return err
		}
		if d == nil {
			continue
		}
		runs, err := countRuns(tx, id, r.run.RunID, now)
		if err != nil {
			return err
		}
		entry := policy.Dataset{Current: d.Statement, AdmitsActivated: d.Admit.Activated, Admits: d.Admit.Agreements, Runs: runs}
		if books.Activation.State == policy.Active {
			if entry.Account, err = account(tx, id, r.agreement.ID); err != nil {
				return err
			}
		}
		books.Datasets[id] = entry
	}
	return nil
}

// countRuns counts the runs, but for this one, that read a dataset in the last 24 hours. Runs
// in the future count: a clock that was set back refills nothing.
func countRuns(tx Tx, dataset wire.ID, runID string, now time.Time) (n int64, err error) {
	from := countKey(dataset, now.Add(-countWindow).UnixMilli()+1, "")
	err = tx.Scan(tableCounts, from, string(dataset)+"0", func(key string, _ []byte) bool { // "0" follows "/"
		if !strings.HasSuffix(key, "/"+runID) {
			n++
		}
		return true
	})
	return n, err
}

// readEarlier finds an earlier release of this run, or under this release id.
func readEarlier(tx Tx, r *request, books *policy.Books) error {
	run, err := load[runRecord](tx, tableRuns, r.run.RunID)
	if err != nil {
		return err
	}
	done, err := load[releaseRecord](tx, tableReleases, r.ReleaseID)
	if err != nil {
		return err
	}
	switch {
	case run != nil && (done == nil || run.ReleaseID != r.ReleaseID):
		books.Earlier = &policy.Earlier{ReleaseID: run.ReleaseID, Run: run.Run}
	case done != nil:
		books.Earlier = &policy.Earlier{ReleaseID: r.ReleaseID, Request: done.Request}
		if run != nil {
			books.Earlier.Run = run.Run
		}
	}
	return nil
}

// readSeen reads what was last seen of the other owners' logs in this run.
func (b *Broker) readSeen(tx Tx, r *request) (map[string]seenRecord, error) {
	seen := make(map[string]seenRecord)
	for _, peer := range b.otherOwners(r.parsedAgreement) {
		record, err := load[seenRecord](tx, tableSeen, peer.Broker.LogKey)
		if err != nil {
			return nil, err
		}
		if record != nil {
			seen[peer.Broker.LogKey] = *record
		}
	}
	return seen, nil
}

// judgePeers looks at the other owners' checkpoints that a room brought (R15): signed by the
// log of the descriptor the agreement names, and extending what was seen before. advances
// are what will have been seen if the release is granted. For a release recorded before, they
// were judged then. ask lets peers be asked for proofs over the network.
func (b *Broker) judgePeers(ctx context.Context, r *request, earlier *policy.Earlier, seen map[string]seenRecord, ask bool) (peers []policy.Peer, advances []seenAdvance) {
	recorded := earlier != nil && earlier.ReleaseID == r.ReleaseID && earlier.Request == r.Digest()
	work, _ := r.agreement.WorkByName(r.run.Work)
	for _, owner := range r.agreement.OwnersOf(work) {
		party, _ := r.agreement.PartyByID(owner)
		if b.own[party.Descriptor] {
			continue
		}
		peer := policy.Peer{Party: owner, Accepted: recorded}
		if recorded {
			peers = append(peers, peer)
			continue
		}
		next, err := b.judgePeer(ctx, r, party, seen, ask)
		if err != nil {
			peer.Why = why(err)
		} else {
			peer.Accepted = true
			advances = append(advances, next)
		}
		peers = append(peers, peer)
	}
	return peers, advances
}

// seenAdvance is a checkpoint of somebody else's log to be kept under its log key.
type seenAdvance struct {
	key string
	seenRecord
}

func (b *Broker) judgePeer(ctx context.Context, r *request, party agreement.Party, seen map[string]seenRecord, ask bool) (next seenAdvance, err error) {
	logKey := ""
	for _, p := range r.parties {
		if p.Digest() == party.Descriptor && p.Broker != nil {
			logKey = p.Broker.LogKey
		}
	}
	if logKey == "" {
		return next, errors.New("no descriptor with a broker")
	}
	brought, now, err := checkpointOf(r.Peers, logKey)
	if err != nil {
		return next, err
	}
	next = seenAdvance{logKey, seenRecord{now.Origin, now.Size, now.Note}}
	before, found := seen[logKey]
	if !found {
		return next, nil
	}
	old, err := ledger.OpenCheckpoint(before.Checkpoint, logKey)
	if err != nil {
		return next, err
	}
	proof := brought.Proof
	if brought.From != old.Size && now.Size > old.Size {
		// Another run moved on what this broker has seen since the room asked.
		if ask {
			proof, err = b.askConsistency(ctx, logKey, old.Size, now.Size)
		}
		if !ask || err != nil {
			return next, fmt.Errorf("a proof from size %d, but %d entries were seen by now (ask for a new challenge)", brought.From, old.Size)
		}
	}
	if now.Size == old.Size {
		proof = nil
	}
	return next, ledger.CheckConsistency(proof, old, now)
}

// checkpointOf finds the checkpoint of a log among those brought.
func checkpointOf(list []release.PeerCheckpoint, logKey string) (release.PeerCheckpoint, ledger.Checkpoint, error) {
	origin := originOf(logKey)
	for _, brought := range list {
		read, err := ledger.ReadCheckpoint(brought.Checkpoint)
		if err != nil || read.Origin != origin {
			continue
		}
		c, err := ledger.OpenCheckpoint(brought.Checkpoint, logKey)
		return brought, c, err
	}
	return release.PeerCheckpoint{}, ledger.Checkpoint{}, errors.New("no checkpoint of its log was sent")
}

func (b *Broker) askConsistency(ctx context.Context, logKey string, from, to int64) ([]wire.Hash, error) {
	peers := b.peers()
	at := slices.IndexFunc(peers, func(p knownPeer) bool { return p.logKey == logKey && p.Peer != nil })
	if at < 0 {
		return nil, errors.New("no address")
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return peers[at].Consistency(ctx, from, to)
}

// why gives an error's finding without its rule, for a clause that names the rule itself.
func why(err error) string {
	var e *verdict.Error
	if errors.As(err, &e) {
		return e.Check + ": expected " + e.Expected + ", got " + e.Got
	}
	return err.Error()
}
