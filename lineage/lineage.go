// Package lineage keeps what is signed anew from time to time from going back: revocation
// lists, TCB information, statuses, bundles. A line names one such thing, a version one
// signing of it, and of two versions of a line the newer one counts (spec/endorsements.md,
// section 5).
//
// It compares and remembers; who makes a version has checked its signature. It links no
// parser of certificates, so that whoever only passes versions on need not either.
package lineage

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// Line names what is signed anew from time to time, of which only the newest version counts: one
// issuer's revocation list, the TCB information of one kind of platform, the status of one
// certificate, one signer's bundle. It is a kind, a dash and 32 hex digits, and so can name a file.
type Line string

// Version is one version of what a line names. Whoever makes one has checked its signature: what is
// remembered of it keeps older ones out, so that a forged one would lock genuine ones out.
type Version struct {
	Of Line `json:"of"`
	// Name says what it is, for people.
	Name   string    `json:"name"`
	Issued wire.Time `json:"issued"`
	// Number is a decimal that rises with every newer version; "" if there is none.
	Number string `json:"number,omitempty"`
	// Digest is the SHA-256 of the very bytes, for whoever asks where it came from. It is not kept.
	Digest wire.Hash `json:"-"`
}

// New makes the version that data is. Fields name the line within its kind. A number of more
// than 20 bytes is none (RFC 5280, section 5.2.3).
func New(kind, name string, issued time.Time, number *big.Int, data []byte, fields ...[]byte) Version {
	v := Version{Of: line(kind, fields...), Name: verdict.Short(name), Issued: wire.At(issued), Digest: wire.HashOf(data)}
	if number != nil && number.Sign() >= 0 && number.BitLen() <= maxNumber {
		v.Number = number.String()
	}
	return v
}

func line(kind string, fields ...[]byte) Line {
	id := wire.SHA256("strongroom/endorsement-line/v1/"+kind, fields...)
	return Line(kind + "-" + hex.EncodeToString(id[:16]))
}

// Follows checks that a version may be used where another of its line was used before: endorsements
// never go back in time.
func (v Version) Follows(seen Version) error {
	if !v.behind(seen) {
		return nil
	}
	fix := "give the newest one: strongroom endorsements fetch gets it"
	if strings.HasPrefix(string(v.Of), Bundle+"-") {
		fix = "give the newest bundle; who packs several side by side names each (endorsements pack --name)"
	}
	return verdict.Refuse(rollback, seen.String()+", or a later one", "one "+v.when(), fix)
}

// Bundle is the kind in the lines of bundles, which no vendor's document has.
const Bundle = "bundle"

// rollback is the id of the check that endorsements never go back.
const rollback = "endorsements.rollback"

func (v Version) behind(other Version) bool {
	return Behind(v.Issued.Time(), v.number(), other.Issued.Time(), other.number())
}

func (v Version) number() *big.Int {
	n, _ := new(big.Int).SetString(v.Number, 10)
	return n
}

// Behind reports whether something issued at a time, with a number, is an older version than
// another. Vendors' numbers decide where both have one, else the time of issue.
func Behind(issued time.Time, number *big.Int, otherIssued time.Time, otherNumber *big.Int) bool {
	if number != nil && otherNumber != nil && number.Cmp(otherNumber) != 0 {
		return number.Cmp(otherNumber) < 0
	}
	return issued.Before(otherIssued)
}

// String says what and of when it is.
func (v Version) String() string { return v.Name + " " + v.when() }

func (v Version) when() string {
	if v.Number == "" {
		return "of " + v.Issued.String()
	}
	return "of " + v.Issued.String() + " with number " + v.Number
}

// Encode gives the version as it is kept, canonical JSON.
func (v Version) Encode() ([]byte, error) { return wire.Marshal(v) }

// Parse reads a version that was kept for a line.
func Parse(data []byte, of Line) (Version, error) {
	var v Version
	canonical, err := wire.Canonical(data)
	if err == nil {
		err = wire.UnmarshalCanonical(canonical, &v)
	}
	n, isNumber := new(big.Int).SetString(v.Number, 10)
	switch {
	case err != nil:
	case v.Of != of:
		err = fmt.Errorf("a version of %.80q", string(v.Of))
	case len(v.Name) > maxName || v.Issued.IsZero():
		err = fmt.Errorf("a version without a date, or with a name of %d bytes", len(v.Name))
	case v.Number != "" && (!isNumber || n.String() != v.Number || n.Sign() < 0 || n.BitLen() > maxNumber):
		err = fmt.Errorf("number %.80q", v.Number)
	}
	if err != nil {
		return Version{}, err
	}
	return v, nil
}

// Seen is what is remembered: the newest version of each line that was used. A nil Seen is no
// memory at all, other than an empty one, which has nothing in it yet.
type Seen map[Line]Version

// Check says whether the versions may be used after those: one check that covers them all, and
// fails with the first that goes back.
func (s Seen) Check(used []Version) verdict.Check {
	for _, v := range used {
		seen, found := s[v.Of]
		if !found {
			continue
		}
		if err := v.Follows(seen); err != nil {
			e := verdict.As(err)
			return verdict.Check{ID: e.Check, Expected: e.Expected, Got: e.Got, Fix: e.Fix}
		}
	}
	return verdict.Check{ID: rollback, OK: true, Expected: "no endorsement older than one that was used before", Got: fmt.Sprintf("none of %d", len(used))}
}

// Newest gives the newest of each line, by line.
func Newest(versions []Version) []Version {
	newest := Seen{}
	for _, v := range versions {
		if other, found := newest[v.Of]; !found || other.behind(v) {
			newest[v.Of] = v
		}
	}
	return slices.SortedFunc(maps.Values(newest), func(a, b Version) int { return cmp.Compare(a.Of, b.Of) })
}

// Begun gives the versions that were issued by a time.
func Begun(versions []Version, now time.Time) []Version {
	return slices.DeleteFunc(slices.Clone(versions), func(v Version) bool { return now.Before(v.Issued.Time()) })
}
