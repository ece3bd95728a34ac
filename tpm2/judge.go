package tpm2

import (
	"bytes"
	"errors"
	"fmt"

	"strongroom.dev/measure"
	"strongroom.dev/verdict"
	"strongroom.dev/wire"
)

// InitDataPCR is the PCR that holds the init data of a room (spec/tpm.md): the room's image
// extends it once, before anything else may.
const InitDataPCR = 8

// WorkPCR is the PCR that a room measures the start of its work into.
const WorkPCR = 14

// LastPCR is the last PCR that a quote must cover: one that is left out may hold anything.
const LastPCR = 23

// check makes a check; fix is said only if it failed.
func check(id string, ok bool, expected, got, fix string) verdict.Check {
	if ok {
		fix = ""
	}
	return verdict.Check{ID: id, OK: ok, Expected: expected, Got: verdict.Printable(got), Fix: fix}
}

// CheckNonce checks that the nonce can be one that a verifier chose, and says whether it is so
// short that a careful reader should look at it. Whether it is that of this very challenge is
// for the relying party.
func (all *Quoted) CheckNonce(id string) (c verdict.Check, short bool) {
	n := len(all.Nonce)
	got, ok := fmt.Sprintf("%d bytes", n), false
	switch {
	case n == 0:
		got = "none: the quote may be of any time"
	case n < MinNonce:
		got += fmt.Sprintf(", %d too few: it may be guessed or waited for", MinNonce-n)
	case len(bytes.TrimLeft(all.Nonce, "\x00")) == 0:
		got = "zeros: the quote may be of any time"
	case n < GoodNonce:
		got, ok, short = got+fmt.Sprintf(", where %d would be good", GoodNonce), true, true
	default:
		ok = true
	}
	return check(id, ok, fmt.Sprintf("a nonce of at least %d bytes", MinNonce), got, "quote with the verifier's challenge as qualifying data"), short
}

// CheckPCRs checks that the quotes cover every PCR, by a hash that can be relied on.
func (all *Quoted) CheckPCRs(id string) verdict.Check {
	best := all.Best()
	missing := best.Missing(LastPCR)
	got := best.Bank.String()
	switch {
	case best.Bank == 0:
		got = "by SHA-1 only"
	case len(missing) > 0:
		got += fmt.Sprintf(" without PCRs %v, which may hold anything", missing)
	}
	return check(id, len(missing) == 0, fmt.Sprintf("PCRs 0 to %d, by SHA-256 or better", LastPCR), got, "quote all PCRs of the SHA-256 bank")
}

// CheckInitData checks that [InitDataPCR] was extended with init data, once, in the strongest
// bank: in one that the room's image left alone, anybody else may have.
func (all *Quoted) CheckInitData(id string, initData []byte) verdict.Check {
	got, ok := fmt.Sprintf("init data of %d bytes that the %s bank does not hold", len(initData), all.Best().Bank), false
	if b := all.Best(); b.ExtendedOnce(InitDataPCR, initData) {
		got, ok = "it was ("+b.Bank.String()+")", true
	}
	return check(id, ok, fmt.Sprintf("PCR %d extended once, with the init data", InitDataPCR), got, "let the room's image extend the PCR once, as spec/tpm.md has it")
}

// CheckStarted checks that the room's work has started (spec/tpm.md, section 1.2): that
// [InitDataPCR] was extended with init data and then the separator, and nothing else, and
// [WorkPCR] with this run's start and then the separator, in the strongest bank.
func (all *Quoted) CheckStarted(id string, initData []byte, run wire.Digest) verdict.Check {
	b := all.Best()
	separator := b.Bank.Sum(make([]byte, 4))
	got, ok := "it was ("+b.Bank.String()+")", false
	switch {
	case !b.Extended(InitDataPCR, initData, separator):
		got = fmt.Sprintf("init data of %d bytes that the %s bank does not hold with a separator behind it", len(initData), b.Bank)
	case !b.Extended(WorkPCR, startOf(b.Bank, run), separator):
		got = fmt.Sprintf("another PCR %d, as of another run", WorkPCR)
	default:
		ok = true
	}
	return check(id, ok, fmt.Sprintf("PCR %d extended with the init data and PCR %d with the start of run %s, then both with a separator", InitDataPCR, WorkPCR, run.Short()), got,
		"let the room's image measure the start of its work, as spec/tpm.md has it")
}

// startOf is what a bank of rooms' TPMs is extended with when a run's work starts.
func startOf(bank measure.Algorithm, run wire.Digest) []byte {
	const domain = "strongroom/work/v1"
	short, long := wire.SHA256(domain, run[:]), wire.SHA384(domain, run[:])
	switch bank {
	case measure.SHA256:
		return short[:]
	case measure.SHA384:
		return long[:]
	case measure.SHA512:
		return append(long[:], make([]byte, 16)...)
	}
	return nil
}

// CheckLog replays an event log; the boot is nil if the log lacks the strongest quoted bank. What
// differs is no reason to doubt the quotes: the log is wrong. It gives an error for what is no
// log of a TPM's machine.
func (all *Quoted) CheckLog(id string, log []byte) (verdict.Check, *Boot, error) {
	const expected, fix = "an event log that leads to the quoted PCRs", "send the log of this very boot, whole, or none"
	boot, err := all.Replay(log)
	switch {
	case errors.Is(err, ErrNoBank):
		return check(id, false, expected, err.Error(), "send a log with digests of the strongest bank that the firmware extends, and quote that bank; or send none"), nil, nil
	case err != nil:
		return check(id, false, expected, err.Error(), fix), nil, err
	}
	ok := len(boot.Differ) == 0 && len(boot.Unquoted) == 0
	return check(id, ok, expected, boot.Text(), fix), boot, nil
}
