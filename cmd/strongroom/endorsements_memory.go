package main

import (
	"io"
	"time"

	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
)

// endorsementMemory is what home remembers of endorsements while evidence is judged.
type endorsementMemory struct {
	// seen are the newest versions used so far; nil if there is no home, or if evidence is judged as
	// of a time of the caller's: what was used since says nothing about then.
	seen lineage.Seen
	// bundles are the versions of the bundles in use, nil if they are not to be remembered.
	bundles []lineage.Version
}

// rememberedEndorsements reads everything the flags name, and refuses bundles that are older than
// those of their signers that were used before. At another time than now there is no memory.
func (a *app) rememberedEndorsements(f endorsementFlags, at time.Time, now bool) (endorse.Set, endorsementMemory, error) {
	var m endorsementMemory
	set, bundles, err := a.trustedEndorsements(f, at)
	if err != nil || !now {
		return set, m, err
	}
	h, err := a.homeIfThere()
	if err != nil {
		return set, m, err
	}
	if h != nil {
		if m.seen, err = h.SeenEndorsements(); err != nil {
			return set, m, err
		}
	}
	for _, b := range bundles {
		for _, v := range b.versions {
			if seen, found := m.seen[v.Of]; found {
				if err := v.Follows(seen); err != nil {
					return set, m, inFile(b.File, asOf(err))
				}
			}
			m.bundles = append(m.bundles, v)
		}
	}
	return set, m, nil
}

// versionedEndorsements reads everything the flags name, with the versions of the bundles among it,
// for whoever has a memory of its own.
func (a *app) versionedEndorsements(f endorsementFlags) (endorse.Set, []lineage.Version, error) {
	set, bundles, err := a.trustedEndorsements(f, a.now())
	var versions []lineage.Version
	for _, b := range bundles {
		versions = append(versions, b.versions...)
	}
	return set, versions, err
}

// asOf adds to a mend how old endorsements are used all the same.
func asOf(err error) error {
	e := *verdict.As(err)
	e.Fix += "; verify --at TIME judges recorded evidence as of its time"
	return &e
}

// sawEndorsements remembers what results rest on, in a home that is there: unlike for reference
// values none is made, since strangers verify too. That nothing is remembered is said.
func (a *app) sawEndorsements(m endorsementMemory, results []appraised) error {
	used := m.bundles
	for _, r := range results {
		if m.seen == nil || m.seen.Check(r.Endorsements).OK {
			used = append(used, r.Endorsements...)
		}
	}
	if len(used) == 0 {
		return nil
	}
	h, err := a.homeIfThere()
	if err != nil {
		return err
	}
	if h == nil {
		a.sayForgotten()
		return nil
	}
	return h.SawEndorsements(used)
}

func (a *app) sayForgotten() {
	a.say("without a home nothing is remembered of these endorsements, and older ones would pass the next time: mkdir -m 700 %s makes one", verdict.ShellWord(a.homeDir))
}

// quiet is the same app, but for what it says beside results and errors.
func (a *app) quiet() *app {
	b := *a
	b.err = io.Discard
	return &b
}
