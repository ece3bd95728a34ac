package agreement

import (
	"fmt"

	"strongroom.dev/keys"
)

// releases names whoever may put another room image into the agreement's place, without asking
// anybody again: the holders of its release keys (R5, R6).
func (e *explainer) releases(m Platform) {
	for _, r := range m.Releases {
		n := int64(len(r.Keys))
		e.more("ANY ROOM IMAGE OF %q that release keys sign, today's and later ones, of security version %d or later: YOU TRUST THE HOLDERS OF %s, as if they were parties. Together they can have any program read all data that enters the room, and nobody is asked again. The keys are:",
			r.Product, r.MinimumVersion, anyOf(r.Threshold, n))
		for _, key := range r.Keys {
			e.sub("%s, %s", oneLine(key), e.holder(key))
		}
		if r.Threshold == 1 && n > 1 {
			e.more("ONE OF THESE KEYS ALONE IS ENOUGH: whoever steals one decides which program runs.")
		}
		e.more("What they sign counts once the log with the key %s has recorded it, for at most 180 days, and each owner's broker takes it only from its own officers and never goes back to an earlier one. That shows afterwards what was signed; it keeps nobody from signing.", oneLine(r.LogKey))
	}
}

// anyOf says how many of n release keys must sign.
func anyOf(k, n int64) string {
	switch {
	case n == 1:
		return "THIS RELEASE KEY"
	case k == n:
		return fmt.Sprintf("THESE %d RELEASE KEYS", n)
	}
	return fmt.Sprintf("ANY %d OF THESE %d RELEASE KEYS", k, n)
}

// holder says who holds a release key, as far as that is known here: a party that signs with it.
func (e *explainer) holder(text string) string {
	key, err := keys.ParsePublicKey(text)
	if err != nil {
		return "which is no key"
	}
	for _, p := range e.a.Parties {
		signed := e.parties[p.ID]
		if signed == nil {
			continue
		}
		for _, own := range signed.Keys {
			if own.Public == key {
				return "a signing key of " + e.name(p.ID)
			}
		}
	}
	return "whose holder this agreement does not name: find out who it is"
}

// releasers says for an owner that release keys are on the others' side too.
func (e *explainer) releasers() {
	for _, m := range e.a.Platforms {
		if len(m.Releases) > 0 {
			e.more("WITH ENOUGH HOLDERS OF THE RELEASE KEYS BELOW ON THEIR SIDE: EVERYTHING, since these can sign a room image that gives the data away.")
			return
		}
	}
}
