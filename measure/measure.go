// Package measure reads the logs that firmware keeps of what it measured at boot, and
// replays them: TCG event logs of TPMs (crypto-agile and the older SHA-1-only form) and the
// CC event logs (CCEL) of confidential guests.
//
// A log is no evidence: whoever holds it can write anything into it. What it says counts only
// where [Log.Replay] gives the very register values that a quote carries, and then only for
// what the digests cover: for every event [Event.Cover] says whether its text is proven by
// its digest, is a hint beside a digest of something else, or contradicts the digest.
//
// Sources: TCG PC Client Platform Firmware Profile 1.06 (PFP), section 10; TCG EFI Platform
// Specification 1.22, section 7; UEFI 2.10, sections 10 and 38 (CC measurement).
package measure

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
)

// Algorithm is a hash by its number in the TCG's algorithm registry.
type Algorithm uint16

// The algorithms that registers are replayed in.
const (
	SHA1   Algorithm = 0x0004
	SHA256 Algorithm = 0x000b
	SHA384 Algorithm = 0x000c
	SHA512 Algorithm = 0x000d
)

// String gives the name used in measurements and reports, or the number in hex.
func (a Algorithm) String() string {
	switch a {
	case SHA1:
		return "sha1"
	case SHA256:
		return "sha256"
	case SHA384:
		return "sha384"
	case SHA512:
		return "sha512"
	}
	return fmt.Sprintf("algorithm 0x%04x", uint16(a))
}

// Size gives the bytes of a digest; 0 for an algorithm that this package can't compute.
func (a Algorithm) Size() int {
	switch a {
	case SHA1:
		return sha1.Size
	case SHA256:
		return sha256.Size
	case SHA384:
		return sha512.Size384
	case SHA512:
		return sha512.Size
	}
	return 0
}

func (a Algorithm) hash() hash.Hash {
	switch a {
	case SHA1:
		return sha1.New()
	case SHA256:
		return sha256.New()
	case SHA384:
		return sha512.New384()
	case SHA512:
		return sha512.New()
	}
	return nil
}

// Sum hashes the parts, one after the other; nil if the algorithm can't be computed.
func (a Algorithm) Sum(parts ...[]byte) []byte {
	h := a.hash()
	if h == nil {
		return nil
	}
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// Kind says which machine's registers a log is about. The bytes of both kinds of log look
// alike.
type Kind int

const (
	// PCRs are the platform configuration registers of a TPM, 0 to 23.
	PCRs Kind = iota + 1
	// RTMRs are the run-time measurement registers of a TDX guest, 0 to 3. Their logs count
	// from 1, since 0 stands for MRTD, which no event extends.
	RTMRs
)

// Registers are values by register number.
type Registers map[uint32][]byte

// StartupLocality is the locality in which a TPM was started, which its PCR 0 begins with
// (PFP, section 10.4.5.3); 0 where the log doesn't say.
func (l *Log) StartupLocality() byte { return l.locality }

// Replay computes the registers that the log extends, in one bank. Registers that it doesn't
// touch are left out. It refuses a log that can't have filled such registers: numbers out of
// range, a digest missing, nothing extended at all.
func (l *Log) Replay(kind Kind, bank Algorithm) (Registers, error) {
	if kind != PCRs && kind != RTMRs {
		return nil, fmt.Errorf("event log: no such kind of registers: %d", kind)
	}
	if bank.Size() == 0 || !l.Has(bank) {
		return nil, fmt.Errorf("event log has no %s bank", bank)
	}
	regs := Registers{}
	for i, e := range l.Events {
		if !e.Extends() {
			continue
		}
		reg, err := register(kind, e.Register)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
		digest := e.Digest(bank)
		if len(digest) != bank.Size() {
			return nil, fmt.Errorf("event %d has no %s digest", i+1, bank)
		}
		old := regs[reg]
		if old == nil {
			old = l.start(kind, bank, reg)
		}
		regs[reg] = bank.Sum(old, digest)
	}
	if len(regs) == 0 {
		return nil, fmt.Errorf("event log extends nothing")
	}
	return regs, nil
}

func register(kind Kind, index uint32) (uint32, error) {
	switch {
	case kind == PCRs && index < NumPCRs:
		return index, nil
	case kind == RTMRs && index >= 1 && index <= NumRTMRs:
		return index - 1, nil
	case kind == RTMRs:
		return 0, fmt.Errorf("measurement register %d, expected 1 to %d", index, NumRTMRs)
	}
	return 0, fmt.Errorf("PCR %d, expected 0 to %d", index, NumPCRs-1)
}

// start gives the value that a register has before the first event of the log. PCRs 17 to 22
// come up as ones, but only a late launch extends them, and that sets them to zero first.
func (l *Log) start(kind Kind, bank Algorithm, reg uint32) []byte {
	zero := make([]byte, bank.Size())
	if kind == PCRs && reg == 0 {
		zero[len(zero)-1] = l.locality
	}
	return zero
}

// Untouched reports whether a value is what a register holds that nothing has extended since
// the machine came up.
func Untouched(kind Kind, reg uint32, value []byte) bool {
	fill := byte(0)
	if kind == PCRs && reg >= 17 && reg <= 22 {
		fill = 0xff
	}
	return len(bytes.TrimLeft(value, string([]byte{fill}))) == 0
}
