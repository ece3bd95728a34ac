package broker

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
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
	Kind    LockKind `json:"kind"`
	Reason  string   `json:"reason"` // for people
	Size    int64    `json:"size"`   // of the log when it was found
	SinceMS int64    `json:"since_ms"`
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
		fix = "it serves once a witness or peer answers, or its officers run `strongroom broker confirm`"
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
	l.Reason = strings.Trim(strconv.QuoteToASCII(l.Reason), `"`) // it may quote what a peer said
	b.lock.Store(&l)
	if l.Kind == LockUnreachable {
		return nil
	}
	if err := b.cfg.State.Update(func(tx Tx) error { return save(tx, tableMeta, metaLock, l) }); err != nil {
		return broken("to keep why the broker is locked", err)
	}
	return nil
}

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
	if _, problem := b.notInLog(list, now.Size); problem != "" {
		return &Lock{Kind: LockForked, Size: now.Size, Reason: problem}, nil
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
		return &Lock{Kind: LockForked, Size: now.Size, Seen: seen.Note, Reason: fmt.Sprintf("the log is not the one that %s saw at %d entries: %v", who, seen.Size, err)}
	}
	return nil
}

// examineOthers asks every witness and peer, all at once, for the latest checkpoint of this
// log that they know. Only what this log's own key signed counts: nobody can lock a broker
// with a checkpoint they made up.
func (b *Broker) examineOthers(ctx context.Context, now ledger.Checkpoint) *Lock {
	askers := b.askers()
	if len(askers) == 0 {
		return nil
	}
	answers := make(chan *answer, len(askers))
	for _, a := range askers {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, startPatience)
			defer cancel()
			notes, err := a.ask(ctx)
			answers <- &answer{a.who, notes, err}
		}()
	}
	reached, silent := 0, []string{}
	var found *Lock
	for range askers {
		a := <-answers
		if a.err != nil {
			silent = append(silent, fmt.Sprintf("%s (%v)", a.who, a.err))
			continue
		}
		reached++
		for _, note := range a.notes {
			seen, err := ledger.OpenCheckpoint(note, b.logKey)
			if err != nil {
				continue
			}
			if lock := b.compare(now, seen, a.who); lock != nil && (found == nil || found.Kind == LockBehind) {
				found = lock
			}
		}
	}
	if found == nil && reached == 0 {
		sort.Strings(silent)
		found = &Lock{Kind: LockUnreachable, Size: now.Size, Reason: "nobody could be asked what they last saw of this log: " + verdict.Short(strings.Join(silent, "; "))}
	}
	return found
}

type answer struct {
	who   string
	notes []string
	err   error
}

// asker is somebody who may know a later checkpoint of this broker's log.
type asker struct {
	who string
	ask func(context.Context) ([]string, error)
}

func (b *Broker) askers() (list []asker) {
	for key, w := range b.cfg.Witnesses {
		list = append(list, asker{"witness " + originOf(key), func(ctx context.Context) ([]string, error) {
			note, err := w.Latest(ctx, b.origin)
			if err != nil || note == "" {
				return nil, err
			}
			return []string{note}, nil
		}})
	}
	for origin, p := range b.peers() {
		list = append(list, asker{"peer " + origin, func(ctx context.Context) ([]string, error) {
			notes, err := p.Seen(ctx, b.origin)
			return notes[:min(len(notes), maxPeerCheckpoints)], err
		}})
	}
	return list
}

// peers gives the brokers to ask: those configured, and the other owners' under activated
// agreements, at the address of their descriptors.
func (b *Broker) peers() map[string]Peer {
	peers := make(map[string]Peer, len(b.cfg.Peers))
	for origin, p := range b.cfg.Peers {
		peers[origin] = p
	}
	if b.cfg.PeerAt == nil {
		return peers
	}
	for _, parsed := range b.activeAgreements() {
		for _, owner := range b.otherOwners(parsed) {
			origin := originOf(owner.Broker.LogKey)
			if _, found := peers[origin]; !found && owner.Broker.Address != "" {
				peers[origin] = b.cfg.PeerAt(owner.Broker.Address)
			}
		}
	}
	return peers
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
