package main

import (
	"fmt"
	"slices"

	"strongroom.dev/agreement"
	"strongroom.dev/internal/home"
	"strongroom.dev/policy"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// setsFor reads the sets that are named and those that are kept at home; h may be nil.
func (a *app) setsFor(f referenceFlags, h *home.Home) ([][]byte, error) {
	sets, err := a.referenceSets(f.paths)
	if err != nil || h == nil {
		return sets, err
	}
	kept, err := h.References()
	return append(sets, kept...), err
}

// roomReferences gives the newest good set for each of an agreement's release lines, of those that
// are named or kept at home. One that is a step back from what this home used is none.
func (a *app) roomReferences(f referenceFlags, h *home.Home, ag agreement.Agreement) (policy.References, error) {
	out := policy.References{Now: a.now(), Newest: map[wire.Digest]policy.Newest{}}
	lines := releaseLines(ag)
	if len(lines) == 0 {
		if len(f.paths) > 0 {
			return out, verdict.Misuse("--reference", "an agreement that names a release line", "none", "leave --reference out: this agreement pins its images")
		}
		return out, nil
	}
	sets, err := a.setsFor(f, h)
	if err != nil {
		return out, err
	}
	seen, err := h.SeenReferences()
	if err != nil {
		return out, err
	}
	for _, l := range lines {
		if out.Newest[policy.LineDigest(l)], err = newestOf(l, sets, seen[l.Product]); err != nil {
			return out, err
		}
	}
	return out, nil
}

func releaseLines(ag agreement.Agreement) (lines []agreement.ReleaseLine) {
	for _, p := range ag.Platforms {
		lines = append(lines, p.Releases...)
	}
	return lines
}

// newestOf gives the newest of the sets that a release line accepts; if it accepts none, why not.
func newestOf(l agreement.ReleaseLine, sets [][]byte, seen reference.Name) (policy.Newest, error) {
	line, err := policy.LineOf(l)
	if err != nil {
		return policy.Newest{}, err
	}
	n := policy.Newest{Why: fmt.Sprintf("no set of its reference values among the %d given (--reference)", len(sets))}
	for _, data := range sets {
		p, err := reference.Parse(data)
		if err != nil || p.Values.Product != l.Product {
			continue
		}
		c, err := reference.Accept(data, line)
		if err == nil {
			err = c.Name().Follows(seen)
		}
		if err != nil {
			e := verdict.As(err)
			n.Why = fmt.Sprintf("the set given is not good: %s: expected %s, got %s", e.Check, e.Expected, e.Got)
			continue
		}
		if n.Set == nil || c.Name().Version > n.Set.Name().Version {
			n.Set = c
		}
	}
	return n, nil
}

// lacksSets tells whether a room of an agreement may be one that no set at hand can prove.
func lacksSets(ag agreement.Agreement, sets [][]byte) bool {
	return slices.ContainsFunc(releaseLines(ag), func(l agreement.ReleaseLine) bool {
		return !slices.ContainsFunc(sets, func(data []byte) bool {
			p, err := reference.Parse(data)
			return err == nil && p.Values.Product == l.Product
		})
	})
}

// agreedLines gives the release lines of an agreement for a product.
func (a *app) agreedLines(name string, product wire.ID) ([]reference.Line, error) {
	ag, _, err := a.loadAgreement(name)
	if err != nil {
		return nil, err
	}
	var lines []reference.Line
	for _, l := range releaseLines(ag.Agreement) {
		if l.Product != product {
			continue
		}
		line, err := policy.LineOf(l)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		return nil, verdict.Refuse("reference.product", "a product that a release line of "+string(ag.ID)+" names", string(product), "give the right set, or the right agreement")
	}
	return lines, nil
}
