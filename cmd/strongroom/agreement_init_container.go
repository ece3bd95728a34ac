package main

import (
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/agreement/draft"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// whoServes says who may run a container and who may connect to it: of several parties
// nobody gets either without being named.
func whoServes(s *draft.Start, runs, connects []string) (err error) {
	if s.Container == nil {
		for flag, given := range map[string][]string{"--runs": runs, "--connects": connects} {
			if len(given) > 0 {
				return verdict.Misuse(flag, "--container with it", "a query, which its last party asks", "leave "+flag+" out, and write may_run into the draft")
			}
		}
		return nil
	}
	open := slices.ContainsFunc(s.Container.Ports, draft.Open)
	if len(connects) > 0 && !open {
		return verdict.Misuse("--connects", "a container with a port that names nobody yet", "none: its section says who may connect", "leave it out, or change allow in container.yaml")
	}
	if s.Runs, err = partiesOf("--runs", "may ask for runs of the container", runs, s.Parties, true); err != nil {
		return err
	}
	if s.Connects, err = partiesOf("--connects", "may connect to its ports", connects, s.Parties, open); err != nil {
		return err
	}
	return nil
}

// partiesOf gives the parties that a flag names; without it the only party, if one is needed.
func partiesOf(flag, may string, given []string, parties []agreement.Party, needed bool) (ids []wire.ID, err error) {
	var all []string
	for _, p := range parties {
		all = append(all, string(p.ID))
	}
	if len(parties) == 0 {
		return nil, verdict.Misuse("--party", "the parties of an agreement about a container", "none", "name them: strongroom party list")
	}
	if len(given) == 0 && needed {
		if len(parties) > 1 {
			return nil, verdict.Misuse(flag, "which of "+strings.Join(all, ", ")+" "+may, "nobody", "add "+flag+" "+all[0]+", once for each: no party gets that without being named")
		}
		given = all
	}
	for _, name := range given {
		if !slices.Contains(all, name) || slices.Contains(ids, wire.ID(name)) {
			return nil, verdict.Misuse(flag, "each of "+strings.Join(all, ", ")+" once at most", verdict.Short(name), "name parties that --party names")
		}
		ids = append(ids, wire.ID(name))
	}
	return ids, nil
}

// sayWho says what the draft gives to whom, since everybody who signs it agrees to that.
func (a *app) sayWho(s draft.Start) {
	if s.Container == nil {
		return
	}
	list := func(ids []wire.ID) string {
		var names []string
		for _, id := range ids {
			names = append(names, string(id))
		}
		return strings.Join(names, ", ")
	}
	what := "may ask for runs"
	if slices.ContainsFunc(s.Container.Mounts, func(m agreement.Mount) bool { return m.Kind == agreement.Result }) {
		what += ", and has the result"
	}
	a.say("The draft says who %s: %s", what, list(s.Runs))
	for _, p := range s.Container.Ports {
		switch {
		case p.Allow.Anyone:
			a.say("The draft says who may connect to port %s: ANYONE WHO REACHES IT", p.Name)
		case draft.Open(p):
			a.say("The draft says who may connect to port %s: %s", p.Name, list(s.Connects))
		}
	}
}
