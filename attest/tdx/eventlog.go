package tdx

import (
	"bytes"
	"fmt"
	"strings"

	"strongroom.dev/attest"
	"strongroom.dev/measure"
	"strongroom.dev/verdict"
)

// maxExplained is the most events of a log that are explained one by one.
const maxExplained = 1024

// boot is what an event log (CCEL) says of the boot that quoted RTMRs are of, as far as they
// prove it. RTMRs are by number.
type boot struct {
	// matched are those whose quoted values are what the log gives; differ those whose are not;
	// unexplained those that something extended that is not in the log.
	matched, differ, unexplained []any
	events                       []any
	left                         int
	secureBoot                   measure.SecureBoot
}

// replay checks that a log leads to the quoted RTMRs, and claims what they prove of it. A log
// that does not is wrong, the quote is not: it fails a check. What is no log at all is an error.
func replay(f *attest.Finding, data []byte, rtmrs [4][48]byte) error {
	const expected, fix = "an event log that leads to the quoted RTMRs", "send the log of this very boot, whole, or none"
	log, err := measure.Parse(data)
	if err != nil {
		return verdict.NotGenuine("tdx.event_log", expected, verdict.Short(err.Error()), fix)
	}
	check := verdict.Check{ID: "tdx.event_log", Expected: expected, Fix: fix}
	registers, err := log.Replay(measure.RTMRs, measure.SHA384)
	if err != nil {
		check.Got = verdict.Printable(verdict.Short(err.Error()))
		f.Checks = append(f.Checks, check)
		return nil
	}
	b := compared(registers, rtmrs)
	b.explain(log)
	if check.Got = b.text(); len(b.differ) == 0 {
		check.OK, check.Fix = true, ""
	}
	f.Checks = append(f.Checks, check)
	f.Claims["event_log"] = map[string]any{
		"bank": measure.SHA384.String(), "matched": b.matched, "differ": b.differ, "unexplained": b.unexplained,
		"events": b.events, "events_left_out": b.left, "secure_boot": string(b.secureBoot),
	}
	return nil
}

// compared sorts the RTMRs by what the log says of them.
func compared(registers measure.Registers, rtmrs [4][48]byte) *boot {
	b := &boot{matched: []any{}, differ: []any{}, unexplained: []any{}, events: []any{}, secureBoot: measure.SecureBootUnknown}
	for i, quoted := range rtmrs {
		logged, isLogged := registers[uint32(i)]
		switch {
		case isLogged && bytes.Equal(logged, quoted[:]):
			b.matched = append(b.matched, i)
		case isLogged:
			b.differ = append(b.differ, i)
		case !measure.Untouched(measure.RTMRs, uint32(i), quoted[:]):
			b.unexplained = append(b.unexplained, i)
		}
	}
	return b
}

// explain takes from the log what RTMRs that matched prove: events of others are left out.
func (b *boot) explain(log *measure.Log) {
	good := make(map[uint32]bool)
	for _, i := range b.matched {
		good[uint32(i.(int))] = true
	}
	for n, e := range log.Explain(measure.RTMRs, measure.SHA384) {
		switch {
		case !log.Events[n].Extends() || !good[e.Register]:
		case len(b.events) == maxExplained:
			b.left++
		default:
			b.events = append(b.events, map[string]any{
				"number": e.Number, "rtmr": int(e.Register), "type": e.Type, "digest": e.Digest, "text": e.Text, "words": e.Words, "cover": string(e.Cover),
			})
		}
	}
	if good[0] {
		b.secureBoot = log.SecureBoot(measure.RTMRs, measure.SHA384)
	}
}

func (b *boot) text() string {
	return fmt.Sprintf("RTMRs replayed: %s; that differ: %s; extended by what is not in the log: %s; %d events; Secure Boot %s",
		numbers(b.matched), numbers(b.differ), numbers(b.unexplained), len(b.events)+b.left, b.secureBoot)
}

func numbers(all []any) string {
	if len(all) == 0 {
		return "none"
	}
	return strings.Trim(fmt.Sprint(all), "[]")
}
