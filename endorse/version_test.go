package endorse_test

import (
	"bytes"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"strongroom.dev/endorse"
	"strongroom.dev/lineage"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// version is one of a line, issued so many days after noon.
func version(line string, day int, number int64) lineage.Version {
	d := endorse.Dates{Issued: noon().AddDate(0, 0, day)}
	if number > 0 {
		d.Number = big.NewInt(number)
	}
	return endorse.NewVersion(endorse.IntelTCBInfo, "the TCB information "+line, d, nil, []byte(line))
}

// TestFollows: numbers decide where there are any, else dates; the same is no step back.
func TestFollows(t *testing.T) {
	for name, c := range map[string]struct {
		v, seen lineage.Version
		ok      bool
	}{
		"an older date":                 {version("a", 0, 0), version("a", 1, 0), false},
		"a lower number, issued later":  {version("a", 2, 4), version("a", 1, 5), false},
		"one without a number, earlier": {version("a", 0, 0), version("a", 1, 5), false},
		"the same number, issued later": {version("a", 2, 5), version("a", 1, 5), true},
		"the same":                      {version("a", 1, 5), version("a", 1, 5), true},
		"a higher number, earlier":      {version("a", 0, 6), version("a", 1, 5), true},
		"a later date":                  {version("a", 1, 0), version("a", 0, 0), true},
	} {
		err := c.v.Follows(c.seen)
		if c.ok {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var e *verdict.Error
		if e = verdict.As(err); err == nil || e.Kind != verdict.Refused || e.Check != "endorsements.rollback" || e.Fix == "" {
			t.Errorf("%s: %v", name, err)
		} else if !strings.Contains(e.Expected, c.seen.Issued.String()) || !strings.Contains(e.Got, c.v.Issued.String()) {
			t.Errorf("%s: not both dates in %v", name, err)
		}
	}
}

// TestLines: what is about something else, or by somebody else, is of another line.
func TestLines(t *testing.T) {
	ca, same := newLister(t, x509.KeyUsageCRLSign), newLister(t, x509.KeyUsageCRLSign)
	same.cert.SubjectKeyId = []byte{2} // another key of the same name
	b, named := testBundle(), testBundle()
	named.Name = "intel"
	packer, other := testKey("packer").Public().ID(), testKey("other").Public().ID()
	seen := map[lineage.Line]string{}
	for name, v := range map[string]lineage.Version{
		"a list": endorse.VersionOfCRL(ca.list(0, 1)), "a list by another key": endorse.VersionOfCRL(same.list(0, 1)),
		"a bundle": b.Version(packer), "a named bundle": named.Version(packer), "another's bundle": b.Version(other),
		"TCB information": version("a", 0, 0), "other TCB information": version("b", 0, 0),
		"an identity": endorse.NewVersion(endorse.IntelQEIdentity, "", endorse.Dates{Issued: noon()}, nil, []byte("a")),
	} {
		if twin, twice := seen[v.Of]; twice {
			t.Errorf("%s is of the line of %s", name, twin)
		}
		seen[v.Of] = name
		if strings.Trim(string(v.Of), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("%s: %q can't name a file", name, v.Of)
		}
	}
	newer, older := endorse.VersionOfCRL(ca.list(0, 1, numbered(3))), endorse.VersionOfCRL(ca.list(0, 1, numbered(2)))
	if older.Of != newer.Of || older.Follows(newer) == nil || newer.Follows(older) != nil {
		t.Errorf("%v, %v", older, newer)
	}
	long := endorse.NewVersion(endorse.X509CRL, "", endorse.Dates{Issued: noon(), Number: new(big.Int).Lsh(big.NewInt(1), 160)}, nil)
	if long.Number != "" {
		t.Error("a number of 21 bytes counts")
	}
}

// TestNewerBundle: by when they were made, per signer and name.
func TestNewerBundle(t *testing.T) {
	b, older := testBundle(), testBundle()
	older.Created = moment("2026-11-20T11:59:59Z")
	by := testKey("packer").Public().ID()
	if b.Version(by).Follows(older.Version(by)) != nil || b.Version(by).Follows(b.Version(by)) != nil {
		t.Error("a newer bundle does not follow")
	}
	err := older.Version(by).Follows(b.Version(by))
	if e := verdict.As(err); err == nil || e.Check != "endorsements.rollback" || !strings.Contains(e.Fix, "--name") {
		t.Errorf("an older bundle follows: %v", err)
	}
}

func TestSeen(t *testing.T) {
	all := []lineage.Version{version("a", 0, 0), version("b", 1, 0), version("a", 2, 0), version("a", 1, 0), version("b", 0, 0)}
	newest := lineage.Newest(all)
	want := map[lineage.Line]lineage.Version{all[2].Of: all[2], all[1].Of: all[1]}
	got := map[lineage.Line]lineage.Version{}
	for _, v := range newest {
		got[v.Of] = v
	}
	if len(newest) != 2 || cmp.Diff(want, got, cmpopts.EquateComparable(wire.Time{})) != "" {
		t.Errorf("newest %v", newest)
	}
	seen := lineage.Seen{all[0].Of: version("a", 1, 0)}
	if c := seen.Check(newest); !c.OK || c.ID != "endorsements.rollback" {
		t.Errorf("%+v", c)
	}
	if c := seen.Check(all[:2]); c.OK || c.ID != "endorsements.rollback" || c.Fix == "" || c.Expected == "" || c.Got == "" {
		t.Errorf("%+v", c)
	}
	if begun := lineage.Begun(all, noon().Add(time.Hour)); len(begun) != 2 {
		t.Errorf("begun %v", begun)
	}
}

func TestParseVersion(t *testing.T) {
	v := version("a", 0, 5)
	data, err := v.Encode()
	if err != nil {
		t.Fatal(err)
	}
	v.Digest = wire.Hash{} // is not kept
	if got, err := lineage.Parse(data, v.Of); err != nil || got != v {
		t.Errorf("%+v, %v", got, err)
	}
	for name, change := range map[string]func(string) string{
		"nothing":          func(string) string { return "" },
		"another line":     func(s string) string { return strings.Replace(s, string(v.Of), string(version("b", 0, 5).Of), 1) },
		"no date":          func(s string) string { return strings.Replace(s, v.Issued.String(), "0001-01-01T00:00:00Z", 1) },
		"another number":   func(s string) string { return strings.Replace(s, `"5"`, `"05"`, 1) },
		"a number below 0": func(s string) string { return strings.Replace(s, `"5"`, `"-5"`, 1) },
		"too long a number": func(s string) string {
			return strings.Replace(s, `"5"`, `"`+strings.Repeat("9", 50)+`"`, 1)
		},
		"no number":         func(s string) string { return strings.Replace(s, `"5"`, `"x"`, 1) },
		"too long a name":   func(s string) string { return strings.Replace(s, v.Name, strings.Repeat("n", 300), 1) },
		"an unknown member": func(s string) string { return strings.Replace(s, "{", `{"x":1,`, 1) },
	} {
		if got, err := lineage.Parse([]byte(change(string(data))), v.Of); err == nil || got != (lineage.Version{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzParseVersion(f *testing.F) {
	v := version("a", 0, 5)
	data, err := v.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"issued":"2026-01-10T12:00:00Z","name":"","of":"` + string(v.Of) + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := lineage.Parse(data, v.Of)
		if err != nil {
			return
		}
		again, err := got.Encode()
		if back, err2 := lineage.Parse(again, v.Of); err != nil || err2 != nil || back != got || bytes.Contains(again, []byte("\n")) {
			t.Errorf("%s becomes %s: %v, %v", data, again, err, err2)
		}
	})
}
