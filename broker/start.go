package broker

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// LockKind says why a broker refuses everything.
type LockKind string

// The kinds of lock.
const (
	// LockUnreachable: at start nobody could be asked what they last saw of this broker's log.
	// It lifts by itself once somebody answers and agrees.
	LockUnreachable LockKind = "unreachable"
	// LockBehind: the log or the state is older than what somebody has seen.
	LockBehind LockKind = "behind"
	// LockForked: the log holds another history than what was recorded or seen.
	LockForked LockKind = "forked"
)

// Lock says that a broker refuses everything until its officers confirm, and why.
type Lock struct {
	Kind   LockKind `json:"kind"`
	Reason string   `json:"reason"` // for people, strangers too
	// Detail is for officers: who was asked, and what came of it.
	Detail  string `json:"detail,omitempty"`
	Size    int64  `json:"size"` // of the log when it was found
	SinceMS int64  `json:"since_ms"`
	// Seen is the later or other checkpoint that somebody showed, signed by the log's own key;
	// empty if the broker's own records alone showed it.
	Seen string `json:"seen,omitempty"`
}

// serving is nil while the broker may decide anything.
func (b *Broker) serving() error {
	l := b.lock.Load()
	if l == nil {
		return nil
	}
	fix := "its officers look at `strongroom broker status` and decide with `strongroom broker confirm`"
	if l.Kind == LockUnreachable {
		fix = "it serves once a witness or peer answers: its officers start it with `strongroom broker serve`; if none is left, they run `strongroom broker confirm` while it runs"
	}
	return verdict.Refuse("broker.locked", "a broker whose log is what others have seen", string(l.Kind)+": "+l.Reason, fix)
}

// shut locks the broker and gives the refusal to return.
func (b *Broker) shut(l Lock) error {
	if err := b.setLock(l); err != nil {
		return err
	}
	return b.serving()
}

// setLock locks the broker. Rollbacks and forks stay locked across restarts: the reason is
// kept in the state. The broker is locked even if keeping it fails.
func (b *Broker) setLock(l Lock) error {
	l.SinceMS = b.now().UnixMilli()
	l.Reason, l.Detail = inASCII(l.Reason), inASCII(l.Detail) // they may quote what a peer said
	b.lock.Store(&l)
	if l.Kind == LockUnreachable {
		return nil
	}
	if err := b.cfg.State.Update(func(tx Tx) error { return save(tx, tableMeta, metaLock, l) }); err != nil {
		return broken("to keep why the broker is locked", err)
	}
	return nil
}

func inASCII(text string) string { return strings.Trim(strconv.QuoteToASCII(text), `"`) }

// start decides whether the broker may serve (R15), and if so finishes what was recorded.
func (b *Broker) start(ctx context.Context) error {
	kept, err := b.keptLock()
	if err != nil {
		return broken("to read the broker's state", err)
	}
	if kept != nil {
		b.lock.Store(kept)
		return nil
	}
	found, err := b.examine(ctx)
	if err != nil {
		return err
	}
	if found != nil {
		return b.setLock(*found)
	}
	b.lock.Store(nil)
	return b.drain(ctx)
}

func (b *Broker) keptLock() (l *Lock, err error) {
	err = b.cfg.State.View(func(tx Tx) error {
		l, err = load[Lock](tx, tableMeta, metaLock)
		return err
	})
	return l, err
}

// Recheck looks again whether somebody can be asked, while the broker is locked because
// nobody could be. It does nothing in any other case.
func (b *Broker) Recheck(ctx context.Context) error {
	if l := b.lock.Load(); l == nil || l.Kind != LockUnreachable {
		return nil
	}
	return b.start(ctx)
}

// examine compares the log with this broker's own memory first, then with what others have
// seen. nil means that everything agrees.
func (b *Broker) examine(ctx context.Context) (*Lock, error) {
	now, err := ledger.OpenCheckpoint(b.cfg.Log.Checkpoint(), b.logKey)
	if err != nil {
		return nil, err
	}
	found, err := b.examineOwn(now)
	if found != nil || err != nil {
		return found, err
	}
	return b.examineOthers(ctx, now), nil
}

// memory is what the state says about the log.
type memory struct {
	kept string // checkpoint
	next int64
}

func (b *Broker) remember() (m memory, err error) {
	err = b.cfg.State.View(func(tx Tx) error {
		m.kept = string(tx.Get(tableMeta, metaCheckpoint))
		m.next, err = number(tx, metaNext)
		return err
	})
	return m, err
}

// examineOwn compares the log with the state, which lies outside the log's directory.
func (b *Broker) examineOwn(now ledger.Checkpoint) (*Lock, error) {
	m, err := b.remember()
	if err != nil {
		return nil, broken("to read the broker's state", err)
	}
	if m.next < now.Size {
		return &Lock{Kind: LockBehind, Size: now.Size, Reason: fmt.Sprintf("the log has %d entries, the broker's state knows of %d: an old state was put back", now.Size, m.next)}, nil
	}
	if m.kept != "" {
		kept, err := ledger.OpenCheckpoint(m.kept, b.logKey)
		if err != nil {
			return nil, err
		}
		if found := b.compare(now, kept, "this broker's own state"); found != nil {
			return found, nil
		}
	}
	list, err := b.queued()
	if err != nil {
		return nil, broken("to read the queue of records", err)
	}
	if _, problem := b.notInLog(list, now.Size); problem != nil {
		return problem, nil
	}
	if len(list) == 0 && m.next > now.Size {
		return &Lock{Kind: LockBehind, Size: now.Size, Reason: fmt.Sprintf("the log has %d entries, this broker made %d", now.Size, m.next)}, nil
	}
	return nil, nil
}

// compare tells whether the log, now, extends what somebody has seen of it.
func (b *Broker) compare(now, seen ledger.Checkpoint, who string) *Lock {
	if seen.Size > now.Size {
		return &Lock{Kind: LockBehind, Size: now.Size, Seen: seen.Note, Reason: fmt.Sprintf("the log has %d entries, %s has seen %d", now.Size, who, seen.Size)}
	}
	proof, err := b.consistency(seen.Size, now.Size)
	if err == nil {
		err = ledger.CheckConsistency(proof, seen, now)
	}
	if err != nil {
		return &Lock{Kind: LockForked, Size: now.Size, Seen: seen.Note, Reason: fmt.Sprintf("the log is not the one that %s saw at %d entries", who, seen.Size), Detail: err.Error()}
	}
	return nil
}

// examineOthers asks every witness and peer, all at once, for the latest checkpoint of this
// log that they know. Only what this log's own key signed counts: nobody can lock a broker
// with a checkpoint they made up. And only somebody who authentically shows such a
// checkpoint, or says that they hold none, was heard: nobody on the way can answer for them.
func (b *Broker) examineOthers(ctx context.Context, now ledger.Checkpoint) *Lock {
	askers, others := b.askers()
	if len(askers) == 0 {
		if others && now.Size > 0 && !b.cfg.NeverServed {
			return &Lock{Kind: LockUnreachable, Size: now.Size, Reason: "nobody can be asked what they last saw of this log: no shared ledger was named, and no peer has an address"}
		}
		return nil
	}
	answers := make(chan *answer, len(askers))
	for _, a := range askers {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, startPatience)
			defer cancel()
			note, err := a.ask(ctx)
			answers <- &answer{a.who, note, err}
		}()
	}
	heard, silent := 0, []string{}
	var found *Lock
	for range askers {
		a := <-answers
		var seen ledger.Checkpoint
		if a.err == nil && a.note != "" {
			seen, a.err = ledger.OpenCheckpoint(a.note, b.logKey)
		}
		if a.err != nil {
			silent = append(silent, fmt.Sprintf("%s (%v)", a.who, a.err))
			continue
		}
		heard++
		if a.note == "" {
			continue
		}
		if lock := b.compare(now, seen, a.who); lock != nil && (found == nil || worse(b, *lock, *found)) {
			found = lock
		}
	}
	if found == nil && heard == 0 {
		sort.Strings(silent)
		found = &Lock{Kind: LockUnreachable, Size: now.Size, Reason: "nobody could be asked what they last saw of this log", Detail: strings.Join(silent, "; ")}
	}
	return found
}

// worse orders what was found, whoever answers first: a fork before a log that is behind,
// and of two the one that more was seen of.
func worse(b *Broker, l, than Lock) bool {
	if l.Kind != than.Kind {
		return l.Kind == LockForked
	}
	x, y := b.seenBy(l), b.seenBy(than)
	return x.Size > y.Size || x.Size == y.Size && bytes.Compare(x.Root[:], y.Root[:]) > 0
}

// seenBy gives the checkpoint that a lock is about, empty if there is none.
func (b *Broker) seenBy(l Lock) ledger.Checkpoint {
	c, err := ledger.OpenCheckpoint(l.Seen, b.logKey)
	if err != nil {
		return ledger.Checkpoint{}
	}
	return c
}

type answer struct {
	who, note string
	err       error
}

// asker is somebody who may know a later checkpoint of this broker's log. The answer is
// theirs and fresh, "" if they hold none.
type asker struct {
	who string
	ask func(context.Context) (note string, err error)
}

// askers gives everybody to ask. others says that there is somebody who may have seen this
// log, whether they can be asked or not.
func (b *Broker) askers() (list []asker, others bool) {
	for key, w := range b.cfg.Witnesses {
		list = append(list, asker{"witness " + originOf(key), func(ctx context.Context) (string, error) { return w.Latest(ctx, b.origin) }})
	}
	for _, p := range b.peers() {
		others = true
		if p.Peer != nil {
			list = append(list, asker{"peer " + originOf(p.logKey), func(ctx context.Context) (string, error) { return b.askPeer(ctx, p) }})
		}
	}
	for _, parsed := range b.activeAgreements() {
		others = others || len(parsed.agreement.Ledgers.Witnesses) > 0
	}
	return list, others
}

// askPeer asks what a peer holds of this log. Only what its release key signed, over a nonce
// drawn for this question, is its answer.
func (b *Broker) askPeer(ctx context.Context, p knownPeer) (string, error) {
	asked := release.SeenRequest{Version: release.Version, Log: b.logKey, Nonce: wire.Hash(keys.GenerateSecret().MarshalSecret())}
	question, err := release.NewSeenRequest(asked)
	if err != nil {
		return "", err
	}
	data, err := p.Seen(ctx, question)
	if err != nil {
		return "", err
	}
	seen, err := release.VerifySeen(data, p.releaseKey, p.name, asked)
	return seen.Checkpoint, err
}

// knownPeer is the broker of another owner of an activated agreement. Peer is nil if there
// is no way to reach it.
type knownPeer struct {
	Peer
	logKey     string
	releaseKey keys.PublicKey
	name       wire.ID
}

// peers gives the brokers of the other owners under activated agreements, where this broker
// was told they are, else at the address of their descriptors. Each is known by its keys: a
// party that takes over another's origin, or log key, takes nobody's place.
func (b *Broker) peers() (list []knownPeer) {
	for _, parsed := range b.activeAgreements() {
		for _, owner := range b.otherOwners(parsed) {
			info := owner.Broker
			p := knownPeer{nil, info.LogKey, info.ReleaseKey, owner.Name}
			if slices.ContainsFunc(list, func(q knownPeer) bool {
				return q.logKey == p.logKey && q.releaseKey == p.releaseKey && q.name == p.name
			}) {
				continue
			}
			switch told, byOrigin := b.cfg.Peers[info.LogKey], b.cfg.Peers[originOf(info.LogKey)]; {
			case told != nil:
				p.Peer = told
			case byOrigin != nil:
				p.Peer = byOrigin
			case b.cfg.PeerAt != nil && info.Address != "":
				p.Peer = b.cfg.PeerAt(info.Address)
			}
			list = append(list, p)
		}
	}
	return list
}

// activeAgreements lists what is activated and readable; what is not can't be asked about.
func (b *Broker) activeAgreements() (list []*parsedAgreement) {
	_ = b.eachAgreement(func(r agreementRecord, digest string) {
		if r.Standing != activated {
			return
		}
		if p, err := parseAgreement(r.Document, r.Parties); err == nil && p.agreement.Digest().String() == digest {
			list = append(list, p)
		}
	})
	return list
}
