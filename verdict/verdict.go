// Package verdict is the one vocabulary of checks and refusals. Code that enforces a
// rule reports it as a [Check]; code that stops reports an [Error]. Both say what was
// checked, what was expected, what was found and how to mend it, so that an explanation
// always comes from the enforcing code and never from a second set of rules.
//
// The package promises that an Error prints as one line and survives JSON. It decides
// nothing and knows no check by name.
package verdict

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Kind says what sort of stop an Error is. Its number is the exit code of the command.
type Kind int

const (
	// Broken: something that should work did not (a disk, a peer, a defect). Exit code 1.
	Broken Kind = 1
	// Usage: the caller asked for something malformed. Exit code 2.
	Usage Kind = 2
	// Refused: everything was understood and a rule said no. Exit code 3.
	Refused Kind = 3
	// Invalid: evidence, a signature or a proof is not genuine. Exit code 4.
	Invalid Kind = 4
)

// String gives the word the documentation uses for the kind.
func (k Kind) String() string {
	switch k {
	case Broken:
		return "broken"
	case Usage:
		return "usage"
	case Refused:
		return "refused"
	case Invalid:
		return "invalid evidence"
	}
	return fmt.Sprintf("kind %d", int(k))
}

// Check is one check that was made, passed or not.
type Check struct {
	// ID names the check, as in "agreement.activated": lower case, dots between levels.
	ID string `json:"id"`
	OK bool   `json:"ok"`
	// Expected and Got are short texts for people; never key material or data.
	Expected string `json:"expected"`
	Got      string `json:"got"`
	// Fix says what mends a failed check. Empty on a passed one.
	Fix string `json:"fix,omitempty"`
}

// Error is a stop with its reason. The zero Error is of kind Broken.
type Error struct {
	Kind     Kind   `json:"-"`
	Check    string `json:"check"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
	Fix      string `json:"fix"`
	// Where is a file, line or member, where there is one: "agreement.yaml:12".
	Where string `json:"where,omitempty"`
	// Checks lists every check of the decision, passed ones too, where there was more than one.
	Checks []Check `json:"checks,omitempty"`
	// Err is the cause, if another error was it.
	Err error `json:"-"`
}

// Error prints one line: where, check, expected, got, mend. Control characters in it are
// shown escaped, since Got often quotes what an untrusted party sent.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Where != "" {
		b.WriteString(e.Where + ": ")
	}
	b.WriteString(e.Check)
	if e.Expected != "" {
		b.WriteString(": expected " + e.Expected)
	}
	if e.Got != "" {
		b.WriteString(", got " + e.Got)
	}
	if e.Fix != "" {
		b.WriteString(" (" + e.Fix + ")")
	}
	return Printable(b.String())
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Exit gives the exit code of err: 0 for nil, the kind of the first Error in its chain,
// else 1.
func Exit(err error) int {
	if err == nil {
		return 0
	}
	var e *Error
	if errors.As(err, &e) && e.Kind >= Broken && e.Kind <= Invalid {
		return int(e.Kind)
	}
	return int(Broken)
}

// As gives err as an Error: the one in its chain if there is one, with the words wrapped
// round it kept in Where, else a Broken one made from its text.
func As(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Kind: Broken, Check: "internal", Got: err.Error(), Err: err}
	}
	if around, found := strings.CutSuffix(err.Error(), ": "+e.Error()); found && around != "" {
		wrapped := *e
		wrapped.Where = strings.TrimSuffix(around+": "+e.Where, ": ")
		return &wrapped
	}
	return e
}

// FromCheck makes a refusal out of a failed check; all is the whole decision.
func FromCheck(kind Kind, failed Check, all []Check) *Error {
	return &Error{Kind: kind, Check: failed.ID, Expected: failed.Expected, Got: failed.Got, Fix: failed.Fix, Checks: all}
}

// Refuse makes an Error of kind Refused.
func Refuse(check, expected, got, fix string) *Error {
	return &Error{Kind: Refused, Check: check, Expected: expected, Got: got, Fix: fix}
}

// Misuse makes an Error of kind Usage.
func Misuse(check, expected, got, fix string) *Error {
	return &Error{Kind: Usage, Check: check, Expected: expected, Got: got, Fix: fix}
}

// NotGenuine makes an Error of kind Invalid.
func NotGenuine(check, expected, got, fix string) *Error {
	return &Error{Kind: Invalid, Check: check, Expected: expected, Got: got, Fix: fix}
}

// wireError is an Error as it crosses a process boundary, kind included.
type wireError struct {
	Kind     string  `json:"kind"`
	Check    string  `json:"check"`
	Expected string  `json:"expected"`
	Got      string  `json:"got"`
	Fix      string  `json:"fix"`
	Where    string  `json:"where,omitempty"`
	Checks   []Check `json:"checks,omitempty"`
}

// Encode gives err as JSON that [Decode] turns back into an Error of the same kind.
func Encode(err error) []byte {
	e := As(err)
	kind := e.Kind
	if kind < Broken || kind > Invalid {
		kind = Broken
	}
	data, merr := json.Marshal(wireError{kind.String(), e.Check, e.Expected, e.Got, e.Fix, e.Where, e.Checks})
	if merr != nil { // strings and bools only: can't happen
		return []byte(`{"kind":"broken","check":"internal","expected":"","got":"unprintable error","fix":""}`)
	}
	return data
}

// Decode reads what [Encode] wrote. Anything else gives a Broken Error that says so.
func Decode(data []byte) *Error {
	var w wireError
	if err := json.Unmarshal(data, &w); err != nil || w.Check == "" {
		return &Error{Kind: Broken, Check: "response", Expected: "an error document", Got: Short(string(data))}
	}
	e := &Error{Kind: Broken, Check: w.Check, Expected: w.Expected, Got: w.Got, Fix: w.Fix, Where: w.Where, Checks: w.Checks}
	for k := Broken; k <= Invalid; k++ {
		if k.String() == w.Kind {
			e.Kind = k
		}
	}
	return e
}

// Short cuts s for an error line: at most 120 bytes, escaped, "…" where it was cut.
func Short(s string) string {
	const most = 120
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return Printable(s)
}

// Printable escapes control and direction-changing characters, so that text somebody else
// wrote can't forge lines or reorder words on a screen. Line breaks and tabs become the two
// characters that people know them by.
func Printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20, r >= 0x7f && r < 0xa0, r == 0xad, r == 0x61c, r == 0x180e, r >= 0x200b && r <= 0x200f,
			r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff, r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe0fff:
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// ShellWord gives a word as a POSIX shell takes it, quoted where it must be: for commands in
// mends, which people copy.
func ShellWord(s string) string {
	plain := s != ""
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./:=@%+,", c)) {
			plain = false
		}
	}
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
