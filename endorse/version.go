package endorse

import (
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"strongroom.dev/keys"
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

// NewVersion makes the version that data is, with the dates in it. Fields name the line within its
// kind. A number of more than 20 bytes is none (RFC 5280, section 5.2.3).
func NewVersion(kind Kind, name string, d Dates, data []byte, fields ...[]byte) Version {
	v := Version{Of: line(kind, fields...), Name: verdict.Short(name), Issued: wire.At(d.Issued), Digest: wire.HashOf(data)}
	if d.Number != nil && d.Number.Sign() >= 0 && d.Number.BitLen() <= maxNumber {
		v.Number = d.Number.String()
	}
	return v
}

func line(kind Kind, fields ...[]byte) Line {
	id := wire.SHA256("strongroom/endorsement-line/v1/"+string(kind), fields...)
	return Line(string(kind) + "-" + hex.EncodeToString(id[:16]))
}

// VersionOfCRL gives the version that a revocation list is. Its line is the issuer's name and key.
func VersionOfCRL(l *x509.RevocationList) Version {
	return NewVersion(X509CRL, "the CRL of "+cmp.Or(l.Issuer.CommonName, l.Issuer.String()), Dates{Issued: l.ThisUpdate, Number: l.Number}, l.Raw, l.RawIssuer, l.AuthorityKeyId)
}

// kindBundle is the kind in the lines of bundles; no item has it.
const kindBundle Kind = "bundle"

// Version gives the version that the bundle is of its signer's: the one whose signature was checked.
// Signers that keep several bundles side by side name each.
func (b Bundle) Version(signer keys.KeyID) Version {
	name := "the bundle of key " + signer.Short()
	if b.Name != "" {
		name = "the bundle " + string(b.Name) + " of key " + signer.Short()
	}
	return NewVersion(kindBundle, name, Dates{Issued: b.Created.Time()}, nil, []byte(signer.String()), []byte(b.Name))
}

// Follows checks that a version may be used where another of its line was used before: endorsements
// never go back in time.
func (v Version) Follows(seen Version) error {
	if !v.dates().Behind(seen.dates()) {
		return nil
	}
	fix := "give the newest one: strongroom endorsements fetch gets it"
	if strings.HasPrefix(string(v.Of), string(kindBundle)+"-") {
		fix = "give the newest bundle; who packs several side by side names each (endorsements pack --name)"
	}
	return verdict.Refuse(rollback, seen.String()+", or a later one", "one "+v.when(), fix)
}

// rollback is the id of the check that endorsements never go back.
const rollback = "endorsements.rollback"

func (v Version) dates() Dates {
	d := Dates{Issued: v.Issued.Time()}
	if n, ok := new(big.Int).SetString(v.Number, 10); ok {
		d.Number = n
	}
	return d
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

// ParseVersion reads a version that was kept for a line.
func ParseVersion(data []byte, of Line) (Version, error) {
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
	case len(v.Name) > MaxName || v.Issued.IsZero():
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
		if other, found := newest[v.Of]; !found || other.dates().Behind(v.dates()) {
			newest[v.Of] = v
		}
	}
	return slices.SortedFunc(maps.Values(newest), func(a, b Version) int { return cmp.Compare(a.Of, b.Of) })
}

// Begun gives the versions that were issued by a time.
func Begun(versions []Version, now time.Time) []Version {
	return slices.DeleteFunc(slices.Clone(versions), func(v Version) bool { return now.Before(v.Issued.Time()) })
}
