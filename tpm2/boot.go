package tpm2

import (
	"bytes"
	"errors"
	"fmt"

	"strongroom.dev/measure"
)

// Boot is what an event log says of the boot that quoted PCRs are of, as far as they prove it.
type Boot struct {
	Bank measure.Algorithm
	// Matched are the PCRs whose quoted values are what the log gives; Differ those whose are
	// not; Unquoted those that the log extends and the quote doesn't cover; Unexplained those
	// that something extended that is not in the log, such as the kernel's list of files.
	Matched, Differ, Unquoted, Unexplained []int
	// Events are those of matched PCRs, at most [MaxExplained]; Left is how many more there are.
	Events []measure.Explanation
	Left   int
	// SecureBoot is unknown unless PCR 7 matched.
	SecureBoot measure.SecureBoot
	// Firmware is OVMF's account of itself, where PCR 0 matched and holds nothing else; nil for
	// other firmware.
	Firmware *measure.Firmware
	// BootVariables is set if PCR 1 matched and holds boot variables alone.
	BootVariables bool
	// OnlyAggregate is set if PCR 10 holds the kernel's hash of PCRs 0 to 9 and no file.
	OnlyAggregate bool
}

// ErrNoBank says that a log has no digests of the strongest bank that is quoted, or that no
// bank is quoted but that of SHA-1.
var ErrNoBank = errors.New("a log that proves nothing")

// Replay compares an event log with the quoted values, in the strongest quoted bank: the one
// that measurements come from. A weaker bank won't do. Firmware may have left it alone though
// it is active (CVE-2021-42299), so that whatever booted could fill it as it liked.
// A log proves nothing of PCRs that differ: their events are left out.
func (all *Quoted) Replay(data []byte) (*Boot, error) {
	log, err := measure.Parse(data)
	if err != nil {
		return nil, err
	}
	bank := all.Best()
	switch {
	case bank.Bank == 0:
		return nil, fmt.Errorf("%w: no bank is quoted but that of SHA-1", ErrNoBank)
	case !log.Has(bank.Bank):
		return nil, fmt.Errorf("%w: it has digests of %v, and none of %s, the strongest bank that is quoted", ErrNoBank, log.Banks, bank.Bank)
	}
	registers, err := log.Replay(measure.PCRs, bank.Bank)
	if err != nil {
		return nil, err
	}
	boot := &Boot{Bank: bank.Bank, SecureBoot: measure.SecureBootUnknown}
	good := boot.compare(bank, registers)
	boot.explain(log, good)
	boot.name(log, good, bank)
	if good[7] {
		boot.SecureBoot = log.SecureBoot(measure.PCRs, bank.Bank)
	}
	return boot, nil
}

// compare sorts the PCRs by what the log says of them, and gives those that matched.
func (boot *Boot) compare(bank Bank, registers measure.Registers) map[uint32]bool {
	good := map[uint32]bool{}
	for i := range measure.NumPCRs {
		quoted, isQuoted := bank.Values[i]
		logged, isLogged := registers[uint32(i)]
		switch {
		case isLogged && !isQuoted:
			boot.Unquoted = append(boot.Unquoted, i)
		case isLogged && bytes.Equal(quoted, logged):
			boot.Matched = append(boot.Matched, i)
			good[uint32(i)] = true
		case isLogged:
			boot.Differ = append(boot.Differ, i)
		case isQuoted && !measure.Untouched(measure.PCRs, uint32(i), quoted):
			boot.Unexplained = append(boot.Unexplained, i)
		}
	}
	return good
}

func (boot *Boot) explain(log *measure.Log, good map[uint32]bool) {
	for _, e := range log.Explain(measure.PCRs, boot.Bank) {
		switch {
		case !good[e.Register]:
		case len(boot.Events) == MaxExplained:
			boot.Left++
		default:
			boot.Events = append(boot.Events, e)
		}
	}
}

// Claims describes the boot for people and rules.
func (boot *Boot) Claims() map[string]any {
	events := make([]any, len(boot.Events))
	for i, e := range boot.Events {
		events[i] = map[string]any{
			"number": e.Number, "pcr": int(e.Register), "type": e.Type, "digest": e.Digest, "text": e.Text, "words": e.Words, "cover": string(e.Cover),
		}
	}
	all := map[string]any{
		"bank": boot.Bank.String(), "matched": list(boot.Matched), "differ": list(boot.Differ), "unquoted": list(boot.Unquoted),
		"unexplained": list(boot.Unexplained), "events": events, "events_left_out": boot.Left, "secure_boot": string(boot.SecureBoot),
		"boot_variables_only": boot.BootVariables, "only_aggregate": boot.OnlyAggregate,
	}
	if boot.Firmware != nil {
		all["firmware"] = firmwareClaims(boot.Firmware)
	}
	return all
}

func list(numbers []int) []any {
	out := make([]any, len(numbers))
	for i, n := range numbers {
		out[i] = n
	}
	return out
}

// Text says in a line how log and quote agree.
func (boot *Boot) Text() string {
	return fmt.Sprintf("%s: PCRs %v replayed, %v differ, %v not quoted; %d events; Secure Boot %s",
		boot.Bank, boot.Matched, boot.Differ, boot.Unquoted, len(boot.Events)+boot.Left, boot.SecureBoot)
}
