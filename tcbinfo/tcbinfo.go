// Package tcbinfo reads what DICE devices state about themselves in the extensions of their
// certificates: which firmware each layer booted, and whether anything is open (TCG, "DICE
// Attestation Architecture", version 1.2, section 6.1).
//
// It reads form only. Whether a certificate is to be believed is for its caller.
package tcbinfo

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Limits of one extension: the longest seen has two entries in 182 bytes.
const (
	maxExtension = 16 << 10
	maxInfos     = 16
	maxFWIDs     = 32
	maxRegisters = 64
	maxString    = 1024
)

// OID gives tcg-dice.N.
func OID(n int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 23, 133, 5, 4, n} }

// Numbers of extensions below tcg-dice.
const (
	TCBInfo      = 1 // one Info
	UEID         = 4 // the device's identity
	MultiTCBInfo = 5 // several Infos
)

// FWID is a digest of firmware, or of whatever else a layer measures.
type FWID struct {
	Algorithm asn1.ObjectIdentifier
	Digest    []byte
}

// Register is a named measurement that grows while the device runs.
type Register struct {
	Name    string
	Number  *int64
	Digests []FWID
}

// Info is a DiceTcbInfo. What is not stated is empty or nil.
type Info struct {
	Vendor, Model, Version string
	SVN, Layer, Index      *int64
	FWIDs                  []FWID
	// Flags is nil if the device does not state any.
	Flags      *Flags
	VendorInfo []byte
	Type       []byte
	Registers  []Register
}

// Flags are operational flags. Bits are numbered as in the standard, bit 0 first.
type Flags struct {
	// Set are the bits that are set, Known those that the device speaks of at all: all, unless it
	// states a mask.
	Set, Known uint64
	// Masked is set if the device states a mask.
	Masked bool
}

// The bits.
const (
	NotConfigured         = 0
	NotSecure             = 1
	Recovery              = 2
	Debug                 = 3
	NotReplayProtected    = 4
	NotIntegrityProtected = 5
	NotRuntimeMeasured    = 6
	NotImmutable          = 7
	NotTCB                = 8
	FixedWidth            = 31
)

// FlagName names a bit, for people.
func FlagName(bit int) string {
	names := map[int]string{NotConfigured: "not configured", NotSecure: "not secure", Recovery: "recovery", Debug: "debug", NotReplayProtected: "not replay protected",
		NotIntegrityProtected: "not integrity protected", NotRuntimeMeasured: "not runtime measured", NotImmutable: "not immutable", NotTCB: "not part of the TCB", FixedWidth: "fixed width"}
	if name, ok := names[bit]; ok {
		return name
	}
	return fmt.Sprintf("flag %d", bit)
}

// Bits lists the bits that are set, but for that which only says how wide the flags are.
func (f *Flags) Bits() []int {
	var bits []int
	for i := range 64 {
		if f != nil && f.Set>>i&1 == 1 && i != FixedWidth {
			bits = append(bits, i)
		}
	}
	return bits
}

// Says reports whether the device speaks of a bit.
func (f *Flags) Says(bit int) bool { return f != nil && f.Known>>bit&1 == 1 }

// Parse reads a DiceTcbInfo.
func Parse(der []byte) (Info, error) {
	if len(der) > maxExtension {
		return Info{}, fmt.Errorf("DiceTcbInfo of %d bytes, at most %d", len(der), maxExtension)
	}
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(der, &outer)
	if err != nil || len(rest) > 0 {
		return Info{}, errors.New("not a DiceTcbInfo")
	}
	return parse(outer)
}

// ParseMulti reads a DiceTcbInfoSeq: one or more Infos.
func ParseMulti(der []byte) ([]Info, error) {
	if len(der) > maxExtension {
		return nil, fmt.Errorf("MultiTcbInfo of %d bytes, at most %d", len(der), maxExtension)
	}
	var all []asn1.RawValue
	rest, err := asn1.Unmarshal(der, &all)
	if err != nil || len(rest) > 0 || len(all) == 0 || len(all) > maxInfos {
		return nil, fmt.Errorf("not a list of 1 to %d DiceTcbInfo", maxInfos)
	}
	var infos []Info
	for _, one := range all {
		info, err := parse(one)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// ParseUEID reads a TCGUEID: SEQUENCE { OCTET STRING }.
func ParseUEID(der []byte) ([]byte, error) {
	var v struct{ UEID []byte }
	rest, err := asn1.Unmarshal(der, &v)
	if err != nil || len(rest) > 0 || len(v.UEID) == 0 || len(v.UEID) > maxString {
		return nil, errors.New("not a UEID")
	}
	return v.UEID, nil
}

// parse reads fields [0] to [11], each at most once and in that order.
func parse(outer asn1.RawValue) (Info, error) {
	var info Info
	if outer.Class != asn1.ClassUniversal || outer.Tag != asn1.TagSequence || !outer.IsCompound {
		return info, errors.New("not a DiceTcbInfo")
	}
	var flags, mask *asn1.BitString
	last := -1
	for data := outer.Bytes; len(data) > 0; {
		var v asn1.RawValue
		var err error
		if data, err = asn1.Unmarshal(data, &v); err != nil || v.Class != asn1.ClassContextSpecific || v.Tag <= last || v.Tag > 11 {
			return Info{}, errors.New("a DiceTcbInfo with fields that are unknown or out of order")
		}
		last = v.Tag
		switch v.Tag {
		case 7:
			flags, err = bits(v)
		case 10:
			mask, err = bits(v)
		default:
			err = info.field(v)
		}
		if err != nil {
			return Info{}, err
		}
	}
	if flags != nil {
		info.Flags = &Flags{Set: number(*flags), Known: ^uint64(0)}
		if mask != nil {
			info.Flags.Known, info.Flags.Masked = number(*mask), true
		}
	}
	return info, nil
}

func (i *Info) field(v asn1.RawValue) (err error) {
	switch v.Tag {
	case 0:
		i.Vendor, err = text(v)
	case 1:
		i.Model, err = text(v)
	case 2:
		i.Version, err = text(v)
	case 3:
		i.SVN, err = integer(v)
	case 4:
		i.Layer, err = integer(v)
	case 5:
		i.Index, err = integer(v)
	case 6:
		i.FWIDs, err = fwids(v, 6)
	case 8:
		i.VendorInfo, err = octets(v)
	case 9:
		i.Type, err = octets(v)
	case 11:
		i.Registers, err = registers(v)
	}
	return err
}

func text(v asn1.RawValue) (string, error) {
	if v.IsCompound || !utf8.Valid(v.Bytes) || len(v.Bytes) > maxString {
		return "", fmt.Errorf("field %d is not text of up to %d bytes", v.Tag, maxString)
	}
	return string(v.Bytes), nil
}

func octets(v asn1.RawValue) ([]byte, error) {
	if v.IsCompound || len(v.Bytes) > maxString {
		return nil, fmt.Errorf("field %d is not a string of up to %d bytes", v.Tag, maxString)
	}
	return v.Bytes, nil
}

func integer(v asn1.RawValue) (*int64, error) {
	var n int64
	if _, err := asn1.UnmarshalWithParams(v.FullBytes, &n, fmt.Sprintf("tag:%d", v.Tag)); err != nil || n < 0 {
		return nil, fmt.Errorf("field %d is not a number", v.Tag)
	}
	return &n, nil
}

func bits(v asn1.RawValue) (*asn1.BitString, error) {
	var b asn1.BitString
	if _, err := asn1.UnmarshalWithParams(v.FullBytes, &b, fmt.Sprintf("tag:%d", v.Tag)); err != nil || b.BitLength > 64 {
		return nil, fmt.Errorf("field %d is not a string of up to 64 bits", v.Tag)
	}
	return &b, nil
}

func number(b asn1.BitString) uint64 {
	var n uint64
	for i := range b.BitLength {
		n |= uint64(b.At(i)) << i
	}
	return n
}

func fwids(v asn1.RawValue, tag int) ([]FWID, error) {
	var all []FWID
	if rest, err := asn1.UnmarshalWithParams(v.FullBytes, &all, fmt.Sprintf("tag:%d", tag)); err != nil || len(rest) > 0 || len(all) == 0 || len(all) > maxFWIDs {
		return nil, fmt.Errorf("not a list of 1 to %d FWIDs", maxFWIDs)
	}
	for _, f := range all {
		if size := digestSize(f.Algorithm); len(f.Digest) != size {
			return nil, fmt.Errorf("a FWID of %d bytes by %s", len(f.Digest), f.Algorithm)
		}
	}
	return all, nil
}

// digestSize gives the bytes of a digest of the SHA-2 or SHA-3 family (2.16.840.1.101.3.4.2.N);
// -1 for other algorithms.
func digestSize(id asn1.ObjectIdentifier) int {
	family := asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2}
	if len(id) != len(family)+1 || !id[:len(family)].Equal(family) {
		return -1
	}
	size, ok := map[int]int{1: 32, 2: 48, 3: 64, 8: 32, 9: 48, 10: 64}[id[len(family)]]
	if !ok {
		return -1
	}
	return size
}

// registers reads SEQUENCE OF { [0] name, [1] number, [2] digests }.
func registers(v asn1.RawValue) ([]Register, error) {
	var all []asn1.RawValue
	if rest, err := asn1.UnmarshalWithParams(v.FullBytes, &all, "tag:11"); err != nil || len(rest) > 0 || len(all) == 0 || len(all) > maxRegisters {
		return nil, fmt.Errorf("not a list of 1 to %d integrity registers", maxRegisters)
	}
	var out []Register
	for _, one := range all {
		r, err := register(one)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func register(outer asn1.RawValue) (r Register, err error) {
	last := -1
	for data := outer.Bytes; len(data) > 0; {
		var v asn1.RawValue
		if data, err = asn1.Unmarshal(data, &v); err != nil || v.Class != asn1.ClassContextSpecific || v.Tag <= last || v.Tag > 2 {
			return Register{}, errors.New("an integrity register with fields that are unknown or out of order")
		}
		last = v.Tag
		switch v.Tag {
		case 0:
			r.Name, err = text(v)
		case 1:
			r.Number, err = integer(v)
		case 2:
			r.Digests, err = fwids(v, 2)
		}
		if err != nil {
			return Register{}, err
		}
	}
	if outer.Tag != asn1.TagSequence || r.Digests == nil || r.Name == "" && r.Number == nil {
		return Register{}, errors.New("an integrity register without name and number, or without digests")
	}
	return r, nil
}
