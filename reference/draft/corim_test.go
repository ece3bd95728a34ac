package draft_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/corim"
	"strongroom.dev/reference"
	"strongroom.dev/reference/draft"
	"strongroom.dev/verdict"
)

func sha384(fill byte) corim.Digest {
	return corim.Digest{Algorithm: "sha-384", Value: bytes.Repeat([]byte{fill}, 48)}
}

func sha256of(fill byte) corim.Digest {
	return corim.Digest{Algorithm: "sha-256", Value: bytes.Repeat([]byte{fill}, 32)}
}

func element(key string, d ...corim.Digest) corim.Measurement {
	return corim.Measurement{Key: key, Digests: d}
}

func manifest(triples ...corim.Triple) *corim.Manifest {
	return &corim.Manifest{ID: "x", Triples: triples}
}

func TestFromCoRIM(t *testing.T) {
	launch := corim.Triple{Tag: "t1", Model: "Room 1.2", Measurements: []corim.Measurement{
		element("641", sha384(0xaa)), {Key: "641-svn", SVN: &corim.SVN{Value: 3, Least: true}}, {Key: "vmpl", SVN: &corim.SVN{Value: 0}}}}
	regs := corim.Triple{Tag: "t2", Measurements: []corim.Measurement{{Registers: []corim.Register{{Key: "0", Digests: []corim.Digest{sha384(0xbb)}}, {Key: "rtmr1", Digests: []corim.Digest{sha384(0xbc)}}}},
		{Name: "mrtd", Digests: []corim.Digest{sha384(0xbd), sha256of(1)}, Raw: nil}, {Key: "xfam", Raw: []byte{1, 2}}}}
	one := corim.Triple{Tag: "t", Model: "a", Measurements: []corim.Measurement{element("mrtd", sha384(1))}}
	other := corim.Triple{Tag: "t", Model: "a", Measurements: []corim.Measurement{element("rtmr0", sha384(2))}}
	again := corim.Triple{Tag: "t", Model: "A", Measurements: []corim.Measurement{element("mrtd", sha384(3))}}
	for _, c := range []struct {
		name    string
		mapping draft.Mapping
		from    *corim.Manifest
		want    string // the draft's groups, or what the error says
	}{
		{"mapped", draft.Mapping{Platform: "snp", Registers: map[string]string{"641": "measurement"}, Claims: map[string]string{"641-svn": "reported_tcb.snp", "vmpl": "vmpl"}}, manifest(launch),
			"room-1-2 snp measurement=" + hex48("a") + " vmpl=0 reported_tcb.snp>=3\n"},
		{"registers", draft.Mapping{Platform: "tdx", Registers: map[string]string{"0": "rtmr0"}, Algorithm: "sha-384"}, manifest(regs), "t2 tdx mrtd=" + strings.Repeat("bd", 48) + " rtmr0=" + hex48("b") + " rtmr1=" + strings.Repeat("bc", 48) + " xfam=0102\n"},
		{"each triple", draft.Mapping{Platform: "tdx", Together: "triple"}, manifest(one, other, again), "a tdx mrtd=" + strings.Repeat("01", 48) + "\na-2 tdx rtmr0=" + strings.Repeat("02", 48) + "\na-3 tdx mrtd=" + strings.Repeat("03", 48) + "\n"},
		{"each tag", draft.Mapping{Platform: "tdx", Together: "tag"}, manifest(one, other), "a tdx mrtd=" + strings.Repeat("01", 48) + " rtmr0=" + strings.Repeat("02", 48) + "\n"},
		{"the whole file", draft.Mapping{Platform: "tdx", Together: "file"}, manifest(one, corim.Triple{Tag: "u", Measurements: other.Measurements}), "a tdx mrtd=" + strings.Repeat("01", 48) + " rtmr0=" + strings.Repeat("02", 48) + "\n"},
		{"parts that contradict each other", draft.Mapping{Platform: "tdx", Together: "file"}, manifest(one, again), "one value for mrtd"},
		{"triples without a word", draft.Mapping{Platform: "tdx"}, manifest(one, other), "alternatives"},
		{"another word", draft.Mapping{Platform: "tdx", Together: "all"}, manifest(one, other), "triple, tag or file"},
		{"no platform", draft.Mapping{}, manifest(one), "the name of a platform"},
		{"a number that nobody mapped", draft.Mapping{Platform: "snp"}, manifest(launch), "the register that the element 641"},
		{"a version that nobody mapped", draft.Mapping{Platform: "snp", Registers: map[string]string{"641": "measurement"}}, manifest(launch), "the claim in evidence of snp that holds the security version of 641-svn"},
		{"two digests", draft.Mapping{Platform: "tdx", Registers: map[string]string{"0": "rtmr0"}}, manifest(regs), "the one algorithm that evidence has for mrtd"},
		{"another digest", draft.Mapping{Platform: "tdx", Registers: map[string]string{"0": "rtmr0"}, Algorithm: "sha-512"}, manifest(regs), "by sha-512"},
		{"two versions for a claim", draft.Mapping{Platform: "snp", Registers: map[string]string{"641": "measurement"}, Claims: map[string]string{"641-svn": "svn", "vmpl": "svn"}}, manifest(launch), "one security version for svn"},
		{"a version too large", draft.Mapping{Platform: "snp", Registers: map[string]string{"m": "m"}, Claims: map[string]string{"m": "svn"}},
			manifest(corim.Triple{Tag: "t", Measurements: []corim.Measurement{{Key: "m", Digests: []corim.Digest{sha384(1)}, SVN: &corim.SVN{Value: 1 << 63, Least: true}}}}), "at most 2^53-1"},
		{"versions alone", draft.Mapping{Platform: "snp", Claims: map[string]string{"m": "svn"}}, manifest(corim.Triple{Tag: "t", Measurements: []corim.Measurement{{Key: "m", SVN: &corim.SVN{Value: 1}}}}), "1 to 64 registers"},
		{"the same twice", draft.Mapping{Platform: "tdx", Together: "triple"}, manifest(one, one), "values of its own"},
		{"no element", draft.Mapping{Platform: "tdx"}, manifest(corim.Triple{Tag: "t", Measurements: []corim.Measurement{element("", sha384(1))}}), "the register that the element"},
	} {
		t.Run(c.name, func(t *testing.T) {
			groups, err := c.mapping.Groups(c.from)
			if err != nil {
				if e := verdict.As(err); e.Kind != verdict.Usage || e.Fix == "" || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, expected %q", err, c.want)
				}
				return
			}
			if diff := cmp.Diff(c.want, told(groups)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// told writes groups on lines.
func told(groups []reference.Group) string {
	var b strings.Builder
	for _, g := range groups {
		text := draft.Draft{Groups: []reference.Group{g}}.YAML()
		b.WriteString(string(g.Name) + " " + string(g.Platform))
		in := ""
		for line := range strings.Lines(text[strings.Index(text, "platform:"):]) {
			if line = strings.TrimSpace(line); strings.HasSuffix(line, ":") {
				in = map[string]string{"measurements:": "=", "claims:": "=", "minimum:": ">="}[line]
			} else if in != "" {
				name, value, _ := strings.Cut(line, ": ")
				b.WriteString(" " + strings.Trim(name, `"`) + in + strings.Trim(value, `"`))
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestNameOf(t *testing.T) {
	for text, want := range map[string]string{"Room 1.2": "room-1-2", "": "image", "7": "image-7", "ünï": "n", strings.Repeat("a", 70): strings.Repeat("a", 63), "--x--": "x", strings.Repeat("7", 70): "image-" + strings.Repeat("7", 57)} {
		if got := draft.NameOf(text); string(got) != want || !got.Valid() {
			t.Errorf("%q: %q, expected %q", text, got, want)
		}
	}
}
