package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"strongroom.dev/attest"
	"strongroom.dev/attest/dev"
	"strongroom.dev/endorse"
	"strongroom.dev/internal/home"
	"strongroom.dev/keys"
	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// endorsed are platforms that judge evidence by endorsements as they were last read, those in
// force when the evidence is judged. The zero value has none.
type endorsed struct {
	app   *app
	flags endorsementFlags
	// home remembers what was used, so that nothing older passes later; nil where evidence is
	// judged as of its own time, about which what was used since says nothing.
	home *home.Home
	held atomic.Pointer[readEndorsements]
}

// endorsedNow reads endorsements for judging evidence of now.
func (a *app) endorsedNow(f endorsementFlags, h *home.Home) (*endorsed, error) {
	e := &endorsed{app: a, flags: f, home: h}
	_, err := e.read()
	return e, err
}

// endorsedThen reads endorsements for judging evidence as of when others relied on it: of bundles,
// those count that were in force then.
func (a *app) endorsedThen(f endorsementFlags) (*endorsed, error) {
	sources, err := a.signedSources(f)
	if err != nil {
		return nil, err
	}
	e := &endorsed{app: a, flags: f}
	e.held.Store(&readEndorsements{sources: sources})
	return e, nil
}

// signedSources reads everything the flags name: bundles whatever their dates, but only if a
// trusted key signed them.
func (a *app) signedSources(f endorsementFlags) ([]endorsementSource, error) {
	trusted, err := a.publicKeys("--endorsements-key", f.keys)
	if err != nil {
		return nil, err
	}
	return a.endorsementSources(f.paths, func(data []byte) (endorse.Bundle, []keys.KeyID, error) {
		b, _, err := endorse.Show(data)
		if err != nil {
			return b, nil, err
		}
		return trustedBundle(data, trusted, b.Created.Time())
	})
}

// read reads the files anew, and says whether anything changed. Bundles are remembered before they
// are used. After an error everything stays as it was.
func (e *endorsed) read() (changed bool, err error) {
	sources, err := e.app.signedSources(e.flags)
	if err != nil {
		return false, err
	}
	now := e.app.now()
	next := &readEndorsements{sources: sources, digest: digestOf(sources)}
	if last := e.held.Load(); last != nil && last.digest == next.digest {
		return false, nil
	}
	if _, late := inForce(sources, now); late != nil {
		return false, inFile(late.File, late.notInForce(now)) // whose evidence is judged learns no name of a file
	}
	table, err := next.at(now)
	if err != nil {
		return false, err
	}
	if e.home != nil {
		for _, s := range table.sources {
			if s.bundle == nil {
				continue
			}
			if err := e.home.SawEndorsements(s.bundle.versions); err != nil {
				return false, inFile(s.bundle.File, err)
			}
		}
	}
	e.held.Store(next)
	return true, nil
}

// digestOf names what was read.
func digestOf(sources []endorsementSource) wire.Hash {
	var parts [][]byte
	for _, s := range sources {
		if b := s.bundle; b != nil {
			parts = append(parts, []byte(b.File), []byte(b.Name), []byte(b.Created.String()), []byte(b.Expires.String()), fmt.Appendf(nil, "%v", b.SignedBy))
		}
		for _, it := range s.items {
			parts = append(parts, []byte(it.Kind), []byte(it.Name), it.Data)
		}
	}
	return wire.SHA256("strongroom/endorsements-read/v1", parts...)
}

// platforms is the table for [attest.Verify]. It stays good when endorsements are read anew.
func (e *endorsed) platforms() []attest.Platform {
	e.held.CompareAndSwap(nil, new(readEndorsements))
	list := []attest.Platform{dev.New()}
	for i, m := range machines(endorse.Set{}) {
		judge := func(trust *attest.Trust) func([]byte, time.Time) (attest.Facts, error) {
			return attest.Strict(func(evidence []byte, now time.Time) (attest.Finding, error) {
				return e.examine(i, trust, evidence, now)
			})
		}
		p := attest.Platform{Name: m.Name, Verify: judge(nil)}
		if m.under != nil {
			p.Under = func(t attest.Trust) attest.Platform { return attest.Platform{Name: m.Name, Verify: judge(&t)} }
		}
		list = append(list, p)
	}
	return list
}

// examine examines evidence of one of the machines, and adds a check that nothing it rests on is
// older than what was used before. What is newer is remembered whatever else comes of the
// evidence: a list that revokes must not be forgotten.
func (e *endorsed) examine(machine int, trust *attest.Trust, evidence []byte, now time.Time) (attest.Finding, error) {
	table, err := e.held.Load().at(now)
	if err != nil {
		return attest.Finding{}, err
	}
	m := table.machines[machine]
	judge := m.Examine
	if trust != nil {
		judge = m.under(*trust)
	}
	f, err := judge(evidence, now)
	if err != nil || e.home == nil || len(f.Endorsements) == 0 {
		return f, err
	}
	seen, err := e.home.SeenEndorsements()
	if err != nil {
		return f, err
	}
	check := seen.Check(f.Endorsements)
	f.Checks = append(f.Checks, check)
	if !check.OK {
		return f, nil
	}
	own := slices.DeleteFunc(lineage.Begun(f.Endorsements, now), func(v lineage.Version) bool { return !table.own[v.Digest] })
	return f, e.home.SawEndorsements(own)
}

// readEndorsements are endorsements as they were read once.
type readEndorsements struct {
	sources []endorsementSource
	digest  wire.Hash

	mu     sync.Mutex
	tables map[string]*endorsedTable // by which of the sources they are of
}

// endorsedTable is what judges by some of the sources.
type endorsedTable struct {
	sources  []endorsementSource
	set      endorse.Set
	machines []hardware
	// own are the digests of what is in set: only that is remembered. Evidence may bring newer
	// ones, and remembering those would lock the relying party's own out.
	own map[wire.Hash]bool
}

// at gives the table of what is in force at a time.
func (r *readEndorsements) at(now time.Time) (*endorsedTable, error) {
	kept, late := inForce(r.sources, now)
	if late != nil {
		return nil, late.notInForce(now)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := fmt.Sprint(kept)
	if t := r.tables[key]; t != nil {
		return t, nil
	}
	t := &endorsedTable{own: map[wire.Hash]bool{}}
	for _, i := range kept {
		t.sources = append(t.sources, r.sources[i])
	}
	var err error
	if t.set, _, err = oneSet(t.sources); err != nil {
		return nil, err
	}
	for _, it := range t.set.Items() {
		t.own[wire.HashOf(it.Data)] = true
	}
	t.machines = machines(t.set)
	if r.tables == nil {
		r.tables = map[string]*endorsedTable{}
	}
	r.tables[key] = t
	return t, nil
}

// inForce gives the sources that count at a time: all plain files, and of the bundles of one
// signer and name the newest that was there then. It gives the one, if any, without which nothing
// can be judged, since it has expired or is of a later time.
func inForce(sources []endorsementSource, now time.Time) (kept []int, late *bundleView) {
	begun, later := map[lineage.Line]*bundleView{}, map[lineage.Line]*bundleView{}
	for _, s := range sources {
		if s.bundle == nil {
			continue
		}
		for _, v := range s.bundle.versions {
			of := begun
			if now.Before(s.bundle.Created.Time()) {
				of = later
			}
			if other := of[v.Of]; other == nil || other.Created.Time().Before(s.bundle.Created.Time()) {
				of[v.Of] = s.bundle
			}
		}
	}
	for line, b := range later {
		if begun[line] == nil {
			return nil, b
		}
	}
	for i, s := range sources {
		switch b := s.bundle; {
		case b == nil:
		case now.Before(b.Created.Time()) || b.behind(begun) != nil:
			continue
		case !now.Before(b.Expires.Time()):
			return nil, b
		}
		kept = append(kept, i)
	}
	return kept, nil
}

func (b *bundleView) notInForce(now time.Time) error {
	return verdict.Refuse("endorsements.dates", "a bundle that is in force at "+wire.At(now).String(), fmt.Sprintf("one from %s to %s", b.Created, b.Expires), "get the newest bundle from whoever packs endorsements for you, or for old evidence the one of that time")
}
