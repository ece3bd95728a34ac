package tcbinfo_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"strongroom.dev/tcbinfo"
)

func unhex(text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// field writes a field; seq a sequence.
func field(tag byte, body ...byte) []byte { return tlv(0x80|tag, body) }
func list(tag byte, parts ...[]byte) []byte {
	return tlv(0xa0|tag, bytes.Join(parts, nil))
}
func seq(parts ...[]byte) []byte { return tlv(0x30, bytes.Join(parts, nil)) }

func tlv(tag byte, body []byte) []byte {
	if len(body) < 128 {
		return append([]byte{tag, byte(len(body))}, body...)
	}
	if len(body) < 256 {
		return append([]byte{tag, 0x81, byte(len(body))}, body...)
	}
	return append([]byte{tag, 0x82, byte(len(body) >> 8), byte(len(body))}, body...)
}

// fwid writes a FWID by SHA-2 or SHA-3 number n.
func fwid(n byte, size int) []byte {
	return seq([]byte{6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, n}, tlv(4, bytes.Repeat([]byte{n}, size)))
}

// caliptra is the extension of a Caliptra device's FMC alias certificate.
const caliptra = "3081B3306083020107A63F303D0609608648016503040202043089174D323270F9D456B0862335949437959BE8A134458DF89821CB50E2AC11843DAA5B5A5A6BACF74EF8BDFFD422E20B" +
	"87050000000001890B4445564943455F494E464F8A0500D0000001304F83020109A63F303D0609608648016503040202043083FFE184760328CF1263026AACBC9D81E5D143D4FDC6253AFCEE3210F7C25BFCAD4CAE405B8B2811403BB3F1E3E85C198908464D435F494E464F"

func TestCaliptra(t *testing.T) {
	infos, err := tcbinfo.ParseMulti(unhex(caliptra))
	if err != nil || len(infos) != 2 {
		t.Fatalf("%v %v", infos, err)
	}
	device, fmc := infos[0], infos[1]
	if string(device.Type) != "DEVICE_INFO" || *device.SVN != 0x107 || len(device.FWIDs) != 1 || device.FWIDs[0].Digest[0] != 0x89 || device.Layer != nil {
		t.Errorf("%+v", device)
	}
	f := device.Flags
	if f.Bits() != nil || f.Set != 1<<31 || !f.Masked || !f.Says(tcbinfo.Debug) || !f.Says(tcbinfo.NotConfigured) || !f.Says(tcbinfo.NotSecure) || f.Says(tcbinfo.Recovery) {
		t.Errorf("%+v", f)
	}
	if string(fmc.Type) != "FMC_INFO" || *fmc.SVN != 0x109 || fmc.Flags != nil || fmc.Flags.Says(tcbinfo.Debug) || fmc.Flags.Bits() != nil {
		t.Errorf("%+v", fmc)
	}
	if !tcbinfo.OID(tcbinfo.MultiTCBInfo).Equal(asn1.ObjectIdentifier{2, 23, 133, 5, 4, 5}) {
		t.Error("another OID")
	}
}

func TestFields(t *testing.T) {
	info, err := tcbinfo.Parse(seq(field(0, []byte("ACME")...), field(1, []byte("one")...), field(2, []byte("1.0")...), field(3, 5), field(4, 2), field(5, 0x7f),
		list(6, fwid(1, 32), fwid(2, 48), fwid(3, 64), fwid(8, 32)), field(7, 4, 0x90), field(8, 1, 2), field(9, []byte("T")...),
		list(11, seq(field(0, []byte("r")...), list(2, fwid(1, 32))), seq(field(1, 3), list(2, fwid(2, 48))))))
	if err != nil || info.Vendor != "ACME" || info.Model != "one" || info.Version != "1.0" || *info.SVN != 5 || *info.Layer != 2 || *info.Index != 127 || len(info.FWIDs) != 4 ||
		!slices.Equal(info.Flags.Bits(), []int{0, 3}) || info.Flags.Masked || !info.Flags.Says(tcbinfo.NotTCB) || len(info.VendorInfo) != 2 || string(info.Type) != "T" ||
		len(info.Registers) != 2 || info.Registers[0].Name != "r" || *info.Registers[1].Number != 3 {
		t.Errorf("%+v %v", info, err)
	}
	if tcbinfo.FlagName(tcbinfo.Debug) != "debug" || tcbinfo.FlagName(20) != "flag 20" {
		t.Error("flags have other names")
	}
	ueid, err := tcbinfo.ParseUEID(unhex("301304110000000000000000000000000000000000"))
	if err != nil || len(ueid) != 17 {
		t.Errorf("%x %v", ueid, err)
	}
	if _, err := tcbinfo.Parse(seq()); err != nil { // nothing is required
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	many := func(n int, part []byte) [][]byte { return slices.Repeat([][]byte{part}, n) }
	for name, der := range map[string][]byte{
		"nothing":                   nil,
		"bytes behind":              append(seq(field(3, 5)), 0),
		"a set":                     tlv(0x31, field(3, 5)),
		"out of order":              seq(field(4, 5), field(3, 5)),
		"a field twice":             seq(field(3, 5), field(3, 5)),
		"an unknown field":          seq(field(12, 5)),
		"a field of another class":  seq([]byte{2, 1, 5}),
		"a negative SVN":            seq(field(3, 0xff)),
		"a SVN of nine bytes":       seq(field(3, 1, 0, 0, 0, 0, 0, 0, 0, 0)),
		"an empty SVN":              seq(field(3)),
		"a long SVN":                seq(field(3, 0, 1)),
		"text that is not UTF-8":    seq(field(0, 0xff)),
		"text too long":             seq(field(0, make([]byte, 1025)...)),
		"no FWIDs":                  seq(list(6)),
		"FWID of another algorithm": seq(list(6, seq([]byte{6, 5, 0x2b, 0x0e, 3, 2, 0x1a}, tlv(4, make([]byte, 20))))),
		"FWID of another size":      seq(list(6, fwid(2, 32))),
		"FWID cut short":            seq(list(6, fwid(2, 48)[:50])),
		"FWID by SHA-224":           seq(list(6, fwid(4, 28))),
		"too many FWIDs":            seq(list(6, many(33, fwid(1, 32))...)),
		"flags of 65 bits":          seq(field(7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0x80)),
		"flags without a count":     seq(field(7)),
		"flags with spare bits":     seq(field(7, 4, 0x9f)),
		"mask of 65 bits":           seq(field(7, 4, 0x90), field(10, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0x80)),
		"a register unnamed":        seq(list(11, seq(list(2, fwid(1, 32))))),
		"a register unmeasured":     seq(list(11, seq(field(1, 3)))),
		"a register out of order":   seq(list(11, seq(list(2, fwid(1, 32)), field(1, 3)))),
		"a register named twice":    seq(list(11, seq(field(0, []byte("r")...), field(0, []byte("r")...), list(2, fwid(1, 32))))),
		"no registers":              seq(list(11)),
		"too long":                  seq(field(8, make([]byte, 17<<10)...)),
	} {
		if info, err := tcbinfo.Parse(der); err == nil {
			t.Errorf("%s: %+v", name, info)
		}
		if _, err := tcbinfo.ParseMulti(seq(seq(field(3, 1)), der)); err == nil && name != "nothing" {
			t.Errorf("%s, second of two: accepted", name)
		}
	}
	for name, der := range map[string][]byte{"none": seq(), "too many": seq(many(17, seq())...), "bytes behind": append(seq(seq()), 0), "nothing": nil, "too long": seq(many(9000, seq())...)} {
		if _, err := tcbinfo.ParseMulti(der); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, text := range []string{"", "3000", "30020400", "30130411000000000000000000000000000000000000", "3003020101"} {
		if _, err := tcbinfo.ParseUEID(unhex(text)); err == nil {
			t.Errorf("UEID %s: accepted", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(unhex(caliptra))
	f.Add(seq(field(0, 'A'), list(6, fwid(1, 32)), field(7, 4, 0x90), list(11, seq(field(1, 3), list(2, fwid(2, 48))))))
	f.Fuzz(func(t *testing.T, der []byte) {
		if info, err := tcbinfo.Parse(der); err == nil {
			for _, id := range info.FWIDs {
				if len(id.Digest) < 32 {
					t.Error("a short digest")
				}
			}
		}
		if infos, err := tcbinfo.ParseMulti(der); err == nil && len(infos) == 0 {
			t.Error("nothing")
		}
		tcbinfo.ParseUEID(der)
	})
}
