package draft

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"strongroom.dev/corim"
	"strongroom.dev/reference"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Together says which reference triples of a CoRIM make up one group. A CoRIM does not say
// whether triples are alternatives or parts, and taking parts for alternatives would accept a
// machine of which one part is good.
type Together string

// The ways to put triples together.
const (
	// EachTriple makes a group of every triple.
	EachTriple Together = "triple"
	// EachTag makes a group of all triples of a CoMID.
	EachTag Together = "tag"
	// Whole makes one group of all triples.
	Whole Together = "file"
)

// Mapping says what the elements of a CoRIM are in our evidence.
type Mapping struct {
	Platform wire.ID
	// Registers gives the register for an element, by its key, its name or the model of its
	// class; one that is not in it is called as it is, if that is a register's name.
	Registers map[string]string
	// Claims gives the claim, by path, that holds an element's security version number.
	Claims map[string]string
	// Algorithm chooses among digests of one content, as in "sha-384"; "" if there is never a
	// choice.
	Algorithm string
	// Together may be "" if there is one triple.
	Together Together
}

// Groups gives the groups that a CoRIM's reference values are. They are a draft: the CoRIM's
// signature is its makers' word, and release keys must give theirs. The error is a
// [verdict.Error] of kind Usage.
func (m Mapping) Groups(c *corim.Manifest) ([]reference.Group, error) {
	if !m.Platform.Valid() {
		return nil, malformed("platform", "the name of a platform", quoted(string(m.Platform)), "name the platform whose evidence the values are compared with")
	}
	var groups []reference.Group
	at := make(map[string]int)
	named := make(map[wire.ID]bool)
	for i, t := range c.Triples {
		key, err := m.joint(c, i)
		if err != nil {
			return nil, err
		}
		n, found := at[key]
		if !found {
			n, at[key] = len(groups), len(groups)
			groups = append(groups, reference.Group{Name: unique(named, cmp.Or(t.Model, t.Tag)), Platform: m.Platform, Measurements: map[string]string{}, Claims: map[string]string{}, Minimum: map[string]int64{}})
		}
		for _, x := range t.Measurements {
			if err := m.add(groups[n], t, x); err != nil {
				return nil, err
			}
		}
	}
	return groups, reference.CheckGroups(groups)
}

// joint gives what all triples of a group have in common.
func (m Mapping) joint(c *corim.Manifest, i int) (string, error) {
	switch {
	case m.Together == EachTriple:
		return strconv.Itoa(i), nil
	case m.Together == EachTag:
		return c.Triples[i].Tag, nil
	case m.Together == Whole, m.Together == "" && len(c.Triples) == 1:
		return "", nil
	case m.Together == "":
		return "", malformed("together", "whether its triples are alternatives (triple), parts of a tag (tag), or parts of one whole (file)", fmt.Sprintf("%d triples, and no word on it", len(c.Triples)),
			"ask its makers: parts that are taken for alternatives accept a machine of which one part is good")
	}
	return "", malformed("together", "triple, tag or file", quoted(string(m.Together)), "")
}

// unique makes a name of what makers call something, with a number behind it if it is taken.
func unique(named map[wire.ID]bool, text string) wire.ID {
	first := NameOf(text)
	name := first
	for n := 2; named[name]; n++ {
		suffix := fmt.Sprintf("-%d", n)
		name = wire.ID(strings.TrimRight(string(first[:min(len(first), 63-len(suffix))]), "-") + suffix)
	}
	named[name] = true
	return name
}

// NameOf makes a name that is good for a group out of any text.
func NameOf(text string) wire.ID {
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(text)), "-")
	for _, try := range []string{name, "image-" + name} {
		if id := wire.ID(strings.TrimRight(try[:min(len(try), 63)], "-")); id.Valid() {
			return id
		}
	}
	return "image"
}

// add puts an element's values into a group. Two values for one register are a contradiction,
// never a choice.
func (m Mapping) add(g reference.Group, t corim.Triple, x corim.Measurement) error {
	what := cmp.Or(x.Key, x.Name, t.Model)
	if len(x.Digests) > 0 {
		value, err := m.digest(what, x.Digests)
		if err != nil {
			return err
		}
		if err := m.register(g, what, value); err != nil {
			return err
		}
	}
	if x.Raw != nil {
		if err := m.register(g, what, hex.EncodeToString(x.Raw)); err != nil {
			return err
		}
	}
	for _, r := range x.Registers {
		value, err := m.digest(r.Key, r.Digests)
		if err != nil {
			return err
		}
		if err := m.register(g, r.Key, value); err != nil {
			return err
		}
	}
	if x.SVN != nil {
		return m.svn(g, what, *x.SVN)
	}
	return nil
}

func (m Mapping) register(g reference.Group, what, value string) error {
	register := cmp.Or(m.Registers[what], what)
	// A number is a register's name by accident only.
	if _, mapped := m.Registers[what]; !mapped && (!reference.IsRegister(what) || strings.Trim(what, "0123456789.") == "") {
		return malformed("registers", "the register that the element "+verdict.Short(what)+" is in evidence of "+string(m.Platform), "none named", fmt.Sprintf("name it, as in %s=measurement", verdict.Short(what)))
	}
	if was, twice := g.Measurements[register]; twice && was != value {
		return malformed("registers", "one value for "+register+" in group "+string(g.Name), "two", "if they are alternatives, each triple is a group of its own; else name another register")
	}
	g.Measurements[register] = value
	return nil
}

func (m Mapping) digest(what string, all []corim.Digest) (string, error) {
	for _, d := range all {
		if d.Algorithm == m.Algorithm || m.Algorithm == "" && len(all) == 1 {
			return hex.EncodeToString(d.Value), nil
		}
	}
	var names []string
	for _, d := range all {
		names = append(names, d.Algorithm)
	}
	if m.Algorithm == "" {
		return "", malformed("algorithm", "the one algorithm that evidence has for "+verdict.Short(what), strings.Join(names, ", "), "name it, as in sha-384")
	}
	return "", malformed("algorithm", "a digest of "+verdict.Short(what)+" by "+m.Algorithm, strings.Join(names, ", "), "name another algorithm")
}

func (m Mapping) svn(g reference.Group, what string, s corim.SVN) error {
	path, mapped := m.Claims[what]
	if !mapped {
		return malformed("claims", "the claim in evidence of "+string(m.Platform)+" that holds the security version of "+verdict.Short(what), "none named", fmt.Sprintf("name it, as in %s=reported_tcb.snp", verdict.Short(what)))
	}
	if s.Value > uint64(wire.MaxInteger) {
		return malformed("claims", "a security version of at most 2^53-1", strconv.FormatUint(s.Value, 10), "")
	}
	_, exactly := g.Claims[path]
	if _, least := g.Minimum[path]; least || exactly {
		return malformed("claims", "one security version for "+path+" in group "+string(g.Name), "two", "name another claim")
	}
	if s.Least {
		g.Minimum[path] = int64(s.Value)
	} else {
		g.Claims[path] = strconv.FormatUint(s.Value, 10)
	}
	return nil
}
