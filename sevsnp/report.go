package sevsnp

import (
	"encoding/binary"
	"fmt"
)

// Sizes and offsets of the report, in bytes (AMD 56860, structure ATTESTATION_REPORT).
const (
	// ReportSize is the size of a report of every version.
	ReportSize = 0x4a0
	signedSize = 0x2a0 // what the signature covers
	numberSize = 72    // R and S each, little endian
)

// Report is an attestation report, field by field (AMD 56860, structure ATTESTATION_REPORT).
// Reading one checks its form, never its signature.
type Report struct {
	Version      uint32
	GuestSVN     uint32
	Policy       Policy
	FamilyID     [16]byte
	ImageID      [16]byte
	VMPL         uint32
	CurrentTCB   TCB
	PlatformInfo PlatformInfo
	Flags        Flags
	ReportData   [64]byte
	Measurement  [48]byte
	HostData     [32]byte
	// IDKeyDigest and AuthorKeyDigest are zero if the guest was started without an ID block.
	IDKeyDigest     [48]byte
	AuthorKeyDigest [48]byte
	ReportID        [32]byte
	// ReportIDMA is that of the migration agent, all ones if there is none.
	ReportIDMA  [32]byte
	ReportedTCB TCB
	// Family, Model and Stepping are those of CPUID, from version 3 on.
	Family, Model, Stepping byte
	// ChipID is zero if the host masks it or the key is a VLEK.
	ChipID             [64]byte
	CommittedTCB       TCB
	Current, Committed Firmware
	LaunchTCB          TCB
	// LaunchMitigations and CurrentMitigations are bit vectors, from version 5 on.
	LaunchMitigations, CurrentMitigations uint64

	signed    []byte // the first 0x2a0 bytes
	r, s      [48]byte
	nonzero   []string // reserved fields that are not zero
	algorithm uint32
}

// Firmware is a version of the security processor's firmware.
type Firmware struct{ Major, Minor, Build byte }

func (f Firmware) String() string { return fmt.Sprintf("%d.%d.%d", f.Major, f.Minor, f.Build) }

// Policy is GUEST_POLICY.
type Policy uint64

// has reports whether a bit is set.
func (p Policy) has(bit int) bool { return p>>bit&1 == 1 }

// Debug reports whether the host may decrypt the guest's memory.
func (p Policy) Debug() bool { return p.has(19) }

// MigrateMA reports whether a migration agent may be bound to the guest.
func (p Policy) MigrateMA() bool { return p.has(18) }

// PlatformInfo is PLATFORM_INFO.
type PlatformInfo uint64

func (p PlatformInfo) has(bit int) bool { return p>>bit&1 == 1 }

// AliasChecked reports whether the firmware found no aliased memory since it started, the
// mend of BadRAM (AMD-SB-3015).
func (p PlatformInfo) AliasChecked() bool { return p.has(5) }

// Flags is the word at 0x48: who signed, and what the host masks.
type Flags uint32

// AuthorKey reports whether AuthorKeyDigest means something.
func (f Flags) AuthorKey() bool { return f&1 == 1 }

// MaskChipKey reports whether the host keeps the firmware from signing.
func (f Flags) MaskChipKey() bool { return f&2 == 2 }

// Key gives the kind of key that signed.
func (f Flags) Key() KeyKind { return KeyKind(f >> 2 & 7) }

// KeyKind is SIGNING_KEY: whose key signed a report.
type KeyKind byte

// The kinds of key. All others are reserved.
const (
	VCEK  KeyKind = 0 // the chip's own
	VLEK  KeyKind = 1 // loaded for a cloud, the same in all its machines
	NoKey KeyKind = 7 // the report is not signed
)

func (k KeyKind) String() string {
	switch k {
	case VCEK:
		return "VCEK"
	case VLEK:
		return "VLEK"
	case NoKey:
		return "none"
	}
	return fmt.Sprintf("reserved (%d)", byte(k))
}

// looksLike is the cheap test for a report at the start of b: a plausible version, the one
// signature algorithm there is, and the policy bit that must be one.
func looksLike(b []byte) bool {
	if len(b) < ReportSize {
		return false
	}
	version := binary.LittleEndian.Uint32(b)
	return version >= 1 && version <= 32 && binary.LittleEndian.Uint32(b[0x34:]) == 1 && b[0x0a]&2 == 2
}

// ParseReport reads a report of exactly [ReportSize] bytes.
func ParseReport(b []byte) (*Report, error) {
	if len(b) != ReportSize {
		return nil, fmt.Errorf("report of %d bytes, expected %d", len(b), ReportSize)
	}
	le32, le64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	r := &Report{
		Version: le32(b), GuestSVN: le32(b[0x04:]), Policy: Policy(le64(b[0x08:])),
		FamilyID: [16]byte(b[0x10:]), ImageID: [16]byte(b[0x20:]), VMPL: le32(b[0x30:]), algorithm: le32(b[0x34:]),
		CurrentTCB: TCB(b[0x38:]), PlatformInfo: PlatformInfo(le64(b[0x40:])), Flags: Flags(le32(b[0x48:])),
		ReportData: [64]byte(b[0x50:]), Measurement: [48]byte(b[0x90:]), HostData: [32]byte(b[0xc0:]),
		IDKeyDigest: [48]byte(b[0xe0:]), AuthorKeyDigest: [48]byte(b[0x110:]),
		ReportID: [32]byte(b[0x140:]), ReportIDMA: [32]byte(b[0x160:]), ReportedTCB: TCB(b[0x180:]),
		ChipID: [64]byte(b[0x1a0:]), CommittedTCB: TCB(b[0x1e0:]),
		Current: Firmware{b[0x1ea], b[0x1e9], b[0x1e8]}, Committed: Firmware{b[0x1ee], b[0x1ed], b[0x1ec]},
		LaunchTCB: TCB(b[0x1f0:]), signed: b[:signedSize],
	}
	if r.Version < 2 || r.Version > 5 {
		return nil, fmt.Errorf("report of version %d, expected 2 to 5", r.Version)
	}
	if r.algorithm != 1 {
		return nil, fmt.Errorf("signature algorithm %d, expected 1 (ECDSA P-384 with SHA-384)", r.algorithm)
	}
	if r.Version >= 3 {
		r.Family, r.Model, r.Stepping = b[0x188], b[0x189], b[0x18a]
	}
	if r.Version >= 5 {
		r.LaunchMitigations, r.CurrentMitigations = le64(b[0x1f8:]), le64(b[0x200:])
	}
	r.findNonzero(b)
	return r, r.readSignature(b[signedSize:])
}

// findNonzero notes reserved fields that are not zero, and the policy bit that must be one.
func (r *Report) findNonzero(b []byte) {
	cpuid, rest := 0x18b, 0x208
	if r.Version < 3 {
		cpuid = 0x188
	}
	if r.Version < 5 {
		rest = 0x1f8
	}
	for _, f := range []struct {
		from, to int
	}{{0x4c, 0x50}, {cpuid, 0x1a0}, {0x1eb, 0x1ec}, {0x1ef, 0x1f0}, {rest, signedSize}} {
		if !zero(b[f.from:f.to]) {
			r.nonzero = append(r.nonzero, fmt.Sprintf("bytes %#x to %#x", f.from, f.to-1))
		}
	}
	if !r.Policy.has(17) {
		r.nonzero = append(r.nonzero, "policy bit 17 is not one")
	}
	if r.Policy>>26 != 0 {
		r.nonzero = append(r.nonzero, "policy bits 26 to 63")
	}
	if r.PlatformInfo>>8 != 0 || r.PlatformInfo.has(6) {
		r.nonzero = append(r.nonzero, "platform info bits 6 or 8 to 63")
	}
	if r.Flags>>5 != 0 {
		r.nonzero = append(r.nonzero, "flag bits 5 to 31")
	}
}

// readSignature reads R and S (format of ECDSA P-384 signatures): numbers of 72 bytes, little endian, of
// which a P-384 signature fills 48. What is beyond is not covered by any signature.
func (r *Report) readSignature(b []byte) error {
	if !zero(b[48:numberSize]) || !zero(b[numberSize+48:]) {
		return fmt.Errorf("signature with bytes that are not zero beyond R and S")
	}
	for i := range 48 {
		r.r[47-i], r.s[47-i] = b[i], b[numberSize+i]
	}
	return nil
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
