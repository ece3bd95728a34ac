package main

import (
	"maps"
	"slices"
	"strings"

	"strongroom.dev/appraise"
	"strongroom.dev/endorse"
	"strongroom.dev/keys"
	"strongroom.dev/reference/draft"
	"strongroom.dev/verdict"
)

// This file shows what verify works with.

// inspectEndorsements lists a bundle's items instead of its body, which is their bytes.
func (a *app) inspectEndorsements(i *inspection, data []byte) error {
	b, doc, err := endorse.Show(data)
	if err != nil {
		return unjudged(err)
	}
	i.Kind = "a bundle of endorsements"
	i.fact("dates", "%s to %s", b.Created, b.Expires)
	i.fact("items", "%d", len(b.Items))
	now := a.now()
	for _, it := range b.Items {
		s := showItem(it, now)
		over := ""
		if !s.Current {
			over = ", NOT current"
		}
		i.fact("item", "%s %s, %s to %s%s (%s)", s.Kind, or(verdict.Short(s.Subject+unlessEmpty(s.Number, " number ")), "without a name"), or(s.Issued, "undated"), or(s.Until, "open"), over, s.Name)
	}
	a.document(i, doc)
	i.Body = nil
	if now.Before(b.Created.Time()) || !now.Before(b.Expires.Time()) {
		i.notVerified("that it may still be used: its own dates say no")
	}
	i.notVerified("who signed it: strongroom endorsements check --endorsements-key does it; and vendors' signatures inside: verify does it")
	return nil
}

// topLevel reports whether YAML text has a line that starts with this member.
func topLevel(text, member string) bool { return strings.Contains("\n"+text, "\n"+member+":") }

func inspectPolicy(i *inspection, data []byte) error {
	p, err := appraise.Parse(i.File, data)
	if err != nil {
		return unjudged(err)
	}
	i.Kind = "an appraisal policy"
	i.Digest = p.Digest().String()
	i.fact("policy", "%s, version %d: %s", p.ID, p.Version, p.Title)
	i.fact("platforms", "%s", strings.Join(slices.Sorted(maps.Keys(p.Platforms)), ", "))
	i.fact("rules", "%d", len(p.Rules))
	i.fact("tests", "%d", len(p.Tests))
	for _, l := range p.Lines() {
		i.fact("reference", "values of %s, signed by %d of %d release keys", l.Product, l.Threshold, len(l.Keys))
	}
	i.notVerified("what it lets through: strongroom policy explain, lint and test say it; nobody signs a policy")
	return nil
}

func inspectReferenceDraft(i *inspection, data []byte) error {
	d, err := draft.Parse(i.File, data)
	if err != nil {
		return unjudged(err)
	}
	i.Kind = "a draft of reference values, in YAML"
	i.fact("product", "%s, version %d, security version %d", d.Product, d.Version, d.SecurityVersion)
	for _, g := range d.Groups {
		i.fact("group", "%s on %s", g.Name, g.Platform)
	}
	i.notVerified("anything: nobody has signed it")
	return nil
}

func inspectPublicKey(i *inspection, k keys.PublicKey) {
	i.Kind = "a public signing key"
	i.fact("id", "%s", k.ID())
	i.fact("public key", "%s", k)
	i.notVerified("whose it is")
}

// unjudged makes an error one of a wrong call: inspect judges nothing.
func unjudged(err error) error {
	e := *verdict.As(err)
	e.Kind = verdict.Usage
	return &e
}
