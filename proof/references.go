package proof

import (
	"cmp"
	"fmt"

	"strongroom.dev/agreement"
	"strongroom.dev/policy"
	"strongroom.dev/reference"
	"strongroom.dev/release"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// references gives the one set of reference values that the record of a grant names, if the
// verifier has it and the agreement's release line accepts it: signed by enough of the line's
// keys, recorded in its log, good when the owner's broker decided. Which set a broker took says
// nothing about the room; checkGrant has yet to find that the record is the broker's own.
func (v *verifier) references(r Release) (policy.References, error) {
	out := policy.References{Now: v.decidedAt(r)}
	entry, err := grantEntry(r)
	if err != nil {
		return out, nil // checkRelease says so
	}
	facts, err := release.ParseGrantFacts(entry.Public)
	if err != nil || facts.Reference == nil {
		return out, nil
	}
	line, found := v.line(facts.Reference.Line)
	if !found {
		return out, invalid("proof.reference", "a set of one of the agreement's release lines", fmt.Errorf("one of line %s", facts.Reference.Line.Short()))
	}
	by, err := policy.LineOf(line)
	if err != nil {
		return out, err
	}
	candidate, err := v.set(facts.Reference.Digest, by)
	if err != nil {
		return out, err
	}
	if candidate == nil {
		return out, verdict.Refuse("proof.reference", fmt.Sprintf("the reference values %s of %s, by which the broker of %s accepted the room (version %d)",
			facts.Reference.Digest, line.Product, r.Broker, facts.Reference.Version), fmt.Sprintf("not among the %d sets given", len(v.trust.References)),
			"give that set with --reference; whoever makes the room image publishes it")
	}
	out.Newest = map[wire.Digest]policy.Newest{facts.Reference.Line: {Set: candidate}}
	return out, nil
}

// line gives the agreement's release line of a digest.
func (v *verifier) line(digest wire.Digest) (agreement.ReleaseLine, bool) {
	for _, p := range v.out.Agreement.Platforms {
		for _, l := range p.Releases {
			if policy.LineDigest(l) == digest {
				return l, true
			}
		}
	}
	return agreement.ReleaseLine{}, false
}

// set gives the verifier's file of a set, accepted by a line; nil if it has none. The same body
// may be there with fewer signatures, or before a log recorded it.
func (v *verifier) set(digest wire.Digest, by reference.Line) (*reference.Candidate, error) {
	var refused error
	for _, data := range v.trust.References {
		p, err := reference.Parse(data)
		if err != nil || p.Document.Digest() != digest {
			continue
		}
		c, err := reference.Accept(data, by)
		if err == nil {
			return c, nil
		}
		refused = cmp.Or(refused, err)
	}
	return nil, refused
}

// sameSet demands that the record of a grant names the very set that lists the room's image,
// or none if the agreement pins it.
func sameSet(recorded, listed *policy.Listed) error {
	switch {
	case recorded == nil && listed == nil:
		return nil
	case recorded == nil || listed == nil:
		return invalid("proof.reference", "a record that names a set if, and only if, the agreement does not pin the image", fmt.Errorf("another record"))
	case *recorded != *listed:
		return invalid("proof.reference", fmt.Sprintf("a record of version %d of %s, group %s", listed.Version, listed.Product, listed.Group),
			fmt.Errorf("one of version %d of %s, group %s", recorded.Version, recorded.Product, recorded.Group))
	}
	return nil
}
