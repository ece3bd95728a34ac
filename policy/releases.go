package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"strongroom.dev/agreement"
	"strongroom.dev/keys"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// References are the sets of reference values by which whoever decides holds a room's image
// against an agreement's release lines (R5). The zero References have none, and accept no
// image but those that the agreement pins.
type References struct {
	// Now is when the sets must be within their dates.
	Now time.Time
	// Newest is the newest set known of each release line, by [LineDigest]. Nothing older is ever
	// looked at.
	Newest map[wire.Digest]Newest
}

// Newest is the newest set that is known of a release line.
type Newest struct {
	// Set was accepted by that very line; nil if there is none.
	Set *reference.Candidate
	// Why says why there is none.
	Why string
}

// Listed says by which set of reference values an image was accepted.
type Listed struct {
	// Line is the LineDigest of the agreement's release line.
	Line wire.Digest `json:"line"`
	reference.Name
	// Group is the group of the set that was measured.
	Group wire.ID `json:"group"`
}

// LineDigest names a release line, all of it: two that differ in anything are two.
func LineDigest(l agreement.ReleaseLine) wire.Digest {
	fields := [][]byte{[]byte(l.Product), []byte(l.LogKey), strconv.AppendInt(nil, l.MinimumVersion, 10), strconv.AppendInt(nil, l.Threshold, 10)}
	for _, key := range l.Keys {
		fields = append(fields, []byte(key))
	}
	return wire.SHA384("strongroom/release-line/v1", fields...)
}

// LineOf gives the line by which reference values are verified. The error is a
// [verdict.Error] of kind Usage.
func LineOf(l agreement.ReleaseLine) (reference.Line, error) {
	line := reference.Line{Product: l.Product, LeastSecurityVersion: l.MinimumVersion, Log: l.LogKey}
	// A threshold that does not fit is above the number of keys in any case.
	line.Threshold = int(min(max(l.Threshold, 0), reference.MaxKeys+1))
	if len(l.Keys) <= reference.MaxKeys {
		for _, text := range l.Keys {
			key, err := keys.ParsePublicKey(text)
			if err != nil {
				return line, verdict.Misuse("reference.line", "public keys", verdict.Short(err.Error()), "name the release keys in the agreement as keygen prints them")
			}
			line.Keys = append(line.Keys, key)
		}
	}
	return line, line.Check()
}

// find looks for a room's measurements in the newest set of a release line: exactly these, in
// one group. Its second answer says why they are not there.
func (r References) find(l agreement.ReleaseLine, platform wire.ID, measured map[string]string) (Listed, string) {
	line := LineDigest(l)
	newest := r.Newest[line]
	c := newest.Set
	if c == nil && newest.Why != "" {
		return Listed{}, newest.Why
	}
	if c == nil {
		return Listed{}, "no set of its reference values is known here"
	}
	listed := Listed{Line: line, Name: c.Name()}
	set, err := c.At(reference.Name{}, r.Now)
	if err != nil {
		e := verdict.As(err)
		return Listed{}, fmt.Sprintf("version %d of it is no longer good: %s: expected %s, got %s", listed.Version, e.Check, e.Expected, e.Got)
	}
	// Exactly: a register that a group leaves out is one in which anything would pass.
	found := reference.Found{Platform: platform, Measurements: measured}
	for name := range measured {
		found.Registers = append(found.Registers, name)
	}
	slices.Sort(found.Registers)
	m := set.Match(found)
	if !m.OK || len(measured) == 0 {
		return Listed{}, fmt.Sprintf("version %d of it, the newest known here, does not list this image: %s", listed.Version, unlike(m))
	}
	listed.Group = m.Group
	return listed, ""
}

// maxUnlike is the most differences that are told: more, and it is another image altogether.
const maxUnlike = 8

// unlike tells of the group that comes nearest, and what is not as it says.
func unlike(m reference.Match) string {
	if m.Group == "" {
		return "it has no group for this kind of machine"
	}
	var parts []string
	before := ""
	for _, d := range m.Differences { // sorted; a register that an exact group does not name is there twice
		if d.What == before {
			continue
		}
		if before = d.What; len(parts) == maxUnlike {
			parts = append(parts, "and more")
			break
		}
		parts = append(parts, fmt.Sprintf("%s is %s instead of %s", verdict.Short(d.What), digits(d.Got), digits(d.Expected)))
	}
	return fmt.Sprintf("against group %s: %s", m.Group, strings.Join(parts, ", "))
}

// digits cuts a measurement, and leaves words alone.
func digits(s string) string {
	if strings.Trim(s, "0123456789abcdef") == "" {
		return cut(s)
	}
	return s
}

// Lists is nil if the newest set of the release line that accepted a room still lists it, else
// the refusal: a room stops when its makers withdraw its image, or let a set end. The zero
// Listed was accepted by no set, and needs none.
func (r References) Lists(by Listed, a agreement.Agreement, w Where) error {
	if by.Line.IsZero() {
		return nil
	}
	for _, p := range a.Platforms {
		for _, l := range p.Releases {
			if LineDigest(l) != by.Line {
				continue
			}
			_, why := r.find(l, w.Platform, w.Measurements)
			if why == "" {
				return nil
			}
			return verdict.Refuse("evidence.image", "a room image that the newest set of release line "+string(l.Product)+" lists", why, staleFix)
		}
	}
	return verdict.Refuse("evidence.image", "a room image of one of the agreement's release lines", "one that set "+by.Digest.Short()+" listed, of none of them", "start another room")
}

const staleFix = "start an image that the newest set lists; or the owner's officers add a newer set: strongroom broker reference add"

// listedBy looks for the image in the sets of a platform's release lines. What it finds of
// each that does not list it is told.
func (r References) listedBy(p *agreement.Platform, measured map[string]string) (*Listed, string) {
	var parts []string
	for _, l := range p.Releases {
		listed, why := r.find(l, p.Kind, measured)
		if why == "" {
			return &listed, ""
		}
		parts = append(parts, fmt.Sprintf("release line %s: %s", l.Product, why))
	}
	return nil, strings.Join(parts, "; ")
}
