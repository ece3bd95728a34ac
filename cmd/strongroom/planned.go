package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/attest/dev"
	"strongroom.dev/host"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// planned is what evidence of rooms of this machine will say, as far as it is known before one
// is started: a machine takes half a minute to boot, and a run's request is spent by it.
type planned struct {
	platform wire.ID
	// root signs for the rooms; nil where it is the maker's of the hardware.
	root *wire.Hash
	// measurements are of the programs, under the names that agreements use; what depends on more
	// than files is not among them.
	measurements map[string]string
	// from is where the programs come from, in words.
	from string
}

// planned gives what evidence of the rooms that a configuration starts will say.
func (a *app) planned(c host.Config, vm vmFlags) (planned, error) {
	if c.VM == nil {
		root := c.Root.Public().ID()
		return planned{dev.Name, &root, c.Programs.Measurement().Named(), "the programs beside this one"}, nil
	}
	measurements, err := a.expected(vm)
	p := planned{platform: c.VM.Launch.Machine.Platform, measurements: measurements, from: vm.image}
	if ca := c.VM.Launch.CA; ca != nil {
		root := ca.Root()
		p.root = &root
	}
	return p, err
}

// suits refuses an agreement under which no broker would give keys to these rooms: without a
// platform that names their kind, their root and their programs. Of several that don't it tells
// about the one that comes nearest.
func (p planned) suits(a agreement.Agreement) error {
	var nearest error
	kinds := []string{}
	for _, accepted := range a.Platforms {
		kinds = append(kinds, string(accepted.Kind))
		if accepted.Kind != p.platform {
			continue
		}
		err := p.suitsRoot(accepted)
		if err == nil {
			err = p.suitsImage(accepted)
		}
		if err == nil {
			return nil
		}
		if nearest == nil || verdict.As(err).Check == "host.image" {
			nearest = err
		}
	}
	if nearest != nil {
		return nearest
	}
	return verdict.Refuse("host.platform", "a room on "+strings.Join(slices.Compact(kinds), " or ")+", as the agreement names them", "one on "+string(p.platform), "start it with --host or --platform of such a kind, or sign an agreement that accepts "+string(p.platform))
}

func (p planned) suitsRoot(accepted agreement.Platform) error {
	if p.root == nil || accepted.Root == nil || *p.root == *accepted.Root {
		return nil
	}
	return verdict.Refuse("host.root", "root "+accepted.Root.String()+", which the agreement pins for platform "+string(p.platform), "root "+p.root.String()+", of the home directory that would start the room",
		"start it on the host that has the pinned root: --host URL, or --home with its directory; or sign an agreement that pins this one: strongroom host root --platform "+string(p.platform)+" prints a host's")
}

// suitsImage compares what is known of the programs with each image. Which images a release line
// lists is for brokers to say.
func (p planned) suitsImage(accepted agreement.Platform) error {
	var nearest []string
	var name wire.ID
	for _, image := range accepted.Images {
		var differ []string
		for _, m := range byNumber(image.Measurements) {
			if got, known := p.measurements[m]; known && got != image.Measurements[m] {
				differ = append(differ, m)
			}
		}
		if len(differ) == 0 {
			return nil
		}
		if nearest == nil || len(differ) < len(nearest) {
			nearest, name = differ, image.Name
		}
	}
	if nearest == nil || len(accepted.Releases) > 0 {
		return nil
	}
	i := slices.IndexFunc(accepted.Images, func(i agreement.Image) bool { return i.Name == name })
	return verdict.Refuse("host.image", "image "+string(name)+" of the agreement: "+listed(accepted.Images[i].Measurements, nearest), p.from+": "+listed(p.measurements, nearest),
		"take the build that the agreement was made with, as strongroom image measure shows, or sign an agreement that names this one")
}

// listed shows some measurements, whole: people compare them.
func listed(values map[string]string, names []string) string {
	text := make([]string, len(names))
	for i, name := range names {
		text[i] = name + " " + values[name]
	}
	return strings.Join(text, ", ")
}

// activatedHere refuses an agreement that the party's own broker has not activated, where the work
// reads the party's data. What can't be known here the room finds out.
func (a *app) activatedHere(ctx context.Context, ag *agreement.SignedAgreement, work wire.ID, me wire.ID) error {
	w, _ := ag.WorkByName(work)
	if !slices.ContainsFunc(ag.InputsOf(w), func(in agreement.Input) bool { return in.Owner == me }) {
		return nil
	}
	_, view, _, err := a.lookAtBroker(ctx)
	if err != nil {
		return nil //nolint:nilerr // a broker of this party may be elsewhere
	}
	defer view.Close()
	status, err := view.Status(ctx)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	standing := map[string]string{}
	for _, known := range status.Agreements {
		standing[known.Digest] = known.Standing
	}
	digest := ag.Digest().String()
	switch got, known := standing[digest]; {
	case got == "activated":
		return nil
	case known:
		return verdict.Refuse("agreement.activated", "an agreement that your broker has activated", fmt.Sprintf("%s version %d, %s", ag.ID, ag.Version, got),
			"strongroom broker status shows which version is; what was retired stays so: agree on a new version")
	}
	return verdict.Refuse("agreement.activated", "an agreement that your broker has activated", fmt.Sprintf("%s version %d, never activated there", ag.ID, ag.Version), a.self()+" agreement activate "+ag.Digest().String())
}

// plannedHost gives a host's config the check of every agreement, and makes it of those that are
// known at the start.
func (a *app) plannedHost(c *host.Config, vm vmFlags, known []agreement.Agreement) error {
	p, err := a.planned(*c, vm)
	if err != nil {
		return err
	}
	for _, ag := range known {
		if err := p.suits(ag); err != nil {
			e := *verdict.As(err)
			e.Where = fmt.Sprintf("%s version %d", ag.ID, ag.Version)
			return &e
		}
	}
	c.Suits = p.suits
	return nil
}
