package measure

import (
	"bytes"
	"slices"
)

// SecureBoot is what a log says about Secure Boot.
type SecureBoot string

// The answers. Unknown is also given where the log says different things.
const (
	SecureBootOn      SecureBoot = "on"
	SecureBootOff     SecureBoot = "off"
	SecureBootUnknown SecureBoot = "unknown"
)

// SecureBoot looks for the state of Secure Boot, as proven by digests of the bank in PCR 7
// or RTMR 0. No digest covers the type of an event, so whoever writes the log can give the
// firmware's own events other names, and extend the register with events of its own behind
// them. Hence only what the firmware measured counts: what stands in front of the first event
// that is a separator by its digest, whatever the log calls it. There the SecureBoot variable
// must be said once, and covered whole by its digest; in PCR 7 it must be the very first event
// (PFP, section 3.3.4.8; firmware that can be debugged says so in front of it, and is not to
// be believed). In RTMR 0 the hand-off blocks and the firmware's settings come first.
// Firmware that reports an error is no witness either.
func (l *Log) SecureBoot(kind Kind, bank Algorithm) SecureBoot {
	end := l.firmwareEnd(kind, bank)
	if end < 0 || bytes.Equal(l.Events[end].Digest(bank), bank.Sum(errorSeparator())) {
		return SecureBootUnknown
	}
	state, first := SecureBootUnknown, true
	for i, e := range l.Events {
		if e.Register != secureBootHolder(kind) || !e.Extends() {
			continue
		}
		said, lie := e.secureBoot(bank)
		switch {
		case lie, i < end && e.Type == Separator:
			return SecureBootUnknown
		case said == SecureBootUnknown:
		case state != SecureBootUnknown || i > end || kind == PCRs && !first:
			return SecureBootUnknown
		default:
			state = said
		}
		first = false
	}
	return state
}

// secureBootHolder is the register that holds the state of Secure Boot, as logs number it.
func secureBootHolder(kind Kind) uint32 {
	if kind == RTMRs {
		return 1
	}
	return 7
}

// firmwareEnd finds the separator that ends the firmware's own measurements in the register of
// Secure Boot; -1 if there is none.
func (l *Log) firmwareEnd(kind Kind, bank Algorithm) int {
	return slices.IndexFunc(l.Events, func(e Event) bool {
		return e.Register == secureBootHolder(kind) && e.Extends() && e.separates(bank)
	})
}

// separates reports whether the digest is that of a separator: zeros, ones or, where the
// firmware reports an error, a one (PFP, section 3.3.2). Contents of boot variables have the
// same digests at times, but not in front of the first separator of PCR 7 or RTMR 0.
func (e Event) separates(bank Algorithm) bool {
	digest := e.Digest(bank)
	for _, data := range [][]byte{{0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff}, errorSeparator()} {
		if digest != nil && bytes.Equal(bank.Sum(data), digest) {
			return true
		}
	}
	return false
}

func errorSeparator() []byte { return []byte{1, 0, 0, 0} }

// secureBoot gives the state of Secure Boot that an event's digest proves, unknown for other
// events. The variable is known by its digest even where the log calls it something else: that
// is a lie, and so is a variable that the digest does not cover.
func (e Event) secureBoot(bank Algorithm) (state SecureBoot, lie bool) {
	v, ok := parseVariable(e.Data)
	named := e.Type == EFIVariableDriverConfig && ok && v.guid == globalVariable && v.name == "SecureBoot"
	switch {
	case !named:
		return SecureBootUnknown, e.hidesSecureBoot(bank)
	case e.Cover(bank) != Whole:
		return SecureBootUnknown, true
	case bytes.Equal(v.data, []byte{1}):
		return SecureBootOn, false
	}
	return SecureBootOff, false
}

// hidesSecureBoot reports whether the digest is that of the SecureBoot variable all the same.
func (e Event) hidesSecureBoot(bank Algorithm) bool {
	digest := e.Digest(bank)
	for _, value := range [][]byte{{}, {0}, {1}} {
		if digest != nil && bytes.Equal(bank.Sum(secureBootVariable(value)), digest) {
			return true
		}
	}
	return false
}

// secureBootVariable makes the UEFI_VARIABLE_DATA that firmware hashes.
func secureBootVariable(value []byte) []byte {
	out := []byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	const name = "SecureBoot"
	out = append(out, byte(len(name)), 0, 0, 0, 0, 0, 0, 0, byte(len(value)), 0, 0, 0, 0, 0, 0, 0)
	for _, c := range []byte(name) {
		out = append(out, c, 0)
	}
	return append(out, value...)
}
