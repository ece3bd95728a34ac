package predict

import (
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"strongroom.dev/measure"
	"strongroom.dev/verdict"
)

// TDX is how a trust domain is launched by QEMU on KVM. The zero value is refused.
type TDX struct {
	// Firmware is the whole OVMF image with TDX metadata.
	Firmware []byte
	// Boot is the kernel that QEMU hands over; nil if none is.
	Boot *DirectBoot
	// Memory is the size of memory in bytes, which RTMR 0 depends on; 0 if it isn't known.
	Memory uint64
	// ACPI are the tables that QEMU makes for the machine, which RTMR 0 depends on; nil if they
	// aren't known.
	ACPI *ACPI
}

// ACPI are the files that QEMU hands to firmware (fw_cfg) for it to make ACPI tables of.
type ACPI struct {
	// Loader is etc/table-loader, RSDP etc/acpi/rsdp, and Tables etc/acpi/tables.
	Loader, RSDP, Tables []byte
}

// tdxSection is one part of a trust domain's memory at launch (Intel TDX Virtual Firmware Design
// Guide, revision 1.01, section 11: TDVF metadata).
type tdxSection struct {
	at, raw       uint32 // in the image
	address, size uint64 // in memory
	kind          uint32
	attributes    uint32
}

// Kinds and attributes of sections.
const (
	tdxCode      = 0
	tdxVariables = 1 // configuration volume
	tdxHandOff   = 2
	tdxTemporary = 3
	tdxExtend    = 1 // attribute: its contents are measured
	tdxAugment   = 2 // attribute: its pages are added later
	chunk        = 256
)

// tdx gives the sections of TDX metadata, in order.
func (f firmware) tdx() ([]tdxSection, error) {
	raw, n, err := f.descriptor(guidTDXMetadata, "TDVF", 32)
	if err != nil {
		return nil, err
	}
	sections, pages := make([]tdxSection, 0, n), uint64(0)
	for i := range n {
		at := raw[32*i:]
		u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
		s := tdxSection{u32(at), u32(at[4:]), u64(at[8:]), u64(at[16:]), u32(at[24:]), u32(at[28:])}
		if err := s.check(len(f.data)); err != nil {
			return nil, err
		}
		if pages += s.size / pageSize; pages > maxMetadataPages {
			return nil, badFirmware(fmt.Sprintf("TDX metadata of at most %d pages", maxMetadataPages), "more")
		}
		sections = append(sections, s)
	}
	return sections, nil
}

func (s tdxSection) check(image int) error {
	got := fmt.Sprintf("kind %d, %d of %d bytes at 0x%x, attributes 0x%x", s.kind, s.raw, s.size, s.address, s.attributes)
	switch {
	case s.kind > tdxTemporary || s.attributes&^(tdxExtend|tdxAugment) != 0:
		return badFirmware("TDX metadata with sections of kinds 0 to 3", got)
	case s.address%pageSize != 0 || s.size%pageSize != 0 || s.size == 0 || s.size > fourGiB || s.address > fourGiB-s.size:
		return badFirmware("TDX metadata with sections of whole pages below 4 GiB", got)
	case s.raw != 0 && uint64(s.raw) != s.size, s.raw == 0 && s.attributes&tdxExtend != 0:
		return badFirmware("TDX metadata with sections that are wholly in the image, or not at all", got)
	case uint64(s.at)+uint64(s.raw) > uint64(image):
		return badFirmware("the whole firmware, with what its TDX metadata name", got)
	}
	return nil
}

// mrtd computes the measurement of what is in memory at launch (Intel TDX Module 1.5 ABI,
// TDH.MEM.PAGE.ADD and TDH.MR.EXTEND): for each page its address, and then, where its contents are
// measured, each 256 bytes of them, as KVM and QEMU do it.
func (f firmware) mrtd(sections []tdxSection) []byte {
	h := sha512.New384()
	record := func(what string, address uint64) {
		var block [128]byte
		copy(block[:], what)
		binary.LittleEndian.PutUint64(block[16:], address)
		h.Write(block[:])
	}
	for _, s := range sections {
		for page := uint64(0); page < s.size; page += pageSize {
			if s.attributes&tdxAugment == 0 {
				record("MEM.PAGE.ADD", s.address+page)
			}
			if s.attributes&tdxExtend == 0 {
				continue
			}
			for at := page; at < page+pageSize; at += chunk {
				record("MR.EXTEND", s.address+at)
				h.Write(f.data[uint64(s.at)+at : uint64(s.at)+at+chunk])
			}
		}
	}
	return h.Sum(nil)
}

// Registers gives MRTD and those of RTMR 0 to 2 that follow from what is given. RTMR 3 stays
// zero unless what runs extends it. Errors are a [verdict.Error] of kind Usage.
func (t TDX) Registers() (Values, error) {
	f, err := parseFirmware(t.Firmware)
	if err != nil {
		return Values{}, err
	}
	sections, err := f.tdx()
	if err != nil {
		return Values{}, err
	}
	v := Values{Values: map[string]string{"mrtd": hex.EncodeToString(f.mrtd(sections))}}
	measures, err := f.hasDriver(tdxDriver)
	switch {
	case err != nil:
		return Values{}, err
	case !measures:
		v.note("this firmware measures nothing into RTMRs (it has no TdTcg2Dxe): they have no value, and the kernel, its command line and its initrd are proven by nothing; take firmware that measures, as room images have it")
		return v, nil
	}
	if err := t.bootRegisters(&v); err != nil {
		return Values{}, err
	}
	secure, err := f.hasDriver(secureBootDriver)
	switch {
	case err != nil:
		return Values{}, err
	case secure:
		v.note("rtmr0 has no value: this firmware has Secure Boot, on whose keys it depends; if it comes with keys, it starts no image that nobody signed, as room images are")
		return v, nil
	}
	return v, t.platformRegister(&v, f, sections)
}

// MeasuresBoot reports whether the firmware measures what it boots into RTMRs; what doesn't
// proves no kernel. Errors are a [verdict.Error] of kind Usage.
func (t TDX) MeasuresBoot() (bool, error) {
	f, err := parseFirmware(t.Firmware)
	if err != nil {
		return false, err
	}
	if _, err := f.tdx(); err != nil {
		return false, err
	}
	return f.hasDriver(tdxDriver)
}

// hasDriver looks for a driver in all of the image's compressed volumes: OVMF's general build has
// drivers in the second, its IntelTdx build in both.
func (f firmware) hasDriver(name string) (bool, error) {
	unpacked, err := volumes(f.data)
	if err != nil {
		return false, err
	}
	for _, volume := range unpacked {
		if found, err := hasFile(volume, name); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// bootRegisters adds RTMR 1 and 2: what boots.
func (t TDX) bootRegisters(v *Values) error {
	const bank = measure.SHA384
	if t.Boot == nil {
		v.note("rtmr1 and rtmr2 have no value without a kernel")
		return nil
	}
	b, err := boots(t.Boot, t.Memory, bank)
	if err != nil {
		return err
	}
	v.Values["rtmr1"] = newRegister(bank).extend(b.handedOver(bank)...).events([]byte(exitInvoked), []byte(exitDone)).hex()
	v.Values["rtmr2"] = newRegister(bank).extend(b.stubMeasures(bank)...).hex()
	if b.uki == nil {
		v.note("rtmr1 is that of QEMU 7.2 to 9, which change a kernel's header; only a unified kernel image is measured as it is")
	}
	return nil
}

// platformRegister adds RTMR 0: memory, variables and ACPI tables.
func (t TDX) platformRegister(v *Values, f firmware, sections []tdxSection) error {
	const bank = measure.SHA384
	if t.Memory == 0 || t.ACPI == nil {
		v.note("rtmr0 has no value: it depends on the size of memory (--memory) and on the ACPI tables that QEMU makes (--acpi)")
		return nil
	}
	if err := t.ACPI.check(); err != nil {
		return err
	}
	handOff, err := handOffBlock(sections, t.Memory)
	if err != nil {
		return err
	}
	r := newRegister(bank).events(handOff)
	volume := 0
	for _, s := range sections {
		if s.kind == tdxVariables {
			r.events(f.data[s.at : s.at+s.raw])
			volume++
		}
	}
	if volume != 1 {
		return badFirmware("TDX metadata with one configuration volume", fmt.Sprint(volume))
	}
	r.events(noSecureBoot(nil)...).events(separator(), t.ACPI.Loader, t.ACPI.RSDP, t.ACPI.Tables, []byte{0, 0}, uiApp())
	v.Values["rtmr0"] = r.hex()
	v.note("rtmr0 is that of EDK II 2022.11 to 2025.02 with these ACPI tables; later firmware measures more into it")
	return nil
}

func (a *ACPI) check() error {
	for name, table := range map[string][]byte{"table-loader": a.Loader, "rsdp": a.RSDP, "tables": a.Tables} {
		if len(table) == 0 || len(table) > maxACPI {
			return verdict.Misuse("measure.acpi", fmt.Sprintf("1 to %d bytes of %s", maxACPI, name), fmt.Sprint(len(table)), "copy the files from fw_cfg of a machine like it")
		}
	}
	return nil
}

// uiApp is the boot option that firmware makes for its own menu, Boot0000 (UEFI 2.10, section 3.1.3):
// attributes, the length of the path, the name, and a path to the file in its volume.
func uiApp() []byte {
	const guidVolume, guidMenu = "7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1", "462caa21-7614-4503-836e-8ab6f4662331"
	path := append([]byte{4, 7, 20, 0}, guidBytes(guidVolume)...)
	path = append(append(path, 4, 6, 20, 0), guidBytes(guidMenu)...)
	path = append(path, 0x7f, 0xff, 4, 0)
	option := binary.LittleEndian.AppendUint32(nil, 0x109) // active, hidden, an application
	option = binary.LittleEndian.AppendUint16(option, uint16(len(path)))
	option = append(append(option, wide("UiApp")...), 0, 0)
	return append(option, path...)
}
