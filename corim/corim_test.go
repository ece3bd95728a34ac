package corim_test

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"strongroom.dev/corim"
	"strongroom.dev/internal/cbortest"
	"strongroom.dev/verdict"
)

func describe(m *corim.Manifest) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s by %s, profile %s, until %s, left out %v\n", m.ID, m.Signer, m.Profile, m.Until.Format(time.DateOnly), m.LeftOut)
	hashes := func(all []corim.Digest) string {
		var s []string
		for _, d := range all {
			s = append(s, d.Algorithm+":"+hex.EncodeToString(d.Value[:2]))
		}
		return strings.Join(s, " ")
	}
	for _, t := range m.Triples {
		fmt.Fprintf(&b, "%s/%s/%s\n", t.Tag, t.Class, t.Model)
		for _, x := range t.Measurements {
			fmt.Fprintf(&b, "  %q %q %q [%s] %x", x.Key, x.Name, x.Version, hashes(x.Digests), x.Raw)
			if x.SVN != nil {
				fmt.Fprintf(&b, " svn %v", *x.SVN)
			}
			for _, r := range x.Registers {
				fmt.Fprintf(&b, " %s=[%s]", r.Key, hashes(r.Digests))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

const described = `example-1 by Example Makers, profile tag:example.com,2026:room, until 2026-12-24, left out [software tags (CoSWID)]
room-image/vendor Example model four/four
  "measurement" "launch" "1.2" [sha-384:aaaa sha-256:abab] 
  "7" "" "" []  svn {3 true}
  "1.2.3" "" "" [] 0102 svn {9 false}
room-image/id 11111111-1111-1111-1111-111111111111 layer 1/
  "" "" "" []  0=[sha-384:bbbb] rtmr1=[sha-384:bcbc]
  "svn" "" "" []  svn {4 false}
  "masked" "" "" [] 05
`

func TestOpen(t *testing.T) {
	m := newMaker()
	chain := func(c *x509.Certificate) []byte { return c.Raw }
	for name, c := range map[string]struct {
		data  []byte
		trust corim.Trust
	}{
		"key":                {m.sign(header(), pairs{}, good()), m.trust()},
		"tagged twice more":  {append([]byte{0xd9, 1, 0xf4, 0xd9, 1, 0xf6}, m.sign(header(), pairs{}, good())...), m.trust()},
		"chain":              {m.sign(header(33, chain(m.leaf)), pairs{}, good()), m.roots()},
		"chain with root":    {m.sign(header(33, list{m.leaf.Raw, m.root.Raw}), pairs{}, good()), m.roots()},
		"unprotected chain":  {m.sign(header(), pairs{33, m.leaf.Raw}, good()), m.roots()},
		"older content type": {m.sign(pairs{1, -7, 3, "application/corim-unsigned+cbor", 8, meta(now.AddDate(0, 2, 0))}, pairs{}, good()), m.trust()},
		"CWT claims":         {m.sign(pairs{1, -7, 3, "application/rim+cbor", 15, pairs{1, "Example Makers", 4, int(now.Unix()) + 9999999}}, pairs{}, good()), m.trust()},
	} {
		got, err := corim.Open(c.data, c.trust, now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := describe(got); d != described {
			t.Errorf("%s: got\n%s\nexpected\n%s", name, d, described)
		}
	}
	soon := must(corim.Open(m.sign(pairs{1, -7, 3, "application/rim+cbor", 8, meta(now.AddDate(0, 0, 3))}, pairs{}, good()), m.trust(), now))
	if !soon.Until.Equal(now.AddDate(0, 0, 3)) {
		t.Error(soon.Until)
	}
}

// refusals are all judged with the maker's key and root trusted.
func refusals(m, other maker) map[string]struct {
	data  []byte
	trust corim.Trust
	check string
	kind  verdict.Kind
} {
	type refusal = struct {
		data  []byte
		trust corim.Trust
		check string
		kind  verdict.Kind
	}
	all := map[string]refusal{}
	add := func(name, check string, data []byte, trust corim.Trust) {
		kind := verdict.Invalid
		if check == "corim.dates" || check == "corim.unsupported" {
			kind = verdict.Refused
		}
		all[name] = refusal{data, trust, check, kind}
	}
	signed := m.sign(header(), pairs{}, good())
	add("nobody trusted", "corim.signature", signed, corim.Trust{})
	add("another's key", "corim.signature", signed, other.trust())
	add("unsigned", "corim.signature", good(), m.trust())
	add("unsigned, tagged", "corim.signature", append([]byte{0xd9, 1, 0xf4}, good()...), m.trust())
	add("no chain", "corim.signature", signed, m.roots())
	add("another's chain", "corim.chain", other.sign(header(33, other.leaf.Raw), pairs{}, good()), m.roots())
	add("a chain of another's key", "corim.signature", other.sign(header(33, m.leaf.Raw), pairs{}, good()), m.roots())
	add("a certificate not for signatures", "corim.chain", m.sign(header(33, m.certify(x509.KeyUsageKeyEncipherment, now.AddDate(1, 0, 0)).Raw), pairs{}, good()), m.roots())
	add("a certificate of the past", "corim.chain", m.sign(header(33, m.certify(x509.KeyUsageDigitalSignature, now.Add(-time.Second)).Raw), pairs{}, good()), m.roots())
	add("five certificates", "corim.signature", m.sign(header(33, list{m.leaf.Raw, m.root.Raw, m.root.Raw, m.root.Raw, m.root.Raw}), pairs{}, good()), m.roots())
	add("junk for a certificate", "corim.signature", m.sign(header(33, []byte{0x30}), pairs{}, good()), m.roots())
	add("nothing", "corim.form", nil, m.trust())
	add("JSON", "corim.form", []byte(`{"id":"x"}`), m.trust())
	add("bytes behind", "corim.form", append(bytes.Clone(signed), 0), m.trust())
	add("too large", "corim.form", make([]byte, corim.MaxFile+1), m.trust())
	add("critical", "corim.form", m.sign(header(2, list{99}, 99, true), pairs{}, good()), m.trust())
	add("other content", "corim.form", m.sign(pairs{1, -7, 3, "application/json", 8, meta(now.AddDate(0, 2, 0))}, pairs{}, good()), m.trust())
	add("no content type", "corim.form", m.sign(pairs{1, -7, 8, meta(now.AddDate(0, 2, 0))}, pairs{}, good()), m.trust())
	add("nobody signs", "corim.form", m.sign(pairs{1, -7, 3, "application/rim+cbor"}, pairs{}, good()), m.trust())
	add("signature ended", "corim.dates", m.sign(pairs{1, -7, 3, "application/rim+cbor", 8, meta(now)}, pairs{}, good()), m.trust())
	add("claims ended", "corim.dates", m.sign(header(15, pairs{1, "x", 4, int(now.Unix())}), pairs{}, good()), m.trust())
	add("claims of tomorrow", "corim.dates", m.sign(header(15, pairs{1, "x", 5, int(now.Unix()) + 1}), pairs{}, good()), m.trust())
	for name, p := range payloads() {
		check := "corim.form"
		if rest, lost := strings.CutPrefix(name, "lost: "); lost {
			check = "corim.unsupported"
			name = rest
		}
		if name == "ended" {
			check = "corim.dates"
		}
		add("payload: "+name, check, m.sign(header(), pairs{}, p), m.trust())
	}
	return all
}

// payloads are wrong ones; "lost: " marks those that say what would be lost.
func payloads() map[string][]byte {
	body := func(members ...any) []byte { return cbortest.Encode(tag{501, pairs(members)}) }
	of := func(env any, measurements ...any) []byte { return manifest(comid(list{env, list(measurements)})) }
	with := func(values ...any) []byte { return of(class("x"), measurement("m", values...)) }
	good := measurement("m", 2, list{digest(48, 1)})
	deep := list{}
	for range 16 {
		deep = list{deep}
	}
	many := make(list, corim.MaxMeasurements+1)
	for i := range many {
		many[i] = good
	}
	return map[string][]byte{
		"no CBOR":                       {0xff},
		"untagged":                      cbortest.Encode(pairs{0, "x", 1, list{comid(list{class("x"), list{good}})}}),
		"lost: an extension":            body(0, "x", 1, list{comid(list{class("x"), list{good}})}, 99, 1),
		"no id":                         body(1, list{comid(list{class("x"), list{good}})}),
		"no tags":                       body(0, "x", 1, list{}),
		"another tag":                   manifest(tag{999, []byte{0}}),
		"a tag without bytes":           manifest(tag{506, "x"}),
		"a CoMID that is none":          manifest(tag{506, []byte{0xff}}),
		"no triples":                    manifest(tag{506, cbortest.Encode(pairs{1, pairs{0, "x"}})}),
		"no tag id":                     manifest(tag{506, cbortest.Encode(pairs{1, pairs{}, 4, pairs{}})}),
		"lost: software tags only":      manifest(tag{505, []byte{0xa0}}),
		"lost: endorsed values only":    manifest(tag{506, cbortest.Encode(pairs{1, pairs{0, "x"}, 4, pairs{1, list{list{class("x"), list{good}}}}})}),
		"ended":                         cbortest.Encode(tag{501, pairs{0, "x", 1, list{comid(list{class("x"), list{good}})}, 4, pairs{1, tag{1, int(now.Unix())}}}}),
		"an untagged time":              cbortest.Encode(tag{501, pairs{0, "x", 1, list{comid(list{class("x"), list{good}})}, 4, pairs{1, tag{2, []byte{1}}}}}),
		"validity without an end":       cbortest.Encode(tag{501, pairs{0, "x", 1, list{comid(list{class("x"), list{good}})}, 4, pairs{0, tag{1, 1}}}}),
		"lost: an instance":             of(pairs{0, pairs{1, "v"}, 1, tag{37, make([]byte, 16)}}, good),
		"lost: a group":                 of(pairs{0, pairs{1, "v"}, 2, tag{37, make([]byte, 16)}}, good),
		"no class":                      of(pairs{}, good),
		"an empty class":                of(pairs{0, pairs{}}, good),
		"a triple of three":             manifest(comid(list{class("x"), list{good}, 1})),
		"no measurements":               manifest(comid(list{class("x"), list{}})),
		"many measurements":             manifest(comid(list{class("x"), many})),
		"lost: authorized by":           of(class("x"), pairs{0, "m", 1, pairs{2, list{digest(48, 1)}}, 2, list{}}),
		"lost: flags":                   with(3, pairs{3, false}, 2, list{digest(48, 1)}),
		"lost: keys":                    with(13, list{tag{554, "x"}}, 2, list{digest(48, 1)}),
		"lost: a name alone":            with(11, "x"),
		"lost: a mask":                  with(4, tag{563, list{[]byte{5, 6}, []byte{0xff, 0xf0}}}),
		"lost: an older mask":           with(4, tag{560, []byte{5}}, 5, []byte{0x0f}),
		"lost: a short mask":            with(4, tag{563, list{[]byte{5, 6}, []byte{0xff}}}),
		"lost: an unknown algorithm":    with(2, list{list{3, make([]byte, 32)}}),
		"lost: a number as text":        with(2, list{list{"1", make([]byte, 32)}}),
		"a digest of another length":    with(2, list{list{7, make([]byte, 32)}}),
		"no digests":                    with(2, list{}),
		"two digests by one algorithm":  with(2, list{digest(48, 1), digest(48, 2)}),
		"a digest that is text":         with(2, list{list{7, "x"}}),
		"an empty raw value":            with(4, tag{560, []byte{}}),
		"a raw value that is text":      with(4, "x"),
		"a negative version number":     with(1, -1),
		"a list of version numbers":     with(1, list{1, 2}),
		"no registers":                  with(14, pairs{}),
		"a register without a digest":   with(14, pairs{0, list{}}),
		"a key of two lines":            of(class("x"), measurement("m\nn", 2, list{digest(48, 1)})),
		"an empty key":                  of(class("x"), measurement("", 2, list{digest(48, 1)})),
		"a key that is no identifier":   of(class("x"), measurement(tag{111, []byte{0x80}}, 2, list{digest(48, 1)})),
		"a UUID of 15 bytes":            of(class("x"), measurement(tag{37, make([]byte, 15)}, 2, list{digest(48, 1)})),
		"a profile that is a number":    body(0, "x", 1, list{comid(list{class("x"), list{good}})}, 3, 1),
		"a profile of two":              body(0, "x", 1, list{comid(list{class("x"), list{good}})}, 3, list{"a", "b"}),
		"nested too deep":               with(2, deep),
		"an element with a key too few": of(class("x"), pairs{0, "m"}),
	}
}

func TestOpenRefuses(t *testing.T) {
	m := newMaker()
	for name, c := range refusals(m, newMaker()) {
		got, err := corim.Open(c.data, c.trust, now)
		if err == nil || got != nil {
			t.Errorf("%s: opened", name)
			continue
		}
		if e := verdict.As(err); e.Check != c.check || e.Kind != c.kind || e.Expected == "" || e.Got == "" || e.Fix == "" {
			t.Errorf("%s: %v, expected %s", name, err, c.check)
		}
	}
}

// TestEveryByteCounts flips every byte of a signed CoRIM.
func TestEveryByteCounts(t *testing.T) {
	m := newMaker()
	data := m.sign(header(), pairs{}, good())
	for i := range data {
		changed := bytes.Clone(data)
		changed[i] ^= 0x20
		if got, err := corim.Open(changed, m.trust(), now); err == nil && describe(got) != described {
			t.Errorf("byte %d: says something else", i)
		}
	}
}

func FuzzOpen(f *testing.F) {
	m := newMaker()
	f.Add(good())
	for _, p := range payloads() {
		f.Add(p)
	}
	f.Fuzz(func(_ *testing.T, payload []byte) {
		if got, err := corim.Open(m.sign(header(), pairs{}, payload), m.trust(), now); err == nil {
			_ = describe(got)
		}
		_, _ = corim.Open(payload, m.trust(), now)
	})
}
