package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	eventlog "strongroom.dev/measure"
	"strongroom.dev/tpm2"
	"strongroom.dev/verdict"
)

// maxLines is how many lines of a boot are shown as text; --output json has all that evidence
// explains.
const maxLines = 200

// bootStory is what booted, line by line, as far as quoted registers prove it.
type bootStory struct {
	Bank string `json:"bank"`
	// SecureBoot is a claim: the firmware's own word, on, off or unknown.
	SecureBoot string `json:"secure_boot"`
	// Compared names what the lines were compared with, "" for nothing.
	Compared string     `json:"compared,omitempty"`
	Lines    []bootLine `json:"lines"`
	// Left is how many events more the log has.
	Left int `json:"left_out,omitempty"`

	image *bootImage // that it was compared with, nil for none
}

// bootLine is a line with its register by name, such as "PCR 11".
type bootLine struct {
	Name string `json:"name"`
	eventlog.Line
}

// bootClaims are the claims that a story is told from, of TPMs and of TDX.
type bootClaims struct {
	Log  *bootLog                     `json:"event_log"`
	PCRs map[string]map[string]string `json:"pcrs"`
	VTPM struct {
		PCRs map[string]map[string]string `json:"pcrs"`
	} `json:"vtpm"`
	InitData string `json:"init_data"`
}

type bootLog struct {
	Bank        string `json:"bank"`
	Matched     []int  `json:"matched"`
	Differ      []int  `json:"differ"`
	Unquoted    []int  `json:"unquoted"`
	Unexplained []int  `json:"unexplained"`
	Events      []struct {
		eventlog.Explanation
		PCR  *uint32 `json:"pcr"`
		RTMR *uint32 `json:"rtmr"`
	} `json:"events"`
	Left       int    `json:"events_left_out"`
	SecureBoot string `json:"secure_boot"`
	// Firmware is set for OVMF, whose parts are measurements of their own.
	Firmware *struct {
		Version string `json:"version"`
		Volumes []struct {
			Base   string `json:"base"`
			Digest string `json:"digest"`
			Open   bool   `json:"open"`
		} `json:"volumes"`
	} `json:"firmware"`
	BootVariables bool `json:"boot_variables_only"`
	OnlyAggregate bool `json:"only_aggregate"`
}

// readBoot finds the event log in claims; nil if they have none that could be replayed.
func readBoot(claims map[string]any) *bootClaims {
	if claims["event_log"] == nil {
		return nil
	}
	some := map[string]any{}
	for _, name := range []string{"event_log", "pcrs", "vtpm", "init_data"} {
		if v, ok := claims[name]; ok {
			some[name] = v
		}
	}
	text, err := json.Marshal(some)
	var c bootClaims
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil || c.Log == nil {
		return nil
	}
	if c.PCRs == nil {
		c.PCRs = c.VTPM.PCRs
	}
	return &c
}

// kind says whose registers the log is about.
func (c *bootClaims) kind() eventlog.Kind {
	if c.PCRs == nil {
		return eventlog.RTMRs
	}
	return eventlog.PCRs
}

// value gives a quoted PCR in hex, "" if it was not quoted.
func (c *bootClaims) value(pcr int) string { return c.PCRs[c.Log.Bank][fmt.Sprint(pcr)] }

// tell tells what booted and compares it with a reference.
func (c *bootClaims) tell(r bootReference) *bootStory {
	s := &bootStory{Bank: c.Log.Bank, SecureBoot: c.Log.SecureBoot, Compared: r.names, Left: c.Log.Left, Lines: []bootLine{}, image: r.image}
	var events []eventlog.Explanation
	for _, e := range c.Log.Events {
		if e.PCR != nil {
			e.Register = *e.PCR
		} else if e.RTMR != nil {
			e.Register = *e.RTMR
		}
		if e.Cover != eventlog.None { // a note extends nothing, so nothing proves it
			events = append(events, e.Explanation)
		}
	}
	name := func(l eventlog.Line) bootLine { return bootLine{c.kind().RegisterName(l.Register), l} }
	for _, l := range eventlog.Lines(events, r.Reference) {
		s.Lines = append(s.Lines, name(l))
	}
	if c.kind() == eventlog.RTMRs {
		for _, i := range append(c.Log.Differ, c.Log.Unexplained...) {
			s.Lines = append(s.Lines, name(eventlog.Line{Register: uint32(i), Words: "extended by what this log does not explain", Match: r.whole(i)}))
		}
		return s
	}
	return c.registers(s, r)
}

// registers adds what is to be said of PCRs whose contents no event tells.
func (c *bootClaims) registers(s *bootStory, r bootReference) *bootStory {
	logged := map[int]bool{}
	for _, i := range c.Log.Matched {
		logged[i] = true
	}
	unquoted, first := map[int]bool{}, -1
	for _, i := range c.Log.Unquoted {
		unquoted[i] = true
	}
	for i := range eventlog.NumPCRs {
		if logged[i] {
			continue
		}
		l := bootLine{eventlog.PCRs.RegisterName(uint32(i)), eventlog.Line{Register: uint32(i), Digest: c.value(i)}}
		l.Words, l.Match = c.register(i, r)
		if unquoted[i] || l.Digest == "" {
			l.Words, l.Match = "not quoted: it may hold anything", r.whole(i)
		}
		if n := len(s.Lines); i > tpm2.WorkPCR && first >= 0 && l.Words == nothing && s.Lines[n-1].Words == nothing && s.Lines[n-1].Match == l.Match {
			s.Lines[n-1].Name = fmt.Sprintf("PCRs %d to %d", first, i)
			s.Lines[n-1].Digest = ""
			continue
		}
		if first = i; c.untouched(i) {
			l.Digest = ""
		}
		s.Lines = append(s.Lines, l)
	}
	return s
}

const nothing = "nothing was measured into it"

// register says what a PCR without events holds.
func (c *bootClaims) register(i int, r bootReference) (string, eventlog.Match) {
	untouched := c.untouched(i)
	switch {
	case slices.Contains(c.Log.Differ, i):
		return "this log does not lead to what was quoted, so its events say nothing", r.whole(i)
	case i == tpm2.InitDataPCR && c.InitData != "" && !untouched:
		if r.agreement != "" {
			return "the agreement " + r.agreement, eventlog.Matched
		}
		return "the agreement, by its digest: init data " + c.InitData, eventlog.NotCovered
	case i == 10 && c.Log.OnlyAggregate:
		return "the kernel's list of files: its first entry over PCRs 0 to 9, and no file", r.implied()
	case i == tpm2.WorkPCR && untouched:
		return "no work had started", r.implied()
	case i == 12 && untouched:
		return "nothing was added from beside the image: no arguments, no credentials", r.implied()
	case i == 13 && untouched:
		return "nothing was added from beside the image: no system extension", r.implied()
	case untouched:
		return nothing, r.implied()
	}
	return "extended by what is in no event log", r.whole(i)
}

// text shows the lines: register, match, digest, words.
func (s *bootStory) text(w io.Writer) {
	if s == nil {
		return
	}
	if s.Compared == "" {
		fmt.Fprintf(w, "  what booted, line by line (%s; compared with nothing):\n", s.Bank)
	} else {
		fmt.Fprintf(w, "  what booted, line by line (%s; compared with %s):\n", s.Bank, verdict.Printable(s.Compared))
	}
	for i, l := range s.Lines {
		if i == maxLines {
			break
		}
		fmt.Fprintf(w, "    %s\n", verdict.Printable(l.String()))
	}
	if more := s.Left + max(len(s.Lines)-maxLines, 0); more > 0 {
		fmt.Fprintf(w, "    and %d events more\n", more)
	}
	fmt.Fprintf(w, "    Secure Boot: %s, a claim: %s\n", verdict.Printable(s.SecureBoot), secureBootSays(s.SecureBoot))
}

func secureBootSays(state string) string {
	switch eventlog.SecureBoot(state) {
	case eventlog.SecureBootOn:
		return "the firmware's own word that it started only what its keys signed"
	case eventlog.SecureBootOff:
		return "the firmware's own word that it starts whatever there is; what booted is told by the registers alone"
	}
	return "nothing that is proven says whether the firmware looked at signatures"
}

// String is the line as people read it: digests are short, and what they don't prove is marked.
func (l bootLine) String() string {
	text := fmt.Sprintf("%-13s %-12s %-12s  %s", l.Name, l.Match, l.Digest[:min(len(l.Digest), 12)], l.Words)
	if l.File != "" {
		text += " (" + l.File + ")"
	}
	if l.Cover == eventlog.Hint && !strings.HasPrefix(l.Words, ".") { // sections are known by their names' digests
		text += " [by the log's word]"
	}
	if l.Type != "" {
		text += fmt.Sprintf(" [%d %s]", l.Number, l.Type)
	}
	return text
}

// wrong gives the first line that is not as the reference has it, nil if there is none.
func (s *bootStory) wrong() *bootLine {
	if s == nil {
		return nil
	}
	for i, l := range s.Lines {
		if l.Match == eventlog.NotExpected || l.Match == eventlog.Missing {
			return &s.Lines[i]
		}
	}
	return nil
}

func (s *bootStory) count(m eventlog.Match) (n int) {
	for _, l := range s.Lines {
		if l.Match == m {
			n++
		}
	}
	return n
}

// bootReference is what a boot is compared with, and what that is called.
type bootReference struct {
	eventlog.Reference
	names string
	// exact says that nothing else may be in any register.
	exact bool
	image *bootImage // nil for none
	// agreement names the one whose init data was compared, "" if none was.
	agreement string
}

// whole compares a register without events that hold.
func (r bootReference) whole(i int) eventlog.Match {
	good, known := r.Registers[uint32(i)]
	switch {
	case known && good:
		return eventlog.Matched
	case known || r.expects(i):
		return eventlog.NotExpected
	}
	if r.exact {
		return eventlog.NotExpected
	}
	return eventlog.NotCovered
}

// expects reports whether events of a register are known.
func (r bootReference) expects(i int) bool {
	for _, e := range r.Events {
		if e.Register == uint32(i) {
			return true
		}
	}
	return false
}

// implied is for what must be so where nothing else may be, and is.
func (r bootReference) implied() eventlog.Match {
	if r.exact {
		return eventlog.Matched
	}
	return eventlog.NotCovered
}
