package main

import (
	"bytes"
	"strings"
	"testing"

	"strongroom.dev/verdict"
)

// TestRoomLog shows a refusal once, and everything where the room said nothing to its host.
func TestRoomLog(t *testing.T) {
	const boots = "strongroom:   1.92s room starts\nstrongroom:   5.16s 1 inputs; starting the agent\n"
	const last = "strongroom-agent: broker of alpha: tpm.root: refused\nstrongroom:   8.00s stopped: room.ended: expected an agent that ends well, got exit code 4\n"
	const down = "strongroom:   8.00s going down\n"
	const off = "[    8.019518] reboot: Power down\r\n"
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"a result":               {nil, boots + down},
		"a reason of the room's": {verdict.Refuse("tpm.root", "a root", "another", ""), boots + down},
		"no reason":              {&verdict.Error{Kind: verdict.Broken, Check: "room.ended"}, boots + down + last + off + "half a li\n"},
		"no word":                {&verdict.Error{Kind: verdict.Broken, Check: "room.silent"}, boots + down + last + off + "half a li\n"},
	} {
		var out bytes.Buffer
		log := &roomLog{w: &out}
		for _, piece := range strings.SplitAfter(boots+last+down+off+"half a li", " ") {
			if n, err := log.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
		}
		log.end(c.err)
		log.end(c.err)
		if out.String() != c.want {
			t.Errorf("%s:\n%q, expected\n%q", name, out.String(), c.want)
		}
	}
	(*roomLog)(nil).end(nil)
}
