package measure_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"strongroom.dev/measure"
)

// toldLines writes lines as "register digest match file".
func toldLines(lines []measure.Line) (all []string) {
	for _, l := range lines {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%d %s %s %s", l.Register, l.Digest, l.Match, l.File)))
	}
	return all
}

// TestLines compares events with those that were expected, one by one.
func TestLines(t *testing.T) {
	event := func(register uint32, digest string) measure.Explanation {
		return measure.Explanation{Register: register, Digest: digest, Words: "by the log", Cover: measure.Hint}
	}
	good := measure.Reference{
		Events: []measure.Expected{
			{Register: 4, Digest: "aa", Words: "image", File: "room.efi"}, {Register: 4, Digest: "bb"}, {Register: 9, Digest: "cc"},
			{Register: 0, Digest: ""}, {Register: 0, Digest: "dd"},
		},
		Registers: map[uint32]bool{1: true, 2: false},
	}
	for name, c := range map[string]struct {
		events []measure.Explanation
		r      measure.Reference
		want   []string
	}{
		"no reference":                     {[]measure.Explanation{event(4, "aa")}, measure.Reference{}, []string{"4 aa not covered"}},
		"nothing logged, nothing expected": {nil, measure.Reference{}, nil},
		"as expected": {[]measure.Explanation{event(0, "ee"), event(4, "aa"), event(0, "dd"), event(4, "bb"), event(9, "cc")}, good,
			[]string{"0 ee not covered", "4 aa matched room.efi", "0 dd matched", "4 bb matched", "9 cc matched"}},
		"another image": {[]measure.Explanation{event(0, "ee"), event(4, "ff"), event(0, "dd"), event(4, "bb"), event(9, "cc")}, good,
			[]string{"0 ee not covered", "4 ff not expected", "0 dd matched", "4 bb matched", "4 aa missing room.efi", "9 cc matched"}},
		"one more in between": {[]measure.Explanation{event(4, "aa"), event(4, "ff"), event(4, "bb")}, measure.Reference{Events: good.Events[:2]},
			[]string{"4 aa matched room.efi", "4 ff not expected", "4 bb matched"}},
		"in another order": {[]measure.Explanation{event(4, "bb"), event(4, "aa")}, measure.Reference{Events: good.Events[:2]},
			[]string{"4 bb matched", "4 aa not expected", "4 aa missing room.efi"}},
		"twice": {[]measure.Explanation{event(4, "aa"), event(4, "aa"), event(4, "bb")}, measure.Reference{Events: good.Events[:2]},
			[]string{"4 aa matched room.efi", "4 aa not expected", "4 bb matched"}},
		"a register that nothing is in": {[]measure.Explanation{event(0, "ee"), event(0, "dd"), event(4, "aa"), event(4, "bb")}, good,
			[]string{"0 ee not covered", "0 dd matched", "4 aa matched room.efi", "4 bb matched", "9 cc missing"}},
		"registers as a whole": {[]measure.Explanation{event(1, "aa"), event(2, "bb"), event(3, "cc")}, measure.Reference{Registers: good.Registers},
			[]string{"1 aa matched", "2 bb not expected", "3 cc not covered"}},
	} {
		if diff := cmp.Diff(c.want, toldLines(measure.Lines(c.events, c.r))); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	lines := measure.Lines([]measure.Explanation{event(4, "aa"), event(4, "bb")}, good)
	if lines[0].Words != "image" || lines[0].Cover != "" || lines[1].Words != "by the log" {
		t.Errorf("%+v", lines)
	}
}

// TestWords tells of the sections of a kernel image, by what the digests prove and not by what the
// log calls them.
func TestWords(t *testing.T) {
	const bank = measure.SHA256
	ipl := func(register uint32, hashed, text string) measure.Event {
		return measure.Event{Register: register, Type: measure.IPL, Data: []byte(text), Digests: []measure.Digest{{Bank: bank, Value: bank.Sum([]byte(hashed))}}}
	}
	log := &measure.Log{Events: []measure.Event{
		ipl(11, ".linux\x00", ".linux"), ipl(11, "a kernel", ".linux"), ipl(11, "another", ".linux"),
		ipl(11, ".initrd\x00", "harmless"), ipl(11, "an initrd", "\x1b[2Jnothing to see"),
		ipl(12, "evil", "Credentials initrd"), ipl(12, "debug", "debug"), ipl(13, "x", "System extension initrd"),
	}}
	var got []string
	for _, x := range log.Explain(measure.PCRs, bank) {
		got = append(got, x.Words)
	}
	want := []string{
		".linux section: its name", ".linux section: the kernel image", `not a section's name: ".linux"`, ".initrd section: its name", ".initrd section: the initial RAM disk",
		`added from beside the image: "Credentials initrd"`, `added from beside the image: arguments "debug"`, `a system extension from beside the image: "System extension initrd"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
