package reference

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"strongroom.dev/keys"
	"strongroom.dev/ledger"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Line is a release line: whose values of which product are good enough (R5). It is the
// relying party's own, and nothing in it is ever taken from a set. The zero Line accepts
// nothing.
type Line struct {
	Product wire.ID
	// Keys are the release keys, of which Threshold must have signed.
	Keys      []keys.PublicKey
	Threshold int
	// LeastSecurityVersion refuses sets of a lower one.
	LeastSecurityVersion int64
	// Log is the verifier key of the log that must have recorded the set.
	Log string
	// InsecureUnlogged does without a log: release keys that leak, or are forced, can then sign
	// a set for one victim that nobody else ever sees.
	InsecureUnlogged bool
}

// Check refuses a line that means nothing. The error is a [verdict.Error] of kind Usage.
func (l Line) Check() error {
	distinct := make(map[keys.KeyID]bool, len(l.Keys))
	for _, k := range l.Keys {
		distinct[k.ID()] = !k.IsZero()
	}
	bad := func(where, expected, got, fix string) error {
		return &verdict.Error{Kind: verdict.Usage, Check: "reference.line", Where: where, Expected: expected, Got: got, Fix: fix}
	}
	switch {
	case !l.Product.Valid():
		return bad("product", "the name of a product", quoted(string(l.Product)), "name the product whose reference values count")
	case len(l.Keys) == 0 || len(l.Keys) > MaxKeys || len(distinct) != len(l.Keys) || slices.Contains(slices.Collect(maps.Values(distinct)), false):
		return bad("keys", fmt.Sprintf("1 to %d release keys, each once", MaxKeys), fmt.Sprint(len(l.Keys)), "name the keys that may sign reference values")
	case l.Threshold < 1 || l.Threshold > len(l.Keys):
		return bad("threshold", fmt.Sprintf("how many of the %d keys must sign", len(l.Keys)), fmt.Sprint(l.Threshold), "2 or more keep one stolen key from being enough")
	case l.LeastSecurityVersion < 1:
		return bad("least_security_version", "a security version from 1", fmt.Sprint(l.LeastSecurityVersion), "1 accepts all")
	case l.Log == "" && !l.InsecureUnlogged:
		return bad("log", "the key of the log that records the sets", "none", "name it; insecure_unlogged does without")
	case l.Log != "" && l.InsecureUnlogged:
		return bad("insecure_unlogged", "a log, or none", "both", "remove one of the two")
	}
	if l.Log != "" {
		if _, err := ledger.OriginOf(l.Log); err != nil {
			return bad("log", "the verifier key NAME+HASH+KEY of a log", verdict.Short(l.Log), "copy it as its owner prints it")
		}
	}
	return nil
}

// Name says which set it is.
type Name struct {
	Product         wire.ID     `json:"product"`
	Version         int64       `json:"version"`
	SecurityVersion int64       `json:"security_version"`
	Digest          wire.Digest `json:"digest"`
}

// Follows checks that a set may come after the one known before it, the zero Name if none:
// no lower version, no other set of the same version, no lower security version. The error is
// a [verdict.Error] of kind Refused.
func (n Name) Follows(known Name) error {
	const fix = "use the newest set; if its makers went back on purpose, they must sign the old values again as a new version"
	switch {
	case known.Version == 0:
		return nil
	case n.Product != known.Product:
		return verdict.Refuse("reference.rollback", "the same product, "+string(known.Product), string(n.Product), "a defect: report it")
	case n.Version < known.Version || n.SecurityVersion < known.SecurityVersion:
		return verdict.Refuse("reference.rollback", fmt.Sprintf("%s of version %d or later with security version %d or later, as used before", known.Product, known.Version, known.SecurityVersion),
			fmt.Sprintf("version %d with security version %d", n.Version, n.SecurityVersion), fix)
	case n.Version == known.Version && n.Digest != known.Digest:
		return verdict.Refuse("reference.rollback", fmt.Sprintf("the set %s, used before as version %d", known.Digest.Short(), known.Version), "another set of that version, "+n.Digest.Short(),
			"its makers signed two: keep both files, and ask them which one is good")
	}
	return nil
}

// Set is reference values that were verified. Only [Verify] and [Candidate.At] make one.
type Set struct {
	values Values
	name   Name
	// checks are those that were made, all passed.
	checks   []verdict.Check
	warnings []string
}

// Name says which set it is.
func (s *Set) Name() Name { return s.name }

// Expires gives the time from which on the set is not to be used.
func (s *Set) Expires() wire.Time { return s.values.Expires }

// Checks gives the checks that were made, and the ids of those that passed with a reservation.
func (s *Set) Checks() ([]verdict.Check, []string) {
	return slices.Clone(s.checks), slices.Clone(s.warnings)
}

// Groups gives the groups of a platform.
func (s *Set) Groups(platform wire.ID) []Group {
	var groups []Group
	for _, g := range s.values.Groups {
		if g.Platform == platform {
			groups = append(groups, g)
		}
	}
	return groups
}

// Verify reads a set and checks that it is good by the release line, at now, and no step back
// from what was known of the product (the zero Name if nothing was). The error is a
// [verdict.Error] with all checks that were made: Usage if the line means nothing, Invalid for
// what is no set or is not signed so, Refused for what is outdated.
func Verify(data []byte, line Line, known Name, now time.Time) (*Set, error) {
	c, err := Accept(data, line)
	if err != nil {
		return nil, err
	}
	return c.At(known, now)
}

// Candidate is a set that is good by a release line, whenever it is used and whatever came
// before: signed, logged, not below the floor. It answers no question; [Candidate.At] makes
// the Set that does. It never changes, and many may use it at once.
type Candidate struct{ set Set }

// Name says which set it is.
func (c *Candidate) Name() Name { return c.set.name }

// Accept makes those checks of [Verify] that always come out the same, for whoever uses a set
// many times. Errors are as with Verify.
func Accept(data []byte, line Line) (*Candidate, error) {
	if err := line.Check(); err != nil {
		return nil, err
	}
	p, err := Parse(data)
	if err != nil {
		e := verdict.As(err)
		e.Checks = []verdict.Check{{ID: e.Check, Expected: e.Expected, Got: e.Got, Fix: e.Fix}}
		return nil, e
	}
	c := &Candidate{Set{values: p.Values, name: p.Name()}}
	if line.InsecureUnlogged {
		c.set.warnings = []string{"reference.log"}
	}
	err = c.set.make(
		func() (verdict.Check, error) { return line.product(p.Values) },
		func() (verdict.Check, error) { return line.signatures(p.Document) },
		func() (verdict.Check, error) { return line.log(p) },
		func() (verdict.Check, error) { return line.floor(p.Values) },
	)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// At makes the checks that depend on when: dates, and no step back from what was known.
func (c *Candidate) At(known Name, now time.Time) (*Set, error) {
	s := c.set
	s.checks = slices.Clone(s.checks)
	err := s.make(
		func() (verdict.Check, error) { return dates(s.values, now) },
		func() (verdict.Check, error) { return s.name.rollback(known) },
	)
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// make makes checks until one fails; then the error has all of them.
func (s *Set) make(checks ...func() (verdict.Check, error)) error {
	for _, check := range checks {
		c, err := check()
		if err != nil {
			e := *verdict.As(err)
			// A receipt's own checks keep their names for people, under one id for programs.
			if e.Check != c.ID {
				e.Got, e.Check = e.Check+": "+e.Got, c.ID
			}
			e.Checks = append(s.checks, verdict.Check{ID: c.ID, Expected: e.Expected, Got: e.Got, Fix: e.Fix})
			return &e
		}
		c.OK = true
		s.checks = append(s.checks, c)
	}
	return nil
}

func (l Line) product(v Values) (verdict.Check, error) {
	c := verdict.Check{ID: "reference.product", Expected: "reference values of " + string(l.Product), Got: fmt.Sprintf("version %d of %s", v.Version, v.Product)}
	if v.Product != l.Product {
		return c, verdict.Refuse(c.ID, c.Expected, c.Got, "give the sets of the product that is asked for")
	}
	return c, nil
}

func (l Line) signatures(doc *keys.Document) (verdict.Check, error) {
	c := verdict.Check{ID: "reference.signatures", Expected: fmt.Sprintf("signatures by %d of %d release keys", l.Threshold, len(l.Keys))}
	n, err := doc.SignedBy(l.Keys)
	if err != nil {
		return c, verdict.NotGenuine(c.ID, c.Expected, verdict.Short(err.Error()), "the set was changed after it was signed: get it anew from its makers")
	}
	if c.Got = fmt.Sprintf("%d of them", n); n < l.Threshold {
		return c, verdict.NotGenuine(c.ID, c.Expected, c.Got, "have it signed by enough release keys, or ask its makers whether these are theirs")
	}
	return c, nil
}

func (l Line) log(p *Published) (verdict.Check, error) {
	c := verdict.Check{ID: "reference.log", Expected: "proof that a log has recorded the set"}
	if l.InsecureUnlogged {
		c.Got = "not asked for (insecure_unlogged): this set may have been made for you alone"
		return c, nil
	}
	origin, err := ledger.OriginOf(l.Log)
	if err != nil {
		return c, err // Check has looked
	}
	c.Expected = "proof that " + origin + " has recorded the set"
	if p.Receipt == nil {
		return c, verdict.NotGenuine(c.ID, c.Expected, "none", "strongroom reference publish records a set and adds the proof")
	}
	entry, checkpoint, err := p.Receipt.Verify(l.Log, nil, 0)
	if err != nil {
		return c, err
	}
	if r, ok := ReadEntry(entry); !ok || r != p.recorded() {
		return c, verdict.NotGenuine(c.ID, c.Expected, "proof of something else", "get the set anew, with its own proof")
	}
	c.Got = fmt.Sprintf("entry %d of %d, of %s", p.Receipt.Index, checkpoint.Size, wire.At(time.UnixMilli(entry.TimeMS)))
	return c, nil
}

func dates(v Values, now time.Time) (verdict.Check, error) {
	c := verdict.Check{ID: "reference.dates", Expected: fmt.Sprintf("a time from %s to %s", v.Created, v.Expires), Got: wire.At(now).String()}
	if now.Before(v.Created.Time()) {
		return c, verdict.Refuse(c.ID, c.Expected, c.Got, "look at the clock of this machine, and at its makers'")
	}
	if !now.Before(v.Expires.Time()) {
		return c, verdict.Refuse(c.ID, c.Expected, fmt.Sprintf("%s, %d days late", c.Got, now.Sub(v.Expires.Time())/(24*time.Hour)), "get the product's next set from its makers")
	}
	return c, nil
}

func (l Line) floor(v Values) (verdict.Check, error) {
	c := verdict.Check{ID: "reference.floor", Expected: fmt.Sprintf("security version %d or later", l.LeastSecurityVersion), Got: fmt.Sprint(v.SecurityVersion)}
	if v.SecurityVersion < l.LeastSecurityVersion {
		return c, verdict.Refuse(c.ID, c.Expected, fmt.Sprintf("%d, which is %d behind", v.SecurityVersion, l.LeastSecurityVersion-v.SecurityVersion), "use a later release, or lower the floor knowingly")
	}
	return c, nil
}

func (n Name) rollback(known Name) (verdict.Check, error) {
	c := verdict.Check{ID: "reference.rollback", Expected: "no step back from what was used before", Got: fmt.Sprintf("version %d, the first one seen here", n.Version)}
	if known.Version > 0 {
		c.Got = fmt.Sprintf("version %d, after version %d", n.Version, known.Version)
	}
	return c, n.Follows(known)
}
