package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/ledger"
	"strongroom.dev/policy"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// ReferenceAct is an officer's act about a set of reference values: the file, as its makers
// publish it.
type ReferenceAct struct {
	Set json.RawMessage `json:"set"`
}

// referenceRecord is the newest set ever accepted of a release line. It outlives the agreement
// that named the line: nothing goes back (R5).
type referenceRecord struct {
	// Line is without its minimum, which is the agreement's; absent if only the log knew of the
	// set, whose file must then be given again.
	Line *agreement.ReleaseLine `json:"line,omitempty"`
	reference.Name
	ExpiresMS int64 `json:"expires_ms"`
	TimeMS    int64 `json:"time_ms"`
}

// acceptFacts is the public part of an entry of kind accept.
type acceptFacts struct {
	// Lines are the release lines, without their minima, that the set was accepted by.
	Lines []wire.Digest `json:"lines"`
	reference.Name
}

// ReferenceStatus is a release line, with the newest set known of it.
type ReferenceStatus struct {
	Line    wire.Digest `json:"line"`
	Product wire.ID     `json:"product"`
	// Version and SecurityVersion are 0, and Set is "", if no set is known.
	Version         int64  `json:"version"`
	SecurityVersion int64  `json:"security_version"`
	Set             string `json:"set"`
	// Held is set if the file is here: after a log was restored it may not be.
	Held      bool  `json:"held"`
	ExpiresMS int64 `json:"expires_ms"`
	SinceMS   int64 `json:"since_ms"`
}

// remembered is what a broker remembers a release line by: keys, threshold, product and log. A
// minimum may rise from agreement to agreement, and the order of keys says nothing; the memory
// stays.
func remembered(l agreement.ReleaseLine) (wire.Digest, agreement.ReleaseLine) {
	l.MinimumVersion = 1
	l.Keys = slices.Sorted(slices.Values(l.Keys))
	return policy.LineDigest(l), l
}

// AddReference gives the broker a set of reference values (R5): if a release line of an
// activated agreement accepts it, its images get keys from the moment this returns, and those
// that only older sets list get none. A set that is a step back, for any line it was ever
// accepted by, is refused; so is one past its date. Giving the same set again changes nothing.
func (b *Broker) AddReference(ctx context.Context, act ReferenceAct) (Event, error) {
	if err := b.serving(); err != nil {
		return Event{}, err
	}
	p, err := reference.Parse(act.Set)
	if err != nil {
		return Event{}, err
	}
	now := b.now()
	name := p.Name()
	ev := Event{Kind: "accept", TimeMS: now.UnixMilli(), Notes: loose(p.Values)}
	what := fmt.Sprintf("version %d of %s (set %s), security version %d", name.Version, name.Product, name.Digest.Short(), name.SecurityVersion)
	err = b.cfg.State.Update(func(tx Tx) error {
		ev.Number, ev.Done = -1, what+", was accepted before"
		takers, err := b.takers(tx, act.Set, name)
		if err != nil {
			return err
		}
		facts := acceptFacts{Lines: []wire.Digest{}, Name: name}
		for _, t := range takers {
			fresh, err := t.take(tx, act.Set, p.Values, now)
			if err != nil {
				return err
			}
			if fresh {
				facts.Lines = append(facts.Lines, t.id)
			}
		}
		if len(facts.Lines) == 0 {
			return nil
		}
		ev.Done = what + ", is accepted: keys for the images that it lists, until " + p.Values.Expires.String() + ", and for no others of its release line"
		public, err := json.Marshal(facts)
		if err != nil {
			return err
		}
		placed, err := record(tx, ledger.Entry{Kind: ev.Kind, TimeMS: ev.TimeMS, Public: public}, Decision{Subject: ev.Done}, name.Digest.String(), string(name.Product))
		ev.Number = placed.Number
		return err
	})
	return b.eventDone(ctx, ev, err)
}

// loose says what of a set no room can ever match.
func loose(v reference.Values) []string {
	n := 0
	for _, g := range v.Groups {
		if len(g.Claims)+len(g.Minimum) > 0 {
			n++
		}
	}
	if n == 0 {
		return []string{}
	}
	return []string{fmt.Sprintf("%d of its %d groups ask for claims besides measurements: of rooms only measurements are compared, so that those groups accept none", n, len(v.Groups))}
}

// taker is a release line that accepts a set whatever its minimum is.
type taker struct {
	id        wire.Digest
	line      agreement.ReleaseLine
	candidate *reference.Candidate
}

// takers gives the release lines that accept a set, sorted: those of activated agreements, of
// which one must with its own minimum, and those that accepted a set before.
func (b *Broker) takers(tx Tx, set []byte, name reference.Name) ([]taker, error) {
	lines, err := b.activeLines(tx)
	if err != nil {
		return nil, err
	}
	found := map[wire.Digest]taker{}
	var refused error
	of, useful := []string{}, false
	for _, l := range lines {
		of = append(of, string(l.Product))
		if l.Product != name.Product {
			continue
		}
		id, without := remembered(l)
		if c, err := acceptedBy(set, without); err == nil {
			found[id] = taker{id, without, c}
		}
		_, err := acceptedBy(set, l)
		refused = cmp.Or(refused, err)
		useful = useful || err == nil
	}
	switch {
	case !useful && refused != nil:
		return nil, refused
	case !useful:
		got := "none: no activated agreement names a release line"
		if len(of) > 0 {
			slices.Sort(of)
			got = strings.Join(slices.Compact(of), ", ")
		}
		return nil, verdict.Refuse("reference.product", "a release line of an activated agreement for product "+string(name.Product), got, "activate the agreement that names it first, or give the set of another product")
	}
	err = eachReference(tx, func(id wire.Digest, r referenceRecord) {
		if _, there := found[id]; there || r.Line == nil || r.Product != name.Product {
			return
		}
		if c, err := acceptedBy(set, *r.Line); err == nil {
			found[id] = taker{id, *r.Line, c}
		}
	})
	return slices.SortedFunc(maps.Values(found), func(a, z taker) int { return strings.Compare(a.id.String(), z.id.String()) }), err
}

func acceptedBy(set []byte, l agreement.ReleaseLine) (*reference.Candidate, error) {
	line, err := policy.LineOf(l)
	if err != nil {
		return nil, err
	}
	return reference.Accept(set, line)
}

// take keeps a set as the newest of a line, unless it is a step back or past its dates. fresh
// is false if it was kept before.
func (t taker) take(tx Tx, set []byte, v reference.Values, now time.Time) (fresh bool, err error) {
	known, err := load[referenceRecord](tx, tableReferences, t.id.String())
	if err != nil {
		return false, err
	}
	before := reference.Name{}
	if known != nil {
		before = known.Name
	}
	name := t.candidate.Name()
	if _, err := t.candidate.At(before, now); err != nil {
		return false, err
	}
	if before == name && tx.Get(tableSets, t.id.String()) != nil {
		return false, nil
	}
	r := referenceRecord{Line: &t.line, Name: name, ExpiresMS: v.Expires.Time().UnixMilli(), TimeMS: now.UnixMilli()}
	if err := save(tx, tableReferences, t.id.String(), r); err != nil {
		return false, err
	}
	return true, tx.Put(tableSets, t.id.String(), set)
}

// activeLines gives the release lines of the agreements that have authority here.
func (b *Broker) activeLines(tx Tx) (lines []agreement.ReleaseLine, err error) {
	var bad error
	err = tx.Scan(tableAgreements, "", "", func(key string, _ []byte) bool {
		r, err := load[agreementRecord](tx, tableAgreements, key)
		if err == nil && r.Standing == activated {
			var digest wire.Digest
			var parsed *parsedAgreement
			if digest, err = wire.ParseDigest(key); err == nil {
				parsed, err = b.parsed.get(digest, *r)
			}
			if err == nil {
				lines = append(lines, linesOf(parsed.agreement.Agreement)...)
			}
		}
		bad = err
		return err == nil
	})
	return lines, errors.Join(err, bad)
}

func linesOf(a agreement.Agreement) (lines []agreement.ReleaseLine) {
	for _, p := range a.Platforms {
		lines = append(lines, p.Releases...)
	}
	return lines
}

func eachReference(tx Tx, visit func(wire.Digest, referenceRecord)) error {
	var bad error
	err := tx.Scan(tableReferences, "", "", func(key string, _ []byte) bool {
		r, err := load[referenceRecord](tx, tableReferences, key)
		var id wire.Digest
		if err == nil {
			id, err = wire.ParseDigest(key)
		}
		if err == nil {
			visit(id, *r)
		}
		bad = err
		return err == nil
	})
	return errors.Join(err, bad)
}

// newest gives what is known of release lines, by all of each line.
func (b *Broker) newest(tx Tx, lines []agreement.ReleaseLine) (map[wire.Digest]policy.Newest, error) {
	out := map[wire.Digest]policy.Newest{}
	for _, l := range lines {
		digest := policy.LineDigest(l)
		if _, done := out[digest]; done {
			continue
		}
		n, err := b.newestOf(tx, l, digest)
		if err != nil {
			return nil, err
		}
		out[digest] = n
	}
	return out, nil
}

func (b *Broker) newestOf(tx Tx, l agreement.ReleaseLine, digest wire.Digest) (policy.Newest, error) {
	id, _ := remembered(l)
	r, err := load[referenceRecord](tx, tableReferences, id.String())
	if err != nil {
		return policy.Newest{}, err
	}
	if r == nil {
		return policy.Newest{Why: "no set of its reference values is known here"}, nil
	}
	return b.sets.get(setKey{digest, r.Name}, func() (policy.Newest, error) {
		set := tx.Get(tableSets, id.String())
		if set == nil {
			return policy.Newest{Why: fmt.Sprintf("version %d of its reference values was accepted here, and its file is gone", r.Version)}, nil
		}
		c, err := acceptedBy(set, l)
		if err != nil {
			e := verdict.As(err)
			return policy.Newest{Why: fmt.Sprintf("version %d of it, the newest known here, is not good enough: %s: expected %s, got %s", r.Version, e.Check, e.Expected, e.Got)}, nil
		}
		if c.Name() != r.Name {
			return policy.Newest{}, fmt.Errorf("the set of release line %s in the broker's state is another one", id.Short())
		}
		return policy.Newest{Set: c}, nil
	})
}

// stillListed is nil unless a set accepted a run's room, and the newest set no longer does (R5).
func (b *Broker) stillListed(tx Tx, run *runRecord, a agreement.Agreement) error {
	if run.Listed == nil || run.Where == nil {
		return nil
	}
	var lines []agreement.ReleaseLine
	for _, l := range linesOf(a) {
		if policy.LineDigest(l) == run.Listed.Line {
			lines = append(lines, l)
		}
	}
	newest, err := b.newest(tx, lines)
	if err != nil {
		return err
	}
	return policy.References{Now: b.now(), Newest: newest}.Lists(*run.Listed, a, *run.Where)
}

// lacking says of which of an agreement's release lines no set is known yet.
func lacking(tx Tx, a agreement.Agreement) (notes []string, err error) {
	for _, l := range linesOf(a) {
		id, _ := remembered(l)
		if tx.Get(tableSets, id.String()) == nil {
			notes = append(notes, "no reference values of "+string(l.Product)+" are known: no key for an image of this release line until you run `strongroom broker reference add SET`")
		}
	}
	slices.Sort(notes)
	return slices.Compact(notes), nil
}

// replayAccept takes from a log that is believed again which sets were accepted. Their files
// are not in it: until they are given again their lines have none, and older ones stay refused.
func replayAccept(tx Tx, e ledger.Entry) error {
	var f acceptFacts
	if err := wire.Unmarshal(e.Public, &f); err != nil {
		return err
	}
	for _, id := range f.Lines {
		r, err := load[referenceRecord](tx, tableReferences, id.String())
		if err != nil {
			return err
		}
		if r == nil {
			r = &referenceRecord{}
		}
		if r.Version >= f.Version {
			continue
		}
		r.Name, r.ExpiresMS, r.TimeMS = f.Name, 0, e.TimeMS
		if err := errors.Join(save(tx, tableReferences, id.String(), r), tx.Delete(tableSets, id.String())); err != nil {
			return err
		}
	}
	return nil
}

// referenceStatus tells of every release line that an activated agreement names or that a set
// was ever accepted by.
func (b *Broker) referenceStatus(tx Tx) ([]ReferenceStatus, error) {
	byLine := map[wire.Digest]ReferenceStatus{}
	lines, err := b.activeLines(tx)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		id, _ := remembered(l)
		byLine[id] = ReferenceStatus{Line: id, Product: l.Product}
	}
	err = eachReference(tx, func(id wire.Digest, r referenceRecord) {
		byLine[id] = ReferenceStatus{id, r.Product, r.Version, r.SecurityVersion, r.Digest.String(), tx.Get(tableSets, id.String()) != nil, r.ExpiresMS, r.TimeMS}
	})
	list := slices.SortedFunc(maps.Values(byLine), func(a, z ReferenceStatus) int {
		return cmp.Or(strings.Compare(string(a.Product), string(z.Product)), strings.Compare(a.Line.String(), z.Line.String()))
	})
	return append([]ReferenceStatus{}, list...), err
}

// setKey names a set as a release line accepts it, its minimum included.
type setKey struct {
	line wire.Digest
	name reference.Name
}

// setCache keeps the sets that decisions rest on, verified: the largest takes 50 ms. Which set
// is the newest is read from the state every time.
type setCache struct {
	mu   sync.Mutex
	held map[setKey]policy.Newest
}

func (c *setCache) get(key setKey, read func() (policy.Newest, error)) (policy.Newest, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, found := c.held[key]; found {
		return n, nil
	}
	n, err := read()
	if err != nil || n.Set == nil {
		return n, err // a file that is gone may come back under the same name
	}
	if c.held == nil || len(c.held) >= maxSets {
		c.held = make(map[setKey]policy.Newest)
	}
	c.held[key] = n
	return n, nil
}
