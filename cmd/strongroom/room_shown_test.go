package main

import (
	"bytes"
	"strings"
	"testing"

	"strongroom.dev/agreement"
	"strongroom.dev/policy"
	"strongroom.dev/verdict"
)

// TestRoomShown: what a party reads of a room says how far the room can be trusted, which check
// failed, and with its exit code whether the evidence is genuine.
func TestRoomShown(t *testing.T) {
	ag, alpha := readStudy(t)
	broker := &agreement.SignedParty{Descriptor: agreement.Descriptor{Broker: &agreement.BrokerInfo{ReleaseKey: alpha}}}
	other := recordedImage(t)
	other.events[len(other.events)-1].Digest = strings.Repeat("00", 32)
	e := new(endorsed)
	for name, c := range map[string]struct {
		boot   string
		change func(*roomShown)
		kind   verdict.Kind // 0: as agreed
		check  string
		says   []string
		hides  string
	}{
		"as agreed":                     {"2cpus-512mib", nil, 0, "", []string{"INSECURE", "warn tpm.root", "warn tpm.firmware", "ok   evidence.binding", ", request "}, ", run "},
		"the image that booted":         {"2cpus-512mib", func(s *roomShown) { s.image = recordedImage(t) }, 0, "", []string{"INSECURE", "ok   image"}, "FAIL"},
		"another image than the one":    {"2cpus-512mib", func(s *roomShown) { s.image = other }, verdict.Refused, "image", []string{"INSECURE", "ok   evidence.image", "FAIL image", "not expected"}, ""},
		"another image than was agreed": {"command-line", nil, verdict.Refused, "evidence.image", []string{"INSECURE", "ok   evidence.binding", "FAIL evidence.image"}, ""},
		"keys of another room": {"2cpus-512mib", func(s *roomShown) { s.Room.Signing = alpha }, verdict.Invalid, "evidence.binding",
			[]string{"ok   tpm.quote", "FAIL evidence.binding"}, "INSECURE"},
		"nobody's word on the TPM's key": {"2cpus-512mib", func(s *roomShown) { s.broker = nil }, verdict.Invalid, "tpm.activation", []string{"FAIL tpm.activation"}, "INSECURE"},
	} {
		b, _ := bootOf(t, c.boot)
		s := roomShown{Shown: b.Shown, agreement: ag, broker: broker, endorsed: e, now: b.At}
		if c.change != nil {
			c.change(&s)
		}
		got, err := s.verify(nil, e.platforms(), policy.References{})
		if (err == nil) != (c.kind == 0) || err != nil && (verdict.As(err).Kind != c.kind || verdict.As(err).Check != c.check) {
			t.Errorf("%s: %v", name, err)
		}
		var out bytes.Buffer
		got.text(&out)
		for _, say := range c.says {
			if !strings.Contains(out.String(), say) {
				t.Errorf("%s: no %q in\n%s", name, say, out.String())
			}
		}
		if c.hides != "" && strings.Contains(out.String(), c.hides) {
			t.Errorf("%s: %q in\n%s", name, c.hides, out.String())
		}
	}
}
