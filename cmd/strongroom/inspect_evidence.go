package main

import (
	"encoding/json"
	"maps"
	"slices"

	"strongroom.dev/attest"
	"strongroom.dev/endorse"
	"strongroom.dev/verdict"
)

func (a *app) inspectEvidence(i *inspection, data []byte) error {
	var e attest.Evidence
	if err := json.Unmarshal(data, &e); err != nil {
		return verdict.Misuse("inspect", "evidence", verdict.Short(err.Error()), "take the file as it was written")
	}
	return a.inspectFound(i, e)
}

// inspectFound says what evidence proves without endorsements, policy or anybody's word, and what
// booted, line by line, where it has an event log.
func (a *app) inspectFound(i *inspection, e attest.Evidence) error {
	i.Kind = "evidence of a room"
	i.Digest = e.Digest().String()
	i.fact("platform", "%s", e.Platform)
	for _, x := range examiners(endorse.Set{}) {
		if x.Name != e.Platform {
			continue
		}
		found, err := x.Examine(e.Evidence, a.now())
		if err != nil {
			i.notVerified("that it is genuine: %s", verdict.Printable(err.Error()))
			return nil
		}
		i.found(found)
		return nil
	}
	i.notVerified("anything: this build does not verify the platform")
	return nil
}

// found shows what was found of evidence.
func (i *inspection) found(f attest.Finding) {
	i.fact("class", "%s", f.Facts.Class)
	if !f.Facts.Root.IsZero() {
		i.fact("root", "%s", f.Facts.Root)
	}
	for _, c := range f.Checks {
		if c.OK {
			i.verified("%s: %s", c.ID, verdict.Printable(c.Got))
		} else {
			i.notVerified("%s: expected %s, got %s", c.ID, c.Expected, verdict.Printable(c.Got))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Facts.Measurements)) {
		i.fact("measured", "%s %s", name, f.Facts.Measurements[name])
	}
	if c := readBoot(f.Claims); c != nil {
		ref := bootReference{}
		i.image.add(c, &ref)
		i.Boot = c.tell(ref)
	}
	i.notVerified("that its root is one you rely on, and that it is about a run, agreement or room: a broker's challenge decides that")
}
