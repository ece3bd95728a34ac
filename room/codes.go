package room

import (
	"slices"

	"strongroom.dev/verdict"
)

// The codes of runs that stop after an input was decrypted. Which one it is must not depend
// on data beyond the phase that failed: details go to the data's owners only (R19).
const (
	codeLapsed   = "lease.lapsed"
	codeRefused  = "lease.refused"
	codeLedger   = "ledger.quorum"
	codeInput    = "input.file"
	codeLoad     = "work.load"
	codeWork     = "work.run"
	codeEngine   = "work.engine"
	codeTime     = "work.time"
	codeRows     = "output.rows"
	codeBytes    = "output.bytes"
	codeInternal = "room.internal"
	// codeFailed is the one code that a result carries: which phase failed can depend on one
	// person's value, so it is for the data's owners to know (R19).
	codeFailed = "run.failed"
)

// codes says in fixed words what each code means, and how to mend it.
var codes = map[string][2]string{
	codeLapsed:   {"every owner's broker heard from before its lease ends", "keep brokers reachable while a run goes on, or agree on a longer lease"},
	codeRefused:  {"every owner's broker to let the run go on", "ask the data's owners: a broker said no"},
	codeLedger:   {"an answer of as many shared ledgers as agreed", "see that the shared ledgers run and are reachable, then sign a new request"},
	codeInput:    {"the sealed file that its owner signed, whole and unaltered", "get the file from its owner again"},
	codeLoad:     {"data that holds what its owner's statement says", "the data's owners find the reason in their own records"},
	codeWork:     {"work that ends without an error", "the data's owners find the reason in their own records"},
	codeEngine:   {"an engine that answers", "the data's owners find the reason in their own records"},
	codeTime:     {"work that ends within an hour of its keys' release", "ask for less at once: a room gives up what takes longer"},
	codeRows:     {"at most as many rows as agreed", "ask for fewer groups, or agree on a larger maximum"},
	codeBytes:    {"at most as many bytes as agreed", "ask for fewer groups, or agree on a larger maximum"},
	codeFailed:   {"a run that comes to an answer", "the data's owners find the reason in their own records"},
	codeInternal: {"a room that works", "try again with a new request"},
}

// known reports whether a check is one of the codes.
func known(code string) bool { _, found := codes[code]; return found }

// spoken are checks of a container's machine, which are made before it starts or after it has
// ended and never read its data: what they say stays whole.
var spoken = []string{"container.image", "container.data", "container.mount", "volume.generation", "volume.root", "volume.fenced", "volume.disk", "machine.disk",
	"volume.key", "volume.state", "volume.encryption"}

// onlyCode reduces an error to its code.
func onlyCode(err error) error {
	e := verdict.As(err)
	if slices.Contains(spoken, e.Check) {
		return e
	}
	code, kind := e.Check, e.Kind
	if !known(code) {
		code = codeInternal
	}
	if kind < verdict.Broken || kind > verdict.Invalid {
		kind = verdict.Broken
	}
	return &verdict.Error{Kind: kind, Check: code, Expected: codes[code][0], Got: "a run that stopped", Fix: codes[code][1]}
}
