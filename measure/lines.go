package measure

import (
	"cmp"
	"fmt"
)

// Expected is an event that a register should have been extended with.
type Expected struct {
	Register uint32
	// Digest in lower-case hex; "" for one whose digest nobody knows ahead.
	Digest string
	// Words say what it is, "" for those of the event itself; File which file it comes from, "" if none.
	Words, File string
}

// Match says how an event compares with what was expected.
type Match string

// The matches.
const (
	Matched     Match = "matched"
	NotExpected Match = "not expected"
	// NotCovered: no reference value is about it.
	NotCovered Match = "not covered"
	// Missing: it is in no log, and should have happened.
	Missing Match = "missing"
)

// Line is an event, or a register as a whole, in one line.
type Line struct {
	Register uint32 `json:"register"`
	// Number and Type are the event's; 0 and "" for a register as a whole, and for what is missing.
	Number int    `json:"number,omitempty"`
	Type   string `json:"type,omitempty"`
	Digest string `json:"digest"` // lower-case hex
	Words  string `json:"words"`
	// Cover says how far the digest proves the words, "" where a match does.
	Cover Cover `json:"cover,omitempty"`
	Match Match `json:"match"`
	// File is the file of the image that the event is of, as far as it is known.
	File string `json:"file,omitempty"`
}

// Reference is what events are compared with. The zero Reference covers nothing.
type Reference struct {
	// Events are all events of the registers that they name, in order.
	Events []Expected
	// Registers say whether a register as a whole is as it should be, where no events are known.
	Registers map[uint32]bool
}

// Lines tells of events in the log's order, and compares them with a reference. Events that
// should be there and are not stand behind the last of their register.
func Lines(events []Explanation, r Reference) []Line {
	expected := map[uint32][]Expected{}
	for _, e := range r.Events {
		expected[e.Register] = append(expected[e.Register], e)
	}
	logged := map[uint32][]Explanation{}
	for _, e := range events {
		logged[e.Register] = append(logged[e.Register], e)
	}
	told := map[uint32][]Line{}
	for register, some := range logged {
		told[register] = r.compare(some, expected[register])
	}
	var all []Line
	for _, e := range events {
		rest := told[e.Register]
		all = append(all, rest[0])
		told[e.Register] = rest[1:]
		if logged[e.Register] = logged[e.Register][1:]; len(logged[e.Register]) == 0 {
			all = append(all, told[e.Register]...) // what is missing
		}
	}
	for _, e := range r.Events {
		if told[e.Register] == nil && e.Digest != "" { // nothing of the register is in the log
			all = append(all, missing(e))
		}
	}
	return all
}

func missing(e Expected) Line {
	return Line{Register: e.Register, Digest: e.Digest, Words: e.Words, Match: Missing, File: e.File}
}

// compare tells of the events of one register: one line each, then those of what is missing.
func (r Reference) compare(events []Explanation, expected []Expected) []Line {
	var lines []Line
	partner := pairs(events, expected)
	met := map[int]bool{}
	for i, e := range events {
		l := Line{e.Register, e.Number, e.Type, e.Digest, e.Words, e.Cover, NotCovered, ""}
		good, whole := r.Registers[e.Register]
		switch j := partner[i]; {
		case len(expected) > 0 && j < 0:
			l.Match = NotExpected
		case len(expected) > 0:
			if met[j] = true; expected[j].Digest != "" {
				l.Match, l.Cover, l.File = Matched, "", expected[j].File
				l.Words = cmp.Or(expected[j].Words, l.Words)
			}
		case whole && good:
			l.Match = Matched
		case whole:
			l.Match = NotExpected
		}
		lines = append(lines, l)
	}
	for i, e := range expected {
		if !met[i] && e.Digest != "" {
			lines = append(lines, missing(e))
		}
	}
	return lines
}

// pairs gives for each event which expected one it is, -1 for none: as many as can be in the same
// order in both.
func pairs(events []Explanation, expected []Expected) []int {
	n, m := len(events), len(expected)
	longest := make([][]int, n+1)
	for i := range longest {
		longest[i] = make([]int, m+1)
	}
	same := func(i, j int) bool { return expected[j].Digest == "" || expected[j].Digest == events[i].Digest }
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			if same(i, j) {
				longest[i][j] = max(longest[i][j], longest[i+1][j+1]+1)
			}
		}
	}
	partner := make([]int, n)
	for i, j := 0, 0; i < n; {
		switch {
		case j < m && same(i, j) && longest[i][j] == longest[i+1][j+1]+1:
			partner[i] = j
			i, j = i+1, j+1
		case j < m && longest[i][j] == longest[i][j+1]:
			j++
		default:
			partner[i] = -1
			i++
		}
	}
	return partner
}

// RegisterName names a register as people write it.
func (k Kind) RegisterName(register uint32) string {
	if k == RTMRs {
		return fmt.Sprintf("RTMR %d", register)
	}
	return fmt.Sprintf("PCR %d", register)
}
