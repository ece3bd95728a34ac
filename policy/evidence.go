package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"strongroom.dev/agreement"
	"strongroom.dev/attest"
	"strongroom.dev/verdict"
)

// Accepted gives every check of whether an agreement accepts the machine and the image that
// claims are about: evidence.platform, evidence.class, evidence.root, evidence.image and
// evidence.machine. One entry of the agreement's platforms must accept them all; the checks
// tell about the entry that comes nearest. Zero claims fail every one. Listed is the set that
// lists the image, nil if the agreement pins it itself or does not accept it.
func Accepted(a agreement.Agreement, r References, c attest.Claims) ([]verdict.Check, *Listed) {
	best, listed := judgePlatform(a, r, nil, c)
	for i := range a.Platforms {
		if p := &a.Platforms[i]; p.Kind == c.Platform() {
			if checks, by := judgePlatform(a, r, p, c); passed(checks) > passed(best) {
				best, listed = checks, by
			}
		}
	}
	return best, listed
}

// AcceptedImage is [Accepted] in one check: the first that failed, else that of the image.
func AcceptedImage(a agreement.Agreement, r References, c attest.Claims) (verdict.Check, *Listed) {
	var image verdict.Check
	checks, listed := Accepted(a, r, c)
	for _, check := range checks {
		if !check.OK {
			return check, nil
		}
		if check.ID == "evidence.image" {
			image = check
		}
	}
	return image, listed
}

func passed(checks []verdict.Check) int {
	n := 0
	for _, c := range checks {
		if c.OK {
			n++
		}
	}
	return n
}

// judgePlatform looks at claims through one entry; nil is no entry of that kind.
func judgePlatform(a agreement.Agreement, r References, p *agreement.Platform, c attest.Claims) ([]verdict.Check, *Listed) {
	var j judge
	j.need(c.Proven() && p != nil, "evidence.platform", "a machine of kind "+strings.Join(slices.Compact(kinds(a)), " or "), said(string(c.Platform())), "run it on a machine of a kind the agreement names")
	j.need(c.Proven() && c.Class() == a.Protection, "evidence.class", "protection class "+string(a.Protection), said(string(c.Class())), "use a machine of this class, or sign an agreement for the other")
	j.checkRoot(p, c)
	listed := j.checkImage(p, r, c)
	j.checkMachine(p, c)
	return j.checks, listed
}

// kinds gives the kind of each of an agreement's platforms.
func kinds(a agreement.Agreement) []string {
	all := make([]string, len(a.Platforms))
	for i := range a.Platforms {
		all[i] = string(a.Platforms[i].Kind)
	}
	return all
}

func said(s string) string {
	if s == "" {
		return "nothing proven"
	}
	return s
}

func (j *judge) checkRoot(p *agreement.Platform, c attest.Claims) {
	const id, fix = "evidence.root", "use a machine under the root the agreement pins, or sign an agreement that pins this one"
	switch {
	case p == nil || !c.Proven():
		j.need(false, id, "a root the agreement accepts", "none", fix)
	case p.Root != nil:
		j.need(c.Root() == *p.Root && !c.Root().IsZero(), id, "root "+p.Root.String(), c.Root().String(), fix)
	case c.Class() == agreement.Confidential || c.Class() == agreement.IntegrityOnly:
		j.need(true, id, "the maker's root of this kind of machine", c.Root().String(), "")
	default:
		j.need(false, id, "a root pinned by the agreement, since anyone can make one of class "+string(c.Class()), c.Root().String(), "pin the root in the agreement")
	}
}

// checkImage looks for exactly these measurements among the images of an entry, then in the
// sets of its release lines.
func (j *judge) checkImage(p *agreement.Platform, r References, c attest.Claims) *Listed {
	const id, fix = "evidence.image", "start the very programs the agreement names, or sign an agreement that names these"
	measured := c.Measurements()
	if p == nil || !c.Proven() || len(p.Images)+len(p.Releases) == 0 || len(measured) == 0 {
		j.need(false, id, "a room image of the agreement", "none", fix)
		return nil
	}
	nearest, fewest := "", -1
	for _, image := range p.Images {
		if len(image.Measurements) > 0 && maps.Equal(image.Measurements, measured) {
			j.need(true, id, "a room image of the agreement", string(image.Name), "")
			return nil
		}
		if text, n := differences(image, measured); fewest < 0 || n < fewest {
			nearest, fewest = text, n
		}
	}
	if len(p.Releases) == 0 {
		j.need(false, id, "a room image of the agreement, every measurement equal", nearest, fix)
		return nil
	}
	listed, why := r.listedBy(p, measured)
	if listed == nil {
		if nearest != "" {
			why = nearest + "; " + why
		}
		j.need(false, id, "a room image that the agreement pins or that the newest set of one of its release lines lists, every measurement equal", why, staleFix)
		return nil
	}
	j.need(true, id, "a room image that a release line of the agreement lists", fmt.Sprintf("%s, in version %d of %s (set %s)", listed.Group, listed.Version, listed.Product, listed.Digest.Short()), "")
	return listed
}

// differences tells how measurements differ from an image's, and in how many places.
func differences(image agreement.Image, measured map[string]string) (string, int) {
	names := slices.Sorted(maps.Keys(image.Measurements))
	for name := range measured {
		if _, wanted := image.Measurements[name]; !wanted {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var parts []string
	for _, name := range names {
		want, wanted := image.Measurements[name]
		got, found := measured[name]
		switch {
		case wanted && !found:
			parts = append(parts, name+" was not measured")
		case found && !wanted:
			parts = append(parts, name+" "+cut(got)+" is not in the image")
		case got != want:
			parts = append(parts, name+" is "+cut(got)+" instead of "+cut(want))
		}
	}
	return fmt.Sprintf("against image %s: %s", image.Name, strings.Join(parts, ", ")), len(parts)
}

func cut(hexText string) string { return hexText[:min(12, len(hexText))] }

func (j *judge) checkMachine(p *agreement.Platform, c attest.Claims) {
	const id, fix = "evidence.machine", "use a machine that the agreement lists"
	switch {
	case p == nil || !c.Proven():
		j.need(false, id, "a machine the agreement accepts", "none", fix)
	case len(p.Machines) == 0:
		j.need(true, id, "any genuine machine of the kind", "one", "")
	default:
		j.need(c.Machine() != "" && slices.Contains(p.Machines, c.Machine()), id, fmt.Sprintf("one of %d machines listed", len(p.Machines)), said(c.Machine()), fix)
	}
}

// checkEvidence holds the claims against the agreement, against this very request, and
// against the owner's own floor.
func (d *decision) checkEvidence() {
	accepted, listed := Accepted(d.Agreement.Agreement, References{Now: d.Now, Newest: d.Books.References}, d.Claims)
	d.listed = listed
	if !d.Claims.Proven() {
		d.checkNoClaims()
	} else {
		d.need(true, "evidence.genuine", "genuine evidence", fmt.Sprintf("of platform %s (%s)", d.Claims.Platform(), d.Claims.Class()), "")
	}
	b := d.Claims.Binding()
	want := attest.Binding{Purpose: attest.ForRelease, Nonce: d.Challenge.Nonce, Signing: d.Room.Signing, HPKE: d.Room.HPKE, Agreement: d.Agreement.Digest(), Run: d.Run.Digest()}
	got := "the same"
	if b != want {
		got = "evidence made for " + bindingDifference(b, want)
	}
	d.needKind(verdict.Invalid, d.Claims.Proven() && b == want, "evidence.binding", "evidence made for this release, challenge, room, agreement and run", got, "take fresh evidence for this very request")
	d.add(verdict.Refused, accepted...)
	d.checkFloor()
}

// checkNoClaims reports why the evidence proved nothing, under the verifier's own check
// where it names one.
func (d *decision) checkNoClaims() {
	err, id := d.EvidenceError, "evidence.genuine"
	if err == nil {
		err = verdict.NotGenuine(id, "evidence that proves where the room runs", "none", "send the evidence")
	}
	// Platforms name their checks after themselves or the hardware below, where not after evidence
	// or endorsements as such.
	for _, prefix := range append(kinds(d.Agreement.Agreement), "evidence", "endorsements", "snp", "tdx") {
		if own := verdict.As(err).Check; strings.HasPrefix(own, prefix+".") {
			id = own
		}
	}
	if own := *verdict.As(err); own.Check == "tpm.root" {
		own.Kind, err = verdict.Refused, &own // nothing in it is false: agreements choose whose TPMs count, as evidence.root says of other kinds
	}
	d.needNil(err, id, "genuine evidence", "", "start the room again and take fresh evidence")
}

func bindingDifference(got, want attest.Binding) string {
	switch {
	case got == attest.Binding{}:
		return "nothing"
	case got.Purpose != want.Purpose:
		return "the purpose " + string(got.Purpose)
	case got.Nonce != want.Nonce:
		return "another challenge"
	case got.Signing != want.Signing || got.HPKE != want.HPKE:
		return "other room keys"
	case got.Agreement != want.Agreement:
		return "another agreement"
	}
	return "another run"
}
